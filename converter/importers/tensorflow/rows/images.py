# SPDX-License-Identifier: Apache-2.0
"""Rows for images: resizing by other methods than TFLite's, cutting out boxes, colours.

Images are [batch, height, width, channels] as in tf.image.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from converter import ir
from converter.importers.forms import basic
from converter.importers.forms.basic import binary, scalar, unary
from converter.importers.forms.convolution import pad_with, same_pads
from converter.importers.forms.elementwise import affine, compare, select
from converter.importers.forms.resize import weighted
from converter.importers.no_form import NoForm
from converter.importers.tensorflow.context import Context, Row, Rows

# -- resizing: matrices of weights [out, size] as TensorFlow's kernels compute them -----------


def _sizes(c: Context) -> list[tuple[int, int]]:
    """(old, new) height and width."""
    old = c.b.fixed_dims(basic.slice_axis(c.b, c.input(0), 0, 0, 1), "its image")[1:3]
    new = [int(s) for s in c.array(1, "size").reshape(-1)]
    if len(new) != 2 or min(new) < 1 or min(old) < 1:
        raise NoForm(f"resizes {list(old)} to {new}")
    return list(zip(old, new, strict=True))


def _resized(c: Context, weights: list[np.ndarray]) -> ir.Value:
    x = basic.cast(c.b, c.input(0), "FLOAT32")
    for axis, table in enumerate(weights, 1):
        if table.shape[0] != table.shape[1] or not np.array_equal(table, np.eye(len(table))):
            x = weighted(c.b, x, axis, table)
    return basic.cast(c.b, x, c.kind())


def _scale(old: int, new: int, align_corners: bool) -> float:
    if align_corners and new > 1:
        return float(np.float32(old - 1) / np.float32(new - 1))
    return float(np.float32(old) / np.float32(new))


_LEAST_TOTAL = 1000 * float(np.finfo(np.float32).tiny)
_TABLE = 1024  # TensorFlow rounds places between pixels to so many steps


def _bicubic(c: Context) -> ir.Value:
    align, half = (bool(c.attr(n, False)) for n in ("align_corners", "half_pixel_centers"))

    def matrix(old: int, new: int) -> np.ndarray:
        a = -0.5 if half else -0.75
        found = np.zeros((new, old))
        scale = _scale(old, new, align)
        for i in range(new):
            place = (i + 0.5) * scale - 0.5 if half else i * scale
            first = math.floor(place)
            share = float(np.rint((place - first) * _TABLE)) / _TABLE
            taps = np.arange(first - 1, first + 3)
            weights = _keys(np.abs(np.arange(-1, 3) - share), a)
            if half:  # what lies outside takes no part
                weights = np.where((taps < 0) | (taps >= old), 0.0, weights)
                total = weights.sum()
                if abs(total) >= _LEAST_TOTAL:
                    weights = weights / total
            np.add.at(found[i], taps.clip(0, old - 1), weights)
        return found

    return _resized(c, [matrix(*pair) for pair in _sizes(c)])


def _keys(x: np.ndarray, a: float) -> np.ndarray:
    """Cubic convolution: R. G. Keys, 1981."""
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def _area(c: Context) -> ir.Value:
    """The mean of what an output's area covers."""
    align = bool(c.attr("align_corners", False))

    def matrix(old: int, new: int) -> np.ndarray:
        scale = _scale(old, new, align)
        found = np.zeros((new, old))
        for i in range(new):
            low, high = i * scale, (i + 1) * scale
            taps = np.arange(math.floor(low), math.ceil(high))
            share = np.minimum(taps + 1, high) - np.maximum(taps, low)
            np.add.at(found[i], taps.clip(0, old - 1), share / scale)
        return found

    return _resized(c, [matrix(*pair) for pair in _sizes(c)])


def _lanczos(radius: float) -> Callable[[np.ndarray], np.ndarray]:
    def kernel(x: np.ndarray) -> np.ndarray:
        return np.where(np.abs(x) < radius, np.sinc(x) * np.sinc(x / radius), 0.0)

    return kernel


def _mitchell(x: np.ndarray) -> np.ndarray:
    near = ((7 * x - 12) * x * x + 16 / 3) / 6
    far = (((-7 / 3 * x + 12) * x - 20) * x + 32 / 3) / 6
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


