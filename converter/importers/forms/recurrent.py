# SPDX-License-Identifier: Apache-2.0
"""LSTM, GRU and plain recurrent layers, of one direction.

Sequences are [time, batch, features]. Where TFLite has an op for the layer, it is that one
(`fused_recurrent`). Else the products with the inputs are one matrix product over the whole
sequence, and only what depends on the state is done step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic, control, fused_recurrent, products
from converter.importers.forms.basic import binary, unary
from converter.importers.forms.fused_recurrent import LstmWeights
from converter.importers.no_form import NoForm

Activation = Callable[[Builder, ir.Value], ir.Value]
Stepped = tuple[list[ir.Value], list[ir.Value]]


def sigmoid(b: Builder, x: ir.Value) -> ir.Value:
    return unary(b, "LOGISTIC", x)


def tanh(b: Builder, x: ir.Value) -> ir.Value:
    return unary(b, "TANH", x)


def relu(b: Builder, x: ir.Value) -> ir.Value:
    return unary(b, "RELU", x)


_STANDARD = (sigmoid, tanh, tanh)
_FUSED: dict[Activation, str] = {
    tanh: "TANH",
    relu: "RELU",
}  # activations of UNIDIRECTIONAL_SEQUENCE_RNN


def lstm(
    b: Builder,
    x: ir.Value,
    w: LstmWeights,
    hidden: ir.Value,
    cell: ir.Value,
    reverse: bool = False,
    activations: Sequence[Activation] = _STANDARD,
    lengths: ir.Value | None = None,
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """(every hidden state [time, batch, shown], the last one, the last cell).

    `activations` are those of the gates, the cell and the output.
    """
    constants = (w.weights, w.recurrent, w.bias, w.peephole, w.projection)
    standard = lengths is None and tuple(activations) == _STANDARD
    if standard and fused_recurrent.fits(b, x, constants):
        return fused_recurrent.lstm(b, x, w, hidden, cell, reverse)
    if standard and fused_recurrent.fits_composite(b, x, w):

        def parts(b: Builder, x: ir.Value, hidden: ir.Value, cell: ir.Value) -> list[ir.Value]:
            return list(_lstm(b, x, w, hidden, cell, False, activations, None))

        return fused_recurrent.lstm_composite(b, x, w, hidden, cell, reverse, parts)
    return _lstm(b, x, w, hidden, cell, reverse, activations, lengths)


def _lstm(
    b: Builder,
    x: ir.Value,
    w: LstmWeights,
    hidden: ir.Value,
    cell: ir.Value,
    reverse: bool,
    activations: Sequence[Activation],
    lengths: ir.Value | None,
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """An LSTM in parts."""
    gate, inner, outer = activations
    peepholes = None if w.peephole is None else _parts(b, w.peephole, 3)

    def step(b: Builder, slices: list[ir.Value], states: list[ir.Value]) -> Stepped:
        h, c = states
        i, f, g, o = _parts(b, binary(b, "ADD", slices[0], _product(b, h, w.recurrent)), 4)
        if peepholes is not None:
            i = binary(b, "ADD", i, _scaled(b, c, peepholes[0]))
            f = binary(b, "ADD", f, _scaled(b, c, peepholes[1]))
        taken = gate(b, i)
        left = binary(b, "SUB", basic.scalar(b, 1, i), taken) if w.is_coupled else gate(b, f)
        kept = binary(b, "MUL", left, c)
        after = binary(b, "ADD", kept, binary(b, "MUL", taken, inner(b, g)))
        if peepholes is not None:
            o = binary(b, "ADD", o, _scaled(b, after, peepholes[2]))
        shown = binary(b, "MUL", gate(b, o), outer(b, after))
        if w.projection is not None:
            shown = _product(b, shown, w.projection)
        return [shown, after], [shown]

    inputs = _shifted(b, _product(b, x, w.weights), w.bias)
    (h, c), (every,) = _over(b, inputs, [hidden, cell], step, reverse, lengths)
    return every, h, c


def gru(
    b: Builder,
    x: ir.Value,
    weights: ir.Value,
    recurrent: ir.Value,
    bias: ir.Value | None,
    recurrent_bias: ir.Value | None,
    hidden: ir.Value,
    reverse: bool = False,
    reset_after: bool = True,
    activations: Sequence[Activation] = (sigmoid, tanh),
    lengths: ir.Value | None = None,
) -> tuple[ir.Value, ir.Value]:
    """(every hidden state, the last one). Gates in the order update, reset, hidden.

    `reset_after`: the reset gate multiplies the product of the state (PyTorch, ONNX's
    linear_before_reset), else the state before it.
    """
    constants = (weights, recurrent, bias, recurrent_bias)
    standard = lengths is None and tuple(activations) == (sigmoid, tanh)
    if standard and fused_recurrent.fits(b, x, constants, has_variables=False):

        def parts(b: Builder, x: ir.Value, hidden: ir.Value) -> tuple[ir.Value, ir.Value]:
            return _gru(b, x, *constants, hidden, False, reset_after, activations, None)

        return fused_recurrent.gru(b, x, constants, hidden, reverse, reset_after, parts)
    return _gru(b, x, *constants, hidden, reverse, reset_after, activations, lengths)


def _gru(
    b: Builder,
    x: ir.Value,
    weights: ir.Value,
    recurrent: ir.Value,
    bias: ir.Value | None,
    recurrent_bias: ir.Value | None,
    hidden: ir.Value,
    reverse: bool,
    reset_after: bool,
    activations: Sequence[Activation],
    lengths: ir.Value | None,
) -> tuple[ir.Value, ir.Value]:
    """A GRU in parts."""
    size = b.fixed_dims(recurrent, "its weights")[1]
    gate, inner = activations
    gates = basic.slice_axis(b, recurrent, 0, 0, 2 * size)
    rest = basic.slice_axis(b, recurrent, 0, 2 * size, None)
    term = rest_term = None
    if recurrent_bias is not None:
        term = basic.slice_axis(b, recurrent_bias, 0, 0, 2 * size)
        rest_term = basic.slice_axis(b, recurrent_bias, 0, 2 * size, None)

    def step(b: Builder, slices: list[ir.Value], states: list[ir.Value]) -> Stepped:
        (h,) = states
        xz, xr, xh = _parts(b, slices[0], 3)
        if reset_after:
            hz, hr, hh = _parts(b, _shifted(b, _product(b, h, recurrent), recurrent_bias), 3)
            reset = gate(b, binary(b, "ADD", xr, hr))
            candidate = binary(b, "ADD", xh, binary(b, "MUL", reset, hh))
        else:
            hz, hr = _parts(b, _shifted(b, _product(b, h, gates), term), 2)
            reset = binary(b, "MUL", gate(b, binary(b, "ADD", xr, hr)), h)
            again = _shifted(b, _product(b, reset, rest), rest_term)
            candidate = binary(b, "ADD", xh, again)
        update = gate(b, binary(b, "ADD", xz, hz))
        fresh = inner(b, candidate)
        # (1 - z) fresh + z h, as one product less
        after = binary(b, "ADD", fresh, binary(b, "MUL", update, binary(b, "SUB", h, fresh)))
        return [after], [after]

    inputs = _shifted(b, _product(b, x, weights), bias)
    (h,), (every,) = _over(b, inputs, [hidden], step, reverse, lengths)
    return every, h


def rnn(
    b: Builder,
    x: ir.Value,
    weights: ir.Value,
    recurrent: ir.Value,
    bias: ir.Value | None,
    hidden: ir.Value,
    reverse: bool = False,
    activation: Activation = tanh,
    lengths: ir.Value | None = None,
) -> tuple[ir.Value, ir.Value]:
    """(every hidden state, the last one) of h = activation(W x + R h + b)."""
    fused = _FUSED.get(activation) if lengths is None else None
    if fused and fused_recurrent.fits(b, x, (weights, recurrent, bias)):
        return fused_recurrent.rnn(b, x, weights, recurrent, bias, hidden, reverse, fused)

    def step(b: Builder, slices: list[ir.Value], states: list[ir.Value]) -> Stepped:
        total = binary(b, "ADD", slices[0], _product(b, states[0], recurrent))
        after = activation(b, total)
        return [after], [after]

    inputs = _shifted(b, _product(b, x, weights), bias)
    (h,), (every,) = _over(b, inputs, [hidden], step, reverse, lengths)
    return every, h


def zero_state(b: Builder, x: ir.Value, size: int) -> ir.Value:
    """[batch, size] of zeros for a sequence [time, batch, features]."""
    batch = basic.slice_axis(b, basic.shape_of(b, x), 0, 1, 2)
    shape = basic.concat(b, [batch, basic.int32s(b, [size], "size")], 0)
    return b.emit("FILL", [shape, basic.scalar(b, 0, x)], dtype=x.dtype)


def _over(
    b: Builder,
    inputs: ir.Value,
    states: list[ir.Value],
    step: control.Step,
    reverse: bool,
    lengths: ir.Value | None,
) -> Stepped:
    """The scan; with `lengths` [batch], sequences that have ended keep their states and give 0."""
    if lengths is None:
        return control.scan(b, [inputs], states, step, reverse)
    time = b.fixed_dims(inputs, "its sequence")[0]
    places = b.constant(np.arange(time)[:, None, None], "places", np.int32)
    ends = basic.unsqueeze(b, basic.ints(b, lengths), [0, 2])
    going = b.emit("LESS", [places, ends], dtype="BOOL")

    def guarded(b: Builder, slices: list[ir.Value], before: list[ir.Value]) -> Stepped:
        after, added = step(b, slices[:1], before)
        kept = [
            b.emit("SELECT_V2", [slices[1], new, old], dtype=new.dtype)
            for new, old in zip(after, before, strict=True)
        ]
        shown = [
            b.emit("SELECT_V2", [slices[1], v, basic.scalar(b, 0, v)], dtype=v.dtype) for v in added
        ]
        return kept, shown

    return control.scan(b, [inputs, going], states, guarded, reverse)


def _parts(b: Builder, x: ir.Value, count: int) -> list[ir.Value]:
    """`count` equal parts along the last axis."""
    whole = b.dims(x)[-1]
    if whole is None:
        raise NoForm("has a dynamic number of features: give the weights fixed sizes")
    size = whole // count
    return [basic.slice_axis(b, x, -1, k * size, (k + 1) * size) for k in range(count)]


def _product(b: Builder, x: ir.Value, weights: ir.Value) -> ir.Value:
    return products.matmul(b, x, b.captured(weights), False, True)


def _shifted(b: Builder, x: ir.Value, term: ir.Value | None) -> ir.Value:
    return x if term is None else binary(b, "ADD", x, b.captured(term))


def _scaled(b: Builder, x: ir.Value, factor: ir.Value) -> ir.Value:
    return binary(b, "MUL", x, b.captured(factor))
