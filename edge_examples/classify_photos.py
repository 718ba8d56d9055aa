# SPDX-License-Identifier: Apache-2.0
"""Classifies a folder of photos as if they were camera frames: the device side.

    python -m edge_examples.classify_photos model.tflite photos/ --sheet sheet.png

Needs `rillet-runtime` and Pillow only; this file can be copied to a device as it is. The model
takes RGB frames [1, height, width, 3] as its metadata says, (pixel - 127) / 128 where it says
nothing, or the quantized same, and gives one score per class. The classes' labels are those of the
metadata or of a file.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

import runtime
from runtime.metadata import TensorMetadata, read_metadata

LABELS = Path(__file__).resolve().parent / "data" / "imagenet_labels.txt"
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
MEAN, STD = (127.0,), (128.0,)  # of pixels, where the model does not say
MARGIN = 256 / 224  # the short side of a photo before the crop, in sides of the crop


class UsageError(Exception):
    """Something the person who called can put right; the message says what."""


@dataclass(frozen=True)
class Guess:
    """A class the model considers: index, label, and score as a probability 0..1."""

    index: int
    label: str
    score: float


@dataclass
class Frame:
    """A photo as the camera would hand it over, and what each model made of it.

    pixels: uint8 [height, width, 3]. expected: the class index a file name like 387_panda.jpg
    starts with. guesses, ms: best guesses and milliseconds by model name.
    """

    name: str
    pixels: np.ndarray
    expected: int | None = None
    guesses: dict[str, list[Guess]] = field(default_factory=dict)
    ms: dict[str, float] = field(default_factory=dict)


def load_labels(path: str | os.PathLike[str] = LABELS) -> list[str]:
    """One label per line, in the order of the classes. Raises UsageError where it is unreadable."""
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the labels {path}: {error}") from error


def photo_paths(folder: str | os.PathLike[str]) -> list[Path]:
    """The pictures of a folder by name. Raises UsageError where there is no folder or none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}; give a folder of photos")
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    if not paths:
        kinds = ", ".join(sorted(SUFFIXES))
        raise UsageError(f"the folder {folder} holds no photos ({kinds})")
    return paths


def expected_class(path: Path) -> int | None:
    """The class index that a name like 387_panda.jpg starts with, or None."""
    match = re.match(r"(\d{3})_", path.name)
    return int(match.group(1)) if match else None


def read_photo(path: str | os.PathLike[str]) -> Image.Image:
    """An RGB picture, turned as its camera says. Raises UsageError where it is no picture."""
    try:
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = str(error).replace(os.fspath(path), "the file")
        raise UsageError(f"{path} is no readable picture: {reason}") from error


def crop_frame(image: Image.Image, size: tuple[int, int] = (224, 224)) -> np.ndarray:
    """Scales and centre-crops a picture to a frame, uint8 [height, width, 3].

    size: (height, width). The short side becomes 8/7 of the crop (256 for 224), as in the
    evaluation of EfficientNet; a picture that already has that size is only cropped.
    """
    height, width = size
    scale = MARGIN * max(height / image.height, width / image.width)
    scaled = (round(image.width * scale), round(image.height * scale))
    if scaled != image.size:
        image = image.resize(scaled, Image.Resampling.BICUBIC)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return np.asarray(image.crop((left, top, left + width, top + height)))


def normalize(
    pixels: np.ndarray, mean: Sequence[float] = MEAN, std: Sequence[float] = STD
) -> np.ndarray:
    """uint8 pixels -> float32 (pixel - mean) / std, numbers for all channels or one for each."""
    return (pixels.astype(np.float32) - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)


