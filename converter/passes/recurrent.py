# SPDX-License-Identifier: Apache-2.0
"""Loops over a sequence whose step is an LSTM or GRU cell become the op for the whole sequence.

Such loops come of Keras layers, `dynamic_rnn`, ONNX's Loop and Scan. A WHILE is one where it counts
to the length of a sequence, each step reads the row of its number, and what it carries on is the
cell's state, all rows of a result, or the last one.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from converter import ir
from converter.passes.cells import Gru, Lstm, Reader
from converter.passes.inlining import drop_uncalled

_LOGGER = logging.getLogger("converter.passes")
_MOST_NODES = 200  # of a step: no cell has more, and reading one goes as deep


def recognize_recurrent(model: ir.Model) -> bool:
    """Rewrite every such WHILE of the main graph; say if there was one."""
    changed = False
    for node in [n for n in model.main.nodes if n.op == "WHILE"]:
        bodies = model.graphs[1:]
        if fuse_loop(model.main, node, bodies):
            model.graphs[1:] = bodies
            changed = True
    if changed:
        drop_uncalled(model)
    return changed


def fuse_loop(
    graph: ir.Graph, node: ir.Node, bodies: list[ir.Graph], is_growing: bool = False
) -> bool:
    """Rewrite one WHILE of `graph`, the main one; False, and nothing changed, where it is none.

    `bodies` are the model's other graphs; what the new nodes call is appended. `is_growing`: what
    reads the loop's outputs is still to come.
    """
    test, body = (
        bodies[int(node.options[f"{kind}_subgraph_index"]) - 1] for kind in ("cond", "body")
    )
    if len(body.nodes) > _MOST_NODES or any(v.shape_signature for v in (*body.inputs, *node.inputs)
                                            if v is not None):  # fmt: skip
        return False
    loop = _Loop(node, test, body)
    found = _layer(loop) if loop.steps else None
    if found is None:
        return False
    made = _emit(loop, found, bodies, node.name or node.outputs[0].name)
    if made is None:
        return False
    fragment, values = made
    _LOGGER.info("recognize_recurrent: %s", node.label)
    read = [v for v in node.outputs if is_growing or v.users or graph.is_output(v)]
    _replace(graph, node, fragment, {v: values[v] for v in read})
    return True


# -- the loop -------------------------------------------------------------------------------------


class _Loop:
    """What a WHILE does with each of its states."""

    def __init__(self, node: ir.Node, test: ir.Graph, body: ir.Graph) -> None:
        self.node, self.body = node, body
        self.given = dict(zip(body.inputs, node.inputs, strict=True))
        self.after = dict(zip(body.inputs, body.outputs, strict=True))
        self.counters = {v: way for v in body.inputs if (way := self._way(v))}
        self.steps = self._steps(test)

    def constant(self, value: ir.Value) -> np.ndarray | None:
        """The numbers of a constant, or of an input that is one at every step."""
        if value.data is not None:
            return value.data
        if value in self.given and self.is_invariant(value):
            given = self.given[value]
            return given.data if given is not None else None
        return None

    def is_invariant(self, value: ir.Value) -> bool:
        return value in self.after and _plain(self.after[value]) is value

    def start(self, counter: ir.Value) -> int | None:
        given = self.given[counter]
        return None if given is None or given.data is None else int(given.data.reshape(-1)[0])

    def _way(self, value: ir.Value) -> int:
        """1 or -1 where `value` counts up or down, else 0."""
        node = _plain(self.after[value]).producer
        if value.size != 1 or value.dtype not in ("INT32", "INT64"):
            return 0
        if node is None or node.op not in ("ADD", "SUB"):
            return 0
        for x, y in (node.inputs, node.inputs[::-1]) if node.op == "ADD" else (node.inputs,):
            if x is None or y is None or _plain(x) is not value or y.data is None or y.size != 1:
                continue
            way = int(y.data.reshape(-1)[0]) * (-1 if node.op == "SUB" else 1)
            return way if way in (1, -1) else 0
        return 0

    def _steps(self, test: ir.Graph) -> int:
        """How often the loop runs; 0 where that is not known."""
        place = {v: self.body.inputs[i] for i, v in enumerate(test.inputs)}
        counts = []
        stack: list[ir.Value | None] = [test.outputs[0]]
        while stack:
            value = stack.pop()
            node = _plain(value).producer if value is not None else None
            if node is not None and node.op == "LOGICAL_AND":
                stack += node.inputs
                continue
            counts.append(self._bound(node, place) if node is not None else None)
        if not counts or None in counts or len(counts) > 8:
            return 0
        return max(0, min(c for c in counts if c is not None))

    def _bound(self, node: ir.Node, place: dict[ir.Value, ir.Value]) -> int | None:
        """Steps until a comparison of a counter with a constant fails."""
        ops = {"LESS": (1, 0), "GREATER_EQUAL": (-1, 1), "GREATER": (-1, 0), "LESS_EQUAL": (1, 1)}
        way, more = ops.get(node.op, (0, 0))
        if not way or node.inputs[0] is None or node.inputs[1] is None:
            return None
        counter = place.get(_plain(node.inputs[0]))
        bound = _plain(node.inputs[1])
        end = self.constant(place[bound]) if bound in place else bound.data
        if counter is None or self.counters.get(counter) != way or end is None or end.size != 1:
            return None
        start = self.start(counter)
        return None if start is None else (int(end.reshape(-1)[0]) - start) * way + more

    # -- what is read and written -----------------------------------------------------------------

    def sequences(self) -> dict[ir.Value, tuple[ir.Value, bool]]:
        """Rows that a step reads: (the sequence, whether from its end)."""
        found = {}
        for node in self.body.nodes:
            if node.op != "GATHER" or node.option("axis") or node.option("batch_dims"):
                continue
            x, at = node.inputs
            if x is None or at is None or not self.is_invariant(x):
                continue
            counter = _plain(at)
            backwards = self._order(counter, x.shape[0]) if counter in self.counters else None
            if backwards is not None and node.outputs[0].size * x.shape[0] == x.size:
                found[node.outputs[0]] = (x, backwards)
        return found

    def _order(self, counter: ir.Value, rows: int) -> bool | None:
        """Whether `counter` goes through all rows from the last to the first; None: through others,
        or not through all.
        """
        start, way = self.start(counter), self.counters[counter]
        if self.steps != rows or start != (0 if way == 1 else rows - 1):
            return None
        return way == -1

    def written(self, state: ir.Value) -> tuple[ir.Value, bool | None] | None:
        """Where a step writes one row of `state`: (that row, whether rows are written from the
        last, None where it is always the only row); None where it does something else.
        """
        node = _plain(self.after[state]).producer
        if node is None or node.op != "DYNAMIC_UPDATE_SLICE" or len(state.shape) < 2:
            return None
        whole, row, at = node.inputs
        if whole is not state or row is None or at is None or row.shape != (1, *state.shape[1:]):
            return None
        if at.data is not None:
            return (row, None) if state.shape[0] == 1 and not at.data.any() else None
        start = at.producer
        parts = start.inputs if start is not None and start.op == "CONCATENATION" else []
        if not parts or parts[0] is None:
            return None
        counter = _plain(parts[0])
        rest = [p.data for p in parts[1:] if p is not None]
        if counter not in self.counters or any(r is None or r.any() for r in rest):
            return None
        order = self._order(counter, state.shape[0])
        return None if order is None else (row, order)


def _plain(value: ir.Value) -> ir.Value:
    """`value` before reshapes."""
    while value.producer is not None and value.producer.op in ("RESHAPE", "SQUEEZE", "EXPAND_DIMS"):
        before = value.producer.inputs[0]
        if before is None or before.size != value.size:
            break
        value = before
    return value


# -- the cell -------------------------------------------------------------------------------------


@dataclass
class _Layer:
    """A cell over a sequence, and what becomes of the loop's states."""

    cell: Lstm | Gru
    x: ir.Value  # a row, of the body
    sequence: ir.Value
    backwards: bool
    hidden: ir.Value
    memory: ir.Value | None  # the state of an LSTM's cell
    results: dict[ir.Value, str] = field(default_factory=dict)  # state: every, last, hidden, cell


