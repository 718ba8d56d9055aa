# SPDX-License-Identifier: Apache-2.0
"""Rows for operations that read or write at indices."""

from __future__ import annotations

from typing import Any

import numpy as np

from converter import ir
from converter.importers.forms import basic, elementwise, gathering, products, reduction
from converter.importers.forms.elementwise import arithmetic, carried, compare, select
from converter.importers.no_form import NoForm
from converter.importers.torch import sizes
from converter.importers.torch.context import Context, Rows


def _embedding(c: Context) -> ir.Value:
    return gathering.gather(c.b, c.value("weight"), c.value("indices"), 0)


def _index_select(c: Context) -> ir.Value:
    x = c.value("self")
    if not basic.rank(c.b, x):
        return x
    at = c.value("index")
    at = at if basic.rank(c.b, at) else basic.reshape(c.b, at, [1])
    return gathering.gather(c.b, x, at, c.arg("dim"))


def _gather(c: Context) -> ir.Value:
    return gathering.gather_elements(c.b, c.value("self"), c.value("index"), c.arg("dim"))


# -- indexing by tensors ------------------------------------------------------------------------


def _index(c: Context) -> ir.Value:
    """x[i, :, j]: integers, broadcast together, or masks, for some of the axes."""
    x = c.value("self")
    only = [(axis, v) for axis, v in enumerate(c.arg("indices")) if v is not None]
    if len(only) == 1 and only[0][1].dtype == "BOOL" and only[0][0] == 0:
        return _masked(c, x, only[0][1])
    given, axes = _settled_indices(c)
    if len(axes) == 1:
        return gathering.gather(c.b, x, given[0], axes[0])
    front, at = _in_front(c, x, axes), _coordinates(c, given)
    found = gathering.gather_nd(c.b, front, at)
    if axes != list(range(axes[0], axes[0] + len(axes))):
        return found  # what the indices pick stands first where they are apart
    picked, total = basic.rank(c.b, at) - 1, basic.rank(c.b, found)
    rest = list(range(picked, total))
    order = [*rest[: axes[0]], *range(picked), *rest[axes[0] :]]
    return basic.transpose(c.b, found, order)


def _masked(c: Context, x: ir.Value, mask: ir.Value) -> ir.Value:
    """The slices where a mask of the first axes is true: as many as the values say."""
    depth = basic.rank(c.b, mask)
    places = c.b.emit("WHERE", [mask], dtype="INT64", dims=[None, depth])
    at = basic.ints(c.b, places)
    return carried(c.b, lambda v: c.b.emit("GATHER_ND", [v, at]), [x])


def _settled_indices(c: Context) -> tuple[list[ir.Value], list[int]]:
    """Integer indices and their axes; a mask becomes the places where it is true."""
    given: list[ir.Value] = []
    axes: list[int] = []
    axis = 0
    for index in c.arg("indices"):
        if index is None:
            axis += 1
        elif index.dtype in ("BOOL", "UINT8"):
            places = gathering.nonzero(c.b, index)
            count = basic.rank(c.b, index)
            for i in range(count):
                part = basic.slice_axis(c.b, places, 0, i, i + 1)
                given.append(basic.squeeze(c.b, part, [0]))
                axes.append(axis + i)
            axis += count
        else:
            given.append(basic.ints(c.b, index))
            axes.append(axis)
            axis += 1
    if not axes:
        raise NoForm("indexes by nothing: give it at least one tensor")
    return given, axes


def _in_front(c: Context, x: ir.Value, axes: list[int]) -> ir.Value:
    """`x` with `axes` first."""
    rest = [i for i in range(basic.rank(c.b, x)) if i not in axes]
    return basic.transpose(c.b, x, [*axes, *rest])


def _coordinates(c: Context, given: list[ir.Value]) -> ir.Value:
    """[..., number of indices] from indices that broadcast together."""
    if len({c.b.dims(v) for v in given}) > 1:
        zeros = [arithmetic(c.b, "MUL", v, c.b.constant(0, "zero", np.int32)) for v in given]
        total = zeros[0]
        for zero in zeros[1:]:
            total = arithmetic(c.b, "ADD", total, zero)
        given = [arithmetic(c.b, "ADD", v, total) for v in given]
    last = basic.rank(c.b, given[0])
    return basic.concat(c.b, [basic.unsqueeze(c.b, v, [last]) for v in given], -1)


