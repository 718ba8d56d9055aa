# SPDX-License-Identifier: Apache-2.0
"""Records of equations, inverses and determinants of matrices [..., n, n] in imported graphs: no
function builds them, and they have no gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from host_engine.errors import invalid
from host_engine.framework import shape_rules as rules
from host_engine.framework.registry import define, sample
from host_engine.framework.tensor import Operation

_MATRICES = np.random.default_rng(5).normal(size=(2, 3, 3)) + 2 * np.eye(3)
_POSITIVE = _MATRICES @ _MATRICES.transpose(0, 2, 1) + np.eye(3)
_SAMPLES: dict[str, Any] = {"samples": (sample(_MATRICES), sample(_MATRICES[0]))}


def _batch(op: Operation) -> list[Any]:
    shape = op.inputs[0].shape
    return [None if shape.ndims is None else shape.as_list()[:-2]]


def _columns(op: Operation) -> list[Any]:
    return [op.inputs[1].shape]


def _possible(function: Any, *arrays: Any) -> Any:
    try:
        return function(*arrays)
    except np.linalg.LinAlgError as error:
        raise invalid(f"cannot be solved: {error}") from None


def _adjoint(x: Any) -> Any:
    return np.conj(np.swapaxes(x, -1, -2))


def _inverse(xp: Any, x: Any, adjoint: bool = False) -> Any:
    found = _possible(xp.linalg.inv, x)
    return _adjoint(found) if adjoint else found


def _solve(xp: Any, a: Any, y: Any, adjoint: bool = False) -> Any:
    return _possible(xp.linalg.solve, _adjoint(a) if adjoint else a, y)


def _solve_triangular(xp: Any, a: Any, y: Any, lower: bool = True, adjoint: bool = False) -> Any:
    return _solve(xp, xp.tril(a) if lower else xp.triu(a), y, adjoint)


def _cholesky(xp: Any, x: Any) -> Any:
    return _possible(xp.linalg.cholesky, x)


define("Cholesky", "input:T", shape=rules.same, compute=_cholesky, samples=(sample(_POSITIVE),))
define(
    "LogMatrixDeterminant",
    "input:T",
    shape=lambda op: _batch(op) * 2,
    compute=lambda xp, x: tuple(np.asarray(part, x.dtype) for part in xp.linalg.slogdet(x)),
    dtype=lambda op: [op.inputs[0].dtype.base_dtype] * 2,
    **_SAMPLES,
)
define(
    "MatrixDeterminant",
    "input:T",
    shape=_batch,
    compute=lambda xp, x: np.asarray(xp.linalg.det(x), x.dtype),
    **_SAMPLES,
)
define("MatrixInverse", "input:T", shape=rules.same, compute=_inverse, **_SAMPLES)
define(
    "MatrixSolve",
    "matrix:T rhs:T",
    shape=_columns,
    compute=_solve,
    samples=(sample(_MATRICES, (2, 3, 2)), sample(_MATRICES, (2, 3, 1), adjoint=True)),
)
define(
    "MatrixTriangularSolve",
    "matrix:T rhs:T",
    shape=_columns,
    compute=_solve_triangular,
    samples=(sample(_POSITIVE, (2, 3, 2)), sample(_POSITIVE, (2, 3, 2), lower=False)),
)
