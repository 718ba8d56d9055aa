# SPDX-License-Identifier: Apache-2.0
"""Rows for less common functions of each element: of bits, of probabilities, of losses."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from converter import ir
from converter.importers.forms import basic, bitwise, elementwise
from converter.importers.forms.basic import binary, scalar, unary
from converter.importers.forms.elementwise import affine, compare, polynomial, select
from converter.importers.no_form import NoForm
from converter.importers.tensorflow.context import Context, Row, Rows

# -- bits -------------------------------------------------------------------------------------


def _bits(op: str) -> Row:
    return lambda c: bitwise.of_two(c.b, op, c.input(0), c.input(1))


def _bitcast(c: Context) -> ir.Value:
    x, kind = c.input(0), c.kind()
    widths = [ir.numpy_dtype(k).itemsize for k in (x.dtype, kind)]
    if widths[0] != widths[1]:
        raise NoForm(f"reads {x.dtype} as {kind}, which is of another width")
    return x if x.dtype == kind else c.b.emit("BITCAST", [x], dtype=kind)


# -- 0 where the first (or second) operand is 0 -----------------------------------------------


def _zero_where(zero: ir.Value, c: Context, found: ir.Value) -> ir.Value:
    is_zero = compare(c.b, "EQUAL", zero, scalar(c.b, 0, zero))
    return select(c.b, is_zero, scalar(c.b, 0, found), found)


def _product_no_nan(c: Context) -> ir.Value:
    x, y = c.inputs()
    return _zero_where(y, c, elementwise.arithmetic(c.b, "MUL", x, y))


def _quotient_by(c: Context) -> ir.Value:
    x, y = c.inputs()
    return _zero_where(x, c, binary(c.b, "DIV", x, y))


def _times_log(c: Context) -> ir.Value:
    x, y = c.inputs()
    log = elementwise.log1p(c.b, y) if c.op.type == "Xlog1py" else unary(c.b, "LOG", y)
    return _zero_where(x, c, binary(c.b, "MUL", x, log))


# -- gamma and error functions ----------------------------------------------------------------

_LANCZOS = (  # g = 7, n = 9
    0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313,
    -176.61502916214059, 12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6,
    1.5056327351493116e-7,
)  # fmt: skip


def _log_gamma(c: Context) -> ir.Value:
    """Lanczos' sum above 1/2, below it log(pi / |sin(pi x)|) - log gamma(1 - x)."""
    x = c.input(0)
    is_low = compare(c.b, "LESS", x, scalar(c.b, 0.5, x))
    mirrored = affine(c.b, x, -1, 1)
    z = affine(c.b, select(c.b, is_low, mirrored, x), 1, -1)
    total = scalar(c.b, _LANCZOS[0], z)
    for i, factor in enumerate(_LANCZOS[1:], 1):
        term = binary(c.b, "DIV", scalar(c.b, factor, z), affine(c.b, z, 1, i))
        total = binary(c.b, "ADD", total, term)
    t = affine(c.b, z, 1, 7.5)
    main = binary(c.b, "SUB", binary(c.b, "MUL", affine(c.b, z, 1, 0.5), unary(c.b, "LOG", t)), t)
    main = affine(
        c.b, binary(c.b, "ADD", main, unary(c.b, "LOG", total)), 1, math.log(2 * math.pi) / 2
    )
    # the sine of the distance to the nearest whole number, which keeps its digits
    near = binary(c.b, "SUB", x, unary(c.b, "ROUND", x))
    sine = unary(c.b, "ABS", unary(c.b, "SIN", affine(c.b, near, math.pi, 0)))
    reflected = binary(c.b, "SUB", unary(c.b, "LOG", _over(c, math.pi, sine)), main)
    return select(c.b, is_low, reflected, main)


def _over(c: Context, number: float, x: ir.Value) -> ir.Value:
    return binary(c.b, "DIV", scalar(c.b, number, x), x)


def _digamma(c: Context) -> ir.Value:
    """psi(x + 6) less 1 / (x + i), by its asymptotic series; below 1/2, by reflection."""
    x = c.input(0)
    is_low = compare(c.b, "LESS", x, scalar(c.b, 0.5, x))
    z = select(c.b, is_low, affine(c.b, x, -1, 1), x)
    less: ir.Value | None = None
    for i in range(6):
        part = _over(c, 1.0, affine(c.b, z, 1, i))
        less = part if less is None else binary(c.b, "ADD", less, part)
    assert less is not None
    high = affine(c.b, z, 1, 6)
    square = _over(c, 1.0, unary(c.b, "SQUARE", high))
    series = polynomial(c.b, square, (-1 / 252, 1 / 120, -1 / 12, 0))
    main = binary(c.b, "SUB", unary(c.b, "LOG", high), _over(c, 0.5, high))
    main = binary(c.b, "SUB", binary(c.b, "ADD", main, series), less)
    near = binary(c.b, "SUB", x, unary(c.b, "ROUND", x))
    turn = elementwise.tan(c.b, affine(c.b, near, math.pi, 0))
    return select(c.b, is_low, binary(c.b, "SUB", main, _over(c, math.pi, turn)), main)


# M. Giles, Approximating the erfinv function, 2010: of w - 2.5 where w < 5, of sqrt(w) - 3 beyond
_GILES_NEAR = (
    2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087,
    -0.00125372503, -0.00417768164, 0.246640727, 1.50140941,
)  # fmt: skip
_GILES_FAR = (
    -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773,
    -0.0076224613, 0.00943887047, 1.00167406, 2.83297682,
)  # fmt: skip


