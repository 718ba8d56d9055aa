# SPDX-License-Identifier: Apache-2.0
"""Rows for operations that move elements."""

from __future__ import annotations

import numpy as np

from converter import ir
from converter.importers.forms import basic, gathering, movement
from converter.importers.forms.elementwise import carried
from converter.importers.torch.context import Context, Rows


def _view(c: Context) -> ir.Value:
    x, sizes = c.value("self"), c.sizes("size" if "size" in c.arguments else "shape")
    return basic.reshape_like(c.b, x, sizes_value(c, sizes))


def sizes_value(c: Context, sizes: list[int | ir.Value]) -> ir.Value:
    """A list of sizes as one vector, INT32."""
    if not any(isinstance(size, ir.Value) for size in sizes):
        return basic.int32s(c.b, [int(s) for s in sizes], "sizes")  # type: ignore[arg-type]
    parts = [
        basic.unsqueeze(c.b, basic.ints(c.b, s), [0])
        if isinstance(s, ir.Value)
        else basic.int32s(c.b, [s], "size")
        for s in sizes
    ]
    return basic.concat(c.b, parts, 0)


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
        sizes: list[int | ir.Value] = [0] * dims
        sizes[axis] = bound  # type: ignore[call-overload]
        ends.append(sizes_value(c, sizes))
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
    x, sizes = c.value("self"), c.sizes("size")
    rank = basic.rank(c.b, x)
    own = [None] * (len(sizes) - rank) + list(c.b.dims(x))
    if all(not isinstance(s, ir.Value) and s in (-1, d) for s, d in zip(sizes, own, strict=True)):
        return x
    if -1 in [s for s in sizes if not isinstance(s, ir.Value)]:
        shape = basic.shape_of(c.b, x)
        kept = [
            basic.reshape(c.b, basic.slice_axis(c.b, shape, 0, i, i + 1), []) for i in range(rank)
        ]
        sizes = [
            kept[i - len(sizes) + rank] if not isinstance(s, ir.Value) and s == -1 else s
            for i, s in enumerate(sizes)
        ]
    target = sizes_value(c, sizes)
    return carried(c.b, lambda v: basic.broadcast_to(c.b, v, target), [x])


def _full(c: Context) -> ir.Value:
    kind = c.result_type()
    sizes = c.arguments.get("size")
    shape = basic.shape_of(c.b, c.value("self")) if sizes is None else sizes_value(c, sizes)
    number = c.arguments.get("fill_value", 1 if "ones" in c.node.name else 0)
    filled = basic.cast(c.b, c.tensor(number), kind)
    return c.b.emit("FILL", [shape, filled], dtype=kind)


def _split(c: Context) -> list[ir.Value]:
    x, axis = c.value("self"), basic.axis_of(c.b, c.value("self"), c.arg("dim"))
    sizes = c.arg("split_sizes" if "split_sizes" in c.arguments else "split_size")
    if isinstance(sizes, int):
        whole = c.b.fixed_dims(x, "its input")[axis]
        sizes = [min(sizes, whole - at) for at in range(0, whole, sizes)]
    return movement.split(c.b, x, sizes, axis)


def _embedding(c: Context) -> ir.Value:
    return gathering.gather(c.b, c.value("weight"), c.value("indices"), 0)


def _index_select(c: Context) -> ir.Value:
    return gathering.gather(c.b, c.value("self"), c.value("index"), c.arg("dim"))


def _gather(c: Context) -> ir.Value:
    return gathering.gather_elements(c.b, c.value("self"), c.value("index"), c.arg("dim"))


ROWS: Rows = {
    "_unsafe_view": _view,
    "cat": _cat,
    "embedding": _embedding,
    "expand": _expand,
    "full": _full,
    "full_like": _full,
    "gather": _gather,
    "index_select": _index_select,
    "ones": _full,
    "ones_like": _full,
    "permute": _permute,
    "reshape": _view,
    "select": _select,
    "slice": _slice,
    "split": _split,
    "split_with_sizes": _split,
    "squeeze": _squeeze,
    "stack": _stack,
    "t": lambda c: basic.transpose(c.b, c.value("self"), [1, 0]),
    "transpose": _transpose,
    "unsqueeze": _unsqueeze,
    "view": _view,
    "zeros": _full,
    "zeros_like": _full,
}
