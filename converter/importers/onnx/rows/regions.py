# SPDX-License-Identifier: Apache-2.0
"""Rows that sample at computed places: regions, and convolutions whose taps move."""

from __future__ import annotations

import math

import numpy as np

from converter import ir
from converter.importers.forms import basic, products, sampling
from converter.importers.forms.basic import binary, cast, scalar, unary
from converter.importers.forms.elementwise import affine, compare
from converter.importers.forms.reduction import reduce
from converter.importers.no_form import NoForm
from converter.importers.onnx.context import Context, Rows
from converter.importers.onnx.rows.convolution import window_of

_Line = list[tuple[ir.Value, ir.Value]]  # (index, weight) of the two neighbours of each point


def _roi_align(c: Context) -> ir.Value:
    """[regions, C, height, width]: means, or largest products, of points in every bin."""
    x, regions, batches = c.inputs()
    *_, channels, rows, columns = c.b.fixed_dims(basic.slice_axis(c.b, x, 0, 0, 1), "its input")
    ratio, mode = c.attr("sampling_ratio", 0), c.attr("mode", "avg")
    if ratio < 1 or mode not in ("avg", "max"):
        raise NoForm("takes as many points as a region is large: give it a sampling_ratio above 0")
    out = [c.attr("output_height", 1), c.attr("output_width", 1)]
    lines = [
        _line(c, regions, axis, size, bins, ratio)
        for axis, size, bins in zip((1, 0), (rows, columns), out, strict=True)
    ]
    plane = binary(c.b, "MUL", basic.ints(c.b, batches), c.b.constant(
        rows * columns, "plane", np.int32))  # fmt: skip
    start = basic.unsqueeze(c.b, plane, [1, 2])
    flat = basic.reshape(c.b, basic.channels_last(c.b, x), [None, channels])
    total: ir.Value | None = None
    for high, share in lines[0]:
        for wide, part in lines[1]:
            at = binary(c.b, "ADD", affine(c.b, basic.unsqueeze(c.b, high, [2]), columns, 0),
                        basic.unsqueeze(c.b, wide, [1]))  # fmt: skip
            places = binary(c.b, "ADD", basic.ints(c.b, at), start)
            found = c.b.emit("GATHER", [flat, places], axis=0)  # [n, points, points, C]
            weight = binary(
                c.b, "MUL", basic.unsqueeze(c.b, share, [2]), basic.unsqueeze(c.b, part, [1])
            )
            found = binary(c.b, "MUL", found, basic.unsqueeze(c.b, weight, [3]))
            op = "ADD" if mode == "avg" else "MAXIMUM"
            total = found if total is None else binary(c.b, op, total, found)
    assert total is not None
    # one axis of bins at a time, since means of equal means are means
    op = "MEAN" if mode == "avg" else "REDUCE_MAX"
    total = basic.with_last(c.b, total, 1, [out[0], ratio, out[1] * ratio, channels])
    total = reduce(c.b, op, total, [2], False)
    total = basic.with_last(c.b, total, 1, [out[0], out[1], ratio, channels])
    return basic.channels_first(c.b, reduce(c.b, op, total, [3], False))


def _line(c: Context, regions: ir.Value, axis: int, size: int, bins: int, ratio: int) -> _Line:
    """The points [n, bins * ratio] along one axis of the regions: what is before and behind them,
    as floats, and how much of each is taken; nothing of what is outside.
    """
    half = c.opset >= 16 and c.attr("coordinate_transformation_mode", "half_pixel") == "half_pixel"
    scale = c.attr("spatial_scale", 1.0)
    first, last = (
        affine(c.b, basic.slice_axis(c.b, regions, 1, i, i + 1), scale, -0.5 if half else 0)
        for i in (axis, axis + 2)
    )
    length = binary(c.b, "SUB", last, first)
    if not half:
        length = binary(c.b, "MAXIMUM", length, scalar(c.b, 1, length))
    steps = (np.arange(bins * ratio) + 0.5) / (bins * ratio)
    moved = binary(c.b, "MUL", length, c.b.constant(steps[None], "steps", np.float32))
    at = binary(c.b, "ADD", first, moved)
    inside = c.b.emit("LOGICAL_AND", [
        compare(c.b, "GREATER_EQUAL", at, scalar(c.b, -1, at)),
        compare(c.b, "LESS_EQUAL", at, scalar(c.b, size, at))])  # fmt: skip
    taken = cast(c.b, inside, at.dtype)
    at = binary(c.b, "MAXIMUM", at, scalar(c.b, 0, at))
    at = binary(c.b, "MINIMUM", at, scalar(c.b, size - 1, at))
    low = unary(c.b, "FLOOR", at)
    high = binary(c.b, "MINIMUM", affine(c.b, low, 1, 1), scalar(c.b, size - 1, low))
    share = binary(c.b, "SUB", at, low)
    rest = binary(c.b, "MUL", affine(c.b, share, -1, 1), taken)
    return [(low, rest), (high, binary(c.b, "MUL", share, taken))]


