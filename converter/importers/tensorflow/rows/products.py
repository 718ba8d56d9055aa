# SPDX-License-Identifier: Apache-2.0
"""Rows for products of matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence

from converter import ir
from converter.importers.forms import basic, products
from converter.importers.no_form import NoForm
from converter.importers.tensorflow.context import Context, Rows


def _product(
    c: Context, x: ir.Value, y: ir.Value, transpose_x: bool = False, transpose_y: bool = False
) -> ir.Value:
    """x y; a constant matrix on the right is turned once, under its own name."""
    constant = y.data is not None and y.data.ndim == 2 and y.dtype == "FLOAT32"
    if constant and not transpose_x and not transpose_y:
        y, transpose_y = c.turned(y, "transposed", lambda data: data.T), True
    return products.matmul(c.b, x, y, transpose_x, transpose_y)


def _matmul(c: Context) -> ir.Value:
    ways = (bool(c.attr(f"transpose_{name}", False)) for name in "ab")
    return _product(c, c.input(0), c.input(1), *ways)


def _batch_matmul(c: Context) -> ir.Value:
    ways = (bool(c.attr(f"adj_{name}", False)) for name in "xy")
    return _product(c, c.input(0), c.input(1), *ways)


def _einsum(c: Context) -> ir.Value:
    terms, mark, result = c.attr("equation", "").replace(" ", "").partition("->")
    labels = terms.split(",")
    values = c.inputs()
    if not mark or len(labels) != len(values) or len(values) > 2:
        raise NoForm(f"has the equation {c.attr('equation')!r}: use products of two tensors")
    labels, result = _spelled(c, values, labels, result)
    if any(len(set(part)) < len(part) for part in (*labels, result)):
        raise NoForm("has a label twice in one term: take the diagonal with other ops")
    if len(values) == 1:
        return _single(c, values[0], labels[0], result)
    return _pair(c, values, labels, result)


def _spelled(
    c: Context, values: Sequence[ir.Value], labels: list[str], result: str
) -> tuple[list[str], str]:
    """The labels with those that an ellipsis stands for."""
    spare = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    spelled, longest = [], ""
    for value, part in zip(values, labels, strict=True):
        count = basic.rank(c.b, value) - len(part.replace("...", ""))
        if count < 0 or ("..." not in part and count):
            raise NoForm("has an equation that does not fit the ranks of its inputs")
        names = spare[len(spare) - count :] if count else ""
        longest = max(longest, names, key=len)
        spelled.append(part.replace("...", names))
    return spelled, result.replace("...", longest)


def _single(c: Context, x: ir.Value, labels: str, result: str) -> ir.Value:
    gone = [i for i, label in enumerate(labels) if label not in result]
    if gone:
        x = basic.reduce(c.b, "SUM", x, gone, False)
        labels = "".join(label for label in labels if label in result)
    return basic.transpose(c.b, x, [labels.index(label) for label in result])


def _pair(c: Context, values: list[ir.Value], labels: list[str], result: str) -> ir.Value:
    """As [batch, rows, inner] times [batch, inner, columns]."""
    left, right = labels
    for k, other in ((0, right), (1, left)):  # what only one of them has, and the result not
        alone = [i for i, label in enumerate(labels[k]) if label not in other + result]
        if alone:
            values[k] = basic.reduce(c.b, "SUM", values[k], alone, False)
            labels[k] = "".join(n for n in labels[k] if n in other + result)
    left, right = labels
    batch = [n for n in left if n in right and n in result]
    inner = [n for n in left if n in right and n not in result]
    rows = [n for n in left if n not in right]
    columns = [n for n in right if n not in left]
    sizes: dict[str, int | None] = {}
    for value, part in zip(values, labels, strict=True):
        for name, size in zip(part, c.b.dims(value), strict=True):
            if sizes.setdefault(name, size) == 1:
                sizes[name] = size
    weights = values[1].data is not None and not batch
    x = _arranged(c, values[0], left, [*batch, *rows, *inner])
    y = _arranged(c, values[1], right, [*batch, *inner, *columns])
    matrix = (_joined(sizes, inner), _joined(sizes, columns))
    front = [sizes[n] for n in batch]
    if weights:
        x = basic.reshape(c.b, x, [*(sizes[n] for n in rows), matrix[0]])
        y = basic.reshape(c.b, y, [*matrix])
        product = _product(c, x, y)
    else:
        x = basic.reshape(c.b, x, [*front, _joined(sizes, rows), matrix[0]])
        y = basic.reshape(c.b, y, [*front, *matrix])
        product = products.matmul(c.b, x, y)
    order = [*batch, *rows, *columns]
    product = basic.reshape(c.b, product, [sizes[n] for n in order])
    return basic.transpose(c.b, product, [order.index(n) for n in result])


def _arranged(c: Context, x: ir.Value, labels: str, order: list[str]) -> ir.Value:
    return basic.transpose(c.b, x, [labels.index(name) for name in order])


def _joined(sizes: dict[str, int | None], names: list[str]) -> int | None:
    known = [sizes[n] for n in names]
    return None if None in known else math.prod(s for s in known if s is not None)


ROWS: Rows = {
    **dict.fromkeys(("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"), _batch_matmul),
    "Einsum": _einsum,
    "MatMul": _matmul,
}
