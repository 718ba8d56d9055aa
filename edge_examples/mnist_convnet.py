# SPDX-License-Identifier: Apache-2.0
"""The ConvNet of the "Deep MNIST" tutorial, written as a TensorFlow 1 program.

Two layers of 5x5 convolution and 2x2 max pooling, a dense layer of 1,024 units with dropout, and
a softmax over ten digits. `python -m edge_examples.mnist_convnet` trains it and prints the test
accuracy; `edge_examples.demo` goes on to convert and quantize it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import host_engine as tf
from edge_examples.datasets import Digits, load_mnist

EPOCHS = 14
BATCH = 100
FIRST_RATE, LAST_RATE = 1e-3, 3e-4  # learning rate, falling geometrically over the steps
KEEP_PROBABILITY = 0.5
LARGEST_SHIFT = 2  # pixels; moved copies make 4,000 digits count for more


def weight_variable(shape: list[int], name: str) -> Any:
    """A variable of small random numbers, so that no two units start alike."""
    return tf.Variable(tf.truncated_normal(shape, stddev=0.1), name=name)


def bias_variable(shape: list[int], name: str) -> Any:
    """A variable slightly above zero, so that no rectified unit starts dead."""
    return tf.Variable(tf.constant(0.1, shape=shape), name=name)


def conv2d(x: Any, kernel: Any) -> Any:
    """Convolution with stride 1, padded so that the output has the size of the input."""
    return tf.nn.conv2d(x, kernel, strides=[1, 1, 1, 1], padding="SAME")


def max_pool_2x2(x: Any) -> Any:
    """Maximum of each 2x2 square, halving height and width."""
    return tf.nn.max_pool(x, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")


def features(images: Any) -> Any:
    """images float32 [batch, 28, 28, 1] -> the 1,024 rectified units of the dense layer."""
    with tf.name_scope("conv1"):
        kernel, bias = weight_variable([5, 5, 1, 32], "weights"), bias_variable([32], "bias")
        hidden = max_pool_2x2(tf.nn.relu(conv2d(images, kernel) + bias))
    with tf.name_scope("conv2"):
        kernel, bias = weight_variable([5, 5, 32, 64], "weights"), bias_variable([64], "bias")
        hidden = max_pool_2x2(tf.nn.relu(conv2d(hidden, kernel) + bias))
    with tf.name_scope("dense1"):
        weights = weight_variable([7 * 7 * 64, 1024], "weights")
        flat = tf.reshape(hidden, [-1, 7 * 7 * 64])
        return tf.nn.relu(tf.matmul(flat, weights) + bias_variable([1024], "bias"))


@dataclass
class Network:
    """The graph's ends: what is fed, what is fetched."""

    images: Any
    labels: Any
    keep_prob: Any
    learning_rate: Any
    probabilities: Any
    loss: Any
    accuracy: Any
    train_step: Any


def build() -> Network:
    """Adds the network, its loss and one Adam step to the default graph."""
    images = tf.placeholder(tf.float32, [None, 28, 28, 1], name="images")
    labels = tf.placeholder(tf.float32, [None, 10], name="labels")
    keep_prob = tf.placeholder(tf.float32, [], name="keep_prob")
    learning_rate = tf.placeholder(tf.float32, [], name="learning_rate")
    hidden = features(images)
    with tf.name_scope("dense2"):
        weights, bias = weight_variable([1024, 10], "weights"), bias_variable([10], "bias")
    # Training and inference share the variables; only training drops units.
    train_logits = tf.matmul(tf.nn.dropout(hidden, keep_prob), weights) + bias
    loss = tf.reduce_mean(
        tf.nn.softmax_cross_entropy_with_logits(labels=labels, logits=train_logits)
    )
    probabilities = tf.nn.softmax(tf.matmul(hidden, weights) + bias, name="probabilities")
    correct = tf.equal(tf.argmax(probabilities, 1), tf.argmax(labels, 1))
    accuracy = tf.reduce_mean(tf.cast(correct, tf.float32))
    train_step = tf.train.AdamOptimizer(learning_rate).minimize(loss)
    return Network(
        images, labels, keep_prob, learning_rate, probabilities, loss, accuracy, train_step
    )


@dataclass
class History:
    """The course of a training: a loss per step, a test accuracy after each epoch."""

    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)
    steps_per_epoch: int = 0


def shifted(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each image moved by up to LARGEST_SHIFT pixels either way, background filled in."""
    n, height, width, _ = images.shape
    room = LARGEST_SHIFT
    padded = np.pad(images, ((0, 0), (room, room), (room, room), (0, 0)))
    offsets = rng.integers(0, 2 * room + 1, (n, 2))
    moved = [p[y : y + height, x : x + width] for p, (y, x) in zip(padded, offsets, strict=True)]
    return np.stack(moved)


def batches(digits: Digits, size: int, rng: np.random.Generator) -> Iterator[Digits]:
    """The digits once, moved and in random order, `size` at a time; a remainder is left out."""
    order = rng.permutation(len(digits))
    for start in range(0, len(digits) - size + 1, size):
        picked = order[start : start + size]
        yield Digits(shifted(digits.images[picked], rng), digits.labels[picked])


def measure_accuracy(session: Any, network: Network, digits: Digits, size: int = 250) -> float:
    """Share of digits that the network names correctly."""
    right = 0
    for start in range(0, len(digits), size):
        part = Digits(digits.images[start : start + size], digits.labels[start : start + size])
        feeds = {network.images: part.images, network.labels: part.one_hot()}
        right += round(float(session.run(network.accuracy, feeds)) * len(part))
    return right / len(digits)


def train(
    session: Any,
    network: Network,
    digits: Digits,
    test: Digits,
    epochs: int = EPOCHS,
    on_step: Callable[[float], None] = lambda loss: None,
) -> History:
    """Trains in place; `on_step` is called with the loss of every step."""
    rng = np.random.default_rng(2016)
    history = History(steps_per_epoch=len(digits) // BATCH)
    steps = epochs * history.steps_per_epoch
    rates = iter(np.geomspace(FIRST_RATE, LAST_RATE, steps))
    session.run(tf.global_variables_initializer())
    for _ in range(epochs):
        for batch in batches(digits, BATCH, rng):
            feeds = {
                network.images: batch.images,
                network.labels: batch.one_hot(),
                network.keep_prob: KEEP_PROBABILITY,
                network.learning_rate: next(rates),
            }
            _, loss = session.run([network.train_step, network.loss], feeds)
            history.losses.append(float(loss))
            on_step(history.losses[-1])
        history.accuracies.append(measure_accuracy(session, network, test))
    return history


def main() -> None:
    """Trains on 4,000 digits and prints the accuracy on 1,000 others."""
    digits, test = load_mnist()
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(2016)
        network = build()
        history = train(session, network, digits, test)
    for epoch, accuracy in enumerate(history.accuracies, 1):
        print(f"epoch {epoch}: {accuracy:.1%} of {len(test)} test digits")


if __name__ == "__main__":
    main()
