# SPDX-License-Identifier: Apache-2.0
"""What users feed to models: arrays, photos, random values, and calibration sets of them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converter.ir import Model, Value
from converter.tensor_types import numpy_dtype
from quantize.affine import quantize_activation
from rillet.errors import CommandError, require
from runtime.metadata import ModelMetadata, TensorMetadata

MEAN, STD = (127.0,), (128.0,)  # where neither the user nor the model says


@dataclass(frozen=True)
class Pixels:
    """How photos become values: (pixel - mean) / std, one number or one per channel.

    What is None is the model's own, where its metadata says, else 127 and 128.
    """

    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    metadata: ModelMetadata | None = None

    def of(self, value: Value, model: Model, channels: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean and std, float32, for the model's input `value`; CommandError if they do not fit."""
        position = next(i for i, own in enumerate(model.main.inputs) if own is value)
        described = self.metadata.inputs if self.metadata else []
        own = described[position] if position < len(described) else TensorMetadata()
        mean = np.array(self.mean or own.mean or MEAN, np.float32)
        std = np.array(self.std or own.std or STD, np.float32)
        if {mean.size, std.size} - {1, channels}:
            raise CommandError(
                f"--mean and --std want 1 or {channels} numbers for this model, "
                f"there are {mean.size} and {std.size}"
            )
        if not (np.isfinite(mean).all() and np.isfinite(std).all() and std.all()):
            raise CommandError(
                f"the metadata normalizes input {value.name!r} by mean {mean.tolist()} and std "
                f"{std.tolist()}; give --mean and --std"
            )
        return mean, std


@dataclass
class SampleSet:
    """Samples for a model, read as they are asked for: mappings by input name."""

    count: int
    origin: str
    make: Any  # index -> mapping

    def __iter__(self) -> Iterator[Mapping[str, np.ndarray]]:
        return (self.make(i) for i in range(self.count))

    def first(self, count: int) -> SampleSet:
        return SampleSet(min(self.count, count), self.origin, self.make)


def sample_set(path: str, model: Model, pixels: Pixels) -> SampleSet:
    """A folder of photos, an .npz or an .npy as samples. CommandError if it does not fit."""
    if os.path.isdir(path):
        return _photo_set(path, model, pixels)
    if path.lower().endswith(".npz"):
        return _array_set(_load_arrays(path), model, path)
    if path.lower().endswith(".npy"):
        value = _only_input(model, f"{path} holds one array")
        return _array_set({value.name: _load_array(path)}, model, path)
    if not os.path.exists(path):
        raise CommandError(f"there is no file or folder {path}")
    raise CommandError(f"{path} is no folder of photos, no .npz and no .npy")


def named_input(text: str, model: Model, pixels: Pixels) -> tuple[Value, np.ndarray]:
    """A ``[NAME=]FILE`` of ``run``: the input it is for and its array."""
    name, mark, path = text.partition("=")
    if mark and not os.path.exists(text):
        value = _find_input(name, model)
    else:
        value, path = _only_input(model, f"{text} names no input"), text
    if not os.path.exists(path):
        raise CommandError(f"there is no file {path}")
    if path.lower().endswith(".npy"):
        return value, _load_array(path)
    return value, _photo(path, value, model, pixels)


def random_input(value: Value, rng: np.random.Generator) -> np.ndarray:
    """Normal floats; integers over their whole range (32 bits and more: 0 and 1)."""
    dtype = numpy_dtype(value.dtype)
    if math.prod(value.shape) * dtype.itemsize >= 1 << 31:
        shape = list(value.shape)
        raise CommandError(
            f"input {value.name!r} of shape {shape} takes more than the runtime's 2 GB"
        )
    if dtype.kind == "f":
        return rng.standard_normal(value.shape).astype(dtype)
    if dtype.kind not in "iub":
        raise CommandError(f"input {value.name!r} is {value.dtype}: --random has no values for it")
    low, high = (0, 2)
    if dtype.itemsize == 1 and dtype.kind != "b":
        low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max) + 1
    return rng.integers(low, high, value.shape).astype(dtype)


def fitted(array: np.ndarray, value: Value) -> np.ndarray:
    """`array` for input `value`: float32 is quantized for an int8 input.

    CommandError for another dtype or shape, with what was expected and given.
    """
    if value.dtype == "INT8" and value.quant is not None and array.dtype == np.float32:
        array = quantize_activation(array, value.quant)
    wanted = numpy_dtype(value.dtype)
    if array.dtype != wanted:
        raise CommandError(
            f"input {value.name!r} expects {wanted}, given {array.dtype}; "
            f"save it with .astype(np.{wanted})"
        )
    expected = value.shape_signature or value.shape
    fits = len(expected) == array.ndim and all(
        want in (-1, got) for want, got in zip(expected, array.shape, strict=True)
    )
    if not fits:
        raise CommandError(
            f"input {value.name!r} expects shape {list(expected)}, given {list(array.shape)}"
        )
    return array


def _find_input(name: str, model: Model) -> Value:
    names = {value.name: value for value in model.main.inputs}
    for signature in model.signatures:
        if signature.graph == 0:
            names.update({arg: model.main.inputs[i] for arg, i in signature.inputs.items()})
    if name not in names:
        raise CommandError(f"there is no input {name!r}; the model's inputs are {sorted(names)}")
    return names[name]


