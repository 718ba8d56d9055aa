# SPDX-License-Identifier: Apache-2.0
"""Rows for the diagonals and bands of matrices, and for equations of small ones."""

from __future__ import annotations

import numpy as np

from converter import ir
from converter.importers.forms import basic, gathering, linear_algebra
from converter.importers.forms.basic import scalar, unary
from converter.importers.forms.elementwise import carried, sign
from converter.importers.no_form import NoForm
from converter.importers.rows import refuse
from converter.importers.tensorflow.context import Context, Row, Rows


def _band(c: Context, at: int) -> tuple[int, int]:
    """Numbers of the lowest and the highest diagonal, of input `at`; 0 where there is none."""
    if c.n_inputs <= at:
        return 0, 0
    ends = [int(k) for k in c.array(at, "number of diagonals").reshape(-1)]
    return ends[0], ends[-1]


def _cells(c: Context, rows: int, columns: int, low: int, high: int) -> np.ndarray:
    """[diagonals, places] flat indices of a matrix's cells, -1 where a diagonal is shorter; the
    highest diagonal first, as MatrixDiagPartV3 orders and aligns them.
    """
    align = str(c.attr("align", "LEFT_LEFT"))
    above, _, below = align.partition("_")
    longest = min(rows + min(high, 0), columns - max(low, 0))
    found = np.full((high - low + 1, max(longest, 0)), -1)
    for i, k in enumerate(range(high, low - 1, -1)):
        start = (-k, 0) if k < 0 else (0, k)
        count = min(rows - start[0], columns - start[1])
        side = above if k >= 0 else below
        first = longest - count if side == "RIGHT" else 0
        steps = np.arange(max(count, 0))
        found[i, first : first + count] = (start[0] + steps) * columns + start[1] + steps
    return found


def _diagonal_part(c: Context) -> ir.Value:
    x = c.input(0)
    rows, columns = c.b.fixed_dims(basic.reshape(c.b, x, _last_two(c, x)), "its matrix")[-2:]
    low, high = _band(c, 1)
    cells = _cells(c, rows, columns, low, high)
    rest = list(c.b.dims(x)[:-2])
    flat = basic.reshape(c.b, x, [*rest, rows * columns])
    found = gathering.gather(c.b, flat, basic.int32s(c.b, np.maximum(cells, 0), "cells"), -1)
    if (cells < 0).any():
        fill = c.input(2) if c.n_inputs > 2 else scalar(c.b, 0, x)
        mask = c.b.constant(cells < 0, "beyond", np.bool_)
        found = carried(
            c.b, lambda v, p: c.b.emit("SELECT_V2", [mask, p, v], dtype=v.dtype), [found, fill]
        )
    return found if low != high else basic.reshape(c.b, found, [*rest, cells.shape[1]])


def _last_two(c: Context, x: ir.Value) -> list[int | None]:
    dims = c.b.dims(x)
    if len(dims) < 2 or None in dims[-2:]:
        raise NoForm("is of matrices of dynamic size: give the model's inputs fixed sizes")
    return list(dims) if dims.count(None) <= 1 else [1, *dims[-2:]]


def _placed(c: Context, x: ir.Value, cells: np.ndarray, size: int) -> tuple[ir.Value, np.ndarray]:
    """[..., size] the elements of diagonals `x` at their cells, and which cells have none."""
    order = np.full(size, -1)
    flat = cells.reshape(-1)
    order[flat[flat >= 0]] = np.flatnonzero(flat >= 0)
    return gathering.gather(c.b, x, basic.int32s(c.b, np.maximum(order, 0), "order"), -1), order < 0


def _spread(
    c: Context, x: ir.Value, cells: np.ndarray, dims: list[int | None], under: ir.Value
) -> ir.Value:
    """Matrices of `dims` with the diagonals `x` at `cells`, and `under` elsewhere."""
    rows, columns = int(dims[-2] or 0), int(dims[-1] or 0)
    rest = dims[:-2]
    found, empty = _placed(c, basic.reshape(c.b, x, [*rest, cells.size]), cells, rows * columns)
    whole = basic.reshape(c.b, found, dims)
    mask = c.b.constant(empty.reshape(rows, columns), "elsewhere", np.bool_)
    return carried(
        c.b, lambda v, u: c.b.emit("SELECT_V2", [mask, u, v], dtype=v.dtype), [whole, under]
    )


