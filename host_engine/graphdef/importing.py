# SPDX-License-Identifier: Apache-2.0
"""GraphDef into a Graph. Ops that the engine cannot compute become opaque records: their type,
attributes and inputs are kept, and running one raises an error that names it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from host_engine.errors import DataLossError, NotFoundError, OpError, UnimplementedError
from host_engine.framework.bodies import argument
from host_engine.framework.dtypes import DType, float32
from host_engine.framework.graph import Graph, get_default_graph
from host_engine.framework.registry import OPS, OpDef
from host_engine.framework.shape import TensorShape
from host_engine.framework.tensor import Operation, Tensor
from host_engine.graphdef.messages import AttrValue, FunctionDef, GraphDef, NodeDef
from host_engine.graphdef.signatures import output_index, output_types, signature
from host_engine.graphdef.tensors import array_of, dtype_of, shape_of
from host_engine.graphdef.text import from_text

# What shape rules meet in a damaged file.
_MISFITS = (ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError)
_BACK_EDGES = ("NextIteration", "RefNextIteration")
_MERGES = ("Merge", "RefMerge")


def read_graph_def(source: str | os.PathLike[str] | bytes) -> GraphDef:
    """The GraphDef in a .pb or .pbtxt file, or in bytes of either form.

    OSError where there is no such file, DataLossError where it holds no GraphDef.
    """
    data = source
    if not isinstance(data, bytes):
        with open(source, "rb") as file:
            data = file.read()
    graph_def = GraphDef()
    if _is_text(data):
        from_text(data, graph_def)
    else:
        graph_def.ParseFromString(data)
    if not graph_def.node:
        raise DataLossError(None, None, "there is no node in it: this is no GraphDef")
    if any(not node.name or not node.op for node in graph_def.node):
        raise DataLossError(None, None, "a node has no name or no op: this is no GraphDef")
    return graph_def


def _is_text(data: bytes) -> bool:
    """Binary GraphDefs begin with the field `node`, whose tag is a newline in text, too; but each
    node of theirs has the tag of `op`, which is no character of text.
    """
    start = data[:4096]
    controls = set(range(32)) - set(b"\t\n\v\f\r")
    return start.lstrip()[:1] in (b"n", b"v", b"l", b"#") and controls.isdisjoint(start)


def import_graph_def(
    graph_def: Any,
    input_map: Mapping[str, Any] | None = None,
    return_elements: Sequence[str] | None = None,
    name: str | None = None,
    op_dict: Any = None,
    producer_op_list: Any = None,
) -> list[Any] | None:
    """Add the nodes of `graph_def` to the default graph, under the scope `name` ("import").

    `input_map` replaces tensors of the GraphDef ("x:0") by tensors of the graph. Returns the
    operations and tensors that `return_elements` names, None without it. `op_dict` and
    `producer_op_list` are ignored. Raises TypeError and ValueError as TensorFlow does.
    """
    if not isinstance(graph_def, GraphDef):
        raise TypeError(f"graph_def must be a GraphDef, but got {type(graph_def).__name__}.")
    graph = get_default_graph()
    replaced = {_full(key): value for key, value in (input_map or {}).items()}
    with graph.name_scope("import" if name is None else name or None) as scope:
        prefix = scope
    importing = _Nodes(graph, prefix, {n.name: n for n in graph_def.node}, replaced)
    if len(importing.nodes) != len(graph_def.node):
        raise ValueError("the GraphDef has two nodes of one name")
    importing.run()
    unused = replaced.keys() - importing.mapped
    if unused:
        raise ValueError(
            "Attempted to map inputs that were not found in graph_def: " + f"[{', '.join(unused)}]"
        )
    graph.functions.update({f.signature.name: f for f in graph_def.library.function})
    if return_elements is None:
        return None
    return [importing.element(text) for text in return_elements]


def _full(name: str) -> str:
    return name if name.startswith("^") or ":" in name else f"{name}:0"


class _Nodes:
    """The nodes of one GraphDef (or function) on their way into `graph`."""

    def __init__(
        self,
        graph: Graph,
        prefix: str,
        nodes: dict[str, NodeDef],
        replaced: Mapping[str, Any],
        inside_function: bool = False,
    ) -> None:
        self.graph, self.prefix, self.nodes = graph, prefix, nodes
        self.replaced, self.mapped = replaced, set[str]()
        self.inside_function = inside_function
        self.made: dict[str, Operation] = {}
        self.late: list[tuple[Operation, int, str]] = []  # inputs that close a loop

    def run(self) -> None:
        for node in self._ordered():
            self.made[node.name] = self._make(node)
        for op, index, text in self.late:
            tensor = self.tensor(text)
            assert tensor is not None
            op.inputs[index] = tensor

    def element(self, text: str) -> Any:
        """The tensor or operation that `text` names."""
        if text.partition(":")[0] not in self.made:
            raise ValueError(f"Requested return_element {text!r} not found in graph_def.")
        if ":" not in text:
            return self.made[text]
        return self.tensor(text)

    def _sources(self, node: NodeDef) -> list[str]:
        """Names of the nodes that must be made before `node`."""
        found = []
        for text in node.input:
            name = text.lstrip("^").partition(":")[0]
            source = self.nodes.get(name)
            closes = node.op in _MERGES and source is not None and source.op in _BACK_EDGES
            if source is not None and not closes and not self._is_replaced(text):
                found.append(name)
        return found

    def _is_replaced(self, text: str) -> bool:
        return _full(text) in self.replaced

    def _ordered(self) -> list[NodeDef]:
        """Producers first; ValueError where nodes wait for each other."""
        done: dict[str, NodeDef] = {}
        waiting: set[str] = set()
        for first in self.nodes:
            stack = [first]
            while stack:
                name = stack[-1]
                if name in done:
                    stack.pop()
                    continue
                missing = [s for s in self._sources(self.nodes[name]) if s not in done]
                if not missing:
                    done[stack.pop()] = self.nodes[name]
                    waiting.discard(name)
                    continue
                waiting.add(name)
                for source in missing:
                    if source in waiting:
                        raise ValueError(
                            f"node '{name}' and node '{source}' wait for each other: damaged"
                        )
                stack += missing
        return list(done.values())

    def tensor(self, text: str) -> Tensor | None:
        """The tensor of an input "name", "name:1" or, inside a function, "name:output:1"."""
        full = _full(text)
        if full in self.replaced:
            self.mapped.add(full)
            return self.replaced[full]
        name, *rest = text.split(":")
        op = self.made.get(name)
        if op is None:
            return None
        try:
            index = int(rest[-1]) if rest else 0
            if len(rest) == 2:
                index = output_index(op.type, op._attrs, rest[0], index)
        except ValueError as error:
            raise ValueError(f"input '{text}' names no output: {error}") from None
        if len(op.outputs) <= index and op.definition.name not in OPS and 0 <= index < 4096:
            kinds = {o.dtype for o in op.outputs}
            kind = kinds.pop() if len(kinds) == 1 else float32
            for more in range(len(op.outputs), index + 1):  # an op that nothing is known of
                op.outputs.append(Tensor(op, more, kind, TensorShape(None)))
        if not 0 <= index < len(op.outputs):
            raise ValueError(f"input '{text}' names output {index} of {len(op.outputs)}: damaged")
        return op.outputs[index]

    def _make(self, node: NodeDef) -> Operation:
        try:
            attrs = node_attributes(node)
            inputs, controls, late = self._inputs(node)
            definition = OPS.get(node.op)
            if definition is None or not _fits(definition, node, attrs, len(inputs)):
                definition = _opaque(node.op, attrs, inputs)
            name = f"{self.prefix}{node.name}"
            if name in self.graph._by_name:
                raise ValueError("a node of this name is in the graph already")
            op = self.graph.create_op(
                node.op, [t for t in inputs if t is not None], attrs, name + "/", definition
            )
            self.graph.unique_name(name)
        except OpError as error:
            raise type(error)(None, None, f"node '{node.name}': {error.message}") from None
        except _MISFITS as error:
            what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
            raise ValueError(f"node '{node.name}' ({node.op}): {what}") from None
        if late:
            op.inputs = list(inputs)  # type: ignore[arg-type]
            self.late += [(op, index, text) for index, text in late]
        op.control_inputs = controls
        op.device = node.device
        op._imported = True
        return op

    def _inputs(
        self, node: NodeDef
    ) -> tuple[list[Tensor | None], list[Operation], list[tuple[int, str]]]:
        inputs: list[Tensor | None] = []
        controls: list[Operation] = []
        late: list[tuple[int, str]] = []
        for text in node.input:
            if text.startswith("^"):
                if text[1:] in self.made:
                    controls.append(self.made[text[1:]])
                elif text[1:] not in self.nodes and not self.inside_function:
                    raise ValueError(f"waits for '{text[1:]}', which is not in the GraphDef")
                continue
            tensor = self.tensor(text)
            if tensor is None:
                if text.partition(":")[0] not in self.nodes:
                    raise ValueError(f"reads '{text}', which is not in the GraphDef: damaged")
                late.append((len(inputs), text))
            inputs.append(tensor)
        return inputs, controls, late


def node_attributes(node: NodeDef) -> dict[str, Any]:
    """A node's attributes as Python values, with the defaults of those it lacks."""
    known = signature(node.op)
    attrs = dict(known.defaults) if known is not None else {}
    for name, value in node.attr.items():
        attrs[name] = attribute(value)
    return attrs