def _layer(loop: _Loop) -> _Layer | None:
    sequences = loop.sequences()
    states = [
        v
        for v in loop.body.inputs
        if v.dtype == "FLOAT32" and not loop.is_invariant(v) and loop.written(v) is None
    ]
    if len(sequences) != 1 or len(states) not in (1, 2):
        return None
    ((x, (sequence, backwards)),) = sequences.items()
    if len(sequence.shape) != 3 or sequence.dtype != "FLOAT32":
        return None
    batch = sequence.shape[1]
    if any(len(v.shape) != 2 or v.shape[0] != batch for v in states):
        return None
    sources = {v: v.shape[-1] for v in (x, *states)}
    reader = Reader(sources, loop.constant)
    orders: list[tuple[ir.Value, ir.Value | None]] = [(states[0], None)]
    if len(states) == 2:
        orders = [(states[0], states[1]), (states[1], states[0])]
    for hidden, memory in orders:
        after = _plain(loop.after[hidden])
        cell: Lstm | Gru | None
        if memory is None:
            cell = reader.gru(hidden, after)
        else:
            cell = reader.lstm(memory, after, _plain(loop.after[memory]))
        if cell is not None:
            found = _Layer(cell, x, sequence, backwards, hidden, memory)
            return found if _name_results(loop, found) else None
    return None


