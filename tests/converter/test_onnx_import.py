# SPDX-License-Identifier: Apache-2.0
"""ONNX models become models that compute the same; what cannot be is listed, all at once."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_models import FLOAT, model_of, small_network

import converter
import runtime


def run(model: converter.ir.Model, **feeds: np.ndarray) -> dict[str, np.ndarray]:
    interpreter = runtime.Interpreter(model_content=converter.write_tflite(model))
    return interpreter.get_signature_runner()(**feeds)


def reference_of(model: onnx.ModelProto, **feeds: np.ndarray) -> list[np.ndarray]:
    return onnx.reference.ReferenceEvaluator(model).run(None, feeds)


@pytest.mark.parametrize("batch", [1, 5])
def test_a_dynamic_batch_stays_dynamic(batch):
    source = small_network(("n", 3, 8, 8))
    x = np.random.default_rng(1).normal(size=(batch, 3, 8, 8)).astype(np.float32)
    model = converter.from_onnx(source)
    assert model.main.inputs[0].shape_signature == (-1, 3, 8, 8)
    converter.optimize(model)
    assert "SHAPE" not in [node.op for node in model.main.nodes]
    np.testing.assert_allclose(run(model, x=x)["y"], reference_of(source, x=x)[0], 1e-5, 1e-5)


def test_names_order_and_layout_are_the_source_s():
    model = converter.from_onnx(small_network())
    (signature,) = model.signatures
    assert signature.key == "serving_default"
    assert list(signature.inputs) == ["x"] and list(signature.outputs) == ["y"]
    assert model.main.inputs[0].shape == (1, 3, 8, 8)


def test_what_is_constant_is_computed_at_import():
    nodes = [
        helper.make_node("Cast", ["d"], ["f"], to=FLOAT),
        helper.make_node("Mul", ["f", "f"], ["g"]),
        helper.make_node("Add", ["x", "g"], ["y"]),
    ]
    source = model_of(nodes, [("x", [2])], [("y", [2])], [("d", np.array([1.5, 2.0]))])
    model = converter.from_onnx(source)
    assert [node.op for node in model.main.nodes] == ["ADD"]


def test_a_definition_stands_in_for_a_missing_row():
    nodes = [helper.make_node("Softsign", ["x"], ["y"])]
    source = model_of(nodes, [("x", [5])], [("y", [5])])
    x = np.linspace(-2, 2, 5).astype(np.float32)
    np.testing.assert_allclose(
        run(converter.from_onnx(source), x=x)["y"], x / (1 + np.abs(x)), rtol=1e-6
    )


def test_functions_of_the_model_are_expanded():
    body = [
        helper.make_node("LeakyRelu", ["a"], ["b"]),
        helper.make_node("Add", ["b", "a"], ["c"]),
    ]
    reference = onnx.AttributeProto(name="alpha", ref_attr_name="slope")
    reference.type = onnx.AttributeProto.FLOAT
    body[0].attribute.append(reference)
    opsets = [helper.make_opsetid("", 17)]
    function = helper.make_function("own", "Leak", ["a"], ["c"], body, opsets, ["slope"])
    nodes = [helper.make_node("Leak", ["x"], ["y"], domain="own", slope=0.5)]
    source = model_of(nodes, [("x", [3])], [("y", [3])], functions=[function])
    source.opset_import.append(helper.make_opsetid("own", 1))
    x = np.array([-2, 0, 2], np.float32)
    np.testing.assert_array_equal(run(converter.from_onnx(source), x=x)["y"], [-3, 0, 4])


def test_every_obstacle_is_listed_with_names_and_shapes():
    nodes = [
        helper.make_node("NoSuchOp", ["x"], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["b"], "after"),
        helper.make_node("NorThis", ["x"], ["c"], "second"),
    ]
    source = model_of(nodes, [("x", [2, 3])], [("b", None), ("c", None)])
    with pytest.raises(converter.ConversionError) as raised:
        converter.from_onnx(source)
    text = str(raised.value)
    assert "2 obstacles" in text and "'first' ([2,3])" in text and "'second' ([2,3])" in text
    assert "after" not in text


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (b"\x08\x07garbage", "damaged"),
        (b"", "no ONNX model"),
        ("nowhere.onnx", "cannot be read"),
        (
            model_of(
                [helper.make_node("Affine", ["x"], ["y"])], [("x", [2])], [("y", [2])], opset=1
            ),
            "older than 7",
        ),
        (model_of([], [], [], opset=999), "upgrade"),
    ],
)
def test_bad_files_get_a_sentence(source, words):
    with pytest.raises(converter.ConversionError, match=words):
        converter.from_onnx(source)


def test_shapes_of_inputs_that_are_not_there_are_refused():
    with pytest.raises(converter.ConversionError, match="no input 'z'"):
        converter.from_onnx(small_network(), input_shapes={"z": (1,)})
