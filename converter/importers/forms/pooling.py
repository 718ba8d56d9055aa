# SPDX-License-Identifier: Apache-2.0
"""Pooling over one, two or three axes, channels first."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic, reduction
from converter.importers.forms.basic import binary, scalar, unary
from converter.importers.forms.convolution import Window, pad_with, same_pads
from converter.importers.forms.elementwise import affine, apply, arithmetic
from converter.importers.no_form import NoForm

_NOT_NEGATIVE = ("RELU", "RELU6", "RELU_0_TO_1", "LOGISTIC", "SOFTMAX", "ABS", "SQUARE")
_MOST_TAPS = 128  # of a dilated window, each of which is a slice


def max_pool(
    b: Builder, x: ir.Value, kernel: Sequence[int], window: Window, ceil: bool = False
) -> ir.Value:
    """The largest element of each window; padding never wins. `ceil` adds windows that begin inside
    the input and end behind it.
    """
    dilated = any(d != 1 for d in window.dilations)
    kernel = _within(b, x, kernel, window) if ceil else kernel
    pads = _with_overhang(b, x, kernel, window, ceil, takes_same=not dilated)
    if dilated:
        padded = pad_with(b, x, [(0, 0), (0, 0), *pads], _least(x))
        return _by_slices(b, "MAXIMUM", padded, kernel, window)
    last = basic.channels_last(b, x)
    if _is_same(b, x, kernel, window, pads):
        return basic.channels_first(b, _pooled(b, "MAX_POOL_2D", last, kernel, window, "SAME"))
    last = pad_with(b, last, [(0, 0), *pads, (0, 0)], _least(x))
    return basic.channels_first(b, _pooled(b, "MAX_POOL_2D", last, kernel, window, "VALID"))


def max_pool_places(
    b: Builder,
    x: ir.Value,
    kernel: Sequence[int],
    window: Window,
    ceil: bool = False,
    column_major: bool = False,
) -> tuple[ir.Value, ir.Value]:
    """:func:`max_pool`, and where in the flat input each of the elements was (INT64)."""
    dims = b.fixed_dims(x, "its input")
    pads = _with_overhang(b, x, kernel, window, ceil)
    padded = pad_with(b, x, [(0, 0), (0, 0), *pads], lowest(x.dtype))
    taps = slices(b, padded, kernel, window)
    stacked = basic.concat(b, [basic.unsqueeze(b, tap, [-1]) for tap in taps], -1)
    top = reduction.reduce(b, "REDUCE_MAX", stacked, [-1], False)
    which = reduction.place(b, "ARG_MAX", stacked, -1, False)
    sizes = dims[2:]
    steps = [math.prod(sizes[i + 1 :]) for i in range(len(sizes))]
    if column_major:
        steps = [math.prod(sizes[:i]) for i in range(len(sizes))]
    offsets = [
        sum(t * d * s for t, d, s in zip(tap, window.dilations, steps, strict=True))
        for tap in np.ndindex(*kernel)
    ]
    out = b.fixed_dims(top, "its result")
    first = np.arange(dims[0] * dims[1]).reshape(dims[0], dims[1], *[1] * len(sizes))
    base = first * math.prod(sizes)
    grids = np.indices(out[2:])
    for grid, stride, pad, step in zip(grids, window.strides, pads, steps, strict=True):
        base = base + (grid * stride - pad[0]) * step
    table = b.constant(offsets, "offsets", np.int64)
    moved = b.emit("GATHER", [table, basic.ints(b, which)], axis=0, dtype="INT64")
    return top, binary(b, "ADD", moved, b.constant(base, "windows", np.int64))


def max_unpool(b: Builder, x: ir.Value, places: ir.Value, dims: Sequence[int]) -> ir.Value:
    """Zeros of the shape `dims` with the elements of `x` at flat `places`."""
    flat = basic.reshape(b, x, [math.prod(b.fixed_dims(x, "its input"))])
    at = basic.unsqueeze(b, basic.reshape(b, basic.ints(b, places), b.dims(flat)), [1])
    shape = basic.int32s(b, [math.prod(dims)], "shape")
    total = b.emit("SCATTER_ND", [at, flat, shape], dtype=x.dtype)
    ones = b.constant(np.ones(b.fixed_dims(flat, "its input")), "ones", np.float32)
    count = b.emit("SCATTER_ND", [at, ones, shape], dtype="FLOAT32")
    # windows that overlap may name one place twice, with one and the same element
    mean = binary(b, "DIV", total, binary(b, "MAXIMUM", count, scalar(b, 1, count)))
    return basic.reshape(b, mean, dims)


def average_pool(
    b: Builder,
    x: ir.Value,
    kernel: Sequence[int],
    window: Window,
    ceil: bool = False,
    count_padding: bool = False,
) -> ir.Value:
    """The mean of each window; `count_padding` lets the zeros of the padding take part."""
    dilated = any(d != 1 for d in window.dilations)
    takes_same = not dilated and not count_padding
    kernel = _within(b, x, kernel, window) if ceil else kernel
    pads = _with_overhang(b, x, kernel, window, ceil, takes_same=takes_same)
    if not count_padding and not dilated and _is_same(b, x, kernel, window, pads):
        last = basic.channels_last(b, x)
        return basic.channels_first(b, _pooled(b, "AVERAGE_POOL_2D", last, kernel, window, "SAME"))
    mean = _mean(b, x, kernel, window, pads)
    if not any(map(any, pads)) or (count_padding and list(pads) == list(window.pads)):
        return mean
    sizes = basic.slice_axis(b, basic.shape_of(b, x), 0, 2, None)
    shape = basic.concat(b, [basic.int32s(b, [1, 1], "ones"), sizes], 0)
    ones = b.emit("FILL", [shape, scalar(b, 1, x)], dtype=x.dtype)
    if count_padding:  # of which the overhang is no part
        ones = pad_with(b, ones, [(0, 0), (0, 0), *window.pads], 1.0)
        pads = [(0, q - w[1]) for (_, q), w in zip(pads, window.pads, strict=True)]
    share = _mean(b, ones, kernel, window, pads)
    return binary(b, "DIV", mean, share)


def lp_pool(
    b: Builder, x: ir.Value, kernel: Sequence[int], window: Window, p: int, ceil: bool = False
) -> ir.Value:
    """(sum of |x|^p over each window)^(1/p)"""
    pads = _with_overhang(b, x, kernel, window, ceil)
    total = _mean(b, powers(b, x, p), kernel, window, pads)
    return roots(b, affine(b, total, float(math.prod(kernel)), 0), p)


def powers(b: Builder, x: ir.Value, p: float) -> ir.Value:
    """|x|^p"""
    if p == 2:
        return arithmetic(b, "MUL", x, x)
    size = apply(b, "ABS", x)
    return size if p == 1 else binary(b, "POW", size, scalar(b, p, x))


def roots(b: Builder, x: ir.Value, p: float) -> ir.Value:
    """x^(1/p) of x >= 0"""
    if p == 2:
        return unary(b, "SQRT", x)
    return x if p == 1 else binary(b, "POW", x, scalar(b, 1 / p, x))


def lowest(dtype: str) -> float:
    """What is never larger than an element of this type."""
    if dtype == "FLOAT32":
        return -math.inf
    return int(np.iinfo(ir.numpy_dtype(dtype)).min)


def _least(x: ir.Value) -> float:
    """What no element of `x` is below: 0 behind a RELU, so that quantizing keeps its range."""
    maker = x.producer
    while maker is not None and maker.op == "TRANSPOSE" and maker.inputs[0] is not None:
        maker = maker.inputs[0].producer
    return 0.0 if maker is not None and maker.op in _NOT_NEGATIVE else lowest(x.dtype)


def _within(b: Builder, x: ir.Value, kernel: Sequence[int], window: Window) -> list[int]:
    """`kernel` without what lies behind the padded input, where one window holds all of it."""
    reach = [
        None if d is None else d + sum(p) for d, p in zip(b.dims(x)[2:], window.pads, strict=True)
    ]
    return [
        size if most is None or dilation != 1 else min(size, most)
        for size, most, dilation in zip(kernel, reach, window.dilations, strict=True)
    ]


def _with_overhang(
    b: Builder,
    x: ir.Value,
    kernel: Sequence[int],
    window: Window,
    ceil: bool,
    takes_same: bool = False,
) -> list[tuple[int, int]]:
    """The paddings, with as much behind as the last window of `ceil` needs."""
    if len(kernel) not in (1, 2, 3):
        raise NoForm(f"pools over {len(kernel)} axes: TFLite has 1, 2 or 3")
    if basic.rank(b, x) != len(kernel) + 2:
        raise NoForm(f"pools over {len(kernel)} axes an input of rank {basic.rank(b, x)}")
    if window.same and not (takes_same and len(kernel) < 3):
        raise NoForm("pads to SAME an axis of dynamic size: give the inputs fixed sizes")
    if not ceil:
        return list(window.pads)
    pads = []
    for size, k, stride, (before, after), dilation in zip(
        b.dims(x)[2:], kernel, window.strides, window.pads, window.dilations, strict=True
    ):
        reach = (k - 1) * dilation + 1
        if size is None and stride <= reach - after:  # no window begins behind the input
            pads.append((before, after + stride - 1))
            continue
        if size is None:
            raise NoForm("rounds up the number of its windows: give the inputs fixed sizes")
        count = -(-(size + before + after - reach) // stride) + 1
        if (count - 1) * stride >= size + before:
            count -= 1  # it would begin in the padding behind
        pads.append((before, max(after, (count - 1) * stride + reach - size - before)))
    return pads


def _is_same(
    b: Builder,
    x: ir.Value,
    kernel: Sequence[int],
    window: Window,
    pads: Sequence[tuple[int, int]],
) -> bool:
    """Whether TFLite's padding SAME is this padding."""
    if window.same:
        return True
    if len(kernel) > 2 or not any(map(any, pads)):
        return False
    sizes = b.dims(x)[2:]
    return all(
        size is not None and same_pads(size, k, s, 1) == tuple(pair)
        for size, k, s, pair in zip(sizes, kernel, window.strides, pads, strict=True)
    )


