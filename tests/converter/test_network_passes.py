# SPDX-License-Identifier: Apache-2.0
"""The default passes over networks of the common kinds: what is left of their transposes."""

from __future__ import annotations

from collections import Counter

import network_graphs
import numpy as np
import onnx
import pytest
from graph_building import run_litert

import converter
import runtime

# Transposes left: the input's, which keeps its layout, and of each attention those that bring heads
# before tokens (q, k, v) and back, which products of matrices need.
LEFT = {
    "resnet": 1,
    "mobilenet": 1,
    "squeeze_excite": 1,
    "unet": 1,
    "vit": 1 + 2 * 4,
}


def optimized(kind):
    source = getattr(network_graphs, kind)()
    model = converter.from_onnx(source)
    converter.optimize(model, check=True)
    return source, model, Counter(node.op for node in model.main.nodes)


@pytest.mark.parametrize("kind", LEFT)
def test_few_transposes_are_left(kind):
    source, model, ops = optimized(kind)
    assert ops["TRANSPOSE"] == LEFT[kind]
    first = next(node for node in model.main.nodes if node.op == "TRANSPOSE")
    assert first.inputs[0] is model.main.inputs[0]
    assert not converter.optimize(model, check=True)
    data = converter.write_tflite(model)
    assert all(np.isfinite(y).all() for y in run_litert(data))
    for batch in (1, 3) if model.main.inputs[0].shape_signature else (1,):
        x = np.random.default_rng(batch).standard_normal((batch, *model.main.inputs[0].shape[1:]))
        x = x.astype(np.float32)
        got = runtime.Interpreter(model_content=data).get_signature_runner()(x=x)
        (wanted,) = onnx.reference.ReferenceEvaluator(source).run(None, {"x": x})
        (found,) = got.values()
        assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()


def test_a_residual_network_is_convolutions_and_sums():
    _, _, ops = optimized("resnet")
    padding = {"PAD", "PADV2"}
    rest = {"CONV_2D", "MAX_POOL_2D", "ADD", "MEAN", "RESHAPE", "FULLY_CONNECTED", "TRANSPOSE"}
    assert set(ops) - padding == rest
    assert ops["CONV_2D"] == 9 and ops["ADD"] == 3


def test_an_inverted_residual_network_has_its_activations_back():
    _, _, ops = optimized("mobilenet")
    assert ops["HARD_SWISH"] == 3 and ops["RELU_0_TO_1"] == 3 and ops["DEPTHWISE_CONV_2D"] == 3
    assert not ops["DIV"] and not ops["MINIMUM"] and ops["MUL"] == 3  # the gates


def test_a_transformer_has_gelu_and_dense_layers():
    _, _, ops = optimized("vit")
    assert ops["GELU"] == 2 and ops["BATCH_MATMUL"] == 4 and ops["FULLY_CONNECTED"] == 13
    assert not ops["SELECT_V2"] and not ops["EXP"]  # of the error function
