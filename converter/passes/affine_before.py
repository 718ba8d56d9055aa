# SPDX-License-Identifier: Apache-2.0
"""Arithmetic by constants before a linear op goes into its weights; two of a kind become one.

conv(x * s + t, w) = conv(x, w * s) + sum of w * t, where padding does not add zeros behind the t.
Input normalization arrives so.
"""

from __future__ import annotations

import numpy as np

from converter import ir
from converter.passes.rewriting import (
    Row,
    apply_rows,
    constant_operand,
    feeds_only,
    is_float,
    replace_constant,
)

# Axis of the input channels in the weights.
_INPUT_AXIS = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 1}


def fold_affine_before(graph: ir.Graph) -> bool:
    """Take the constant that the data of a linear op is multiplied by, or raised by, into it."""
    return apply_rows("fold_affine_before", graph, dict.fromkeys(_INPUT_AXIS, _fold))


def merge_constants(graph: ir.Graph) -> bool:
    """(x + a) + b and (x * a) * b become one addition and one multiplication."""
    sums: Row = lambda graph, node: _merge(graph, node, ("ADD", "SUB"))  # noqa: E731
    rows = {"ADD": sums, "SUB": sums, "MUL": lambda graph, node: _merge(graph, node, ("MUL",))}
    return apply_rows("merge_constants", graph, rows)


def _step(
    node: ir.Node | None, ops: tuple[str, ...], clamped: bool = False
) -> tuple[ir.Value, np.ndarray] | None:
    """(x, constant in float64) of x + c or x * c, of plain numbers that x's shape holds.

    The result may have a fused activation if `clamped`.
    """
    if node is None or node.op not in ops:
        return None
    found = constant_operand(node)
    if found is None:
        return None
    if node.option("fused_activation_function") != "NONE" and not clamped:
        return None
    x, constant = found
    if not is_float(*node.inputs, node.outputs[0]) or x.shape != node.outputs[0].shape:
        return None
    if node.op in ("SUB", "DIV") and x is not node.inputs[0]:
        return None
    exact = constant.astype(np.float64)
    if node.op == "DIV":
        return (x, 1 / exact) if np.all(exact) else None
    return x, -exact if node.op == "SUB" else exact


def _fold(graph: ir.Graph, node: ir.Node) -> bool:
    x, weights = node.inputs[:2]
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if x is None or weights is None or weights.data is None or weights.sparsity is not None:
        return False
    if not is_float(x, weights, node.outputs[0]) or not feeds_only(graph, x, node):
        return False
    if bias is not None and (bias.data is None or not is_float(bias)):
        return False
    before = x.producer
    step = _step(before, ("ADD", "SUB", "MUL", "DIV"))
    channels = _channels(node, weights)
    if before is None or step is None or channels is None:
        return False
    source, constant = step
    if constant.size not in (1, channels) or constant.shape[-1:] not in ((), (constant.size,)):
        return False
    if x.shape[-1] != channels:
        return False
    by_channel = np.broadcast_to(constant.reshape(-1), (channels,))
    exact = weights.data.astype(np.float64)
    if before.op in ("MUL", "DIV"):
        with np.errstate(over="ignore"):
            scaled = (exact * _spread(exact, by_channel)).astype(np.float32)
        if not np.all(np.isfinite(scaled)):
            return False
        replace_constant(node, 1, scaled)
    elif not _raise(node, exact, by_channel, bias):
        return False
    node.set_input(0, source)
    return True


def _channels(node: ir.Node, weights: ir.Value) -> int | None:
    """Channels of the data; None for weights that are not by channels of all the data."""
    if len(weights.shape) != (2 if node.op == "FULLY_CONNECTED" else 4):
        return None
    if node.op == "FULLY_CONNECTED" and node.option("weights_format") != "DEFAULT":
        return None
    count = weights.shape[_INPUT_AXIS[node.op]]
    if node.op != "DEPTHWISE_CONV_2D":
        return count
    data = node.inputs[0]
    channels = data.shape[-1] if data is not None else 0
    return channels if channels and count % channels == 0 else None


def _spread(weights: np.ndarray, by_channel: np.ndarray) -> np.ndarray:
    """Numbers by input channel, along the weights' last axis."""
    return np.repeat(by_channel, weights.shape[-1] // by_channel.size)


def _raise(node: ir.Node, weights: np.ndarray, shift: np.ndarray, bias: ir.Value | None) -> bool:
    """Add to the bias what `shift` of the data adds to the sums."""
    if node.op != "FULLY_CONNECTED" and node.option("padding") != "VALID":
        return False
    products = weights * _spread(weights, shift)
    if node.op == "DEPTHWISE_CONV_2D":
        total = products.sum(axis=(0, 1, 2))
    else:
        total = products.sum(axis=tuple(range(1, products.ndim)))
    if bias is not None and bias.data is not None:
        total = total + bias.data.astype(np.float64).reshape(-1)
    if len(node.inputs) == 2:
        node.add_input(None)
    replace_constant(node, 2, total.astype(np.float32), f"{node.outputs[0].name}/bias")
    return True


def _merge(graph: ir.Graph, node: ir.Node, ops: tuple[str, ...]) -> bool:
    activation = node.option("fused_activation_function")
    found = constant_operand(node)
    if found is None:
        return False
    middle = found[0]
    before, after = _step(middle.producer, ops), _step(node, ops, clamped=True)
    if before is None or after is None or not feeds_only(graph, middle, node):
        return False
    joined = before[1] * after[1] if node.op == "MUL" else before[1] + after[1]
    with np.errstate(over="ignore"):
        constant = joined.astype(np.float32)
    if not np.all(np.isfinite(constant)) or (node.op == "MUL" and _underflows(joined, constant)):
        return False
    name = next(v.name for v in node.inputs if v is not None and v.data is not None)
    node.op = "MUL" if node.op == "MUL" else "ADD"
    node.options_type = None
    node.options = {"fused_activation_function": activation}
    node.set_input(0, before[0])
    node.set_input(1, ir.Value.constant(name, constant))
    return True


def _underflows(exact: np.ndarray, rounded: np.ndarray) -> bool:
    return bool(np.any((exact != 0) & (np.abs(rounded) < np.finfo(np.float32).tiny)))
