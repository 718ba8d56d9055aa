# SPDX-License-Identifier: Apache-2.0
"""What an ONNX file may hold besides nodes: external data, sparse and float16 constants, symbolic
sizes, old opsets; and what is wrong with damaged ones, in a sentence.
"""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import onnx
import onnx.reference
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import FLOAT, model_of, small_network

import converter
import runtime


def run(model: converter.ir.Model, **feeds: np.ndarray) -> dict[str, np.ndarray]:
    converter.optimize(model)
    interpreter = runtime.Interpreter(model_content=converter.write_tflite(model))
    return interpreter.get_signature_runner()(**feeds)


def reference_of(model: onnx.ModelProto, **feeds: np.ndarray) -> np.ndarray:
    return onnx.reference.ReferenceEvaluator(model).run(None, feeds)[0]


def refused(source, words: str, **options) -> None:
    with pytest.raises(converter.ConversionError, match=words):
        converter.from_onnx(source, **options)


def image(*dims: int) -> np.ndarray:
    return np.random.default_rng(3).normal(size=dims).astype(np.float32)


def external(tmp_path, name="net.onnx"):
    path = tmp_path / name
    onnx.save(
        small_network(), str(path), save_as_external_data=True, location="net.data",
        size_threshold=0,
    )  # fmt: skip
    return path


def test_external_data_is_read_from_beside_the_file(tmp_path):
    path = external(tmp_path)
    x = image(1, 3, 8, 8)
    want = reference_of(small_network(), x=x)
    np.testing.assert_allclose(run(converter.from_onnx(path), x=x)["y"], want, 1e-5, 1e-5)


def test_external_data_is_held_once(tmp_path):
    count = 1 << 20
    weights = np.ones((count // 4, 4), np.float32)
    node = helper.make_node("Add", ["x", "w"], ["y"])
    source = model_of([node], [("x", [count // 4, 4])], [("y", None)], [("w", weights)])
    path = tmp_path / "large.onnx"
    onnx.save(source, str(path), save_as_external_data=True, location="large.data")
    converter.from_onnx(path)  # imports what the counting is not about
    tracemalloc.start()
    model = converter.from_onnx(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert model.main.nodes[0].inputs[1].data.nbytes == 4 * count
    assert peak < 1.5 * 4 * count


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "net.data").unlink(), "not beside the model"),
        (lambda folder: (folder / "net.data").write_bytes(b"12"), "too short"),
    ],
)
def test_missing_external_data_gets_a_sentence(tmp_path, damage, words):
    path = external(tmp_path)
    damage(tmp_path)
    refused(path, words)


def test_external_data_outside_of_the_folder_is_not_read(tmp_path):
    (tmp_path / "inner").mkdir()
    path = external(tmp_path / "inner")
    model = onnx.load(str(path), load_external_data=False)
    (tmp_path / "net.data").write_bytes((tmp_path / "inner" / "net.data").read_bytes())
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../net.data"
    path.write_bytes(model.SerializeToString())
    refused(path, "outside of the model's folder")


def test_sparse_constants_become_dense():
    values = numpy_helper.from_array(np.array([2, 3], np.float32), "w")
    places = numpy_helper.from_array(np.array([[0, 1], [1, 2]], np.int64))
    sparse = helper.make_sparse_tensor(values, places, [2, 3])
    source = model_of([helper.make_node("Add", ["x", "w"], ["y"])], [("x", [2, 3])], [("y", None)])
    source.graph.sparse_initializer.append(sparse)
    found = run(converter.from_onnx(source), x=np.zeros((2, 3), np.float32))["y"]
    np.testing.assert_array_equal(found, [[0, 2, 0], [0, 0, 3]])


def test_float16_models_compute_in_float32_and_keep_their_border():
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    weights = image(4, 5).astype(np.float16)
    graph = helper.make_graph(
        [node],
        "half",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT16, [2, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT16, [2, 5])],
        [numpy_helper.from_array(weights, "w")],
    )
    source = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    x = image(2, 4).astype(np.float16)
    found = run(converter.from_onnx(source), x=x)["y"]
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, x.astype(np.float32) @ weights.astype(np.float32), 2e-3, 2e-3)


def test_one_symbol_has_one_size():
    """`seq` stands behind the batch in one input and alone in the other."""
    nodes = [helper.make_node("Add", ["x", "y"], ["z"])]
    source = model_of(nodes, [("x", ["n", "seq"]), ("y", ["seq"])], [("z", None)])
    model = converter.from_onnx(source)
    assert model.main.outputs[0].shape_signature == (-1, -1)
    x, y = image(4, 7), image(7)
    np.testing.assert_allclose(run(model, x=x, y=y)["z"], x + y)
    fixed = converter.from_onnx(source, input_shapes={"x": (2, 5)})
    assert fixed.main.inputs[1].shape == (5,) and fixed.main.inputs[1].shape_signature is None


def test_initializers_that_are_inputs_stay_constants():
    source = small_network()
    for tensor in source.graph.initializer:
        kind = tensor.data_type
        info = helper.make_tensor_value_info(tensor.name, kind, list(tensor.dims))
        source.graph.input.append(info)
    assert [v.name for v in converter.from_onnx(source).main.inputs] == ["x"]


def test_opset_7_has_attributes_where_newer_ones_have_inputs():
    nodes = [
        helper.make_node("Unsqueeze", ["x"], ["a"], axes=[0]),
        helper.make_node("Slice", ["a"], ["b"], axes=[2], starts=[1], ends=[3]),
        helper.make_node("Pad", ["b"], ["c"], pads=[0, 0, 1, 0, 0, 0], value=2.0),
        helper.make_node("Clip", ["c"], ["d"], min=-0.5, max=1.5),
        helper.make_node("Upsample", ["e"], ["y"], scales=[1.0, 1.0, 2.0, 2.0], mode="nearest"),
        helper.make_node("Unsqueeze", ["d"], ["e"], axes=[0]),
    ]
    nodes[4], nodes[5] = nodes[5], nodes[4]
    source = model_of(nodes, [("x", [3, 4])], [("y", None)], opset=7)
    x = image(3, 4)
    padded = np.pad(x[None, :, 1:3], ((0, 0), (0, 0), (1, 0)), constant_values=2)
    want = padded.clip(-0.5, 1.5)[None].repeat(2, 2).repeat(2, 3)
    np.testing.assert_allclose(run(converter.from_onnx(source), x=x)["y"], want, 1e-6)


def test_inputs_given_as_constants_are_no_inputs_any_more():
    nodes = [helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)]
    source = model_of(nodes, [("x", [2, 3])], [("y", None)])
    source.graph.input.append(helper.make_tensor_value_info("axes", TensorProto.INT64, [1]))
    model = converter.from_onnx(source, constants={"axes": [1]})
    assert [v.name for v in model.main.inputs] == ["x"]
    x = image(2, 3)
    np.testing.assert_allclose(run(model, x=x)["y"], x.sum(1), 1e-5)
    refused(source, "no input 'z' to give a value", constants={"z": 1})


