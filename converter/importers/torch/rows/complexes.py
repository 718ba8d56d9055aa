# SPDX-License-Identifier: Apache-2.0
"""Rows for complex numbers and Fourier transforms: pairs of tensors until something is real."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from converter import ir
from converter.importers.forms import basic, complexes, fourier, products
from converter.importers.forms.basic import binary, cast, unary
from converter.importers.forms.complexes import Complex
from converter.importers.forms.elementwise import affine
from converter.importers.no_form import NoForm
from converter.importers.torch.context import Context, Row, Rows

Tensor = Complex | ir.Value


def row_for(name: str, plain: Row | None, c: Context) -> Row | None:
    """The row of a call: `plain`, or what it is to complex numbers."""
    if not any(_holds_complex(item) for item in c.arguments.values()) and not _gives_complex(c):
        return plain
    if name in ROWS:
        return plain
    if name in OF_COMPLEX:
        return OF_COMPLEX[name]
    return _by_parts(plain) if plain is not None and name in BY_PARTS else None


def _holds_complex(item: Any) -> bool:
    if isinstance(item, list):
        return any(_holds_complex(i) for i in item)
    return isinstance(item, Complex)


def _gives_complex(c: Context) -> bool:
    made = c.node.meta.get("val")
    return isinstance(made, torch.Tensor) and made.is_complex()


# Arguments whose real numbers have an imaginary part of 0.
_NUMBERS = ("fill_value", "other", "self", "src", "tensors", "value", "values")


class _Part(Context):
    """A call seen as if its complex arguments had one part alone."""

    def __init__(self, c: Context, part: int) -> None:
        super().__init__(c.graph, c.node, {})
        self.arguments = {name: self._part(name, item, part) for name, item in c.arguments.items()}

    def _part(self, name: str, item: Any, part: int) -> Any:
        if isinstance(item, list):
            return [self._part(name, i, part) for i in item]
        if isinstance(item, complex):
            return item.imag if part else item.real
        if isinstance(item, Complex):
            return list(item)[part]
        if not part or name not in _NUMBERS or item is None:
            return item
        return affine(self.b, item, 0.0, 0) if isinstance(item, ir.Value) else 0.0

    def result_type(self, index: int = 0) -> str:
        found = self.node.meta["val"]
        found = found[index] if isinstance(found, list | tuple) else found
        return "FLOAT32" if found.is_complex() else super().result_type(index)


def _by_parts(row: Row) -> Row:
    """A row for what moves elements or is linear: the same to both parts."""

    return lambda c: complexes.paired(row(_Part(c, 0)), row(_Part(c, 1)))


# -- arithmetic -----------------------------------------------------------------------------------


def _tensor(c: Context, name: str) -> Tensor:
    """An argument as complex numbers, or as floats."""
    item = c.arg(name)
    if isinstance(item, Complex):
        return item
    if isinstance(item, complex):
        return Complex(
            *(c.b.constant(part, "number", np.float32) for part in (item.real, item.imag))
        )
    return cast(c.b, c.tensor(item), "FLOAT32")


def _complex(c: Context, name: str = "self") -> Complex:
    found = _tensor(c, name)
    return found if isinstance(found, Complex) else complexes.of_real(c.b, found)


def _sum(op: str) -> Row:
    """self + alpha * other, or minus"""

    def row(c: Context) -> Any:
        scaled = (
            affine(c.b, part, c.arguments.get("alpha", 1), 0) for part in _complex(c, "other")
        )
        pairs = zip(_complex(c), scaled, strict=True)
        return Complex(*(binary(c.b, op, p, q) for p, q in pairs))

    return row


def _product(c: Context) -> Any:
    return complexes.product(c.b, _tensor(c, "self"), _tensor(c, "other"))


def _quotient(c: Context) -> Any:
    return complexes.quotient(c.b, _tensor(c, "self"), _tensor(c, "other"))


def _reciprocal(c: Context) -> Any:
    return complexes.quotient(c.b, c.b.constant(1, "one", np.float32), _complex(c))


def _power(c: Context) -> Any:
    exponent, x = c.arg("exponent"), _complex(c)
    if exponent not in (1, 2, 3):
        raise NoForm("raises complex numbers to a power: write it with their magnitude and angle")
    return functools.reduce(functools.partial(complexes.product, c.b), [x] * int(exponent))


def _exponential(c: Context) -> Any:
    real, imaginary = _complex(c)
    return complexes.polar(c.b, unary(c.b, "EXP", real), imaginary)


def _matmul(c: Context) -> Any:
    name = "mat2" if "mat2" in c.arguments else "vec" if "vec" in c.arguments else "other"
    (p, q), (r, s) = _complex(c), _complex(c, "tensor" if "tensor" in c.arguments else name)
    of = functools.partial(products.matmul, c.b)
    real = binary(c.b, "SUB", of(p, r), of(q, s))
    return Complex(real, binary(c.b, "ADD", of(p, s), of(q, r)))


def _to(c: Context) -> Any:
    """To complex numbers, or to their real parts."""
    if _gives_complex(c):
        return _complex(c)
    return cast(c.b, _complex(c).real, c.result_type())


def _unary(form: Callable[..., Any]) -> Row:
    return lambda c: form(c.b, _complex(c))


def _negative(c: Context) -> Any:
    return Complex(*(unary(c.b, "NEG", part) for part in _complex(c)))


# -- between real and complex ---------------------------------------------------------------------


def _from_pairs(c: Context) -> Any:
    """[..., 2] as complex numbers."""
    x = c.value("self")
    parts = (basic.slice_axis(c.b, x, -1, i, i + 1) for i in (0, 1))
    return Complex(*(basic.squeeze(c.b, part, [-1]) for part in parts))


def _to_pairs(c: Context) -> ir.Value:
    parts = _complex(c)
    rank = basic.rank(c.b, parts.real)
    return basic.concat(c.b, [basic.unsqueeze(c.b, part, [rank]) for part in parts], rank)


def _from_parts(c: Context) -> Any:
    return Complex(c.value("real"), c.value("imag"))


def _polar(c: Context) -> Any:
    return complexes.polar(c.b, c.value("abs"), c.value("angle"))


def _angle(c: Context) -> Any:
    x = c.arg("self")
    if isinstance(x, Complex):
        return complexes.angle(c.b, x)
    zero = basic.scalar(c.b, 0, x)
    below = binary(c.b, "LESS", x, zero, "BOOL")
    return affine(c.b, cast(c.b, below, "FLOAT32"), math.pi, 0)


def _same(c: Context) -> Any:
    return c.arg("self")


# -- Fourier transforms ---------------------------------------------------------------------------


def _transform(c: Context) -> Any:
    """Complex to complex along some axes, or from real numbers, whose last axis may be halved."""
    x: Any = c.arg("self")
    axes = list(c.arg("dim"))
    forward, halved = c.arguments.get("forward", True), c.arguments.get("onesided", False)
    scale = _scale(c, _sizes(c, x, axes))
    for i, axis in enumerate(reversed(axes)):
        way = _function(forward, bool(halved and not i), 1.0 if i else scale)
        x = fourier.along(c.b, x, axis, way)
    return x


def _function(forward: bool, halved: bool, scale: float) -> fourier.Function:
    def function(rows: np.ndarray) -> np.ndarray:
        size = rows.shape[-1]
        found = np.fft.fft(rows) if forward else np.fft.ifft(rows) * size
        return (found[:, : size // 2 + 1] if halved else found) * scale

    return function


def _to_real(c: Context) -> Any:
    """Halved spectra to real numbers, along the last of the axes; the others come first."""
    x: Any = c.arg("self")
    *others, last = c.arg("dim")
    size = c.arg("last_dim_size")
    if isinstance(size, ir.Value):
        raise NoForm("has a computed length: make it a number")
    scale = _scale(c, [*_sizes(c, x, others), size])
    for axis in others:
        x = fourier.along(c.b, x, axis, _function(False, False, 1.0))
    return fourier.along(c.b, x, last, lambda rows: np.fft.irfft(rows, size) * size * scale)


def _sizes(c: Context, x: Tensor, axes: list[int]) -> list[int]:
    dims = c.b.fixed_dims(x.real if isinstance(x, Complex) else x, "its input")
    return [dims[axis] for axis in axes]


def _scale(c: Context, sizes: list[int]) -> float:
    """By PyTorch's number of the rule: none, 1 / sqrt(n), 1 / n."""
    return float(math.prod(sizes) ** -(0.0, 0.5, 1.0)[c.arg("normalization")])


