# SPDX-License-Identifier: Apache-2.0
"""Makes the checkpoints in tests/converter/checkpoints with TensorFlow 1.15 (Python 3.7) itself:
``python tests/converter/make_checkpoints.py``. Beside each lies NAME.npz: inputs, and what
TensorFlow computed from them.
"""

import os

import numpy as np
import tensorflow as tf

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "checkpoints")


def train(name, use_resource):
    """A classifier with dropout, an embedding and averaged weights, three steps trained."""
    tf.reset_default_graph()
    tf.set_random_seed(3)
    rng = np.random.RandomState(0)
    image = tf.placeholder(tf.float32, [None, 6, 6, 1], name="image")
    ids = tf.placeholder(tf.int32, [None], name="ids")
    label = tf.placeholder(tf.int64, [None], name="label")
    keep = tf.placeholder(tf.float32, (), name="keep_prob")
    with tf.variable_scope("net", use_resource=use_resource):
        kernel = tf.get_variable("kernel", [3, 3, 1, 4])
        bias = tf.get_variable("bias", [4], initializer=tf.zeros_initializer())
        hidden = tf.nn.relu(
            tf.nn.conv2d(image, kernel, strides=[1, 1, 1, 1], padding="VALID") + bias
        )
        hidden = tf.nn.dropout(tf.reshape(hidden, [-1, 64]), rate=1 - keep)
        hidden += tf.nn.embedding_lookup(tf.get_variable("table", [10, 64]), ids)
        logits = tf.matmul(hidden, tf.get_variable("last", [64, 3]))
    scores = tf.nn.softmax(logits, name="scores")
    loss = tf.losses.sparse_softmax_cross_entropy(label, logits)
    average = tf.train.ExponentialMovingAverage(0.5)
    with tf.control_dependencies([tf.train.MomentumOptimizer(0.01, 0.9).minimize(loss)]):
        step = average.apply(tf.trainable_variables())
    averaged = average.variables_to_restore()
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        feeds = {image: rng.normal(size=(5, 6, 6, 1)), ids: range(5), label: [0, 1, 2, 0, 1]}
        for _ in range(3):
            session.run(step, {keep: 0.5, **feeds})
        # The plain names hold the averages: only the graph's own Saver knows which is which.
        for variable in tf.trainable_variables():
            session.run(variable.assign(averaged[average.average_name(variable)]))
        feeds = {image: rng.normal(size=(2, 6, 6, 1)).astype("f"), ids: np.int32([3, 7]), keep: 1}
        path = os.path.join(FOLDER, name)
        names = {average.average_name(v): v for v in tf.trainable_variables()}
        tf.train.Saver(names).save(session, path, write_state=False)
        arrays = {"image": feeds[image], "ids": feeds[ids], "scores": session.run(scores, feeds)}
        np.savez_compressed(path + ".npz", **arrays)


train("classic", False)
train("resources", True)
