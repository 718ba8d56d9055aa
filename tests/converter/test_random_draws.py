# SPDX-License-Identifier: Apache-2.0
"""What a random draw cannot change is a constant; what it can change is an obstacle."""

from __future__ import annotations

import numpy as np
import pytest

import host_engine as tf
from converter import ConversionError, from_session

SIZE = (2, 3)


def draw():
    """Uniform in [0, 1)."""
    return tf.random_uniform(SIZE)


# Mask -> the number it always is.
SETTLED = {
    "floor(1 + u)": (lambda: tf.floor(draw() + 1.0), 1.0),
    "floor(u)": (lambda: tf.floor(draw()), 0.0),
    "floor(u / 2 + 1 / 2)": (lambda: tf.floor(draw() * 0.5 + 0.5), 0.0),
    "floor(u - 1)": (lambda: tf.floor(draw() - 1.0), -1.0),
    "u >= 0": (lambda: tf.cast(tf.greater_equal(draw(), 0.0), tf.float32), 1.0),
    "u >= 1": (lambda: tf.cast(tf.greater_equal(draw(), 1.0), tf.float32), 0.0),
    "u < 1": (lambda: tf.cast(tf.less(draw(), 1.0), tf.float32), 1.0),
}
OPEN = {
    "floor(u + 1 / 2)": lambda: tf.floor(draw() + 0.5),
    "floor(2 u)": lambda: tf.floor(draw() * 2.0),
    "floor(1 - u)": lambda: tf.floor(1.0 - draw()),
    "u >= 1 / 2": lambda: tf.cast(tf.greater_equal(draw(), 0.5), tf.float32),
    "floor(u + normal)": lambda: tf.floor(draw() + tf.random_normal(SIZE)),
    "u itself": draw,
}


def imported(build):
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float32, SIZE, name="x")
        return from_session(session, [x], [tf.multiply(x, build(), name="y")])


@pytest.mark.parametrize("case", SETTLED)
def test_settled(case):
    build, number = SETTLED[case]
    model = imported(build)
    (node,) = [n for n in model.main.nodes if n.op == "MUL"]
    (mask,) = [v for v in node.inputs if v.is_constant]
    assert mask.dtype == "FLOAT32"
    np.testing.assert_array_equal(mask.data, number)


@pytest.mark.parametrize("case", OPEN)
def test_open(case):
    with pytest.raises(ConversionError, match="Random"):
        imported(OPEN[case])
