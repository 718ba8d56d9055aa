# SPDX-License-Identifier: Apache-2.0
"""Rows for reductions, sums along an axis and the largest elements."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from converter import ir
from converter.importers.forms import basic, elementwise, gathering, reduction, scan
from converter.importers.forms.basic import binary, unary
from converter.importers.forms.elementwise import affine, arithmetic
from converter.importers.no_form import NoForm
from converter.importers.torch import sizes
from converter.importers.torch.context import Context, Row, Rows


def _axes(c: Context, name: str = "dim") -> list[int] | None:
    """None for all; an empty list says all too."""
    axes = c.arguments.get(name)
    return [axes] if isinstance(axes, int) else axes or None


def _keeps(c: Context) -> bool:
    return bool(c.arguments.get("keepdim"))


def _reduce(op: str) -> Row:
    def row(c: Context) -> ir.Value:
        x = basic.cast(c.b, c.value("self"), c.result_type())
        if not basic.rank(c.b, x):
            return x
        return reduction.reduce(c.b, op, x, _axes(c), _keeps(c))

    return row


def _truth(op: str) -> Row:
    """REDUCE_ANY, REDUCE_ALL: an element is true where it is not 0."""

    def row(c: Context) -> ir.Value:
        x = basic.cast(c.b, c.value("self"), "BOOL")
        if not basic.rank(c.b, x):
            return x
        found = reduction.reduce(c.b, op, x, _axes(c), _keeps(c))
        return basic.cast(c.b, found, c.result_type())

    return row


def _place(op: str) -> Row:
    def row(c: Context) -> ir.Value:
        x, axis = c.value("self"), c.arg("dim")
        if axis is None:
            x, axis = basic.reshape(c.b, x, [None] if None in c.b.dims(x) else [-1]), 0
            if _keeps(c):
                raise NoForm("keeps dimensions that it searches as one: give it a dim")
        return reduction.place(c.b, op, x, axis, _keeps(c))

    return row


def _extreme(op: str, place: str) -> Row:
    """max or min: over all elements, or along an axis with the places."""

    def row(c: Context) -> ir.Value | list[ir.Value]:
        x = c.value("self")
        if "dim" not in c.arguments:
            return reduction.reduce(c.b, op, x, None, False)
        values = reduction.reduce(c.b, op, x, [c.arg("dim")], _keeps(c))
        return [values, reduction.place(c.b, place, x, c.arg("dim"), _keeps(c))]

    return row


def _variance(c: Context) -> tuple[ir.Value, ir.Value]:
    """(variance, mean) with `correction` (default 1) less than the count as the divisor."""
    x, axes = c.value("self"), _axes(c)
    correction = c.arguments.get("correction")
    if "unbiased" in c.arguments:
        correction = int(c.arg("unbiased"))
    mean = reduction.reduce(c.b, "MEAN", x, axes, True)
    square = reduction.square(c.b, binary(c.b, "SUB", x, mean))
    biased = reduction.reduce(c.b, "MEAN", square, axes, _keeps(c))
    shown = mean if _keeps(c) else reduction.reduce(c.b, "MEAN", x, axes, False)
    less = 1 if correction is None else correction
    return (biased if less == 0 else _corrected(c, x, biased, less)), shown


def _corrected(c: Context, x: ir.Value, biased: ir.Value, less: float) -> ir.Value:
    """The mean of squares as the sum over the count less a correction."""
    axes = _axes(c) or range(basic.rank(c.b, x))
    count = sizes.product(c.b, [sizes.size_of(c.b, x, axis) for axis in axes])
    if isinstance(count, ir.Value):
        whole = basic.cast(c.b, count, "FLOAT32")
        return binary(c.b, "MUL", biased, binary(c.b, "DIV", whole, affine(c.b, whole, 1, -less)))
    rest = max(0, count - less)
    factor = count / rest if rest else math.inf
    return binary(c.b, "MUL", biased, basic.scalar(c.b, factor, biased))


def _norm(c: Context) -> ir.Value:
    """(sum of |x| ** ord) ** (1 / ord), and its limits"""
    x, axes, keep = basic.cast(c.b, c.value("self"), c.result_type()), _axes(c), _keeps(c)
    order = float(c.arg("ord"))
    size = unary(c.b, "ABS", x)
    if math.isinf(order):
        op = "REDUCE_MAX" if order > 0 else "REDUCE_MIN"
        return reduction.reduce(c.b, op, size, axes, keep)
    if order == 0:
        zero = basic.scalar(c.b, 0, x)
        counted = basic.cast(c.b, elementwise.compare(c.b, "NOT_EQUAL", x, zero), x.dtype)
        return reduction.reduce(c.b, "SUM", counted, axes, keep)
    if order == 1:
        return reduction.reduce(c.b, "SUM", size, axes, keep)
    if order == 2:
        return unary(c.b, "SQRT", reduction.reduce(c.b, "SUM", unary(c.b, "SQUARE", x), axes, keep))
    powers = elementwise.power(c.b, size, basic.scalar(c.b, order, x))
    total = reduction.reduce(c.b, "SUM", powers, axes, keep)
    return elementwise.power(c.b, total, basic.scalar(c.b, 1 / order, x))


def _log_sum_exp(c: Context) -> ir.Value:
    x = basic.cast(c.b, c.value("self"), c.result_type())
    return reduction.log_sum_exp(c.b, x, _axes(c), _keeps(c))


def _cumulative_sum(c: Context) -> ir.Value:
    x = basic.cast(c.b, c.value("self"), c.result_type())
    axis = c.b.constant(basic.axis_of(c.b, x, c.arg("dim")), "axis", "int32")
    return reduction.cumulative_sum(c.b, x, axis, False, False) if c.b.dims(x) else x


def _cumulative_product(c: Context) -> ir.Value:
    x = basic.cast(c.b, c.value("self"), c.result_type())
    return scan.cumulative_product(c.b, x, c.arg("dim"))


def _cumulative_extreme(op: str) -> Row:
    return lambda c: list(scan.cumulative_extreme(c.b, op, c.value("self"), c.arg("dim")))


def _top_k(c: Context) -> list[ir.Value]:
    k = c.arg("k")
    if isinstance(k, ir.Value):
        raise NoForm("has a computed k: make it a number")
    return list(reduction.top_k(c.b, c.value("self"), k, c.arg("dim"), c.arg("largest")))


def _sort(c: Context) -> list[ir.Value]:
    x, axis = c.value("self"), c.arg("dim")
    count = c.b.fixed_dims(x, "its input")[axis]
    return list(reduction.top_k(c.b, x, count, axis, bool(c.arg("descending"))))


def _median(c: Context) -> ir.Value | list[ir.Value]:
    """The lower of the middle elements: of all, or along an axis with its place."""
    x = c.value("self")
    if "dim" not in c.arguments:
        flat = basic.reshape(c.b, x, [math.prod(c.b.fixed_dims(x, "its input"))])
        return _ordered(c, flat, 0, _middle(c, flat, 0), False)[0]
    return _ordered(c, x, c.arg("dim"), _middle(c, x, c.arg("dim")), _keeps(c))


def _middle(c: Context, x: ir.Value, axis: int) -> int:
    return (c.b.fixed_dims(x, "its input")[axis] + 1) // 2 if basic.rank(c.b, x) else 1


def _kth_value(c: Context) -> list[ir.Value]:
    return _ordered(c, c.value("self"), c.arg("dim"), c.arg("k"), _keeps(c))


def _ordered(c: Context, x: ir.Value, axis: int, k: int, keep_dims: bool) -> list[ir.Value]:
    """The element that is the `k`-th from the smallest along an axis, and its place."""
    if not basic.rank(c.b, x):
        return [x, c.b.constant(0, "place", np.int64)]
    found = reduction.top_k(c.b, x, k, axis, False)
    parts = [basic.slice_axis(c.b, v, axis, k - 1, k) for v in found]
    return parts if keep_dims else [basic.squeeze(c.b, v, [axis]) for v in parts]


def _distance(c: Context) -> ir.Value:
    """[..., n, m] norms of the differences of rows of x1 [..., n, d] and x2 [..., m, d]"""
    x, y = basic.unsqueeze(c.b, c.value("x1"), [-2]), basic.unsqueeze(c.b, c.value("x2"), [-3])
    return _p_norm(c, arithmetic(c.b, "SUB", x, y), -1)


def _pairs(c: Context) -> ir.Value:
    """Norms of the differences of each row with those behind it."""
    x = c.value("self")
    first, second = np.triu_indices(c.b.fixed_dims(x, "its input")[0], 1)
    left, right = (
        gathering.gather(c.b, x, basic.int32s(c.b, at, "pairs"), 0) for at in (first, second)
    )
    return _p_norm(c, arithmetic(c.b, "SUB", left, right), -1)


def _difference(c: Context) -> ir.Value:
    """The norm of self - other."""
    x = arithmetic(c.b, "SUB", c.value("self"), c.value("other"))
    return _p_norm(c, x, None)


def _p_norm(c: Context, x: ir.Value, axis: int | None) -> ir.Value:
    arguments: dict[str, Any] = {"self": x, "ord": c.arg("p"), "dim": axis}
    return _norm(Context(c.graph, c.node, arguments))


ROWS: Rows = {
    "_cdist_forward": _distance,
    "_is_all_true": _truth("REDUCE_ALL"),
    "_is_any_true": _truth("REDUCE_ANY"),
    "_pdist_forward": _pairs,
    "all": _truth("REDUCE_ALL"),
    "amax": _reduce("REDUCE_MAX"),
    "amin": _reduce("REDUCE_MIN"),
    "any": _truth("REDUCE_ANY"),
    "argmax": _place("ARG_MAX"),
    "argmin": _place("ARG_MIN"),
    "dist": _difference,
    "cummax": _cumulative_extreme("GREATER_EQUAL"),
    "cummin": _cumulative_extreme("LESS_EQUAL"),
    "cumprod": _cumulative_product,
    "cumsum": _cumulative_sum,
    "kthvalue": _kth_value,
    "linalg_vector_norm": _norm,
    "logsumexp": _log_sum_exp,
    "max": _extreme("REDUCE_MAX", "ARG_MAX"),
    "mean": _reduce("MEAN"),
    "median": _median,
    "min": _extreme("REDUCE_MIN", "ARG_MIN"),
    "prod": _reduce("REDUCE_PROD"),
    "sort": _sort,
    "std": lambda c: unary(c.b, "SQRT", _variance(c)[0]),
    "sum": _reduce("SUM"),
    "topk": _top_k,
    "var": lambda c: _variance(c)[0],
    "var_mean": lambda c: list(_variance(c)),
}
