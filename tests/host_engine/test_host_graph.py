# SPDX-License-Identifier: Apache-2.0
"""Graphs: names, scopes, collections, lookups, and what is refused while building."""

import numpy as np
import pytest

import host_engine as tf


def names():
    return [op.name for op in tf.get_default_graph().get_operations()]


def test_names_are_made_unique():
    for expected in ("W", "W_1", "W_2"):
        assert tf.constant(1, name="W").op.name == expected
    tf.constant(1, name="foo")
    tf.constant(1, name="foo_1")
    assert tf.constant(1, name="foo_1").op.name == "foo_1_1"
    assert tf.constant(1, name="FOO").op.name == "FOO_2"


def test_default_names():
    a, b = tf.constant(1.0), tf.constant(2.0)
    made = [a + b, a * b, a - b, a / b, -a, a**b, a // b, a % b, tf.square(a), a[None]]
    assert [t.op.name for t in made] == (
        ["add", "mul", "sub", "truediv", "Neg", "pow", "floordiv", "mod", "Square", "strided_slice"]
    )
    assert tf.reduce_mean(made[-1]).op.name == "Mean"
    assert tf.placeholder(tf.float32).name == "Placeholder:0"
    assert tf.Variable(0.0).name == "Variable:0"
    assert tf.group().name == "group_deps"
    assert tf.global_variables_initializer().name == "init"


def test_a_variable_makes_the_nodes_tensorflow_makes():
    tf.Variable(0)
    types = [(op.name, op.type) for op in tf.get_default_graph().get_operations()]
    assert types == [
        ("Variable/initial_value", "Const"),
        ("Variable", "VariableV2"),
        ("Variable/Assign", "Assign"),
        ("Variable/read", "Identity"),
    ]


def test_python_operands_become_constants_inside_the_scope_of_the_operation():
    x = tf.placeholder(tf.float32, [4], name="x")
    tf.reshape(x, [2, 2])
    assert names() == ["x", "Reshape/shape", "Reshape"]


def test_name_scopes():
    with tf.name_scope("relu") as first:
        tf.constant(0)
    with tf.name_scope("relu"):
        tf.constant(0)
        with tf.name_scope(None):
            tf.constant(0, name="top")
    with tf.name_scope(first):
        tf.constant(0)
    assert names() == ["relu/Const", "relu_1/Const", "top", "relu/Const_1"]
    with pytest.raises(ValueError, match="'a b' is not a valid scope name"), tf.name_scope("a b"):
        raise AssertionError


def test_text_of_tensors_and_operations():
    a = tf.constant(1)
    assert str(tf.add(a, tf.constant(1))) == 'Tensor("Add:0", shape=(), dtype=int32)'
    x = tf.placeholder(tf.float32, [None, 2], name="x")
    assert str(x) == 'Tensor("x:0", shape=(?, 2), dtype=float32)'
    assert str(tf.placeholder(tf.float32, name="y")) == 'Tensor("y:0", dtype=float32)'
    assert repr(x.op) == "<tf.Operation 'x' type=Placeholder>"
    assert repr(tf.Variable(0.0, name="v")) == "<tf.Variable 'v:0' shape=() dtype=float32_ref>"


def test_lookups_by_name():
    graph = tf.get_default_graph()
    c = tf.constant(0, name="a")
    assert graph.get_tensor_by_name("a:0") is c
    assert graph.get_operation_by_name("a") is c.op
    with pytest.raises(KeyError, match="The operation, 'b', does not exist in the graph"):
        graph.get_tensor_by_name("b:0")
    with pytest.raises(KeyError, match="exists but only has 1 outputs"):
        graph.get_tensor_by_name("a:1")
    with pytest.raises(ValueError, match="refers to an Operation, not a Tensor"):
        graph.get_tensor_by_name("a")
    with pytest.raises(KeyError, match="refers to an Operation not in the graph"):
        graph.get_operation_by_name("b")


def test_a_finalized_graph_refuses_operations():
    tf.constant(0)
    tf.get_default_graph().finalize()
    with pytest.raises(RuntimeError, match="Graph is finalized and cannot be modified"):
        tf.constant(1)
    assert names() == ["Const"]


def test_graphs_do_not_mix():
    a = tf.constant(1.0, name="a")
    with tf.Graph().as_default():
        b = tf.constant(2.0, name="b")
        with pytest.raises(ValueError, match="must be from the same graph as"):
            tf.add(a, b)
        assert tf.square(a).graph is a.graph


def test_default_graph_nests_and_resets():
    outer = tf.get_default_graph()
    with tf.Graph().as_default() as inner:
        assert tf.get_default_graph() is inner
        with pytest.raises(AssertionError, match="nested graphs"):
            tf.reset_default_graph()
    assert tf.get_default_graph() is outer
    tf.reset_default_graph()
    assert tf.get_default_graph() is not outer


def test_collections():
    tf.add_to_collection("mine", 1)
    assert tf.get_collection("mine") == [1]
    tf.get_collection("mine").append(2)
    assert tf.get_collection("mine") == [1]
    with tf.variable_scope("a"):
        inside = tf.get_variable("w", [1])
    tf.get_variable("w", [1])
    assert tf.get_collection(tf.GraphKeys.GLOBAL_VARIABLES, scope="a/") == [inside]
    own = tf.Variable(0.0, collections=["own"])
    assert own in tf.trainable_variables() and own not in tf.global_variables()


def test_devices_are_recorded():
    with tf.device("/gpu:0"):
        a = tf.constant(0)
        with tf.device(None):
            b = tf.constant(0)
    assert (a.device, b.device, tf.constant(0).device) == ("/device:GPU:0", "", "")


def test_control_dependencies_are_recorded():
    a, b = tf.constant(0), tf.constant(0)
    with tf.control_dependencies([a, b.op]):
        c = tf.constant(1)
        with tf.control_dependencies(None):
            d = tf.constant(2)
    assert c.op.control_inputs == [a.op, b.op]
    assert d.op.control_inputs == []


def test_attributes():
    x = tf.placeholder(tf.float32, [1, 4, 4, 1])
    op = tf.nn.conv2d(x, tf.zeros([3, 3, 1, 2]), [1, 2, 2, 1], "SAME").op
    assert op.type == "Conv2D"
    assert op.get_attr("strides") == [1, 2, 2, 1]
    assert op.get_attr("padding") == "SAME"
    assert op.get_attr("T") == tf.float32
    with pytest.raises(ValueError, match="Operation 'Conv2D' has no attr named 'ksize'"):
        op.get_attr("ksize")


def test_where_an_operation_was_made():
    op = tf.constant(0).op
    assert op.traceback[0][0] == __file__
    assert op.traceback[0][2] == "test_where_an_operation_was_made"


def test_tensors_are_not_python_values():
    t = tf.constant([1, 2])
    for use in (bool, len, iter):
        with pytest.raises(TypeError):
            use(t)
    assert (t == tf.constant([1, 2])) is False
    assert t in {t: 1}


# Conversion


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (1, tf.int32),
        (2**31, tf.int64),
        (1.5, tf.float32),
        (True, tf.bool),
        ("a", tf.string),
        ([1, 2.5], tf.float32),
        (np.float64(1), tf.float64),
        (np.arange(3), tf.int64),
        ([[1, 2], [3, 4]], tf.int32),
        (np.array([1.0]), tf.float64),
    ],
)
def test_types_of_constants(value, dtype):
    assert tf.constant(value).dtype == dtype


