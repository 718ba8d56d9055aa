# SPDX-License-Identifier: Apache-2.0
"""Rows for operations that move elements: reshaping, transposing, joining, cutting."""

from __future__ import annotations

import math

import numpy as np

from converter import ir
from converter.importers.forms import basic, movement
from converter.importers.forms.convolution import pad_with
from converter.importers.forms.elementwise import carried
from converter.importers.no_form import NoForm
from converter.importers.onnx.context import Context, Rows


def _shape(c: Context) -> ir.Value:
    x = c.input(0)
    whole = basic.shape_of(c.b, x, "INT64")
    start, end = c.attr("start", 0), c.attr("end")
    if start == 0 and end is None:
        return whole
    return basic.slice_axis(c.b, whole, 0, *slice(start, end).indices(basic.rank(c.b, x))[:2])


def _reshape(c: Context) -> ir.Value:
    return basic.reshape_like(c.b, c.input(0), c.input(1), not c.attr("allowzero", 0))


def _flatten(c: Context) -> ir.Value:
    x = c.input(0)
    dims = c.b.dims(x)
    axis = c.attr("axis", 1)
    axis = axis + len(dims) if axis < 0 else axis

    def product(part: tuple[int | None, ...]) -> int | None:
        return None if None in part else math.prod(d for d in part if d is not None)

    return basic.reshape(c.b, x, [product(dims[:axis]), product(dims[axis:])])


def _transpose(c: Context) -> ir.Value:
    x = c.input(0)
    return basic.transpose(c.b, x, c.attr("perm", list(range(basic.rank(c.b, x)))[::-1]))


def _concat(c: Context) -> ir.Value:
    return basic.concat(c.b, c.inputs(), c.attr("axis"))


def _unsqueeze(c: Context) -> ir.Value:
    return basic.unsqueeze(c.b, c.input(0), c.numbers("axes", 1, "axes") or [])


def _squeeze(c: Context) -> ir.Value:
    return basic.squeeze(c.b, c.input(0), c.numbers("axes", 1, "axes"))


def _slice(c: Context) -> ir.Value:
    x = c.input(0)
    if any(c.has(i) and c.b.known(c.input(i)) is None for i in range(1, 5)):
        return _computed_slice(c)
    starts = c.numbers("starts", 1, "starts") or []
    ends = c.numbers("ends", 2, "ends") or []
    axes = c.numbers("axes", 3, "axes") or list(range(len(starts)))
    steps = [int(s) for s in c.array(4, "steps")] if c.has(4) else [1] * len(starts)
    limit = np.iinfo(np.int32).max
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        last = end >= limit if step > 0 else end <= -limit
        begin = max(-limit, min(start, limit))
        x = basic.slice_axis(c.b, x, axis, begin, None if last else end, step)
    return x


def _computed_slice(c: Context) -> ir.Value:
    """Starts or ends that are computed; axes and steps must be known."""
    x = c.input(0)
    (count,) = c.b.fixed_dims(basic.reshape(c.b, c.input(1), [-1]), "its starts")
    axes = c.array(3, "axes").reshape(-1).tolist() if c.has(3) else list(range(count))
    steps = c.array(4, "steps").reshape(-1).tolist() if c.has(4) else [1] * len(axes)
    axes = [basic.axis_of(c.b, x, axis) for axis in axes]
    return carried(c.b, lambda v: movement.cut(c.b, v, c.input(1), c.input(2), axes, steps), [x])


def _pad(c: Context) -> ir.Value:
    x, mode = c.input(0), c.attr("mode", "constant")
    dims = basic.rank(c.b, x)
    if c.has(1) and c.b.known(c.input(1)) is None:
        return _computed_pad(c, x, mode)
    flat = c.numbers("pads", 1, "paddings") or c.attr("paddings") or []
    axes = c.array(3, "axes").reshape(-1).tolist() if c.has(3) else list(range(dims))
    pads = [(0, 0)] * dims
    for i, axis in enumerate(axes):
        pads[basic.axis_of(c.b, x, axis)] = (flat[i], flat[len(axes) + i])
    if mode == "constant":
        value = c.attr("value", 0.0)
        if c.has(2) and c.b.known(c.input(2)) is None:
            return _pad_with_computed(c, x, pads)
        if c.has(2):
            value = c.array(2, "padding value").reshape(()).item()
        return carried(c.b, lambda v: pad_with(c.b, v, pads, value), [x])
    return movement.pad_from_inside(c.b, x, pads, mode)


