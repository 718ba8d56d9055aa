# SPDX-License-Identifier: Apache-2.0
"""Rows that draw random numbers, each run anew. The numbers are TFLite's, not ONNX Runtime's."""

from __future__ import annotations

from typing import Any

import numpy as np

from converter import ir
from converter.importers.forms import basic
from converter.importers.forms.basic import int32s
from converter.importers.forms.elementwise import affine, compare
from converter.importers.onnx import types
from converter.importers.onnx.context import Context, Row, Rows


def _seeds(c: Context) -> dict[str, Any]:
    """No seed: another sequence at each start."""
    seed = c.attr("seed")
    return {"seed": 0 if seed is None else int(seed) or 1, "seed2": 0}


def _draw(op: str, like: bool) -> Row:
    def row(c: Context) -> ir.Value:
        given = c.attr("shape")
        shape = basic.shape_of(c.b, c.input(0)) if like else int32s(c.b, given, "shape")
        element = c.attr("dtype")
        kind = "FLOAT32" if element is None and not like else None
        if element is not None:
            kind = types.inner_type(element)
        drawn = c.b.emit(op, [shape], dtype="FLOAT32", **_seeds(c))
        if op == "RANDOM_UNIFORM":
            low, high = c.attr("low", 0.0), c.attr("high", 1.0)
            drawn = affine(c.b, drawn, high - low, low)
        else:
            drawn = affine(c.b, drawn, c.attr("scale", 1.0), c.attr("mean", 0.0))
        return basic.cast(c.b, drawn, kind or c.input(0).dtype)

    return row


def _bernoulli(c: Context) -> ir.Value:
    x = basic.cast(c.b, c.input(0), "FLOAT32")
    element = c.attr("dtype")
    kind = c.input(0).dtype if element is None else types.inner_type(element)
    drawn = c.b.emit("RANDOM_UNIFORM", [basic.shape_of(c.b, x)], dtype="FLOAT32", **_seeds(c))
    return basic.cast(c.b, compare(c.b, "LESS", drawn, x), kind)


def _multinomial(c: Context) -> ir.Value:
    count = c.b.constant(c.attr("sample_size", 1), "samples", np.int32)
    kind = types.inner_type(c.attr("dtype", 6))
    drawn = c.b.emit("MULTINOMIAL", [c.input(0), count], dtype="INT64", **_seeds(c))
    return basic.cast(c.b, drawn, kind)


ROWS: Rows = {
    "Bernoulli": _bernoulli,
    "Multinomial": _multinomial,
    "RandomNormal": _draw("RANDOM_STANDARD_NORMAL", False),
    "RandomNormalLike": _draw("RANDOM_STANDARD_NORMAL", True),
    "RandomUniform": _draw("RANDOM_UNIFORM", False),
    "RandomUniformLike": _draw("RANDOM_UNIFORM", True),
}
