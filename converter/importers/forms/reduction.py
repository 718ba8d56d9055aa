# SPDX-License-Identifier: Apache-2.0
"""Reductions over axes, and what picks elements by size."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic
from converter.importers.forms.basic import binary, int32s, rank, scalar, unary
from converter.importers.forms.elementwise import absolute, apply, arithmetic, carried
from converter.importers.no_form import NoForm


def reduce(
    b: Builder, op: str, x: ir.Value, axes: Sequence[int] | ir.Value | None, keep_dims: bool
) -> ir.Value:
    """SUM, MEAN, REDUCE_MAX... over `axes`: None for all, a value where they are computed."""
    dims = rank(b, x)
    if isinstance(axes, ir.Value):
        over: ir.Value = basic.ints(b, axes)
        count = 0 if keep_dims else b.fixed_dims(over, "its axes")[0]
        shape: list[int | None] = [None] * max(0, dims - count)
    else:
        numbers = range(dims) if axes is None else {basic.axis_of(b, x, a) for a in axes}
        over, shape = int32s(b, sorted(numbers), "axes"), []

    op = {"REDUCE_MAX": "REDUCE_ANY", "REDUCE_MIN": "REDUCE_ALL"}.get(op, op) if (
        x.dtype == "BOOL") else op  # fmt: skip

    def form(value: ir.Value) -> ir.Value:
        if isinstance(axes, ir.Value):
            return b.emit(op, [value, over], dims=shape, keep_dims=keep_dims)
        return b.emit(op, [value, over], keep_dims=keep_dims)

    return carried(b, form, [x])


def sum_of(
    inner: Callable[[Builder, ir.Value], ir.Value] | None,
    outer: Callable[[Builder, ir.Value], ir.Value] | None,
) -> Callable[..., ir.Value]:
    """outer(sum over axes of inner(x)): ReduceL1, ReduceL2, ReduceLogSum, ReduceSumSquare."""

    def form(
        b: Builder, x: ir.Value, axes: Sequence[int] | ir.Value | None, keep_dims: bool
    ) -> ir.Value:
        total = reduce(b, "SUM", inner(b, x) if inner else x, axes, keep_dims)
        return outer(b, total) if outer else total

    return form


def magnitude(b: Builder, x: ir.Value) -> ir.Value:
    return absolute(b, x)


def square(b: Builder, x: ir.Value) -> ir.Value:
    return arithmetic(b, "MUL", x, x)


def root(b: Builder, x: ir.Value) -> ir.Value:
    return basic.cast(b, unary(b, "SQRT", basic.cast(b, x, "FLOAT32")), x.dtype)


def log(b: Builder, x: ir.Value) -> ir.Value:
    return basic.cast(b, unary(b, "LOG", basic.cast(b, x, "FLOAT32")), x.dtype)


def log_sum_exp(
    b: Builder, x: ir.Value, axes: Sequence[int] | ir.Value | None, keep_dims: bool
) -> ir.Value:
    """max + log(sum(exp(x - max))), which does not overflow"""
    if isinstance(axes, ir.Value):
        raise NoForm("has axes that are computed at run time: make them a constant")
    kind, x = x.dtype, basic.cast(b, x, "FLOAT32")
    top = reduce(b, "REDUCE_MAX", x, axes, True)
    limit = float(np.finfo(np.float32).max)  # so that an infinite maximum does not give inf - inf
    top = binary(b, "MINIMUM", top, scalar(b, limit, top))
    top = binary(b, "MAXIMUM", top, scalar(b, -limit, top))
    total = reduce(b, "SUM", unary(b, "EXP", binary(b, "SUB", x, top)), axes, keep_dims)
    flat = top if keep_dims else reduce(b, "REDUCE_MAX", top, axes, False)
    return basic.cast(b, binary(b, "ADD", unary(b, "LOG", total), flat), kind)


def place(
    b: Builder, op: str, x: ir.Value, axis: int, keep_dims: bool, last: bool = False
) -> ir.Value:
    """ARG_MAX or ARG_MIN over one axis, INT64: the first such place, or the `last`."""
    axis = basic.axis_of(b, x, axis)
    at = b.constant(axis, "axis", np.int32)
    if last:
        x = b.emit("REVERSE_V2", [x, int32s(b, [axis], "axis")])

    def form(value: ir.Value) -> ir.Value:
        return b.emit(op, [value, at], dtype="INT64", output_type="INT64")

    found = carried(b, form, [x], "INT64")
    if last:
        size = basic.slice_axis(b, basic.shape_of(b, x, "INT64"), 0, axis, axis + 1)
        end = arithmetic(b, "SUB", basic.reshape(b, size, []), b.constant(1, "one", np.int64))
        found = arithmetic(b, "SUB", end, found)
    return basic.unsqueeze(b, found, [axis]) if keep_dims else found


def cumulative_sum(
    b: Builder, x: ir.Value, axis: ir.Value, exclusive: bool, reverse: bool
) -> ir.Value:
    def form(value: ir.Value) -> ir.Value:
        return b.emit("CUMSUM", [value, basic.ints(b, axis)], exclusive=exclusive, reverse=reverse)

    return carried(b, form, [x])


def top_k(
    b: Builder, x: ir.Value, k: int | ir.Value, axis: int, largest: bool = True
) -> tuple[ir.Value, ir.Value]:
    """The `k` largest (or smallest) elements along `axis`, in order, and their places (INT64)."""
    dims = rank(b, x)
    axis = basic.axis_of(b, x, axis)
    perm = [*(i for i in range(dims) if i != axis), axis]
    back = [perm.index(i) for i in range(dims)]
    moved = basic.transpose(b, x, perm)
    own = moved.dtype
    if own in ("UINT16", "UINT32", "UINT64") or (own == "UINT8" and not largest):
        moved = basic.cast(b, moved, "INT64")
    signed = moved if largest else apply(b, "NEG", moved)
    count = basic.reshape(b, basic.ints(b, k), []) if isinstance(k, ir.Value) else (
        b.constant(k, "k", np.int32))  # fmt: skip
    sizes = [[*b.dims(moved)[:-1], None]] * 2  # where k depends on values
    values, places = b.emit_many("TOPK_V2", [signed, count], [signed.dtype, "INT32"], dims=sizes)
    values = basic.cast(b, values if largest else apply(b, "NEG", values), own)
    places = basic.cast(b, places, "INT64")
    return basic.transpose(b, values, back), basic.transpose(b, places, back)
