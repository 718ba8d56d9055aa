# SPDX-License-Identifier: Apache-2.0
"""Rows for windows over three axes, for the places of maxima, and for what moves dilated filters:
they go through the forms that ONNX and PyTorch use, which are channels first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from converter import ir
from converter.importers.forms import basic, convolution, pooling, transposed
from converter.importers.forms.basic import binary
from converter.importers.forms.convolution import Window, same_pads
from converter.importers.no_form import NoForm
from converter.importers.tensorflow.context import Context, Row, Rows


def is_last(c: Context) -> bool:
    return c.attr("data_format", "NHWC") in ("NHWC", "NDHWC")


def spatial(c: Context, name: str, axes: int) -> tuple[int, ...]:
    """A list attribute along space."""
    numbers = [int(i) for i in c.attr(name, None) or [1] * (axes + 2)]
    channel = axes + 1 if is_last(c) else 1
    if len(numbers) != axes + 2 or numbers[0] != 1 or numbers[channel] != 1:
        raise NoForm(f"has {name} along batch or channels: only spatial axes may have them")
    return tuple(n for i, n in enumerate(numbers) if i not in (0, channel))


def first(c: Context, x: ir.Value) -> ir.Value:
    return basic.channels_first(c.b, x) if is_last(c) else x


def last(c: Context, x: ir.Value) -> ir.Value:
    """`x`, channels first, in the op's own layout."""
    return basic.channels_last(c.b, x) if is_last(c) else x


def window(c: Context, x: ir.Value, kernel: tuple[int, ...]) -> Window:
    """Strides, pads and dilations over `x`, channels first."""
    axes = len(kernel)
    strides, dilations = spatial(c, "strides", axes), spatial(c, "dilations", axes)
    pads = [(0, 0)] * axes
    if c.attr("padding") == "SAME":
        sizes = c.b.fixed_dims(basic.slice_axis(c.b, x, 0, 0, 1), "its input")[2:]
        geometry = zip(sizes, kernel, strides, dilations, strict=True)
        pads = [same_pads(*numbers) for numbers in geometry]
    elif c.attr("padding") == "EXPLICIT":
        amounts = np.array(c.attr("explicit_paddings")).reshape(-1, 2)
        own = amounts[1:-1] if is_last(c) else amounts[2:]
        pads = [(int(p), int(q)) for p, q in own]
    return Window(strides, tuple(pads), dilations)


def _pool_3d(form: Any) -> Row:
    def row(c: Context) -> ir.Value:
        x, kernel = first(c, c.input(0)), spatial(c, "ksize", 3)
        found: ir.Value = form(c.b, x, kernel, window(c, x, kernel))
        return last(c, found)

    return row


def _max_with_places(c: Context) -> list[ir.Value]:
    """Maxima, and where each is in the flat image, channels last."""
    x, kernel = first(c, c.input(0)), spatial(c, "ksize", 2)
    top, places = pooling.max_pool_places(c.b, x, kernel, window(c, x, kernel))
    batch, channels, height, width = c.b.fixed_dims(x, "its input")
    area = c.b.constant(height * width, "area", np.int64)
    inner = c.b.emit("FLOOR_MOD", [places, area])
    step = c.b.constant(channels, "channels", np.int64)
    offsets = np.arange(channels).reshape(1, channels, 1, 1)
    if c.attr("include_batch_in_index", False):
        offsets = offsets + np.arange(batch).reshape(batch, 1, 1, 1) * height * width * channels
    channel = c.b.constant(offsets, "channel", np.int64)
    at = binary(c.b, "ADD", binary(c.b, "MUL", inner, step), channel)
    return [last(c, top), basic.cast(c.b, last(c, at), c.kind(1))]


