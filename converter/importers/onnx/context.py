# SPDX-License-Identifier: Apache-2.0
"""What a row of the ONNX importer sees: one node, its inputs as IR values, and the builder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx

from converter import ir
from converter.importers.builder import Builder
from converter.importers.no_form import NoForm


class Listed(ir.Value):
    """A sequence of tensors; it stands among the values, but no node reads it."""

    def __init__(self, items: Sequence[ir.Value]) -> None:
        super().__init__("sequence", "FLOAT32", ())
        self.items = list(items)


class Context:
    """One ONNX node. Rows read it through these methods and append to `b`.

    `opset` is the version of the node's domain that the model imports.
    """

    def __init__(self, graph: Any, node: onnx.NodeProto, opset: int) -> None:
        self.graph = graph  # onnx_graph.GraphImport: for rows that convert subgraphs
        self.b: Builder = graph.builder
        self.node = node
        self.opset = opset
        self._attributes = {a.name: a for a in node.attribute}

    @property
    def n_inputs(self) -> int:
        return len(self.node.input)

    @property
    def n_outputs(self) -> int:
        return len(self.node.output)

    def wants(self, index: int) -> bool:
        """Whether output `index` is there and named."""
        return index < len(self.node.output) and bool(self.node.output[index])

    def attr(self, name: str, default: Any = None) -> Any:
        """Attribute `name`: int, float, str, list, np.ndarray or GraphProto."""
        if name not in self._attributes:
            return default
        value = onnx.helper.get_attribute_value(self._attributes[name])
        if isinstance(value, bytes):
            return value.decode()
        if isinstance(value, onnx.TensorProto):
            return self.graph.array_of(value)
        if isinstance(value, list) and value and isinstance(value[0], bytes):
            return [item.decode() for item in value]
        return value

    def has(self, index: int) -> bool:
        """Whether input `index` is given."""
        return index < len(self.node.input) and bool(self.node.input[index])

    def input(self, index: int) -> ir.Value:
        """Input `index`; NoForm where the node lacks it, or where it is a sequence."""
        value = self.any(index)
        if isinstance(value, Listed):
            raise NoForm(f"reads the sequence '{self.node.input[index]}', and takes tensors")
        return value

    def any(self, index: int) -> ir.Value:
        """Input `index`, a tensor or a :class:`Listed`."""
        if not self.has(index):
            raise NoForm(f"lacks its input {index}: the file is damaged, or of another opset")
        found: ir.Value = self.graph.value(self.node.input[index])
        return found

    def listed(self, index: int) -> list[ir.Value]:
        """The tensors of input `index`, a sequence."""
        value = self.any(index)
        if not isinstance(value, Listed):
            raise NoForm(f"reads the tensor '{self.node.input[index]}', and takes sequences")
        return value.items

    def optional(self, index: int) -> ir.Value | None:
        return self.input(index) if self.has(index) else None

    def inputs(self) -> list[ir.Value]:
        return [self.input(i) for i in range(len(self.node.input))]

    def array(self, index: int, what: str) -> np.ndarray:
        """Input `index` in numbers; NoForm if it is computed from the model's inputs."""
        if self.has(index):
            held = self.graph.held_array(self.node.input[index])
            if held is not None:
                return held
        return self.b.require(self.input(index), what)

    def numbers(self, name: str, index: int, what: str) -> list[int] | None:
        """Integers that are attribute `name` in old opsets and input `index` in new ones."""
        if self.has(index):
            return [int(n) for n in self.array(index, what).reshape(-1)]
        given = self.attr(name)
        return None if given is None else [int(n) for n in given]


Row = Callable[[Context], "ir.Value | Sequence[ir.Value]"]
Rows = dict[str, Row]
