# SPDX-License-Identifier: Apache-2.0
"""Rows for ops that TFLite lacks but that a few of its ops make up exactly."""

from __future__ import annotations

import numpy as np

from converter import ir
from converter.importers.host_ops import Context, Row


def _step(c: Context, op: str, suffix: str, *inputs: ir.Value) -> ir.Value:
    """A node between the source op's inputs and its output, elementwise over the first input."""
    out = c.between(suffix, inputs[0])
    out.shape_signature = inputs[0].shape_signature
    return c.node(op, inputs, [out])[0]


def _number(c: Context, number: float, name: str) -> ir.Value:
    return c.constant(number, name, ir.numpy_dtype(c.input(0).dtype))


def _softplus(c: Context) -> list[ir.Value]:
    """log(1 + exp(x)) as max(x, 0) + log(1 + exp(-|x|)), which cannot overflow."""
    x = c.input(0)
    small = _step(c, "EXP", "exp", _step(c, "NEG", "neg", _step(c, "ABS", "abs", x)))
    tail = _step(c, "LOG", "log", _step(c, "ADD", "plus_one", small, _number(c, 1, "one")))
    return c.emit("ADD", [_step(c, "RELU", "relu", x), tail])


def _softsign(c: Context) -> list[ir.Value]:
    x = c.input(0)
    return c.emit(
        "DIV", [x, _step(c, "ADD", "below", _step(c, "ABS", "abs", x), _number(c, 1, "one"))]
    )


def _tan(c: Context) -> list[ir.Value]:
    x = c.input(0)
    return c.emit("DIV", [_step(c, "SIN", "sin", x), _step(c, "COS", "cos", x)])


def _l2_loss(c: Context) -> list[ir.Value]:
    x = c.input(0)
    axes = c.constant(np.arange(c.rank(0)), "axes", np.int32)
    total = c.between("sum", x, ())
    c.node("SUM", [_step(c, "SQUARE", "square", x), axes], [total], keep_dims=False)
    return c.emit("MUL", [total, _number(c, 0.5, "half")])


def _size(c: Context) -> list[ir.Value]:
    kind = ir.dtype_name(c.op.outputs[0].dtype.as_numpy_dtype)
    shape = ir.Value(f"{c.op.name}/shape", kind, (c.rank(0),))
    c.node("SHAPE", [c.input(0)], [shape], out_type=kind)
    return c.emit("REDUCE_PROD", [shape, c.constant([0], "axis", np.int32)], keep_dims=False)


def _ones_like(c: Context) -> list[ir.Value]:
    shape = ir.Value(f"{c.op.name}/shape", "INT32", (c.rank(0),))
    c.node("SHAPE", [c.input(0)], [shape], out_type="INT32")
    return c.emit("FILL", [shape, _number(c, 1, "one")])


def _is_nan(c: Context) -> list[ir.Value]:
    return c.emit("NOT_EQUAL", [c.input(0), c.input(0)])


ROWS: dict[str, Row] = {
    "IsNan": _is_nan,
    "L2Loss": _l2_loss,
    "OnesLike": _ones_like,
    "Size": _size,
    "Softplus": _softplus,
    "Softsign": _softsign,
    "Tan": _tan,
}
