# SPDX-License-Identifier: Apache-2.0
"""Rows for TensorFlow's own ops of recurrent cells, one step or a whole sequence of an LSTM."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic, control, elementwise, products, recurrent
from converter.importers.forms.basic import binary
from converter.importers.forms.recurrent import sigmoid, tanh
from converter.importers.no_form import NoForm
from converter.importers.tensorflow.context import Context, Row, Rows


class _Cell(NamedTuple):
    """What an LSTM's ops hold in common. `w` [features + size, 4 size]; `order` are the places of
    input, new, forget and output among its gates.
    """

    w: ir.Value
    holes: list[ir.Value]  # of input, forget, output; none without peepholes
    bias: ir.Value
    forget_bias: float
    clip: float
    order: tuple[int, int, int, int]


def _cell(c: Context, first: int, order: tuple[int, int, int, int], clip: float) -> _Cell:
    w, *holes, bias = (c.input(first + i) for i in range(5))
    return _Cell(
        w,
        holes if c.attr("use_peephole", False) else [],
        bias,
        float(c.attr("forget_bias", 1.0 if order[1] == 1 else 0.0)),
        float(c.attr("cell_clip", clip)),
        order,
    )


def _joined_product(b: Builder, x: ir.Value, h: ir.Value, w: ir.Value, bias: ir.Value) -> ir.Value:
    total = products.matmul(b, basic.concat(b, [x, h], 1), b.captured(w))
    return binary(b, "ADD", total, b.captured(bias))


def _parts(b: Builder, x: ir.Value, count: int) -> list[ir.Value]:
    whole = b.dims(x)[-1]
    if whole is None:
        raise NoForm("has a dynamic number of units: give the weights fixed sizes")
    size = whole // count
    return [basic.slice_axis(b, x, 1, k * size, (k + 1) * size) for k in range(count)]


def _lstm_step(
    b: Builder, own: _Cell, x: ir.Value, cell: ir.Value, hidden: ir.Value
) -> list[ir.Value]:
    """i, cs, f, o, ci, co, h."""
    gates = _parts(b, _joined_product(b, x, hidden, own.w, own.bias), 4)
    i, new, f, o = (gates[place] for place in own.order)

    def seen(gate: ir.Value, state: ir.Value, place: int) -> ir.Value:
        if not own.holes:
            return gate
        return binary(b, "ADD", gate, binary(b, "MUL", state, b.captured(own.holes[place])))

    if own.forget_bias:
        f = binary(b, "ADD", f, basic.scalar(b, own.forget_bias, f))
    i, f = sigmoid(b, seen(i, cell, 0)), sigmoid(b, seen(f, cell, 1))
    new = tanh(b, new)
    after = binary(b, "ADD", binary(b, "MUL", f, cell), binary(b, "MUL", i, new))
    if own.clip > 0:
        after = elementwise.clamp(b, after, -own.clip, own.clip)
    o, shown = sigmoid(b, seen(o, after, 2)), tanh(b, after)
    return [i, after, f, o, new, shown, binary(b, "MUL", o, shown)]


_OLD, _NEW = (0, 1, 2, 3), (0, 2, 1, 3)  # gates i, ci, f, o; and i, f, ci, o


def _lstm_cell(c: Context) -> list[ir.Value]:
    return _lstm_step(c.b, _cell(c, 3, _OLD, 3.0), c.input(0), c.input(1), c.input(2))


def _lstm_sequence(order: tuple[int, int, int, int], clip: float) -> Row:
    def row(c: Context) -> list[ir.Value | None]:
        own, x = _cell(c, 4, order, clip), c.input(1)
        read = [k for k, t in enumerate(c.op.outputs) if t.consumers() or t in c.graph.wanted]

        def step(b: Builder, slices: list[ir.Value], states: list[ir.Value]) -> recurrent.Stepped:
            found = _lstm_step(b, own, slices[0], *states)
            return [found[1], found[6]], [found[k] for k in read]

        _, results = control.scan(c.b, [x], [c.input(2), c.input(3)], step)
        made = dict(zip(read, (_ended(c, x, v) for v in results), strict=True))
        return [made.get(k) for k in range(7)]  # what is None nobody reads

    return row


def _ended(c: Context, x: ir.Value, every: ir.Value) -> ir.Value:
    """Zeros from the step on that input 0 says."""
    steps, (time, *_) = c.b.known(c.input(0)), c.b.dims(x)
    if time is None:
        raise NoForm("has a dynamic number of steps: give the model's inputs fixed sizes")
    if steps is not None and int(steps.reshape(-1)[0]) >= time:
        return every
    places = c.b.constant(np.arange(time)[:, None, None], "places", np.int32)
    on = c.b.emit("LESS", [places, c.ints(0)], dtype="BOOL")
    return elementwise.select(c.b, on, every, basic.scalar(c.b, 0, every))


def _gru_cell(c: Context) -> list[ir.Value]:
    """r, u, c, h."""
    x, h, w_gates, w_new, bias, bias_new = c.inputs()
    r, u = _parts(c.b, sigmoid(c.b, _joined_product(c.b, x, h, w_gates, bias)), 2)
    inside = _joined_product(c.b, x, binary(c.b, "MUL", r, h), w_new, bias_new)
    new = tanh(c.b, inside)
    kept = binary(c.b, "MUL", u, h)
    rest = binary(c.b, "SUB", basic.scalar(c.b, 1, u), u)
    return [r, u, new, binary(c.b, "ADD", kept, binary(c.b, "MUL", rest, new))]


ROWS: Rows = {
    "BlockLSTM": _lstm_sequence(_OLD, 3.0),
    "BlockLSTMV2": _lstm_sequence(_NEW, 0.0),
    "GRUBlockCell": _gru_cell,
    "LSTMBlockCell": _lstm_cell,
}
