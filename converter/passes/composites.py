# SPDX-License-Identifier: Apache-2.0
"""Layer norm, RMS norm and attention as STABLEHLO_COMPOSITE over the operators they are made of.

Whoever has such an operator whole finds it by its name, `rillet.layer_norm` and so on; everybody
else runs the decomposition, a graph of its own that the composite calls. A call copies values, and
passes do not see through it, so this is the last thing done to a model, and only where it is asked
for.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from converter import ir
from converter.effects import variables_hidden
from converter.passes.rewriting import constant_operand, is_float

_LOGGER = logging.getLogger("converter.passes")


def outline_composites(model: ir.Model) -> bool:
    """Outline every layer norm, RMS norm and attention of the main graph; say if there was one."""
    moved: set[ir.Node] = set()
    with variables_hidden(model.main):
        for node in reversed(list(model.main.nodes)):  # the larger ones first
            row = _ROWS.get(node.op)
            found = row(node) if row is not None and node not in moved else None
            if found is not None and _is_whole(model.main, found.nodes):
                _LOGGER.info("outline_composites: %s is %s", node.label, found.name)
                outline(model, found.nodes, found.name, found.inputs, found.attributes)
                moved.update(found.nodes)
    return bool(moved)


class _Found:
    """The nodes of a composite (its last one first), and what goes into it."""

    def __init__(
        self,
        name: str,
        nodes: Sequence[ir.Node],
        inputs: Sequence[ir.Value],
        attributes: Mapping[str, float | int],
    ) -> None:
        self.name, self.nodes = name, list(dict.fromkeys(nodes))
        self.inputs, self.attributes = list(inputs), attributes


def outline(
    model: ir.Model,
    nodes: Sequence[ir.Node],
    name: str,
    inputs: Sequence[ir.Value],
    attributes: Mapping[str, float | int] | None = None,
) -> ir.Node:
    """Move `nodes` of the main graph to a graph of their own, which one STABLEHLO_COMPOSITE calls.

    `nodes` compute outputs that are read elsewhere from `inputs` and from constants alone; what
    reads those comes after all of `nodes`. A value may be an input twice: whoever runs the
    composite whole knows its inputs by their places. A constant among them is one of the graph's
    own too, so that whoever runs that can prepare it. `attributes` are numbers by name. Returns the
    composite.
    """
    graph, inside = model.main, set(nodes)
    ordered = [node for node in graph.nodes if node in inside]
    body = ir.Graph(f"{name}.impl_{len(model.graphs)}")
    body.inputs = [_twin(v, f"{v.name}/inner_{i}") for i, v in enumerate(inputs)]
    twins = dict(zip(reversed(inputs), reversed(body.inputs), strict=True))  # its first place
    twins.update({v: _own_constant(v) for v in inputs if v.data is not None})
    results = [
        value
        for node in ordered
        for value in node.outputs
        if graph.is_output(value) or any(user not in inside for user in value.users)
    ]
    place = graph.index(ordered[-1])
    for node in ordered:
        for i, value in enumerate(node.inputs):
            if value in twins:
                node.set_input(i, twins[value])
    for value in results:
        inner = _twin(value, f"{value.name}/inner")
        body.outputs.append(inner)
        for user in [u for u in dict.fromkeys(value.users) if u in inside]:
            for i, read in enumerate(user.inputs):
                if read is value:
                    user.set_input(i, inner)
        assert value.producer is not None
        graph.set_output_of(value.producer, value.producer.outputs.index(value), inner)
    after = graph.nodes[place + 1] if place + 1 < len(graph.nodes) else None
    graph.nodes = [node for node in graph.nodes if node not in inside]
    body.nodes = ordered
    model.graphs.append(body)
    options = composite_options(name, len(model.graphs) - 1, attributes or {})
    return graph.add_node(
        "STABLEHLO_COMPOSITE", inputs, results, options, before=after, name=ordered[-1].name
    )


def composite_options(
    name: str, graph: int, attributes: Mapping[str, float | int]
) -> dict[str, object]:
    """Those of a STABLEHLO_COMPOSITE whose decomposition is graph number `graph`."""
    return {
        "name": name,
        "decomposition_subgraph_index": graph,
        "composite_attributes": np.frombuffer(flexbuffer(attributes), np.uint8),
        "composite_attributes_format": "FLEXBUFFERS",
        "version": 1,
    }


def flexbuffer(numbers: Mapping[str, float | int]) -> bytes:
    """A FlexBuffer map of 32-bit numbers (flatbuffers.dev/flexbuffers)."""
    names = sorted(numbers)
    data, starts = b"", []
    for name in names:
        starts.append(len(data))
        data += name.encode() + b"\0"
    data += bytes(-len(data) % 4)
    keys = len(data) + 4
    data += struct.pack("<I", len(names))
    for start in starts:
        data += struct.pack("<I", len(data) - start)
    data += struct.pack("<III", len(data) - keys, 4, len(names))
    values, kinds = len(data), b""
    for name in names:
        whole = isinstance(numbers[name], int)
        data += struct.pack("<i" if whole else "<f", numbers[name])
        kinds += bytes([(1 if whole else 3) << 2 | 2])
    data += kinds + bytes(-len(kinds) % 4)
    return data + struct.pack("<IBB", len(data) - values, 9 << 2 | 2, 4)


def _twin(value: ir.Value, name: str) -> ir.Value:
    return ir.Value(
        name, value.dtype, value.shape, shape_signature=value.shape_signature, quant=value.quant
    )


def _own_constant(value: ir.Value) -> ir.Value:
    """One of the same array, whose bytes the file has once."""
    name = f"{value.name}/own"
    return ir.Value(name, value.dtype, value.shape, data=value.data, quant=value.quant)


def _is_whole(graph: ir.Graph, nodes: Sequence[ir.Node]) -> bool:
    """Whether only the last of `nodes` (the first listed) is read elsewhere; all is float."""
    inside = set(nodes)
    for node in nodes:
        (out,) = node.outputs
        if not is_float(out):
            return False
        if node is not nodes[0] and (graph.is_output(out) or not inside.issuperset(out.users)):
            return False
    return True


# -- what they look like --------------------------------------------------------------------------


def _made_by(value: ir.Value | None, *ops: str) -> ir.Node | None:
    """The node of one of `ops` that makes `value`, without a fused activation."""
    node = value.producer if value is not None else None
    if node is None or node.op not in ops:
        return None
    return node if node.options.get("fused_activation_function", "NONE") == "NONE" else None


def _along_last(value: ir.Value) -> bool:
    """Whether a constant differs along the last axis alone."""
    return value.data is not None and value.shape[-1:] == (value.size,)


def _mean(value: ir.Value | None) -> tuple[ir.Node, ir.Value] | None:
    """(MEAN over the last axis, of what): keeping that axis."""
    node = _made_by(value, "MEAN")
    if node is None or not node.option("keep_dims"):
        return None
    x, axes = node.inputs
    if x is None or axes is None or axes.data is None or axes.size != 1:
        return None
    return (node, x) if int(axes.data.reshape(-1)[0]) % len(x.shape) == len(x.shape) - 1 else None


def _square(value: ir.Value, root: ir.Value) -> list[ir.Node] | None:
    """The nodes that make `value` the square of `root`."""
    node = _made_by(value, "SQUARE", "MUL", "POW")
    if node is None or node.inputs[0] is not root:
        return None
    if node.op == "POW":
        found = constant_operand(node)
        two = found is not None and found[1].size == 1 and float(found[1].reshape(-1)[0]) == 2
        return [node] if two else None
    return [node] if node.op == "SQUARE" or node.inputs[1] is root else None


def _over_spread(node: ir.Node) -> tuple[ir.Value, list[ir.Node], float] | None:
    """(x, nodes, epsilon) where `node` is x / sqrt(mean of x squared + epsilon)."""
    for x, spread in (node.inputs, node.inputs[::-1]) if node.op == "MUL" else (node.inputs,):
        root = _made_by(spread, "RSQRT" if node.op == "MUL" else "SQRT")
        if root is None or x is None:
            continue
        moved = _made_by(root.inputs[0], "ADD")
        found = constant_operand(moved) if moved is not None else None
        if moved is None or found is None or found[1].size != 1:
            continue
        mean = _mean(found[0])
        squares = _square(mean[1], x) if mean is not None else None
        if mean is None or squares is None:
            continue
        epsilon = float(found[1].reshape(-1)[0])
        return x, [node, root, moved, mean[0], *squares], epsilon
    return None


def _scaled(node: ir.Node, op: str) -> tuple[ir.Value, ir.Value] | None:
    """(what, the constant along its last axis) that `node`, of `op`, joins."""
    found = constant_operand(node) if _made_by(node.outputs[0], op) is not None else None
    if found is None:
        return None
    x = found[0]
    constant = next(v for v in node.inputs if v is not None and v is not x)
    return (x, constant) if _along_last(constant) else None


def _norm(node: ir.Node) -> _Found | None:
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, or x / sqrt(...) * gamma."""
    nodes: list[ir.Node] = []
    constants: list[ir.Value] = []
    at: ir.Node | None = node
    for op in ("ADD", "MUL"):
        step = _scaled(at, op) if at is not None else None
        if step is not None and at is not None:
            nodes.append(at)
            constants.insert(0, step[1])
            at = step[0].producer
    if at is None or at.op not in ("MUL", "DIV") or _made_by(at.outputs[0], at.op) is None:
        return None
    found = _over_spread(at)
    if found is None or (node.op == "ADD" and len(constants) != 2):
        return None
    x, parts, epsilon = found
    centred = _made_by(x, "SUB")
    mean = _mean(centred.inputs[1]) if centred is not None else None
    attributes = {"epsilon": epsilon}
    if centred is not None and mean is not None and mean[1] is centred.inputs[0]:
        nodes += [*parts, centred, mean[0]]
        return _Found("rillet.layer_norm", nodes, [mean[1], *constants], attributes)
    if len(constants) > 1:
        return None
    return _Found("rillet.rms_norm", [*nodes, *parts], [x, *constants], attributes)


