# SPDX-License-Identifier: Apache-2.0
"""ONNX element types in TFLite's."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from converter import ir
from converter.importers.no_form import NoForm
from converter.importers.onnx import loading

# The device computes in float32 where the source has another width; inputs and outputs keep theirs.
WIDENED: dict[int, str] = {
    TensorProto.FLOAT16: "FLOAT32",
    TensorProto.BFLOAT16: "FLOAT32",
    TensorProto.DOUBLE: "FLOAT32",
}
AT_BORDER: dict[int, str] = {TensorProto.FLOAT16: "FLOAT16", TensorProto.DOUBLE: "FLOAT64"}
# Integers narrower than a byte, each in a byte of its own: the byte's type and the limits.
NARROW: dict[int, tuple[str, int, int]] = {
    TensorProto.INT4: ("INT8", -8, 7),
    TensorProto.UINT4: ("UINT8", 0, 15),
    TensorProto.INT2: ("INT8", -2, 1),
    TensorProto.UINT2: ("UINT8", 0, 3),
}
# Types that a cast rounds to, though float32 carries the numbers on.
ROUNDED: dict[int, str] = {TensorProto.FLOAT16: "FLOAT16"}

BFLOAT16: int = TensorProto.BFLOAT16

_PLAIN: dict[int, str] = {
    TensorProto.FLOAT: "FLOAT32",
    TensorProto.INT8: "INT8",
    TensorProto.INT16: "INT16",
    TensorProto.INT32: "INT32",
    TensorProto.INT64: "INT64",
    TensorProto.UINT8: "UINT8",
    TensorProto.UINT16: "UINT16",
    TensorProto.UINT32: "UINT32",
    TensorProto.UINT64: "UINT64",
    TensorProto.BOOL: "BOOL",
    TensorProto.STRING: "STRING",
    TensorProto.COMPLEX64: "COMPLEX64",
}


def inner_type(element: int) -> str:
    """TensorType that stands for an ONNX element type inside the model; NoForm without one."""
    found = _PLAIN.get(element) or WIDENED.get(element) or NARROW.get(element, ("",))[0]
    if not found:
        raise NoForm(f"has elements of {type_name(element)}, which devices lack: cast them")
    return found


def is_widened(element: int) -> bool:
    """Whether elements of this type are carried in float32."""
    return element in WIDENED


def border_type(element: int) -> str:
    """TensorType of a graph input or output of this ONNX element type."""
    return AT_BORDER.get(element) or inner_type(element)


def type_name(element: int) -> str:
    """FLOAT, INT64... as ONNX spells it."""
    try:
        return str(TensorProto.DataType.Name(element))
    except ValueError:
        return f"element type {element}"


def array_of(tensor: onnx.TensorProto, folder: str = "") -> np.ndarray:
    """The numbers of a TensorProto, bfloat16 as float32; external data is read from `folder`."""
    external = loading.external_array(tensor, folder)
    array = numpy_helper.to_array(tensor) if external is None else external
    if tensor.data_type == TensorProto.BFLOAT16:
        return np.asarray(array).astype(np.float32)
    return np.asarray(array)


def dense_of(sparse: onnx.SparseTensorProto, folder: str = "") -> np.ndarray:
    """The whole of a sparse tensor."""
    values, places = (array_of(t, folder) for t in (sparse.values, sparse.indices))
    return loading.dense_array(sparse, values, places)


def narrow_element(array: np.ndarray) -> int:
    """The ONNX type of a constant whose integers are narrower than a byte; 0 for others."""
    name = array.dtype.name.upper()
    return next((e for e in NARROW if type_name(e) == name), 0)


def settled(array: np.ndarray) -> np.ndarray:
    """`array` in the type that stands for its own inside the model."""
    narrow = NARROW.get(narrow_element(array))
    if narrow is not None:
        return array.astype(ir.numpy_dtype(narrow[0]))
    if array.dtype in (np.float16, np.float64):
        return array.astype(np.float32)
    try:
        ir.dtype_name(array.dtype)
    except Exception as error:
        raise NoForm(f"has elements of {array.dtype}, which devices lack: cast them") from error
    return array
