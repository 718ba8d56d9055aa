# SPDX-License-Identifier: Apache-2.0
"""IF, WHILE, CALL_ONCE and STABLEHLO_COMPOSITE against LiteRT; what calls may not do."""

from __future__ import annotations

from typing import Any

import control_models as models
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter as LiteRT

import runtime
from converter import ir, write_tflite
from runtime import RilletError


def run(interpreter: Any, *feeds: Any) -> list[np.ndarray]:
    """Outputs of one run, on anything with tf.lite's methods."""
    details = interpreter.get_input_details()
    for detail, feed in zip(details, feeds, strict=True):
        if tuple(detail["shape"]) != np.shape(feed):
            interpreter.resize_tensor_input(detail["index"], np.shape(feed))
    interpreter.allocate_tensors()
    for detail, feed in zip(details, feeds, strict=True):
        interpreter.set_tensor(detail["index"], np.asarray(feed))
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]


def check(content: bytes, *feeds: Any) -> list[np.ndarray]:
    """Both runtimes give the same, and ours again in a second run and with preserved tensors."""
    ours = runtime.Interpreter(model_content=content)
    found = run(ours, *feeds)
    for others in (
        run(LiteRT(model_content=content), *feeds),
        run(ours, *feeds),
        run(runtime.Interpreter(model_content=content, num_threads=3), *feeds),
        run(
            runtime.Interpreter(model_content=content, experimental_preserve_all_tensors=True),
            *feeds,
        ),
    ):
        for a, b in zip(found, others, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
    return found


X = np.float32([1.5, -2, 3])


@pytest.mark.parametrize("chosen", [True, False])
def test_if(chosen):
    (y,) = check(models.branches(), np.array([chosen]), X)
    np.testing.assert_array_equal(y, X + X if chosen else X * X)


def test_branches_share_the_nested_memory():
    one, two = (runtime.Interpreter(model_content=models.branches((n,))) for n in (1000, 2000))
    for interpreter in (one, two):
        interpreter.allocate_tensors()
    # x, y, and in the branch its copy of x and its result: four values of 4000 bytes more.
    grown = two.memory()["arena"] - one.memory()["arena"]
    assert grown <= 4 * 4000 + 256


@pytest.mark.parametrize("turns", [0, 1, 10])
def test_while(turns):
    i, x = check(models.loop(turns), np.int32([0]), np.float32([1, 3]))
    assert i.tolist() == [turns]
    assert x.tolist() == [2**turns, 3 * 2**turns]


def test_while_whose_body_swaps_its_inputs():
    """LiteRT loses one of the values: it copies them one by one over what it still has to read."""
    feeds = np.int32([0]), np.arange(4.0, dtype="f"), np.ones(4, "f")
    i, a, b = run(runtime.Interpreter(model_content=models.swapping_loop()), *feeds)
    assert i.tolist() == [3] and a.tolist() == [1] * 4 and b.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("turns", [0, 1, 5, 60])
def test_while_whose_shapes_grow(turns):
    i, x = check(models.growing_loop(turns), np.int32([0]), np.float32([1]))
    assert i.tolist() == [turns]
    assert x.tolist() == [2.0] + [4.0] * turns


def test_a_subgraph_called_for_two_shapes():
    rng = np.random.default_rng(2)
    feeds = [rng.standard_normal(shape).astype(np.float32) for shape in ((2, 3), (4, 3))]
    content = models.twice_called()
    ours = runtime.Interpreter(model_content=content)
    a, b, again = run(ours, *feeds)
    peer = run(LiteRT(model_content=content), *feeds)
    for found, wanted in zip((a, b, again), peer, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(a, again)
    assert ours.memory()["region"] == 0


def test_constants_are_known_in_the_graphs_they_are_given_to():
    """A shape keeps what follows static, and weights are packed once, with one caller."""
    x = np.arange(6, dtype=np.float32)
    for callers in (1, 2):
        content = models.constant_arguments(callers)
        ours = runtime.Interpreter(model_content=content)
        for found, wanted in zip(run(ours, x), run(LiteRT(model_content=content), x), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
        assert ours.extent() == ("static" if callers == 1 else "unbounded")
        assert (ours.nodes(1)[1]["packed"] > 0) == (callers == 1)


def test_a_loop_may_start_from_constants():
    (found,) = check(models.constant_start(), np.float32([0.5, 1]))
    np.testing.assert_array_equal(found, np.float32([8.5, 17]))


def test_a_state_that_a_constant_starts_is_not_written_into_the_file():
    ours = runtime.Interpreter(model_content=models.constant_state())
    first = run(ours, np.ones((2, 3), np.float32))
    np.testing.assert_array_equal(first, run(ours, np.ones((2, 3), np.float32)))
    assert np.abs(first).min() > 0


def test_inputs_are_resized_through_calls():
    (y,) = check(models.branches(), np.array([True]), np.arange(7.0, dtype="f"))
    assert y.shape == (7,)


def test_call_once_and_signatures_share_variables():
    content = models.counter()
    ours, peer = runtime.Interpreter(model_content=content), LiteRT(model_content=content)
    add, peek = (ours.get_signature_runner(key) for key in ("add", "peek"))
    their_add, their_peek = (peer.get_signature_runner(key) for key in ("add", "peek"))
    for step in range(3):
        x = np.float32([1, step])
        np.testing.assert_array_equal(add(x=x)["y"], their_add(x=x)["y"])
        scale = np.float32([2])
        np.testing.assert_array_equal(peek(scale=scale)["y"], their_peek(scale=scale)["y"])
    assert peek(scale=np.float32([1]))["y"].tolist() == [13, 13]


# ---- what is refused ----


def calling(*calls: tuple[str, dict[str, int]]) -> bytes:
    """Subgraph i calls as told; all take and give one float."""
    graphs = []
    for i, (op, options) in enumerate(calls):
        sub = models.Sub(f"g{i}")
        x = sub.input((1,))
        y = sub.op(op, [x], ((1,),), **options) if op else sub.op("NEG", [x], ((1,),))
        graphs.append(sub.ends(y))
    return unverified(graphs)


def unverified(graphs: list[ir.Graph]) -> bytes:
    from unittest import mock

    with mock.patch("converter.writer.verify"):
        return write_tflite(ir.Model(graphs))


def composite(target: int) -> tuple[str, dict[str, Any]]:
    return "STABLEHLO_COMPOSITE", {"name": "x", "decomposition_subgraph_index": target}


@pytest.mark.parametrize(
    ("calls", "words", "status"),
    [
        ([composite(0)], "calls itself", "BAD_MODEL"),
        ([composite(1), composite(0)], "calls itself", "BAD_MODEL"),
        ([composite(1), composite(2), composite(1)], "calls itself", "BAD_MODEL"),
        ([composite(7)], "runs subgraph 7, the model has 1", "BAD_MODEL"),
        ([composite(-1)], "runs subgraph -1", "BAD_MODEL"),
        ([composite(i + 1) for i in range(70)] + [("", {})], "nested more than 64", "LIMIT"),
    ],
    ids=["self", "two", "three", "missing", "negative", "deep"],
)
def test_calls_that_never_end_or_lead_nowhere(calls, words, status):
    with pytest.raises(RilletError, match=words) as caught:
        runtime.Interpreter(model_content=calling(*calls))
    assert caught.value.status == status


def test_deep_calls_run():
    calls = [composite(i + 1) for i in range(60)] + [("", {})]
    (y,) = run(runtime.Interpreter(model_content=calling(*calls)), np.float32([3]))
    assert y.tolist() == [-3]


def test_a_loop_without_end_is_stopped():
    content = models.loop(2**31 - 1)
    with pytest.raises(RilletError, match=r"max_iterations") as caught:
        run(runtime.Interpreter(model_content=content), np.int32([0]), np.float32([1, 1]))
    assert caught.value.status == "LIMIT"


def test_calls_that_double_at_every_level_are_stopped():
    graphs = []
    for i in range(41):
        sub = models.Sub(f"g{i}")
        y = sub.input((1,))
        for _ in range(2 if i < 40 else 0):
            y = sub.op(composite(i + 1)[0], [y], ((1,),), **composite(i + 1)[1])
        graphs.append(sub.ends(sub.op("NEG", [y], ((1,),))))
    with pytest.raises(RilletError, match=r"max_macs") as caught:
        run(runtime.Interpreter(model_content=unverified(graphs)), np.float32([1]))
    assert caught.value.status == "LIMIT"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m[1].input((1,)), "gives 1 values to subgraph 1, which has 2"),
        (lambda m: m[1].graph.outputs.append(m[1].graph.outputs[0]), "1 outputs, subgraph 1 has 2"),
        (lambda m: setattr(m[1].graph.inputs[0], "dtype", "INT32"), "which is INT32"),
        (lambda m: setattr(m[0].graph.inputs[0], "dtype", "FLOAT32"), "must be a BOOL"),
        (lambda m: setattr(m[0].graph.inputs[0], "shape", (2,)), "must be one value"),
    ],
    ids=["inputs", "outputs", "type", "condition", "conditions"],
)
def test_calls_that_do_not_fit(change, words):
    main, yes, no = models.Sub("main"), models.Sub("yes"), models.Sub("no")
    c, x = main.input((1,), "BOOL"), main.input((3,))
    for sub in (yes, no):
        sub.ends(sub.op("NEG", [sub.input((3,))], ((3,),)))
    main.ends(main.op("IF", [c, x], ((3,),), then_subgraph_index=1, else_subgraph_index=2))
    change([main, yes, no])
    with pytest.raises(RilletError, match=words):
        runtime.Interpreter(
            model_content=unverified([main.graph, yes.graph, no.graph])
        ).allocate_tensors()


