# SPDX-License-Identifier: Apache-2.0
"""Loops whose step is a recurrent cell, however it is spelled, and loops that only look so."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from ai_edge_litert.interpreter import Interpreter as LiteRT
from onnx import helper
from onnx.reference import ReferenceEvaluator
from recurrent_loops import (
    BATCH,
    BIAS,
    FEATURES,
    GB,
    GR,
    HOLES,
    LSTMS,
    SIZE,
    TIME,
    R,
    W,
    fires,
    gru,
    holds,
    lstm_after,
    model_of,
    normal,
    op,
    peepholes,
    product,
    projected,
    split,
    two_products,
)

import converter
from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic, control


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("step", LSTMS, ids=lambda s: s.__name__)
def test_lstm_cells(step, reverse):
    ops = fires(model_of(step, reverse=reverse))
    assert ops.count("UNIDIRECTIONAL_SEQUENCE_LSTM") == 1 and "WHILE" not in ops


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("step", LSTMS[:3], ids=lambda s: s.__name__)
def test_lstm_cells_of_a_dynamic_batch(step, reverse):
    ops = fires(model_of(step, reverse=reverse, batch=(2, 3)))
    assert ops.count("STABLEHLO_COMPOSITE") == 1 and "WHILE" not in ops


@pytest.mark.parametrize("batch", [BATCH, (2, 3)])
@pytest.mark.parametrize("step", LSTMS[:3], ids=lambda s: s.__name__)
def test_lstm_cells_of_a_dynamic_length(step, batch):
    ops = fires(model_of(step, batch=batch, time=(2, 3)))
    op = "UNIDIRECTIONAL_SEQUENCE_LSTM" if batch == BATCH else "STABLEHLO_COMPOSITE"
    assert ops.count(op) == 1 and "WHILE" not in ops


def test_other_cells_of_a_dynamic_length():
    ops = fires(model_of(gru("mixed", True), 1, batch=(2, 3), time=(2, 3)))
    assert ops.count("STABLEHLO_COMPOSITE") == 1 and "WHILE" not in ops


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("reset_after", [False, True])
@pytest.mark.parametrize("spelling", ["mixed", "moved"])
def test_gru_cells(spelling, reset_after, reverse):
    model = model_of(gru(spelling, reset_after), 1, reverse)
    ops = fires(model)
    assert ops.count("STABLEHLO_COMPOSITE") == 1 and "WHILE" not in ops


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("activation", ["TANH", "RELU"])
def test_plain_cells(activation, reverse):
    def step(b: Builder, x: ir.Value, h: ir.Value, _: Any) -> list[ir.Value]:
        total = op(b, "ADD", op(b, "ADD", product(b, x, W[:5]), BIAS[:5]), product(b, h, R[:5]))
        return [op(b, activation, total)]

    ops = fires(model_of(step, 1, reverse))
    assert ops.count("UNIDIRECTIONAL_SEQUENCE_RNN") == 1 and "WHILE" not in ops


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("reverse", [False, True])
def test_cells_on_top_of_each_other(place, reverse):
    """A plain cell on a GRU on an LSTM; the loop's result is that of any of them."""
    b = Builder()
    x = b.input("x", "FLOAT32", [TIME, BATCH, FEATURES])
    given = [b.input(f"s{i}", "FLOAT32", [BATCH, SIZE]) for i in range(4)]
    weights = normal(15, 5)

    def body(inner: Builder, slices: list[ir.Value], before: list[ir.Value]) -> Any:
        top, h, c, g = before
        shown, cell = two_products(inner, slices[0], h, c)
        xz, xr, xn = split(inner, product(inner, shown, weights), 3)
        hz, hr, hn = split(inner, op(inner, "ADD", product(inner, g, GR), GB[1]), 3)
        r, z = (op(inner, "LOGISTIC", op(inner, "ADD", p, q)) for p, q in ((xr, hr), (xz, hz)))
        n = op(inner, "TANH", op(inner, "ADD", xn, op(inner, "MUL", r, hn)))
        g = op(inner, "ADD", n, op(inner, "MUL", z, op(inner, "SUB", g, n)))
        total = op(inner, "ADD", product(inner, g, R[:5]), product(inner, top, R[5:10]))
        top = op(inner, "TANH", total)
        return [top, shown, cell, g], [[shown, g, top][place]]

    last, results = control.scan(b, [x], given, body, reverse)
    outputs = [("y", results[0]), *((f"t{i}", v) for i, v in enumerate(last))]
    ops = fires(b.model(["x", *(f"s{i}" for i in range(4))], outputs))
    assert ops.count("UNIDIRECTIONAL_SEQUENCE_LSTM") == ops.count("STABLEHLO_COMPOSITE") == 1
    assert ops.count("UNIDIRECTIONAL_SEQUENCE_RNN") == 1 and "WHILE" not in ops


