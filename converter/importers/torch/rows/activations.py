# SPDX-License-Identifier: Apache-2.0
"""Rows for activations."""

from __future__ import annotations

import math

from converter import ir
from converter.importers.forms import activations, basic, elementwise
from converter.importers.forms.basic import binary, unary
from converter.importers.forms.elementwise import affine
from converter.importers.torch.context import Context, Row, Rows


def _unary(op: str) -> Row:
    return lambda c: elementwise.apply(c.b, op, c.value("self"))


def _gelu(c: Context) -> ir.Value:
    return c.b.emit("GELU", [c.value("self")], approximate=c.arg("approximate") == "tanh")


def _leaky_relu(c: Context) -> ir.Value:
    return c.b.emit("LEAKY_RELU", [c.value("self")], alpha=float(c.arg("negative_slope")))


def _silu(c: Context) -> ir.Value:
    x = c.value("self")
    return binary(c.b, "MUL", x, unary(c.b, "LOGISTIC", x))


def _hardsigmoid(c: Context) -> ir.Value:
    shifted = affine(c.b, c.value("self"), 1, 3)
    return affine(c.b, unary(c.b, "RELU6", shifted), 1 / 6, 0)


def _hardtanh(c: Context) -> ir.Value:
    return elementwise.clamp(c.b, c.value("self"), c.arg("min_val"), c.arg("max_val"))


def _elu(c: Context) -> ir.Value:
    """scale * (x above 0, alpha * (exp(input_scale * x) - 1) below)"""
    scale, within = c.arg("scale"), c.arg("input_scale")
    below = c.arg("alpha") * scale
    return activations.elu(c.b, c.value("self"), below, scale, within)


def _prelu(c: Context) -> ir.Value:
    """One slope, or one for each channel (axis 1)."""
    x, slope = c.value("self"), c.value("weight")
    count = c.b.fixed_dims(slope, "its slopes")
    if count and basic.rank(c.b, x) > 1:
        slope = basic.reshape(c.b, slope, [*count, *[1] * (basic.rank(c.b, x) - 2)])
    return activations.prelu(c.b, x, slope)


def _softplus(c: Context) -> ir.Value:
    """log(1 + exp(beta x)) / beta; above `threshold` it is x within float32's precision."""
    beta = c.arg("beta")
    x = elementwise.softplus(c.b, affine(c.b, c.value("self"), beta, 0))
    found = affine(c.b, x, 1 / beta, 0)
    if c.arg("threshold") * math.log2(math.e) >= 24:
        return found
    limit = basic.scalar(c.b, c.arg("threshold") / beta, c.value("self"))
    above = binary(c.b, "GREATER", c.value("self"), limit, "BOOL")
    return elementwise.select(c.b, above, c.value("self"), found)


def _mish(c: Context) -> ir.Value:
    return activations.mish(c.b, c.value("self"))


ROWS: Rows = {
    "elu": _elu,
    "gelu": _gelu,
    "hardsigmoid": _hardsigmoid,
    "hardswish": _unary("HARD_SWISH"),
    "hardtanh": _hardtanh,
    "leaky_relu": _leaky_relu,
    "mish": _mish,
    "prelu": _prelu,
    "relu": _unary("RELU"),
    "silu": _silu,
    "softplus": _softplus,
}
