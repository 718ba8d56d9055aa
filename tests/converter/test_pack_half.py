# SPDX-License-Identifier: Apache-2.0
"""float16 weights and weights that are used twice: what the file holds of them."""

from __future__ import annotations

import numpy as np
import pytest
from graph_building import Builder, conv, normal, run
from pass_checks import RNG, fires, holds, ops

import converter
from converter.passes.half import pack_half


def two_layers(weights, other=None):
    b = Builder()
    x = b.input((1, 6, 6, 8))
    bias = np.zeros(8, np.float32)
    y = conv(b, x, b.constant(weights), bias)
    return b.model(conv(b, y, b.constant(weights if other is None else other), bias))


def halves(*shape):
    return normal(RNG, *shape).astype(np.float16).astype(np.float32)


def test_float16_weights_are_stored_as_such():
    weights = halves(8, 3, 3, 8)
    model = two_layers(weights)
    before, size = run(model), len(converter.write_tflite(model))
    assert pack_half(model.main)
    assert not pack_half(model.main)
    np.testing.assert_array_equal(run(model), before)
    assert sorted(ops(model)) == ["CONV_2D", "CONV_2D", *["DEQUANTIZE"] * (len(ops(model)) - 2)]
    assert len(converter.write_tflite(model)) < size - weights.nbytes // 2 + 600


def test_passes_leave_them_packed():
    model = two_layers(halves(8, 3, 3, 8), halves(8, 3, 3, 8))
    pack_half(model.main)
    fires(model, converter.passes.fold_constants)
    assert ops(model).count("DEQUANTIZE") == 2


@pytest.mark.parametrize(
    "weights",
    [normal(RNG, 8, 3, 3, 8), np.full((8, 3, 3, 8), 70000.0), np.full((8, 3, 3, 8), 1e-9)],
    ids=["fine", "large", "small"],
)
def test_other_weights_stay(weights):
    assert holds(two_layers(weights.astype(np.float32)), pack_half)


def test_few_stay():
    assert holds(two_layers(halves(8, 1, 1, 8)), pack_half)


def test_equal_constants_are_in_the_file_once():
    weights = normal(RNG, 8, 3, 3, 8)
    shared = len(converter.write_tflite(two_layers(weights, weights.copy())))
    assert shared < len(converter.write_tflite(two_layers(weights, weights + 1))) - weights.nbytes