_GAUSSIAN_RADIUS = 1.5
# name: (radius, kernel of |x|), as scale_and_translate_op has them
_KERNELS: dict[str, tuple[float, Callable[[np.ndarray], np.ndarray]]] = {
    "box": (0.5, lambda x: np.where(x < 0.5, 1.0, np.where(x == 0.5, 0.5, 0.0))),
    "gaussian": (
        _GAUSSIAN_RADIUS,
        lambda x: np.where(x < 1.5, np.exp(-(x**2) / (2 * (_GAUSSIAN_RADIUS / 3) ** 2)), 0.0),
    ),
    "keyscubic": (2.0, lambda x: _keys(x, -0.5)),
    "lanczos1": (1.0, _lanczos(1.0)),
    "lanczos3": (3.0, _lanczos(3.0)),
    "lanczos5": (5.0, _lanczos(5.0)),
    "mitchellcubic": (2.0, _mitchell),
    "triangle": (1.0, lambda x: np.maximum(0.0, 1.0 - x)),
}


def _scale_and_translate(c: Context) -> ir.Value:
    name, antialias = c.attr("kernel_type", "lanczos3"), bool(c.attr("antialias", True))
    if name not in _KERNELS:
        raise NoForm(f"resizes by the kernel {name!r}")
    radius, kernel = _KERNELS[name]
    scales, moves = (c.array(i, "scale").reshape(-1).tolist() for i in (2, 3))

    def matrix(old: int, new: int, scale: float, move: float) -> np.ndarray:
        back = np.float32(1) / np.float32(scale)  # in float32, as kernels with steps need it
        widen = np.maximum(back, np.float32(1)) if antialias else np.float32(1)
        found = np.zeros((new, old))
        for i in range(new):
            place = np.float32(i + 0.5) * back - back * np.float32(move)
            if not 0 <= place <= old:
                continue
            reach = radius * widen
            first = max(0, math.ceil(place - reach - 0.5))
            last = min(old - 1, math.floor(place + reach - 0.5))
            taps = np.arange(first, last + 1)
            centers = taps.astype(np.float32) + np.float32(0.5)
            weights = kernel(np.abs((centers - place) / widen))
            total = weights.sum()
            if abs(total) >= _LEAST_TOTAL:
                found[i, taps] = weights / total
        return found

    pairs = zip(_sizes(c), scales, moves, strict=True)
    return _resized(c, [matrix(*sizes, scale, move) for sizes, scale, move in pairs])


# -- boxes ------------------------------------------------------------------------------------


def _crop_and_resize(c: Context) -> ir.Value:
    """[boxes, height, width, channels] sampled in boxes [y1, x1, y2, x2] of images by number."""
    method = c.attr("method", "bilinear")
    if method not in ("bilinear", "nearest"):
        raise NoForm(f"samples by {method!r}")
    x, boxes, numbers = basic.cast(c.b, c.input(0), "FLOAT32"), c.input(1), c.ints(2)
    sizes = [int(s) for s in c.array(3, "crop size").reshape(-1)]
    whole = c.b.fixed_dims(basic.slice_axis(c.b, x, 0, 0, 1), "its image")[1:3]
    places = [
        _box_places(c, boxes, axis, size, count)
        for axis, (size, count) in enumerate(zip(whole, sizes, strict=True))
    ]
    pairs = zip(places, whole, strict=True)
    within = [_grid(c, _valid(c, place, size), i) for i, (place, size) in enumerate(pairs)]
    inside = c.b.emit("LOGICAL_AND", within)
    image = basic.unsqueeze(c.b, numbers, [1, 2])
    if method == "nearest":
        rows, columns = (unary(c.b, "ROUND", p) for p in places)
        found = _picked(c, x, image, _grid(c, rows, 0), _grid(c, columns, 1), whole)
    else:
        found = _between(c, x, image, places, whole)
    outside = scalar(c.b, float(c.attr("extrapolation_value", 0.0)), found, "outside")
    return select(c.b, basic.unsqueeze(c.b, inside, [3]), found, outside)


def _box_places(c: Context, boxes: ir.Value, axis: int, size: int, count: int) -> ir.Value:
    """[boxes, count] where along one axis of the image each output lies."""
    low, high = (basic.slice_axis(c.b, boxes, 1, i, i + 1) for i in (axis, axis + 2))
    if count == 1:
        return affine(c.b, binary(c.b, "ADD", low, high), 0.5 * (size - 1), 0)
    # in TensorFlow's order, whose rounding says what lies on the edge
    step = affine(c.b, binary(c.b, "SUB", high, low), size - 1, 0)
    step = binary(c.b, "DIV", step, scalar(c.b, count - 1, step))
    line = c.b.constant(np.arange(count)[None], "line", np.float32)
    return binary(c.b, "ADD", affine(c.b, low, size - 1, 0), binary(c.b, "MUL", step, line))


