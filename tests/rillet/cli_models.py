# SPDX-License-Identifier: Apache-2.0
"""Small model files for the command line, and a way to call it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import converter
from converter.ir import Graph, Model, Signature, Value


def dense_model(features: int = 4, classes: int = 3) -> Model:
    """x [1, features] -> dense -> y [1, classes], with a signature a -> scores."""
    rng = np.random.default_rng(5)
    graph = Graph()
    x = graph.add_input("x", "FLOAT32", [1, features])
    y = Value("y", "FLOAT32", [1, classes])
    weights = Value.constant("w", rng.standard_normal((classes, features)).astype(np.float32))
    bias = Value.constant("b", rng.standard_normal(classes).astype(np.float32))
    graph.add_node("FULLY_CONNECTED", [x, weights, bias], [y])
    graph.outputs = [y]
    return signed(graph, {"a": 0}, {"scores": 0})


def image_model(channels: int = 3) -> Model:
    """[1, 8, 8, channels] -> convolution with stride 8 -> [1, 1, 1, 5]."""
    rng = np.random.default_rng(6)
    graph = Graph()
    x = graph.add_input("image", "FLOAT32", [1, 8, 8, channels])
    y = Value("y", "FLOAT32", [1, 1, 1, 5])
    weights = rng.standard_normal((5, 8, 8, channels)).astype(np.float32)
    bias = Value.constant("b", np.zeros(5, np.float32))
    options = {"padding": "VALID", "stride_w": 8, "stride_h": 8}
    graph.add_node("CONV_2D", [x, Value.constant("w", weights), bias], [y], options)
    graph.outputs = [y]
    return signed(graph, {"image": 0}, {"y": 0})


def signed(graph: Graph, inputs: dict[str, int], outputs: dict[str, int]) -> Model:
    model = Model([graph])
    model.signatures.append(Signature("serving_default", inputs, outputs))
    return model


def written(model: Model, path: Path) -> str:
    converter.write_tflite(model, path)
    return str(path)
