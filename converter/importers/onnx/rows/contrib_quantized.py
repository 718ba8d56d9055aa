# SPDX-License-Identifier: Apache-2.0
"""Rows for the quantized ops of ONNX Runtime's own domain, com.microsoft, as its documentation of
contrib operators defines them: what onnxruntime.quantization writes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx

from converter import ir
from converter.importers.forms import basic, elementwise, pooling, products, quantized, reduction
from converter.importers.forms import normalization as norm
from converter.importers.forms.basic import binary, unary
from converter.importers.forms.elementwise import affine
from converter.importers.forms.integer_products import matmul_integer
from converter.importers.no_form import NoForm
from converter.importers.onnx.context import Context, Row, Rows
from converter.importers.onnx.rows.convolution import window_of
from converter.importers.onnx.rows.normalization import flattened
from converter.importers.onnx.rows.quantized import ROWS as PLAIN
from converter.importers.onnx.rows.quantized import dynamic, read, write
from converter.importers.onnx.rows.recurrent import ROWS as RECURRENT


def _of_one(form: Callable[[Context], ir.Value]) -> Row:
    """X, its scale and zero point, then those of the result; `form` reads the real X."""

    def row(c: Context) -> ir.Value:
        return write(c, form(c), 3, c.input(0).dtype)

    return row


def _of_two(op: str) -> Row:
    """A and B, each with scale and zero point, then those of the result."""

    def row(c: Context) -> ir.Value:
        y = elementwise.arithmetic(c.b, op, read(c, 0), read(c, 3))
        return write(c, y, 6, c.input(0).dtype)

    return row


def _leaky_relu(c: Context) -> ir.Value:
    return c.b.emit("LEAKY_RELU", [read(c, 0)], alpha=float(c.attr("alpha", 0.01)))


def _softmax(c: Context) -> ir.Value:
    """`opset` says which Softmax is meant: below 13 it flattens behind `axis`."""
    x = read(c, 0)
    if c.attr("opset", 13) >= 13:
        return norm.softmax(c.b, "SOFTMAX", x, c.attr("axis", -1))
    return flattened(c, x, lambda v: norm.softmax(c.b, "SOFTMAX", v, 1))


def _average_pool(c: Context) -> ir.Value:
    x, last = read(c, 0), bool(c.attr("channels_last", 0))
    x = basic.channels_first(c.b, x) if last else x
    kernel = [int(k) for k in c.attr("kernel_shape")]
    ceil = bool(c.attr("ceil_mode", 0)) and c.attr("auto_pad", "NOTSET") == "NOTSET"
    counts = bool(c.attr("count_include_pad", 0))
    y = pooling.average_pool(c.b, x, kernel, window_of(c, x, kernel), ceil, counts)
    return basic.channels_last(c.b, y) if last else y


def _global_average_pool(c: Context) -> ir.Value:
    x = read(c, 0)
    rank = basic.rank(c.b, x)
    axes = range(1, rank - 1) if c.attr("channels_last", 0) else range(2, rank)
    return reduction.reduce(c.b, "MEAN", x, axes, True)


def _concat(c: Context) -> ir.Value:
    """The result's scale and zero point, then the inputs with theirs."""
    values = [read(c, i) for i in range(2, c.n_inputs, 3)]
    return write(c, basic.concat(c.b, values, c.attr("axis")), 0, c.input(2).dtype)


def _where(c: Context) -> ir.Value:
    y = elementwise.select(c.b, c.input(0), read(c, 1), read(c, 4))
    return write(c, y, 7, c.input(1).dtype)


def _gemm(c: Context) -> ir.Value:
    """alpha A B + C, where C is int32 in steps of alpha times both scales; the result is real
    where it has no scale.
    """
    flags = bool(c.attr("transA", 0)), bool(c.attr("transB", 0))
    alpha = c.attr("alpha", 1.0)
    columns = 0 if flags[1] else 1  # scales of B are one for each column of the product
    y = affine(c.b, products.matmul(c.b, read(c, 0), read(c, 3, columns), *flags), alpha, 0)
    if c.has(6):
        step = affine(c.b, binary(c.b, "MUL", c.input(1), c.input(4)), alpha, 0)
        y = binary(c.b, "ADD", y, binary(c.b, "MUL", quantized.whole(c.b, c.input(6)), step))
    return write(c, y, 7, c.input(0).dtype) if c.has(7) else y


def _scaled(
    c: Context,
    product: ir.Value,
    scale_a: ir.Value,
    scale_b: ir.Value,
    b: ir.Value,
    bias: ir.Value | None,
) -> ir.Value:
    """INT32 sums in real numbers."""
    scale = binary(c.b, "MUL", scale_a, quantized.along(c.b, b, scale_b, -1))
    y = binary(c.b, "MUL", basic.cast(c.b, product, "FLOAT32"), scale)
    return y if bias is None else binary(c.b, "ADD", y, bias)


