# SPDX-License-Identifier: Apache-2.0
"""Rows for numbers with scales: QuantizeLinear, QLinearConv and their like.

The QLinear ops are what ONNX defines them to be: their inputs dequantized, the op, its result
quantized. See :mod:`converter.importers.forms.quantized` for what becomes of that.
"""

from __future__ import annotations

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic, products, quantized
from converter.importers.forms.basic import binary, scalar, unary
from converter.importers.forms.convolution import convolution
from converter.importers.no_form import NoForm
from converter.importers.onnx import types
from converter.importers.onnx.context import Context, Rows
from converter.importers.onnx.rows.convolution import window_of

_KINDS = ("INT8", "UINT8", "INT16", "UINT16")


def read(c: Context, first: int, axis: int = 1) -> ir.Value:
    """What the integers of input `first` mean, whose scale and zero point are the next two."""
    return quantized.dequantize(
        c.b, c.input(first), c.input(first + 1), c.optional(first + 2), axis
    )


def write(c: Context, y: ir.Value, first: int, kind: str, axis: int = 1) -> ir.Value:
    """`y` by the scale in input `first` and the zero point behind it, whose type it takes, or
    `kind` where there is none.
    """
    scale, zero = basic.cast(c.b, c.input(first), "FLOAT32"), c.optional(first + 1)
    return quantized.quantize(c.b, y, scale, zero, kind if zero is None else zero.dtype, axis)


def _quantize(c: Context) -> ir.Value:
    x, scale, zero = c.input(0), c.input(1), c.optional(2)
    element = c.attr("output_dtype", 0)
    element = element if zero is None else c.graph.narrow.get(zero, 0)
    kind = types.inner_type(element) if element else "UINT8"
    kind = kind if zero is None else zero.dtype
    if kind not in _KINDS:
        raise NoForm(f"quantizes to {kind}, which devices lack: use int8, uint8 or int16")
    axis, block = c.attr("axis", 1), c.attr("block_size", 0)
    if element not in types.NARROW:
        return quantized.quantize(c.b, x, scale, zero, kind, axis, block)
    limits = types.NARROW[element][1:]
    y = quantized.integers(c.b, x, scale, zero, kind, axis, block, limits)
    c.graph.narrow[y] = element
    return y


def _dequantize(c: Context) -> ir.Value:
    x, scale, zero = c.input(0), c.input(1), c.optional(2)
    axis, block = c.attr("axis", 1), c.attr("block_size", 0)
    parts = [v.data for v in (x, scale, zero) if v is not None]
    if block and all(p is not None for p in parts) and x.dtype in ("INT8", "UINT8"):
        numbers, steps = c.b.require(x, "weights"), c.b.require(scale, "scale")
        points, bits = None if zero is None else zero.data, 4 if x in c.graph.narrow else 8
        return quantized.stored(c.b, numbers, steps, points, axis, block, bits)
    return quantized.dequantize(c.b, x, scale, zero, axis, block)


def _dynamic_quantize(c: Context) -> list[ir.Value]:
    return dynamic(c.b, c.input(0))


def dynamic(b: Builder, x: ir.Value) -> list[ir.Value]:
    """`x` as UINT8 by its range, which contains 0; the scale; the zero point."""
    ends = []
    for reduction, op in (("REDUCE_MIN", "MINIMUM"), ("REDUCE_MAX", "MAXIMUM")):
        end = basic.reduce(b, reduction, x, None, False)
        ends.append(binary(b, op, end, scalar(b, 0, end)))
    low, high = ends
    span = binary(b, "SUB", high, low)
    scale = binary(b, "DIV", span, scalar(b, 255, span))
    zero = unary(b, "ROUND", binary(b, "DIV", unary(b, "NEG", low), scale))
    zero = binary(b, "MINIMUM", binary(b, "MAXIMUM", zero, scalar(b, 0, zero)),
                  scalar(b, 255, zero))  # fmt: skip
    zero = quantized.as_integers(b, zero, "UINT8")
    return [quantized.integers(b, x, scale, zero, "UINT8"), scale, zero]


def _real_conv(c: Context) -> ir.Value:
    """QLinearConv in real numbers, before its result is quantized."""
    x, weights = c.input(0), c.input(3)
    kernel = c.b.fixed_dims(weights, "its filter")[2:]
    window = window_of(c, x, kernel)
    filters = read(c, 3, 0)
    bias = None
    if c.has(8):
        step = binary(c.b, "MUL", basic.reshape(c.b, c.input(1), []), c.input(4))
        bias = binary(c.b, "MUL", basic.cast(c.b, c.input(8), "FLOAT32"), step)
        count = c.b.fixed_dims(weights, "its filter")[0]
        bias = basic.reshape(c.b, bias, [count])
    return convolution(c.b, read(c, 0), filters, bias, window, c.attr("group", 1))


def _qlinear_conv(c: Context) -> ir.Value:
    return write(c, _real_conv(c), 6, "UINT8")


def _qlinear_matmul(c: Context) -> ir.Value:
    y = products.matmul(c.b, read(c, 0, -2), read(c, 3, -1))
    return write(c, y, 6, "UINT8", -2)


ROWS: Rows = {
    "DequantizeLinear": _dequantize,
    "DynamicQuantizeLinear": _dynamic_quantize,
    "QLinearConv": _qlinear_conv,
    "QLinearMatMul": _qlinear_matmul,
    "QuantizeLinear": _quantize,
}
