# SPDX-License-Identifier: Apache-2.0
"""torch.cond and torch.while_loop, whose bodies are graphs of their own, and ops with effects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic, control
from converter.importers.forms.complexes import Complex
from converter.importers.no_form import NoForm

if TYPE_CHECKING:
    from converter.importers.torch.graph import GraphImport

_CHECKS = ("_assert", "_check_errors", "_print")  # devices go on without them


def conditional(graph: GraphImport, node: torch.fx.Node) -> list[ir.Value]:
    """torch.cond(predicate, true graph, false graph, operands)"""
    predicate, true_body, false_body, operands = (graph.resolved(a) for a in node.args[:4])
    if not isinstance(predicate, ir.Value):
        return _values(graph, graph.builder, true_body if predicate else false_body, operands)
    return control.branch(
        graph.builder,
        predicate,
        lambda b: _values(graph, b, true_body, operands),
        lambda b: _values(graph, b, false_body, operands),
    )


def repeated(graph: GraphImport, node: torch.fx.Node) -> list[ir.Value]:
    """torch.while_loop(condition graph, body graph, states, what both may read)"""
    test, body, states, others = (graph.resolved(a) for a in node.args[:4])
    values = [_tensor(graph.builder, state) for state in states]

    def going(b: Builder, now: list[ir.Value]) -> ir.Value:
        return basic.reshape(b, _values(graph, b, test, [*now, *others])[0], [])

    def step(b: Builder, now: list[ir.Value]) -> list[ir.Value]:
        return _values(graph, b, body, [*now, *others])

    return control.loop(graph.builder, values, going, step)


def effect(graph: GraphImport, node: torch.fx.Node) -> list[None]:
    """with_effects(token, op, arguments...): an op that does more than to give a value"""
    op = str(node.args[1])
    if not any(word in op for word in _CHECKS):
        raise NoForm(f"calls {op} for what it does beside its result: leave it out of the module")
    return [None, None]


def _values(
    graph: GraphImport, b: Builder, body: torch.fx.GraphModule, operands: Sequence[Any]
) -> list[ir.Value]:
    """Convert a body into `b`, its inputs bound to `operands`; its outputs."""
    inner = type(graph)(b, graph.rows)
    inner.obstacles = graph.obstacles
    places = [node for node in body.graph.nodes if node.op == "placeholder"]
    for place, given in zip(places, operands, strict=True):
        inside = given.into(b) if isinstance(given, Complex) else given
        inner.results[place.name] = b.captured(given) if isinstance(given, ir.Value) else inside
    scope, count = b.scope, len(graph.obstacles)
    inner.convert(list(body.graph.nodes))
    b.scope = scope
    if len(graph.obstacles) > count:
        raise NoForm("has a body with obstacles of its own")
    (output,) = [node for node in body.graph.nodes if node.op == "output"]
    found = inner.resolved(output.args[0])
    return [_tensor(b, value) for value in (found if isinstance(found, list) else [found])]


def _tensor(b: Builder, value: Any) -> ir.Value:
    return value if isinstance(value, ir.Value) else b.constant(value, "number")


ROWS: dict[str, Callable[[GraphImport, torch.fx.Node], Sequence[ir.Value | None]]] = {
    "cond": conditional,
    "while_loop": repeated,
    "with_effects": effect,
}
