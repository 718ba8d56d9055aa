# SPDX-License-Identifier: Apache-2.0
"""``rillet run``, ``quantize`` and ``inspect`` of models that say how photos go in and what the
classes are called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_models import image_model, signed, written
from PIL import Image

import converter
from converter.ir import Graph, Model, Value
from converter.metadata import ImageInput
from rillet import errors

pytest_plugins = ("cli_fixtures",)

LABELS = ["ant", "bee", "cat", "dog", "eel"]


@pytest.fixture
def grey(tmp_path: Path) -> Path:
    Image.new("RGB", (16, 12), (200, 200, 200)).save(tmp_path / "grey.png")
    return tmp_path / "grey.png"


def described(path: Path, channels: int = 3, **image: object) -> str:
    model = image_model(channels)
    converter.describe(model, images={"": ImageInput(**image)}, labels=LABELS)
    return written(model, path)


def sums(channels: int = 3) -> np.ndarray:
    """What the model of `cli_models` gives for pixels of 1."""
    return image_model(channels).main.nodes[0].inputs[1].data.sum(axis=(1, 2, 3))


def test_photos_need_no_flags_where_the_model_says(rillet, grey: Path, tmp_path: Path) -> None:
    path = described(tmp_path / "m.tflite", mean=[100.0], std=[50.0])
    (output,) = rillet("run", path, grey, "--json").json["outputs"]
    assert output["first"] == pytest.approx((2 * sums()).tolist(), rel=1e-3, abs=1e-3)
    order = np.argsort(-sums(), kind="stable")[:3]
    assert [t["label"] for t in output["top"]] == [LABELS[i] for i in order]


def test_flags_come_before_what_the_model_says(rillet, grey: Path, tmp_path: Path) -> None:
    path = described(tmp_path / "m.tflite", mean=[100.0], std=[50.0])
    (tmp_path / "other.txt").write_text("v\nw\nx\ny\nz\n")
    flags = ["--std", 25, "--labels", tmp_path / "other.txt"]
    (output,) = rillet("run", path, grey, *flags, "--json").json["outputs"]
    assert output["first"] == pytest.approx((4 * sums()).tolist(), rel=1e-3, abs=1e-3)
    assert output["top"][0]["label"] == "vwxyz"[int(np.argmax(sums()))]


def test_a_number_per_channel(rillet, grey: Path, tmp_path: Path) -> None:
    mean, std = [100.0, 150.0, 200.0], [50.0, 25.0, 10.0]
    path = described(tmp_path / "m.tflite", mean=mean, std=std)
    (output,) = rillet("run", path, grey, "--json").json["outputs"]
    weights = image_model().main.nodes[0].inputs[1].data
    wanted = (weights * np.array([2.0, 2.0, 0.0])).sum(axis=(1, 2, 3))
    assert output["first"] == pytest.approx(wanted.tolist(), rel=1e-3, abs=1e-3)


def channels_first() -> Model:
    graph = Graph()
    x = graph.add_input("image", "FLOAT32", [1, 3, 4, 6])
    y = Value("y", "FLOAT32", [1, 3, 4, 6])
    graph.add_node("RELU", [x], [y])
    graph.outputs = [y]
    return signed(graph, {"image": 0}, {"y": 0})


def test_photos_for_channels_first(rillet, tmp_path: Path) -> None:
    """The same values as channels last, in the other order."""
    pixels = np.random.default_rng(3).integers(0, 256, (30, 40, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    model = channels_first()
    converter.describe(model, images={"": ImageInput([0.0], [1.0])})
    path = written(model, tmp_path / "first.tflite")
    out = tmp_path / "o.npz"
    assert rillet("run", path, tmp_path / "noise.png", "-o", out).code == errors.OK
    from edge_examples.classify_photos import crop_frame, read_photo

    frame = crop_frame(read_photo(tmp_path / "noise.png"), (4, 6))
    with np.load(out) as saved:
        assert np.array_equal(saved["y"][0], frame.transpose(2, 0, 1).astype(np.float32))


def test_labels_of_other_classes_are_not_shown(rillet, grey: Path, tmp_path: Path) -> None:
    model = image_model()
    converter.describe(model, labels=LABELS)
    model.files["labels.txt"] = b"only one\n"
    path = written(model, tmp_path / "m.tflite")
    (output,) = rillet("run", path, grey, "--json").json["outputs"]
    assert "top" not in output


def test_metadata_that_divides_by_zero(rillet, grey: Path, tmp_path: Path) -> None:
    model = image_model()
    converter.describe(model, images={"": ImageInput([100.0], [12345.0])})
    key = "TFLITE_METADATA"
    number = np.float32(12345).tobytes()
    assert model.metadata[key].count(number) == 1
    model.metadata[key] = model.metadata[key].replace(number, bytes(4))
    path = written(model, tmp_path / "m.tflite")
    outcome = rillet("run", path, grey)
    assert outcome.code == errors.MISTAKE and "std [0.0]; give --mean and --std" in outcome.err
    assert rillet("run", path, grey, "--std", 2).code == errors.OK


def test_open_heights_take_no_photo(rillet, grey: Path, tmp_path: Path) -> None:
    graph = Graph()
    x = graph.add_input("x", "FLOAT32", [1, 1, 1, 3], shape_signature=[1, -1, -1, 3])
    y = Value("y", "FLOAT32", [1, 1, 1, 3], shape_signature=[1, -1, -1, 3])
    graph.add_node("RELU", [x], [y])
    graph.outputs = [y]
    path = written(signed(graph, {"x": 0}, {"y": 0}), tmp_path / "open.tflite")
    outcome = rillet("run", path, grey)
    assert outcome.code == errors.MISTAKE and "[1, -1, -1, 3], which takes no photo" in outcome.err


def test_calibration_photos_are_normalized_as_the_model_says(
    rillet, grey: Path, tmp_path: Path
) -> None:
    """Values of 2 and nothing else: the scale of the input is 2 / 255."""
    path = described(tmp_path / "m.tflite", mean=[100.0], std=[50.0])
    folder = tmp_path / "photos"
    folder.mkdir()
    grey.rename(folder / "grey.png")
    out = tmp_path / "int8.tflite"
    flags = ["--recipe", "static-int8", "--calibrate", folder, "-o", out]
    assert rillet("quantize", path, *flags).code == errors.OK
    (value,) = converter.read_tflite(out).main.inputs
    assert float(value.quant.scale[0]) == pytest.approx(2 / 255, rel=0.01)
