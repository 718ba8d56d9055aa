# SPDX-License-Identifier: Apache-2.0
"""Rows for shapes: reading, changing, joining, cutting and padding them."""

from __future__ import annotations

from typing import Any

import numpy as np

from converter import ir
from converter.importers.forms import basic, movement
from converter.importers.forms.basic import binary
from converter.importers.forms.elementwise import carried
from converter.importers.no_form import NoForm
from converter.importers.tensorflow.context import Context, Rows


def _shape(c: Context) -> ir.Value:
    return basic.shape_of(c.b, c.input(0), c.kind())


def _shapes(c: Context) -> list[ir.Value]:
    return [basic.shape_of(c.b, x, c.kind()) for x in c.inputs()]


def _rank(c: Context) -> ir.Value:
    return c.b.constant(basic.rank(c.b, c.input(0)), "rank", np.int32)


def _size(c: Context) -> ir.Value:
    shape = basic.shape_of(c.b, c.input(0), c.kind())
    axis = basic.int32s(c.b, [0], "axis")
    return c.b.emit("REDUCE_PROD", [shape, axis], keep_dims=False)


def _reshape(c: Context) -> ir.Value:
    x, shape = c.input(0), c.ints(1)
    samples = c.b.samples(shape)
    if samples is not None and np.array_equal(*samples):
        sizes = samples[0].reshape(-1)
        if np.count_nonzero(sizes < 0) <= 1:  # as it is written, so that -1 keeps what it means
            return _reshaped(c, x, sizes)
    return basic.reshape_like(c.b, x, shape)


def _reshaped(c: Context, x: ir.Value, sizes: np.ndarray) -> ir.Value:
    return c.b.emit("RESHAPE", [x, basic.int32s(c.b, sizes, "shape")])


def _squeeze(c: Context) -> ir.Value:
    axes = c.attr("squeeze_dims", c.attr("axis", ())) or ()
    return basic.squeeze(c.b, c.input(0), [int(a) for a in axes] or None)


def _expand_dims(c: Context) -> ir.Value:
    axis = int(c.array(1, "axis").reshape(()))
    return basic.unsqueeze(c.b, c.input(0), [axis])


def _pack(c: Context) -> ir.Value:
    values = c.inputs()
    axis = int(c.attr("axis", 0))

    def form(*parts: ir.Value) -> ir.Value:
        return c.b.emit("PACK", list(parts), values_count=len(parts), axis=axis)

    return carried(c.b, form, values)


def _unpack(c: Context) -> list[ir.Value]:
    x, axis, count = c.input(0), int(c.attr("axis", 0)), len(c.op.outputs)
    return c.b.emit_many("UNPACK", [x], [x.dtype] * count, num=count, axis=axis)


def _concat(c: Context) -> ir.Value:
    last = c.op.type == "ConcatV2"
    axis = int(c.array(c.n_inputs - 1 if last else 0, "axis").reshape(()))
    values = c.inputs()
    values = values[:-1] if last else values[1:]

    def form(*parts: ir.Value) -> ir.Value:
        return basic.concat(c.b, parts, axis)

    return carried(c.b, form, values)


def _split(c: Context) -> list[ir.Value]:
    axis = basic.axis_of(c.b, c.input(1), int(c.array(0, "axis").reshape(())))
    x, count = c.input(1), len(c.op.outputs)
    if count == 1:
        return [x]
    at = c.b.constant(axis, "axis", np.int32)
    return c.b.emit_many("SPLIT", [at, x], [x.dtype] * count, num_splits=count)


def _split_v(c: Context) -> list[ir.Value]:
    x = c.input(0)
    axis = basic.axis_of(c.b, x, int(c.array(2, "axis").reshape(())))
    sizes = [int(s) for s in c.array(1, "sizes").reshape(-1)]
    if -1 in sizes:
        whole = c.b.dims(x)[axis]
        if whole is None:
            raise NoForm(
                "leaves a part of an axis of dynamic size: give the model's inputs fixed sizes"
                " (--input NAME=SIZES)"
            )
        sizes[sizes.index(-1)] = whole - sum(s for s in sizes if s >= 0)
    return movement.split(c.b, x, sizes, axis)