def _index_put(c: Context) -> ir.Value:
    """x[i, :, j] = values, or added to."""
    x, values = c.value("self"), basic.cast(c.b, c.value("values"), c.value("self").dtype)
    only = [(i, v) for i, v in enumerate(c.arg("indices")) if v is not None]
    single = all(d == 1 for d in c.b.dims(values))
    if len(only) == 1 and only[0][1].dtype == "BOOL" and single:
        return _masked_put(c, x, basic.reshape(c.b, values, []), *only[0])
    if len(only) == 1 and only[0][1].dtype == "BOOL" and not only[0][0] and not c.arg("accumulate"):
        return _written_where(c, x, only[0][1], values)
    if any(v.dtype == "BOOL" for _, v in only):
        raise NoForm("writes as many values as a mask has places: write it as torch.where")
    given, axes = _settled_indices(c)
    written = _written_at(c, x, given, axes, values)
    if written is not None:
        return written
    front, at = _in_front(c, x, axes), _coordinates(c, given)
    spread = axes == list(range(axes[0], axes[0] + len(axes)))
    count, rest = basic.rank(c.b, at) - 1, basic.rank(c.b, x) - len(axes)
    lead = axes[0] if spread else 0  # axes before the indices in the shape of the values
    whole = _broadcast_values(c, front, at, values, lead)
    order = [*range(lead, lead + count), *range(lead), *range(lead + count, count + rest)]
    updates = basic.transpose(c.b, whole, order)
    reduction_ = "add" if c.arg("accumulate") else "none"
    found = gathering.scatter_nd(c.b, front, at, updates, reduction_)
    perm = [*axes, *(i for i in range(basic.rank(c.b, x)) if i not in axes)]
    return basic.transpose(c.b, found, [perm.index(i) for i in range(len(perm))])


def _written_where(c: Context, x: ir.Value, mask: ir.Value, values: ir.Value) -> ir.Value:
    """x[mask] = values: a slice for each place, or one for all."""
    places, dims = basic.rank(c.b, mask), c.b.dims(values)
    rest = basic.rank(c.b, x) - places
    if len(dims) == rest + 1 and dims[0] != 1:
        return gathering.written_where(c.b, x, mask, values)
    values = basic.squeeze(c.b, values, [0]) if len(dims) == rest + 1 else values
    mask = basic.unsqueeze(c.b, mask, range(places, places + rest))
    return carried(c.b, lambda new, old: select(c.b, mask, new, old), [values, x])


def _masked_scatter(c: Context) -> ir.Value:
    """The first elements of "source" where a mask holds, which broadcasts."""
    x, mask, source = c.value("self"), c.value("mask"), c.value("source")
    shape = basic.shape_of(c.b, x)
    mask = carried(c.b, lambda v: basic.broadcast_to(c.b, v, shape), [mask])
    flat = basic.reshape(c.b, source, [-1 if None not in c.b.dims(source) else None])
    return gathering.written_where(c.b, x, mask, basic.cast(c.b, flat, x.dtype))


def _masked_put(c: Context, x: ir.Value, value: ir.Value, axis: int, mask: ir.Value) -> ir.Value:
    if c.arg("accumulate"):
        value = arithmetic(c.b, "ADD", x, value)
    rest = basic.rank(c.b, x) - axis - basic.rank(c.b, mask)
    last = basic.rank(c.b, mask)
    mask = basic.unsqueeze(c.b, mask, range(last, last + rest)) if rest else mask
    return select(c.b, mask, value, x)


def _written_at(
    c: Context, x: ir.Value, given: list[ir.Value], axes: list[int], values: ir.Value
) -> ir.Value | None:
    """One place along one axis is a DYNAMIC_UPDATE_SLICE."""
    dims = c.b.dims(given[0])
    if len(axes) != 1 or c.arg("accumulate") or any(d != 1 for d in dims) or None in c.b.dims(x):
        return None
    axis = axes[0]
    shape = list(c.b.fixed_dims(x, "its input"))
    shape[axis] = 1
    missing = len(dims) - 1  # axes of size 1 that the index adds or drops
    if missing > 0 or (missing < 0 and basic.rank(c.b, values) > axis):
        values = _without_index_axes(c, values, axis, len(shape), len(dims))
    target = basic.int32s(c.b, shape, "shape")
    part = carried(c.b, lambda v: basic.broadcast_to(c.b, v, target), [values])
    at = gathering.from_front(c.b, basic.reshape(c.b, given[0], []), basic.size_of(c.b, x, axis))
    starts: list[Any] = [0] * len(shape)
    starts[axis] = at
    return c.b.emit("DYNAMIC_UPDATE_SLICE", [x, part, sizes.vector(c.b, starts)])


def _without_index_axes(
    c: Context, values: ir.Value, axis: int, rank: int, index_rank: int
) -> ir.Value:
    """Values whose shape has `index_rank` axes for the indexed one, with one instead."""
    full = rank - 1 + index_rank
    dims: list[int | None] = [1] * (full - basic.rank(c.b, values))
    dims += c.b.dims(values)
    dims[axis : axis + index_rank] = [1]
    return basic.reshape(c.b, values, dims)