class Classifier:
    """A model with its labels; call it with a frame to get the probability of each class.

    labels: one per class; None for those in the model's metadata, else ImageNet's. Raises
    UsageError for a model that does not take [1, height, width, 3] or whose number of outputs is
    not the number of labels, and runtime.RilletError for a file that does not open.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        labels: Sequence[str] | None = None,
        threads: int = 1,
    ):
        self.interpreter = runtime.Interpreter(model_path=os.fspath(model), num_threads=threads)
        self.interpreter.allocate_tensors()
        self._input = self.interpreter.get_input_details()[0]
        self._output = self.interpreter.get_output_details()[0]
        shape = [int(n) for n in self._input["shape"]]
        if len(shape) != 4 or shape[0] != 1 or shape[3] != 3:
            raise UsageError(f"{model} takes {shape}, not a colour frame [1, height, width, 3]")
        frames, scores = _metadata(model)
        self.mean, self.std = frames.mean or MEAN, frames.std or STD
        if {len(self.mean), len(self.std)} - {1, 3} or 0.0 in self.std:
            raise UsageError(f"{model} normalizes by mean {self.mean} and std {self.std}")
        self.labels = labels or scores.labels or load_labels()
        if int(self._output["shape"][-1]) != len(self.labels):
            classes = int(self._output["shape"][-1])
            raise UsageError(
                f"{model} has {classes} classes, the labels are {len(self.labels)}; give --labels"
            )
        self.size = shape[1], shape[2]

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """pixels: uint8 [height, width, 3] -> probabilities float32 [classes]."""
        self.interpreter.set_tensor(self._input["index"], self._encode(pixels)[None])
        self.interpreter.invoke()
        scores = self._decode(self.interpreter.get_tensor(self._output["index"])[0])
        return scores if _are_probabilities(scores) else softmax(scores)

    def _encode(self, pixels: np.ndarray) -> np.ndarray:
        values, dtype = normalize(pixels, self.mean, self.std), np.dtype(self._input["dtype"])
        if dtype.kind == "f":
            return values
        scale, zero_point = self._input["quantization"]
        limits = np.iinfo(dtype)
        return np.clip(np.rint(values / scale) + zero_point, limits.min, limits.max).astype(dtype)

    def _decode(self, scores: np.ndarray) -> np.ndarray:
        if scores.dtype.kind == "f":
            return scores
        scale, zero_point = self._output["quantization"]
        return (scores.astype(np.float32) - zero_point) * np.float32(scale)

    def best(self, probabilities: np.ndarray, count: int = 3) -> list[Guess]:
        """The likeliest classes, best first; among equals the lower index first."""
        order = np.argsort(-probabilities, kind="stable")[:count]
        return [Guess(int(i), self.labels[i], float(probabilities[i])) for i in order]


def _metadata(model: str | os.PathLike[str]) -> tuple[TensorMetadata, TensorMetadata]:
    """What the model says about its first input and output; empty where it says nothing."""
    found = read_metadata(model)
    sides = (found.inputs, found.outputs) if found else ([], [])
    first, second = (side[0] if side else TensorMetadata() for side in sides)
    return first, second


def _are_probabilities(scores: np.ndarray) -> bool:
    """Whether the model ends in a softmax; an int8 one sums to 1 up to its rounding."""
    return bool(scores.min() >= 0 and abs(float(scores.sum()) - 1) < 0.2)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities, float32, of logits [classes]."""
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def read_frames(paths: Iterable[Path], size: tuple[int, int]) -> Iterator[Frame]:
    """The photos as frames; one that cannot be read is skipped with a line on stderr."""
    for path in paths:
        try:
            pixels = crop_frame(read_photo(path), size)
        except UsageError as error:
            print(f"skipped: {error}", file=sys.stderr)
            continue
        yield Frame(path.name, pixels, expected_class(path))


def classify(
    frame: Frame, name: str, classifier: Classifier, count: int = 3, repeats: int = 1
) -> None:
    """Fills in the frame's best guesses under the model's name, and the milliseconds it took.

    repeats: with more than one, the frame is classified that often and the median time counts.
    """
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        probabilities = classifier(frame.pixels)
        times.append((time.perf_counter() - start) * 1e3)
    frame.ms[name] = float(np.median(times))
    frame.guesses[name] = classifier.best(probabilities, count)


# The contact sheet: one cell per frame, below the picture a block of bars per model.
CELL, GAP, LINE, BLOCK_GAP = 236, 18, 19, 10
PAPER, INK, FAINT = (250, 250, 248), (32, 33, 36), (112, 117, 122)
TRACK, BAR, RIGHT = (234, 236, 239), (174, 203, 250), (150, 211, 160)