def _valid(c: Context, place: ir.Value, size: int) -> ir.Value:
    above = compare(c.b, "GREATER_EQUAL", place, scalar(c.b, 0, place))
    below = compare(c.b, "LESS_EQUAL", place, scalar(c.b, size - 1, place))
    return c.b.emit("LOGICAL_AND", [above, below])


def _grid(c: Context, line: ir.Value, axis: int) -> ir.Value:
    """[boxes, height, 1] or [boxes, 1, width] of [boxes, n]"""
    return basic.unsqueeze(c.b, line, [2 - axis])


def _between(
    c: Context, x: ir.Value, image: ir.Value, places: list[ir.Value], whole: tuple[int, ...]
) -> ir.Value:
    """The four neighbours by their shares."""
    low = [unary(c.b, "FLOOR", p) for p in places]
    high = [unary(c.b, "CEIL", p) for p in places]
    shares = [binary(c.b, "SUB", p, q) for p, q in zip(places, low, strict=True)]
    down, right = (
        basic.unsqueeze(c.b, _grid(c, share, axis), [3]) for axis, share in enumerate(shares)
    )

    def row(line: ir.Value) -> ir.Value:
        ends = [
            _picked(c, x, image, _grid(c, line, 0), _grid(c, side[1], 1), whole)
            for side in (low, high)
        ]
        change = binary(c.b, "SUB", ends[1], ends[0])
        return binary(c.b, "ADD", ends[0], binary(c.b, "MUL", change, right))

    top, bottom = row(low[0]), row(high[0])
    return binary(c.b, "ADD", top, binary(c.b, "MUL", binary(c.b, "SUB", bottom, top), down))


def _picked(
    c: Context,
    x: ir.Value,
    image: ir.Value,
    rows: ir.Value,
    columns: ir.Value,
    whole: tuple[int, ...],
) -> ir.Value:
    """[boxes, height, width, channels] the pixels at places (floats, held within the image)."""
    height, width = whole
    held = []
    for line, size in ((rows, height), (columns, width)):
        above = binary(c.b, "MAXIMUM", line, scalar(c.b, 0, line))
        held.append(basic.ints(c.b, binary(c.b, "MINIMUM", above, scalar(c.b, size - 1, line))))
    start = binary(c.b, "MUL", image, scalar(c.b, height, image))
    at = binary(c.b, "ADD", start, held[0])
    at = binary(c.b, "ADD", binary(c.b, "MUL", at, scalar(c.b, width, at)), held[1])
    batch, channels = c.b.dims(x)[0], c.b.dims(x)[3]
    count = None if batch is None else batch * height * width
    return c.b.emit("GATHER", [basic.reshape(c.b, x, [count, channels]), at], axis=0)


def _patches(c: Context) -> ir.Value:
    """[batch, rows, columns, window * channels], by one gather along each axis."""
    x = c.input(0)
    windows, strides, rates = (
        [int(n) for n in c.attr(name)][1:3] for name in ("ksizes", "strides", "rates")
    )
    sizes = c.b.fixed_dims(basic.slice_axis(c.b, x, 0, 0, 1), "its image")[1:3]
    geometry = list(zip(sizes, windows, strides, rates, strict=True))
    if c.attr("padding") == "SAME":
        x = pad_with(c.b, x, [(0, 0), *(same_pads(*g) for g in geometry), (0, 0)])
        sizes = c.b.fixed_dims(basic.slice_axis(c.b, x, 0, 0, 1), "its image")[1:3]
    counts = []
    for axis, (size, (_, window, stride, rate)) in enumerate(zip(sizes, geometry, strict=True)):
        count = (size - (window - 1) * rate - 1) // stride + 1
        at = np.arange(count)[:, None] * stride + np.arange(window) * rate
        x = c.b.emit("GATHER", [x, basic.int32s(c.b, at, "places")], axis=1 + 2 * axis)
        counts.append(count)
    x = basic.transpose(c.b, x, [0, 1, 3, 2, 4, 5])
    batch, channels = c.b.dims(x)[0], c.b.dims(x)[5]
    depth = None if channels is None else math.prod(windows) * channels
    return basic.reshape(c.b, x, [batch, *counts, depth])


# -- colours ----------------------------------------------------------------------------------


def _contrast(c: Context) -> ir.Value:
    """(x - mean) * factor + mean, with each channel's mean over an image"""
    x, factor = c.input(0), c.input(1)
    mean = basic.reduce(c.b, "MEAN", x, [-3, -2], True)
    spread = binary(c.b, "MUL", binary(c.b, "SUB", x, mean), factor)
    return binary(c.b, "ADD", spread, mean)


