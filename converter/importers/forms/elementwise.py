# SPDX-License-Identifier: Apache-2.0
"""Functions of each element that TFLite has no single op for, and types that an op lacks."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms.basic import binary, cast, scalar, unary
from converter.importers.no_form import NoForm

# A wider type whose arithmetic gives the same result, once cast back.
_CARRIERS = {
    "BOOL": ("INT32",),
    "INT8": ("INT32", "FLOAT32"),
    "UINT8": ("INT32", "FLOAT32"),
    "INT16": ("INT32", "FLOAT32"),
    "UINT16": ("INT32", "FLOAT32"),
    "UINT32": ("INT64",),
    "UINT64": ("INT64",),
}

_BYTES = ("INT8", "UINT8")


def carried(
    b: Builder,
    form: Callable[..., ir.Value],
    values: Sequence[ir.Value],
    result: str | None = None,
) -> ir.Value:
    """form(*values), or, where the runtime refuses their type, the same in a wider one.

    `result` is the result's type where it is not that of the values. NoForm, for the first type,
    where no type will do. UINT64 goes through INT64 and is right below 2**63.
    """
    own = values[0].dtype
    try:
        return form(*values)
    except NoForm as error:
        refused = error
    for wide in _CARRIERS.get(own, ()):
        try:
            found = form(*(cast(b, v, wide) for v in values))
        except NoForm:
            continue
        return cast(b, found, result or own)
    raise refused


def arithmetic(b: Builder, op: str, x: ir.Value, y: ir.Value) -> ir.Value:
    """ADD, SUB, MUL, DIV, MAXIMUM, POW... of any number type. INT64 is divided as INT32."""
    if op == "DIV" and x.dtype in ("INT64", "UINT32", "UINT64"):
        if x.dtype != "INT64":
            raise NoForm(f"divides {x.dtype}, which LiteRT does not: cast to int32 or float")
        return cast(b, binary(b, op, cast(b, x, "INT32"), cast(b, y, "INT32")), x.dtype)
    return carried(b, functools.partial(binary, b, op), [x, y])


def compare(b: Builder, op: str, x: ir.Value, y: ir.Value) -> ir.Value:
    """EQUAL, LESS... of any type; BOOL. LiteRT takes bytes for quantized numbers, with scales."""
    if x.dtype in ("INT8", "UINT8") and x.quant is None:
        x, y = cast(b, x, "INT32"), cast(b, y, "INT32")
    return carried(b, lambda p, q: binary(b, op, p, q, "BOOL"), [x, y], "BOOL")


def apply(b: Builder, op: str, x: ir.Value) -> ir.Value:
    """An op of one input, of any number type."""
    return carried(b, functools.partial(unary, b, op), [x])


def fold(b: Builder, op: str, values: Sequence[ir.Value]) -> ir.Value:
    """op over a list: MAXIMUM, ADD..."""
    return functools.reduce(functools.partial(arithmetic, b, op), values)


def affine(b: Builder, x: ir.Value, factor: float, term: float) -> ir.Value:
    """factor * x + term."""
    if factor != 1:
        x = binary(b, "MUL", x, scalar(b, factor, x))
    return x if term == 0 else binary(b, "ADD", x, scalar(b, term, x))


def clamp(b: Builder, x: ir.Value, low: float | None, high: float | None) -> ir.Value:
    """`x` between two constants; RELU6 and its like where they are these."""
    if x.dtype == "FLOAT32":
        ends: dict[tuple[float | None, float | None], str] = {
            (0.0, None): "RELU",
            (0, 6): "RELU6",
            (-1, 1): "RELU_N1_TO_1",
        }
        if (low, high) in ends:
            return unary(b, ends[low, high], x)
    for op, bound in (("MAXIMUM", low), ("MINIMUM", high)):
        if bound is not None:
            x = arithmetic(b, op, x, scalar(b, bound, x))
    return x


def bounded(number: float, dtype: str) -> float:
    """`number`, or the type's own extreme for an infinity that it lacks."""
    kind = ir.numpy_dtype(dtype)
    if kind.kind == "f" or np.isfinite(number):
        return number
    return int(np.iinfo(kind).max if number > 0 else np.iinfo(kind).min)


def select(b: Builder, condition: ir.Value, x: ir.Value, y: ir.Value) -> ir.Value:
    """`x` where `condition` holds, else `y`; NumPy's broadcasting."""
    return b.emit("SELECT_V2", [condition, x, y], dtype=x.dtype)


def sign(b: Builder, x: ir.Value) -> ir.Value:
    if x.dtype == "INT64":
        return arithmetic(b, "MAXIMUM", scalar(b, -1, x), binary(b, "MINIMUM", x, scalar(b, 1, x)))
    return apply(b, "SIGN", x)


