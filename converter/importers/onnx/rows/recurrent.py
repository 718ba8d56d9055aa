# SPDX-License-Identifier: Apache-2.0
"""Rows for LSTM, GRU and RNN: one or two directions, sequences first or batch first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic, elementwise, recurrent
from converter.importers.forms.recurrent import Activation, zero_state
from converter.importers.no_form import NoForm
from converter.importers.onnx.context import Context, Rows

# One direction: (context, sequence, weights, recurrent weights, biases, states, reverse,
# activations, number) -> (every hidden state, last states)
Direction = Callable[..., tuple[ir.Value, list[ir.Value]]]


def _activations(c: Context, default: list[str]) -> list[list[Activation]]:
    """For each direction the activations of one layer."""
    names = c.attr("activations") or default * _directions(c)
    alphas, betas = list(c.attr("activation_alpha") or []), list(c.attr("activation_beta") or [])
    found = [_activation(name, alphas, betas) for name in names]
    count = len(default)
    return [found[i : i + count] for i in range(0, len(found), count)]


def _activation(name: str, alphas: list[float], betas: list[float]) -> Activation:
    def constant(values: list[float], default: float) -> float:
        return values.pop(0) if values else default

    plain = {"Sigmoid": recurrent.sigmoid, "Tanh": recurrent.tanh, "Relu": recurrent.relu}
    if name in plain:
        return plain[name]
    if name == "Elu":
        return lambda b, x: basic.unary(b, "ELU", x)
    if name == "Affine":
        factor, term = constant(alphas, 1.0), constant(betas, 0.0)
        return lambda b, x: elementwise.affine(b, x, factor, term)
    if name == "LeakyRelu":
        slope = constant(alphas, 0.01)
        return lambda b, x: b.emit("LEAKY_RELU", [x], alpha=slope)
    if name == "HardSigmoid":
        factor, term = constant(alphas, 0.2), constant(betas, 0.5)

        def hard_sigmoid(b: Builder, x: ir.Value) -> ir.Value:
            return elementwise.clamp(b, elementwise.affine(b, x, factor, term), 0.0, 1.0)

        return hard_sigmoid
    if name == "Softplus":
        return elementwise.softplus
    raise NoForm(f"has the activation {name}: use Sigmoid, Tanh or Relu")


def _directions(c: Context) -> int:
    return 2 if c.attr("direction", "forward") == "bidirectional" else 1


def _layer(c: Context, states: int, default: list[str], direction: Direction) -> list[ir.Value]:
    """All directions of a layer: Y, Y_h and, for LSTM, Y_c."""
    if c.attr("clip"):
        raise NoForm("clips its gates, which devices do not: export without clip")
    batch_first = bool(c.attr("layout", 0))
    x = c.input(0)
    x = basic.transpose(c.b, x, [1, 0, 2]) if batch_first else x
    weights, again = c.input(1), c.input(2)
    size = c.b.fixed_dims(again, "its weights")[-1]
    every, lasts = [], []
    for d, activations in enumerate(_activations(c, default)):
        given = [_state(c, 5 + s, d, x, size, batch_first) for s in range(states)]
        backwards = d == 1 or c.attr("direction", "forward") == "reverse"
        parts = [_of_direction(c, v, d) for v in (weights, again)]
        shown, last = direction(c, x, *parts, _biases(c, d), given, backwards, activations, d)
        every.append(basic.unsqueeze(c.b, shown, [1]))
        lasts.append([basic.unsqueeze(c.b, v, [0]) for v in last])
    whole = basic.concat(c.b, every, 1)
    ends = [basic.concat(c.b, list(parts), 0) for parts in zip(*lasts, strict=True)]
    if batch_first:
        whole = basic.transpose(c.b, whole, [2, 0, 1, 3])
        ends = [basic.transpose(c.b, v, [1, 0, 2]) for v in ends]
    return [whole, *ends]


def _of_direction(c: Context, value: ir.Value, direction: int) -> ir.Value:
    part = basic.slice_axis(c.b, value, 0, direction, direction + 1)
    return basic.squeeze(c.b, part, [0])


def _biases(c: Context, direction: int) -> list[ir.Value | None]:
    """Those of the input and of the state; None where the layer has none."""
    if not c.has(3):
        return [None, None]
    both = _of_direction(c, c.input(3), direction)
    half = c.b.fixed_dims(both, "its bias")[0] // 2
    return [basic.slice_axis(c.b, both, 0, 0, half), basic.slice_axis(c.b, both, 0, half, None)]


def _sum(c: Context, biases: list[ir.Value | None]) -> ir.Value | None:
    first, second = biases
    if first is None or second is None:
        return None
    return basic.binary(c.b, "ADD", first, second)


def _reordered(c: Context, value: ir.Value | None, order: list[int], count: int) -> Any:
    """`count` gates along the first axis in another order."""
    if value is None:
        return None
    size = c.b.fixed_dims(value, "its weights")[0] // count
    return basic.concat(
        c.b, [basic.slice_axis(c.b, value, 0, k * size, (k + 1) * size) for k in order], 0
    )


def _state(
    c: Context, index: int, direction: int, x: ir.Value, size: int, batch_first: bool
) -> ir.Value:
    """[batch, size]: an initial state of one direction, zeros where it is not given."""
    if not c.has(index):
        return zero_state(c.b, x, size)
    axis = 1 if batch_first else 0
    part = basic.slice_axis(c.b, c.input(index), axis, direction, direction + 1)
    return basic.squeeze(c.b, part, [axis])


def _lengths(c: Context, x: ir.Value) -> ir.Value | None:
    """The sequences' lengths; None where all are whole."""
    if not c.has(4):
        return None
    lengths = c.input(4)
    known, time = c.b.known(lengths), c.b.dims(x)[0]
    return None if known is not None and time is not None and (known == time).all() else lengths


