# SPDX-License-Identifier: Apache-2.0
"""Property test: whatever the graph, optimizing it leaves its outputs where they were."""

from __future__ import annotations

import numpy as np
from graph_building import Builder, run
from hypothesis import given, settings
from hypothesis import strategies as st

from converter import optimize, read_tflite, write_tflite

SHAPE = (2, 4)
NUMBERS = [0.0, 1.0, -1.0, 6.0, 0.5, 2.0]
ACTIVATIONS = ["NONE", "RELU", "RELU6", "RELU_N1_TO_1"]


@st.composite
def constants(draw):
    """A constant that broadcasts against [2, 4], often one that changes nothing."""
    shape = draw(st.sampled_from([(), (1,), (4,), (1, 4), (2, 1), (2, 4)]))
    number = draw(st.sampled_from(NUMBERS))
    if draw(st.booleans()):
        return np.full(shape, number, np.float32)
    seed = draw(st.integers(0, 99))
    return np.random.default_rng(seed).uniform(0.5, 2, shape).astype(np.float32)


def arithmetic(draw, b, x, values):
    op = draw(st.sampled_from(["ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM"]))
    other = draw(st.one_of(constants(), st.sampled_from(values)))
    operands = [x, other] if draw(st.booleans()) else [other, x]
    fused = draw(st.sampled_from(ACTIVATIONS))
    options = {"fused_activation_function": fused} if op in ("ADD", "SUB", "MUL") else {}
    return b.op(op, operands, SHAPE, **options)


def unary(draw, b, x, values):
    op = draw(st.sampled_from(["RELU", "RELU6", "RELU_N1_TO_1", "NEG", "TANH", "ABS"]))
    return b.op(op, [x], SHAPE)


def dense(draw, b, x, values):
    weights = np.random.default_rng(draw(st.integers(0, 9))).standard_normal((4, 4)) * 0.5
    fused = draw(st.sampled_from(ACTIVATIONS))
    return b.op(
        "FULLY_CONNECTED", [x, weights.astype(np.float32)], SHAPE, fused_activation_function=fused
    )


def there_and_back(draw, b, x, values):
    if draw(st.booleans()):
        y = b.op("TRANSPOSE", [x, np.array([1, 0], np.int32)], (4, 2))
        return b.op("TRANSPOSE", [y, np.array([1, 0], np.int32)], SHAPE)
    y = b.op("RESHAPE", [x, np.array([8], np.int32)], (8,))
    return b.op("RESHAPE", [y, np.array([2, -1], np.int32)], SHAPE)


def on_constants(draw, b, x, values):
    y = b.op("EXP", [np.full(SHAPE, draw(st.sampled_from([0.0, 0.5])), np.float32)], SHAPE)
    return b.op("MUL", [x, y], SHAPE)


@st.composite
def models(draw):
    b = Builder()
    values = [b.input(SHAPE), b.input(SHAPE)]
    steps = st.sampled_from([arithmetic, unary, dense, there_and_back, on_constants])
    for _ in range(draw(st.integers(1, 9))):
        x = values[-1] if draw(st.integers(0, 3)) else draw(st.sampled_from(values))
        values.append(draw(steps)(draw, b, x, values))
    outputs = [values[-1]]
    if draw(st.booleans()):
        extra = draw(st.sampled_from(values[2:]))
        outputs += [extra] if extra is not values[-1] else []
    return b.model(*outputs)


@settings(max_examples=150, deadline=None)
@given(models())
def test_optimizing_keeps_the_outputs(model):
    original = read_tflite(write_tflite(model))
    nodes = len(model.main.nodes)
    changed = optimize(model, check=True)
    assert len(model.main.nodes) <= nodes
    assert changed or write_tflite(model) == write_tflite(original)
    assert not optimize(model, check=True)
    assert list(model.signatures[0].outputs) == list(original.signatures[0].outputs)
    for before, after in zip(run(original), run(model), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4 * np.abs(before).max())
