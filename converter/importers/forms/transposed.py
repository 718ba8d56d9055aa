# SPDX-License-Identifier: Apache-2.0
"""Transposed convolutions over one, two or three axes, plain and grouped.

Layouts are those of :mod:`converter.importers.forms.convolution`, but filters are
[in, out / groups, spatial...], as in ONNX and PyTorch.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic
from converter.importers.forms.basic import int32s
from converter.importers.forms.convolution import Window, convolution, over_one_axis, pad_with
from converter.importers.no_form import NoForm


def transposed_convolution(
    b: Builder,
    x: ir.Value,
    weights: ir.Value,
    bias: ir.Value | None,
    window: Window,
    groups: int = 1,
    extra: Sequence[int] | None = None,
) -> ir.Value:
    """The gradient of a convolution: every input element adds its filter, `strides` apart, to the
    output, of which `pads` are cut off and to which `extra` elements are added behind.
    """
    spatial = len(window.strides)
    extra = list(extra or [0] * spatial)
    if spatial == 1:
        form = functools.partial(transposed_convolution, extra=[0, *extra])
        return over_one_axis(b, x, weights, bias, window, groups, form)
    if spatial not in (2, 3):
        raise NoForm(f"convolves over {spatial} axes: TFLite has 1, 2 or 3")
    if groups != 1:
        return _by_convolution(b, x, weights, bias, window, groups, extra)
    weights = _dilated(b, weights, window.dilations)
    kernel = b.fixed_dims(weights, "its filter")[2:]
    # TFLite's VALID output may have up to stride - 1 elements behind the last filter.
    behind = [e - after for e, (_, after) in zip(extra, window.pads, strict=True)]
    beside = [min(max(n, 0), s - 1) for n, s in zip(behind, window.strides, strict=True)]
    y = _valid(b, x, weights, window.strides, [k + n for k, n in zip(kernel, beside, strict=True)])
    rest = [n - m for n, m in zip(behind, beside, strict=True)]
    crop = [(-before, n) for (before, _), n in zip(window.pads, rest, strict=True)]
    y = basic.channels_first(b, pad_with(b, y, [(0, 0), *crop, (0, 0)]))
    return y if bias is None else _with_bias(b, y, bias)


def _with_bias(b: Builder, y: ir.Value, bias: ir.Value) -> ir.Value:
    shape = [-1] + [1] * (basic.rank(b, y) - 2)
    (count,) = b.fixed_dims(bias, "its bias")
    shape[0] = count
    return basic.binary(b, "ADD", y, basic.reshape(b, bias, shape))


def _valid(
    b: Builder, x: ir.Value, weights: ir.Value, strides: Sequence[int], reach: Sequence[int]
) -> ir.Value:
    """The whole output, channels last: (size - 1) * stride + reach elements per axis."""
    spatial = len(strides)
    last = basic.channels_last(b, x)
    outputs = b.fixed_dims(weights, "its filter")[1]
    factors = int32s(b, [1, *strides, 0], "strides")
    terms = [0, *(r - s for r, s in zip(reach, strides, strict=True)), outputs]
    sizes = basic.binary(b, "MUL", basic.shape_of(b, last), factors)
    shape = basic.binary(b, "ADD", sizes, int32s(b, terms, "reach"))
    names = ("d", "h", "w")[-spatial:]
    options: dict[str, Any] = {"padding": "VALID", "fused_activation_function": "NONE"}
    options |= {f"stride_{n}": s for n, s in zip(names, strides, strict=True)}
    if spatial == 3:
        filters = basic.transpose(b, weights, [2, 3, 4, 1, 0])
        options |= {f"dilation_{n}_factor": 1 for n in names}
        return b.emit("CONV_3D_TRANSPOSE", [shape, filters, last], dtype=x.dtype, **options)
    filters = basic.transpose(b, weights, [1, 2, 3, 0])
    return b.emit("TRANSPOSE_CONV", [shape, filters, last], dtype=x.dtype, **options)


def _dilated(b: Builder, weights: ir.Value, dilations: Sequence[int]) -> ir.Value:
    """The filter with zeros between its elements."""
    if all(d == 1 for d in dilations):
        return weights
    steps = int32s(b, [1, 1, *dilations], "dilations")
    return b.emit("DILATE", [weights, steps, basic.scalar(b, 0, weights)], dtype=weights.dtype)


def _by_convolution(
    b: Builder,
    x: ir.Value,
    weights: ir.Value,
    bias: ir.Value | None,
    window: Window,
    groups: int,
    extra: Sequence[int],
) -> ir.Value:
    """As a convolution of the input with zeros between its elements with the mirrored filter."""
    inputs, outputs, *kernel = b.fixed_dims(weights, "its filter")
    data = b.require(weights, "filter")
    data = data.reshape(groups, inputs // groups, outputs, *kernel).swapaxes(1, 2)
    data = data.reshape(groups * outputs, inputs // groups, *kernel)
    mirrored = np.flip(data, tuple(range(2, data.ndim))).copy()
    if any(s != 1 for s in window.strides):
        steps = int32s(b, [1, 1, *window.strides], "strides")
        x = b.emit("DILATE", [x, steps, basic.scalar(b, 0, x)], dtype=x.dtype)
    pads = []
    for k, d, (before, after), more in zip(
        kernel, window.dilations, window.pads, extra, strict=True
    ):
        reach = (k - 1) * d
        pads.append((reach - before, reach - after + more))
    x = pad_with(b, x, [(0, 0), (0, 0), *pads])
    plain = Window((1,) * len(kernel), ((0, 0),) * len(kernel), window.dilations)
    filters = b.constant(mirrored, "filter", mirrored.dtype)
    return convolution(b, x, filters, bias, plain, groups)
