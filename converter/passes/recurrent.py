# SPDX-License-Identifier: Apache-2.0
"""Loops over a sequence whose step is a recurrent cell become the op for the whole sequence.

Such loops come of Keras layers, `dynamic_rnn`, ONNX's Loop and Scan. A WHILE is one where it counts
to the length of a sequence, each step reads the row of its number, and what it carries on is the
state of LSTM, GRU or plain cells, each on top of the other, all rows of a result, or the last one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from converter import ir
from converter.passes.cells import CellReader, Gru, Lstm, Rnn
from converter.passes.inlining import drop_uncalled
from converter.passes.layout_axes import sizes
from converter.passes.loops import Loop, plain

_LOGGER = logging.getLogger("converter.passes")
_MOST_NODES = 300  # of a step: reading one goes as deep
_MOST_STATES = 16


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
    found = _stack(loop) if loop.steps or loop.length is not None else None
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


class _Cell(NamedTuple):
    """One cell of a step: what it reads, and its states; only that of an LSTM has two."""

    cell: Lstm | Gru | Rnn
    row: ir.Value
    hidden: ir.Value
    memory: ir.Value | None = None


@dataclass
class _Stack:
    """The cells of a step, each of which reads what the one before shows, and what becomes of the
    loop's states: of which cell they are every hidden state, the last one (alone, or as the only
    row), or the last of an LSTM's cell.
    """

    cells: list[_Cell]
    sequence: ir.Value
    backwards: bool
    results: dict[ir.Value, tuple[int, str]] = field(default_factory=dict)


def _stack(loop: Loop) -> _Stack | None:
    sequences = loop.sequences()
    states = [
        v
        for v in loop.body.inputs
        if v.dtype == "FLOAT32" and not loop.is_invariant(v) and loop.written(v) is None
    ]
    if len(sequences) != 1 or not 0 < len(states) <= _MOST_STATES:
        return None
    ((row, (sequence, backwards)),) = sequences.items()
    if len(sequence.shape) != 3 or sequence.dtype != "FLOAT32":
        return None
    time, batch, features = sizes(sequence)
    if (
        features == -1
        or (time == -1) != (loop.length is not None)
        or any(sizes(v)[:-1] != (batch,) or sizes(v)[-1] == -1 for v in states)
    ):
        return None
    found = _Stack([], sequence, backwards)
    while states:
        cell = _cell(loop, row, states)
        if cell is None:
            return None
        found.cells.append(cell)
        row = plain(loop.after[cell.hidden])
        states = [v for v in states if v is not cell.hidden and v is not cell.memory]
    return found if _name_results(loop, found) else None


def _cell(loop: Loop, row: ir.Value, states: Sequence[ir.Value]) -> _Cell | None:
    """The cell that reads `row` and has one or two of `states`."""
    for hidden in states:
        after = plain(loop.after[hidden])
        for memory in states:
            if memory is hidden:
                continue
            reader = CellReader({v: v.shape[-1] for v in (row, hidden, memory)}, loop.constant)
            lstm = reader.lstm(memory, after, plain(loop.after[memory]))
            if lstm is not None:
                return _Cell(lstm, row, hidden, memory)
        reader = CellReader({v: v.shape[-1] for v in (row, hidden)}, loop.constant)
        single = reader.gru(hidden, after) or reader.rnn(after)
        if single is not None:
            return _Cell(single, row, hidden)
    return None


def _name_results(loop: Loop, stack: _Stack) -> bool:
    """Say what each state of the loop is in the end; False where one is something else."""
    shown = {plain(loop.after[cell.hidden]): i for i, cell in enumerate(stack.cells)}
    for i, cell in enumerate(stack.cells):
        stack.results[cell.hidden] = (i, "hidden")
        if cell.memory is not None:
            stack.results[cell.memory] = (i, "cell")
    for state in loop.body.inputs:
        if state in stack.results or state in loop.counters or loop.is_invariant(state):
            continue
        written = loop.written(state)
        place = shown.get(plain(written[0])) if written is not None else None
        if written is None or place is None or written[1] not in (None, stack.backwards):
            return False
        stack.results[state] = (place, "hidden" if written[1] is None else "every")
    return True


# -- the op ---------------------------------------------------------------------------------------


def _emit(
    loop: Loop, stack: _Stack, bodies: list[ir.Graph], name: str
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
    x = outside(stack.sequence)
    if x.data is not None:
        return None
    made: list[dict[str, ir.Value]] = []
    for own in stack.cells:
        states = [outside(v) for v in (own.hidden, own.memory) if v is not None]
        found = _EMITTED[type(own.cell)](b, own, x, states, stack.backwards)
        if found is None:
            return None
        made.append(dict(zip(("every", "hidden", "cell"), found, strict=False)))
        x = found[0]
    values: dict[ir.Value, ir.Value] = {}
    for state, out in zip(loop.body.inputs, loop.node.outputs, strict=True):
        if state in stack.results:
            place, kind = stack.results[state]
            values[out] = made[place][kind]
        elif state in loop.counters:
            start = loop.start(state)
            if loop.length is not None:
                if start != 0 or loop.counters[state] != 1:
                    return None
                values[out] = outside(loop.bound)
                continue
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


_Emitted = tuple[ir.Value, ...]  # every hidden state, the last one, an LSTM's last cell


def _emit_lstm(
    b: Any, own: _Cell, x: ir.Value, states: Sequence[ir.Value], backwards: bool
) -> _Emitted | None:
    from converter.importers.forms import fused_recurrent, recurrent

    cell, row, shown, state = own
    assert isinstance(cell, Lstm) and state is not None
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
    again = _stacked(b, [g.of(shown, shown.shape[-1]) for g in cell.gates])
    bias = _stacked(b, [g.bias for g in cell.gates])
    peephole = _stacked(b, [holes[0], holes[1], holes[3]]) if np.any(holes) else None
    projection = None if cell.projection is None else _stacked(b, [cell.projection])
    w = fused_recurrent.LstmWeights(weights, again, bias, peephole, projection)
    fits = fused_recurrent.fits(b, x, (weights, again)) or fused_recurrent.fits_composite(b, x, w)
    return recurrent.lstm(b, x, w, states[0], states[1], backwards) if fits else None


def _emit_gru(
    b: Any, own: _Cell, x: ir.Value, states: Sequence[ir.Value], backwards: bool
) -> _Emitted | None:
    from converter.importers.forms import fused_recurrent, recurrent

    cell, row, shown, _ = own
    assert isinstance(cell, Gru)
    size, features = shown.shape[-1], row.shape[-1]
    if any(g.bias.size != size for g in (cell.update, cell.reset, cell.fresh, cell.again)):
        return None
    gates = (cell.update, cell.reset, cell.fresh)
    if _is_done_before([g.of(row, features) for g in gates]):
        return None
    weights = _stacked(b, [g.of(row, features) for g in gates])
    again = _stacked(b, [g.of(shown, size) for g in (cell.update, cell.reset, cell.again)])
    bias = _stacked(b, [g.bias for g in gates])
    zeros = np.zeros(size)
    rest = _stacked(b, [zeros, zeros, cell.again.bias])
    if not fused_recurrent.fits(b, x, (weights, again), has_variables=False):
        return None
    every, last = recurrent.gru(
        b, x, weights, again, bias, rest, states[0], backwards, cell.reset_after
    )
    return every, last


def _emit_rnn(
    b: Any, own: _Cell, x: ir.Value, states: Sequence[ir.Value], backwards: bool
) -> _Emitted | None:
    from converter.importers.forms import fused_recurrent

    cell, row, shown, _ = own
    assert isinstance(cell, Rnn)
    size, inside = shown.shape[-1], cell.inside
    if inside.bias.size != size or _is_done_before([inside.of(row, row.shape[-1])]):
        return None
    weights = _stacked(b, [inside.of(row, row.shape[-1])])
    again, bias = _stacked(b, [inside.of(shown, size)]), _stacked(b, [inside.bias])
    if not fused_recurrent.fits(b, x, (weights, again)):
        return None
    return fused_recurrent.rnn(b, x, weights, again, bias, states[0], backwards, cell.activation)


_EMITTED: dict[type, Callable[..., _Emitted | None]] = {
    Gru: _emit_gru,
    Lstm: _emit_lstm,
    Rnn: _emit_rnn,
}


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
        if sizes(out).count(-1) > 1:
            shape = ir.Value(f"{out.name}/shape", "INT32", (len(out.shape),))
            at = graph.add_node("SHAPE", [value], [shape], {"out_type": "INT32"}, after=at)
        at = graph.add_node("RESHAPE", [value, shape], [out], after=at, name=node.name)
