# SPDX-License-Identifier: Apache-2.0
"""Converts the operations of a host graph, or of a part of it such as a loop's body."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from converter import ir
from converter.errors import ConversionError
from converter.importers.builder import Builder, show_dims
from converter.importers.no_form import NoForm
from converter.importers.tensorflow import loops
from converter.importers.tensorflow.context import Context, Rows, narrowed
from converter.importers.tensorflow.random_draws import RANDOM

# What rows meet in a damaged file: attributes that are absent or of another kind.
_MISFITS = (TypeError, ValueError, KeyError, IndexError, AttributeError, ArithmeticError)


def producers_first(
    tensors: Sequence[Any],
    sources: Callable[[Any], Sequence[Any]],
    is_cut: Callable[[Any], bool],
) -> list[Any]:
    """Operations that `tensors` depend on, each behind those that make its `sources`; what lies
    before a tensor that `is_cut` is left out.
    """
    found: dict[Any, None] = {}
    opened: set[Any] = set()
    stack = [t.op for t in reversed(tensors) if not is_cut(t)]
    while stack:
        op = stack[-1]
        if op in opened:
            found.setdefault(stack.pop())
            continue
        opened.add(op)
        stack += [t.op for t in sources(op) if t.op not in opened and not is_cut(t)]
    return list(found)


class GraphImport:
    """A host graph (or what is inside a loop or a branch) on its way into `builder`.

    `arrays` are the tensors whose numbers are known. `outer` is the import around a body, whose
    tensors the body sees: those of the same graph by themselves, others by what is in `values`.
    `function` opens a function by its name: (graph, arguments, results).
    """

    def __init__(
        self,
        builder: Builder,
        rows: Rows,
        *,
        arrays: Mapping[Any, np.ndarray] | None = None,
        function: Callable[[str], tuple[Any, list[Any], list[Any]]] | None = None,
        outer: GraphImport | None = None,
        settle: Callable[[Any], np.ndarray | None] | None = None,
    ) -> None:
        self.builder, self.rows, self.outer = builder, rows, outer
        self.arrays: dict[Any, np.ndarray] = dict(arrays or {})
        self.open_function: Any = function or (outer.open_function if outer else None)
        self.settle = settle
        self.values: dict[Any, Any] = {}
        self.obstacles: list[str] = outer.obstacles if outer else []
        self.wanted: set[Any] = set()  # what somebody asked for, besides operations that read it
        self.lost: set[Any] = set()  # what an obstacle in the list would have computed
        self.shared: dict[Any, ir.Value] = {}  # constants in other layouts
        if outer is not None and outer.builder is builder:
            self.shared = outer.shared

    # -- what rows ask ------------------------------------------------------------------------

    def value(self, tensor: Any) -> Any:
        """What stands for `tensor`; constants are made when first asked for."""
        if tensor in self.values:
            return self.values[tensor]
        if tensor in self.arrays:
            name = self.builder.unique(_origin(tensor))
            self.values[tensor] = ir.Value.constant(name, narrowed(self.arrays[tensor]))
            return self.values[tensor]
        if tensor in self.lost:
            raise _Lost
        if self.outer is None:
            raise NoForm(f"reads '{tensor.name}', which nothing computes: the file is damaged")
        found = self.outer.value(tensor)
        if self.builder is not self.outer.builder:
            found = loops.captured(self.builder, found)
            self.values[tensor] = found
        return found

    def has(self, tensor: Any) -> bool:
        """Whether something stands for `tensor` already, here or in an import around."""
        if tensor in self.values or tensor in self.arrays or tensor in self.lost:
            return True
        return self.outer is not None and self.outer.has(tensor)

    def inside(self, builder: Builder) -> GraphImport:
        """An import of a part of this graph into another builder (or again into this one)."""
        return GraphImport(builder, self.rows, outer=self, settle=self.settle)

    # -- converting ---------------------------------------------------------------------------

    def convert(self, tensors: Sequence[Any]) -> list[Any]:
        """What stands for `tensors`, with all that they need converted. NoForm where an obstacle of
        theirs went into the list.
        """
        count = len(self.obstacles)
        scope = self.builder.scope
        self.prepare(tensors)
        self.builder.scope = scope
        if len(self.obstacles) > count:
            raise NoForm("runs what has obstacles of its own")
        return [self.value(tensor) for tensor in tensors]

    def prepare(self, tensors: Sequence[Any]) -> None:
        """Convert all that `tensors` need. What cannot be goes to `obstacles`, a sentence each."""
        self.wanted.update(tensors)
        for op in self._order(tensors):
            self.builder.scope = op.name
            try:
                self._convert(op)
            except _Lost:
                self.lost.update(op.outputs)
            except NoForm as error:
                self.lost.update(op.outputs)
                self.obstacles.append(f"{op.type} at node '{op.name}'{self._seen(op, error)}")

    def _order(self, tensors: Sequence[Any]) -> list[Any]:
        """Operations to convert, producers first."""
        return producers_first(tensors, loops.sources, self._is_cut)

    def _is_cut(self, tensor: Any) -> bool:
        if self.has(tensor):
            return True
        value = self.settle(tensor) if self.settle is not None else None
        if value is not None:
            self.arrays[tensor] = value
        return value is not None

    def _convert(self, op: Any) -> None:
        if op.type == "Placeholder":
            raise NoForm(
                "it is not among the inputs: list it there, or freeze it with "
                "constants={tensor: value}"
            )
        if op.type not in self.rows:
            if op.type.startswith(RANDOM):
                raise NoForm(
                    "draws random numbers, which a model for inference does not: give the"
                    " placeholder that switches them off its value (constants={'keep_prob': 1.0},"
                    " --constant keep_prob=1.0), or choose outputs before it"
                )
            raise NoForm(
                "has no form in TFLite: build the inference graph without it, or cut the "
                "model before it by choosing other outputs"
            )
        row = self.rows[op.type]
        try:
            results = row(Context(self, op))
        except _MISFITS as error:
            if not op._imported:
                raise
            text = f"{type(error).__name__}: {error}"
            raise NoForm(f"has attributes or inputs that do not fit ({text}): damaged") from error
        values = list(results) if isinstance(results, (list, tuple)) else [results]
        for tensor, value in zip(op.outputs, values, strict=False):
            if value is not None and tensor not in self.values:
                self.bind(tensor, value)

    def bind(self, tensor: Any, value: Any) -> None:
        """Let `value` stand for `tensor`, whose name it takes if it has one of our making."""
        self.values[tensor] = value
        made = isinstance(value, ir.Value) and value.producer is not None
        if made and value.name.startswith(self.builder.scope + "/"):
            value.name = self.builder.unique(short_name(tensor))

    def _seen(self, op: Any, error: NoForm) -> str:
        """The reason, with the shapes of the inputs where they are known."""
        shapes = []
        for tensor in op.inputs[:8]:
            try:
                value = self.value(tensor)
                shapes.append(show_dims(self.builder.dims(value)))
            except (NoForm, ConversionError, KeyError, AssertionError, AttributeError, _Lost):
                shapes.append("?")
        text = f": {error}"
        return f" ({', '.join(shapes)}){text}" if shapes else text


class _Lost(Exception):
    """An input was lost to an obstacle that is in the list already."""


def short_name(tensor: Any) -> str:
    """The tensor's name as signatures show it: without ``:0``."""
    return tensor.op.name if tensor.value_index == 0 else tensor.name


def _origin(tensor: Any) -> str:
    """Name of the variable or constant behind identities, for the reader of the model."""
    while tensor.op.type in ("Identity", "ReadVariableOp") and tensor.op.inputs:
        tensor = tensor.op.inputs[0]
    return short_name(tensor)