def _name_results(loop: _Loop, layer: _Layer) -> bool:
    """Say what of the layer each state of the loop is in the end; False where one is something
    else.
    """
    shown = _plain(loop.after[layer.hidden])
    for state in loop.body.inputs:
        if state is layer.hidden or state is layer.memory:
            layer.results[state] = "hidden" if state is layer.hidden else "cell"
        elif state not in loop.counters and not loop.is_invariant(state):
            written = loop.written(state)
            if written is None or _plain(written[0]) is not shown:
                return False
            if written[1] not in (None, layer.backwards):
                return False
            layer.results[state] = "last" if written[1] is None else "every"
    return True


# -- the op ---------------------------------------------------------------------------------------


def _emit(
    loop: _Loop, layer: _Layer, bodies: list[ir.Graph], name: str
) -> tuple[Any, dict[ir.Value, ir.Value]] | None:
    """(a builder with the new nodes, what replaces the loop's outputs); None where the weights are
    none that the op has.
    """
    from converter.importers.builder import Builder  # it needs the passes

    b = Builder()
    b.scope, b.bodies = name, list(bodies)

    def outside(state: ir.Value | None) -> ir.Value:
        """The loop's given value in the fragment."""
        given = loop.given[state] if state is not None else None
        assert given is not None
        if given.data is not None:
            return given
        if given not in inputs:
            inputs[given] = b.input(given.name, given.dtype, given.shape)
        return inputs[given]

    inputs: dict[ir.Value, ir.Value] = {}
    x, hidden = outside(layer.sequence), outside(layer.hidden)
    if x.data is not None:
        return None
    sources = layer.x, layer.hidden, layer.memory
    if isinstance(layer.cell, Lstm):
        found = _emit_lstm(b, layer.cell, sources, x, hidden, outside(layer.memory), layer)
    else:
        found = _emit_gru(b, layer.cell, sources, x, hidden, layer)
    if found is None:
        return None
    results = dict(zip(("every", "hidden", "cell"), found, strict=False))
    results["last"] = results["hidden"]
    values: dict[ir.Value, ir.Value] = {}
    for state, out in zip(loop.body.inputs, loop.node.outputs, strict=True):
        if state in layer.results:
            values[out] = results[layer.results[state]]
        elif state in loop.counters:
            start = loop.start(state)
            assert start is not None
            end = start + loop.steps * loop.counters[state]
            values[out] = b.constant(np.full(out.shape, end), "end", ir.numpy_dtype(out.dtype))
        else:
            given = loop.given[state]
            assert given is not None
            values[out] = given
    for given, inner in inputs.items():
        b.graph.replace_value(inner, given)
        values = {out: given if v is inner else v for out, v in values.items()}
    bodies[:] = b.bodies
    return b, values


