# SPDX-License-Identifier: Apache-2.0
"""Graphs with their variables: .meta files written, read, and frozen with a checkpoint."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import host_engine as tf
from host_engine.bundle import Reader
from host_engine.graphdef.freezing import unread_nodes
from host_engine.graphdef.metagraph import read_meta_graph

# Written by TensorFlow 1.15.5: tests/converter/make_checkpoints.py.
CHECKPOINTS = Path(__file__).parent.parent / "converter" / "checkpoints"
NAMES = ("classic", "resources")


def feeds(name):
    found = np.load(CHECKPOINTS / f"{name}.npz")
    return {"image:0": found["image"], "ids:0": found["ids"]}, found["scores"]


@pytest.mark.parametrize("name", NAMES)
def test_tensorflows_graph_is_restored_and_runs(name):
    with tf.Graph().as_default(), tf.Session() as session:
        saver = tf.train.import_meta_graph(str(CHECKPOINTS / f"{name}.meta"))
        assert [v.op.name for v in tf.trainable_variables()] == [
            "net/kernel", "net/bias", "net/table", "net/last",
        ]  # fmt: skip
        saver.restore(session, str(CHECKPOINTS / name))  # by the names that the graph itself has
        given, scores = feeds(name)
        found = session.run("scores:0", {**given, "keep_prob:0": 1.0})
        np.testing.assert_allclose(found, scores, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_is_frozen(name):
    meta_graph = read_meta_graph(CHECKPOINTS / f"{name}.meta")
    assert "scores" in unread_nodes(meta_graph.graph_def)
    reader = Reader(CHECKPOINTS / name)
    frozen = tf.graph_util.freeze_checkpoint(meta_graph, reader, ["scores"], {"keep_prob": 1.0})
    assert not [n for n in frozen.node if "Variable" in n.op or n.op in ("VarHandleOp", "Assign")]
    assert {n.name for n in frozen.node if n.op == "Placeholder"} == {"image", "ids"}
    with tf.Graph().as_default(), tf.Session() as session:
        (y,) = tf.import_graph_def(frozen, return_elements=["scores:0"], name="")
        given, scores = feeds(name)
        np.testing.assert_allclose(session.run(y, given), scores, rtol=0, atol=1e-6)


def test_what_freezing_lacks_is_named():
    meta_graph, reader = (
        read_meta_graph(CHECKPOINTS / "classic.meta"),
        Reader(CHECKPOINTS / "classic"),
    )
    with pytest.raises(tf.errors.NotFoundError, match="no node 'score'"):
        tf.graph_util.freeze_checkpoint(meta_graph, reader, ["score"])
    with pytest.raises(tf.errors.NotFoundError, match="'rate' is no placeholder"):
        tf.graph_util.freeze_checkpoint(meta_graph, reader, ["scores"], {"rate": 1.0})
    with pytest.raises(tf.errors.InvalidArgumentError, match="'keep_prob' of float32 cannot be"):
        tf.graph_util.freeze_checkpoint(meta_graph, reader, ["scores"], {"keep_prob": "all"})
    with pytest.raises(tf.errors.NotFoundError, match="Key net/kernel/Momentum not found"):
        tf.graph_util.freeze_checkpoint(meta_graph, reader, ["net/kernel/Momentum/read"])


def trained(path, **options):
    """Saves a net; its prediction for ones."""
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float32, [None, 4], name="x")
        w = tf.Variable(np.arange(8, dtype=np.float32).reshape(4, 2), name="w")
        y = tf.sigmoid(tf.matmul(x, w) * 0.1, name="y")
        tf.add_to_collection("ends", y)
        tf.add_to_collection("notes", "a text, which has no form in a file")
        step = tf.train.AdamOptimizer(0.1).minimize(tf.reduce_mean(y))
        session.run(tf.global_variables_initializer())
        session.run(step, {x: np.ones((3, 4))})
        tf.train.Saver(**options).save(session, path)
        return session.run(y, {x: np.ones((1, 4))})


def test_what_a_saver_writes_is_imported_again(tmp_path):
    path = str(tmp_path / "m")
    before = trained(path)
    with tf.Graph().as_default(), tf.Session() as session:
        tf.train.import_meta_graph(f"{path}.meta").restore(session, path)
        (y,) = tf.get_collection("ends")
        np.testing.assert_array_equal(session.run(y, {"x:0": np.ones((1, 4))}), before)
        assert len(tf.trainable_variables()) == 1 and len(tf.global_variables()) == 5
    with tf.Graph().as_default(), tf.Session() as session:
        tf.train.import_meta_graph(f"{path}.meta", import_scope="old").restore(session, path)
        found = session.run("old/y:0", {"old/x:0": np.ones((1, 4))})
        np.testing.assert_array_equal(found, before)


def test_the_graph_is_left_out_where_asked(tmp_path):
    with tf.Graph().as_default(), tf.Session() as session:
        v = tf.Variable(1)
        session.run(v.initializer)
        tf.train.Saver().save(session, str(tmp_path / "m"), write_meta_graph=False)
        assert not os.path.exists(tmp_path / "m.meta")
        tf.train.Saver().save(session, str(tmp_path / "m"), meta_graph_suffix="graph")
        assert os.path.exists(tmp_path / "m.graph")


def test_a_graph_without_variables_has_no_saver(tmp_path):
    with tf.Graph().as_default():
        tf.constant(1, name="one")
        meta_graph = tf.train.export_meta_graph(str(tmp_path / "g.meta"))
    assert [n.name for n in meta_graph.graph_def.node] == ["one"]
    with tf.Graph().as_default():
        assert tf.train.import_meta_graph(str(tmp_path / "g.meta")) is None


def test_damaged_files_get_an_error_of_their_own(tmp_path):
    whole = (CHECKPOINTS / "classic.meta").read_bytes()
    rng = np.random.default_rng(0)
    damaged = [whole[:n] for n in range(0, len(whole), 7001)]
    for _ in range(30):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), 3):
            data[at] = rng.integers(256)
        damaged.append(bytes(data))
    refused = 0
    for data in damaged:
        with tf.Graph().as_default():
            try:
                tf.train.import_meta_graph(read_meta_graph(data))
            except (tf.OpError, ValueError, KeyError):
                refused += 1
    assert refused > 10
