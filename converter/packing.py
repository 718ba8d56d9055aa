# SPDX-License-Identifier: Apache-2.0
"""Constants between NumPy arrays and the bytes of a file's buffers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from converter.errors import ConversionError
from converter.tensor_types import numpy_dtype

# Types below a byte: bits per element and whether they are signed; the first element is lowest.
_SUB_BYTE = {"INT4": (4, True), "UINT4": (4, False), "INT2": (2, True)}


def pack(data: np.ndarray, dtype: str) -> bytes | memoryview:
    """Bytes of constant `data` as TensorType `dtype`, little-endian."""
    if dtype == "STRING":
        return _pack_strings(data)
    if dtype in _SUB_BYTE:
        bits, _ = _SUB_BYTE[dtype]
        per_byte = 8 // bits
        flat = np.ascontiguousarray(data).reshape(-1).view(np.uint8) & ((1 << bits) - 1)
        flat = np.pad(flat, (0, -flat.size % per_byte)).reshape(-1, per_byte)
        shifts = np.arange(per_byte, dtype=np.uint8) * bits
        return np.bitwise_or.reduce(flat << shifts, axis=1).astype(np.uint8).tobytes()
    array = np.ascontiguousarray(data, numpy_dtype(dtype).newbyteorder("<"))
    return array.reshape(-1).view(np.uint8).data if array.size else b""


def unpack(raw: np.ndarray, dtype: str, shape: Sequence[int], name: str) -> np.ndarray:
    """Array of `shape` from the bytes `raw` (uint8); a view where alignment allows one.

    Raises ConversionError, naming the tensor, where the bytes do not fit the shape.
    """
    count = 1
    for dim in shape:
        count *= dim
    if dtype == "STRING":
        return _unpack_strings(raw, count, name).reshape(shape)
    if dtype in _SUB_BYTE:
        bits, signed = _SUB_BYTE[dtype]
        _check_size(raw.size, (count * bits + 7) // 8, dtype, shape, name)
        shifts = np.arange(8 // bits, dtype=np.uint8) * bits
        items = ((raw[:, None] >> shifts) & ((1 << bits) - 1)).reshape(-1)[:count]
        if signed:  # sign extension: move the top bit to bit 7 and back
            items = (items << (8 - bits)).view(np.int8) >> (8 - bits)
        return items.reshape(shape)
    held = numpy_dtype(dtype)
    _check_size(raw.size, count * held.itemsize, dtype, shape, name)
    if held == np.bool_:
        return (raw != 0).reshape(shape)
    return as_array(raw, held).reshape(shape)


def as_array(raw: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Bytes `raw` as a flat array of `dtype`, copied only where they are not aligned."""
    array = raw.view(dtype.newbyteorder("<")) if raw.size else np.zeros(0, dtype)
    return np.require(array.astype(dtype, copy=False), requirements="A")


def _check_size(found: int, wanted: int, dtype: str, shape: Sequence[int], name: str) -> None:
    if found != wanted:
        raise ConversionError(
            f"constant {name!r} has {found} bytes where {dtype}{list(shape)} takes {wanted}; "
            "the file is damaged, get it again or write it anew"
        )


def _pack_strings(data: np.ndarray) -> bytes:
    items = [x.encode() if isinstance(x, str) else bytes(x) for x in data.reshape(-1)]
    ends = np.cumsum([0, *map(len, items)]) + 4 * (len(items) + 2)
    header = np.array([len(items), *ends], "<i4")
    return header.tobytes() + b"".join(items)


def _unpack_strings(raw: np.ndarray, count: int, name: str) -> np.ndarray:
    """String tensors are an int32 count, count + 1 int32 offsets, then the characters."""
    data = raw.tobytes()
    found = int(np.frombuffer(data[:4], "<i4")[0]) if len(data) >= 4 else -1
    if found != count or 4 * (count + 2) > len(data):
        raise ConversionError(
            f"string constant {name!r} holds {found} strings where its shape takes {count}; "
            "the file is damaged, get it again or write it anew"
        )
    ends = np.frombuffer(data, "<i4", count + 1, 4)
    if ends[0] < 0 or ends[-1] > len(data) or np.any(np.diff(ends) < 0):
        raise ConversionError(f"string constant {name!r} has offsets outside its {len(data)} bytes")
    strings = np.empty(count, object)
    for i in range(count):
        strings[i] = data[ends[i] : ends[i + 1]]
    return strings
