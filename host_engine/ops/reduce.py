# SPDX-License-Identifier: Apache-2.0
"""Reductions, argmax and cumulative products and sums."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from host_engine.errors import invalid
from host_engine.framework import dtypes
from host_engine.framework import shape_rules as rules
from host_engine.framework.build import build, constant, convert_to_tensor, name_scope
from host_engine.framework.constant import constant_value
from host_engine.framework.dtypes import as_dtype
from host_engine.framework.registry import NOT_DIFFERENTIABLE, define, sample
from host_engine.framework.tensor import Tensor
from host_engine.ops.broadcast import broadcast_to, shape_of

_SAMPLES = tuple(
    sample((2, 3, 4), np.array(axes, np.int32), keep_dims=keep)
    for axes, keep in (([1], False), ([0, 2], True), ([-1], False), ([], False))
)


def _shape(op: Any) -> list[Any]:
    shape, keep = op.inputs[0].shape, op._attrs["keep_dims"]
    if shape.sizes is None:
        return [None]
    axes = rules.axes_of(op.inputs[1], len(shape.sizes))
    if axes is None:
        return [[None] * len(shape.sizes) if keep else None]
    if keep:
        return [[1 if i in axes else s for i, s in enumerate(shape.sizes)]]
    return [[s for i, s in enumerate(shape.sizes) if i not in axes]]


def _axes(x: Any, axes: Any) -> tuple[int, ...]:
    found = tuple(int(a) for a in np.atleast_1d(axes))
    for axis in found:
        if not -x.ndim <= axis < max(x.ndim, 1):
            raise invalid(
                f"Invalid reduction dimension ({axis} for input with {x.ndim} dimension(s)"
            )
    return tuple({a % x.ndim for a in found}) if x.ndim else ()


def _reduction(name: str, f: Callable[..., Any], grad: Any, kind: str, types: Any) -> None:
    def compute(xp: Any, x: Any, axes: Any, keep_dims: bool = False, **_: Any) -> Any:
        along = _axes(x, axes)
        return f(xp, x, along, keep_dims) if along else x

    boolean = np.array([[True, False], [True, True]])
    define(
        name,
        f"input:{kind} reduction_indices:index",
        shape=_shape,
        compute=compute,
        grad=grad,
        types=types,
        samples=(sample(boolean, np.array([0], np.int32), keep_dims=False),)
        if kind == "bool"
        else _SAMPLES,
    )


def _restored(op: Any, value: Tensor) -> Tensor:
    """`value`, shaped like the reduction's output, with the reduced axes put back as size 1."""
    if op._attrs["keep_dims"]:
        return value
    x = op.inputs[0]
    axes = None if x.shape.sizes is None else rules.axes_of(op.inputs[1], len(x.shape.sizes))
    if axes is None:
        return build("Reshape", [value, build("ReducedShape", [shape_of(x), op.inputs[1]])])
    sizes = x.shape.sizes or ()
    kept = [1 if i in axes else s for i, s in enumerate(sizes)]
    if kept.count(None) <= 1:
        return build("Reshape", [value, np.array([-1 if s is None else s for s in kept], np.int32)])
    for axis in axes:
        value = build("ExpandDims", [value, axis])
    return value


def _reduced_shape(xp: Any, shape: Any, axes: Any) -> Any:
    kept = np.array(shape, copy=True)
    if kept.size:
        kept[np.asarray(axes, dtype=np.int64)] = 1
    return kept


define(
    "ReducedShape",
    "shape:index axes:index",
    shape=rules.same,
    compute=_reduced_shape,
    grad=NOT_DIFFERENTIABLE,
    samples=(sample(np.array([2, 3], np.int32), np.array([1], np.int32)),),
)


def _sum_grad(op: Any, dy: Tensor) -> list[Any]:
    return [broadcast_to(_restored(op, dy), shape_of(op.inputs[0])), None]


def _count(op: Any) -> Any:
    """How many elements go into one of the mean."""
    x, y = op.inputs[0], op.outputs[0]
    total, results = x.shape.num_elements(), y.shape.num_elements()
    if total is not None and results is not None:
        return total // max(results, 1)
    axes = None if x.shape.sizes is None else rules.axes_of(op.inputs[1], len(x.shape.sizes))
    reduced = None if axes is None else [x.shape.sizes[a] for a in axes]
    if reduced is not None and None not in reduced:
        return int(np.prod(reduced))
    sizes = [build("Size", [t], {"out_type": dtypes.int32}) for t in (x, y)]
    count = build("FloorDiv", [sizes[0], build("Maximum", [sizes[1], 1])])
    return build("Cast", [count], {"SrcT": dtypes.int32, "DstT": x.dtype})


def _mean_grad(op: Any, dy: Tensor) -> list[Any]:
    # Divided before it is repeated: fewer elements.
    return [broadcast_to(_restored(op, dy / _count(op)), shape_of(op.inputs[0])), None]


