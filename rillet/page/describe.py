# SPDX-License-Identifier: Apache-2.0
"""A model as the page wants it: plain dictionaries and lists, with every box's place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import runtime
from converter.ir import Graph, Model, Node, Value
from converter.tensor_types import NUMPY_TYPES
from rillet.page.layout import layered
from rillet.page.memory import live_bytes, peak
from rillet.tensors import constant_bytes, described

NODE, PILL = (240.0, 98.0), (240.0, 46.0)  # width and height of boxes
SHOWN = 8  # values of a list or constant
LONGEST = 120  # characters of a text among options and values


def graphs_of(
    model: Model, interpreter: runtime.Interpreter | None, timed: bool
) -> list[dict[str, Any]]:
    """Every graph: its tensors, nodes with costs, boxes and edges with places.

    `interpreter` tells costs and sizes; None where the model does not run here. `timed`: it has
    been made with profile=True and invoked.
    """
    return [
        _Described(graph, position, model, interpreter, timed).result()
        for position, graph in enumerate(model.graphs)
    ]


def memory_of(
    model: Model, interpreter: runtime.Interpreter, threads: int
) -> dict[str, Any] | None:
    """Live bytes per node of the main graph, their peak, and the arena; None without nodes."""
    own = _indices(model.main, interpreter.nodes())
    variables = [own[v] for v in model.main.values() if v.is_variable and v in own]
    live = live_bytes(interpreter, variables, threads)
    highest = peak(live)
    return highest and {**live, "peak": highest, "arena": interpreter.memory()["arena"]}


def _indices(graph: Graph, rows: Sequence[dict[str, Any]]) -> dict[Value, int]:
    """The file's index of every tensor that a node reads or writes."""
    found = {}
    for node, row in zip(graph.nodes, rows, strict=True):
        for values, places in ((node.inputs, row["inputs"]), (node.outputs, row["outputs"])):
            pairs = zip(values, places, strict=True)
            found.update({value: place for value, place in pairs if value is not None})
    return found


