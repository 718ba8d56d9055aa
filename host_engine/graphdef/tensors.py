# SPDX-License-Identifier: Apache-2.0
"""Arrays and shapes as TensorProto and TensorShapeProto, and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from host_engine.errors import DataLossError, UnimplementedError
from host_engine.framework.dtypes import DType, as_dtype, string
from host_engine.framework.shape import TensorShape, as_shape
from host_engine.graphdef.messages import TensorProto, TensorShapeProto

_LARGEST = 1 << 31  # bytes of a tensor that a few written numbers fill
_LISTS = {
    "float32": "float_val",
    "float64": "double_val",
    "complex64": "scomplex_val",
    "complex128": "dcomplex_val",
    "int64": "int64_val",
    "bool": "bool_val",
    "float16": "half_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
    "string": "string_val",
}


def dtype_of(enum: int) -> DType:
    """The DType of a DataType number; references count as what they refer to."""
    try:
        return as_dtype(int(enum) % 100)
    except TypeError:
        raise DataLossError(None, None, f"there is no element type number {enum}") from None


def shape_of(proto: TensorShapeProto) -> TensorShape:
    """-1 counts as unknown."""
    if proto.unknown_rank:
        return TensorShape(None)
    return TensorShape([None if d.size < 0 else d.size for d in proto.dim])


def shape_proto(shape: Any) -> TensorShapeProto:
    sizes = as_shape(shape).sizes
    proto = TensorShapeProto()
    if sizes is None:
        proto.unknown_rank = True
        return proto
    for size in sizes:
        proto.dim.add(size=-1 if size is None else int(size))
    return proto


def array_of(proto: TensorProto) -> np.ndarray:
    """The array in `proto`: strings as bytes in an object array.

    DataLossError where its numbers do not fill its shape, UnimplementedError for an element type
    that NumPy lacks.
    """
    dtype = dtype_of(proto.dtype)
    sizes = shape_of(proto.tensor_shape).sizes
    if sizes is None or None in sizes:
        raise DataLossError(None, None, "a tensor has no full shape: the file is damaged")
    dims = tuple(int(s) for s in sizes if s is not None)
    if dtype.name in ("resource", "variant", "bfloat16"):
        raise UnimplementedError(
            None, None, f"holds a constant of type {dtype.name}, which NumPy lacks"
        )
    if proto.tensor_content and dtype != string:
        return _content(proto.tensor_content, dtype, dims)
    values = _listed(proto, dtype)
    count = math.prod(dims)
    if len(values) > count or (count and not len(values) and dtype == string):
        raise DataLossError(
            None, None, f"{len(values)} values for a tensor of {count} elements: damaged"
        )
    if len(values) == count:
        return values.reshape(dims)
    if count * values.dtype.itemsize > _LARGEST:
        raise DataLossError(None, None, f"a tensor of shape {list(dims)} repeats its last value")
    whole = np.zeros(count, values.dtype)
    whole[: len(values)] = values
    if len(values):
        whole[len(values) :] = values[-1]
    return whole.reshape(dims)


def _content(data: bytes, dtype: DType, dims: tuple[int, ...]) -> np.ndarray:
    kind = np.dtype(dtype.as_numpy_dtype)
    if len(data) != math.prod(dims) * kind.itemsize:
        raise DataLossError(
            None,
            None,
            f"{len(data)} bytes for a {dtype.name} tensor of shape {list(dims)}: damaged",
        )
    return np.frombuffer(data, kind.newbyteorder("<")).astype(kind).reshape(dims)


def _listed(proto: TensorProto, dtype: DType) -> np.ndarray:
    values = getattr(proto, _LISTS.get(dtype.name, "int_val"))
    if dtype == string:
        found = np.empty(len(values), object)
        found[:] = values
        return found
    try:
        if dtype.name == "float16":
            return np.array(values, np.uint16).view(np.float16)
        if dtype.is_complex:
            parts = np.array(values, np.float64).reshape(-1, 2)
            return (parts[:, 0] + 1j * parts[:, 1]).astype(dtype.as_numpy_dtype)
        return np.array(values, dtype.as_numpy_dtype)
    except (ValueError, OverflowError) as error:
        raise DataLossError(None, None, f"values that are no {dtype.name}: {error}") from None


def tensor_proto(array: Any, dtype: DType | None = None) -> TensorProto:
    """`array` as its bytes; strings in a list."""
    array = np.asarray(array)
    dtype = as_dtype(array.dtype) if dtype is None else dtype
    proto = TensorProto(dtype=dtype.as_datatype_enum)
    proto.tensor_shape = shape_proto(array.shape)
    if dtype == string:
        proto.string_val.extend(
            s.encode() if isinstance(s, str) else bytes(s) for s in array.reshape(-1)
        )
    else:
        kind = np.dtype(dtype.as_numpy_dtype).newbyteorder("<")
        proto.tensor_content = np.ascontiguousarray(array, kind).tobytes()
        if array.size == 0:
            proto.ClearField("tensor_content")
    return proto
