# SPDX-License-Identifier: Apache-2.0
"""Tensors whose elements share bytes: INT4 and UINT4 two to a byte, INT2 four, the first lowest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# TensorType -> (name, bits, least value); NumPy shows them as int8 or uint8.
PACKED = {17: ("INT4", 4, -8), 19: ("INT2", 2, -2), 20: ("UINT4", 4, 0)}


def unpack(packed: np.ndarray, kind: int, shape: Sequence[int]) -> np.ndarray:
    """int8 or uint8 values of `shape` from the uint8 bytes of a tensor of TensorType `kind`."""
    _, bits, least = PACKED[kind]
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    fields = (packed.reshape(-1, 1) >> shifts & ((1 << bits) - 1)).reshape(-1)
    values = fields[: int(np.prod(shape, dtype=np.int64))].astype(
        np.uint8 if not least else np.int8
    )
    if least:
        values = np.where(values >= -least, values + 2 * least, values).astype(np.int8)
    return values.reshape(tuple(shape))


def pack(values: np.ndarray, kind: int) -> np.ndarray:
    """uint8 bytes of integers, the last byte filled up with zeros. ValueError where one is outside
    the type's range.
    """
    name, bits, least = PACKED[kind]
    most = least + (1 << bits) - 1
    if values.size and not (values.min() >= least and values.max() <= most):
        raise ValueError(f"Values for {name} input must be between {least} and {most}")
    fields = np.zeros(-(-values.size * bits // 8) * 8 // bits, np.uint8)
    fields[: values.size] = values.reshape(-1).astype(np.uint8) & ((1 << bits) - 1)
    groups = fields.reshape(-1, 8 // bits) << np.arange(0, 8, bits, dtype=np.uint8)
    return np.bitwise_or.reduce(groups, axis=1).astype(np.uint8)
