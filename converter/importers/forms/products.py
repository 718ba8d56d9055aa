# SPDX-License-Identifier: Apache-2.0
"""Products of matrices."""

from __future__ import annotations

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic
from converter.importers.forms.basic import rank
from converter.importers.forms.elementwise import carried
from converter.importers.no_form import NoForm

_MOST = 5  # axes of a BATCH_MATMUL in LiteRT


def matmul(
    b: Builder, x: ir.Value, y: ir.Value, transpose_x: bool = False, transpose_y: bool = False
) -> ir.Value:
    """numpy.matmul: vectors are rows on the left and columns on the right, leading axes broadcast.

    A constant right-hand matrix makes it a FULLY_CONNECTED, which holds its weights by rows.
    """
    left, right = rank(b, x) == 1, rank(b, y) == 1
    if left and right:
        product = basic.binary(b, "MUL", x, y)
        return b.emit("SUM", [product, basic.int32s(b, [0], "axis")], keep_dims=False)
    if left:
        return basic.squeeze(b, matmul(b, basic.unsqueeze(b, x, [0]), y, False, transpose_y), [-2])
    if right:
        return basic.squeeze(b, matmul(b, x, basic.unsqueeze(b, y, [1]), transpose_x), [-1])
    if max(rank(b, x), rank(b, y)) > _MOST:
        raise NoForm(f"multiplies matrices in more than {_MOST} axes: merge the leading ones")
    unpacked = b.unpacked.get((y, transpose_y))
    is_constant = (y.data is not None and y.data.ndim == 2) or unpacked is not None
    if is_constant and x.dtype == "FLOAT32" and not transpose_x:
        weights = unpacked or (y if transpose_y else basic.transpose(b, y, [1, 0]))
        return b.emit(
            "FULLY_CONNECTED",
            [x, weights, None],
            fused_activation_function="NONE",
            keep_num_dims=rank(b, x) > 2,
        )
    return carried(
        b,
        lambda p, q: b.emit("BATCH_MATMUL", [p, q], adj_x=transpose_x, adj_y=transpose_y),
        [x, y],
    )
