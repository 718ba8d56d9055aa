# SPDX-License-Identifier: Apache-2.0
"""An op between DEQUANTIZE and QUANTIZE computes on the integers themselves.

Its weights are float constants that are whole numbers times a scale (as quantizers of other
frameworks leave them); they become those whole numbers again. The result may differ from the float
computation by one step of the output's scale, since integer kernels round at another place.
:mod:`converter.passes.quantized_forms` says how each op does it.
"""

from __future__ import annotations

import numpy as np

from converter import ir
from converter.passes.quantized_forms import (
    as_unsigned,
    form_of,
    in_steps_of,
    integers_of,
    is_activation,
)
from converter.passes.rewriting import Row, apply_rows, bypass, feeds_only, is_float, take_over
from converter.passes.whole_numbers import is_plain_constant

_MOVES = """
    BATCH_TO_SPACE_ND BROADCAST_TO DEPTH_TO_SPACE EXPAND_DIMS GATHER GATHER_ND MIRROR_PAD PAD
    REDUCE_MAX REDUCE_MIN RESHAPE REVERSE_V2 SLICE SPACE_TO_BATCH_ND SPACE_TO_DEPTH SQUEEZE
    STRIDED_SLICE TILE TRANSPOSE
"""
MOVING = frozenset(_MOVES.split())  # of input 0, whatever its numbers mean
_OF_8_BITS = {"DEPTH_TO_SPACE", "SPACE_TO_DEPTH"}
_PARTING = {"SPLIT": 1, "SPLIT_V": 0, "UNPACK": 0}  # which input is parted
_PLACES = {"ARG_MAX", "ARG_MIN", "RANK", "SHAPE"}
_BOUNDS = {"MAXIMUM": np.maximum, "MINIMUM": np.minimum}


def keeps_numbers(node: ir.Node) -> bool:
    """Whether what comes out are numbers that went in: nothing is rounded."""
    x, out = node.inputs[0], node.outputs[0]
    if node.op != "QUANTIZE" or x is None or x.quant is None or out.quant is None:
        return node.op in MOVING or node.op in _PARTING
    return np.array_equal(x.quant.scale, out.quant.scale)  # INT8 to UINT8 and back


def compute_in_int8(graph: ir.Graph) -> bool:
    """Let ops between DEQUANTIZE and QUANTIZE be integer ops, where they have such a form."""
    sinking: dict[str, Row] = dict.fromkeys(MOVING, _sink_dequantize)
    sinking |= dict.fromkeys(_PARTING, _sink_into_parts) | dict.fromkeys(_PLACES, _read_integers)
    sinking["PADV2"] = _pad_integers
    changed = apply_rows("compute_in_int8", graph, sinking)
    return apply_rows("compute_in_int8", graph, {"QUANTIZE": _quantize}) or changed


def _quantize(graph: ir.Graph, node: ir.Node) -> bool:
    (out,) = node.outputs
    x = node.inputs[0]
    if x is None or x.producer is None:
        return False
    if not is_float(x):
        return _requantize(graph, node, x)
    if not is_activation(out):
        return False
    source = integers_of(x)
    if source is not None:
        return _without_floats(graph, node, source)
    if not feeds_only(graph, x, node):
        return False
    before = x.producer
    if before.op in MOVING:
        return _raise_quantize(graph, node, before)
    if before.op in _BOUNDS and _bound(before) is not None:
        return _bound_integers(graph, node, before)
    return len(before.outputs) == 1 and _fuse(graph, before, node)


def _without_floats(graph: ir.Graph, node: ir.Node, source: ir.Value) -> bool:
    """QUANTIZE of a DEQUANTIZE: the integers, or these in other steps."""
    out = node.outputs[0]
    if source.dtype != out.dtype:
        return False
    if source.quant == out.quant:
        return bypass(graph, node, source)
    node.set_input(0, source)
    return True


def _requantize(graph: ir.Graph, node: ir.Node, x: ir.Value) -> bool:
    """INT8 to UINT8 and back changes nothing."""
    (out,) = node.outputs
    before = x.producer
    source = before.inputs[0] if before is not None and before.op == "QUANTIZE" else None
    if source is None or source.quant is None or x.quant is None or source.dtype != out.dtype:
        return False
    pair = {source.dtype: source.quant, x.dtype: x.quant}
    if set(pair) != {"INT8", "UINT8"} or as_unsigned(pair["INT8"]) != pair["UINT8"]:
        return False
    return source.quant == out.quant and bypass(graph, node, source)


def _like(value: ir.Value, name: str, dtype: str, quant: ir.Quantization | None) -> ir.Value:
    return ir.Value(name, dtype, value.shape, shape_signature=value.shape_signature, quant=quant)


# -- what only moves numbers ----------------------------------------------------------------------


def _sink_dequantize(graph: ir.Graph, node: ir.Node) -> bool:
    """Move the integers, and DEQUANTIZE them behind."""
    source = integers_of(node.inputs[0])
    (out,) = node.outputs
    if source is None or not is_float(out):
        return False
    if source.dtype != "INT8" and node.op in _OF_8_BITS:
        return False
    node.set_input(0, source)
    _dequantize_output(graph, node, 0, source)
    return True


