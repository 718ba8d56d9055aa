# SPDX-License-Identifier: Apache-2.0
"""Random models of one recurrent operator, and several invokes of them in a row."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock

import numpy as np
from ai_edge_litert.interpreter import Interpreter as LiteRT

import runtime
from converter import ir, write_tflite

Rng = np.random.Generator
GATES = ("input", "forget", "cell", "output")


@dataclass
class Recurrent:
    """A model whose computed inputs get `feeds[i]` in invoke i."""

    content: bytes
    feeds: list[list[np.ndarray]]


@dataclass
class Builder:
    """Inputs of a node, by the family of its arithmetic."""

    rng: Rng
    family: str
    computed_weights: bool = False
    graph: ir.Graph = field(default_factory=lambda: ir.Graph("main"))
    inputs: list[ir.Value | None] = field(default_factory=list)
    feeds: list[np.ndarray] = field(default_factory=list)
    random_inputs: list[tuple[ir.Value, float]] = field(default_factory=list)

    @property
    def integer(self) -> bool:
        return self.family == "INT8"

    def quant(self, scale: float, zero: int = 0) -> ir.Quantization:
        return ir.Quantization(np.array([scale], np.float32), np.array([zero], np.int64))

    def name(self) -> str:
        return f"v{len(self.inputs)}"

    def none(self, count: int = 1) -> None:
        self.inputs += [None] * count

    def const(self, data: Any, scale: float | None = None) -> ir.Value:
        quant = None if scale is None else self.quant(scale)
        if self.computed_weights and data.ndim == 2:
            value = self.graph.add_input(
                self.name(), data.dtype.name.upper(), data.shape, quant=quant
            )
            self.feeds.append(data)
        else:
            value = ir.Value.constant(self.name(), data, quant=quant)
        self.inputs.append(value)
        return value

    def x(self, shape: Sequence[int], spread: float = 1.0) -> ir.Value:
        """An input that is new in every invoke."""
        quant = None
        if self.integer:
            quant = self.quant(
                spread * self.rng.uniform(0.5, 2) / 64, int(self.rng.integers(-128, 128))
            )
        dtype = "INT8" if self.integer else "FLOAT32"
        value = self.graph.add_input(self.name(), dtype, shape, quant=quant)
        self.inputs.append(value)
        self.random_inputs.append((value, spread))
        return value

    def weights(self, n: int, k: int, gain: float = 1.5) -> ir.Value:
        spread = gain * self.rng.uniform(0.5, 1.5) / np.sqrt(k)
        if self.family == "FLOAT":
            return self.const(self.rng.normal(0, spread, (n, k)).astype(np.float32))
        return self.const(self.rng.integers(-127, 128, (n, k), np.int8), 2 * spread / 127)

    def vector(
        self, n: int, spread: float, integer: str, scale: float, offset: float = 0.0
    ) -> None:
        """Float, or of type `integer` for INT8."""
        real = self.rng.normal(offset, spread, n)
        if not self.integer:
            self.const(real.astype(np.float32))
            return
        info = np.iinfo(integer.lower())
        self.const(
            np.clip(np.round(real / scale), info.min, info.max).astype(integer.lower()), scale
        )

    def state(self, shape: Sequence[int], integer: str, scale: float, zero: int = 0) -> ir.Value:
        quant = self.quant(scale, zero) if self.integer else None
        value = ir.Value(
            self.name(),
            integer if self.integer else "FLOAT32",
            shape,
            quant=quant,
            is_variable=True,
        )
        self.inputs.append(value)
        return value

    def output(self, name: str, like: ir.Value | None = None) -> ir.Value:
        quant = like.quant if like is not None else None
        return ir.Value(name, "INT8" if self.integer else "FLOAT32", (1,), quant=quant)

    def values(self, value: ir.Value, spread: float) -> np.ndarray:
        if value.dtype != "FLOAT32":
            info = np.iinfo(value.dtype.lower())
            return self.rng.integers(info.min, info.max, value.shape, info.dtype, endpoint=True)
        return self.rng.normal(0, spread, value.shape).astype(np.float32)

    def finish(
        self,
        op: str,
        outputs: list[ir.Value],
        options: dict[str, Any],
        intermediates: Sequence[ir.Value] = (),
        invokes: int = 3,
    ) -> Recurrent:
        node = self.graph.add_node(op, self.inputs, outputs, options)
        node.intermediates = list(intermediates)
        node.version = 3 if op in ("BIDIRECTIONAL_SEQUENCE_LSTM",) or "RNN" in op else 4
        self.graph.outputs = list(outputs)
        with mock.patch("converter.writer.verify"):  # some are wrong on purpose
            content = write_tflite(ir.Model([self.graph]))
        random = {id(value): spread for value, spread in self.random_inputs}
        feeds = []
        for _ in range(invokes):
            fixed = iter(self.feeds)
            feeds.append(
                [
                    self.values(v, random[id(v)]) if id(v) in random else next(fixed)
                    for v in self.graph.inputs
                ]
            )
        return Recurrent(content, feeds)


def _run(interpreter: Any, model: Recurrent) -> list[np.ndarray]:
    interpreter.allocate_tensors()
    details = interpreter.get_input_details()
    found = []
    for turn in range(2):
        for feeds in model.feeds if turn == 0 else model.feeds[:1]:
            for detail, value in zip(details, feeds, strict=True):
                interpreter.set_tensor(detail["index"], value)
            interpreter.invoke()
            found += [
                interpreter.get_tensor(d["index"]).copy() for d in interpreter.get_output_details()
            ]
        interpreter.reset_all_variables()
    return found


def run(model: Recurrent, isa: str | None = None, threads: int = 1) -> list[np.ndarray]:
    """Outputs of every invoke in a row, and after a reset of the first again."""
    with mock.patch.dict(os.environ, {"RILLET_ISA": isa} if isa else {}):
        return _run(runtime.Interpreter(model_content=model.content, num_threads=threads), model)


def litert(model: Recurrent) -> list[np.ndarray]:
    """The same on LiteRT."""
    return _run(LiteRT(model_content=model.content, num_threads=1), model)


# ---- LSTM ----


@dataclass
class Lstm:
    """What an LSTM model has."""

    op: str = "UNIDIRECTIONAL_SEQUENCE_LSTM"
    family: str = "FLOAT"
    batch: int = 2
    time: int = 6
    n_input: int = 7
    n_cell: int = 9
    n_output: int | None = None  # with a projection
    projection_bias: bool = True
    cifg: bool = False
    peephole: bool = False
    norm: bool = False
    diagonal: bool = False
    computed_weights: bool = False
    cell_exponent: int = -11
    invokes: int = 3
    options: dict[str, Any] = field(default_factory=dict)


def _gates(c: Lstm) -> list[bool]:
    return [not (c.cifg and gate == "input") for gate in GATES]


def _cell_inputs(b: Builder, c: Lstm, x_scale: float) -> None:
    """Weights, recurrent weights, peephole weights, biases and projection of one direction."""
    outputs = c.n_output or c.n_cell
    there = _gates(c)
    products = []
    for present in there:
        b.weights(c.n_cell, c.n_input) if present else b.none()
        products.append(x_scale * b.inputs[-1].quant.scale[0] if b.integer and present else 1.0)
    for present in there:
        if not present:
            b.none()
        elif c.diagonal:
            b.const(b.rng.normal(0, 0.7, c.n_cell).astype(np.float32))
        else:
            b.weights(c.n_cell, outputs)
    for gate, present in zip(GATES, there, strict=True):
        if gate == "cell":
            continue
        if not (c.peephole and present):
            b.none()
        elif b.family == "HYBRID":
            b.const(b.rng.integers(-127, 128, c.n_cell, np.int8), 0.01)
        else:
            b.vector(c.n_cell, 0.5, "INT16", 3e-5)
    for present, product in zip(there, products, strict=True):
        scale = 0.3 / (1 << 20) if c.norm else product
        b.vector(c.n_cell, 0.5, "INT32", scale) if present else b.none()
    if c.n_output:
        b.weights(c.n_output, c.n_cell)
        hidden = b.inputs[-1].quant.scale[0] / 100 if b.integer else 1.0
        b.vector(c.n_output, 0.3, "INT32", hidden) if c.projection_bias else b.none()
    else:
        b.none(2)


def lstm(rng: Rng, c: Lstm) -> Recurrent:
    """UNIDIRECTIONAL_SEQUENCE_LSTM or LSTM."""
    b = Builder(rng, c.family, c.computed_weights)
    outputs = c.n_output or c.n_cell
    sequence = c.op != "LSTM"
    shape = (c.batch, c.n_input)
    if sequence:
        major = c.options.get("time_major", False)
        shape = (c.time, c.batch, c.n_input) if major else (c.batch, c.time, c.n_input)
    x = b.x(shape)
    state_scale, state_zero = float(rng.uniform(0.6, 1.5) / 128), int(rng.integers(-20, 20))
    _cell_inputs(b, c, x.quant.scale[0] if b.integer else 1.0)
    state = b.state((c.batch, outputs), "INT8", state_scale, state_zero)
    b.state((c.batch, c.n_cell), "INT16", 2.0**c.cell_exponent)
    for present in _gates(c):
        b.vector(c.n_cell, 0.2, "INT16", 1.0 / (1 << 15), 0.7) if c.norm and present else b.none()
    intermediates = []
    if b.integer:
        for i in range(4):
            scale = float(rng.uniform(0.5, 2) / 4096)
            intermediates.append(ir.Value(f"i{i}", "INT16", (0,), quant=b.quant(scale)))
        hidden = (float(rng.uniform(0.6, 1.5) / 128), int(rng.integers(-30, 30)))
        if not c.n_output:
            hidden = (state_scale, state_zero)
        intermediates.append(ir.Value("hidden", "INT8", (0,), quant=b.quant(*hidden)))
    options = {"fused_activation_function": "TANH", **c.options}
    return b.finish(c.op, [b.output("y", state)], options, intermediates, c.invokes)


def both_ways(
    rng: Rng, forward: Lstm, backward: Lstm, aux: int = 0, aux_weights: bool = False
) -> Recurrent:
    """BIDIRECTIONAL_SEQUENCE_LSTM; `aux` is the width of the auxiliary input, 0 for none."""
    b = Builder(rng, forward.family, forward.computed_weights)
    major = forward.options.get("time_major", True)
    lead = (forward.time, forward.batch) if major else (forward.batch, forward.time)
    b.x((*lead, forward.n_input))
    for c in (forward, backward):
        reads_aux = c is backward and aux and not aux_weights
        _cell_inputs(b, replace(c, n_input=aux) if reads_aux else c, 1.0)
    for c in (forward, backward):
        b.state((c.batch, c.n_output or c.n_cell), "INT8", 1.0)
        b.state((c.batch, c.n_cell), "INT16", 1.0)
    b.x((*lead, aux)) if aux else b.none()
    for c in (forward, backward):
        for present in _gates(c):
            b.weights(c.n_cell, aux) if aux_weights and present else b.none()
    outputs = [b.output("forward")]
    if not forward.options.get("merge_outputs", False):
        outputs.append(b.output("backward"))
    options = {"fused_activation_function": "TANH", "time_major": True, **forward.options}
    return b.finish("BIDIRECTIONAL_SEQUENCE_LSTM", outputs, options)


def basic(rng: Rng, integer: bool, batch: int = 3, depth: int = 6, cells: int = 8) -> Recurrent:
    """LSTM's BASIC kernel on float32, or on uint8 with int16 inside."""
    b = Builder(rng, "FLOAT")
    dtype, around = ("UINT8", 128) if integer else ("FLOAT32", 0)
    quant = b.quant(1 / 128, around) if integer else None

    def value(
        name: str, kind: str, shape: Sequence[int], q: Any, variable: bool = True
    ) -> ir.Value:
        return ir.Value(name, kind, shape, quant=q, is_variable=variable)

    x = b.graph.add_input("x", dtype, (batch, depth), quant=quant)
    inner, scale = (b.quant(2**-11), float(rng.uniform(0.002, 0.03))) if integer else (None, 1.0)
    before = value("before", dtype, (batch, cells), quant)
    state = value("state", "INT16" if integer else "FLOAT32", (batch, cells), inner)
    shape = (4 * cells, depth + cells)
    if integer:
        weights = ir.Value.constant(
            "w",
            rng.integers(0, 256, shape, np.uint8),
            quant=b.quant(scale, int(rng.integers(100, 150))),
        )
        counts = rng.integers(-6000, 6000, 4 * cells).astype(np.int32)
        bias = ir.Value.constant("b", counts, quant=b.quant(scale / 128))
    else:
        weights = ir.Value.constant("w", rng.normal(0, 0.6, shape).astype(np.float32))
        bias = ir.Value.constant("b", rng.normal(0, 0.5, 4 * cells).astype(np.float32))
    b.inputs = [x, before, weights, bias, state]
    kinds = ["UINT8", "INT16", "UINT8", "INT16"] if integer else ["FLOAT32"] * 4
    quants = [quant, inner, quant, b.quant(2**-12)] if integer else [None] * 4
    outputs = [value(f"y{i}", kinds[i], (1, 1), quants[i], False) for i in range(4)]
    b.random_inputs.append((x, 1.0))
    options = {"kernel_type": "BASIC", "fused_activation_function": "TANH"}
    return b.finish("LSTM", outputs, options)


