# SPDX-License-Identifier: Apache-2.0
"""Rows for quantization in training: FakeQuant and QuantizeAndDequantize.

Both give the nearest number that integers of a scale have, so that what lies between two of them
can compute on those integers; see :mod:`converter.importers.forms.quantized`.
"""

from __future__ import annotations

import numpy as np

from converter import ir
from converter.importers.forms import basic, quantized
from converter.importers.forms.basic import binary, scalar, unary
from converter.importers.no_form import NoForm
from converter.importers.tensorflow.context import Context, Row, Rows

_RANGE = "range: freeze the graph with its values"


def nudged(
    low: np.ndarray, high: np.ndarray, bits: int, narrow: bool
) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """(scale, zero point, least and largest integer) for ranges from `low` to `high`: the zero
    point is moved to a whole number, as TensorFlow's FakeQuant functor does.
    """
    limits = int(narrow), (1 << bits) - 1
    scale = (high - low) / np.float32(limits[1] - limits[0])
    with np.errstate(divide="ignore", invalid="ignore"):
        zero = limits[0] - low / scale
    zero = np.floor(np.clip(np.nan_to_num(zero), *limits).astype(np.float64) + 0.5)
    return scale.astype(np.float32), zero.astype(np.int32), limits


def _by_range(c: Context, low: np.ndarray, high: np.ndarray) -> ir.Value:
    bits, narrow = int(c.attr("num_bits", 8)), bool(c.attr("narrow_range", False))
    if not 2 <= bits <= 16:
        raise NoForm(f"rounds to {bits} bits: use 2 to 16")
    low, high = (np.asarray(end, np.float32) for end in (low, high))
    if (low > 0).any() or (high < 0).any() or (low > high).any():
        raise NoForm("has a range without 0, which integers need: train with a range around 0")
    x, empty = c.input(0), low == high
    if empty.all():  # TensorFlow gives zeros
        return binary(c.b, "MUL", x, scalar(c.b, 0, x))
    scale, zero, limits = nudged(low, np.where(empty, low + 1, high), bits, narrow)
    if empty.any():
        raise NoForm("has channels without a range: train it on data that reaches them")
    kind = "UINT8" if bits <= 8 else "UINT16"
    step = c.b.constant(scale, "scale")
    point = c.b.constant(zero.astype(ir.numpy_dtype(kind)), "zero")
    y = quantized.quantize(c.b, x, step, point, kind, -1, limits=limits)
    return quantized.dequantize(c.b, y, step, point, -1)


def _by_attributes(c: Context) -> ir.Value:
    return _by_range(c, np.array(c.attr("min", -6.0)), np.array(c.attr("max", 6.0)))


def _by_inputs(c: Context) -> ir.Value:
    return _by_range(c, c.array(1, _RANGE), c.array(2, _RANGE))


def _and_back(bits_at: int) -> Row:
    """QuantizeAndDequantize: symmetric steps, the input's own range where none is given; `bits_at`
    is the input that says how many bits, 0 where an attribute does.
    """

    def row(c: Context) -> ir.Value:
        bits = int(c.array(bits_at, "bits").reshape(())) if bits_at else int(c.attr("num_bits", 8))
        signed = bool(c.attr("signed_input", True))
        if not 2 <= bits <= 16 or (bits == 16 and not signed):
            raise NoForm(f"rounds to {bits} bits: use 2 to 16, signed")
        if c.attr("round_mode", "HALF_TO_EVEN") != "HALF_TO_EVEN":
            raise NoForm("rounds halves up: use round_mode HALF_TO_EVEN, as integer ops round")
        most = (1 << (bits - 1)) - 1 if signed else (1 << bits) - 1
        least = (-most if c.attr("narrow_range", False) else -most - 1) if signed else 0
        axis = int(c.attr("axis", -1))
        if not c.attr("range_given", False):
            return _by_own_range(c, least, most, axis)
        low, high = (c.array(i, _RANGE).astype(np.float32) for i in (1, 2))
        scale = _steps(low, high, least, most)
        return _rounded(c, scale, least, most, axis)

    return row


def _steps(low: np.ndarray, high: np.ndarray, least: int, most: int) -> np.ndarray:
    """The larger of the steps that either end of the range asks for."""
    below = low / np.float32(least) if least else np.zeros_like(low)
    return np.maximum(np.maximum(below, high / np.float32(most)), np.finfo(np.float32).tiny)


def _rounded(c: Context, scale: np.ndarray, least: int, most: int, axis: int) -> ir.Value:
    kinds = ("INT8", "INT16") if least else ("UINT8",)
    kind = next(k for k in kinds if np.iinfo(ir.numpy_dtype(k)).max >= most)
    step = c.b.constant(scale, "scale", np.float32)
    zero = c.b.constant(np.zeros(scale.shape), "zero", ir.numpy_dtype(kind))
    y = quantized.quantize(c.b, c.input(0), step, zero, kind, axis, limits=(least, most))
    return quantized.dequantize(c.b, y, step, zero, axis)


def _by_own_range(c: Context, least: int, most: int, axis: int) -> ir.Value:
    x = c.input(0)
    if x.data is not None:
        axes = tuple(i for i in range(x.data.ndim) if axis < 0 or i != axis)
        low, high = (np.asarray(f(x.data, axes, keepdims=True)) for f in (np.min, np.max))
        steps = _steps(low, high, least, most)
        return c.b.constant(np.rint(x.data / steps) * steps, "rounded", np.float32)
    if axis >= 0:
        raise NoForm("finds ranges per channel as it runs: give it a range (range_given)")
    ends = [basic.reduce(c.b, op, x, None, False) for op in ("REDUCE_MIN", "REDUCE_MAX")]
    parts = [
        binary(c.b, "DIV", end, scalar(c.b, limit, end))
        for end, limit in zip(ends, (least, most), strict=True)
        if limit
    ]
    step = parts[-1] if len(parts) == 1 else binary(c.b, "MAXIMUM", parts[0], parts[1])
    step = binary(c.b, "MAXIMUM", step, scalar(c.b, float(np.finfo(np.float32).tiny), step))
    return binary(c.b, "MUL", unary(c.b, "ROUND", binary(c.b, "DIV", x, step)), step)


ROWS: Rows = {
    "FakeQuantWithMinMaxArgs": _by_attributes,
    "FakeQuantWithMinMaxVars": _by_inputs,
    "FakeQuantWithMinMaxVarsPerChannel": _by_inputs,
    "QuantizeAndDequantizeV2": _and_back(0),
    "QuantizeAndDequantizeV3": _and_back(3),
    "QuantizeAndDequantizeV4": _and_back(0),
}
