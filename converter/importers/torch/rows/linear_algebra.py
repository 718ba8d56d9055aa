# SPDX-License-Identifier: Apache-2.0
"""Rows for equations and determinants of small matrices (torch.linalg)."""

from __future__ import annotations

from converter import ir
from converter.importers.forms import basic, linear_algebra
from converter.importers.forms.basic import unary
from converter.importers.forms.elementwise import sign
from converter.importers.no_form import NoForm
from converter.importers.torch.context import Context, Rows

Several = list["ir.Value | None"]


def _inverse(c: Context) -> Several:
    return [linear_algebra.inverse(c.b, c.value("A")), None]


def _solve(c: Context) -> Several:
    """x of A x = B, or of x A = B; B may be a vector for each matrix."""
    a, y = c.value("A"), c.value("B")
    dims = c.b.fixed_dims(y, "its right side")
    vectors = len(dims) == 1 or dims == c.b.dims(a)[:-1]
    if not c.arg("left"):
        raise NoForm("solves x A = B: write it as the transpose of solve(A^T, B^T)")
    y = basic.unsqueeze(c.b, y, [-1]) if vectors else y
    x = linear_algebra.solve(c.b, a, y)
    return [basic.squeeze(c.b, x, [-1]) if vectors else x, None, None, None]


def _determinant(c: Context) -> Several:
    return [linear_algebra.determinant(c.b, c.value("A")), None, None]


def _sign_and_log(c: Context) -> Several:
    found = linear_algebra.determinant(c.b, c.value("A"))
    return [sign(c.b, found), unary(c.b, "LOG", unary(c.b, "ABS", found)), None, None]


def _cholesky(c: Context) -> Several:
    x = c.value("self")
    if not c.arg("upper"):
        return [linear_algebra.cholesky(c.b, x), None]
    found = linear_algebra.cholesky(c.b, linear_algebra.transposed(c.b, x))
    return [linear_algebra.transposed(c.b, found), None]


def _triangular(c: Context) -> ir.Value:
    if not c.arg("left"):
        raise NoForm("solves x A = B: write it as the transpose of solve_triangular(A^T, B^T)")
    upper, unit = bool(c.arg("upper")), bool(c.arg("unitriangular"))
    return linear_algebra.solve_triangular(c.b, c.value("self"), c.value("B"), upper, unit)


ROWS: Rows = {
    "_linalg_det": _determinant,
    "_linalg_slogdet": _sign_and_log,
    "_linalg_solve_ex": _solve,
    "linalg_cholesky_ex": _cholesky,
    "linalg_inv_ex": _inverse,
    "linalg_solve_triangular": _triangular,
}
