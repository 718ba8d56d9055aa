# SPDX-License-Identifier: Apache-2.0
"""Camera classification: EfficientNet-Lite0 converted, calibrated on photos, quantized and run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance

import converter
import host_engine as tf
import quantize
from converter.ir import Model
from converter.metadata import ImageInput
from edge_examples import efficientnet_lite0
from edge_examples.classify_photos import (
    MEAN,
    STD,
    Classifier,
    Frame,
    UsageError,
    classify,
    contact_sheet,
    crop_frame,
    load_labels,
    median_ms,
    normalize,
    photo_paths,
    read_frames,
    read_photo,
)
from edge_examples.datasets import PHOTOS
from edge_examples.report import Stages, progress, table, thousands

QUICK_PHOTOS = 6
REPEATS = 5  # inferences per photo and model, of which the median time counts


@dataclass(frozen=True)
class Outcome:
    """Every frame with both models' guesses, and the sizes of the models."""

    frames: list[Frame]
    file_bytes: dict[str, int]
    arena_bytes: dict[str, int]

    def models(self) -> list[dict[str, Any]]:
        """A row per model: bytes, median ms per frame, photos named as their file is."""
        named = [frame for frame in self.frames if frame.expected is not None]
        return [
            {
                "model": f"efficientnet_lite0_{name}.tflite",
                "file_bytes": self.file_bytes[name],
                "arena_bytes": self.arena_bytes[name],
                "ms": median_ms(self.frames, name),
                "top1": sum(f.guesses[name][0].index == f.expected for f in named),
                "photos_of_known_class": len(named),
            }
            for name in self.file_bytes
        ]

    def to_dict(self) -> dict[str, Any]:
        photos = [
            {
                "photo": frame.name,
                "expected": frame.expected,
                "ms": frame.ms,
                "top3": {n: [vars(g) for g in guesses] for n, guesses in frame.guesses.items()},
            }
            for frame in self.frames
        ]
        return {"models": self.models(), "photos": photos}

    def table(self) -> str:
        """Every model's three best labels per photo."""
        rows = []
        for frame in self.frames:
            for number, (name, guesses) in enumerate(frame.guesses.items()):
                labels = ", ".join(f"{g.label} {g.score:.1%}" for g in guesses)
                photo = "" if number else frame.name
                rows.append((photo, f" {name}", f"{frame.ms[name]:.1f}", f" {labels}"))
        return table(("photo", " model", "ms", " best three labels"), rows)

    def summary(self) -> str:
        """A line per model."""
        lines = []
        for row in self.models():
            line = (
                f"   {row['model']}: {thousands(row['file_bytes'])} bytes, arena "
                f"{thousands(row['arena_bytes'])} bytes, median {row['ms']:.1f} ms per frame"
            )
            if row["photos_of_known_class"]:
                line += f", {row['top1']} of {row['photos_of_known_class']} photos named right"
            lines.append(line)
        return "\n".join(lines)


def run(out: Path, stages: Stages, photos: Path | None = None, quick: bool = False) -> Outcome:
    """Writes efficientnet_lite0_{fp32,int8}.tflite and contact_sheet.png to `out`.

    photos: a folder of pictures to classify, by default the ones that ship; calibration always
    uses those. quick: six photos, for tests. Raises UsageError for a bad folder.
    """
    to_classify = photo_paths(photos or PHOTOS)
    calibration = photo_paths(PHOTOS)
    if quick:
        to_classify, calibration = to_classify[:QUICK_PHOTOS], calibration[:QUICK_PHOTOS]
    stages.begin("Build EfficientNet-Lite0 with ImageNet weights, convert it (host_engine)")
    model = build_model()
    stages.begin(f"Calibrate on {len(calibration)} photos and quantize to int8 (quantize)")
    int8 = quantize.static_int8(model, progress(calibration_samples(calibration), "calibrate"))
    paths = {name: out / f"efficientnet_lite0_{name}.tflite" for name in ("fp32", "int8")}
    converter.write_tflite(model, paths["fp32"])
    converter.write_tflite(int8, paths["int8"])
    stages.begin(f"Classify {len(to_classify)} photos as camera frames (runtime)")
    outcome = classify_with(paths, to_classify)
    contact_sheet(outcome.frames, out / "contact_sheet.png")
    return outcome


def build_model() -> Model:
    """The optimized float model: images float32 [1, 224, 224, 3] -> logits float32 [1, 1000].

    Its metadata says how photos go in and what the classes are called.
    """
    size = efficientnet_lite0.IMAGE_SIZE
    with tf.Graph().as_default(), tf.Session() as session:
        images = tf.placeholder(tf.float32, [1, size, size, 3], name="images")
        logits = efficientnet_lite0.build(images, efficientnet_lite0.load_weights())
        session.run(tf.global_variables_initializer())
        model = converter.from_session(session, inputs=[images], outputs=[logits])
    converter.optimize(model)
    frames, labels = ImageInput(MEAN, STD), load_labels()
    converter.describe(model, images={"images": frames}, labels=labels, name="EfficientNet-Lite0")
    return model


def variants(image: Image.Image) -> list[np.ndarray]:
    """What a camera might make of a photo: as it is, mirrored, closer, darker, brighter.

    Few photos calibrate better so: the ranges they leave unseen are those of light and distance.
    """
    frame = Image.fromarray(crop_frame(image))
    height, width = frame.height, frame.width
    closer = frame.crop((width // 6, height // 6, width - width // 6, height - height // 6))
    seen = [
        frame,
        frame.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        closer.resize(frame.size, Image.Resampling.BICUBIC),
        ImageEnhance.Brightness(frame).enhance(0.5),
        ImageEnhance.Brightness(frame).enhance(1.5),
    ]
    return [normalize(np.asarray(picture))[None] for picture in seen]


def calibration_samples(photos: list[Path]) -> list[np.ndarray]:
    """Variants of every photo, and the two ends that a pixel can have.

    With both ends the int8 input has scale 1/128 and zero point -1: it is the pixel minus 128.
    """
    shape = (1, efficientnet_lite0.IMAGE_SIZE, efficientnet_lite0.IMAGE_SIZE, 3)
    ends = [normalize(np.full(shape, end, np.uint8)) for end in (0, 255)]
    return [variant for path in photos for variant in variants(read_photo(path))] + ends


def classify_with(paths: dict[str, Path], photos: list[Path]) -> Outcome:
    """Reads each photo once and shows it to every model, as a camera loop would."""
    classifiers = {name: Classifier(path) for name, path in paths.items()}
    size = next(iter(classifiers.values())).size
    frames = list(read_frames(photos, size))
    if not frames:
        raise UsageError(f"none of the {len(photos)} photos could be read")
    for name, classifier in classifiers.items():
        classifier(frames[0].pixels)  # the first inference touches cold memory
        for frame in progress(frames, name):
            classify(frame, name, classifier, repeats=REPEATS)
    return Outcome(
        frames,
        {name: path.stat().st_size for name, path in paths.items()},
        {name: c.interpreter.memory()["arena"] for name, c in classifiers.items()},
    )
