# SPDX-License-Identifier: Apache-2.0
"""What a row of the PyTorch importer sees: one ATen call with its arguments by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from converter import ir
from converter.importers.builder import Builder
from converter.importers.no_form import NoForm
from converter.importers.torch import types


class Context:
    """One call. Arguments are what the schema of the op names them: values for tensors and for
    sizes that are computed, Python's numbers, strings and lists for the rest.
    """

    def __init__(self, graph: Any, node: torch.fx.Node, arguments: dict[str, Any]) -> None:
        self.graph = graph
        self.b: Builder = graph.builder
        self.node = node
        self.arguments = arguments

    def arg(self, name: str) -> Any:
        return self.arguments[name]

    def value(self, name: str) -> ir.Value:
        """A tensor argument; NoForm where it is absent."""
        found = self.arguments.get(name)
        if not isinstance(found, ir.Value):
            raise NoForm(f"lacks its tensor '{name}'")
        return found

    def optional(self, name: str) -> ir.Value | None:
        found = self.arguments.get(name)
        return found if isinstance(found, ir.Value) else None

    def values(self, name: str) -> list[ir.Value]:
        """A list of tensors."""
        return [self.tensor(item) for item in self.arguments[name]]

    def tensor(self, item: Any, like: ir.Value | None = None) -> ir.Value:
        """A tensor, or a number as a constant of rank 0 in the type of `like`."""
        if isinstance(item, ir.Value):
            return item
        kind = np.asarray(item).dtype if like is None else ir.numpy_dtype(like.dtype)
        return self.b.constant(item, "number", kind)

    def sizes(self, name: str) -> list[int | ir.Value]:
        """A list of sizes: numbers, or values of rank 0 where they are dynamic."""
        return list(self.arguments[name])

    def result_type(self, index: int = 0) -> str:
        """TensorType of result `index`, as PyTorch's own type rules say."""
        found = self.node.meta["val"]
        if isinstance(found, list | tuple):
            found = found[index]
        return types.inner_type(found.dtype)


# A row gives a value, several, or a size as a number.
Row = Callable[[Context], Any]
Rows = dict[str, Row]
