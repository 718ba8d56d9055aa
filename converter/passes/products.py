# SPDX-License-Identifier: Apache-2.0
"""Products with constant weights as FULLY_CONNECTED; what weights and flags of products absorb."""

from __future__ import annotations

import math

import numpy as np

from converter import ir
from converter.passes.no_ops import permutation
from converter.passes.rewriting import apply_rows, feeds_only, is_float, replace_constant, same_type


def make_fully_connected(graph: ir.Graph) -> bool:
    """A BATCH_MATMUL by one constant matrix is a FULLY_CONNECTED, which packs its weights."""
    return apply_rows("make_fully_connected", graph, {"BATCH_MATMUL": _make_fully_connected})


def absorb_transposes(graph: ir.Graph) -> bool:
    """A product swaps the last two axes itself; weights take the order of what is flattened."""
    rows = {"BATCH_MATMUL": _swap_by_flag, "FULLY_CONNECTED": _order_weights}
    return apply_rows("absorb_transposes", graph, rows)


def _make_fully_connected(graph: ir.Graph, node: ir.Node) -> bool:
    x, matrix = node.inputs
    (out,) = node.outputs
    if x is None or matrix is None or matrix.data is None or matrix.sparsity is not None:
        return False
    if not is_float(x, matrix, out) or node.option("adj_x") or len(out.shape) != len(x.shape):
        return False
    if math.prod(matrix.shape[:-2]) != 1 or 0 in matrix.shape or len(x.shape) < 2:
        return False
    weights = matrix.data.reshape(matrix.shape[-2:])
    if not node.option("adj_y"):
        weights = weights.T
    node.op, node.options_type = "FULLY_CONNECTED", None
    node.options = {"keep_num_dims": len(x.shape) > 2}
    replace_constant(node, 1, np.ascontiguousarray(weights))
    return True


def _swap_by_flag(graph: ir.Graph, node: ir.Node) -> bool:
    """A TRANSPOSE that only swaps the last two axes becomes adj_x or adj_y."""
    for i, flag in enumerate(("adj_x", "adj_y")):
        value = node.inputs[i]
        before = value.producer if value is not None else None
        if before is None or value is None or before.op != "TRANSPOSE":
            continue
        perm, source = permutation(before), before.inputs[0]
        if perm is None or source is None or not is_float(source, value) or perm.size < 2:
            continue
        last = perm.size - 1
        if perm.tolist() != [*range(last - 1), last, last - 1]:
            continue
        node.set_input(i, source)
        node.options[flag] = not node.option(flag)
        return True
    return False


def _order_weights(graph: ir.Graph, node: ir.Node) -> bool:
    """TRANSPOSE, then RESHAPE of all but the first axis to one: the weights' columns are permuted.

    FULLY_CONNECTED sums over the flattened axes, in whichever order.
    """
    flat, weights = node.inputs[:2]
    reshape = flat.producer if flat is not None else None
    if flat is None or weights is None or reshape is None or reshape.op != "RESHAPE":
        return False
    moved = reshape.inputs[0]
    transpose = moved.producer if moved is not None else None
    if moved is None or transpose is None or transpose.op != "TRANSPOSE":
        return False
    perm, x = permutation(transpose), transpose.inputs[0]
    if perm is None or x is None or perm[0] != 0 or not feeds_only(graph, flat, node):
        return False
    if not is_float(x, weights, node.outputs[0]) or weights.data is None or weights.sparsity:
        return False
    if not same_type(x, moved) or node.option("weights_format") != "DEFAULT":
        return False
    inner = moved.shape[1:]
    if -1 in (moved.shape_signature or ())[1:] or len(flat.shape) != 2:
        return False
    if flat.shape != (moved.shape[0], math.prod(inner)) or weights.shape[1:] != flat.shape[1:]:
        return False
    back = np.argsort(perm)
    data = weights.data.reshape(weights.shape[0], *inner).transpose([0, *back[1:]])
    replace_constant(node, 1, np.ascontiguousarray(data.reshape(weights.shape)))
    reshape.set_input(0, x)
    return True
