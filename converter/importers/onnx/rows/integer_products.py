# SPDX-License-Identifier: Apache-2.0
"""Rows for products of integers that give int32 sums: MatMulInteger, ConvInteger."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic, quantized
from converter.importers.forms.basic import binary
from converter.importers.forms.convolution import convolution
from converter.importers.no_form import NoForm
from converter.importers.onnx.context import Context, Rows
from converter.importers.onnx.rows.convolution import window_of

_EXACT = 1 << 24  # integers up to here are exact in float32
_LARGEST = 255  # magnitude of an 8-bit number less its zero point


def matmul_integer(
    b: Builder, x: ir.Value, zero_x: ir.Value | None, y: ir.Value, zero_y: ir.Value | None
) -> ir.Value:
    """The INT32 product of 8-bit matrices less their zero points (one, or one per row of `x` and
    column of `y`): the product of int8 numbers, and what their zero points add to it.
    """
    if min(basic.rank(b, x), basic.rank(b, y)) < 2:
        return _by_vectors(b, x, zero_x, y, zero_y)
    (left, more_left), (right, more_right) = _small(b, x, zero_x, -2), _small(b, y, zero_y, -1)
    total = b.emit("BATCH_MATMUL", [left, right], dtype="INT32", adj_x=False, adj_y=False)
    total.quant = ir.Quantization(np.ones(1), np.zeros(1))
    columns = _sum(b, y, -2)
    if more_right is not None:
        total = binary(b, "ADD", total, binary(b, "MUL", more_right, _sum(b, x, -1)))
        depth = basic.slice_axis(b, basic.shape_of(b, x), 0, -1, None)
        columns = binary(b, "ADD", columns, binary(b, "MUL", more_right, depth))
    if more_left is not None:
        total = binary(b, "ADD", total, binary(b, "MUL", more_left, columns))
    return total


def _by_vectors(
    b: Builder, x: ir.Value, zero_x: ir.Value | None, y: ir.Value, zero_y: ir.Value | None
) -> ir.Value:
    """A vector is a row on the left and a column on the right, as in numpy.matmul."""
    left, right = basic.rank(b, x) == 1, basic.rank(b, y) == 1
    x = basic.unsqueeze(b, x, [0]) if left else x
    y = basic.unsqueeze(b, y, [1]) if right else y
    gone = [axis for axis, is_vector in ((-2, left), (-1, right)) if is_vector]
    return basic.squeeze(b, matmul_integer(b, x, zero_x, y, zero_y), gone)


def _small(
    b: Builder, x: ir.Value, zero: ir.Value | None, axis: int
) -> tuple[ir.Value, ir.Value | None]:
    """8-bit `x` as int8 of scale 1, and the INT32 number, if any, that each lacks to x - zero."""
    shift = 128 if x.dtype == "UINT8" else 0
    if x.data is not None:
        data = (x.data.astype(np.int16) - shift).astype(np.int8)
        small = b.constant(data, "int8")
        small.quant = ir.Quantization(np.ones(1), np.zeros(1))
    else:
        small = b.quantize(quantized.whole(b, x), 1.0, -shift)
        if not shift:
            small.quant = ir.Quantization(np.ones(1), np.zeros(1))
    if zero is None:
        return small, b.constant(shift, "shift", np.int32) if shift else None
    known = b.known(zero)
    if known is not None and (known == shift).all():
        return small, None
    lacks = quantized.along(b, x, basic.cast(b, zero, "INT32"), axis)
    return small, binary(b, "SUB", b.constant(shift, "shift", np.int32), lacks)


def _sum(b: Builder, x: ir.Value, axis: int) -> ir.Value:
    """Sums along `axis`, which stays, of what :func:`_small` makes of `x`."""
    shift = 128 if x.dtype == "UINT8" else 0
    if x.data is not None:
        data = x.data.astype(np.int32) - shift
        return b.constant(data.sum(axis, keepdims=True, dtype=np.int32), "sums")
    plain = basic.cast(b, quantized.whole(b, x), "INT32")
    plain = binary(b, "SUB", plain, basic.scalar(b, shift, plain))
    return basic.reduce(b, "SUM", plain, [axis], True)


def _matmul_integer(c: Context) -> ir.Value:
    return matmul_integer(c.b, c.input(0), c.optional(2), c.input(1), c.optional(3))


def _shifted(c: Context, index: int, zero: int, axis: int) -> ir.Value:
    """An integer input minus its zero point, as whole floats."""
    x = quantized.whole(c.b, c.input(index))
    if not c.has(zero):
        return x
    point = quantized.along(c.b, x, quantized.whole(c.b, c.input(zero)), axis)
    return binary(c.b, "SUB", x, point)


def _in_exact_parts(
    b: Builder, weights: ir.Value, product: Callable[[int, int], ir.Value]
) -> ir.Value:
    """The INT32 sum of products of channels begin to end, as many as float32 sums exactly."""
    _, depth, *kernel = b.fixed_dims(weights, "its filter")
    most = _LARGEST * math.prod(kernel) * np.full(depth, _LARGEST)
    if weights.data is not None:  # per channel, the filter with the largest sum
        sizes = np.abs(weights.data.reshape(len(weights.data), depth, -1)).sum(2).max(0)
        most = _LARGEST * sizes.astype(np.int64)
    if most.max(initial=0) >= _EXACT or not depth:
        raise NoForm("sums more products than float32 holds exactly: dequantize the input instead")
    total: ir.Value | None = None
    begin = 0
    while begin < depth:
        end = begin + max(1, int((np.cumsum(most[begin:]) < _EXACT).sum()))
        part = basic.cast(b, product(begin, end), "INT32")
        total = part if total is None else binary(b, "ADD", total, part)
        begin = end
    assert total is not None
    return total


def _conv_integer(c: Context) -> ir.Value:
    x, weights = _shifted(c, 0, 2, 1), _shifted(c, 1, 3, 0)
    _, depth, *kernel = c.b.fixed_dims(weights, "its filter")
    window, groups = window_of(c, x, kernel), c.attr("group", 1)

    def product(begin: int, end: int) -> ir.Value:
        if (begin, end) == (0, depth):
            return convolution(c.b, x, weights, None, window, groups)
        if groups != 1:
            raise NoForm("has groups of many channels: dequantize the input instead")
        filters = basic.slice_axis(c.b, weights, 1, begin, end)
        part = basic.slice_axis(c.b, x, 1, begin, end)
        return convolution(c.b, part, filters, None, window, groups)

    return _in_exact_parts(c.b, weights, product)


ROWS: Rows = {
    "ConvInteger": _conv_integer,
    "MatMulInteger": _matmul_integer,
}
