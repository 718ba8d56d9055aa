# SPDX-License-Identifier: Apache-2.0
"""Cutting, padding from inside, and moving between space and depth."""

from __future__ import annotations

import math
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


def split_computed(
    b: Builder, x: ir.Value, sizes: ir.Value, axis: int, count: int
) -> list[ir.Value]:
    """`count` parts of `x` along `axis`, of sizes that are computed."""
    parts, first = basic.ints(b, sizes), b.constant(0, "first", np.int32)
    ends = b.emit("CUMSUM", [parts, first], exclusive=False, reverse=False)
    begins = basic.binary(b, "SUB", ends, parts)
    limits = [[basic.slice_axis(b, v, 0, i, i + 1) for v in (begins, ends)] for i in range(count)]
    return [cut(b, x, begin, end, [axis], [1]) for begin, end in limits]


def split_equally(b: Builder, x: ir.Value, axis: int, count: int) -> list[ir.Value]:
    """`count` parts of an axis of dynamic size; the last one may be smaller."""
    whole = basic.size_of(b, x, axis)
    part = basic.binary(b, "ADD", whole, basic.scalar(b, count - 1, whole))
    part = basic.binary(b, "FLOOR_DIV", part, basic.scalar(b, count, whole))
    taken = basic.binary(b, "MUL", part, basic.scalar(b, count - 1, part))
    line = [basic.reshape(b, v, [1]) for v in (part, basic.binary(b, "SUB", whole, taken))]
    return split_computed(
        b, x, basic.concat(b, [line[0]] * (count - 1) + [line[1]], 0), axis, count
    )


def pad_from_inside(
    b: Builder, x: ir.Value, pads: Sequence[tuple[int, int]], mode: str
) -> ir.Value:
    """Paddings that repeat what is inside: "reflect" (without the edge), "edge", "wrap"."""
    for axis, (before, after) in enumerate(pads):
        if before < 0 or after < 0:
            end = after if after < 0 else None
            x = carried(b, lambda v, a=axis, p=before, e=end: basic.slice_axis(
                b, v, a, max(0, -p), e), [x])  # fmt: skip
    pads = [(max(before, 0), max(after, 0)) for before, after in pads]
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
            at = _places_inside(b, x, axis, pair, kind)
            x = carried(b, lambda v, at=at, a=axis: b.emit("GATHER", [v, at], axis=a), [x])
    return x


def _places_inside(
    b: Builder, x: ir.Value, axis: int, pair: tuple[int, int], kind: str
) -> ir.Value:
    """Which elements along `axis` stand in the padded one."""
    size = b.dims(x)[axis]
    if size is not None:
        places = np.pad(np.arange(size), pair, kind)  # type: ignore[call-overload]
        return int32s(b, places, "places")
    if kind == "reflect":
        raise NoForm("reflects an axis of dynamic size more than once: give it a fixed size")
    count = basic.size_of(b, x, axis)
    end = basic.binary(b, "ADD", count, basic.scalar(b, pair[1], count))
    line = basic.counted(b, basic.scalar(b, -pair[0], count), end)
    if kind == "wrap":
        return basic.binary(b, "FLOOR_MOD", line, count)
    line = basic.binary(b, "MAXIMUM", line, basic.scalar(b, 0, line))
    last = basic.binary(b, "SUB", count, basic.scalar(b, 1, count))
    return basic.binary(b, "MINIMUM", line, last)


def cut(
    b: Builder,
    x: ir.Value,
    begins: ir.Value,
    ends: ir.Value,
    axes: Sequence[int],
    steps: Sequence[int],
) -> ir.Value:
    """`x` from `begins` to `ends`, one number for each of `axes`, all or some of them computed."""
    dims = rank = basic.rank(b, x)
    parts = [_limits(b, v) for v in (begins, ends)]
    if list(axes) != list(range(dims)):
        at = {axis: i for i, axis in enumerate(axes)}
        zero = int32s(b, [0], "zero")
        parts = [
            basic.concat(
                b,
                [
                    basic.slice_axis(b, v, 0, at[i], at[i] + 1) if i in at else zero
                    for i in range(rank)
                ],
                0,
            )
            for v in parts
        ]
    every = dict(zip(axes, steps, strict=True))
    mask = sum(1 << i for i in range(rank) if i not in every)
    return b.emit(
        "STRIDED_SLICE",
        [x, *parts, int32s(b, [every.get(i, 1) for i in range(rank)], "steps")],
        dims=[None if i in every else d for i, d in enumerate(b.dims(x))],
        begin_mask=mask,
        end_mask=mask,
    )


def _limits(b: Builder, x: ir.Value) -> ir.Value:
    """Places as INT32; what is behind its range (an end that means the end) stays behind."""
    x = basic.reshape(b, x, [-1 if None in b.dims(x) else math.prod(b.dims(x))])  # type: ignore[arg-type]
    if x.dtype != "INT64":
        return basic.ints(b, x)
    high, low = np.iinfo(np.int32).max, -np.iinfo(np.int32).max
    x = basic.binary(b, "MINIMUM", x, basic.scalar(b, high, x))
    return basic.ints(b, basic.binary(b, "MAXIMUM", x, basic.scalar(b, low, x)))


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
