# SPDX-License-Identifier: Apache-2.0
"""What a model file says about its inputs and outputs: labels, normalization, image form.

That is the metadata buffer TFLITE_METADATA (a FlatBuffer with identifier M001, as the TFLite
Support and Task libraries read it) and the associated files, a zip archive behind the model. Read
with NumPy and the standard library alone, and with every access checked: damaged metadata is as
good as none, because the model runs without it.
"""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from dataclasses import dataclass, field
from typing import Any

_COLORS = {1: "RGB", 2: "GRAYSCALE"}
_IMAGE, _NORMALIZATION = 2, 1  # members of the unions ContentProperties and ProcessUnitOptions
_LABEL_KINDS = (2, 3)  # AssociatedFileType TENSOR_AXIS_LABELS, TENSOR_VALUE_LABELS
_LARGEST_FILE = 1 << 24  # bytes of labels


@dataclass
class TensorMetadata:
    """One input or output. `mean` and `std` are of pixels in 0..255, one number or one per channel:
    the model wants (pixel - mean) / std. `color` is "RGB", "GRAYSCALE" or "" (no image, or not
    said). `labels` are those of the last axis, empty where there are none.
    """

    name: str = ""
    description: str = ""
    color: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    labels: list[str] = field(default_factory=list)


@dataclass
class ModelMetadata:
    """The whole model; `inputs` and `outputs` in the order of its graph."""

    name: str = ""
    description: str = ""
    version: str = ""
    author: str = ""
    license: str = ""
    inputs: list[TensorMetadata] = field(default_factory=list)
    outputs: list[TensorMetadata] = field(default_factory=list)


def read_metadata(model: str | os.PathLike[str] | bytes) -> ModelMetadata | None:
    """The metadata of a .tflite file (a path or its bytes); None where none can be read.

    Raises OSError where the file cannot be opened.
    """
    if isinstance(model, bytes):
        content = model
    else:
        with open(model, "rb") as file:
            content = file.read()
    try:
        buffer = _metadata_buffer(content)
        return None if buffer is None else _model_metadata(buffer, _files(content))
    except (struct.error, IndexError, ValueError, RecursionError):
        return None


class _Table:
    """A FlatBuffer table; offsets outside the bytes raise struct.error."""

    def __init__(self, data: bytes, position: int) -> None:
        self.data, self.position = data, position
        self.vtable = position - self._at("<i", position)
        if self.vtable < 0:
            raise ValueError("a vtable lies before the bytes")
        self.size = self._at("<H", self.vtable)

    @staticmethod
    def root(data: bytes) -> _Table:
        return _Table(data, struct.unpack_from("<I", data, 0)[0])

    def _at(self, form: str, position: int) -> Any:
        return struct.unpack_from(form, self.data, position)[0]

    def place(self, slot: int) -> int:
        """Position of a field; 0 where it is absent."""
        entry = 4 + 2 * slot
        offset = self._at("<H", self.vtable + entry) if entry + 2 <= self.size else 0
        return self.position + offset if offset else 0

    def number(self, slot: int, form: str) -> int:
        place = self.place(slot)
        return int(self._at(form, place)) if place else 0

    def target(self, slot: int) -> int:
        place = self.place(slot)
        return place + self._at("<I", place) if place else 0

    def table(self, slot: int) -> _Table | None:
        target = self.target(slot)
        return _Table(self.data, target) if target else None

    def text(self, slot: int) -> str:
        return self.raw(slot).decode("utf-8", "replace")

    def raw(self, slot: int) -> bytes:
        """A string or a vector of bytes."""
        target = self.target(slot)
        if not target:
            return b""
        size = self._at("<I", target)
        if target + 4 + size > len(self.data):
            raise ValueError("a vector reaches beyond the bytes")
        return self.data[target + 4 : target + 4 + size]

    def tables(self, slot: int) -> list[_Table]:
        target = self.target(slot)
        count = self._at("<I", target) if target else 0
        if target + 4 + 4 * count > len(self.data):
            raise ValueError("a vector reaches beyond the bytes")
        places = (target + 4 + 4 * i for i in range(count))
        return [_Table(self.data, place + self._at("<I", place)) for place in places]

    def floats(self, slot: int) -> tuple[float, ...]:
        target = self.target(slot)
        count = self._at("<I", target) if target else 0
        return struct.unpack_from(f"<{count}f", self.data, target + 4) if count else ()


def _metadata_buffer(content: bytes) -> bytes | None:
    root = _Table.root(content)
    for item in root.tables(6):
        if item.text(0) == "TFLITE_METADATA":
            buffers = root.tables(4)
            return buffers[item.number(1, "<I")].raw(0)
    return None


def _files(content: bytes) -> dict[str, bytes]:
    """The text files behind the model that are small enough to be labels."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            small = [i for i in archive.infolist() if i.file_size <= _LARGEST_FILE]
            return {info.filename: archive.read(info) for info in small}
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, OSError, EOFError):
        return {}


def _model_metadata(buffer: bytes, files: dict[str, bytes]) -> ModelMetadata | None:
    if buffer[4:8] != b"M001":
        return None
    root = _Table.root(buffer)
    found = ModelMetadata(
        root.text(0), root.text(1), root.text(2), author=root.text(4), license=root.text(5)
    )
    for graph in root.tables(3)[:1]:
        found.inputs = [_tensor_metadata(t, files) for t in graph.tables(2)]
        found.outputs = [_tensor_metadata(t, files) for t in graph.tables(3)]
    return found


def _tensor_metadata(table: _Table, files: dict[str, bytes]) -> TensorMetadata:
    found = TensorMetadata(table.text(0), table.text(1))
    content = table.table(3)
    if content is not None and content.number(0, "<B") == _IMAGE:
        image = content.table(1)
        found.color = _COLORS.get(image.number(0, "<b"), "") if image else ""
    for unit in table.tables(4):
        options = unit.table(1)
        if unit.number(0, "<B") == _NORMALIZATION and options is not None:
            found.mean, found.std = options.floats(0), options.floats(1)
    for file in table.tables(6):
        if file.number(2, "<b") in _LABEL_KINDS and file.text(0) in files and not found.labels:
            text = files[file.text(0)].decode("utf-8", "replace")
            found.labels = [line.rstrip("\r") for line in text.rstrip("\n").split("\n")]
    return found
