# SPDX-License-Identifier: Apache-2.0
"""The two recipes that need no calibration: float16 weights, and int8 weights with float
activations."""

from __future__ import annotations

import numpy as np

from converter.ir import Graph, Model, Node, Quantization, Value
from quantize.affine import quantize_weights, weight_scales
from quantize.constraints import CONSTRAINTS, constant_weights
from quantize.errors import QuantizationError
from quantize.preparation import nothing_to_do, with_float_constants
from quantize.recipes import Recipe

_FLOAT16_MAX = float(np.finfo(np.float16).max)
# Ops whose float kernels take int8 weights and quantize their activations as they run.
_HYBRID_OPS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
# Recurrent ops, the inputs that are weights (int8 all or none), and the version that takes them.
_RECURRENT_OPS = {
    "UNIDIRECTIONAL_SEQUENCE_LSTM": ((*range(1, 12), 16), 3),
    "UNIDIRECTIONAL_SEQUENCE_RNN": ((1, 2), 3),
}
# LiteRT 2.3 reads a scale per channel of these even where the file has one for all.
_SCALE_PER_CHANNEL = ("CONV_2D", "DEPTHWISE_CONV_2D")


def halve_weights(model: Model, recipe: Recipe, notes: list[str]) -> Model:
    """A new model whose larger float32 constants are FLOAT16 behind a DEQUANTIZE node.

    That is the form LiteRT's own converter writes. A constant with a magnitude over 65504, which
    float16 cannot hold, stays float32 with a note.
    """
    recipe.check_overrides(model)
    model = model.copy()
    count = sum(_halve_graph(graph, recipe, notes) for graph in model.graphs)
    if not count:
        raise nothing_to_do(
            model,
            f"no float32 constant of {recipe.smallest_constant} elements or more that the recipe "
            "allows",
        )
    return model


def _halve_graph(graph: Graph, recipe: Recipe, notes: list[str]) -> int:
    widened: dict[Value, Value] = {}
    for node in list(graph.nodes):
        if node.op == "DEQUANTIZE" or recipe.wants_float(node):
            continue
        for i, value in enumerate(node.inputs):
            if value is None or not _worth_halving(value, recipe):
                continue
            assert value.data is not None
            if np.abs(value.data).max() > _FLOAT16_MAX:
                notes.append(f"{value.name!r} has values beyond float16's 65504; it stays float32")
                continue
            if value not in widened:
                half = Value.constant(f"{value.name}_float16", value.data.astype(np.float16))
                widened[value] = Value(value.name, "FLOAT32", value.shape)
                graph.add_node("DEQUANTIZE", [half], [widened[value]], before=node)
            node.set_input(i, widened[value])
    return len(widened)


def _worth_halving(value: Value, recipe: Recipe) -> bool:
    large = value.size >= max(recipe.smallest_constant, 1)
    return value.is_constant and value.dtype == "FLOAT32" and value.sparsity is None and large


def quantize_weights_only(model: Model, recipe: Recipe, notes: list[str]) -> Model:
    """A new model with int8 weights in its convolutions, dense and recurrent layers; all else stays
    float.

    Such layers quantize their input as they run, per image or row. Errors: QuantizationError if
    there is no such layer with at least `recipe.smallest_constant` weights.
    """
    recipe.check_overrides(model)
    model = with_float_constants(model)
    replaced: dict[tuple[Value, str], Value] = {}
    for graph in model.graphs:
        for node in graph.nodes:
            if node.op in _HYBRID_OPS and not recipe.wants_float(node):
                _make_hybrid(node, recipe, replaced)
            elif node.op in _RECURRENT_OPS and not recipe.wants_float(node):
                _make_hybrid_recurrent(node, recipe, replaced)
    if not replaced:
        raise nothing_to_do(
            model,
            f"no {', '.join((*_HYBRID_OPS, *_RECURRENT_OPS))} with {recipe.smallest_constant} or "
            "more constant float32 weights that the recipe allows",
        )
    return model


def _make_hybrid(node: Node, recipe: Recipe, replaced: dict[tuple[Value, str], Value]) -> None:
    row = CONSTRAINTS[node.op]
    weights = constant_weights(node)
    if weights is None or weights.data is None or row.weights is None:
        return
    if weights.size < max(recipe.smallest_constant, 1):
        return
    axis = row.axis if recipe.per_channel else None
    key = (weights, node.op)
    if key not in replaced:
        scales = weight_scales(weights.data, axis)
        q = quantize_weights(weights.data, scales, axis)
        if node.op in _SCALE_PER_CHANNEL and axis is None:
            scales = np.repeat(scales, weights.shape[row.axis])
        quant = Quantization(scales, np.zeros(scales.shape), axis=row.axis)
        replaced[key] = Value.constant(weights.name, q, quant=quant)
    node.set_input(row.weights, replaced[key])
    if node.op == "FULLY_CONNECTED":
        node.options["asymmetric_quantize_inputs"] = True


def _make_hybrid_recurrent(
    node: Node, recipe: Recipe, replaced: dict[tuple[Value, str], Value]
) -> None:
    """Weights with one scale each, which is what the ops read; biases stay float."""
    places, version = _RECURRENT_OPS[node.op]
    found = {i: node.inputs[i] for i in places}
    weights = {i: v for i, v in found.items() if v is not None}
    if sum(v.size for v in weights.values()) < max(recipe.smallest_constant, 1):
        return
    if any(v.data is None or v.dtype != "FLOAT32" or v.sparsity for v in weights.values()):
        return
    for i, value in weights.items():
        assert value.data is not None
        if not np.isfinite(value.data).all():
            raise QuantizationError(
                f"{node.label}: the weights {value.name!r} hold NaN or infinity; train or load "
                "again"
            )
        key = (value, node.op)
        if key not in replaced:
            scales = weight_scales(value.data, None)
            q = quantize_weights(value.data, scales, None)
            quant = Quantization(scales, np.zeros(scales.shape))
            replaced[key] = Value.constant(value.name, q, quant=quant)
        node.set_input(i, replaced[key])
    node.options["asymmetric_quantize_inputs"] = True
    node.version = version
