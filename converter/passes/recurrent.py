# SPDX-License-Identifier: Apache-2.0
"""Loops over a sequence whose step is a recurrent cell become the op for the whole sequence.

Such loops come of Keras layers, `dynamic_rnn`, ONNX's Loop and Scan. A WHILE is one where it counts
to the length of a sequence, each step reads the row of its number, and what it carries on is the
state of an LSTM, a GRU or a plain cell, all rows of a result, or the last one.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from converter import ir
from converter.passes.cells import Gru, Lstm, Reader, Rnn
from converter.passes.inlining import drop_uncalled
from converter.passes.layout_axes import sizes
from converter.passes.loops import Loop, plain

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
    if len(body.nodes) > _MOST_NODES:
        return False
    loop = Loop(node, test, body)
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


# -- the cell -------------------------------------------------------------------------------------


@dataclass
class _Layer:
    """A cell over a sequence, and what becomes of the loop's states."""

    cell: Lstm | Gru | Rnn
    x: ir.Value  # a row, of the body
    sequence: ir.Value
    backwards: bool
    hidden: ir.Value
    memory: ir.Value | None  # the state of an LSTM's cell
    results: dict[ir.Value, str] = field(default_factory=dict)  # state: every, last, hidden, cell


def _layer(loop: Loop) -> _Layer | None:
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
    time, batch, features = sizes(sequence)
    if -1 in (time, features) or any(
        sizes(v)[:-1] != (batch,) or sizes(v)[-1] == -1 for v in states
    ):
        return None
    sources = {v: v.shape[-1] for v in (x, *states)}
    reader = Reader(sources, loop.constant)
    orders: list[tuple[ir.Value, ir.Value | None]] = [(states[0], None)]
    if len(states) == 2:
        orders = [(states[0], states[1]), (states[1], states[0])]
    for hidden, memory in orders:
        after = plain(loop.after[hidden])
        cell: Lstm | Gru | Rnn | None
        if memory is None:
            cell = reader.gru(hidden, after) or reader.rnn(after)
        else:
            cell = reader.lstm(memory, after, plain(loop.after[memory]))
        if cell is not None:
            found = _Layer(cell, x, sequence, backwards, hidden, memory)
            return found if _name_results(loop, found) else None
    return None


def _name_results(loop: Loop, layer: _Layer) -> bool:
    """Say what of the layer each state of the loop is in the end; False where one is something
    else.
    """
    shown = plain(loop.after[layer.hidden])
    for state in loop.body.inputs:
        if state is layer.hidden or state is layer.memory:
            layer.results[state] = "hidden" if state is layer.hidden else "cell"
        elif state not in loop.counters and not loop.is_invariant(state):
            written = loop.written(state)
            if written is None or plain(written[0]) is not shown:
                return False
            if written[1] not in (None, layer.backwards):
                return False
            layer.results[state] = "last" if written[1] is None else "every"
    return True


# -- the op ---------------------------------------------------------------------------------------


def _emit(
    loop: Loop, layer: _Layer, bodies: list[ir.Graph], name: str
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
            dims = [(2, 3) if d == -1 else d for d in sizes(given)]
            inputs[given] = b.input(given.name, given.dtype, dims)
        return inputs[given]

    inputs: dict[ir.Value, ir.Value] = {}
    x, hidden = outside(layer.sequence), outside(layer.hidden)
    if x.data is not None:
        return None
    sources = layer.x, layer.hidden, layer.memory
    found: tuple[ir.Value, ...] | None
    if isinstance(layer.cell, Lstm):
        found = _emit_lstm(b, layer.cell, sources, x, hidden, outside(layer.memory), layer)
    elif isinstance(layer.cell, Rnn):
        found = _emit_rnn(b, layer.cell, sources, x, hidden, layer)
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
    if _is_done_before([g.of(row, row.shape[-1]) for g in cell.gates]):
        return None
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
    from converter.importers.forms import fused_recurrent, recurrent

    row, shown, _ = sources
    assert row is not None and shown is not None
    size, features = shown.shape[-1], row.shape[-1]
    if any(g.bias.size != size for g in (cell.update, cell.reset, cell.fresh, cell.again)):
        return None
    own = (cell.update, cell.reset, cell.fresh)
    if _is_done_before([g.of(row, features) for g in own]):
        return None
    weights = _stacked(b, [g.of(row, features) for g in own])
    again = _stacked(b, [g.of(shown, size) for g in (cell.update, cell.reset, cell.again)])
    bias = _stacked(b, [g.bias for g in own])
    zeros = np.zeros(size)
    rest = _stacked(b, [zeros, zeros, cell.again.bias])
    if not fused_recurrent.fits(b, x, (weights, again), has_variables=False):
        return None
    every, last = recurrent.gru(
        b, x, weights, again, bias, rest, hidden, layer.backwards, cell.reset_after
    )
    return every, last


def _emit_rnn(
    b: Any, cell: Rnn, sources: Sequence[ir.Value | None], x: ir.Value, hidden: ir.Value,
    layer: _Layer,
) -> tuple[ir.Value, ...] | None:  # fmt: skip
    from converter.importers.forms import fused_recurrent

    row, shown, _ = sources
    assert row is not None and shown is not None
    size, inside = shown.shape[-1], cell.inside
    if inside.bias.size != size or _is_done_before([inside.of(row, row.shape[-1])]):
        return None
    weights = _stacked(b, [inside.of(row, row.shape[-1])])
    again, bias = _stacked(b, [inside.of(shown, size)]), _stacked(b, [inside.bias])
    if not fused_recurrent.fits(b, x, (weights, again)):
        return None
    return fused_recurrent.rnn(b, x, weights, again, bias, hidden, layer.backwards, cell.activation)


def _is_done_before(matrices: Sequence[np.ndarray]) -> bool:
    """Whether a step only takes apart what a product before the loop has made of the inputs: the op
    would multiply by ones and zeros again.
    """
    whole = np.concatenate(matrices)
    return whole.shape[0] > 1 and (np.count_nonzero(whole, axis=1) <= 1).all()


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
        shape = fragment.constant(sizes(out), "shape", np.int32)
        at = graph.add_node("RESHAPE", [value, shape], [out], after=at, name=node.name)
