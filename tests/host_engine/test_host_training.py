# SPDX-License-Identifier: Apache-2.0
"""Optimizers, schedules and whole training programs. Trajectories are TensorFlow's."""

import subprocess
import sys

import numpy as np
import pytest

import host_engine as tf

TRAJECTORIES = {
    "sgd": (
        lambda: tf.train.GradientDescentOptimizer(0.1),
        [[0.8, -1.8], [0.64, -1.62], [0.512, -1.458], [0.4096, -1.3122]],
        ["x:0"],
    ),
    "momentum": (
        lambda: tf.train.MomentumOptimizer(0.1, 0.9),
        [[0.8, -1.8], [0.46, -1.44], [0.062000006, -0.97199994], [-0.3086, -0.45359993]],
        ["x:0", "x/Momentum:0"],
    ),
    "nesterov": (
        lambda: tf.train.MomentumOptimizer(0.1, 0.9, use_nesterov=True),
        [[0.62, -1.62], [0.2224, -1.1502], [-0.10835198, -0.654642], [-0.324823, -0.18777582]],
        ["x:0", "x/Momentum:0"],
    ),
    "adam": (
        lambda: tf.train.AdamOptimizer(0.1),
        [[0.9, -1.9], [0.8004126, -1.8001668], [0.7015873, -1.7006245], [0.60394037, -1.6015062]],
        ["x:0", "beta1_power:0", "beta2_power:0", "x/Adam:0", "x/Adam_1:0"],
    ),
    "rmsprop": (
        lambda: tf.train.RMSPropOptimizer(0.1),
        [
            [0.8245884, -1.8245884],
            [0.6872513, -1.6757559],
            [0.57452303, -1.5446386],
            [0.47975346, -1.4264717],
        ],
        ["x:0", "x/RMSProp:0", "x/RMSProp_1:0"],
    ),
    "adagrad": (
        lambda: tf.train.AdagradOptimizer(0.1),
        [
            [0.90122706, -1.901227],
            [0.8347373, -1.8327767],
            [0.7822992, -1.7777007],
            [0.7381936, -1.7305816],
        ],
        ["x:0", "x/Adagrad:0"],
    ),
}


@pytest.mark.parametrize("name", TRAJECTORIES)
def test_trajectories_and_slots(name):
    make, expected, variables = TRAJECTORIES[name]
    x = tf.Variable([1.0, -2.0], name="x")
    step = make().minimize(tf.reduce_sum(tf.square(x) * [1.0, 0.5]))
    assert [v.name for v in tf.global_variables()] == variables
    assert tf.trainable_variables() == [x]
    seen = []
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for _ in expected:
            assert session.run(step) is None
            seen.append(session.run(x))
    np.testing.assert_allclose(seen, expected, rtol=2e-6)


def test_slots_and_powers():
    x = tf.Variable([1.0])
    optimizer = tf.train.AdamOptimizer()
    optimizer.minimize(x * x)
    assert optimizer.get_slot_names() == ["m", "v"]
    assert optimizer.get_slot(x, "m").op.name == "Variable/Adam"
    assert optimizer.get_slot(x, "nothing") is None
    assert len(optimizer.variables()) == 4


def test_global_step_counts_after_the_update():
    x, step = tf.Variable(1.0), tf.Variable(0, trainable=False)
    rate = tf.train.exponential_decay(0.1, step, 1, 0.5)
    train = tf.train.GradientDescentOptimizer(rate).minimize(x * 1.0, global_step=step)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(train)
        session.run(train)
        assert session.run(step) == 2
        assert session.run(x) == pytest.approx(1 - 0.1 - 0.05)


def test_exponential_decay():
    with tf.Session() as session:
        rate = tf.train.exponential_decay(0.1, 150, 100, 0.96, staircase=True)
        assert session.run(rate) == pytest.approx(0.096)
        rate = tf.train.exponential_decay(0.1, 150, 100, 0.96)
        assert session.run(rate) == pytest.approx(0.1 * 0.96**1.5)


def test_global_step_variable():
    assert tf.train.get_global_step() is None
    step = tf.train.get_or_create_global_step()
    assert step.name == "global_step:0" and step.dtype == tf.int64
    assert tf.train.get_global_step() is step
    with pytest.raises(ValueError, match='"global_step" already exists'):
        tf.train.create_global_step()


def test_compute_clip_and_apply():
    x, y = tf.Variable([3.0, 4.0]), tf.Variable(1.0)
    optimizer = tf.train.GradientDescentOptimizer(1.0)
    pairs = optimizer.compute_gradients(tf.reduce_sum(x * x) / 2)
    assert [v for _, v in pairs] == [x, y] and pairs[1][0] is None
    clipped = [(tf.clip_by_norm(g, 1.0), v) for g, v in pairs if g is not None]
    step = optimizer.apply_gradients(clipped)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(step)
        np.testing.assert_allclose(session.run(x), [2.4, 3.2], rtol=1e-6)


def test_var_list_limits_what_is_trained():
    x, y = tf.Variable(1.0), tf.Variable(1.0)
    step = tf.train.GradientDescentOptimizer(1.0).minimize(x * y, var_list=[y])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(step)
        assert session.run([x, y]) == [1.0, 0.0]


