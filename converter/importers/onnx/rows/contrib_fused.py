# SPDX-License-Identifier: Apache-2.0
"""Rows for ops of ONNX Runtime's own domain, com.microsoft, that its optimizer fuses others into,
as its documentation of contrib operators defines them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic, elementwise, normalization, products, reduction
from converter.importers.forms.attention import attention
from converter.importers.forms.basic import binary, unary
from converter.importers.forms.elementwise import affine
from converter.importers.no_form import NoForm
from converter.importers.onnx.context import Context, Rows
from converter.importers.onnx.rows.convolution import ROWS as PRODUCTS
from converter.importers.onnx.rows.normalization import ROWS as NORMALIZATIONS
from converter.importers.rows import refuse

_Activation = Callable[[Builder, ir.Value, list[float]], ir.Value]


def _parameter(given: list[float], place: int, default: float) -> float:
    return given[place] if place < len(given) else default


_ACTIVATIONS: dict[str, _Activation] = {
    "Clip": lambda b, x, p: elementwise.clamp(b, x, *[*p, None, None][:2]),
    "HardSigmoid": lambda b, x, p: elementwise.clamp(
        b, affine(b, x, _parameter(p, 0, 0.2), _parameter(p, 1, 0.5)), 0.0, 1.0
    ),
    "LeakyRelu": lambda b, x, p: b.emit("LEAKY_RELU", [x], alpha=_parameter(p, 0, 0.01)),
    "Relu": lambda b, x, p: unary(b, "RELU", x),
    "Sigmoid": lambda b, x, p: unary(b, "LOGISTIC", x),
    "Tanh": lambda b, x, p: unary(b, "TANH", x),
}


def _activated(c: Context, x: ir.Value, parameters: list[float]) -> ir.Value:
    name = c.attr("activation", "")
    if not name:
        return x
    if name not in _ACTIVATIONS:
        raise NoForm(f"fuses the activation '{name}', which has no row: save it without fusions")
    return _ACTIVATIONS[name](c.b, x, parameters)


def _plain(c: Context, op: str) -> ir.Value:
    found = (PRODUCTS | NORMALIZATIONS)[op](c)
    return found if isinstance(found, ir.Value) else found[0]


def _conv(c: Context) -> ir.Value:
    """Conv, plus the fourth input, then an activation."""
    y = _plain(c, "Conv")
    if c.has(3):
        y = binary(c.b, "ADD", y, c.input(3))
    return _activated(c, y, [float(p) for p in c.attr("activation_params") or []])


def _gemm(c: Context) -> ir.Value:
    names = ("activation_alpha", "activation_beta", "activation_gamma")
    given = [float(c.attr(name)) for name in names if c.attr(name) is not None]
    return _activated(c, _plain(c, "Gemm"), given)


def _matmul(c: Context) -> ir.Value:
    if c.attr("transBatchA", 0) or c.attr("transBatchB", 0):
        raise NoForm("moves batch axes within the product: save the model without fusions")
    x, y = c.input(0), c.input(1)
    flags = [
        bool(c.attr(name, 0)) and basic.rank(c.b, v) > 1
        for name, v in (("transA", x), ("transB", y))
    ]
    return affine(c.b, products.matmul(c.b, x, y, *flags), c.attr("alpha", 1.0), 0)


def _skipped(c: Context, bias: int) -> ir.Value:
    """The input, the skip connection and the bias together."""
    total = binary(c.b, "ADD", c.input(0), c.input(1))
    return binary(c.b, "ADD", total, c.input(bias)) if c.has(bias) else total


def _skip_layer_normalization(c: Context) -> list[ir.Value]:
    """Outputs: the result, mean, inverse deviation, the sum."""
    total = _skipped(c, 4)
    return [*_layer_normalization(c, total, c.input(2), c.optional(3)), total]


def _layer_normalization(
    c: Context, x: ir.Value, scale: ir.Value, offset: ir.Value | None
) -> list[ir.Value]:
    axes, epsilon = [basic.rank(c.b, x) - 1], c.attr("epsilon", 1e-12)
    found, mean, spread = normalization.standardized(c.b, x, axes, epsilon)
    return [normalization.scaled(c.b, found, scale, offset), mean, spread]


def _skip_simplified(c: Context) -> list[ir.Value]:
    total = _skipped(c, 3)
    found, spread = _by_root(c, total, -1, c.input(2))
    return [found, spread, spread, total]


def _simplified(c: Context) -> list[ir.Value]:
    return list(_by_root(c, c.input(0), c.attr("axis", -1), c.input(1)))


def _by_root(c: Context, x: ir.Value, axis: int, scale: ir.Value) -> tuple[ir.Value, ir.Value]:
    """x / sqrt(mean of x^2 + epsilon) * scale, and what x is multiplied by."""
    axes = range(basic.axis_of(c.b, x, axis), basic.rank(c.b, x))
    mean = reduction.reduce(c.b, "MEAN", unary(c.b, "SQUARE", x), axes, True)
    spread = unary(c.b, "RSQRT", affine(c.b, mean, 1, c.attr("epsilon", 1e-5)))
    return normalization.scaled(c.b, binary(c.b, "MUL", x, spread), scale, None), spread


def _embed(c: Context) -> list[ir.Value]:
    """Rows of words, places and segments, added and normalized."""
    if c.wants(1) and c.has(7):
        raise NoForm("counts the words of its mask: save the model without fusions")
    words = c.b.emit("GATHER", [c.input(2), basic.ints(c.b, c.input(0))], dtype="FLOAT32", axis=0)
    if c.has(8):
        places = c.b.emit("GATHER", [c.input(3), basic.ints(c.b, c.input(8))], axis=0)
    else:
        length = c.b.dims(c.input(0))[1]
        if length is None:
            raise NoForm("counts places up to a dynamic length: give the inputs fixed sizes")
        places = basic.slice_axis(c.b, c.input(3), 0, 0, length)
    total = binary(c.b, "ADD", words, places)
    if c.has(1):
        kind = c.b.emit("GATHER", [c.input(4), basic.ints(c.b, c.input(1))], axis=0)
        total = binary(c.b, "ADD", total, kind)
    found = _layer_normalization(c, total, c.input(5), c.input(6))[0]
    counts = c.b.constant(np.zeros(c.b.dims(c.input(0))[0] or 1), "counts", np.int32)
    return [found, counts, total]


def _heads(b: Builder, x: ir.Value, count: int) -> ir.Value:
    """[batch, length, features] as [batch, heads, length, features of one]."""
    batch, length, features = b.dims(x)
    if features is None or features % count:
        raise NoForm(f"parts {features} features into {count} heads")
    parted = basic.reshape(b, x, [batch, length, count, features // count])
    return basic.transpose(b, parted, [0, 2, 1, 3])


def _attention(c: Context) -> ir.Value:
    """Projection to q, k and v in one product, attention by heads, heads beside each other."""
    for index, what in ((4, "a past"), (5, "an attention bias"), (6, "a past")):
        if c.has(index) and not (index == 5):
            raise NoForm(f"has {what}: save the model without fusions")
    if c.attr("do_rotary", 0) or c.attr("past_present_share_buffer", 0) or c.wants(1):
        raise NoForm("rotates, or keeps what it has seen: save the model without fusions")
    x, b, count = c.input(0), c.b, int(c.attr("num_heads"))
    product = products.matmul(b, x, c.input(1))
    product = binary(b, "ADD", product, c.input(2)) if c.has(2) else product
    width = b.fixed_dims(c.input(1), "its weights")[1]
    sizes = c.attr("qkv_hidden_sizes") or [width // 3] * 3
    ends = np.cumsum([0, *sizes])
    q, k, v = (
        _heads(b, basic.slice_axis(b, product, -1, int(s), int(e)), count)
        for s, e in itertools.pairwise(ends)
    )
    scale = c.attr("scale", 0.0) or (sizes[0] // count) ** -0.5
    mask = _mask(c, 3)
    if c.has(5):
        mask = c.input(5) if mask is None else binary(b, "ADD", mask, c.input(5))
    found = attention(b, q, k, v, scale, mask, bool(c.attr("unidirectional", 0)))
    batch, length = b.dims(x)[:2]
    return basic.reshape(b, basic.transpose(b, found, [0, 2, 1, 3]), [batch, length, sizes[2]])


def _mask(c: Context, index: int) -> ir.Value | None:
    """0 where the mask of [batch, length] or [batch, length, length] is 1, a large negative number
    elsewhere.
    """
    if not c.has(index):
        return None
    given = c.input(index)
    rank = basic.rank(c.b, given)
    if rank not in (2, 3):
        raise NoForm("has a mask that counts words: save the model without fusions")
    far = abs(float(c.attr("mask_filter_value", -10000.0)))
    term = affine(c.b, basic.cast(c.b, given, "FLOAT32"), far, -far)
    return basic.unsqueeze(c.b, term, [1, 2] if rank == 2 else [1])


def _gelu(approximate: bool) -> Callable[[Context], ir.Value]:
    """Of the input plus the second one, where there is one."""

    def row(c: Context) -> ir.Value:
        x = binary(c.b, "ADD", c.input(0), c.input(1)) if c.has(1) else c.input(0)
        return c.b.emit("GELU", [x], approximate=approximate)

    return row


def _quick_gelu(c: Context) -> ir.Value:
    x = c.input(0)
    gate = unary(c.b, "LOGISTIC", affine(c.b, x, c.attr("alpha", 1.702), 0))
    return binary(c.b, "MUL", x, gate)


_ROWS: Rows = {
    "Attention": _attention,
    "BiasGelu": _gelu(False),
    "EmbedLayerNormalization": _embed,
    "FastGelu": _gelu(True),
    "FusedConv": _conv,
    "FusedGemm": _gemm,
    "FusedMatMul": _matmul,
    "Gelu": _gelu(False),
    "QuickGelu": _quick_gelu,
    "SkipLayerNormalization": _skip_layer_normalization,
    "SkipSimplifiedLayerNormalization": _skip_simplified,
}
_BLOCKED = ("AveragePool", "Conv", "GlobalAveragePool", "GlobalMaxPool", "MaxPool",
            "ReorderInput", "ReorderOutput", "Upsample")  # fmt: skip
ROWS: Rows = {f"com.microsoft.{op}": row for op, row in _ROWS.items()}
ROWS["SimplifiedLayerNormalization"] = _simplified  # ONNX Runtime puts it into ONNX's own domain
for _op in _BLOCKED:
    ROWS[f"com.microsoft.nchwc.{_op}"] = refuse(
        "is for the processor that ONNX Runtime optimized the model for: convert the model from"
        " before, or save it with ORT_ENABLE_EXTENDED"
    )
