# SPDX-License-Identifier: Apache-2.0
"""Rows for operations that move elements."""

from __future__ import annotations

import numpy as np

from converter import ir
from converter.importers.forms import basic, gathering, movement
from converter.importers.forms.convolution import pad_with
from converter.importers.forms.elementwise import carried
from converter.importers.no_form import NoForm
from converter.importers.torch import sizes
from converter.importers.torch.context import Context, Row, Rows


def _view(c: Context) -> ir.Value:
    x, shape = c.value("self"), c.sizes("size" if "size" in c.arguments else "shape")
    return basic.reshape_like(c.b, x, sizes.vector(c.b, shape))


def _permute(c: Context) -> ir.Value:
    x = c.value("self")
    return basic.transpose(c.b, x, [basic.axis_of(c.b, x, a) for a in c.arg("dims")])


def _transpose(c: Context) -> ir.Value:
    x = c.value("self")
    perm = list(range(basic.rank(c.b, x)))
    i, j = (basic.axis_of(c.b, x, c.arg(name)) for name in ("dim0", "dim1"))
    perm[i], perm[j] = j, i
    return basic.transpose(c.b, x, perm)


def _unsqueeze(c: Context) -> ir.Value:
    return basic.unsqueeze(c.b, c.value("self"), [c.arg("dim")])


def _squeeze(c: Context) -> ir.Value:
    x, axes = c.value("self"), c.arguments.get("dim")
    dims = c.b.dims(x)
    axes = list(range(len(dims))) if axes is None else axes if isinstance(axes, list) else [axes]
    places = [basic.axis_of(c.b, x, a) for a in axes]
    return basic.squeeze(c.b, x, [a for a in places if dims[a] == 1])


def _cat(c: Context) -> ir.Value:
    kind = c.result_type()
    values = [basic.cast(c.b, v, kind) for v in c.values("tensors") if c.b.dims(v) != (0,)]
    return basic.concat(c.b, values, c.arg("dim"))


def _stack(c: Context) -> ir.Value:
    axis = c.arg("dim")
    values = c.values("tensors")
    axis = axis + basic.rank(c.b, values[0]) + 1 if axis < 0 else axis
    return basic.concat(c.b, [basic.unsqueeze(c.b, v, [axis]) for v in values], axis)


def _slice(c: Context) -> ir.Value:
    x, axis = c.value("self"), basic.axis_of(c.b, c.value("self"), c.arg("dim"))
    begin, end = c.arg("start") or 0, c.arg("end")
    size = c.b.dims(x)[axis]
    limit = np.iinfo(np.int32).max
    if isinstance(begin, ir.Value) or isinstance(end, ir.Value):
        return _computed_slice(c, x, axis, begin, limit if end is None else end)
    if size is not None:
        begin, stop, step = slice(begin, end, c.arg("step")).indices(size)
        return basic.slice_axis(c.b, x, axis, begin, stop, step)
    return basic.slice_axis(
        c.b, x, axis, begin, None if end is None or end >= limit else end, c.arg("step")
    )


def _computed_slice(c: Context, x: ir.Value, axis: int, begin: object, end: object) -> ir.Value:
    dims = basic.rank(c.b, x)
    mask = ((1 << dims) - 1) & ~(1 << axis)
    ends = []
    for bound in (begin, end):
        places: list[object] = [0] * dims
        places[axis] = bound
        ends.append(sizes.vector(c.b, places))
    steps = [1] * dims
    steps[axis] = c.arg("step")
    return c.b.emit(
        "STRIDED_SLICE",
        [x, *ends, basic.int32s(c.b, steps, "steps")],
        dims=[None if i == axis else d for i, d in enumerate(c.b.dims(x))],
        begin_mask=mask,
        end_mask=mask,
    )


def _select(c: Context) -> ir.Value:
    x, axis, index = c.value("self"), c.arg("dim"), c.arg("index")
    if isinstance(index, ir.Value):
        return gathering.gather(c.b, x, basic.reshape(c.b, index, []), axis)
    part = basic.slice_axis(c.b, x, axis, index, None if index == -1 else index + 1)
    return basic.squeeze(c.b, part, [axis])


