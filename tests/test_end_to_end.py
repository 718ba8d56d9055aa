# SPDX-License-Identifier: Apache-2.0
"""The whole path on one dense layer: train, convert, quantize, run, compare with LiteRT."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter as LiteRT

import converter
import host_engine as tf
import quantize
import runtime
from converter.ir import Model

FEATURES, CLASSES, SAMPLES = 12, 4, 400


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    """Points around one centre per class: x [SAMPLES, FEATURES] float32, y [SAMPLES] int64."""
    rng = np.random.default_rng(7)
    centres = rng.normal(size=(CLASSES, FEATURES)) * 1.5
    y = rng.integers(0, CLASSES, SAMPLES)
    x = centres[y] + rng.normal(size=(SAMPLES, FEATURES))
    return x.astype(np.float32), y


@pytest.fixture(scope="module")
def trained(data: tuple[np.ndarray, np.ndarray]) -> Model:
    """A dense softmax classifier, trained by gradient descent and frozen."""
    x_train, y_train = data
    with tf.Graph().as_default(), tf.Session() as sess:
        x = tf.placeholder(tf.float32, [None, FEATURES], name="x")
        labels = tf.placeholder(tf.float32, [None, CLASSES], name="labels")
        weights = tf.Variable(tf.zeros([FEATURES, CLASSES]), name="weights")
        bias = tf.Variable(tf.zeros([CLASSES]), name="bias")
        logits = tf.matmul(x, weights) + bias
        probabilities = tf.nn.softmax(logits, name="probabilities")
        loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels=labels, logits=logits))
        step = tf.train.GradientDescentOptimizer(0.5).minimize(loss)
        sess.run(tf.global_variables_initializer())
        for _ in range(100):
            sess.run(step, {x: x_train, labels: np.eye(CLASSES, dtype=np.float32)[y_train]})
        model = converter.from_session(sess, inputs=[x], outputs=[probabilities])
    converter.optimize(model)
    return model


def run_ours(content: bytes, rows: np.ndarray) -> np.ndarray:
    return _run(runtime.Interpreter(model_content=content), rows)


def run_litert(content: bytes, rows: np.ndarray) -> np.ndarray:
    return _run(LiteRT(model_content=content), rows)


def _run(interpreter, rows: np.ndarray) -> np.ndarray:  # type: ignore[no-untyped-def]
    index = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(index, rows.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(index, rows)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def test_float_model_is_one_dense_layer_and_a_softmax(trained: Model) -> None:
    assert [node.op for node in trained.graphs[0].nodes] == ["FULLY_CONNECTED", "SOFTMAX"]


def test_float_model_agrees_with_litert(trained: Model, data, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    x, y = data
    path = tmp_path / "dense.tflite"
    content = converter.write_tflite(trained, path)
    assert path.read_bytes() == content
    ours, theirs = run_ours(content, x), run_litert(content, x)
    assert np.abs(ours - theirs).max() <= 1e-5
    assert (ours.argmax(1) == y).mean() > 0.9


def test_int8_model_has_the_bits_of_litert(trained: Model, data) -> None:  # type: ignore[no-untyped-def]
    x, y = data
    int8 = quantize.static_int8(trained, [row[None] for row in x[:100]])
    content = converter.write_tflite(int8)
    details = runtime.Interpreter(model_content=content).get_input_details()[0]
    scale, zero_point = details["quantization"]
    rows = np.clip(np.rint(x / scale) + zero_point, -128, 127).astype(np.int8)
    ours, theirs = run_ours(content, rows), run_litert(content, rows)
    assert (ours != theirs).sum() == 0
    assert (ours.argmax(1) == y).mean() > 0.9


def test_signature_keeps_the_names_of_the_graph(trained: Model) -> None:
    interpreter = runtime.Interpreter(model_content=converter.write_tflite(trained))
    assert interpreter.get_signature_list() == {
        "serving_default": {"inputs": ["x"], "outputs": ["probabilities"]}
    }
    runner = interpreter.get_signature_runner()
    result = runner(x=np.zeros((1, FEATURES), np.float32))
    assert result["probabilities"].shape == (1, CLASSES)
