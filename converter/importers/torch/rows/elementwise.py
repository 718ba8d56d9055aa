# SPDX-License-Identifier: Apache-2.0
"""Rows for operations on each element."""

from __future__ import annotations

import math

from converter import ir
from converter.importers.forms import basic, bitwise, elementwise
from converter.importers.forms.basic import binary, cast, scalar, unary
from converter.importers.forms.elementwise import affine, apply, arithmetic, compare
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
    if x.dtype == "INT64":  # which no division of TFLite's takes; right within INT32
        x, y = basic.ints(c.b, x), basic.ints(c.b, y)
        op = "FLOOR_DIV" if mode == "floor" else "DIV"
        return cast(c.b, binary(c.b, op, x, y), "INT64")
    if mode == "floor" or x.dtype.startswith("UINT"):
        return arithmetic(c.b, "FLOOR_DIV", x, y)
    quotient = arithmetic(c.b, "DIV", x, y)
    return elementwise.trunc(c.b, quotient) if x.dtype == "FLOAT32" else quotient


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


def _pow(c: Context) -> ir.Value:
    kind = c.result_type()
    x, y = (cast(c.b, c.tensor(c.arg(name)), kind) for name in ("self", "exponent"))
    return elementwise.power(c.b, x, y)


def _logical(op: str) -> Row:
    """Of truth: what is not 0."""

    def row(c: Context) -> ir.Value:
        names = ("self", "other") if "other" in c.arguments else ("self",)
        values = [cast(c.b, c.value(name), "BOOL") for name in names]
        return c.b.emit(op, values, dtype="BOOL")

    return row


def _bitwise(op: str, of_truth: str) -> Row:
    def row(c: Context) -> ir.Value:
        x, y = (cast(c.b, c.tensor(c.arg(name)), c.result_type()) for name in ("self", "other"))
        if x.dtype == "BOOL":
            return c.b.emit(of_truth, [x, y], dtype="BOOL")
        return bitwise.of_two(c.b, op, x, y)

    return row


def _bitwise_not(c: Context) -> ir.Value:
    x = c.value("self")
    return c.b.emit("LOGICAL_NOT", [x]) if x.dtype == "BOOL" else bitwise.inverted(c.b, x)


def _shift(op: str) -> Row:
    def row(c: Context) -> ir.Value:
        x, y = (cast(c.b, c.tensor(c.arg(name)), c.result_type()) for name in ("self", "other"))
        zero = arithmetic(c.b, "MUL", x, scalar(c.b, 0, x))  # the shift op does not broadcast
        y = arithmetic(c.b, "ADD", zero, y)
        return elementwise.carried(c.b, lambda v, w: c.b.emit(op, [v, w]), [x, y])

    return row


def _logarithm(base: float) -> Row:
    def row(c: Context) -> ir.Value:
        x = unary(c.b, "LOG", cast(c.b, c.value("self"), c.result_type()))
        return affine(c.b, x, 1 / math.log(base), 0)

    return row


def _exp2(c: Context) -> ir.Value:
    x = cast(c.b, c.value("self"), c.result_type())
    return binary(c.b, "POW", scalar(c.b, 2, x), x)


def _copy(c: Context) -> ir.Value:
    """ "src" in the type and shape of "self"."""
    x, source = c.value("self"), cast(c.b, c.value("src"), c.result_type())
    if c.b.pair(x) == c.b.pair(source):
        return source
    shape = basic.shape_of(c.b, x)
    return elementwise.carried(c.b, lambda v: basic.broadcast_to(c.b, v, shape), [source])


def _round(c: Context) -> ir.Value:
    x, digits = c.value("self"), c.arguments.get("decimals") or 0
    if x.dtype != "FLOAT32":
        return x
    scaled = unary(c.b, "ROUND", affine(c.b, x, 10.0**digits, 0))
    return affine(c.b, scaled, 10.0**-digits, 0)


def _whole(op: str) -> Row:
    """Of floats; integers are whole already."""
    return lambda c: unary(c.b, op, c.value("self")) if _is_float(c) else c.value("self")


def _is_float(c: Context) -> bool:
    return c.value("self").dtype == "FLOAT32"


def _trunc(c: Context) -> ir.Value:
    return elementwise.trunc(c.b, c.value("self")) if _is_float(c) else c.value("self")


def _test(form: str) -> Row:
    """Of floats; no integer is infinite or NaN."""

    def row(c: Context) -> ir.Value:
        return getattr(elementwise, form)(c.b, cast(c.b, c.value("self"), "FLOAT32"))

    return row


def _rsub(c: Context) -> ir.Value:
    x, y = operands(c)
    return arithmetic(c.b, "SUB", y, affine(c.b, x, c.arguments.get("alpha", 1), 0))


ROWS: Rows = {
    "__lshift__": _shift("STABLEHLO_SHIFT_LEFT"),
    "__rshift__": _shift("RIGHT_SHIFT"),
    "_to_copy": _to,
    "abs": _of("absolute"),
    "acos": _of("acos"),
    "acosh": _of("acosh"),
    "add": _scaled("ADD"),
    "alias": _same,
    "asin": _of("asin"),
    "asinh": _of("asinh"),
    "atan": _of("atan"),
    "atan2": _binary("ATAN2"),
    "atanh": _of("atanh"),
    "bitwise_and": _bitwise("AND", "LOGICAL_AND"),
    "bitwise_left_shift": _shift("STABLEHLO_SHIFT_LEFT"),
    "bitwise_not": _bitwise_not,
    "bitwise_or": _bitwise("OR", "LOGICAL_OR"),
    "bitwise_right_shift": _shift("RIGHT_SHIFT"),
    "bitwise_xor": _bitwise("XOR", "NOT_EQUAL"),
    "ceil": _whole("CEIL"),
    "clamp": _clamp,
    "clamp_max": _clamp,
    "clamp_min": _clamp,
    "clone": _same,
    "copy": _copy,
    "cos": _unary("COS"),
    "cosh": _of("cosh"),
    "detach": _same,
    "div": _div,
    "eq": _compare("EQUAL"),
    "erf": _of("erf"),
    "erfc": lambda c: affine(c.b, elementwise.erf(c.b, c.value("self")), -1, 1),
    "exp": _unary("EXP"),
    "exp2": _exp2,
    "expm1": _of("expm1"),
    "floor": _whole("FLOOR"),
    "fmod": lambda c: elementwise.fmod(c.b, *operands(c)),
    "ge": _compare("GREATER_EQUAL"),
    "gt": _compare("GREATER"),
    "isinf": _test("is_inf"),
    "isnan": _test("is_nan"),
    "le": _compare("LESS_EQUAL"),
    "lift_fresh_copy": _same,
    "log": _unary("LOG"),
    "log10": _logarithm(10),
    "log1p": _of("log1p"),
    "log2": _logarithm(2),
    "logical_and": _logical("LOGICAL_AND"),
    "logical_not": _logical("LOGICAL_NOT"),
    "logical_or": _logical("LOGICAL_OR"),
    "logical_xor": _logical("NOT_EQUAL"),
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
    "remainder": lambda c: elementwise.remainder(c.b, *operands(c)),
    "round": _round,
    "rsqrt": _unary("RSQRT"),
    "rsub": _rsub,
    "sigmoid": _unary("LOGISTIC"),
    "sign": _of("sign"),
    "sin": _unary("SIN"),
    "sinh": _of("sinh"),
    "sqrt": _unary("SQRT"),
    "sub": _scaled("SUB"),
    "tan": _of("tan"),
    "tanh": _unary("TANH"),
    "trunc": _trunc,
    "where": _where,
}