def _mean(
    b: Builder,
    x: ir.Value,
    kernel: Sequence[int],
    window: Window,
    pads: Sequence[tuple[int, int]],
) -> ir.Value:
    """Means over windows of the input padded with zeros, which count."""
    padded = pad_with(b, x, [(0, 0), (0, 0), *pads])
    if any(d != 1 for d in window.dilations):
        total = _by_slices(b, "ADD", padded, kernel, window)
        return affine(b, total, 1 / math.prod(kernel), 0)
    last = basic.channels_last(b, padded)
    return basic.channels_first(b, _pooled(b, "AVERAGE_POOL_2D", last, kernel, window, "VALID"))


def _pooled(
    b: Builder, op: str, x: ir.Value, kernel: Sequence[int], window: Window, padding: str
) -> ir.Value:
    """A pooling of channels last: over one axis as over two, over three in two steps."""
    if len(kernel) == 1:
        plane = window._replace(strides=(1, *window.strides))
        return basic.squeeze(
            b, _pooled(b, op, basic.unsqueeze(b, x, [1]), (1, *kernel), plane, padding), [1]
        )
    if len(kernel) == 3:
        return _over_three(b, op, x, kernel, window)
    return b.emit(
        op,
        [x],
        padding=padding,
        stride_h=window.strides[0],
        stride_w=window.strides[1],
        filter_height=kernel[0],
        filter_width=kernel[1],
        fused_activation_function="NONE",
    )


