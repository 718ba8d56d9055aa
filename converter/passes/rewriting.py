# SPDX-License-Identifier: Apache-2.0
"""What passes share: the loop over rows, and the questions every rewrite asks first."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import numpy as np

from converter import ir

# Looks at one node, rewrites around it or leaves everything as it is, and says which.
Row = Callable[[ir.Graph, ir.Node], bool]
_LOGGER = logging.getLogger("converter.passes")


def apply_rows(name: str, graph: ir.Graph, rows: Mapping[str, Row]) -> bool:
    """Offer each node to the row of its op, in order; `name` is the pass, for the log."""
    changed = False
    for node in list(graph.nodes):
        row = rows.get(node.op)
        if row is None or not is_wired(node):
            continue
        label = node.label
        if row(graph, node):
            _LOGGER.info("%s: %s", name, label)
            changed = True
    return changed


def is_wired(node: ir.Node) -> bool:
    """False once an earlier row removed the node."""
    return bool(node.outputs) and node.outputs[0].producer is node


def feeds_only(graph: ir.Graph, value: ir.Value, user: ir.Node) -> bool:
    """Whether `user` is the one reader of `value`, once, and the graph does not output it."""
    return value.users == [user] and not graph.is_output(value)


def is_float(*values: ir.Value | None) -> bool:
    """All are plain float32: no quantization, no other type."""
    return all(v is not None and v.dtype == "FLOAT32" and not v.is_quantized for v in values)


def same_type(a: ir.Value, b: ir.Value) -> bool:
    """Same TensorType and the same meaning of its numbers."""
    return a.dtype == b.dtype and (a.quant == b.quant or not (a.is_quantized or b.is_quantized))


def same_shape(a: ir.Value, b: ir.Value) -> bool:
    """Same shape with the same dynamic dimensions, at most one of them."""
    left, right = a.shape_signature or a.shape, b.shape_signature or b.shape
    return a.shape == b.shape and left == right and left.count(-1) <= 1


def constant_operand(node: ir.Node) -> tuple[ir.Value, np.ndarray] | None:
    """(the computed input, the constant's array) of a two-input node, in either order."""
    a, b = node.inputs
    if a is None or b is None:
        return None
    if b.data is not None and a.data is None:
        return a, b.data
    if a.data is not None and b.data is None:
        return b, a.data
    return None


def bypass(graph: ir.Graph, node: ir.Node, source: ir.Value) -> bool:
    """Remove `node` and let `source` stand for its one output; False where an output forbids it."""
    (out,) = node.outputs
    if graph.is_output(out):
        # An output must be made by a node, and under its own name.
        if source.producer is None or graph.is_output(source):
            return False
        source.name = out.name
    graph.replace_value(out, source)
    graph.remove_node(node)
    return True


def take_over(graph: ir.Graph, node: ir.Node, successor: ir.Node) -> None:
    """Let `node` produce what `successor`, its only reader, produced, and remove `successor`."""
    (out,) = successor.outputs
    for i in range(len(successor.inputs)):
        successor.set_input(i, None)
    del graph.nodes[graph.index(successor)]
    out.producer = None
    graph.set_output_of(node, 0, out)


def replace_constant(node: ir.Node, index: int, data: np.ndarray, name: str = "") -> None:
    """Give input `index` a new constant of its own (others may share the old one)."""
    old = node.inputs[index]
    new = ir.Value.constant(name or (old.name if old is not None else ""), data)
    node.set_input(index, new)