# ---- RNN and SVDF ----


def rnn(
    rng: Rng, op: str, family: str, units: int = 9, activation: str = "TANH", **options: Any
) -> Recurrent:
    """RNN or UNIDIRECTIONAL_SEQUENCE_RNN."""
    b = Builder(rng, family)
    batch, time, n_input = 3, 5, 7
    shape: tuple[int, ...] = (batch, n_input)
    if op != "RNN":
        shape = (time, batch, n_input) if options.get("time_major") else (batch, time, n_input)
    b.x(shape)
    b.weights(units, n_input)
    b.weights(units, units, 0.5)
    b.vector(units, 0.3, "INT32", 1.0)
    b.state((batch, units), "INT8", 1.0)
    return b.finish(op, [b.output("y")], {"fused_activation_function": activation, **options})


def rnn_both_ways(
    rng: Rng,
    family: str,
    units: tuple[int, int] = (9, 6),
    batch: int = 3,
    aux: int = 0,
    aux_weights: bool = False,
    **options: Any,
) -> Recurrent:
    """BIDIRECTIONAL_SEQUENCE_RNN; without weights the auxiliary input is the backward one's."""
    b = Builder(rng, family)
    time, n_input = 5, 7
    lead = (time, batch) if options.get("time_major") else (batch, time)
    b.x((*lead, n_input))
    for way, n in enumerate(units):
        b.weights(n, aux if aux and not aux_weights and way else n_input)
        b.weights(n, n, 0.5)
        b.vector(n, 0.3, "INT32", 1.0)
        b.state((batch, n), "INT8", 1.0)
    b.x((*lead, aux)) if aux else b.none()
    for n in units:
        b.weights(n, aux) if aux_weights else b.none()
    outputs = [b.output("forward")]
    if not options.get("merge_outputs"):
        outputs.append(b.output("backward"))
    options = {"fused_activation_function": "TANH", **options}
    return b.finish("BIDIRECTIONAL_SEQUENCE_RNN", outputs, options)


