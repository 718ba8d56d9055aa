# SPDX-License-Identifier: Apache-2.0
"""Static int8 follows the LiteRT 8-bit specification, and its files are what LiteRT runs."""

from __future__ import annotations

import numpy as np
import pytest
from quantize_nets import LiteRT, Net, OpResolverType, conv_net, real, run, samples

import quantize
from converter.ir import Model, Node


def only(model: Model, op: str) -> Node:
    (node,) = [n for n in model.main.nodes if n.op == op]
    return node


def params(value) -> tuple[float, int]:
    return float(value.quant.scale[0]), int(value.quant.zero_point[0])


def eye(n: int, size: float = 1.0) -> np.ndarray:
    return (np.eye(n) * size).astype(np.float32)


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("method", ["minmax", "percentile"])
def test_weights_biases_and_activations_follow_the_specification(per_channel, method) -> None:
    model = conv_net()
    quantized = quantize.static_int8(
        model, samples(model, 8), per_channel=per_channel, method=method
    )
    axes = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}
    assert [n.op for n in quantized.main.nodes] == [n.op for n in model.main.nodes]
    for node in quantized.main.nodes:
        for value in [*node.inputs[:1], *node.outputs]:
            assert value.dtype == "INT8" and value.quant.scale.size == 1
        if node.op not in axes:
            continue
        data, weights, bias = node.inputs
        channels = weights.shape[axes[node.op]] if per_channel else 1
        assert weights.dtype == "INT8" and weights.quant.scale.size == channels
        assert not per_channel or weights.quant.axis == axes[node.op]
        assert not weights.quant.zero_point.any()
        assert np.abs(weights.data.astype(int)).max() == 127
        assert bias.dtype == "INT32" and not bias.quant.zero_point.any()
        product = weights.quant.scale * data.quant.scale
        assert np.array_equal(bias.quant.scale, product.astype(np.float32))
    assert params(only(quantized, "SOFTMAX").outputs[0]) == (1 / 256, -128)
    for op in ("MAX_POOL_2D", "AVERAGE_POOL_2D", "RESHAPE"):
        node = only(quantized, op)
        assert params(node.inputs[0]) == params(node.outputs[0])
    relu6 = quantized.main.nodes[0].outputs[0]
    scale, zero_point = params(relu6)
    assert zero_point == -128 and scale * 255 <= 6.0001


def test_the_float_model_is_left_as_it_was() -> None:
    model = conv_net()
    before = run(LiteRT, model, samples(model, 1)[0])[0]
    quantize.static_int8(model, samples(model, 2))
    assert {v.dtype for v in model.main.values()} == {"FLOAT32", "INT32"}
    assert np.array_equal(before, run(LiteRT, model, samples(model, 1)[0])[0])


def test_signatures_and_names_are_kept() -> None:
    model = conv_net()
    for io in ("int8", "float32"):
        quantized = quantize.static_int8(model, samples(model, 2), io=io)
        assert quantized.signatures == model.signatures
        assert [v.dtype for v in quantized.main.inputs] == [io.upper()]
        for kind in ("inputs", "outputs"):
            ours = [v.name for v in getattr(quantized.main, kind)]
            assert ours == [v.name for v in getattr(model.main, kind)]
        names = [v.name for v in quantized.main.values()]
        assert len(names) == len(set(names))


def test_float_io_gives_what_int8_io_gives() -> None:
    model = conv_net()
    inside = quantize.static_int8(model, samples(model, 8))
    outside = quantize.static_int8(model, samples(model, 8), io="float32")
    for sample in samples(model, 4, seed=9):
        a, b = run(LiteRT, inside, sample)[0], run(LiteRT, outside, sample)[0]
        assert np.abs(real(a, inside.main.outputs[0]) - b).max() <= 1e-6


def test_concatenation_gives_all_parts_one_scale() -> None:
    net = Net()
    a, b = net.input(1, 4), net.input(1, 4)
    wide = net.op("ADD", [a, b])
    model = net.model(net.op("CONCATENATION", [net.op("RELU", [a]), wide], axis=1))
    quantized = quantize.static_int8(model, samples(model, 8))
    node = only(quantized, "CONCATENATION")
    assert {params(v) for v in [*node.inputs, *node.outputs]} == {params(node.outputs[0])}
    assert "QUANTIZE" not in {n.op for n in quantized.main.nodes}


