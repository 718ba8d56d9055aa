# SPDX-License-Identifier: Apache-2.0
"""tf.gradients: structure, kinks and errors. The numbers were computed by TensorFlow 2.21 (v1)."""

import numpy as np
import pytest

import host_engine as tf

POINTS = [-2.0, -0.5, 0.0, 0.5, 6.0, 7.0]


def derivative(function, at=POINTS):
    x = tf.placeholder(tf.float32, [None])
    (grad,) = tf.gradients(function(x), x)
    with tf.Session() as session:
        return session.run(grad, {x: at})


KINKS = {
    "relu": (tf.nn.relu, [0, 0, 0, 1, 1, 1]),
    "relu6": (tf.nn.relu6, [0, 0, 0, 1, 0, 0]),
    "elu": (tf.nn.elu, [0.13533527, 0.60653067, 1, 1, 1, 1]),
    "leaky_relu": (tf.nn.leaky_relu, [0.2, 0.2, 0.2, 1, 1, 1]),
    "abs": (tf.abs, [-1, -1, 0, 1, 1, 1]),
    "sign": (tf.sign, [0] * 6),
    "sqrt": (tf.sqrt, [np.nan, np.nan, np.inf, 0.70710677, 0.20412414, 0.18898225]),
    "pow": (lambda x: tf.pow(x, 2.0), [-4, -1, 0, 1, 12, 14]),
    "maximum": (lambda x: tf.maximum(x, 0.5), [0, 0, 0, 1, 1, 1]),
    "minimum": (lambda x: tf.minimum(0.5, x), [1, 1, 1, 0, 0, 0]),
    "clip": (lambda x: tf.clip_by_value(x, 0.0, 6.0), [0, 0, 1, 1, 1, 0]),
    "reduce_max_shares_ties": (
        lambda x: tf.reduce_max(tf.concat([x, x[5:]], 0)),
        [0, 0, 0, 0, 0, 1],
    ),
    "prod_with_a_zero": (tf.reduce_prod, [0, 0, 21, 0, 0, 0]),
    "softplus": (
        tf.nn.softplus,
        [0.11920292, 0.37754068, 0.5, 0.62245935, 0.99752736, 0.99908894],
    ),
    "l2_normalize": (
        lambda x: tf.nn.l2_normalize(x, 0),
        [0.13168623, 0.11219902, 0.10570329, 0.09920755, 0.02775449, 0.01476302],
    ),
    "moments": (
        lambda x: tf.nn.moments(tf.reshape(x, [2, 3]), [0])[1],
        [-1.25, -3.25, -3.5, 1.25, 3.25, 3.5],
    ),
    "clip_by_norm": (
        lambda x: tf.clip_by_norm(x, 2.0),
        [0.26337245, 0.22439803, 0.21140657, 0.19841512, 0.05550896, 0.02952603],
    ),
    "clip_by_global_norm": (
        lambda x: tf.clip_by_global_norm([x, x * 2], 2.0)[0][1],
        [0.23556745, 0.2007077, 0.18908778, 0.17746785, 0.04964875, 0.02640891],
    ),
    "logsumexp": (
        tf.reduce_logsumexp,
        [9.0016e-05, 0.00040342522, 0.00066513574, 0.0010966235, 0.26833493, 0.7294099],
    ),
    "cumsum": (lambda x: tf.cumsum(x, exclusive=True, reverse=True), [0, 1, 2, 3, 4, 5]),
    "softmax_cross_entropy": (
        lambda x: tf.nn.softmax_cross_entropy_with_logits(
            labels=[[0.2, 0.3, 0.5], [0, 0, 1.0]], logits=tf.reshape(x, [2, 3]) * 100
        ),
        [-20, -30, 50, 0, 0, 0],
    ),
    "sigmoid_cross_entropy": (
        lambda x: tf.nn.sigmoid_cross_entropy_with_logits(
            labels=[1.0, 0, 0.5, 1, 0, 0.2], logits=x
        ),
        [-0.88079715, 0.37754068, 0, -0.3775407, 0.99752736, 0.79908895],
    ),
}


@pytest.mark.parametrize("name", KINKS)
def test_values_and_kinks(name):
    function, expected = KINKS[name]
    np.testing.assert_allclose(derivative(function), expected, rtol=2e-5, atol=1e-6)


def test_gradients_are_named_operations():
    x = tf.placeholder(tf.float32, name="x")
    (grad,) = tf.gradients(tf.square(x, name="y"), x)
    assert grad.op.name.startswith("gradients/y_grad/")
    assert tf.get_default_graph().get_operation_by_name("gradients/grad_ys_0")
    (again,) = tf.gradients(tf.square(x), x)
    assert again.op.name.startswith("gradients_1/")


