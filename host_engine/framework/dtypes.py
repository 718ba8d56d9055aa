# SPDX-License-Identifier: Apache-2.0
"""Element types, with the names and numbers of tensorflow/core/framework/types.proto."""

from __future__ import annotations

from typing import Any

import numpy as np


class DType:
    """One element type; compares equal to itself, its name and its NumPy type."""

    __slots__ = ("_np", "as_datatype_enum", "name")

    def __init__(self, name: str, enum: int, np_type: Any) -> None:
        self.name = name
        self.as_datatype_enum = enum
        self._np = np_type

    @property
    def as_numpy_dtype(self) -> Any:
        """The NumPy scalar type, `object` for strings."""
        return self._np

    @property
    def base_dtype(self) -> DType:
        return self

    @property
    def is_floating(self) -> bool:
        return self.name in ("float16", "float32", "float64")

    @property
    def is_integer(self) -> bool:
        return self.name.startswith(("int", "uint"))

    @property
    def is_complex(self) -> bool:
        return self.name.startswith("complex")

    @property
    def is_bool(self) -> bool:
        return self.name == "bool"

    @property
    def size(self) -> int:
        """Bytes per element; 1 for strings, as TensorFlow says."""
        return 1 if self.name == "string" else np.dtype(self._np).itemsize

    @property
    def min(self) -> Any:
        """Smallest value of a real type."""
        if self.is_floating:
            return np.finfo(self._np).min
        return False if self.is_bool else np.iinfo(self._np).min

    @property
    def max(self) -> Any:
        """Largest value of a real type."""
        if self.is_floating:
            return np.finfo(self._np).max
        return True if self.is_bool else np.iinfo(self._np).max

    def is_compatible_with(self, other: Any) -> bool:
        return self == other

    def __eq__(self, other: object) -> bool:
        if other is None:
            return False
        try:
            return self.name == as_dtype(other).name
        except TypeError:
            return False

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"tf.{self.name}"

    def __str__(self) -> str:
        return f"<dtype: '{self.name}'>"


float32 = DType("float32", 1, np.float32)
float64 = DType("float64", 2, np.float64)
int32 = DType("int32", 3, np.int32)
uint8 = DType("uint8", 4, np.uint8)
int16 = DType("int16", 5, np.int16)
int8 = DType("int8", 6, np.int8)
string = DType("string", 7, np.object_)
complex64 = DType("complex64", 8, np.complex64)
int64 = DType("int64", 9, np.int64)
bool_ = DType("bool", 10, np.bool_)
uint16 = DType("uint16", 17, np.uint16)
complex128 = DType("complex128", 18, np.complex128)
float16 = DType("float16", 19, np.float16)
uint32 = DType("uint32", 22, np.uint32)
uint64 = DType("uint64", 23, np.uint64)
# Types that imported graphs name and nothing here computes with.
qint8 = DType("qint8", 11, np.int8)
quint8 = DType("quint8", 12, np.uint8)
qint32 = DType("qint32", 13, np.int32)
bfloat16 = DType("bfloat16", 14, np.object_)
qint16 = DType("qint16", 15, np.int16)
quint16 = DType("quint16", 16, np.uint16)
resource = DType("resource", 20, np.object_)
variant = DType("variant", 21, np.object_)
half = float16
double = float64

ALL = (
    *(float32, float64, int32, uint8, int16, int8, string, complex64, int64, bool_),
    *(uint16, complex128, float16, uint32, uint64),
)
OPAQUE = (qint8, quint8, qint32, bfloat16, qint16, quint16, resource, variant)
FLOATS = (float16, float32, float64)
COMPLEX = (complex64, complex128)
INTS = (uint8, int8, uint16, int16, uint32, int32, uint64, int64)
NUMBERS = FLOATS + INTS + COMPLEX
REALS = FLOATS + INTS
INDEX = (int32, int64)

_BY_NAME = {t.name: t for t in (*ALL, *OPAQUE)} | {
    "float": float32,
    "double": float64,
    "half": float16,
}
_BY_ENUM = {t.as_datatype_enum: t for t in (*ALL, *OPAQUE)}
_BY_NUMPY = {np.dtype(t.as_numpy_dtype): t for t in ALL}


def as_dtype(value: Any) -> DType:
    """The DType meant by a DType, a name such as "float", an enum number or a NumPy type.

    Raises TypeError for anything else.
    """
    if isinstance(value, DType):
        return value
    if isinstance(value, str):
        found = _BY_NAME.get(value.removesuffix("_ref"))
    elif isinstance(value, int) and not isinstance(value, bool):
        found = _BY_ENUM.get(value)
    else:
        try:
            np_type = np.dtype(value)
        except TypeError:
            np_type = None
        found = _from_numpy(np_type) if np_type is not None and value is not None else None
    if found is None:
        raise TypeError(f"Cannot convert value {value!r} to a TensorFlow DType.")
    return found


def _from_numpy(np_type: np.dtype[Any]) -> DType | None:
    if np_type.kind in "SU":
        return string
    return _BY_NUMPY.get(np_type.newbyteorder("="))