def _extreme_grad(op: Any, dy: Tensor) -> list[Any]:
    x = op.inputs[0]
    chosen = build("Equal", [x, _restored(op, op.outputs[0])])
    mask = build("Cast", [chosen], {"SrcT": dtypes.bool_, "DstT": x.dtype})
    count = build("Sum", [mask, op.inputs[1]], {"keep_dims": True})
    return [mask / count * _restored(op, dy), None]


def _prod_grad(op: Any, dy: Tensor) -> list[Any]:
    # Products of all the others, by exclusive cumulative products from both ends (exact at 0).
    x = op.inputs[0]
    rank = x.shape.ndims
    axes = None if rank is None else rules.axes_of(op.inputs[1], rank)
    if axes is None or rank is None:
        raise ValueError(f"the gradient of '{op.name}' needs a known rank and constant axes")
    order = axes + [i for i in range(rank) if i not in axes]
    moved = build("Transpose", [x, np.array(order, np.int32)])
    reduced = [x.shape.as_list()[a] for a in axes]
    lead = np.array([-1 if None in reduced else np.prod(reduced)], np.int32)
    rest = build("Slice", [shape_of(moved), [len(axes)], [rank - len(axes)]])
    flat = build("Reshape", [moved, build("ConcatV2", [[lead, rest], 0])])
    before = build("Cumprod", [flat, 0], {"exclusive": True, "reverse": False})
    after = build("Cumprod", [flat, 0], {"exclusive": True, "reverse": True})
    others = build("Reshape", [before * after, shape_of(moved)])
    back = build("Transpose", [others, np.argsort(order).astype(np.int32)])
    return [_restored(op, dy) * back, None]


_reduction(
    "Sum",
    lambda xp, x, axes, keep: xp.sum(x, axis=axes, keepdims=keep, dtype=x.dtype),
    _sum_grad,
    "T",
    dtypes.NUMBERS,
)


