# SPDX-License-Identifier: Apache-2.0
"""Values of operations, the spellings of several TensorFlow versions, and random streams.

Numbers of convolutions, pooling, batch normalization and random streams are TensorFlow's.
"""

import numpy as np
import pytest

import host_engine as tf


def run(fetches, feed=None):
    with tf.Session() as session:
        return session.run(fetches, feed)


def close(tensor, expected, tolerance=1e-5):
    np.testing.assert_allclose(run(tensor), expected, rtol=tolerance, atol=tolerance)


def ramp(*shape):
    return tf.reshape(tf.range(1.0, float(np.prod(shape)) + 1), shape)


# Convolution, pooling, normalization


def numbers(text):
    return [float(word) for word in text.split()]


# (padding, stride) -> y, the sum of dx, dw
CONVOLUTIONS = {
    ("SAME", 1): (
        numbers(
            "58.5 64 74.5 82 31.75 36 106.5 118 122.5 136 49.75 57 "
            "30.25 37.5 34.25 42.5 8.875 13.25"
        ),
        14818.75,
        numbers(
            "7787.75 9034.5 8821.5 10207 7780 8890 8633 9850 "
            "10994 12250 11881 13236 10052 11120 10776 11920"
        ),
    ),
    ("SAME", 2): (
        numbers("58.5 64 31.75 36 30.25 37.5 8.875 13.25"),
        2867.75,
        numbers(
            "1522.75 1913.5 1781.5 2215 1258.5 1509 1436 1712 "
            "1517.5 1688 1698 1888 1053 1152 1170 1280"
        ),
    ),
    ("VALID", 1): (
        numbers("58.5 64 74.5 82 106.5 118 122.5 136"),
        12992.0,
        numbers(
            "4260 4720 4984 5520 5708 6320 6432 7120 8604 9520 9328 10320 10052 11120 10776 11920"
        ),
    ),
    ("VALID", 2): (
        numbers("58.5 64"),
        2088.0,
        numbers("117 128 234 256 351 384 468 512 819 896 936 1024 1053 1152 1170 1280"),
    ),
}


@pytest.mark.parametrize(("padding", "stride"), CONVOLUTIONS)
def test_conv2d(padding, stride):
    values, dx_sum, dw = CONVOLUTIONS[padding, stride]
    x, w = ramp(1, 3, 3, 2), ramp(2, 2, 2, 2) / 8.0
    y = tf.nn.conv2d(x, w, [1, stride, stride, 1], padding)
    close(tf.reshape(y, [-1]), values)
    grads = tf.gradients(y * y, [x, w])
    close(tf.reduce_sum(grads[0]), dx_sum)
    close(tf.reshape(grads[1], [-1]), dw)


def test_dilated_and_depthwise_convolution():
    x, w = ramp(1, 3, 3, 2), ramp(2, 2, 2, 2) / 8.0
    dilated = tf.nn.conv2d(x, w, [1, 1, 1, 1], "SAME", dilations=[1, 2, 2, 1])
    close(tf.reshape(dilated, [-1])[:6], [33.375, 35.75, 59.25, 64, 23.875, 26.25])
    y = tf.nn.depthwise_conv2d(x, w, [1, 1, 1, 1], "VALID")
    expected = [24.5, 27, 34, 37, 31.5, 35, 43, 47, 45.5, 51, 61, 67, 52.5, 59, 70, 77]
    close(tf.reshape(y, [-1]), expected)
    (dw,) = tf.gradients(y * y, w)
    close(tf.reshape(dw, [-1])[:8], [1820, 2040, 2856, 3136, 2436, 2728, 3688, 4048])


