# SPDX-License-Identifier: Apache-2.0
"""The in-memory form of a ``.tflite`` file: graphs of typed values with producer and users.

Edges are objects: a :class:`Node` holds the :class:`Value` objects it reads and writes, a value
knows its producer and its users. Names exist for messages and for files. Enums are the schema's
names (``"FLOAT32"``, ``"CONV_2D"``), layouts are TFLite's (NHWC activations, OHWI filters).

``node.inputs``, ``value.users`` and ``value.producer`` are kept in agreement by :class:`Graph` and
by :meth:`Node.set_input`; read the lists freely, change them only through those.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from converter import schema
from converter.errors import ConversionError
from converter.quantization import Quantization, QuantizationDetails
from converter.tensor_types import dtype_name, numpy_dtype

__all__ = [
    "Graph",
    "Model",
    "Node",
    "Quantization",
    "QuantizationDetails",
    "Signature",
    "Value",
    "dtype_name",
    "numpy_dtype",
]


class Value:
    """A tensor: an edge of the graph.

    `shape` is concrete (1 where a dimension is dynamic); `shape_signature` has -1 there, or is
    None.
    `data` is the constant's array (never written to in place; arrays are shared between models).
    `users` has one entry per use, so a node that reads a value twice is listed twice.
    """

    __slots__ = (
        "data",
        "dtype",
        "is_variable",
        "name",
        "producer",
        "quant",
        "shape",
        "shape_signature",
        "sparsity",
        "users",
        "variant_tensors",
    )

    def __init__(
        self,
        name: str,
        dtype: str,
        shape: Sequence[int],
        *,
        data: np.ndarray | None = None,
        shape_signature: Sequence[int] | None = None,
        quant: Quantization | None = None,
        is_variable: bool = False,
    ) -> None:
        self.name = name
        self.dtype = dtype
        self.shape = tuple(int(d) for d in shape)
        self.shape_signature = (
            None if shape_signature is None else tuple(int(d) for d in shape_signature)
        )
        self.quant = quant
        self.data = data
        self.is_variable = is_variable
        self.producer: Node | None = None
        self.users: list[Node] = []
        self.sparsity: dict[str, Any] | None = None  # SparsityParameters by schema field name
        self.variant_tensors: list[dict[str, Any]] | None = None  # VariantSubType, likewise

    @classmethod
    def constant(
        cls, name: str, data: Any, *, quant: Quantization | None = None, dtype: str | None = None
    ) -> Value:
        """A constant of `data`'s shape; `dtype` defaults to the array's own TensorType."""
        array = np.asarray(data)
        name_of_type = dtype or dtype_name(array.dtype)
        array = np.array(array, numpy_dtype(name_of_type), order="C")
        return cls(name, name_of_type, array.shape, data=array, quant=quant)

    @property
    def is_constant(self) -> bool:
        return self.data is not None

    @property
    def is_quantized(self) -> bool:
        """True when scales (or quantization details) give the integers a real meaning."""
        return self.quant is not None and (
            self.quant.scale.size > 0 or self.quant.details is not None
        )

    @property
    def size(self) -> int:
        """Number of elements of `shape`."""
        count = 1
        for dim in self.shape:
            count *= dim
        return count

    def __repr__(self) -> str:
        kind = "const " if self.is_constant else ""
        return f"<{kind}{self.name!r} {self.dtype}{list(self.shape)}>"


_NEAR = 64  # nodes on either side that index() looks at first


class Node:
    """One operator. `op` is a BuiltinOperator name; ``"CUSTOM"`` goes with `custom_code`.

    `options` maps schema field names of the op's options table to values (enums by name, vectors as
    NumPy arrays or lists); fields left out have the schema's default. `inputs` holds None where an
    optional input is absent.
    """

    __slots__ = (
        "custom_code",
        "custom_options",
        "inputs",
        "intermediates",
        "mutating_variable_inputs",
        "name",
        "op",
        "options",
        "options_type",
        "outputs",
        "version",
    )

    def __init__(self, op: str, options: Mapping[str, Any] | None = None) -> None:
        self.op = op
        self.options: dict[str, Any] = dict(options or {})
        self.options_type: str | None = None  # union member, where a file departs from the op's own
        self.custom_code: str | None = None
        self.custom_options: bytes = b""
        self.version: int | None = None  # as read; the writer computes the lowest that fits
        self.name: str = ""  # of the source op, for messages; files do not keep it
        self.inputs: list[Value | None] = []
        self.outputs: list[Value] = []
        self.intermediates: list[Value | None] = []
        self.mutating_variable_inputs: list[bool] = []

    @property
    def kind(self) -> str:
        """What people call the op: a composite by its name, a custom op by its code."""
        if self.op == "STABLEHLO_COMPOSITE":
            return str(self.options.get("name") or self.op)
        return self.custom_code or self.op

    @property
    def label(self) -> str:
        """What messages call this node: its kind and source name, else its first output's name."""
        own = self.name or (self.outputs[0].name if self.outputs else "")
        return f"{self.kind} '{own}'"

    def option(self, name: str) -> Any:
        """Option `name`, or its default in the schema; KeyError if the op has no such option."""
        if name in self.options:
            return self.options[name]
        table = schema.options_of(self.op)
        return schema.field(table, name).default if table else self.options[name]

    def set_input(self, index: int, value: Value | None) -> None:
        """Make input `index` read `value`, keeping both values' users right."""
        old = self.inputs[index]
        if old is not None:
            _remove_one(old.users, self)
        self.inputs[index] = value
        if value is not None:
            value.users.append(self)

    def add_input(self, value: Value | None) -> None:
        """Append an input."""
        self.inputs.append(value)
        if value is not None:
            value.users.append(self)

    def __repr__(self) -> str:
        return f"<{self.label} {self.inputs} -> {self.outputs}>"


