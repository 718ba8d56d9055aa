# SPDX-License-Identifier: Apache-2.0
"""Resizing along axes: RESIZE_BILINEAR and RESIZE_NEAREST_NEIGHBOR where they compute just this,
else a GATHER (nearest) or a product with a constant matrix of weights (linear, cubic) per axis.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic, products
from converter.importers.forms.basic import int32s
from converter.importers.forms.elementwise import carried
from converter.importers.no_form import NoForm

COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
)
_CLOSE = 1e-4  # between weights: TFLite computes places in float32
_LARGEST_MATRIX = 1 << 22  # elements


class Along(NamedTuple):
    """How one axis is resized. `scale` is the nominal factor, which need not be out / size."""

    size: int
    out: int
    scale: float
    roi: tuple[float, float] = (0.0, 1.0)


class Method(NamedTuple):
    """ONNX's attributes of Resize; `mode` is nearest, linear or cubic."""

    mode: str = "nearest"
    coordinates: str = "half_pixel"
    rounding: str = "round_prefer_floor"
    cubic: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False
    extrapolation: float = 0.0


def resize(b: Builder, x: ir.Value, axes: Mapping[int, Along], how: Method) -> ir.Value:
    """`x` with each of `axes` resized, all of them of fixed sizes."""
    if how.coordinates not in COORDINATES:
        raise NoForm(f"maps coordinates by {how.coordinates!r}: use half_pixel or align_corners")
    left = {axis: a for axis, a in axes.items() if not _is_same(a)}
    option = as_image(x, b.dims(x), left, how)
    if option is not None:
        sizes = [left[axis].out if axis in left else b.dims(x)[axis] for axis in (2, 3)]
        if None not in sizes:
            return image(b, x, int32s(b, [int(s) for s in sizes if s], "size"), how.mode, option)
    for axis, along in left.items():
        x = _along_axis(b, x, axis, along, how)
    return x


def image(b: Builder, x: ir.Value, size: ir.Value, mode: str, option: str) -> ir.Value:
    """RESIZE_BILINEAR or RESIZE_NEAREST_NEIGHBOR of N, C, H, W to `size` (height, width)."""
    op = "RESIZE_BILINEAR" if mode == "linear" else "RESIZE_NEAREST_NEIGHBOR"
    flags = {"half": (False, True), "align": (True, False), "plain": (False, False)}[option]

    def form(value: ir.Value) -> ir.Value:
        last = basic.channels_last(b, value)
        align, half = flags
        y = b.emit(op, [last, size], align_corners=align, half_pixel_centers=half)
        return basic.channels_first(b, y)

    return carried(b, form, [x])


def as_image(
    x: ir.Value, dims: Sequence[int | None], axes: Mapping[int, Along], how: Method
) -> str | None:
    """Which of TFLite's coordinates ("half", "align", "plain") compute just this on N, C, H, W;
    None where none does.
    """
    if len(dims) != 4 or not axes or not set(axes) <= {2, 3} or how.mode == "cubic":
        return None
    if x.dtype == "STRING" or (how.mode == "linear" and x.dtype != "FLOAT32"):
        return None
    rows = {axis: matrix(along, how) for axis, along in axes.items()}
    if any(outside.any() for _, outside in rows.values()):
        return None
    for option in ("half", "align", "plain"):
        if all(
            np.allclose(rows[axis][0], _tflite(along, how.mode, option), atol=_CLOSE)
            for axis, along in axes.items()
        ):
            return option
    return None


