# SPDX-License-Identifier: Apache-2.0
"""Composites as the operators they are made of again, for rewrites that look at those."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from converter import ir
from converter.verifier import called_graphs


def inline_composites(model: ir.Model, names: Collection[str]) -> bool:
    """Put the decomposition of every STABLEHLO_COMPOSITE of one of `names` in its place, and drop
    the graphs that nothing calls then; say if there was one.
    """
    gone: set[int] = set()
    calls = [i for graph in model.graphs for node in graph.nodes for i in called_graphs(node)]
    for graph in model.graphs:
        for node in list(graph.nodes):
            if node.op != "STABLEHLO_COMPOSITE" or node.option("name") not in names:
                continue
            (index,) = called_graphs(node)
            body = model.graphs[index]
            if calls.count(index) == 1 and _is_plain(body):
                _inline(graph, node, body)
                gone.add(index)
    _drop(model, gone)
    return bool(gone)


def _is_plain(body: ir.Graph) -> bool:
    """Whether every output is made by a node, and once."""
    made = all(v.producer is not None for v in body.outputs)
    return made and len(set(body.outputs)) == len(body.outputs)


def _inline(graph: ir.Graph, node: ir.Node, body: ir.Graph) -> None:
    given = dict(zip(body.inputs, node.inputs, strict=True))
    for inner in body.nodes:
        for i, value in enumerate(inner.inputs):
            if value in given:
                inner.set_input(i, given[value])
    for made, out in zip(body.outputs, node.outputs, strict=True):
        maker = made.producer
        assert maker is not None
        body.replace_value(made, out)
        out.producer = None
        body.set_output_of(maker, maker.outputs.index(made), out)
    for i in range(len(node.inputs)):
        node.set_input(i, None)
    place = graph.index(node)
    graph.nodes[place : place + 1] = body.nodes
    body.nodes = []


def drop_uncalled(model: ir.Model) -> None:
    """Remove the graphs that neither the main graph nor a signature leads to."""
    reached: set[int] = set()
    waiting = [0, *(signature.graph for signature in model.signatures)]
    while waiting:
        index = waiting.pop()
        if index not in reached:
            reached.add(index)
            waiting += [i for n in model.graphs[index].nodes for i in called_graphs(n)]
    _drop(model, set(range(len(model.graphs))) - reached)


def _drop(model: ir.Model, gone: set[int]) -> None:
    """Remove graphs that nothing calls; options and signatures name the others by new positions."""
    kept = [i for i in range(len(model.graphs)) if i not in gone]
    place = {old: new for new, old in enumerate(kept)}
    model.graphs = [model.graphs[i] for i in kept]
    for signature in model.signatures:
        signature.graph = place[signature.graph]
    for graph in model.graphs:
        for node in graph.nodes:
            for name, option in node.options.items():
                if name == "subgraph" or name.endswith("subgraph_index"):
                    node.options[name] = place[int(option)]
                elif name in ("branch_subgraph_indices", "called_computations"):
                    node.options[name] = np.array([place[int(i)] for i in option], np.int32)
