# SPDX-License-Identifier: Apache-2.0
"""Complex numbers, which TFLite's arithmetic lacks: a pair of tensors until something is real."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms.basic import binary, unary
from converter.importers.forms.elementwise import affine


@dataclass(frozen=True)
class Complex:
    """A tensor of complex numbers by its real and imaginary parts, of one shape."""

    real: ir.Value
    imaginary: ir.Value

    def __iter__(self) -> Iterator[ir.Value]:
        return iter((self.real, self.imaginary))

    def into(self, b: Builder) -> Complex:
        """The same tensor, seen in a body."""
        return Complex(b.captured(self.real), b.captured(self.imaginary))


def paired(real: Any, imaginary: Any) -> Any:
    """What a row gives for either part, a value or several (None where there is none), as one."""
    if isinstance(real, list | tuple):
        pairs = zip(real, imaginary, strict=True)
        return [None if p is None else Complex(p, q) for p, q in pairs]
    return Complex(real, imaginary)


def of_real(b: Builder, x: ir.Value) -> Complex:
    """Floats with imaginary parts of 0."""
    return Complex(x, affine(b, x, 0.0, 0))


def product(b: Builder, x: Complex | ir.Value, y: Complex | ir.Value) -> Complex:
    """x y, of which one may be real."""
    if isinstance(x, ir.Value):
        x, y = y, x
    assert isinstance(x, Complex)
    p, q = x
    if isinstance(y, ir.Value):
        return Complex(binary(b, "MUL", p, y), binary(b, "MUL", q, y))
    r, s = y
    real = binary(b, "SUB", binary(b, "MUL", p, r), binary(b, "MUL", q, s))
    return Complex(real, binary(b, "ADD", binary(b, "MUL", p, s), binary(b, "MUL", q, r)))


def quotient(b: Builder, x: Complex | ir.Value, y: Complex | ir.Value) -> Complex:
    """x / y = x conj(y) / |y|^2, of which one may be real."""
    if isinstance(y, ir.Value):
        assert isinstance(x, Complex)
        return Complex(*(binary(b, "DIV", part, y) for part in x))
    return quotient(b, product(b, x, conjugate(b, y)), _square(b, y))


def conjugate(b: Builder, x: Complex) -> Complex:
    return Complex(x.real, unary(b, "NEG", x.imaginary))


def magnitude(b: Builder, x: Complex) -> ir.Value:
    """sqrt(re^2 + im^2)"""
    return unary(b, "SQRT", _square(b, x))


def _square(b: Builder, x: Complex) -> ir.Value:
    return binary(b, "ADD", unary(b, "SQUARE", x.real), unary(b, "SQUARE", x.imaginary))


def angle(b: Builder, x: Complex) -> ir.Value:
    return binary(b, "ATAN2", x.imaginary, x.real)


def polar(b: Builder, size: ir.Value, turn: ir.Value) -> Complex:
    """size e^(i turn)"""
    return Complex(*(binary(b, "MUL", size, unary(b, op, turn)) for op in ("COS", "SIN")))
