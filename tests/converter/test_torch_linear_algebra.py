# SPDX-License-Identifier: Apache-2.0
"""Equations, inverses and determinants of small matrices."""

from __future__ import annotations

import pytest
from torch_checks import check, floats, torch

import converter

L = torch.linalg
A = floats(2, 5, 5)
SWAPPED = torch.tensor([[0.0, 2.0, 1.0], [1e-3, 1.0, 0.0], [3.0, 0.0, 0.0]])
SINGULAR = torch.tensor([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 0.0, 1.0]])
COVARIANCE = A @ A.mT + torch.eye(5)

CASES = {
    "inverse": (L.inv, A),
    "inverse of one number": (L.inv, A[:, :1, :1] + 2),
    "inverse that swaps rows": (L.inv, SWAPPED),
    "solve": (L.solve, A, floats(2, 5, 3)),
    "solve for a vector": (L.solve, A[0], floats(5)),
    "solve for vectors": (L.solve, A, floats(2, 5)),
    "solve for all by one matrix": (L.solve, A[0], floats(2, 5, 3)),
    "determinant": (L.det, A),
    "determinant that swaps rows": (L.det, SWAPPED),
    "determinant of a singular matrix": (L.det, SINGULAR),
    "determinant of zeros": (L.det, torch.zeros(3, 3)),
    "slogdet": (L.slogdet, A),
    "cholesky": (L.cholesky, COVARIANCE),
    "cholesky, upper": (lambda x: L.cholesky(x, upper=True), COVARIANCE),
    "triangular": (lambda a, y: L.solve_triangular(a.tril(), y, upper=False), COVARIANCE, A),
    "triangular, upper": (lambda a, y: L.solve_triangular(a, y, upper=True), COVARIANCE, A),
    "triangular, ones on the diagonal": (
        lambda a, y: L.solve_triangular(a / 10, y, upper=False, unitriangular=True),
        COVARIANCE,
        A,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_operation(name):
    function, *inputs = CASES[name]
    check(function, *inputs)


def test_large_matrices_are_refused():
    with pytest.raises(converter.ConversionError, match="square ones of up to 16 rows"):
        check(L.inv, floats(17, 17))
