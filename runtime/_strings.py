# SPDX-License-Identifier: Apache-2.0
"""Tensors of strings: NumPy arrays of bytes objects, and the C library's rlt_string elements.

An element is two uint64: the address of its bytes, and how many they are.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from .errors import RilletError

TYPE = 5  # of TensorType


def as_array(value: Any) -> np.ndarray:
    """An array of bytes and str as NumPy has them: of objects, "S" or "U". A list becomes objects,
    which keep zeros at their ends.
    """
    return value if isinstance(value, np.ndarray) else np.array(value, object)


def holds_strings(array: np.ndarray) -> bool:
    """Whether all its elements are bytes or str; str is taken as UTF-8."""
    if array.dtype.kind in "SU":
        return True
    return array.dtype.kind == "O" and all(isinstance(x, (bytes, str)) for x in array.flat)


def write(target: np.ndarray, array: np.ndarray) -> np.ndarray:
    """Makes the elements of `target` those of `array`, which `holds_strings`. The bytes lie in the
    array that is returned: it must live as long as the elements are used.
    """
    items = [x.encode() if isinstance(x, str) else bytes(x) for x in array.flat]
    memory = np.frombuffer(b"".join(items) + b"\0", np.uint8)
    sizes = np.array([len(item) for item in items], np.uint64)
    begins = np.cumsum(sizes, dtype=np.uint64) - sizes + np.uint64(memory.ctypes.data)
    target[...] = np.stack([begins, sizes], axis=-1).reshape(target.shape)
    return memory


def read(elements: np.ndarray) -> np.ndarray:
    """Array of bytes objects; the last dimension of `elements`, of 2, goes."""
    found = np.empty(elements.shape[:-1], object)
    pairs = elements.reshape(-1, 2).tolist()
    found.reshape(-1)[:] = [ctypes.string_at(at, size) if size else b"" for at, size in pairs]
    return found


def refuse(array: np.ndarray) -> RilletError:
    """What is said of an array that does not hold strings."""
    kind = str(array.dtype)
    if array.dtype.kind == "O":
        kind = next(type(x).__name__ for x in array.flat if not isinstance(x, (bytes, str)))
    return RilletError(
        f"Got value of type {kind} but expected type STRING: an array of bytes or str"
    )
