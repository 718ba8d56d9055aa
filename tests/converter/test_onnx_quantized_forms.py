# SPDX-License-Identifier: Apache-2.0
"""QDQ models: weights with a zero point, products of activations, bounds, 16-bit activations."""

from __future__ import annotations

import numpy as np
import pytest
from qdq_models import BORDER, CASES, Qdq, Qdq16, imported, one, results


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
@pytest.mark.parametrize("op", ["Conv", "DepthwiseConv", "ConvTranspose", "MatMul"])
def test_weights_with_a_zero_point_compute_in_uint8(op, kind):
    q = Qdq(kind)
    x = q.around("x", 0.02, 3)
    shape = {"Conv": (6, 4, 3, 3), "DepthwiseConv": (4, 1, 3, 3), "MatMul": (6, 9)}
    w = q.constant("w_q", q.rng.integers(0, 256, shape.get(op, (4, 6, 2, 2))).astype(np.uint8))
    q.constant("w_s", np.float32(0.003)), q.constant("w_z", np.uint8(91))
    w = q.add("DequantizeLinear", [w, "w_s", "w_z"], "w")
    attributes = {"group": 4} if op == "DepthwiseConv" else {}
    q.add(op.removeprefix("Depthwise"), [x, w], "c", **attributes)
    first = q.around("c", 0.05, 9)
    q.add("Relu", [first], "r")
    source = q.model((1, 4, 6, 6), q.around("r", 0.05, -128))
    model, _ = imported(source)
    names = {"Conv": "CONV_2D", "DepthwiseConv": "DEPTHWISE_CONV_2D", "MatMul": "FULLY_CONNECTED"}
    (node,) = [n for n in model.main.nodes if n.op == names.get(op, "TRANSPOSE_CONV")]
    assert node.inputs[1].dtype == node.outputs[0].dtype == "UINT8"
    np.testing.assert_array_equal(
        np.unique(node.inputs[1].data), np.unique(dict(q.constants)["w_q"])
    )
    for seed in range(10):
        x = np.random.default_rng(seed).normal(size=(1, 4, 6, 6)).astype(np.float32)
        wanted, found = results(source, model, {"x": x})
        assert np.abs(wanted - found).max() <= 1.01 * 0.05


def test_neighbours_with_such_weights_stay_in_uint8():
    q = Qdq()
    x = q.around("x", 0.02, 3)
    for i in range(3):
        q.constant(f"w{i}_q", q.rng.integers(0, 256, (4, 4, 1, 1)).astype(np.uint8))
        q.constant(f"w{i}_s", np.float32(0.003)), q.constant(f"w{i}_z", np.uint8(70))
        w = q.add("DequantizeLinear", [f"w{i}_q", f"w{i}_s", f"w{i}_z"], f"w{i}")
        q.add("Conv", [x, w], f"c{i}")
        x = q.around(f"c{i}", 0.02, 9)
    _, ops = imported(q.model((1, 4, 6, 6), x))
    assert [op for op in ops if op != "TRANSPOSE"] == [
        "QUANTIZE", "QUANTIZE", "CONV_2D", "CONV_2D", "CONV_2D", "QUANTIZE", "DEQUANTIZE",
    ]  # fmt: skip


def test_places_and_shapes_are_those_of_the_integers():
    q = Qdq()
    x = q.around("x", 0.02, 3)
    q.add("ArgMax", [x], "place", axis=1, keepdims=1)
    q.add("Cast", ["place"], "p", to=1)
    q.add("Shape", [x], "s")
    q.add("Expand", ["p", "s"], "e")
    source = q.model(("n", 4, 6, 6), "e")
    model, ops = imported(source)
    assert {"ARG_MAX", "SHAPE"} < set(ops) and "DEQUANTIZE" not in ops
    x = q.rng.normal(size=(3, 4, 6, 6)).astype(np.float32)
    np.testing.assert_array_equal(*results(source, model, {"x": x}))


def test_products_of_two_activations():
    q = Qdq()
    x = q.around("x", 0.02, 3)
    q.add("Transpose", [x], "t", perm=[0, 1, 3, 2])
    q.add("MatMul", [x, q.around("t", 0.02, 3)], "m")
    source = q.model((1, 4, 6, 7), q.around("m", 0.1, -70))
    model, _ = imported(source)
    (node,) = [n for n in model.main.nodes if n.op == "BATCH_MATMUL"]
    assert {v.dtype for v in (*node.inputs, *node.outputs)} == {"INT8"}
    x = q.rng.normal(size=(1, 4, 6, 7)).astype(np.float32)
    wanted, found = results(source, model, {"x": x})
    assert np.abs(wanted - found).max() <= 1.01 * 0.1


def test_bounds_are_taken_of_integers_and_dropped_where_they_are_the_type_s():
    q = Qdq()
    x = q.around("x", 0.02, 3)
    w = q.weights("w", 4, 4, 1, 1, axis=0)
    q.add("Conv", [x, w], "c")
    bounds = [q.constant(f"c{n}", np.float32(n)) for n in (-1.0, 0.5)]
    q.add("Clip", ["c", *bounds], "k")
    source = q.model((1, 4, 6, 6), q.around("k", 1.5 / 255, 42))
    model, ops = imported(source)
    assert [op for op in ops if op not in ("TRANSPOSE", *BORDER)] == ["CONV_2D"]
    q = Qdq()
    x = q.around("x", 0.02, 3)
    q.add("Clip", [x, *(q.constant(f"c{n}", np.float32(n)) for n in (-1.0, 0.5))], "k")
    other = q.model((1, 4, 6, 6), q.around("k", 0.02, 3))
    model, ops = imported(other)
    assert ops.count("MAXIMUM") == ops.count("MINIMUM") == 1
    kinds = [n.outputs[0].dtype for n in model.main.nodes if n.op in ("MAXIMUM", "MINIMUM")]
    assert kinds == ["INT8", "INT8"]
    x = q.rng.normal(size=(1, 4, 6, 6)).astype(np.float32)
    np.testing.assert_array_equal(*results(other, model, {"x": x}))


OTHERS = {"ELU", "HARD_SWISH", "LOGISTIC", "PRELU", "SOFTMAX", "TANH"}
CASES_16 = [case for case in CASES if case[4] not in OTHERS]
CASES_16 += [
    ("Sigmoid", 0.05, 0, (1 / 128, 0), "LOGISTIC", {}),
    ("Softmax", 0.05, 0, (1 / 127, 0), "SOFTMAX", {"axis": 3}),
    ("Tanh", 0.02, 0, (1 / 120, 0), "TANH", {}),
]


@pytest.mark.parametrize("kind", [np.int16, np.uint16])
@pytest.mark.parametrize("case", CASES_16, ids=lambda case: case[0])
def test_an_op_computes_in_int16(case, kind):
    q = Qdq16(kind)
    out, ours = one(q, case)
    source = q.model((1, 4, 6, 6), out)
    model, _ = imported(source)
    step = case[3][0] / 256
    nodes = [n for n in model.main.nodes if n.op == ours]
    assert nodes and {n.outputs[0].dtype for n in nodes} == {"INT16"}
    for seed in range(5):
        x = np.random.default_rng(seed).normal(size=(1, 4, 6, 6)).astype(np.float32)
        wanted, found = results(source, model, {"x": x})
        # products are scaled by 16 bits of a factor, curves are lines between points
        assert np.abs(wanted - found).max() <= 1.01 * step + 5e-5 * np.abs(wanted).max()
