# SPDX-License-Identifier: Apache-2.0
"""WHILE without copies: states change places or are written where they lie, what a body passes on
is read where it is; and still every loop computes what it says."""

from __future__ import annotations

from typing import Any

import control_models as models
import numpy as np
import pytest
from test_control_flow import check, run

import runtime
from converter import ir

SHAPE = (3, 4)


def counted(*shapes: Any, turns: int, make: Any) -> bytes:
    """i, *states = 0, *inputs; while i < turns: i, *states = i + 1, *make(body, i, *states)."""
    main, condition, body = models.Sub("main"), models.Sub("condition"), models.Sub("body")
    given = [main.input((1,), "INT32"), *(main.input(s) for s in shapes)]
    own = [[sub.input((1,), "INT32"), *(sub.input(s) for s in shapes)] for sub in (condition, body)]
    condition.ends(condition.op("LESS", [own[0][0], np.int32([turns])], ((1,), "BOOL")))
    following = make(body, *own[1])
    body.ends(body.op("ADD", [own[1][0], np.int32([1])], ((1,), "INT32")), *following)
    calls = {"cond_subgraph_index": 1, "body_subgraph_index": 2}
    outs = main.op("WHILE", given, ((1,), "INT32"), *((s,) for s in shapes), **calls)
    return models.serialize(main.ends(*outs), condition.graph, body.graph)


def one_row(body: models.Sub, i: ir.Value, x: ir.Value) -> list[ir.Value]:
    """Row i of x is raised by one."""
    row = body.op("GATHER", [x, i], ((1, *x.shape[1:]),), axis=0)
    more = body.op("ADD", [row, np.ones((1, *x.shape[1:]), np.float32)], (row.shape,))
    place = body.op("CONCATENATION", [i, np.int32([0])], ((2,), "INT32"), axis=0)
    return [body.op("DYNAMIC_UPDATE_SLICE", [x, more, place], (x.shape,))]


def test_a_part_is_written_where_the_state_lies():
    """The arena has the model's input and the loop's state, and no third of their size."""
    content = counted((256, 64), turns=256, make=one_row)
    x = np.random.default_rng(0).standard_normal((256, 64)).astype(np.float32)
    _, y = check(content, np.int32([0]), x)
    np.testing.assert_array_equal(y, x + 1)
    ours = runtime.Interpreter(model_content=content)
    ours.allocate_tensors()
    assert ours.memory()["arena"] < 2 * x.nbytes + 4096


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_what_is_read_after_it_is_written_elsewhere_stays(turns):
    """The state that a row is written to is read once more afterwards."""

    def make(body: models.Sub, i: ir.Value, x: ir.Value, y: ir.Value) -> list[ir.Value]:
        (written,) = one_row(body, i, x)
        return [written, body.op("SUB", [y, x], (x.shape,))]

    rng = np.random.default_rng(1)
    x, y = (rng.integers(-9, 9, SHAPE).astype(np.float32) for _ in range(2))
    _, a, b = check(counted(SHAPE, SHAPE, turns=turns, make=make), np.int32([0]), x, y)
    for i in range(turns):
        y = y - x
        x = x + (np.arange(3) == i)[:, None]
    np.testing.assert_array_equal(a, x)
    np.testing.assert_array_equal(b, y)


def dense_loop(turns: int = 3, shared: bool = False) -> bytes:
    """x = x @ w.T + x, where w is a constant that the loop is given and passes on."""
    main, condition, body = models.Sub("main"), models.Sub("condition"), models.Sub("body")
    rng = np.random.default_rng(2)
    w = ir.Value.constant("w", rng.integers(-2, 3, (4, 4)).astype(np.float32))
    i, x = main.input((1,), "INT32"), main.input(SHAPE)
    own = [
        (sub.input((1,), "INT32"), sub.input(SHAPE), sub.input((4, 4))) for sub in (condition, body)
    ]
    condition.ends(condition.op("LESS", [own[0][0], np.int32([turns])], ((1,), "BOOL")))
    j, y, weights = own[1]
    dense = body.op("FULLY_CONNECTED", [y, weights, np.zeros(4, np.float32)], (SHAPE,))
    step = body.op("ADD", [j, np.int32([1])], ((1,), "INT32"))
    body.ends(step, body.op("ADD", [dense, y], (SHAPE,)), weights)
    calls = {"cond_subgraph_index": 1, "body_subgraph_index": 2}
    kinds = (((1,), "INT32"), (SHAPE,), ((4, 4),))
    outs = main.op("WHILE", [i, x, w], *kinds, **calls)
    if shared:
        outs = main.op("WHILE", [i, outs[1], w], *kinds, **calls)
    return models.serialize(main.ends(*outs), condition.graph, body.graph)