def _deform_conv(c: Context) -> ir.Value:
    """A convolution each of whose taps reads beside its place, by an offset of its own."""
    x, weights, offsets = c.input(0), c.input(1), c.input(2)
    outs, depth, *kernel = c.b.fixed_dims(weights, "its filter")
    if len(kernel) != 2:
        raise NoForm(f"convolves over {len(kernel)} axes: 2 have a form")
    window = window_of(c, x, kernel)
    batch, channels, *_ = c.b.fixed_dims(x, "its input")
    groups, moved = c.attr("group", 1), c.attr("offset_group", 1)
    *_, height, width = c.b.fixed_dims(offsets, "its offsets")
    taps, points = math.prod(kernel), height * width
    # [N, offset group, tap, axis, points]
    shifts = basic.reshape(c.b, offsets, [batch, moved, taps, 2, points])
    mask = c.optional(4)
    if mask is not None:
        mask = basic.reshape(c.b, mask, [batch, moved, taps * points, 1])
    own = np.stack([
        (np.indices(kernel)[i].reshape(-1, 1, 1) * window.dilations[i]
         + np.indices([height, width])[i] * window.strides[i] - window.pads[i][0])
        .reshape(taps * points, 1) for i in (0, 1)])  # fmt: skip
    columns = []
    for g in range(moved):
        part = basic.slice_axis(c.b, x, 1, g * channels // moved, (g + 1) * channels // moved)
        shift = basic.squeeze(c.b, basic.slice_axis(c.b, shifts, 1, g, g + 1), [1])
        places = []
        for i in (0, 1):
            along = basic.slice_axis(c.b, shift, 2, i, i + 1)
            flat = basic.reshape(c.b, along, [batch, taps * points, 1])
            base = c.b.constant(own[i][None], "places", np.float32)
            places.append(binary(c.b, "ADD", flat, base))
        found = sampling.sample_at(c.b, part, places)  # [N, taps * points, C]
        if mask is not None:
            found = binary(c.b, "MUL", found, basic.squeeze(
                c.b, basic.slice_axis(c.b, mask, 1, g, g + 1), [1]))  # fmt: skip
        columns.append(found)
    every = basic.reshape(c.b, basic.concat(c.b, columns, 2), [batch, taps, points, channels])
    ready = basic.transpose(c.b, every, [0, 2, 3, 1])  # N, points, C, taps
    results = []
    for g in range(groups):
        part = basic.slice_axis(c.b, ready, 2, g * depth, (g + 1) * depth)
        part = basic.reshape(c.b, part, [batch, points, depth * taps])
        own_weights = basic.slice_axis(
            c.b, weights, 0, g * outs // groups, (g + 1) * outs // groups
        )
        rows = basic.reshape(c.b, own_weights, [outs // groups, depth * taps])
        results.append(products.matmul(c.b, part, rows, False, True))
    y = basic.concat(c.b, results, 2)
    if c.has(3):
        y = binary(c.b, "ADD", y, c.input(3))
    return basic.reshape(c.b, basic.transpose(c.b, y, [0, 2, 1]), [batch, outs, height, width])


ROWS: Rows = {"DeformConv": _deform_conv, "RoiAlign": _roi_align}
