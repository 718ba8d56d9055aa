# SPDX-License-Identifier: Apache-2.0
"""Scaled dot-product attention; :mod:`converter.passes.composites` can find it again."""

from __future__ import annotations

import numpy as np

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic, products
from converter.importers.forms.basic import binary, int32s, scalar
from converter.importers.forms.elementwise import affine, select
from converter.importers.no_form import NoForm


def attention(
    b: Builder,
    q: ir.Value,
    k: ir.Value,
    v: ir.Value,
    scale: float,
    mask: ir.Value | None = None,
    causal: bool = False,
) -> ir.Value:
    """softmax(scale * q k^T + mask) v of [..., length, features].

    `mask` broadcasts to [..., length of q, length of k]: terms, or what is true where q may look.
    `causal`: position i looks at positions up to i.
    """
    scores = products.matmul(b, affine(b, q, scale, 0), k, False, True)
    masks = [mask] if mask is not None else []
    if causal:
        masks.append(_causal(b, scores))
    for term in masks:
        if term.dtype == "BOOL":
            term = select(b, term, scalar(b, 0, scores), scalar(b, float("-inf"), scores))
        scores = binary(b, "ADD", scores, term)
    return products.matmul(b, b.emit("SOFTMAX", [scores], beta=1.0), v)


def repeated_heads(b: Builder, q: ir.Value, k: ir.Value, v: ir.Value) -> tuple[ir.Value, ir.Value]:
    """`k` and `v` with every head (axis -3) as often as `q` has heads for it."""
    if basic.rank(b, q) < 4:
        return k, v
    heads, own = b.dims(q)[-3], b.dims(k)[-3]
    if heads == own or own == 1:
        return k, v
    if heads is None or own is None or heads % own:
        raise NoForm(f"has {heads} heads of queries for {own} of keys: make it a multiple")
    places = int32s(b, np.repeat(np.arange(own), heads // own), "heads")
    axis = basic.rank(b, k) - 3
    return tuple(  # type: ignore[return-value]
        b.emit("GATHER", [x, places], axis=axis, batch_dims=0) for x in (k, v)
    )


def _causal(b: Builder, scores: ir.Value) -> ir.Value:
    """[length of q, length of k] what is true where the column is not behind the row."""
    length, reach = b.dims(scores)[-2:]
    if length is not None and reach is not None:
        return b.constant(np.tril(np.ones((length, reach), bool)), "causal")
    rank = basic.rank(b, scores)
    rows, columns = (_count(b, scores, axis) for axis in (rank - 2, rank - 1))
    return b.emit("GREATER_EQUAL", [basic.unsqueeze(b, rows, [1]), columns], dtype="BOOL")


def _count(b: Builder, x: ir.Value, axis: int) -> ir.Value:
    """0, 1, 2... as many as `x` has along `axis`."""
    size = basic.slice_axis(b, basic.shape_of(b, x), 0, axis, axis + 1)
    ends = [
        b.constant(0, "zero", np.int32),
        basic.reshape(b, size, []),
        b.constant(1, "one", np.int32),
    ]
    return b.emit("RANGE", ends, dims=[None])