def _slice(c: Context) -> ir.Value:
    x, begin, size = c.input(0), c.ints(1), c.ints(2)
    known = c.b.known(size)
    dims: list[int | None] = [None] * basic.rank(c.b, x)
    if known is not None:
        dims = [int(s) if s >= 0 else None for s in known.reshape(-1)]
    return carried(c.b, lambda v: c.b.emit("SLICE", [v, begin, size], dims=dims), [x])


_MASKS = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")


def _strided_slice(c: Context) -> ir.Value:
    x, parts = c.input(0), [c.ints(i) for i in (1, 2, 3)]
    masks: dict[str, Any] = {mask: int(c.attr(mask, 0)) for mask in _MASKS}
    if masks["ellipsis_mask"] or masks["new_axis_mask"]:
        parts, masks = _spelled(c, x, parts, masks)
    dims = _sliced_dims(c, x, parts[0], masks)
    return carried(c.b, lambda v: c.b.emit("STRIDED_SLICE", [v, *parts], dims=dims, **masks), [x])


def _sliced_dims(c: Context, x: ir.Value, begin: ir.Value, masks: dict[str, Any]) -> list[Any]:
    """Sizes of a slice whose bounds only run time knows: whole axes keep theirs."""
    pairs = list(zip(*c.b.pair(x), strict=True))
    dims: list[Any] = []
    for i in range(c.b.fixed_dims(begin, "its begin")[0]):
        bit = 1 << i
        if masks["new_axis_mask"] & bit:
            dims.append(1)
            continue
        size = pairs.pop(0) if pairs else None
        if not masks["shrink_axis_mask"] & bit:
            is_whole = masks["begin_mask"] & masks["end_mask"] & bit
            dims.append(size if is_whole else None)
    return [*dims, *pairs]


def _spelled(
    c: Context, x: ir.Value, parts: list[ir.Value], masks: dict[str, Any]
) -> tuple[list[ir.Value], dict[str, Any]]:
    """The same slice with the ellipsis written as whole axes; LiteRT reads long specs wrongly."""
    rank, count = basic.rank(c.b, x), c.b.fixed_dims(parts[0], "its begin")[0]
    at = next((i for i in range(count) if masks["ellipsis_mask"] >> i & 1), None)
    if at is None:
        return parts, masks
    news = sum(masks["new_axis_mask"] >> i & 1 for i in range(count) if i != at)
    whole = rank - (count - 1 - news)
    if whole < 0:
        raise NoForm("slices more axes than there are: the file is damaged")
    spelled = [_with_fillers(c, p, at, [f] * whole) for p, f in zip(parts, (0, 0, 1), strict=True)]
    low = (1 << at) - 1
    moved = {m: masks[m] & low | masks[m] >> (at + 1) << (at + whole) for m in _MASKS}
    everything = ((1 << whole) - 1) << at
    moved["begin_mask"] |= everything
    moved["end_mask"] |= everything
    moved["ellipsis_mask"] = 0
    return spelled, moved


def _with_fillers(c: Context, part: ir.Value, at: int, fillers: list[int]) -> ir.Value:
    """A vector with `fillers` instead of its number `at`."""
    (count,) = c.b.fixed_dims(part, "its bounds")
    pieces = [basic.slice_axis(c.b, part, 0, 0, at)] if at else []
    if fillers:
        pieces.append(basic.int32s(c.b, fillers, "bounds"))
    if at + 1 < count:
        pieces.append(basic.slice_axis(c.b, part, 0, at + 1, None))
    return basic.concat(c.b, pieces, 0) if pieces else basic.int32s(c.b, [], "bounds")


def _transpose(c: Context) -> ir.Value:
    perm = [int(p) for p in c.array(1, "permutation").reshape(-1)]
    return basic.transpose(c.b, c.input(0), perm)


def _tile(c: Context) -> ir.Value:
    x, repeats = c.input(0), c.ints(1)
    dims = [None] * basic.rank(c.b, x)
    return carried(c.b, lambda v: c.b.emit("TILE", [v, repeats], dims=dims), [x])


