# SPDX-License-Identifier: Apache-2.0
"""Fourier transforms of fixed lengths, as products with constant matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic, products
from converter.importers.forms.basic import binary
from converter.importers.forms.complexes import Complex
from converter.importers.no_form import NoForm

_LARGEST = 1 << 24  # elements of a matrix
Function = Callable[[np.ndarray], np.ndarray]


def transformed(
    b: Builder, given: Sequence[ir.Value], function: Function
) -> tuple[ir.Value, ir.Value | None]:
    """`function`, linear, along the last axis of a tensor given by its real part, or by both parts;
    (real, imaginary part) of what it gives, None where that is real.
    """
    size = b.dims(given[0])[-1]
    if size is None:
        raise NoForm("transforms an axis of dynamic size: give the model's inputs fixed sizes")
    _check(size)
    ways = [function(np.eye(size) * unit) for unit in (1, 1j)[: len(given)]]
    real = _sum_of_products(b, given, [way.real for way in ways])
    if not np.iscomplexobj(ways[0]):
        return real, None
    return real, _sum_of_products(b, given, [way.imag for way in ways])


def of_pairs(size: int, parts: int, function: Function) -> np.ndarray:
    """[size * parts, outputs * parts] the matrix of a linear `function` of [n, size] numbers, whose
    real and imaginary parts alternate.
    """
    _check(size)
    rows = np.eye(size, dtype=np.complex128)
    found = [function(rows if part == 0 else rows * 1j) for part in range(parts)]
    stacked = np.stack(found, 1).reshape(size * parts, -1)
    if np.iscomplexobj(stacked):
        stacked = np.stack([stacked.real, stacked.imag], -1).reshape(size * parts, -1)
    return stacked


def _check(size: int) -> None:
    if size * size * 4 > _LARGEST:
        raise NoForm(f"transforms {size} numbers by a matrix that is too large: use shorter frames")


def _sum_of_products(
    b: Builder, given: Sequence[ir.Value], tables: Sequence[np.ndarray]
) -> ir.Value:
    """The first axis of a table is the last of what is given."""
    found: ir.Value | None = None
    for x, table in zip(given, tables, strict=True):
        if not table.any() and found is not None:
            continue
        weights = b.constant(table.T, "transform", np.float32)
        product = products.matmul(b, x, weights, False, True)
        found = product if found is None else binary(b, "ADD", found, product)
    assert found is not None
    return found


def along(b: Builder, x: Complex | ir.Value, axis: int, function: Function) -> Complex | ir.Value:
    """`function` along `axis` of a real or complex tensor; a tensor where that is real."""
    given = list(x) if isinstance(x, Complex) else [x]
    rank = basic.rank(b, given[0])
    axis = basic.axis_of(b, given[0], axis)
    perm = [*(i for i in range(rank) if i != axis), axis]
    back = [perm.index(i) for i in range(rank)]
    real, imaginary = transformed(b, [basic.transpose(b, part, perm) for part in given], function)
    if imaginary is None:
        return basic.transpose(b, real, back)
    return Complex(*(basic.transpose(b, part, back) for part in (real, imaginary)))


def fitted(b: Builder, x: ir.Value, length: int) -> ir.Value:
    """The last axis cut or filled up with zeros to `length`."""
    size = b.dims(x)[-1]
    if size is None:
        raise NoForm("transforms an axis of dynamic size: give the model's inputs fixed sizes")
    if size > length:
        return basic.slice_axis(b, x, -1, 0, length)
    if size == length:
        return x
    pads = np.zeros((basic.rank(b, x), 2), np.int32)
    pads[-1, 1] = length - size
    return b.emit("PAD", [x, b.constant(pads, "paddings", np.int32)])
