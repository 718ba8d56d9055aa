# SPDX-License-Identifier: Apache-2.0
"""Graphs as GraphDefs: as_graph_def, write_graph, and what makes a graph fit for the device."""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from host_engine.framework.dtypes import DType, as_dtype
from host_engine.framework.shape import TensorShape, as_shape
from host_engine.graphdef.messages import AttrValue, FunctionDef, GraphDef, NameAttrList, NodeDef
from host_engine.graphdef.signatures import Signature, output_name, signature
from host_engine.graphdef.tensors import shape_proto, tensor_proto

_PRODUCER = 134  # the version that TensorFlow 1.15 writes


def graph_def_of(graph: Any, add_shapes: bool = False) -> GraphDef:
    """The GraphDef of a graph, which TensorFlow can import.

    `add_shapes` adds the outputs' static shapes as `_output_shapes`. ValueError for an op that
    only this engine has.
    """
    graph_def = GraphDef()
    graph_def.versions.producer = _PRODUCER
    for op in graph.get_operations():
        node = graph_def.node.add(name=op.name, op=op.type, device=op.device)
        node.input.extend(_input_name(t) for t in op.inputs)
        node.input.extend(f"^{other.name}" for other in op.control_inputs)
        for name, value in _attributes(op).items():
            node.attr[name].CopyFrom(value)
        if add_shapes:
            shapes = node.attr["_output_shapes"].list.shape
            shapes.extend(shape_proto(t.shape) for t in op.outputs)
    if graph.functions:
        graph_def.library.function.extend(copy.deepcopy(list(graph.functions.values())))
    graph_def.library.function.extend(_own_functions(graph))
    return graph_def


def _own_functions(graph: Any) -> list[FunctionDef]:
    """Those of tf.cond and tf.while_loop that operations of the graph call; gradients' are left
    out where the operations that call them are.
    """
    found: dict[str, FunctionDef] = {}
    waiting = list(graph.get_operations())
    while waiting:
        for value in waiting.pop()._attrs.values():
            name = value.name if isinstance(value, NameAttrList) else ""
            if name and name not in found and name not in graph.functions:
                found[name] = _function_def(name, *graph.function(name))
                waiting += graph.function(name)[0].get_operations()
    return list(found.values())


def _function_def(
    name: str, graph: Any, arguments: Sequence[Any], results: Sequence[Any]
) -> FunctionDef:
    made = FunctionDef()
    made.signature.name = name
    for tensor in arguments:
        kind = tensor.dtype.base_dtype.as_datatype_enum
        made.signature.input_arg.add(name=_argument_name(tensor), type=kind)
    for op in _behind(results):
        if op.type == "Arg":
            continue
        node = made.node_def.add(name=op.name, op=op.type)
        node.input.extend(_inner_name(t) for t in op.inputs)
        node.input.extend(f"^{other.name}" for other in op.control_inputs)
        for key, value in _attributes(op).items():
            node.attr[key].CopyFrom(value)
    for i, tensor in enumerate(results):
        kind = tensor.dtype.base_dtype.as_datatype_enum
        made.signature.output_arg.add(name=f"result_{i}", type=kind)
        made.ret[f"result_{i}"] = _inner_name(tensor)
    return made


def _behind(results: Sequence[Any]) -> list[Any]:
    """The operations that compute `results`, in order."""
    found: set[Any] = set()
    stack = [t.op for t in results]
    while stack:
        op = stack.pop()
        if op not in found:
            found.add(op)
            stack += [*(t.op for t in op.inputs), *op.control_inputs]
    return sorted(found, key=lambda op: op._id)


def _argument_name(tensor: Any) -> str:
    return str(tensor.op.name).lower()


def _inner_name(tensor: Any) -> str:
    """A tensor as functions name it: its node, the output's formal name, the number in that."""
    op = tensor.op
    if op.type == "Arg":
        return _argument_name(tensor)
    formal, number = output_name(op.type, _types_of_outputs(op), tensor.value_index)
    return f"{op.name}:{formal}:{number}"


