# SPDX-License-Identifier: Apache-2.0
"""Reading and writing at indices: NumPy's take_along_axis, ONNX's GatherND and ScatterND."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic
from converter.importers.forms.basic import int32s, rank
from converter.importers.forms.elementwise import arithmetic, carried, compare, select
from converter.importers.no_form import NoForm


def from_front(b: Builder, indices: ir.Value, sizes: ir.Value) -> ir.Value:
    """Indices counted from the front, as INT32; negative ones count from `sizes` (broadcast)."""
    indices = basic.ints(b, indices)
    known = b.known(indices)
    if known is not None and (known >= 0).all():
        return indices
    if b.known(sizes) is None:  # nothing can be taken from an axis of size 0, but LiteRT divides
        sizes = basic.binary(b, "MAXIMUM", sizes, basic.scalar(b, 1, sizes))
    return basic.binary(b, "FLOOR_MOD", indices, sizes)


def gather(b: Builder, x: ir.Value, indices: ir.Value, axis: int) -> ir.Value:
    """numpy.take(x, indices, axis)"""
    axis = basic.axis_of(b, x, axis)
    at = from_front(b, indices, basic.size_of(b, x, axis))
    return carried(b, lambda v: b.emit("GATHER", [v, at], axis=axis, batch_dims=0), [x])


def gather_nd(b: Builder, x: ir.Value, indices: ir.Value, batch_dims: int = 0) -> ir.Value:
    """x[indices[..., 0], indices[..., 1], ...]; the first `batch_dims` axes are common to both."""
    depth = _depth(b, indices)
    sizes = basic.slice_axis(b, basic.shape_of(b, x), 0, batch_dims, batch_dims + depth)
    at = from_front(b, indices, sizes)
    if batch_dims:
        first = basic.slice_axis(b, indices, -1, 0, 1)
        at = basic.concat(b, [*(_places(b, first, i) for i in range(batch_dims)), at], -1)
    return carried(b, lambda v: b.emit("GATHER_ND", [v, at]), [x])


def gather_elements(b: Builder, x: ir.Value, indices: ir.Value, axis: int) -> ir.Value:
    """numpy.take_along_axis(x, indices, axis); indices may be smaller along the other axes."""
    return carried(b, lambda v: b.emit("GATHER_ND", [v, _coordinates(b, x, indices, axis)]), [x])


def _coordinates(b: Builder, x: ir.Value, indices: ir.Value, axis: int) -> ir.Value:
    """[..., rank] the full index of what each element of `indices` along `axis` points at."""
    axis, dims = basic.axis_of(b, x, axis), rank(b, indices)
    at = from_front(b, indices, basic.size_of(b, x, axis))
    column = basic.unsqueeze(b, at, [dims])
    return basic.concat(
        b, [column if i == axis else _places(b, column, i) for i in range(dims)], -1
    )


def _depth(b: Builder, indices: ir.Value) -> int:
    """How many axes indices[..., :] point along."""
    depth = b.dims(indices)[-1]
    if depth is None:
        raise NoForm("points along a dynamic number of axes: give the model's inputs fixed sizes")
    return depth


def _places(b: Builder, x: ir.Value, axis: int) -> ir.Value:
    """Every element's own place along `axis`, in the shape of `x`, INT32."""
    dims = b.dims(x)
    if None not in dims:
        whole = [d for d in dims if d is not None]
        return b.constant(np.indices(whole, np.int32)[axis], "places", np.int32)
    zero = b.constant(0, "zero", np.int32)
    line = basic.counted(b, zero, basic.size_of(b, x, axis))
    shape = [dims[axis] if i == axis else 1 for i in range(len(dims))]
    return basic.broadcast_to(b, basic.reshape(b, line, shape), basic.shape_of(b, x))


def scatter_nd(
    b: Builder, x: ir.Value, indices: ir.Value, updates: ir.Value, reduction: str
) -> ir.Value:
    """`x` with `updates` written at indices[..., :] ("none"), or taken in by `reduction`: "add",
    "mul", "min", "max".
    """
    depth = _depth(b, indices)
    sizes = basic.slice_axis(b, basic.shape_of(b, x), 0, 0, depth)
    at = from_front(b, indices, sizes)
    shape = basic.shape_of(b, x)

    def spread(values: ir.Value) -> ir.Value:
        return b.emit("SCATTER_ND", [at, values, shape], dtype=values.dtype)

    if reduction == "add":
        return carried(b, lambda v, u: arithmetic(b, "ADD", v, spread(u)), [x, updates])
    if reduction in _SEGMENTS:
        return carried(
            b, lambda v, u: _by_segments(b, v, at, u, *_SEGMENTS[reduction]), [x, updates]
        )
    if reduction != "none":
        raise NoForm(
            f"reduces by {reduction!r}, which TFLite lacks: use add, mul, min, max or none"
        )
    ones = b.emit(
        "FILL", [basic.shape_of(b, updates), b.constant(1, "one", np.int32)], dtype="INT32"
    )
    written = compare(b, "GREATER", spread(ones), b.constant(0, "zero", np.int32))
    return carried(b, lambda v, u: select(b, written, spread(u), v), [x, updates])