def _only_input(model: Model, what: str) -> Value:
    if len(model.main.inputs) != 1:
        names = [value.name for value in model.main.inputs]
        raise CommandError(f"{what}, but the model has the inputs {names}: name them")
    return model.main.inputs[0]


def _load_array(path: str) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise CommandError(f"cannot read the array {path}: {error}") from None


def _load_arrays(path: str) -> dict[str, np.ndarray]:
    import zipfile

    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise CommandError(f"cannot read the arrays in {path}: {error}") from None


def _array_set(arrays: dict[str, np.ndarray], model: Model, path: str) -> SampleSet:
    """Samples along the first axis, as many at a time as the model's batch."""
    batches = {name: _find_input(name, model).shape[:1] or (1,) for name in arrays}
    counts = {
        name: len(array) // max(batches[name][0], 1) if array.ndim else 0
        for name, array in arrays.items()
    }
    if not counts:
        raise CommandError(f"{path} holds no arrays")
    if len(set(counts.values())) != 1:
        raise CommandError(f"{path}: the arrays hold different numbers of samples: {counts}")
    count = next(iter(counts.values()))
    if not count:
        raise CommandError(f"{path} holds no samples")

    def make(i: int) -> dict[str, np.ndarray]:
        return {
            name: array[i * batches[name][0] : (i + 1) * batches[name][0]]
            for name, array in arrays.items()
        }

    return SampleSet(count, path, make)


def _photo_set(folder: str, model: Model, pixels: Pixels) -> SampleSet:
    value = _only_input(model, f"{folder} holds photos for one input")
    _frame_shape(value)
    require("PIL", "examples", "reading photos")
    from edge_examples.classify_photos import photo_paths

    paths = photo_paths(folder)

    def make(i: int) -> dict[str, np.ndarray]:
        return {value.name: _photo(str(paths[i]), value, model, pixels)}

    return SampleSet(len(paths), folder, make)


def _frame_shape(value: Value) -> tuple[int, int, int, bool]:
    """(height, width, channels, whether the channels come first) of an image input."""
    shape, signature = value.shape, value.shape_signature or value.shape
    if len(shape) == 4 and shape[0] == 1 and -1 not in signature[1:]:
        for first, (channels, height, width) in (
            (False, (shape[3], shape[1], shape[2])),
            (True, shape[1:]),
        ):
            if channels in (1, 3):
                return height, width, channels, first
    raise CommandError(
        f"input {value.name!r} has shape {list(signature)}, which takes no photo: that needs "
        "[1, height, width, 1 or 3] or [1, 1 or 3, height, width]; give an .npy array"
    )


def _photo(path: str, value: Value, model: Model, pixels: Pixels) -> np.ndarray:
    """A photo in the input's shape: raw pixels for uint8 inputs, else (pixel - mean) / std."""
    height, width, channels, first = _frame_shape(value)
    require("PIL", "examples", "reading photos")
    from PIL import Image

    from edge_examples.classify_photos import crop_frame, read_photo

    image = read_photo(path)
    frame = crop_frame(image, (height, width))
    if channels == 1:
        frame = np.asarray(Image.fromarray(frame).convert("L"))[..., None]
    if value.dtype not in ("FLOAT32", "INT8", "UINT8"):
        raise CommandError(f"input {value.name!r} is {value.dtype}, which takes no photo")
    if value.dtype != "UINT8":
        mean, std = pixels.of(value, model, channels)
        frame = (frame.astype(np.float32) - mean) / std
    return np.ascontiguousarray(frame.transpose(2, 0, 1) if first else frame)[None]


def input_arrays(
    model: Model, texts: Iterable[str] | None, seed: int, pixels: Pixels | None = None
) -> list[np.ndarray]:
    """An array for each model input, from texts ``[NAME=]FILE``, or random where they are None."""
    inputs = model.main.inputs
    if texts is None:
        rng = np.random.default_rng(seed)
        return [random_input(value, rng) for value in inputs]
    given: dict[Value, np.ndarray] = {}
    for text in texts:
        value, array = named_input(text, model, pixels or Pixels())
        if value in given:
            raise CommandError(f"input {value.name!r} is given twice")
        given[value] = fitted(array, value)
    missing = [value.name for value in inputs if value not in given]
    if missing:
        raise CommandError(f"nothing given for the inputs {missing}")
    return [given[value] for value in inputs]


def read_labels(path: str | Path) -> list[str]:
    """One label per line."""
    from rillet.files import read_text

    return read_text(str(path)).splitlines()


def named_arrays(texts: Sequence[str]) -> dict[str, np.ndarray]:
    """``NAME=FILE.npy`` arguments as arrays by name. CommandError where one is something else."""
    found = {}
    for text in texts:
        name, mark, path = text.partition("=")
        if not mark or not path.lower().endswith(".npy"):
            raise CommandError(f"--check-input {text}: write NAME=FILE.npy, such as x=photo.npy")
        if not os.path.exists(path):
            raise CommandError(f"there is no file {path}")
        found[name] = _load_array(path)
    return found
