# SPDX-License-Identifier: Apache-2.0
"""Products of 8-bit matrices that give int32 sums."""

from __future__ import annotations

import numpy as np

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic, quantized
from converter.importers.forms.basic import binary


def matmul_integer(
    b: Builder, x: ir.Value, zero_x: ir.Value | None, y: ir.Value, zero_y: ir.Value | None
) -> ir.Value:
    """The INT32 product of 8-bit matrices less their zero points (one, or one per row of `x` and
    column of `y`): the product of int8 numbers, and what their zero points add to it.
    """
    if min(basic.rank(b, x), basic.rank(b, y)) < 2:
        return _by_vectors(b, x, zero_x, y, zero_y)
    (left, more_left), (right, more_right) = _small(b, x, zero_x, -2), _small(b, y, zero_y, -1)
    total = b.emit("BATCH_MATMUL", [left, right], dtype="INT32", adj_x=False, adj_y=False)
    total.quant = ir.Quantization(np.ones(1), np.zeros(1))
    columns = _sum(b, y, -2)
    if more_right is not None:
        total = binary(b, "ADD", total, binary(b, "MUL", more_right, _sum(b, x, -1)))
        depth = basic.slice_axis(b, basic.shape_of(b, x), 0, -1, None)
        columns = binary(b, "ADD", columns, binary(b, "MUL", more_right, depth))
    if more_left is not None:
        total = binary(b, "ADD", total, binary(b, "MUL", more_left, columns))
    return total


def _by_vectors(
    b: Builder, x: ir.Value, zero_x: ir.Value | None, y: ir.Value, zero_y: ir.Value | None
) -> ir.Value:
    """A vector is a row on the left and a column on the right, as in numpy.matmul."""
    left, right = basic.rank(b, x) == 1, basic.rank(b, y) == 1
    x = basic.unsqueeze(b, x, [0]) if left else x
    y = basic.unsqueeze(b, y, [1]) if right else y
    gone = [axis for axis, is_vector in ((-2, left), (-1, right)) if is_vector]
    return basic.squeeze(b, matmul_integer(b, x, zero_x, y, zero_y), gone)


def _small(
    b: Builder, x: ir.Value, zero: ir.Value | None, axis: int
) -> tuple[ir.Value, ir.Value | None]:
    """8-bit `x` as int8 of scale 1, and the INT32 number, if any, that each lacks to x - zero."""
    shift = 128 if x.dtype == "UINT8" else 0
    if x.data is not None:
        data = (x.data.astype(np.int16) - shift).astype(np.int8)
        small = b.constant(data, "int8")
        small.quant = ir.Quantization(np.ones(1), np.zeros(1))
    else:
        small = b.quantize(quantized.whole(b, x), 1.0, -shift)
        if not shift:
            small.quant = ir.Quantization(np.ones(1), np.zeros(1))
    if zero is None:
        return small, b.constant(shift, "shift", np.int32) if shift else None
    known = b.known(zero)
    if known is not None and (known == shift).all():
        return small, None
    point = basic.cast(b, quantized.whole(b, zero), "INT32")
    lacks = quantized.along(b, x, point, axis)
    return small, binary(b, "SUB", b.constant(shift, "shift", np.int32), lacks)


def _sum(b: Builder, x: ir.Value, axis: int) -> ir.Value:
    """Sums along `axis`, which stays, of what :func:`_small` makes of `x`."""
    shift = 128 if x.dtype == "UINT8" else 0
    if x.data is not None:
        data = x.data.astype(np.int32) - shift
        return b.constant(data.sum(axis, keepdims=True, dtype=np.int32), "sums")
    plain = basic.cast(b, quantized.whole(b, x), "INT32")
    plain = binary(b, "SUB", plain, basic.scalar(b, shift, plain))
    return basic.reduce(b, "SUM", plain, [axis], True)
