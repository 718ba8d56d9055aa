# SPDX-License-Identifier: Apache-2.0
"""Resource variables, which this engine lacks, as variables of TensorFlow's older kind."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from host_engine.framework.dtypes import int32, resource
from host_engine.graphdef.exporting import constant_node, node_name
from host_engine.graphdef.messages import FunctionDef, GraphDef, NodeDef

_RESOURCE = resource.as_datatype_enum
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
    _type_arguments(made.library.function)
    for function in made.library.function:
        _name_outputs(function)
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
        axis.CopyFrom(constant_node(axis.name, np.int32(0)))
        inputs.insert(2, axis.name)
        types = {"Tparams": kind, "Tindices": indices, "Taxis": int32.as_datatype_enum}
    twin.input.extend(inputs)
    for name, value in (types or {"T": kind}).items():
        twin.attr[name].type = value
    if op == "GatherV2" and "batch_dims" in node.attr:
        twin.attr["batch_dims"].i = node.attr["batch_dims"].i
    node.CopyFrom(twin)


def _name_outputs(function: FunctionDef) -> None:
    """Inside functions outputs have names: Identity's is another than ReadVariableOp's."""
    reads = {node.name for node in function.node_def if node.op == "ReadVariableOp"}

    def renamed(text: str) -> str:
        name, *rest = text.split(":")
        return f"{name}:output:0" if name in reads and rest else text

    for node in function.node_def:
        for i, text in enumerate(node.input):
            node.input[i] = renamed(text)
    for key, text in function.ret.items():
        function.ret[key] = renamed(text)


def _type_arguments(functions: Sequence[FunctionDef]) -> None:
    """Give arguments of functions that are resource variables the types of the variables."""
    by_name = {f.signature.name: f for f in functions}
    changed = True
    while changed:
        changed = False
        for function in functions:
            for arg in function.signature.input_arg:
                if arg.type == _RESOURCE:
                    arg.type = _read_type(function, arg.name, by_name) or _RESOURCE
                    changed = changed or arg.type != _RESOURCE


def _read_type(
    function: FunctionDef, name: str, functions: Mapping[str, FunctionDef]
) -> int | None:
    """The type that is read from a resource, here or in a function that gets it."""
    for node in function.node_def:
        if name not in node.input:
            continue
        if node.op in _TWINS and node.attr["dtype"].type:
            return int(node.attr["dtype"].type)
        for key in ("f", "body", "then_branch", "else_branch", "cond"):
            inner = functions.get(node.attr[key].func.name) if key in node.attr else None
            at = list(node.input).index(name) - (node.op in ("If", "StatelessIf"))
            if inner is None or not 0 <= at < len(inner.signature.input_arg):
                continue
            kind = inner.signature.input_arg[at].type
            if kind != _RESOURCE:
                return int(kind)
    return None
