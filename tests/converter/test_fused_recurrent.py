# SPDX-License-Identifier: Apache-2.0
"""LSTM and RNN layers of ONNX as TFLite's own ops: as ONNX Runtime has them at every call, from one
call to the next, here and by all of LiteRT's kernels.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter as LiteRT
from ai_edge_litert.interpreter import OpResolverType
from onnx import helper
from onnx_models import model_of

import converter
import quantize
import runtime
from converter import ir, verify
from converter.passes.inlining import inline_composites
from converter.sources import OnnxSource

RNG = np.random.default_rng(17)
RESOLVERS = ("AUTO", "BUILTIN_REF", "BUILTIN_WITHOUT_DEFAULT_DELEGATES")
SEQUENCE = "UNIDIRECTIONAL_SEQUENCE_"
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
TIME, BATCH, FEATURES, SIZE = 6, 2, 3, 5


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32) / 2


def layer(op="LSTM", x="x", tag="", states=False, directions=1, features=FEATURES, **attributes):
    """(node, constants, inputs) of a layer whose outputs are y, h and c with `tag` behind."""
    rows = GATES[op] * SIZE
    names = ["y", "h", "c"][: 3 if op == "LSTM" else 2]
    constants = {
        "w": normal(directions, rows, features),
        "r": normal(directions, rows, SIZE),
        "b": normal(directions, 2 * rows),
    }
    starts = ["h0", "c0"][: len(names) - 1] if states else []
    inputs = [x, *(f"{n}{tag}" for n in constants), "", *(f"{n}{tag}" for n in starts)]
    if attributes.pop("peepholes", False):
        constants["p"] = normal(directions, 3 * SIZE)
        inputs += [""] * (7 - len(inputs)) + [f"p{tag}"]
    if attributes.pop("without_bias", False):
        del constants["b"]
        inputs[3] = ""
    if directions == 2:
        attributes["direction"] = "bidirectional"
    outputs = [f"{n}{tag}" for n in names]
    node = helper.make_node(op, inputs, outputs, hidden_size=SIZE, **attributes)
    feeds = [(f"{n}{tag}", [directions, BATCH, SIZE]) for n in starts]
    return node, [(f"{n}{tag}", v) for n, v in constants.items()], feeds


def one(**kwargs):
    """A model of one layer."""
    dims = kwargs.pop("dims", [TIME, BATCH, FEATURES])
    node, constants, feeds = layer(**kwargs)
    outputs = [(name, None) for name in node.output]
    return model_of([node], [("x", dims), *feeds], outputs, constants)


def agree(source, dims=(TIME,), reordered=True) -> ir.Model:
    """The optimized model, after calls of all engines with different feeds and times of `dims`."""
    source.ir_version = 8  # which ONNX Runtime takes: the reference knows no attributes
    source = OnnxSource(source.SerializeToString())
    model = converter.from_onnx(source.path)
    if reordered:
        converter.optimize(model, check=True)
    content = converter.write_tflite(model)
    engines = [runtime.Interpreter(model_content=content)]
    for name in RESOLVERS:
        kind = getattr(OpResolverType, name)
        engines.append(LiteRT(model_content=content, experimental_op_resolver_type=kind))
    for time in (*dims, dims[0]):
        shapes = {v.name: v.shape_signature or v.shape for v in model.main.inputs}
        feeds = {name: normal(*(time if d == -1 else d for d in s)) for name, s in shapes.items()}
        want = source.run(feeds)
        for engine in engines:
            got = engine.get_signature_runner()(**feeds)
            for name, array in want.items():
                np.testing.assert_allclose(got[name], array, atol=1e-5 * max(1, abs(array).max()))
    return model


def counts(model: ir.Model) -> Counter[str]:
    return Counter(node.op for node in model.main.nodes)


@pytest.mark.parametrize("time", [1, 4, 40])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("states", [False, True])
@pytest.mark.parametrize("op", ["LSTM", "RNN"])
def test_every_call_starts_from_the_given_state(op, states, directions, time):
    source = one(op=op, states=states, directions=directions, dims=[time, BATCH, FEATURES])
    found = counts(agree(source))
    assert found[SEQUENCE + op] == directions
    assert found["REVERSE_V2"] == (2 if directions == 2 and time > 1 else 0) or time == 1
    assert not {"WHILE", "LOGISTIC", "TANH", "FULLY_CONNECTED"} & set(found)


@pytest.mark.parametrize(
    "attributes",
    [
        {"peepholes": True},
        {"peepholes": True, "directions": 2, "states": True},
        {"input_forget": 1},
        {"input_forget": 1, "peepholes": True},
        {"without_bias": True},
        {"without_bias": True, "input_forget": 1},
        {"direction": "reverse"},
        {"direction": "reverse", "states": True},
    ],
    ids=lambda a: "-".join(a),
)
def test_forms_of_lstm(attributes):
    assert counts(agree(one(**attributes)))[SEQUENCE + "LSTM"] == attributes.get("directions", 1)


@pytest.mark.parametrize("activation", ["Relu", "Tanh"])
def test_forms_of_rnn(activation):
    source = one(op="RNN", activations=[activation], without_bias=activation == "Tanh")
    assert counts(agree(source))[SEQUENCE + "RNN"] == 1


@pytest.mark.parametrize("time", [1, 4, 40])
@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"linear_before_reset": 1},
        {"without_bias": True},
        {"direction": "reverse", "states": True},
        {"directions": 2, "states": True, "linear_before_reset": 1},
    ],
    ids=lambda a: "-".join(a) or "plain",
)
def test_gru_is_a_composite(attributes, time):
    model = agree(one(op="GRU", dims=[time, BATCH, FEATURES], **attributes))
    found = [node for node in model.main.nodes if node.op == "STABLEHLO_COMPOSITE"]
    assert len(found) == attributes.get("directions", 1)
    for node in found:
        assert node.options["name"] == "rillet.gru" and len(node.inputs) == 6
        body = model.graphs[node.options["decomposition_subgraph_index"]]
        assert [v.shape for v in body.inputs] == [v.shape for v in node.inputs]
        # The weights that go in are for those who have the op whole.
        assert not any(v.users for v in body.inputs[1:5])


def test_a_composite_is_inlined():
    model = agree(one(op="GRU", directions=2, dims=[40, BATCH, FEATURES]))
    feeds = {v.name: normal(*v.shape) for v in model.main.inputs}
    runs = []
    for changed in (False, True):
        if changed:
            assert inline_composites(model, ["rillet.gru"])
            verify(model)
            assert len(model.graphs) == 5 and counts(model)["WHILE"] == 2
        content = converter.write_tflite(model)
        for kind in (runtime.Interpreter, LiteRT):
            runs.append(kind(model_content=content).get_signature_runner()(**feeds))
    for run in runs[1:]:
        for name, array in runs[0].items():
            np.testing.assert_allclose(run[name], array, atol=1e-5)
    assert not inline_composites(model, ["rillet.gru"])


@pytest.mark.parametrize("reordered", [False, True])
@pytest.mark.parametrize("states", [False, True])
def test_layers_behind_each_other(states, reordered):
    """A dense layer before, layers of both directions, and outputs of all: the order of nodes that
    touch variables holds in engines that run parts of a graph elsewhere.
    """
    nodes, constants, inputs = [], [("d", normal(FEATURES, FEATURES))], []
    nodes.append(helper.make_node("MatMul", ["x", "d"], ["x0"]))
    at, features = "x0", FEATURES
    for i in range(3):
        directions = 2 if i == 1 else 1
        kwargs = {"states": states, "directions": directions, "features": features}
        node, weights, feeds = layer(x=at, tag=str(i), **kwargs)
        nodes.append(node)
        constants += weights
        inputs += feeds
        features = directions * SIZE
        nodes.append(helper.make_node("Transpose", [f"y{i}"], [f"t{i}"], perm=[0, 2, 1, 3]))
        nodes.append(helper.make_node("Reshape", [f"t{i}", f"s{i}"], [f"n{i}"]))
        constants.append((f"s{i}", np.int64([TIME, BATCH, features])))
        at = f"n{i}"
    constants.append(("e", normal(features, 2)))
    nodes.append(helper.make_node("MatMul", [at, "e"], ["out"]))
    outputs = [(f"{n}{i}", None) for i in range(3) for n in "hc"]
    source = model_of(
        nodes, [("x", [TIME, BATCH, FEATURES]), *inputs], [("out", None), *outputs], constants
    )
    assert counts(agree(source, reordered=reordered))[SEQUENCE + "LSTM"] == 4


def test_a_sequence_of_dynamic_length():
    for op in ("LSTM", "RNN"):
        model = agree(one(op=op, dims=["time", BATCH, FEATURES]), dims=(3, 50, 1))
        assert counts(model)[SEQUENCE + op] == 1


@pytest.mark.parametrize("states", [False, True])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("op", list(GATES))
def test_a_dynamic_batch(op, directions, states):
    node, constants, feeds = layer(op=op, states=states, directions=directions)
    inputs = [(name, [dims[0], "batch", dims[2]]) for name, dims in feeds]
    outputs = [(name, None) for name in node.output]
    for time in (TIME, "time"):
        given = [("x", [time, "batch", FEATURES]), *inputs]
        model = agree(model_of([node], given, outputs, constants), dims=(1, 3, 7))
        found = counts(model)
        assert not any(name.startswith(SEQUENCE) for name in found)  # variables have one size
        assert found["STABLEHLO_COMPOSITE"] == (0 if op == "RNN" else directions)


@pytest.mark.parametrize(
    ("attributes", "count"),
    [
        ({"without_bias": True, "direction": "reverse"}, 1),
        ({"peepholes": True}, 0),
        ({"input_forget": 1}, 0),
        ({"activations": ["Sigmoid", "Relu", "Tanh"]}, 0),
    ],
    ids=str,
)
@pytest.mark.parametrize("time", [1, 4, 40])
def test_forms_of_lstm_of_a_dynamic_batch(attributes, count, time):
    model = agree(one(dims=[time, "batch", FEATURES], **attributes), dims=(1, 3, 7))
    found = [node for node in model.main.nodes if node.op == "STABLEHLO_COMPOSITE"]
    assert len(found) == count
    for node in found:
        assert node.options["name"] == "rillet.lstm" and len(node.inputs) == 6
        body = model.graphs[node.options["decomposition_subgraph_index"]]
        assert not any(v.users for v in body.inputs[1:4])  # weights that go in are for a kernel


@pytest.mark.parametrize(
    ("op", "more"), [("LSTM", {}), ("GRU", {}), ("GRU", {"linear_before_reset": 1})], ids=str
)
def test_weights_of_composites_that_are_integers_stay_so(op, more):
    size, features, rows = 16, 24, 16 * GATES[op]
    w, r = (
        (RNG.integers(-127, 128, (1, rows, k)) / 512).astype(np.float32) for k in (features, size)
    )
    node = helper.make_node(op, ["x", "w", "r"], ["y"], hidden_size=size, **more)
    inputs = [("x", [TIME, "batch", features])]
    model = agree(model_of([node], inputs, [("y", None)], [("w", w), ("r", r)]), dims=(1, 3))
    assert counts(model)["STABLEHLO_COMPOSITE"] == 1 and counts(model)["DEQUANTIZE"] == 2
    floats = [v for g in model.graphs for v in g.values() if v.is_constant and v.dtype == "FLOAT32"]
    assert max(v.size for v in floats) <= rows


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("op", list(GATES))
def test_a_length_that_only_a_run_tells(op, batch):
    """Steps whose largest number is above 0.3: engines learn sizes in the middle of a run."""
    node, constants, _ = layer(op=op, x="kept", directions=2)
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["top"], axes=[1, 2], keepdims=0),
        helper.make_node("Greater", ["top", "limit"], ["on"]),
        helper.make_node("Compress", ["x", "on"], ["kept"], axis=0),
        node,
    ]
    constants.append(("limit", np.float32(0.3)))
    outputs = [(name, None) for name in node.output]
    source = model_of(nodes, [("x", [20, batch, FEATURES])], outputs, constants)
    found = counts(agree(source, dims=(20, 20, 20)))
    assert found["STABLEHLO_COMPOSITE" if op == "GRU" else SEQUENCE + op] == 2


def test_what_is_not_read_is_not_computed():
    node, constants, _ = layer(directions=2)
    nodes = [node, helper.make_node("Gather", ["y", "zero"], ["out"], axis=1)]
    constants.append(("zero", np.int64(0)))
    dims = [TIME, BATCH, FEATURES]
    model = agree(model_of(nodes, [("x", dims)], [("out", [TIME, BATCH, SIZE])], constants))
    assert counts(model)["CONCATENATION"] <= 1  # the last cells were joined to be read in time


# ---- where it is no such op ----


@pytest.mark.parametrize(
    "attributes",
    [
        {"activations": ["Sigmoid", "Relu", "Tanh"]},
        {"activations": ["HardSigmoid", "Tanh", "Tanh"]},
        {"op": "RNN", "activations": ["Sigmoid"]},
        {"op": "GRU", "activations": ["Sigmoid", "Relu"]},
        {"input_forget": 1, "activations": ["HardSigmoid", "Tanh", "Tanh"]},
    ],
    ids=str,
)
def test_other_layers_stay_what_they_are(attributes):
    model = agree(one(**attributes), dims=(BATCH,) if "dims" in attributes else (TIME,))
    ops = {node.op for graph in model.graphs for node in graph.nodes}
    assert not any(op.startswith((SEQUENCE, "STABLEHLO")) for op in ops)


def test_sequences_of_lengths_and_computed_weights_are_no_such_op():
    node, constants, _ = layer()
    node.input[4] = "lengths"
    dims = [TIME, BATCH, FEATURES]
    constants.append(("lengths", np.int32([2, 5])))
    model = agree(model_of([node], [("x", dims)], [("y", None), ("c", None)], constants))
    assert not counts(model)[SEQUENCE + "LSTM"]
    node, constants, _ = layer()
    (given,) = [c for c in constants if c[0] == "r"]
    constants = [c for c in constants if c is not given]
    inputs = [("x", dims), ("r", list(given[1].shape))]
    model = agree(model_of([node], inputs, [("y", None), ("h", None)], constants))
    assert not counts(model)[SEQUENCE + "LSTM"]


def test_layers_of_a_branch_keep_no_variables():
    """A variable of a called graph lasts from call to call, in some engines."""
    branches = []
    weights = []
    for name in ("then", "else"):
        node, constants, _ = layer(tag=name)
        out = helper.make_tensor_value_info(f"y{name}", 1, [TIME, 1, BATCH, SIZE])
        branches.append(helper.make_graph([node], name, [], [out]))
        weights += constants
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        helper.make_node("Greater", ["s", "zero"], ["c"]),
        helper.make_node("If", ["c"], ["y"], then_branch=branches[0], else_branch=branches[1]),
    ]
    weights.append(("zero", np.float32(0)))
    model = agree(model_of(nodes, [("x", [TIME, BATCH, FEATURES])], [("y", None)], weights))
    assert not any(v.is_variable for graph in model.graphs for v in graph.values())


@pytest.mark.parametrize(("op", "batch"), [*((op, BATCH) for op in GATES), ("LSTM", "batch")])
@pytest.mark.parametrize("kind", ["float16", "dynamic_int8", "static_int8"])
def test_recurrent_layers_are_quantized(op, batch, kind):
    node, constants, feeds = layer(op=op, states=True, directions=2)
    feeds = [(name, [dims[0], batch, dims[2]]) for name, dims in feeds]
    dims = [TIME, batch, FEATURES]
    source = model_of([node], [("x", dims), *feeds], [("y", None)], constants)
    model = agree(source, dims=(TIME if batch == BATCH else 3,))
    feeds = {v.name: normal(*v.shape) for v in model.main.inputs}
    io = {"io": "float32"} if kind == "static_int8" else {}
    small = quantize.apply(model, quantize.Recipe(kind, min_elements=1, **io), [feeds])
    assert small.graphs[0].nodes and (
        kind == "float16" or counts(small)["STABLEHLO_COMPOSITE"] == 0
    )
    want = runtime.Interpreter(model_content=converter.write_tflite(model))
    want = want.get_signature_runner()(**feeds)["y"]
    for engine in (runtime.Interpreter, LiteRT):
        got = engine(model_content=converter.write_tflite(small)).get_signature_runner()(**feeds)
        assert np.abs(got["y"] - want).max() <= 0.05 * np.abs(want).max()
