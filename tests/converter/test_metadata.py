# SPDX-License-Identifier: Apache-2.0
"""Labels and normalization travel in the model, in the form that other tools read."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
from zoo import zoo_files

import converter
from converter.metadata import LABELS_FILE, METADATA_NAME, ImageInput, describe
from runtime.metadata import read_metadata


def classifier(shape=(1, 4, 4, 3), classes=5) -> converter.ir.Model:
    graph = converter.ir.Graph()
    x = graph.add_input("image", "FLOAT32", shape)
    flat = converter.ir.Value("flat", "FLOAT32", (1, int(np.prod(shape))))
    shape_of = converter.ir.Value.constant("s", np.array(flat.shape, np.int32))
    graph.add_node("RESHAPE", [x, shape_of], [flat])
    weights = converter.ir.Value.constant("w", np.ones((classes, flat.shape[1]), np.float32))
    y = converter.ir.Value("scores", "FLOAT32", (1, classes))
    graph.add_node("FULLY_CONNECTED", [flat, weights, None], [y])
    graph.outputs = [y]
    model = converter.ir.Model([graph])
    model.signatures.append(converter.ir.Signature("serving_default", {"photo": 0}, {"y": 0}))
    return model


def test_what_is_written_is_read(tmp_path):
    model = classifier()
    labels = ["a", "b b", "ç", "d", "e"]
    describe(model, images={"": ImageInput((1, 2, 3), (4, 5, 6))}, labels=labels, name="net")
    path = tmp_path / "net.tflite"
    converter.write_tflite(model, path)
    found = read_metadata(path)
    assert found.name == "net"
    assert [(t.name, t.color, t.mean, t.std) for t in found.inputs] == [
        ("photo", "RGB", (1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    ]
    assert found.outputs[0].labels == labels
    with zipfile.ZipFile(path) as archive:  # as the Task library opens it
        assert archive.namelist() == [LABELS_FILE]


def test_it_stays_through_reading_optimizing_and_quantizing(tmp_path):
    import quantize

    model = classifier((1, 8, 8, 3))
    describe(model, images={"photo": ImageInput()}, labels=list("abcde"))
    again = converter.read_tflite(converter.write_tflite(model))
    converter.optimize(again)
    samples = [np.ones((1, 8, 8, 3), np.float32)]
    for made in (again, quantize.static_int8(again, samples), quantize.float16(again)):
        found = read_metadata(converter.write_tflite(made))
        assert found.outputs[0].labels == list("abcde") and found.inputs[0].mean == (127.0,)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"labels": ["a"]}, "1 labels for the 5 classes"),
        ({"labels": ["a\nb", "c", "d", "e", "f"]}, "line break"),
        ({"images": {"other": ImageInput()}}, "no input 'other'"),
        ({"images": {"photo": ImageInput((1, 2))}}, "1 number, or one per channel"),
        ({"images": {"photo": ImageInput(std=(0,))}}, "is 0"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, words):
    model = classifier()
    with pytest.raises(converter.ConversionError, match=words):
        describe(model, **arguments)
    assert METADATA_NAME not in model.metadata


def test_an_input_that_is_no_image_is_refused():
    with pytest.raises(converter.ConversionError, match="takes no photo"):
        describe(classifier((1, 7)), images={"": ImageInput()})


def test_damaged_metadata_is_as_good_as_none():
    model = classifier()
    describe(model, images={"": ImageInput()}, labels=list("abcde"))
    whole = model.metadata[METADATA_NAME]
    rng = np.random.default_rng(0)
    for size in range(0, len(whole), 3):
        model.metadata[METADATA_NAME] = whole[:size]
        read_metadata(converter.write_tflite(model))
    for _ in range(500):
        bad = bytearray(whole)
        for place in rng.integers(0, len(bad), 3):
            bad[place] = rng.integers(0, 256)
        model.metadata[METADATA_NAME] = bytes(bad)
        read_metadata(converter.write_tflite(model))
    content = converter.write_tflite(model)
    for _ in range(300):
        bad = bytearray(content)
        for place in rng.integers(0, len(bad), 4):
            bad[place] = rng.integers(0, 256)
        read_metadata(bytes(bad))


def test_a_model_without_metadata_has_none():
    assert read_metadata(converter.write_tflite(classifier())) is None


PUBLIC = {
    "tf2_mobilenet_v2_1.0_224_ptq": (127.5, 1001),
    "mobilenet_v1_0.25_128_quant": (127.5, 1001),
    "hand_landmark_lite": (0.0, 2),
}


@pytest.mark.parametrize(
    "path",
    [p for p in zoo_files("models/tflite/*.tflite") if p.stem in PUBLIC],
    ids=lambda p: p.stem,
)
def test_public_models_are_understood(path):
    mean, classes = PUBLIC[path.stem]
    found = read_metadata(path)
    assert found.inputs[0].color == "RGB" and found.inputs[0].mean[0] == mean
    assert len(found.outputs[0].labels) == classes
