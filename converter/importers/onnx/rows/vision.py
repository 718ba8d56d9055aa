# SPDX-License-Identifier: Apache-2.0
"""Rows for sampling at grids, selecting boxes, columns to images, and writing into caches."""

from __future__ import annotations

import math

import numpy as np

from converter import ir
from converter.importers.forms import basic, sampling
from converter.importers.forms.basic import binary, int32s, scalar
from converter.importers.forms.elementwise import affine, carried, compare, select
from converter.importers.no_form import NoForm
from converter.importers.onnx.context import Context, Rows

_MOST_CLASSES = 256  # batches times classes, each of which is a NON_MAX_SUPPRESSION_V4


def _grid_sample(c: Context) -> ir.Value:
    names = {"bilinear": "linear", "bicubic": "cubic"}
    mode = c.attr("mode", "linear")
    padding, corners = c.attr("padding_mode", "zeros"), bool(c.attr("align_corners", 0))
    mode = names.get(mode, mode)
    return sampling.grid_sample(c.b, c.input(0), c.input(1), mode, padding, corners)


def _affine_grid(c: Context) -> ir.Value:
    sizes = [int(n) for n in c.array(1, "size").reshape(-1)][2:]
    return sampling.affine_grid(c.b, c.input(0), sizes, bool(c.attr("align_corners", 0)))


def _non_max_suppression(c: Context) -> ir.Value:
    """For each batch and class: which boxes stay, as rows (batch, class, box)."""
    boxes, scores = c.input(0), c.input(1)
    batches, classes, count = c.b.dims(scores)
    if batches is None or classes is None:
        raise NoForm("has a dynamic batch or number of classes: give the inputs fixed sizes")
    if batches * classes > _MOST_CLASSES:
        raise NoForm(f"selects among {batches} x {classes} classes: use fewer, or do it outside")
    most = int(c.array(2, "number of boxes").reshape(())) if c.has(2) else 0
    most = min(most, np.iinfo(np.int32).max)
    if most <= 0:
        return c.b.constant(np.zeros((0, 3)), "none", np.int64)
    overlap, least = (
        float(c.array(i, "threshold").reshape(())) if c.has(i) else default
        for i, default in ((3, 0.0), (4, -math.inf))
    )
    apart = np.nextafter(np.float32(overlap), np.float32(np.inf))  # TFLite's reaches, ONNX's passes
    if c.attr("center_point_box", 0):
        boxes = _corners(c, boxes)
    limit = c.b.constant(most if count is None else min(most, count), "most", np.int32)
    if count is None:
        limit = binary(c.b, "MINIMUM", limit, basic.size_of(c.b, scores, 2))
    rows = []
    for batch in range(batches):
        own = basic.squeeze(c.b, basic.slice_axis(c.b, boxes, 0, batch, batch + 1), [0])
        for k in range(classes):
            part = basic.slice_axis(c.b, scores, 0, batch, batch + 1)
            part = basic.squeeze(c.b, basic.slice_axis(c.b, part, 1, k, k + 1), [0, 1])
            ends = [c.b.constant(n, "threshold", np.float32) for n in (apart, least)]
            found, valid = c.b.emit_many(
                "NON_MAX_SUPPRESSION_V4",
                [own, part, limit, *ends],
                ["INT32", "INT32"],
                dims=[[None], []],
            )
            rows.append(_rows(c, found, valid, batch, k))
    return c.b.emit("CONCATENATION", rows, dims=[None, 3], axis=0, fused_activation_function="NONE")


def _rows(c: Context, found: ir.Value, valid: ir.Value, batch: int, k: int) -> ir.Value:
    """The first `valid` of `found` as rows (batch, class, box), INT64."""
    column = basic.unsqueeze(c.b, basic.cast(c.b, found, "INT64"), [1])
    # [0, 0, 1] spreads the column, so that its length need not be known
    own = binary(c.b, "MUL", column, c.b.constant([[0, 0, 1]], "places", np.int64))
    whole = binary(c.b, "ADD", own, c.b.constant([[batch, k, 0]], "class", np.int64))
    size = basic.concat(c.b, [basic.reshape(c.b, valid, [1]), int32s(c.b, [3], "three")], 0)
    return c.b.emit("SLICE", [whole, int32s(c.b, [0, 0], "begin"), size], dims=[None, 3])


