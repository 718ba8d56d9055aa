# SPDX-License-Identifier: Apache-2.0
"""Records, for inference, of ops that read, write and arrange elements by their places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from host_engine.framework import dtypes
from host_engine.framework import shape_rules as rules
from host_engine.framework.constant import constant_value
from host_engine.framework.registry import define, sample
from host_engine.framework.tensor import Operation

# -- indices ------------------------------------------------------------------------------------


def _gather_nd(xp: Any, x: Any, at: Any, batch_dims: int = 0, **_: Any) -> Any:
    depth = at.shape[-1]
    own = at.shape[:-1]
    grid = np.indices(own)[:batch_dims] if batch_dims else ()
    return x[(*grid, *(at[..., i] for i in range(depth)))]


def _gather_nd_shape(op: Operation) -> list[Any]:
    x, at = (t.shape for t in op.inputs)
    if x.sizes is None or at.sizes is None or at.as_list()[-1] is None:
        return [None]
    batch = int(op._attrs.get("batch_dims", 0))
    depth = int(at.as_list()[-1] or 0)
    return [[*at.as_list()[:-1], *x.as_list()[batch + depth :]]]


_AT = np.array([[0, 1], [2, 0]], np.int32)
define(
    "GatherNd",
    "params:any indices:index",
    shape=_gather_nd_shape,
    compute=_gather_nd,
    samples=(sample((3, 2, 2), _AT), sample((3, 2), np.array([[1], [0]], np.int32))),
)


def _written(function: Any) -> Callable[..., Any]:
    def compute(xp: Any, x: Any, at: Any, updates: Any, **_: Any) -> Any:
        found = np.array(x)
        places = tuple(np.moveaxis(at, -1, 0))
        if function is None:
            found[places] = updates
        else:
            function.at(found, places, updates)
        return found

    return compute


for _name, _function in (
    ("Update", None),
    ("Add", np.add),
    ("Sub", np.subtract),
    ("Max", np.maximum),
    ("Min", np.minimum),
):
    define(
        f"TensorScatter{_name}",
        "tensor:any indices:index updates:any",
        shape=rules.same,
        compute=_written(_function),
        samples=(sample((3, 2, 2), _AT, (2, 2)),),
    )


def _sizes_from(position: int) -> Callable[[Operation], list[Any]]:
    """The shape is the value of an input."""

    def shape(op: Operation) -> list[Any]:
        sizes = constant_value(op.inputs[position])
        return [None if sizes is None else [int(s) for s in np.asarray(sizes).reshape(-1)]]

    return shape


def _scatter_nd(xp: Any, at: Any, updates: Any, sizes: Any, **_: Any) -> Any:
    found = np.zeros([int(s) for s in sizes], updates.dtype)
    np.add.at(found, tuple(np.moveaxis(at, -1, 0)), updates)
    return found


define(
    "ScatterNd",
    "indices:index updates:any shape:index",
    shape=_sizes_from(2),
    compute=_scatter_nd,
    dtype=lambda op: [op.inputs[1].dtype],
    samples=(sample(_AT, (2, 3), np.array([3, 2, 3], np.int32)),),
)


# -- segments -----------------------------------------------------------------------------------

_WAYS: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "Sum": (np.add, lambda kind: 0),
    "Prod": (np.multiply, lambda kind: 1),
    "Max": (np.maximum, lambda kind: _end(kind, False)),
    "Min": (np.minimum, lambda kind: _end(kind, True)),
}


def _end(kind: Any, largest: bool) -> Any:
    limits = np.finfo(kind) if kind.kind == "f" else np.iinfo(kind)
    return limits.max if largest else limits.min


def _unsorted(way: str) -> Callable[..., Any]:
    function, start = _WAYS[way]

    def compute(xp: Any, x: Any, ids: Any, count: Any, **_: Any) -> Any:
        found = np.full((int(count), *x.shape[ids.ndim :]), start(x.dtype), x.dtype)
        held = ids >= 0
        function.at(found, ids[held], x[held])
        return found

    return compute


def _segments(way: str) -> Callable[..., Any]:
    """Segments without elements are 0 (1 for products)."""
    function, start = _WAYS["Sum" if way == "Mean" else way]

    def compute(xp: Any, x: Any, ids: Any, **_: Any) -> Any:
        count = int(ids[-1]) + 1 if len(ids) else 0
        found = np.full((count, *x.shape[1:]), start(x.dtype), x.dtype)
        function.at(found, ids, x)
        held = np.bincount(ids, minlength=count).reshape(-1, *[1] * (x.ndim - 1))
        if way == "Mean":
            return (found / np.maximum(held, 1)).astype(x.dtype)
        return np.where(held > 0, found, 1 if way == "Prod" else 0).astype(x.dtype)

    return compute


def _segments_shape(op: Operation) -> list[Any]:
    ids, x = constant_value(op.inputs[1]), op.inputs[0].shape
    if x.sizes is None:
        return [None]
    return [[None if ids is None else int(np.asarray(ids)[-1]) + 1, *x.as_list()[1:]]]


def _unsorted_shape(op: Operation) -> list[Any]:
    x, ids, count = op.inputs[0].shape, op.inputs[1].shape, constant_value(op.inputs[2])
    if x.sizes is None or ids.ndims is None:
        return [None]
    return [[None if count is None else int(count), *x.as_list()[ids.ndims :]]]


_IDS = np.array([0, 0, 2, 2], np.int32)
for _way in ("Max", "Min", "Prod"):
    define(
        f"UnsortedSegment{_way}",
        "data:any segment_ids:index num_segments:int32",
        shape=_unsorted_shape,
        compute=_unsorted(_way),
        samples=(sample((4, 3), np.array([1, 0, 1, 2], np.int32), np.int32(3)),),
    )
for _way in (*_WAYS, "Mean"):
    define(
        f"Segment{_way}",
        "data:any segment_ids:index",
        shape=_segments_shape,
        compute=_segments(_way),
        samples=(sample((4, 3), _IDS),),
    )


# -- diagonals ----------------------------------------------------------------------------------


def _band(xp: Any, x: Any, low: Any, high: Any, **_: Any) -> Any:
    rows, columns = np.indices(x.shape[-2:])
    kept = (low < 0) | (rows - columns <= low)
    return np.where(kept & ((high < 0) | (columns - rows <= high)), x, np.zeros((), x.dtype))


define(
    "MatrixBandPart",
    "input:any num_lower:index num_upper:index",
    shape=rules.same,
    compute=_band,
    samples=(sample((2, 3, 4), np.int32(1), np.int32(-1)),),
)


def _diagonal(xp: Any, x: Any, *_: Any, **__: Any) -> Any:
    return x[..., None] * np.eye(x.shape[-1], dtype=x.dtype)


def _diagonal_shape(op: Operation) -> list[Any]:
    shape = op.inputs[0].shape
    return [None if shape.sizes is None else [*shape.as_list(), shape.as_list()[-1]]]


def _with_diagonal(xp: Any, x: Any, diagonal: Any, *_: Any, **__: Any) -> Any:
    found = np.array(x)
    places = np.arange(diagonal.shape[-1])
    found[..., places, places] = diagonal
    return found


define(
    "MatrixDiag",
    "diagonal:any",
    shape=_diagonal_shape,
    compute=_diagonal,
    samples=(sample((2, 3)),),
)
define(
    "MatrixSetDiag",
    "input:any diagonal:any",
    shape=rules.same,
    compute=_with_diagonal,
    samples=(sample((2, 3, 4), (2, 3)),),
)


# -- blocks, rolling, bins ----------------------------------------------------------------------


def _blocks(x: Any, block: int) -> Any:
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // block, block, width // block, block, channels)


def _space_to_depth(xp: Any, x: Any, block_size: int = 2, **_: Any) -> Any:
    found = _blocks(x, block_size).transpose(0, 1, 3, 2, 4, 5)
    return found.reshape(*found.shape[:3], -1)


def _depth_to_space(xp: Any, x: Any, block_size: int = 2, **_: Any) -> Any:
    batch, height, width, channels = x.shape
    parts = x.reshape(batch, height, width, block_size, block_size, channels // block_size**2)
    found = parts.transpose(0, 1, 3, 2, 4, 5)
    return found.reshape(batch, height * block_size, width * block_size, -1)


def _block_shape(grows: bool) -> Callable[[Operation], list[Any]]:
    def shape(op: Operation) -> list[Any]:
        block, sizes = int(op._attrs["block_size"]), op.inputs[0].shape
        if sizes.sizes is None:
            return [None]
        batch, *space, channels = sizes.as_list()
        area = block * block
        if grows:
            space = [None if s is None else s * block for s in space]
            return [[batch, *space, None if channels is None else channels // area]]
        space = [None if s is None else s // block for s in space]
        return [[batch, *space, None if channels is None else channels * area]]

    return shape


define(
    "SpaceToDepth",
    "input:any",
    shape=_block_shape(False),
    compute=_space_to_depth,
    samples=(sample((1, 4, 6, 3), block_size=2),),
)
define(
    "DepthToSpace",
    "input:any",
    shape=_block_shape(True),
    compute=_depth_to_space,
    samples=(sample((1, 2, 3, 8), block_size=2),),
)
define(
    "Roll",
    "input:any shift:index axis:index",
    shape=rules.same,
    compute=lambda xp, x, shift, axis, **_: np.roll(
        x, tuple(np.atleast_1d(shift)), tuple(np.atleast_1d(axis))
    ),
    samples=(sample((3, 4), np.array([1, -2], np.int32), np.array([0, 1], np.int32)),),
)
define(
    "Bucketize",
    "input:any",
    shape=rules.same,
    compute=lambda xp, x, boundaries, **_: np.searchsorted(
        np.array(boundaries, np.float32), x, "right"
    ).astype(np.int32),
    dtype=dtypes.int32,
    samples=(sample((2, 3), boundaries=[-0.5, 0.0, 0.7]),),
)


# -- boxes --------------------------------------------------------------------------------------


def _places(low: Any, high: Any, size: int, count: int) -> Any:
    """Where along an axis the outputs lie, rounded as TensorFlow does, which decides at edges."""
    last = np.float32(size - 1)
    if count == 1:
        return np.array([np.float32(0.5) * (low + high) * last])
    step = (high - low) * last / np.float32(count - 1)
    return low * last + np.arange(count, dtype=np.float32) * step


def _crop_and_resize(
    xp: Any,
    x: Any,
    boxes: Any,
    numbers: Any,
    sizes: Any,
    method: str = "bilinear",
    extrapolation_value: float = 0.0,
    **_: Any,
) -> Any:
    height, width = x.shape[1:3]
    rows, columns = (int(s) for s in sizes)
    found = np.full((len(boxes), rows, columns, x.shape[3]), extrapolation_value, np.float32)
    for out, box, number in zip(found, boxes, numbers, strict=True):
        lines = []
        for low, high, size, count in (
            (box[0], box[2], height, rows),
            (box[1], box[3], width, columns),
        ):
            line = _places(np.float32(low), np.float32(high), size, count)
            lines.append((line, (line >= 0) & (line <= size - 1)))
        (y, y_in), (x_at, x_in) = lines
        if method == "nearest":
            picked = [np.rint(y[y_in]).astype(int), np.rint(x_at[x_in]).astype(int)]
            out[np.ix_(y_in, x_in)] = x[number][np.ix_(*picked)]
            continue
        y, x_at = y[y_in], x_at[x_in]
        down, right = (y - np.floor(y))[:, None, None], (x_at - np.floor(x_at))[None, :, None]
        ends = []
        for row in (np.floor(y), np.ceil(y)):
            left, other = (
                x[number][np.ix_(row.astype(int), column.astype(int))]
                for column in (np.floor(x_at), np.ceil(x_at))
            )
            ends.append(left + (other - left) * right)
        out[np.ix_(y_in, x_in)] = ends[0] + (ends[1] - ends[0]) * down
    return found


def _crop_shape(op: Operation) -> list[Any]:
    x, boxes, sizes = op.inputs[0].shape, op.inputs[1].shape, constant_value(op.inputs[3])
    space = [None, None] if sizes is None else [int(s) for s in np.asarray(sizes)]
    count = boxes.as_list()[0] if boxes.ndims else None
    return [[count, *space, x.as_list()[3] if x.ndims == 4 else None]]


define(
    "CropAndResize",
    "image:any boxes:any box_ind:int32 crop_size:int32",
    shape=_crop_shape,
    compute=_crop_and_resize,
    dtype=dtypes.float32,
    samples=(
        sample(
            (2, 5, 6, 3),
            np.array([[0.1, 0.2, 0.8, 0.9], [0.0, -0.3, 1.0, 1.0]], np.float32),
            np.array([0, 1], np.int32),
            np.array([3, 4], np.int32),
        ),
    ),
)
