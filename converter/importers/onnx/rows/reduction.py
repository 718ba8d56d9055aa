# SPDX-License-Identifier: Apache-2.0
"""Rows for reductions, sums along an axis and the largest elements."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from converter import ir
from converter.importers.forms import basic, reduction
from converter.importers.forms.elementwise import arithmetic
from converter.importers.onnx.context import Context, Row, Rows


def _reduce(form: Callable[..., ir.Value]) -> Row:
    def row(c: Context) -> ir.Value:
        x, keep = c.input(0), bool(c.attr("keepdims", 1))
        axes: Sequence[int] | ir.Value | None = c.attr("axes")
        if c.has(1):
            given = c.input(1)
            known = np.zeros(0) if c.b.dims(given) == (0,) else c.b.known(given)
            axes = given if known is None else [int(a) for a in known.reshape(-1)]
        if not isinstance(axes, ir.Value) and not axes:
            if c.attr("noop_with_empty_axes", 0):
                return form(c.b, x, [], keep)
            axes = None
        return form(c.b, x, axes, keep)

    return row


def _plain(op: str) -> Row:
    return _reduce(lambda b, *args: reduction.reduce(b, op, *args))


def _sum(inner: object, outer: object) -> Row:
    return _reduce(reduction.sum_of(inner, outer))  # type: ignore[arg-type]


def _place(op: str) -> Row:
    def row(c: Context) -> ir.Value:
        last = bool(c.attr("select_last_index", 0))
        keep = bool(c.attr("keepdims", 1))
        return reduction.place(c.b, op, c.input(0), c.attr("axis", 0), keep, last)

    return row


def _cumsum(c: Context) -> ir.Value:
    axis = basic.ints(c.b, c.input(1))
    axis = basic.reshape(c.b, axis, [])
    exclusive, reverse = bool(c.attr("exclusive", 0)), bool(c.attr("reverse", 0))
    return reduction.cumulative_sum(c.b, c.input(0), axis, exclusive, reverse)


def _top_k(c: Context) -> list[ir.Value]:
    k = int(c.attr("k")) if c.opset < 10 else c.input(1)
    largest = bool(c.attr("largest", 1))
    return list(reduction.top_k(c.b, c.input(0), k, c.attr("axis", -1), largest))


def _size(c: Context) -> ir.Value:
    shape = basic.shape_of(c.b, c.input(0), "INT64")
    return reduction.reduce(c.b, "REDUCE_PROD", shape, [0], False)


def _mean_variance(c: Context) -> ir.Value:
    """(x - mean) / sqrt(variance) over the axes"""
    x, axes = c.input(0), c.attr("axes", [0, 2, 3])
    centred = arithmetic(c.b, "SUB", x, reduction.reduce(c.b, "MEAN", x, axes, True))
    variance = reduction.reduce(c.b, "MEAN", reduction.square(c.b, centred), axes, True)
    spread = basic.unary(c.b, "SQRT", basic.binary(
        c.b, "ADD", variance, basic.scalar(c.b, 1e-9, x)))  # fmt: skip
    return basic.binary(c.b, "DIV", centred, spread)


ROWS: Rows = {
    "ArgMax": _place("ARG_MAX"),
    "ArgMin": _place("ARG_MIN"),
    "CumSum": _cumsum,
    "MeanVarianceNormalization": _mean_variance,
    "ReduceL1": _sum(reduction.magnitude, None),
    "ReduceL2": _sum(reduction.square, reduction.root),
    "ReduceLogSum": _sum(None, reduction.log),
    "ReduceLogSumExp": _reduce(reduction.log_sum_exp),
    "ReduceMax": _plain("REDUCE_MAX"),
    "ReduceMean": _plain("MEAN"),
    "ReduceMin": _plain("REDUCE_MIN"),
    "ReduceProd": _plain("REDUCE_PROD"),
    "ReduceSum": _plain("SUM"),
    "ReduceSumSquare": _sum(reduction.square, None),
    "Size": _size,
    "TopK": _top_k,
}