def _broadcast_values(
    c: Context, front: ir.Value, at: ir.Value, values: ir.Value, lead: int
) -> ir.Value:
    """`values` in the whole shape that the indices pick, as PyTorch orders it."""
    count = c.b.fixed_dims(at, "its indices")[-1]
    picked = [sizes.size_of(c.b, at, i) for i in range(basic.rank(c.b, at) - 1)]
    rest = [sizes.size_of(c.b, front, i) for i in range(count, basic.rank(c.b, front))]
    target = [*rest[:lead], *picked, *rest[lead:]]
    if list(c.b.dims(values)) == target:
        return values
    shape = sizes.vector(c.b, target)
    return carried(c.b, lambda v: basic.broadcast_to(c.b, v, shape), [values])


# -- writing along an axis ----------------------------------------------------------------------


# What PyTorch's rules are in ONNX's words, and what takes no part in each.
_RULES = {None: "none", "add": "add", "sum": "add", "mean": "add", "multiply": "mul", "prod": "mul",
          "amax": "max", "amin": "min"}  # fmt: skip
_NEUTRAL = {"add": 0.0, "mul": 1.0, "max": -np.inf, "min": np.inf}


def _scatter(c: Context) -> ir.Value:
    x, at = c.value("self"), c.value("index")
    how = _RULES[c.arguments.get("reduce")]
    if c.node.target._schema.name == "aten::scatter_add":
        how = "add"
    dims = c.b.fixed_dims(at, "its indices")
    if "src" in c.arguments:
        source = c.value("src")
        for axis, size in enumerate(dims):
            if c.b.dims(source)[axis] != size:
                source = basic.slice_axis(c.b, source, axis, 0, size)
    else:
        number = basic.cast(c.b, c.tensor(c.arg("value")), x.dtype)
        source = basic.broadcast_to(c.b, number, basic.int32s(c.b, dims, "shape"))
    source = basic.cast(c.b, source, x.dtype)
    axis, own = c.arg("dim"), bool(c.arguments.get("include_self", True))
    counted = c.arguments.get("reduce") == "mean"
    if own and not counted:
        return gathering.scatter_elements(c.b, x, at, source, axis, how)
    return _reduced(c, x, at, source, axis, how, own)


def _index_reduce(c: Context) -> ir.Value:
    """:func:`_scatter` of whole slices, one index for each."""
    at, source = c.value("index"), c.value("source")
    axis = basic.axis_of(c.b, source, c.arg("dim"))
    dims = c.b.fixed_dims(source, "its source")
    columns = basic.reshape(
        c.b, basic.ints(c.b, at), [d if i == axis else 1 for i, d in enumerate(dims)]
    )
    spread = basic.broadcast_to(c.b, columns, basic.int32s(c.b, dims, "shape"))
    arguments = {**c.arguments, "index": spread, "src": source}
    return _scatter(type(c)(c.graph, c.node, arguments))


def _reduced(
    c: Context, x: ir.Value, at: ir.Value, source: ir.Value, axis: int, how: str, own: bool
) -> ir.Value:
    """A mean, or what leaves out (unless `own`) what was where something is written."""
    zeros, ones = (
        c.b.emit("FILL", [basic.shape_of(c.b, v), basic.scalar(c.b, number, x)], dtype=x.dtype)
        for v, number in ((x, 0), (source, 1))
    )
    count = gathering.scatter_elements(c.b, zeros, at, ones, axis, "add")
    written = compare(c.b, "GREATER", count, basic.scalar(c.b, 0, x))
    if not own:
        neutral = elementwise.bounded(_NEUTRAL[how], x.dtype)
        x = select(c.b, written, basic.scalar(c.b, neutral, x), x)
    found = gathering.scatter_elements(c.b, x, at, source, axis, how)
    if c.arguments.get("reduce") != "mean":
        return found
    count = arithmetic(c.b, "ADD" if own else "MAXIMUM", count, basic.scalar(c.b, 1, x))
    if x.dtype == "FLOAT32":
        return arithmetic(c.b, "DIV", found, count)
    total, number = basic.ints(c.b, found), basic.ints(c.b, count)
    return basic.cast(c.b, basic.binary(c.b, "FLOOR_DIV", total, number), x.dtype)


