# SPDX-License-Identifier: Apache-2.0
"""Makes the SavedModels in tests/converter/saved_models with TensorFlow 2 itself:
``python tests/converter/make_saved_models.py``. Beside each lies NAME.npz: the inputs, and what
TensorFlow computed from them.
"""

import os
import shutil

import keras
import numpy as np
import tensorflow as tf

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "saved_models")
RNG = np.random.RandomState(0)
keras.utils.set_random_seed(1)


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def record(name, feeds):
    """What the signature gives, and only the files that a reader needs."""
    path = os.path.join(FOLDER, name)
    function = tf.saved_model.load(path).signatures["serving_default"]
    found = function(**{key: tf.constant(value) for key, value in feeds.items()})
    arrays = {"in " + key: value for key, value in feeds.items()}
    arrays.update(("out " + key, value.numpy()) for key, value in found.items())
    np.savez_compressed(path + ".npz", **arrays)
    for rest in ("assets", "fingerprint.pb"):
        target = os.path.join(path, rest)
        (shutil.rmtree if os.path.isdir(target) else os.remove)(target)


def images():
    """A Keras net; its variables go through two functions, one within the other."""
    layers = keras.layers
    image = layers.Input((12, 12, 3), name="image")
    x = layers.Conv2D(6, 3, activation="relu")(image)
    x = layers.DepthwiseConv2D(3)(layers.BatchNormalization()(x))
    x = layers.Dropout(0.5)(layers.GlobalAveragePooling2D()(x))
    scores = layers.Dense(5, activation="softmax")(x)
    keras.Model(image, scores).export(os.path.join(FOLDER, "images"), verbose=False)
    record("images", {"image": normal(2, 12, 12, 3)})


class Module(tf.Module):
    """Variables that are read in a loop and in a branch, looked up, and never read."""

    def __init__(self):
        super().__init__()
        self.table, self.last = tf.Variable(normal(10, 4)), tf.Variable(normal(4, 3))
        self.rate, self.unread = tf.Variable(2.0), tf.Variable(normal(7))

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.int32, name="ids"),
            tf.TensorSpec([], tf.float32, name="shift"),
        ]
    )
    def forward(self, ids, shift):
        x = tf.nn.embedding_lookup(self.table, ids)
        _, x = tf.while_loop(
            lambda i, x: i < 3, lambda i, x: (i + 1, tf.tanh(x * self.rate + shift)), [0, x]
        )
        x = tf.cond(shift > 0.0, lambda: x + self.rate, lambda: x - self.rate)
        return {"scores": tf.matmul(x, self.last), "state": x}


def module():
    made = Module()
    tf.saved_model.save(made, os.path.join(FOLDER, "module"), signatures=made.forward)
    record("module", {"ids": np.int32([1, 2, 9]), "shift": np.float32(0.5)})


images()
module()
