# SPDX-License-Identifier: Apache-2.0
"""Quantized models give on the runtime exactly the values they give on LiteRT's default path."""

from __future__ import annotations

import numpy as np
import pytest
from quantize_nets import LiteRT, Net, conv_net, run, samples

import converter
import quantize
import runtime
from converter.ir import Model


def dense_net() -> Model:
    rng = np.random.default_rng(2)
    net = Net()
    x = net.input(4, 50)
    for size, wide in ((40, 50), (30, 40)):
        weights = rng.standard_normal((size, wide)).astype(np.float32)
        x = net.dense(x, weights, rng.standard_normal(size).astype(np.float32), "RELU")
    return net.model(net.op("SOFTMAX", [x], beta=1.0))


def branching_net() -> Model:
    """Concatenation, sigmoid gates, padding and means."""
    rng = np.random.default_rng(3)
    net = Net()
    x = net.input(1, 9, 9, 8)
    paddings = np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32)
    padded = net.op("PAD", [x, paddings])
    weights = rng.standard_normal((8, 3, 3, 8)).astype(np.float32) / 8
    a = net.conv(padded, weights, np.zeros(8, np.float32), padding="VALID")
    gate = net.op("LOGISTIC", [a])
    both = net.op("CONCATENATION", [net.op("MUL", [x, gate]), a], axis=3)
    mean = net.op("MEAN", [both, np.array([1, 2], np.int32)], keep_dims=False)
    return net.model(mean, net.op("TANH", [both]))


@pytest.mark.parametrize("io", ["int8", "float32"])
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("make", [dense_net, conv_net, branching_net])
def test_static_int8(make, per_channel: bool, io: str) -> None:
    model = make()
    quantized = quantize.static_int8(model, samples(model, 8), per_channel=per_channel, io=io)
    content = converter.write_tflite(quantized)
    differing = compared = 0
    for sample in samples(model, 40, seed=11):
        ours, theirs = (run(kind, content, sample) for kind in (runtime.Interpreter, LiteRT))
        for a, b in zip(ours, theirs, strict=True):
            assert a.dtype == b.dtype and a.shape == b.shape
            differing += int((a != b).sum())
            compared += a.size
    print(f"{make.__name__}: {differing} of {compared} values differ")
    assert differing == 0


@pytest.mark.parametrize("kind", ["float16", "dynamic_int8"])
@pytest.mark.parametrize("make", [dense_net, conv_net])
def test_the_other_recipes(make, kind: str) -> None:
    """Float results: within 1e-5 of the largest, as between two of LiteRT's own paths."""
    model = make()
    small = quantize.apply(model, quantize.Recipe(kind, min_elements=1))
    content = converter.write_tflite(small)
    for sample in samples(model, 10, seed=12):
        (ours,), (theirs,) = (run(k, content, sample) for k in (runtime.Interpreter, LiteRT))
        assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max()
