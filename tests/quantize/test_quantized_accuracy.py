# SPDX-License-Identifier: Apache-2.0
"""A classifier trained on a small problem keeps its accuracy through every recipe."""

from __future__ import annotations

import numpy as np
import pytest
from quantize_nets import LiteRT, Net, run

import quantize
from converter.ir import Model
from quantize import Recipe

CLASSES, HIDDEN = 3, 48


def spirals(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of three interleaved spirals: x [count, 2] float32, y [count]."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, count)
    radius = rng.uniform(0.1, 1.0, count)
    angle = 4.0 * radius + y * 2 * np.pi / CLASSES + rng.normal(size=count) * 0.1
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).astype(np.float32), y


@pytest.fixture(scope="module")
def trained() -> Model:
    """Two dense layers, the first random, trained by full-batch gradient descent with momentum."""
    x, y = spirals(600, 0)
    rng = np.random.default_rng(1)
    weights = [rng.normal(size=(HIDDEN, 2)) * 2, rng.normal(size=(CLASSES, HIDDEN)) * 0.1]
    biases = [rng.uniform(-2, 2, HIDDEN), np.zeros(CLASSES)]
    speed = [np.zeros_like(p) for p in [*weights, *biases]]
    target = np.eye(CLASSES)[y]
    for _ in range(800):
        hidden = np.maximum(x @ weights[0].T + biases[0], 0)
        logits = hidden @ weights[1].T + biases[1]
        p = np.exp(logits - logits.max(1, keepdims=True))
        error = (p / p.sum(1, keepdims=True) - target) / len(x)
        back = (error @ weights[1]) * (hidden > 0)
        gradients = [back.T @ x, error.T @ hidden, back.sum(0), error.sum(0)]
        for parameter, v, g in zip([*weights, *biases], speed, gradients, strict=True):
            v *= 0.9
            v -= 0.3 * g
            parameter += v
    net = Net()
    layers = [a.astype(np.float32) for a in (weights[0], biases[0], weights[1], biases[1])]
    hidden_layer = net.dense(net.input(500, 2), layers[0], layers[1], "RELU")
    return net.model(net.op("SOFTMAX", [net.dense(hidden_layer, *layers[2:])], beta=1.0))


def accuracy(model: Model) -> float:
    x, y = spirals(500, 7)
    return float((run(LiteRT, model, [x])[0].argmax(1) == y).mean())


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("float16", min_elements=1),
        Recipe("dynamic_int8", min_elements=1),
        Recipe(),
        Recipe(per_channel=False),
        Recipe(method="percentile", percentile=99.99, io="float32"),
    ],
    ids=lambda r: f"{r.kind}-{r.method}-{r.per_channel}",
)
def test_accuracy_is_kept_within_a_point(trained: Model, recipe: Recipe) -> None:
    before = accuracy(trained)
    after = accuracy(quantize.apply(trained, recipe, [spirals(500, s)[0] for s in range(20, 24)]))
    print(f"{recipe.kind}: {before:.1%} -> {after:.1%}")
    assert before > 0.97 and after >= before - 0.01