def test_a_fixed_scale_does_not_spread_over_a_concatenation() -> None:
    net = Net()
    x = net.input(1, 8)
    narrow = net.op("RESHAPE", [net.op("LOGISTIC", [x]), np.array([1, 8], np.int32)])
    wide = net.op("MUL", [x, np.full(8, 9.0, np.float32)])
    model = net.model(net.op("CONCATENATION", [narrow, wide, narrow], axis=1))
    quantized = quantize.static_int8(model, samples(model, 8))
    node = only(quantized, "CONCATENATION")
    assert params(only(quantized, "RESHAPE").outputs[0]) == (1 / 256, -128)
    assert len({params(v) for v in [*node.inputs, *node.outputs]}) == 1
    assert node.inputs[0].producer.op == "QUANTIZE" and params(node.outputs[0])[0] > 0.1
    sample = samples(model, 1)[0]
    out = real(run(LiteRT, quantized, sample)[0], quantized.main.outputs[0])
    assert np.abs(out - run(LiteRT, model, sample)[0]).max() <= 1.5 * params(node.outputs[0])[0]


def test_equal_fixed_scales_are_concatenated_as_they_are() -> None:
    net = Net()
    a, b = net.input(1, 8), net.input(1, 8)
    parts = [net.op("LOGISTIC", [a]), net.op("LOGISTIC", [b])]
    model = net.model(net.op("CONCATENATION", parts, axis=1))
    quantized = quantize.static_int8(model, samples(model, 4))
    assert params(quantized.main.outputs[0]) == (1 / 256, -128)
    assert [n.op for n in quantized.main.nodes] == ["LOGISTIC", "LOGISTIC", "CONCATENATION"]


def test_an_op_without_int8_form_stays_float_between_conversions() -> None:
    net, notes = Net(), []
    x = net.input(1, 8)
    y = net.op("EXP", [net.op("TANH", [x])])
    model = net.model(net.op("MUL", [y, y]), net.op("NEG", [y]))
    quantized = quantize.static_int8(model, samples(model, 4), notes=notes)
    assert [n.op for n in quantized.main.nodes] == [
        *["TANH", "DEQUANTIZE", "EXP", "QUANTIZE", "MUL", "NEG", "QUANTIZE"]
    ]
    assert notes == ["EXP 'exp_2' stays float", "NEG 'neg_4' stays float"]
    assert [v.name for v in quantized.main.outputs] == ["mul_3", "neg_4"]
    wanted, got = (run(LiteRT, m, samples(model, 1)[0]) for m in (model, quantized))
    for a, b, value in zip(wanted, got, quantized.main.outputs, strict=True):
        assert np.abs(a - real(b, value)).max() <= 4 * params(value)[0]


def test_shape_reads_the_int8_tensor_directly() -> None:
    net = Net()
    x = net.op("TANH", [net.input(1, 8)])
    shape = net.op("SHAPE", [x], dtype="INT32", out_type="INT32")
    model = net.model(net.op("RESHAPE", [x, shape]))
    quantized = quantize.static_int8(model, samples(model, 2))
    assert [n.op for n in quantized.main.nodes] == ["TANH", "SHAPE", "RESHAPE"]


def test_ops_that_only_move_values_follow_their_neighbours() -> None:
    net = Net()
    x = net.op("EXP", [net.input(1, 8)])
    moved = net.op("RESHAPE", [x, np.array([8, 1], np.int32)])
    model = net.model(net.op("TANH", [net.op("EXP", [moved])]))
    quantized = quantize.static_int8(model, samples(model, 2), io="float32")
    assert only(quantized, "RESHAPE").outputs[0].dtype == "FLOAT32"
    assert only(quantized, "TANH").outputs[0].dtype == "INT8"


def test_shared_weights_are_stored_once_and_a_shared_bias_per_scale() -> None:
    net = Net()
    rng = np.random.default_rng(0)
    weights = net.constant(rng.normal(size=(8, 8)).astype(np.float32))
    bias = net.constant(rng.normal(size=8).astype(np.float32))
    first = net.dense(net.input(1, 8), weights, bias)
    model = net.model(net.dense(first, weights, bias), net.dense(first, weights, bias, "RELU"))
    quantized = quantize.static_int8(model, samples(model, 4))
    one, two, three = quantized.main.nodes
    assert one.inputs[1] is two.inputs[1] is three.inputs[1]
    assert one.inputs[2] is not two.inputs[2] and two.inputs[2] is three.inputs[2]
    assert one.inputs[2].quant.scale[0] != two.inputs[2].quant.scale[0]