class _Described:
    """One graph."""

    def __init__(
        self,
        graph: Graph,
        position: int,
        model: Model,
        interpreter: runtime.Interpreter | None,
        timed: bool,
    ) -> None:
        self.graph, self.model = graph, model
        self.values = list(graph.values())
        self.numbers = {value: number for number, value in enumerate(self.values)}
        self.rows: list[dict[str, Any]] = [{} for _ in graph.nodes]
        self.memory: list[dict[str, Any]] = []
        self.indices: dict[Value, int] = {}
        if interpreter is not None:
            self.rows = interpreter.profile(position) if timed else interpreter.nodes(position)
            self.memory = interpreter.tensor_memory(position)
            self.indices = _indices(graph, self.rows)

    def result(self) -> dict[str, Any]:
        boxes, edges = self._boxes()
        sizes = [NODE if box["kind"] == "node" else PILL for box in boxes]
        drawing = layered(sizes, edges)
        for box, (width, height), (x, y) in zip(boxes, sizes, drawing.centres, strict=True):
            box |= {"x": round(x - width / 2), "y": round(y - height / 2)}
            box |= {"w": round(width), "h": round(height)}
        first: set[Value] = set()
        return {
            "name": self.graph.name,
            "tensors": [self._tensor(value) for value in self.values],
            "nodes": [
                self._node(node, row, first)
                for node, row in zip(self.graph.nodes, self.rows, strict=True)
            ],
            "inputs": [self.numbers[value] for value in self.graph.inputs],
            "outputs": [self.numbers[value] for value in self.graph.outputs],
            "boxes": boxes,
            "edges": [
                {
                    "tensor": tensor,
                    "from": source,
                    "to": target,
                    "points": [round(part) for point in route for part in point],
                }
                for (source, target, tensor), route in zip(edges, drawing.routes, strict=True)
            ],
            "width": round(drawing.width),
            "height": round(drawing.height),
        }

    def _boxes(self) -> tuple[list[dict[str, Any]], list[tuple[int, int, int]]]:
        """Inputs and state, nodes, outputs; and what leads from one to another."""
        boxes: list[dict[str, Any]] = []
        origin: dict[Value, int] = {}
        for value in self.values:
            is_input = self.graph.is_input(value)
            if is_input or (value.producer is None and not value.is_constant and value.users):
                origin[value] = len(boxes)
                kind = "input" if is_input else "state"
                boxes.append({"kind": kind, "tensor": self.numbers[value]})
        for position, node in enumerate(self.graph.nodes):
            origin.update(dict.fromkeys(node.outputs, len(boxes)))
            boxes.append({"kind": "node", "node": position})
        edges: dict[tuple[int, int, int], None] = {}  # each once, in order
        start = len(boxes) - len(self.graph.nodes)
        for position, node in enumerate(self.graph.nodes):
            for read in node.inputs:
                if read is not None and read in origin:
                    edges[origin[read], start + position, self.numbers[read]] = None
        for value in self.graph.outputs:
            if value in origin:
                edges[origin[value], len(boxes), self.numbers[value]] = None
            boxes.append({"kind": "output", "tensor": self.numbers[value]})
        return boxes, list(edges)

    def _tensor(self, value: Value) -> dict[str, Any]:
        memory = self.memory[self.indices[value]] if value in self.indices else None
        found = described(value)
        if memory and -1 not in found["shape"]:
            found["shape"] = memory["shape"]
        found |= {"bytes": memory["bytes"] if memory else _bytes(value), "known": value.is_constant}
        if found["scales"]:
            found["scale"] = _plain(found["scale"])
        if value.is_variable:
            found["variable"] = True
        if value.data is not None and value.data.size:
            found["values"] = [_plain(item) for item in value.data.ravel()[:SHOWN]]
            if value.data.dtype.kind in "fiu" and np.isfinite(value.data).all():
                found["range"] = [_plain(value.data.min()), _plain(value.data.max())]
        return found

    def _node(self, node: Node, row: dict[str, Any], first: set[Value]) -> dict[str, Any]:
        """`first` collects the constants that have been counted at the node that reads them."""
        constants = [v for v in node.inputs if v is not None and v.is_constant and v not in first]
        first.update(constants)
        options = {key: _plain(item) for key, item in node.options.items()}
        if node.custom_options:
            options["custom_options"] = f"{len(node.custom_options)} bytes"
        return {
            "op": node.kind,
            "version": node.version,
            "inputs": [-1 if value is None else self.numbers[value] for value in node.inputs],
            "outputs": [self.numbers[value] for value in node.outputs],
            "options": options,
            "calls": self._calls(node),
            "constants": sum(constant_bytes(value) for value in dict.fromkeys(constants)),
            **{
                key: row[key]
                for key in ("macs", "packed", "scratch", "loop", "microseconds")
                if key in row
            },
        }

    def _calls(self, node: Node) -> list[dict[str, Any]]:
        """The graphs that the node runs, with what they are to it."""
        found = []
        for name, item in node.options.items():
            is_graph = name == "subgraph" or name.endswith("subgraph_index")
            if (
                is_graph
                and isinstance(item, (int, np.integer))
                and 0 < item < len(self.model.graphs)
            ):
                role = name.removesuffix("_index").removesuffix("subgraph").strip("_")
                found.append({"graph": int(item), "role": role or "graph"})
        return found


def _bytes(value: Value) -> int:
    if value.is_constant:
        return constant_bytes(value)
    return value.size * NUMPY_TYPES[value.dtype].itemsize if value.dtype in NUMPY_TYPES else 0


def _plain(item: Any) -> Any:
    """As JSON has it: lists and texts cut, numbers that JSON lacks as text."""
    if isinstance(item, np.ndarray):
        item = item.ravel()
    if isinstance(item, (np.ndarray, list, tuple)):
        shown = [_plain(part) for part in item[:SHOWN]]
        return [*shown, f"... {len(item)} in all"] if len(item) > SHOWN else shown
    if isinstance(item, np.generic):
        item = item.item()
    if isinstance(item, bytes):
        item = item.decode("utf-8", "replace")
    if isinstance(item, float) and not math.isfinite(item):
        return str(item)
    if item is None or isinstance(item, (bool, int, float)):
        return item
    text = str(item)
    return text if len(text) <= LONGEST else text[:LONGEST] + "..."
