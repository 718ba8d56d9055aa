# SPDX-License-Identifier: Apache-2.0
"""Rows for operations that move elements: reshaping, transposing, joining, cutting."""

from __future__ import annotations

import math

import numpy as np

from converter import ir
from converter.importers.forms import basic
from converter.importers.onnx.context import Context, Rows


def _shape(c: Context) -> ir.Value:
    x = c.input(0)
    whole = basic.shape_of(c.b, x, "INT64")
    start, end = c.attr("start", 0), c.attr("end")
    if start == 0 and end is None:
        return whole
    return basic.slice_axis(c.b, whole, 0, *slice(start, end).indices(basic.rank(c.b, x))[:2])


def _reshape(c: Context) -> ir.Value:
    return basic.reshape_like(c.b, c.input(0), c.input(1), not c.attr("allowzero", 0))


def _flatten(c: Context) -> ir.Value:
    x = c.input(0)
    dims = c.b.dims(x)
    axis = c.attr("axis", 1)
    axis = axis + len(dims) if axis < 0 else axis

    def product(part: tuple[int | None, ...]) -> int | None:
        return None if None in part else math.prod(d for d in part if d is not None)

    return basic.reshape(c.b, x, [product(dims[:axis]), product(dims[axis:])])


def _transpose(c: Context) -> ir.Value:
    x = c.input(0)
    return basic.transpose(c.b, x, c.attr("perm", list(range(basic.rank(c.b, x)))[::-1]))


def _concat(c: Context) -> ir.Value:
    return basic.concat(c.b, c.inputs(), c.attr("axis"))


def _unsqueeze(c: Context) -> ir.Value:
    return basic.unsqueeze(c.b, c.input(0), c.numbers("axes", 1, "axes") or [])


def _squeeze(c: Context) -> ir.Value:
    return basic.squeeze(c.b, c.input(0), c.numbers("axes", 1, "axes"))


def _slice(c: Context) -> ir.Value:
    x = c.input(0)
    starts = c.numbers("starts", 1, "starts") or []
    ends = c.numbers("ends", 2, "ends") or []
    axes = c.numbers("axes", 3, "axes") or list(range(len(starts)))
    steps = [int(s) for s in c.array(4, "steps")] if c.has(4) else [1] * len(starts)
    limit = np.iinfo(np.int32).max
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        last = end >= limit if step > 0 else end <= -limit
        begin = max(-limit, min(start, limit))
        x = basic.slice_axis(c.b, x, axis, begin, None if last else end, step)
    return x


ROWS: Rows = {
    "Concat": _concat,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
