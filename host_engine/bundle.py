# SPDX-License-Identifier: Apache-2.0
"""TensorFlow's V2 checkpoint files (tensor bundles), read and written without TensorFlow.

`PREFIX.data-00000-of-00001` holds the tensors' bytes in order of their names, `PREFIX.index` is a
LevelDB table from names to BundleEntryProto messages (tensorflow/core/protobuf/tensor_bundle.proto;
table format: leveldb/doc/table_format.md).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from host_engine.crc32c import masked
from host_engine.errors import DataLossError, NotFoundError, UnimplementedError
from host_engine.framework.dtypes import DType, as_dtype, string
from host_engine.varint import varint

_MAGIC = 0xDB4775248B80FB57
_HEADER = b"\x08\x01\x1a\x02\x08\x01"  # num_shards: 1, version { producer: 1 }


class Entry(NamedTuple):
    """Where a tensor lies: file `shard`, byte `offset` and `size`, checksum of its bytes."""

    dtype: DType
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int


# Writing


def write(prefix: str | os.PathLike[str], tensors: Mapping[str, np.ndarray]) -> None:
    """Writes a checkpoint, complete or not at all: each file is renamed into place when whole.

    Raises UnimplementedError for strings, OSError if the files cannot be written.
    """
    prefix = os.fspath(prefix)
    data = f"{prefix}.data-00000-of-00001"
    table = [(b"", _HEADER)]
    offset = 0
    with Replacing(data) as out:
        for name in sorted(tensors, key=lambda n: n.encode()):
            array = np.asarray(tensors[name])
            raw = _little_endian(name, array)
            entry = Entry(as_dtype(array.dtype), array.shape, 0, offset, raw.nbytes, masked(raw))
            table.append((name.encode(), _encode(entry)))
            out.write(raw.tobytes())
            offset += raw.nbytes
    with Replacing(f"{prefix}.index") as out:
        out.write(_table(table))


class Replacing:
    """A file that takes the place of `path` when the block ends, and vanishes if it fails."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._part = f"{path}.tempstate{os.getpid()}"

    def __enter__(self) -> Any:
        self._file = open(self._part, "wb")
        return self._file

    def __exit__(self, kind: Any, *_: Any) -> None:
        self._file.close()
        if kind is None:
            os.replace(self._part, self._path)
        else:
            os.unlink(self._part)


def write_text(path: str, text: str) -> None:
    """Replaces a text file in one step."""
    with Replacing(path) as out:
        out.write(text.encode())


def _little_endian(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype == object:
        raise UnimplementedError(
            None, None, f"Tensor {name} holds strings, which checkpoints here cannot store"
        )
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<"))


def _number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value) if value else b""


def _bytes(field: int, value: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(value)) + value


def _encode(entry: Entry) -> bytes:
    sizes = b"".join(_bytes(2, varint(8) + varint(size)) for size in entry.shape)
    return (
        _number(1, entry.dtype.as_datatype_enum)
        + _bytes(2, sizes)
        + _number(4, entry.offset)
        + _number(5, entry.size)
        + varint(6 << 3 | 5)
        + struct.pack("<I", entry.checksum)
    )


def _block(items: list[tuple[bytes, bytes]]) -> bytes:
    body = b"".join(
        b"\0" + varint(len(key)) + varint(len(value)) + key + value for key, value in items
    )
    # Every key is whole, so one restart point at 0 is enough.
    return body + struct.pack("<II", 0, 1)


def _table(items: list[tuple[bytes, bytes]]) -> bytes:
    out = bytearray()

    def put(block: bytes) -> bytes:
        handle = varint(len(out)) + varint(len(block))
        out.extend(block + b"\0" + struct.pack("<I", masked(block + b"\0")))
        return handle

    data = put(_block(items))
    meta = put(_block([]))
    index = put(_block([(items[-1][0], data)]))
    return bytes(out) + (meta + index).ljust(40, b"\0") + struct.pack("<Q", _MAGIC)


# Reading


