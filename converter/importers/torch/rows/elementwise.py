# SPDX-License-Identifier: Apache-2.0
"""Rows for operations on each element."""

from __future__ import annotations

from converter import ir
from converter.importers.forms import basic, elementwise
from converter.importers.forms.basic import binary, cast, unary
from converter.importers.forms.elementwise import affine, apply, arithmetic, compare
from converter.importers.no_form import NoForm
from converter.importers.torch.context import Context, Row, Rows


def operands(c: Context) -> tuple[ir.Value, ir.Value]:
    """ "self" and "other" in the type that PyTorch computes in; numbers become constants."""
    kind = c.result_type()
    x, y = c.arg("self"), c.arg("other")
    like = x if isinstance(x, ir.Value) else y
    if kind == "BOOL":  # a comparison
        kind = _common(x, y)
    return tuple(  # type: ignore[return-value]
        cast(c.b, v, kind) if isinstance(v, ir.Value) else cast(c.b, c.tensor(v), kind)
        for v in (x, y)
        if like is not None
    )


def _common(x: object, y: object) -> str:
    found = [v.dtype for v in (x, y) if isinstance(v, ir.Value)]
    fractional = any(isinstance(v, float) for v in (x, y)) or "FLOAT32" in found
    order = ["BOOL", "UINT8", "INT8", "INT16", "INT32", "INT64"]
    if fractional:
        return "FLOAT32"
    return max(found, key=lambda kind: order.index(kind) if kind in order else len(order))


def _unary(op: str) -> Row:
    def row(c: Context) -> ir.Value:
        return apply(c.b, op, cast(c.b, c.value("self"), c.result_type()))

    return row


def _of(form: str) -> Row:
    def row(c: Context) -> ir.Value:
        return getattr(elementwise, form)(c.b, cast(c.b, c.value("self"), c.result_type()))

    return row


def _binary(op: str) -> Row:
    return lambda c: arithmetic(c.b, op, *operands(c))


def _compare(op: str) -> Row:
    return lambda c: compare(c.b, op, *operands(c))


def _scaled(op: str) -> Row:
    """self + alpha * other"""

    def row(c: Context) -> ir.Value:
        x, y = operands(c)
        return arithmetic(c.b, op, x, affine(c.b, y, c.arguments.get("alpha", 1), 0))

    return row


def _div(c: Context) -> ir.Value:
    x, y = operands(c)
    mode = c.arguments.get("rounding_mode")
    if mode is None:
        return binary(c.b, "DIV", x, y)
    if mode == "floor" or x.dtype.startswith("UINT"):
        return arithmetic(c.b, "FLOOR_DIV", x, y)
    if x.dtype == "FLOAT32":
        raise NoForm("rounds a quotient of floats towards zero: use rounding_mode='floor'")
    return arithmetic(c.b, "DIV", x, y)


def _clamp(c: Context) -> ir.Value:
    x = cast(c.b, c.value("self"), c.result_type())
    low, high = c.arguments.get("min"), c.arguments.get("max")
    if not isinstance(low, ir.Value) and not isinstance(high, ir.Value):
        return elementwise.clamp(c.b, x, low, high)
    for op, bound in (("MAXIMUM", low), ("MINIMUM", high)):
        if bound is not None:
            x = arithmetic(c.b, op, x, cast(c.b, c.tensor(bound), x.dtype))
    return x


def _to(c: Context) -> ir.Value:
    return cast(c.b, c.value("self"), c.result_type())


def _same(c: Context) -> ir.Value:
    return c.value("self")


def _where(c: Context) -> ir.Value:
    kind = c.result_type()
    x, y = (cast(c.b, c.tensor(c.arg(name)), kind) for name in ("self", "other"))
    return elementwise.select(c.b, c.value("condition"), x, y)


def _gelu(c: Context) -> ir.Value:
    return c.b.emit("GELU", [c.value("self")], approximate=c.arg("approximate") == "tanh")


