# SPDX-License-Identifier: Apache-2.0
"""The device side: frames from photos, guesses from a model, the contact sheet, user errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import converter
import converter.metadata
import host_engine as tf
import quantize
from edge_examples import classify_photos
from edge_examples.classify_photos import (
    Classifier,
    Frame,
    Guess,
    UsageError,
    classify,
    contact_sheet,
    crop_frame,
    expected_class,
    main,
    normalize,
    photo_paths,
    read_frames,
    read_photo,
    softmax,
)

COLOURS = {"red": (220, 20, 30), "green": (10, 200, 40), "blue": (25, 30, 230)}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models that tell red, green and blue frames apart: the mean colour, scaled, as logits."""
    folder = tmp_path_factory.mktemp("colours")
    with tf.Graph().as_default(), tf.Session() as session:
        frames = tf.placeholder(tf.float32, [1, 32, 32, 3], name="frames")
        weights = tf.Variable(4 * np.eye(3, dtype=np.float32))
        logits = tf.matmul(tf.reduce_mean(frames, [1, 2]), weights)
        session.run(tf.global_variables_initializer())
        model = converter.from_session(session, inputs=[frames], outputs=[logits])
    converter.optimize(model)
    samples = [normalize(np.full((1, 32, 32, 3), c, np.uint8)) for c in COLOURS.values()]
    edges = [np.full((1, 32, 32, 3), v, np.float32) for v in (-127 / 128, 1)]
    int8 = quantize.static_int8(model, samples + edges)
    converter.write_tflite(model, folder / "fp32.tflite")
    converter.write_tflite(int8, folder / "int8.tflite")
    return {name: folder / f"{name}.tflite" for name in ("fp32", "int8")}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of one-colour photos whose names start with their class index."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index, (name, colour) in enumerate(COLOURS.items()):
        Image.new("RGB", (60 + 20 * index, 50), colour).save(folder / f"{index:03d}_{name}.png")
    return folder


@pytest.fixture
def labels_file(tmp_path: Path) -> Path:
    path = tmp_path / "labels.txt"
    path.write_text("\n".join(COLOURS) + "\n")
    return path


@pytest.mark.parametrize(
    ("size", "frame"), [((256, 256), 224), ((640, 480), 224), ((100, 300), 224), ((256, 256), 96)]
)
def test_frames_are_centred_crops(size: tuple[int, int], frame: int) -> None:
    image = Image.new("RGB", size)
    pixels = crop_frame(image, (frame, frame))
    assert pixels.shape == (frame, frame, 3) and pixels.dtype == np.uint8


def test_a_picture_of_evaluation_size_is_only_cropped() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    np.testing.assert_array_equal(crop_frame(Image.fromarray(pixels)), pixels[16:240, 16:240])


def test_normalize_is_exact() -> None:
    values = normalize(np.array([0, 127, 255], np.uint8))
    assert values.dtype == np.float32
    assert values.tolist() == [-127 / 128, 0, 1]


def test_photos_are_turned_as_the_camera_says(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 20))
    exif = image.getexif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert read_photo(tmp_path / "turned.jpg").size == (20, 40)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_pictures_of_every_mode_become_rgb(tmp_path: Path, mode: str) -> None:
    suffix = "jpg" if mode == "CMYK" else "png"
    Image.new(mode, (30, 30)).save(tmp_path / f"p.{suffix}")
    assert read_photo(tmp_path / f"p.{suffix}").mode == "RGB"


def test_expected_class_comes_from_the_name() -> None:
    assert expected_class(Path("a/387_panda.jpg")) == 387
    assert expected_class(Path("IMG_2041.jpg")) is None


def test_softmax_of_large_logits_is_finite() -> None:
    result = softmax(np.array([1000, 0, 999], np.float32))
    np.testing.assert_allclose(result, [0.731059, 0, 0.268941], atol=1e-6)


@pytest.mark.parametrize("name", ["fp32", "int8"])
def test_classifier_names_the_colours(models: dict[str, Path], photos: Path, name: str) -> None:
    classifier = Classifier(models[name], list(COLOURS))
    for frame in read_frames(photo_paths(photos), classifier.size):
        classify(frame, name, classifier, 2)
        best, second = frame.guesses[name]
        assert best.index == frame.expected and best.label in frame.name
        assert best.score > second.score and frame.ms[name] > 0
        assert classifier(frame.pixels).sum() == pytest.approx(1, abs=1e-5)


