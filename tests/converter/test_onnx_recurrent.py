# SPDX-License-Identifier: Apache-2.0
"""Recurrent layers and control flow of ONNX, here and in LiteRT, short sequences and long."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from onnx import TensorProto, helper, numpy_helper
from onnx_models import FLOAT, model_of

import converter
import runtime
from converter.conversion import convert
from converter.sources import OnnxSource

RNG = np.random.default_rng(3)
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def layer(op, time, directions=1, batch=2, **attributes):
    size, features = 5, 3
    if directions == 2:
        attributes["direction"] = "bidirectional"
    rows = GATES[op] * size
    constants = [
        ("w", RNG.normal(size=(directions, rows, features)).astype(np.float32)),
        ("r", RNG.normal(size=(directions, rows, size)).astype(np.float32) / 3),
        ("b", RNG.normal(size=(directions, 2 * rows)).astype(np.float32)),
    ]
    outputs = ["y", "h", "c"][: 3 if op == "LSTM" else 2]
    node = helper.make_node(op, ["x", "w", "r", "b"], outputs, hidden_size=size, **attributes)
    dims = [time, batch, features]
    return model_of([node], [("x", dims)], [(name, None) for name in outputs], constants)


def proved(source, **kwargs) -> converter.ir.Model:
    """Converts with proof; LiteRT must compute the same from the same file."""
    made = convert(OnnxSource(source.SerializeToString()), **kwargs)
    feeds = made.proof.feeds
    ours, theirs = (
        kind(model_content=made.content).get_signature_runner()(**feeds)
        for kind in (runtime.Interpreter, Interpreter)
    )
    for name, value in ours.items():
        np.testing.assert_allclose(theirs[name], value, rtol=1e-4, atol=1e-5)
    return made.model


@pytest.mark.parametrize("time", [4, 40])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("op", list(GATES))
def test_layers(op, directions, time):
    model = proved(layer(op, time, directions))
    ops = [n.op for n in model.main.nodes]
    whole = "STABLEHLO_COMPOSITE" if op == "GRU" else f"UNIDIRECTIONAL_SEQUENCE_{op}"
    assert ops.count(whole) == directions and "WHILE" not in ops


def test_gru_with_a_reset_behind_the_product():
    proved(layer("GRU", 4, linear_before_reset=1))


def test_a_sequence_of_dynamic_length():
    source = layer("LSTM", "time")
    model = converter.from_onnx(source)
    converter.optimize(model)
    run = runtime.Interpreter(model_content=converter.write_tflite(model)).get_signature_runner()
    for time in (1, 7):
        x = RNG.normal(size=(time, 2, 3)).astype(np.float32)
        want = OnnxSource(source.SerializeToString()).run({"x": x})
        np.testing.assert_allclose(run(x=x)["y"], want["y"], rtol=1e-4, atol=1e-5)


def test_branches_see_the_values_around_them():
    def branch(name, op):
        node = helper.make_node(op, ["x", "two"], [name])
        info = helper.make_tensor_value_info(name, FLOAT, [3])
        return helper.make_graph([node], name, [], [info])

    nodes = [
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        helper.make_node("Greater", ["s", "zero"], ["c"]),
        helper.make_node("If", ["c"], ["y"], then_branch=branch("a", "Mul"),
                         else_branch=branch("b", "Sub")),
    ]  # fmt: skip
    constants = [("two", np.float32(2)), ("zero", np.float32(0))]
    source = model_of(nodes, [("x", [3])], [("y", [3])], constants)
    content = converter.write_tflite(converter.from_onnx(source))
    for kind in (runtime.Interpreter, Interpreter):
        run = kind(model_content=content).get_signature_runner()
        np.testing.assert_array_equal(run(x=np.ones(3, np.float32))["y"], [2, 2, 2])
        np.testing.assert_array_equal(run(x=-np.ones(3, np.float32))["y"], [-3, -3, -3])


def test_a_loop_whose_end_is_computed():
    """Doubles x until its first element is above 100."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["v", "v"], ["doubled"]),
            helper.make_node("ReduceMax", ["doubled"], ["top"], keepdims=0),
            helper.make_node("Less", ["top", "hundred"], ["on"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("cond", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", FLOAT, [2]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("doubled", FLOAT, [2]),
        ],
        [numpy_helper.from_array(np.float32(100), "hundred")],
    )
    nodes = [helper.make_node("Loop", ["", "start", "x"], ["y"], body=body)]
    constants = [("start", np.array(True))]
    source = model_of(nodes, [("x", [2])], [("y", [2])], constants)
    run = runtime.Interpreter(
        model_content=converter.write_tflite(converter.from_onnx(source))
    ).get_signature_runner()
    np.testing.assert_array_equal(run(x=np.array([1, 3], np.float32))["y"], [64, 192])


def test_a_gate_that_devices_lack_is_refused():
    with pytest.raises(converter.ConversionError, match="clips its gates"):
        converter.from_onnx(layer("LSTM", 4, clip=1.0))