def _diagonal(c: Context) -> ir.Value:
    """Matrices of diagonals [..., count], or [..., diagonals, count] for a band."""
    x = c.input(0)
    low, high = _band(c, 1)
    given = [-1, -1]
    for i in (2, 3):
        if c.n_inputs > i:
            given[i - 2] = int(c.array(i, "size").reshape(()))
    dims = c.b.dims(x)
    rest = list(dims[:-1] if low == high else dims[:-2])
    count = dims[-1]
    if count is None:
        raise NoForm("is of diagonals of dynamic size: give the model's inputs fixed sizes")
    least = (count - min(high, 0), count + max(low, 0))
    rows, columns = given
    if rows < 0 and columns < 0:
        rows = columns = max(least)
    rows, columns = (rows if rows >= 0 else least[0]), (columns if columns >= 0 else least[1])
    under = c.input(4) if c.n_inputs > 4 else scalar(c.b, 0, x)
    return _spread(c, x, _cells(c, rows, columns, low, high), [*rest, rows, columns], under)


def _set_diagonal(c: Context) -> ir.Value:
    x, diagonal = c.input(0), c.input(1)
    dims = _last_two(c, x)
    if dims != list(c.b.dims(x)):
        raise NoForm("has several axes of dynamic sizes: give the model's inputs fixed sizes")
    low, high = _band(c, 2)
    cells = _cells(c, int(dims[-2] or 0), int(dims[-1] or 0), low, high)
    return _spread(c, diagonal, cells, dims, x)


def _flat_diagonal(c: Context) -> ir.Value:
    """tf.diag: rank n to rank 2 n."""
    x = c.input(0)
    dims = c.b.fixed_dims(x, "its input")
    size = int(np.prod(dims))
    cells = (np.arange(size) * (size + 1))[None]
    whole = _spread(c, basic.reshape(c.b, x, [size]), cells, [size, size], scalar(c.b, 0, x))
    return basic.reshape(c.b, whole, [*dims, *dims])


def _flat_diagonal_part(c: Context) -> ir.Value:
    x = c.input(0)
    dims = c.b.fixed_dims(x, "its input")
    half = dims[: len(dims) // 2]
    size = int(np.prod(half))
    at = basic.int32s(c.b, np.arange(size) * (size + 1), "cells")
    flat = basic.reshape(c.b, x, [size * size])
    return basic.reshape(c.b, gathering.gather(c.b, flat, at, 0), half)


def _inverse(c: Context) -> ir.Value:
    """Of `input`, or of its transpose."""
    x = c.input(0)
    found = linear_algebra.inverse(c.b, x)
    return linear_algebra.transposed(c.b, found) if c.attr("adjoint", False) else found


def _solve(c: Context) -> ir.Value:
    a, y = c.inputs()
    return linear_algebra.solve(
        c.b, linear_algebra.transposed(c.b, a) if c.attr("adjoint", False) else a, y
    )


def _solve_triangular(c: Context) -> ir.Value:
    a, y = c.inputs()
    upper, adjoint = not c.attr("lower", True), bool(c.attr("adjoint", False))
    a = linear_algebra.transposed(c.b, a) if adjoint else a
    return linear_algebra.solve_triangular(c.b, a, y, upper != adjoint, unit=False)


def _log_determinant(c: Context) -> list[ir.Value]:
    """[its sign, the logarithm of its magnitude]"""
    found = linear_algebra.determinant(c.b, c.input(0))
    return [sign(c.b, found), unary(c.b, "LOG", unary(c.b, "ABS", found))]


_DECOMPOSES: Row = refuse(
    "decomposes matrices, which TFLite lacks: compute it outside the model, or make its input a"
    " constant"
)
_DECOMPOSITIONS = (
    *("MatrixSolveLs", "MatrixExponential", "MatrixLogarithm", "MatrixSquareRoot", "Qr", "Lu"),
    *("SelfAdjointEigV2", "Svd", "Eig", "TridiagonalSolve"),
)
ROWS: Rows = {
    **dict.fromkeys(_DECOMPOSITIONS, _DECOMPOSES),
    **dict.fromkeys(("MatrixDiag", "MatrixDiagV2", "MatrixDiagV3"), _diagonal),
    **dict.fromkeys(("MatrixDiagPart", "MatrixDiagPartV2", "MatrixDiagPartV3"), _diagonal_part),
    **dict.fromkeys(("MatrixSetDiag", "MatrixSetDiagV2", "MatrixSetDiagV3"), _set_diagonal),
    "Cholesky": lambda c: linear_algebra.cholesky(c.b, c.input(0)),
    "Diag": _flat_diagonal,
    "DiagPart": _flat_diagonal_part,
    "LogMatrixDeterminant": _log_determinant,
    "MatrixDeterminant": lambda c: linear_algebra.determinant(c.b, c.input(0)),
    "MatrixInverse": _inverse,
    "MatrixSolve": _solve,
    "MatrixTriangularSolve": _solve_triangular,
}