def _expand(c: Context) -> ir.Value:
    x, wanted = c.value("self"), c.sizes("size")
    new = len(wanted) - basic.rank(c.b, x)
    own = [None] * new + list(c.b.dims(x))
    if all(not isinstance(s, ir.Value) and s in (-1, d) for s, d in zip(wanted, own, strict=True)):
        return x
    wanted = [
        sizes.size_of(c.b, x, i - new) if not isinstance(size, ir.Value) and size == -1 else size
        for i, size in enumerate(wanted)
    ]
    target = sizes.vector(c.b, wanted)
    return carried(c.b, lambda v: basic.broadcast_to(c.b, v, target), [x])


def _repeat(c: Context) -> ir.Value:
    x, times = c.value("self"), c.sizes("repeats")
    x = basic.unsqueeze(c.b, x, range(len(times) - basic.rank(c.b, x)))
    if all(not isinstance(t, ir.Value) and t == 1 for t in times):
        return x
    count = sizes.vector(c.b, times)
    return carried(c.b, lambda v: c.b.emit("TILE", [v, count]), [x])


def _flip(c: Context) -> ir.Value:
    return gathering.reverse(c.b, c.value("self"), c.arg("dims"))


def _pad(c: Context) -> ir.Value:
    """Constant padding, given from the last axis on; negative amounts crop."""
    x = c.value("self")
    pads = _pads(c, x, c.arg("pad"))
    return carried(c.b, lambda v: pad_with(c.b, v, pads, c.arg("value") or 0), [x])


def _pads(c: Context, x: ir.Value, flat: list[object]) -> list[tuple[int, int]]:
    if any(isinstance(amount, ir.Value) for amount in flat):
        raise NoForm("pads by computed amounts: give the sizes it follows from fixed values")
    numbers = [int(amount) for amount in flat]  # type: ignore[call-overload]
    pairs = [(numbers[i], numbers[i + 1]) for i in range(0, len(numbers), 2)]
    return [(0, 0)] * (basic.rank(c.b, x) - len(pairs)) + pairs[::-1]


def _pad_from_inside(mode: str) -> Row:
    def row(c: Context) -> ir.Value:
        x = c.value("self")
        return movement.pad_from_inside(c.b, x, _pads(c, x, c.arg("padding")), mode)

    return row


def _windows(c: Context) -> ir.Value:
    """Slices of an axis as a new last axis (Tensor.unfold)."""
    x, axis = c.value("self"), basic.axis_of(c.b, c.value("self"), c.arg("dimension"))
    size, step = c.arg("size"), c.arg("step")
    whole = c.b.fixed_dims(x, "its input")[axis]
    places = np.arange(0, whole - size + 1, step)[:, None] + np.arange(size)
    found = gathering.gather(c.b, x, basic.int32s(c.b, places, "places"), axis)
    order = [i for i in range(basic.rank(c.b, found)) if i != axis + 1]
    return basic.transpose(c.b, found, [*order, axis + 1])


def _diagonal(c: Context) -> ir.Value:
    """The diagonal of two axes as a new last axis."""
    x = c.value("self")
    first, second = (basic.axis_of(c.b, x, c.arg(name)) for name in ("dim1", "dim2"))
    rows, columns = (c.b.fixed_dims(x, "its input")[axis] for axis in (first, second))
    offset = c.arg("offset")
    count = max(0, min(rows + min(offset, 0), columns - max(offset, 0)))
    at = (np.arange(count) - min(offset, 0)) * columns + np.arange(count) + max(offset, 0)
    rest = [i for i in range(basic.rank(c.b, x)) if i not in (first, second)]
    dims = [c.b.dims(x)[i] for i in rest]
    flat = basic.reshape(
        c.b, basic.transpose(c.b, x, [*rest, first, second]), [*dims, rows * columns]
    )
    return gathering.gather(c.b, flat, basic.int32s(c.b, at, "places"), -1)


def _as_strided(c: Context) -> ir.Value:
    """A gather from the flat elements, which must be contiguous."""
    x, shape, strides = c.value("self"), c.arg("size"), c.arg("stride")
    count = c.b.fixed_dims(x, "its input")
    source = c.node.all_input_nodes[0].meta["val"]
    if not source.is_contiguous() or any(isinstance(v, ir.Value) for v in [*shape, *strides]):
        raise NoForm("reads elements by strides of a layout that devices do not have: use indexing")
    grid = np.indices(shape, np.int32).reshape(len(shape), -1)
    places = np.dot(strides, grid) + (c.arguments.get("storage_offset") or 0)
    flat = basic.reshape(c.b, x, [int(np.prod(count))])
    return gathering.gather(c.b, flat, basic.int32s(c.b, places.reshape(shape), "places"), 0)


