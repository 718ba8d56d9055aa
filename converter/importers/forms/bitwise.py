# SPDX-License-Identifier: Apache-2.0
"""Functions of the bits of integers; TFLite itself has exclusive or and shifts."""

from __future__ import annotations

import numpy as np

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms.basic import binary, cast, scalar

_PAIRS = ("INT64", "UINT64")  # which are two INT32 each


def inverted(b: Builder, x: ir.Value) -> ir.Value:
    """Every bit the other way."""
    return of_two(b, "XOR", x, b.constant(~np.zeros((), ir.numpy_dtype(x.dtype)), "ones"))


def of_two(b: Builder, op: str, x: ir.Value, y: ir.Value) -> ir.Value:
    """AND, OR or XOR of integers of one type; NumPy's broadcasting."""
    kind = x.dtype
    if kind in (*_PAIRS, "UINT32"):
        x, y = (b.emit("BITCAST", [v], dtype="INT32") for v in (x, y))
        return b.emit("BITCAST", [_of_int32(b, op, x, y)], dtype=kind)
    return cast(b, _of_int32(b, op, cast(b, x, "INT32"), cast(b, y, "INT32")), kind)


def _of_int32(b: Builder, op: str, x: ir.Value, y: ir.Value) -> ir.Value:
    """x and y = (x >> 1) + (y >> 1) + x's last bit * y's - ((x xor y) >> 1), whose sums fit."""
    odd = b.emit("BITWISE_XOR", [x, y])
    if op == "XOR":
        return odd
    low = binary(b, "MUL", *(binary(b, "FLOOR_MOD", v, scalar(b, 2, v)) for v in (x, y)))
    upper = binary(b, "ADD", _halved(b, x), _halved(b, y))
    both = binary(b, "SUB", binary(b, "ADD", upper, low), _halved(b, odd))
    return both if op == "AND" else b.emit("BITWISE_XOR", [both, odd])


def _halved(b: Builder, x: ir.Value) -> ir.Value:
    shape = np.ones((1,) * len(b.dims(x)), np.int32)
    return b.emit("RIGHT_SHIFT", [x, b.constant(shape, "one")])