def _matmul_integer_to_float(c: Context) -> ir.Value:
    a, b = c.input(0), c.input(1)
    product = matmul_integer(c.b, a, c.optional(4), b, c.optional(5))
    scale = quantized.along(c.b, a, c.input(2), -2)
    return _scaled(c, product, scale, c.input(3), b, c.optional(6))


def _dynamic_quantize_matmul(c: Context) -> ir.Value:
    b = c.input(1)
    a, scale, zero = dynamic(c.b, c.input(0))
    product = matmul_integer(c.b, a, zero, b, c.optional(3))
    return _scaled(c, product, scale, c.input(2), b, c.optional(4))


def _matmul_n_bits(c: Context) -> ir.Value:
    """A matrix by rows of blocks of 2, 4 or 8 bits each, the first number lowest in its byte."""
    bits, block = int(c.attr("bits", 4)), int(c.attr("block_size"))
    columns, depth = int(c.attr("N")), int(c.attr("K"))
    if bits not in (2, 4, 8):
        raise NoForm(f"has weights of {bits} bits: make them of 2, 4 or 8")
    if c.has(4):
        raise NoForm("has its columns in groups (g_idx): quantize without reordering them")
    blocks = -(-depth // block)
    packed = c.array(1, "weights").reshape(columns, -1)
    numbers = _unpacked(packed, bits)[:, : blocks * block]
    scales = c.array(2, "scales").reshape(columns, blocks)
    zeros = np.full((columns, blocks), 1 << (bits - 1))
    if c.has(3):
        given = c.array(3, "zero points").reshape(columns, -1)
        if given.dtype != np.uint8:
            raise NoForm("has zero points that are no whole numbers: quantize with integer ones")
        zeros = _unpacked(given, bits)[:, :blocks]
    rows = quantized.stored(c.b, numbers, scales, zeros, 1, block, bits)
    if blocks * block != depth:
        rows = basic.slice_axis(c.b, rows, 1, 0, depth)
    c.b.unpacked[rows, True] = rows
    y = products.matmul(c.b, c.input(0), rows, False, True)
    return binary(c.b, "ADD", y, c.input(5)) if c.has(5) else y


def _dynamic_quantize_lstm(c: Context) -> list[ir.Value]:
    """LSTM of an input that is rounded by its range, with the weights' own integers. The states,
    which ONNX Runtime rounds too at every step, stay as they are.
    """
    node, scope = onnx.NodeProto(), c.b.scope
    node.CopyFrom(c.node)
    node.op_type, node.domain = "LSTM", ""
    del node.input[8:]
    x, scale, zero = dynamic(c.b, c.input(0))
    c.graph.values[f"{scope}/rounded"] = quantized.real(c.b, x, scale, zero)
    node.input[0] = f"{scope}/rounded"
    for index, first in ((1, 8), (2, 10)):
        integers = c.array(index, "weights").astype(np.float32)
        step = c.array(first, "scale").reshape(len(integers), 1, -1)
        if c.has(first + 1):
            points = c.array(first + 1, "zero point").astype(np.float32)
            integers = integers - points.reshape(len(integers), 1, -1)
        node.input[index] = f"{scope}/weights {index}"
        turned = np.ascontiguousarray((integers * step).transpose(0, 2, 1))
        c.graph.held[node.input[index]] = turned
    found = RECURRENT["LSTM"](Context(c.graph, node, 14))
    assert not isinstance(found, ir.Value)
    return list(found)


def _unpacked(data: np.ndarray, bits: int) -> np.ndarray:
    """Unsigned numbers of `bits` along the last axis of bytes."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    parts = (data[..., None] >> shifts) & ((1 << bits) - 1)
    return parts.reshape(*data.shape[:-1], -1)


_ROWS: Rows = {
    "DequantizeLinear": PLAIN["DequantizeLinear"],
    "DynamicQuantizeLSTM": _dynamic_quantize_lstm,
    "DynamicQuantizeMatMul": _dynamic_quantize_matmul,
    "MatMulNBits": _matmul_n_bits,
    "MatMulIntegerToFloat": _matmul_integer_to_float,
    "QGemm": _gemm,
    "QLinearAdd": _of_two("ADD"),
    "QLinearAveragePool": _of_one(_average_pool),
    "QLinearConcat": _concat,
    "QLinearGlobalAveragePool": _of_one(_global_average_pool),
    "QLinearLeakyRelu": _of_one(_leaky_relu),
    "QLinearMul": _of_two("MUL"),
    "QLinearSigmoid": _of_one(lambda c: unary(c.b, "LOGISTIC", read(c, 0))),
    "QLinearSoftmax": _of_one(_softmax),
    "QLinearWhere": _where,
    "QuantizeLinear": PLAIN["QuantizeLinear"],
}
ROWS: Rows = {f"com.microsoft.{op}": row for op, row in _ROWS.items()}
