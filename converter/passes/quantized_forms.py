# SPDX-License-Identifier: Apache-2.0
"""How an op computes on integers: what its inputs become, for a result of given scale.

A form is `(graph, node, result) -> Integers | None`; it changes nothing unless it gives an answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from converter import ir
from converter.passes.affine import LINEAR, Linear
from converter.passes.whole_numbers import (
    is_plain_constant,
    symmetric_16_bits,
    symmetric_weights,
    with_zero_point,
)


@dataclass
class Integers:
    """Inputs by place. `own` is what the op's result is if a QUANTIZE must stand behind it;
    `before` are inputs that a QUANTIZE to another meaning must stand before.
    """

    inputs: dict[int, ir.Value]
    own: tuple[str, ir.Quantization] | None = None
    before: dict[int, tuple[str, ir.Quantization]] = field(default_factory=dict)
    op: str = ""  # that does it, where it is another one


Form = Callable[[ir.Node, ir.Value], "Integers | None"]

# Linear ops that have integer forms.
_WEIGHTED = {op: LINEAR[op] for op in LINEAR.keys() - {"CONV_3D"}}
# The scale and zero point that TFLite fixes.
_FIXED = {
    ("LOGISTIC", "INT8"): (1 / 256, -128),
    ("SOFTMAX", "INT8"): (1 / 256, -128),
    ("TANH", "INT8"): (1 / 128, 0),
    ("LOGISTIC", "INT16"): (1 / 32768, 0),
    ("SOFTMAX", "INT16"): (1 / 32768, 0),
    ("TANH", "INT16"): (1 / 32768, 0),
}
_BINARY = {"ADD", "SUB", "MUL", "DIV"}
_OWN_SCALES = {"ABS", "LEAKY_RELU", "MEAN", "RELU", "RELU6"}  # of 8 and 16 bits
_OF_8_BITS = {"ELU", "GELU", "HARD_SWISH", "RELU_0_TO_1", "RELU_N1_TO_1"}
_CHOOSING = {"MAX_POOL_2D", "RESIZE_NEAREST_NEIGHBOR"}  # whose results are some of their inputs
_MIXING = {"AVERAGE_POOL_2D", "RESIZE_BILINEAR"}
_JOINING = {"CONCATENATION", "MAXIMUM", "MINIMUM", "PACK"}
_NARROW = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}  # which take INT4 weights
_ROOM = 1 + 1e-6


def form_of(op: str) -> Form | None:
    """How `op` computes on integers; None where it does not."""
    if op in _WEIGHTED:
        return _weighted
    if op in _BINARY:
        return _binary
    if any(op == name for name, _ in _FIXED):
        return _fixed
    if op in _CHOOSING or op in _MIXING:
        return _same_scale
    if op in _OWN_SCALES or op in _OF_8_BITS:
        return _first
    if op in _JOINING:
        return _joined
    return {"BATCH_MATMUL": _products, "PRELU": _by_slopes}.get(op)


def is_activation(value: ir.Value) -> bool:
    """Computed int8 or int16 with one scale."""
    quant = value.quant
    one = quant is not None and quant.scale.size == 1 and quant.details is None
    return one and value.dtype in ("INT8", "INT16") and value.data is None


def integers_of(value: ir.Value | None) -> ir.Value | None:
    """The activation that `value` is the DEQUANTIZE of."""
    before = value.producer if value is not None else None
    if before is None or before.op != "DEQUANTIZE":
        return None
    source = before.inputs[0]
    return source if source is not None and is_activation(source) else None


def _meaning(value: ir.Value) -> tuple[float, int]:
    assert value.quant is not None
    return float(value.quant.scale[0]), int(value.quant.zero_point[0])


def _of_type(value: ir.Value | None, result: ir.Value) -> ir.Value | None:
    source = integers_of(value)
    return source if source is not None and source.dtype == result.dtype else None


def _first(node: ir.Node, result: ir.Value) -> Integers | None:
    source = _of_type(node.inputs[0], result)
    if source is None or (node.op in _OF_8_BITS and result.dtype != "INT8"):
        return None
    return Integers({0: source})


def _same_scale(node: ir.Node, result: ir.Value) -> Integers | None:
    """Between numbers of the input's scale; another one of the result comes behind it."""
    source = _of_type(node.inputs[0], result)
    if source is None or source.quant is None:
        return None
    if source.quant == result.quant:
        return Integers({0: source})
    if node.op in _MIXING and _meaning(source)[0] > _ROOM * _meaning(result)[0]:
        return None  # they would be rounded to coarser steps than the result's
    return Integers({0: source}, (source.dtype, source.quant))