def _shuffle(c: Context) -> ir.Value:
    """Pixels out of channels (pixel_shuffle); leading axes are one batch."""
    x, block = c.value("self"), c.arguments.get("upscale_factor")
    dims = c.b.dims(x)
    x = basic.reshape(c.b, x, [_merged(dims[:-3]), *dims[-3:]]) if len(dims) != 4 else x
    if block:
        found = movement.depth_to_space(c.b, x, block, "CRD")
    else:
        found = _into_channels(c, x, c.arg("downscale_factor"))
    return basic.reshape(c.b, found, [*dims[:-3], *c.b.dims(found)[1:]])


def _into_channels(c: Context, x: ir.Value, block: int) -> ir.Value:
    """pixel_unshuffle: SPACE_TO_DEPTH, whose channels come last, in PyTorch's order."""
    found = movement.space_to_depth(c.b, x, block)
    channels = c.b.fixed_dims(x, "its input")[1]
    order = np.arange(channels * block * block).reshape(block * block, channels).T.reshape(-1)
    return c.b.emit("GATHER", [found, basic.int32s(c.b, order, "order")], axis=1)


def _merged(dims: tuple[int | None, ...]) -> int | None:
    return None if None in dims else int(np.prod([d or 0 for d in dims], dtype=np.int64))


def _channel_shuffle(c: Context) -> ir.Value:
    x, groups = c.value("self"), c.arg("groups")
    channels = c.b.fixed_dims(x, "its input")[1]
    order = np.arange(channels).reshape(groups, -1).T.reshape(-1)
    return gathering.gather(c.b, x, basic.int32s(c.b, order, "order"), 1)


def _stride(c: Context) -> object:
    """The stride of an axis of a contiguous tensor."""
    x, axis = c.value("self"), basic.axis_of(c.b, c.value("self"), c.arg("dim"))
    rest = range(axis + 1, basic.rank(c.b, x))
    return sizes.product(c.b, [sizes.size_of(c.b, x, i) for i in rest])


def _count(c: Context) -> object:
    x = c.value("self")
    return sizes.product(c.b, [sizes.size_of(c.b, x, i) for i in range(basic.rank(c.b, x))])


def _split(c: Context) -> list[ir.Value]:
    x, axis = c.value("self"), basic.axis_of(c.b, c.value("self"), c.arg("dim"))
    sizes = c.arg("split_sizes" if "split_sizes" in c.arguments else "split_size")
    if isinstance(sizes, int):
        whole = c.b.fixed_dims(x, "its input")[axis]
        sizes = [min(sizes, whole - at) for at in range(0, whole, sizes)]
    return movement.split(c.b, x, sizes, axis)


ROWS: Rows = {
    "_unsafe_view": _view,
    "as_strided": _as_strided,
    "cat": _cat,
    "channel_shuffle": _channel_shuffle,
    "constant_pad_nd": _pad,
    "diagonal": _diagonal,
    "expand": _expand,
    "flip": _flip,
    "permute": _permute,
    "pixel_shuffle": _shuffle,
    "pixel_unshuffle": _shuffle,
    "reflection_pad1d": _pad_from_inside("reflect"),
    "reflection_pad2d": _pad_from_inside("reflect"),
    "reflection_pad3d": _pad_from_inside("reflect"),
    "repeat": _repeat,
    "replication_pad1d": _pad_from_inside("edge"),
    "replication_pad2d": _pad_from_inside("edge"),
    "replication_pad3d": _pad_from_inside("edge"),
    "reshape": _view,
    "select": _select,
    "slice": _slice,
    "split": _split,
    "split_with_sizes": _split,
    "squeeze": _squeeze,
    "stack": _stack,
    "sym_numel": _count,
    "sym_size": lambda c: sizes.size_of(c.b, c.value("self"), c.arg("dim")),
    "sym_storage_offset": lambda c: 0,
    "sym_stride": _stride,
    "t": lambda c: basic.transpose(c.b, c.value("self"), [1, 0]),
    "transpose": _transpose,
    "unfold": _windows,
    "unsqueeze": _unsqueeze,
    "view": _view,
}
