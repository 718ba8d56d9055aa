# SPDX-License-Identifier: Apache-2.0
"""Operations that only order others."""

from __future__ import annotations

from typing import Any

from host_engine.framework import shape_rules as rules
from host_engine.framework.build import build_op, convert_to_tensor, name_scope
from host_engine.framework.graph import get_default_graph
from host_engine.framework.registry import define
from host_engine.framework.tensor import Operation, Tensor

define("NoOp", "", shape=rules.none, run=lambda context, op: None)


def no_op(name: str | None = None) -> Operation:
    """An operation that does nothing, for its control dependencies and its name."""
    return build_op("NoOp", [], name=name)


def group(*inputs: Any, name: str | None = None) -> Operation:
    """An operation that is done when all `inputs` (operations, tensors, variables) are."""
    flat: list[Any] = []
    for item in inputs:
        flat.extend(item if isinstance(item, (list, tuple)) else [item])
    graph = _graph_of_any(flat)
    with graph.as_default(), graph.control_dependencies(flat):
        return build_op("NoOp", [], name=name or "group_deps")


def _graph_of_any(items: list[Any]) -> Any:
    for item in items:
        if hasattr(item, "graph"):
            return item.graph
    return get_default_graph()


def tuple_(tensors: Any, name: str | None = None, control_inputs: Any = None) -> list[Any]:
    """The same tensors, each available only when all of them (and `control_inputs`) are."""
    with name_scope(name, "tuple", tensors):
        made = [None if t is None else convert_to_tensor(t) for t in tensors]
        gate = group(*[t for t in made if t is not None], *(control_inputs or []))
        graph = gate.graph
        with graph.control_dependencies([gate]):
            return [None if t is None else build_op("Identity", [t]).outputs[0] for t in made]


def control_dependencies(control_inputs: Any) -> Any:
    """Context manager: operations created inside run after `control_inputs`."""
    return get_default_graph().control_dependencies(control_inputs)


__all__ = ["Tensor", "control_dependencies", "group", "no_op", "tuple_"]