def test_what_cannot_be_minimized():
    optimizer = tf.train.GradientDescentOptimizer(0.1)
    with pytest.raises(ValueError, match="No variables to optimize"):
        optimizer.minimize(tf.constant(1.0))
    tf.Variable(1.0)
    with pytest.raises(ValueError, match="No gradients provided for any variable, check your gra"):
        optimizer.minimize(tf.constant(1.0))
    with pytest.raises(TypeError, match=r"Argument is not a tf\.Variable"):
        optimizer.minimize(tf.constant(1.0), var_list=[tf.constant(1.0)])


def test_linear_regression_finds_the_line():
    x = tf.placeholder(shape=[None], dtype=tf.float32, name="x")
    y_train = tf.placeholder(shape=[None], dtype=tf.float32)
    w = tf.Variable(tf.random_normal([1]))
    b = tf.Variable(tf.random_normal([1]))
    loss = tf.reduce_mean(tf.square(w * x + b - y_train))
    train = tf.train.GradientDescentOptimizer(0.5).minimize(loss)
    data = np.linspace(0, 1, 100)
    with tf.Session() as session:
        session.run(tf.initialize_all_variables())
        for _ in range(300):
            session.run(train, feed_dict={x: data, y_train: 0.1 * data + 0.3})
        assert session.run(w)[0] == pytest.approx(0.1, abs=0.01)
        assert session.run(b)[0] == pytest.approx(0.3, abs=0.01)


def test_softmax_regression_learns():
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((3, 8)) * 2
    labels = rng.integers(0, 3, 600)
    images = centres[labels] + rng.standard_normal((600, 8))
    x = tf.placeholder("float", [None, 8])
    y_ = tf.placeholder("float", [None, 3])
    y = tf.nn.softmax(tf.matmul(x, tf.Variable(tf.zeros([8, 3]))) + tf.Variable(tf.zeros([3])))
    cross_entropy = -tf.reduce_sum(y_ * tf.log(y))
    train = tf.train.GradientDescentOptimizer(0.01).minimize(cross_entropy)
    right = tf.equal(tf.argmax(y, 1), tf.argmax(y_, 1))
    accuracy = tf.reduce_mean(tf.cast(right, "float"))
    hot = np.eye(3)[labels]
    with tf.Session() as session:
        session.run(tf.initialize_all_variables())
        for start in list(range(0, 500, 50)) * 6:
            part = slice(start, start + 50)
            session.run(train, {x: images[part], y_: hot[part]})
        assert session.run(accuracy, {x: images[500:], y_: hot[500:]}) > 0.95


def test_a_small_convolutional_net_learns():
    """Bars across or down a picture, with dropout and Adam."""
    tf.set_random_seed(1)
    rng = np.random.default_rng(1)
    down = rng.integers(0, 2, 400)
    images = rng.random((400, 8, 8, 1)).astype(np.float32) * 0.5
    for image, vertical, at in zip(images, down, rng.integers(0, 8, 400), strict=True):
        image[:, at] += vertical
        image[at, :] += 1 - vertical
    x, y = tf.placeholder(tf.float32, [None, 8, 8, 1]), tf.placeholder(tf.int64, [None])
    keep = tf.placeholder(tf.float32)
    w1 = tf.get_variable("w1", [3, 3, 1, 8])
    h = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, w1, [1] * 4, "SAME"), tf.zeros([8])))
    h = tf.nn.max_pool(h, [1, 2, 2, 1], [1, 2, 2, 1], "SAME")
    h = tf.nn.dropout(tf.reshape(h, [-1, 4 * 4 * 8]), keep)
    logits = tf.matmul(h, tf.get_variable("w2", [128, 2]))
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))
    train = tf.train.AdamOptimizer(0.01).minimize(loss)
    accuracy = tf.reduce_mean(tf.to_float(tf.equal(tf.argmax(logits, 1), y)))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for start in list(range(0, 300, 50)) * 10:
            part = slice(start, start + 50)
            session.run(train, {x: images[part], y: down[part], keep: 0.8})
        assert session.run(accuracy, {x: images[300:], y: down[300:], keep: 1.0}) > 0.95


def test_training_repeats_with_a_seed_whatever_the_threads():
    program = (
        "import host_engine as tf, numpy as np\n"
        "tf.set_random_seed(5)\n"
        "x = tf.constant(np.random.RandomState(0).rand(20, 16, 16, 8).astype('f'))\n"
        "w = tf.get_variable('w', [5, 5, 8, 16])\n"
        "y = tf.nn.dropout(tf.nn.conv2d(x, w, [1, 1, 1, 1], 'SAME'), 0.5)\n"
        "step = tf.train.AdamOptimizer(0.01).minimize(tf.nn.l2_loss(y))\n"
        "s = tf.Session(); s.run(tf.global_variables_initializer())\n"
        "[s.run(step) for _ in range(3)]\n"
        "print(s.run(w).tobytes().hex())\n"
    )
    outputs = set()
    for threads in ("1", "3"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={"HOST_ENGINE_THREADS": threads, "PYTHONPATH": ":".join(p for p in sys.path if p)},
            capture_output=True,
            text=True,
            check=True,
        )
        outputs.add(done.stdout)
    assert len(outputs) == 1


def test_import_needs_numpy_only():
    program = (
        "import sys; before = set(sys.modules)\n"
        "import numpy; import host_engine\n"
        "found = {m.partition('.')[0] for m in set(sys.modules) - before}\n"
        "print(sorted(m for m in found if m in ('cupy', 'tensorboard', 'google', 'safetensors',\n"
        "    'flatbuffers', 'converter', 'quantize', 'runtime', 'tensorflow', 'scipy')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": ":".join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
