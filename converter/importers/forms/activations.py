# SPDX-License-Identifier: Apache-2.0
"""Activations that TFLite has no single op for."""

from __future__ import annotations

import contextlib

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms.basic import binary, scalar, unary
from converter.importers.forms.elementwise import affine, arithmetic, softplus
from converter.importers.no_form import NoForm


def elu(b: Builder, x: ir.Value, below: float, above: float = 1.0, within: float = 1.0) -> ir.Value:
    """`above` * x for x > 0, else `below` * (exp(`within` * x) - 1): ELU, SELU and CELU."""
    if below == above == within == 1:
        return unary(b, "ELU", x)
    high = affine(b, unary(b, "RELU", x), above, 0)
    low = affine(b, binary(b, "MINIMUM", x, scalar(b, 0, x)), within, 0)
    return binary(b, "ADD", high, affine(b, unary(b, "ELU", low), below, 0))


def mish(b: Builder, x: ir.Value) -> ir.Value:
    """x tanh(log(1 + exp(x)))"""
    return binary(b, "MUL", x, unary(b, "TANH", softplus(b, x)))


def prelu(b: Builder, x: ir.Value, slope: ir.Value) -> ir.Value:
    """x above 0, slope * x below; NumPy's broadcasting."""
    if x.dtype == "FLOAT32" and slope.data is not None:
        with contextlib.suppress(NoForm):  # of shapes that PRELU lacks
            return b.emit("PRELU", [x, slope])
    negative = arithmetic(b, "MINIMUM", x, scalar(b, 0, x))
    positive = arithmetic(b, "MAXIMUM", x, scalar(b, 0, x))
    return arithmetic(b, "ADD", positive, arithmetic(b, "MUL", negative, slope))
