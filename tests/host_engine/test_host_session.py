# SPDX-License-Identifier: Apache-2.0
"""Sessions: feeds, fetches, what runs, in what order, and how failures are reported."""

import collections
import concurrent.futures

import numpy as np
import pytest

import host_engine as tf
from host_engine import parallel


@pytest.fixture
def session():
    with tf.Session() as opened:
        yield opened


def test_values_are_arrays_and_scalars(session):
    value = session.run(tf.constant(1) + tf.constant(2))
    assert value == 3 and type(value) is np.int32
    assert session.run(tf.constant("hi")) == b"hi"
    assert session.run(tf.constant(["a", "b"])).dtype == object
    assert isinstance(session.run(tf.constant([1.0])), np.ndarray)


def test_fetches_keep_their_structure(session):
    a, b = tf.constant(1, name="a"), tf.constant(2, name="b")
    Pair = collections.namedtuple("Pair", "x y")
    fetched = session.run({"l": [a, (b, a)], "p": Pair(a, "b:0"), "o": tf.no_op(), "e": []})
    assert fetched == {"l": [1, (2, 1)], "p": Pair(1, 2), "o": None, "e": []}
    assert isinstance(fetched["p"], Pair)
    ordered = collections.OrderedDict([("z", a), ("y", b)])
    assert list(session.run(ordered)) == ["z", "y"]
    assert session.run([]) == []
    assert session.run([a, a, "a:0", "a"]) == [1, 1, 1, None]


@pytest.mark.parametrize(
    ("fetch", "kind", "message"),
    [
        (None, TypeError, "Fetch argument None has invalid type <class 'NoneType'>"),
        (3, TypeError, "Fetch argument 3 has invalid type <class 'int'>, must be a string or"),
        ([[1.5]], TypeError, "Fetch argument 1.5 has invalid type <class 'float'>"),
        ("missing:0", ValueError, "The operation, 'missing', does not exist in the graph."),
    ],
)
def test_fetches_that_are_nothing_in_the_graph(session, fetch, kind, message):
    tf.constant(0)
    with pytest.raises(kind) as caught:
        session.run(fetch)
    assert message in str(caught.value)


def test_fetch_from_another_graph(session):
    tf.constant(0)
    with tf.Graph().as_default():
        other = tf.constant(1)
    with pytest.raises(ValueError, match="cannot be interpreted as a Tensor") as caught:
        session.run(other)
    assert "is not an element of this graph" in str(caught.value)


def test_feeds_are_cast_to_the_type_of_their_tensor(session):
    x = tf.placeholder(tf.int32)
    assert session.run(x + 0, {x: 1.7}) == 1
    y = tf.placeholder("float", [1, 3])
    assert session.run(y * 1, {y: np.array([[1.0, 2.0, 3.0]])}).dtype == np.float32


def test_feeds_by_name_variable_and_of_any_tensor(session):
    a = tf.placeholder(tf.float32, name="a")
    v = tf.Variable(1.0)
    middle = a * 2
    end = middle + v
    assert session.run(end, {"a:0": 3, v: 10}) == 16
    assert session.run(end, {middle: 1, v: 0}) == 1
    assert session.run(tf.constant(5) + 1, {"Const:0": 7}) == 8


def test_wrong_feeds(session):
    x = tf.placeholder(tf.float32, [None, 2], name="x")
    with pytest.raises(ValueError) as caught:
        session.run(x, {x: [1, 2]})
    assert str(caught.value) == (
        "Cannot feed value of shape (2,) for Tensor 'x:0', which has shape '(?, 2)'"
    )
    with pytest.raises(TypeError, match=r"The value of a feed cannot be a tf\.Tensor object"):
        session.run(x, {x: tf.zeros([1, 2])})
    with pytest.raises(TypeError, match="Cannot interpret feed_dict key as Tensor"):
        session.run(x, {"nothing:0": 1})
    with pytest.raises(ValueError, match="Cannot feed a str for Tensor 'x:0'"):
        session.run(x, {x: "text"})


def test_a_placeholder_that_is_not_fed(session):
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    y = tf.placeholder(tf.float32, name="y")
    double = x * 2
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        session.run(double)
    assert caught.value.message == (
        "You must feed a value for placeholder tensor 'x' with dtype float and shape [?,3]"
    )
    assert caught.value.op is x.op
    assert "[[node x = Placeholder()]]" in str(caught.value)
    assert __file__ in str(caught.value) and "tf.placeholder(tf.float32, [None, 3]" in str(
        caught.value
    )
    with pytest.raises(tf.OpError) as caught:
        session.run(y)
    assert caught.value.message.endswith("placeholder tensor 'y' with dtype float")
    assert session.run(tf.constant(1)) == 1


