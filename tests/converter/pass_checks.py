# SPDX-License-Identifier: Apache-2.0
"""How passes are checked: what they did, that they held still, that outputs stayed."""

from __future__ import annotations

import numpy as np
from graph_building import conv, normal, run

import converter
from converter import ir
from converter.passes import optimize
from converter.passes.dead_code import remove_dead_code

RNG = np.random.default_rng(7)
INT8 = ir.Quantization(0.05, 3)


def ops(model):
    return [node.op for node in model.main.nodes]


def fires(model, *passes):
    """Run passes to a fixpoint under the verifier; outputs must not move. True if any fired."""
    before = run(model)
    changed = optimize(model, passes=(*passes, remove_dead_code), check=True)
    after = run(model)
    for a, b in zip(before, after, strict=True):
        assert a.shape == b.shape
        scale = float(np.abs(a).max()) or 1.0
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-5 * scale)
    return changed


def holds(model, *passes):
    """Passes say they changed nothing, and the bytes agree."""
    before = converter.write_tflite(model)
    changed = [p(model.main) for p in passes]
    return not any(changed) and converter.write_tflite(model) == before


def linear(b, kind, activation="NONE"):
    """An op with weights whose result has 4 channels."""
    if kind == "CONV_2D":
        x, w = b.input((2, 5, 5, 3)), normal(RNG, 4, 3, 3, 3)
        return conv(b, x, w, normal(RNG, 4), activation=activation)
    if kind == "DEPTHWISE_CONV_2D":
        x, w = b.input((2, 5, 5, 2)), normal(RNG, 1, 3, 3, 4)
        window = {"padding": "SAME", "stride_w": 1, "stride_h": 1, "depth_multiplier": 2}
        options = {**window, "fused_activation_function": activation}
        return b.op("DEPTHWISE_CONV_2D", [x, w, normal(RNG, 4)], (2, 5, 5, 4), **options)
    x, w = b.input((3, 6)), normal(RNG, 4, 6)
    return b.op("FULLY_CONNECTED", [x, w], (3, 4), fused_activation_function=activation)


LINEAR = ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"]


def then(b, op, x, constant, swap=False, **options):
    inputs = [constant, x] if swap else [x, constant]
    return b.op(op, inputs, x.shape, **options)
