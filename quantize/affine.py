# SPDX-License-Identifier: Apache-2.0
"""The arithmetic of affine quantization: real = scale * (q - zero_point).

Ranges and rules are those of the LiteRT 8-bit quantization specification: activations are
asymmetric in [-128, 127] and represent 0 exactly, weights symmetric in [-127, 127], biases int32
with zero point 0.
"""

from __future__ import annotations

import numpy as np

from converter.ir import Quantization
from quantize.errors import QuantizationError

ACTIVATION_MIN, ACTIVATION_MAX = -128, 127
WEIGHT_MAX = 127
# Half the int32 range, so that a bias leaves room for the products added to it.
BIAS_MAX = 2**30
# Below this the products of two scales run out of float32's exponent.
SMALLEST_SCALE = 2.0**-40


def activation_params(low: float, high: float) -> Quantization:
    """Scale and zero point for activations seen in [low, high].

    The range is widened to contain 0 (padding and ReLU need it exact); a value that was always 0
    gets [0, 1]. Errors: QuantizationError if the range is not finite or is upside down.
    """
    if not (np.isfinite(low) and np.isfinite(high)) or low > high:
        raise QuantizationError(f"[{low}, {high}] is not a range that int8 can cover")
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    if low == high:
        high = 1.0
    steps = ACTIVATION_MAX - ACTIVATION_MIN
    # Divided before subtracting: the difference of two large float32 may be infinite.
    scale = np.float32(max(high / steps - low / steps, SMALLEST_SCALE))
    zero_point = round(ACTIVATION_MIN - low / float(scale))
    zero_point = min(max(zero_point, ACTIVATION_MIN), ACTIVATION_MAX)
    return Quantization(
        np.array([scale]),
        np.array([zero_point]),
        min=np.array([low], np.float32),
        max=np.array([high], np.float32),
    )


def weight_scales(weights: np.ndarray, axis: int | None) -> np.ndarray:
    """Symmetric scales, float32 [weights.shape[axis]], or [1] where `axis` is None.

    An all-zero channel takes the tensor's largest scale (1 if everything is zero).
    """
    if axis is None:
        peaks = np.abs(weights).max(initial=0.0, keepdims=True).reshape(1)
    else:
        others = tuple(i for i in range(weights.ndim) if i != axis)
        peaks = np.abs(weights).max(axis=others, initial=0.0)
    scales = np.asarray(peaks, np.float64) / WEIGHT_MAX
    fallback = scales.max(initial=0.0) or 1.0
    scales[scales == 0.0] = fallback
    return np.maximum(scales, SMALLEST_SCALE).astype(np.float32)


def quantize_weights(weights: np.ndarray, scales: np.ndarray, axis: int | None) -> np.ndarray:
    """int8 of `weights`' shape in [-127, 127], rounded to nearest even."""
    q = np.rint(weights / _along(scales, axis, weights.ndim))
    return np.clip(q, -WEIGHT_MAX, WEIGHT_MAX).astype(np.int8)


def quantize_bias(bias: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """int32 of `bias`' shape within +-BIAS_MAX; `scales` is float32 [1] or [bias.size]."""
    q = np.rint(bias.astype(np.float64) / scales.astype(np.float64))
    return np.clip(q, -BIAS_MAX, BIAS_MAX).astype(np.int32)


def quantize_activation(values: np.ndarray, params: Quantization) -> np.ndarray:
    """int8 of `values`' shape with the per-tensor `params`."""
    q = np.rint(values / float(params.scale[0])) + int(params.zero_point[0])
    return np.clip(q, ACTIVATION_MIN, ACTIVATION_MAX).astype(np.int8)


def dequantize(q: np.ndarray, params: Quantization) -> np.ndarray:
    """float32 of `q`'s shape; per channel along `params.axis` if there is more than one scale."""
    axis = params.axis if params.per_channel else None
    zero_point = _along(params.zero_point, axis, q.ndim)
    return ((q - zero_point) * _along(params.scale, axis, q.ndim)).astype(np.float32)


def _along(per_channel: np.ndarray, axis: int | None, rank: int) -> np.ndarray:
    """`per_channel` as float64, shaped to broadcast along `axis` of a tensor of `rank`."""
    wide = np.asarray(per_channel, np.float64)
    if axis is None:
        return wide.reshape((1,) * rank)
    return wide.reshape([-1 if i == axis else 1 for i in range(rank)])
