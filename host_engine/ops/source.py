# SPDX-License-Identifier: Apache-2.0
"""Sources of values: constants, placeholders, fills, ranges; and identities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from host_engine.errors import invalid
from host_engine.framework import dtypes
from host_engine.framework import shape_rules as rules
from host_engine.framework.build import build, constant, convert_to_tensor, name_scope
from host_engine.framework.constant import constant_value, shape_value
from host_engine.framework.dtypes import as_dtype
from host_engine.framework.registry import NOT_DIFFERENTIABLE, define, sample
from host_engine.framework.shape import TensorShape, as_shape
from host_engine.framework.tensor import Tensor

define(
    "Const",
    "",
    shape=lambda op: [op._attrs["value"].shape],
    compute=lambda xp, value, **_: xp.asarray(value),
    dtype="dtype",
    grad=lambda op, dy: [],
    samples=(sample(value=np.arange(3.0), dtype=dtypes.float64),),
)


def _unfed(context: Any, op: Any) -> Any:
    dtype, shape = op._attrs["dtype"], op._attrs["shape"]
    sizes = ",".join("?" if s is None else str(s) for s in shape.sizes or ())
    proto = {"float32": "float", "float64": "double", "float16": "half"}.get(dtype.name, dtype.name)
    known = f" and shape [{sizes}]" if shape.sizes else ""
    raise invalid(
        f"You must feed a value for placeholder tensor '{op.name}' with dtype {proto}{known}"
    )


define("Placeholder", "", shape=lambda op: [op._attrs["shape"]], run=_unfed, dtype="dtype")

define(
    "PlaceholderWithDefault",
    "input:any",
    shape=lambda op: [op._attrs["shape"]],
    compute=lambda xp, x, **_: x,
    grad=lambda op, dy: [dy],
    samples=(sample((2, 3), shape=TensorShape([None, 3])),),
)

define(
    "Identity",
    "input:any",
    shape=rules.same,
    compute=lambda xp, x, **_: x,
    grad=lambda op, dy: [dy],
    samples=(sample((2, 3)),),
)

define(
    "StopGradient",
    "input:any",
    shape=rules.same,
    compute=lambda xp, x: x,
    grad=NOT_DIFFERENTIABLE,
    samples=(sample((2, 3), wrt=()),),
)

define(
    "ZerosLike",
    "x:any",
    shape=rules.same,
    compute=lambda xp, x: xp.zeros_like(x),
    grad=NOT_DIFFERENTIABLE,
    samples=(sample((2, 3), wrt=()),),
)

define(
    "OnesLike",
    "x:any",
    shape=rules.same,
    compute=lambda xp, x: xp.ones_like(x),
    grad=NOT_DIFFERENTIABLE,
    samples=(sample((2, 3), wrt=()),),
)

define(
    "Fill",
    "dims:index value:any",
    shape=lambda op: [shape_value(op.inputs[0])],
    compute=lambda xp, dims, value: xp.full(tuple(int(d) for d in dims), value, value.dtype),
    dtype=lambda op: [op.inputs[1].dtype],
    grad=lambda op, dy: [None, build("Sum", [dy, _all_axes(dy)], {"keep_dims": False})],
    samples=(sample(np.array([2, 3], np.int32), ()),),
)


def _all_axes(x: Tensor) -> Any:
    rank = x.shape.ndims
    if rank is not None:
        return np.arange(rank, dtype=np.int32)
    return build("Range", [0, build("Rank", [x]), 1], {"Tidx": dtypes.int32})


def _one_hot_shape(op: Any) -> list[Any]:
    sizes, depth = op.inputs[0].shape.sizes, constant_value(op.inputs[1])
    if sizes is None:
        return [None]
    axis = op._attrs["axis"]
    at = len(sizes) if axis == -1 else axis
    return [(*sizes[:at], None if depth is None else int(depth), *sizes[at:])]


def _one_hot(xp: Any, indices: Any, depth: Any, on: Any, off: Any, axis: int = -1, **_: Any) -> Any:
    at = indices.ndim if axis == -1 else axis
    steps = xp.arange(int(depth)).reshape((-1,) + (1,) * (indices.ndim - at))
    return xp.where(xp.expand_dims(indices, at) == steps, on, off).astype(on.dtype)


define(
    "OneHot",
    "indices:any depth:int32 on_value:T off_value:T",
    shape=_one_hot_shape,
    compute=_one_hot,
    dtype=lambda op: [op.inputs[2].dtype],
    grad=NOT_DIFFERENTIABLE,
    samples=(
        sample(np.array([0, 2]), np.int32(3), np.float64(1), np.float64(0), axis=-1, wrt=()),
        sample(np.array([[0, 9]]), np.int32(3), np.float64(1), np.float64(0), axis=1, wrt=()),
    ),
)


def _range_shape(op: Any) -> list[Any]:
    parts = [constant_value(t) for t in op.inputs]
    if any(p is None for p in parts):
        return [[None]]
    start, limit, delta = (p.item() for p in parts if p is not None)
    return [[max(0, math.ceil((limit - start) / delta))]]


define(
    "Range",
    "start:T limit:T delta:T",
    shape=_range_shape,
    compute=lambda xp, a, b, d, **_: xp.arange(a.item(), b.item(), d.item(), dtype=a.dtype),
    grad=NOT_DIFFERENTIABLE,
    types=dtypes.REALS,
    samples=(sample(np.int32(0), np.int32(7), np.int32(2)),),
)

define(
    "LinSpace",
    "start:T stop:T num:index",
    shape=lambda op: [[None if (n := constant_value(op.inputs[2])) is None else int(n)]],
    compute=lambda xp, a, b, n: xp.linspace(a, b, int(n), dtype=a.dtype),
    grad=NOT_DIFFERENTIABLE,
    types=dtypes.FLOATS,
    samples=(sample(np.float64(0), np.float64(1), np.int32(5), wrt=()),),
)

# Python functions


def placeholder(dtype: Any, shape: Any = None, name: str | None = None) -> Tensor:
    """A tensor whose value is given by `feed_dict`; sizes that are None may be any."""
    attrs = {"dtype": as_dtype(dtype), "shape": as_shape(shape)}
    return build("Placeholder", [], attrs, name)


def placeholder_with_default(input: Any, shape: Any, name: str | None = None) -> Tensor:
    """A tensor that is `input` unless fed."""
    return build("PlaceholderWithDefault", [input], {"shape": as_shape(shape)}, name)


def identity(input: Any, name: str | None = None) -> Tensor:
    """A tensor of the same value, computed when its operation runs."""
    if hasattr(input, "_as_reference"):
        # Of a variable itself, not of an earlier read: sees assignments it has to wait for.
        input = input._as_reference()
    return build("Identity", [input], name=name)


def stop_gradient(input: Any, name: str | None = None) -> Tensor:
    """`input`, through which no gradient flows."""
    return build("StopGradient", [input], name=name)


def one_hot(
    indices: Any,
    depth: Any,
    on_value: Any = None,
    off_value: Any = None,
    axis: int | None = None,
    dtype: Any = None,
    name: str | None = None,
) -> Tensor:
    """A new axis of size `depth` that holds `on_value` (1) at the index, else `off_value` (0)."""
    with name_scope(name, "one_hot", [indices, depth, on_value, off_value]) as scope:
        given = dtype
        if given is None and isinstance(on_value, Tensor):
            given = on_value.dtype
        on = (
            convert_to_tensor(1 if on_value is None else on_value, given, name="on_value")
            if (given is not None or on_value is not None)
            else convert_to_tensor(1.0, name="on_value")
        )
        off = convert_to_tensor(0 if off_value is None else off_value, on.dtype, name="off_value")
        attrs = {"axis": -1 if axis is None else axis}
        return build("OneHot", [indices, depth, on, off], attrs, scope)


def fill(dims: Any, value: Any, name: str | None = None) -> Tensor:
    """A tensor of sizes `dims` that holds `value` everywhere."""
    return build("Fill", [dims, value], name=name)


def range(
    *args: Any, delta: Any = 1, dtype: Any = None, name: str = "range", **named: Any
) -> Tensor:
    """range(limit) or range(start, limit, delta=1): numbers from start up to, not with, limit."""
    if "limit" in named:
        args = (named.pop("start", args[0] if args else 0), named.pop("limit"), *args[1:])
    elif "start" in named:
        args = (0, named.pop("start"))
    if named or not 1 <= len(args) <= 3:
        raise TypeError(f"range expects 1 to 3 positional arguments, got {args} and {named}")
    start, limit, step = (0, args[0], delta) if len(args) == 1 else (*args, delta)[:3]
    with name_scope(name, "Range", [start, limit, step]) as scope:
        parts = [
            convert_to_tensor(v, dtype, name=n)
            for v, n in ((start, "start"), (limit, "limit"), (step, "delta"))
        ]
        order = (dtypes.int32, dtypes.int64, dtypes.float32, dtypes.float64)
        wanted = max((p.dtype for p in parts), key=order.index)
        parts = [
            p if p.dtype == wanted else build("Cast", [p], {"SrcT": p.dtype, "DstT": wanted})
            for p in parts
        ]
        return build("Range", parts, {"Tidx": wanted}, scope)


def linspace(start: Any, stop: Any, num: Any, name: str | None = None) -> Tensor:
    """`num` evenly spaced values from `start` to `stop`, both included."""
    return build("LinSpace", [start, stop, num], name=name)


lin_space = linspace


def zeros(shape: Any, dtype: Any = dtypes.float32, name: str | None = None) -> Tensor:
    """A tensor of zeros (empty strings, False)."""
    return _filled("zeros", shape, as_dtype(dtype), name)


def ones(shape: Any, dtype: Any = dtypes.float32, name: str | None = None) -> Tensor:
    """A tensor of ones (True)."""
    return _filled("ones", shape, as_dtype(dtype), name)


_SMALL = 1000


def _filled(kind: str, shape: Any, dtype: Any, name: Any) -> Tensor:
    value: Any = int(kind == "ones")
    if dtype == dtypes.string:
        value = ""
    elif dtype.is_bool:
        value = bool(value)
    with name_scope(name, kind, [shape] if isinstance(shape, Tensor) else []) as scope:
        if not isinstance(shape, Tensor):
            try:
                sizes = TensorShape(shape)
            except TypeError:
                sizes = None
            count = None if sizes is None else sizes.num_elements()
            if sizes is not None and count is not None and count < _SMALL:
                return constant(value, dtype, shape=sizes, name=scope)
            shape = convert_to_tensor(shape, dtypes.int32, name="shape_as_tensor")
        return build("Fill", [shape, constant(value, dtype)], name=scope)


def zeros_like(tensor: Any, dtype: Any = None, name: str | None = None) -> Tensor:
    """Zeros in the shape (and type, unless given) of `tensor`."""
    return _like("ZerosLike", "zeros", tensor, dtype, name)


def ones_like(tensor: Any, dtype: Any = None, name: str | None = None) -> Tensor:
    """Ones in the shape (and type, unless given) of `tensor`."""
    return _like("OnesLike", "ones", tensor, dtype, name)


def _like(op_type: str, kind: str, tensor: Any, dtype: Any, name: Any) -> Tensor:
    with name_scope(name, f"{kind}_like", [tensor]) as scope:
        x = convert_to_tensor(tensor, name="tensor")
        wanted = x.dtype if dtype is None else as_dtype(dtype)
        if x.shape.is_fully_defined():
            return _filled(kind, x.shape, wanted, scope)
        if wanted == x.dtype:
            return build(op_type, [x], name=scope)
        return _filled(kind, build("Shape", [x], {"out_type": dtypes.int32}), wanted, scope)
