# SPDX-License-Identifier: Apache-2.0
"""What TensorFlow writes as space to batch, convolution, batch to space is one dilated one."""

from __future__ import annotations

import numpy as np
import pytest

import converter
import host_engine as tf
import runtime
from host_engine.framework.build import build

RNG = np.random.default_rng(2)


def spread(x, block, paddings):
    arrays = np.array(block, np.int32), np.array(paddings, np.int32)
    return build("SpaceToBatchND", [x, *map(tf.constant, arrays)], {})


def gathered(x, block, crops):
    arrays = np.array(block, np.int32), np.array(crops, np.int32)
    return build("BatchToSpaceND", [x, *map(tf.constant, arrays)], {})


def weights(*shape):
    return tf.constant(RNG.normal(size=shape).astype(np.float32))


def over_two(block, paddings, crops, stride=1, then=lambda y: y, back=None):
    x = tf.placeholder(tf.float32, [None, 12, 12, 3], name="x")
    y = tf.nn.conv2d(
        spread(x, block, paddings), weights(3, 3, 3, 4), [1, stride, stride, 1], "VALID"
    )
    return x, gathered(then(y), back or block, crops)


def over_one(paddings, crops):
    x = tf.placeholder(tf.float32, [None, 12, 3], name="x")
    wide = tf.expand_dims(spread(x, [3], paddings), 1)
    y = tf.nn.conv2d(wide, weights(1, 3, 3, 4), [1, 1, 1, 1], "VALID")
    return x, gathered(tf.squeeze(y, [1]), [3], crops)


def with_bias(y):
    return tf.nn.relu(y + weights(4))


def with_image(y):
    return y + weights(1, 4, 4, 1)


CASES = {
    "same": (lambda: over_two([2, 2], [[2, 2], [2, 2]], [[0, 0], [0, 0]]), "SAME", 2),
    "cropped": (lambda: over_two([2, 3], [[2, 4], [3, 3]], [[0, 2], [1, 0]]), "VALID", 2),
    "no padding": (lambda: over_two([2, 2], [[0, 0], [0, 0]], [[0, 0], [0, 0]]), "VALID", 2),
    "bias": (lambda: over_two([2, 2], [[2, 2]] * 2, [[0, 0]] * 2, then=with_bias), "SAME", 2),
    "one axis": (lambda: over_one([[3, 3]], [[0, 0]]), "SAME", 1),
    "one axis, causal": (lambda: over_one([[6, 0]], [[0, 0]]), "VALID", 1),
}
OTHERS = {
    "stride": lambda: over_two([2, 2], [[2, 4]] * 2, [[0, 0]] * 2, stride=2),
    "other block": lambda: over_two([2, 2], [[2, 2]] * 2, [[0, 0]] * 2, back=[1, 4]),
    "place by place": lambda: over_two([2, 2], [[0, 0]] * 2, [[0, 0]] * 2, then=with_image),
}


def converted(case):
    with tf.Graph().as_default(), tf.Session() as session:
        x, y = case()
        model = converter.from_session(session, [x], [y])
        image = RNG.normal(size=[2, *x.shape.as_list()[1:]]).astype(np.float32)
        wanted = session.run(y, {x: image})
    content = converter.write_tflite(model)
    (found,) = runtime.Interpreter(model_content=content).get_signature_runner()(x=image).values()
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    return model


@pytest.mark.parametrize("name", CASES)
def test_one_dilated_convolution(name):
    case, padding, height = CASES[name]
    model = converted(case)
    assert not {"SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"} & {n.op for n in model.main.nodes}
    (node,) = [n for n in model.main.nodes if n.op == "CONV_2D"]
    assert node.options["padding"] == padding
    assert node.options["dilation_h_factor"] == height


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_another_thing_stays(name):
    ops = [n.op for n in converted(OTHERS[name]).main.nodes]
    assert "SPACE_TO_BATCH_ND" in ops and "BATCH_TO_SPACE_ND" in ops
