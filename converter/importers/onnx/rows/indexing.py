# SPDX-License-Identifier: Apache-2.0
"""Rows for operations that read or write at indices, and that make indices."""

from __future__ import annotations

import numpy as np

from converter import ir
from converter.importers.forms import basic, gathering, reduction
from converter.importers.forms.elementwise import carried, compare
from converter.importers.no_form import NoForm
from converter.importers.onnx import types
from converter.importers.onnx.context import Context, Rows


def _gather(c: Context) -> ir.Value:
    return gathering.gather(c.b, c.input(0), c.input(1), c.attr("axis", 0))


def _gather_nd(c: Context) -> ir.Value:
    return gathering.gather_nd(c.b, c.input(0), c.input(1), c.attr("batch_dims", 0))


def _gather_elements(c: Context) -> ir.Value:
    return gathering.gather_elements(c.b, c.input(0), c.input(1), c.attr("axis", 0))


def _scatter_nd(c: Context) -> ir.Value:
    x, indices, updates = c.inputs()
    return gathering.scatter_nd(c.b, x, indices, updates, c.attr("reduction", "none"))


def _scatter_elements(c: Context) -> ir.Value:
    x, indices, updates = c.inputs()
    axis, reduction = c.attr("axis", 0), c.attr("reduction", "none")
    return gathering.scatter_elements(c.b, x, indices, updates, axis, reduction)


def _one_hot(c: Context) -> ir.Value:
    indices, depth, ends = c.inputs()
    if indices.dtype == "FLOAT32":
        indices = basic.ints(c.b, indices)
    off, on = (basic.reshape(c.b, basic.slice_axis(c.b, ends, 0, i, i + 1), []) for i in (0, 1))
    return gathering.one_hot(c.b, indices, depth, on, off, c.attr("axis", -1))


def _nonzero(c: Context) -> ir.Value:
    return gathering.nonzero(c.b, c.input(0))


def _compress(c: Context) -> ir.Value:
    """The slices whose condition holds, which are as many as the values say."""
    x, condition = c.input(0), c.input(1)
    axis = c.attr("axis")
    if axis is None:
        x, axis = basic.reshape(c.b, x, [None] if None in c.b.dims(x) else [-1]), 0
    axis = basic.axis_of(c.b, x, axis)
    found = gathering.nonzero(c.b, condition)
    at = c.b.emit(
        "RESHAPE", [basic.ints(c.b, found), basic.int32s(c.b, [-1], "shape")], dims=[None]
    )
    dims = [None if i == axis else d for i, d in enumerate(c.b.dims(x))]
    return carried(
        c.b, lambda v: c.b.emit("GATHER", [v, at], dims=dims, axis=axis, batch_dims=0), [x]
    )


def _range(c: Context) -> ir.Value:
    ends = c.inputs()
    return carried(
        c.b, lambda *v: c.b.emit("RANGE", [basic.reshape(c.b, e, []) for e in v], dims=[None]), ends
    )


def _trilu(c: Context) -> ir.Value:
    x = c.input(0)
    apart, zero = _diagonals(c, x), basic.scalar(c.b, 0, x)
    offset = basic.ints(c.b, c.input(1)) if c.has(1) else c.b.constant(0, "diagonal", np.int32)
    op = "GREATER_EQUAL" if c.attr("upper", 1) else "LESS_EQUAL"
    mask = compare(c.b, op, apart, basic.reshape(c.b, offset, []))
    return carried(c.b, lambda v, z: c.b.emit("SELECT_V2", [mask, v, z], dtype=v.dtype), [x, zero])


def _eye_like(c: Context) -> ir.Value:
    x = c.input(0)
    dims = c.b.dims(x)
    if len(dims) != 2:
        raise NoForm(f"needs an input of rank 2, not {len(dims)}")
    element = c.attr("dtype")
    kind = x.dtype if element is None else types.inner_type(element)
    if None not in dims:
        height, width = c.b.fixed_dims(x, "its input")
        return c.b.constant(np.eye(height, width, c.attr("k", 0)), "eye", ir.numpy_dtype(kind))
    return basic.cast(c.b, compare(c.b, "EQUAL", _diagonals(c, x), c.b.constant(
        c.attr("k", 0), "diagonal", np.int32)), kind)  # fmt: skip


def _diagonals(c: Context, x: ir.Value) -> ir.Value:
    """[height, width] INT32: column minus row of the last two axes of `x`."""
    zero, dims = c.b.constant(0, "zero", np.int32), basic.rank(c.b, x)
    rows, columns = (
        basic.counted(c.b, zero, basic.size_of(c.b, x, axis)) for axis in (dims - 2, dims - 1)
    )
    return basic.binary(c.b, "SUB", columns, basic.unsqueeze(c.b, rows, [1]))