def test_sum_over_ys_and_their_weights():
    x = tf.placeholder(tf.float32, [2])
    y, z = x * 2, x * x
    with tf.Session() as session:
        feed = {x: [1.0, 3.0]}
        assert session.run(tf.gradients([y, z], x), feed)[0].tolist() == [4, 8]
        weighed = tf.gradients([y, z], [x], grad_ys=[[1.0, 0.0], [0.0, 1.0]])
        assert session.run(weighed, feed)[0].tolist() == [2, 6]
        assert session.run(tf.gradients(z, [x, x]), feed)[1].tolist() == [2, 6]
        assert session.run(tf.gradients(x, x), feed)[0].tolist() == [1, 1]
    with pytest.raises(ValueError, match="Passed 1 grad_ys for 2 ys"):
        tf.gradients([y, z], x, grad_ys=[1.0])


def test_where_no_gradient_flows():
    x, other = tf.placeholder(tf.float32, [2]), tf.placeholder(tf.float32)
    unconnected = [
        tf.stop_gradient(x),
        tf.to_float(tf.cast(x, tf.int32)),
        tf.to_float(tf.argmax(x, 0)),
        tf.to_float(x > 0.0),
        tf.zeros_like(x),
    ]
    for y in unconnected:
        assert tf.gradients(y, x) == [None]
    assert tf.gradients(x * 2, other) == [None]
    v = tf.Variable(1.0)
    assert tf.gradients(v * 2, [v, other])[1] is None


def test_stop_gradients_are_constants():
    x = tf.placeholder(tf.float32)
    y = x * x
    (grad,) = tf.gradients(y * x, x, stop_gradients=[y])
    with tf.Session() as session:
        assert session.run(grad, {x: 3.0}) == 9
    assert tf.gradients(y, x, stop_gradients=[x]) == [None]


def test_gradients_of_gradients():
    x = tf.placeholder(tf.float32)
    y = tf.sin(x) * tf.exp(x)
    for _ in range(2):
        (y,) = tf.gradients(y, x)
    with tf.Session() as session:
        value = session.run(y, {x: 0.3})
    assert value == pytest.approx(2 * np.cos(0.3) * np.exp(0.3), rel=1e-5)


def test_second_derivatives_through_layers():
    """The Hessian-vector product of a small net equals a difference of its gradients."""
    rng = np.random.default_rng(0)
    x = tf.constant(rng.standard_normal((2, 6, 6, 2)))
    w = tf.placeholder(tf.float64, [3, 3, 2, 3])
    h = tf.nn.max_pool(tf.tanh(tf.nn.conv2d(x, w, [1] * 4, "SAME")), 2, 2, "SAME")
    logits = tf.reshape(tf.nn.avg_pool(h, 3, 3, "VALID"), [2, 3])
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=[0, 2], logits=logits)
    (grad,) = tf.gradients(loss, w)
    v = rng.standard_normal((3, 3, 2, 3))
    (product,) = tf.gradients(grad, w, grad_ys=[v])
    at = rng.standard_normal((3, 3, 2, 3))
    step = 1e-5
    with tf.Session() as session:
        up, down = (session.run(grad, {w: at + s * step * v}) for s in (1, -1))
        np.testing.assert_allclose(
            session.run(product, {w: at}), (up - down) / (2 * step), rtol=1e-5, atol=1e-8
        )


def test_an_operation_without_gradient_is_named():
    x = tf.placeholder(tf.float32, [1, 2, 2, 1])
    y = tf.nn.fused_batch_norm(x, [1.0], [0.0])[0]
    (grad,) = tf.gradients(y, x)
    with pytest.raises(LookupError, match=r"\(op type: FusedBatchNormGrad\)"):
        tf.gradients(grad, x)


def test_only_floating_tensors_have_gradients():
    x = tf.placeholder(tf.int32)
    with pytest.raises(TypeError, match="Gradients of tensors must be floating"):
        tf.gradients(x * 2, x)


def test_broadcasting_with_sizes_known_only_when_running():
    x, y = tf.placeholder(tf.float32, [None, None]), tf.placeholder(tf.float32, [None, None])
    grads = tf.gradients(x * y, [x, y])
    with tf.Session() as session:
        dx, dy = session.run(grads, {x: np.ones((2, 1)), y: np.full((1, 3), 2.0)})
    assert dx.tolist() == [[6], [6]] and dy.tolist() == [[2, 2, 2]]


def test_labels_get_gradients_only_in_the_second_version():
    labels, logits = tf.placeholder(tf.float32, [1, 2]), tf.placeholder(tf.float32, [1, 2])
    old = tf.nn.softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    new = tf.nn.softmax_cross_entropy_with_logits_v2(labels=labels, logits=logits)
    assert tf.gradients(old, labels) == [None]
    assert tf.gradients(new, labels)[0] is not None


def test_what_lies_above_an_inner_tensor_does_not_matter():
    x = tf.placeholder(tf.float32, [1, 2, 2, 1])
    (inner,) = tf.gradients(tf.nn.fused_batch_norm(x, [1.0], [0.0])[0], x)
    before = len(tf.get_default_graph().get_operations())
    (grad,) = tf.gradients(inner * 2, inner)
    made = tf.get_default_graph().get_operations()[before:]
    assert grad is not None and not any("FusedBatchNorm" in op.name for op in made)