def _channels(c: Context, x: ir.Value) -> list[ir.Value]:
    return [basic.slice_axis(c.b, x, -1, i, i + 1) for i in range(3)]


def _to_hsv(c: Context, x: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Hue, saturation (both 0 to 1) and value of red, green and blue."""
    red, green, blue = _channels(c, x)
    value = basic.reduce(c.b, "REDUCE_MAX", x, [-1], True)
    span = binary(c.b, "SUB", value, basic.reduce(c.b, "REDUCE_MIN", x, [-1], True))
    saturation = _quotient(c, span, value)
    sixths = []
    for left, right, turn in ((green, blue, 0), (blue, red, 2), (red, green, 4)):
        part = _quotient(c, binary(c.b, "SUB", left, right), span)
        sixths.append(affine(c.b, part, 1 / 6, turn / 6))
    is_red = compare(c.b, "EQUAL", red, value)
    is_green = compare(c.b, "EQUAL", green, value)
    hue = select(c.b, is_red, sixths[0], select(c.b, is_green, sixths[1], sixths[2]))
    is_grey = compare(c.b, "EQUAL", span, scalar(c.b, 0, span))
    hue = select(c.b, is_grey, scalar(c.b, 0, hue), hue)
    below = compare(c.b, "LESS", hue, scalar(c.b, 0, hue))
    return select(c.b, below, affine(c.b, hue, 1, 1), hue), saturation, value


def _quotient(c: Context, x: ir.Value, y: ir.Value) -> ir.Value:
    """x / y where y > 0, else 0"""
    positive = compare(c.b, "GREATER", y, scalar(c.b, 0, y))
    safe = select(c.b, positive, y, scalar(c.b, 1, y))
    return select(c.b, positive, binary(c.b, "DIV", x, safe), scalar(c.b, 0, x))


def _from_hsv(c: Context, hue: ir.Value, saturation: ir.Value, value: ir.Value) -> ir.Value:
    """value * (1 - saturation * (1 - ramp)); each ramp is a trapezoid of the hue"""
    six = affine(c.b, hue, 6, 0)
    ramps = []
    for center, sign, term in ((3, 1, -1), (2, -1, 2), (4, -1, 2)):
        distance = unary(c.b, "ABS", affine(c.b, six, 1, -center))
        ramp = affine(c.b, distance, sign, term)
        held = binary(c.b, "MINIMUM", unary(c.b, "RELU", ramp), scalar(c.b, 1, ramp))
        ramps.append(affine(c.b, held, 1, -1))
    whole = basic.concat(c.b, ramps, -1)
    share = affine(c.b, binary(c.b, "MUL", whole, saturation), 1, 1)
    return binary(c.b, "MUL", share, value)


def _rgb_to_hsv(c: Context) -> ir.Value:
    return basic.concat(c.b, list(_to_hsv(c, c.input(0))), -1)


def _hsv_to_rgb(c: Context) -> ir.Value:
    hue, saturation, value = _channels(c, c.input(0))
    return _from_hsv(c, hue, saturation, value)


def _adjust_hue(c: Context) -> ir.Value:
    hue, saturation, value = _to_hsv(c, c.input(0))
    turned = binary(c.b, "ADD", hue, c.input(1))
    turned = binary(c.b, "SUB", turned, unary(c.b, "FLOOR", turned))
    return _from_hsv(c, turned, saturation, value)


def _adjust_saturation(c: Context) -> ir.Value:
    hue, saturation, value = _to_hsv(c, c.input(0))
    scaled = unary(c.b, "RELU", binary(c.b, "MUL", saturation, c.input(1)))
    return _from_hsv(c, hue, binary(c.b, "MINIMUM", scaled, scalar(c.b, 1, scaled)), value)


def _float32(row: Row) -> Row:
    """A row for images of floats alone."""

    def checked(c: Context) -> Any:
        if c.input(0).dtype != "FLOAT32":
            raise NoForm(f"is of {c.input(0).dtype}: cast the image to float32 first")
        return row(c)

    return checked


ROWS: Rows = {
    "AdjustContrastv2": _float32(_contrast),
    "AdjustHue": _float32(_adjust_hue),
    "AdjustSaturation": _float32(_adjust_saturation),
    "CropAndResize": _crop_and_resize,
    "ExtractImagePatches": _patches,
    "HSVToRGB": _float32(_hsv_to_rgb),
    "RGBToHSV": _float32(_rgb_to_hsv),
    "ResizeArea": _area,
    "ResizeBicubic": _bicubic,
    "ScaleAndTranslate": _scale_and_translate,
}
