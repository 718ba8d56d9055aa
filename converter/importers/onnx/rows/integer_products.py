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
from converter.importers.forms.integer_products import matmul_integer
from converter.importers.no_form import NoForm
from converter.importers.onnx.context import Context, Rows
from converter.importers.onnx.rows.convolution import window_of

_EXACT = 1 << 24  # integers up to here are exact in float32
_LARGEST = 255  # magnitude of an 8-bit number less its zero point


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
