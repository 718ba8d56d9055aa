# SPDX-License-Identifier: Apache-2.0
"""Functions that a network spells in parts become one operator, however they are spelled."""

from __future__ import annotations

import math

import numpy as np
import pytest
from graph_building import Builder
from pass_checks import INT8, fires, holds, ops

from converter.importers.builder import Builder as Shaped
from converter.importers.forms import elementwise
from converter.passes.functions import recognize_functions
from converter.passes.fusion import fuse_activations, recognize_activations

SHAPE = (3, 40)


class Terms:
    """Arithmetic as a source writes it."""

    def __init__(self):
        self.b = Builder()
        self.x = self.b.input(SHAPE)

    def __call__(self, op, *operands, **options):
        values = [np.float32(o) if isinstance(o, (int, float)) else o for o in operands]
        return self.b.op(op, values, SHAPE, **options)


def clip(t, x, low, high):
    return t("MINIMUM", t("MAXIMUM", x, low), high)


def hard_sigmoid(t):
    return clip(t, t("ADD", t("MUL", t.x, 1 / 6), 0.5), 0, 1)


HARD_SWISH = {
    "x * clip(x + 3, 0, 6) / 6": lambda t: t(
        "DIV", t("MUL", t.x, clip(t, t("ADD", t.x, 3), 0, 6)), 6
    ),
    "x * (clip(3 + x, 0, 6) / 6)": lambda t: t(
        "MUL", t.x, t("DIV", clip(t, t("ADD", 3, t.x), 0, 6), 6)
    ),
    "relu6(x + 3) * x * 1/6": lambda t: t(
        "MUL", t("MUL", t("RELU6", t("ADD", t.x, 3)), t.x), 1 / 6
    ),
    "x / 6 * relu6(x + 3)": lambda t: t(
        "MUL", t("DIV", t.x, 6), t("ADD", t.x, 3, fused_activation_function="RELU6")
    ),
    "x * hard_sigmoid(x)": lambda t: t("MUL", t.x, hard_sigmoid(t)),
    "hard_sigmoid(x) * x": lambda t: t("MUL", hard_sigmoid(t), t.x),
    "max of min": lambda t: t(
        "MUL", t.x, t("MUL", t("MAXIMUM", t("MINIMUM", t("ADD", t.x, 3), 6), 0), 1 / 6)
    ),
}


def cubic(t, spelling):
    if spelling == "pow":
        return t("POW", t.x, 3)
    return (
        t("MUL", t("MUL", t.x, t.x), t.x) if spelling == "mul" else t("MUL", t("SQUARE", t.x), t.x)
    )


def by_tanh(t, spelling):
    inner = t("ADD", t.x, t("MUL", cubic(t, spelling), 0.044715))
    bent = t("ADD", t("TANH", t("MUL", inner, math.sqrt(2 / math.pi))), 1)
    return (
        t("MUL", t("MUL", t.x, 0.5), bent)
        if spelling == "pow"
        else t("MUL", 0.5, t("MUL", t.x, bent))
    )


@pytest.mark.parametrize("case", HARD_SWISH)
def test_hard_swish(case):
    t = Terms()
    y = t("NEG", t.x)  # x is made by an operator that could be a part
    t.x = y
    model = t.b.model(t("ABS", HARD_SWISH[case](t)))
    assert fires(model, recognize_functions)
    assert ops(model) == ["NEG", "HARD_SWISH", "ABS"]


@pytest.mark.parametrize("case", HARD_SWISH)
def test_hard_swish_after_its_clip_was_recognized(case):
    t = Terms()
    model = t.b.model(HARD_SWISH[case](t))
    fires(model, recognize_activations, fuse_activations)
    assert fires(model, recognize_functions)
    assert ops(model) == ["HARD_SWISH"]


@pytest.mark.parametrize("spelling", ["pow", "mul", "square"])
def test_gelu_by_tanh(spelling):
    t = Terms()
    model = t.b.model(by_tanh(t, spelling))
    assert fires(model, recognize_functions)
    assert ops(model) == ["GELU"]
    assert model.main.nodes[0].options == {"approximate": True}


@pytest.mark.parametrize("order", [0, 1, 2])
def test_gelu_by_the_error_function(order):
    from converter import ir

    b = Shaped()
    x = b.input("x", "FLOAT32", (3, 40))
    half, one, root = (b.constant(c, "c", np.float32) for c in (0.5, 1, math.sqrt(2)))
    bent = b.emit("ADD", [elementwise.erf(b, b.emit("DIV", [x, root])), one])
    left, right = [(x, bent), (b.emit("MUL", [x, half]), bent), (x, b.emit("MUL", [bent, half]))][
        order
    ]
    y = b.emit("MUL", [left, right])
    b.graph.outputs = [b.emit("MUL", [y, half]) if order == 0 else y]
    model = ir.Model([b.graph])
    assert fires(model, recognize_functions)
    assert ops(model) == ["GELU"]
    assert model.main.nodes[0].options == {"approximate": False}


def test_logistic():
    t = Terms()
    model = t.b.model(t("DIV", 1, t("ADD", 1, t("EXP", t("NEG", t.x)))))
    assert fires(model, recognize_functions)
    assert ops(model) == ["LOGISTIC"]


def other_slope(t):
    return [t("MUL", t.x, clip(t, t("ADD", t("MUL", t.x, 0.2), 0.5), 0, 1))]


def other_constant(t):
    inner = t("ADD", t.x, t("MUL", t("MUL", t("MUL", t.x, t.x), t.x), 0.05))
    return [t("MUL", t("MUL", t.x, 0.5), t("ADD", t("TANH", t("MUL", inner, 0.79788)), 1))]


def two_values(t):
    other = t.b.input(SHAPE)
    return [t("DIV", t("MUL", other, clip(t, t("ADD", t.x, 3), 0, 6)), 6)]


def read_in_between(t):
    y = t("MUL", t.x, clip(t, t("ADD", t.x, 3), 0, 6))
    return [t("DIV", y, 6), t("NEG", y)]


def an_output_in_between(t):
    y = t("MUL", t.x, clip(t, t("ADD", t.x, 3), 0, 6))
    return [t("DIV", y, 6), y]


def by_columns(t):
    y = t.b.op("ADD", [t.x, np.linspace(2.9, 3.1, 40, dtype=np.float32)], SHAPE)
    return [t("DIV", t("MUL", t.x, clip(t, y, 0, 6)), 6)]


def that_grows(t):
    x = t.b.input((1, 40))
    y = t.b.op("MINIMUM", [t.b.op("MAXIMUM", [x, np.float32(0)], (1, 40)), np.float32(6)], (1, 40))
    return [t.b.op("MUL", [t.x, y], SHAPE)]


@pytest.mark.parametrize(
    "build",
    [
        other_slope,
        other_constant,
        two_values,
        read_in_between,
        an_output_in_between,
        by_columns,
        that_grows,
    ],
    ids=lambda f: f.__name__,
)
def test_others_stay(build):
    t = Terms()
    assert holds(t.b.model(*build(t)), recognize_functions)


def test_integers_with_scales_stay():
    b = Builder()
    x = b.input(SHAPE, "INT8", quant=INT8)
    three = b.constant(np.int8(3), quant=INT8)
    y = b.op("MINIMUM", [b.op("ADD", [x, three], SHAPE, "INT8", INT8), three], SHAPE, "INT8", INT8)
    assert holds(b.model(b.op("MUL", [x, y], SHAPE, "INT8", INT8)), recognize_functions)