def _fixed(node: ir.Node, result: ir.Value) -> Integers | None:
    source, fixed = _of_type(node.inputs[0], result), _FIXED.get((node.op, result.dtype))
    if source is None or fixed is None:
        return None
    scale, zero = _meaning(result)
    if scale == np.float32(fixed[0]) and zero == fixed[1]:
        return Integers({0: source})
    if not _is_near(node.op, source, result, fixed):
        return None
    own = ir.Quantization(np.array([fixed[0]]), np.array([fixed[1]]))
    return Integers({0: source}, (result.dtype, own))


_CURVES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "LOGISTIC": lambda x: 1 / (1 + np.exp(-x)),
    "TANH": np.tanh,
}


def _is_near(op: str, source: ir.Value, result: ir.Value, fixed: tuple[float, int]) -> bool:
    """Whether steps of the scale that TFLite fixes, in the result's steps, are at most one off: for
    a function of one number every number is tried.
    """
    scale, zero = _meaning(result)
    if fixed[0] <= _ROOM * scale:
        return True
    if op not in _CURVES or result.dtype != "INT8":
        return False
    step, point = _meaning(source)
    y = _CURVES[op]((np.arange(-128.0, 128.0) - point) * step)
    own = np.clip(np.rint(y / fixed[0]) + fixed[1], -128, 127)
    factor = np.rint(256 * fixed[0] / scale)
    found = np.clip(np.floor((256 * zero + 128 + (own - fixed[1]) * factor) / 256), -128, 127)
    wanted = np.clip(np.rint(y / scale) + zero, -128, 127)
    return bool(np.abs(found - wanted).max() <= 1)


def _joined(node: ir.Node, result: ir.Value) -> Integers | None:
    found: dict[int, ir.Value] = {}
    before: dict[int, tuple[str, ir.Quantization]] = {}
    assert result.quant is not None
    for i, value in enumerate(node.inputs):
        if is_plain_constant(value) and value is not None:
            found[i] = in_steps_of(result, value)
            continue
        source = _of_type(value, result)
        if source is None:
            return None
        found[i] = source
        if source.quant != result.quant:
            before[i] = (result.dtype, result.quant)
    return Integers(found, None, before)


def in_steps_of(result: ir.Value, value: ir.Value) -> ir.Value:
    """A constant as the integers that QUANTIZE would give: rounding keeps the order."""
    assert value.data is not None
    scale, zero = _meaning(result)
    limits = np.iinfo(ir.numpy_dtype(result.dtype))
    steps = np.rint(value.data.astype(np.float64) / scale) + zero
    data = np.clip(steps, limits.min, limits.max).astype(ir.numpy_dtype(result.dtype))
    return ir.Value.constant(value.name, data, quant=result.quant)


def _binary(node: ir.Node, result: ir.Value) -> Integers | None:
    inputs, op = list(node.inputs), node.op
    if op == "DIV":  # by a constant: a product
        inputs[1], op = _inverse(inputs[1]), "MUL"
    found: dict[int, ir.Value] = {}
    constant = with_zero_point if result.dtype == "INT8" else symmetric_16_bits
    for i, value in enumerate(inputs):
        is_constant = value is not None and value.data is not None
        source = constant(value) if is_constant else _of_type(value, result)
        if source is None:
            return None
        found[i] = source
    if all(v.data is not None for v in found.values()):
        return None
    scales = [_meaning(v)[0] for v in found.values()]
    out, _ = _meaning(result)
    if op == "MUL":
        return Integers(found, op=op) if scales[0] * scales[1] / out < 1 else None
    # The kernels shift sums by 20 or 15 bits, and multiply by less than 1 then.
    shift = 20 if result.dtype == "INT8" else 15
    return Integers(found) if 2 * max(scales) / ((1 << shift) * out) < 1 else None