def test_constants_with_shape():
    with tf.Session() as session:
        filled = tf.constant([1, 2], shape=[2, 2])
        assert session.run(filled).tolist() == [[1, 2], [2, 2]]
    with pytest.raises(ValueError, match="Needed at most 1, but received 2"):
        tf.constant([1, 2], shape=[1])


def test_types_do_not_promote():
    with pytest.raises(TypeError, match=r"Expected int32, got 2\.0 of type 'float' instead"):
        tf.ones([2], tf.int32) * 2.0
    with pytest.raises(
        TypeError,
        match="Input 'y' of 'Add' Op has type float64 that does not match type float32 of "
        "argument 'x'",
    ):
        tf.add(tf.constant(1.0), tf.constant(1.0, tf.float64))
    with pytest.raises(TypeError, match="DataType int32 not in list of allowed values"):
        tf.exp(tf.constant(1))
    with pytest.raises(ValueError, match="requested dtype int32 for Tensor with dtype float32"):
        tf.convert_to_tensor(tf.constant(1.0), tf.int32)


def test_arrays_meet_tensors_from_both_sides():
    product = np.ones(2) * tf.constant([1.0, 2.0])
    assert product.dtype == tf.float32
    assert tf.constant([1.0, 2.0]) * np.ones(2) is not None