@pytest.mark.parametrize("shared", [False, True], ids=["one loop", "two"])
def test_weights_that_a_loop_passes_on_are_packed_once(shared):
    content = dense_loop(shared=shared)
    x = np.random.default_rng(3).integers(-2, 3, SHAPE).astype(np.float32)
    found = check(content, np.int32([0]), x)
    ours = runtime.Interpreter(model_content=content)
    ours.allocate_tensors()
    assert (ours.nodes(2)[0]["packed"] > 0) == (not shared)
    w = found[2]
    for _ in range(6 if shared else 3):
        x = x @ w.T + x
    np.testing.assert_array_equal(found[1], x)


def test_states_of_every_kind():
    rng = np.random.default_rng(5)
    x, y = (rng.integers(-9, 9, shape).astype(np.float32) for shape in ((3, 4), (2, 4)))
    _, a, b, w = check(models.loop_of_states(), np.int32([0]), x, y)
    np.testing.assert_array_equal(a, x + 1)
    np.testing.assert_array_equal(b, y @ w.T @ w.T @ w.T)


def test_a_state_in_another_shape_keeps_its_elements():
    """The body turns [3, 4] into [4, 3] and back: no shape is fixed, and RESHAPE copies nothing."""

    def make(body: models.Sub, i: ir.Value, x: ir.Value) -> list[ir.Value]:
        x.shape_signature = (-1, -1)
        size = body.op("SHAPE", [x], ((2,), "INT32"), out_type="INT32")
        turned = body.op("REVERSE_V2", [size, np.int32([0])], ((2,), "INT32"))
        raised = body.op("ADD", [x, np.float32([1])], (x.shape, "FLOAT32", (-1, -1)))
        return [body.op("RESHAPE", [raised, turned], ((4, 3), "FLOAT32", (-1, -1)))]

    content = counted(SHAPE, turns=3, make=make)
    x = np.arange(12, dtype=np.float32).reshape(SHAPE)
    ours = runtime.Interpreter(model_content=content)
    for _ in range(2):
        _, y = run(ours, np.int32([0]), x)
        np.testing.assert_array_equal(y, x.reshape(4, 3) + 3)


@pytest.mark.parametrize("turns", [1, 2])
def test_states_whose_size_is_computed_change_places_too(turns):
    """The loop is prepared in the middle of the run: x doubles, and row i of y is raised."""
    main, condition, body = models.Sub("main"), models.Sub("condition"), models.Sub("body")
    size = main.input((2,), "INT32")
    kind = ((1, 1), "FLOAT32", (-1, -1))
    states = [main.op("FILL", [size, np.float32(k)], kind) for k in (3, 5)]
    own = [
        [sub.input((1,), "INT32"), *(sub.input((1, 1), shape_signature=(-1, -1)) for _ in "xy")]
        for sub in (condition, body)
    ]
    condition.ends(condition.op("LESS", [own[0][0], np.int32([turns])], ((1,), "BOOL")))
    i, x, y = own[1]
    step = body.op("ADD", [i, np.int32([1])], ((1,), "INT32"))
    row = body.op("GATHER", [y, i], kind, axis=0)
    more = body.op("ADD", [row, np.float32([1])], kind)
    place = body.op("CONCATENATION", [i, np.int32([0])], ((2,), "INT32"), axis=0)
    doubled = body.op("ADD", [x, x], kind)
    body.ends(step, doubled, body.op("DYNAMIC_UPDATE_SLICE", [y, more, place], kind))
    calls = {"cond_subgraph_index": 1, "body_subgraph_index": 2}
    outs = main.op("WHILE", [np.int32([0]), *states], ((1,), "INT32"), kind, kind, **calls)
    content = models.serialize(main.ends(*outs), condition.graph, body.graph)
    for shape in ((3, 4), (5, 2)):
        _, a, b = check(content, np.int32(shape))
        np.testing.assert_array_equal(a, np.full(shape, 3.0 * 2**turns))
        np.testing.assert_array_equal(
            b, 5 + (np.arange(shape[0]) < turns)[:, None] * np.ones(shape)
        )


