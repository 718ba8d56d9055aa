# SPDX-License-Identifier: Apache-2.0
"""Programs with tf.cond and tf.while_loop, for the host engine and for TensorFlow 1.15.

``python tests/host_engine/loop_programs.py`` under TensorFlow 1.15 writes what it computes to
loop_numbers.npz. A program takes `tf` and gives (fetches, feeds) by name.
"""

import os

import numpy as np

NUMBERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "loop_numbers.npz")
X = np.array([0.5, -0.25, 0.75], np.float32)


def variable(tf, name, *shape):
    values = np.cos(np.arange(np.prod(shape)) + len(name)).astype(np.float32).reshape(shape)
    return tf.get_variable(name, initializer=tf.constant(values))


def branches(tf):
    x = tf.placeholder(tf.float32, [3], name="x")
    w = variable(tf, "w", 3)
    y = tf.cond(tf.reduce_sum(x) > 0, lambda: x * w * 2.0, lambda: tf.exp(x) - w)
    gradients = tf.gradients(tf.reduce_sum(y * y), [x, w])
    return {"y": y, "dx": gradients[0], "dw": gradients[1]}, {x: X}


def other_branch(tf):
    fetches, feeds = branches(tf)
    return fetches, {key: -value for key, value in feeds.items()}


def nested_branches(tf):
    x = tf.placeholder(tf.float32, [3], name="x")

    def inner():
        return tf.cond(x[0] > 0, lambda: [x * 2.0, x[1]], lambda: [x * 3.0, x[2]])

    y, z = tf.cond(tf.reduce_sum(x) > 0, inner, lambda: [x - 1.0, x[0]])
    return {"y": y, "z": z, "dx": tf.gradients([y, z], x)[0]}, {x: X}


def loop(tf):
    x = tf.placeholder(tf.float32, [3], name="x")
    w = variable(tf, "w", 3)
    count, y = tf.while_loop(
        lambda i, v: tf.logical_and(i < 20, tf.reduce_sum(v) < 50.0),
        lambda i, v: [i + 1, v * 1.5 + w * x],
        [tf.constant(0), x + 1.0],
    )
    dx, dw = tf.gradients(tf.reduce_sum(y), [x, w])
    return {"count": count, "y": y, "dx": dx, "dw": dw}, {x: X}


def no_step(tf):
    x = tf.placeholder(tf.float32, [3], name="x")
    y = tf.while_loop(lambda v: tf.reduce_sum(v) < -9.0, lambda v: v * 2.0, [x])
    return {"y": y, "dx": tf.gradients(y, x)[0]}, {x: X}


def loop_of_branches(tf):
    x = tf.placeholder(tf.float32, [3], name="x")
    w = variable(tf, "w", 3)

    def step(i, v):
        even = tf.equal(tf.floormod(i, 2), 0)
        return i + 1, tf.cond(even, lambda: tf.tanh(v) * w, lambda: v + x)

    _, y = tf.while_loop(lambda i, v: i < 5, step, (tf.constant(0), x))
    dx, dw = tf.gradients(tf.reduce_sum(y * y), [x, w])
    return {"y": y, "dx": dx, "dw": dw}, {x: X}


def nested_loops(tf):
    x = tf.placeholder(tf.float32, [3], name="x")

    def step(i, v):
        _, inner = tf.while_loop(
            lambda j, u: j < i, lambda j, u: [j + 1, tf.sin(u) + x], [tf.constant(0), v]
        )
        return i + 1, inner * 1.1

    _, y = tf.while_loop(lambda i, v: i < 4, step, (tf.constant(0), x))
    return {"y": y, "dx": tf.gradients(y, x)[0]}, {x: X}


def growing(tf):
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    _, y = tf.while_loop(
        lambda i, v: i < 3,
        lambda i, v: [i + 1, tf.concat([v, v[:1] * 2.0], 0)],
        [tf.constant(0), x],
        shape_invariants=[tf.TensorShape([]), tf.TensorShape([None, 3])],
    )
    return {"y": y}, {x: X[None]}


def at_most(tf):
    x = tf.placeholder(tf.float32, [3], name="x")
    y = tf.while_loop(lambda v: True, lambda v: v * 2.0, [x], maximum_iterations=4)
    return {"y": y, "dx": tf.gradients(y, x)[0]}, {x: X}


def trained_rnn(tf):
    """Six steps of gradient descent through a recurrent layer of eight steps."""
    x = tf.placeholder(tf.float32, [8, 2, 3], name="x")
    kernel, bias = variable(tf, "kernel", 7, 4), variable(tf, "bias", 4)

    def step(i, h):
        return i + 1, tf.tanh(tf.matmul(tf.concat([x[i], h], 1), kernel) * 0.3 + bias)

    _, last = tf.while_loop(lambda i, h: i < 8, step, (tf.constant(0), tf.zeros([2, 4])))
    loss = tf.reduce_mean(tf.square(last - 0.5))
    train = tf.train.GradientDescentOptimizer(0.5).minimize(loss)
    feeds = {x: np.sin(np.arange(48)).reshape(8, 2, 3).astype(np.float32)}
    return {"loss": loss, "last": last, "kernel": kernel, "train": train}, feeds


PROGRAMS = {
    program.__name__: program
    for program in (
        *(branches, other_branch, nested_branches, loop, no_step, loop_of_branches),
        *(nested_loops, growing, at_most, trained_rnn),
    )
}


def run(tf, name):
    """What the program computes, by name; the second run where it trains sees what was learned."""
    with tf.Graph().as_default():
        fetches, feeds = PROGRAMS[name](tf)
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            train = fetches.pop("train", None)
            for _ in range(6 if train is not None else 0):
                session.run(train, feeds)
            return {key: np.asarray(session.run(t, feeds)) for key, t in fetches.items()}


if __name__ == "__main__":
    import tensorflow

    found = {}
    for program in PROGRAMS:
        for key, value in run(tensorflow, program).items():
            found["{} {}".format(program, key)] = value  # noqa: UP032
    np.savez_compressed(NUMBERS, **found)