# How elements of one place are reduced, and then go into what was there.
_SEGMENTS = {
    "mul": ("UNSORTED_SEGMENT_PROD", "MUL"),
    "min": ("UNSORTED_SEGMENT_MIN", "MINIMUM"),
    "max": ("UNSORTED_SEGMENT_MAX", "MAXIMUM"),
}


def _by_segments(
    b: Builder, x: ir.Value, at: ir.Value, updates: ir.Value, segment: str, op: str
) -> ir.Value:
    """Updates of one place reduced among themselves, then with `x`; places without any keep it."""
    dims = b.fixed_dims(x, "its input")
    *places, depth = b.fixed_dims(at, "its indices")
    steps = [math.prod(dims[i + 1 : depth]) for i in range(depth)]
    weighted = basic.binary(b, "MUL", at, int32s(b, steps, "steps"))
    flat = b.emit("SUM", [weighted, int32s(b, [len(places)], "axis")], keep_dims=False)
    rows, rest = math.prod(places), list(dims[depth:])
    count = math.prod(dims[:depth])
    ids = basic.reshape(b, flat, [rows])
    parts = basic.reshape(b, updates, [rows, *rest])
    number = b.constant(count, "segments", np.int32)
    reduced = b.emit(segment, [parts, ids, number], dtype=x.dtype)
    whole = basic.reshape(b, x, [count, *rest])
    return basic.reshape(b, basic.binary(b, op, whole, reduced), dims)


def scatter_elements(
    b: Builder, x: ir.Value, indices: ir.Value, updates: ir.Value, axis: int, reduction: str
) -> ir.Value:
    """`x` with x[i][indices[i][j]] = updates[i][j] (for axis 1), or added to."""
    return scatter_nd(b, x, _coordinates(b, x, indices, axis), updates, reduction)


def one_hot(
    b: Builder, indices: ir.Value, depth: ir.Value, on: ir.Value, off: ir.Value, axis: int
) -> ir.Value:
    """`on` where an index is, `off` elsewhere; negative indices count from the end.
    Indices out of range are off.
    """
    depth = basic.reshape(b, basic.ints(b, depth), [])
    at = basic.ints(b, indices)
    known_places = b.known(at)
    if known_places is None or (known_places < 0).any():  # what is out of range stays so
        behind = basic.binary(b, "ADD", at, depth)
        at = select(b, compare(b, "LESS", at, basic.scalar(b, 0, at)), behind, at)
    places = rank(b, indices)
    axis = axis + places + 1 if axis < 0 else axis
    known = b.known(depth)
    dims: list[int | None] = list(b.dims(indices))
    dims.insert(axis, None if known is None else int(known))

    def form(high: ir.Value, low: ir.Value) -> ir.Value:
        return b.emit("ONE_HOT", [at, depth, high, low], dtype=high.dtype, dims=dims, axis=axis)

    return carried(b, form, [on, off])


def written_where(b: Builder, x: ir.Value, mask: ir.Value, values: ir.Value) -> ir.Value:
    """`x` with `values` [count, rest...] where the `mask` of its first axes holds, in order."""
    places, lead = rank(b, mask), b.dims(mask)
    count = None if None in lead else math.prod(d for d in lead if d is not None)
    flat = basic.reshape(b, basic.cast(b, mask, "INT32"), [count])
    before = b.emit(
        "CUMSUM", [flat, b.constant(0, "axis", np.int32)], exclusive=False, reverse=False
    )
    at = basic.reshape_like(b, basic.binary(b, "MUL", before, flat), basic.shape_of(b, mask))
    rest = b.fixed_dims(x, "its input")[places:]

    def form(whole: ir.Value, new: ir.Value) -> ir.Value:
        nothing = b.constant(np.zeros((1, *rest)), "nothing", ir.numpy_dtype(new.dtype))
        both = basic.concat(b, [nothing, new], 0)  # place 0 stands for those that stay
        picked = b.emit("GATHER", [both, at], axis=0, batch_dims=0)
        return select(b, basic.unsqueeze(b, mask, range(places, places + len(rest))), picked, whole)

    return carried(b, form, [x, values])


def nonzero(b: Builder, x: ir.Value) -> ir.Value:
    """[rank, count] INT64: where `x` is not 0."""
    found = b.emit("WHERE", [x], dtype="INT64", dims=[None, rank(b, x)])
    return basic.transpose(b, found, [1, 0])


def reverse(b: Builder, x: ir.Value, axes: Sequence[int]) -> ir.Value:
    for axis in axes:
        at = int32s(b, [basic.axis_of(b, x, axis)], "axis")
        x = carried(b, lambda v, at=at: b.emit("REVERSE_V2", [v, at]), [x])
    return x