def test_a_loop_that_is_stopped_leaves_the_interpreter_whole():
    """After a limit in the midst of swapped states, the next run computes as if nothing was."""
    content = models.loop(2**20, SHAPE)
    ours = runtime.Interpreter(model_content=content, limits={"max_iterations": 100})
    for odd in (2**20 - 20, 2**20 - 21, 0, 2**20 - 20):
        feeds = np.int32([odd]), np.ones(SHAPE, np.float32)
        if odd == 0:
            with pytest.raises(runtime.RilletError, match="max_iterations"):
                run(ours, *feeds)
        else:
            _, y = run(ours, *feeds)
            np.testing.assert_array_equal(y, np.full(SHAPE, 2.0 ** (2**20 - odd)))


def test_states_that_a_subgraph_overwrites_are_the_callers_no_more():
    """The basic LSTM writes its former output and state, which here are a constant and an input."""
    main, part = models.Sub("main"), models.Sub("part")
    rng = np.random.default_rng(4)
    weights, bias = (rng.standard_normal(s).astype(np.float32) for s in ((16, 7), (16,)))
    x, before = main.input((2, 3)), main.input((2, 4))
    own = part.input((2, 3)), part.input((2, 4)), part.input((2, 4))
    kinds = [((2, width),) for width in (4, 4, 7, 16)]
    options = {"kernel_type": "BASIC", "fused_activation_function": "TANH"}
    given = [own[0], own[1], weights, bias, own[2]]
    part.ends(*part.op("LSTM", given, *kinds, **options)[:2])
    call = [x, before, np.ones((2, 4), np.float32)]
    attributes = {"name": "test.part", "decomposition_subgraph_index": 1}
    outs = main.op("STABLEHLO_COMPOSITE", call, *kinds[:2], **attributes)
    seen = main.op("ADD", [before, np.float32([0])], ((2, 4),))
    ours = runtime.Interpreter(model_content=models.serialize(main.ends(*outs, seen), part.graph))
    feeds = np.ones((2, 3), np.float32), np.ones((2, 4), np.float32)
    first, again = run(ours, *feeds), run(ours, *feeds)
    np.testing.assert_array_equal(first[2], feeds[1])
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)


# ---- bodies drawn at random, against NumPy ----


