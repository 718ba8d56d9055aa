# SPDX-License-Identifier: Apache-2.0
"""Rows for reductions over axes, and for what picks elements by size."""

from __future__ import annotations

import numpy as np

from converter import ir
from converter.importers.forms import basic, reduction
from converter.importers.forms.elementwise import carried
from converter.importers.no_form import NoForm
from converter.importers.tensorflow.context import Context, Row, Rows


def _axes(c: Context) -> list[int] | ir.Value:
    known = c.b.known(c.input(1))
    return c.input(1) if known is None else [int(a) for a in known.reshape(-1)]


def _keep_dims(c: Context) -> bool:
    return bool(c.attr("keep_dims", c.attr("keepdims", False)))


def _reduce(op: str) -> Row:
    return lambda c: reduction.reduce(c.b, op, c.input(0), _axes(c), _keep_dims(c))


def _norm(c: Context) -> ir.Value:
    form = reduction.sum_of(reduction.square, reduction.root)
    return form(c.b, c.input(0), _axes(c), _keep_dims(c))


def _l2_loss(c: Context) -> ir.Value:
    x = c.input(0)
    total = reduction.reduce(c.b, "SUM", basic.unary(c.b, "SQUARE", x), None, False)
    return basic.binary(c.b, "MUL", total, basic.scalar(c.b, 0.5, total, "half"))


def _place(op: str) -> Row:
    def row(c: Context) -> ir.Value:
        kind = c.kind()
        axis = c.b.constant(int(c.array(1, "axis")), "axis", np.int32)

        def form(value: ir.Value) -> ir.Value:
            return c.b.emit(op, [value, axis], dtype=kind, output_type=kind)

        return carried(c.b, form, [c.input(0)], kind)

    return row


def _cumsum(c: Context) -> ir.Value:
    ways = bool(c.attr("exclusive", False)), bool(c.attr("reverse", False))
    return reduction.cumulative_sum(c.b, c.input(0), c.ints(1), *ways)


def _top_k(c: Context) -> list[ir.Value]:
    x, k = c.input(0), c.ints(1)
    known = c.b.known(k)
    dims = [*c.b.dims(x)[:-1], None if known is None else int(known)]
    if not c.attr("sorted", True) and known is None:
        raise NoForm("gives unsorted elements of a number that is computed: make k a constant")
    kinds = [x.dtype, "INT32"]
    return c.b.emit_many("TOPK_V2", [x, basic.reshape(c.b, k, [])], kinds, dims=[dims, dims])


ROWS: Rows = {
    "All": _reduce("REDUCE_ALL"),
    "Any": _reduce("REDUCE_ANY"),
    "ArgMax": _place("ARG_MAX"),
    "ArgMin": _place("ARG_MIN"),
    "Cumsum": _cumsum,
    "EuclideanNorm": _norm,
    "L2Loss": _l2_loss,
    "Max": _reduce("REDUCE_MAX"),
    "Mean": _reduce("MEAN"),
    "Min": _reduce("REDUCE_MIN"),
    "Prod": _reduce("REDUCE_PROD"),
    "Sum": _reduce("SUM"),
    "TopKV2": _top_k,
}