def _mean(xp: Any, x: Any, axes: tuple[int, ...], keep: bool) -> Any:
    if x.dtype.kind in "iu":
        total = xp.sum(x, axis=axes, keepdims=keep, dtype=x.dtype)
        # C++ division: towards zero.
        count = x.dtype.type(np.prod([x.shape[a] for a in axes]))
        return xp.sign(total) * (xp.abs(total) // count)
    return xp.mean(x, axis=axes, keepdims=keep, dtype=x.dtype)


def _prod(xp: Any, x: Any, axes: tuple[int, ...], keep: bool) -> Any:
    return xp.prod(x, axis=axes, keepdims=keep, dtype=x.dtype)


_reduction("Mean", _mean, _mean_grad, "T", dtypes.NUMBERS)
_reduction("Prod", _prod, _prod_grad, "T", dtypes.NUMBERS)
_reduction(
    "Max",
    lambda xp, x, axes, keep: xp.max(x, axis=axes, keepdims=keep),
    _extreme_grad,
    "T",
    dtypes.REALS,
)
_reduction(
    "Min",
    lambda xp, x, axes, keep: xp.min(x, axis=axes, keepdims=keep),
    _extreme_grad,
    "T",
    dtypes.REALS,
)
_reduction(
    "Any",
    lambda xp, x, axes, keep: xp.any(x, axis=axes, keepdims=keep),
    NOT_DIFFERENTIABLE,
    "bool",
    None,
)
_reduction(
    "All",
    lambda xp, x, axes, keep: xp.all(x, axis=axes, keepdims=keep),
    NOT_DIFFERENTIABLE,
    "bool",
    None,
)


def _arg_shape(op: Any) -> list[Any]:
    sizes = op.inputs[0].shape.sizes
    axis = constant_value(op.inputs[1])
    if sizes is None:
        return [None]
    if axis is None:
        return [[None] * (len(sizes) - 1)]
    at = rules.normal_axis(int(axis), len(sizes))
    return [[s for i, s in enumerate(sizes) if i != at]]


def _arg(name: str, f: Callable[..., Any]) -> None:
    def compute(xp: Any, x: Any, axis: Any, output_type: Any = dtypes.int64, **_: Any) -> Any:
        return f(xp)(x, axis=int(axis)).astype(output_type.as_numpy_dtype)

    define(
        name,
        "input:any dimension:index",
        shape=_arg_shape,
        compute=compute,
        dtype="output_type",
        grad=NOT_DIFFERENTIABLE,
        samples=(sample((2, 3), np.int32(1), output_type=dtypes.int64),),
    )


_arg("ArgMax", lambda xp: xp.argmax)
_arg("ArgMin", lambda xp: xp.argmin)


def _cumulative(f: Callable[..., Any], start: int) -> Callable[..., Any]:
    def compute(
        xp: Any, x: Any, axis: Any, exclusive: bool = False, reverse: bool = False, **_: Any
    ) -> Any:
        axis = int(axis)
        values = xp.flip(x, axis) if reverse else x
        out = f(xp)(values, axis=axis, dtype=x.dtype)
        if exclusive:
            moved = xp.moveaxis(xp.full_like(out, start), axis, 0)
            moved[1:] = xp.moveaxis(out, axis, 0)[:-1]
            out = xp.moveaxis(moved, 0, axis)
        return xp.flip(out, axis) if reverse else out

    return compute


def _cumsum_grad(op: Any, dy: Tensor) -> list[Any]:
    attrs = {"exclusive": op._attrs["exclusive"], "reverse": not op._attrs["reverse"]}
    return [build("Cumsum", [dy, op.inputs[1]], attrs), None]


def _cumprod_grad(op: Any, dy: Tensor) -> list[Any]:
    attrs = {"exclusive": op._attrs["exclusive"], "reverse": not op._attrs["reverse"]}
    return [build("Cumsum", [op.outputs[0] * dy, op.inputs[1]], attrs) / op.inputs[0], None]


for _name, _f, _start, _grad in (
    ("Cumsum", lambda xp: xp.cumsum, 0, _cumsum_grad),
    ("Cumprod", lambda xp: xp.cumprod, 1, _cumprod_grad),
):
    define(
        _name,
        "x:T axis:index",
        shape=rules.same,
        compute=_cumulative(_f, _start),
        grad=_grad,
        types=dtypes.NUMBERS,
        samples=tuple(
            sample((3, 4), np.int32(1), exclusive=e, reverse=r, domain=(0.5, 2.0))
            for e in (False, True)
            for r in (False, True)
        ),
    )


# Python functions


def _reduce(op_type: str, x: Any, axis: Any, keep: Any, name: Any, old: Any, old_keep: Any) -> Any:
    axis = old if axis is None else axis
    keep = bool(old_keep if keep is None else keep)
    x = convert_to_tensor(x)
    if axis is None:
        rank = x.shape.ndims
        axis = (
            constant(np.arange(rank, dtype=np.int32))
            if rank is not None
            else build("Range", [0, build("Rank", [x]), 1], {"Tidx": dtypes.int32})
        )
    return build(op_type, [x, axis], {"keep_dims": keep}, name)


def _reducer(op_type: str, what: str) -> Callable[..., Tensor]:
    def reduce(
        input_tensor: Any,
        axis: Any = None,
        keepdims: bool | None = None,
        name: str | None = None,
        reduction_indices: Any = None,
        keep_dims: bool | None = None,
    ) -> Tensor:
        return _reduce(op_type, input_tensor, axis, keepdims, name, reduction_indices, keep_dims)

    reduce.__doc__ = f"""{what} over `axis` (int, list or None for all axes).

    `keepdims` keeps the reduced axes with size 1; `reduction_indices` and `keep_dims` are the
    names these arguments had in older versions.
    """
    return reduce


reduce_sum = _reducer("Sum", "The sum")
reduce_mean = _reducer("Mean", "The mean")
reduce_prod = _reducer("Prod", "The product")
reduce_max = _reducer("Max", "The largest element")
reduce_min = _reducer("Min", "The smallest element")
reduce_any = _reducer("Any", "Logical or")
reduce_all = _reducer("All", "Logical and")


def reduce_logsumexp(
    input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None
) -> Tensor:
    """log(sum(exp(x))) over `axis`, computed without overflow."""
    with name_scope(name, "ReduceLogSumExp", [input_tensor]) as scope:
        top = build("StopGradient", [reduce_max(input_tensor, axis, True)])
        total = reduce_sum(build("Exp", [input_tensor - top]), axis, keepdims)
        if not keepdims:
            top = build("Reshape", [top, shape_of(total)])
        return build("Add", [build("Log", [total]), top], name=scope)


def _arg_function(op_type: str, x: Any, axis: Any, name: Any, dimension: Any, output: Any) -> Any:
    axis = dimension if axis is None else axis
    attrs = {"output_type": as_dtype(output)}
    return build(op_type, [x, 0 if axis is None else axis], attrs, name)


def argmax(
    input: Any,
    axis: Any = None,
    name: str | None = None,
    dimension: Any = None,
    output_type: Any = dtypes.int64,
) -> Tensor:
    """Index of the largest element along `axis` (default 0), the first at ties."""
    return _arg_function("ArgMax", input, axis, name, dimension, output_type)


def argmin(
    input: Any,
    axis: Any = None,
    name: str | None = None,
    dimension: Any = None,
    output_type: Any = dtypes.int64,
) -> Tensor:
    """Index of the smallest element along `axis` (default 0), the first at ties."""
    return _arg_function("ArgMin", input, axis, name, dimension, output_type)


def cumsum(
    x: Any, axis: int = 0, exclusive: bool = False, reverse: bool = False, name: Any = None
) -> Tensor:
    """Running sums along `axis`; `exclusive` leaves each element out of its own sum."""
    return build("Cumsum", [x, axis], {"exclusive": exclusive, "reverse": reverse}, name)


def cumprod(
    x: Any, axis: int = 0, exclusive: bool = False, reverse: bool = False, name: Any = None
) -> Tensor:
    """Running products along `axis`."""
    return build("Cumprod", [x, axis], {"exclusive": exclusive, "reverse": reverse}, name)
