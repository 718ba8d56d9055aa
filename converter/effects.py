# SPDX-License-Identifier: Apache-2.0
"""What a node does besides computing its outputs from its inputs, and what may be done to it then.

A variable tensor holds its value from one invoke to the next. Recurrent ops write the variables
among their inputs, and any node may write one that is its output. So what a node reads from a
variable depends on when it does: its place among the nodes counts, not the edges alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from converter import ir
from converter.verifier import called_graphs

_EFFECTS = {
    "ASSIGN_VARIABLE",
    "CALL_ONCE",
    "CUSTOM",
    "HASHTABLE_IMPORT",
    "STABLEHLO_CUSTOM_CALL",
}
_RANDOM = {"RANDOM_UNIFORM", "RANDOM_STANDARD_NORMAL", "MULTINOMIAL", "STABLEHLO_RNG_BIT_GENERATOR"}
# They write the variables among their inputs.
_RECURRENT = {
    "BIDIRECTIONAL_SEQUENCE_LSTM",
    "BIDIRECTIONAL_SEQUENCE_RNN",
    "LSTM",
    "RNN",
    "SVDF",
    "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "UNIDIRECTIONAL_SEQUENCE_RNN",
}


def has_effects(node: ir.Node) -> bool:
    """Whether a node matters although nobody reads its outputs: it calls, has code or state of its
    own, or writes a variable that another node reads.
    """
    return (
        node.op in _EFFECTS
        or bool(called_graphs(node))
        or any(value.dtype in ("RESOURCE", "VARIANT") for value in node.outputs)
        or any(user is not node for value in written_variables(node) for user in value.users)
    )


def is_deterministic(node: ir.Node) -> bool:
    """Whether equal inputs give equal outputs, always."""
    return not has_effects(node) and not touches_variables(node) and node.op not in _RANDOM


def written_variables(node: ir.Node) -> list[ir.Value]:
    """The variables that a node writes."""
    values = [*node.outputs, *(node.inputs if node.op in _RECURRENT else ())]
    return [value for value in values if value is not None and value.is_variable]


def touches_variables(node: ir.Node) -> bool:
    """Whether a node reads or writes a variable."""
    return any(value is not None and value.is_variable for value in (*node.inputs, *node.outputs))


@contextmanager
def variables_hidden(graph: ir.Graph) -> Iterator[None]:
    """Within, nodes that read or write variables are of no op that a rewrite knows.

    Rewrites follow edges and move nodes; a node that touches a variable stays where it is, reads
    what it reads, and nothing looks through it.
    """
    hidden = [(n, n.op) for n in graph.nodes if n.op not in _RECURRENT and touches_variables(n)]
    for node, op in hidden:
        node.op = f"{op} of a variable"
    try:
        yield
    finally:
        for node, op in hidden:
            node.op = op
