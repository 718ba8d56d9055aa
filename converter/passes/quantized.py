# SPDX-License-Identifier: Apache-2.0
"""An op between DEQUANTIZE and QUANTIZE computes on the int8 numbers themselves.

Its weights are float constants that are whole numbers times a scale (as quantizers of other
frameworks leave them); they become those whole numbers again. The result may differ from the float
computation by one step of the output's scale, since int8 kernels round at another place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from converter import ir
from converter.passes.rewriting import Row, apply_rows, bypass, feeds_only, is_float, take_over


@dataclass(frozen=True)
class _Weighted:
    """Which inputs are data, weights and bias; the weights have a scale per place of `axis`."""

    axis: int
    data: int = 0
    weights: int = 1
    bias: int = 2


_WEIGHTED = {
    "CONV_2D": _Weighted(0),
    "DEPTHWISE_CONV_2D": _Weighted(3),
    "FULLY_CONNECTED": _Weighted(0),
    "TRANSPOSE_CONV": _Weighted(0, data=2, bias=3),
}
_FIXED = {"LOGISTIC": (1 / 256, -128), "SOFTMAX": (1 / 256, -128), "TANH": (1 / 128, 0)}
_BINARY = {"ADD": 2, "SUB": 2, "MUL": 2}
_OWN_SCALES = {"HARD_SWISH", "LEAKY_RELU", "MEAN", "RELU", "RELU6"}
_SAME_SCALE = {"AVERAGE_POOL_2D", "MAX_POOL_2D", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"}
_MOVES = "DEPTH_TO_SPACE EXPAND_DIMS PAD RESHAPE SLICE SPACE_TO_DEPTH SQUEEZE STRIDED_SLICE"
MOVING = {*_MOVES.split(), "TRANSPOSE"}  # of input 0, whatever its numbers mean
_INEXACT = 5e-5  # how far from whole a weight by its scale may be: the rounding of float32
_SAMPLE = 64  # elements per channel that are looked at first


def compute_in_int8(graph: ir.Graph) -> bool:
    """Let ops between DEQUANTIZE and QUANTIZE be int8 ops, where they have such a form."""
    sink: Row = _sink_dequantize
    changed = apply_rows("compute_in_int8", graph, dict.fromkeys(MOVING, sink))
    return apply_rows("compute_in_int8", graph, {"QUANTIZE": _quantize}) or changed


def _quantize(graph: ir.Graph, node: ir.Node) -> bool:
    (out,) = node.outputs
    x = node.inputs[0]
    if x is None or not _is_int8(out) or x.producer is None or not is_float(x):
        return False
    source = _integers(x)
    if source is not None:
        return source.quant == out.quant and bypass(graph, node, source)
    if not feeds_only(graph, x, node):
        return False
    before = x.producer
    if before.op in MOVING:
        return _raise_quantize(graph, node, before)
    return len(before.outputs) == 1 and _fuse(graph, before, node)


def _is_int8(value: ir.Value) -> bool:
    """An activation: int8 with one scale."""
    quant = value.quant
    one = quant is not None and quant.scale.size == 1 and quant.details is None
    return one and value.dtype == "INT8" and value.data is None


def _integers(value: ir.Value | None) -> ir.Value | None:
    """The int8 value that `value` is the DEQUANTIZE of."""
    before = value.producer if value is not None else None
    if before is None or before.op != "DEQUANTIZE":
        return None
    source = before.inputs[0]
    return source if source is not None and _is_int8(source) else None


def _like(value: ir.Value, name: str, dtype: str, quant: ir.Quantization | None) -> ir.Value:
    return ir.Value(name, dtype, value.shape, shape_signature=value.shape_signature, quant=quant)


# -- what only moves numbers ----------------------------------------------------------------------


def _sink_dequantize(graph: ir.Graph, node: ir.Node) -> bool:
    """Move the int8 numbers, and DEQUANTIZE them behind."""
    source = _integers(node.inputs[0])
    (out,) = node.outputs
    if source is None or not is_float(out):
        return False
    node.set_input(0, source)
    moved = _like(out, f"{out.name}/int8", "INT8", source.quant)
    graph.set_output_of(node, 0, moved)
    graph.add_node("DEQUANTIZE", [moved], [out], after=node, name=node.name)
    return True


def _raise_quantize(graph: ir.Graph, node: ir.Node, mover: ir.Node) -> bool:
    """QUANTIZE before the numbers are moved."""
    x, (out,) = mover.inputs[0], node.outputs
    if x is None or not is_float(x) or x.data is not None:
        return False
    small = _like(x, f"{x.name}/int8", "INT8", out.quant)
    graph.add_node("QUANTIZE", [x], [small], before=mover, name=node.name)
    mover.set_input(0, small)
    take_over(graph, mover, node)
    return True


# -- what computes --------------------------------------------------------------------------------


def _fuse(graph: ir.Graph, node: ir.Node, quantize: ir.Node) -> bool:
    """Let `node` give what `quantize` makes of its result, from int8 inputs."""
    quant = quantize.outputs[0].quant
    form = _form_of(node.op)
    found = form(node, quant) if form is not None and quant is not None else None
    if found is None:
        return False
    for i, value in found.items():
        node.set_input(i, value)
    if node.op == "CONCATENATION":
        _let_scales_agree(graph, node, quantize.outputs[0])
    if node.op == "FULLY_CONNECTED":
        node.options.pop("asymmetric_quantize_inputs", None)
    take_over(graph, node, quantize)
    return True


_Form = Callable[[ir.Node, ir.Quantization], "dict[int, ir.Value] | None"]


def _form_of(op: str) -> _Form | None:
    if op in _WEIGHTED:
        return _weighted
    if op in _BINARY:
        return _binary
    if op in _FIXED:
        return _fixed
    if op in _SAME_SCALE:
        return _same_scale
    if op in _OWN_SCALES:
        return _first
    return _all_inputs if op == "CONCATENATION" else None


def _first(node: ir.Node, quant: ir.Quantization) -> dict[int, ir.Value] | None:
    source = _integers(node.inputs[0])
    return None if source is None else {0: source}


def _same_scale(node: ir.Node, quant: ir.Quantization) -> dict[int, ir.Value] | None:
    found = _first(node, quant)
    return found if found is not None and found[0].quant == quant else None


def _fixed(node: ir.Node, quant: ir.Quantization) -> dict[int, ir.Value] | None:
    scale, zero = _FIXED[node.op]
    agrees = quant.scale[0] == np.float32(scale) and quant.zero_point[0] == zero
    return _first(node, quant) if agrees else None


def _all_inputs(node: ir.Node, quant: ir.Quantization) -> dict[int, ir.Value] | None:
    found = {i: s for i, v in enumerate(node.inputs) if (s := _integers(v)) is not None}
    return found if len(found) == len(node.inputs) else None


def _let_scales_agree(graph: ir.Graph, node: ir.Node, out: ir.Value) -> None:
    for i, value in enumerate(node.inputs):
        assert value is not None
        if value.quant != out.quant:
            new = _like(value, f"{value.name}/rescaled", "INT8", out.quant)
            graph.add_node("QUANTIZE", [value], [new], before=node, name=node.name)
            node.set_input(i, new)


def _binary(node: ir.Node, quant: ir.Quantization) -> dict[int, ir.Value] | None:
    found: dict[int, ir.Value] = {}
    for i, value in enumerate(node.inputs):
        constant = value is not None and value.data is not None
        source = _constant_integers(value) if constant else _integers(value)
        if source is None:
            return None
        found[i] = source
    scales = [float(v.quant.scale[0]) for v in found.values() if v.quant is not None]
    if all(v.data is not None for v in found.values()):
        return None
    out = float(quant.scale[0])
    if node.op == "MUL":
        return found if scales[0] * scales[1] / out < 1 else None
    # The kernels shift sums by 20 bits, and multiply by less than 1 then.
    return found if 2 * max(scales) / ((1 << 20) * out) < 1 else None


def _weighted(node: ir.Node, quant: ir.Quantization) -> dict[int, ir.Value] | None:
    form = _WEIGHTED[node.op]
    data, weights = _integers(node.inputs[form.data]), node.inputs[form.weights]
    bias = node.inputs[form.bias] if len(node.inputs) > form.bias else None
    if data is None or data.quant is None or not _is_plain_constant(weights):
        return None
    if bias is not None and not _is_plain_constant(bias):
        return None
    if node.options.get("weights_format", "DEFAULT") != "DEFAULT":
        return None
    assert weights is not None
    packed = _weights_as_integers(weights, form.axis)
    if packed is None or packed.quant is None:
        return None
    found = {form.data: data, form.weights: packed}
    if bias is None or bias.data is None:
        return found
    scale = data.quant.scale[0].astype(np.float64) * packed.quant.scale
    steps = np.rint(bias.data.reshape(-1).astype(np.float64) / scale)
    if not np.isfinite(steps).all() or np.abs(steps).max(initial=0) >= 1 << 30:
        return None
    meaning = ir.Quantization(scale.astype(np.float32), np.zeros(scale.size, np.int64))
    found[form.bias] = ir.Value.constant(
        bias.name, steps.astype(np.int32).reshape(bias.shape), quant=meaning
    )
    return found


# -- constants ------------------------------------------------------------------------------------


def _is_plain_constant(value: ir.Value | None) -> bool:
    if value is None or value.data is None or value.sparsity is not None or not value.size:
        return False
    return is_float(value) and bool(np.isfinite(value.data).all())


def _weights_as_integers(value: ir.Value, axis: int) -> ir.Value | None:
    """`value` as int8 with zero point 0: with one scale, or with one per place of `axis`."""
    assert value.data is not None
    rows = np.moveaxis(value.data, axis, 0).reshape(value.shape[axis], -1)
    scale = whole_scales(rows.reshape(1, -1), 127)
    if scale is None:
        scale = whole_scales(rows, 127)
    if scale is None:
        return None
    spread = [1] * value.data.ndim
    spread[axis] = scale.size
    data = np.rint(value.data / scale.reshape(spread)).astype(np.int8)
    axis = axis if scale.size > 1 else 0
    quant = ir.Quantization(scale.astype(np.float32), np.zeros(scale.size, np.int64), axis)
    return ir.Value.constant(value.name, data, quant=quant)


def _constant_integers(value: ir.Value | None) -> ir.Value | None:
    """A constant operand as int8 with one scale and a zero point."""
    if not _is_plain_constant(value):
        return None
    assert value is not None and value.data is not None
    scale = whole_scales(value.data.reshape(1, -1), 255)
    if scale is None:
        return None
    steps = np.rint(value.data / scale[0])
    low, high = min(0, int(steps.min())), max(0, int(steps.max()))
    if high - low > 255:
        return None
    zero = 0 if low >= -128 and high <= 127 else -128 - low
    quant = ir.Quantization(scale.astype(np.float32), np.array([zero]))
    return ir.Value.constant(value.name, (steps + zero).astype(np.int8), quant=quant)


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
