# SPDX-License-Identifier: Apache-2.0
"""Frozen graphs from a MetaGraphDef and a checkpoint: every variable a constant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from host_engine.bundle import Reader
from host_engine.errors import InvalidArgumentError, NotFoundError
from host_engine.framework.dtypes import as_dtype
from host_engine.graphdef.exporting import constant_node, extract_sub_graph, node_name
from host_engine.graphdef.inlining import CALLS
from host_engine.graphdef.messages import GraphDef, MetaGraphDef, NodeDef
from host_engine.graphdef.resources import without_resources
from host_engine.graphdef.tensors import array_of

_ASSIGNS = ("Assign", "AssignVariableOp")
VARIABLES = ("Variable", "VariableV2")
_NOT_OUTPUTS = {"NoOp", "Const", "SaveV2", "RestoreV2", "Assign", *VARIABLES}


def freeze_checkpoint(
    meta_graph: MetaGraphDef,
    reader: Reader | None,
    output_node_names: Sequence[str],
    constants: Mapping[str, Any] | None = None,
) -> GraphDef:
    """The part of a graph that `output_node_names` need, with the checkpoint's values (None: of a
    graph that has no variables).

    `constants` gives placeholders their values for good, such as ``{"keep_prob": 1.0}``.

    Raises NotFoundError for an output, placeholder or variable that is missing in the graph or the
    checkpoint, InvalidArgumentError for a value that a placeholder cannot have.
    """
    names = [node_name(text) for text in output_node_names]
    graph_def = meta_graph.graph_def
    known = {node.name for node in graph_def.node}
    for name in names:
        if name not in known:
            raise NotFoundError(None, None, f"the graph has no node '{name}'")
    made = without_resources(extract_sub_graph(graph_def, names))
    keys = checkpoint_keys(graph_def)
    given = dict(constants or {})
    for node in list(made.node):
        if node.op in VARIABLES:
            if reader is None:
                raise NotFoundError(None, None, f"variable '{node.name}' has no checkpoint")
            node.CopyFrom(constant_node(node.name, reader.read(keys.get(node.name, node.name))))
        elif node.op.startswith("Placeholder") and node.name in given:
            node.CopyFrom(_fed(node, given.pop(node.name)))
    if given:
        raise NotFoundError(
            None, None, f"'{next(iter(given))}' is no placeholder that the outputs depend on"
        )
    return made


def checkpoint_keys(graph_def: GraphDef) -> dict[str, str]:
    """What each variable is called in checkpoints, by the graph's own nodes that restore it, or by
    those of a function that it calls for that.
    """
    found = _restored(graph_def.node)
    functions = {f.signature.name: f for f in graph_def.library.function}
    for node in graph_def.node:
        function = functions.get(node.attr["f"].func.name) if node.op in CALLS else None
        if function is None or not any(n.op == "RestoreV2" for n in function.node_def):
            continue
        arguments = [arg.name for arg in function.signature.input_arg]
        given = dict(zip(arguments, map(node_name, node.input), strict=False))
        for name, key in _restored(function.node_def).items():
            if name in given:
                found[given[name]] = key
    return found


def _restored(nodes: Sequence[NodeDef]) -> dict[str, str]:
    """The key that RestoreV2 reads for what is assigned, by the name of what is assigned."""
    by_name = {node.name: node for node in nodes}
    found: dict[str, str] = {}
    for node in nodes:
        if node.op not in _ASSIGNS or len(node.input) < 2:
            continue
        source, index = _through_identities(by_name, node.input[1])
        if source is None or source.op != "RestoreV2":
            continue
        names = by_name.get(node_name(source.input[1])) if len(source.input) > 1 else None
        if names is not None and names.op == "Const":
            listed = array_of(names.attr["value"].tensor).reshape(-1)
            if index < len(listed):
                found[node_name(node.input[0])] = listed[index].decode()
    return found


def _through_identities(nodes: Mapping[str, NodeDef], text: str) -> tuple[NodeDef | None, int]:
    for _ in range(len(nodes)):
        name, *rest = text.split(":")  # "x:1", or "x:output:1" inside a function
        number = rest[-1] if rest else 0
        node = nodes.get(name)
        if node is None or node.op != "Identity" or not node.input:
            return node, int(number) if str(number).isdigit() else 0
        text = node.input[0]
    return None, 0


def unread_nodes(graph_def: GraphDef, limit: int = 12) -> list[str]:
    """Nodes that depend on a placeholder and that nothing of the model itself reads, the last
    first: its outputs, most likely. Gradients, and what saves and watches, are not of the model.
    """
    nodes = [node for node in graph_def.node if not _is_beside(node)]
    fed = {node.name for node in nodes if node.op == "Placeholder"}
    read: set[str] = set()
    for node in nodes:  # producers stand before what reads them
        sources = [node_name(text) for text in node.input]
        read.update(sources)
        if not fed.isdisjoint(sources):
            fed.add(node.name)
    ends = [n.name for n in reversed(nodes) if n.name in fed - read and n.op not in _NOT_OUTPUTS]
    return ends[:limit]


def _is_beside(node: NodeDef) -> bool:
    of_training = node.name.startswith(("gradients", "save/", "report_uninitialized"))
    return of_training or node.op.endswith("Summary") or node.op.startswith("Apply")


def _fed(node: NodeDef, value: Any) -> NodeDef:
    dtype = as_dtype(node.attr["dtype"].type)
    try:
        array = np.asarray(value).astype(dtype.as_numpy_dtype)
    except (ValueError, TypeError) as error:
        raise InvalidArgumentError(
            None, None, f"placeholder '{node.name}' of {dtype.name} cannot be {value!r}: {error}"
        ) from None
    return constant_node(node.name, array)