def attribute(value: AttrValue) -> Any:
    """An AttrValue as a Python value: texts as str, types as DType, shapes as TensorShape, tensors
    as arrays; functions stay NameAttrList.
    """
    which = value.WhichOneof()
    if which is None:
        return None
    if which == "list":
        for field in value.list.FIELDS.values():
            items = getattr(value.list, field.name)
            if items:
                return [_plain(field.name, item) for item in items]
        return []
    return _plain(which, getattr(value, which))


def _plain(which: str, value: Any) -> Any:
    if which == "s":
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    if which == "type":
        return dtype_of(value)
    if which == "shape":
        return shape_of(value)
    return array_of(value) if which == "tensor" else value


def _fits(definition: OpDef, node: NodeDef, attrs: Mapping[str, Any], count: int) -> bool:
    """Whether the engine computes this use of an op that it knows; False for more than it does."""
    formal = definition.inputs
    if not any(i.is_list for i in formal) and count != len(formal):
        raise ValueError(f"has {count} inputs instead of {len(formal)}: damaged")
    if count < len(formal) - 1:
        raise ValueError(f"has {count} inputs: damaged")
    if any(attrs.get(name) for name in ("explicit_paddings",)):
        return False
    return attrs.get("data_format", "NHWC") in ("NHWC", "NCHW")