class Graph:
    """A subgraph: `nodes` in topological order between `inputs` and `outputs`."""

    def __init__(
        self, name: str = "main", inputs: Sequence[Value] = (), outputs: Sequence[Value] = ()
    ) -> None:
        self.name = name
        self.inputs: list[Value] = list(inputs)
        self.outputs: list[Value] = list(outputs)
        self.nodes: list[Node] = []
        self._last_index = 0  # where index() found its last node

    # -- building -----------------------------------------------------------------------------

    def add_input(self, name: str, dtype: str, shape: Sequence[int], **kwargs: Any) -> Value:
        """Create a value, list it as the next graph input, return it."""
        value = Value(name, dtype, shape, **kwargs)
        self.inputs.append(value)
        return value

    def add_node(
        self,
        op: str,
        inputs: Sequence[Value | None],
        outputs: Sequence[Value],
        options: Mapping[str, Any] | None = None,
        *,
        before: Node | None = None,
        after: Node | None = None,
        name: str = "",
        custom_code: str | None = None,
        custom_options: bytes = b"",
    ) -> Node:
        """Create a node, wire it, and place it at the end, `before` or `after` another node."""
        node = Node(op, options)
        node.name, node.custom_code, node.custom_options = name, custom_code, bytes(custom_options)
        for value in inputs:
            node.add_input(value)
        for value in outputs:
            if value.producer is not None:
                raise ConversionError(
                    f"{value.name!r} is already produced by {value.producer.label}; "
                    f"{op} needs an output of its own"
                )
            value.producer = node
            node.outputs.append(value)
        if before is not None:
            self.nodes.insert(self.index(before), node)
        elif after is not None:
            self.nodes.insert(self.index(after) + 1, node)
        else:
            self.nodes.append(node)
        return node

    # -- changing -----------------------------------------------------------------------------

    def index(self, node: Node) -> int:
        """Position of `node` in the topological list."""
        nodes, last = self.nodes, self._last_index  # passes go from node to node
        for i in range(max(0, last - _NEAR), min(len(nodes), last + _NEAR)):
            if nodes[i] is node:
                self._last_index = i
                return i
        try:
            self._last_index = nodes.index(node)  # nodes are equal only to themselves
        except ValueError:
            raise ConversionError(f"{node.label} is not a node of graph {self.name!r}") from None
        return self._last_index

    def replace_value(self, old: Value, new: Value) -> None:
        """Let every user of `old`, and the graph's outputs, read `new` instead."""
        for user in list(dict.fromkeys(old.users)):
            for i, value in enumerate(user.inputs):
                if value is old:
                    user.set_input(i, new)
        self.outputs = [new if value is old else value for value in self.outputs]

    def remove_node(self, node: Node) -> None:
        """Unwire and drop `node`; ConversionError if something still reads its outputs."""
        for value in node.outputs:
            if value.users or self.is_output(value):
                raise ConversionError(
                    f"cannot remove {node.label}: its output {value.name!r} is still in use; "
                    "replace that value first"
                )
        for i in range(len(node.inputs)):
            node.set_input(i, None)
        for value in node.outputs:
            value.producer = None
        del self.nodes[self.index(node)]

    def set_output_of(self, node: Node, index: int, value: Value) -> None:
        """Let `node` produce `value` (which has no producer) as output `index`."""
        if value.producer is not None:
            raise ConversionError(f"{value.name!r} is already produced by {value.producer.label}")
        node.outputs[index].producer = None
        node.outputs[index] = value
        value.producer = node

    # -- asking -------------------------------------------------------------------------------

    def is_output(self, value: Value) -> bool:
        return any(value is out for out in self.outputs)

    def is_input(self, value: Value) -> bool:
        return any(value is inp for inp in self.inputs)

    def values(self) -> Iterator[Value]:
        """Every value once: inputs first, then in the order nodes mention them, then outputs."""
        seen: set[int] = set()

        def fresh(values: Sequence[Value | None]) -> Iterator[Value]:
            for value in values:
                if value is None or id(value) in seen:
                    continue
                seen.add(id(value))
                yield value
                if value.quant is not None and value.quant.details is not None:
                    yield from fresh([value.quant.details.scales, value.quant.details.zero_points])

        yield from fresh(self.inputs)
        for node in self.nodes:
            yield from fresh(node.inputs)
            yield from fresh(node.outputs)
            yield from fresh(node.intermediates)
        yield from fresh(self.outputs)