def _types_of_outputs(op: Any) -> dict[str, Any]:
    known = signature(op.type)
    if known is None or op._imported:
        return dict(op._attrs)
    return {**_derived(op, known), **op._attrs}


def _input_name(tensor: Any) -> str:
    return tensor.op.name if tensor.value_index == 0 else tensor.name


def _attributes(op: Any) -> dict[str, AttrValue]:
    known = signature(op.type)
    if known is None and not op._imported:
        raise ValueError(f"{op.type} at node '{op.name}' is an op that TensorFlow does not have")
    attrs = {**(_derived(op, known) if known and not op._imported else {}), **op._attrs}
    kinds = known.attrs if known else {}
    if known and not op._imported:
        attrs = {name: value for name, value in attrs.items() if name in kinds}
    return {
        name: _attr_value(value, kinds.get(name, ""))
        for name, value in attrs.items()
        if value is not None
    }


def _derived(op: Any, known: Signature) -> dict[str, Any]:
    """Types and numbers of inputs and outputs, which operations of this engine do not keep."""
    found: dict[str, Any] = {}
    for args, tensors in ((known.inputs, op.inputs), (known.outputs, op.outputs)):
        at = 0
        for position, arg in enumerate(args):
            rest = len(args) - position - 1
            many = bool(arg.many or arg.types)
            taken = tensors[at : len(tensors) - rest if many else at + 1]
            at += len(taken)
            types = [t.dtype.base_dtype for t in taken]
            if arg.many:
                found.setdefault(arg.many, len(taken))
            if arg.types:
                found.setdefault(arg.types, types)
            elif arg.kind in known.attrs and types:
                found.setdefault(arg.kind, types[0])
    return found


def _attr_value(value: Any, kind: str) -> AttrValue:
    made = AttrValue()
    if isinstance(value, (list, tuple)) or kind.startswith("list"):
        items = made.list
        made.list = items  # set, though it may be empty
        for item in np.asarray(value).tolist() if isinstance(value, np.ndarray) else value:
            which, plain = _proto(item, kind.removeprefix("list(").removesuffix(")"))
            getattr(items, which).append(plain)
        return made
    which, plain = _proto(value, kind)
    setattr(made, which, plain)
    return made


def _proto(value: Any, kind: str) -> tuple[str, Any]:
    """(field of AttrValue, its value)"""
    if kind == "type" or isinstance(value, DType):
        return "type", as_dtype(value).as_datatype_enum
    if kind == "shape" or isinstance(value, TensorShape):
        return "shape", shape_proto(as_shape(value))
    if kind == "tensor" or isinstance(value, np.ndarray):
        return "tensor", tensor_proto(value)
    if isinstance(value, NameAttrList):
        return "func", copy.deepcopy(value)
    if kind == "bool" or isinstance(value, (bool, np.bool_)):
        return "b", bool(value)
    if kind == "float":
        return "f", float(value)
    if isinstance(value, (str, bytes)):
        return "s", value.encode() if isinstance(value, str) else value
    if kind == "int" or isinstance(value, (int, np.integer)):
        return "i", int(value)
    return "f", float(value)


