# SPDX-License-Identifier: Apache-2.0
"""Activations and paddings that the op beside them can do itself."""

from __future__ import annotations

import math

import numpy as np

from converter import ir
from converter.passes.rewriting import (
    apply_rows,
    constant_operand,
    feeds_only,
    is_float,
    same_type,
    take_over,
)

# Kernels of these ops clamp their result. TANH is in the schema's list of fused activations, but
# LiteRT's kernels for these ops ignore or refuse it, so it stays a node.
_FUSIBLE = {"RELU", "RELU6", "RELU_N1_TO_1"}
_HOSTS = {
    "ADD",
    "AVERAGE_POOL_2D",
    "CONV_2D",
    "CONV_3D",
    "DEPTHWISE_CONV_2D",
    "DIV",
    "FULLY_CONNECTED",
    "MAX_POOL_2D",
    "MUL",
    "SUB",
    "TRANSPOSE_CONV",
}


def fuse_activations(graph: ir.Graph) -> bool:
    """Let the op before a RELU, RELU6 or RELU_N1_TO_1 clamp its own result."""
    return apply_rows("fuse_activations", graph, dict.fromkeys(_FUSIBLE, _fuse_activation))


def recognize_activations(graph: ir.Graph) -> bool:
    """MAXIMUM and MINIMUM with the right numbers are RELU and its kin, in whichever order."""
    rows = {"MAXIMUM": _recognize_relu, "MINIMUM": _recognize_clamp}
    return apply_rows("recognize_activations", graph, rows)


def fuse_padding(graph: ir.Graph) -> bool:
    """A PAD that adds just what SAME padding would becomes SAME padding."""
    rows = dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D"), _fuse_padding)
    return apply_rows("fuse_padding", graph, rows)


def _fuse_activation(graph: ir.Graph, node: ir.Node) -> bool:
    x = node.inputs[0]
    host = x.producer if x is not None else None
    if x is None or host is None or host.op not in _HOSTS or not feeds_only(graph, x, node):
        return False
    # With quantization, the clamp sits between two scales: fusing would change the numbers.
    if not is_float(x, node.outputs[0]):
        return False
    if host.option("fused_activation_function") != "NONE":
        return False
    host.options["fused_activation_function"] = node.op
    take_over(graph, host, node)
    return True


_CLAMPS = {(0.0, 6.0): "RELU6", (-1.0, 1.0): "RELU_N1_TO_1", (0.0, 1.0): "RELU_0_TO_1"}


def _recognize_relu(graph: ir.Graph, node: ir.Node) -> bool:
    found = constant_operand(node)
    if found is None or not _same_ends(node, found[0]):
        return False
    if _recognize_clamp(graph, node):
        return True
    if not _is_number(found[1], 0.0):
        return False
    _become(node, "RELU", found[0])
    return True


def _recognize_clamp(graph: ir.Graph, node: ir.Node) -> bool:
    """The second of MAXIMUM and MINIMUM."""
    bounds = _bounds(node)
    x = bounds[0] if bounds else None
    before = x.producer if x is not None else None
    inner = _bounds(before) if before is not None else None
    if bounds is None or inner is None or x is None or not feeds_only(graph, x, node):
        return False
    op = _CLAMPS.get((max(bounds[1], inner[1]), min(bounds[2], inner[2])))
    if op is None:
        return False
    _become(node, op, inner[0])
    return True


def _bounds(node: ir.Node) -> tuple[ir.Value, float, float] | None:
    """(what `node` bounds, from below, from above): one of the two is infinite."""
    if node.op == "RELU" and node.inputs[0] is not None:
        x = node.inputs[0]
        return (x, 0.0, math.inf) if _same_ends(node, x) else None
    found = constant_operand(node) if node.op in ("MAXIMUM", "MINIMUM") else None
    if found is None or found[1].size != 1 or not _same_ends(node, found[0]):
        return None
    bound = float(found[1].reshape(-1)[0])
    return (found[0], bound, math.inf) if node.op == "MAXIMUM" else (found[0], -math.inf, bound)


def _is_number(constant: np.ndarray, number: float) -> bool:
    return constant.size == 1 and float(constant.reshape(-1)[0]) == number


def _same_ends(node: ir.Node, x: ir.Value) -> bool:
    return is_float(x, node.outputs[0]) and x.shape == node.outputs[0].shape


def _become(node: ir.Node, op: str, x: ir.Value) -> None:
    for i in range(len(node.inputs)):
        node.set_input(i, None)
    del node.inputs[1:]
    node.set_input(0, x)
    node.op, node.options, node.options_type = op, {}, None


def _fuse_padding(graph: ir.Graph, node: ir.Node) -> bool:
    padded, weights = node.inputs[:2]
    pad = padded.producer if padded is not None else None
    if padded is None or weights is None or pad is None or pad.op not in ("PAD", "PADV2"):
        return False
    x, amounts = pad.inputs[:2]
    if node.option("padding") != "VALID" or not feeds_only(graph, padded, node):
        return False
    if x is None or amounts is None or amounts.data is None or not same_type(x, padded):
        return False
    if pad.op == "PADV2" and not _pads_with_zero(pad, x):
        return False
    if len(x.shape) != 4 or len(weights.shape) != 4 or amounts.data.shape != (4, 2):
        return False
    if -1 in (x.shape_signature or x.shape)[1:3]:
        return False
    wanted = [(0, 0), *(_same_amounts(node, x, weights, axis) for axis in (1, 2)), (0, 0)]
    if [tuple(int(i) for i in pair) for pair in amounts.data] != wanted:
        return False
    node.set_input(0, x)
    node.options["padding"] = "SAME"
    graph.remove_node(pad)
    return True


def _pads_with_zero(pad: ir.Node, x: ir.Value) -> bool:
    value = pad.inputs[2]
    zero = 0 if x.quant is None or not x.quant.zero_point.size else int(x.quant.zero_point[0])
    return value is not None and value.data is not None and bool(np.all(value.data == zero))


def _same_amounts(node: ir.Node, x: ir.Value, weights: ir.Value, axis: int) -> tuple[int, int]:
    """What SAME padding adds before and after `axis` (1 height, 2 width) of NHWC `x`."""
    letter = "h" if axis == 1 else "w"
    stride = int(node.option(f"stride_{letter}"))
    dilation = int(node.option(f"dilation_{letter}_factor"))
    size = x.shape[axis]
    window = (weights.shape[axis] - 1) * dilation + 1
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2
