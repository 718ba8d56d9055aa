# SPDX-License-Identifier: Apache-2.0
"""PyTorch: what PT2E quantization writes, and fake quantization, become integer ops."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from torch_checks import Function, check, compare, engines, floats, ops, torch

import converter
from converter.conversion import convert
from converter.sources import TorchSource

importlib.import_module("torch.ao.quantization.fx._decomposed")  # registers the ops
CALLS = torch.ops.quantized_decomposed
KINDS = {torch.int8: (-128, 127), torch.uint8: (0, 255), torch.int16: (-32768, 32767)}


def around(x, scale, zero=0, kind=torch.int8, limits=None):
    meaning = (scale, zero, *(limits or KINDS[kind]), kind)
    return CALLS.dequantize_per_tensor(CALLS.quantize_per_tensor(x, *meaning), *meaning)


class Layer(torch.nn.Module):
    """Quantized convolution with a scale per channel, an addition and a dense layer."""

    def __init__(self, kind=torch.int8, zero=0):
        super().__init__()
        rng = torch.Generator().manual_seed(3)
        w = torch.randint(-127, 128, (6, 3, 3, 3), generator=rng)
        self.register_buffer("w", w.to(torch.int8))
        self.register_buffer("s", torch.rand(6, generator=rng) * 0.002 + 0.002)
        self.register_buffer("z", torch.zeros(6, dtype=torch.int64))
        self.bias = torch.nn.Parameter(torch.randn(6, generator=rng))
        v = torch.randint(-127, 128, (5, 6), generator=rng)
        self.register_buffer("v", v.to(torch.int8))
        self.kind, self.zero = kind, zero

    def q(self, x, scale):
        return around(x, scale if self.kind != torch.int16 else scale / 256, self.zero, self.kind)

    def forward(self, x):
        w = CALLS.dequantize_per_channel(self.w, self.s, self.z, 0, -127, 127, torch.int8)
        v = CALLS.dequantize_per_tensor(self.v, 0.004, 0, -127, 127, torch.int8)
        x = self.q(x, 0.03)
        y = self.q(torch.relu(torch.nn.functional.conv2d(x, w, self.bias, padding=1)), 0.05)
        y = self.q(torch.nn.functional.max_pool2d(y, 2), 0.05)
        y = self.q(y + y, 0.08)
        y = self.q(y.mean((2, 3)), 0.04)
        return self.q(torch.nn.functional.linear(y, v), 0.03)


@pytest.mark.parametrize("kind", [torch.int8, torch.uint8, torch.int16])
def test_a_quantized_network_computes_in_integers(kind, tmp_path):
    module, x = Layer(kind, 100 if kind is torch.uint8 else 0), floats(1, 3, 8, 8)
    made = convert(TorchSource(module, (x,)), tmp_path / "q.tflite", check="layers")
    (output,) = made.proof.outputs
    assert made.proof.passed and output.steps > 0
    name = "INT16" if kind is torch.int16 else "INT8"
    computed = [n for n in made.model.main.nodes if n.op not in ("QUANTIZE", "DEQUANTIZE")]
    assert {n.op for n in computed} >= {"CONV_2D", "MAX_POOL_2D", "ADD", "MEAN", "FULLY_CONNECTED"}
    assert {n.outputs[0].dtype for n in computed} == {name}


def test_limits_within_the_type_s_bound_the_integers():
    def function(x):
        return around(x, 0.02, 60, torch.uint8, (0, 127))

    model = check(function, floats(5, 7) * 3)
    assert {"QUANTIZE", "DEQUANTIZE"} < set(ops(model))
    content = converter.write_tflite(model)
    for run in engines(content):
        found = run(inputs_0=np.array([[-99] * 7, [99] * 7] * 2 + [[0] * 7], np.float32))
        assert np.isclose(next(iter(found.values())).max(), 67 * 0.02)


@pytest.mark.parametrize("symmetric", [False, True])
def test_scales_chosen_as_the_model_runs(symmetric):
    choose = CALLS.choose_qparams_symmetric if symmetric else CALLS.choose_qparams

    def function(x):
        scale, zero = choose(x, -128, 127, 1e-6, torch.int8)
        meaning = (scale, zero, -128, 127, torch.int8)
        return CALLS.dequantize_per_tensor(CALLS.quantize_per_tensor(x, *meaning), *meaning)

    model = check(function, floats(5, 7))
    compare(model, Function(function), floats(5, 7) + 3)
    compare(model, Function(function), torch.zeros(5, 7))


def test_products_of_int8_give_int32():
    w = torch.randint(-128, 128, (700, 16), generator=torch.Generator().manual_seed(1))
    w = w.to(torch.int8)

    def function(x):
        scale = x.abs().amax(-1, keepdim=True) / 127
        product = torch._int_mm(torch.round(x / scale).to(torch.int8), w)
        return product, product * scale

    model = check(function, floats(32, 700))
    (product,) = [n for n in model.main.nodes if n.op == "BATCH_MATMUL"]
    assert product.inputs[1].data is not None and product.inputs[1].dtype == "INT8"


@pytest.mark.parametrize("limits", [(-128, 127), (0, 255), (-127, 127), (-8, 7), (0, 127)])
def test_fake_quantization_becomes_integers(limits):
    zero = (limits[0] + limits[1]) // 2 + 3
    w = floats(4, 7)
    inputs = floats(5, 7)

    def function(x):
        x = torch.fake_quantize_per_tensor_affine(x, 0.05, zero, *limits)
        weights = torch.fake_quantize_per_tensor_affine(w, 0.02, 0, -127, 127)
        y = torch.nn.functional.linear(x, weights)
        return torch.fake_quantize_per_tensor_affine(y, 0.09, zero, *limits)

    model = converter.from_torch(Function(function), (inputs,))
    converter.optimize(model, check=True)
    (product,) = [n for n in model.main.nodes if n.op == "FULLY_CONNECTED"]
    assert product.inputs[0].dtype == product.outputs[0].dtype == "INT8"
    wanted = function(inputs).numpy()
    for run in engines(converter.write_tflite(model)):
        found = run(inputs_0=inputs.numpy())
        assert np.abs(next(iter(found.values())) - wanted).max() <= 1.01 * 0.09


def test_fake_quantization_per_channel_and_of_tensors():
    scale, zero = torch.rand(4) * 0.1 + 0.05, torch.tensor([0, 3, -5, 7], dtype=torch.int32)

    def function(x):
        y = torch.fake_quantize_per_channel_affine(x, scale, zero, 1, -128, 127)
        return torch.fake_quantize_per_tensor_affine(y, scale[0], zero[1], -128, 127)

    check(function, floats(3, 4, 5))


def test_a_module_of_quantization_aware_training(tmp_path):
    quantization = torch.ao.quantization
    fakes = [quantization.default_fused_act_fake_quant() for _ in range(2)]
    layers = [torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()]
    module = torch.nn.Sequential(fakes[0], *layers, fakes[1]).train()
    for _ in range(4):
        module(floats(2, 3, 8, 8))
    module.apply(quantization.disable_observer)
    made = convert(TorchSource(module.eval(), (floats(2, 3, 8, 8),)), tmp_path / "q.tflite")
    assert made.proof.passed and ops(made.model).count("QUANTIZE") == 2


def test_a_module_that_still_observes_is_refused():
    module = torch.ao.quantization.default_fused_act_fake_quant()
    module(floats(3, 4))
    with pytest.raises(converter.ConversionError, match="disable_observer"):
        converter.from_torch(module, (floats(3, 4),))
    module.disable_observer()
    check(module, floats(3, 4))
