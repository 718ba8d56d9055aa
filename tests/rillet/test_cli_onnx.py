# SPDX-License-Identifier: Apache-2.0
"""``rillet convert`` and ``rillet check`` on ONNX models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import model_of, small_network

import converter
from rillet import errors

pytest_plugins = ("cli_fixtures",)


@pytest.fixture
def network(tmp_path) -> Path:
    path = tmp_path / "net.onnx"
    onnx.save(small_network(("n", 3, 8, 8)), path)
    return path


def test_convert_proves_and_writes(rillet, network, tmp_path):
    out = tmp_path / "net.tflite"
    outcome = rillet("convert", network, "-o", out, "--check", "layers")
    assert outcome.code == errors.OK and out.stat().st_size
    assert "ok  y" in outcome.out and "no layer departs" in outcome.out
    ran = rillet("run", out, "--random", "--json")
    assert ran.code == errors.OK


def test_shapes_can_be_given(rillet, network, tmp_path):
    out = tmp_path / "net.tflite"
    outcome = rillet("convert", network, "-o", out, "--input", "x=4,3,8,8", "--json")
    assert json.loads(outcome.out)["proof"]["passed"]
    for text, words in (("x=4,3", "rank"), ("z=1", "no input 'z'"), ("x=a", "write NAME=SIZES")):
        outcome = rillet("convert", network, "-o", tmp_path / "o.tflite", "--input", text)
        assert outcome.code != errors.OK and words in outcome.err
        assert not (tmp_path / "o.tflite").exists()


def test_norms_and_attention_stay_whole_where_asked(rillet, tmp_path):
    nodes = [
        helper.make_node("LayerNormalization", ["x", "g", "b"], ["n"], axis=-1),
        helper.make_node("MatMul", ["n", "k"], ["s"]),
        helper.make_node("Softmax", ["s"], ["p"], axis=-1),
        helper.make_node("MatMul", ["p", "n"], ["y"]),
    ]
    source = model_of(nodes, [("x", [2, 5, 8]), ("k", [2, 8, 5])], [("y", None)])
    rows = np.random.default_rng(0).uniform(0.5, 2, (2, 8)).astype(np.float32)
    source.graph.initializer.extend(numpy_helper.from_array(rows[i], "gb"[i]) for i in range(2))
    path, out = tmp_path / "net.onnx", tmp_path / "net.tflite"
    onnx.save(source, path)
    plain = rillet("convert", path, "-o", out, "--json").json
    outcome = rillet("convert", path, "-o", out, "--composites", "--verbose", "--json")
    assert "is rillet.layer_norm" in outcome.err and "is rillet.attention" in outcome.err
    whole = outcome.json
    assert whole["proof"]["passed"] and whole["nodes_after"] == 2 < plain["nodes_after"]
    shown = rillet("inspect", out, "--kernels", "--json").json
    counts = {row["op"]: row["nodes"] for row in shown["ops"]}
    assert counts["rillet.layer_norm"] == counts["rillet.attention"] == 1
    assert all(row["loop"] for row in shown["runtime"]["kernels"])


def test_inputs_can_become_constants(rillet, tmp_path):
    source = model_of([helper.make_node("ReduceSum", ["x", "a"], ["y"])], [("x", [2, 3])],
                      [("y", None)])  # fmt: skip
    source.graph.input.append(helper.make_tensor_value_info("a", TensorProto.INT64, [1]))
    path, out = tmp_path / "sum.onnx", tmp_path / "sum.tflite"
    onnx.save(source, path)
    assert "ok  y (2x1)" in rillet("convert", path, "-o", out, "--constant", "a=1").out
    assert list(converter.read_tflite(out).signatures[0].inputs) == ["x"]
    wrong = rillet("convert", path, "-o", out, "--constant", "a=x")
    assert wrong.code != errors.OK and "write NAME=NUMBERS" in wrong.err


def test_images_can_become_channels_last(rillet, network, tmp_path):
    out = tmp_path / "net.tflite"
    argv = ["convert", network, "-o", out, "--nhwc-io", "--input", "x=2,3,8,8"]
    assert "ok  y" in rillet(*argv, "--check", "layers").out
    assert [v.shape for v in converter.read_tflite(out).main.inputs] == [(2, 8, 8, 3)]
    again = rillet("convert", out, "-o", tmp_path / "again.tflite", "--nhwc-io")
    assert again.code != errors.OK and "is for .onnx files" in again.err


def test_the_proof_can_use_given_inputs(rillet, network, tmp_path):
    np.save(tmp_path / "x.npy", np.ones((1, 3, 8, 8), np.float32))
    argv = ["convert", network, "-o", tmp_path / "o.tflite", "--check-input"]
    assert rillet(*argv, f"x={tmp_path / 'x.npy'}").code == errors.OK
    assert "write NAME=FILE.npy" in rillet(*argv, "x.txt").err
    assert "there is no file" in rillet(*argv, "x=gone.npy").err


def test_check_lists_every_obstacle(rillet, tmp_path):
    nodes = [
        helper.make_node("NoSuchOp", ["x"], ["a"], "first"),
        helper.make_node("NorThis", ["x"], ["b"], "second"),
    ]
    path = tmp_path / "net.onnx"
    onnx.save(model_of(nodes, [("x", [2, 3])], [("a", None), ("b", None)]), path)
    outcome = rillet("check", path)
    assert outcome.code == errors.UNSUPPORTED
    assert "'first' ([2,3])" in outcome.err and "'second' ([2,3])" in outcome.err
    found = json.loads(rillet("check", path, "--json").out)
    assert len(found["obstacles"]) == 2


def test_check_of_a_good_model_says_so(rillet, network):
    outcome = rillet("check", network)
    assert outcome.code == errors.OK and "no obstacle" in outcome.out


def test_missing_external_data_is_named(rillet, tmp_path):
    source = small_network()
    tensor = source.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="gone.bin")
    (tmp_path / "net.onnx").write_bytes(source.SerializeToString())
    outcome = rillet("check", tmp_path / "net.onnx")
    assert outcome.code == errors.UNSUPPORTED and "constant 'w' cannot be read" in outcome.err


def test_labels_and_normalization_travel_in_the_model(rillet, network, tmp_path):
    from runtime.metadata import read_metadata

    (tmp_path / "labels.txt").write_text("".join(f"c{i}\n" for i in range(64)))
    out = tmp_path / "net.tflite"
    argv = ["convert", network, "-o", out, "--labels", tmp_path / "labels.txt"]
    outcome = rillet(*argv, "--mean", "1,2,3", "--std", "4")
    assert outcome.code == errors.OK
    found = read_metadata(out)
    assert found.inputs[0].mean == (1, 2, 3) and found.outputs[0].labels[63] == "c63"
    (tmp_path / "labels.txt").write_text("one\n")
    assert "1 labels for the 64 classes" in rillet(*argv).err