def _reverse_sequence(c: Context) -> ir.Value:
    x, lengths = c.inputs()
    return carried(
        c.b,
        lambda v: c.b.emit(
            "REVERSE_SEQUENCE",
            [v, basic.ints(c.b, lengths)],
            seq_dim=c.attr("time_axis", 0),
            batch_dim=c.attr("batch_axis", 1),
        ),
        [x],
    )


def _constant_of_shape(c: Context) -> ir.Value:
    value = c.attr("value", np.zeros(1, np.float32)).reshape(())
    shape = c.input(0)
    (count,) = c.b.fixed_dims(shape, "its shape")
    filled = c.b.constant(types.settled(value), "value")
    return carried(
        c.b,
        lambda v: c.b.emit("FILL", [basic.ints(c.b, shape), v], dtype=v.dtype, dims=[None] * count),
        [filled],
    )


def _tile(c: Context) -> ir.Value:
    x, repeats = c.inputs()
    dims = [None] * basic.rank(c.b, x)
    return carried(c.b, lambda v: c.b.emit("TILE", [v, basic.ints(c.b, repeats)], dims=dims), [x])


def _expand(c: Context) -> ir.Value:
    """Broadcasts both ways: sizes of 1 in `shape` keep those of the input."""
    x, shape = c.input(0), basic.ints(c.b, c.input(1))
    samples = c.b.samples(shape)
    if samples is not None and not _dynamic(samples):
        want = np.broadcast_shapes(
            tuple(samples[0]), tuple(1 if d is None else d for d in c.b.dims(x))
        )
        if want == c.b.dims(x):
            return x
    own = basic.shape_of(c.b, x)
    whole = c.b.emit("BROADCAST_ARGS", [own, shape], dtype="INT32")
    (count,) = c.b.fixed_dims(whole, "its shape")
    return carried(c.b, lambda v: c.b.emit("BROADCAST_TO", [v, whole], dims=[None] * count), [x])


def _dynamic(samples: tuple[np.ndarray, np.ndarray]) -> bool:
    return not np.array_equal(*samples)


def _unique(c: Context) -> list[ir.Value]:
    """(values, the place of each where it is first, which of them each element is, counts)"""
    x = c.input(0)
    if c.attr("axis") is not None and (basic.rank(c.b, x) != 1):
        raise NoForm("compares slices, and TFLite's UNIQUE compares elements: flatten its input")
    flat = basic.reshape(c.b, x, [None] if None in c.b.dims(x) else [-1])
    options, kinds = {"idx_out_type": "INT32"}, [flat.dtype, "INT32"]
    trial = c.b.body("trial")  # which says whether elements of this type can be compared
    trial.emit_many("UNIQUE", [trial.input_like(flat)], kinds, dims=[[None], [None]], **options)
    ends = zip(kinds, [((2,), (3,)), c.b.pair(flat)], strict=True)
    values, which = c.b.append("UNIQUE", [flat], list(ends), options)
    count = basic.size_of(c.b, values, 0)
    if c.attr("sorted", 1):
        values, order = reduction.top_k(c.b, values, count, 0, largest=False)
        at = basic.unsqueeze(c.b, basic.ints(c.b, order), [1])
        line = basic.counted(c.b, c.b.constant(0, "zero", np.int32), count)
        shape = basic.reshape(c.b, count, [1])
        ranks = c.b.emit("SCATTER_ND", [at, line, shape], dtype="INT32", dims=[None])
        which = c.b.emit("GATHER", [ranks, which], dims=c.b.dims(which), axis=0)
    first = counts = which
    if c.wants(1):
        size = basic.size_of(c.b, flat, 0)
        line = basic.counted(c.b, c.b.constant(0, "zero", np.int32), size)
        first = c.b.emit("UNSORTED_SEGMENT_MIN", [line, which, count], dims=[None])
    if c.wants(3):
        one = c.b.constant(1, "one", np.int32)
        ones = c.b.emit("FILL", [basic.shape_of(c.b, flat), one], dtype="INT32")
        counts = c.b.emit("UNSORTED_SEGMENT_SUM", [ones, which, count], dims=[None])
    return [values, *(basic.cast(c.b, v, "INT64") for v in (first, which, counts))]


ROWS: Rows = {
    "Compress": _compress,
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "EyeLike": _eye_like,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "NonZero": _nonzero,
    "OneHot": _one_hot,
    "Range": _range,
    "ReverseSequence": _reverse_sequence,
    "Scatter": _scatter_elements,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "Tile": _tile,
    "Trilu": _trilu,
    "Unique": _unique,
}