def _leaky_relu(c: Context) -> ir.Value:
    return c.b.emit("LEAKY_RELU", [c.value("self")], alpha=float(c.arg("negative_slope")))


def _silu(c: Context) -> ir.Value:
    x = c.value("self")
    return binary(c.b, "MUL", x, unary(c.b, "LOGISTIC", x))


def _hardsigmoid(c: Context) -> ir.Value:
    shifted = affine(c.b, c.value("self"), 1, 3)
    return affine(c.b, unary(c.b, "RELU6", shifted), 1 / 6, 0)


def _hardtanh(c: Context) -> ir.Value:
    return elementwise.clamp(c.b, c.value("self"), c.arg("min_val"), c.arg("max_val"))


def _elu(c: Context) -> ir.Value:
    x, alpha = c.value("self"), c.arg("alpha")
    if (alpha, c.arg("scale"), c.arg("input_scale")) != (1, 1, 1):
        raise NoForm("is an ELU with factors other than 1: use alpha=1")
    return unary(c.b, "ELU", x)


def _pow(c: Context) -> ir.Value:
    kind = c.result_type()
    x, y = (cast(c.b, c.tensor(c.arg(name)), kind) for name in ("self", "exponent"))
    return elementwise.power(c.b, x, y)


def _rsub(c: Context) -> ir.Value:
    x, y = operands(c)
    return arithmetic(c.b, "SUB", y, affine(c.b, x, c.arguments.get("alpha", 1), 0))


ROWS: Rows = {
    "_to_copy": _to,
    "abs": _unary("ABS"),
    "acos": _of("acos"),
    "add": _scaled("ADD"),
    "alias": _same,
    "asin": _of("asin"),
    "atan": _of("atan"),
    "ceil": _unary("CEIL"),
    "clamp": _clamp,
    "clamp_max": _clamp,
    "clamp_min": _clamp,
    "clone": _same,
    "cos": _unary("COS"),
    "cosh": _of("cosh"),
    "detach": _same,
    "div": _div,
    "elu": _elu,
    "eq": _compare("EQUAL"),
    "erf": _of("erf"),
    "exp": _unary("EXP"),
    "floor": _unary("FLOOR"),
    "ge": _compare("GREATER_EQUAL"),
    "gelu": _gelu,
    "gt": _compare("GREATER"),
    "hardsigmoid": _hardsigmoid,
    "hardswish": _unary("HARD_SWISH"),
    "hardtanh": _hardtanh,
    "le": _compare("LESS_EQUAL"),
    "leaky_relu": _leaky_relu,
    "lift_fresh_copy": _same,
    "log": _unary("LOG"),
    "logical_and": lambda c: c.b.emit("LOGICAL_AND", list(operands(c))),
    "logical_not": lambda c: c.b.emit("LOGICAL_NOT", [c.value("self")]),
    "logical_or": lambda c: c.b.emit("LOGICAL_OR", list(operands(c))),
    "lt": _compare("LESS"),
    "maximum": _binary("MAXIMUM"),
    "minimum": _binary("MINIMUM"),
    "mul": _binary("MUL"),
    "ne": _compare("NOT_EQUAL"),
    "neg": _unary("NEG"),
    "pow": _pow,
    "reciprocal": lambda c: binary(
        c.b, "DIV", basic.scalar(c.b, 1, c.value("self")), c.value("self")
    ),
    "relu": _unary("RELU"),
    "remainder": lambda c: elementwise.remainder(c.b, *operands(c)),
    "round": _unary("ROUND"),
    "rsqrt": _unary("RSQRT"),
    "rsub": _rsub,
    "sigmoid": _unary("LOGISTIC"),
    "sign": _of("sign"),
    "silu": _silu,
    "sin": _unary("SIN"),
    "sinh": _of("sinh"),
    "softplus": _of("softplus"),
    "sqrt": _unary("SQRT"),
    "sub": _scaled("SUB"),
    "tan": _of("tan"),
    "tanh": _unary("TANH"),
    "where": _where,
}
