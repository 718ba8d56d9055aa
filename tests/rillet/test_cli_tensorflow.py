# SPDX-License-Identifier: Apache-2.0
"""``rillet convert`` and ``rillet check`` on frozen graphs of TensorFlow."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

import runtime
from rillet import errors

pytest_plugins = ("cli_fixtures",)
GRAPHS = Path(__file__).parents[1] / "converter" / "graphdefs"
CHECKPOINTS = Path(__file__).parents[1] / "converter" / "checkpoints"


def test_convert_proves_with_the_host_engine(rillet, tmp_path):
    out = tmp_path / "net.tflite"
    outcome = rillet("convert", GRAPHS / "keras_resnet.pb", "-o", out, "--check", "layers")
    assert outcome.code == errors.OK and out.stat().st_size
    assert "compared with the host engine" in outcome.out
    assert "ok  Identity" in outcome.out and "no layer departs" in outcome.out


def test_outputs_and_shapes_can_be_given(rillet, tmp_path):
    graph = GRAPHS / "classic_mobilenet.pb"
    argv = ["--outputs", "scores, TopKV2:1", "--input", "image=2,24,32,3", "--json"]
    outcome = rillet("convert", graph, "-o", tmp_path / "m.tflite", *argv)
    proof = json.loads(outcome.out)["proof"]
    assert proof["passed"] and set(proof["outputs"]) == {"scores", "TopKV2:1"}
    for more, words in (
        (["--outputs", "nope"], "'nope:0' is no tensor"),
        (["--outputs", ","], "names no output"),
        (["--input", "nope=1"], "'nope:0' is no tensor"),
    ):
        outcome = rillet("convert", graph, "-o", tmp_path / "o.tflite", *more)
        assert outcome.code == errors.MISTAKE and words in outcome.err
        assert not (tmp_path / "o.tflite").exists()


def test_what_cannot_be_proved_is_written_only_by_force(rillet, tmp_path):
    if importlib.util.find_spec("tensorflow") is not None:
        return  # which would prove it
    graph, out = tmp_path / "g.pbtxt", tmp_path / "m.tflite"
    kind = 'attr { key: "%s" value { type: DT_FLOAT } }'
    shape = 'attr { key: "shape" value { shape { dim { size: 3 } } } }'
    graph.write_text(
        f'node {{ name: "x" op: "Placeholder" {kind % "dtype"} {shape} }}'
        f' node {{ name: "y" op: "BesselI0" input: "x" {kind % "T"} }}'
    )
    outcome = rillet("convert", graph, "-o", out)
    assert outcome.code == errors.MISTAKE and "nothing proves the conversion" in outcome.err
    assert not out.exists()
    assert "not proved" in rillet("convert", graph, "-o", out, "--force").out
    assert rillet("convert", graph, "-o", out, "--check", "none").code == errors.OK


def test_check_says_what_stands_in_the_way(rillet, tmp_path):
    assert "no obstacle" in rillet("check", GRAPHS / "classic_dynamic_rnn.pb").out
    path = tmp_path / "bad.pbtxt"
    path.write_text('node { name: "a" op: "NoSuchOp" }')
    outcome = rillet("check", path)
    assert outcome.code == errors.UNSUPPORTED and "NoSuchOp at node 'a'" in outcome.err
    path.write_bytes(b"\x0a\x80")
    outcome = rillet("check", path)
    assert outcome.code == errors.MISTAKE and "is no GraphDef that can be read" in outcome.err


@pytest.mark.parametrize("name", ["classic", "resources.meta", "resources.index"])
def test_checkpoints_are_frozen_and_proved(rillet, tmp_path, name):
    out, ends = tmp_path / "m.tflite", ["--outputs", "scores", "--constant", "keep_prob=1.0"]
    outcome = rillet("convert", CHECKPOINTS / name, "-o", out, *ends)
    assert outcome.code == errors.OK and "compared with the host engine" in outcome.out
    given = np.load(CHECKPOINTS / f"{name.partition('.')[0]}.npz")
    found = runtime.load(str(out))(image=given["image"], ids=given["ids"])
    np.testing.assert_allclose(found, given["scores"], rtol=0, atol=1e-6)  # TensorFlow's numbers


@pytest.mark.parametrize(
    ("source", "more", "words"),
    [
        ("classic", [], "name the outputs to convert (--outputs); results that nothing else"),
        ("classic", ["--outputs", "scores"], "--constant keep_prob=1.0"),
        ("classic", ["--outputs", "scors"], "the graph has no node 'scors'"),
        ("classic", ["--outputs", "scores", "--constant", "a=1"], "'a' is no placeholder"),
        ("none.meta", ["--outputs", "scores"], "none.meta cannot be read: No such file"),
    ],
)
def test_what_a_checkpoint_lacks_is_said(rillet, source, more, words):
    outcome = rillet("check", CHECKPOINTS / source, *more)
    assert outcome.code in (errors.MISTAKE, errors.UNSUPPORTED) and words in outcome.err


def test_what_is_no_source(rillet, tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01")
    outcome = rillet("check", tmp_path / "saved_model.pb")
    assert "give the folder that it is in" in outcome.err
    outcome = rillet("check", GRAPHS)
    assert outcome.code == errors.MISTAKE and "holds no saved_model.pb" in outcome.err
    np.save(tmp_path / "x.npy", np.zeros(1))
    outcome = rillet("check", GRAPHS / "keras_gru.npz", "--outputs", "a")
    assert "--outputs names outputs of a frozen .pb file" in outcome.err


def test_keras_files_need_the_extra(rillet, tmp_path):
    if importlib.util.find_spec("tensorflow") is not None:
        return  # then tests/converter/test_tensorflow_models.py reads them
    (tmp_path / "m.keras").write_bytes(b"x")
    assert "pip install 'rillet[tensorflow]'" in rillet("check", tmp_path / "m.keras").err


def test_saved_models_need_no_tensorflow(rillet, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tensorflow" else find(name)
    )
    folder, out = CHECKPOINTS.parent / "saved_models" / "images", tmp_path / "m.tflite"
    assert "no obstacle" in rillet("check", folder).out
    outcome = rillet("convert", folder, "-o", out, "--check", "layers")
    assert outcome.code == errors.OK and "compared with the host engine" in outcome.out
    assert "ok  output_0" in outcome.out and "no layer departs" in outcome.out
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01")
    outcome = rillet("check", tmp_path)
    assert outcome.code == errors.MISTAKE and "holds no graph" in outcome.err


@pytest.mark.parametrize("name", ["keras_text", "classic_channels_first", "classic_static_rnn"])
def test_the_proof_of_each_kind(rillet, tmp_path, name):
    outcome = rillet("convert", GRAPHS / f"{name}.pb", "-o", tmp_path / "m.tflite", "--json")
    assert json.loads(outcome.out)["proof"]["engine"] == "the host engine"