def _by_slopes(node: ir.Node, result: ir.Value) -> Integers | None:
    source, slopes = _of_type(node.inputs[0], result), with_zero_point(node.inputs[1])
    if source is None or slopes is None or result.dtype != "INT8":
        return None
    most = max(1.0, _meaning(slopes)[0]) * _meaning(source)[0] / _meaning(result)[0]
    return Integers({0: source, 1: slopes}) if most < 1 << 7 else None


def _inverse(value: ir.Value | None) -> ir.Value | None:
    """1 / the one number of a constant."""
    if value is None or not is_plain_constant(value) or value.size != 1 or not value.data:
        return None
    assert value.data is not None
    inverse = (1 / value.data.astype(np.float64)).astype(np.float32)
    return ir.Value.constant(value.name, inverse)


def _products(node: ir.Node, result: ir.Value) -> Integers | None:
    found = [_of_type(value, result) for value in node.inputs]
    if len(found) != 2 or found[0] is None or found[1] is None or result.dtype != "INT8":
        return None
    if _meaning(found[0])[0] * _meaning(found[1])[0] / _meaning(result)[0] >= 1:
        return None
    return Integers({0: found[0], 1: found[1]})


# -- weights --------------------------------------------------------------------------------------


def _weighted(node: ir.Node, result: ir.Value) -> Integers | None:
    form = _WEIGHTED[node.op]
    data, weights = _of_type(node.inputs[form.data], result), node.inputs[form.weights]
    bias = node.inputs[form.bias] if len(node.inputs) > form.bias else None
    if data is None or data.quant is None or not is_plain_constant(weights):
        return None
    if bias is not None and not is_plain_constant(bias):
        return None
    if node.options.get("weights_format", "DEFAULT") != "DEFAULT":
        return None
    assert weights is not None
    packed = symmetric_weights(weights, form.axis, result.dtype == "INT8" and node.op in _NARROW)
    if packed is None:
        return _with_asymmetric_weights(form, data, weights, bias, result)
    found = {form.data: data, form.weights: packed}
    return _with_bias(found, form, data, packed, bias)


def _with_bias(
    found: dict[int, ir.Value],
    form: Linear,
    data: ir.Value,
    weights: ir.Value,
    bias: ir.Value | None,
) -> Integers | None:
    """With the bias as whole numbers of both scales' product."""
    if bias is None or bias.data is None:
        return Integers(found)
    assert data.quant is not None and weights.quant is not None
    scale = data.quant.scale[0].astype(np.float64) * weights.quant.scale
    steps = np.rint(bias.data.reshape(-1).astype(np.float64) / scale)
    wide = data.dtype == "INT16"
    most = 1 << (46 if wide else 30)
    if not np.isfinite(steps).all() or np.abs(steps).max(initial=0) >= most:
        return None
    meaning = ir.Quantization(scale.astype(np.float32), np.zeros(scale.size, np.int64))
    steps = steps.astype(np.int64 if wide else np.int32).reshape(bias.shape)
    found[form.bias] = ir.Value.constant(bias.name, steps, quant=meaning)
    return Integers(found)


def _with_asymmetric_weights(
    form: Linear,
    data: ir.Value,
    weights: ir.Value,
    bias: ir.Value | None,
    result: ir.Value,
) -> Integers | None:
    """On UINT8 numbers, whose weights may have a zero point."""
    if result.dtype != "INT8" or result.quant is None:
        return None
    packed = with_zero_point(weights)
    if packed is None or packed.data is None or packed.quant is None:
        return None
    unsigned = (packed.data.astype(np.int16) + 128).astype(np.uint8)
    twin = ir.Value.constant(packed.name, unsigned, quant=as_unsigned(packed.quant))
    found = _with_bias({form.data: data, form.weights: twin}, form, data, twin, bias)
    if found is None or data.quant is None:
        return None
    found.before = {form.data: ("UINT8", as_unsigned(data.quant))}
    found.own = ("UINT8", as_unsigned(result.quant))
    return found


def as_unsigned(quant: ir.Quantization) -> ir.Quantization:
    """The meaning of int8 numbers, each 128 larger."""
    return ir.Quantization(quant.scale, quant.zero_point + 128)
