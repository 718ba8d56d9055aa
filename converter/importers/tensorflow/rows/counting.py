# SPDX-License-Identifier: Apache-2.0
"""Rows that sort into bins, count, segment, permute, and accumulate along an axis."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from converter import ir
from converter.importers.forms import basic, gathering, reduction, scan
from converter.importers.forms.basic import binary, int32s, scalar
from converter.importers.forms.elementwise import affine, carried, compare, select
from converter.importers.no_form import NoForm
from converter.importers.tensorflow.context import Context, Row, Rows

_IDENTITIES = {"Sum": 0.0, "Max": 0.0, "Min": 0.0, "Prod": 1.0}  # of segments without elements


def _bucketize(c: Context) -> ir.Value:
    edges = np.array(c.attr("boundaries", []), np.float32)
    x = basic.cast(c.b, c.input(0), "FLOAT32")
    return _rank_among(c, x, c.b.constant(edges, "boundaries", np.float32), "GREATER_EQUAL")


def _rank_among(c: Context, x: ir.Value, edges: ir.Value, op: str) -> ir.Value:
    """For each of `x` [..., n] how many of `edges` [..., m] it compares with as `op` says."""
    rank = basic.rank(c.b, x)
    spread = basic.unsqueeze(c.b, x, [rank])
    if basic.rank(c.b, edges) == rank > 0 and basic.rank(c.b, edges) > 1:
        edges = basic.unsqueeze(c.b, edges, [rank - 1])
    beyond = basic.cast(c.b, compare(c.b, op, spread, edges), "INT32")
    return basic.cast(c.b, reduction.reduce(c.b, "SUM", beyond, [-1], False), c.kind())


def _bound(op: str) -> Row:
    """How many elements of sorted rows are before each value."""
    return lambda c: _rank_among(c, c.input(1), c.input(0), op)


def _count(c: Context) -> ir.Value:
    """How often (or with what sum of weights) each of 0 to size - 1 occurs, in all or per row."""
    x, size, weights = c.ints(0), c.ints(1), c.input(2)
    if c.op.type == "Bincount" or basic.rank(c.b, x) == 1:
        x = _flat(c, x)
    depth = basic.reshape(c.b, size, [])
    known, kind = c.b.known(depth), c.kind()
    kind = kind if kind in ("FLOAT32", "INT32", "INT64") else "FLOAT32"
    dims = [*c.b.dims(x), None if known is None else int(known)]
    on, off = (c.b.constant(n, "count", ir.numpy_dtype(kind)) for n in (1, 0))
    hits = c.b.emit("ONE_HOT", [x, depth, on, off], dtype=kind, dims=dims, axis=-1)
    if 0 not in c.b.dims(weights) and not c.attr("binary_output", False):
        shares = basic.reshape(c.b, basic.cast(c.b, weights, kind), list(c.b.dims(x)))
        hits = binary(c.b, "MUL", hits, basic.unsqueeze(c.b, shares, [basic.rank(c.b, shares)]))
    op = "REDUCE_MAX" if c.attr("binary_output", False) else "SUM"
    return basic.cast(c.b, reduction.reduce(c.b, op, hits, [-2], False), c.kind())


def _flat(c: Context, x: ir.Value) -> ir.Value:
    known = [d for d in c.b.dims(x) if d is not None]
    whole = len(known) == basic.rank(c.b, x)
    return basic.reshape(c.b, x, [math.prod(known) if whole else None])


def _histogram_bins(c: Context) -> ir.Value:
    """[elements] the bin of each of them among equal ones, outer values in the outer bins."""
    x, ends, count = c.input(0), c.array(1, "range"), int(c.array(2, "number of bins"))
    flat = _flat(c, x)
    step = (float(ends[1]) - float(ends[0])) / count
    place = affine(c.b, affine(c.b, flat, 1, -float(ends[0])), 1 / step, 0)
    place = c.b.emit("FLOOR", [place])
    held = binary(c.b, "MAXIMUM", place, scalar(c.b, 0, place))
    return basic.ints(c.b, binary(c.b, "MINIMUM", held, scalar(c.b, count - 1, held)))


def _histogram(c: Context) -> ir.Value:
    bins, count = _histogram_bins(c), int(c.array(2, "number of bins"))
    on, off, depth = (c.b.constant(n, "count", np.int32) for n in (1, 0, count))
    hits = c.b.emit(
        "ONE_HOT", [bins, depth, on, off], dtype="INT32", dims=[*c.b.dims(bins), count], axis=-1
    )
    return basic.cast(c.b, reduction.reduce(c.b, "SUM", hits, [0], False), c.kind())


# -- segments ---------------------------------------------------------------------------------


def _segment(way: str) -> Row:
    """Sorted ids: as many segments as the last id says."""

    def row(c: Context) -> ir.Value:
        x, ids = c.input(0), c.ints(1)
        last = basic.reshape(c.b, basic.slice_axis(c.b, ids, 0, -1, None), [])
        count = binary(c.b, "ADD", last, scalar(c.b, 1, last))
        known = c.b.known(count)
        dims = [None if known is None else int(known), *c.b.dims(x)[1:]]

        def reduced(value: ir.Value, op: str) -> ir.Value:
            own = [dims[0]] if basic.rank(c.b, value) == 1 else dims
            return c.b.emit(f"UNSORTED_SEGMENT_{op}", [value, ids, count], dims=own)

        if way == "Sum":
            return reduced(x, "SUM")
        ones = c.b.emit("FILL", [basic.shape_of(c.b, ids), scalar(c.b, 1, x)], dtype=x.dtype)
        held = reduced(ones, "SUM")
        held = basic.unsqueeze(c.b, held, list(range(1, basic.rank(c.b, x))))
        if way == "Mean":
            total = reduced(x, "SUM")
            return binary(c.b, "DIV", total, binary(c.b, "MAXIMUM", held, scalar(c.b, 1, held)))
        found = reduced(x, way.upper())
        is_empty = compare(c.b, "EQUAL", held, scalar(c.b, 0, held))
        return select(c.b, is_empty, scalar(c.b, _IDENTITIES[way], found), found)

    return row


# -- permutations -----------------------------------------------------------------------------


def _inverse_permutation(c: Context) -> ir.Value:
    perm = c.ints(0)
    (count,) = c.b.fixed_dims(perm, "its permutation")
    places = basic.int32s(c.b, np.arange(count), "places")
    shape = basic.int32s(c.b, [count], "shape")
    at = basic.unsqueeze(c.b, perm, [1])
    return basic.cast(c.b, c.b.emit("SCATTER_ND", [at, places, shape], dtype="INT32"), c.kind())


def _stitch(c: Context) -> ir.Value:
    """Rows of several tensors at constant places of one; the last written wins."""
    count = c.n_inputs // 2
    places, parts = [], []
    for i in range(count):
        at, x = c.array(i, "indices"), c.input(count + i)
        rest = list(c.b.dims(x)[at.ndim :])
        places.append(at.reshape(-1))
        parts.append(basic.reshape(c.b, x, [at.size, *rest]))
    flat = np.concatenate(places)
    order = np.full(int(flat.max(initial=-1)) + 1, -1)
    order[flat] = np.arange(flat.size)
    if (order < 0).any():
        raise NoForm("leaves rows that nothing is written to: give every index")
    whole = basic.concat(c.b, parts, 0)
    return gathering.gather(c.b, whole, basic.int32s(c.b, order, "order"), 0)


def _partition(c: Context) -> list[ir.Value]:
    """The elements of each part, where constants say which they are."""
    x, which = c.input(0), c.array(1, "partitions")
    flat = basic.reshape(c.b, x, [which.size, *c.b.dims(x)[which.ndim :]])
    return [
        gathering.gather(c.b, flat, int32s(c.b, np.flatnonzero(which.reshape(-1) == i), "part"), 0)
        for i in range(len(c.op.outputs))
    ]


def _joined(c: Context) -> ir.Value:
    return basic.concat(c.b, c.inputs(), 0)


def _in_top(c: Context) -> ir.Value:
    """Whether fewer than k elements of a row are larger than that of its target."""
    x, target = c.input(0), c.ints(1)
    k = basic.ints(c.b, c.input(2)) if c.n_inputs > 2 else int32s(c.b, c.attr("k"), "k")
    own = c.b.emit("GATHER", [x, basic.unsqueeze(c.b, target, [1])], axis=1, batch_dims=1)
    larger = basic.cast(c.b, compare(c.b, "GREATER", x, own), "INT32")
    count = reduction.reduce(c.b, "SUM", larger, [1], False)
    return compare(c.b, "LESS", count, basic.reshape(c.b, k, []))


# -- along an axis ----------------------------------------------------------------------------


def _cumulative_product(c: Context) -> ir.Value:
    axis = int(c.array(1, "axis").reshape(()))
    ways = bool(c.attr("exclusive", False)), bool(c.attr("reverse", False))
    return scan.cumulative_product(c.b, c.input(0), axis, *ways)


def _cumulative_log(c: Context) -> ir.Value:
    """log(cumulative sum of exp(x)), by pairs that do not overflow."""
    axis = int(c.array(1, "axis").reshape(()))
    ways = bool(c.attr("exclusive", False)), bool(c.attr("reverse", False))
    least = float(np.finfo(np.float32).min)

    def both(p: list[ir.Value], q: list[ir.Value]) -> list[ir.Value]:
        top, low = binary(c.b, "MAXIMUM", p[0], q[0]), binary(c.b, "MINIMUM", p[0], q[0])
        share = c.b.emit("EXP", [binary(c.b, "SUB", low, top)])
        return [binary(c.b, "ADD", top, c.b.emit("LOG", [affine(c.b, share, 1, 1)]))]

    return scan.scan(c.b, [c.input(0)], axis, both, [least], *ways)[0]


# -- writing ----------------------------------------------------------------------------------


def _scatter(reduction_name: str) -> Row:
    def row(c: Context) -> ir.Value:
        x, indices, updates = c.inputs()
        if reduction_name == "sub":
            updates = carried(c.b, functools.partial(basic.unary, c.b, "NEG"), [updates])
            return gathering.scatter_nd(c.b, x, indices, updates, "add")
        return gathering.scatter_nd(c.b, x, indices, updates, reduction_name)

    return row


def _sparse_to_dense(c: Context) -> ir.Value:
    """`default` everywhere but at indices [n, rank] (or [n], or one)."""
    indices, shape, values, default = c.ints(0), c.ints(1), c.input(2), c.input(3)
    (rank,) = c.b.fixed_dims(shape, "its shape")
    if basic.rank(c.b, indices) < 2:
        count = c.b.dims(indices)[0] if basic.rank(c.b, indices) else 1
        indices = basic.reshape(c.b, indices, [count, 1])
    known = c.b.known(shape)
    sizes: list[int | None] = [None] * rank if known is None else [int(s) for s in known]
    kind: Any = values.dtype
    whole = c.b.emit("FILL", [shape, default], dtype=kind, dims=sizes)
    if not basic.rank(c.b, values):
        count = c.b.fixed_dims(indices, "its indices")[0]
        values = c.b.emit("FILL", [int32s(c.b, [count], "count"), values], dtype=kind)
    return gathering.scatter_nd(c.b, whole, indices, values, "none")


ROWS: Rows = {
    **dict.fromkeys(("Bincount", "DenseBincount"), _count),
    **dict.fromkeys(("InTopK", "InTopKV2"), _in_top),
    **dict.fromkeys(("DynamicStitch", "ParallelDynamicStitch"), _stitch),
    **{f"Segment{way}": _segment(way) for way in ("Sum", "Max", "Min", "Prod", "Mean")},
    "Bucketize": _bucketize,
    "Cumprod": _cumulative_product,
    "CumulativeLogsumexp": _cumulative_log,
    "DynamicPartition": _partition,
    "HistogramFixedWidth": _histogram,
    "InvertPermutation": _inverse_permutation,
    "LowerBound": _bound("GREATER"),
    "ParallelConcat": _joined,
    "SparseToDense": _sparse_to_dense,
    "TensorScatterMax": _scatter("max"),
    "TensorScatterMin": _scatter("min"),
    "TensorScatterSub": _scatter("sub"),
    "UpperBound": _bound("GREATER_EQUAL"),
}