class Reader:
    """The tensors of the checkpoint `prefix`: `entries` by name, `read` for values.

    Raises NotFoundError if there is no such checkpoint, DataLossError if it is damaged.
    """

    def __init__(self, prefix: str | os.PathLike[str]) -> None:
        self.prefix = os.fspath(prefix)
        path = Path(f"{self.prefix}.index")
        if not path.is_file():
            raise NotFoundError(
                None, None, f"Unsuccessful TensorSliceReader constructor: Failed to find any "
                f"matching files for {self.prefix}",
            )  # fmt: skip
        self.shards = 1
        self.entries: dict[str, Entry] = {}
        try:
            for key, value in _items(path.read_bytes()):
                fields = _fields(value)
                if key == b"":
                    self.shards = int(fields.get(1, [1])[0])
                else:
                    self.entries[key.decode()] = _entry(fields)
        except (IndexError, struct.error, ValueError, KeyError) as error:
            raise DataLossError(None, None, f"{path} is damaged: {error}") from None

    def read(self, name: str) -> np.ndarray:
        """The tensor `name`; NotFoundError if the checkpoint has none, DataLossError if damaged."""
        if name not in self.entries:
            raise NotFoundError(None, None, f"Key {name} not found in checkpoint")
        entry = self.entries[name]
        if entry.dtype == string:
            raise UnimplementedError(None, None, f"Tensor {name} in {self.prefix} holds strings")
        path = f"{self.prefix}.data-{entry.shard:05d}-of-{self.shards:05d}"
        try:
            with open(path, "rb") as file:
                file.seek(entry.offset)
                raw = file.read(entry.size)
        except FileNotFoundError:
            raise NotFoundError(None, None, f"{path} does not exist") from None
        expected = int(np.prod(entry.shape, dtype=np.int64)) * entry.dtype.size
        if len(raw) != entry.size or entry.size != expected or masked(raw) != entry.checksum:
            raise DataLossError(None, None, f"Checksum does not match for {name} in {path}")
        little = np.dtype(entry.dtype.as_numpy_dtype).newbyteorder("<")
        return np.frombuffer(raw, little).reshape(entry.shape).astype(little.newbyteorder("="))


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def _items(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    if len(table) < 48 or struct.unpack("<Q", table[-8:])[0] != _MAGIC:
        raise ValueError("not a table: wrong magic number")
    at = len(table) - 48
    handles = []
    for _ in range(4):
        value, at = _read_varint(table, at)
        handles.append(value)
    _checked(table, *handles[:2])
    for _, handle in _block_items(_checked(table, *handles[2:])):
        start, after = _read_varint(handle, 0)
        length, _ = _read_varint(handle, after)
        yield from _block_items(_checked(table, start, length))


def _checked(table: bytes, offset: int, size: int) -> bytes:
    whole = table[offset : offset + size + 5]
    if len(whole) != size + 5:
        raise ValueError(f"cut short at byte {offset}")
    if masked(whole[: size + 1]) != struct.unpack("<I", whole[size + 1 :])[0]:
        raise ValueError(f"checksum of the block at byte {offset}")
    if whole[size] != 0:
        raise ValueError(f"block at byte {offset} is compressed (type {whole[size]})")
    return whole[:size]


def _block_items(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    restarts = struct.unpack("<I", block[-4:])[0]
    end = len(block) - 4 - 4 * restarts
    at, key = 0, b""
    while at < end:
        shared, at = _read_varint(block, at)
        fresh, at = _read_varint(block, at)
        length, at = _read_varint(block, at)
        key = key[:shared] + block[at : at + fresh]
        at += fresh
        yield key, block[at : at + length]
        at += length


def _fields(message: bytes) -> dict[int, list[Any]]:
    """A protobuf message's fields by number: ints and bytes."""
    found: dict[int, list[Any]] = {}
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        kind = key & 7
        value: Any
        if kind == 0:
            value, at = _read_varint(message, at)
        elif kind == 2:
            length, at = _read_varint(message, at)
            value, at = message[at : at + length], at + length
        elif kind in (1, 5):
            width = 8 if kind == 1 else 4
            value = int.from_bytes(message[at : at + width], "little")
            at += width
        else:
            raise ValueError(f"protobuf wire type {kind}")
        found.setdefault(key >> 3, []).append(value)
    return found


def _entry(fields: dict[int, list[Any]]) -> Entry:
    if 7 in fields:
        raise ValueError("sliced (partitioned) tensors are not supported")
    dims = _fields(fields.get(2, [b""])[0]).get(2, [])
    return Entry(
        as_dtype(int(fields[1][0])),
        tuple(int(_fields(dim).get(1, [0])[0]) for dim in dims),
        int(fields.get(3, [0])[0]),
        int(fields.get(4, [0])[0]),
        int(fields.get(5, [0])[0]),
        int(fields.get(6, [0])[0]),
    )
