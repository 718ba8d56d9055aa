# SPDX-License-Identifier: Apache-2.0
"""What the proof feeds ONNX models and whom it believes, and models written in unusual ways."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_models import FLOAT, model_of
from test_onnx_computed import INT64, floats, integers, node

import converter
import runtime
from converter.conversion import convert
from converter.sources import OnnxSource


def test_branches_that_list_what_they_read():
    value = helper.make_tensor_value_info("x", FLOAT, ["n"])
    branches = {
        f"{side}_branch": helper.make_graph([node(op, "x", side)], side, [value], [
            helper.make_tensor_value_info(side, FLOAT, ["n"])])
        for side, op in (("then", "Neg"), ("else", "Exp"))
    }  # fmt: skip
    source = model_of(
        [node("If", "on", **branches)], [("x", ["n"]), ("on", [], TensorProto.BOOL)], [("y", None)]
    )
    content = converter.write_tflite(converter.from_onnx(source))
    x = floats(3)
    found = runtime.Interpreter(model_content=content).get_signature_runner()(
        x=x, on=np.array(True)
    )
    np.testing.assert_allclose(found["y"], -x)


def positions(rows):
    """Adds the first rows of a table to the input, as many as it is long."""
    nodes = [
        node("Shape", "x", "length", start=1, end=2),
        node("Slice", "table zero length", "own"),
        node("Add", "x own"),
    ]
    return nodes, [("table", floats(rows, 3)), ("zero", integers(0))]


@pytest.mark.parametrize("name", ["long window", "short table", "both"])
def test_sizes_that_only_some_models_take(name):
    nodes, constants = positions(20)
    inputs = [("x", ["n", "length", 3])]
    if name == "long window":
        nodes, inputs = [node("Conv", "x w", strides=[160])], [("x", ["n", 1, "length"])]
        constants = [("w", floats(4, 1, 400))]
    if name == "both":
        nodes = [*nodes[:2], node("Add", "x own", "sum"), node("MatMul", "wide sum")]
        constants.append(("wide", floats(5, 30)))
    source = model_of(nodes, inputs, [("y", None)], constants)
    source.ir_version = 9
    if name == "both":  # a table of 20 rows, and a matrix of 30 columns
        with pytest.raises(converter.ConversionError, match="'sum'"):
            convert(OnnxSource(source))
        return
    made = convert(OnnxSource(source))
    assert made.proof.passed and made.model.main.inputs[0].shape_signature.count(-1) == 2


@pytest.mark.parametrize("op", ["Div", "Mod"])
def test_integers_that_the_source_divides_by(op):
    class Sensitive(OnnxSource):
        def run(self, feeds):
            assert feeds["z"].all(), "some versions of ONNX Runtime end the process"
            return super().run(feeds)

    inputs = [("x", [4], INT64), ("z", [4], INT64)]
    source = model_of([node(op, "x z")], inputs, [("y", None, INT64)])
    source.ir_version = 9
    made = convert(Sensitive(source))
    assert made.proof.passed and (made.proof.feeds["z"] > 0).all()


def test_nodes_in_any_order():
    inner = helper.make_graph(
        [node("Neg", "late", "then")],
        "then",
        [],
        [helper.make_tensor_value_info("then", FLOAT, None)],
    )
    other = helper.make_graph(
        [node("Abs", "z", "other"), node("Exp", "late", "z")], "else", [],
        [helper.make_tensor_value_info("other", FLOAT, None)],
    )  # fmt: skip
    nodes = [
        node("If", "on", then_branch=inner, else_branch=other),
        node("Add", "early early", "late"),
        node("Tanh", "x", "early"),
    ]
    source = model_of(nodes, [("x", ["n"]), ("on", [], TensorProto.BOOL)], [("y", None)])
    content = converter.write_tflite(converter.from_onnx(source))
    x = floats(3)
    run = runtime.Interpreter(model_content=content).get_signature_runner()
    np.testing.assert_allclose(run(x=x, on=np.array(True))["y"], -2 * np.tanh(x), rtol=1e-6)
    np.testing.assert_allclose(run(x=x, on=np.array(False))["y"], np.exp(2 * np.tanh(x)), rtol=1e-6)
    nodes[-1].input[0] = "late"
    with pytest.raises(converter.ConversionError, match="circles"):
        converter.from_onnx(
            model_of(nodes, [("x", ["n"]), ("on", [], TensorProto.BOOL)], [("y", None)])
        )


def test_where_the_first_engine_is_coarse_another_decides():
    """ONNX Runtime's sigmoid is exact to 1e-7, which is much of a result of 1e-6."""
    source = model_of([node("Sigmoid", "x")], [("x", [64])], [("y", None)])
    source.ir_version = 9
    x = np.linspace(-16, -13, 64).astype(np.float32)
    made = convert(OnnxSource(source), feeds={"x": x})
    assert made.proof.passed and "sigmoids" in made.proof.engine
    wrong = model_of([node("Sigmoid", "x")], [("x", [64])], [("y", None)])
    wrong.ir_version = 9

    class Other(OnnxSource):
        def convert(self):
            return converter.from_onnx(model_of([node("Tanh", "x")], [("x", [64])], [("y", None)]))

    with pytest.raises(converter.ConversionError, match="ONNX Runtime"):
        convert(Other(wrong), feeds={"x": x})


def test_one_symbol_has_one_size_in_the_proof():
    source = model_of(
        [node("MatMul", "x z")], [("x", ["n", "m"]), ("z", ["m", "n"])], [("y", None)]
    )
    source.ir_version = 9
    assert convert(OnnxSource(source)).proof.passed


def test_an_output_that_is_listed_twice():
    source = model_of([node("Neg", "x")], [("x", [3])], [("y", None), ("y", None)])
    source.ir_version = 9
    made = convert(OnnxSource(source))
    assert made.proof.passed and list(made.model.signatures[0].outputs) == ["y"]


def test_numbers_drawn_at_random():
    nodes = [node("RandomNormalLike", "x", "noise"), node("Add", "x noise"), node("Neg", "x", "z")]
    source = model_of(nodes, [("x", ["n", 3])], [("y", None), ("z", None)])
    source.ir_version = 9
    made = convert(OnnxSource(source))
    drawn, plain = made.proof.outputs
    assert made.proof.passed and "at random" in str(drawn) and "at random" not in str(plain)


def test_models_before_opset_7():
    """Addition was told to broadcast then."""
    nodes = [node("Add", "x z", "sum", broadcast=1), node("Softmax", "sum")]
    source = model_of(nodes, [("x", [2, 3, 4]), ("z", [4])], [("y", [2, 3, 4])], opset=6)
    source.ir_version = 3
    feeds = {"x": floats(2, 3, 4), "z": floats(4)}
    content = converter.write_tflite(converter.from_onnx(source))
    found = runtime.Interpreter(model_content=content).get_signature_runner()(**feeds)["y"]
    powers = np.exp(feeds["x"] + feeds["z"])
    want = powers / powers.sum((1, 2), keepdims=True)  # before opset 13, of all axes from 1 on
    np.testing.assert_allclose(found, want, rtol=1e-5)
