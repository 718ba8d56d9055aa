# SPDX-License-Identifier: Apache-2.0
"""``rillet run``, ``bench`` and ``inspect``."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from cli_models import dense_model, image_model, written
from PIL import Image
from zoo import zoo_files

import converter
import quantize
import runtime
from rillet import errors
from rillet.commands.bench import measured, statistics

pytest_plugins = ("cli_fixtures",)


@pytest.fixture
def x_file(tmp_path: Path) -> Path:
    np.save(tmp_path / "x.npy", np.float32([[1, 2, 3, 4]]))
    return tmp_path / "x.npy"


def expected(x: np.ndarray) -> np.ndarray:
    _, weights, bias = dense_model().main.nodes[0].inputs
    return x @ weights.data.T + bias.data


def test_run_gives_and_saves_the_outputs(rillet, dense: str, x_file: Path, tmp_path: Path) -> None:
    wanted = expected(np.load(x_file))
    for text in (x_file, f"x={x_file}", f"a={x_file}"):
        outcome = rillet("run", dense, text, "--output", tmp_path / "o.npz", "--json")
        assert outcome.code == errors.OK
        (output,) = outcome.json["outputs"]
        assert output["name"] == "scores" and output["shape"] == [1, 3]
        assert output["first"] == pytest.approx(wanted[0].tolist(), rel=1e-5)
        with np.load(tmp_path / "o.npz") as saved:
            assert saved.files == ["scores"]
            assert np.allclose(saved["scores"], wanted, rtol=1e-5)


def test_run_shows_labels_of_the_largest(rillet, dense: str, x_file: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("ant\nbee\ncat\n")
    outcome = rillet("run", dense, x_file, "--labels", labels, "--top", 2)
    order = np.argsort(-expected(np.load(x_file))[0])
    lines = outcome.out.splitlines()
    assert [line.split()[0] for line in lines[3:]] == [str(i) for i in order[:2]]
    assert lines[3].endswith(["ant", "bee", "cat"][order[0]])


def test_random_inputs_follow_the_seed(rillet, dense: str) -> None:
    one, same, other = (rillet("run", dense, "--random", "--seed", s).out for s in (1, 1, 2))
    assert one == same != other


def test_int8_models_take_float_inputs_and_show_real_scores(
    rillet, x_file: Path, tmp_path: Path
) -> None:
    model = dense_model()
    x = np.load(x_file)
    int8 = quantize.static_int8(model, [x, -x])
    path = written(int8, tmp_path / "int8.tflite")
    (output,) = rillet("run", path, x_file, "--json").json["outputs"]
    step = float(int8.main.outputs[0].quant.scale[0])
    assert output["dtype"] == "int8"
    assert np.abs(np.array(output["first"]) - expected(x)[0]).max() <= 2 * step


@pytest.mark.parametrize("channels", [1, 3])
def test_photos_are_cropped_and_normalized(rillet, channels: int, tmp_path: Path) -> None:
    image_file = Image.new("RGB", (16, 12), (200, 200, 200))
    image_file.save(tmp_path / "grey.png")
    path = written(image_model(channels), tmp_path / "image.tflite")
    (output,) = rillet(
        "run", path, tmp_path / "grey.png", "--mean", 100, "--std", 50, "--json"
    ).json["outputs"]
    weights = image_model(channels).main.nodes[0].inputs[1].data
    assert output["first"] == pytest.approx(2 * weights.sum(axis=(1, 2, 3)), rel=1e-3, abs=1e-3)


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("x={folder}/absent.npy", "there is no file"),
        ("{folder}/wide.npy", "input 'x' expects shape [1, 4], given [1, 5]"),
        ("{folder}/double.npy", "input 'x' expects float32, given float64; save it with"),
        ("q={folder}/x.npy", "there is no input 'q'; the model's inputs are ['a', 'x']"),
        ("{folder}/dense.tflite", "takes no photo"),
        ("{folder}/broken.npy", "cannot read the array"),
        ("{folder}/objects.npy", "cannot read the array"),
    ],
)
def test_inputs_that_do_not_fit(rillet, dense, x_file, tmp_path, argument, sentence) -> None:
    np.save(tmp_path / "wide.npy", np.zeros((1, 5), np.float32))
    np.save(tmp_path / "double.npy", np.zeros((1, 4)))
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY")
    outcome = rillet("run", dense, argument.format(folder=tmp_path))
    assert outcome.code == errors.MISTAKE and sentence in outcome.err


def test_files_may_stand_behind_options(rillet, dense: str, x_file) -> None:
    first = rillet("run", dense, x_file, "--top", 1).out
    assert first and rillet("run", dense, "--top", 1, x_file).out == first
    for argv in (["--random", x_file], []):
        outcome = rillet("run", dense, *argv)
        assert outcome.code == errors.USAGE and "either a file for each input" in outcome.err
    outcome = rillet("run", dense, x_file, "--tops", 1)
    assert outcome.code == errors.USAGE and "unrecognized arguments: --tops 1" in outcome.err


@pytest.mark.parametrize("command", [["run", "--random"], ["inspect"], ["bench"]])
def test_a_model_that_is_not_converted_yet(rillet, tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "net.onnx").write_bytes(b"\x08\x07")
    outcome = rillet(command[0], tmp_path / "net.onnx", *command[1:])
    assert outcome.code == errors.MISTAKE and "net.onnx -o NAME.tflite first" in outcome.err


def test_other_mistakes_of_run(rillet, dense: str, image: str, x_file, tmp_path: Path) -> None:
    twice = rillet("run", dense, x_file, f"x={x_file}")
    assert twice.code == errors.MISTAKE and "'x' is given twice" in twice.err
    (tmp_path / "two.txt").write_text("one\ntwo\n")
    few = rillet("run", dense, "--random", "--labels", tmp_path / "two.txt")
    assert few.code == errors.MISTAKE and "2 labels for output 'scores' of 3 classes" in few.err
    away = rillet("run", dense, "--random", "--output", tmp_path / "no" / "o.npz")
    assert away.code == errors.MISTAKE and "there is no folder" in away.err
    (tmp_path / "bad.jpg").write_bytes(b"not a picture")
    bad = rillet("run", image, tmp_path / "bad.jpg")
    assert bad.code == errors.MISTAKE and "no readable picture" in bad.err
    missing = rillet("run", dense, "--random", "--labels", tmp_path / "none.txt")
    assert missing.code == errors.MISTAKE and "there is no file" in missing.err


def test_bench_measures_and_profiles(rillet, image: str) -> None:
    result = rillet("bench", image, "--runs", 7, "--warmup", 1, "--per-op", "--json").json
    times = result["ms"]["rillet"]
    assert 0 < times["min"] <= times["p10"] <= times["median"] <= times["p90"] <= times["p99"]
    (node,) = result["nodes"]
    assert node["op"] == "CONV_2D" and node["macs"] == 5 * 8 * 8 * 3 and node["microseconds"] > 0
    text = rillet("bench", image, "--runs", 3, "--per-op").out
    assert "median" in text and "Gop/s" in text and node["loop"] in text


def test_bench_beside_litert(rillet, dense: str) -> None:
    result = rillet("bench", dense, "--runs", 5, "--compare", "litert", "--json").json
    medians = [result["ms"][name]["median"] for name in ("rillet", "litert")]
    assert result["ratio"] == pytest.approx(medians[0] / medians[1])


def test_bench_can_be_held_to_an_instruction_set(rillet, image: str) -> None:
    result = rillet("bench", image, "--runs", 2, "--isa", "scalar", "--per-op", "--json").json
    assert result["isa"] == "scalar" and not result["nodes"][0]["loop"].endswith("avx512")
    unknown = rillet("bench", image, "--runs", 2, "--isa", "abacus")
    assert unknown.code != errors.OK and "abacus" in unknown.err


def test_engines_take_turns() -> None:
    order: list[str] = []

    class Engine:
        def __init__(self, name: str) -> None:
            self.name = name

        def invoke(self) -> None:
            order.append(self.name)

    times = measured({"a": Engine("a"), "b": Engine("b")}, warmup=1, runs=2)
    assert order == ["a", "b"] * 3 and [len(t) for t in times.values()] == [2, 2]
    assert statistics([1.0, 2.0, 3.0])["median"] == 2.0


def test_inspect_tells_what_the_file_holds(rillet, image: str) -> None:
    result = rillet("inspect", image, "--json", "--tensors", "--kernels").json
    assert result["bytes"] == Path(image).stat().st_size
    assert result["ops"] == [{"op": "CONV_2D", "nodes": 1, "constant_bytes": 4 * (5 * 192 + 5)}]
    assert result["signatures"] == {"serving_default": {"inputs": ["image"], "outputs": ["y"]}}
    needs = result["runtime"]
    assert needs["runs"] and needs["macs"] == 960 and needs["arena"] >= needs["peak_live"] > 0
    assert needs["kernels"][0]["loop"] and len(result["tensors"]) == 4
    text = rillet("inspect", image, "--tensors", "--kernels").out
    for part in ("CONV_2D", "arena", needs["kernels"][0]["loop"], "1x8x8x3", "constant bytes"):
        assert part in text


BLOCKS = ("model", "structure", "state", "prepared", "arena", "peak_live")


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("isa", ["scalar", runtime.best_isa()])
def test_inspect_tells_every_block_without_allocating_it(
    rillet, image: str, isa: str, threads: int, monkeypatch
) -> None:
    interpreter = runtime.Interpreter(image, num_threads=threads, isa=isa)
    interpreter.allocate_tensors()
    exact = {name: interpreter.memory()[name] for name in BLOCKS}
    monkeypatch.setattr(runtime.Interpreter, "allocate_tensors", None)
    asked = ("inspect", image, "--isa", isa, "--threads", threads)
    needs = rillet(*asked, "--json").json["runtime"]
    assert {name: needs[name] for name in BLOCKS} == exact
    assert (needs["isa"], needs["threads"]) == (isa, threads)
    text = rillet(*asked).out
    for name in ("model", "prepared", "arena"):
        assert re.search(rf"{name} +{exact[name]:,} bytes", text)


def test_inspect_says_where_sizes_are_not_known(rillet, image: str, tmp_path: Path) -> None:
    graph = converter.ir.Graph("where")
    x, y = graph.add_input("x", "BOOL", (5,)), converter.ir.Value("y", "INT64", (1, 1))
    y.shape_signature = (-1, 1)
    graph.add_node("WHERE", [x], [y])
    graph.outputs = [y]
    model = written(converter.ir.Model([graph]), tmp_path / "where.tflite")
    for path, extents in ((image, {"static"}), (model, {"bounded", "unbounded"})):
        needs = rillet("inspect", path, "--json").json["runtime"]
        assert needs["extent"] in extents
        assert ("when it runs" in rillet("inspect", path).out) == (needs["extent"] != "static")


def test_inspect_refuses_an_unknown_instruction_set(rillet, image: str) -> None:
    outcome = rillet("inspect", image, "--isa", "frobnicate")
    assert outcome.code == errors.MISTAKE and "frobnicate" in outcome.err


def test_inspect_shows_quantization_and_dynamic_dimensions(rillet, tmp_path: Path) -> None:
    model = dense_model()
    model.main.inputs[0].shape_signature = (-1, 4)
    int8 = quantize.static_int8(model, [np.ones((1, 4), np.float32)])
    text = rillet("inspect", written(int8, tmp_path / "q.tflite"), "--tensors").out
    assert "?x4" in text and "zero point -128" in text and "3 scales along axis 0" in text


def test_inspect_reads_real_models(rillet) -> None:
    for path in zoo_files("models/tflite/*.tflite"):
        outcome = rillet("inspect", path, "--tensors", "--kernels", "--json")
        assert outcome.code == errors.OK
        model = converter.read_tflite(path)
        assert outcome.json["graphs"][0]["nodes"] == len(model.main.nodes)
