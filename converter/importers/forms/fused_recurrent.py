# SPDX-License-Identifier: Apache-2.0
"""LSTM and plain recurrent layers as TFLite's own ops, GRU and LSTM of any batch as composites.

TFLite's ops keep their state in variables, from one invoke to the next. Layers of the sources start
from the given state at every call, so BROADCAST_TO writes that into the variables first. What is
left in them is read together with a result of the op: an engine that moves parts of a graph
elsewhere keeps the order of nodes along edges only, and none leads from the op to its variables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic, control


class LstmWeights(NamedTuple):
    """Constants of an LSTM, gates in the order input, forget, cell, output along the first axis.

    `weights` [4 size, features], `recurrent` [4 size, shown], `bias` [4 size], `peephole` [3 size]
    of input, forget and output, `projection` [shown, size]; shown is size without a projection.
    `is_coupled`: the forget gate is 1 - the input gate, and has no weights that are read.
    """

    weights: ir.Value
    recurrent: ir.Value
    bias: ir.Value | None = None
    peephole: ir.Value | None = None
    projection: ir.Value | None = None
    is_coupled: bool = False


def fits(
    b: Builder, x: ir.Value, weights: Sequence[ir.Value | None], has_variables: bool = True
) -> bool:
    """Whether a layer on the sequence `x` [time, batch, features] can be one op: in the main graph,
    because variables of others last from call to call, with constant weights.

    Variables have a fixed batch: LiteRT takes one that follows the sizes of inputs, but keeps its
    former memory where an earlier node has a result of dynamic size.
    """
    time, batch, features = b.dims(x)
    return (
        b.outer is None
        and time != 0
        and (bool(batch) or (batch is None and not has_variables))
        and bool(features)
        and all(v is None or (v.data is not None and v.size > 0) for v in weights)
        and all(v is None or v.dtype == "FLOAT32" for v in (x, *weights))
    )


def lstm(
    b: Builder,
    x: ir.Value,
    weights: LstmWeights,
    hidden: ir.Value,
    cell: ir.Value,
    reverse: bool,
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """(every hidden state, the last one, the last cell) of an LSTM that `fits`."""
    shown = weights.recurrent.shape[1]
    size = weights.weights.shape[0] // 4
    states = [_started(b, hidden, x, shown), _started(b, cell, x, size)]
    inputs = [_reversed(b, x) if reverse else x, *_constants(b, weights, size), *states]
    options = {"fused_activation_function": "TANH", "time_major": True}
    every = _sequence(b, "UNIDIRECTIONAL_SEQUENCE_LSTM", [*inputs, *[None] * 4], shown, options)
    last = _last(b, every)
    cell = basic.slice_axis(b, basic.concat(b, [last, states[1]], 1), 1, shown, None)
    return _reversed(b, every) if reverse else every, last, cell


def fits_composite(b: Builder, x: ir.Value, w: LstmWeights) -> bool:
    """Whether an LSTM on `x` can be the composite, which is for any batch but without extras."""
    if w.peephole is not None or w.projection is not None or w.is_coupled:
        return False
    return fits(b, x, (w.weights, w.recurrent, w.bias), has_variables=False)


def lstm_composite(
    b: Builder,
    x: ir.Value,
    w: LstmWeights,
    hidden: ir.Value,
    cell: ir.Value,
    reverse: bool,
    parts: Callable[[Builder, ir.Value, ir.Value, ir.Value], Sequence[ir.Value]],
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """(every hidden state, the last one, the last cell) of an LSTM that `fits_composite`:
    `rillet.lstm`.

    `parts` spells it, forwards, over a sequence and the two states, with constants for weights.
    """
    constants = (w.weights, w.recurrent, w.bias)
    inputs = [*_with_biases(b, x, constants, reverse), hidden, cell]
    every, last, last_cell = control.composite(
        b, "rillet.lstm", inputs, {}, lambda inner, own: parts(inner, own[0], own[-2], own[-1])
    )
    return _reversed(b, every) if reverse else every, last, last_cell


def rnn(
    b: Builder,
    x: ir.Value,
    weights: ir.Value,
    recurrent: ir.Value,
    bias: ir.Value | None,
    hidden: ir.Value,
    reverse: bool,
    activation: str,
) -> tuple[ir.Value, ir.Value]:
    """(every hidden state, the last one) of a plain recurrent layer that `fits`."""
    size = weights.shape[0]
    term = b.constant(np.zeros(size), "bias", np.float32) if bias is None else bias
    state = _started(b, hidden, x, size)
    inputs = [_reversed(b, x) if reverse else x, weights, recurrent, term, state]
    options = {"fused_activation_function": activation, "time_major": True}
    every = _sequence(b, "UNIDIRECTIONAL_SEQUENCE_RNN", inputs, size, options)
    return _reversed(b, every) if reverse else every, _last(b, every)


def gru(
    b: Builder,
    x: ir.Value,
    constants: Sequence[ir.Value | None],
    hidden: ir.Value,
    reverse: bool,
    reset_after: bool,
    parts: Callable[[Builder, ir.Value, ir.Value], tuple[ir.Value, ir.Value]],
) -> tuple[ir.Value, ir.Value]:
    """(every hidden state, the last one) of a GRU that `fits`: the composite `rillet.gru`.

    `constants` are its weights, recurrent weights and their biases, gates in the order update,
    reset, hidden. `parts` spells it, forwards, over a sequence and a state; there the weights are
    constants, so that nobody copies those that go in.
    """
    every, last = control.composite(
        b,
        "rillet.gru",
        [*_with_biases(b, x, constants, reverse), hidden],
        {"reset_after": int(reset_after)},
        lambda inner, own: parts(inner, own[0], own[-1]),
    )
    return _reversed(b, every) if reverse else every, last


def _with_biases(
    b: Builder, x: ir.Value, constants: Sequence[ir.Value | None], reverse: bool
) -> list[ir.Value]:
    """The sequence as it is walked, weights, and biases, which are zeros where there are none."""
    weights = constants[0]
    assert weights is not None
    zeros = b.constant(np.zeros(weights.shape[0]), "bias", np.float32)
    return [_reversed(b, x) if reverse else x, *(zeros if v is None else v for v in constants)]


def _started(b: Builder, start: ir.Value, x: ir.Value, size: int) -> ir.Value:
    """A variable [batch, size] that holds `start` at the beginning of every run."""
    batch = b.dims(x)[1]
    assert batch is not None
    if start.data is not None and (start.data == start.data.flat[0]).all():
        start = b.constant(start.data.flat[0], "start", np.float32)
    return b.variable(start, (batch, size), "state")


def _constants(b: Builder, w: LstmWeights, size: int) -> list[ir.Value | None]:
    """Inputs 1 to 17 of the op."""

    def parts(value: ir.Value | None, count: int) -> list[np.ndarray | None]:
        if value is None or value.data is None:
            return [None] * count
        found: list[np.ndarray | None] = [
            value.data[k * size : (k + 1) * size] for k in range(count)
        ]
        if w.is_coupled:
            # The op's input gate is 1 - its forget gate: that is sigmoid(-z) of the other's z.
            found[:2] = [None, -value.data[:size]]
        return found

    bias = parts(w.bias, 4)
    if w.bias is None:
        zeros = np.zeros(size, np.float32)
        bias = [None if w.is_coupled else zeros, zeros, zeros, zeros]
    arrays = [*parts(w.weights, 4), *parts(w.recurrent, 4), *parts(w.peephole, 3), *bias]
    projection = None if w.projection is None else w.projection.data
    return [
        None if data is None else b.constant(data, "weights", np.float32)
        for data in (*arrays, projection, None)
    ]


def _sequence(
    b: Builder, op: str, inputs: Sequence[ir.Value | None], size: int, options: dict[str, object]
) -> ir.Value:
    x = inputs[0]
    assert x is not None
    first, second = b.pair(x)
    dims = (*first[:2], size), (*second[:2], size)
    return b.append(op, inputs, [("FLOAT32", dims)], options)[0]


def _reversed(b: Builder, x: ir.Value) -> ir.Value:
    """The steps of a sequence from the last to the first."""
    return b.emit("REVERSE_V2", [x, basic.int32s(b, [0], "axis")])


def _last(b: Builder, every: ir.Value) -> ir.Value:
    return basic.squeeze(b, basic.slice_axis(b, every, 0, -1, None), [0])
