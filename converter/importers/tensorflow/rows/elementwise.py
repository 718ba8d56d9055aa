# SPDX-License-Identifier: Apache-2.0
"""Rows for functions of each element."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from converter import ir
from converter.importers import rows
from converter.importers.forms import basic, elementwise
from converter.importers.forms.basic import binary, scalar, unary
from converter.importers.forms.elementwise import affine, arithmetic, compare
from converter.importers.no_form import NoForm
from converter.importers.tensorflow.context import Context, Row, Rows, narrowed


def _of(form: str) -> Row:
    """A function of :mod:`converter.importers.forms.elementwise`."""
    return lambda c: getattr(elementwise, form)(c.b, *c.inputs())


def _alias(c: Context) -> Any:
    return c.any_input(0)


def _constant(c: Context) -> ir.Value:
    value = c.attr("value")
    if not isinstance(value, np.ndarray):
        raise NoForm("has no value: the file is damaged")
    value = narrowed(value)
    return c.b.constant(value, "value", value.dtype)


def _add(c: Context) -> ir.Value:
    if c.input(0).dtype == "STRING":
        raise NoForm("joins texts, which devices cannot: do it outside")
    return arithmetic(c.b, "ADD", c.input(0), c.input(1))


def _add_n(c: Context) -> ir.Value:
    values = c.inputs()
    if len(values) > 1 and values[0].dtype in ("FLOAT32", "INT32"):
        return c.b.emit("ADD_N", values)
    return elementwise.fold(c.b, "ADD", values)


def _div_no_nan(c: Context) -> ir.Value:
    x, y = c.inputs()
    is_zero = compare(c.b, "EQUAL", y, scalar(c.b, 0, y))
    safe = elementwise.select(c.b, is_zero, scalar(c.b, 1, y), y)
    quotient = binary(c.b, "DIV", x, safe)
    return elementwise.select(c.b, is_zero, scalar(c.b, 0, x), quotient)


def _atan2(c: Context) -> ir.Value:
    return c.b.emit("ATAN2", c.broadcast())


def _reciprocal(c: Context) -> ir.Value:
    x = c.input(0)
    return binary(c.b, "DIV", scalar(c.b, 1, x, "one"), x)


def _leaky_relu(c: Context) -> ir.Value:
    return c.b.emit("LEAKY_RELU", [c.input(0)], alpha=float(c.attr("alpha", 0.2)))


def _selu(c: Context) -> ir.Value:
    """scale * x for x > 0, else scale * alpha * (exp(x) - 1)"""
    x, scale, alpha = c.input(0), 1.0507009873554805, 1.6732632423543772
    high = affine(c.b, unary(c.b, "RELU", x), scale, 0)
    low = unary(c.b, "ELU", binary(c.b, "MINIMUM", x, scalar(c.b, 0, x)))
    return binary(c.b, "ADD", high, affine(c.b, low, scale * alpha, 0))


def _softsign(c: Context) -> ir.Value:
    x = c.input(0)
    return binary(c.b, "DIV", x, affine(c.b, unary(c.b, "ABS", x), 1, 1))


def _erfc(c: Context) -> ir.Value:
    return affine(c.b, elementwise.erf(c.b, c.input(0)), -1, 1)


def _clip(c: Context) -> ir.Value:
    x, low, high = c.inputs()
    ends = c.b.known(low), c.b.known(high)
    if all(e is not None and e.size == 1 for e in ends):
        return elementwise.clamp(c.b, x, *(e.reshape(()).item() for e in ends if e is not None))
    return arithmetic(c.b, "MINIMUM", arithmetic(c.b, "MAXIMUM", x, low), high)


def _cast(c: Context) -> ir.Value:
    x, kind = c.input(0), c.kind()
    if x.dtype == "FLOAT32" and kind != "BOOL" and c.attr("Truncate", False):
        raise NoForm("truncates mantissas: build the graph with Truncate=False")
    return basic.cast(c.b, x, kind)


def _select(c: Context) -> ir.Value:
    """Select takes a vector as condition for rows; SelectV2 broadcasts."""
    condition, x, y = c.inputs()
    ranks = basic.rank(c.b, condition), basic.rank(c.b, x)
    if c.op.type == "Select" and ranks[0] == 1 < ranks[1]:
        condition = basic.unsqueeze(c.b, condition, list(range(1, ranks[1])))
    return elementwise.carried(
        c.b, lambda p, q: c.b.emit("SELECT_V2", [condition, p, q], dtype=p.dtype), [x, y]
    )


def _softmax(c: Context) -> ir.Value:
    return c.b.emit("SOFTMAX", [c.input(0)], beta=1.0)


def _zeros_like(c: Context) -> ir.Value:
    x = c.input(0)
    return elementwise.carried(c.b, functools.partial(unary, c.b, "ZEROS_LIKE"), [x])


def _ones_like(c: Context) -> ir.Value:
    x = c.input(0)
    shape = basic.shape_of(c.b, x)
    return c.b.emit("FILL", [shape, scalar(c.b, 1, x, "one")], dtype=x.dtype)


def _is_finite(c: Context) -> ir.Value:
    x = c.input(0)
    return compare(c.b, "LESS", unary(c.b, "ABS", x), scalar(c.b, np.inf, x))


def _trunc_div(c: Context) -> ir.Value:
    kind = c.input(0).dtype
    if kind not in ("INT32", "FLOAT32"):
        raise NoForm(f"divides {kind} towards zero: cast it to int32")
    quotient = binary(c.b, "DIV", c.input(0), c.input(1))
    return quotient if kind == "INT32" else elementwise.trunc(c.b, quotient)


_ALIASES = (
    *("Identity", "StopGradient", "PreventGradient", "Snapshot", "CheckNumerics"),
    *("PlaceholderWithDefault", "EnsureShape", "ReadVariableOp", "Print"),
)
ROWS: Rows = {
    **dict.fromkeys(_ALIASES, _alias),
    **dict.fromkeys(("Add", "AddV2"), _add),
    **dict.fromkeys(("AddN", "AccumulateNV2"), _add_n),
    **dict.fromkeys(("Div", "RealDiv"), rows.binary("DIV")),
    **dict.fromkeys(("Inv", "Reciprocal"), _reciprocal),
    **dict.fromkeys(("Select", "SelectV2"), _select),
    "Abs": rows.unary("ABS"),
    "Acos": _of("acos"),
    "Acosh": _of("acosh"),
    "Asin": _of("asin"),
    "Asinh": _of("asinh"),
    "Atan": _of("atan"),
    "Atan2": _atan2,
    "Atanh": _of("atanh"),
    "BitwiseXor": rows.plain("BITWISE_XOR"),
    "Cast": _cast,
    "Ceil": rows.unary("CEIL"),
    "ClipByValue": _clip,
    "Const": _constant,
    "Cos": rows.unary("COS"),
    "Cosh": _of("cosh"),
    "DivNoNan": _div_no_nan,
    "Elu": rows.unary("ELU"),
    "Equal": rows.comparison("EQUAL"),
    "Erf": _of("erf"),
    "Erfc": _erfc,
    "Exp": rows.unary("EXP"),
    "Expm1": _of("expm1"),
    "Floor": rows.unary("FLOOR"),
    "FloorDiv": rows.binary("FLOOR_DIV"),
    "FloorMod": rows.binary("FLOOR_MOD"),
    "Greater": rows.comparison("GREATER"),
    "GreaterEqual": rows.comparison("GREATER_EQUAL"),
    "IsFinite": _is_finite,
    "IsInf": lambda c: elementwise.is_inf(c.b, c.input(0)),
    "IsNan": _of("is_nan"),
    "LeakyRelu": _leaky_relu,
    "Less": rows.comparison("LESS"),
    "LessEqual": rows.comparison("LESS_EQUAL"),
    "Log": rows.unary("LOG"),
    "Log1p": _of("log1p"),
    "LogSoftmax": rows.plain("LOG_SOFTMAX"),
    "LogicalAnd": rows.plain("LOGICAL_AND"),
    "LogicalNot": rows.plain("LOGICAL_NOT"),
    "LogicalOr": rows.plain("LOGICAL_OR"),
    "Maximum": rows.binary("MAXIMUM"),
    "Minimum": rows.binary("MINIMUM"),
    "Mod": _of("fmod"),
    "Mul": rows.binary("MUL"),
    "Neg": rows.unary("NEG"),
    "NotEqual": rows.comparison("NOT_EQUAL"),
    "OnesLike": _ones_like,
    "Pow": _of("power"),
    "Relu": rows.unary("RELU"),
    "Relu6": rows.unary("RELU6"),
    "Rint": rows.unary("ROUND"),
    "Round": rows.unary("ROUND"),
    "Rsqrt": rows.unary("RSQRT"),
    "Selu": _selu,
    "Sigmoid": rows.unary("LOGISTIC"),
    "Sign": _of("sign"),
    "Sin": rows.unary("SIN"),
    "Sinh": _of("sinh"),
    "Softmax": _softmax,
    "Softplus": _of("softplus"),
    "Softsign": _softsign,
    "Sqrt": rows.unary("SQRT"),
    "Square": rows.unary("SQUARE"),
    "SquaredDifference": rows.binary("SQUARED_DIFFERENCE"),
    "Sub": rows.binary("SUB"),
    "Tan": _of("tan"),
    "Tanh": rows.unary("TANH"),
    "TruncateDiv": _trunc_div,
    "TruncateMod": _of("fmod"),
    "ZerosLike": _zeros_like,
}
