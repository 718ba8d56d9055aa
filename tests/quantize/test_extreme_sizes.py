# SPDX-License-Identifier: Apache-2.0
"""Nets whose weights, biases and activations differ by many orders of magnitude still quantize to
something that both engines run, to the same integers."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from quantize_nets import LiteRT, Net, real, run, samples

import converter
import quantize
import runtime

SIZES = st.sampled_from([0.0, 1e-12, 1e-6, 1e-3, 1.0, 1e3, 1e6])


def normal(rng: np.random.Generator, shape: tuple[int, ...], size: float) -> np.ndarray:
    return (rng.standard_normal(shape) * size).astype(np.float32)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10),
    weights=SIZES,
    channel=SIZES,
    bias=st.one_of(SIZES, st.just(1e12)),
    factor=SIZES,
    spread=SIZES,
    per_channel=st.booleans(),
    activation=st.sampled_from(["NONE", "RELU", "RELU6", "RELU_N1_TO_1"]),
)
def test_both_engines_agree_whatever_the_magnitudes(
    seed, weights, channel, bias, factor, spread, per_channel, activation
) -> None:
    rng = np.random.default_rng(seed)
    w = normal(rng, (6, 3, 3, 4), weights)
    w[2] *= np.float32(channel)
    net = Net()
    x = net.input(1, 5, 5, 4)
    a = net.conv(x, w, normal(rng, (6,), bias), activation)
    b = net.op("MUL", [a, normal(rng, (6,), factor)])
    c = net.op("ADD", [a, b])
    d = net.op("SUB", [c, b], fused_activation_function=activation)
    model = net.model(
        net.dense(
            net.op("RESHAPE", [d, np.array([1, 150], np.int32)]),
            normal(rng, (3, 150), weights),
            normal(rng, (3,), bias),
        ),
        c,
    )
    data = samples(model, 3, seed, spread)
    quantized = quantize.static_int8(model, data, per_channel=per_channel)
    content = converter.write_tflite(quantized)
    for sample in data:
        ours, theirs = (run(kind, content, sample) for kind in (runtime.Interpreter, LiteRT))
        for one, other, value in zip(ours, theirs, quantized.main.outputs, strict=True):
            assert np.array_equal(one, other)
            assert np.isfinite(real(one, value)).all()


def test_hard_swish_of_large_negative_values_loads() -> None:
    net = Net()
    model = net.model(net.op("HARD_SWISH", [net.input(1, 16)]))
    data = [[np.linspace(-9000, -10, 16, dtype=np.float32)[None]]]
    notes: list[str] = []
    quantized = quantize.static_int8(model, data, notes=notes)
    assert any("too narrow for integer arithmetic" in note for note in notes)
    for engine in (runtime.Interpreter, LiteRT):
        out = real(run(engine, quantized, data[0])[0], quantized.main.outputs[0])
        assert np.abs(out).max() <= 0.01
