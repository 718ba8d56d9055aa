# SPDX-License-Identifier: Apache-2.0
"""Variables and passes: what each run writes stays written, and what is read is read in time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from graph_building import Builder

import runtime
from converter import ir, verify, write_tflite
from converter.effects import has_effects, is_deterministic
from converter.passes import DEFAULT_PASSES, optimize
from converter.passes.composites import outline_composites
from converter.passes.dead_code import remove_dead_code
from converter.passes.half import pack_half

SHAPE = (2, 3)
PASSES = [*DEFAULT_PASSES, pack_half]
Kept = ir.Value


def state(name: str = "kept", shape: tuple[int, ...] = SHAPE) -> Kept:
    return ir.Value(name, "FLOAT32", shape, is_variable=True)


def write(b: Builder, op: str, inputs: list, kept: Kept, **options) -> None:
    inputs = [v if isinstance(v, ir.Value) else b.constant(v) for v in inputs]
    b.graph.add_node(op, inputs, [kept], options)


def rnn(b: Builder, x: ir.Value, kept: Kept) -> ir.Value:
    """[2,3] of the state after one step, whose weights are fixed."""
    rng = np.random.default_rng(5)
    weights = [rng.standard_normal((3, 3)).astype(np.float32) for _ in range(2)]
    bias = rng.standard_normal(3).astype(np.float32)
    inputs = [x, *map(b.constant, (*weights, bias)), kept]
    return b.op("RNN", inputs, SHAPE, fused_activation_function="TANH")


def no_op_writers(b: Builder) -> list[ir.Value]:
    """Nodes that would be no-ops, were their output no variable."""
    x = b.input(SHAPE)
    states = [state(f"kept{i}") for i in range(3)]
    before = [b.op("NEG", [kept], SHAPE) for kept in states]
    write(b, "RESHAPE", [x, np.int32(SHAPE)], states[0])
    write(b, "CONCATENATION", [x], states[1], axis=0, fused_activation_function="NONE")
    write(b, "ADD", [x, np.float32(0)], states[2], fused_activation_function="NONE")
    return [*before, *(b.op("ABS", [kept], SHAPE) for kept in states)]


def constant_writers(b: Builder) -> list[ir.Value]:
    """Twins that compute what a constant could hold."""
    x = b.input(SHAPE)
    one, two = state("one"), state("two")
    for kept in (one, two):
        write(b, "BROADCAST_TO", [np.float32(0.5), np.int32(SHAPE)], kept)
    y = rnn(b, x, one)
    return [y, b.op("ADD", [one, two], SHAPE, fused_activation_function="NONE")]


def read_twice(b: Builder) -> list[ir.Value]:
    """The same nodes on one variable, before and after it is written."""
    x, kept = b.input(SHAPE), state()
    write(b, "TILE", [x, np.int32([1, 1])], kept)

    def read() -> list[ir.Value]:
        flat = b.op("RESHAPE", [kept, np.int32([6])], (6,))
        turned = b.op("TRANSPOSE", [kept, np.int32([1, 0])], (3, 2))
        scaled = b.op("MUL", [kept, np.float32(2)], SHAPE, fused_activation_function="NONE")
        return [flat, turned, scaled]

    first = read()
    y = rnn(b, x, kept)
    second = read()
    shapes = [(6,), (3, 2), SHAPE]
    sums = [
        b.op("SUB", [p, q], s, fused_activation_function="NONE")
        for p, q, s in zip(first, second, shapes, strict=True)
    ]
    return [y, *sums]


def read_late(b: Builder) -> list[ir.Value]:
    """Chains that begin at a variable and go on behind the next write."""
    x, kept = b.input(SHAPE), state()
    flat = b.op("RESHAPE", [kept, np.int32([6])], (6,))
    turned = b.op("TRANSPOSE", [kept, np.int32([1, 0])], (3, 2))
    scaled = b.op("MUL", [kept, np.float32([1, 2, 3])], SHAPE, fused_activation_function="NONE")
    same = b.op("RESHAPE", [kept, np.int32(SHAPE)], SHAPE)
    y = rnn(b, x, kept)
    flat = b.op("RESHAPE", [flat, np.int32([3, 2])], (3, 2))
    turned = b.op("TRANSPOSE", [turned, np.int32([1, 0])], SHAPE)
    weights = np.arange(6, dtype=np.float32).reshape(2, 3)
    dense = b.op("FULLY_CONNECTED", [scaled, weights], (2, 2), fused_activation_function="NONE")
    return [y, flat, turned, dense, b.op("NEG", [same], SHAPE)]


def written_by_sums(b: Builder) -> list[ir.Value]:
    """What writes the variable and what reads it could be one node."""
    x, kept = b.input(SHAPE), state()
    former = b.op("RELU", [kept], SHAPE)
    write(b, "ADD", [x, np.float32(-0.1)], kept, fused_activation_function="NONE")
    sign = b.op("RELU", [kept], SHAPE)
    return [former, b.op("NEG", [sign], SHAPE)]


GRAPHS = [no_op_writers, constant_writers, read_twice, read_late, written_by_sums]


def build(make: Callable[[Builder], list[ir.Value]]) -> ir.Model:
    b = Builder()
    return b.model(*make(b))


def runs(model: ir.Model) -> list[list[np.ndarray]]:
    """Outputs of three invokes, which the states between them decide too."""
    interpreter = runtime.Interpreter(model_content=write_tflite(model))
    interpreter.allocate_tensors()
    rng, found = np.random.default_rng(11), []
    for _ in range(3):
        interpreter.set_tensor(
            interpreter.get_input_details()[0]["index"], rng.standard_normal(SHAPE, np.float32)
        )
        interpreter.invoke()
        outputs = interpreter.get_output_details()
        found.append([np.array(interpreter.get_tensor(d["index"])) for d in outputs])
    return found


@pytest.mark.parametrize("run", [*PASSES, None], ids=lambda p: "all" if p is None else p.__name__)
@pytest.mark.parametrize("make", GRAPHS)
def test_passes_leave_what_variables_hold(make, run):
    model = build(make)
    before = runs(model)
    written = {v.name for v in model.main.values() if v.is_variable}
    optimize(model, passes=PASSES if run is None else [run, remove_dead_code], check=True)
    for own, other in zip(before, runs(model), strict=True):
        for x, y in zip(own, other, strict=True):
            np.testing.assert_allclose(y, x, atol=1e-6)
    assert {v.name for v in model.main.values() if v.is_variable} == written


def test_composites_are_not_made_of_variables():
    b = Builder()
    x, kept = b.input(SHAPE), state()
    plain = {"fused_activation_function": "NONE"}
    squares = b.op("MUL", [kept, kept], SHAPE, **plain)
    mean = b.op("MEAN", [squares, np.int32([1])], (2, 1), keep_dims=True)
    moved = b.op("ADD", [mean, np.float32(1e-3)], (2, 1), **plain)
    spread = b.op("RSQRT", [moved], (2, 1))
    scaled = b.op("MUL", [kept, spread], SHAPE, **plain)
    y = rnn(b, x, kept)
    model = b.model(y, b.op("MUL", [scaled, np.float32([1, 2, 3])], SHAPE, **plain))
    before = runs(model)
    outline_composites(model)
    for own, other in zip(before, runs(model), strict=True):
        for p, q in zip(own, other, strict=True):
            np.testing.assert_allclose(q, p, atol=1e-6)


def test_a_write_that_nobody_reads_is_dead():
    b = Builder()
    x, kept = b.input(SHAPE), state()
    write(b, "TILE", [x, np.int32([1, 1])], kept)
    y = b.op("NEG", [x], SHAPE)
    rnn(b, x, kept)  # nor does anybody read this one
    model = b.model(y)
    assert optimize(model, check=True)
    assert [node.op for node in model.main.nodes] == ["NEG"]


def test_a_write_is_an_effect_and_a_read_is_none():
    b = Builder()
    x, kept = b.input(SHAPE), state()
    write(b, "TILE", [x, np.int32([1, 1])], kept)
    rnn(b, x, kept)
    b.op("NEG", [kept], SHAPE)
    writer, cell, reader = b.graph.nodes
    assert has_effects(writer) and has_effects(cell) and not has_effects(reader)
    assert not any(is_deterministic(node) for node in (writer, cell, reader))


def test_the_verifier_knows_written_variables():
    for model in map(build, GRAPHS):
        verify(model)
        verify(model.copy())


def test_a_node_that_reads_what_it_writes_is_no_model():
    b = Builder()
    x, kept = b.input(SHAPE), state()
    b.graph.add_node("ADD", [x, kept], [kept])
    with pytest.raises(Exception, match="reads 'kept', which it writes"):
        verify(b.model(b.op("NEG", [kept], SHAPE)))
