# SPDX-License-Identifier: Apache-2.0
"""Rows for convolutions, pooling, normalization and products of matrices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from converter import ir
from converter.importers.forms import basic, products
from converter.importers.forms.convolution import Window, convolution, same_pads
from converter.importers.forms.elementwise import affine, arithmetic
from converter.importers.forms.pooling import max_pool
from converter.importers.no_form import NoForm
from converter.importers.onnx.context import Context, Rows


def window_of(c: Context, x: ir.Value, kernel: Sequence[int]) -> Window:
    """Strides, dilations and paddings of a node, `auto_pad` settled."""
    spatial = len(kernel)
    strides = tuple(c.attr("strides") or [1] * spatial)
    dilations = tuple(c.attr("dilations") or [1] * spatial)
    auto = c.attr("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        pads = []
        for axis in range(spatial):
            size = c.b.dims(x)[2 + axis]
            if size is None:
                raise NoForm(
                    "pads to SAME an axis of dynamic size: give the model's inputs fixed sizes"
                    " (--input NAME=SIZES)"
                )
            few, many = same_pads(size, kernel[axis], strides[axis], dilations[axis])
            pads.append((few, many) if auto == "SAME_UPPER" else (many, few))
        return Window(strides, tuple(pads), dilations)
    flat = c.attr("pads") or [0] * (2 * spatial)
    if auto == "VALID":
        flat = [0] * (2 * spatial)
    pairs = tuple((flat[i], flat[spatial + i]) for i in range(spatial))
    return Window(strides, pairs, dilations)


def _conv(c: Context) -> ir.Value:
    x, weights = c.input(0), c.input(1)
    kernel = c.b.fixed_dims(weights, "its filter")[2:]
    bias = c.optional(2)
    return convolution(c.b, x, weights, bias, window_of(c, x, kernel), c.attr("group", 1))


def _max_pool(c: Context) -> ir.Value:
    if c.wants(1):
        raise NoForm("gives the places of the largest elements: leave out its second output")
    if c.attr("ceil_mode", 0):
        raise NoForm("rounds its sizes up (ceil_mode)")
    x, kernel = c.input(0), c.attr("kernel_shape")
    return max_pool(c.b, x, kernel, window_of(c, x, kernel))


def _batch_normalization(c: Context) -> ir.Value:
    x = c.input(0)
    if c.attr("training_mode", 0):
        raise NoForm("is in training mode: export the model for inference")
    scale, offset, mean, variance = (
        c.array(i, "statistics").astype(np.float64) for i in range(1, 5)
    )
    factor = scale / np.sqrt(variance + c.attr("epsilon", 1e-5))
    shape = [-1] + [1] * (basic.rank(c.b, x) - 2)
    kind = ir.numpy_dtype(x.dtype)
    scaled = basic.binary(c.b, "MUL", x, c.b.constant(factor.reshape(shape), "scale", kind))
    moved = c.b.constant((offset - mean * factor).reshape(shape), "offset", kind)
    return basic.binary(c.b, "ADD", scaled, moved)


def _global_average_pool(c: Context) -> ir.Value:
    x = c.input(0)
    return basic.reduce(c.b, "MEAN", x, range(2, basic.rank(c.b, x)), True)


def _matmul(c: Context) -> ir.Value:
    return products.matmul(c.b, c.input(0), c.input(1))


def _gemm(c: Context) -> ir.Value:
    """alpha A B + beta C, either matrix transposed."""
    a, b = c.input(0), c.input(1)
    transposed = bool(c.attr("transA", 0)), bool(c.attr("transB", 0))
    product = products.matmul(c.b, a, b, *transposed)
    product = affine(c.b, product, c.attr("alpha", 1.0), 0)
    if not c.has(2):
        return product
    term = affine(c.b, c.input(2), c.attr("beta", 1.0), 0)
    return arithmetic(c.b, "ADD", product, term)


def _softmax(c: Context) -> ir.Value:
    x = c.input(0)
    axis = basic.axis_of(c.b, x, c.attr("axis", 1 if c.opset < 13 else -1))
    last = basic.rank(c.b, x) - 1
    if c.opset < 13 and axis != last:
        raise NoForm("is over several axes, as before opset 13: export with opset 13 or newer")
    perm = list(range(last + 1))
    perm[axis], perm[last] = last, axis
    return basic.transpose(
        c.b, c.b.emit("SOFTMAX", [basic.transpose(c.b, x, perm)], beta=1.0), perm
    )


ROWS: Rows = {
    "BatchNormalization": _batch_normalization,
    "Conv": _conv,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average_pool,
    "MatMul": _matmul,
    "MaxPool": _max_pool,
    "Softmax": _softmax,
}
