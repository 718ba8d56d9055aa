# SPDX-License-Identifier: Apache-2.0
"""Calls of functions written out: TensorFlow 2 keeps a model's nodes in functions."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence

from host_engine.errors import InvalidArgumentError
from host_engine.graphdef.exporting import called_functions
from host_engine.graphdef.importing import node_attributes
from host_engine.graphdef.messages import FunctionDef, GraphDef, NodeDef
from host_engine.graphdef.signatures import output_index

CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_DEEPEST = 64  # calls within calls


def inline_calls(graph_def: GraphDef, tensors: Sequence[str]) -> tuple[GraphDef, list[str]]:
    """The graph with the nodes of called functions in place of the calls, under their own names
    where these are free; and what `tensors` ("name:1") are called in it.

    The functions of loops and branches stay functions. Nothing waits for a call any more.
    InvalidArgumentError where a function is missing, damaged, or calls itself.
    """
    library = {function.signature.name: function for function in graph_def.library.function}
    made = GraphDef()
    made.versions.CopyFrom(graph_def.versions)
    try:
        scope = _Scope(made, library, set(), graph_def.node, {}, "", 0)
        scope.write()
        found = [scope.tensor(text) for text in tensors]
    except RecursionError:
        raise _damaged("its calls are nested too deeply") from None
    made.library.function.extend(map(copy.deepcopy, called_functions(made.node, graph_def)))
    return made, found


def _damaged(what: str) -> InvalidArgumentError:
    return InvalidArgumentError(None, None, f"{what}: the file is damaged")


class _Scope:
    """The nodes of the graph, or of a function that is called with the arguments `given`."""

    def __init__(
        self,
        made: GraphDef,
        library: Mapping[str, FunctionDef],
        used: set[str],
        nodes: Iterable[NodeDef],
        given: Mapping[str, str],
        prefix: str,
        depth: int,
    ) -> None:
        self.made, self.library, self.used = made, library, used
        self.given, self.depth = given, depth
        self.nodes = {node.name: node for node in nodes}
        self.results: dict[str, list[str] | None] = {}  # of calls; None while one is written
        self.names = {name: self._unused(name, prefix) for name in self.nodes}

    def _unused(self, name: str, prefix: str) -> str:
        """A node's name in the whole graph: its own, or behind the names of its calls."""
        if name in self.used:
            name = f"{prefix}/{name}"
        while name in self.used:
            name += "_"
        self.used.add(name)
        return name

    def write(self) -> None:
        """Add all nodes, calls written out."""
        for name, node in self.nodes.items():
            if node.op in CALLS:
                self._called(node)
                continue
            twin = copy.deepcopy(node)
            twin.name = self.names[name]
            texts = [self.tensor(text) for text in node.input]
            del twin.input[:]
            twin.input.extend(text for text in texts if text)
            self.made.node.append(twin)

    def tensor(self, text: str) -> str:
        """What an input is called in the whole graph; "" for one that only waits for a call."""
        if text.startswith("^"):
            node = self.nodes.get(text[1:])
            return "" if node is None or node.op in CALLS else f"^{self.names[node.name]}"
        name, *rest = text.split(":")
        if name in self.given:
            return self.given[name]
        if name not in self.nodes:
            raise _damaged(f"'{text}' is read, and nothing computes it")
        node = self.nodes[name]
        try:
            index = int(rest[-1]) if rest else 0
            if len(rest) == 2:
                index = output_index(node.op, node_attributes(node), rest[0], index)
            if node.op in CALLS:
                return self._called(node)[index]
        except (ValueError, IndexError, KeyError):
            raise _damaged(f"'{text}' names no output") from None
        return f"{self.names[name]}:{index}" if index else self.names[name]

    def _called(self, node: NodeDef) -> list[str]:
        """The results of a call, whose function is written at the first time."""
        if node.name in self.results:
            found = self.results[node.name]
            if found is None:
                raise _damaged(f"the call '{node.name}' reads its own results")
            return found
        self.results[node.name] = None
        function = self.library.get(node.attr["f"].func.name)
        if function is None or self.depth == _DEEPEST:
            raise _damaged(f"the call '{node.name}' is of no function, or never ends")
        arguments = [arg.name for arg in function.signature.input_arg]
        texts = [text for text in node.input if not text.startswith("^")]
        if len(arguments) != len(texts):
            raise _damaged(f"the call '{node.name}' has {len(texts)} arguments")
        given = dict(zip(arguments, map(self.tensor, texts), strict=True))
        names = (self.names[node.name], self.depth + 1)
        inner = _Scope(self.made, self.library, self.used, function.node_def, given, *names)
        inner.write()
        ends = [arg.name for arg in function.signature.output_arg]
        results = [inner.tensor(function.ret.get(name, name)) for name in ends]
        self.results[node.name] = results
        return results
