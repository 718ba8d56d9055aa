# SPDX-License-Identifier: Apache-2.0
"""Rows for LSTM, GRU and RNN: layers, one or two directions, sequences first or batch first."""

from __future__ import annotations

from collections.abc import Callable

from converter import ir
from converter.importers.forms import basic, recurrent
from converter.importers.forms.basic import binary
from converter.importers.no_form import NoForm
from converter.importers.torch.context import Context, Row, Rows

# (context, sequence, weights of one direction, its states, reverse) -> (hidden states, last states)
Weights = list[ir.Value]
Direction = Callable[
    [Context, ir.Value, Weights, list[ir.Value], bool], tuple[ir.Value, list[ir.Value]]
]


def _network(kinds: int, direction: Direction) -> Row:
    """All layers of a network with `kinds` states: 2 of an LSTM, hidden and cell, else 1."""

    def row(c: Context) -> list[ir.Value]:
        if "batch_sizes" in c.arguments:
            raise NoForm("takes a packed sequence: give it padded, and take the states you need")
        given = c.arg("hx")
        states = list(given) if isinstance(given, list) else [given]
        groups = _weights(c)
        directions = 2 if c.arg("bidirectional") else 1
        x = c.value("input")
        x = basic.transpose(c.b, x, [1, 0, 2]) if c.arg("batch_first") else x
        lasts: list[list[ir.Value]] = [[] for _ in range(kinds)]
        for layer in range(c.arg("num_layers")):
            shown = []
            for d in range(directions):
                place = layer * directions + d
                own = [_state(c, s, place) for s in states]
                every, last = direction(c, x, groups[place], own, d == 1)
                shown.append(every)
                for kind, value in enumerate(last):
                    lasts[kind].append(basic.unsqueeze(c.b, value, [0]))
            x = basic.concat(c.b, shown, -1)
        x = basic.transpose(c.b, x, [1, 0, 2]) if c.arg("batch_first") else x
        return [x, *(basic.concat(c.b, values, 0) for values in lasts)]

    return row


def _weights(c: Context) -> list[Weights]:
    """Of each layer and direction the weights, the recurrent ones, the two biases if any, and of an
    LSTM the projection of its state if any.
    """
    flat = c.values("params")
    directions = c.arg("num_layers") * (2 if c.arg("bidirectional") else 1)
    count = len(flat) // directions
    return [flat[i : i + count] for i in range(0, len(flat), count)]


def _state(c: Context, states: ir.Value, place: int) -> ir.Value:
    return basic.squeeze(c.b, basic.slice_axis(c.b, states, 0, place, place + 1), [0])


def _bias(c: Context, weights: Weights) -> ir.Value | None:
    """The sum of both biases, which are added at the same place."""
    return binary(c.b, "ADD", weights[2], weights[3]) if len(weights) >= 4 else None


def _lstm(
    c: Context, x: ir.Value, weights: Weights, states: list[ir.Value], reverse: bool
) -> tuple[ir.Value, list[ir.Value]]:
    projection = weights[-1] if len(weights) % 2 else None
    own, again, bias = weights[0], weights[1], _bias(c, weights)
    found = recurrent.LstmWeights(own, again, bias, projection=projection)
    every, *last = recurrent.lstm(c.b, x, found, states[0], states[1], reverse)
    return every, last


def _gru(
    c: Context, x: ir.Value, weights: Weights, states: list[ir.Value], reverse: bool
) -> tuple[ir.Value, list[ir.Value]]:
    ordered = [_update_first(c, w) for w in weights]
    bias, again = (ordered[2], ordered[3]) if len(ordered) == 4 else (None, None)
    every, last = recurrent.gru(c.b, x, ordered[0], ordered[1], bias, again, states[0], reverse)
    return every, [last]


def _update_first(c: Context, weights: ir.Value) -> ir.Value:
    """PyTorch's gates reset, update, new in the order update, reset, new."""
    size = c.b.fixed_dims(weights, "its weights")[0] // 3
    parts = [basic.slice_axis(c.b, weights, 0, k * size, (k + 1) * size) for k in (1, 0, 2)]
    return basic.concat(c.b, parts, 0)


def _rnn(activation: recurrent.Activation) -> Direction:
    def direction(
        c: Context, x: ir.Value, weights: Weights, states: list[ir.Value], reverse: bool
    ) -> tuple[ir.Value, list[ir.Value]]:
        bias = _bias(c, weights)
        every, last = recurrent.rnn(
            c.b, x, weights[0], weights[1], bias, states[0], reverse, activation
        )
        return every, [last]

    return direction


ROWS: Rows = {
    "gru": _network(1, _gru),
    "lstm": _network(2, _lstm),
    "rnn_relu": _network(1, _rnn(recurrent.relu)),
    "rnn_tanh": _network(1, _rnn(recurrent.tanh)),
}
