# SPDX-License-Identifier: Apache-2.0
"""Rows for normalizations and softmax."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from converter import ir
from converter.importers.forms import basic, normalization, pooling, reduction
from converter.importers.forms.basic import binary, scalar, unary
from converter.importers.forms.elementwise import affine
from converter.importers.no_form import NoForm
from converter.importers.onnx.context import Context, Row, Rows


def _batch_normalization(c: Context) -> list[ir.Value]:
    x, epsilon = c.input(0), c.attr("epsilon", 1e-5)
    scale, offset, mean, variance = (c.input(i) for i in range(1, 5))
    if not c.attr("training_mode", 0):
        if c.opset < 9 and not c.attr("spatial", 1):
            raise NoForm("has statistics for every position (spatial=0): export with opset 9")
        return [normalization.by_statistics(c.b, x, scale, offset, mean, variance, epsilon)]
    axes = [i for i in range(basic.rank(c.b, x)) if i != 1]
    own = reduction.reduce(c.b, "MEAN", x, axes, True)
    square = unary(c.b, "SQUARE", binary(c.b, "SUB", x, own))
    own_mean = reduction.reduce(c.b, "MEAN", x, axes, False)
    own_variance = reduction.reduce(c.b, "MEAN", square, axes, False)
    found = normalization.by_statistics(c.b, x, scale, offset, own_mean, own_variance, epsilon)
    keep = c.attr("momentum", 0.9)
    running = [
        binary(c.b, "ADD", affine(c.b, old, keep, 0), affine(c.b, new, 1 - keep, 0))
        for old, new in ((mean, own_mean), (variance, own_variance))
    ]
    return [found, *running]


def _instance_normalization(c: Context) -> ir.Value:
    x, scale, offset = c.inputs()
    whole = _of_one_group(c, x)
    if whole is not None:
        axes = range(1, basic.rank(c.b, whole))
        found = normalization.standardized(c.b, whole, axes, c.attr("epsilon", 1e-5))[0]
        found = binary(c.b, "ADD", binary(c.b, "MUL", found, scale), offset)
        return basic.reshape_like(c.b, found, basic.shape_of(c.b, x))
    axes = range(2, basic.rank(c.b, x))
    found = normalization.standardized(c.b, x, axes, c.attr("epsilon", 1e-5))[0]
    return normalization.scaled(c.b, found, scale, offset, 1)


def _of_one_group(c: Context, x: ir.Value) -> ir.Value | None:
    """What `x` [n, 1, rest] was reshaped from, [n, channels, ...]; None where it is not so.

    Exporters write a GroupNorm of one group in this way. Normalized as it was, it need not leave
    the layout of the convolutions around it.
    """
    maker = x.producer
    if maker is None or maker.op != "RESHAPE" or c.b.dims(x)[1:2] != (1,):
        return None
    whole = maker.inputs[0]
    if whole is None or basic.rank(c.b, x) != 3 or basic.rank(c.b, whole) < 3:
        return None
    same = all(p[0] == q[0] for p, q in zip(c.b.pair(x), c.b.pair(whole), strict=True))
    return whole if same else None


def _layer_normalization(c: Context) -> list[ir.Value]:
    x = c.input(0)
    first = basic.axis_of(c.b, x, c.attr("axis", -1))
    axes = range(first, basic.rank(c.b, x))
    found, mean, spread = normalization.standardized(c.b, x, axes, c.attr("epsilon", 1e-5))
    return [normalization.scaled(c.b, found, c.optional(1), c.optional(2)), mean, spread]


def _rms_normalization(c: Context) -> ir.Value:
    x = c.input(0)
    first = basic.axis_of(c.b, x, c.attr("axis", -1))
    axes = range(first, basic.rank(c.b, x))
    mean = reduction.reduce(c.b, "MEAN", unary(c.b, "SQUARE", x), axes, True)
    spread = unary(c.b, "RSQRT", affine(c.b, mean, 1, c.attr("epsilon", 1e-5)))
    return normalization.scaled(c.b, binary(c.b, "MUL", x, spread), c.optional(1), None)


def _group_normalization(c: Context) -> ir.Value:
    x, scale, offset = c.inputs()
    groups = c.attr("num_groups")
    found = normalization.in_groups(c.b, x, groups, c.attr("epsilon", 1e-5))
    (count,) = c.b.fixed_dims(scale, "its scale")
    channels = c.b.dims(x)[1]
    if count == channels:
        return normalization.scaled(c.b, found, scale, offset, 1)
    spread = [
        c.b.constant(np.repeat(c.b.require(v, "scale"), (channels or 0) // count), "scale")
        for v in (scale, offset)
    ]  # before opset 21 the groups had one scale each
    return normalization.scaled(c.b, found, spread[0], spread[1], 1)


def _lp_normalization(c: Context) -> ir.Value:
    x, p = c.input(0), c.attr("p", 2)
    axis = c.attr("axis", -1)
    total = reduction.reduce(c.b, "SUM", pooling.powers(c.b, x, p), [axis], True)
    norm = pooling.roots(c.b, total, p)
    # where the norm is 0, so is every element; 0 divided by the least number is 0
    least = scalar(c.b, float(np.finfo(np.float32).tiny), x)
    return binary(c.b, "DIV", x, binary(c.b, "MAXIMUM", norm, least))


def _lrn(c: Context) -> ir.Value:
    numbers = [c.attr(n, d) for n, d in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))]
    return normalization.local_response(c.b, c.input(0), c.attr("size"), *numbers)


def _softmax(op: str) -> Row:
    def row(c: Context) -> ir.Value:
        x = c.input(0)
        if c.opset >= 13 or c.attr("axis", 1) in (-1, basic.rank(c.b, x) - 1):
            return normalization.softmax(c.b, op, x, c.attr("axis", -1 if c.opset >= 13 else 1))
        return flattened(c, x, lambda v: normalization.softmax(c.b, op, v, 1))

    return row


def flattened(c: Context, x: ir.Value, form: Callable[[ir.Value], ir.Value]) -> ir.Value:
    """`form` of `x` as a matrix, whose rows are the axes from `axis` on: before opset 13."""
    dims = c.b.dims(x)
    axis = c.attr("axis", 1)
    axis = axis + len(dims) if axis < 0 else axis
    if axis > len(dims):
        raise NoForm(f"has axis {axis}, but its input is of rank {len(dims)}")
    sizes = [
        None if None in part else math.prod(d for d in part if d is not None)
        for part in (dims[:axis], dims[axis:])
    ]
    if axis == len(dims) - 1 and len(dims) == 2:
        return form(x)
    found = form(basic.reshape(c.b, x, sizes))
    return basic.reshape_like(c.b, found, basic.shape_of(c.b, x))


def _hardmax(c: Context) -> ir.Value:
    x = c.input(0)
    if c.opset >= 13:
        return _one_at_top(c, x, c.attr("axis", -1))
    return flattened(c, x, lambda v: _one_at_top(c, v, 1))


def _one_at_top(c: Context, x: ir.Value, axis: int) -> ir.Value:
    """1 at the first largest element along `axis`, 0 elsewhere."""
    axis = basic.axis_of(c.b, x, axis)
    size = c.b.dims(x)[axis]
    if size is None:
        raise NoForm("marks the top of a dynamic axis: give the model's inputs fixed sizes")
    places = basic.cast(c.b, reduction.place(c.b, "ARG_MAX", x, axis, False), "INT32")
    ends = [scalar(c.b, n, x) for n in (1, 0)]
    depth = c.b.constant(size, "depth", np.int32)
    return c.b.emit("ONE_HOT", [places, depth, *ends], dtype=x.dtype, axis=axis)


ROWS: Rows = {
    "BatchNormalization": _batch_normalization,
    "GroupNormalization": _group_normalization,
    "Hardmax": _hardmax,
    "InstanceNormalization": _instance_normalization,
    "LRN": _lrn,
    "LayerNormalization": _layer_normalization,
    "LogSoftmax": _softmax("LOG_SOFTMAX"),
    "LpNormalization": _lp_normalization,
    "RMSNormalization": _rms_normalization,
    "Softmax": _softmax("SOFTMAX"),
}
