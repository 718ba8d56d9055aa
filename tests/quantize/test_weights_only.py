# SPDX-License-Identifier: Apache-2.0
"""float16 and dynamic int8: the form LiteRT's own converter writes, within a stated tolerance."""

from __future__ import annotations

import numpy as np
import pytest
from quantize_nets import PLAIN_KERNELS, LiteRT, Net, conv_net, run, samples

import converter
import quantize
from converter.ir import Graph, Model, Value
from quantize import QuantizationError, Recipe
from runtime import Interpreter as Runtime

# Share of an output's largest value. float16 keeps 11 bits of each weight, int8 keeps 8 of weights
# and inputs; both gather over the five layers.
TOLERANCE = {"float16": 2e-3, "dynamic_int8": 2e-2}


def worst_error(model: Model, small: Model, **kwargs) -> float:
    worst = 0.0
    for sample in samples(model, 8):
        wanted, got = run(LiteRT, model, sample)[0], run(LiteRT, small, sample, **kwargs)[0]
        worst = max(worst, float(np.abs(wanted - got).max() / np.abs(wanted).max()))
    return worst


@pytest.mark.parametrize("kind", ["float16", "dynamic_int8"])
def test_outputs_stay_within_the_tolerance(kind: str) -> None:
    model = conv_net()
    small = quantize.apply(model, Recipe(kind, min_elements=1))
    assert worst_error(model, small) <= TOLERANCE[kind]
    size = len(converter.write_tflite(small)) / len(converter.write_tflite(model))
    assert size < {"float16": 0.75, "dynamic_int8": 0.5}[kind]


def test_float16_constants_sit_behind_dequantize() -> None:
    small = quantize.float16(conv_net())
    weights = [n.inputs[1] for n in small.main.nodes if n.op in ("CONV_2D", "FULLY_CONNECTED")]
    for value in weights:
        assert value.producer.op == "DEQUANTIZE" and value.dtype == "FLOAT32"
        assert value.producer.inputs[0].dtype == "FLOAT16"
    assert all(v.dtype == "FLOAT32" for v in small.main.inputs + small.main.outputs)


def test_small_constants_stay_as_they_are() -> None:
    dtypes = {v.dtype for v in quantize.float16(conv_net(), min_elements=300).main.values()}
    biases = [n.inputs[2] for n in quantize.float16(conv_net()).main.nodes if n.op == "CONV_2D"]
    assert dtypes == {"FLOAT32", "FLOAT16", "INT32"}
    assert all(b.is_constant and b.dtype == "FLOAT32" for b in biases)


def test_values_beyond_float16_stay_float32_and_are_told() -> None:
    net, notes = Net(), []
    x = net.input(1, 32)
    y = net.dense(x, np.full((32, 32), 1e5, np.float32), np.zeros(32, np.float32))
    z = net.dense(y, np.full((32, 32), 1e-3, np.float32), np.zeros(32, np.float32))
    small = quantize.float16(net.model(z), notes=notes)
    assert [n.op for n in small.main.nodes] == ["FULLY_CONNECTED", "DEQUANTIZE", "FULLY_CONNECTED"]
    assert len(notes) == 1 and "beyond float16's 65504" in notes[0]


def test_shared_weights_are_stored_once() -> None:
    net = Net()
    x = net.input(1, 32)
    weights = net.constant(np.random.default_rng(0).normal(size=(32, 32)).astype(np.float32))
    bias = net.constant(np.ones(32, np.float32))
    model = net.model(net.dense(net.dense(x, weights, bias), weights, bias))
    for small in (quantize.float16(model), quantize.dynamic_int8(model, min_elements=1)):
        layers = [n for n in small.main.nodes if n.op == "FULLY_CONNECTED"]
        assert layers[0].inputs[1] is layers[1].inputs[1]


def test_dynamic_int8_has_the_scales_the_specification_asks_for() -> None:
    model = conv_net()
    small = quantize.dynamic_int8(model, min_elements=1)
    axes = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}
    seen = set()
    for node in small.main.nodes:
        if node.op not in axes:
            continue
        seen.add(node.op)
        weights = node.inputs[1]
        assert weights.dtype == "INT8" and weights.quant.axis == axes[node.op]
        assert weights.quant.scale.size == weights.shape[axes[node.op]]
        assert not weights.quant.zero_point.any() and np.abs(weights.data.astype(int)).max() == 127
        assert node.inputs[2].dtype == node.inputs[0].dtype == node.outputs[0].dtype == "FLOAT32"
        asymmetric = node.options.get("asymmetric_quantize_inputs", False)
        assert asymmetric == (node.op == "FULLY_CONNECTED")
    assert seen == set(axes)