def test_a_bias_too_large_for_int32_widens_the_weights_scale_and_is_told() -> None:
    net, notes = Net(), []
    x = net.input(1, 2)
    bias = np.float32([-1.0e4, 0.25])
    model = net.model(net.dense(x, np.float32([[1e-6, 2e-6], [1, 2]]), bias, "NONE"))
    quantized = quantize.static_int8(model, samples(model, 4), notes=notes)
    _, weights, bias_q = only(quantized, "FULLY_CONNECTED").inputs
    assert np.abs(bias_q.data.astype(np.int64)).max() <= 2**30
    back = bias_q.data * bias_q.quant.scale.astype(np.float64)
    assert np.abs(back - bias).max() <= 1e-5 * np.abs(bias).max()
    assert weights.quant.scale[0] > 2e-6 / 127 and weights.quant.scale[1] == np.float32(2 / 127)
    assert notes == []  # the widened channel adds nothing an output step could show
    out = real(run(LiteRT, quantized, samples(model, 1)[0])[0], quantized.main.outputs[0])
    assert abs(out[0, 0] + 1e4) <= params(quantized.main.outputs[0])[0]


def test_a_bias_far_outside_the_output_is_cut_and_told() -> None:
    net, notes = Net(), []
    x = net.input(1, 2)
    model = net.model(net.dense(x, eye(2), np.float32([1e12, 0.5]), "RELU_N1_TO_1"))
    quantized = quantize.static_int8(model, samples(model, 4), notes=notes)
    assert len(notes) == 1 and "the bias of channels [0] lies millions of steps" in notes[0]
    for kernels in (OpResolverType.AUTO, OpResolverType.BUILTIN_REF):
        options = {"experimental_op_resolver_type": kernels}
        out = run(LiteRT, quantized, samples(model, 1)[0], **options)[0]
        assert out[0, 0] == 127


def test_a_sum_of_terms_that_cancel_does_not_get_an_impossible_scale() -> None:
    net, notes = Net(), []
    x = net.input(1, 4)
    big = net.op("MUL", [x, np.full(4, 1e6, np.float32)])
    gone = net.op("SUB", [big, big])
    tiny = net.op("MUL", [x, np.full(4, 1e-3, np.float32)])
    model = net.model(net.op("SUB", [net.op("ADD", [gone, tiny]), gone]), gone)
    quantized = quantize.static_int8(model, samples(model, 4), notes=notes)
    assert any("too narrow for integer arithmetic; widened" in note for note in notes)
    for kernels in (OpResolverType.AUTO, OpResolverType.BUILTIN_REF):
        out = run(LiteRT, quantized, samples(model, 1)[0], experimental_op_resolver_type=kernels)
        assert all(
            np.isfinite(real(a, v)).all() for a, v in zip(out, quantized.main.outputs, strict=True)
        )


def test_dead_channels_and_silent_activations_run() -> None:
    net = Net()
    x = net.input(1, 4)
    silent = net.dense(x, np.zeros((4, 4), np.float32), np.zeros(4, np.float32), "RELU")
    weights = eye(4)
    weights[2] = 0.0
    y = net.dense(silent, weights, np.float32([0.5, -0.5, 0.25, 0.0]))
    model = net.model(y)
    quantized = quantize.static_int8(model, samples(model, 4))
    out = real(run(LiteRT, quantized, samples(model, 1)[0])[0], quantized.main.outputs[0])
    assert np.abs(out - [[0.5, -0.5, 0.25, 0.0]]).max() <= params(quantized.main.outputs[0])[0]


def test_nothing_to_quantize_is_an_error() -> None:
    net = Net()
    model = net.model(net.op("NEG", [net.input(1, 4)]))
    with pytest.raises(quantize.QuantizationError, match=r"none of the ops \['NEG'\] has float"):
        quantize.static_int8(model, samples(model, 1))
    done = quantize.static_int8(conv_net(), samples(conv_net(), 1))
    with pytest.raises(quantize.QuantizationError, match="quantized already"):
        quantize.static_int8(done, samples(model, 1))


def test_variables_stay_float() -> None:
    net = Net()
    x, state = net.input(1, 4), net.input(1, 4)
    model = net.model(net.op("TANH", [net.op("ADD", [x, state])]))
    model.main.inputs[1].is_variable = True
    quantized = quantize.static_int8(model, samples(model, 2), io="float32")
    assert only(quantized, "ADD").outputs[0].dtype == "FLOAT32"
