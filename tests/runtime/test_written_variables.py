# SPDX-License-Identifier: Apache-2.0
"""Variables that an ordinary node writes: at every run, and what reads them earlier sees the former
value.
"""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
import runtime_models as models
from ai_edge_litert.interpreter import Interpreter as LiteRT
from ai_edge_litert.interpreter import OpResolverType

import runtime
from converter import ir, write_tflite
from runtime import RilletError

RESOLVERS = ("AUTO", "BUILTIN_REF", "BUILTIN_WITHOUT_DEFAULT_DELEGATES")


def state(shape=(2, 3), name="kept") -> ir.Value:
    return ir.Value(name, "FLOAT32", shape, is_variable=True)


def run(interpreter, *feeds):
    interpreter.allocate_tensors()
    for detail, feed in zip(interpreter.get_input_details(), feeds, strict=True):
        interpreter.set_tensor(detail["index"], feed)
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("threads", [1, 3])
def test_an_lstm_starts_from_what_was_written_at_every_run(given, threads):
    content = models.started_lstm(batch=3, given=given)
    ours = runtime.Interpreter(model_content=content, num_threads=threads)
    theirs = [
        LiteRT(model_content=content, experimental_op_resolver_type=getattr(OpResolverType, name))
        for name in RESOLVERS
    ]
    rng = np.random.default_rng(3)
    first = None
    for turn in range(4):
        feeds = [rng.standard_normal((5, 3, 3), np.float32)]
        feeds += [rng.standard_normal((3, 4), np.float32) for _ in range(2 * given)]
        if turn == 2:
            feeds = first
        got = run(ours, *feeds)
        if turn == 0:
            first, expected = feeds, [y.copy() for y in got]
        if turn == 2:
            for y, again in zip(expected, got, strict=True):
                np.testing.assert_array_equal(y, again)
        np.testing.assert_array_equal(got[0][-1], got[1][:, :4])
        for interpreter in theirs:
            for y, their in zip(got, run(interpreter, *feeds), strict=True):
                np.testing.assert_allclose(y, their, atol=1e-6)


def delayed(op="BROADCAST_TO", shape=(2, 3)) -> bytes:
    """x plus what the run before had as x."""
    b = models.Builder()
    x, kept = b.input(shape), state(shape)
    y = b.op("ADD", [x, kept], shape)
    second = np.int32(shape if op == "BROADCAST_TO" else [1] * len(shape))
    b.graph.add_node(op, [x, b.constant(second)], [kept])
    return write_tflite(b.model(y))


@pytest.mark.parametrize("op", ["BROADCAST_TO", "TILE"])
@pytest.mark.parametrize("shape", [(2, 3), (1,), (40, 50)])
def test_a_reader_before_the_writer_sees_the_former_value(op, shape):
    content = delayed(op, shape)
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    ours = runtime.Interpreter(model_content=content)
    theirs = LiteRT(model_content=content, experimental_op_resolver_type=plain)
    rng, former = np.random.default_rng(1), np.zeros(shape, np.float32)
    for _ in range(4):
        x = rng.standard_normal(shape, np.float32)
        for interpreter in (ours, theirs):
            np.testing.assert_array_equal(run(interpreter, x)[0], x + former)
        former = x
    ours.reset_all_variables()
    np.testing.assert_array_equal(run(ours, x)[0], x)


def test_a_constant_is_written_at_every_run():
    b = models.Builder()
    x, kept = b.input((4,)), state((4,))
    b.graph.add_node("BROADCAST_TO", [b.constant(np.float32(2)), b.constant(np.int32([4]))], [kept])
    content = write_tflite(b.model(b.op("ADD", [x, kept], (4,))))
    interpreter = runtime.Interpreter(model_content=content)
    interpreter.allocate_tensors()
    index = next(d["index"] for d in interpreter.get_tensor_details() if d["name"] == "kept")
    ones = np.ones(4, np.float32)
    for _ in range(2):
        interpreter.set_tensor(index, np.full(4, 9, np.float32))
        np.testing.assert_array_equal(run(interpreter, ones)[0], 3 * ones)
        interpreter.reset_all_variables()


def test_a_variable_is_not_written_in_place():
    """The writer could take over its input's memory, if that were no variable's."""
    b = models.Builder()
    x, kept = b.input((8,)), state((8,))
    y = b.op("ADD", [x, kept], (8,))
    twice = b.op("MUL", [x, np.float32(2)], (8,))
    b.graph.add_node("RESHAPE", [twice, b.constant(np.int32([8]))], [kept])
    content = write_tflite(b.model(y))
    interpreter = runtime.Interpreter(model_content=content)
    ones = np.ones(8, np.float32)
    assert [run(interpreter, ones)[0][0] for _ in range(3)] == [1, 3, 3]


