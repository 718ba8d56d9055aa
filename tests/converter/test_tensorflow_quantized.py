# SPDX-License-Identifier: Apache-2.0
"""Quantization in training, as TensorFlow writes it, becomes integer ops."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from test_graphdef_import import load

import converter
import host_engine as tf
import runtime
from converter.conversion import convert
from converter.sources import GraphDefSource
from host_engine.framework.build import build

RNG = np.random.default_rng(2)
X = RNG.normal(size=(2, 8, 8, 3)).astype(np.float32)


def floats(*shape, scale=0.2):
    return (RNG.normal(size=shape) * scale).astype(np.float32)


def fake(x, low, high, **attrs):
    ends = [tf.constant(np.float32(end)) for end in (low, high)]
    return build("FakeQuantWithMinMaxVars", [x, *ends], attrs)


def per_channel(x, low, high, **attrs):
    ends = [tf.constant(np.asarray(end, np.float32)) for end in (low, high)]
    return build("FakeQuantWithMinMaxVarsPerChannel", [x, *ends], attrs)


def graph_of(function):
    """The bytes of a graph from `x` to `y`."""
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [2, 8, 8, 3], name="x")
        tf.identity(function(x), name="y")
    return graph.as_graph_def().SerializeToString()


def network(x):
    x = fake(x, -3, 3)
    w = floats(3, 3, 3, 6)
    most = np.abs(w).max((0, 1, 2))
    w = per_channel(tf.constant(w), -most, most, narrow_range=True)
    x = tf.nn.conv2d(x, w, [1, 2, 2, 1], "SAME") + tf.constant(floats(6))
    x = fake(tf.nn.relu6(x), 0, 2)
    w = fake(tf.constant(floats(6, 4)), -0.6, 0.6, narrow_range=True)
    x = fake(tf.reduce_mean(x, [1, 2]), 0, 1)
    return fake(tf.matmul(x, w), -1, 1)


def test_a_network_of_fake_quantization_computes_in_int8(tmp_path):
    made = convert(GraphDefSource(graph_of(network)), tmp_path / "q.tflite", check="layers")
    (output,) = made.proof.outputs
    assert made.proof.passed and output.steps > 0
    found = {n.op: n for n in made.model.main.nodes}
    for op in ("CONV_2D", "MEAN", "FULLY_CONNECTED"):
        assert found[op].inputs[0].dtype == found[op].outputs[0].dtype == "INT8"
    assert found["CONV_2D"].inputs[1].quant.scale.size == 6


def both(function, **feeds):
    """(the host engine's, ours); LiteRT's is held to be ours."""
    content = graph_of(function)
    model = converter.from_graphdef(content)
    converter.optimize(model, check=True)
    wanted = GraphDefSource(content).run(feeds)["y"]
    content = converter.write_tflite(model)
    found = runtime.Interpreter(model_content=content).get_signature_runner()(**feeds)["y"]
    theirs = Interpreter(model_content=content).get_signature_runner()(**feeds)["y"]
    np.testing.assert_array_equal(found, theirs)
    return model, wanted, found


CASES = [
    ("FakeQuantWithMinMaxArgs", (), {"min": -1.3, "max": 2.1}),
    ("FakeQuantWithMinMaxArgs", (), {"min": -1.3, "max": 2.1, "num_bits": 4}),
    ("FakeQuantWithMinMaxArgs", (), {"min": -1.3, "max": 2.1, "narrow_range": True}),
    ("FakeQuantWithMinMaxArgs", (), {"min": -2.0, "max": 2.0, "num_bits": 16}),
    ("FakeQuantWithMinMaxVars", (0.0, 1.7), {}),
    ("FakeQuantWithMinMaxVars", (0.0, 0.0), {}),
    ("FakeQuantWithMinMaxVarsPerChannel", ([-1, -2, 0], [1, 1, 1.5]), {}),
    ("QuantizeAndDequantizeV2", (-1.3, 2.1), {"range_given": True}),
    ("QuantizeAndDequantizeV2", (0.0, 0.0), {}),
    ("QuantizeAndDequantizeV2", (0.0, 2.1), {"range_given": True, "signed_input": False}),
    ("QuantizeAndDequantizeV4", (-1.3, 2.1), {"range_given": True, "narrow_range": True}),
    ("QuantizeAndDequantizeV2", (0.0, 0.0), {"signed_input": False}),
    ("QuantizeAndDequantizeV3", (-1.3, 2.1, np.int32(6)), {"range_given": True}),
]


@pytest.mark.parametrize(("op", "given", "attrs"), CASES)
def test_an_op_gives_the_numbers_of_its_steps(op, given, attrs):
    values = [np.asarray(g, np.int32 if isinstance(g, np.int32) else np.float32) for g in given]
    _, wanted, found = both(
        lambda x: build(op, [x, *map(tf.constant, values)], attrs) + tf.constant(np.float32(0)), x=X
    )
    steps = np.unique(np.diff(np.unique(wanted)))
    step = steps.min() if steps.size else 0
    wrong = np.abs(wanted - found) > 1e-5
    assert np.abs(wanted - found).max() <= 1.01 * step + 1e-5
    assert wrong.mean() <= 0.01  # halves between two steps alone


def test_other_quantization_is_refused_with_the_way_out():
    refusals = {
        "has a range without 0": lambda x: fake(x, 1, 2),
        "rounds halves up": lambda x: build(
            "QuantizeAndDequantizeV2", [x, tf.constant(np.float32(0)), tf.constant(np.float32(0))],
            {"round_mode": "HALF_UP"},
        ),
        "rounds to 1 bits": lambda x: build("FakeQuantWithMinMaxArgs", [x], {"num_bits": 1}),
    }  # fmt: skip
    for why, function in refusals.items():
        with pytest.raises(converter.ConversionError, match=why):
            converter.from_graphdef(graph_of(function))


def test_what_tensorflow_computed():
    path, inputs, wanted = load("quantized/tf2_fake_quant")
    model = converter.from_graphdef(path, outputs=list(wanted))
    converter.optimize(model)
    content = converter.write_tflite(model)
    source = GraphDefSource(path, outputs=list(wanted)).run(inputs)
    for engine in (runtime.Interpreter, Interpreter):
        found = engine(model_content=content).get_signature_runner()(**inputs)
        for name, numbers in wanted.items():
            step = 2 / 255
            assert np.abs(found[name] - numbers).max() <= 2.01 * step
            assert np.abs(source[name] - numbers).max() <= 1.01 * step
    kinds = [n.outputs[0].dtype for n in model.main.nodes if n.op in ("CONV_2D", "FULLY_CONNECTED")]
    assert set(kinds) == {"INT8"}
