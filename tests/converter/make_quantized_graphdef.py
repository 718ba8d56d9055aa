# SPDX-License-Identifier: Apache-2.0
"""Makes tests/converter/graphdefs/quantized/tf2_fake_quant with TensorFlow 2: a small network
as quantization-aware training leaves it, and what TensorFlow computes from it.
"""

import os

import make_graphdefs
import numpy as np
import tensorflow as tf

RNG = np.random.RandomState(4)


def normal(*shape):
    return (RNG.normal(size=shape) * 0.2).astype(np.float32)


def weights(*shape):
    """Constants with a range per channel, narrow as weights have it."""
    values = normal(*shape)
    most = np.abs(values).max(tuple(range(len(shape) - 1)))
    fake = tf.quantization.fake_quant_with_min_max_vars_per_channel
    return fake(tf.constant(values), -most, most, narrow_range=True)


def network(image):
    fake = tf.quantization.fake_quant_with_min_max_vars
    x = fake(image, -1.0, 1.0)
    x = tf.nn.relu6(tf.nn.conv2d(x, weights(3, 3, 3, 8), 2, "SAME") + normal(8))
    x = fake(x, 0.0, 2.0)
    y = tf.nn.conv2d(x, weights(1, 1, 8, 8), 1, "SAME")
    x = fake(x + fake(y, -1.5, 1.5), -1.0, 3.0)
    x = fake(tf.reduce_mean(x, [1, 2]), -0.5, 1.5)
    x = tf.matmul(x, weights(8, 5)) + normal(5)
    return tf.identity(tf.quantization.fake_quant_with_min_max_args(x, -1.0, 1.0), "scores")


def main():
    make_graphdefs.FOLDER = os.path.join(make_graphdefs.FOLDER, "quantized")
    os.makedirs(make_graphdefs.FOLDER, exist_ok=True)
    image = RNG.uniform(-1, 1, (2, 16, 16, 3)).astype(np.float32)
    with tf.Graph().as_default() as graph:
        network(tf.compat.v1.placeholder(tf.float32, image.shape, "image"))
        found = tf.compat.v1.Session().run("scores:0", {"image:0": image})
    make_graphdefs.write(
        "tf2_fake_quant", graph.as_graph_def(), {"image": image}, {"scores": found}
    )


if __name__ == "__main__":
    main()