def _inverse_erf(c: Context, x: ir.Value) -> ir.Value:
    one = scalar(c.b, 1, x)
    product = binary(c.b, "MUL", binary(c.b, "SUB", one, x), binary(c.b, "ADD", one, x))
    w = unary(c.b, "NEG", unary(c.b, "LOG", product))
    is_near = compare(c.b, "LESS", w, scalar(c.b, 5, w))
    near = polynomial(c.b, affine(c.b, w, 1, -2.5), _GILES_NEAR)
    root = unary(c.b, "SQRT", binary(c.b, "MAXIMUM", w, scalar(c.b, 5, w)))
    far = polynomial(c.b, affine(c.b, root, 1, -3), _GILES_FAR)
    found = binary(c.b, "MUL", select(c.b, is_near, near, far), x)
    is_end = compare(c.b, "EQUAL", unary(c.b, "ABS", x), one)
    return select(c.b, is_end, affine(c.b, x, np.inf, 0), found)


def _quantile(c: Context) -> ir.Value:
    """Of the normal distribution: sqrt(2) erfinv(2 p - 1)"""
    return affine(c.b, _inverse_erf(c, affine(c.b, c.input(0), 2, -1)), math.sqrt(2), 0)


# Modified Bessel functions by A&S 9.8.1 to 9.8.4: of (x / 3.75)^2 below 3.75, of 3.75 / |x| above
_BESSEL: dict[int, tuple[Sequence[float], Sequence[float]]] = {
    0: (
        (0.0045813, 0.0360768, 0.2659732, 1.2067492, 3.0899424, 3.5156229, 1.0),
        (0.00392377, -0.01647633, 0.02635537, -0.02057706, 0.00916281, -0.00157565, 0.00225319,
         0.01328592, 0.39894228),
    ),
    1: (
        (0.00032411, 0.00301532, 0.02658733, 0.15084934, 0.51498869, 0.87890594, 0.5),
        (-0.00420059, 0.01787654, -0.02895312, 0.02282967, -0.01031555, 0.00163801, -0.00362018,
         -0.03988024, 0.39894228),
    ),
}  # fmt: skip


def _bessel(order: int, scaled: bool) -> Row:
    """I0 or I1 of x, times exp(-|x|) if `scaled`."""

    def row(c: Context) -> ir.Value:
        x = c.input(0)
        size = unary(c.b, "ABS", x)
        near, far = _BESSEL[order]
        low = polynomial(c.b, unary(c.b, "SQUARE", affine(c.b, x, 1 / 3.75, 0)), near)
        if order:
            low = binary(c.b, "MUL", low, x)
        held = binary(c.b, "MAXIMUM", size, scalar(c.b, 3.75, size))
        high = polynomial(c.b, _over(c, 3.75, held), far)
        high = binary(c.b, "DIV", high, unary(c.b, "SQRT", held))
        if order:
            high = binary(c.b, "MUL", high, elementwise.sign(c.b, x))
        if scaled:
            low = binary(c.b, "MUL", low, unary(c.b, "EXP", unary(c.b, "NEG", size)))
        else:
            high = binary(c.b, "MUL", high, unary(c.b, "EXP", size))
        return select(c.b, compare(c.b, "LESS", size, scalar(c.b, 3.75, size)), low, high)

    return row


# -- losses: [per example, gradient] ------------------------------------------------------------


def _cross_entropy(c: Context) -> list[ir.Value]:
    logits, labels = c.inputs()
    if c.op.type.startswith("Sparse"):
        depth = c.b.fixed_dims(basic.slice_axis(c.b, logits, 0, 0, 1), "its logits")[-1]
        on, off = scalar(c.b, 1, logits), scalar(c.b, 0, logits)
        count = c.b.constant(depth, "depth", np.int32)
        at = basic.ints(c.b, labels)
        dims = [*c.b.dims(at), depth]
        labels = c.b.emit("ONE_HOT", [at, count, on, off], dtype=logits.dtype, dims=dims, axis=-1)
    logs = c.b.emit("LOG_SOFTMAX", [logits])
    shares = basic.reduce(c.b, "SUM", binary(c.b, "MUL", labels, logs), [-1], False)
    gradient = binary(c.b, "SUB", c.b.emit("SOFTMAX", [logits], beta=1.0), labels)
    return [unary(c.b, "NEG", shares), gradient]


ROWS: Rows = {
    **dict.fromkeys(("Xlogy", "Xlog1py"), _times_log),
    **dict.fromkeys(
        ("SoftmaxCrossEntropyWithLogits", "SparseSoftmaxCrossEntropyWithLogits"), _cross_entropy
    ),
    "BesselI0": _bessel(0, False),
    "BesselI0e": _bessel(0, True),
    "BesselI1": _bessel(1, False),
    "BesselI1e": _bessel(1, True),
    "Bitcast": _bitcast,
    "BitwiseAnd": _bits("AND"),
    "BitwiseOr": _bits("OR"),
    "Digamma": _digamma,
    "Erfinv": lambda c: _inverse_erf(c, c.input(0)),
    "Invert": lambda c: bitwise.inverted(c.b, c.input(0)),
    "LeftShift": lambda c: bitwise.shifted_left(c.b, *c.broadcast()),
    "Lgamma": _log_gamma,
    "MulNoNan": _product_no_nan,
    "Ndtri": _quantile,
    "RightShift": lambda c: bitwise.shifted_right(c.b, *c.broadcast()),
    "Xdivy": _quotient_by,
}
