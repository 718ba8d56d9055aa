# SPDX-License-Identifier: Apache-2.0
"""Graphs with their variables as MetaGraphDefs: what a Saver writes beside a checkpoint."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from host_engine.bundle import Replacing
from host_engine.errors import DataLossError
from host_engine.framework.dtypes import string
from host_engine.framework.graph import Graph, get_default_graph
from host_engine.framework.tensor import Operation, Tensor
from host_engine.graphdef.exporting import graph_def_of, node_name
from host_engine.graphdef.freezing import VARIABLES, checkpoint_keys
from host_engine.graphdef.importing import import_graph_def
from host_engine.graphdef.messages import MetaGraphDef, VariableDef
from host_engine.graphdef.resources import without_resources
from host_engine.graphdef.tensors import tensor_proto
from host_engine.variables import Variable

_VERSION = "1.15.5"  # whose form this is
_V2 = 2  # of checkpoints


def read_meta_graph(source: str | os.PathLike[str] | bytes) -> MetaGraphDef:
    """The MetaGraphDef in a .meta file, or its bytes. OSError, or DataLossError if it is none."""
    data = source
    if not isinstance(data, bytes):
        with open(source, "rb") as file:
            data = file.read()
    meta_graph = MetaGraphDef()
    meta_graph.ParseFromString(data)
    if not meta_graph.graph_def.node or any(not n.name for n in meta_graph.graph_def.node):
        raise DataLossError(None, None, "there is no graph in it: this is no MetaGraphDef")
    return meta_graph


def meta_graph_of(graph: Graph, saved: Mapping[str, Variable], max_to_keep: int) -> MetaGraphDef:
    """`graph` with its collections, and nodes by which TensorFlow saves and restores `saved`."""
    made = MetaGraphDef()
    made.meta_info_def.tensorflow_version = _VERSION
    made.graph_def.CopyFrom(graph_def_of(graph))
    for key in graph.get_all_collection_keys():
        _add_collection(made, key, graph.get_collection(key))
    if saved:
        _add_saving(made, saved, graph.unique_name("save", mark_as_used=False), max_to_keep)
    return made


def write_meta_graph(path: str, meta_graph: MetaGraphDef) -> None:
    """Write a .meta file, whole or not at all."""
    with Replacing(path) as out:
        out.write(meta_graph.SerializeToString())


def export_meta_graph(filename: str | None = None, graph: Graph | None = None) -> MetaGraphDef:
    """The MetaGraphDef of a graph (the default one), also written to `filename` if given."""
    made = meta_graph_of(graph or get_default_graph(), {}, 0)
    if filename is not None:
        write_meta_graph(filename, made)
    return made


def _add_collection(made: MetaGraphDef, key: str, items: list[Any]) -> None:
    """Variables, tensors and operations; collections of other things have no form in a file."""
    if not items:
        return
    if all(isinstance(item, Variable) for item in items):
        for item in items:
            definition = variable_def(item).SerializeToString()
            made.collection_def[key].bytes_list.value.append(definition)
    elif all(isinstance(item, (Tensor, Operation)) for item in items):
        made.collection_def[key].node_list.value.extend(item.name for item in items)


def variable_def(variable: Variable) -> VariableDef:
    """The names of a variable's nodes."""
    return VariableDef(
        variable_name=variable.name,
        initializer_name=variable.initializer.name,
        snapshot_name=variable.value().name,
        initial_value_name=variable.initial_value.name,
        trainable=variable.trainable,
    )


