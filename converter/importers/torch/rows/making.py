# SPDX-License-Identifier: Apache-2.0
"""Rows for tensors that are made: filled, counted, drawn at random."""

from __future__ import annotations

from typing import Any

import numpy as np

from converter import ir
from converter.importers.forms import basic, reduction
from converter.importers.forms.basic import binary, cast, unary
from converter.importers.forms.elementwise import affine, carried
from converter.importers.no_form import NoForm
from converter.importers.torch import sizes
from converter.importers.torch.context import Context, Row, Rows


def _shape(c: Context) -> ir.Value:
    """The sizes that the call gives, or those of the tensor that it follows."""
    found = c.arguments.get("size")
    return basic.shape_of(c.b, c.value("self")) if found is None else sizes.vector(c.b, found)


def _full(number: float | None = None) -> Row:
    """Filled with `number`, or with the call's own."""

    def row(c: Context) -> ir.Value:
        given = number
        if given is None:
            given = c.arg("fill_value" if "fill_value" in c.arguments else "value")
        kind = c.result_type()
        filled = basic.reshape(c.b, cast(c.b, c.tensor(given), kind), [])
        shape = _shape(c)
        return carried(c.b, lambda v: c.b.emit("FILL", [shape, v], dtype=v.dtype), [filled])

    return row


def _number(c: Context) -> ir.Value:
    return cast(c.b, c.tensor(c.arg("s")), c.result_type())


def _arange(c: Context) -> ir.Value:
    """From start to before end by step; what is dynamic is counted when the model runs."""
    kind = c.result_type()
    numbers: list[Any] = [
        0 if c.arguments.get("start") is None else c.arg("start"),
        c.arg("end"),
        1 if c.arguments.get("step") is None else c.arg("step"),
    ]
    ends = [cast(c.b, c.tensor(n), kind) for n in numbers]

    def form(*values: ir.Value) -> ir.Value:
        scalars = [basic.reshape(c.b, v, []) for v in values]
        return c.b.emit("RANGE", scalars, dims=[None])

    return carried(c.b, form, ends)


def _uniform(c: Context) -> ir.Value:
    return c.b.emit("RANDOM_UNIFORM", [_shape(c)], dtype="FLOAT32", seed=0, seed2=0)


def _normal(c: Context) -> ir.Value:
    return c.b.emit("RANDOM_STANDARD_NORMAL", [_shape(c)], dtype="FLOAT32", seed=0, seed2=0)


def _whole_numbers(c: Context) -> ir.Value:
    """Integers from low to below high."""
    low, high = c.arguments.get("low") or 0, c.arg("high")
    spread = affine(c.b, _uniform(c), float(high - low), float(low))
    return cast(c.b, unary(c.b, "FLOOR", spread), c.result_type())


def _permutation(c: Context) -> ir.Value:
    """The order that sorts as many random numbers."""
    count = c.arg("n")
    if isinstance(count, ir.Value):
        raise NoForm("shuffles a dynamic number of elements: give it a fixed one")
    shape = basic.int32s(c.b, [count], "count")
    drawn = c.b.emit("RANDOM_UNIFORM", [shape], dtype="FLOAT32", seed=0, seed2=0)
    return cast(c.b, reduction.top_k(c.b, drawn, count, 0)[1], c.result_type())


def _dropout(c: Context) -> list[ir.Value | None]:
    if c.arg("train") and c.arg("p"):
        raise NoForm("drops elements out at random: call the module's eval(), or leave it out")
    return [c.value("input"), None]


def _bernoulli(c: Context) -> ir.Value:
    """1 with the probability of each element."""
    x = c.value("self")
    drawn = c.b.emit("RANDOM_UNIFORM", [basic.shape_of(c.b, x)], dtype="FLOAT32", seed=0, seed2=0)
    chance = x if c.arguments.get("p") is None else basic.scalar(c.b, c.arg("p"), x)
    return cast(c.b, binary(c.b, "LESS", drawn, chance, "BOOL"), c.result_type())


def _one_hot(c: Context) -> ir.Value:
    x, depth = basic.ints(c.b, c.value("self")), c.arg("num_classes")
    if isinstance(depth, ir.Value) or depth < 0:
        raise NoForm("counts its classes from the values: give num_classes")
    ends = [c.b.constant(n, "number", np.int64) for n in (1, 0)]
    size = c.b.constant(depth, "depth", np.int32)
    return c.b.emit("ONE_HOT", [x, size, *ends], dtype="INT64", axis=-1)


def _item(c: Context) -> Any:
    """A tensor's one number."""
    return sizes.settled(c.b, basic.reshape(c.b, c.value("self"), []))


def _line(c: Context) -> ir.Value:
    """linspace of fixed ends."""
    start, end, steps = c.arg("start"), c.arg("end"), c.arg("steps")
    if any(isinstance(v, ir.Value) for v in (start, end, steps)):
        raise NoForm("has computed ends: use arange and arithmetic")
    return c.b.constant(np.linspace(start, end, steps), "line", ir.numpy_dtype(c.result_type()))


ROWS: Rows = {
    "_local_scalar_dense": _item,
    "arange": _arange,
    "bernoulli": _bernoulli,
    "empty": _full(0),
    "empty_like": _full(0),
    "empty_permuted": _full(0),
    "empty_strided": _full(0),
    "fill": _full(),
    "full": _full(),
    "full_like": _full(),
    "linspace": _line,
    "native_dropout": _dropout,
    "one_hot": _one_hot,
    "ones": _full(1),
    "ones_like": _full(1),
    "rand": _uniform,
    "rand_like": _uniform,
    "randint": _whole_numbers,
    "randn": _normal,
    "randn_like": _normal,
    "randperm": _permutation,
    "scalar_tensor": _number,
    "zeros": _full(0),
    "zeros_like": _full(0),
}