def contact_sheet(frames: Sequence[Frame], path: str | os.PathLike[str], columns: int = 6) -> None:
    """Writes a PNG of all frames with every model's guesses; replaces the file only when done.

    A bar is green where it is the class that the photo's name starts with. Raises UsageError
    where there is no frame or the file cannot be written.
    """
    if not frames:
        raise UsageError("no photo could be read, so there is no contact sheet to draw")
    rows = max(len(guesses) for frame in frames for guesses in frame.guesses.values())
    block = LINE * (rows + 1) + BLOCK_GAP
    height = CELL + LINE + BLOCK_GAP + block * max(len(frame.guesses) for frame in frames)
    columns = min(columns, len(frames))
    down = -(-len(frames) // columns)
    size = columns * (CELL + GAP) + GAP, down * (height + GAP) + 2 * GAP + LINE
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    _draw_text(draw, (GAP, GAP), _summary(frames), FAINT, size[0] - 2 * GAP)
    for number, frame in enumerate(frames):
        left = GAP + number % columns * (CELL + GAP)
        top = 2 * GAP + LINE + number // columns * (height + GAP)
        picture = Image.fromarray(frame.pixels).resize((CELL, CELL), Image.Resampling.BICUBIC)
        sheet.paste(picture, (left, top))
        _draw_notes(draw, frame, left, top + CELL + 4, block)
    _save_whole(sheet, Path(path))


def _summary(frames: Sequence[Frame]) -> str:
    parts = [f"{len(frames)} photos"]
    for model in frames[0].guesses:
        parts.append(f"{model}: median {median_ms(frames, model):.1f} ms per frame")
    if any(frame.expected is not None for frame in frames):
        parts.append("green: the class the photo shows")
    return "   |   ".join(parts)


def _draw_notes(draw: ImageDraw.ImageDraw, frame: Frame, left: int, top: int, block: int) -> None:
    _draw_text(draw, (left, top), frame.name, INK, CELL)
    top += LINE + 2
    for model, guesses in frame.guesses.items():
        _draw_text(draw, (left, top), f"{model}   {frame.ms[model]:.1f} ms", FAINT, CELL)
        for row, guess in enumerate(guesses, 1):
            _draw_bar(draw, guess, guess.index == frame.expected, left, top + row * LINE)
        top += block


def _draw_bar(draw: ImageDraw.ImageDraw, guess: Guess, right: bool, left: int, top: int) -> None:
    bottom, filled = top + LINE - 3, round(CELL * min(max(guess.score, 0.0), 1.0))
    draw.rectangle((left, top, left + CELL - 1, bottom), fill=TRACK)
    if filled:
        draw.rectangle((left, top, left + filled - 1, bottom), fill=RIGHT if right else BAR)
    _draw_text(draw, (left + 5, top), guess.label, INK, CELL - 60)
    score = f"{guess.score:.1%}"
    width = int(draw.textlength(score, font=_font()))
    _draw_text(draw, (left + CELL - 5 - width, top), score, INK, CELL)


def _draw_text(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, colour: Any, room: int
) -> None:
    """Text cut to `room` pixels, with an ellipsis."""
    font, shown = _font(), text
    while shown and draw.textlength(shown, font=font) > room:
        shown = shown[:-2] + "…"
    draw.text(at, shown, fill=colour, font=font)


def _font() -> Any:
    try:
        return ImageFont.load_default(13)
    except TypeError:  # Pillow before 10.1 has one size only
        return ImageFont.load_default()


def _save_whole(image: Image.Image, path: Path) -> None:
    part = path.with_name(f".{path.name}.part")
    try:
        image.save(part, format="PNG", optimize=True)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error


def median_ms(frames: Sequence[Frame], model: str) -> float:
    """The middle one of the times that the model took, in milliseconds."""
    return float(np.median([frame.ms[model] for frame in frames]))


def print_frame(frame: Frame) -> None:
    """One line per model: the photo, its best guesses, the time."""
    for model, guesses in frame.guesses.items():
        text = ", ".join(f"{g.label} {g.score:.1%}" for g in guesses)
        print(f"{frame.name:28.28} {model:16.16} {frame.ms[model]:7.1f} ms  {text}")


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m edge_examples.classify_photos",
        description="Classifies a folder of photos as if they were camera frames.",
        epilog="example: python -m edge_examples.classify_photos "
        "demo_out/efficientnet_lite0_int8.tflite edge_examples/data/photos --sheet sheet.png",
    )
    parser.add_argument("model", help="a .tflite image classifier")
    parser.add_argument("photos", help="a folder of pictures")
    parser.add_argument("--labels", help="text file, one label per line (the model's own)")
    parser.add_argument("--sheet", metavar="PNG", help="also draw an annotated contact sheet")
    parser.add_argument("--top", type=int, default=3, help="guesses per photo (3)")
    parser.add_argument("--threads", type=int, default=1, help="threads per inference (1)")
    options = parser.parse_args(arguments)
    if options.top < 1 or options.threads < 1:
        parser.error("--top and --threads are at least 1")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 2 after a sentence on stderr about what the caller can put right."""
    options = parse_arguments(arguments)
    name = Path(options.model).stem
    try:
        labels = load_labels(options.labels) if options.labels else None
        paths = photo_paths(options.photos)
        classifier = Classifier(options.model, labels, options.threads)
        frames = []
        for frame in read_frames(paths, classifier.size):
            classify(frame, name, classifier, options.top)
            print_frame(frame)
            frames.append(frame)
        if not frames:
            raise UsageError(f"none of the {len(paths)} photos could be read")
        if options.sheet:
            contact_sheet(frames, options.sheet)
    except (UsageError, runtime.RilletError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{len(frames)} photos, median {median_ms(frames, name):.1f} ms per frame")
    return 0


if __name__ == "__main__":
    sys.exit(main())
