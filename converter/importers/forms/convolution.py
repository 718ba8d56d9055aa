# SPDX-License-Identifier: Apache-2.0
"""Convolutions over one, two or three axes, plain, grouped, depthwise and transposed.

Layouts: activations are N, C, spatial...; filters are [out, in / groups, spatial...] as in ONNX and
PyTorch. TFLite's filters are [out, height, width, in / groups], and [1, height, width, out] for
depthwise convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic
from converter.importers.no_form import NoForm


class Window(NamedTuple):
    """How a window moves, one number per spatial axis; `pads` are pairs (before, after). `same`
    stands for the pads of :func:`same_pads` where sizes are dynamic; `pads` are then 0.
    """

    strides: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    dilations: tuple[int, ...]
    same: bool = False


def same_pads(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """TFLite's SAME padding of one axis: total so that the output is ceil(size / stride), the odd
    one behind.
    """
    reach = (kernel - 1) * dilation + 1
    total = max(0, (-(-size // stride) - 1) * stride + reach - size)
    return total // 2, total - total // 2


def pad_option(
    b: Builder, x: ir.Value, window: Window, kernel: Sequence[int]
) -> tuple[ir.Value, str]:
    """The channels-last `x`, padded explicitly where it must be, and TFLite's padding option."""
    if window.same:
        return x, "SAME"
    if not any(map(any, window.pads)):
        return x, "VALID"
    sizes = b.dims(x)[1:-1]
    as_same = [
        None if size is None else same_pads(size, k, s, d)
        for size, k, s, d in zip(sizes, kernel, window.strides, window.dilations, strict=True)
    ]
    if as_same == list(window.pads):
        return x, "SAME"
    return pad_with(b, x, [(0, 0), *window.pads, (0, 0)]), "VALID"


def pad_with(
    b: Builder, x: ir.Value, pads: Sequence[tuple[int, int]], value: float = 0.0
) -> ir.Value:
    """Constant padding; negative amounts crop."""
    grown = [(max(p, 0), max(q, 0)) for p, q in pads]
    for axis, (before, after) in enumerate(pads):
        if before < 0 or after < 0:
            x = basic.slice_axis(b, x, axis, max(0, -before), after if after < 0 else None)
    if not any(map(any, grown)):
        return x
    amounts = b.constant(grown, "paddings", np.int32)
    if value == 0:
        return b.emit("PAD", [x, amounts])
    return b.emit("PADV2", [x, amounts, basic.scalar(b, value, x, "padding")])


def convolution(
    b: Builder,
    x: ir.Value,
    weights: ir.Value,
    bias: ir.Value | None,
    window: Window,
    groups: int = 1,
) -> ir.Value:
    """y[n, o] = bias[o] + sum of weights[o] over the window of its group's channels."""
    spatial = len(window.strides)
    if spatial == 1:
        return over_one_axis(b, x, weights, bias, window, groups, convolution)
    dims = b.fixed_dims(weights, "its filter")
    if spatial not in (2, 3):
        raise NoForm(f"convolves over {spatial} axes: TFLite has 1, 2 or 3")
    if spatial == 3 and groups != 1:
        return _by_frames(b, x, weights, bias, window, groups)
    last = basic.channels_last(b, x)
    last, padding = pad_option(b, last, window, dims[2:])
    bias = bias or b.constant(np.zeros(dims[0]), "bias", ir.numpy_dtype(x.dtype))
    options: dict[str, Any] = {"padding": padding, "fused_activation_function": "NONE"}
    for name, stride, dilation in zip(
        ("d", "h", "w")[-spatial:], window.strides, window.dilations, strict=True
    ):
        options[f"stride_{name}"], options[f"dilation_{name}_factor"] = stride, dilation
    if spatial == 3:
        filters = basic.transpose(b, weights, [2, 3, 4, 1, 0])
        y = b.emit("CONV_3D", [last, filters, bias], **options)
    elif groups > 1 and dims[1] == 1 and b.dims(x)[1] == groups:
        filters = basic.transpose(b, weights, [1, 2, 3, 0])
        options["depth_multiplier"] = dims[0] // groups
        y = b.emit("DEPTHWISE_CONV_2D", [last, filters, bias], **options)
    else:
        filters = basic.transpose(b, weights, [0, 2, 3, 1])
        y = b.emit("CONV_2D", [last, filters, bias], **options)
    return basic.channels_first(b, y)


def over_one_axis(
    b: Builder,
    x: ir.Value,
    weights: ir.Value,
    bias: ir.Value | None,
    window: Window,
    groups: int,
    form: Any,
) -> ir.Value:
    """`form`, a convolution, over one axis as over two, the first of size 1."""
    plane = Window(
        (1, *window.strides), ((0, 0), *window.pads), (1, *window.dilations), window.same
    )
    y = form(b, basic.unsqueeze(b, x, [2]), basic.unsqueeze(b, weights, [2]), bias, plane, groups)
    return basic.squeeze(b, y, [2])


def _by_frames(
    b: Builder,
    x: ir.Value,
    weights: ir.Value,
    bias: ir.Value | None,
    window: Window,
    groups: int,
) -> ir.Value:
    """A convolution of groups over three axes, which CONV_3D lacks: the sum over the filter's depth
    of convolutions of frames.
    """
    dims, depth = b.dims(x), b.dims(x)[2]
    if depth is None or window.same:
        raise NoForm("has groups over three axes of dynamic size: give the inputs fixed sizes")
    stride, dilation, pads = window.strides[0], window.dilations[0], window.pads[0]
    x = pad_with(b, x, [(0, 0), (0, 0), pads, (0, 0), (0, 0)])
    taps = b.fixed_dims(weights, "its filter")[2]
    count = (depth + sum(pads) - (taps - 1) * dilation - 1) // stride + 1
    plane = Window(window.strides[1:], window.pads[1:], window.dilations[1:])
    frames = basic.transpose(b, x, [0, 2, 1, 3, 4])
    batch = None if dims[0] is None else dims[0] * count
    total: ir.Value | None = None
    for tap in range(taps):
        begin = tap * dilation
        part = basic.slice_axis(b, frames, 1, begin, begin + (count - 1) * stride + 1, stride)
        part = basic.reshape(b, part, [batch, dims[1], *dims[3:]])
        filters = basic.squeeze(b, basic.slice_axis(b, weights, 2, tap, tap + 1), [2])
        y = convolution(b, part, filters, None if tap else bias, plane, groups)
        total = y if total is None else basic.binary(b, "ADD", total, y)
    assert total is not None
    shaped = basic.reshape(b, total, [dims[0], count, *b.dims(total)[1:]])
    return basic.transpose(b, shaped, [0, 2, 1, 3, 4])