def svdf(
    rng: Rng,
    family: str,
    *,
    batch: int = 3,
    n_input: int = 7,
    units: int = 5,
    rank: int = 2,
    memory: int = 6,
    bias: bool = True,
    state: str = "INT16",
    invokes: int = 8,
    **options: Any,
) -> Recurrent:
    """SVDF; INT8 has a RELU that shows in nothing. `state`: its type, and that of INT8's time."""
    b = Builder(rng, family)
    x = b.x((batch, n_input))
    filters = units * rank
    b.weights(filters, n_input)
    steps = 1 if state == "INT16" else 256
    state_scale = float(rng.uniform(0.5, 2) / 8192 * steps)
    out_scale = float(rng.uniform(0.5, 2) / 64)
    time_scale = 1.0
    if family == "INT8":
        time_scale = float(rng.uniform(0.5, 2) / 32768 * steps)
        most = 32768 // steps
        time = rng.integers(-most, most, (filters, memory)).astype(state.lower())
        b.const(time, time_scale)
    else:
        b.weights(filters, memory)
    b.vector(units, 0.3, "INT32", state_scale * time_scale) if bias else b.none()
    b.state((batch, filters * memory), state, state_scale)
    out = b.output("y")
    if family == "INT8":
        out.quant = b.quant(out_scale, int(rng.integers(-128, 128)))
    activation = "RELU" if family == "INT8" else options.pop("activation", "NONE")
    options = {"rank": rank, "fused_activation_function": activation, **options}
    assert x.shape == (batch, n_input)
    return b.finish("SVDF", [out], options, invokes=invokes)