def test_cells_of_which_one_is_another_stay_a_loop():
    def step(b: Builder, x: ir.Value, h: ir.Value, c: ir.Value) -> list[ir.Value]:
        shown, after = two_products(b, x, h, c)
        return [op(b, "ADD", shown, x_of(b, x)), after]

    def x_of(b: Builder, x: ir.Value) -> ir.Value:
        return product(b, x, W[:5])

    holds(model_of(step))


@pytest.mark.parametrize("time", [1, 6, TIME])
def test_loops_of_onnx(time):
    """A Scan of an LSTM cell, whose gates ONNX's Split makes."""
    nodes = [
        helper.make_node("Gemm", ["xi", "W", "B"], ["a"], transB=1),
        helper.make_node("MatMul", ["h", "RT"], ["d"]),
        helper.make_node("Add", ["a", "d"], ["z"]),
        helper.make_node("Split", ["z"], ["i", "f", "g", "o"], axis=1, num_outputs=4),
        *(helper.make_node("Sigmoid", [v], [f"{v}s"]) for v in "ifo"),
        helper.make_node("Tanh", ["g"], ["gt"]),
        helper.make_node("Mul", ["fs", "c"], ["kept"]),
        helper.make_node("Mul", ["is", "gt"], ["new"]),
        helper.make_node("Add", ["kept", "new"], ["ca"]),
        helper.make_node("Tanh", ["ca"], ["ct"]),
        helper.make_node("Mul", ["os", "ct"], ["ha"]),
        helper.make_node("Identity", ["ha"], ["shown"]),
    ]

    def infos(*pairs: tuple[str, list[int] | None]) -> list[Any]:
        return [helper.make_tensor_value_info(name, 1, dims) for name, dims in pairs]

    state = [BATCH, SIZE]
    body = helper.make_graph(
        nodes,
        "body",
        infos(("h", state), ("c", state), ("xi", [BATCH, FEATURES])),
        infos(("ha", state), ("ca", state), ("shown", state)),
    )
    scan = helper.make_node(
        "Scan", ["s0", "s1", "x"], ["hn", "cn", "y"], body=body, num_scan_inputs=1
    )
    constants = [("W", W), ("RT", R.T.copy()), ("B", BIAS)]
    graph = helper.make_graph(
        [scan],
        "graph",
        infos(("x", [time, BATCH, FEATURES]), ("s0", state), ("s1", state)),
        infos(("y", None), ("hn", None), ("cn", None)),
        [onnx.numpy_helper.from_array(v, n) for n, v in constants],
    )
    source = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model = converter.from_onnx(source)
    if time == TIME:
        assert fires(model).count("UNIDIRECTIONAL_SEQUENCE_LSTM") == 1
        return
    ops = [node.op for node in model.main.nodes]
    assert ops.count("UNIDIRECTIONAL_SEQUENCE_LSTM") == 1 and len(model.graphs) == 1
    engine = ReferenceEvaluator(source)
    run = LiteRT(model_content=converter.write_tflite(model)).get_signature_runner()
    for _ in range(2):
        feeds = {v.name: normal(*v.shape) for v in model.main.inputs}
        found = run(**feeds)
        for name, want in zip(("y", "hn", "cn"), engine.run(None, feeds), strict=True):
            np.testing.assert_allclose(found[name], want, atol=1e-5)


