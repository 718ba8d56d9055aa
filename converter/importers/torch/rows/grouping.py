# SPDX-License-Identifier: Apache-2.0
"""Rows for what counts elements, and for experts that each take a group of rows."""

from __future__ import annotations

import numpy as np

from converter import ir
from converter.importers.forms import basic, gathering, products, reduction
from converter.importers.forms.basic import binary, cast, scalar, unary
from converter.importers.forms.elementwise import affine, compare
from converter.importers.no_form import NoForm
from converter.importers.torch.context import Context, Rows


def _histogram(c: Context) -> ir.Value:
    """How many elements fall into each of `bins` equal parts of [min, max]; others are left out."""
    x, bins = cast(c.b, c.value("self"), "FLOAT32"), c.arg("bins")
    low, high = float(c.arg("min")), float(c.arg("max"))
    if low >= high:
        raise NoForm("counts between the least and the largest element: give min and max")
    flat = basic.reshape(c.b, x, [-1 if None not in c.b.dims(x) else None, 1])
    place = unary(c.b, "FLOOR", affine(c.b, affine(c.b, flat, 1, -low), bins / (high - low), 0))
    place = binary(c.b, "MINIMUM", place, scalar(c.b, bins - 1, place))  # the end is of the last
    inside = c.b.emit(
        "LOGICAL_AND",
        [
            compare(c.b, "GREATER_EQUAL", flat, scalar(c.b, low, flat)),
            compare(c.b, "LESS_EQUAL", flat, scalar(c.b, high, flat)),
        ],
    )
    hit = compare(c.b, "EQUAL", place, c.b.constant(np.arange(bins)[None], "bins", np.float32))
    hit = c.b.emit("LOGICAL_AND", [hit, inside])
    return reduction.reduce(c.b, "SUM", cast(c.b, hit, c.result_type()), [0], False)


def _grouped_product(c: Context) -> ir.Value:
    """Rows [n, k] times the matrix of their group, of [groups, k, m]; `offs` are the groups' ends.

    Every group multiplies all rows, and each row takes its own: sizes that only values tell would
    not fit a device's plan.
    """
    x = c.value("input" if "input" in c.arguments else "self")
    weights = c.value("weight" if "weight" in c.arguments else "mat2")
    ends = c.value("offs")
    if (basic.rank(c.b, x), basic.rank(c.b, weights)) != (2, 3):
        raise NoForm("groups what it sums over: only rows may be in groups")
    count, groups = c.b.fixed_dims(x, "its rows")[0], c.b.fixed_dims(weights, "its matrices")[0]
    rows = c.b.constant(np.arange(count)[:, None], "rows", np.int32)
    behind = cast(c.b, compare(c.b, "GREATER_EQUAL", rows, basic.ints(c.b, ends)), "INT32")
    group = reduction.reduce(c.b, "SUM", behind, [1], True)
    last = binary(c.b, "MINIMUM", group, scalar(c.b, groups - 1, group))
    every = products.matmul(c.b, basic.unsqueeze(c.b, x, [0]), weights)
    found = gathering.gather_nd(c.b, every, basic.concat(c.b, [last, rows], -1))
    within = compare(c.b, "LESS", group, scalar(c.b, groups, group))
    found = c.b.emit("SELECT_V2", [within, found, scalar(c.b, 0, found)], dtype=found.dtype)
    bias = c.optional("bias")
    return found if bias is None else binary(c.b, "ADD", found, bias)


def _count_each(c: Context) -> ir.Value:
    raise NoForm(
        "gives as many counts as the largest element says: use torch.histc with fixed bins"
    )


ROWS: Rows = {
    "_grouped_mm": _grouped_product,
    "bincount": _count_each,
    "grouped_mm_fallback": _grouped_product,  # of transformers
    "histc": _histogram,
}
