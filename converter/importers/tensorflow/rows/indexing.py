# SPDX-License-Identifier: Apache-2.0
"""Rows for operations that read or write at indices, and that make indices."""

from __future__ import annotations

import numpy as np

from converter import ir
from converter.importers.forms import basic, gathering
from converter.importers.forms.elementwise import affine, carried, compare
from converter.importers.rows import refuse
from converter.importers.tensorflow.context import Context, Row, Rows


def _gather(c: Context) -> ir.Value:
    x = c.input(0)
    axis = int(c.array(2, "axis").reshape(())) if c.n_inputs > 2 else 0
    batch_dims = int(c.attr("batch_dims", 0))
    if batch_dims < 0:
        batch_dims += basic.rank(c.b, c.input(1))
    axis, at = basic.axis_of(c.b, x, axis), c.input(1)
    return carried(
        c.b, lambda v: c.b.emit("GATHER", [v, at], axis=axis, batch_dims=batch_dims), [x]
    )


def _gather_nd(c: Context) -> ir.Value:
    at = c.input(1)
    if c.attr("batch_dims", 0):
        return gathering.gather_nd(c.b, c.input(0), at, int(c.attr("batch_dims")))
    return carried(c.b, lambda v: c.b.emit("GATHER_ND", [v, at]), [c.input(0)])


def _scatter_nd(c: Context) -> ir.Value:
    indices, updates, shape = c.ints(0), c.input(1), c.ints(2)
    (count,) = c.b.fixed_dims(shape, "its shape")
    return carried(
        c.b,
        lambda v: c.b.emit("SCATTER_ND", [indices, v, shape], dtype=v.dtype, dims=[None] * count),
        [updates],
    )


def _update(reduction: str) -> Row:
    def row(c: Context) -> ir.Value:
        x, indices, updates = c.inputs()
        return gathering.scatter_nd(c.b, x, indices, updates, reduction)

    return row


def _one_hot(c: Context) -> ir.Value:
    """Indices out of range, negative ones too, give rows of `off`."""
    at, depth = c.ints(0), c.ints(1)
    axis = int(c.attr("axis", -1))
    known = c.b.known(depth)
    dims: list[int | None] = list(c.b.dims(at))
    dims.insert(len(dims) if axis < 0 else axis, None if known is None else int(known))

    def form(high: ir.Value, low: ir.Value) -> ir.Value:
        return c.b.emit("ONE_HOT", [at, depth, high, low], dtype=high.dtype, dims=dims, axis=axis)

    return carried(c.b, form, [c.input(2), c.input(3)])


def _where(c: Context) -> ir.Value:
    x = c.input(0)
    return c.b.emit("WHERE", [x], dtype="INT64", dims=[None, basic.rank(c.b, x)])


def _segment_sum(c: Context) -> ir.Value:
    x, ids, count = c.input(0), c.ints(1), c.ints(2)
    known = c.b.known(count)
    dims = [None if known is None else int(known), *c.b.dims(x)[basic.rank(c.b, ids) :]]
    op = {"Sum": "SUM", "Max": "MAX", "Min": "MIN", "Prod": "PROD"}[c.op.type[15:]]
    return c.b.emit(f"UNSORTED_SEGMENT_{op}", [x, ids, count], dims=dims)


def _reverse_sequence(c: Context) -> ir.Value:
    lengths = c.ints(1)
    return carried(
        c.b,
        lambda v: c.b.emit(
            "REVERSE_SEQUENCE",
            [v, lengths],
            seq_dim=int(c.attr("seq_dim")),
            batch_dim=int(c.attr("batch_dim", 0)),
        ),
        [c.input(0)],
    )


def _unique(c: Context) -> list[ir.Value]:
    x, kind = c.input(0), c.kind(1)
    return c.b.emit_many(
        "UNIQUE", [x], [x.dtype, kind], dims=[[None], c.b.dims(x)], idx_out_type=kind
    )


