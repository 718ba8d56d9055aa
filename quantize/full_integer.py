# SPDX-License-Identifier: Apache-2.0
"""Static int8: integer weights, biases and activations, float only where an op has no int8 form."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from converter.ir import Graph, Model, Node, Quantization, Value
from quantize.affine import (
    BIAS_MAX,
    quantize_activation,
    quantize_bias,
    quantize_weights,
    weight_scales,
)
from quantize.calibration import Progress, Sample, calibrate
from quantize.constraints import CONSTRAINTS, FUSED_RANGES, TYPE_BLIND, constant_weights
from quantize.preparation import nothing_to_do, with_float_constants
from quantize.recipes import Recipe
from quantize.scales import (
    Scales,
    activation_inputs,
    activations,
    choose_scales,
    input_params,
)

# Products smaller than this part of an output step add nothing to it; LiteRT flushes them anyway.
_SMALLEST_FACTOR = 2.0**-24
# Output steps; so that the sum of bias and products, requantized, is far from 2**31.
_LARGEST_BIAS = 2.0**22


def quantize_statically(
    model: Model,
    recipe: Recipe,
    calibration: Iterable[Sample] | None,
    progress: Progress | None,
    notes: list[str],
) -> Model:
    """A new int8 model; `notes` takes a sentence for everything that deserves one.

    Errors: QuantizationError if nothing can be quantized, or the calibration fails.
    """
    recipe.check_overrides(model)
    model = with_float_constants(model)
    graph = model.main
    nodes = _nodes_to_quantize(graph, recipe)
    if not nodes:
        ops = sorted({node.op for node in graph.nodes})
        raise nothing_to_do(
            model, f"none of the ops {ops} has float inputs and an int8 form that the recipe allows"
        )
    observed = dict.fromkeys(v for node in nodes for v in activations(node) if not v.is_constant)
    if recipe.io == "int8":
        borders = [*graph.inputs, *graph.outputs]
        observed |= dict.fromkeys(v for v in borders if v.dtype == "FLOAT32" and not v.is_constant)
    ranges = calibrate(
        model,
        calibration,
        list(observed),
        method=recipe.method,
        percentile=recipe.percentile,
        progress=progress,
    )
    scales = choose_scales(nodes, ranges)
    notes.extend(scales.notes.values())
    kept = [node for node in graph.nodes if node not in nodes and _has_float(node)]
    notes.extend(f"{node.label} stays float" for node in kept)
    _Rewrite(graph, nodes, scales, recipe, notes).run()
    return model


def _has_float(node: Node) -> bool:
    values = [*node.inputs, *node.outputs]
    return node.op not in TYPE_BLIND and any(v is not None and v.dtype == "FLOAT32" for v in values)


def _nodes_to_quantize(graph: Graph, recipe: Recipe) -> list[Node]:
    """Nodes with an int8 form, in order; ops that only move values follow what is around them."""
    chosen = {
        node: None for node in graph.nodes if not recipe.wants_float(node) and _has_int8_form(node)
    }

    def gains(node: Node) -> bool:
        around = [value.producer for value in node.inputs if value is not None]
        around += [user for value in node.outputs for user in value.users]
        border = recipe.io == "int8" and any(
            graph.is_input(v) or graph.is_output(v) for v in activations(node)
        )
        return border or any(other in chosen for other in around)

    while True:
        idle = [n for n in chosen if CONSTRAINTS[n.op].same_scale and not gains(n)]
        if not idle:
            return list(chosen)
        for node in idle:
            del chosen[node]


def _has_int8_form(node: Node) -> bool:
    row = CONSTRAINTS.get(node.op)
    if row is None or not any(v.dtype == "FLOAT32" for v in activations(node)):
        return False
    if node.options.get("fused_activation_function", "NONE") not in ("NONE", *FUSED_RANGES):
        return False
    if any(v.is_variable or v.is_quantized or v.size == 0 for v in activations(node)):
        return False
    if row.weights is None:
        return True
    has_bias = row.bias is not None and row.bias < len(node.inputs)
    bias = node.inputs[row.bias] if has_bias and row.bias is not None else None
    plain_bias = bias is None or (bias.is_constant and bias.dtype == "FLOAT32")
    return plain_bias and constant_weights(node) is not None


class _Rewrite:
    """Turns the chosen nodes of `graph` to int8 in place."""

    def __init__(
        self, graph: Graph, nodes: list[Node], scales: Scales, recipe: Recipe, notes: list[str]
    ) -> None:
        self.graph, self.scales = graph, scales
        # Asked of the float graph, before any of it changes.
        self.wanted = {
            node: {i: input_params(node, i, scales) for i in activation_inputs(node)}
            for node in nodes
        }
        self.recipe, self.notes = recipe, notes
        self.integer: dict[Value, Value] = {}  # int8 form of a float value
        self.real: dict[Value, Value] = {}  # float form of an int8 value
        self.constants: dict[tuple, Value] = {}

    def run(self) -> None:
        for border in self.graph.inputs if self.recipe.io == "int8" else []:
            if border in self.scales.groups:
                self._make_int8(border)
        for node in list(self.graph.nodes):
            if node in self.wanted:
                self._quantize_node(node)
            elif node.op not in TYPE_BLIND:
                for i, value in enumerate(node.inputs):
                    if value is not None and value.dtype == "INT8" and value in self.scales.groups:
                        node.set_input(i, self._real(value, node))
        self.graph.outputs = [self._output(value) for value in self.graph.outputs]

    def _quantize_node(self, node: Node) -> None:
        row = CONSTRAINTS[node.op]
        for i, wanted in self.wanted[node].items():
            node.set_input(i, self._integer(node, i, wanted))
        for value in node.outputs:
            if value.dtype == "FLOAT32":
                self._make_int8(value)
        if row.weights is not None:
            self._quantize_weights(node, self.wanted[node][row.data])

    def _make_int8(self, value: Value) -> None:
        value.dtype, value.quant = "INT8", self.scales.of(value)

    def _integer(self, node: Node, index: int, wanted: Quantization) -> Value:
        """The int8 value with parameters `wanted` that `node` shall read as input `index`."""
        value = node.inputs[index]
        assert value is not None, "an activation input is never absent"
        if value.data is not None:
            key = (value, float(wanted.scale[0]), int(wanted.zero_point[0]))
            if key not in self.constants:
                q = quantize_activation(value.data, wanted)
                self.constants[key] = Value.constant(value.name, q, quant=wanted)
            return self.constants[key]
        if value.dtype == "FLOAT32":
            if value not in self.integer:
                own = self.scales.of(value)
                self.integer[value] = self._insert("QUANTIZE", value, "INT8", own, node)
            value = self.integer[value]
        if (node, index) in self.scales.requantize:
            return self._insert("QUANTIZE", value, "INT8", wanted, node)
        return value

    def _real(self, value: Value, before: Node | None) -> Value:
        """The float form of an int8 activation."""
        if value not in self.real:
            self.real[value] = self._insert("DEQUANTIZE", value, "FLOAT32", None, before)
        return self.real[value]

    def _insert(
        self, op: str, value: Value, dtype: str, quant: Quantization | None, before: Node | None
    ) -> Value:
        suffix = "int8" if dtype == "INT8" else "float"
        result = Value(
            f"{value.name}_{suffix}",
            dtype,
            value.shape,
            shape_signature=value.shape_signature,
            quant=quant,
        )
        self.graph.add_node(op, [value], [result], before=before)
        return result

    def _output(self, value: Value) -> Value:
        """What stands for `value` in the list of outputs."""
        if value not in self.scales.groups:
            return value
        if self.recipe.io == "float32" and value.dtype == "INT8":
            return _renamed(self._real(value, None), value)
        if self.recipe.io == "int8" and value.dtype == "FLOAT32":
            if value not in self.integer:
                own = self.scales.of(value)
                self.integer[value] = self._insert("QUANTIZE", value, "INT8", own, None)
            return _renamed(self.integer[value], value)
        return value

    def _quantize_weights(self, node: Node, data: Quantization) -> None:
        """Weights to int8, bias to int32 with scale data * weights."""
        row = CONSTRAINTS[node.op]
        assert row.weights is not None
        weights = node.inputs[row.weights]
        assert weights is not None and weights.data is not None
        bias = None
        if row.bias is not None and row.bias < len(node.inputs):
            bias = node.inputs[row.bias]
        addends = None if bias is None else self._bounded_bias(node, bias)
        axis = row.axis if self.recipe.per_channel else None
        scales = self._safe_scales(node, weights.data, axis, data, addends)
        zero = np.zeros(scales.shape, np.int64)
        quant = Quantization(scales, zero, axis=row.axis if axis is not None else 0)
        key: tuple = (weights, scales.tobytes(), axis)
        if key not in self.constants:
            q = quantize_weights(weights.data, scales, axis)
            self.constants[key] = Value.constant(weights.name, q, quant=quant)
        node.set_input(row.weights, self.constants[key])
        if bias is None or addends is None or row.bias is None:
            return
        products = (scales * data.scale[0]).astype(np.float32)
        q = quantize_bias(addends, products)
        key = (bias, products.tobytes(), q.tobytes())
        if key not in self.constants:
            own = replace(quant, scale=products, axis=0)
            self.constants[key] = Value.constant(bias.name, q, quant=own)
        node.set_input(row.bias, self.constants[key])

    def _bounded_bias(self, node: Node, bias: Value) -> np.ndarray:
        """The bias, cut where it is so far outside the output's range that LiteRT would wrap."""
        assert bias.data is not None
        limit = float(self.scales.of(node.outputs[0]).scale[0]) * _LARGEST_BIAS
        cut = np.flatnonzero(np.abs(bias.data) > limit)
        if cut.size:
            self.notes.append(
                f"{node.label}: the bias of channels {cut.tolist()} lies millions of steps outside "
                f"the output's range; it is cut to {limit:.3g}"
            )
        return np.clip(bias.data.astype(np.float64), -limit, limit)

    def _safe_scales(
        self,
        node: Node,
        weights: np.ndarray,
        axis: int | None,
        data: Quantization,
        bias: np.ndarray | None,
    ) -> np.ndarray:
        """Weight scales, raised where the bias would leave int32 or products would vanish.

        What a raised scale loses of the weights is less than a step of the output.
        """
        scales = weight_scales(weights, axis)
        step = float(data.scale[0])
        out = float(self.scales.of(node.outputs[0]).scale[0])
        floor = np.full(scales.shape, out * _SMALLEST_FACTOR / step)
        if bias is not None:
            peaks = np.abs(bias) if axis is not None else np.abs(bias).max(keepdims=True)
            floor = np.maximum(floor, peaks / (step * BIAS_MAX))
        return np.maximum(scales, floor).astype(np.float32)


def _renamed(border: Value, inner: Value) -> Value:
    """`border` under the name of `inner`, which it replaces as output and was named after."""
    if border.name.startswith(inner.name):
        suffix = "_int8" if inner.dtype == "INT8" else "_float"
        border.name, inner.name = inner.name, inner.name + suffix
    return border
