# SPDX-License-Identifier: Apache-2.0
"""Constant folding, through the runtime itself."""

from __future__ import annotations

import numpy as np
import pytest
from graph_building import Builder, normal, run

import converter
from converter import ir
from converter.evaluator import evaluate
from converter.passes import optimize
from converter.passes.constants import fold_constants

RNG = np.random.default_rng(3)


def folded(model):
    """Fold under the verifier; outputs must keep every bit but rounding's."""
    before = run(model)
    changed = optimize(model, passes=[fold_constants], check=True)
    for a, b in zip(before, run(model), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-6, atol=1e-6)
    return changed


def with_constant(*steps, shape=(2, 3)):
    """x + (steps applied to a constant)."""
    b = Builder()
    value = b.constant(normal(RNG, 2, 3))
    for op, operands, out_shape, options in steps:
        value = b.op(op, [value, *operands], out_shape, **options)
    return b.model(b.op("ADD", [b.input(shape), value], shape))


@pytest.mark.parametrize(
    "step",
    [
        ("MUL", [np.float32(3)], (2, 3), {"fused_activation_function": "RELU"}),
        ("TRANSPOSE", [np.array([1, 0], np.int32)], (3, 2), {}),
        ("RESHAPE", [np.array([3, 2], np.int32)], (3, 2), {}),
        ("EXP", [], (2, 3), {}),
        ("SUM", [np.array([0], np.int32)], (3,), {"keep_dims": False}),
        ("PAD", [np.array([[0, 1], [0, 0]], np.int32)], (3, 3), {}),
    ],
    ids=lambda step: step[0],
)
def test_constant_nodes_fold(step):
    shape = step[2] if len(step[2]) > 1 else (2, 3)
    model = with_constant(step, shape=shape)
    assert folded(model)
    assert [node.op for node in model.main.nodes] == ["ADD"]


def test_chains_fold_in_one_go():
    steps = [("EXP", [], (2, 3), {}), ("NEG", [], (2, 3), {}), ("SQUARE", [], (2, 3), {})]
    model = with_constant(*steps)
    assert fold_constants(model.main)
    assert len(model.main.nodes) == 1
    assert not fold_constants(model.main)


def test_the_shape_of_a_static_value_folds():
    b = Builder()
    x = b.input((2, 3, 4))
    shape = b.op("SHAPE", [x], (3,), "INT32", out_type="INT32")
    part = b.op(
        "STRIDED_SLICE",
        [shape, *(np.array([i], np.int32) for i in (0, 1, 1))],
        (1,),
        "INT32",
    )
    last = b.constant(np.array([12], np.int32))
    target = b.op("CONCATENATION", [part, last], (2,), "INT32", axis=0)
    model = b.model(b.op("RESHAPE", [x, target], (2, 12)))
    assert folded(model)
    assert [node.op for node in model.main.nodes] == ["RESHAPE"]
    assert model.main.nodes[0].inputs[1].data.tolist() == [2, 12]


def test_the_shape_of_a_dynamic_value_stays():
    b = Builder()
    x = b.input((1, 3), shape_signature=(-1, 3))
    shape = b.op("SHAPE", [x], (2,), "INT32", out_type="INT32")
    model = b.model(b.op("RESHAPE", [x, shape], (1, 3)))
    assert not fold_constants(model.main)


def dequantized_weights():
    b = Builder()
    half = b.constant(normal(RNG, 4, 6).astype(np.float16))
    weights = b.op("DEQUANTIZE", [half], (4, 6))
    return b.model(b.op("FULLY_CONNECTED", [b.input((1, 6)), weights], (1, 4)))


def constant_output():
    b = Builder()
    x = b.input((2,))
    return b.model(b.op("NEG", [np.ones(2, np.float32)], (2,)), b.op("ABS", [x], (2,)))


def large_fill():
    b = Builder()
    x = b.input((1,))
    filled = b.op("FILL", [np.array([2000, 2000], np.int32), np.float32(1)], (2000, 2000))
    return b.model(b.op("ADD", [x, b.op("SUM", [filled, np.array([0, 1], np.int32)], ())], (1,)))


def random_numbers():
    b = Builder()
    draw = b.op("RANDOM_UNIFORM", [np.array([2], np.int32)], (2,))
    return b.model(b.op("ADD", [b.input((2,)), draw], (2,)))


def unknown_custom_op():
    b = Builder()
    out = ir.Value("made", "FLOAT32", (2,))
    b.graph.add_node("CUSTOM", [b.constant(np.ones(2, np.float32))], [out], custom_code="mine")
    return b.model(b.op("ADD", [b.input((2,)), out], (2,)))


@pytest.mark.parametrize(
    "build",
    [dequantized_weights, constant_output, large_fill, random_numbers, unknown_custom_op],
    ids=lambda f: f.__name__,
)
def test_folding_holds_still(build):
    model = build()
    before = converter.write_tflite(model)
    assert not fold_constants(model.main)
    assert converter.write_tflite(model) == before


def test_wrong_nodes_are_left_to_the_runtime_to_refuse():
    b = Builder()
    value = b.op("ADD", [normal(RNG, 2, 3), normal(RNG, 4)], (2, 3))
    assert evaluate(value.producer) is None
