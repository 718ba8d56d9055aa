# SPDX-License-Identifier: Apache-2.0
"""TensorArrays and TensorLists, which imported graphs carry through their loops.

A list is a tuple of arrays (None where nothing was written): every write makes a new one. An array
of TensorFlow 1 is an object that its handle names and that writes change.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from host_engine.errors import invalid
from host_engine.framework.registry import define
from host_engine.framework.tensor import Operation
from host_engine.ops.flow import _shapes, _types


class Array:
    """The elements of one TensorArray."""

    def __init__(self, size: int, dtype: Any, shape: Any, grows: bool) -> None:
        self.items: list[Any] = [None] * size
        self.dtype, self.shape, self.grows = dtype, shape, grows

    def write(self, at: int, value: Any) -> None:
        if at >= len(self.items) and self.grows:
            self.items += [None] * (at + 1 - len(self.items))
        if not 0 <= at < len(self.items):
            raise invalid(f"writes element {at} of an array of {len(self.items)}")
        self.items[at] = value

    def read(self, at: int) -> Any:
        if not 0 <= at < len(self.items) or self.items[at] is None:
            raise invalid(f"reads element {at}, which was not written")
        return self.items[at]


def _stack(items: Any, dtype: Any, shape: Any) -> Any:
    """The elements along a new first axis; zeros where none was written."""
    held = [np.shape(item) for item in items if item is not None]
    sizes = held[0] if held else _sizes(shape)
    blank = np.zeros(sizes, dtype)
    if not len(items):
        return np.zeros((0, *sizes), dtype)
    return np.stack([blank if item is None else np.asarray(item) for item in items])


def _sizes(shape: Any) -> tuple[int, ...]:
    """A fully known element shape: a TensorShape, or numbers."""
    if hasattr(shape, "as_list"):
        shape = shape.as_list() if shape.ndims is not None else [-1]
    numbers = [-1 if s is None else int(s) for s in np.atleast_1d(np.asarray(shape, object))]
    if any(s < 0 for s in numbers):
        raise invalid("stacks elements of unknown shape, none of which was written")
    return tuple(numbers)


# -- TensorFlow 1 -----------------------------------------------------------------------------

_FLOW = np.float32(0)


def _array(context: Any, op: Operation, size: Any) -> tuple[Any, Any]:
    attrs = op._attrs
    dtype = attrs["dtype"].as_numpy_dtype
    grows = bool(attrs.get("dynamic_size", False))
    return Array(int(size), dtype, attrs.get("element_shape"), grows), _FLOW


def _array_write(context: Any, op: Operation, array: Array, at: Any, value: Any, _: Any) -> Any:
    array.write(int(at), value)
    return _FLOW


def _array_read(context: Any, op: Operation, array: Array, at: Any, _: Any) -> Any:
    return array.read(int(at))


def _array_gather(context: Any, op: Operation, array: Array, places: Any, _: Any) -> Any:
    items = [array.read(int(i)) for i in np.asarray(places).reshape(-1)]
    return _stack(items, array.dtype, op._attrs.get("element_shape", array.shape))


def _array_scatter(
    context: Any, op: Operation, array: Array, places: Any, value: Any, _: Any
) -> Any:
    for i, part in zip(np.asarray(places).reshape(-1), value, strict=True):
        array.write(int(i), part)
    return _FLOW


def _array_concat(context: Any, op: Operation, array: Array, _: Any) -> tuple[Any, Any]:
    items = [array.read(i) for i in range(len(array.items))]
    return np.concatenate(items), np.array([len(item) for item in items], np.int64)


def _array_split(
    context: Any, op: Operation, array: Array, value: Any, lengths: Any, _: Any
) -> Any:
    ends = np.cumsum(np.asarray(lengths).reshape(-1))
    for i, part in enumerate(np.split(np.asarray(value), ends[:-1])):
        array.write(i, part)
    return _FLOW


def _array_size(context: Any, op: Operation, array: Array, _: Any) -> Any:
    return np.int32(len(array.items))


# -- TensorFlow 2 -----------------------------------------------------------------------------


def _dtype(op: Operation) -> Any:
    return op._attrs["element_dtype"].as_numpy_dtype


def _reserve(context: Any, op: Operation, shape: Any, count: Any) -> Any:
    return (None,) * int(count)


def _empty(context: Any, op: Operation, shape: Any, most: Any) -> Any:
    return ()


def _set(context: Any, op: Operation, items: Any, at: Any, value: Any) -> Any:
    place = int(at)
    if place >= len(items) and op._attrs.get("resize_if_index_out_of_bounds", False):
        items = (*items, *[None] * (place + 1 - len(items)))
    if not 0 <= place < len(items):
        raise invalid(f"sets element {place} of a list of {len(items)}")
    return (*items[:place], value, *items[place + 1 :])


def _get(context: Any, op: Operation, items: Any, at: Any, shape: Any) -> Any:
    place = int(at)
    if not 0 <= place < len(items):
        raise invalid(f"gets element {place} of a list of {len(items)}")
    found = items[place]
    return np.zeros(_sizes(shape), _dtype(op)) if found is None else found


def _push(context: Any, op: Operation, items: Any, value: Any) -> Any:
    return (*items, value)


def _pop(context: Any, op: Operation, items: Any, shape: Any) -> tuple[Any, Any]:
    if not items:
        raise invalid("pops an element of an empty list")
    last = np.zeros(_sizes(shape), _dtype(op)) if items[-1] is None else items[-1]
    return items[:-1], last


def _from_tensor(context: Any, op: Operation, value: Any, shape: Any) -> Any:
    return tuple(np.asarray(value))


def _to_tensor(context: Any, op: Operation, items: Any, shape: Any) -> Any:
    return _stack(items, _dtype(op), shape)


def _gather(context: Any, op: Operation, items: Any, places: Any, shape: Any) -> Any:
    picked = [items[int(i)] for i in np.asarray(places).reshape(-1)]
    return _stack(picked, _dtype(op), shape)


def _length(context: Any, op: Operation, items: Any) -> Any:
    return np.int32(len(items))


_RUNS = {
    "EmptyTensorList": ("element_shape:any max_num_elements:int32", _empty),
    "TensorArrayConcatV3": ("handle:any flow_in:any", _array_concat),
    "TensorArrayGatherV3": ("handle:any indices:int32 flow_in:any", _array_gather),
    "TensorArrayReadV3": ("handle:any index:int32 flow_in:any", _array_read),
    "TensorArrayScatterV3": ("handle:any indices:int32 value:any flow_in:any", _array_scatter),
    "TensorArraySizeV3": ("handle:any flow_in:any", _array_size),
    "TensorArraySplitV3": ("handle:any value:any lengths:any flow_in:any", _array_split),
    "TensorArrayV3": ("size:int32", _array),
    "TensorArrayWriteV3": ("handle:any index:int32 value:any flow_in:any", _array_write),
    "TensorListFromTensor": ("tensor:any element_shape:any", _from_tensor),
    "TensorListGather": ("input_handle:any indices:int32 element_shape:any", _gather),
    "TensorListGetItem": ("input_handle:any index:int32 element_shape:any", _get),
    "TensorListLength": ("input_handle:any", _length),
    "TensorListPopBack": ("input_handle:any element_shape:any", _pop),
    "TensorListPushBack": ("input_handle:any tensor:any", _push),
    "TensorListReserve": ("element_shape:any num_elements:int32", _reserve),
    "TensorListSetItem": ("input_handle:any index:int32 item:any", _set),
    "TensorListStack": ("input_handle:any element_shape:any", _to_tensor),
}
for _name, (_inputs, _run) in _RUNS.items():
    define(_name, _inputs, shape=_shapes, dtype=_types, run=_run)