def matrix(along: Along, how: Method) -> tuple[np.ndarray, np.ndarray]:
    """(weights [out, size], which outputs lie outside and take the extrapolation value), as ONNX's
    operator Resize defines them.
    """
    if along.out * along.size > _LARGEST_MATRIX:
        raise NoForm(f"resizes an axis of {along.size} to {along.out}, which is too large")
    places, outside = _places(along, how.coordinates)
    whole = places == np.floor(places)
    ratios = np.where(whole, 1.0, places - np.floor(places))
    weights = np.array([_weights(float(r), along.scale, how) for r in ratios], np.float64)
    weights = weights.reshape(along.out, -1)
    count = weights.shape[1]
    first = np.floor(places).astype(np.int64)
    fraction = places - first
    if count % 2 == 0:
        first = first + np.where(fraction == 0, -(count // 2), 1 - count // 2)
    else:
        first = first + np.where(fraction <= 0.5, -((count - 1) // 2), 1 - (count - 1) // 2)
    near = first[:, None] + np.arange(count)
    if how.exclude_outside:
        weights = np.where((near < 0) | (near >= along.size), 0.0, weights)
        total = weights.sum(1, keepdims=True)
        weights = weights / np.where(total == 0, 1.0, total)
    found = np.zeros((along.out, along.size))
    rows = np.repeat(np.arange(along.out), count)
    np.add.at(found, (rows, near.clip(0, along.size - 1).reshape(-1)), weights.reshape(-1))
    return found, outside


def _is_same(along: Along) -> bool:
    return along.size == along.out and math.isclose(along.scale, 1) and along.roi == (0.0, 1.0)


def _places(along: Along, coordinates: str) -> tuple[np.ndarray, np.ndarray]:
    """Where in the input each output lies."""
    size, out, scale, roi = along
    y = np.arange(out, dtype=np.float64)
    length = scale * size  # the nominal size of the output
    inside = np.zeros(out, bool)
    if coordinates == "align_corners":
        return (y * 0 if length == 1 else y * (size - 1) / (length - 1)), inside
    if coordinates == "asymmetric":
        return y / scale, inside
    if coordinates == "tf_crop_and_resize":
        span = (roi[1] - roi[0]) * (size - 1)
        places = np.full(out, span / 2) if length == 1 else y * span / (length - 1)
        places = places + roi[0] * (size - 1)
        return places, (places < 0) | (places > size - 1)
    if coordinates == "pytorch_half_pixel" and length == 1:
        return np.full(out, -0.5), inside
    places = (y + 0.5) / scale - 0.5
    if coordinates == "half_pixel_symmetric":
        places = places + size / 2 * (1 - out / length)
    return places, inside


def _weights(ratio: float, scale: float, how: Method) -> np.ndarray:
    """Weights of the neighbours of a place `ratio` (0 < ratio <= 1) behind the left one."""
    if how.mode == "nearest":
        rules = {
            "round_prefer_floor": ratio > 0.5,
            "round_prefer_ceil": ratio >= 0.5,
            "floor": ratio == 1,
            "ceil": True,
        }
        if how.rounding not in rules:
            raise NoForm(f"rounds by {how.rounding!r}: use round_prefer_floor, floor or ceil")
        right = rules[how.rounding]
        return np.array([not right, right], np.float64)
    shrink = min(scale, 1.0)
    if how.mode == "linear":
        if not how.antialias:
            return np.array([1 - ratio, ratio])
        start = math.floor(-1 / shrink) + 1
        distances = (np.arange(start, 2 - start) - ratio) * shrink
        found = np.clip(1 - np.abs(distances), 0, 1)
    else:
        shrink = shrink if how.antialias else 1.0
        start = math.floor(-2 / shrink) + 1
        found = _cubic(np.abs(shrink * (np.arange(start, 2 - start) - ratio)), how.cubic)
        if not how.antialias:
            return found
    return found / found.sum()


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
    """Cubic convolution: R. G. Keys, 1981."""
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def _tflite(along: Along, mode: str, option: str) -> np.ndarray:
    """The weights [out, size] of TFLite's ops with this option, in their float32 arithmetic."""
    size, out = along.size, along.out
    less = 1 if option == "align" and out > 1 else 0
    scale = np.float32(size - less) / np.float32(out - less)
    y = np.arange(out, dtype=np.float32)
    found = np.zeros((out, size))
    if mode == "nearest":
        places = (y + np.float32(0.5 if option == "half" else 0)) * scale
        near = np.floor(places + 0.5) if option == "align" else np.floor(places)
        found[np.arange(out), near.astype(int).clip(0, size - 1)] = 1
        return found
    places = (y + np.float32(0.5)) * scale - np.float32(0.5) if option == "half" else y * scale
    low = np.floor(places).astype(int)
    share = places - low
    for offset, weight in ((0, 1 - share), (1, share)):
        np.add.at(found, (np.arange(out), (low + offset).clip(0, size - 1)), weight)
    return found


def _along_axis(b: Builder, x: ir.Value, axis: int, along: Along, how: Method) -> ir.Value:
    weights, outside = matrix(along, how)
    if how.mode == "nearest":
        at = int32s(b, weights.argmax(1), "places")
        y = carried(b, lambda v: b.emit("GATHER", [v, at], axis=axis), [x])
    else:
        kind = x.dtype
        y = weighted(b, basic.cast(b, x, "FLOAT32"), axis, weights)
        if kind != "FLOAT32":
            y = basic.cast(b, _saturated(b, y, kind), kind)
    if not outside.any():
        return y
    shape = [-1 if i == axis else 1 for i in range(basic.rank(b, x))]
    mask = b.constant(outside.reshape(shape), "outside", np.bool_)
    fill = basic.scalar(b, how.extrapolation, y, "extrapolation")
    return b.emit("SELECT_V2", [mask, fill, y], dtype=y.dtype)


def weighted(b: Builder, x: ir.Value, axis: int, weights: np.ndarray) -> ir.Value:
    """The products of `weights` [out, size] with the elements along `axis` of a float32 `x`."""
    dims = basic.rank(b, x)
    perm = [*(i for i in range(dims) if i != axis), axis]
    back = [perm.index(i) for i in range(dims)]
    table = b.constant(weights, "weights", np.float32)
    moved = products.matmul(b, basic.transpose(b, x, perm), table, False, True)
    return basic.transpose(b, moved, back)


def _saturated(b: Builder, x: ir.Value, kind: str) -> ir.Value:
    """Floats within the range of an integer type."""
    limits = np.iinfo(ir.numpy_dtype(kind))
    low, high = (basic.scalar(b, float(n), x) for n in (limits.min, limits.max))
    return basic.binary(b, "MINIMUM", basic.binary(b, "MAXIMUM", x, low), high)
