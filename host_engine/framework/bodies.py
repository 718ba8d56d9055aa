# SPDX-License-Identifier: Apache-2.0
"""Graphs of the branches and steps that `tf.cond` and `tf.while_loop` are given as functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from host_engine.errors import UnimplementedError
from host_engine.framework.dtypes import DType
from host_engine.framework.graph import Graph
from host_engine.framework.registry import OpDef
from host_engine.framework.shape import TensorShape
from host_engine.framework.tensor import Operation, Tensor


def argument(graph: Graph, name: str, dtype: DType, shape: Any = None) -> Tensor:
    """A new argument of the function that `graph` is."""

    def run(context: Any, op: Operation) -> Any:
        raise UnimplementedError(None, op, "an argument of a function has no value of its own")

    sizes = TensorShape(None) if shape is None else shape
    definition = OpDef("Arg", (), shape=lambda op: [sizes], dtype=lambda op: [dtype], run=run)
    return graph.create_op("Arg", [], {"T": dtype}, name, definition).outputs[0]


class Body(Graph):
    """A function's graph inside `outer`. A tensor of a graph around it that an operation reads
    becomes an argument (a constant is copied); `captures` says which. Variables, collections and
    functions are those of the outermost graph.
    """

    def __init__(self, outer: Graph) -> None:
        super().__init__()
        self.outer = outer
        self.captures: dict[Tensor, Tensor] = {}  # of `outer`: what stands for it here
        self.seed = outer.seed
        self.functions, self._bodies = outer.functions, outer._bodies
        self._collections = outer._collections

    @property
    def root(self) -> Graph:
        return self.outer.root

    @property
    def variable_scope_state(self) -> Any:
        return self.outer.variable_scope_state if hasattr(self, "outer") else None

    @variable_scope_state.setter
    def variable_scope_state(self, state: Any) -> None:
        if hasattr(self, "outer"):
            self.outer.variable_scope_state = state

    def is_inside(self, graph: Graph) -> bool:
        """Whether this is `graph` or a body in it."""
        return self is graph or self.outer.is_inside(graph)

    def create_op(
        self,
        op_type: str,
        inputs: Sequence[Tensor],
        attrs: dict[str, Any] | None = None,
        name: str | None = None,
        definition: OpDef | None = None,
    ) -> Operation:
        from host_engine.framework.registry import lookup

        written = (definition or lookup(op_type)).refs
        if any(t.graph is not self for t in inputs[:written]):
            raise ValueError(
                f"{op_type} changes the variable '{inputs[0].op.name}' inside tf.cond or"
                " tf.while_loop: change it outside, from what these return"
            )
        own = [self.captured(t) for t in inputs]
        return super().create_op(op_type, own, attrs, name, definition)

    def captured(self, tensor: Tensor) -> Tensor:
        """What stands here for a tensor of this graph or of one around it."""
        if tensor.graph is self or not self.outer.is_inside(tensor.graph):
            return tensor  # which create_op refuses where it is of another graph
        if isinstance(self.outer, Body):
            tensor = self.outer.captured(tensor)
        if tensor not in self.captures:
            with self._plain():
                if tensor.op.type == "Const":
                    made = super().create_op("Const", [], tensor.op._attrs, "Const").outputs[0]
                else:
                    made = argument(self, "captured", tensor.dtype, tensor.shape)
            self.captures[tensor] = made
        return self.captures[tensor]

    @contextmanager
    def _plain(self) -> Iterator[None]:
        """Outside of scopes and control dependencies."""
        with self.name_scope(None), super().control_dependencies(None):
            yield

    @contextmanager
    def control_dependencies(self, control_inputs: Any) -> Iterator[None]:
        """Those of this graph alone: what is around it is done before it runs."""
        if control_inputs is not None:
            elements = [
                item._as_graph_element() if hasattr(item, "_as_graph_element") else item
                for item in control_inputs
            ]
            control_inputs = [item for item in elements if item.graph is self]
        with super().control_dependencies(control_inputs):
            yield

    def arguments(self) -> list[tuple[Tensor, Tensor]]:
        """(tensor of `outer`, argument) of what was captured and is no constant."""
        return [pair for pair in self.captures.items() if pair[1].op.type == "Arg"]