def _broadcast_to(c: Context) -> ir.Value:
    shape = c.ints(1)
    (count,) = c.b.fixed_dims(shape, "its shape")
    dims = [None] * count
    return carried(c.b, lambda v: c.b.emit("BROADCAST_TO", [v, shape], dims=dims), [c.input(0)])


def _broadcast_args(c: Context) -> ir.Value:
    first, second = c.inputs()
    return c.b.emit("BROADCAST_ARGS", [first, second], dtype=first.dtype)


def _pad(c: Context) -> ir.Value:
    x, amounts = c.input(0), c.ints(1)
    if not c.b.dims(x):
        return x
    if c.op.type == "PadV2":
        value = c.input(2)
        return carried(c.b, lambda v, p: c.b.emit("PADV2", [v, amounts, p]), [x, value])
    return carried(c.b, lambda v: c.b.emit("PAD", [v, amounts]), [x])


def _mirror_pad(c: Context) -> ir.Value:
    mode, amounts = c.attr("mode"), c.ints(1)
    return carried(c.b, lambda v: c.b.emit("MIRROR_PAD", [v, amounts], mode=mode), [c.input(0)])


def _fill(c: Context) -> ir.Value:
    shape = c.ints(0)
    (count,) = c.b.fixed_dims(shape, "its shape")
    dims = [None] * count
    return carried(
        c.b, lambda v: c.b.emit("FILL", [shape, v], dtype=v.dtype, dims=dims), [c.input(1)]
    )


def _range(c: Context) -> ir.Value:
    return carried(c.b, lambda *v: c.b.emit("RANGE", list(v), dims=[None]), c.inputs())


def _line(c: Context) -> ir.Value:
    """`number` values from `start` to `stop`, both among them."""
    start, stop = c.input(0), c.input(1)
    number = int(c.array(2, "number of values").reshape(()))
    share = np.arange(number) / max(number - 1, 1)
    way = binary(c.b, "SUB", stop, start)
    steps = c.b.constant(share, "shares", ir.numpy_dtype(start.dtype))
    return binary(c.b, "ADD", start, binary(c.b, "MUL", way, steps))


def _reverse(c: Context) -> ir.Value:
    x = c.input(0)
    for axis in c.array(1, "axes").reshape(-1):
        at = basic.int32s(c.b, [basic.axis_of(c.b, x, int(axis))], "axis")
        x = carried(c.b, lambda v, at=at: c.b.emit("REVERSE_V2", [v, at]), [x])
    return x


def _roll(c: Context) -> ir.Value:
    x = c.input(0)
    pairs = zip(c.array(1, "shift").reshape(-1), c.array(2, "axis").reshape(-1), strict=True)
    for shift, axis in pairs:
        at = basic.axis_of(c.b, x, int(axis))
        size = c.b.dims(x)[at]
        if size is None:
            raise NoForm("rolls an axis of dynamic size: give the model's inputs fixed sizes")
        cut = size - int(shift) % size if size else 0
        if cut in (0, size):
            continue
        parts = [basic.slice_axis(c.b, x, at, cut, size), basic.slice_axis(c.b, x, at, 0, cut)]
        x = basic.concat(c.b, parts, at)
    return x


ROWS: Rows = {
    **dict.fromkeys(("Concat", "ConcatV2"), _concat),
    **dict.fromkeys(("Pad", "PadV2"), _pad),
    "BroadcastArgs": _broadcast_args,
    "BroadcastTo": _broadcast_to,
    "ExpandDims": _expand_dims,
    "Fill": _fill,
    "LinSpace": _line,
    "MirrorPad": _mirror_pad,
    "Pack": _pack,
    "Range": _range,
    "Rank": _rank,
    "Reshape": _reshape,
    "ReverseV2": _reverse,
    "Roll": _roll,
    "Shape": _shape,
    "ShapeN": _shapes,
    "Size": _size,
    "Slice": _slice,
    "Split": _split,
    "SplitV": _split_v,
    "Squeeze": _squeeze,
    "StridedSlice": _strided_slice,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unpack": _unpack,
}
