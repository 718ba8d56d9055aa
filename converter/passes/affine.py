# SPDX-License-Identifier: Apache-2.0
"""Arithmetic by per-channel constants goes into the weights and bias before it.

An inference batch norm arrives as MUL and ADD by constants, so these two passes fold it:
conv(x, w) * s + t = conv(x, w * s) + t, exact but for rounding (computed in float64).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from converter import ir
from converter.passes.rewriting import (
    apply_rows,
    constant_operand,
    feeds_only,
    is_float,
    replace_constant,
    take_over,
)


class Linear(NamedTuple):
    """Where an op has its data, weights and bias, and the axis of the output channels in its
    weights.
    """

    axis: int
    data: int = 0
    weights: int = 1
    bias: int = 2


LINEAR = {
    "CONV_2D": Linear(0),
    "CONV_3D": Linear(4),
    "DEPTHWISE_CONV_2D": Linear(3),
    "FULLY_CONNECTED": Linear(0),
    "TRANSPOSE_CONV": Linear(0, data=2, bias=3),
}


def fold_affine(graph: ir.Graph) -> bool:
    """Multiply (or divide) the weights and bias of a linear op by the constant after it."""
    return apply_rows("fold_affine", graph, {"MUL": _fold_factor, "DIV": _fold_factor})


def fuse_bias(graph: ir.Graph) -> bool:
    """Add the constant after a linear op to its bias."""
    return apply_rows("fuse_bias", graph, {"ADD": _fuse_bias, "SUB": _fuse_bias})


def _linear_before(graph: ir.Graph, node: ir.Node) -> tuple[ir.Node, np.ndarray] | None:
    """(the linear op that `node` alone reads, the per-channel constant in float64)."""
    found = constant_operand(node)
    if found is None:
        return None
    x, constant = found
    if node.op in ("SUB", "DIV") and x is not node.inputs[0]:
        return None  # constant - x, constant / x
    linear = x.producer
    if linear is None or linear.op not in LINEAR or not feeds_only(graph, x, node):
        return None
    weights, bias = linear.inputs[1], _bias(linear)
    axis = LINEAR[linear.op].axis
    if not is_float(
        linear.inputs[LINEAR[linear.op].data],
        weights,
        x,
        node.outputs[0],
        *([bias] if bias else []),
    ):
        return None
    if weights is None or weights.data is None or weights.sparsity is not None:
        return None
    if bias is not None and bias.data is None:
        return None
    if linear.option("fused_activation_function") != "NONE" or x.shape != node.outputs[0].shape:
        return None
    if len(weights.shape) <= axis:
        return None
    channels = weights.shape[axis]
    if bias is not None and bias.shape != (channels,):
        return None
    # Per channel means along the last axis only; every other axis must have size 1.
    if constant.size != 1 and (constant.size != channels or constant.shape[-1] != channels):
        return None
    if linear.op == "FULLY_CONNECTED" and linear.option("weights_format") != "DEFAULT":
        return None
    return linear, np.broadcast_to(constant.reshape(-1).astype(np.float64), (channels,))


def _bias(linear: ir.Node) -> ir.Value | None:
    place = LINEAR[linear.op].bias
    return linear.inputs[place] if len(linear.inputs) > place else None


def _fold_factor(graph: ir.Graph, node: ir.Node) -> bool:
    found = _linear_before(graph, node)
    if found is None:
        return False
    linear, factor = found
    if node.op == "DIV":
        if not np.all(factor):
            return False
        factor = 1.0 / factor
    weights, bias = linear.inputs[1], _bias(linear)
    assert weights is not None and weights.data is not None
    shape = [1] * weights.data.ndim
    shape[LINEAR[linear.op].axis] = -1
    scaled = (weights.data.astype(np.float64) * factor.reshape(shape)).astype(np.float32)
    if not np.all(np.isfinite(scaled)):
        return False
    replace_constant(linear, 1, scaled)
    if bias is not None and bias.data is not None:
        replace_constant(linear, LINEAR[linear.op].bias, (bias.data * factor).astype(np.float32))
    _finish(graph, linear, node)
    return True


def _fuse_bias(graph: ir.Graph, node: ir.Node) -> bool:
    found = _linear_before(graph, node)
    if found is None:
        return False
    linear, shift = found
    old = _bias(linear)
    before = 0.0 if old is None or old.data is None else old.data.astype(np.float64)
    total = (before - shift if node.op == "SUB" else before + shift).astype(np.float32)
    constant = next(v for v in node.inputs if v is not None and v.data is not None)
    place = LINEAR[linear.op].bias
    if len(linear.inputs) == place:
        linear.add_input(None)
    replace_constant(linear, place, total, constant.name)
    _finish(graph, linear, node)
    return True


def _finish(graph: ir.Graph, linear: ir.Node, node: ir.Node) -> None:
    activation = node.option("fused_activation_function")
    if activation != "NONE":
        linear.options["fused_activation_function"] = activation
    take_over(graph, linear, node)
