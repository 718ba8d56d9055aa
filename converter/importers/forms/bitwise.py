# SPDX-License-Identifier: Apache-2.0
"""Functions of the bits of integers; TFLite itself has exclusive or and shifts."""

from __future__ import annotations

import numpy as np

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms.basic import binary, cast, scalar
from converter.importers.no_form import NoForm

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
    left, right = (binary(b, "FLOOR_MOD", v, scalar(b, 2, v)) for v in (x, y))
    low = binary(b, "MUL", left, right)
    upper = binary(b, "ADD", _halved(b, x), _halved(b, y))
    both = binary(b, "SUB", binary(b, "ADD", upper, low), _halved(b, odd))
    return both if op == "AND" else b.emit("BITWISE_XOR", [both, odd])


def _halved(b: Builder, x: ir.Value) -> ir.Value:
    shape = np.ones((1,) * len(b.dims(x)), np.int32)
    return b.emit("RIGHT_SHIFT", [x, b.constant(shape, "one")])


_SIGNED = {"UINT8": "INT8", "UINT16": "INT16", "UINT32": "INT32"}


def shifted_left(b: Builder, x: ir.Value, y: ir.Value) -> ir.Value:
    """x * 2^y; 0 where that shifts every bit out, or `y` is below 0."""
    kind, bits = x.dtype, np.iinfo(ir.numpy_dtype(x.dtype)).bits
    if kind in _PAIRS:
        powers = (np.uint64(1) << np.arange(bits, dtype=np.uint64)).view(np.int64)
        table = b.constant(powers, "powers", np.int64)
        at = cast(b, y, "INT32")
        held = b.emit("GATHER", [table, _within(b, at, bits)], axis=0)
        moved = cast(b, binary(b, "MUL", cast(b, x, "INT64"), held), kind)
        return _where_valid(b, at, bits, moved)
    own = _SIGNED.get(kind, kind)
    at = cast(b, y, "INT32")
    amount = cast(b, _within(b, at, bits), own)
    value = x if own == kind else b.emit("BITCAST", [x], dtype=own)
    moved = b.emit("STABLEHLO_SHIFT_LEFT", [value, amount])
    moved = moved if own == kind else b.emit("BITCAST", [moved], dtype=kind)
    return _where_valid(b, at, bits, moved)


def shifted_right(b: Builder, x: ir.Value, y: ir.Value) -> ir.Value:
    """floor(x / 2^y), the sign kept; amounts below 0 shift as all bits do."""
    kind = x.dtype
    if kind in _PAIRS:
        raise NoForm(f"shifts {kind} to the right, which LiteRT does not: use int32")
    bits = np.iinfo(ir.numpy_dtype(kind)).bits
    known = b.known(y)
    if kind.startswith("U") or (known is not None and (known >= 0).all()):
        return b.emit("RIGHT_SHIFT", [x, y])
    at = cast(b, y, "INT32")
    is_below = b.emit("LESS", [at, scalar(b, 0, at)], dtype="BOOL")
    amount = b.emit("SELECT_V2", [is_below, scalar(b, bits - 1, at), at], dtype="INT32")
    return b.emit("RIGHT_SHIFT", [x, cast(b, amount, kind)])


def _within(b: Builder, at: ir.Value, bits: int) -> ir.Value:
    above = binary(b, "MAXIMUM", at, scalar(b, 0, at))
    return binary(b, "MINIMUM", above, scalar(b, bits - 1, at))


def _where_valid(b: Builder, at: ir.Value, bits: int, moved: ir.Value) -> ir.Value:
    known = b.known(at)
    if known is not None and (known >= 0).all() and (known < bits).all():
        return moved
    is_valid = b.emit("EQUAL", [_within(b, at, bits), at], dtype="BOOL")
    return b.emit("SELECT_V2", [is_valid, moved, scalar(b, 0, moved)], dtype=moved.dtype)