def _band_part(c: Context) -> ir.Value:
    """Zeros outside a band of diagonals; numbers below 0 keep all on that side."""
    x = c.input(0)
    low, high = (int(c.array(i, "number of diagonals").reshape(())) for i in (1, 2))
    rows, columns = (_places(c, x, axis) for axis in (-2, -1))
    below = basic.binary(c.b, "SUB", basic.unsqueeze(c.b, rows, [1]), columns)
    kept: ir.Value | None = None
    for number, way in ((low, 1), (high, -1)):
        if number >= 0:
            distance = affine(c.b, below, way, 0)
            near = compare(c.b, "LESS_EQUAL", distance, basic.scalar(c.b, number, distance))
            kept = near if kept is None else c.b.emit("LOGICAL_AND", [kept, near])
    if kept is None:
        return x
    mask, zero = kept, basic.scalar(c.b, 0, x)
    return carried(c.b, lambda v, z: c.b.emit("SELECT_V2", [mask, v, z], dtype=v.dtype), [x, zero])


def _places(c: Context, x: ir.Value, axis: int) -> ir.Value:
    """0, 1, 2... along an axis, INT32."""
    axis = basic.axis_of(c.b, x, axis)
    size = basic.size_of(c.b, x, axis)
    ends = [c.b.constant(n, "end", np.int32) for n in (0, 1)]
    low, high = (dims[axis] for dims in c.b.pair(x))
    return c.b.emit("RANGE", [ends[0], size, ends[1]], dims=[(low, high)])


def _suppression(c: Context) -> list[ir.Value]:
    """NonMaxSuppressionV3 to V5: LiteRT pads its results, so those of V4 and V5 that are padded
    are the same; others are cut at the number that was found.
    """
    boxes, scores, most = c.input(0), c.input(1), c.ints(2)
    one = basic.scalar(c.b, 1, scores)
    overlap = c.input(3) if c.n_inputs > 3 else basic.scalar(c.b, c.attr("iou_threshold"), scores)
    least = (
        c.input(4) if c.n_inputs > 4 else basic.scalar(c.b, float(np.finfo(np.float32).min), one)
    )
    known = c.b.known(most)
    dims: list[int | None] = [None if known is None else int(known)]
    version = c.op.type.removeprefix("NonMaxSuppression")
    soft = c.input(5) if version == "V5" else None
    given = [boxes, scores, basic.reshape(c.b, most, []), overlap, least]
    if soft is not None:
        places, marks, count = c.b.emit_many(
            "NON_MAX_SUPPRESSION_V5",
            [*given, soft],
            ["INT32", "FLOAT32", "INT32"],
            dims=[dims, dims, []],
        )
        found = [places, marks]
    else:
        places, count = c.b.emit_many(
            "NON_MAX_SUPPRESSION_V4", given, ["INT32", "INT32"], dims=[dims, []]
        )
        found = [places]
    if not c.attr("pad_to_max_output_size", False):
        end = basic.reshape(c.b, count, [1])
        begin = basic.int32s(c.b, [0], "begin")
        found = [c.b.emit("SLICE", [v, begin, end], dims=[None]) for v in found]
    return [*found, count] if version in ("V4", "V5") else found


_DETECTION = refuse(
    "has no form in TFLite: cut the model at its boxes and scores (--outputs) and use"
    " tf.image.non_max_suppression, or suppress outside"
)
ROWS: Rows = {
    "CombinedNonMaxSuppression": _DETECTION,
    **dict.fromkeys(("Gather", "GatherV2"), _gather),
    **dict.fromkeys([f"NonMaxSuppression{v}" for v in ("", "V2", "V3", "V4", "V5")], _suppression),
    **dict.fromkeys([f"UnsortedSegment{v}" for v in ("Sum", "Max", "Min", "Prod")], _segment_sum),
    "GatherNd": _gather_nd,
    "MatrixBandPart": _band_part,
    "OneHot": _one_hot,
    "ReverseSequence": _reverse_sequence,
    "ScatterNd": _scatter_nd,
    "TensorScatterAdd": _update("add"),
    "TensorScatterUpdate": _update("none"),
    "Unique": _unique,
    "Where": _where,
}
