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
    return basic.binary(b, "FLOOR_MOD", indices, sizes)


def size_of(b: Builder, x: ir.Value, axis: int) -> ir.Value:
    """The size of one axis, INT32, rank 0."""
    size = basic.slice_axis(b, basic.shape_of(b, x), 0, axis, axis + 1)
    return basic.reshape(b, size, [])


def gather(b: Builder, x: ir.Value, indices: ir.Value, axis: int) -> ir.Value:
    """numpy.take(x, indices, axis)"""
    axis = basic.axis_of(b, x, axis)
    at = from_front(b, indices, size_of(b, x, axis))
    return carried(b, lambda v: b.emit("GATHER", [v, at], axis=axis, batch_dims=0), [x])


def gather_nd(b: Builder, x: ir.Value, indices: ir.Value, batch_dims: int = 0) -> ir.Value:
    """x[indices[..., 0], indices[..., 1], ...]; the first `batch_dims` axes are common to both."""
    (*_, depth) = b.fixed_dims(indices, "its indices")
    sizes = basic.slice_axis(b, basic.shape_of(b, x), 0, batch_dims, batch_dims + depth)
    at = from_front(b, indices, sizes)
    if batch_dims:
        dims = b.fixed_dims(indices, "its indices")
        grids = _grids(b, dims[:-1], range(batch_dims), [*dims[:-1], 1])
        at = basic.concat(b, [*grids, at], -1)
    return carried(b, lambda v: b.emit("GATHER_ND", [v, at]), [x])


def gather_elements(b: Builder, x: ir.Value, indices: ir.Value, axis: int) -> ir.Value:
    """numpy.take_along_axis(x, indices, axis); indices may be smaller along the other axes."""
    return carried(b, lambda v: b.emit("GATHER_ND", [v, _coordinates(b, x, indices, axis)]), [x])


def _coordinates(b: Builder, x: ir.Value, indices: ir.Value, axis: int) -> ir.Value:
    """[..., rank] the full index of what each element of `indices` along `axis` points at."""
    axis = basic.axis_of(b, x, axis)
    dims = b.fixed_dims(indices, "its indices")
    at = from_front(b, indices, size_of(b, x, axis))
    columns = _grids(b, dims, [i for i in range(len(dims)) if i != axis], [*dims, 1])
    columns.insert(axis, basic.unsqueeze(b, at, [len(dims)]))
    return basic.concat(b, columns, -1)


def _grids(
    b: Builder, dims: Sequence[int], axes: Sequence[int], shape: Sequence[int]
) -> list[ir.Value]:
    """For each of `axes` every element's own place along it."""
    places = np.indices(dims, np.int32)
    return [b.constant(places[i].reshape(shape), "places", np.int32) for i in axes]


def scatter_nd(
    b: Builder, x: ir.Value, indices: ir.Value, updates: ir.Value, reduction: str
) -> ir.Value:
    """`x` with `updates` written at indices[..., :] ("none"), or taken in by `reduction`: "add",
    "mul", "min", "max".
    """
    (*_, depth) = b.fixed_dims(indices, "its indices")
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


def nonzero(b: Builder, x: ir.Value) -> ir.Value:
    """[rank, count] INT64: where `x` is not 0."""
    found = b.emit("WHERE", [x], dtype="INT64", dims=[None, rank(b, x)])
    return basic.transpose(b, found, [1, 0])


def reverse(b: Builder, x: ir.Value, axes: Sequence[int]) -> ir.Value:
    for axis in axes:
        at = int32s(b, [basic.axis_of(b, x, axis)], "axis")
        x = carried(b, lambda v, at=at: b.emit("REVERSE_V2", [v, at]), [x])
    return x