def test_only_what_is_needed_runs(session):
    x = tf.placeholder(tf.float32)
    count = tf.Variable(0)
    counted = tf.assign_add(count, 1)
    session.run(count.initializer)
    assert session.run(tf.constant(2.0) * 3) == 6
    with tf.control_dependencies([counted]):
        waits = tf.identity(x)
    session.run(waits * 2, {waits: 1.0})
    assert session.run(count) == 0
    session.run(waits, {x: 1.0})
    assert session.run(count) == 1


def test_a_shared_node_runs_once(session):
    count = tf.Variable(0)
    session.run(count.initializer)
    step = tf.assign_add(count, 1)
    session.run([step, step + 1, step * 2])
    assert session.run(count) == 1


def test_plans_are_reused(session):
    x = tf.placeholder(tf.float32)
    y = x + 1
    for value in range(3):
        assert session.run(y, {x: value}) == value + 1
    assert len(session._plans) == 1


def test_the_graph_may_grow_between_runs(session):
    a = tf.constant(1)
    assert session.run(a) == 1
    assert session.run(a + 1) == 2


def test_uninitialized_variable(session):
    w = tf.Variable(tf.zeros([2]), name="W")
    y = w + 1
    with pytest.raises(tf.errors.FailedPreconditionError) as caught:
        session.run(y)
    assert caught.value.message == "Attempting to use uninitialized value W"
    assert 'w = tf.Variable(tf.zeros([2]), name="W")' in str(caught.value)
    with pytest.raises(tf.errors.FailedPreconditionError, match="uninitialized value W"):
        session.run(tf.assign_add(w, [1.0, 1.0]))


def test_failures_name_node_and_line(session):
    x = tf.placeholder(tf.float32, name="x")
    y = tf.add(x, tf.constant([1.0, 2.0]), name="sum")  # the line
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        session.run(y, {x: [1.0, 2.0, 3.0]})
    assert caught.value.message == "Incompatible shapes: [3] vs. [2]"
    assert caught.value.op.name == "sum"
    assert caught.value.error_code == 3
    assert "[[node sum = Add(x, Const)]]" in str(caught.value)
    assert 'name="sum")  # the line' in str(caught.value)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda p: tf.reshape(p, [3, 2]),
            "Input to reshape is a tensor with 4 values, but the requested shape has 6",
        ),
        (
            lambda p: tf.matmul(tf.zeros([2, 2]), p),
            "Matrix size-incompatible: In[0]: [2,2], In[1]: [4]",
        ),
        (lambda p: tf.gather(tf.zeros([3]), tf.to_int32(p)), "indices[3] = 3 is not in [0, 3)"),
        (
            lambda p: tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels=tf.to_int32(p), logits=tf.zeros([4, 3])
            ),
            "Received a label value of 3 which is outside the valid range of [0, 3).  "
            "Label values: 0 1 2 3",
        ),
        (lambda p: tf.constant(1) // tf.to_int32(p), "Integer division by zero"),
        (lambda p: tf.concat([p, tf.reshape(p, [2, 2])], 0), "Dimensions of inputs should match"),
        (lambda p: p[tf.to_int32(p)[3] + 4], "slice index out of bounds"),
    ],
)
def test_failures_while_running(session, build, message):
    p = tf.placeholder(tf.float32)
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        session.run(build(p), {p: [0, 1, 2, 3]})
    assert message in caught.value.message


def test_other_failures_name_their_node_too(session, monkeypatch):
    huge = tf.fill(tf.placeholder_with_default([1 << 40, 1 << 10], [2]), 1.0, name="huge")
    with pytest.raises(tf.errors.ResourceExhaustedError, match="Unable to allocate") as caught:
        session.run(huge)
    assert caught.value.op.name == "huge"
    x = tf.square(tf.constant(1.0))

    def broken(xp, x):
        raise KeyError("inside")

    monkeypatch.setitem(x.op.definition.__dict__, "compute", broken)
    with pytest.raises(tf.errors.InternalError, match="KeyError: 'inside'") as caught:
        session.run(x)
    assert caught.value.op is x.op


def test_division_by_zero_is_no_failure(session):
    assert session.run(tf.constant(1.0) / 0.0) == np.inf
    assert np.isnan(session.run(tf.log(-1.0)))


def test_closed_and_empty_sessions():
    session = tf.Session()
    with pytest.raises(RuntimeError, match="The Session graph is empty"):
        session.run([])
    a = tf.constant(0)
    session.close()
    with pytest.raises(RuntimeError, match="Attempted to use a closed Session"):
        session.run(a)