def _computed_pad(c: Context, x: ir.Value, mode: str) -> ir.Value:
    """Paddings that are computed: all begins, then all ends; none may be negative."""
    dims, pads = basic.rank(c.b, x), basic.ints(c.b, c.input(1))
    axes = c.array(3, "axes").reshape(-1).tolist() if c.has(3) else list(range(dims))
    axes = [basic.axis_of(c.b, x, axis) for axis in axes]
    pairs = basic.transpose(c.b, basic.reshape(c.b, pads, [2, len(axes)]), [1, 0])
    if axes != list(range(dims)):
        none = c.b.constant([[0, 0]], "none", np.int32)
        rows = [
            basic.slice_axis(c.b, pairs, 0, axes.index(i), axes.index(i) + 1) if i in axes else none
            for i in range(dims)
        ]
        pairs = basic.concat(c.b, rows, 0)
    own = c.b.dims(x)
    grown = [None if i in axes else own[i] for i in range(dims)]
    if mode == "reflect":
        return carried(
            c.b, lambda v: c.b.emit("MIRROR_PAD", [v, pairs], mode="REFLECT", dims=grown), [x]
        )
    if mode != "constant":
        raise NoForm(f"pads by {mode!r} as much as is computed at run time: make it a constant")
    number = c.input(2) if c.has(2) else basic.scalar(c.b, 0, x)
    value = basic.reshape(c.b, basic.cast(c.b, number, x.dtype), [])
    return carried(c.b, lambda v, w: c.b.emit("PADV2", [v, pairs, w], dims=grown), [x, value])


def _pad_with_computed(c: Context, x: ir.Value, pads: list[tuple[int, int]]) -> ir.Value:
    """Paddings of a number that is computed at run time."""
    if min(min(pair) for pair in pads) < 0:
        raise NoForm("crops and pads with a computed number: make the number a constant")
    amounts = c.b.constant(pads, "paddings", np.int32)
    value = basic.reshape(c.b, c.input(2), [])
    return carried(c.b, lambda v, w: c.b.emit("PADV2", [v, amounts, w]), [x, value])


def _split(c: Context) -> list[ir.Value]:
    x = c.input(0)
    axis = basic.axis_of(c.b, x, c.attr("axis", 0))
    if c.has(1) and c.b.known(c.input(1)) is None:
        return movement.split_computed(c.b, x, c.input(1), axis, c.n_outputs)
    sizes = c.numbers("split", 1, "sizes")
    if sizes is None:
        whole, count = c.b.dims(x)[axis], c.attr("num_outputs", c.n_outputs)
        if count != c.n_outputs:
            raise NoForm(f"splits into {count} parts, and names {c.n_outputs}: the file is damaged")
        if whole is None:
            return movement.split_equally(c.b, x, axis, count)
        part = -(-whole // count)
        sizes = [min(part, whole - part * i) for i in range(count)]
    return movement.split(c.b, x, sizes, axis)


def _depth_to_space(c: Context) -> ir.Value:
    return movement.depth_to_space(c.b, c.input(0), c.attr("blocksize"), c.attr("mode", "DCR"))


def _space_to_depth(c: Context) -> ir.Value:
    x, block = c.input(0), c.attr("blocksize")
    return movement.space_to_depth(c.b, x, block, c.attr("mode", "DCR"))


ROWS: Rows = {
    "Concat": _concat,
    "DepthToSpace": _depth_to_space,
    "Flatten": _flatten,
    "Pad": _pad,
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