def write_graph(graph_or_graph_def: Any, logdir: str, name: str, as_text: bool = True) -> str:
    """Write a graph to `logdir`/`name`, as text or binary, whole or not at all; its path."""
    graph_def = graph_or_graph_def
    if not isinstance(graph_def, GraphDef):
        graph_def = graph_def_of(graph_def)
    path = Path(logdir, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = str(graph_def).encode() if as_text else graph_def.SerializeToString()
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise
    return str(path)


def extract_sub_graph(graph_def: GraphDef, dest_nodes: Sequence[str]) -> GraphDef:
    """The nodes that `dest_nodes` depend on; AssertionError where one is not in the graph."""
    if isinstance(dest_nodes, str):
        raise TypeError("dest_nodes must be a list.")
    nodes = {node.name: node for node in graph_def.node}
    kept: set[str] = set()
    stack = list(dest_nodes)
    for name in dest_nodes:
        assert name in nodes, f"{name} is not in graph"
    while stack:
        name = stack.pop()
        if name in kept or name not in nodes:
            continue
        kept.add(name)
        stack += [node_name(text) for text in nodes[name].input]
    made = GraphDef()
    made.node.extend(copy.deepcopy(node) for node in graph_def.node if node.name in kept)
    made.library.function.extend(map(copy.deepcopy, called_functions(made.node, graph_def)))
    made.versions.CopyFrom(graph_def.versions)
    return made


def called_functions(nodes: Iterable[NodeDef], graph_def: GraphDef) -> list[FunctionDef]:
    """The functions of a graph's library that `nodes` call, or that those call."""
    library = {function.signature.name: function for function in graph_def.library.function}
    found: dict[str, FunctionDef] = {}
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        for value in node.attr.values():
            functions = [value.func, *value.list.func] if value.WhichOneof() else []
            for name in (f.name for f in functions):
                if name in library and name not in found:
                    found[name] = library[name]
                    waiting.extend(library[name].node_def)
    return [f for f in graph_def.library.function if f.signature.name in found]


def node_name(text: str) -> str:
    """The name of the node that an input such as "x:1" or "^x" names."""
    return text.lstrip("^").partition(":")[0]


def convert_variables_to_constants(
    sess: Any,
    input_graph_def: GraphDef,
    output_node_names: Sequence[str],
    variable_names_whitelist: Iterable[str] | None = None,
    variable_names_blacklist: Iterable[str] | None = None,
) -> GraphDef:
    """The part of the graph that the outputs need, with the session's variables as constants."""
    made = extract_sub_graph(input_graph_def, list(output_node_names))
    wanted = None if variable_names_whitelist is None else set(variable_names_whitelist)
    kept = set(variable_names_blacklist or ())
    variables = [
        node
        for node in made.node
        if node.op in ("Variable", "VariableV2")
        and (wanted is None or node.name in wanted)
        and node.name not in kept
    ]
    values = sess.run([f"{node.name}:0" for node in variables]) if variables else []
    for node, value in zip(variables, values, strict=True):
        node.CopyFrom(constant_node(node.name, value, as_dtype(node.attr["dtype"].type)))
    return made


def constant_node(name: str, value: Any, dtype: DType | None = None) -> NodeDef:
    """A Const; `dtype` is by default that of the value."""
    made = NodeDef(name=name, op="Const")
    array = np.asarray(value)
    kind = as_dtype(array.dtype) if dtype is None else dtype
    made.attr["dtype"].type = kind.as_datatype_enum
    made.attr["value"].tensor = tensor_proto(array, kind)
    return made


def remove_training_nodes(
    input_graph: GraphDef, protected_nodes: Iterable[str] | None = None
) -> GraphDef:
    """The graph without Identity and CheckNumerics nodes that change nothing."""
    protected = set(protected_nodes or ())
    waited = {node_name(t) for n in input_graph.node for t in n.input if t.startswith("^")}
    gone: dict[str, str] = {}
    for node in input_graph.node:
        plain = node.op in ("Identity", "CheckNumerics") and len(node.input) == 1
        if plain and node.name not in protected | waited:
            gone[node.name] = node.input[0]
    made = GraphDef()
    made.library.CopyFrom(input_graph.library)
    made.versions.CopyFrom(input_graph.versions)
    for node in input_graph.node:
        if node.name in gone:
            continue
        twin = copy.deepcopy(node)
        for i, text in enumerate(twin.input):
            while text in gone:
                text = gone[text]
            twin.input[i] = text
        made.node.append(twin)
    return made