def _emit_lstm(
    b: Any, cell: Lstm, sources: Sequence[ir.Value | None], x: ir.Value, hidden: ir.Value,
    memory: ir.Value, layer: _Layer,
) -> tuple[ir.Value, ...] | None:  # fmt: skip
    from converter.importers.forms import fused_recurrent

    row, shown, state = sources
    assert row is not None and shown is not None and state is not None
    size, after = state.shape[-1], None
    holes = []
    for k, gate in enumerate(cell.gates):
        others = [v for v in gate.matrices if v is not row and v is not shown]
        if k == 3:
            after = others[0] if others else None
        if gate.bias.size != size or len(others) > 1 or (k == 2 and others):
            return None
        if k < 3 and others not in ([], [state]):
            return None
        matrix = gate.of(others[0], size) if others else np.zeros((size, size))
        if (matrix != np.diag(np.diag(matrix))).any() or (k == 3 and after is state):
            return None
        holes.append(np.diag(matrix))
    weights = _stacked(b, [g.of(row, row.shape[-1]) for g in cell.gates])
    recurrent = _stacked(b, [g.of(shown, shown.shape[-1]) for g in cell.gates])
    bias = _stacked(b, [g.bias for g in cell.gates])
    peephole = _stacked(b, [holes[0], holes[1], holes[3]]) if np.any(holes) else None
    w = fused_recurrent.LstmWeights(weights, recurrent, bias, peephole)
    if not fused_recurrent.fits(b, x, (weights, recurrent)):
        return None
    return fused_recurrent.lstm(b, x, w, hidden, memory, layer.backwards)


def _emit_gru(
    b: Any, cell: Gru, sources: Sequence[ir.Value | None], x: ir.Value, hidden: ir.Value,
    layer: _Layer,
) -> tuple[ir.Value, ...] | None:  # fmt: skip
    from converter.importers.forms import recurrent

    row, shown, _ = sources
    assert row is not None and shown is not None
    size, features = shown.shape[-1], row.shape[-1]
    if any(g.bias.size != size for g in (cell.update, cell.reset, cell.fresh, cell.again)):
        return None
    own = (cell.update, cell.reset, cell.fresh)
    weights = _stacked(b, [g.of(row, features) for g in own])
    again = _stacked(b, [g.of(shown, size) for g in (cell.update, cell.reset, cell.again)])
    bias = _stacked(b, [g.bias for g in own])
    zeros = np.zeros(size)
    rest = _stacked(b, [zeros, zeros, cell.again.bias])
    every, last = recurrent.gru(
        b, x, weights, again, bias, rest, hidden, layer.backwards, cell.reset_after
    )
    return every, last


def _stacked(b: Any, parts: Sequence[np.ndarray]) -> ir.Value:
    return b.constant(np.concatenate(parts), "weights", np.float32)


def _replace(
    graph: ir.Graph, node: ir.Node, fragment: Any, values: dict[ir.Value, ir.Value]
) -> None:
    """Put the fragment's nodes in the place of the loop; each output that is read is a reshape of
    what replaces it, because it keeps its name and, of the last row, its shape.
    """
    for i in range(len(node.inputs)):
        node.set_input(i, None)
    for out in node.outputs:
        out.producer = None
    place = graph.index(node)
    new: list[ir.Node] = fragment.graph.nodes
    graph.nodes[place : place + 1] = new
    at = new[-1]
    for out, value in values.items():
        shape = fragment.constant(out.shape, "shape", np.int32)
        at = graph.add_node("RESHAPE", [value, shape], [out], after=at, name=node.name)