def _opaque(op_type: str, attrs: Mapping[str, Any], inputs: Sequence[Tensor | None]) -> OpDef:
    """A record of an op that the engine cannot compute."""
    types = output_types(op_type, attrs)
    registered = types is not None
    if types is None:
        types = _guessed(attrs, inputs)

    def run(context: Any, op: Operation, *_: Any) -> Any:
        if registered:
            raise UnimplementedError(
                None, op, f"{op_type} is kept as it was imported: the host engine cannot compute it"
            )
        raise NotFoundError(None, op, f"Op type not registered: '{op_type}'")

    count = len(types)
    return OpDef(
        op_type,
        (),
        shape=lambda op: [None] * count,
        dtype=lambda op: types,
        run=run,
    )


def _guessed(attrs: Mapping[str, Any], inputs: Sequence[Tensor | None]) -> list[DType]:
    """Types of the outputs of an op that is in no list, by the attributes that usually say so."""
    for name in ("Tout", "output_types"):
        if isinstance(attrs.get(name), list):
            return [t for t in attrs[name] if isinstance(t, DType)]
    for name in ("DstT", "out_type", "output_type", "dtype", "T"):
        if isinstance(attrs.get(name), DType):
            return [attrs[name]]
    return [next((t.dtype for t in inputs if t is not None), float32)]


def function_graph(function: FunctionDef, functions: Mapping[str, FunctionDef]) -> tuple[
    Graph, list[Tensor], list[Tensor]
]:  # fmt: skip
    """(graph, arguments, results) of a function: the arguments are opaque ops of type "Arg".

    ValueError where it is damaged, or written for types that only a call would decide.
    """
    graph = Graph()
    graph.functions = dict(functions)
    importing = _Nodes(graph, "", {n.name: n for n in function.node_def}, {}, True)
    arguments = []
    for arg in function.signature.input_arg:
        if not arg.type or arg.number_attr or arg.type_list_attr:
            raise ValueError(f"argument '{arg.name}' of function has no type of its own")
        dtype = dtype_of(arg.type)
        made = argument(graph, arg.name + "/", dtype)
        importing.made[arg.name] = made.op
        arguments.append(made)
    importing.run()
    results = []
    for arg in function.signature.output_arg:
        tensor = importing.tensor(function.ret[arg.name]) if arg.name in function.ret else None
        if tensor is None:
            raise ValueError(f"result '{arg.name}' of function is computed by nothing: damaged")
        results.append(tensor)
    return graph, arguments, results