def test_names_of_types():
    assert tf.as_dtype("float") is tf.float32
    assert tf.as_dtype(np.int64) is tf.int64
    assert tf.float32.as_numpy_dtype is np.float32
    assert tf.float32 == "float32" and tf.float32 != tf.int32
    assert repr(tf.bool) == "tf.bool"
    with pytest.raises(TypeError, match="Cannot convert value 'floaty' to a TensorFlow DType"):
        tf.as_dtype("floaty")


# Static shapes


def test_shape_texts_and_arithmetic():
    x = tf.placeholder(tf.float32, [None, 28, 28, 32])
    assert str(x.shape) == "(?, 28, 28, 32)"
    assert x.get_shape().as_list() == [None, 28, 28, 32]
    assert x.get_shape()[1].value == 28 and int(x.shape[1]) == 28
    assert x.shape[1] * x.shape[2] == 784
    assert str(tf.TensorShape(None)) == "<unknown>"
    assert str(tf.TensorShape([3])) == "(3,)"
    with pytest.raises(ValueError, match="as_list\\(\\) is not defined on an unknown TensorShape"):
        tf.placeholder(tf.float32).shape.as_list()
    flat = tf.reshape(x, [-1, x.shape[1] * x.shape[2] * 32])
    assert flat.shape.as_list() == [None, 25088]


def test_set_shape_merges():
    x = tf.placeholder(tf.float32, [None, 3])
    x.set_shape([2, None])
    assert x.shape.as_list() == [2, 3]
    with pytest.raises(ValueError, match="Shapes \\(2, 3\\) and \\(4, 3\\) are incompatible"):
        x.set_shape([4, 3])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: tf.matmul(tf.zeros([2, 3]), tf.zeros([2, 3])),
            "Dimensions must be equal, but are 3 and 2 for 'MatMul' (op: 'MatMul') with input "
            "shapes: [2,3], [2,3].",
        ),
        (
            lambda: tf.reshape(tf.zeros([6]), [4]),
            "Cannot reshape a tensor with 6 elements to shape [4] (4 elements) for 'Reshape'",
        ),
        (
            lambda: tf.zeros([2]) + tf.zeros([3]),
            "Dimensions must be equal, but are 2 and 3 for 'add'",
        ),
        (
            lambda: tf.nn.conv2d(tf.zeros([1, 4, 4, 3]), tf.zeros([2, 2, 4, 1]), [1] * 4, "SAME"),
            "Dimensions must be equal, but are 3 and 4 for 'Conv2D'",
        ),
        (
            lambda: tf.nn.max_pool(tf.zeros([1, 2, 2, 1]), [1, 3, 3, 1], [1] * 4, "VALID"),
            "Negative dimension size caused by subtracting 3 from 2",
        ),
        (lambda: tf.reduce_sum(tf.zeros([2]), 1), "Invalid reduction dimension 1"),
        (lambda: tf.squeeze(tf.zeros([2, 1]), [0]), "Can not squeeze dim[0]"),
        (lambda: tf.concat([tf.zeros([2]), tf.zeros([2, 2])], 0), "must have rank 1"),
        (lambda: tf.zeros([3])[4], "slice index 4 of dimension 0 out of bounds"),
        (lambda: tf.unstack(tf.placeholder(tf.float32, [None])), "Cannot infer num from shape"),
        (lambda: tf.nn.conv2d(tf.zeros([1] * 4), tf.zeros([1] * 4), 1, "FULL"), "padding must be"),
    ],
)
def test_shapes_that_do_not_fit_fail_while_building(build, message):
    with pytest.raises(ValueError) as caught:
        build()
    assert message in str(caught.value)


def test_shapes_follow_constants_and_shape_operations():
    x = tf.placeholder(tf.float32, [None, 4])
    assert tf.reshape(x, [tf.shape(x)[0], 2, 2]).shape.as_list() == [None, 2, 2]
    assert tf.reshape(x, tf.stack([tf.shape(x)[1] // 2, -1])).shape.as_list() == [2, None]
    assert tf.zeros(tf.shape(tf.zeros([3, 5]))).shape.as_list() == [3, 5]
    assert tf.tile(x, [2, 3]).shape.as_list() == [None, 12]
    assert tf.transpose(x).shape.as_list() == [4, None]