def _add_saving(
    made: MetaGraphDef, saved: Mapping[str, Variable], scope: str, max_to_keep: int
) -> None:
    """The nodes of TensorFlow's own Saver, which this engine's needs not."""
    graph_def, names = made.graph_def, sorted(saved)
    types = [saved[name].dtype.base_dtype.as_datatype_enum for name in names]

    def add(name: str, op: str, *inputs: str) -> Any:
        node = graph_def.node.add(name=f"{scope}/{name}", op=op)
        node.input.extend(inputs)
        return node

    def texts(name: str, values: Any) -> str:
        node = add(name, "Const")
        node.attr["dtype"].type = string.as_datatype_enum
        node.attr["value"].tensor = tensor_proto(np.array(values, object), string)
        return str(node.name)

    prefix = texts("Const", b"model")
    listed = texts("tensor_names", [name.encode() for name in names])
    whole = texts("shape_and_slices", [b""] * len(names))
    variables = [saved[name].op.name for name in names]
    save = add("SaveV2", "SaveV2", prefix, listed, whole, *variables)
    save.attr["dtypes"].list.type.extend(types)
    done = add("control_dependency", "Identity", prefix, f"^{save.name}")
    done.attr["T"].type = string.as_datatype_enum
    restore = add("RestoreV2", "RestoreV2", prefix, listed, whole)
    restore.attr["dtypes"].list.type.extend(types)
    assigns = []
    for i, (name, kind) in enumerate(zip(variables, types, strict=True)):
        assign = add(f"Assign_{i}", "Assign", name, f"{restore.name}:{i}" if i else restore.name)
        assign.attr["T"].type = kind
        assigns.append(f"^{assign.name}")
    saver = made.saver_def
    saver.filename_tensor_name, saver.save_tensor_name = f"{prefix}:0", f"{done.name}:0"
    saver.restore_op_name = add("restore_all", "NoOp", *assigns).name
    saver.max_to_keep, saver.version = max_to_keep, _V2


def import_meta_graph(
    meta_graph_or_file: Any, clear_devices: bool = False, import_scope: str | None = None
) -> Any:
    """Add a graph and its collections to the default graph; a Saver for its variables.

    `meta_graph_or_file` is a MetaGraphDef or the path of a .meta file. Returns None, as TensorFlow
    does, for a graph without variables; resource variables become those of this engine. Raises
    OSError, DataLossError, ValueError.
    """
    from host_engine.saver import Saver

    meta_graph = meta_graph_or_file
    if not isinstance(meta_graph, MetaGraphDef):
        meta_graph = read_meta_graph(meta_graph)
    graph_def = without_resources(meta_graph.graph_def)
    if clear_devices:
        for node in graph_def.node:
            node.device = ""
    import_graph_def(graph_def, name=import_scope or "")
    graph = get_default_graph()
    prefix = f"{import_scope}/" if import_scope else ""
    made = _Collected(graph, prefix)
    for key, collection in meta_graph.collection_def.items():
        for definition in collection.bytes_list.value:
            variable = made.variable(definition)
            if variable is not None:
                graph.add_to_collection(key, variable)
        for name in collection.node_list.value:
            graph.add_to_collection(key, graph.as_graph_element(prefix + name))
    if not made.variables:
        return None
    keys = checkpoint_keys(graph_def)
    saved = {keys.get(name, name): variable for name, variable in made.variables.items()}
    if keys:  # of those that the graph itself restores
        saved = {keys[name]: v for name, v in made.variables.items() if name in keys}
    return Saver(saved, max_to_keep=meta_graph.saver_def.max_to_keep or 5)


class _Collected:
    """The variables of an imported graph, one object each."""

    def __init__(self, graph: Graph, prefix: str) -> None:
        self.graph, self.prefix = graph, prefix
        self.variables: dict[str, Variable] = {}

    def variable(self, content: bytes) -> Variable | None:
        """The variable that a VariableDef describes; None where it is something else."""
        definition = VariableDef()
        try:
            definition.ParseFromString(content)
        except DataLossError:
            return None
        name = node_name(definition.variable_name)
        op = self.graph._by_name.get(self.prefix + name)
        if op is None or op.type not in VARIABLES:
            return None
        if name not in self.variables:
            element = self.graph.as_graph_element
            texts = (definition.initializer_name, definition.snapshot_name)
            initializer, snapshot = (element(self.prefix + text) for text in texts)
            self.variables[name] = Variable.of_imported(
                op.outputs[0], initializer, snapshot, definition.trainable
            )
        return self.variables[name]