def test_default_sessions():
    a = tf.constant(3)
    with pytest.raises(ValueError, match="Cannot evaluate tensor using `eval\\(\\)`: No default s"):
        a.eval()
    with pytest.raises(ValueError, match="Cannot execute operation using `run\\(\\)`: No default"):
        a.op.run()
    with tf.Session() as outer:
        assert a.eval() == 3 and tf.get_default_session() is outer
        with tf.Session() as inner:
            assert tf.get_default_session() is inner
    assert tf.get_default_session() is None
    with tf.Session(graph=tf.Graph()) as other:
        with pytest.raises(ValueError, match="the tensor's graph is different from the session's"):
            a.eval()
        assert other.graph is tf.get_default_graph()
    with tf.Session(graph=a.graph).as_default() as kept:
        pass
    assert a.eval(session=kept) == 3


def test_interactive_session():
    session = tf.InteractiveSession()
    v = tf.Variable(2)
    v.initializer.run()
    x = tf.placeholder(tf.int32)
    assert (v * x).eval({x: 4}) == 8
    session.close()
    assert tf.get_default_session() is None


def test_variables_live_per_session():
    v = tf.Variable(1)
    one, two = tf.Session(), tf.Session()
    one.run(v.initializer)
    two.run(v.initializer)
    one.run(v.assign(5))
    assert (one.run(v), two.run(v)) == (5, 1)


def test_callables(session):
    x, y = tf.placeholder(tf.float32), tf.placeholder(tf.float32)
    assert session.make_callable(x - y, [x, y])(3, 1) == 2


def test_results_are_the_callers_own(session):
    v = tf.Variable([1.0, 2.0])
    session.run(v.initializer)
    value = session.run(v)
    session.run(v.assign_add([1.0, 1.0]))
    assert value.tolist() == [1.0, 2.0]
    value[:] = 0
    assert session.run(v).tolist() == [2.0, 3.0]
    c = tf.constant([1.0])
    session.run(c)[:] = 7
    assert session.run(c).tolist() == [1.0]


# Order


def test_control_dependencies_act_on_operations_made_inside(session):
    v = tf.Variable(1.0)
    session.run(v.initializer)
    before = v + 0
    with tf.control_dependencies([v.assign(2.0)]):
        after, again, read = v + 0, tf.identity(v), v.read_value()
    assert session.run([before, after, again, read]) == [1.0, 2.0, 2.0, 2.0]


def test_reads_come_before_writes_they_do_not_depend_on(session):
    v = tf.Variable([1.0, 2.0])
    session.run(v.initializer)
    write = v.assign_add([10.0, 10.0])
    late = tf.reduce_sum(v)
    assert session.run([write, late, v])[1] == 3.0
    assert session.run(late) == 23.0


def test_updates_in_place_do_not_change_values_already_read(session):
    v = tf.Variable(np.zeros(100, np.float32))
    session.run(v.initializer)
    read, view = tf.identity(v), tf.reshape(v, [10, 10])
    first, second, new = session.run([read, view, v.assign_add(np.ones(100, np.float32))])
    assert first.max() == 0 and second.max() == 0 and new.min() == 1


def test_group_and_tuple(session):
    a, b = tf.Variable(0), tf.Variable(0)
    session.run([a.initializer, b.initializer])
    both = tf.group(a.assign_add(1), b.assign_add(2))
    assert session.run(both) is None
    assert session.run([a, b]) == [1, 2]
    assert session.run(tf.tuple([a + 0, b + 0])) == [1, 2]


def test_updates_happen_in_place_when_nobody_looks(session):
    v = tf.Variable(np.ones(1000, np.float32))
    step = tf.train.AdamOptimizer(0.1).minimize(tf.nn.l2_loss(v))
    session.run(tf.global_variables_initializer())
    values = session._context.variables._values
    before = {op: id(array) for op, array in values.items() if array.ndim}
    session.run(step)
    assert {op: id(array) for op, array in values.items() if array.ndim} == before


def test_sessions_run_from_several_threads(session):
    x = tf.placeholder(tf.float32, [None, 40, 40, 8])
    w = tf.get_variable("w", [3, 3, 8, 8], initializer=tf.ones_initializer())
    y = tf.reduce_sum(tf.nn.conv2d(x, w, [1] * 4, "VALID"), [1, 2, 3])
    session.run(w.initializer)
    feeds = [np.full((6, 40, 40, 8), k, np.float32) for k in range(8)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda f: session.run(y, {x: f}), feeds))
    for k, result in enumerate(results):
        np.testing.assert_allclose(result, 38 * 38 * 8 * 72 * k)


def test_a_failure_on_another_thread_reaches_the_caller():
    def fail(item):
        raise KeyError(item)

    with pytest.raises(KeyError):
        parallel.for_each(np, range(10), fail)
    assert parallel.matmul(np, np.ones((2, 3)), np.ones((3, 2))).tolist() == [[3, 3], [3, 3]]
