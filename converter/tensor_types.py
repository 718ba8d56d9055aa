# SPDX-License-Identifier: Apache-2.0
"""How constants of each TensorType are held as NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from converter.errors import ConversionError

# INT4, UINT4 and INT2 hold one element per array item (the writer packs them); BFLOAT16 and
# FLOAT8 hold their bits; STRING holds bytes objects.
NUMPY_TYPES: dict[str, np.dtype] = {
    "FLOAT32": np.dtype(np.float32),
    "FLOAT16": np.dtype(np.float16),
    "INT32": np.dtype(np.int32),
    "UINT8": np.dtype(np.uint8),
    "INT64": np.dtype(np.int64),
    "STRING": np.dtype(object),
    "BOOL": np.dtype(np.bool_),
    "INT16": np.dtype(np.int16),
    "COMPLEX64": np.dtype(np.complex64),
    "INT8": np.dtype(np.int8),
    "FLOAT64": np.dtype(np.float64),
    "COMPLEX128": np.dtype(np.complex128),
    "UINT64": np.dtype(np.uint64),
    "UINT32": np.dtype(np.uint32),
    "UINT16": np.dtype(np.uint16),
    "INT4": np.dtype(np.int8),
    "UINT4": np.dtype(np.uint8),
    "INT2": np.dtype(np.int8),
    "BFLOAT16": np.dtype(np.uint16),
    "FLOAT8_E4M3FN": np.dtype(np.uint8),
    "FLOAT8_E5M2": np.dtype(np.uint8),
}
_HELD_IN_OTHER_TYPE = {"INT4", "UINT4", "INT2", "BFLOAT16", "FLOAT8_E4M3FN", "FLOAT8_E5M2"}
_TYPE_NAMES = {dt: name for name, dt in NUMPY_TYPES.items() if name not in _HELD_IN_OTHER_TYPE}


def numpy_dtype(dtype: str) -> np.dtype:
    """NumPy dtype that holds constants of type `dtype`; ConversionError for RESOURCE, VARIANT."""
    try:
        return NUMPY_TYPES[dtype]
    except KeyError:
        raise ConversionError(
            f"tensor type {dtype} has no constant form; only variable handles use it"
        ) from None


def dtype_name(dtype: Any) -> str:
    """TensorType name of a NumPy dtype (float32 gives "FLOAT32"); ConversionError if none."""
    found = np.dtype(dtype)
    try:
        return _TYPE_NAMES[found]
    except KeyError:
        raise ConversionError(
            f"NumPy dtype {found} has no TFLite tensor type; cast the values first"
        ) from None
