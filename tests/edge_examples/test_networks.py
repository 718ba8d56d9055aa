# SPDX-License-Identifier: Apache-2.0
"""The two networks as host graphs: structure, weights, shapes, learning."""

from __future__ import annotations

import numpy as np
import pytest

import host_engine as tf
from edge_examples import efficientnet_lite0 as lite0
from edge_examples import mnist_convnet
from edge_examples.classify_photos import crop_frame, normalize, read_photo
from edge_examples.datasets import PHOTOS, Digits, load_mnist


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    return lite0.load_weights()


def batch_norm(x: np.ndarray, weights: dict[str, np.ndarray], source: str) -> np.ndarray:
    scale, offset = weights[f"{source}.weight"], weights[f"{source}.bias"]
    mean, variance = weights[f"{source}.running_mean"], weights[f"{source}.running_var"]
    return (x - mean) / np.sqrt(variance.astype(np.float64) + 1e-3) * scale + offset


def test_the_checkpoint_has_the_published_parameters(weights: dict[str, np.ndarray]) -> None:
    assert lite0.parameter_count(weights) == lite0.PARAMETERS == 4_652_008


def test_blocks_match_the_checkpoint(weights: dict[str, np.ndarray]) -> None:
    blocks = list(lite0.blocks())
    assert [b.index for b in blocks] == list(range(16))
    assert [b.index for b in blocks if b.stride == 2] == [1, 3, 5, 11]
    assert [b.index for b in blocks if b.residual] == [2, 4, 6, 7, 9, 10, 12, 13, 14]
    names = {name.split(".")[2] for name in weights if name.startswith("_blocks.0.")}
    assert ("_expand_conv" in names) == blocks[0].expands
    assert all(f"_blocks.{b.index}._expand_conv.weight" in weights for b in blocks if b.expands)


def test_every_weight_is_used_once(weights: dict[str, np.ndarray]) -> None:
    with tf.Graph().as_default() as graph:
        images = tf.placeholder(tf.float32, [1, 224, 224, 3])
        logits = lite0.build(images, weights)
        assert logits.shape.as_list() == [1, 1000]
        variables = tf.global_variables()
        used = sum(int(np.prod(v.shape.as_list())) for v in variables)
        kinds = [op.type for op in graph.get_operations()]
    counters = sum(name.endswith("num_batches_tracked") for name in weights)
    assert used == sum(w.size for w in weights.values()) - counters
    assert (kinds.count("Conv2D"), kinds.count("DepthwiseConv2dNative")) == (33, 16)
    assert (kinds.count("Relu6"), kinds.count("FusedBatchNorm")) == (33, 49)


def test_first_layer_is_convolution_padded_as_tensorflow_pads(
    weights: dict[str, np.ndarray],
) -> None:
    """At stride 2 and an even size SAME pads nothing before and one pixel after."""
    image = np.random.default_rng(0).uniform(-1, 1, (1, 8, 8, 3)).astype(np.float32)
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float32, [1, 8, 8, 3])
        y = lite0._Builder(weights).conv(x, "_conv_stem", "_bn0", stride=2)
        session.run(tf.global_variables_initializer())
        result = session.run(y, {x: image})
    padded = np.pad(image[0].astype(np.float64), ((0, 1), (0, 1), (0, 0)))
    kernel = weights["_conv_stem.weight"].astype(np.float64)
    wanted = np.empty((4, 4, 32))
    for row in range(4):
        for column in range(4):
            window = padded[2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
            wanted[row, column] = np.einsum("hwi,oihw->o", window, kernel)
    wanted = np.clip(batch_norm(wanted, weights, "_bn0"), 0, 6)
    np.testing.assert_allclose(result[0], wanted, atol=2e-5)


def test_efficientnet_knows_shipped_photos(weights: dict[str, np.ndarray]) -> None:
    paths = [PHOTOS / "388_giant_panda.jpg", PHOTOS / "967_espresso.jpg"]
    frames = np.stack([normalize(crop_frame(read_photo(path))) for path in paths])
    with tf.Graph().as_default(), tf.Session() as session:
        images = tf.placeholder(tf.float32, [None, 224, 224, 3])
        logits = lite0.build(images, weights)
        session.run(tf.global_variables_initializer())
        result = session.run(logits, {images: frames})
    assert result.argmax(1).tolist() == [388, 967]
    # What the PyTorch original answers for these frames.
    np.testing.assert_allclose(result.max(1), PYTORCH_LOGITS, rtol=2e-3)


PYTORCH_LOGITS = [10.648467, 10.471825]


def test_shifted_digits_keep_their_ink() -> None:
    images = np.zeros((20, 28, 28, 1), np.float32)
    images[:, 10:18, 10:18] = 0.5
    moved = mnist_convnet.shifted(images, np.random.default_rng(0))
    assert moved.shape == images.shape
    np.testing.assert_allclose(moved.sum((1, 2, 3)), images.sum((1, 2, 3)))
    assert len({m.tobytes() for m in moved}) > 5


def test_batches_cover_the_digits_once() -> None:
    digits = Digits(np.zeros((25, 28, 28, 1), np.float32), np.arange(25))
    seen = [b.labels for b in mnist_convnet.batches(digits, 10, np.random.default_rng(0))]
    assert [len(labels) for labels in seen] == [10, 10]
    assert len(set(np.concatenate(seen))) == 20


def test_convnet_learns_digits_in_a_few_steps() -> None:
    digits, test = load_mnist()
    digits = Digits(digits.images[:600], digits.labels[:600])
    test = Digits(test.images[:200], test.labels[:200])
    losses: list[float] = []
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(1)
        network = mnist_convnet.build()
        history = mnist_convnet.train(session, network, digits, test, 4, losses.append)
        trained = sum(int(np.prod(v.shape.as_list())) for v in tf.trainable_variables())
    assert trained == 3_274_634
    assert history.losses == losses and len(losses) == 24
    assert history.accuracies[-1] > 0.5
    assert history.losses[-1] < history.losses[0]
