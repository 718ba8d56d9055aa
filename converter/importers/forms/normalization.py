# SPDX-License-Identifier: Apache-2.0
"""Normalizations by statistics of the input, and softmax."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic, reduction
from converter.importers.forms.basic import binary, scalar, unary
from converter.importers.forms.convolution import pad_with
from converter.importers.forms.elementwise import affine
from converter.importers.no_form import NoForm


def standardized(
    b: Builder, x: ir.Value, axes: Sequence[int], epsilon: float
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """((x - mean) / sqrt(variance + epsilon), the mean, 1 / sqrt(variance + epsilon)) over `axes`,
    the last two with axes of size 1.
    """
    mean = reduction.reduce(b, "MEAN", x, axes, True)
    centred = binary(b, "SUB", x, mean)
    variance = reduction.reduce(b, "MEAN", unary(b, "SQUARE", centred), axes, True)
    spread = unary(b, "RSQRT", affine(b, variance, 1, epsilon))
    return binary(b, "MUL", centred, spread), mean, spread


def scaled(
    b: Builder, x: ir.Value, scale: ir.Value | None, offset: ir.Value | None, axis: int = -1
) -> ir.Value:
    """x * scale + offset; vectors lie along `axis`, other ranks broadcast."""
    rank = basic.rank(b, x)
    axis = basic.axis_of(b, x, axis)
    for op, value in (("MUL", scale), ("ADD", offset)):
        if value is None:
            continue
        if basic.rank(b, value) == 1 and axis != rank - 1:
            (count,) = b.dims(value)
            value = basic.reshape(b, value, [count, *[1] * (rank - 1 - axis)])
        x = binary(b, op, x, value)
    return x


def by_statistics(
    b: Builder,
    x: ir.Value,
    scale: ir.Value,
    offset: ir.Value,
    mean: ir.Value,
    variance: ir.Value,
    epsilon: float,
) -> ir.Value:
    """Batch normalization of channels (axis 1) by given statistics; constants become one factor and
    one term.
    """
    parts = [b.known(v) for v in (scale, offset, mean, variance)]
    if all(p is not None for p in parts):
        s, o, m, v = (np.asarray(p, np.float64) for p in parts)
        factor = s / np.sqrt(v + epsilon)
        kind = ir.numpy_dtype(x.dtype)
        return scaled(
            b, x, b.constant(factor, "scale", kind), b.constant(o - m * factor, "offset", kind), 1
        )
    spread = unary(b, "RSQRT", affine(b, variance, 1, epsilon))
    factor_value = binary(b, "MUL", scale, spread)
    term = binary(b, "SUB", offset, binary(b, "MUL", mean, factor_value))
    return scaled(b, x, factor_value, term, 1)


def in_groups(b: Builder, x: ir.Value, groups: int, epsilon: float) -> ir.Value:
    """Channels (axis 1) standardized in `groups`, each over its channels and all positions.

    Only the means of channels are put into groups, so that the layout of `x` matters to nothing.
    """
    dims = b.dims(x)
    channels, rank = dims[1], len(dims)
    if channels is None or groups < 1 or channels % groups:
        raise NoForm(f"parts {channels} channels into {groups} groups")
    if groups in (1, channels):
        return standardized(b, x, range(1 if groups == 1 else 2, rank), epsilon)[0]

    def mean(value: ir.Value) -> ir.Value:
        """[batch, groups, 1]"""
        own = reduction.reduce(b, "MEAN", value, range(2, rank), True) if rank > 2 else value
        parts = basic.reshape(b, own, [dims[0], groups, channels // groups])
        return reduction.reduce(b, "MEAN", parts, [2], True)

    def spread(value: ir.Value) -> ir.Value:
        """[batch, channels, 1...] of a number for each group"""
        ones = b.constant(np.ones((1, 1, channels // groups)), "ones", ir.numpy_dtype(x.dtype))
        each = binary(b, "MUL", value, ones)
        return basic.reshape(b, each, [dims[0], channels, *[1] * (rank - 2)])

    centred = binary(b, "SUB", x, spread(mean(x)))
    variance = mean(unary(b, "SQUARE", centred))
    return binary(b, "MUL", centred, spread(unary(b, "RSQRT", affine(b, variance, 1, epsilon))))


def local_response(
    b: Builder, x: ir.Value, size: int, alpha: float, beta: float, bias: float
) -> ir.Value:
    """x / (bias + alpha / size * sum of the squares of `size` channels around)^beta"""
    if size % 2 and basic.rank(b, x) == 4:
        last = basic.channels_last(b, x)
        y = b.emit(
            "LOCAL_RESPONSE_NORMALIZATION",
            [last],
            radius=size // 2,
            bias=bias,
            alpha=alpha / size,
            beta=beta,
        )
        return basic.channels_first(b, y)
    rank = basic.rank(b, x)
    channels = b.dims(x)[1]
    if channels is None:
        raise NoForm("has a dynamic number of channels: give the model's inputs fixed sizes")
    pads = [(0, 0)] * rank
    pads[1] = ((size - 1) // 2, size // 2)
    squares = pad_with(b, unary(b, "SQUARE", x), pads)
    total = basic.slice_axis(b, squares, 1, 0, channels)
    for i in range(1, size):
        total = binary(b, "ADD", total, basic.slice_axis(b, squares, 1, i, i + channels))
    base = affine(b, total, alpha / size, bias)
    return binary(b, "DIV", x, binary(b, "POW", base, scalar(b, beta, x)))


def softmax(b: Builder, op: str, x: ir.Value, axis: int) -> ir.Value:
    """SOFTMAX or LOG_SOFTMAX along one axis."""
    last = basic.rank(b, x) - 1
    axis = basic.axis_of(b, x, axis)
    perm = list(range(last + 1))
    if perm:
        perm[axis], perm[last] = last, axis
    moved = basic.transpose(b, x, perm)
    found = b.emit(op, [moved], beta=1.0) if op == "SOFTMAX" else b.emit(op, [moved])
    return basic.transpose(b, found, perm)