def absolute(b: Builder, x: ir.Value) -> ir.Value:
    if x.dtype == "INT64":
        return binary(b, "MAXIMUM", x, unary(b, "NEG", x))
    return x if x.dtype.startswith("U") else apply(b, "ABS", x)


def tan(b: Builder, x: ir.Value) -> ir.Value:
    return binary(b, "DIV", unary(b, "SIN", x), unary(b, "COS", x))


def asin(b: Builder, x: ir.Value) -> ir.Value:
    """atan2(x, sqrt((1 - x) (1 + x)))"""
    return binary(b, "ATAN2", x, _leg(b, x))


def acos(b: Builder, x: ir.Value) -> ir.Value:
    """atan2(sqrt((1 - x) (1 + x)), x)"""
    return binary(b, "ATAN2", _leg(b, x), x)


def _leg(b: Builder, x: ir.Value) -> ir.Value:
    one = scalar(b, 1, x)
    product = binary(b, "MUL", binary(b, "SUB", one, x), binary(b, "ADD", one, x))
    return unary(b, "SQRT", product)


def atan(b: Builder, x: ir.Value) -> ir.Value:
    ones = b.emit("FILL", [b.emit("SHAPE", [x], dtype="INT32", out_type="INT32"), scalar(b, 1, x)],
                  dtype=x.dtype)  # fmt: skip
    return binary(b, "ATAN2", x, ones)


def sinh(b: Builder, x: ir.Value) -> ir.Value:
    """(exp(x) - exp(-x)) / 2"""
    difference = binary(b, "SUB", *_exponentials(b, x))
    return affine(b, difference, 0.5, 0)


def cosh(b: Builder, x: ir.Value) -> ir.Value:
    """(exp(x) + exp(-x)) / 2"""
    return affine(b, binary(b, "ADD", *_exponentials(b, x)), 0.5, 0)


def _exponentials(b: Builder, x: ir.Value) -> tuple[ir.Value, ir.Value]:
    return unary(b, "EXP", x), unary(b, "EXP", unary(b, "NEG", x))


def asinh(b: Builder, x: ir.Value) -> ir.Value:
    """sign(x) log(|x| + sqrt(x^2 + 1)), which does not cancel for negative x"""
    size = unary(b, "ABS", x)
    root = unary(b, "SQRT", affine(b, binary(b, "MUL", x, x), 1, 1))
    return binary(b, "MUL", sign(b, x), unary(b, "LOG", binary(b, "ADD", size, root)))


def acosh(b: Builder, x: ir.Value) -> ir.Value:
    """log(x + sqrt((x - 1) (x + 1)))"""
    product = binary(b, "MUL", affine(b, x, 1, -1), affine(b, x, 1, 1))
    return unary(b, "LOG", binary(b, "ADD", x, unary(b, "SQRT", product)))


def atanh(b: Builder, x: ir.Value) -> ir.Value:
    """log((1 + x) / (1 - x)) / 2"""
    one = scalar(b, 1, x)
    ratio = binary(b, "DIV", binary(b, "ADD", one, x), binary(b, "SUB", one, x))
    return affine(b, unary(b, "LOG", ratio), 0.5, 0)


def softplus(b: Builder, x: ir.Value) -> ir.Value:
    """log(1 + exp(x)) as max(x, 0) + log(1 + exp(-|x|)), which does not overflow"""
    small = unary(b, "EXP", unary(b, "NEG", unary(b, "ABS", x)))
    return binary(b, "ADD", unary(b, "RELU", x), unary(b, "LOG", affine(b, small, 1, 1)))


def expm1(b: Builder, x: ir.Value) -> ir.Value:
    """exp(x) - 1 as (exp(x) + 1) tanh(x / 2), which does not cancel near 0"""
    half = unary(b, "TANH", affine(b, x, 0.5, 0))
    return binary(b, "MUL", affine(b, unary(b, "EXP", x), 1, 1), half)


def log1p(b: Builder, x: ir.Value) -> ir.Value:
    """log(1 + x); near 0 by its series, x - x^2/2 + x^3/3 - x^4/4 + x^5/5"""
    series = binary(b, "MUL", polynomial(b, x, (1 / 5, -1 / 4, 1 / 3, -1 / 2, 1)), x)
    near = compare(b, "LESS", unary(b, "ABS", x), scalar(b, 0.04, x))
    return select(b, near, series, unary(b, "LOG", affine(b, x, 1, 1)))


def trunc(b: Builder, x: ir.Value) -> ir.Value:
    """Rounded towards 0."""
    return binary(b, "MUL", sign(b, x), unary(b, "FLOOR", unary(b, "ABS", x)))