@dataclass
class Signature:
    """A named way to call `model.graphs[graph]`.

    `inputs` and `outputs` map argument names to positions in the graph's inputs and outputs.
    """

    key: str
    inputs: dict[str, int]
    outputs: dict[str, int]
    graph: int = 0


class Model:
    """All graphs of a file; `graphs[0]` is the main one.

    Options such as ``then_subgraph_index`` are positions in `graphs`. `metadata` holds the file's
    named byte strings, `files` the associated files (labels) that ride behind the model as a zip.
    """

    def __init__(self, graphs: Sequence[Graph] = (), description: str = "rillet") -> None:
        self.graphs: list[Graph] = list(graphs)
        self.signatures: list[Signature] = []
        self.metadata: dict[str, bytes] = {}
        self.files: dict[str, bytes] = {}
        self.description = description

    @property
    def main(self) -> Graph:
        return self.graphs[0]

    def end_names(self) -> tuple[list[str], list[str]]:
        """Names of the main graph's inputs and outputs: as its first signature has them, else the
        tensors' own (with ``#position`` behind, where these are not unique).
        """
        ends = [[value.name for value in side] for side in (self.main.inputs, self.main.outputs)]
        signature = next((s for s in self.signatures if s.graph == 0), None)
        if signature is None and any(len(set(names)) < len(names) for names in ends):
            ends = [[f"{name}#{i}" for i, name in enumerate(names)] for names in ends]
        if signature is not None:
            for names, places in zip(ends, (signature.inputs, signature.outputs), strict=True):
                for key, position in places.items():
                    names[position] = key
        return ends[0], ends[1]

    def copy(self) -> Model:
        """A model of its own: new graphs, nodes and values; constant arrays are shared."""
        twin = Model(description=self.description)
        twin.metadata, twin.files = dict(self.metadata), dict(self.files)
        twin.signatures = [
            replace(s, inputs=dict(s.inputs), outputs=dict(s.outputs)) for s in self.signatures
        ]
        twin.graphs = [_copy_graph(graph) for graph in self.graphs]
        return twin


def _remove_one(nodes: list[Node], node: Node) -> None:
    for i, candidate in enumerate(nodes):
        if candidate is node:
            del nodes[i]
            return


def _copy_graph(graph: Graph) -> Graph:
    twins: dict[int, Value] = {}
    for value in graph.values():
        twin = Value(
            value.name,
            value.dtype,
            value.shape,
            data=value.data,
            shape_signature=value.shape_signature,
            quant=value.quant and replace(value.quant),
            is_variable=value.is_variable,
        )
        twin.sparsity, twin.variant_tensors = value.sparsity, value.variant_tensors
        twins[id(value)] = twin

    def find(value: Value | None) -> Any:
        return None if value is None else twins[id(value)]

    for twin in twins.values():
        if twin.quant is not None and twin.quant.details is not None:
            details = twin.quant.details
            twin.quant.details = replace(
                details, scales=find(details.scales), zero_points=find(details.zero_points)
            )
    copy = Graph(graph.name, [find(v) for v in graph.inputs], [find(v) for v in graph.outputs])
    for node in graph.nodes:
        new = copy.add_node(
            node.op,
            [find(v) for v in node.inputs],
            [find(v) for v in node.outputs],
            node.options,
            name=node.name,
            custom_code=node.custom_code,
            custom_options=node.custom_options,
        )
        new.options_type, new.version = node.options_type, node.version
        new.intermediates = [find(v) for v in node.intermediates]
        new.mutating_variable_inputs = list(node.mutating_variable_inputs)
    return copy