def test_convolution_in_parts_equals_the_whole():
    """Large enough for several blocks and several slices of rows."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((3, 70, 60, 16)), rng.standard_normal((3, 3, 16, 8))
    y = run(tf.nn.conv2d(tf.constant(x), tf.constant(w), [1, 1, 1, 1], "SAME"))
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = sum(padded[:, i : i + 70, j : j + 60] @ w[i, j] for i in range(3) for j in range(3))
    np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-10)


def test_conv2d_transpose_undoes_the_shape():
    x = tf.zeros([2, 4, 4, 3])
    y = tf.nn.conv2d_transpose(x, tf.zeros([3, 3, 5, 3]), [2, 8, 8, 5], [1, 2, 2, 1])
    assert y.shape.as_list() == [2, 8, 8, 5] == list(run(y).shape)


def test_pooling():
    x = ramp(1, 3, 3, 2)
    y = tf.nn.max_pool(x, [1, 2, 2, 1], [1, 2, 2, 1], "SAME")
    close(tf.reshape(y, [-1]), [9, 10, 11, 12, 15, 16, 17, 18])
    (dx,) = tf.gradients(y * y, x)
    close(dx[0, :, :, 0], [[0, 0, 0], [0, 18, 22], [0, 30, 34]])
    y = tf.nn.avg_pool(x, [1, 2, 2, 1], [1, 2, 2, 1], "SAME")
    close(tf.reshape(y, [-1]), [5, 6, 8, 9, 14, 15, 17, 18])
    (dx,) = tf.gradients(y * y, x)
    close(dx[0, :, :, 0], [[2.5, 2.5, 8], [2.5, 2.5, 8], [14, 14, 34]])


def test_max_pool_gradient_at_ties_goes_to_the_first_cell():
    x = tf.ones([1, 2, 2, 1])
    (dx,) = tf.gradients(tf.nn.max_pool(x, 2, 2, "VALID"), x)
    assert run(dx).ravel().tolist() == [1, 0, 0, 0]


def test_fused_batch_norm():
    x = ramp(1, 3, 3, 2)
    y, mean, variance = tf.nn.fused_batch_norm(x, [1.0, 2.0], [0.5, -0.5])
    close(mean, [9, 10])
    close(variance, [30, 30])
    expected = [-1.04916, -3.59833, -0.66187, -2.82375, -0.27458, -2.04916]
    close(tf.reshape(y, [-1])[:6], expected)
    (dx,) = tf.gradients(y * y * x, x)
    close(tf.reshape(dx, [-1])[:4], [3.90038, 24.14676, 1.13785, 10.77285], 1e-4)
    with pytest.raises(ValueError, match="must be given if is_training is False"):
        tf.nn.fused_batch_norm(x, [1.0, 2.0], [0.5, -0.5], is_training=False)
    given = tf.nn.fused_batch_norm(
        x, [1.0, 2.0], [0.5, -0.5], [1.0, 2.0], [4.0, 9.0], is_training=False
    )[0]
    plain = tf.nn.batch_normalization(x, [1.0, 2.0], [4.0, 9.0], [0.5, -0.5], [1.0, 2.0], 1e-3)
    np.testing.assert_allclose(*run([given, plain]), rtol=1e-6)


def test_numbers_far_out_stay_finite():
    logits = tf.constant([[200.0, 0.0]])
    close(tf.nn.softmax_cross_entropy_with_logits(labels=[[0.0, 1.0]], logits=logits), [200.0])
    close(tf.nn.log_softmax(logits), [[0, -200]])
    close(tf.sigmoid(tf.constant([-200.0, 200.0])), [0, 1])
    close(tf.nn.softplus(tf.constant([-200.0, 200.0])), [0, 200])


# Spellings


def test_orders_of_arguments_of_both_dialects():
    a, b = tf.constant([[1, 2]]), tf.constant([[3, 4]])
    for joined in (
        tf.concat([a, b], 1),
        tf.concat(1, [a, b]),
        tf.concat(concat_dim=1, values=[a, b]),
    ):
        assert run(joined).tolist() == [[1, 2, 3, 4]]
    for parts in (tf.split(a, 2, 1), tf.split(1, 2, a), tf.split(a, [1, 1], 1)):
        assert [p.tolist() for p in run(parts)] == [[[1]], [[2]]]
    logits, labels = tf.constant([[1.0, 2.0]]), tf.constant([[0.0, 1.0]])
    old = tf.nn.softmax_cross_entropy_with_logits(logits, labels)
    new = tf.nn.softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    close(old, [0.3132617])
    close(new, [0.3132617])
    with pytest.raises(ValueError, match="with named arguments"):
        tf.nn.softmax_cross_entropy_with_logits(None or logits, labels, logits)
    with pytest.raises(ValueError, match="Both labels and logits must be provided"):
        tf.nn.softmax_cross_entropy_with_logits(labels=labels)


def test_reductions_take_old_and_new_keywords():
    x = tf.constant([[1.0, 2.0], [3.0, 4.0]])
    for total in (
        tf.reduce_sum(x, 1, True),
        tf.reduce_sum(x, axis=[1], keepdims=True),
        tf.reduce_sum(x, reduction_indices=1, keep_dims=True),
    ):
        assert run(total).tolist() == [[3], [7]]
    assert run(tf.reduce_mean(x)) == 2.5
    assert run(tf.reduce_prod(x, -1)).tolist() == [2, 12]
    assert run(tf.argmax(x, dimension=1)).tolist() == [1, 1]
    assert run(tf.argmin(x, 0)).tolist() == [0, 0]
    assert run(tf.reduce_mean(tf.constant([[1, 2], [-1, -2]]), 1)).tolist() == [1, -1]
    assert run([tf.reduce_any(x > 3.0), tf.reduce_all(x > 3.0)]) == [True, False]


def test_integer_division():
    x = tf.constant([-7, 7])
    results = run([tf.div(x, 2), x // 2, x % 2, x / 2, tf.truncatediv(x, 2)])
    assert [r.tolist() for r in results] == [[-4, 3], [-4, 3], [1, 1], [-3.5, 3.5], [-3, 3]]
    assert results[3].dtype == np.float64


def test_old_names():
    x = tf.constant([1.0, 2.0])
    assert run([tf.mul(x, x), tf.sub(x, x), tf.neg(x), tf.pack([x, x])])[3].shape == (2, 2)
    assert [v.tolist() for v in run(tf.unpack(x))] == [1, 2]


# Rearrangement


def test_indexing():
    array = np.arange(24).reshape(2, 3, 4)
    t = tf.constant(array)
    keys = [
        0, -1, np.s_[0, 1], np.s_[:, 1], np.s_[..., -1], np.s_[0:2, ::2], np.s_[:, None, 2],
        np.s_[::-1, 0, 1:3], np.s_[1, ..., None],
    ]  # fmt: skip
    for key in keys:
        part = t[key]
        assert part.shape.as_list() == list(array[key].shape)
        assert np.array_equal(run(part), array[key])
    i = tf.placeholder(tf.int32)
    assert run(t[i, i + 1], {i: 1}).tolist() == array[1, 2].tolist()
    with pytest.raises(TypeError, match="Only integers, slices"):
        t["a"]


def test_building_blocks():
    x = tf.constant([[1, 2, 3], [4, 5, 6]])
    assert run(tf.slice(x, [0, 1], [-1, 2])).tolist() == [[2, 3], [5, 6]]
    assert run(tf.strided_slice(x, [0, 0], [2, 3], [1, 2])).tolist() == [[1, 3], [4, 6]]
    assert run(tf.pad(x, [[0, 1], [1, 0]], constant_values=9)).tolist() == [
        [9, 1, 2, 3], [9, 4, 5, 6], [9, 9, 9, 9],
    ]  # fmt: skip
    assert run(tf.tile(x, [1, 2]))[0].tolist() == [1, 2, 3, 1, 2, 3]
    assert run(tf.gather(x, [1, 0]))[0].tolist() == [4, 5, 6]
    assert run(tf.gather(x, [2, 0], axis=1))[0].tolist() == [3, 1]
    assert run(tf.one_hot([1, 3], 3)).tolist() == [[0, 1, 0], [0, 0, 0]]
    assert run(tf.one_hot([0], 2, on_value=5, off_value=7)).tolist() == [[5, 7]]
    assert run(tf.where([True, False], [1, 2], [3, 4])).tolist() == [1, 4]
    assert run(tf.where([[True, False], [False, True]])).tolist() == [[0, 0], [1, 1]]
    assert run(tf.range(3)).tolist() == [0, 1, 2]
    assert run(tf.range(1, 7, delta=2)).tolist() == [1, 3, 5]
    assert run(tf.range(start=1, limit=3)).tolist() == [1, 2]
    assert run(tf.linspace(0.0, 1.0, 3)).tolist() == [0, 0.5, 1]
    assert run(tf.fill([2], 7)).tolist() == [7, 7]
    assert run(tf.stack([x, x], axis=2)).shape == (2, 3, 2)
    assert run([tf.size(x), tf.rank(x)]) == [6, 2]
    assert run(tf.shape(x)).tolist() == [2, 3]
    assert run(tf.add_n([x, x]))[1].tolist() == [8, 10, 12]
    assert run(tf.unsorted_segment_sum([1, 2, 4], [1, 0, 1], 2)).tolist() == [2, 5]
    values, indices = run(tf.nn.top_k([1.0, 3.0, 2.0, 3.0], 3))
    assert values.tolist() == [3, 3, 2] and indices.tolist() == [1, 3, 2]
    assert run(tf.nn.in_top_k([[0.1, 0.9], [0.8, 0.2]], [1, 1], 1)).tolist() == [True, False]
    assert run(tf.nn.zero_fraction([0.0, 1.0, 0.0, 3.0])) == 0.5
    assert run(tf.nn.embedding_lookup(x, [1, 1]))[1].tolist() == [4, 5, 6]
    assert run(tf.batch_matmul(tf.ones([2, 1, 3]), tf.ones([2, 3, 1]))).tolist() == [[[3]], [[3]]]


def test_large_products_in_parts_equal_the_whole():
    rng = np.random.default_rng(0)
    for rows, columns in ((700, 90), (90, 700)):
        a, b = rng.standard_normal((rows, 150)), rng.standard_normal((150, columns))
        close(tf.matmul(a, b), a @ b, 1e-10)
        close(tf.matmul(a.T.copy(), b.T.copy(), transpose_a=True, transpose_b=True), a @ b, 1e-10)


# Random numbers


def test_a_graph_seed_gives_tensorflows_numbers():
    tf.set_random_seed(1)
    x = tf.random_normal([2])
    for _ in range(2):
        with tf.Session() as session:
            np.testing.assert_allclose(session.run(x), [-0.6708612, 0.2235714], rtol=1e-5)
            np.testing.assert_allclose(session.run(x), [-1.5412979, 0.6792056], rtol=1e-5)


STREAMS = [
    (
        lambda s: tf.random_uniform([2, 2], -1, 1, seed=s),
        [0.15111303, -0.72339869, -0.08999562, 0.4218123],
        None,
    ),
    (lambda s: tf.random_normal([2], seed=s), [0.80269563, 0.67861295], [-0.37299189, 0.21506172]),
    (
        lambda s: tf.truncated_normal([4], stddev=2.0, seed=s),
        [1.6053913, 1.3572259, -2.4345663, -0.6103372],
        None,
    ),
    (
        lambda s: tf.random_uniform([7], 0, 100, tf.int32, seed=s),
        [50, 50, 75, 9, 54, 60, 37],
        [27, 25, 86, 73, 81, 8, 52],
    ),
    (
        lambda s: tf.random_normal([3], dtype=tf.float64, seed=s),
        [-0.7732252040911803, -0.6395213874093024, -1.1968615165571383],
        [-0.04989669507500365, -0.18308533844180278, 1.6039359135463411],
    ),
    (
        lambda s: tf.truncated_normal([3], dtype=tf.float64, seed=s),
        [-0.7732252040911803, -0.6395213874093024, 0.3808853424005609],
        None,
    ),
    (
        lambda s: tf.random_uniform([5], 0, 10**12, tf.int64, seed=s),
        [434136763350, 140090596739, 961156522714, 676357937857, 770717228414],
        [189450169841, 633526304501, 512509980082, 990107501845, 303427995565],
    ),
    (
        lambda s: tf.random_uniform([3], dtype=tf.float64, seed=s),
        [0.6044523662669596, 0.640017859099258, 0.44991570705254613],
        [0.9821561601976647, 0.5423464673192968, 0.19609103091575997],
    ),
]


@pytest.mark.parametrize("row", range(len(STREAMS)))
def test_streams_are_tensorflows(row):
    make, first, second = STREAMS[row]
    tf.set_random_seed(777)
    with tf.Session() as session:
        x = make(5)
        np.testing.assert_allclose(session.run(x).ravel(), first, rtol=1e-6)
        again = session.run(x).ravel()
        if second is not None:
            np.testing.assert_allclose(again, second, rtol=1e-6)


def test_without_seeds_numbers_differ():
    x = tf.random_normal([4])
    assert not np.array_equal(run(x), run(x))


def test_dropout():
    x = tf.ones([1000])
    tf.set_random_seed(2)
    y = run(tf.nn.dropout(x, 0.8))
    assert set(np.unique(y)) == {0, np.float32(1.25)}
    assert 0.75 < (y > 0).mean() < 0.85
    keep = tf.placeholder(tf.float32)
    assert run(tf.nn.dropout(x, keep), {keep: 1.0}).tolist() == [1] * 1000
    assert tf.nn.dropout(x, 1.0) is x
    shared = run(tf.nn.dropout(tf.ones([5, 50]), 0.5, noise_shape=[1, 50]))
    assert (shared == shared[0]).all()
    with pytest.raises(ValueError, match="in the range"):
        tf.nn.dropout(x, 0.0)
    with pytest.raises(ValueError, match="floating point tensor"):
        tf.nn.dropout(tf.constant([1]), 0.5)
    with pytest.raises(ValueError, match="exactly one of keep_prob and rate"):
        tf.nn.dropout(x)
