# SPDX-License-Identifier: Apache-2.0
"""Rows for numbers with scales: QuantizeLinear, QLinearConv, MatMulInteger and their like.

They are written as arithmetic of the same numbers, which is what ONNX defines. Where one reads with
DequantizeLinear what QuantizeLinear made with constants (QDQ models), int8 numbers stand between
the two, and :func:`converter.passes.quantized.compute_in_int8` lets ops compute on those.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic, products
from converter.importers.forms.basic import binary, scalar, unary
from converter.importers.forms.convolution import convolution
from converter.importers.no_form import NoForm
from converter.importers.onnx import types
from converter.importers.onnx.context import Context, Rows
from converter.importers.onnx.rows.convolution import window_of

_EXACT = 1 << 24  # integers up to here are exact in float32
_LARGEST_PRODUCT = 255 * 255


def along(b: Builder, x: ir.Value, value: ir.Value, axis: int, block: int = 0) -> ir.Value:
    """A scale or zero point so that it broadcasts with `x`: one number, one per place of `axis`, or
    one per block of `block` of them.
    """
    rank = basic.rank(b, x)
    if math.prod(b.fixed_dims(value, "its scale")) == 1:
        return basic.reshape(b, value, [])
    axis = basic.axis_of(b, x, axis)
    if block:
        size = b.fixed_dims(x, "its input")[axis]
        at = basic.int32s(b, np.arange(size) // block, "blocks")
        return b.emit("GATHER", [value, at], axis=axis)
    (count,) = b.fixed_dims(value, "its scale")
    return basic.reshape(b, value, [count, *[1] * (rank - 1 - axis)])


def dequantized(
    b: Builder,
    x: ir.Value,
    scale: ir.Value,
    zero: ir.Value | None,
    axis: int = 1,
    block: int = 0,
) -> ir.Value:
    """(x - zero) * scale"""
    y = basic.cast(b, x, "FLOAT32")
    if zero is not None:
        y = binary(b, "SUB", y, basic.cast(b, along(b, x, zero, axis, block), "FLOAT32"))
    return binary(b, "MUL", y, along(b, x, scale, axis, block))


def quantized(
    b: Builder,
    x: ir.Value,
    scale: ir.Value,
    zero: ir.Value | None,
    kind: str,
    axis: int = 1,
    block: int = 0,
) -> ir.Value:
    """round(x / scale) + zero, halves to even, within the range of `kind`."""
    y = unary(b, "ROUND", binary(b, "DIV", x, along(b, x, scale, axis, block)))
    if zero is not None:
        y = binary(b, "ADD", y, basic.cast(b, along(b, x, zero, axis, block), "FLOAT32"))
    limits = np.iinfo(ir.numpy_dtype(kind))
    y = binary(b, "MAXIMUM", y, scalar(b, float(limits.min), y))
    y = binary(b, "MINIMUM", y, scalar(b, float(limits.max), y))
    return basic.cast(b, y, kind)


def _quantize(c: Context) -> ir.Value:
    x, scale, zero = c.input(0), c.input(1), c.optional(2)
    element = c.attr("output_dtype", 0)
    kind = types.inner_type(element) if element else "UINT8"
    kind = kind if zero is None else zero.dtype
    if kind not in ("INT8", "UINT8", "INT16", "UINT16"):
        raise NoForm(f"quantizes to {kind}, which devices lack: use int8, uint8 or int16")
    axis, block = c.attr("axis", 1), c.attr("block_size", 0)
    x = basic.cast(c.b, x, "FLOAT32")
    meaning = _meaning(c, kind)
    if meaning is None or c.b.samples(x) is not None:
        return quantized(c.b, x, scale, zero, kind, axis, block)
    twin = c.b.quantize(x, meaning[0], meaning[1] - _SHIFT[kind])
    if x.producer is not None and c.b.dequantizes:
        x = c.b.dequantize(twin)  # what computes it can then do so in int8, whoever reads y
    y = quantized(c.b, x, scale, zero, kind, axis, block)
    c.b.twins[y] = (twin, *meaning)
    return y


_SHIFT = {"INT8": 0, "UINT8": 128}


def _meaning(c: Context, kind: str) -> tuple[float, int] | None:
    """The constant scale and zero point of an 8-bit tensor, one for all of it."""
    scale, zero = c.b.known(c.input(1)), c.optional(2)
    point = np.zeros(1) if zero is None else c.b.known(zero)
    if kind not in _SHIFT or scale is None or point is None or scale.size != 1 or point.size != 1:
        return None
    step = float(scale.reshape(-1)[0])
    usable = np.isfinite(step) and step > np.finfo(np.float32).tiny
    return (step, int(point.reshape(-1)[0])) if usable else None


def _dequantize(c: Context) -> ir.Value:
    x, scale, zero = c.input(0), c.input(1), c.optional(2)
    meaning, twin = _meaning(c, x.dtype), c.b.twins.get(x)
    if twin is not None and twin[1:] == meaning:
        return c.b.dequantize(twin[0])
    y = dequantized(c.b, x, scale, zero, c.attr("axis", 1), c.attr("block_size", 0))
    if meaning is None or x.producer is not None or c.b.samples(x) is not None:
        return y
    # An input of the model: the same numbers as int8.
    return c.b.dequantize(c.b.quantize(y, meaning[0], meaning[1] - _SHIFT[x.dtype]))


def _dynamic_quantize(c: Context) -> list[ir.Value]:
    """UINT8 by the range of the input, which contains 0."""
    x = c.input(0)
    ends = []
    for reduction, op in (("REDUCE_MIN", "MINIMUM"), ("REDUCE_MAX", "MAXIMUM")):
        end = basic.reduce(c.b, reduction, x, None, False)
        ends.append(binary(c.b, op, end, scalar(c.b, 0, end)))
    low, high = ends
    span = binary(c.b, "SUB", high, low)
    scale = binary(c.b, "DIV", span, scalar(c.b, 255, span))
    zero = unary(c.b, "ROUND", binary(c.b, "DIV", unary(c.b, "NEG", low), scale))
    zero = binary(c.b, "MINIMUM", binary(c.b, "MAXIMUM", zero, scalar(c.b, 0, zero)),
                  scalar(c.b, 255, zero))  # fmt: skip
    zero = basic.cast(c.b, zero, "UINT8")
    return [quantized(c.b, x, scale, zero, "UINT8"), scale, zero]


def _qlinear_conv(c: Context) -> ir.Value:
    x, weights = c.input(0), c.input(3)
    kernel = c.b.fixed_dims(weights, "its filter")[2:]
    window = window_of(c, x, kernel)
    real = dequantized(c.b, x, c.input(1), c.input(2))
    filters = dequantized(c.b, weights, c.input(4), c.input(5), 0)
    bias = None
    if c.has(8):
        step = binary(c.b, "MUL", basic.reshape(c.b, c.input(1), []), c.input(4))
        bias = binary(c.b, "MUL", basic.cast(c.b, c.input(8), "FLOAT32"), step)
        count = c.b.fixed_dims(weights, "its filter")[0]
        bias = basic.reshape(c.b, bias, [count])
    y = convolution(c.b, real, filters, bias, window, c.attr("group", 1))
    return quantized(c.b, y, c.input(6), c.input(7), c.input(7).dtype)


def _qlinear_matmul(c: Context) -> ir.Value:
    a, b = c.input(0), c.input(3)
    left = dequantized(c.b, a, c.input(1), c.input(2), -2)
    right = dequantized(c.b, b, c.input(4), c.input(5), -1)
    y = products.matmul(c.b, left, right)
    scale = basic.cast(c.b, c.input(6), "FLOAT32")
    return quantized(c.b, y, scale, c.input(7), c.input(7).dtype, -2)


def _shifted(c: Context, index: int, zero: int, axis: int) -> ir.Value:
    """An integer input minus its zero point, as whole floats."""
    x = basic.cast(c.b, c.input(index), "FLOAT32")
    if not c.has(zero):
        return x
    return binary(c.b, "SUB", x, basic.cast(c.b, along(c.b, x, c.input(zero), axis), "FLOAT32"))


def _in_exact_parts(
    c: Context, depth: int, each: int, product: Callable[[int, int], ir.Value]
) -> ir.Value:
    """The INT32 sum of products of channels begin to end, each part exact in float32; `each` is the
    number of products per channel.
    """
    step = max(1, _EXACT // (_LARGEST_PRODUCT * each))
    if _LARGEST_PRODUCT * each >= _EXACT:
        raise NoForm("sums more products than float32 holds exactly: dequantize the input instead")
    total: ir.Value | None = None
    for begin in range(0, depth, step):
        part = basic.cast(c.b, product(begin, min(begin + step, depth)), "INT32")
        total = part if total is None else binary(c.b, "ADD", total, part)
    if total is None:
        raise NoForm("multiplies matrices without columns")
    return total


def _matmul_integer(c: Context) -> ir.Value:
    a, b = _shifted(c, 0, 2, -2), _shifted(c, 1, 3, -1)
    depth = c.b.dims(a)[-1]
    if depth is None:
        raise NoForm("multiplies matrices of dynamic depth: give the inputs fixed sizes")
    axis = -2 if basic.rank(c.b, b) > 1 else 0

    def product(begin: int, end: int) -> ir.Value:
        if (begin, end) == (0, depth):
            return products.matmul(c.b, a, b)
        left = basic.slice_axis(c.b, a, -1, begin, end)
        return products.matmul(c.b, left, basic.slice_axis(c.b, b, axis, begin, end))

    return _in_exact_parts(c, depth, 1, product)


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

    return _in_exact_parts(c, depth, math.prod(kernel), product)


ROWS: Rows = {
    "ConvInteger": _conv_integer,
    "DequantizeLinear": _dequantize,
    "DynamicQuantizeLinear": _dynamic_quantize,
    "MatMulInteger": _matmul_integer,
    "QLinearConv": _qlinear_conv,
    "QLinearMatMul": _qlinear_matmul,
    "QuantizeLinear": _quantize,
}
