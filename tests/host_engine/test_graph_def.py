# SPDX-License-Identifier: Apache-2.0
"""GraphDefs: read, written, imported and made from graphs; any bytes give a graph or a sentence."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest

import host_engine as tf
from host_engine.graphdef.importing import read_graph_def
from host_engine.graphdef.messages import TensorProto
from host_engine.graphdef.tensors import array_of, tensor_proto
from host_engine.graphdef.text import from_text


def network():
    x = tf.placeholder(tf.float32, [None, 4], name="x")
    weights = tf.Variable(np.arange(8, dtype=np.float32).reshape(4, 2), name="w")
    hidden = tf.concat([tf.matmul(x, weights), tf.zeros([1, 2])], 0, name="both")
    return tf.nn.softmax(hidden * np.float32(0.1), name="y")


def frozen():
    y = network()
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    graph_def = session.graph.as_graph_def()
    wanted = session.run(y, {"x:0": np.ones((1, 4), np.float32)})
    return tf.graph_util.convert_variables_to_constants(session, graph_def, ["y"]), wanted


def test_a_frozen_graph_computes_the_same():
    graph_def, wanted = frozen()
    assert {"VariableV2", "Assign"}.isdisjoint(node.op for node in graph_def.node)
    again = tf.GraphDef.FromString(graph_def.SerializeToString())
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [1, 4])
        y, op = tf.import_graph_def(again, {"x:0": x}, ["y:0", "both"], name="net")
        assert y.name == "net/y:0" and op.type == "ConcatV2"
        np.testing.assert_array_equal(tf.Session(graph=graph).run(y, {x: np.ones((1, 4))}), wanted)


def test_the_text_form_is_the_same_graph(tmp_path):
    graph_def, _ = frozen()
    path = tf.train.write_graph(graph_def, str(tmp_path / "sub"), "g.pbtxt")
    assert 'op: "MatMul"' in Path(path).read_text()
    assert read_graph_def(path) == graph_def
    binary = tf.train.write_graph(graph_def, str(tmp_path), "g.pb", as_text=False)
    assert read_graph_def(binary) == graph_def
    assert sorted(p.name for p in tmp_path.iterdir()) == ["g.pb", "sub"]


def test_texts_with_comments_lists_and_unknown_fields():
    text = """# a graph
    node { name: "a" op: 'Const' input: ["b", "^c"] attr { key: "v" value {
      tensor { dtype: DT_FLOAT tensor_shape < dim { size: 2 } > float_val: -1.5e0 float_val: inf
      } } }
      experimental_debug_info { original_node_names: "x" numbers: [1, 2] } }"""
    graph_def = from_text(text, tf.GraphDef())
    (node,) = graph_def.node
    assert list(node.input) == ["b", "^c"]
    np.testing.assert_array_equal(array_of(node.attr["v"].tensor), [-1.5, np.inf])
    for bad in ('node { name: "a" ', "node: 3", "node { name: 4 }", "node { ? }", 'node "'):
        with pytest.raises(tf.errors.DataLossError, match="line 1"):
            from_text(bad, tf.GraphDef())


@pytest.mark.parametrize(
    "kind", ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", "c8", "c16"]
)
@pytest.mark.parametrize("shape", [(), (0, 2), (2, 3)])
def test_arrays_are_what_they_were(kind, shape):
    array = np.random.default_rng(0).normal(size=shape).astype(kind)
    proto = TensorProto.FromString(tensor_proto(array).SerializeToString())
    found = array_of(proto)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_texts_and_repeated_values():
    array = np.array([[b"a", "ü".encode()]], object)
    np.testing.assert_array_equal(array_of(tensor_proto(array, tf.string)), array)
    proto = TensorProto(dtype=19)
    proto.tensor_shape.dim.add(size=3)
    proto.half_val.append(int(np.float16(1.5).view(np.uint16)))
    np.testing.assert_array_equal(array_of(proto), np.full(3, 1.5, np.float16))


def test_tensors_that_are_damaged():
    proto = tensor_proto(np.zeros(3, np.float32))
    proto.tensor_content = b"abc"
    with pytest.raises(tf.errors.DataLossError, match="3 bytes"):
        array_of(proto)
    proto = TensorProto(dtype=1)
    proto.tensor_shape.dim.add(size=1 << 40)
    with pytest.raises(tf.errors.DataLossError, match="repeats"):
        array_of(proto)
    with pytest.raises(tf.errors.DataLossError, match="element type number 77"):
        array_of(TensorProto(dtype=77))


def test_ops_without_a_record_are_kept_and_named_when_run():
    graph_def = from_text(
        """node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }
        node { name: "d" op: "Digamma" input: "x" attr { key: "T" value { type: DT_FLOAT } } }
        node { name: "o" op: "MyOp" input: "d" input: "o2:1" }
        node { name: "o2" op: "MyOther" attr { key: "T" value { type: DT_INT64 } } }""",
        tf.GraphDef(),
    )
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
        op = graph.get_operation_by_name("o")
        assert op.inputs[1].name == "o2:1" and op.inputs[1].dtype == tf.int64
        session = tf.Session()
        with pytest.raises(tf.errors.UnimplementedError, match=r"Digamma.*cannot compute"):
            session.run("d:0", {"x:0": 1.0})
        with pytest.raises(tf.errors.NotFoundError, match="Op type not registered: 'MyOp'"):
            session.run("o:0", {"d:0": 1.0, "o2:1": 1})
        again = graph.as_graph_def()
    assert [n.op for n in again.node] == ["Placeholder", "Digamma", "MyOther", "MyOp"]


def test_loops_of_version_1_close():
    graph_def = from_text(
        """node { name: "c" op: "Const" attr { key: "dtype" value { type: DT_INT32 } }
          attr { key: "value" value { tensor { dtype: DT_INT32 int_val: 1 tensor_shape { } } } } }
        node { name: "m" op: "Merge" input: "e" input: "n"
          attr { key: "N" value { i: 2 } } attr { key: "T" value { type: DT_INT32 } } }
        node { name: "e" op: "Enter" input: "c" attr { key: "T" value { type: DT_INT32 } } }
        node { name: "n" op: "NextIteration" input: "m"
          attr { key: "T" value { type: DT_INT32 } } }""",
        tf.GraphDef(),
    )
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
        merge = graph.get_operation_by_name("m")
        assert [t.op.name for t in merge.inputs] == ["e", "n"]
    graph_def.node[3].op = "Identity"
    with tf.Graph().as_default(), pytest.raises(ValueError, match="wait for each other"):
        tf.import_graph_def(graph_def, name="")


def test_what_import_refuses():
    graph_def, _ = frozen()
    tf.reset_default_graph()
    with pytest.raises(TypeError, match="must be a GraphDef"):
        tf.import_graph_def("graph")
    with pytest.raises(ValueError, match=r"not found in graph_def: \[nothing:0\]"):
        tf.import_graph_def(graph_def, {"nothing:0": tf.zeros([1])})
    with pytest.raises(ValueError, match=r"'nope:0' not found"):
        tf.import_graph_def(graph_def, return_elements=["nope:0"])
    broken = copy.deepcopy(graph_def)
    del broken.node[0]
    with pytest.raises(ValueError, match=r"reads .* not in the GraphDef"):
        tf.import_graph_def(broken)


def test_every_cut_and_every_flipped_byte_gives_a_graph_or_a_sentence():
    data = frozen()[0].SerializeToString()
    rng = np.random.default_rng(5)
    damaged = [data[:n] for n in range(0, len(data), 3)]
    for at in range(0, len(data), 2):
        bent = bytearray(data)
        bent[at] ^= int(rng.integers(1, 256))
        damaged.append(bytes(bent))
    imported = 0
    for content in damaged:
        with tf.Graph().as_default():
            try:
                tf.import_graph_def(read_graph_def(content), name="")
                imported += 1
            except (ValueError, tf.errors.OpError) as error:
                assert str(error)
    assert 0 < imported < len(damaged)


def test_sub_graphs_and_training_nodes():
    y = network()
    graph_def = tf.Graph.as_graph_def(y.graph)
    small = tf.graph_util.extract_sub_graph(graph_def, ["both"])
    assert "y" not in [n.name for n in small.node] and "both" in [n.name for n in small.node]
    slim = tf.graph_util.remove_training_nodes(small)
    assert "Identity" in [n.op for n in small.node]
    assert "Identity" not in [n.op for n in slim.node]
    with pytest.raises(AssertionError, match="nope is not in graph"):
        tf.graph_util.extract_sub_graph(graph_def, ["nope"])
