# SPDX-License-Identifier: Apache-2.0
"""Products of matrices."""

from __future__ import annotations

import numpy as np

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic
from converter.importers.forms.basic import rank
from converter.importers.forms.elementwise import carried

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
        return _of_one_batch(b, x, y, transpose_x, transpose_y)
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


def _of_one_batch(
    b: Builder, x: ir.Value, y: ir.Value, transpose_x: bool, transpose_y: bool
) -> ir.Value:
    """:func:`matmul` of many axes, the leading ones merged."""
    what = f"one of its matrices in more than {_MOST} axes"
    left, right = b.fixed_dims(x, what), b.fixed_dims(y, what)
    lead = list(np.broadcast_shapes(left[:-2], right[:-2]))
    merged = []
    for value, dims in ((x, left), (y, right)):
        if list(dims[:-2]) != lead and len(dims) > 2:
            value = basic.broadcast_to(b, value, basic.int32s(b, [*lead, *dims[-2:]], "shape"))
        merged.append(value if len(dims) == 2 else basic.reshape(b, value, [-1, *dims[-2:]]))
    found = matmul(b, merged[0], merged[1], transpose_x, transpose_y)
    return basic.reshape(b, found, [*lead, *b.fixed_dims(found, what)[-2:]])