def transposed_convolution(axes: int) -> Row:
    """Filters are [spatial..., out, in]."""

    def row(c: Context) -> ir.Value:
        x, weights = first(c, c.input(2)), c.input(1)
        out = _output_sizes(c, axes)
        kernel = c.b.fixed_dims(weights, "its filter")[:axes]
        filters = basic.transpose(c.b, weights, [axes + 1, axes, *range(axes)])
        given = c.b.fixed_dims(basic.slice_axis(c.b, x, 0, 0, 1), "its input")[2:]
        strides, dilations = spatial(c, "strides", axes), spatial(c, "dilations", axes)
        pads, extra = [], []
        explicit = window(c, x, kernel).pads if c.attr("padding") == "EXPLICIT" else None
        for i, (size, k, s, d, wanted) in enumerate(
            zip(given, kernel, strides, dilations, out, strict=True)
        ):
            pair = (0, 0) if c.attr("padding") == "VALID" else same_pads(wanted, k, s, d)
            pair = explicit[i] if explicit else pair
            pads.append(pair)
            extra.append(wanted - ((size - 1) * s + (k - 1) * d + 1 - sum(pair)))
        how = Window(strides, tuple(pads), dilations)
        return last(c, transposed.transposed_convolution(c.b, x, filters, None, how, extra=extra))

    return row


def _output_sizes(c: Context, axes: int) -> list[int]:
    """Along space; the batch may be dynamic."""
    samples = c.b.samples(c.ints(0))
    if samples is None:
        raise NoForm("its output size is computed at run time: make it a constant")
    first_axis = 0 if samples[0].size == axes else 1 if is_last(c) else 2
    low, high = ([int(s) for s in n.reshape(-1)][first_axis:][:axes] for n in samples)
    if low != high:
        raise NoForm("its output size is dynamic: give the model's inputs fixed sizes")
    return low


def grouped_convolution_3d(c: Context) -> ir.Value:
    """Filters are [depth, height, width, in / groups, out]."""
    x, weights = first(c, c.input(0)), c.input(1)
    *kernel, inputs, _ = c.b.fixed_dims(weights, "its filter")
    channels = c.b.dims(x)[1]
    if channels is None or channels % inputs:
        raise NoForm(f"has a filter for {inputs} channels over {channels}")
    filters = basic.transpose(c.b, weights, [4, 3, 0, 1, 2])
    how = window(c, x, tuple(kernel))
    return last(c, convolution.convolution(c.b, x, filters, None, how, channels // inputs))


def _dilation_2d(c: Context) -> ir.Value:
    """Grey-scale morphology: the largest of x + filter over each window."""
    x, weights = basic.channels_first(c.b, c.input(0)), c.input(1)
    height, width, channels = c.b.fixed_dims(weights, "its filter")
    strides, rates = ([int(n) for n in c.attr(name)][1:3] for name in ("strides", "rates"))
    sizes = c.b.fixed_dims(basic.slice_axis(c.b, x, 0, 0, 1), "its input")[2:]
    pads = [(0, 0)] * 2
    if c.attr("padding") == "SAME":
        pads = [same_pads(*g) for g in zip(sizes, (height, width), strides, rates, strict=True)]
    least = float(np.finfo(np.float32).min)
    x = convolution.pad_with(c.b, x, [(0, 0), (0, 0), *pads], least)
    how = Window((strides[0], strides[1]), ((0, 0), (0, 0)), (rates[0], rates[1]))
    taps = pooling.slices(c.b, x, (height, width), how)
    flat = basic.reshape(c.b, weights, [height * width, channels, 1, 1])
    found: ir.Value | None = None
    for i, tap in enumerate(taps):
        term = basic.reshape(c.b, basic.slice_axis(c.b, flat, 0, i, i + 1), [channels, 1, 1])
        part = binary(c.b, "ADD", tap, term)
        found = part if found is None else binary(c.b, "MAXIMUM", found, part)
    assert found is not None
    return basic.channels_last(c.b, found)


ROWS: Rows = {
    "AvgPool3D": _pool_3d(pooling.average_pool),
    "Conv3DBackpropInputV2": transposed_convolution(3),
    "Dilation2D": _dilation_2d,
    "MaxPool3D": _pool_3d(pooling.max_pool),
    "MaxPoolWithArgmax": _max_with_places,
}