_GATES = [0, 2, 3, 1]  # of ONNX's input, output, forget, cell: input, forget, cell, output


def _lstm(c: Context) -> list[ir.Value]:
    def direction(
        c: Context, x: Any, weights: Any, again: Any, biases: Any, states: Any, back: bool,
        activations: Any, d: int,
    ) -> tuple[ir.Value, list[ir.Value]]:  # fmt: skip
        peephole = _of_direction(c, c.input(7), d) if c.has(7) else None
        found = recurrent.LstmWeights(
            _reordered(c, weights, _GATES, 4),
            _reordered(c, again, _GATES, 4),
            _reordered(c, _sum(c, biases), _GATES, 4),
            _reordered(c, peephole, [0, 2, 1], 3),
            is_coupled=bool(c.attr("input_forget", 0)),
        )
        hidden, cell = states
        every, h, cell = recurrent.lstm(
            c.b, x, found, hidden, cell, back, activations, _lengths(c, x)
        )
        return every, [h, cell]

    return _layer(c, 2, ["Sigmoid", "Tanh", "Tanh"], direction)


def _gru(c: Context) -> list[ir.Value]:
    def direction(
        c: Context, x: Any, weights: Any, again: Any, biases: Any, states: Any, back: bool,
        activations: Any, d: int,
    ) -> tuple[ir.Value, list[ir.Value]]:  # fmt: skip
        after = bool(c.attr("linear_before_reset", 0))
        every, h = recurrent.gru(
            c.b,
            x,
            weights,
            again,
            biases[0],
            biases[1],
            states[0],
            back,
            after,
            activations,
            _lengths(c, x),
        )
        return every, [h]

    return _layer(c, 1, ["Sigmoid", "Tanh"], direction)


def _rnn(c: Context) -> list[ir.Value]:
    def direction(
        c: Context, x: Any, weights: Any, again: Any, biases: Any, states: Any, back: bool,
        activations: Any, d: int,
    ) -> tuple[ir.Value, list[ir.Value]]:  # fmt: skip
        bias = _sum(c, biases)
        every, h = recurrent.rnn(
            c.b, x, weights, again, bias, states[0], back, activations[0], _lengths(c, x)
        )
        return every, [h]

    return _layer(c, 1, ["Tanh"], direction)


ROWS: Rows = {"GRU": _gru, "LSTM": _lstm, "RNN": _rnn}
