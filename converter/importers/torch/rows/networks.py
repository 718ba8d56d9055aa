# SPDX-License-Identifier: Apache-2.0
"""Rows for convolutions, pooling, normalizations, reductions and products of matrices."""

from __future__ import annotations

import numpy as np

from converter import ir
from converter.importers.forms import basic, products, reduction
from converter.importers.forms.basic import binary, scalar, unary
from converter.importers.forms.convolution import Window, convolution
from converter.importers.forms.elementwise import affine, arithmetic
from converter.importers.forms.pooling import max_pool
from converter.importers.no_form import NoForm
from converter.importers.torch.context import Context, Row, Rows


def _convolution(c: Context) -> ir.Value:
    if c.arg("transposed"):
        raise NoForm("is transposed")
    pads = tuple((p, p) for p in c.arg("padding"))
    window = Window(tuple(c.arg("stride")), pads, tuple(c.arg("dilation")))
    weights, bias = c.value("weight"), c.optional("bias")
    return convolution(c.b, c.value("input"), weights, bias, window, c.arg("groups"))


def _batch_norm(c: Context) -> list[ir.Value | None]:
    x = c.value("input")
    mean, variance = (c.b.require(c.value(f"running_{n}"), n) for n in ("mean", "var"))
    factor = 1 / np.sqrt(variance.astype(np.float64) + c.arg("eps"))
    weight, bias = c.optional("weight"), c.optional("bias")
    if weight is not None:
        factor = factor * c.b.require(weight, "weight")
    term = -mean * factor + (0 if bias is None else c.b.require(bias, "bias"))
    shape = [-1] + [1] * (basic.rank(c.b, x) - 2)
    scaled = binary(c.b, "MUL", x, c.b.constant(factor.reshape(shape), "scale", np.float32))
    moved = c.b.constant(term.reshape(shape), "offset", np.float32)
    return [binary(c.b, "ADD", scaled, moved), None, None]


def _max_pool(c: Context) -> list[ir.Value | None]:
    kernel = c.arg("kernel_size")
    if c.arg("ceil_mode"):
        raise NoForm("rounds its sizes up (ceil_mode)")
    pads = tuple((p, p) for p in c.arg("padding"))
    window = Window(tuple(c.arg("stride") or kernel), pads, tuple(c.arg("dilation")))
    return [max_pool(c.b, c.value("self"), kernel, window), None]


def _reduce(op: str) -> Row:
    def row(c: Context) -> ir.Value:
        axes = c.arguments.get("dim")
        axes = [axes] if isinstance(axes, int) else axes or None
        x = basic.cast(c.b, c.value("self"), c.result_type())
        return reduction.reduce(c.b, op, x, axes, bool(c.arguments.get("keepdim")))

    return row


def _softmax(op: str) -> Row:
    def row(c: Context) -> ir.Value:
        x = basic.cast(c.b, c.value("self"), c.result_type())
        last = basic.rank(c.b, x) - 1
        axis = basic.axis_of(c.b, x, c.arg("dim"))
        perm = list(range(last + 1))
        perm[axis], perm[last] = last, axis
        moved = basic.transpose(c.b, x, perm)
        found = c.b.emit(op, [moved], beta=1.0) if op == "SOFTMAX" else c.b.emit(op, [moved])
        return basic.transpose(c.b, found, perm)

    return row


def _layer_norm(c: Context) -> ir.Value:
    x, shape = c.value("input"), c.arg("normalized_shape")
    axes = range(-len(shape), 0)
    centred = binary(c.b, "SUB", x, reduction.reduce(c.b, "MEAN", x, axes, True))
    variance = reduction.reduce(c.b, "MEAN", unary(c.b, "SQUARE", centred), axes, True)
    spread = unary(c.b, "RSQRT", affine(c.b, variance, 1, c.arg("eps")))
    found = binary(c.b, "MUL", centred, spread)
    for op, name in (("MUL", "weight"), ("ADD", "bias")):
        if c.optional(name) is not None:
            found = binary(c.b, op, found, c.value(name))
    return found


def _linear(c: Context) -> ir.Value:
    product = products.matmul(c.b, c.value("input"), c.value("weight"), False, True)
    bias = c.optional("bias")
    return product if bias is None else arithmetic(c.b, "ADD", product, bias)


def _addmm(c: Context) -> ir.Value:
    product = products.matmul(c.b, c.value("mat1"), c.value("mat2"))
    term = affine(c.b, c.value("self"), c.arg("beta"), 0)
    return arithmetic(c.b, "ADD", affine(c.b, product, c.arg("alpha"), 0), term)


def _matmul(c: Context) -> ir.Value:
    other = "mat2" if "mat2" in c.arguments else "other"
    return products.matmul(c.b, c.value("self"), c.value(other))


def _attention(c: Context) -> ir.Value:
    """softmax(q k^T scale + mask) v"""
    q, k, v = (c.value(name) for name in ("query", "key", "value"))
    if c.arg("dropout_p"):
        raise NoForm("drops elements out: export the model for inference")
    scale = c.arg("scale") or 1 / np.sqrt(c.b.fixed_dims(q, "its query")[-1])
    scores = products.matmul(c.b, affine(c.b, q, float(scale), 0), k, False, True)
    mask = c.optional("attn_mask")
    if c.arg("is_causal"):
        length, reach = c.b.fixed_dims(scores, "its scores")[-2:]
        mask = c.b.constant(np.tril(np.ones((length, reach), bool)), "causal")
    if mask is not None and mask.dtype == "BOOL":
        low = scalar(c.b, float("-inf"), scores)
        zero = scalar(c.b, 0.0, scores)
        mask = c.b.emit("SELECT_V2", [mask, zero, low], dtype="FLOAT32")
    if mask is not None:
        scores = binary(c.b, "ADD", scores, mask)
    return products.matmul(c.b, c.b.emit("SOFTMAX", [scores], beta=1.0), v)


def _adaptive_average(c: Context) -> ir.Value:
    x, sizes = c.value("self"), c.arg("output_size")
    if any(size != 1 for size in sizes):
        raise NoForm(f"averages to {sizes}: only 1 x 1 has a form, or a fixed kernel (AvgPool2d)")
    return reduction.reduce(c.b, "MEAN", x, range(-len(sizes), 0), True)


ROWS: Rows = {
    "_adaptive_avg_pool2d": _adaptive_average,
    "_log_softmax": _softmax("LOG_SOFTMAX"),
    "_native_batch_norm_legit_no_training": _batch_norm,
    "_softmax": _softmax("SOFTMAX"),
    "adaptive_avg_pool2d": _adaptive_average,
    "addmm": _addmm,
    "amax": _reduce("REDUCE_MAX"),
    "amin": _reduce("REDUCE_MIN"),
    "bmm": _matmul,
    "convolution": _convolution,
    "layer_norm": _layer_norm,
    "linear": _linear,
    "matmul": _matmul,
    "max_pool2d_with_indices": _max_pool,
    "mean": _reduce("MEAN"),
    "mm": _matmul,
    "prod": _reduce("REDUCE_PROD"),
    "scaled_dot_product_attention": _attention,
    "sum": _reduce("SUM"),
}