# What only complex numbers are made for.
ROWS: Rows = {
    "_fft_c2c": _transform,
    "_fft_c2r": _to_real,
    "_fft_r2c": _transform,
    "angle": _angle,
    "complex": _from_parts,
    "polar": _polar,
    "view_as_complex": _from_pairs,
    "view_as_real": _to_pairs,
}
# What these ops are where an argument or the result is complex.
OF_COMPLEX: Rows = {
    "_conj": _unary(complexes.conjugate),
    "_conj_physical": _unary(complexes.conjugate),
    "_to_copy": _to,
    "abs": _unary(complexes.magnitude),
    "add": _sum("ADD"),
    "bmm": _matmul,
    "conj": _unary(complexes.conjugate),
    "conj_physical": _unary(complexes.conjugate),
    "div": _quotient,
    "dot": _matmul,
    "exp": _exponential,
    "imag": lambda c: _complex(c).imaginary,
    "matmul": _matmul,
    "mm": _matmul,
    "mul": _product,
    "mv": _matmul,
    "neg": _negative,
    "pow": _power,
    "real": lambda c: _complex(c).real,
    "reciprocal": _reciprocal,
    "resolve_conj": _same,
    "resolve_neg": _same,
    "sub": _sum("SUB"),
}
# What moves elements, or is linear in one argument.
BY_PARTS = {
    "_unsafe_view", "alias", "as_strided", "cat", "clone", "constant_pad_nd", "copy", "cumsum",
    "diagonal", "empty", "empty_like", "expand", "flip", "full", "full_like", "gather", "index",
    "index_put", "index_select", "mean", "permute", "repeat", "reshape",
    "scatter", "scatter_add", "select", "select_scatter", "slice", "slice_scatter", "split",
    "split_with_sizes", "squeeze", "stack", "sum", "t", "transpose", "unfold", "unsqueeze", "view",
    "where", "zeros", "zeros_like",
}  # fmt: skip
