# SPDX-License-Identifier: Apache-2.0
"""Whole programs from session to file: freezing, names, dynamic sizes, all obstacles at once."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

import converter
import host_engine as tf
import runtime
from converter import ConversionError, convert_session, from_session, optimize
from host_engine.framework.build import build

RNG = np.random.default_rng(11)


@pytest.fixture(autouse=True)
def fresh_graph():
    tf.reset_default_graph()


def variable(*shape, name="w"):
    return tf.Variable(RNG.standard_normal(shape).astype(np.float32) * 0.1, name=name)


def started():
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    return session


def litert(data, **inputs):
    return Interpreter(model_content=data).get_signature_runner()(**inputs)


def mnist_net():
    """The ConvNet of the "Deep MNIST" tutorial; returns (x, keep_prob, scores)."""
    x = tf.placeholder(tf.float32, [None, 784], name="x")
    keep_prob = tf.placeholder(tf.float32, name="keep_prob")
    image = tf.reshape(x, [-1, 28, 28, 1])
    size = 1
    for i, channels in enumerate((8, 16)):
        weights, bias = variable(5, 5, size, channels, name=f"conv{i}"), variable(channels)
        image = tf.nn.conv2d(image, weights, strides=[1, 1, 1, 1], padding="SAME")
        image = tf.nn.max_pool(tf.nn.relu(image + bias), [1, 2, 2, 1], [1, 2, 2, 1], "SAME")
        size = channels
    flat = tf.reshape(image, [-1, 7 * 7 * 16])
    hidden = tf.nn.relu(tf.matmul(flat, variable(7 * 7 * 16, 32, name="dense")) + variable(32))
    kept = tf.nn.dropout(hidden, keep_prob)
    return x, keep_prob, tf.add(tf.matmul(kept, variable(32, 10)), variable(10), name="scores")


def test_mnist_net_with_dropout():
    x, keep_prob, scores = mnist_net()
    session = started()
    data = convert_session(session, [x], [scores], constants={keep_prob: 1.0})
    model = converter.read_tflite(data)
    assert [node.op for node in model.main.nodes] == [
        *["RESHAPE", "CONV_2D", "MAX_POOL_2D", "CONV_2D", "MAX_POOL_2D", "RESHAPE"],
        *["FULLY_CONNECTED", "FULLY_CONNECTED"],
    ]
    digits = RNG.random((1, 784), np.float32)
    expected = session.run(scores, {x: digits, keep_prob: 1.0})
    np.testing.assert_allclose(litert(data, x=digits)["scores"], expected, atol=1e-5)
    weights = [node.inputs[1].name for node in model.main.nodes if node.op == "CONV_2D"]
    assert weights == ["conv0", "conv1"]


def test_the_file_takes_any_batch():
    x, keep_prob, scores = mnist_net()
    session = started()
    data = convert_session(session, [x], [scores], constants={keep_prob: 1.0})
    interpreter = Interpreter(model_content=data)
    (detail,) = interpreter.get_input_details()
    assert detail["shape_signature"].tolist() == [-1, 784]
    interpreter.resize_tensor_input(detail["index"], [3, 784])
    interpreter.allocate_tensors()
    digits = RNG.random((3, 784), np.float32)
    interpreter.set_tensor(detail["index"], digits)
    interpreter.invoke()
    (out,) = interpreter.get_output_details()
    assert out["shape_signature"].tolist() == [-1, 10]
    expected = session.run(scores, {x: digits, keep_prob: 1.0})
    np.testing.assert_allclose(interpreter.get_tensor(out["index"]), expected, atol=1e-5)


def test_input_shapes_fix_the_batch():
    x, keep_prob, scores = mnist_net()
    model = from_session(
        started(), [x], [scores], input_shapes={"x:0": (4, 784)}, constants={keep_prob: 1.0}
    )
    assert model.main.inputs[0].shape == (4, 784)
    assert model.main.outputs[0].shape == (4, 10)
    assert all(value.shape_signature is None for value in model.main.values())


def test_dropout_that_drops_is_an_obstacle():
    x, keep_prob, scores = mnist_net()
    with pytest.raises(ConversionError, match=r"RandomUniform at node '.*dropout"):
        from_session(started(), [x], [scores], constants={keep_prob: 0.5})


def test_a_forgotten_placeholder_is_named():
    x, _, scores = mnist_net()
    with pytest.raises(
        ConversionError, match=r"Placeholder at node 'keep_prob': it is not among the inputs"
    ):
        from_session(started(), [x], [scores])


def no_form(x, name=None):
    """An op that TFLite cannot compute."""
    return build("EluGrad", [x, x], name=name)


def test_every_obstacle_is_listed():
    x = tf.placeholder(tf.float32, [2, 3], name="x")
    left = no_form(x, "left")
    other = tf.placeholder(tf.float32, [2, 3], name="other")
    right = no_form(x, "right")
    y = left + right + other
    with pytest.raises(ConversionError) as error:
        from_session(started(), [x], [y])
    message = str(error.value)
    assert "3 obstacles" in message
    for place in ("EluGrad at node 'left' ([2,3]", "EluGrad at node 'right'", "node 'other'"):
        assert place in message


def test_uninitialized_variables_are_named():
    x = tf.placeholder(tf.float32, [1, 3], name="x")
    y = tf.matmul(x, variable(3, 2, name="weights"))
    with pytest.raises(ConversionError, match=r"weights.*initialize or restore"):
        from_session(tf.Session(), [x], [y])


def test_batch_norm_folds_into_the_convolution():
    x = tf.placeholder(tf.float32, [1, 8, 8, 3], name="x")
    y = tf.nn.conv2d(x, variable(3, 3, 3, 4), [1, 2, 2, 1], "SAME")
    scale, offset = variable(4, name="scale"), variable(4, name="offset")
    mean, variance = variable(4, name="mean"), tf.Variable(np.ones(4, np.float32) * 0.5)
    y, _, _ = tf.nn.fused_batch_norm(y, scale, offset, mean, variance, is_training=False)
    y = tf.nn.relu6(y, name="y")
    session = started()
    model = from_session(session, [x], [y])
    optimize(model, check=True)
    assert [node.op for node in model.main.nodes] == ["CONV_2D"]
    image = RNG.standard_normal((1, 8, 8, 3)).astype(np.float32)
    got = litert(converter.write_tflite(model), x=image)["y"]
    np.testing.assert_allclose(got, session.run(y, {x: image}), atol=1e-6)


def test_names_and_order_of_several_ends():
    a = tf.placeholder(tf.float32, [2], name="first")
    b = tf.placeholder(tf.int32, [2], name="scope/second")
    total = tf.add(a, tf.cast(b, tf.float32), name="total")
    top = tf.nn.top_k(a, 1, name="top")
    data = convert_session(started(), [b, a], [total, top[1]])
    interpreter = Interpreter(model_content=data)
    signature = interpreter.get_signature_list()["serving_default"]
    assert set(signature["inputs"]) == {"first", "scope/second"}
    assert set(signature["outputs"]) == {"total", "top:1"}
    names = [d["name"] for d in interpreter.get_input_details()]
    assert names == ["scope/second", "first"]
    one = {"first": np.array([1, 9], np.float32), "scope/second": np.array([5, 6], np.int32)}
    got = litert(data, **one)
    assert got["total"].tolist() == [6, 15]
    assert got["top:1"].tolist() == [1]


def test_an_input_or_constant_as_output_is_made_by_a_node():
    x = tf.placeholder(tf.float32, [2, 3], name="x")
    same, fixed = tf.identity(x, name="same"), tf.constant([1.0, 2.0], name="fixed")
    data = convert_session(started(), [x], [same, fixed])
    image = RNG.standard_normal((2, 3)).astype(np.float32)
    got = litert(data, x=image)
    np.testing.assert_array_equal(got["same"], image)
    assert got["fixed"].tolist() == [1.0, 2.0]


def test_what_depends_on_no_input_is_frozen():
    x = tf.placeholder(tf.float32, [2, 3], name="x")
    weights = tf.nn.softmax(no_form(variable(3, 2)))  # which need not have one
    y = tf.matmul(x, weights, name="y")
    session = started()
    model = from_session(session, [x], [y])
    assert [node.op for node in model.main.nodes] == ["FULLY_CONNECTED"]
    np.testing.assert_allclose(model.main.nodes[0].inputs[1].data.T, session.run(weights))


def test_the_graph_is_cut_at_the_inputs():
    x = tf.placeholder(tf.float32, [2, 3], name="x")
    middle = no_form(x, "middle")
    model = from_session(started(), [middle], [tf.exp(middle, name="y")])
    assert [node.op for node in model.main.nodes] == ["EXP"]
    assert model.main.inputs[0].name == "middle"


def test_double_precision_is_computed_in_single():
    x = tf.placeholder(tf.float64, [2], name="x")
    y = tf.exp(x * tf.constant(np.array([0.5, 2.0])), name="y")
    model = from_session(started(), [x], [y])
    assert [v.dtype for v in (*model.main.inputs, *model.main.outputs)] == ["FLOAT64"] * 2
    optimize(model)
    content = converter.write_tflite(model)
    value = np.array([0.3, -0.7])
    found = Interpreter(model_content=content).get_signature_runner()(x=value)["y"]
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, np.exp(value * [0.5, 2.0]), rtol=1e-6)
    again = runtime.Interpreter(model_content=content).get_signature_runner()(x=value)["y"]
    np.testing.assert_allclose(again, found, rtol=1e-6)


def test_complex_numbers_are_no_output():
    x = tf.placeholder(tf.float32, [2], name="x")
    with pytest.raises(ConversionError, match=r"'z' holds complex numbers.*tf\.math\.real"):
        from_session(started(), [x], [tf.cast(x, tf.complex64, name="z")])


def test_wrong_arguments_get_a_sentence():
    x = tf.placeholder(tf.float32, [2], name="x")
    y = tf.exp(x)
    session = started()
    with pytest.raises(ConversionError, match="'nothing:0' is no tensor of the session's graph"):
        from_session(session, ["nothing:0"], [y])
    with pytest.raises(ConversionError, match="outputs is empty"):
        from_session(session, [x], [])
    with pytest.raises(ConversionError, match="input_shapes names 'Exp:0', which is not an input"):
        from_session(session, [x], [y], input_shapes={y: (2,)})
    with pytest.raises(ConversionError, match="'z' has no known rank"):
        z = tf.placeholder(tf.float32, name="z")
        from_session(session, [z], [tf.exp(z)])


def test_nothing_is_written_when_conversion_fails(tmp_path):
    x = tf.placeholder(tf.float32, [2], name="x")
    with pytest.raises(ConversionError):
        convert_session(started(), [x], [no_form(x)], tmp_path / "m.tflite")
    assert not list(tmp_path.iterdir())
