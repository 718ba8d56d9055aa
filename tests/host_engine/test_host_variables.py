# SPDX-License-Identifier: Apache-2.0
"""Variables, their initializers, and sharing by name."""

import numpy as np
import pytest

import host_engine as tf


def value_of(tensor):
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        return session.run(tensor)


def test_assign_returns_the_new_value():
    v = tf.Variable(0)
    step = tf.assign(v, tf.add(v, 1))
    with tf.Session() as session:
        session.run(tf.initialize_all_variables())
        assert [session.run(step) for _ in range(3)] == [1, 2, 3]
        assert session.run([v.assign_sub(5)]) == [-2]


def test_assignments_chain():
    v = tf.Variable(0)
    twice = tf.assign_add(tf.assign(v, 10), 5)
    assert value_of(twice) == 15


def test_initial_values():
    w = tf.Variable(tf.random_normal([1], name="W"))
    assert w.op.name == "Variable" and w.initial_value.op.name == "W"
    assert value_of(tf.Variable(lambda: tf.ones([2]), name="f")).tolist() == [1, 1]
    assert tf.Variable(1, dtype=tf.float32).dtype == tf.float32
    with pytest.raises(ValueError, match="initial_value must be specified"):
        tf.Variable()
    with pytest.raises(ValueError, match="initial_value must have a shape specified"):
        tf.Variable(tf.placeholder(tf.float32, [None]))


def test_shape_of_assigned_values():
    v = tf.Variable([0.0])
    with pytest.raises(ValueError, match="Shapes must be equal, but dimension 0 is 1 and 2"):
        v.assign([1.0, 2.0])
    x = tf.placeholder(tf.float32)
    with tf.Session() as session:
        with pytest.raises(tf.errors.InvalidArgumentError) as caught:
            session.run(v.assign(x), {x: [1.0, 2.0]})
        assert caught.value.message == (
            "Assign requires shapes of both tensors to match. lhs shape= [1] rhs shape= [2]"
        )
        loose = tf.Variable([0.0], validate_shape=False)
        assert session.run(tf.assign(loose, [1.0, 2.0], validate_shape=False)).tolist() == [1, 2]


def test_assigning_to_what_is_no_variable():
    with pytest.raises(ValueError, match="is not a variable and cannot be assigned to"):
        tf.assign(tf.constant(1), 2)


def test_load_and_eval():
    v = tf.Variable([1.0, 2.0])
    with tf.Session() as session:
        v.load([5.0, 6.0], session)
        assert v.eval().tolist() == [5, 6]


def test_variables_in_expressions():
    v = tf.Variable([[1.0, 2.0]])
    results = value_of(
        [v + 1, 2 * v, -v, v[0, 1], tf.matmul(v, v, transpose_b=True), v @ [[1.0], [0.0]]]
    )
    assert [np.asarray(r).tolist() for r in results] == [
        [[2, 3]], [[2, 4]], [[-1, -2]], 2, [[5]], [[1]],
    ]  # fmt: skip


def test_uninitialized_variables_are_reported():
    a, _ = tf.Variable(0, name="a"), tf.Variable(0, name="b")
    with tf.Session() as session:
        session.run(a.initializer)
        assert session.run(tf.report_uninitialized_variables()).tolist() == [b"b"]
        assert session.run(tf.is_variable_initialized(a))


def test_the_initializer_covers_variables_made_before_it():
    tf.Variable(0)
    init = tf.global_variables_initializer()
    late = tf.Variable(0)
    with tf.Session() as session:
        session.run(init)
        with pytest.raises(tf.errors.FailedPreconditionError):
            session.run(late)


def test_fibonacci():
    with tf.Graph().as_default() as graph:
        state = tf.Variable([[0.0], [1.0]])
        step = state.assign(tf.matmul(tf.constant([[0.0, 1.0], [1.0, 1.0]]), state))
        with tf.Session(graph=graph) as session:
            session.run(tf.global_variables_initializer())
            pairs = [session.run(step).ravel().tolist() for _ in range(9)]
    assert pairs[0] == [1, 1] and pairs[-1] == [34, 55]


# get_variable and scopes


def test_scopes_name_variables_and_operations_apart():
    with tf.variable_scope("s"):
        first = tf.get_variable("v", [1])
        tf.constant(0, name="c")
    with tf.variable_scope("s", reuse=True):
        assert tf.get_variable("v", [1]) is first
        assert tf.constant(0, name="c").op.name == "s_1/c"
    with tf.name_scope("n"):
        assert tf.get_variable("q", [1]).op.name == "q"
        with tf.variable_scope("t"):
            assert tf.constant(0).op.name == "n/t/Const"
            assert tf.get_variable("w", [1]).op.name == "t/w"
    assert first.op.name == "s/v"


