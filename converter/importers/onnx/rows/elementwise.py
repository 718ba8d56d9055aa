# SPDX-License-Identifier: Apache-2.0
"""Rows for operations on each element."""

from __future__ import annotations

import numpy as np

from converter import ir
from converter.importers.forms import basic
from converter.importers.onnx import types
from converter.importers.onnx.context import Context, Row, Rows


def _unary(op: str) -> Row:
    return lambda c: basic.unary(c.b, op, c.input(0))


def _binary(op: str, dtype: str | None = None) -> Row:
    return lambda c: basic.binary(c.b, op, c.input(0), c.input(1), dtype)


def _identity(c: Context) -> ir.Value:
    return c.input(0)


def _cast(c: Context) -> ir.Value:
    return basic.cast(c.b, c.input(0), types.inner_type(c.attr("to")))


def _clip(c: Context) -> ir.Value:
    x = c.input(0)
    low, high = c.attr("min"), c.attr("max")
    if c.has(1):
        low = c.input(1)
    if c.has(2):
        high = c.input(2)
    for op, bound in (("MAXIMUM", low), ("MINIMUM", high)):
        if bound is not None:
            value = bound if isinstance(bound, ir.Value) else basic.scalar(c.b, bound, x, "bound")
            x = basic.binary(c.b, op, x, value)
    return x


def _leaky_relu(c: Context) -> ir.Value:
    return c.b.emit("LEAKY_RELU", [c.input(0)], alpha=float(c.attr("alpha", 0.01)))


def _hard_sigmoid(c: Context) -> ir.Value:
    x = c.input(0)
    scaled = basic.binary(c.b, "MUL", x, basic.scalar(c.b, c.attr("alpha", 0.2), x))
    moved = basic.binary(c.b, "ADD", scaled, basic.scalar(c.b, c.attr("beta", 0.5), x))
    low = basic.binary(c.b, "MAXIMUM", moved, basic.scalar(c.b, 0, x))
    return basic.binary(c.b, "MINIMUM", low, basic.scalar(c.b, 1, x))


def _constant(c: Context) -> ir.Value:
    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        found = c.attr(name)
        if found is not None:
            dtype = {"f": np.float32, "i": np.int64}.get(name.partition("_")[2][:1])
            array = np.asarray(found, dtype)
            c.graph.held[c.node.output[0]] = array
            break
    return c.graph.value(c.node.output[0])


ROWS: Rows = {
    "Abs": _unary("ABS"),
    "Add": _binary("ADD"),
    "Cast": _cast,
    "Clip": _clip,
    "Constant": _constant,
    "Div": _binary("DIV"),
    "HardSigmoid": _hard_sigmoid,
    "Identity": _identity,
    "LeakyRelu": _leaky_relu,
    "Mul": _binary("MUL"),
    "Relu": _unary("RELU"),
    "Sigmoid": _unary("LOGISTIC"),
    "Sub": _binary("SUB"),
    "Tanh": _unary("TANH"),
}
