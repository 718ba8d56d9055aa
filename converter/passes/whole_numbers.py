# SPDX-License-Identifier: Apache-2.0
"""Finds the integers that float constants are, times a scale, as quantizers leave them."""

from __future__ import annotations

import numpy as np

from converter import ir
from converter.passes.rewriting import is_float

_INEXACT = 5e-5  # how far from whole a weight by its scale may be: the rounding of float32
_SAMPLE = 64  # elements per channel that are looked at first
FEWEST_LEVELS = 4  # different numbers: masks and matrices of ones are no weights of 4 bits
WIDEST = 255  # steps between the least and the largest number of 8 bits


def is_plain_constant(value: ir.Value | None) -> bool:
    """Dense float32 numbers, all finite."""
    if value is None or value.data is None or value.sparsity is not None or not value.size:
        return False
    return is_float(value) and bool(np.isfinite(value.data).all())


def symmetric_weights(value: ir.Value, axis: int, narrow: bool = False) -> ir.Value | None:
    """`value` as int8 with zero point 0: with one scale, or with one per place of `axis`; as INT4
    where 4 bits hold it and `narrow`.
    """
    assert value.data is not None
    rows = np.moveaxis(value.data, axis, 0).reshape(value.shape[axis], -1)
    scale = whole_scales(rows.reshape(1, -1), 127)
    if scale is None:
        scale = whole_scales(rows, 127)
    if scale is None:
        return None
    dtype = "INT8"
    steps = np.rint(rows.reshape(scale.size, -1) / scale[:, None]).astype(np.int16)
    common = np.maximum(np.gcd.reduce(steps, axis=1), 1)  # 126 steps may be 7 of 18
    fewer = steps // common[:, None]
    fits = fewer.min() >= -8 and fewer.max() <= 7 and np.unique(fewer).size >= FEWEST_LEVELS
    if narrow and fits:
        steps, scale, dtype = fewer, scale * common, "INT4"
    moved = steps.reshape(np.moveaxis(value.data, axis, 0).shape)
    data = np.moveaxis(moved, 0, axis).astype(np.int8)
    axis = axis if scale.size > 1 else 0
    quant = ir.Quantization(scale.astype(np.float32), np.zeros(scale.size, np.int64), axis)
    return ir.Value.constant(value.name, data, dtype=dtype, quant=quant)


def with_zero_point(value: ir.Value | None) -> ir.Value | None:
    """A constant as int8 with one scale and a zero point."""
    if not is_plain_constant(value):
        return None
    assert value is not None and value.data is not None
    scale = whole_scales(value.data.reshape(1, -1), WIDEST)
    if scale is None:
        return None
    steps = np.rint(value.data / scale[0])
    low, high = min(0, int(steps.min())), max(0, int(steps.max()))
    if high - low > WIDEST:
        return None
    zero = 0 if low >= -128 and high <= 127 else -128 - low
    quant = ir.Quantization(scale.astype(np.float32), np.array([zero]))
    return ir.Value.constant(value.name, (steps + zero).astype(np.int8), quant=quant)


def symmetric_16_bits(value: ir.Value | None) -> ir.Value | None:
    """A constant as int16 with one scale."""
    if not is_plain_constant(value):
        return None
    assert value is not None and value.data is not None
    largest = float(np.abs(value.data).max())
    for most in (127, 128, 255, (1 << 15) - 1):
        scale = np.float32(largest / most) if largest else np.float32(1)
        steps = np.rint(value.data.astype(np.float64) / scale)
        if np.abs(steps * scale - value.data).max() <= 1e-6 * largest:
            quant = ir.Quantization(np.array([scale]), np.zeros(1))
            return ir.Value.constant(value.name, steps.astype(np.int16), quant=quant)
    return None


def whole_scales(rows: np.ndarray, most: int) -> np.ndarray | None:
    """For each row a scale of which all its numbers are multiples, at most `most` times; None where
    a row has none. Rows of zeros get the least scale of the others.
    """
    sample = rows[:, :: max(1, rows.shape[1] // _SAMPLE)]
    largest = np.abs(rows).max(axis=1).astype(np.float64)
    scales = np.zeros(len(rows))
    for i in np.nonzero(largest)[0]:
        steps = largest[i] / np.arange(1, most + 1)
        fits = _are_whole(sample[i][None, :] / steps[:, None])
        # The most usual first: the largest number is the largest multiple.
        order = sorted(np.nonzero(fits)[0], key=lambda k: (k > 126, -k if k <= 126 else k))
        found = next((k for k in order if _are_whole((rows[i] / steps[k])[None])[0]), None)
        if found is None:
            return None
        scales[i] = steps[found]
    least = scales[scales > 0].min(initial=np.inf)
    scales[scales == 0] = least if np.isfinite(least) else 1.0
    return scales


def _are_whole(rows: np.ndarray) -> np.ndarray:
    return np.abs(rows - np.rint(rows)).max(axis=1) < _INEXACT