def _slice_scatter(c: Context) -> ir.Value:
    """`x` with a slice replaced."""
    x, source = c.value("self"), basic.cast(c.b, c.value("src"), c.value("self").dtype)
    axis = basic.axis_of(c.b, x, c.arg("dim"))
    begin, end, step = c.arg("start") or 0, c.arg("end"), c.arg("step")
    if isinstance(begin, ir.Value) or isinstance(end, ir.Value):
        if step != 1:
            raise NoForm("writes every so many elements from a computed place: use step 1")
        starts: list[Any] = [0] * basic.rank(c.b, x)
        starts[axis] = begin
        return c.b.emit("DYNAMIC_UPDATE_SLICE", [x, source, sizes.vector(c.b, starts)])
    whole = c.b.fixed_dims(x, "its input")[axis]
    places = range(*slice(begin, end, step).indices(whole))
    if step != 1:
        order = np.arange(whole)
        order[list(places)] = whole + np.arange(len(places))
        both = basic.concat(c.b, [x, source], axis)
        return gathering.gather(c.b, both, basic.int32s(c.b, order, "places"), axis)
    parts = [source] if len(places) else [x]
    if len(places) and places[0] > 0:
        parts.insert(0, basic.slice_axis(c.b, x, axis, 0, places[0]))
    if len(places) and places[-1] + 1 < whole:
        parts.append(basic.slice_axis(c.b, x, axis, places[-1] + 1, None))
    return basic.concat(c.b, parts, axis)


def _select_scatter(c: Context) -> ir.Value:
    """`x` with one slice replaced."""
    axis = basic.axis_of(c.b, c.value("self"), c.arg("dim"))
    index = c.arg("index")
    arguments = {
        **c.arguments,
        "dim": axis,
        "src": basic.unsqueeze(c.b, c.value("src"), [axis]),
        "start": index,
        "end": None if isinstance(index, ir.Value) or index == -1 else index + 1,
        "step": 1,
    }
    return _slice_scatter(type(c)(c.graph, c.node, arguments))


def _embedding_bag(c: Context) -> list[ir.Value | None]:
    """Sums, means or maxima of rows, in bags that begin at `offsets`."""
    rows = gathering.gather(c.b, c.value("weight"), c.value("indices"), 0)
    count, _ = c.b.fixed_dims(rows, "its indices")
    offsets = c.b.require(c.value("offsets"), "offsets").reshape(-1)
    if c.arguments.get("padding_idx", -1) >= 0:
        raise NoForm("leaves out a padding row: give weights of 0 to it, and per_sample_weights")
    ends = np.append(offsets[1:] if c.arg("include_last_offset") else offsets, count)
    begins = offsets[:-1] if c.arg("include_last_offset") else offsets
    ends = ends[: len(begins)] if c.arg("include_last_offset") else ends[1:]
    factors = c.optional("per_sample_weights")
    if factors is not None:
        rows = arithmetic(c.b, "MUL", rows, basic.unsqueeze(c.b, factors, [1]))
    mode = c.arg("mode")
    lengths = ends - begins
    if mode == 2 or len(set(lengths.tolist())) == 1:
        return [_of_equal_bags(c, rows, lengths, mode), None, None, None]
    matrix = (np.arange(count) >= begins[:, None]) & (np.arange(count) < ends[:, None])
    shares = matrix / np.maximum(lengths, 1)[:, None] if mode == 1 else matrix
    return [products.matmul(c.b, c.b.constant(shares, "bags", np.float32), rows), None, None, None]


def _of_equal_bags(c: Context, rows: ir.Value, lengths: np.ndarray, mode: int) -> ir.Value:
    if len(set(lengths.tolist())) != 1 or not lengths[0]:
        raise NoForm("takes the maxima of bags of several lengths: give bags of one length")
    parts = basic.reshape(c.b, rows, [len(lengths), int(lengths[0]), c.b.dims(rows)[1]])
    return reduction.reduce(c.b, ("SUM", "MEAN", "REDUCE_MAX")[mode], parts, [1], False)


def _nonzero(c: Context) -> ir.Value:
    return basic.transpose(c.b, gathering.nonzero(c.b, c.value("self")), [1, 0])


def _bucketize(c: Context) -> ir.Value:
    """How many boundaries are below each element (or not above it, if `right`)."""
    x, edges = c.value("self"), c.value("boundaries")
    spread = basic.unsqueeze(c.b, x, [basic.rank(c.b, x)])
    op = "GREATER_EQUAL" if c.arg("right") else "GREATER"
    beyond = c.b.emit(op, [spread, basic.cast(c.b, edges, x.dtype)], dtype="BOOL")
    count = reduction.reduce(c.b, "SUM", basic.cast(c.b, beyond, "INT32"), [-1], False)
    return basic.cast(c.b, count, c.result_type())


ROWS: Rows = {
    "_embedding_bag": _embedding_bag,
    "_embedding_bag_forward_only": _embedding_bag,
    "bucketize": _bucketize,
    "embedding": _embedding,
    "gather": _gather,
    "index": _index,
    "index_put": _index_put,
    "index_reduce": _index_reduce,
    "index_select": _index_select,
    "masked_scatter": _masked_scatter,
    "nonzero": _nonzero,
    "scatter": _scatter,
    "scatter_add": _scatter,
    "scatter_reduce": _scatter,
    "select_scatter": _select_scatter,
    "slice_scatter": _slice_scatter,
}