# ---- what only looks so ----


def with_another_activation(b: Builder, x: ir.Value, h: ir.Value, c: ir.Value) -> list[ir.Value]:
    total = op(b, "ADD", op(b, "ADD", product(b, x, W), product(b, h, R)), BIAS)
    return lstm_after(b, split(b, total, 4), c, "RELU")


def with_a_clip(b: Builder, x: ir.Value, h: ir.Value, c: ir.Value) -> list[ir.Value]:
    shown, after = two_products(b, x, h, c)
    return [shown, op(b, "MINIMUM", after, 0.1)]


def with_a_mask(b: Builder, x: ir.Value, h: ir.Value, c: ir.Value) -> list[ir.Value]:
    shown, after = two_products(b, x, h, c)
    zero = b.constant(np.float32(0))
    on = b.emit("GREATER", [basic.slice_axis(b, x, 1, 0, 1), zero], dtype="BOOL")
    return [
        b.emit("SELECT_V2", [on, new, old], dtype="FLOAT32")
        for new, old in ((shown, h), (after, c))
    ]


def with_a_residual(b: Builder, x: ir.Value, h: ir.Value, c: ir.Value) -> list[ir.Value]:
    shown, after = two_products(b, x, h, c)
    return [op(b, "ADD", shown, h), after]


def with_a_full_peephole(b: Builder, x: ir.Value, h: ir.Value, c: ir.Value) -> list[ir.Value]:
    total = op(b, "ADD", op(b, "ADD", product(b, x, W), product(b, h, R)), BIAS)
    i, f, g, o = split(b, total, 4)
    return lstm_after(b, [op(b, "ADD", i, product(b, c, R[:5])), f, g, o], c)


def with_a_new_gate_of_the_state(b: Builder, x: ir.Value, h: ir.Value, c: ir.Value) -> list:
    total = op(b, "ADD", op(b, "ADD", product(b, x, W), product(b, h, R)), BIAS)
    i, f, g, o = split(b, total, 4)
    return lstm_after(b, [i, f, op(b, "ADD", g, op(b, "MUL", c, HOLES[0])), o], c)


def with_the_former_state_shown(b: Builder, x: ir.Value, h: ir.Value, c: ir.Value) -> list:
    _, after = two_products(b, x, h, c)
    gate = op(b, "LOGISTIC", product(b, x, W[:5]))
    return [op(b, "MUL", op(b, "TANH", c), gate), after]


def with_a_product_of_both(b: Builder, x: ir.Value, h: ir.Value, c: ir.Value) -> list[ir.Value]:
    """A gate that is no affine function."""
    total = op(b, "MUL", product(b, x, W), product(b, h, R))
    return lstm_after(b, split(b, total, 4), c)


def with_a_bias_of_the_projection(b: Builder, x: ir.Value, h: ir.Value, c: ir.Value) -> list:
    shown, after = two_products(b, x, h, c)
    return [op(b, "ADD", product(b, shown, R[:5]), BIAS[:5]), after]


OTHERS = [
    with_another_activation,
    with_a_clip,
    with_a_mask,
    with_a_residual,
    with_a_full_peephole,
    with_a_new_gate_of_the_state,
    with_the_former_state_shown,
    with_a_product_of_both,
    with_a_bias_of_the_projection,
]


