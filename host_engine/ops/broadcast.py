# SPDX-License-Identifier: Apache-2.0
"""Broadcasting and its gradient: sums over the axes along which an operand was repeated."""

from __future__ import annotations

from typing import Any

import numpy as np

from host_engine.framework import shape_rules as rules
from host_engine.framework.build import build, build_op, constant
from host_engine.framework.constant import shape_value
from host_engine.framework.registry import NOT_DIFFERENTIABLE, define, sample
from host_engine.framework.shape import TensorShape
from host_engine.framework.tensor import Tensor


def shape_of(x: Tensor, name: str = "Shape") -> Tensor:
    """The shape of `x` as an int32 vector: a constant where it is known, else a Shape op."""
    if x.shape.is_fully_defined():
        return constant(np.array(x.shape.as_list(), dtype=np.int32), name=name)
    return build("Shape", [x], {"out_type": _int32()}, name)


def _int32() -> Any:
    from host_engine.framework import dtypes

    return dtypes.int32


def unbroadcast(grad: Tensor, x: Tensor, other: Tensor) -> Tensor:
    """`grad`, shaped like the broadcast of `x` and `other`, summed to the shape of `x`.

    The axes are found while building wherever static shapes tell them, else when running.
    """
    axes = _repeated_axes(x.shape, other.shape)
    if axes == []:
        return grad
    if axes is None:
        args = build_op("BroadcastGradientArgs", [shape_of(x), shape_of(other)])
        summed = build("Sum", [grad, args.outputs[0]], {"keep_dims": False})
        return build("Reshape", [summed, shape_of(x)])
    rank = x.shape.ndims or 0
    kept = len(axes) - max((other.shape.ndims or 0) - rank, 0)
    summed = build("Sum", [grad, np.array(axes, np.int32)], {"keep_dims": False})
    return build("Reshape", [summed, shape_of(x)]) if kept > 0 else summed


def _repeated_axes(shape: TensorShape, other: TensorShape) -> list[int] | None:
    """Axes of the broadcast along which an operand of `shape` repeats; None if not known."""
    if shape.sizes is None or other.sizes is None:
        return None
    rank = max(len(shape.sizes), len(other.sizes))
    missing = rank - len(shape.sizes)
    axes = list(range(missing))
    theirs = (1,) * (rank - len(other.sizes)) + other.sizes
    for axis, size in enumerate(shape.sizes, missing):
        their = theirs[axis]
        if size == 1 and their != 1:
            axes.append(axis)
        elif size is None and their != 1:
            return None
    return axes


def _gradient_args(xp: Any, s0: Any, s1: Any) -> tuple[Any, Any]:
    a, b = [int(v) for v in s0], [int(v) for v in s1]
    rank = max(len(a), len(b))
    a, b = [1] * (rank - len(a)) + a, [1] * (rank - len(b)) + b
    left = [i for i in range(rank) if a[i] == 1 and (b[i] != 1 or i < rank - len(s0))]
    right = [i for i in range(rank) if b[i] == 1 and (a[i] != 1 or i < rank - len(s1))]
    return np.array(left, np.int32), np.array(right, np.int32)


define(
    "BroadcastGradientArgs",
    "s0:index s1:index",
    shape=lambda op: [[None], [None]],
    compute=_gradient_args,
    grad=NOT_DIFFERENTIABLE,
    samples=(sample(np.array([2, 3], np.int32), np.array([3], np.int32)),),
)


def broadcast_to(x: Any, shape: Any, name: str | None = None) -> Tensor:
    """`x` repeated to `shape` by NumPy's broadcasting rules."""
    return build("BroadcastTo", [x, shape], name=name or "BroadcastTo")


def _broadcast_to_grad(op: Any, dy: Tensor) -> list[Any]:
    x = op.inputs[0]
    full = shape_value(op.inputs[1])
    axes = _repeated_axes(x.shape, full)
    if axes is not None and full.sizes is not None:
        summed = build("Sum", [dy, np.array(axes, np.int32)], {"keep_dims": False})
    else:
        args = build_op("BroadcastGradientArgs", [shape_of(x), op.inputs[1]])
        summed = build("Sum", [dy, args.outputs[0]], {"keep_dims": False})
    return [build("Reshape", [summed, shape_of(x)]), None]


define(
    "BroadcastTo",
    "input:any shape:index",
    shape=lambda op: [shape_value(op.inputs[1])],
    compute=lambda xp, x, shape: xp.broadcast_to(x, tuple(int(s) for s in shape)),
    grad=_broadcast_to_grad,
    samples=(
        sample((3, 1), np.array([2, 3, 4], np.int32)),
        sample((), np.array([2], np.int32)),
    ),
)

__all__ = ["broadcast_to", "rules", "shape_of", "unbroadcast"]
