# SPDX-License-Identifier: Apache-2.0
"""Arithmetic on sizes: Python's own operators in an exported program.

A size that is fixed is Python's number; one that depends on dynamic dimensions is a value of rank
0, INT32, whose samples the builder knows.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic
from converter.importers.forms.elementwise import affine, apply, arithmetic, compare, select

Form = Callable[..., ir.Value]


def _binary(op: str) -> Form:
    def form(b: Builder, x: ir.Value, y: ir.Value) -> ir.Value:
        kind = "FLOAT32" if "FLOAT32" in (x.dtype, y.dtype) else x.dtype
        return arithmetic(b, op, basic.cast(b, x, kind), basic.cast(b, y, kind))

    return form


def _compare(op: str) -> Form:
    def form(b: Builder, x: ir.Value, y: ir.Value) -> ir.Value:
        kind = "FLOAT32" if "FLOAT32" in (x.dtype, y.dtype) else x.dtype
        return compare(b, op, basic.cast(b, x, kind), basic.cast(b, y, kind))

    return form


def _quotient(b: Builder, x: ir.Value, y: ir.Value) -> ir.Value:
    return basic.binary(b, "DIV", basic.cast(b, x, "FLOAT32"), basic.cast(b, y, "FLOAT32"))


def _whole(op: str) -> Form:
    """A float rounded to a size."""

    def form(b: Builder, x: ir.Value) -> ir.Value:
        return basic.ints(b, x if x.dtype == "INT32" else apply(b, op, x))

    return form


def _truncated(b: Builder, x: ir.Value) -> ir.Value:
    return basic.ints(b, x)


ROWS: dict[Any, Form] = {
    math.ceil: _whole("CEIL"),
    math.floor: _whole("FLOOR"),
    math.trunc: _truncated,
    operator.add: _binary("ADD"),
    operator.and_: lambda b, x, y: b.emit("LOGICAL_AND", [x, y]),
    operator.eq: _compare("EQUAL"),
    operator.floordiv: _binary("FLOOR_DIV"),
    operator.ge: _compare("GREATER_EQUAL"),
    operator.gt: _compare("GREATER"),
    operator.le: _compare("LESS_EQUAL"),
    operator.lt: _compare("LESS"),
    operator.mod: _binary("FLOOR_MOD"),
    operator.mul: _binary("MUL"),
    operator.ne: _compare("NOT_EQUAL"),
    operator.neg: lambda b, x: affine(b, x, -1, 0),
    operator.or_: lambda b, x, y: b.emit("LOGICAL_OR", [x, y]),
    operator.pow: _binary("POW"),
    operator.sub: _binary("SUB"),
    operator.truediv: _quotient,
    torch.sym_float: lambda b, x: basic.cast(b, x, "FLOAT32"),
    torch.sym_int: _truncated,
    torch.sym_ite: lambda b, condition, x, y: select(b, condition, x, y),
    torch.sym_max: _binary("MAXIMUM"),
    torch.sym_min: _binary("MINIMUM"),
    torch.sym_not: lambda b, x: b.emit("LOGICAL_NOT", [x]),
}


def compute(b: Builder, target: Any, given: Sequence[Any]) -> Any:
    """`target` on sizes: a number where all are numbers, or where the result is fixed."""
    if not any(isinstance(v, ir.Value) for v in given):
        return target(*given)
    return settled(b, ROWS[target](b, *(_value(b, v) for v in given)))


def settled(b: Builder, value: ir.Value) -> Any:
    """A size as Python's number where it is fixed."""
    known = b.known(value)
    return value if known is None else known.reshape(()).item()


def size_of(b: Builder, x: ir.Value, axis: int) -> Any:
    """The size of one axis."""
    fixed = b.dims(x)[axis]
    if fixed is not None:
        return fixed
    axis = basic.axis_of(b, x, axis)
    part = basic.slice_axis(b, basic.shape_of(b, x), 0, axis, axis + 1)
    return settled(b, basic.reshape(b, part, []))


def product(b: Builder, factors: Sequence[Any]) -> Any:
    """The product of sizes."""
    total: Any = 1
    for factor in factors:
        total = compute(b, operator.mul, [total, factor])
    return total


def vector(b: Builder, sizes: Sequence[Any]) -> ir.Value:
    """Sizes as one vector, INT32."""
    if not any(isinstance(size, ir.Value) for size in sizes):
        return basic.int32s(b, [int(size) for size in sizes], "sizes")
    parts = [
        basic.reshape(b, basic.ints(b, size), [1])
        if isinstance(size, ir.Value)
        else basic.int32s(b, [int(size)], "size")
        for size in sizes
    ]
    return basic.concat(b, parts, 0)


def _value(b: Builder, size: Any) -> ir.Value:
    if isinstance(size, ir.Value):
        return size if size.dtype in ("FLOAT32", "BOOL") else basic.ints(b, size)
    kind = np.float32 if isinstance(size, float) else np.int32
    return b.constant(size, "number", np.bool_ if isinstance(size, bool) else kind)