def _dequantize_output(graph: ir.Graph, node: ir.Node, index: int, source: ir.Value) -> None:
    out = node.outputs[index]
    moved = _like(out, f"{out.name}/integers", source.dtype, source.quant)
    graph.set_output_of(node, index, moved)
    graph.add_node("DEQUANTIZE", [moved], [out], after=node, name=node.name)


def _sink_into_parts(graph: ir.Graph, node: ir.Node) -> bool:
    place = _PARTING[node.op]
    source = integers_of(node.inputs[place])
    if source is None or not is_float(*node.outputs):
        return False
    node.set_input(place, source)
    for index in range(len(node.outputs)):
        _dequantize_output(graph, node, index, source)
    return True


def _read_integers(graph: ir.Graph, node: ir.Node) -> bool:
    """The place of the largest integer is that of the largest number; the shape is the same."""
    source = integers_of(node.inputs[0])
    if source is None or (source.dtype != "INT8" and node.op not in ("RANK", "SHAPE")):
        return False
    node.set_input(0, source)
    return True


def _pad_integers(graph: ir.Graph, node: ir.Node) -> bool:
    """PADV2 with a number that integers have, or with one below them all before MAX_POOL_2D."""
    source, number = integers_of(node.inputs[0]), node.inputs[2]
    (out,) = node.outputs
    if source is None or source.quant is None or number is None or number.data is None:
        return False
    if not is_float(number, out) or number.size != 1:
        return False
    scale, zero = float(source.quant.scale[0]), int(source.quant.zero_point[0])
    limits = np.iinfo(ir.numpy_dtype(source.dtype))
    steps = float(number.data.reshape(())) / scale + zero
    whole = float(np.clip(np.rint(steps), limits.min, limits.max)) if steps == steps else np.nan
    pooled = all(user.op == "MAX_POOL_2D" for user in out.users) and not graph.is_output(out)
    if not abs(whole - steps) < 1e-4 and not (steps < limits.min and pooled):
        return False
    data = np.array(whole, ir.numpy_dtype(source.dtype)).reshape(number.shape)
    node.set_input(0, source)
    node.set_input(2, ir.Value.constant(number.name, data, quant=source.quant))
    _dequantize_output(graph, node, 0, source)
    return True


def _raise_quantize(graph: ir.Graph, node: ir.Node, mover: ir.Node) -> bool:
    """QUANTIZE before the numbers are moved."""
    x, (out,) = mover.inputs[0], node.outputs
    if x is None or not is_float(x) or x.data is not None:
        return False
    if out.dtype != "INT8" and mover.op in _OF_8_BITS:
        return False
    _quantize_input(graph, mover, 0, out, node.name)
    take_over(graph, mover, node)
    return True


def _quantize_input(graph: ir.Graph, node: ir.Node, index: int, like: ir.Value, name: str) -> None:
    x = node.inputs[index]
    assert x is not None
    small = _like(x, f"{x.name}/integers", like.dtype, like.quant)
    graph.add_node("QUANTIZE", [x], [small], before=node, name=name)
    node.set_input(index, small)


def _bound(node: ir.Node) -> int | None:
    """Which input of a MAXIMUM or MINIMUM is one constant number for all elements."""
    for i, value in enumerate(node.inputs):
        if is_plain_constant(value) and value is not None and value.size == 1:
            other = node.inputs[1 - i]
            return i if other is not None and other.data is None and is_float(other) else None
    return None


def _bound_integers(graph: ir.Graph, node: ir.Node, bounding: ir.Node) -> bool:
    """Rounding keeps the order: both sides are quantized before the larger or smaller is taken, and
    nothing is taken where the bound is the type's own.
    """
    at, (out,) = _bound(bounding), node.outputs
    assert at is not None and out.quant is not None
    bound, x = bounding.inputs[at], bounding.inputs[1 - at]
    assert bound is not None and bound.data is not None and x is not None
    if x.shape != out.shape:
        return False
    limits = np.iinfo(ir.numpy_dtype(out.dtype))
    whole = in_steps_of(out, bound)
    end = limits.min if bounding.op == "MAXIMUM" else limits.max
    if whole.data == end:
        node.set_input(0, x)
        graph.remove_node(bounding)
        return True
    _quantize_input(graph, bounding, 1 - at, out, node.name)
    bounding.set_input(at, whole)
    take_over(graph, bounding, node)
    return True


# -- what computes --------------------------------------------------------------------------------


def _fuse(graph: ir.Graph, node: ir.Node, quantize: ir.Node) -> bool:
    """Let `node` give what `quantize` makes of its result, from integers."""
    form, (result,) = form_of(node.op), quantize.outputs
    found = form(node, result) if form is not None else None
    if found is None:
        return False
    if found.op and found.op != node.op:
        node.op, node.options_type = found.op, None
    for i, value in found.inputs.items():
        node.set_input(i, value)
    for i, (dtype, quant) in found.before.items():
        value = found.inputs[i]
        other = _like(value, f"{value.name}/rescaled", dtype, quant)
        graph.add_node("QUANTIZE", [value], [other], before=node, name=node.name)
        node.set_input(i, other)
    if node.op == "FULLY_CONNECTED":
        node.options.pop("asymmetric_quantize_inputs", None)
    if found.own is None:
        take_over(graph, node, quantize)
        return True
    own = _like(result, f"{result.name}/own", *found.own)
    quantize.set_input(0, None)
    graph.set_output_of(node, 0, own)
    quantize.set_input(0, own)
    return True
