# SPDX-License-Identifier: Apache-2.0
"""Values that a random draw cannot change, such as dropout's mask where everything is kept."""

from __future__ import annotations

from typing import Any

import numpy as np

RANDOM = ("Random", "Multinomial", "TruncatedNormal", "ParameterizedTruncatedNormal")  # begin so
# Half-open interval [low, high) of a value; a known number is [number, number].
_Interval = tuple[float, float]
_PASS = ("Identity", "StopGradient")


def settled(tensor: Any, known: dict[Any, np.ndarray]) -> np.ndarray | None:
    """The scalar that every element of `tensor` has whatever is drawn, else None.

    Looks at what dropout is made of: floor, comparison and cast of a uniform draw shifted or scaled
    by the numbers in `known`. The scalar broadcasts where the full shape would have stood.
    """
    op = tensor.op
    if op.type in (*_PASS, "Cast"):
        inner = settled(op.inputs[0], known)
        return None if inner is None else inner.astype(tensor.dtype.base_dtype.as_numpy_dtype)
    dtype = tensor.dtype.base_dtype.as_numpy_dtype
    if op.type == "Floor":
        bounds = _interval(op.inputs[0], known)
        if bounds is not None and bounds[1] <= np.floor(bounds[0]) + 1:
            return np.array(np.floor(bounds[0]), dtype)
    if op.type in ("GreaterEqual", "Less"):
        draw, threshold = op.inputs
        bounds, limit = _interval(draw, known), _scalar(threshold, known)
        if bounds is not None and limit is not None and bounds[0] != bounds[1]:
            if limit <= bounds[0]:
                return np.array(op.type == "GreaterEqual")
            if limit >= bounds[1]:
                return np.array(op.type == "Less")
    return None


def _scalar(tensor: Any, known: dict[Any, np.ndarray]) -> float | None:
    value = known.get(tensor)
    return float(value.reshape(())) if value is not None and value.size == 1 else None


def _interval(tensor: Any, known: dict[Any, np.ndarray]) -> _Interval | None:
    number = _scalar(tensor, known)
    if number is not None:
        return number, number
    op = tensor.op
    if op.type == "RandomUniform":
        return 0.0, 1.0
    if op.type in _PASS:
        return _interval(op.inputs[0], known)
    if op.type not in ("Add", "AddV2", "Sub", "Mul"):
        return None
    left, right = (_interval(t, known) for t in op.inputs)
    if left is None or right is None:
        return None
    (a_low, a_high), (b_low, b_high) = left, right
    if op.type == "Sub":
        # The upper end of a draw that is subtracted would become an open lower end.
        return (a_low - b_low, a_high - b_high) if b_low == b_high else None
    if op.type == "Mul":
        return (a_low * b_low, a_high * b_high) if min(a_low, b_low) >= 0 else None
    return a_low + b_low, a_high + b_high
