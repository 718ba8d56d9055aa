# SPDX-License-Identifier: Apache-2.0
"""A conversion proves itself, or writes nothing and says where it departs."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_models import model_of, small_network
from zoo import zoo_files

import converter
import quantize
from converter.conversion import convert
from converter.example_feeds import example_feeds
from converter.proof import compare, find_departure, prove
from converter.sources import OnnxSource, TfliteSource


@pytest.fixture
def source():
    return OnnxSource(small_network(("n", 3, 8, 8)).SerializeToString())


def broken(model: converter.ir.Model) -> converter.ir.Model:
    """The model with one weight of its convolution changed."""
    (conv,) = [node for node in model.main.nodes if node.op == "CONV_2D"]
    weights = conv.inputs[1].data.copy()
    weights[0] += 1
    conv.set_input(1, converter.ir.Value.constant("w2", weights))
    return model


class Broken(OnnxSource):
    def convert(self):
        return broken(super().convert())


def test_a_right_conversion_is_written_with_its_proof(source, tmp_path):
    made = convert(source, tmp_path / "net.tflite", check="layers")
    assert made.proof.passed and made.proof.first_departure is None
    assert made.proof.compared_layers >= 3
    assert (tmp_path / "net.tflite").stat().st_size >= len(made.content) - 1
    assert "ok  y" in str(made.proof) and "largest error" in str(made.proof)


def test_a_wrong_conversion_is_not_written_and_names_the_first_layer(source, tmp_path):
    wrong = Broken(source.path)
    with pytest.raises(converter.ConversionError) as raised:
        convert(wrong, tmp_path / "net.tflite")
    assert "BAD y" in str(raised.value) and "first layer that departs: c (" in str(raised.value)
    assert list(tmp_path.iterdir()) == []
    assert not convert(wrong, tmp_path / "net.tflite", force=True).proof.passed
    assert (tmp_path / "net.tflite").exists()


def test_a_wrong_rewrite_is_named(source, monkeypatch):
    def spoil(graph):
        changed = [node for node in graph.nodes if node.op == "RELU"]
        for node in changed:
            node.op = "RELU6"
            node.inputs[0].producer.inputs[1].data = node.inputs[0].producer.inputs[1].data + 0
        return bool(changed)

    monkeypatch.setattr("converter.passes.DEFAULT_PASSES", (spoil,))
    plain, model = source.convert(), source.convert()
    feeds = {"x": np.full((1, 3, 8, 8), 9, np.float32)}
    spoil(model.main)
    proof = prove(source, converter.write_tflite(model), feeds)
    assert not proof.passed
    assert find_departure(proof, source, plain).guilty_pass == "spoil"
    assert "every layer agrees until the rewrite spoil" in str(proof)


@pytest.mark.parametrize(
    ("found", "wanted", "remark"),
    [
        (np.zeros(2, np.float32), np.zeros(3, np.float32), "shape"),
        (np.zeros(2, np.float32), np.zeros(2, np.int32), "float32"),
        (np.array([np.nan], np.float32), np.array([1], np.float32), "infinite or NaN"),
        (np.array([1], np.float32), np.array([np.inf], np.float32), "finite where"),
        (np.array([b"a"], object), np.array([b"b"], object), "texts"),
    ],
)
def test_what_is_not_a_number_is_a_remark(found, wanted, remark):
    difference = compare("y", found, wanted)
    assert remark in difference.remark and not difference.agrees()


def test_errors_are_relative_to_the_largest_magnitude():
    difference = compare("y", np.array([100.005], np.float32), np.array([100], np.float32))
    assert difference.agrees(1e-4) and not difference.agrees(1e-5)
    infinite = np.array([np.inf, np.nan, 1], np.float32)
    assert compare("y", infinite, infinite).agrees()
    nothing = np.full(3, np.nan, np.float32)
    assert "NaN or infinite everywhere" in str(compare("y", nothing, nothing))
    assert "NaN" not in str(compare("y", nothing[:0], nothing[:0]))


def test_inputs_that_the_source_does_not_take_get_a_sentence(source):
    content = converter.write_tflite(source.convert())
    with pytest.raises(converter.ConversionError, match="cannot run the model on these inputs"):
        prove(source, content, {"x": np.zeros((1, 2, 8, 8), np.float32)})


def test_a_tflite_file_is_a_source_too(source, tmp_path):
    convert(source, tmp_path / "net.tflite")
    again = TfliteSource(tmp_path / "net.tflite")
    assert convert(again).proof.passed
    feeds = example_feeds(again.convert(), again)
    assert feeds["x"].shape == (2, 3, 8, 8) and feeds["x"].dtype == np.float32


def test_integers_are_drawn_from_what_they_index():
    table = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    nodes = [helper.make_node("Gather", ["table", "ids"], ["y"])]
    model = model_of(nodes, [], [("y", None)], [("table", table)])
    model.graph.input.append(helper.make_tensor_value_info("ids", TensorProto.INT64, [3, 40]))
    source = OnnxSource(model.SerializeToString())
    feeds = example_feeds(source.convert(), source)
    assert 40 <= feeds["ids"].max() < 50 and feeds["ids"].min() >= 0
    assert convert(source).proof.passed


def test_an_int8_file_must_keep_its_bits(tmp_path):
    """What 8-bit models of other engines are allowed, the passes of a .tflite file are not."""
    (path,) = zoo_files("models/tflite/pretrainedResnet_quant.tflite") or [None]
    if path is None:
        model = OnnxSource(small_network().SerializeToString()).convert()
        samples = [np.ones((1, 3, 8, 8), np.float32)]
        path = tmp_path / "int8.tflite"
        converter.write_tflite(quantize.static_int8(model, samples), path)
    source = TfliteSource(path)
    made = convert(source)
    assert all(output.error == 0 and output.allowed == 0 for output in made.proof.outputs)


def test_a_file_without_signatures_is_proved_by_the_tensors_names(source, tmp_path):
    model = source.convert()
    model.signatures.clear()
    converter.write_tflite(model, tmp_path / "bare.tflite")
    made = convert(TfliteSource(tmp_path / "bare.tflite"))
    assert made.proof.passed and [o.name for o in made.proof.outputs] == ["y"]
    model.main.outputs[0].name = model.main.inputs[0].name = "same"
    model.main.outputs.append(model.main.nodes[0].outputs[0])
    model.main.outputs[1].name = "same"
    assert model.end_names() == (["same#0"], ["same#0", "same#1"])
    assert convert(TfliteSource(converter.write_tflite(model))).proof.passed


def test_the_bytes_that_are_proved_are_those_that_are_written(source, tmp_path, monkeypatch):
    proved = []

    def recorded(source, content, *rest):
        proved.append(content)
        return prove(source, content, *rest)

    monkeypatch.setattr("converter.conversion.prove", recorded)
    made = convert(source, tmp_path / "net.tflite")
    assert proved == [made.content] == [(tmp_path / "net.tflite").read_bytes()]
    assert b"OfflineMemoryAllocation" in made.content
