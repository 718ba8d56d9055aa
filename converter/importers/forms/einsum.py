# SPDX-License-Identifier: Apache-2.0
"""Sums of products by Einstein's notation, through transposes and one BATCH_MATMUL per operand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic, products, reduction
from converter.importers.no_form import NoForm

_DOTS = "0123456789"  # letters for the axes that "..." stands for


def einsum(b: Builder, equation: str, values: Sequence[ir.Value]) -> ir.Value:
    """numpy.einsum(equation, *values)."""
    terms, result = _parsed(b, equation, values)
    done, names = _settled(b, values[0], terms[0])
    for i, (value, term) in enumerate(zip(values[1:], terms[1:], strict=True), 1):
        other, others = _settled(b, value, term)
        later = set(result).union(*terms[i + 1 :])
        done, names = _product(b, done, names, other, others, later)
    done, names = _summed(b, done, names, set(result))
    missing = [n for n in result if n not in names]
    if missing or len(set(result)) != len(result):
        raise NoForm(f"has the equation {equation!r}, whose result is not of its operands' axes")
    return basic.transpose(b, done, [names.index(n) for n in result])


def _parsed(b: Builder, equation: str, values: Sequence[ir.Value]) -> tuple[list[str], str]:
    """The letters of each operand and of the result; "..." as digits."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(values):
        raise NoForm(f"has the equation {equation!r} for {len(values)} operands")
    most = 0
    for i, (term, value) in enumerate(zip(terms, values, strict=True)):
        count = basic.rank(b, value) - len(term.replace("...", ""))
        if count < 0 or (count and "..." not in term) or count > len(_DOTS):
            raise NoForm(f"has the term {term!r} for an operand of rank {basic.rank(b, value)}")
        most = max(most, count)
        terms[i] = term.replace("...", _DOTS[len(_DOTS) - count :])
    dots = _DOTS[len(_DOTS) - most :] if most else ""
    if not arrow:
        flat = "".join(terms)
        once = [n for n in sorted(set(flat)) if flat.count(n) == 1 and n not in _DOTS]
        return terms, dots + "".join(once)
    return terms, right.replace("...", dots)


def _settled(b: Builder, x: ir.Value, term: str) -> tuple[ir.Value, str]:
    """`x` without axes that have the same letter: their diagonal."""
    while len(set(term)) < len(term):
        twice = next(n for n in term if term.count(n) > 1)
        first, second = [i for i, n in enumerate(term) if n == twice][:2]
        size = b.fixed_dims(x, "its operand")[first]
        rest = [i for i in range(len(term)) if i not in (first, second)]
        moved = basic.transpose(b, x, [first, second, *rest])
        places = np.stack([np.arange(size)] * 2, 1)
        x = b.emit("GATHER_ND", [moved, b.constant(places, "diagonal", np.int32)])
        term = twice + "".join(term[i] for i in rest)
    return x, term


def _summed(b: Builder, x: ir.Value, names: str, kept: set[str]) -> tuple[ir.Value, str]:
    """`x` summed over the axes that nothing needs any more."""
    gone = [i for i, n in enumerate(names) if n not in kept]
    if not gone:
        return x, names
    total = reduction.reduce(b, "SUM", x, gone, False)
    return total, "".join(n for n in names if n in kept)


def _product(
    b: Builder, x: ir.Value, left: str, y: ir.Value, right: str, later: set[str]
) -> tuple[ir.Value, str]:
    """The product, summed over axes of both that `later` terms and the result lack."""
    x, left = _summed(b, x, left, later | set(right))
    y, right = _summed(b, y, right, later | set(left))
    shared = [n for n in left if n in right]
    sums = [n for n in shared if n not in later]
    batch = [n for n in shared if n in later]
    rows = [n for n in left if n not in shared]
    columns = [n for n in right if n not in shared]
    if not sums:
        return _outer(b, x, left, y, right, [*batch, *rows, *columns])
    sizes = dict(zip(left, b.dims(x), strict=True))
    sizes |= {n: d for n, d in zip(right, b.dims(y), strict=True) if sizes.get(n) in (None, 1)}
    p = _as_matrices(b, x, left, [batch, rows, sums])
    q = _as_matrices(b, y, right, [batch, sums, columns])
    names = "".join([*batch, *rows, *columns])
    return _parted(b, products.matmul(b, p, q), names, sizes, ((x, left), (y, right))), names


