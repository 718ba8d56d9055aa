# SPDX-License-Identifier: Apache-2.0
"""Loops, branches, lists and signals of imported graphs, against what TensorFlow computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import host_engine as tf
from host_engine.graphdef.importing import read_graph_def

FOLDER = Path(__file__).parent.parent / "converter" / "graphdefs"
KINDS = ("classic_*", "keras_*", "ops_flow", "ops_signals", "ops_speech")
GRAPHS = sorted(p.stem for kind in KINDS for p in FOLDER.glob(f"{kind}.pb"))


def opened(name):
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(read_graph_def(FOLDER / f"{name}.pb"), name="")
    found = np.load(FOLDER / f"{name}.npz")
    feeds = {f"{key[3:]}:0": found[key] for key in found if key.startswith("in ")}
    wanted = {key[4:]: found[key] for key in found if key.startswith("out ")}
    return tf.Session(graph=graph), feeds, wanted


def full(name):
    return name if ":" in name else f"{name}:0"


@pytest.mark.parametrize("name", GRAPHS)
def test_the_session_computes_what_tensorflow_does(name):
    session, feeds, wanted = opened(name)
    found = session.run([full(key) for key in wanted], feeds)
    for value, (key, numbers) in zip(found, wanted.items(), strict=True):
        scale = np.abs(numbers).max(initial=1e-6)
        np.testing.assert_allclose(value, numbers, rtol=0, atol=1e-5 * scale, err_msg=key)


def test_a_loop_runs_again_with_other_feeds():
    session, feeds, wanted = opened("classic_loops")
    names = [full(key) for key in wanted]
    first = session.run(names, feeds)
    other = session.run(names, {key: -value for key, value in feeds.items()})
    again = session.run(names, feeds)
    assert not np.array_equal(first[0], other[0])
    np.testing.assert_array_equal(first[0], again[0])


def test_a_tensor_of_the_branch_that_is_not_taken_has_no_value():
    session, feeds, _ = opened("classic_loops")
    sides = [op for op in session.graph.get_operations() if op.type == "Switch"]
    branch = next(op for op in sides if op.inputs[1].op.type != "LoopCond")
    values = []
    for tensor in branch.outputs:
        try:
            values.append(session.run(tensor, feeds))
        except tf.errors.InvalidArgumentError as error:
            assert "does not have a value" in str(error)
    assert len(values) == 1


def test_what_waits_for_a_branch_runs_only_with_it():
    graph_def = """
    node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_BOOL } } }
    node { name: "s" op: "Switch" input: "x" input: "x"
      attr { key: "T" value { type: DT_BOOL } } }
    node { name: "n" op: "NoOp" input: "^no" }
    node { name: "no" op: "Identity" input: "s" attr { key: "T" value { type: DT_BOOL } } }
    node { name: "yes" op: "Identity" input: "s:1" attr { key: "T" value { type: DT_BOOL } } }
    node { name: "a" op: "Const" input: "^n" attr { key: "dtype" value { type: DT_INT32 } }
      attr { key: "value" value { tensor { dtype: DT_INT32 tensor_shape {} int_val: 1 } } } }
    node { name: "b" op: "Const" input: "^yes" attr { key: "dtype" value { type: DT_INT32 } }
      attr { key: "value" value { tensor { dtype: DT_INT32 tensor_shape {} int_val: 2 } } } }
    node { name: "m" op: "Merge" input: "a" input: "b" attr { key: "N" value { i: 2 } }
      attr { key: "T" value { type: DT_INT32 } } }
    """
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(read_graph_def(graph_def.strip().encode()), name="")
    session = tf.Session(graph=graph)
    assert session.run(["m:0", "m:1"], {"x:0": True}) == [2, 1]
    assert session.run(["m:0", "m:1"], {"x:0": False}) == [1, 0]


def test_a_failed_assertion_says_what_it_saw():
    graph_def = """
    node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_BOOL } } }
    node { name: "check" op: "Assert" input: "x" input: "x"
      attr { key: "T" value { list { type: DT_BOOL } } } }
    node { name: "y" op: "Identity" input: "x" input: "^check"
      attr { key: "T" value { type: DT_BOOL } } }
    """
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(read_graph_def(graph_def.strip().encode()), name="")
    session = tf.Session(graph=graph)
    assert session.run("y:0", {"x:0": True})
    with pytest.raises(tf.errors.InvalidArgumentError, match="assertion failed"):
        session.run("y:0", {"x:0": False})


def test_a_damaged_loop_gets_a_sentence():
    graph_def = """
    node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_BOOL } } }
    node { name: "s" op: "Switch" input: "x" input: "x"
      attr { key: "T" value { type: DT_BOOL } } }
    node { name: "y" op: "Exit" input: "s" attr { key: "T" value { type: DT_BOOL } } }
    """
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(read_graph_def(graph_def.strip().encode()), name="")
    with pytest.raises(tf.errors.InvalidArgumentError, match="no LoopCond"):
        tf.Session(graph=graph).run("y:0", {"x:0": True})