def test_images_become_channels_last_where_asked_for():
    source = model_of(
        [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("GlobalMaxPool", ["r"], ["y"])],
        [("x", ["n", 3, 8, 6])],
        [("y", None), ("r", None)],
    )
    model = converter.from_onnx(source, nhwc_io=True)
    assert model.main.inputs[0].shape_signature == (-1, 8, 6, 3)
    told = json.loads(model.metadata["rillet.layout"])
    assert told == {"NHWC": {"inputs": ["x"], "outputs": ["y", "r"]}}
    x = image(2, 8, 6, 3)
    found = run(model, x=x)
    np.testing.assert_array_equal(found["r"], np.maximum(x, 0))
    np.testing.assert_array_equal(found["y"], np.maximum(x, 0).max((1, 2), keepdims=True))
    assert "rillet.layout" not in converter.from_onnx(source).metadata
    plain = {"TRANSPOSE"} & {node.op for node in model.main.nodes}
    assert not plain, "nothing is left to transpose"


def _with_nan() -> onnx.ModelProto:
    weights = np.ones((2, 2), np.float32)
    weights[0, 1] = np.nan
    node = helper.make_node("MatMul", ["x", "w"], ["y"], "dense")
    return model_of([node], [("x", [1, 2])], [("y", None)], [("w", weights)])


def _twice() -> onnx.ModelProto:
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Exp", ["x"], ["y"])]
    return model_of(nodes, [("x", [1])], [("y", None)])


def _circle() -> onnx.ModelProto:
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Exp", ["a"], ["b"])]
    return model_of(nodes, [("x", [1])], [("b", None)])


def _with(**attributes) -> onnx.ModelProto:
    node = helper.make_node("LeakyRelu", ["x"], ["y"], "leak", **attributes)
    return model_of([node], [("x", [1])], [("y", None)])


def _arity(count: int) -> onnx.ModelProto:
    node = helper.make_node("Add", ["x"] * count, ["y"], "sum")
    return model_of([node], [("x", [1])], [("y", None)])


def _no_output() -> onnx.ModelProto:
    return model_of([helper.make_node("Relu", ["x"], ["y"])], [("x", [1])], [])


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (_with_nan(), "'dense'.* has NaN in its weights 'w' \\(1 of 4 numbers\\)"),
        (_twice(), "2 node outputs are called 'y'"),
        (_circle(), "reads 'b', which is computed from it"),
        (_with(alpha="much"), "'leak'.* has the attribute 'alpha' as STRING, not FLOAT"),
        (_arity(1), "'sum'.* has 1 inputs, but its op takes 2 to 2"),
        (_arity(3), "'sum'.* has 3 inputs, but its op takes 2 to 2"),
        (_no_output(), "no outputs"),
        (small_network(("n", 3, 8)), "conv"),
    ],
)
def test_damaged_models_get_a_sentence(source, words):
    refused(source, words)


def test_damaged_files_never_give_a_traceback():
    from conformance import onnx_mutants

    found = {}
    for name, damaged in onnx_mutants.mutants(300, seed=7):
        trouble = onnx_mutants.trouble(damaged)
        if trouble:
            found[name] = trouble
    assert not found, "\n".join(found.values())


def test_no_shape_of_a_constant_is_trusted():
    tensor = helper.make_tensor("w", FLOAT, [2], [1.0, 2.0])
    tensor.dims[0] = 1 << 40
    source = model_of([helper.make_node("Add", ["x", "w"], ["y"])], [("x", [2])], [("y", None)])
    source.graph.initializer.append(tensor)
    refused(source, "constant 'w' cannot be read")
