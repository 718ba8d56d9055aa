# SPDX-License-Identifier: Apache-2.0
"""Rows for products of matrices."""

from __future__ import annotations

from converter import ir
from converter.importers.forms import basic, einsum, products
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
    x, y = c.inputs()
    if c.kind() == x.dtype:
        return _product(c, x, y, *ways)
    # BatchMatMulV3 may give wider integers than it multiplies: right below 2^24
    x, y = (basic.cast(c.b, v, "FLOAT32") for v in (x, y))
    return basic.cast(c.b, _product(c, x, y, *ways), c.kind())


def _einsum(c: Context) -> ir.Value:
    return einsum.einsum(c.b, c.attr("equation", ""), c.inputs())


ROWS: Rows = {
    **dict.fromkeys(("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"), _batch_matmul),
    "Einsum": _einsum,
    "MatMul": _matmul,
}
