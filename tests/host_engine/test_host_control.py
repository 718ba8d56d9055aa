# SPDX-License-Identifier: Apache-2.0
"""tf.cond and tf.while_loop: what TensorFlow 1.15 computed, its errors, export, conversion."""

from __future__ import annotations

import loop_programs
import numpy as np
import pytest

import converter
import host_engine as tf
import runtime
from converter.sources import GraphDefSource

NUMBERS = np.load(loop_programs.NUMBERS)


@pytest.fixture(autouse=True)
def fresh_graph():
    tf.reset_default_graph()


@pytest.mark.parametrize("name", loop_programs.PROGRAMS)
def test_numbers_are_tensorflows(name):
    found = loop_programs.run(tf, name)
    assert {f"{name} {key}" for key in found} == {k for k in NUMBERS if k.startswith(f"{name} ")}
    for key, value in found.items():
        wanted = NUMBERS[f"{name} {key}"]
        assert value.dtype == wanted.dtype and value.shape == wanted.shape
        np.testing.assert_allclose(value, wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())


def test_only_the_branch_that_is_taken_runs():
    x = tf.placeholder(tf.int32, [], name="x")
    y = tf.cond(x > 0, lambda: 6 // x, lambda: x)  # which fails for 0
    with tf.Session() as session:
        assert session.run(y, {x: 0}) == 0
        assert session.run(y, {x: 2}) == 3


def test_variables_of_branches_and_steps_are_the_graphs_own():
    def step(v):
        with tf.variable_scope("layer", reuse=tf.AUTO_REUSE):
            return v * tf.get_variable("w", [2], initializer=tf.ones_initializer())

    y = tf.while_loop(lambda v: tf.reduce_sum(v) < 9.0, lambda v: step(v) + 1.0, [tf.zeros([2])])
    assert [v.name for v in tf.trainable_variables()] == ["layer/w:0"]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        np.testing.assert_array_equal(session.run(y), [5, 5])


def test_structures():
    x = tf.placeholder(tf.float32, [2], name="x")
    found = tf.while_loop(
        lambda a, rest: a[0] < 3.0,
        lambda a, rest: (a + 1.0, {"p": rest["p"] * 2.0, "q": (rest["q"][0] + a,)}),
        (x, {"p": x, "q": (x,)}),
    )
    with tf.Session() as session:
        a, rest = session.run(found, {x: [1, 0]})
    np.testing.assert_array_equal(a, [3, 2])
    np.testing.assert_array_equal(rest["p"], [4, 0])
    np.testing.assert_array_equal(rest["q"][0], [4, 1])


def test_wrong_arguments():
    x = tf.placeholder(tf.float32, [2], name="x")
    flag = tf.reduce_sum(x) > 0
    with pytest.raises(TypeError, match="true_fn must be callable"):
        tf.cond(flag, x, lambda: x)
    with pytest.raises(TypeError, match="must not be a Python bool"):
        tf.cond(True, lambda: x, lambda: x)
    with pytest.raises(TypeError, match="same number, type, and overall structure"):
        tf.cond(flag, lambda: [x, x], lambda: [x])
    with pytest.raises(ValueError, match="must have the same type: float32, int32"):
        tf.cond(flag, lambda: x, lambda: 3)
    with pytest.raises(ValueError, match="must have a return value"):
        tf.cond(flag, lambda: None, lambda: x)
    with pytest.raises(TypeError, match="body must be callable"):
        tf.while_loop(lambda v: True, x, [x])
    with pytest.raises(ValueError, match="No loop variables provided"):
        tf.while_loop(lambda: True, lambda: [], [])
    with pytest.raises(ValueError, match="same nested structure"):
        tf.while_loop(lambda v: flag, lambda v: [v, v], [x])
    with pytest.raises(TypeError, match="cond must return a boolean"):
        tf.while_loop(lambda v: v, lambda v: v, [x])
    with pytest.raises(TypeError, match="enters the loop with type float32"):
        tf.while_loop(lambda v: flag, lambda v: tf.cast(v, tf.int32), [x])


def test_shapes_are_checked():
    x = tf.placeholder(tf.float32, [1, 3], name="x")
    grow = lambda v: tf.concat([v, v], 0)  # noqa: E731
    with pytest.raises(ValueError, match=r"is not an invariant for the loop.*\(1, 3\).*\(2, 3\)"):
        tf.while_loop(lambda v: tf.reduce_sum(v) < 9.0, grow, [x])
    with pytest.raises(ValueError, match="not compatible with the initial shape"):
        tf.while_loop(lambda v: True, grow, [x], [tf.TensorShape([2, None])])
    y = tf.while_loop(lambda v: tf.reduce_sum(v) < 9.0, grow, [x], [tf.TensorShape([None, 3])])
    assert y.shape.as_list() == [None, 3]


def test_what_cannot_be_done_gets_a_sentence():
    x = tf.placeholder(tf.float32, [2], name="x")
    v = tf.Variable(np.zeros(2, np.float32), name="v")
    with pytest.raises(ValueError, match=r"changes the variable 'v' inside tf\.cond"):
        tf.cond(tf.reduce_sum(x) > 0, lambda: tf.assign(v, x), lambda: x)
    y = tf.while_loop(lambda u: tf.reduce_sum(u) < 9.0, lambda u: u + tf.random_uniform([2]), [x])
    with pytest.raises(LookupError, match=r"random operation .* draw outside of it"):
        tf.gradients(y, x)


def own_graph():
    x = tf.placeholder(tf.float32, [3], name="x")
    w = tf.Variable(np.array([1, -2, 3], np.float32))

    def step(i, v):
        return i + 1, tf.cond(tf.equal(i, 1), lambda: v * w, lambda: tf.split(v + x, 3)[1] + v)

    _, y = tf.while_loop(lambda i, v: i < 40, step, (tf.constant(0), x * w))
    y = tf.identity(tf.cond(y[0] > 0, lambda: tf.tanh(y), lambda: tf.tanh(y - w)), name="y")
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    return session, x, y


@pytest.mark.parametrize("sign", [1, -1])
def test_conversion_and_files(tmp_path, sign):
    session, x, y = own_graph()
    value = np.array([0.02, -0.01, 0.03], np.float32) * sign
    wanted = session.run(y, {x: value})
    model = converter.from_session(session, [x], [y])
    converter.optimize(model)
    content = converter.write_tflite(model)
    found = runtime.Interpreter(model_content=content).get_signature_runner()(x=value)
    np.testing.assert_allclose(found["y"], wanted, atol=1e-6)
    frozen = tf.graph_util.convert_variables_to_constants(
        session, session.graph.as_graph_def(), ["y"]
    )
    path = tmp_path / "m.pb"
    path.write_bytes(frozen.SerializeToString())
    made = converter.convert(GraphDefSource(path), feeds={"x": value})
    assert made.proof.engine == "the host engine" and made.proof.passed
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(frozen, name="")
    again = tf.Session(graph=graph).run("y:0", {"x:0": value})
    np.testing.assert_array_equal(again, wanted)