def erf(b: Builder, x: ir.Value) -> ir.Value:
    """The error function, by formula 7.1.26 of Abramowitz and Stegun: absolute error < 5e-7 in
    float32. Near 0, where that would be large beside the result, 2 / sqrt(pi) (x - x^3/3 + x^5/10
    - x^7/42).
    """
    size = unary(b, "ABS", x)
    t = binary(b, "DIV", scalar(b, 1, x), affine(b, size, 0.3275911, 1))
    terms = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
    tail = binary(b, "MUL", polynomial(b, t, terms), t)
    square = binary(b, "MUL", x, x)
    tail = binary(b, "MUL", tail, unary(b, "EXP", unary(b, "NEG", square)))
    large = binary(b, "MUL", sign(b, x), binary(b, "SUB", scalar(b, 1, x), tail))
    factor = 2 / math.sqrt(math.pi)
    series = [factor * c for c in (-1 / 42, 1 / 10, -1 / 3, 1)]
    near = binary(b, "MUL", polynomial(b, square, series), x)
    return select(b, compare(b, "LESS", size, scalar(b, 0.25, x)), near, large)


def polynomial(b: Builder, x: ir.Value, coefficients: Sequence[float]) -> ir.Value:
    """Horner's scheme, the highest power first."""
    total = affine(b, x, coefficients[0], coefficients[1])
    for c in coefficients[2:]:
        total = affine(b, binary(b, "MUL", total, x), 1, c)
    return total


def remainder(b: Builder, x: ir.Value, y: ir.Value) -> ir.Value:
    """x - y floor(x / y): the sign is the divisor's (Python's %)."""
    return arithmetic(b, "FLOOR_MOD", x, y)


def fmod(b: Builder, x: ir.Value, y: ir.Value) -> ir.Value:
    """x - y trunc(x / y): the sign is the dividend's (C's fmod)."""
    size = remainder(b, absolute(b, x), absolute(b, y))
    return size if x.dtype.startswith("U") else arithmetic(b, "MUL", sign(b, x), size)


def power(b: Builder, x: ir.Value, y: ir.Value) -> ir.Value:
    """x ** y in the type of `x`; squares and roots by their own ops."""
    exponent = b.known(y)
    if exponent is not None and exponent.size == 1 and x.dtype == "FLOAT32" and exponent.ndim == 0:
        form = {2.0: "SQUARE", 0.5: "SQRT", -0.5: "RSQRT"}.get(float(exponent))
        if form:
            return unary(b, form, x)
        if float(exponent) == 1:
            return x
    if x.dtype == "FLOAT32" or y.dtype == x.dtype == "INT32":
        return binary(b, "POW", x, cast(b, y, x.dtype))
    if y.dtype == x.dtype and x.dtype in (*_BYTES, "INT16"):
        return cast(b, binary(b, "POW", cast(b, x, "INT32"), cast(b, y, "INT32")), x.dtype)
    wide = binary(b, "POW", cast(b, x, "FLOAT32"), cast(b, y, "FLOAT32"))
    return cast(b, wide, x.dtype)


def to_bfloat16(b: Builder, x: ir.Value) -> ir.Value:
    """Floats rounded to the nearest that bfloat16 has, to even ones where two are as near."""
    bits = b.emit("BITCAST", [x], dtype="INT32")
    shape = np.ones((1,) * len(b.dims(x)), np.int32)

    def upper(value: ir.Value) -> ir.Value:
        return b.emit("RIGHT_SHIFT", [value, b.constant(shape * 16, "sixteen")])

    odd = binary(b, "FLOOR_MOD", upper(bits), scalar(b, 2, bits))
    nearest = binary(b, "ADD", binary(b, "ADD", bits, scalar(b, 0x7FFF, bits)), odd)
    high = binary(b, "MUL", upper(nearest), scalar(b, 1 << 16, bits))
    rounded = b.emit("BITCAST", [high], dtype="FLOAT32")
    return select(b, is_nan(b, x), x, rounded)


def is_nan(b: Builder, x: ir.Value) -> ir.Value:
    return binary(b, "NOT_EQUAL", x, x, "BOOL")


def is_inf(b: Builder, x: ir.Value, negative: bool = True, positive: bool = True) -> ir.Value:
    if not negative and not positive:
        never = compare(b, "LESS", unary(b, "ABS", x), scalar(b, 0, x))
        return never
    if negative and positive:
        return compare(b, "EQUAL", unary(b, "ABS", x), scalar(b, np.inf, x))
    return compare(b, "EQUAL", x, scalar(b, np.inf if positive else -np.inf, x))