def _parted(
    b: Builder,
    product: ir.Value,
    names: str,
    sizes: dict[str, int | None],
    operands: Sequence[tuple[ir.Value, str]],
) -> ir.Value:
    """`product` with an axis for each of `names`, whose sizes are those of the operands."""
    dims = [sizes[n] for n in names]
    if dims.count(None) <= 1:
        return basic.reshape(b, product, dims)
    pieces = []
    for name, size in zip(names, dims, strict=True):
        if size is not None:
            pieces.append(basic.int32s(b, [size], "size"))
            continue
        for value, own in operands:
            at = own.find(name)
            if at >= 0 and b.dims(value)[at] != 1:
                pieces.append(basic.slice_axis(b, basic.shape_of(b, value), 0, at, at + 1))
                break
    return basic.reshape_like(b, product, basic.concat(b, pieces, 0))


def _as_matrices(b: Builder, x: ir.Value, names: str, groups: list[list[str]]) -> ir.Value:
    """`x` with the axes of each group in order; the last two groups as one axis each."""
    order = [n for group in groups for n in group]
    moved = basic.transpose(b, x, [names.index(n) for n in order])
    dims = [b.dims(x)[names.index(n)] for n in groups[0]]
    if len(dims) > 1 and None not in dims:
        dims = [math.prod(d for d in dims if d is not None)]

    def product(group: list[str]) -> int | None:
        own = [b.dims(x)[names.index(n)] for n in group]
        return None if None in own else math.prod(d for d in own if d is not None)

    whole = [*dims, product(groups[1]), product(groups[2])]
    if whole.count(None) <= 1:
        return basic.reshape(b, moved, whole)
    return _merged(b, moved, [len(dims), len(groups[1]), len(groups[2])], len(groups[0]))


def _merged(b: Builder, x: ir.Value, counts: list[int], batch: int) -> ir.Value:
    """`x` of axes in three groups as matrices, of which several sizes are dynamic; its first axes
    are left as they are, or are one where they are all fixed.
    """
    shape = basic.shape_of(b, x)
    pieces, at = [], 0
    if counts[0] == batch:
        pieces, at = [basic.slice_axis(b, shape, 0, i, i + 1) for i in range(batch)], batch
    else:
        pieces, at = [_size_of(b, shape, 0, batch)], batch
    for count in counts[1:]:
        pieces.append(_size_of(b, shape, at, at + count))
        at += count
    return basic.reshape_like(b, x, basic.concat(b, pieces, 0))


def _size_of(b: Builder, shape: ir.Value, begin: int, end: int) -> ir.Value:
    """The product of some sizes, a vector of one."""
    if begin == end:
        return basic.int32s(b, [1], "size")
    part = basic.slice_axis(b, shape, 0, begin, end)
    return basic.reduce(b, "REDUCE_PROD", part, [0], True)


def _outer(
    b: Builder, x: ir.Value, left: str, y: ir.Value, right: str, order: list[str]
) -> tuple[ir.Value, str]:
    """The product of elements, by broadcasting."""
    parts = []
    for value, names in ((x, left), (y, right)):
        own = [n for n in order if n in names]
        moved = basic.transpose(b, value, [names.index(n) for n in own])
        absent = [i for i, n in enumerate(order) if n not in names]
        parts.append(basic.unsqueeze(b, moved, absent) if absent else moved)
    return basic.binary(b, "MUL", parts[0], parts[1]), "".join(order)