def _attention(node: ir.Node) -> _Found | None:
    """softmax(scale * q k^T + mask) v"""
    weights, v = node.inputs
    softmax = _made_by(weights, "SOFTMAX")
    if softmax is None or v is None or node.option("adj_x") or node.option("adj_y"):
        return None
    if softmax.option("beta") != 1:
        return None
    at = softmax.inputs[0]
    masked = _made_by(at, "ADD")
    either: list[tuple[ir.Value | None, list[ir.Value | None]]] = [(at, [])]
    if masked is not None:
        first, second = masked.inputs
        either = [(first, [second]), (second, [first])]
    for scores, masks in either:
        found = _scores(scores)
        if found is None or None in masks:
            continue
        parts, operands, attributes = found
        nodes = [node, softmax, *([masked] if masked is not None else []), *parts]
        inputs = [*operands, v, *(m for m in masks if m is not None)]
        return _Found("rillet.attention", nodes, inputs, attributes)
    return None


def _scores(
    value: ir.Value | None,
) -> tuple[list[ir.Node], list[ir.Value], dict[str, float | int]] | None:
    """The nodes that make `value` scale * q k^T, with q and k, and the attributes."""
    nodes: list[ir.Node] = []
    attributes: dict[str, float | int] = {}
    scaled = _made_by(value, "MUL", "DIV")
    if scaled is not None:
        found = constant_operand(scaled)
        if found is None or found[1].size != 1 or found[0] is not scaled.inputs[0]:
            return None
        number = float(found[1].reshape(-1)[0])
        if scaled.op == "DIV" and number == 0:
            return None
        attributes["scale"] = number if scaled.op == "MUL" else 1 / number
        nodes.append(scaled)
        value = found[0]
    product = _made_by(value, "BATCH_MATMUL")
    if product is None or product.option("adj_x"):
        return None
    operands = [v for v in product.inputs if v is not None]
    attributes["keys_are_rows"] = int(product.option("adj_y"))
    return [*nodes, product], operands, attributes


_ROWS: dict[str, Callable[[ir.Node], _Found | None]] = {
    "ADD": _norm,
    "BATCH_MATMUL": _attention,
    "DIV": _norm,
    "MUL": _norm,
}