def _over_three(
    b: Builder, op: str, x: ir.Value, kernel: Sequence[int], window: Window
) -> ir.Value:
    """Over height and width, then over depth: the mean of equal means is the mean."""
    batch, depth, height, width, channels = b.dims(x)
    if depth is None or channels is None:
        raise NoForm("pools over three axes of dynamic sizes: give the inputs fixed sizes")
    planes = None if batch is None else batch * depth
    flat = basic.reshape(b, x, [planes, height, width, channels])
    plane = Window(window.strides[1:], ((0, 0), (0, 0)), (1, 1))
    flat = _pooled(b, op, flat, kernel[1:], plane, "VALID")
    _, rows, columns, _ = b.fixed_dims(basic.slice_axis(b, flat, 0, 0, 1), "its result")
    deep = basic.reshape(b, flat, [batch, depth, rows * columns, channels])
    line = Window((window.strides[0], 1), ((0, 0), (0, 0)), (1, 1))
    deep = _pooled(b, op, deep, (kernel[0], 1), line, "VALID")
    return basic.reshape(b, deep, [batch, b.dims(deep)[1], rows, columns, channels])


def _by_slices(b: Builder, op: str, x: ir.Value, kernel: Sequence[int], window: Window) -> ir.Value:
    """Every window folded by `op`, axis by axis: a strided slice for each of its elements."""
    for axis, (k, stride, dilation) in enumerate(
        zip(kernel, window.strides, window.dilations, strict=True), 2
    ):
        taps = _along(b, x, axis, k, stride, dilation)
        x = taps[0]
        for tap in taps[1:]:
            x = arithmetic(b, op, x, tap)
    return x


def slices(b: Builder, x: ir.Value, kernel: Sequence[int], window: Window) -> list[ir.Value]:
    """One slice of the output's shape for each element of the window, in their order."""
    found = [x]
    for axis, (k, stride, dilation) in enumerate(
        zip(kernel, window.strides, window.dilations, strict=True), 2
    ):
        found = [tap for part in found for tap in _along(b, part, axis, k, stride, dilation)]
    return found


def _along(
    b: Builder, x: ir.Value, axis: int, k: int, stride: int, dilation: int
) -> list[ir.Value]:
    size = b.dims(x)[axis]
    if size is None or k > _MOST_TAPS:
        raise NoForm(
            "has dilated windows, or wants the places of the largest elements, along an axis that"
            " is dynamic or in windows that are very large: give the inputs fixed sizes"
        )
    count = (size - (k - 1) * dilation - 1) // stride + 1
    return [
        basic.slice_axis(b, x, axis, i * dilation, i * dilation + (count - 1) * stride + 1, stride)
        for i in range(k)
    ]
