# SPDX-License-Identifier: Apache-2.0
"""``rillet convert`` and ``rillet quantize``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cli_models import dense_model, signed, written
from PIL import Image

import converter
import runtime
from converter.ir import Graph, Value
from rillet import errors

pytest_plugins = ("cli_fixtures",)
SCRIPT = """
import host_engine as tf

def trained():
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [1, 4], name="x")
        w = tf.Variable(tf.ones([4, 2]), name="w")
        y = tf.nn.relu(tf.matmul(x, w) + 1.0)
        sess = tf.Session()
        sess.run(tf.global_variables_initializer())
        return sess, [x], [y]

def wrong():
    return 7

def broken():
    raise RuntimeError("no checkpoint here")

number = 3
"""


@pytest.fixture
def samples_file(tmp_path: Path) -> Path:
    rows = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
    np.savez(tmp_path / "rows.npz", x=rows)
    np.save(tmp_path / "rows.npy", rows)
    return tmp_path / "rows.npz"


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text(SCRIPT)
    return path


def double_relu(path: Path) -> str:
    """x -> RELU -> RELU -> y, which a pass can shorten."""
    graph = Graph()
    value = graph.add_input("x", "FLOAT32", [1, 4])
    for name in ("r", "y"):
        out = Value(name, "FLOAT32", [1, 4])
        graph.add_node("RELU", [value], [out])
        value = out
    graph.outputs = [value]
    return written(signed(graph, {"x": 0}, {"y": 0}), path)


def test_convert_optimizes_unless_told_not_to(rillet, tmp_path: Path) -> None:
    source, out = double_relu(tmp_path / "s.tflite"), tmp_path / "o.tflite"
    as_it_is = rillet("convert", source, "-o", out, "--no-optimize", "--json").json
    assert as_it_is["nodes_before"] == as_it_is["nodes_after"] == 2
    outcome = rillet("convert", source, "-o", out, "--verbose")
    assert outcome.code == errors.OK and str(out) in outcome.out
    model = runtime.load(str(out))
    assert np.array_equal(model(np.float32([[-1, 2, -3, 4]])), np.float32([[0, 2, 0, 4]]))


def test_convert_a_script(rillet, script: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.tflite"
    outcome = rillet("convert", f"{script}:trained", "-o", out, "--json")
    assert outcome.code == errors.OK, outcome.err
    assert outcome.json["output_bytes"] == out.stat().st_size
    assert np.array_equal(runtime.load(str(out))(np.ones((1, 4), np.float32)), [[5.0, 5.0]])


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        ("wrong", "must return (session, [inputs], [outputs])"),
        ("broken", "net.py, line 17: RuntimeError: no checkpoint here"),
        ("absent", "has no function 'absent'"),
        ("number", "has no function 'number'"),
    ],
)
def test_scripts_that_do_not_deliver(rillet, script, tmp_path, function, sentence) -> None:
    outcome = rillet("convert", f"{script}:{function}", "-o", tmp_path / "o.tflite")
    assert outcome.code == errors.MISTAKE and sentence in outcome.err
    assert not (tmp_path / "o.tflite").exists()


def test_sources_of_other_kinds(rillet, script: Path, tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(b"\x08\x07")
    out = tmp_path / "o.tflite"
    outcome = rillet("convert", tmp_path / "m.safetensors", "-o", out)
    assert outcome.code == errors.UNSUPPORTED
    assert "holds weights" in outcome.err and "a source is an .onnx, .pb" in outcome.err
    assert "which function?" in rillet("convert", script, "-o", out).err
    gone = rillet("convert", f"{tmp_path}/gone.py:f", "-o", out)
    assert gone.code == errors.MISTAKE and "there is no file" in gone.err


@pytest.mark.parametrize("recipe", ["float16", "dynamic-int8", "static-int8"])
def test_every_recipe(rillet, recipe: str, samples_file: Path, tmp_path: Path) -> None:
    source = written(dense_model(64, 32), tmp_path / "wide.tflite")
    np.save(tmp_path / "wide.npy", np.random.default_rng(0).random((9, 64), np.float32))
    argv = ["quantize", source, "-o", tmp_path / "o.tflite", "--recipe", recipe]
    outcome = rillet(*argv, "--calibrate", tmp_path / "wide.npy", "--json")
    assert outcome.code == errors.OK, outcome.err
    result = outcome.json
    assert result["output_bytes"] < 0.7 * result["model_bytes"]
    assert result["recipe"]["kind"] == recipe.replace("-", "_")
    assert result["report"]["samples"] == 9 and result["report"]["outputs"][0]["snr_db"] > 25
    text = rillet(*argv, "--calibrate", tmp_path / "wide.npy").out
    assert "noisiest first" in text and "before" in text


def test_samples_come_from_npz_npy_or_photos(rillet, dense, image, samples_file, tmp_path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(3):
        Image.new("RGB", (20, 20), (i * 80, 50, 99)).save(photos / f"{i}.png")
    for model, data, count in [
        (dense, samples_file, 20),
        (dense, samples_file.with_suffix(".npy"), 20),
        (image, photos, 3),
    ]:
        result = rillet(
            *["quantize", model, "-o", tmp_path / "o.tflite", "--recipe", "static-int8"],
            *["--calibrate", data, "--json"],
        ).json
        assert result["samples"] == count
    limited = rillet(
        *["quantize", dense, "-o", tmp_path / "o.tflite", "--recipe", "static-int8", "--json"],
        *["--calibrate", samples_file, "--limit", 5, "--report", 0],
    ).json
    assert limited["samples"] == 5 and limited["report"] is None


def test_recipe_files_and_settings(rillet, dense: str, samples_file: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "r.json"
    recipe.write_text(json.dumps({"kind": "static_int8", "percentile": 99.0, "io": "float32"}))
    argv = ["quantize", dense, "-o", tmp_path / "o.tflite", "--calibrate", samples_file, "--json"]
    used = rillet(*argv, "--recipe-file", recipe, "--method", "percentile").json["recipe"]
    assert (used["method"], used["percentile"], used["io"]) == ("percentile", 99.0, "float32")
    assert converter.read_tflite(tmp_path / "o.tflite").main.inputs[0].dtype == "FLOAT32"
    used = rillet(*argv, "--recipe", "static-int8", "--percentile", 98).json["recipe"]
    assert (used["method"], used["percentile"]) == ("percentile", 98.0)
    recipe.write_text('{"kindness": 1}')
    bad = rillet(*argv[:-1], "--recipe-file", recipe)
    assert bad.code == errors.MISTAKE and "unknown recipe field 'kindness'" in bad.err


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        (["--recipe", "static-int8"], "static-int8 needs samples"),
        (["--recipe", "float16", "--io", "int8"], "--io is for static-int8; this is float16"),
        (["--recipe", "float16"], "nothing to quantize: no float32 constant of 256"),
        (["--recipe", "static-int8", "--calibrate", "{0}/absent"], "no file or folder"),
        (["--recipe", "static-int8", "--calibrate", "{0}/wide.npz"], "expects shape [1, 4], given"),
        (["--recipe", "static-int8", "--calibrate", "{0}/other.npz"], "no input 'z'"),
        (["--recipe", "static-int8", "--calibrate", "{0}/none.npy"], "holds no samples"),
        (["--recipe", "static-int8", "--calibrate", "{0}/double.npy"], "given float64"),
        (["--recipe", "static-int8", "--calibrate", "{0}/dense.tflite"], "no folder of photos"),
        (["--recipe", "static-int8", "--calibrate", "{0}/broken.npz"], "cannot read the arrays"),
        (["--recipe", "static-int8", "--calibrate", "{0}"], "takes no photo"),
    ],
)
def test_mistakes_of_quantize(rillet, dense: str, tmp_path: Path, extra, sentence: str) -> None:
    np.savez(tmp_path / "wide.npz", x=np.zeros((3, 5), np.float32))
    np.savez(tmp_path / "other.npz", z=np.zeros((3, 4), np.float32))
    np.save(tmp_path / "none.npy", np.zeros((0, 4), np.float32))
    np.save(tmp_path / "double.npy", np.zeros((2, 4)))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 no archive")
    extra = [part.format(tmp_path) for part in extra]
    outcome = rillet("quantize", dense, "-o", tmp_path / "o.tflite", *extra)
    assert outcome.code == errors.MISTAKE and sentence in outcome.err
    assert not (tmp_path / "o.tflite").exists()


def test_nothing_half_written_is_left(rillet, dense: str, tmp_path: Path, monkeypatch) -> None:
    target = tmp_path / "o.npz"
    target.write_bytes(b"what was there before")

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full_disk)
    outcome = rillet("run", dense, "--random", "--output", target)
    assert outcome.code == errors.MISTAKE and "No space left on device" in outcome.err
    assert target.read_bytes() == b"what was there before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dense.tflite", "o.npz"]