@pytest.mark.parametrize("limit", [3, 12])
def test_variables_of_a_body_last_from_turn_to_turn(limit):
    interpreter = runtime.Interpreter(model_content=models.written_variable(limit))
    kept = np.zeros(2, np.float32)
    for start in (0, 1, 0.25):
        y = np.float32([start, start + 0.5])
        expected = y
        while expected.max() < limit:
            expected, kept = expected + kept + 1, expected
        np.testing.assert_array_equal(run(interpreter, y)[0], expected)


def test_a_body_that_is_prepared_in_the_middle_of_a_run():
    """Its other input has a size that a run tells; what packs weights writes its variable."""
    main, body = models.Builder("main"), models.Builder("body")
    rng = np.random.default_rng(2)
    x, z = main.input((6, 4)), main.input((1, 4))
    top = main.op("REDUCE_MAX", [x, np.int32([1])], (6,))
    at = main.op("WHERE", [main.op("GREATER", [top, np.float32(1)], (6,), "BOOL")], (3, 1), "INT64")
    some = main.op("GATHER_ND", [x, at], (3, 4))
    own, fixed = body.input((3, 4)), body.input((1, 4))
    kept = ir.Value("kept", "FLOAT32", (1, 5), is_variable=True)
    former = body.op("NEG", [kept], (1, 5))
    weights = rng.standard_normal((5, 4), np.float32)
    parts = [fixed, body.constant(weights), body.constant(np.zeros(5, np.float32))]
    body.graph.add_node("FULLY_CONNECTED", parts, [kept])
    body.graph.outputs = [former, body.op("NEG", [own], (3, 4)), body.op("ABS", [kept], (1, 5))]
    values = [ir.Value(f"y{i}", "FLOAT32", v.shape) for i, v in enumerate(body.graph.outputs)]
    calls = {"then_subgraph_index": 1, "else_subgraph_index": 1}
    main.graph.add_node("IF", [main.constant(np.array([True])), some, z], values, calls)
    model = main.model(*values)
    model.graphs.append(body.graph)
    interpreter = runtime.Interpreter(model_content=write_tflite(model))
    held = np.zeros((1, 5), np.float32)
    for _ in range(4):
        feeds = [rng.standard_normal((6, 4), np.float32), rng.standard_normal((1, 4), np.float32)]
        before, others, after = run(interpreter, *feeds)
        np.testing.assert_array_equal(before, -held)
        np.testing.assert_array_equal(others, -feeds[0][feeds[0].max(1) > 1])
        held = feeds[1] @ weights.T
        np.testing.assert_allclose(after, abs(held), rtol=1e-5)
        held = np.copysign(after, held)
    interpreter.reset_all_variables()
    np.testing.assert_array_equal(run(interpreter, *feeds)[0], np.zeros((1, 5)))


# ---- refusals ----


def written(source: tuple[int, ...], kept: ir.Value, **kwargs) -> bytes:
    b = models.Builder()
    x = b.input(source, **kwargs)
    b.graph.add_node("ABS", [x], [kept])
    y = b.op("NEG", [kept], kept.shape)
    with mock.patch("converter.writer.verify"):
        return write_tflite(b.model(y))


def test_another_shape_than_declared_is_refused():
    interpreter = runtime.Interpreter(model_content=written((3, 3), state()))
    with pytest.raises(RilletError, match="variable 'kept' in another shape than the file"):
        interpreter.allocate_tensors()
    interpreter = runtime.Interpreter(model_content=written((2, 3), state()))
    interpreter.allocate_tensors()
    interpreter.resize_tensor_input(0, (5, 3))
    with pytest.raises(RilletError, match="variable 'kept' in another shape"):
        interpreter.allocate_tensors()


def test_a_shape_that_only_a_run_tells_is_refused():
    b = models.Builder()
    x, kept = b.input((3,)), state((3,))
    at = b.op("WHERE", [b.op("LESS", [x, np.float32(0)], (3,), "BOOL")], (3, 1), "INT64")
    b.graph.add_node("GATHER_ND", [x, at], [kept])
    interpreter = runtime.Interpreter(
        model_content=write_tflite(b.model(b.op("NEG", [kept], (3,))))
    )
    with pytest.raises(RilletError, match="one that only a run tells"):
        interpreter.allocate_tensors()


def test_a_node_that_reads_what_it_writes_is_refused():
    b = models.Builder()
    x, kept = b.input((2, 3)), state()
    b.graph.add_node("ADD", [x, kept], [kept])
    y = b.op("NEG", [kept], kept.shape)
    with mock.patch("converter.writer.verify"):
        content = write_tflite(b.model(y))
    with pytest.raises(RilletError, match="it writes the variable 'kept', which it reads"):
        runtime.Interpreter(model_content=content)