def test_command_prints_guesses_and_draws_the_sheet(
    models: dict[str, Path],
    photos: Path,
    labels_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    sheet = tmp_path / "sheet.png"
    arguments = [str(models["int8"]), str(photos), "--labels", str(labels_file)]
    assert main([*arguments, "--sheet", str(sheet), "--top", "2"]) == 0
    output = capsys.readouterr().out.splitlines()
    assert [line.split()[4] for line in output[:3]] == list(COLOURS)
    assert output[3].startswith("3 photos, median")
    with Image.open(sheet) as image:
        assert image.format == "PNG" and image.size[0] == 3 * (classify_photos.CELL + 18) + 18
    assert not list(tmp_path.glob("*.part"))


def test_labels_and_normalization_come_from_the_model(
    models: dict[str, Path], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """A network that was trained on pixels of 0..1 is shown them, and its classes have names."""
    model = converter.read_tflite(models["fp32"])
    image = converter.metadata.ImageInput((0.0, 0.0, 0.0), (255.0, 255.0, 510.0))
    converter.describe(model, images={"": image}, labels=list(COLOURS))
    converter.write_tflite(model, tmp_path / "m.tflite")
    classifier = Classifier(tmp_path / "m.tflite")
    assert classifier.labels == list(COLOURS)
    white = np.full((32, 32, 3), 255, np.uint8)
    np.testing.assert_allclose(classifier(white), softmax(np.float32([4, 4, 2])), rtol=1e-5)
    assert main([str(tmp_path / "m.tflite"), str(photos)]) == 0
    output = capsys.readouterr().out.splitlines()
    assert [line.split()[4] for line in output[:2]] == ["red", "green"]


def test_sheet_marks_the_right_class_green(tmp_path: Path) -> None:
    pixels = np.zeros((224, 224, 3), np.uint8)
    guesses = [Guess(7, "cock", 0.75), Guess(8, "hen", 0.25)]
    frame = Frame("007_cock.jpg", pixels, 7, {"fp32": guesses}, {"fp32": 1.0})
    contact_sheet([frame], tmp_path / "s.png")
    colours = {colour for _, colour in Image.open(tmp_path / "s.png").getcolors(1 << 16)}
    assert classify_photos.RIGHT in colours and classify_photos.BAR in colours


def test_an_unreadable_photo_is_skipped_with_a_sentence(
    photos: Path, capsys: pytest.CaptureFixture
) -> None:
    (photos / "broken.jpg").write_bytes(b"\xff\xd8 cut short")
    assert len(list(read_frames(photo_paths(photos), (32, 32)))) == 3
    assert "broken.jpg is no readable picture" in capsys.readouterr().err


def run_badly(arguments: list[str], capsys: pytest.CaptureFixture) -> str:
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert "error: " in message and "Traceback" not in message
    return message


def test_user_mistakes_get_a_sentence(
    models: dict[str, Path],
    photos: Path,
    labels_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    model, labels = str(models["fp32"]), ["--labels", str(labels_file)]
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "there is no folder" in run_badly([model, str(tmp_path / "no"), *labels], capsys)
    assert "holds no photos" in run_badly([model, str(empty), *labels], capsys)
    assert "cannot read the labels" in run_badly([model, str(photos), "--labels", "no"], capsys)
    assert "3 classes, the labels are 1000; give --labels" in run_badly(
        [model, str(photos)], capsys
    )
    run_badly([str(tmp_path / "no.tflite"), str(photos), *labels], capsys)
    (tmp_path / "bad.tflite").write_bytes(b"no model")
    run_badly([str(tmp_path / "bad.tflite"), str(photos), *labels], capsys)
    sheet = str(tmp_path / "no" / "sheet.png")
    assert "cannot write" in run_badly([model, str(photos), *labels, "--sheet", sheet], capsys)
    (empty / "a.jpg").write_bytes(b"no picture")
    assert "none of the 1 photos" in run_badly([model, str(empty), *labels], capsys)


def test_a_sheet_without_frames_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no photo could be read"):
        contact_sheet([], tmp_path / "s.png")
