# SPDX-License-Identifier: Apache-2.0
"""Gathering slices by index and summing them back."""

from __future__ import annotations

from typing import Any

import numpy as np

from host_engine.errors import invalid
from host_engine.framework import dtypes
from host_engine.framework import shape_rules as rules
from host_engine.framework.build import build, name_scope
from host_engine.framework.constant import constant_value
from host_engine.framework.registry import define, sample
from host_engine.framework.tensor import Tensor
from host_engine.ops.broadcast import shape_of


def _gather_shape(op: Any) -> list[Any]:
    params, indices, axis = op.inputs
    at = constant_value(axis)
    if params.shape.sizes is None or indices.shape.sizes is None or at is None:
        return [None]
    k = rules.normal_axis(int(at), len(params.shape.sizes))
    sizes = params.shape.sizes
    return [sizes[:k] + indices.shape.sizes + sizes[k + 1 :]]


def _gather(xp: Any, params: Any, indices: Any, axis: Any, **_: Any) -> Any:
    size = params.shape[int(axis)]
    outside = (indices < 0) | (indices >= size)
    if outside.any():
        at = np.argwhere(np.atleast_1d(outside))[0]
        bad = np.atleast_1d(indices)[tuple(at)]
        place = ",".join(map(str, at)) if np.ndim(indices) else ""
        raise invalid(f"indices[{place}] = {bad} is not in [0, {size})")
    return xp.take(params, indices, int(axis))


def _gather_grad(op: Any, dy: Tensor) -> list[Any]:
    params, indices, axis = op.inputs
    at, rank = constant_value(axis), params.shape.ndims
    count = indices.shape.ndims
    if at is None or rank is None or count is None:
        raise ValueError(f"the gradient of '{op.name}' needs known ranks and a constant axis")
    k = int(at) % rank
    # Index axes first, then the rest of params; the sum over equal indices restores axis k.
    order = [*range(k, k + count), *range(k), *range(k + count, rank - 1 + count)]
    moved = dy if order == sorted(order) else build("Transpose", [dy, np.array(order, np.int32)])
    rows = build("GatherV2", [shape_of(params), k, 0])
    summed = build("UnsortedSegmentSum", [moved, indices, rows])
    if k == 0:
        return [summed, None, None]
    back = [*range(1, k + 1), 0, *range(k + 1, rank)]
    return [build("Transpose", [summed, np.array(back, np.int32)]), None, None]


define(
    "GatherV2",
    "params:any indices:index axis:index",
    shape=_gather_shape,
    compute=_gather,
    grad=_gather_grad,
    samples=(
        sample((4, 3), np.array([[0, 2], [2, 3]]), np.int32(0)),
        sample((2, 4, 3), np.array([1, 1, 3]), np.int32(1)),
        sample((5,), np.int32(2), np.int32(0)),
    ),
)


def _segment_shape(op: Any) -> list[Any]:
    data, ids, count = op.inputs
    rows = constant_value(count)
    if data.shape.sizes is None or ids.shape.ndims is None:
        return [None]
    return [[None if rows is None else int(rows), *data.shape.sizes[ids.shape.ndims :]]]


def _segment_sum(xp: Any, data: Any, ids: Any, count: Any, **_: Any) -> Any:
    if np.any(ids >= count):
        raise invalid(f"segment_ids must be < {int(count)}, got {int(np.max(ids))}")
    out = xp.zeros((int(count), *data.shape[np.ndim(ids) :]), data.dtype)
    flat = np.ravel(ids)
    rows = data.reshape(flat.size, *out.shape[1:])
    used = flat >= 0
    xp.add.at(out, flat[used], rows[used])
    return out


define(
    "UnsortedSegmentSum",
    "data:T segment_ids:index num_segments:index",
    shape=_segment_shape,
    compute=_segment_sum,
    grad=lambda op, dy: [build("GatherV2", [dy, op.inputs[1], 0]), None, None],
    types=dtypes.NUMBERS,
    samples=(sample((4, 2), np.array([0, 2, 0, 1]), np.int32(3)),),
)

# Python functions


def gather(
    params: Any, indices: Any, validate_indices: Any = None, name: Any = None, axis: Any = 0
) -> Tensor:
    """The slices of `params` along `axis` at `indices`.

    An index outside raises InvalidArgumentError when run.
    """
    return build("GatherV2", [params, indices, axis], name=name)


def embedding_lookup(
    params: Any, ids: Any, partition_strategy: str = "mod", name: str | None = None
) -> Tensor:
    """Rows of one table `params` [rows, ...] (a list of one table is accepted)."""
    tables = params if isinstance(params, (list, tuple)) else [params]
    if len(tables) != 1:
        raise ValueError(f"embedding_lookup takes one table here, got {len(tables)} partitions")
    with name_scope(name, "embedding_lookup", [tables[0], ids]) as scope:
        return gather(tables[0], ids, name=scope)


def unsorted_segment_sum(data: Any, segment_ids: Any, num_segments: Any, name: Any = None) -> Any:
    """Row s of the result is the sum of the rows of `data` whose id is s."""
    return build("UnsortedSegmentSum", [data, segment_ids, num_segments], name=name)
