# SPDX-License-Identifier: Apache-2.0
"""CRC-32C (Castagnoli), as LevelDB tables and TensorFlow checkpoints use it.

Large inputs are cut into many stretches whose checksums advance together as one array, and are
then joined: the checksum of a concatenation is a linear function of those of its parts.
"""

from __future__ import annotations

import numpy as np

_POLYNOMIAL = 0x82F63B78
_SHORT = 512
_MOST_LANES = 1 << 14


def _byte_table() -> np.ndarray:
    table: np.ndarray = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table.astype(np.uint32)


_TABLE = _byte_table()
_LIST = _TABLE.tolist()


def crc32c(data: bytes | memoryview | np.ndarray) -> int:
    """The CRC-32C of `data` (bytes, or an array's memory)."""
    view = np.frombuffer(data, np.uint8) if not isinstance(data, np.ndarray) else data
    flat = view.reshape(-1).view(np.uint8)
    if flat.size < _SHORT:
        crc = 0xFFFFFFFF
        for byte in flat.tolist():
            crc = _LIST[(crc ^ byte) & 255] ^ (crc >> 8)
        return crc ^ 0xFFFFFFFF
    start = int(_apply(_zeros(flat.size), np.array([0xFFFFFFFF], np.uint32))[0])
    return start ^ _linear(flat) ^ 0xFFFFFFFF


def masked(data: bytes | memoryview | np.ndarray) -> int:
    """The checksum as LevelDB stores it: rotated and shifted, so that it can be part of data."""
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _linear(flat: np.ndarray) -> int:
    """The checksum without the initial and final inversion: linear, and blind to leading zeros."""
    lanes = 1 << min(flat.size.bit_length() - 8, _MOST_LANES.bit_length() - 1)
    length = -(-flat.size // lanes)
    padded = np.zeros(lanes * length, np.uint8)
    padded[padded.size - flat.size :] = flat
    columns = np.ascontiguousarray(padded.reshape(lanes, length).T)
    crc: np.ndarray = np.zeros(lanes, np.uint32)
    for column in columns:
        crc = _TABLE[(crc ^ column) & 255] ^ (crc >> 8)
    operator = _zeros(length)
    while crc.size > 1:
        crc = _apply(operator, crc[::2]) ^ crc[1::2]
        operator = _apply(operator, operator)
    return int(crc[0])


def _apply(operator: np.ndarray, values: np.ndarray) -> np.ndarray:
    """A linear map over bits (the images of the 32 unit vectors) applied to each value."""
    out = np.zeros_like(values)
    for bit in range(32):
        out ^= np.where(values >> np.uint32(bit) & 1, operator[bit], 0).astype(np.uint32)
    return out


def _zeros(count: int) -> np.ndarray:
    """The map that `count` zero bytes apply to a checksum."""
    units = np.uint32(1) << np.arange(32, dtype=np.uint32)
    result = units.copy()
    power = _TABLE[units & 255] ^ (units >> 8)
    while count:
        if count & 1:
            result = _apply(power, result)
        power = _apply(power, power)
        count >>= 1
    return result
