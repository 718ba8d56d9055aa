# SPDX-License-Identifier: Apache-2.0
"""From Python values to graph: conversion to tensors, constants, and building of operations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from host_engine.framework import dtypes
from host_engine.framework.dtypes import DType, as_dtype
from host_engine.framework.graph import Graph, get_default_graph
from host_engine.framework.registry import Input, OpDef, lookup
from host_engine.framework.shape import Dimension, TensorShape
from host_engine.framework.tensor import Operation, Tensor


def to_array(value: Any, dtype: DType | None = None) -> np.ndarray:
    """`value` as an array under TensorFlow's rules for constants.

    Python floats become float32, ints int32 (int64 where they do not fit), strings objects
    (bytes); NumPy values keep their type. A wanted `dtype` converts NumPy values, but Python
    values must be compatible with it.

    Raises TypeError ("Expected int32, got 2.0 of type 'float' instead.") or ValueError for a
    ragged list.
    """
    if isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
        if array.dtype.kind in "SU":
            array = _bytes_array(array)
        return array if dtype is None else array.astype(dtype.as_numpy_dtype, copy=False)
    value = _plain(value)
    if dtype is not None:
        _check_compatible(value, dtype)
    if dtype == dtypes.string:
        return _bytes_array(np.array(value, dtype=object))
    try:
        array = np.array(value, dtype=None if dtype is None else dtype.as_numpy_dtype)
    except ValueError:
        raise ValueError(
            f"Argument must be a dense tensor: {value!r} - ragged lists are not."
        ) from None
    if array.dtype.kind in "SU":
        return _bytes_array(array)
    if dtype is None:
        array = _narrowed(array, value)
    return array


def _narrowed(array: np.ndarray, value: Any) -> np.ndarray:
    if array.dtype == np.float64:
        return array.astype(np.float32)
    if array.dtype == np.int64:
        small = array.astype(np.int32)
        return small if np.array_equal(small, array) else array
    if array.dtype == object:
        raise TypeError(
            f"Failed to convert object of type {type(value)} to Tensor. Contents: {value}. "
            "Consider casting elements to a supported type."
        )
    return array


def _bytes_array(array: np.ndarray) -> np.ndarray:
    out = np.empty(array.shape, dtype=object)
    for index in np.ndindex(array.shape):
        item = array[index]
        out[index] = item.encode() if isinstance(item, str) else bytes(item)
    return out


def _plain(value: Any) -> Any:
    """Nested lists with dimensions and shapes replaced by ints."""
    if isinstance(value, TensorShape):
        if not value.is_fully_defined():
            raise ValueError(f"Cannot convert a partially known TensorShape to a Tensor: {value}")
        return [int(d) for d in value]
    if isinstance(value, Dimension):
        if value.value is None:
            raise ValueError(f"Cannot convert an unknown Dimension to a Tensor: {value}")
        return value.value
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value


def _check_compatible(value: Any, dtype: DType) -> None:
    items: list[Any] = [value]
    while items:
        item = items.pop()
        if isinstance(item, list):
            items.extend(item)
        elif not _compatible(item, dtype):
            raise TypeError(
                f"Expected {dtype.name}, got {item!r} of type '{type(item).__name__}' instead."
            )


def _compatible(item: Any, dtype: DType) -> bool:
    if isinstance(item, (np.ndarray, np.generic)):
        return True
    if dtype == dtypes.string:
        return isinstance(item, (str, bytes))
    if dtype.is_bool:
        return isinstance(item, bool)
    if isinstance(item, (bool, str, bytes)) or item is None:
        return False
    if dtype.is_integer:
        return isinstance(item, int)
    return isinstance(item, (int, float) if dtype.is_floating else (int, float, complex))


def constant(
    value: Any,
    dtype: Any = None,
    shape: Any = None,
    name: str = "Const",
    verify_shape: bool = False,
) -> Tensor:
    """A tensor that always holds `value`; with `shape`, filled up with its last element.

    Raises ValueError if there are more values than `shape` holds.
    """
    array = to_array(value, None if dtype is None else as_dtype(dtype))
    if shape is not None:
        array = _filled(array, tuple(int(d) for d in TensorShape(shape)), verify_shape)
    graph = get_default_graph()
    op = graph.create_op("Const", [], _const_attrs(array), name)
    return op.outputs[0]


def _filled(array: np.ndarray, sizes: tuple[int, ...], verify: bool) -> np.ndarray:
    if verify and array.shape != sizes:
        raise TypeError(f"Expected Tensor's shape: {sizes}, got {array.shape}.")
    wanted = int(np.prod(sizes, dtype=np.int64))
    if array.size > wanted:
        raise ValueError(
            f"Too many elements provided. Needed at most {wanted}, but received {array.size}"
        )
    if array.size == wanted:
        return array.reshape(sizes)
    flat = np.empty(wanted, dtype=array.dtype)
    flat[: array.size] = array.ravel()
    flat[array.size :] = array.ravel()[-1]
    return flat.reshape(sizes)


def _const_attrs(array: np.ndarray) -> dict[str, Any]:
    frozen = np.array(array, order="C")
    frozen.setflags(write=False)
    return {"value": frozen, "dtype": as_dtype(array.dtype)}


def convert_to_tensor(
    value: Any, dtype: Any = None, name: str | None = None, preferred_dtype: Any = None
) -> Tensor:
    """`value` (tensor, variable, array, number, string, nested list of those) as a Tensor.

    Raises ValueError if a tensor has another type than `dtype`, TypeError if a Python value
    does not fit it.
    """
    wanted = None if dtype is None else as_dtype(dtype)
    if hasattr(value, "_as_tensor"):
        value = value._as_tensor()
    if isinstance(value, Tensor):
        if wanted is not None and value.dtype != wanted:
            raise ValueError(
                f"Tensor conversion requested dtype {wanted.name} for Tensor with dtype "
                f"{value.dtype.name}: {str(value)!r}"
            )
        return value
    if isinstance(value, Operation):
        raise TypeError(f"Can't convert Operation '{value.name}' to Tensor")
    if value is None:
        raise ValueError("None values not supported.")
    if isinstance(value, (list, tuple)) and _holds_tensor(value):
        return _packed(value, wanted, name)
    if wanted is None and preferred_dtype is not None:
        try:
            return constant(value, preferred_dtype, name=name or "Const")
        except (TypeError, ValueError):
            pass
    return constant(value, wanted, name=name or "Const")


def _holds_tensor(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(_holds_tensor(v) for v in value)
    return isinstance(value, Tensor) or hasattr(value, "_as_tensor")


def _first_dtype(value: Any) -> DType | None:
    if isinstance(value, (list, tuple)):
        return next((d for d in map(_first_dtype, value) if d is not None), None)
    return value.dtype if isinstance(value, Tensor) or hasattr(value, "_as_tensor") else None


def _packed(values: Sequence[Any], dtype: DType | None, name: str | None) -> Tensor:
    dtype = dtype or _first_dtype(values)
    with get_default_graph().name_scope(name or "packed") as scope:
        parts = [convert_to_tensor(v, dtype, name=str(i)) for i, v in enumerate(values)]
        return build("Pack", [parts], {"axis": 0}, name=scope)


@contextmanager
def name_scope(name: Any, default_name: str | None = None, values: Any = None) -> Iterator[str]:
    """`tf.name_scope`: a scope named `name`, or `default_name` if that is None.

    With `values`, the scope is opened in the graph of the first tensor among them.
    """
    if hasattr(name, "original_name_scope"):
        name = name.original_name_scope
    chosen = default_name if name is None else name
    graph = _graph_of(values or ())
    with graph.as_default(), graph.name_scope(chosen) as scope:
        yield scope


def _graph_of(values: Any) -> Graph:
    """That of the first tensor; the default graph where it is a body inside that."""
    default = get_default_graph()
    for value in values:
        if isinstance(value, (list, tuple)):
            if _holds_tensor(value):
                return _graph_of(value)
        elif isinstance(value, (Tensor, Operation)) or hasattr(value, "_as_tensor"):
            return default if default.is_inside(value.graph) else value.graph
    return default


def build(op_type: str, inputs: Sequence[Any], attrs: Any = None, name: str | None = None) -> Any:
    """Builds an operation of one output and returns that tensor; see `build_op`."""
    return build_op(op_type, inputs, attrs, name).outputs[0]


def build_op(
    op_type: str, inputs: Sequence[Any], attrs: Any = None, name: str | None = None
) -> Operation:
    """Adds an operation to the graph of its inputs (or the default graph).

    Inputs that are not tensors become constants named after the formal input, within the
    operation's scope ("Reshape/shape").

    Raises TypeError where types do not agree and ValueError where shapes or graphs do not.
    """
    definition = lookup(op_type)
    graph = _graph_of(inputs)
    if all(isinstance(value, Tensor) for value in inputs):
        tensors = list(inputs)
        _check_types(definition, list(zip(definition.inputs, tensors, strict=True)))
        return graph.create_op(op_type, tensors, attrs, name)
    with graph.as_default(), graph.name_scope(name or op_type) as scope:
        pairs = _converted(definition, inputs)
    _check_types(definition, pairs)
    return graph.create_op(op_type, [t for _, t in pairs], attrs, scope)


def _converted(definition: OpDef, values: Sequence[Any]) -> list[tuple[Input, Tensor]]:
    shared: DType | None = None
    pairs: list[tuple[Input, Tensor]] = []
    for formal, value in zip(definition.inputs, values, strict=True):
        if formal.is_list:
            hint = shared or (_first_dtype(value) if formal.kind == "T" else None)
            tensors = [
                _convert_input(formal, v, hint, f"{formal.name}_{i}") for i, v in enumerate(value)
            ]
        else:
            tensors = [_convert_input(formal, value, shared, formal.name)]
        if formal.kind == "T" and tensors:
            shared = shared or tensors[0].dtype
        pairs += [(formal, t) for t in tensors]
    return pairs


def _convert_input(formal: Input, value: Any, shared: DType | None, name: str) -> Tensor:
    if isinstance(value, Tensor) or hasattr(value, "_as_tensor"):
        return convert_to_tensor(value)
    wanted = {"bool": dtypes.bool_, "int32": dtypes.int32, "T": shared}.get(formal.kind)
    if formal.kind == "index" and not isinstance(value, (np.ndarray, np.generic)):
        # Named, because an empty list would be float32 by the rules for constants.
        wanted = _first_dtype(value) if _holds_tensor(value) else dtypes.int32
    return convert_to_tensor(value, wanted, name=name)


def _check_types(definition: OpDef, pairs: Sequence[tuple[Input, Tensor]]) -> None:
    first: tuple[Input, Tensor] | None = None
    for formal, tensor in pairs:
        if formal.kind == "T":
            first = first or (formal, tensor)
            if tensor.dtype != first[1].dtype:
                raise TypeError(
                    f"Input '{formal.name}' of '{definition.name}' Op has type "
                    f"{tensor.dtype.name} that does not match type {first[1].dtype.name} of "
                    f"argument '{first[0].name}'."
                )
            _check_allowed(formal, tensor, definition.types)
        elif formal.kind == "index":
            _check_allowed(formal, tensor, dtypes.INDEX)
        elif formal.kind == "bool":
            _check_allowed(formal, tensor, (dtypes.bool_,))


def _check_allowed(formal: Input, tensor: Tensor, allowed: tuple[DType, ...] | None) -> None:
    if allowed is not None and tensor.dtype not in allowed:
        raise TypeError(
            f"Value passed to parameter '{formal.name}' has DataType {tensor.dtype.name} not in "
            f"list of allowed values: {', '.join(t.name for t in allowed)}"
        )
