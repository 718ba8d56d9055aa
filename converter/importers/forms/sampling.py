# SPDX-License-Identifier: Apache-2.0
"""Sampling images at computed places: grids of coordinates, as PyTorch's grid_sample."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic, products
from converter.importers.forms.basic import binary, scalar, unary
from converter.importers.forms.elementwise import affine, polynomial
from converter.importers.no_form import NoForm

_CUBIC = -0.75
_Tap = tuple[ir.Value, "ir.Value | None"]  # index as a float, weight; None for 1


def grid_sample(
    b: Builder, x: ir.Value, grid: ir.Value, mode: str, padding: str, align_corners: bool
) -> ir.Value:
    """N, C, sizes... sampled at grid N, out..., axes, whose coordinates go from -1 to 1, the last
    axis first. `mode` is nearest, linear or cubic; `padding` zeros, border or reflection.
    """
    if mode not in ("nearest", "linear", "cubic") or padding not in _PADDINGS:
        raise NoForm(f"samples by {mode!r} with padding {padding!r}")
    channels, *sizes = b.fixed_dims(basic.slice_axis(b, x, 0, 0, 1), "its input")[1:]
    out = b.fixed_dims(basic.slice_axis(b, grid, 0, 0, 1), "its grid")[1:-1]
    batch, points = b.dims(x)[0], math.prod(out)
    places = basic.reshape(b, grid, [b.dims(grid)[0], points, len(sizes)])
    axes = [
        _taps(b, basic.slice_axis(b, places, 2, i, i + 1), size, mode, padding, align_corners)
        for i, size in zip(reversed(range(len(sizes))), sizes, strict=True)
    ]
    last = basic.reshape(b, _gathered(b, x, sizes, channels, axes), [batch, *out, channels])
    return basic.channels_first(b, last)


def sample_at(b: Builder, x: ir.Value, places: Sequence[ir.Value]) -> ir.Value:
    """[N, points, C] of N, C, sizes...: linear between the elements around `places`, one
    [N, points, 1] of floats for each axis; 0 outside.
    """
    channels, *sizes = b.fixed_dims(basic.slice_axis(b, x, 0, 0, 1), "its input")[1:]
    axes = [
        _neighbours(b, v, size, "linear", "zeros", -0.5, size - 0.5)
        for v, size in zip(places, sizes, strict=True)
    ]
    return _gathered(b, x, sizes, channels, axes)


def _gathered(
    b: Builder, x: ir.Value, sizes: Sequence[int], channels: int, axes: Sequence[list[_Tap]]
) -> ir.Value:
    """[N, points, C] the sum of the elements at all combinations of taps, by their weights."""
    batch = b.dims(x)[0]
    flat = basic.reshape(b, basic.channels_last(b, x), [batch, math.prod(sizes), channels])
    total: ir.Value | None = None
    for taps in itertools.product(*axes):
        at, weight = taps[0]
        for (more, factor), size in zip(taps[1:], sizes[1:], strict=True):
            at = binary(b, "ADD", affine(b, at, size, 0), more)
            weight = _times(b, weight, factor)
        index = basic.squeeze(b, basic.ints(b, at), [2])
        part = b.emit("GATHER", [flat, index], axis=1, batch_dims=1)
        part = part if weight is None else binary(b, "MUL", part, weight)
        total = part if total is None else binary(b, "ADD", total, part)
    assert total is not None
    return total


def affine_grid(b: Builder, theta: ir.Value, sizes: Sequence[int], align_corners: bool) -> ir.Value:
    """Grids N, sizes..., axes of coordinates from -1 to 1, each moved by its N, axes, axes + 1."""
    lines = [_line(size, align_corners) for size in reversed(sizes)]
    grids = np.meshgrid(*reversed(lines), indexing="ij")[::-1]
    points = np.stack([*grids, np.ones(sizes)], -1).reshape(1, -1, len(sizes) + 1)
    base = b.constant(points, "grid", np.float32)
    moved = products.matmul(b, base, theta, False, True)
    return basic.reshape(b, moved, [b.dims(theta)[0], *sizes, len(sizes)])


def _line(size: int, align_corners: bool) -> np.ndarray:
    if align_corners:
        return np.linspace(-1, 1, size)
    return (np.arange(size) * 2 + 1) / size - 1


_PADDINGS = ("zeros", "border", "reflection")


def _times(b: Builder, x: ir.Value | None, y: ir.Value | None) -> ir.Value | None:
    if x is None or y is None:
        return x or y
    return binary(b, "MUL", x, y)


def _taps(
    b: Builder, place: ir.Value, size: int, mode: str, padding: str, align_corners: bool
) -> list[_Tap]:
    """The neighbours along one axis: (index as a float, weight; None for 1)."""
    low, high = (0.0, size - 1.0) if align_corners else (-0.5, size - 0.5)
    factor = (size - 1) / 2 if align_corners else size / 2
    v = affine(b, place, factor, (size - 1) / 2)
    return _neighbours(b, v, size, mode, padding, low, high)


def _neighbours(
    b: Builder, v: ir.Value, size: int, mode: str, padding: str, low: float, high: float
) -> list[_Tap]:
    """:func:`_taps` of places that count elements."""
    v = unary(b, "ROUND", v) if mode == "nearest" else v
    if padding == "border":
        v = _clamped(b, v, size)
    elif padding == "reflection":
        v = _reflected(b, v, low, high)
    if mode == "nearest":
        return [_inside(b, v, None, size, padding, low, high)]
    first = unary(b, "FLOOR", v)
    share = binary(b, "SUB", v, first)
    if mode == "linear":
        weights = {0: affine(b, share, -1, 1), 1: share}
    else:
        weights = _cubic_weights(b, share)
    return [
        _inside(b, affine(b, first, 1, offset), weight, size, padding, low, high)
        for offset, weight in weights.items()
    ]


def _cubic_weights(b: Builder, t: ir.Value) -> dict[int, ir.Value]:
    a, rest = _CUBIC, affine(b, t, -1, 1)

    def far(distance: ir.Value) -> ir.Value:  # a (d^3 - 5 d^2 + 8 d - 4) of d = 1 + distance
        return polynomial(b, distance, (a, -2 * a, a, 0))

    def near(distance: ir.Value) -> ir.Value:
        return polynomial(b, distance, (a + 2, -(a + 3), 0, 1))

    return {-1: far(t), 0: near(t), 1: near(rest), 2: far(rest)}


def _inside(
    b: Builder,
    index: ir.Value,
    weight: ir.Value | None,
    size: int,
    padding: str,
    low: float,
    high: float,
) -> _Tap:
    """An index that can be read, and the weight, 0 where zeros are outside."""
    if padding == "reflection":
        index = _reflected(b, index, low, high)
    held = _clamped(b, index, size)
    if padding != "zeros":
        return held, weight
    is_in = basic.cast(b, b.emit("EQUAL", [held, index], dtype="BOOL"), index.dtype)
    return held, _times(b, weight, is_in)


def _clamped(b: Builder, v: ir.Value, size: int) -> ir.Value:
    above = binary(b, "MAXIMUM", v, scalar(b, 0, v))
    return binary(b, "MINIMUM", above, scalar(b, size - 1, v))


def _reflected(b: Builder, v: ir.Value, low: float, high: float) -> ir.Value:
    """Back and forth between the borders: high - |(v - low) mod 2 (high - low) - (high - low)|"""
    span = high - low
    if span == 0:
        return affine(b, v, 0, low)
    turn = binary(b, "FLOOR_MOD", affine(b, v, 1, -low), scalar(b, 2 * span, v))
    return affine(b, unary(b, "ABS", affine(b, turn, 1, -span)), -1, high)
