# SPDX-License-Identifier: Apache-2.0
"""Rows for numbers with scales: what PT2E quantization writes (quantized_decomposed), and the fake
quantization of quantization-aware training.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic, quantized
from converter.importers.forms.basic import binary, scalar, unary
from converter.importers.forms.elementwise import affine
from converter.importers.forms.integer_products import matmul_integer
from converter.importers.no_form import NoForm
from converter.importers.torch import types
from converter.importers.torch.context import Context, Rows


def _input(c: Context) -> ir.Value:
    """The tensor, which PyTorch's ops call input or self."""
    return c.value("input" if "input" in c.arguments else "self")


def _scale(c: Context) -> tuple[ir.Value, ir.Value]:
    """Scale and zero point: numbers, tensors of one, or one per place of an axis."""
    given: list[Any] = []
    for names in (("scale", "scales"), ("zero_point", "zero_points")):
        given.append(next((c.arg(n) for n in names if c.arguments.get(n) is not None), 0))
    scale = given[0] if isinstance(given[0], ir.Value) else c.b.constant(given[0], "scale")
    zero = given[1] if isinstance(given[1], ir.Value) else c.b.constant(given[1], "zero")
    return basic.cast(c.b, scale, "FLOAT32"), zero


def _limits(c: Context) -> tuple[int, int]:
    found = []
    for name in ("quant_min", "quant_max"):
        number = c.arg(name)
        if isinstance(number, ir.Value):
            number = c.b.require(number, name).reshape(()).item()
        found.append(int(number))
    return found[0], found[1]


def _axis(c: Context) -> int:
    axis = c.arguments.get("axis")
    return -1 if axis is None else int(axis)


def _quantize(c: Context) -> ir.Value:
    scale, zero = _scale(c)
    kind = types.inner_type(c.arg("dtype"))
    if kind not in ("INT8", "UINT8", "INT16"):
        raise NoForm(f"quantizes to {kind}, which devices lack: use int8, uint8 or int16")
    return quantized.quantize(c.b, _input(c), scale, zero, kind, _axis(c), limits=_limits(c))


def _dequantize(c: Context) -> ir.Value:
    scale, zero = _scale(c)
    return quantized.dequantize(c.b, _input(c), scale, zero, _axis(c))


def _fake_quantize(c: Context) -> ir.Value:
    """The nearest number that integers of this scale have."""
    x, (scale, zero), (low, high) = _input(c), _scale(c), _limits(c)
    kind = next((k for k in ("INT8", "UINT8", "INT16") if _holds(k, low, high)), "")
    if not kind:
        raise NoForm(f"rounds to integers from {low} to {high}: use at most 16 bits")
    zero = quantized.rounded(c.b, zero)
    known = c.b.known(zero)
    if known is None or known.min() < low or known.max() > high:
        return quantized.fake(c.b, x, scale, zero, (low, high), _axis(c))
    y = quantized.quantize(c.b, x, scale, zero, kind, _axis(c), limits=(low, high))
    return quantized.dequantize(c.b, y, scale, zero, _axis(c))


def _holds(kind: str, low: int, high: int) -> bool:
    limits = np.iinfo(ir.numpy_dtype(kind))
    return limits.min <= low and high <= limits.max


def _with_mask(c: Context) -> list[ir.Value]:
    """With what says where gradients flow, which nothing reads in inference."""
    enabled = c.arguments.get("fake_quant_enabled")
    if isinstance(enabled, ir.Value) and not c.b.require(enabled, "switch").any():
        return [_input(c)]
    return [_fake_quantize(c)]


def _observed(c: Context) -> list[ir.Value]:
    """Fake quantization by the scale that training has left in the module; the result, a place for
    the mask, and the observer's state as it was.
    """
    state = [c.value(name) for name in ("running_min", "running_max", "scale", "zero_point")]
    if c.b.require(c.value("observer_on"), "observer's switch").any():
        raise NoForm(
            "still observes its input: call torch.ao.quantization.disable_observer on the model"
        )
    if not c.b.require(c.value("fake_quant_on"), "switch").any():
        return [c.value("self"), c.value("self"), *state]
    c.arguments["axis"] = c.arg("ch_axis") if c.arg("per_row_fake_quant") else None
    return [_fake_quantize(c), c.value("self"), *state]


def _choose(c: Context) -> list[ir.Value]:
    """Scale and zero point for the range of the input, which contains 0."""
    (low, high), least = _limits(c), float(c.arg("eps"))
    x, b = c.value("input"), c.b
    first, last = _range(b, x, None)
    scale = affine(b, binary(b, "SUB", last, first), 1 / (high - low), 0)
    scale = binary(b, "MAXIMUM", scale, scalar(b, least, scale))
    return [scale, _zero(b, first, scale, low, high)]


def _choose_symmetric(c: Context) -> list[ir.Value]:
    (low, high), least = _limits(c), float(c.arg("eps"))
    x, b = c.value("input"), c.b
    first, last = _range(b, x, None)
    most = binary(b, "MAXIMUM", unary(b, "NEG", first), last)
    scale = affine(b, most, 2 / (high - low), 0)
    scale = binary(b, "MAXIMUM", scale, scalar(b, least, scale))
    middle = 128 if types.inner_type(c.arg("dtype")) == "UINT8" else 0
    return [scale, b.constant(middle, "zero", np.int64)]


def _int_mm(c: Context) -> ir.Value:
    return matmul_integer(c.b, c.value("self"), None, c.value("mat2"), None)


def _range(b: Builder, x: ir.Value, axes: list[int] | None) -> tuple[ir.Value, ir.Value]:
    ends = []
    for reduction, op in (("REDUCE_MIN", "MINIMUM"), ("REDUCE_MAX", "MAXIMUM")):
        end = basic.reduce(b, reduction, x, axes, axes is not None)
        ends.append(binary(b, op, end, scalar(b, 0, end)))
    return ends[0], ends[1]


def _zero(b: Builder, first: ir.Value, scale: ir.Value, low: int, high: int) -> ir.Value:
    """low - round(first / scale), within the limits, as INT64."""
    zero = affine(b, unary(b, "ROUND", binary(b, "DIV", first, scale)), -1, low)
    for op, bound in (("MAXIMUM", low), ("MINIMUM", high)):
        zero = binary(b, op, zero, scalar(b, bound, zero))
    return quantized.as_integers(b, zero, "INT64")


_WITH_MASKS = (
    "fake_quantize_per_channel_affine_cachemask",
    "fake_quantize_per_tensor_affine_cachemask",
    "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams",
)
ROWS: Rows = {
    "_int_mm": _int_mm,
    "choose_qparams": _choose,
    "choose_qparams_symmetric": _choose_symmetric,
    "dequantize_per_channel": _dequantize,
    "dequantize_per_tensor": _dequantize,
    "dequantize_per_token": _dequantize,
    "fake_quant_per_channel": _fake_quantize,
    "fake_quantize_per_channel_affine": _fake_quantize,
    "fake_quantize_per_tensor_affine": _fake_quantize,
    "_fake_quantize_learnable_per_channel_affine": _fake_quantize,
    "_fake_quantize_learnable_per_tensor_affine": _fake_quantize,
    "fused_moving_avg_obs_fake_quant": lambda c: _observed(c)[0],
    "_fused_moving_avg_obs_fq_helper_functional": _observed,
    "quantize_per_channel": _quantize,
    "quantize_per_tensor": _quantize,
    "quantize_per_token": _quantize,
    **dict.fromkeys(_WITH_MASKS, _with_mask),
}