def _corners(c: Context, boxes: ir.Value) -> ir.Value:
    """Centre x, y, width, height to y1, x1, y2, x2."""
    x, y, width, height = (basic.slice_axis(c.b, boxes, -1, i, i + 1) for i in range(4))
    half = [affine(c.b, v, 0.5, 0) for v in (height, width)]
    parts = [binary(c.b, op, v, h) for op in ("SUB", "ADD")
             for v, h in zip((y, x), half, strict=True)]  # fmt: skip
    return basic.concat(c.b, parts, -1)


def _col2im(c: Context) -> ir.Value:
    """Blocks added up into an image: every element of a column has one place."""
    x = c.input(0)
    image = [int(n) for n in c.array(1, "image shape").reshape(-1)]
    block = [int(n) for n in c.array(2, "block shape").reshape(-1)]
    spatial = len(image)
    dilations = c.attr("dilations") or [1] * spatial
    strides = c.attr("strides") or [1] * spatial
    pads = c.attr("pads") or [0] * 2 * spatial
    batch, depth, length = c.b.fixed_dims(x, "its input")
    grown = [n + pads[i] + pads[spatial + i] for i, n in enumerate(image)]
    counts = [
        (n - (k - 1) * d - 1) // s + 1
        for n, k, d, s in zip(grown, block, dilations, strides, strict=True)
    ]
    taps = math.prod(block)
    if length != math.prod(counts) or depth % taps:
        raise NoForm(f"has columns [{depth}, {length}] that do not fill its image")
    channels = depth // taps
    places = np.zeros((taps, length), np.int64)
    for axis in range(spatial):
        offset = np.indices(block)[axis].reshape(-1, 1) * dilations[axis]
        start = np.indices(counts)[axis].reshape(1, -1) * strides[axis]
        places = places * grown[axis] + offset + start
    columns = basic.reshape(c.b, x, [batch, channels, taps * length])
    rows = basic.transpose(c.b, columns, [2, 0, 1])
    shape = int32s(c.b, [math.prod(grown), batch, channels], "shape")
    at = c.b.constant(places.reshape(-1, 1), "places", np.int32)
    summed = c.b.emit("SCATTER_ND", [at, rows, shape], dtype=x.dtype)
    whole = basic.reshape(c.b, basic.transpose(c.b, summed, [1, 2, 0]), [batch, channels, *grown])
    for axis in range(spatial):
        if pads[axis] or pads[spatial + axis]:
            end = grown[axis] - pads[spatial + axis]
            whole = basic.slice_axis(c.b, whole, 2 + axis, pads[axis], end)
    return whole


def _tensor_scatter(c: Context) -> ir.Value:
    """A cache with the update written from each batch's own place on along one axis."""
    cache, update = c.input(0), c.input(1)
    axis = basic.axis_of(c.b, cache, c.attr("axis", -2))
    dims = c.b.fixed_dims(cache, "its cache")
    size, count = dims[axis], c.b.fixed_dims(update, "its update")[axis]
    place = int32s(c.b, np.arange(size), "places")
    if c.has(2):
        start = basic.unsqueeze(c.b, basic.ints(c.b, c.input(2)), [1])
    else:
        start = c.b.constant(np.zeros((dims[0], 1)), "start", np.int32)
    behind = binary(c.b, "SUB", place, start)
    if c.attr("mode", "linear") == "circular":
        behind = binary(c.b, "FLOOR_MOD", behind, scalar(c.b, size, behind))
    is_new = c.b.emit(
        "LOGICAL_AND",
        [
            compare(c.b, "GREATER_EQUAL", behind, scalar(c.b, 0, behind)),
            compare(c.b, "LESS", behind, scalar(c.b, count, behind)),
        ],
    )
    held = binary(c.b, "MAXIMUM", behind, scalar(c.b, 0, behind))
    held = binary(c.b, "MINIMUM", held, scalar(c.b, count - 1, held))
    perm = [0, axis, *(i for i in range(1, len(dims)) if i != axis)]
    back = [perm.index(i) for i in range(len(dims))]
    moved = basic.transpose(c.b, update, perm)
    taken = carried(c.b, lambda v: c.b.emit("GATHER", [v, held], axis=1, batch_dims=1), [moved])
    mask = basic.unsqueeze(c.b, is_new, list(range(2, len(dims))))
    found = select(c.b, mask, taken, basic.transpose(c.b, cache, perm))
    return basic.transpose(c.b, found, back)


ROWS: Rows = {
    "AffineGrid": _affine_grid,
    "Col2Im": _col2im,
    "GridSample": _grid_sample,
    "NonMaxSuppression": _non_max_suppression,
    "TensorScatter": _tensor_scatter,
}