def test_nodes_of_a_loops_graphs_are_told_and_timed():
    """Ten turns of the body: its nodes have run ten times, and the loop's own node took longer."""
    interpreter = runtime.Interpreter(model_content=models.loop(10, (2000,)), profile=True)
    run(interpreter, np.int32([0]), np.ones(2000, np.float32))
    (loop,) = (row for row in interpreter.profile() if row["op"] == "WHILE")
    body = interpreter.profile(2)
    assert [row["op"] for row in body] == ["ADD", "ADD"]
    assert all(row["microseconds"] > 0 for row in body)
    assert sum(row["microseconds"] for row in body) < loop["microseconds"]
    with pytest.raises(RilletError, match="subgraph_index is out of range: 3"):
        interpreter.nodes(3)


def test_memory_of_tensors_adds_up_to_the_arena():
    interpreter = runtime.Interpreter(model_content=models.loop(10, (2000,)))
    for subgraph in range(3):
        rows = interpreter.tensor_memory(subgraph)
        details = interpreter.get_tensor_details(subgraph)
        assert [row["shape"] for row in rows] == [d["shape"].tolist() for d in details]
        placed = [row for row in rows if row["offset"] is not None]
        assert placed and all(row["offset"] % 64 == 0 for row in placed)
        assert {row["bytes"] for row in placed} <= {1, 4, 8000}
    ends = [row["offset"] + row["bytes"] for row in interpreter.tensor_memory() if row["offset"]]
    assert max(ends) <= interpreter.memory()["arena"]