@pytest.mark.parametrize("kernels", [{}, {"experimental_op_resolver_type": PLAIN_KERNELS}])
def test_one_scale_per_tensor_runs_on_every_path(kernels: dict) -> None:
    model = conv_net()
    small = quantize.dynamic_int8(model, min_elements=1, per_channel=False)
    assert worst_error(model, small, **kernels) <= 2 * TOLERANCE["dynamic_int8"]


def test_layers_under_the_least_size_stay_float() -> None:
    small = quantize.dynamic_int8(conv_net(), min_elements=400)
    dtypes = [
        n.inputs[1].dtype for n in small.main.nodes if n.op in ("CONV_2D", "DEPTHWISE_CONV_2D")
    ]
    assert dtypes == ["INT8", "FLOAT32", "FLOAT32", "INT8"]


def test_int8_recipes_see_through_float16_weights() -> None:
    model = conv_net()
    half = quantize.float16(model, min_elements=1)
    calibration = samples(model, 4)
    for kind in ("dynamic_int8", "static_int8"):
        small = quantize.apply(half, Recipe(kind, min_elements=1), calibration)
        assert not {"DEQUANTIZE"} & {n.op for n in small.main.nodes}


def test_nothing_to_do_is_an_error() -> None:
    net = Net()
    model = net.model(net.op("TANH", [net.input(1, 4)]))
    with pytest.raises(QuantizationError, match="no float32 constant of 256 elements"):
        quantize.float16(model)
    with pytest.raises(QuantizationError, match="no CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED"):
        quantize.dynamic_int8(model)
    done = quantize.static_int8(model, samples(model, 2))
    for again in (quantize.float16, quantize.dynamic_int8):
        with pytest.raises(QuantizationError, match="quantized already"):
            again(done)


def test_weights_that_are_not_numbers_are_told() -> None:
    net = Net()
    weights = np.ones((4, 4), np.float32)
    weights[1, 2] = np.nan
    model = net.model(net.dense(net.input(1, 4), weights, np.zeros(4, np.float32)))
    with pytest.raises(QuantizationError, match=r"FULLY_CONNECTED.*hold NaN"):
        quantize.dynamic_int8(model, min_elements=1)


@pytest.mark.parametrize("op", ["LSTM", "RNN"])
def test_recurrent_layers_take_int8_weights(op: str) -> None:
    rng, size, features = np.random.default_rng(4), 16, 12
    graph = Graph("main")
    x = graph.add_input("x", "FLOAT32", (6, 2, features))

    def drawn(*shape: int) -> Value:
        data = rng.standard_normal(shape).astype(np.float32) / 4
        return Value.constant(f"w{rng.integers(1 << 40)}", data)

    states = [Value(f"s{i}", "FLOAT32", (2, size), is_variable=True) for i in range(2)]
    if op == "LSTM":
        weights = [drawn(size, features) for _ in range(4)] + [drawn(size, size) for _ in range(4)]
        bias = [drawn(size) for _ in range(4)]
        inputs = [x, *weights, None, None, None, *bias, None, None, *states, *[None] * 4]
    else:
        inputs = [x, drawn(size, features), drawn(size, size), drawn(size), states[0]]
    y = Value("y", "FLOAT32", (6, 2, size))
    options = {"fused_activation_function": "TANH", "time_major": True}
    graph.add_node(f"UNIDIRECTIONAL_SEQUENCE_{op}", inputs, [y], options)
    graph.outputs = [y]
    model = Model([graph])
    small = quantize.apply(model, Recipe("dynamic_int8", min_elements=1))
    (node,) = small.main.nodes
    kinds = {v.dtype for v in node.inputs[1:9] if v is not None and len(v.shape) == 2}
    assert kinds == ({"INT8"} if op == "LSTM" else {"INT8", "FLOAT32"})  # states stay float
    feed = [rng.standard_normal(x.shape).astype(np.float32)]
    wanted = run(LiteRT, model, feed)[0]
    for kind in (LiteRT, Runtime):
        got = run(kind, small, feed)[0]
        assert np.abs(got - wanted).max() <= 5e-2 * np.abs(wanted).max()
    with pytest.raises(QuantizationError, match="nothing to quantize"):
        quantize.apply(model, Recipe("dynamic_int8", min_elements=1 << 20))