class Drawn:
    """A body of whole numbers that every op keeps small, and the same in NumPy."""

    def __init__(self, seed: int, states: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.states = states
        self.steps: list[tuple[Any, ...]] = []
        count = states
        for _ in range(int(self.rng.integers(0, 9))):
            kind = self.rng.choice(["NEG", "ADD", "MAXIMUM", "RESHAPE", "DUS", "IF"])
            a, b = (int(k) for k in self.rng.integers(0, count, 2))
            self.steps.append((kind, a, b, int(self.rng.integers(0, 3))))
            count += 1
        late = self.rng.integers(max(0, count - states - 1), count, states)
        same = self.rng.integers(0, states, states)
        kept = self.rng.random(states)
        self.ends = [
            i if k < 0.2 else int(late[i]) if k < 0.85 else int(same[i]) for i, k in enumerate(kept)
        ]

    def emit(self, body: models.Sub, values: list[ir.Value]) -> list[ir.Value]:
        for kind, a, b, row in self.steps:
            x, y = values[a], values[b]
            if kind == "NEG":
                made = body.op("NEG", [x], (SHAPE,))
            elif kind == "RESHAPE":
                made = body.op("RESHAPE", [x, np.int32(SHAPE)], (SHAPE,))
            elif kind == "DUS":
                part = body.op("SLICE", [y, np.int32([0, 0]), np.int32([1, 4])], ((1, 4),))
                made = body.op("DYNAMIC_UPDATE_SLICE", [x, part, np.int32([row, 0])], (SHAPE,))
            elif kind == "IF":
                calls = {"then_subgraph_index": 3, "else_subgraph_index": 4}
                made = body.op("IF", [np.bool_([row == 0]), x, y], (SHAPE,), **calls)
            else:
                made = body.op(kind, [x, y], (SHAPE,))
            values.append(made)
        return [values[k] for k in self.ends]

    def compute(self, states: list[np.ndarray]) -> list[np.ndarray]:
        values = list(states)
        for kind, a, b, row in self.steps:
            x, y = values[a], values[b]
            if kind == "DUS":
                made = x.copy()
                made[row] = y[0]
            elif kind == "IF":
                made = y if row == 0 else x - y
            else:
                made = {"NEG": -x, "RESHAPE": x, "ADD": x + y, "MAXIMUM": np.maximum(x, y)}[kind]
            values.append(made)
        return [values[k] for k in self.ends]


def branches() -> list[ir.Graph]:
    """Of IF: the second value, or the difference."""
    graphs = []
    for name in ("second", "less"):
        sub = models.Sub(name)
        x, y = sub.input(SHAPE), sub.input(SHAPE)
        graphs.append(sub.ends(y if name == "second" else sub.op("SUB", [x, y], (SHAPE,))))
    return graphs


def drawn_loop(drawn: Drawn, turns: int, inner: int) -> bytes:
    """The loop, `inner` times its body in a loop of its own if that is above 0."""
    kinds = (((1,), "INT32"), *((SHAPE,),) * drawn.states)
    main, condition, body = models.Sub("main"), models.Sub("condition"), models.Sub("body")
    around, until = models.Sub("around"), models.Sub("until")
    for sub in (main, condition, body, around, until):
        sub.input((1,), "INT32")
        for _ in range(drawn.states):
            sub.input(SHAPE)
    for sub, limit in ((condition, inner or turns), (until, turns)):
        sub.ends(sub.op("LESS", [sub.graph.inputs[0], np.int32([limit])], ((1,), "BOOL")))
    step = body.op("ADD", [body.graph.inputs[0], np.int32([1])], ((1,), "INT32"))
    body.ends(step, *drawn.emit(body, list(body.graph.inputs[1:])))
    calls = {"cond_subgraph_index": 1, "body_subgraph_index": 2}
    graphs = [main.graph, condition.graph, body.graph, *branches()]
    given = main.graph.inputs
    if inner:
        zero = np.int32([0])
        own = around.graph.inputs
        outs = around.op("WHILE", [zero, *own[1:]], *kinds, **calls)
        around.ends(around.op("ADD", [own[0], np.int32([1])], ((1,), "INT32")), *outs[1:])
        graphs += [until.graph, around.graph]
        calls = {"cond_subgraph_index": 5, "body_subgraph_index": 6}
    main.ends(*main.op("WHILE", given, *kinds, **calls)[1:])
    return models.serialize(*graphs)


@pytest.mark.parametrize("inner", [0, 3], ids=["one loop", "nested"])
@pytest.mark.parametrize("seed", range(60))
def test_drawn_loops_compute_what_they_say(seed, inner):
    drawn = Drawn(seed, states=1 + seed % 4)
    states = [drawn.rng.integers(-3, 4, SHAPE).astype(np.float32) for _ in range(drawn.states)]
    for turns in (1, 2, 3):
        wanted = states
        for _ in range(turns * (inner or 1)):
            wanted = drawn.compute(wanted)
        content = drawn_loop(drawn, turns, inner)
        for preserve in (False, True):
            ours = runtime.Interpreter(
                model_content=content, experimental_preserve_all_tensors=preserve
            )
            for _ in range(2):
                found = run(ours, np.int32([0]), *states)
                for a, b in zip(found, wanted, strict=True):
                    np.testing.assert_array_equal(a, b)
