# SPDX-License-Identifier: Apache-2.0
"""Shape rules shared by many op records. Each takes an operation and gives its output shapes."""

from __future__ import annotations

from typing import Any

from host_engine.framework.constant import constant_value
from host_engine.framework.shape import Dims, TensorShape


def same(op: Any) -> list[TensorShape]:
    """The first input's shape."""
    return [op.inputs[0].shape]


def second(op: Any) -> list[TensorShape]:
    """The second input's shape."""
    return [op.inputs[1].shape]


def scalar(op: Any) -> list[tuple[int, ...]]:
    return [()]


def none(op: Any) -> list[Any]:
    """No outputs."""
    return []


def unknown(op: Any) -> list[None]:
    return [None]


def merged(op: Any) -> list[TensorShape]:
    """All inputs have one shape."""
    shape = op.inputs[0].shape
    for tensor in op.inputs[1:]:
        try:
            shape = shape.merge_with(tensor.shape)
        except ValueError:
            raise ValueError("Shapes must be equal" + _rank_text(shape, tensor.shape)) from None
    return [shape]


def _rank_text(a: TensorShape, b: TensorShape) -> str:
    if a.ndims != b.ndims:
        return f" rank, but are {a.ndims} and {b.ndims}"
    pairs = zip(a.as_list(), b.as_list(), strict=True)
    index, (x, y) = next((i, p) for i, p in enumerate(pairs) if None not in p and p[0] != p[1])
    return f", but dimension {index} is {x} and {y}"


def broadcast(op: Any) -> list[TensorShape]:
    """NumPy broadcasting of all inputs."""
    shape = op.inputs[0].shape
    for tensor in op.inputs[1:]:
        shape = broadcast_shapes(shape, tensor.shape)
    return [shape]


def broadcast_shapes(a: TensorShape, b: TensorShape) -> TensorShape:
    """The broadcast of two static shapes; ValueError if they cannot be broadcast together."""
    if a.sizes is None or b.sizes is None:
        return TensorShape(None)
    rank = max(len(a.sizes), len(b.sizes))
    left, right = _extended(a.sizes, rank), _extended(b.sizes, rank)
    return TensorShape([_broadcast_size(x, y) for x, y in zip(left, right, strict=True)])


def _extended(sizes: Dims, rank: int) -> Dims:
    return (1,) * (rank - len(sizes)) + sizes


def _broadcast_size(x: int | None, y: int | None) -> int | None:
    if x == 1 or y == 1:
        return y if x == 1 else x
    if x is None or y is None:
        return y if x is None else x
    if x != y:
        raise ValueError(f"Dimensions must be equal, but are {x} and {y}")
    return x


def equal_size(x: int | None, y: int | None) -> int | None:
    """The one size two axes share; ValueError if they differ."""
    if x is not None and y is not None and x != y:
        raise ValueError(f"Dimensions must be equal, but are {x} and {y}")
    return y if x is None else x


def axes_of(tensor: Any, rank: int) -> list[int] | None:
    """Constant axes as sorted non-negative numbers, or None if they are not constant.

    Raises ValueError for an axis outside [-rank, rank).
    """
    value = constant_value(tensor)
    if value is None:
        return None
    return sorted({normal_axis(int(a), rank) for a in value.ravel()})


def normal_axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise ValueError(
            f"Invalid reduction dimension {axis}, for an input with {rank} dimensions."
        )
    return axis % rank if rank else 0
