# SPDX-License-Identifier: Apache-2.0
"""Cutting, padding from inside, and moving between space and depth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic
from converter.importers.forms.basic import int32s
from converter.importers.forms.elementwise import carried
from converter.importers.no_form import NoForm


def split(b: Builder, x: ir.Value, sizes: Sequence[int], axis: int) -> list[ir.Value]:
    """Parts of `x` of these sizes along `axis`."""
    if len(sizes) == 1:
        return [x]
    whole = b.dims(x)[axis]
    if whole is not None and sum(sizes) != whole:
        raise NoForm(f"cuts an axis of {whole} into parts of {', '.join(map(str, sizes))}")
    at = b.constant(axis, "axis", np.int32)
    if len(set(sizes)) == 1 and sizes[0]:
        return b.emit_many("SPLIT", [at, x], [x.dtype] * len(sizes), num_splits=len(sizes))
    parts = int32s(b, sizes, "sizes")
    return b.emit_many("SPLIT_V", [x, parts, at], [x.dtype] * len(sizes), num_splits=len(sizes))


def pad_from_inside(
    b: Builder, x: ir.Value, pads: Sequence[tuple[int, int]], mode: str
) -> ir.Value:
    """Paddings that repeat what is inside: "reflect" (without the edge), "edge", "wrap"."""
    if any(amount < 0 for pair in pads for amount in pair):
        raise NoForm("crops and pads at once: do it in two steps")
    dims = b.dims(x)
    if mode == "reflect" and all(
        d is None or max(pair) < d for d, pair in zip(dims, pads, strict=True)
    ):
        amounts = b.constant(pads, "paddings", np.int32)
        return carried(b, lambda v: b.emit("MIRROR_PAD", [v, amounts], mode="REFLECT"), [x])
    kind = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}.get(mode)
    if kind is None:
        raise NoForm(f"pads by {mode!r}, which TFLite lacks: use constant, reflect or edge")
    for axis, pair in enumerate(pads):
        if any(pair):
            size = b.fixed_dims(x, "its input")[axis]
            places = np.pad(np.arange(size), pair, kind)  # type: ignore[call-overload]
            at = int32s(b, places, "places")
            x = carried(b, lambda v, at=at, a=axis: b.emit("GATHER", [v, at], axis=a), [x])
    return x


def depth_to_space(b: Builder, x: ir.Value, block: int, mode: str) -> ir.Value:
    """Blocks of channels become blocks of pixels; "DCR" is TFLite's own order, "CRD" splits the
    channels first.
    """
    if basic.rank(b, x) != 4:
        raise NoForm(f"needs an input of rank 4, not {basic.rank(b, x)}")
    channels = b.dims(x)[1]
    if mode == "CRD":
        if channels is None:
            raise NoForm("has a dynamic number of channels: give the model's inputs fixed sizes")
        order = np.arange(channels).reshape(-1, block * block).T.reshape(-1)
        x = b.emit("GATHER", [x, int32s(b, order, "order")], axis=1)
    last = basic.channels_last(b, x)
    y = carried(b, lambda v: b.emit("DEPTH_TO_SPACE", [v], block_size=block), [last])
    return basic.channels_first(b, y)


def space_to_depth(b: Builder, x: ir.Value, block: int, mode: str = "DCR") -> ir.Value:
    """Blocks of pixels become channels, in the orders of :func:`depth_to_space`."""
    if basic.rank(b, x) != 4:
        raise NoForm(f"needs an input of rank 4, not {basic.rank(b, x)}")
    last = basic.channels_last(b, x)
    y = carried(b, lambda v: b.emit("SPACE_TO_DEPTH", [v], block_size=block), [last])
    y = basic.channels_first(b, y)
    if mode != "CRD":
        return y
    channels = b.dims(y)[1]
    if channels is None:
        raise NoForm("has a dynamic number of channels: give the model's inputs fixed sizes")
    order = np.arange(channels).reshape(block * block, -1).T.reshape(-1)
    return b.emit("GATHER", [y, int32s(b, order, "order")], axis=1)