@pytest.mark.parametrize("step", OTHERS, ids=lambda s: s.__name__)
def test_other_steps_stay_loops(step):
    holds(model_of(step))


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_inputs_that_were_multiplied_before_stay_so(kind):
    """The op would multiply by ones and zeros."""

    def lstm(b: Builder, x: ir.Value, h: ir.Value, c: ir.Value) -> list[ir.Value]:
        return lstm_after(b, split(b, op(b, "ADD", x, product(b, h, R)), 4), c)

    def rnn(b: Builder, x: ir.Value, h: ir.Value, _: Any) -> list[ir.Value]:
        return [op(b, "TANH", op(b, "ADD", x, product(b, h, R[:5])))]

    def gated(b: Builder, x: ir.Value, h: ir.Value, _: Any) -> list[ir.Value]:
        (xz, xr, xn), (hz, hr, hn) = split(b, x, 3), split(b, product(b, h, GR), 3)
        r, z = (op(b, "LOGISTIC", op(b, "ADD", p, q)) for p, q in ((xr, hr), (xz, hz)))
        n = op(b, "TANH", op(b, "ADD", xn, op(b, "MUL", r, hn)))
        return [op(b, "ADD", n, op(b, "MUL", z, op(b, "SUB", h, n)))]

    step, states, features = {"lstm": (lstm, 2, 20), "rnn": (rnn, 1, 5), "gru": (gated, 1, 15)}[
        kind
    ]
    holds(model_of(step, states, features=features))


def test_other_results_stay_loops():
    holds(model_of(two_products, shown=lambda b, values: [values[1]]))
    holds(model_of(two_products, shown=lambda b, values: [op(b, "MUL", values[0], 2.0)]))


def gru_with(change: Any):
    def step(b: Builder, x: ir.Value, h: ir.Value, c: ir.Value) -> list[ir.Value]:
        return [change(b, gru("mixed", True)(b, x, h, c)[0], h)]

    return step


def test_other_gated_steps_stay_loops():
    holds(model_of(gru_with(lambda b, after, h: op(b, "ADD", after, h)), 1))
    holds(model_of(gru_with(lambda b, after, h: op(b, "RELU", after)), 1))
    holds(model_of(gru_with(lambda b, after, h: op(b, "LOGISTIC", product(b, h, R[:5]))), 1))


def changed(place: str, number: int) -> ir.Model:
    """The loop of an LSTM with another number where it starts, ends, or counts by."""
    model = model_of(two_products)
    (loop,) = (node for node in model.main.nodes if node.op == "WHILE")
    test, body = model.graphs[1:]
    if place == "start":
        node, index = loop, 0
    elif place == "end":
        node, index = test.nodes[-1], 1
    else:
        node = body.outputs[0].producer
        index = 1
    old = node.inputs[index]
    assert old is not None and old.data is not None
    node.set_input(index, ir.Value.constant(f"{old.name}_other", np.int32(number)))
    return model


@pytest.mark.parametrize(("place", "number"), [("start", 1), ("end", TIME - 1), ("step", 2)])
def test_loops_over_a_part_stay_loops(place, number):
    holds(changed(place, number))


def test_loops_to_another_dynamic_length_stay_loops():
    """From the second row on, as often as something else is long, and into more rows."""

    def dynamic() -> tuple[ir.Model, dict[str, ir.Node]]:
        model = model_of(two_products, batch=(2, 3), time=(2, 3))
        return model, {node.op: node for node in reversed(model.main.nodes)}

    model, nodes = dynamic()
    nodes["WHILE"].set_input(0, ir.Value.constant("start", np.int32(1)))
    holds(model)
    model, nodes = dynamic()
    nodes["SHAPE"].set_input(0, model.main.inputs[1])
    holds(model)
    model, nodes = dynamic()
    joined = nodes["FILL"].inputs[0].producer
    joined.set_input(0, ir.Value.constant("rows", np.int32([30])))
    holds(model)
    holds(model_of(two_products, reverse=True, time=(2, 3)))


def test_loops_of_branches_and_dynamic_sizes_stay_loops():
    for step in (peepholes, projected):
        holds(model_of(step, batch=(2, 3)))
    inner = model_of(two_products)
    outer = Builder()
    inner.graphs.insert(0, outer.graph)
    y = ir.Value("y", "FLOAT32", (1,))
    outer.graph.add_node("NEG", [outer.graph.add_input("x", "FLOAT32", (1,))], [y])
    outer.graph.outputs = [y]
    inner.signatures.clear()
    for node in inner.graphs[1].nodes:
        for kind in ("cond", "body"):
            if node.op == "WHILE":
                node.options[f"{kind}_subgraph_index"] += 1
    holds(inner)
