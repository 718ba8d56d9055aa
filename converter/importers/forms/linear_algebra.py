# SPDX-License-Identifier: Apache-2.0
"""Systems of linear equations, inverses and determinants of small matrices, written out.

Gauss-Jordan elimination that takes the largest element of each column as its pivot (Golub and Van
Loan, Matrix Computations, 3.4), some ten nodes for every row.
"""

from __future__ import annotations

import numpy as np

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic, products, reduction
from converter.importers.forms.basic import binary, scalar, unary
from converter.importers.forms.elementwise import compare, select
from converter.importers.no_form import NoForm

_MOST_ROWS = 16


def rows_of(b: Builder, x: ir.Value) -> int:
    """n of square matrices [..., n, n]; NoForm where they are not, or too large to write out."""
    *_, rows, columns = b.dims(x)
    if rows is None or rows != columns or not 0 < rows <= _MOST_ROWS:
        raise NoForm(
            f"is of matrices [{rows},{columns}]: square ones of up to {_MOST_ROWS} rows have a form"
        )
    return rows


def transposed(b: Builder, x: ir.Value) -> ir.Value:
    """[..., m, n] of [..., n, m]."""
    count = basic.rank(b, x)
    return basic.transpose(b, x, [*range(count - 2), count - 1, count - 2])


def solve(b: Builder, a: ir.Value, y: ir.Value) -> ir.Value:
    """x of a x = y: a [..., n, n], y [..., n, m]."""
    count = rows_of(b, a)
    lead = b.fixed_dims(a, "its matrices")[:-2]
    if b.fixed_dims(y, "its right side")[:-2] != lead:
        shape = [*np.broadcast_shapes(lead, b.fixed_dims(y, "its right side")[:-2])]
        a, y = (
            basic.broadcast_to(
                b, v, basic.int32s(b, [*shape, *b.fixed_dims(v, "it")[-2:]], "shape")
            )
            for v in (a, y)
        )
    whole = basic.concat(b, [a, y], -1)
    for k in range(count):
        whole, pivot, _ = _with_pivot(b, whole, k, count)
        row = binary(b, "DIV", basic.slice_axis(b, whole, -2, k, k + 1), pivot)
        column = basic.slice_axis(b, whole, -1, k, k + 1)
        rest = binary(b, "SUB", whole, binary(b, "MUL", column, row))
        whole = select(b, _is_row(b, k, count), row, rest)
    return basic.slice_axis(b, whole, -1, count, None)


def inverse(b: Builder, a: ir.Value) -> ir.Value:
    """Of matrices [..., n, n]."""
    count = rows_of(b, a)
    dims = b.fixed_dims(a, "its matrices")
    return solve(b, a, b.constant(np.broadcast_to(np.eye(count), dims), "identity", np.float32))


def determinant(b: Builder, a: ir.Value) -> ir.Value:
    """[...] of matrices [..., n, n]: the product of the pivots, negative for each swap of rows."""
    count = rows_of(b, a)
    total: ir.Value | None = None
    for k in range(count):
        a, pivot, swapped = _with_pivot(b, a, k, count)
        pivot = select(b, swapped, unary(b, "NEG", pivot), pivot)
        total = pivot if total is None else binary(b, "MUL", total, pivot)
        if k + 1 < count:
            safe = basic.slice_axis(b, a, -1, k, k + 1)
            own = basic.slice_axis(b, safe, -2, k, k + 1)
            zero = compare(b, "EQUAL", own, scalar(b, 0, own))
            own = select(b, zero, scalar(b, 1, own), own)  # of a column of zeros nothing is left
            row = binary(b, "DIV", basic.slice_axis(b, a, -2, k, k + 1), own)
            a = binary(b, "SUB", a, binary(b, "MUL", safe, row))
    assert total is not None
    return basic.squeeze(b, total, [-2, -1])


def cholesky(b: Builder, a: ir.Value) -> ir.Value:
    """The lower triangle l with l l^T = a, column by column; only the lower half of `a` is read."""
    count = rows_of(b, a)
    found: ir.Value | None = None
    for k in range(count):
        column = basic.slice_axis(b, a, -1, k, k + 1)
        if found is not None:
            known = basic.slice_axis(b, found, -2, k, k + 1)
            column = binary(b, "SUB", column, products.matmul(b, found, known, False, True))
        root = unary(b, "SQRT", basic.slice_axis(b, column, -2, k, k + 1))
        below = b.constant(np.arange(count)[:, None] >= k, "below", np.bool_)
        column = select(b, below, binary(b, "DIV", column, root), scalar(b, 0, column))
        found = column if found is None else basic.concat(b, [found, column], -1)
    assert found is not None
    return found


def solve_triangular(b: Builder, a: ir.Value, y: ir.Value, upper: bool, unit: bool) -> ir.Value:
    """x of a x = y, row by row; only the triangle of `a` is read, not its diagonal if `unit`."""
    count = rows_of(b, a)
    order = range(count - 1, -1, -1) if upper else range(count)
    found: list[ir.Value] = []  # rows in the order they become known
    for step, k in enumerate(order):
        row = basic.slice_axis(b, y, -2, k, k + 1)
        own = basic.slice_axis(b, a, -2, k, k + 1)
        if step:
            known = basic.concat(b, found[::-1] if upper else found, -2)
            part = basic.slice_axis(b, own, -1, *((k + 1, None) if upper else (0, k)))
            row = binary(b, "SUB", row, products.matmul(b, part, known))
        found.append(row if unit else binary(b, "DIV", row, basic.slice_axis(b, own, -1, k, k + 1)))
    return basic.concat(b, found[::-1] if upper else found, -2)


def _with_pivot(
    b: Builder, whole: ir.Value, k: int, count: int
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """(rows k and that of the largest element of column k, from row k on, swapped; that element
    [..., 1, 1]; whether the rows differ [..., 1, 1])
    """
    if k + 1 == count:
        last = basic.slice_axis(b, basic.slice_axis(b, whole, -2, k, k + 1), -1, k, k + 1)
        return whole, last, compare(b, "NOT_EQUAL", last, last)
    column = unary(b, "ABS", basic.slice_axis(b, whole, -1, k, k + 1))
    if k:
        done = b.constant(np.arange(count)[:, None] < k, "done", np.bool_)
        column = select(b, done, scalar(b, -1, column), column)
    place = basic.ints(b, reduction.place(b, "ARG_MAX", column, -2, True))
    numbers = b.constant(np.arange(count)[:, None], "rows", np.int32)
    best = compare(b, "EQUAL", numbers, place)
    chosen = select(b, best, whole, scalar(b, 0, whole))
    chosen = reduction.reduce(b, "SUM", chosen, [-2], True)
    own = basic.slice_axis(b, whole, -2, k, k + 1)
    swapped = select(b, best, own, whole)
    swapped = select(b, _is_row(b, k, count), chosen, swapped)
    differ = compare(b, "NOT_EQUAL", place, b.constant(k, "row", np.int32))
    return swapped, basic.slice_axis(b, chosen, -1, k, k + 1), differ


def _is_row(b: Builder, k: int, count: int) -> ir.Value:
    return b.constant(np.arange(count)[:, None] == k, "is row", np.bool_)
