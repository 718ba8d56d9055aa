# SPDX-License-Identifier: Apache-2.0
"""Choices, casts, clipping and sums of many tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from host_engine.framework import dtypes
from host_engine.framework import shape_rules as rules
from host_engine.framework.build import build, convert_to_tensor, name_scope
from host_engine.framework.dtypes import as_dtype
from host_engine.framework.registry import NOT_DIFFERENTIABLE, define, sample
from host_engine.framework.tensor import Tensor
from host_engine.ops.binary import maximum, minimum


def _add_n(xp: Any, *inputs: Any) -> Any:
    total = inputs[0] if len(inputs) == 1 else inputs[0] + inputs[1]
    for value in inputs[2:]:
        total += value
    return total


define(
    "AddN",
    "inputs:T*",
    shape=rules.merged,
    compute=_add_n,
    grad=lambda op, dy: [dy] * len(op.inputs),
    types=dtypes.NUMBERS,
    samples=(sample([(2, 3), (2, 3), (2, 3)]), sample([(2,)]), sample([(), ()])),
)


def _select(xp: Any, condition: Any, x: Any, y: Any) -> Any:
    if condition.ndim == 1 and x.ndim > 1:
        condition = condition.reshape((-1,) + (1,) * (x.ndim - 1))
    return xp.where(condition, x, y)


def _select_grad(op: Any, dy: Tensor) -> list[Any]:
    zero = build("ZerosLike", [dy])
    return [None, where(op.inputs[0], dy, zero), where(op.inputs[0], zero, dy)]


define(
    "Select",
    "condition:bool t:T e:T",
    shape=lambda op: [op.inputs[1].shape.merge_with(op.inputs[2].shape)],
    compute=_select,
    dtype=lambda op: [op.inputs[1].dtype],
    grad=_select_grad,
    samples=(
        sample(np.array([[True, False], [False, True]]), (2, 2), (2, 2)),
        sample(np.array([True, False]), (2, 3), (2, 3)),
    ),
)


def _cast_grad(op: Any, dy: Tensor) -> list[Any]:
    source = op.inputs[0].dtype
    differentiable = (source.is_floating or source.is_complex) and not dy.dtype.is_integer
    return [cast(dy, source) if differentiable else None]


define(
    "Cast",
    "x:any",
    shape=rules.same,
    compute=lambda xp, x, DstT, **_: xp.asarray(x).astype(DstT.as_numpy_dtype),
    dtype="DstT",
    grad=_cast_grad,
    samples=(
        sample((2, 3), SrcT=dtypes.float64, DstT=dtypes.float64),
        sample(np.array([1.7, -2.2]), SrcT=dtypes.float64, DstT=dtypes.int32, wrt=()),
    ),
)


define(
    "Where",
    "condition:bool",
    shape=lambda op: [(None, op.inputs[0].shape.ndims)],
    compute=lambda xp, condition: xp.argwhere(condition).astype(np.int64),
    dtype=dtypes.int64,
    grad=NOT_DIFFERENTIABLE,
    samples=(sample(np.array([[True, False], [True, True]])),),
)


def where(condition: Any, x: Any = None, y: Any = None, name: str | None = None) -> Tensor:
    """`x` where `condition` holds, else `y`; without them the indices [n, rank] of true cells.

    `condition` has the shape of `x`, or is a vector that chooses rows. ValueError if only one of
    `x` and `y` is given.
    """
    if x is None and y is None:
        return build("Where", [condition], name=name or "Where")
    if x is None or y is None:
        raise ValueError("x and y must both be non-None or both be None.")
    return build("Select", [condition, x, y], name=name or "Select")


select = where


def cast(x: Any, dtype: Any, name: str | None = None) -> Tensor:
    """`x` as another element type; floats become integers by truncation."""
    wanted = as_dtype(dtype)
    with name_scope(name, "Cast", [x]) as scope:
        x = convert_to_tensor(x, name="x")
        if x.dtype == wanted:
            return x
        return build("Cast", [x], {"SrcT": x.dtype, "DstT": wanted}, scope)


def to_float(x: Any, name: str = "ToFloat") -> Tensor:
    return cast(x, dtypes.float32, name)


def to_double(x: Any, name: str = "ToDouble") -> Tensor:
    return cast(x, dtypes.float64, name)


def to_int32(x: Any, name: str = "ToInt32") -> Tensor:
    return cast(x, dtypes.int32, name)


def to_int64(x: Any, name: str = "ToInt64") -> Tensor:
    return cast(x, dtypes.int64, name)


def add_n(inputs: Sequence[Any], name: str | None = None) -> Tensor:
    """The sum of a list of tensors of one shape and type; ValueError if it is empty."""
    if not isinstance(inputs, (list, tuple)) or not inputs:
        raise ValueError("inputs must be a list of at least one Tensor with the same dtype/shape")
    return build("AddN", [list(inputs)], name=name)


def clip_by_value(t: Any, clip_value_min: Any, clip_value_max: Any, name: Any = None) -> Tensor:
    """`t` limited to [min, max]; the gradient passes at the edges."""
    with name_scope(name, "clip_by_value", [t, clip_value_min, clip_value_max]) as scope:
        values = convert_to_tensor(t, name="t")
        return maximum(minimum(values, clip_value_max), clip_value_min, name=scope)
