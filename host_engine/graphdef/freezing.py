# SPDX-License-Identifier: Apache-2.0
"""Frozen graphs from a MetaGraphDef and a checkpoint: every variable a constant."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from host_engine.bundle import Reader
from host_engine.errors import InvalidArgumentError, NotFoundError
from host_engine.framework.dtypes import as_dtype, int32
from host_engine.graphdef.exporting import extract_sub_graph, node_name
from host_engine.graphdef.messages import GraphDef, MetaGraphDef, NodeDef
from host_engine.graphdef.tensors import array_of, tensor_proto

VARIABLES = ("Variable", "VariableV2")
_NOT_OUTPUTS = {"NoOp", "Const", "SaveV2", "RestoreV2", "Assign", *VARIABLES}


def freeze_checkpoint(
    meta_graph: MetaGraphDef,
    reader: Reader,
    output_node_names: Sequence[str],
    constants: Mapping[str, Any] | None = None,
) -> GraphDef:
    """The part of a graph that `output_node_names` need, with the checkpoint's values.

    `constants` gives placeholders their values for good, such as ``{"keep_prob": 1.0}``.

    Raises NotFoundError for an output, placeholder or variable that is missing in the graph or the
    checkpoint, InvalidArgumentError for a value that a placeholder cannot have.
    """
    names = [node_name(text) for text in output_node_names]
    graph_def = without_resources(meta_graph.graph_def)
    known = {node.name for node in graph_def.node}
    for name in names:
        if name not in known:
            raise NotFoundError(None, None, f"the graph has no node '{name}'")
    made = extract_sub_graph(graph_def, names)
    keys = checkpoint_keys(graph_def)
    given = dict(constants or {})
    for node in list(made.node):
        if node.op in VARIABLES:
            node.CopyFrom(_constant(node, reader.read(keys.get(node.name, node.name))))
        elif node.op.startswith("Placeholder") and node.name in given:
            node.CopyFrom(_fed(node, given.pop(node.name)))
    if given:
        raise NotFoundError(
            None, None, f"'{next(iter(given))}' is no placeholder that the outputs depend on"
        )
    return made


def checkpoint_keys(graph_def: GraphDef) -> dict[str, str]:
    """What each variable is called in checkpoints, by the graph's own nodes that restore it.

    The graph has no resource variables.
    """
    nodes = {node.name: node for node in graph_def.node}
    found: dict[str, str] = {}
    for node in graph_def.node:
        if node.op != "Assign" or len(node.input) < 2:
            continue
        source, index = _through_identities(nodes, node.input[1])
        if source is None or source.op != "RestoreV2":
            continue
        names = nodes.get(node_name(source.input[1])) if len(source.input) > 1 else None
        if names is not None and names.op == "Const":
            listed = array_of(names.attr["value"].tensor).reshape(-1)
            if index < len(listed):
                found[node_name(node.input[0])] = listed[index].decode()
    return found


def _through_identities(nodes: Mapping[str, NodeDef], text: str) -> tuple[NodeDef | None, int]:
    for _ in range(len(nodes)):
        name, _, number = text.partition(":")
        node = nodes.get(name)
        if node is None or node.op != "Identity" or not node.input:
            return node, int(number or 0)
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


def _constant(node: NodeDef, value: np.ndarray) -> NodeDef:
    made = NodeDef(name=node.name, op="Const")
    dtype = as_dtype(value.dtype)
    made.attr["dtype"].type = dtype.as_datatype_enum
    made.attr["value"].tensor = tensor_proto(value, dtype)
    return made


def _fed(node: NodeDef, value: Any) -> NodeDef:
    dtype = as_dtype(node.attr["dtype"].type)
    try:
        array = np.asarray(value).astype(dtype.as_numpy_dtype)
    except (ValueError, TypeError) as error:
        raise InvalidArgumentError(
            None, None, f"placeholder '{node.name}' of {dtype.name} cannot be {value!r}: {error}"
        ) from None
    return _constant(node, array)


_TWINS = {  # ops on resource variables, and on the variables of this engine
    "ReadVariableOp": "Identity",
    "AssignVariableOp": "Assign",
    "AssignAddVariableOp": "AssignAdd",
    "AssignSubVariableOp": "AssignSub",
    "VarIsInitializedOp": "IsVariableInitialized",
    "ResourceGather": "GatherV2",
    "ResourceGatherNd": "GatherNd",
}


def without_resources(graph_def: GraphDef) -> GraphDef:
    """The graph with its resource variables as variables of the older kind (VariableV2)."""
    made = copy.deepcopy(graph_def)
    for nodes in (made.node, *(f.node_def for f in made.library.function)):
        kinds = {node.name: node.attr["dtype"].type for node in nodes if node.op == "VarHandleOp"}
        for node in list(nodes):
            if node.op == "VarHandleOp":
                node.op = "VariableV2"
            elif node.op in _TWINS:
                kind = node.attr["dtype"].type or kinds.get(node_name(node.input[0]), 0)
                _rename(nodes, node, _TWINS[node.op], kind)
    return made


def _rename(nodes: Any, node: NodeDef, op: str, kind: int) -> None:
    indices = node.attr["Tindices"].type if "Tindices" in node.attr else 0
    inputs = list(node.input)
    twin = NodeDef(name=node.name, op=op, device=node.device)
    types = {"Identity": {"T": kind}, "IsVariableInitialized": {"dtype": kind}}.get(op)
    if op.startswith("Gather"):
        types = {"Tparams": kind, "Tindices": indices}
    if op == "GatherV2":
        axis = nodes.add(name=f"{node.name}/axis")
        axis.CopyFrom(_constant(axis, np.array(0, np.int32)))
        inputs.insert(2, axis.name)
        types = {"Tparams": kind, "Tindices": indices, "Taxis": int32.as_datatype_enum}
    twin.input.extend(inputs)
    for name, value in (types or {"T": kind}).items():
        twin.attr[name].type = value
    if op == "GatherV2" and "batch_dims" in node.attr:
        twin.attr["batch_dims"].i = node.attr["batch_dims"].i
    node.CopyFrom(twin)