def test_default_names_of_scopes():
    for expected in ("d", "d_1"):
        with tf.variable_scope(None, default_name="d") as scope:
            assert scope.name == expected
            assert tf.get_variable("w", [1]).op.name == f"{expected}/w"


def test_sharing_rules():
    with tf.variable_scope("a") as scope:
        w = tf.get_variable("w", [1])
        with pytest.raises(ValueError) as caught:
            tf.get_variable("w", [1])
        assert str(caught.value).startswith(
            "Variable a/w already exists, disallowed. Did you mean to set reuse=True or "
            "reuse=tf.AUTO_REUSE in VarScope? Originally defined at:"
        )
        assert __file__ in str(caught.value)
        tf.get_variable_scope().reuse_variables()
        assert tf.get_variable("w") is w
    with tf.variable_scope(scope, reuse=True):
        with pytest.raises(ValueError, match="Variable a/zz does not exist, or was not created"):
            tf.get_variable("zz", [1])
        with pytest.raises(ValueError) as caught:
            tf.get_variable("w", [2])
        assert str(caught.value) == (
            "Trying to share variable a/w, but specified shape (2,) and found shape (1,)."
        )
    with tf.variable_scope("b", reuse=tf.AUTO_REUSE):
        assert tf.get_variable("w", [1]) is tf.get_variable("w", [1])


def test_scopes_pass_on_initializer_and_regularizer():
    with (
        tf.variable_scope("a", initializer=tf.constant_initializer(0.5), regularizer=tf.nn.l2_loss),
        tf.variable_scope("b"),
    ):
        w = tf.get_variable("w", [2])
    assert value_of(w).tolist() == [0.5, 0.5]
    (loss,) = tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)
    assert value_of(loss) == 0.25 and loss.op.name.startswith("a/b/w/Regularizer/")


def test_default_initializer_is_glorot_uniform():
    w = value_of(tf.get_variable("w", [300, 200]))
    limit = np.sqrt(6 / 500)
    assert np.abs(w).max() <= limit and np.abs(w).max() > 0.99 * limit
    assert abs(w.std() - limit / np.sqrt(3)) < 0.001
    assert value_of(tf.get_variable("i", [2], tf.int32)).tolist() == [0, 0]


def test_get_variable_needs_a_shape():
    with pytest.raises(ValueError, match="Shape of a new variable \\(w\\) must be fully defined"):
        tf.get_variable("w")
    with pytest.raises(ValueError, match="If initializer is a constant, do not specify shape"):
        tf.get_variable("w", [1], initializer=tf.zeros([1]))
    assert tf.get_variable("w", initializer=[1.0, 2.0]).shape.as_list() == [2]


@pytest.mark.parametrize(
    ("initializer", "low", "high", "stddev"),
    [
        (tf.zeros_initializer(), 0, 0, 0),
        (tf.ones_initializer, 1, 1, 0),
        (tf.constant_initializer(2.0), 2, 2, 0),
        (tf.random_uniform_initializer(-1, 3), -1, 3, 4 / np.sqrt(12)),
        (tf.random_normal_initializer(stddev=2.0), -12, 12, 2),
        (tf.truncated_normal_initializer(stddev=2.0), -4, 4, 1.759),
        (tf.glorot_normal_initializer(), -0.3, 0.3, np.sqrt(2 / 200)),
        (tf.variance_scaling_initializer(2.0), -0.4, 0.4, np.sqrt(2 / 100)),
    ],
)
def test_initializers(initializer, low, high, stddev):
    tf.set_random_seed(3)
    values = value_of(tf.get_variable("w", [100, 100], initializer=initializer))
    assert values.min() >= low and values.max() <= high
    assert values.std() == pytest.approx(stddev, rel=0.03)


def test_initial_value_of_constants_by_position():
    init = tf.constant_initializer(np.arange(4.0))
    assert value_of(tf.get_variable("w", [2, 2], initializer=init)).tolist() == [[0, 1], [2, 3]]


def test_initializing_under_control_dependencies_and_loops_is_unconditional():
    counter = tf.Variable(0)
    with tf.control_dependencies([counter.assign_add(1)]):
        inner = tf.Variable(1.0)
    assert inner.initializer.control_inputs == []
