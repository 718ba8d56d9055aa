# SPDX-License-Identifier: Apache-2.0
"""Makes the frozen graphs ops_*.pb in tests/converter/graphdefs: many ops each, of one kind.

``python tests/converter/make_op_graphs.py [NAME...]`` under TensorFlow 2; see make_graphdefs.py.
"""

import sys

import numpy as np
import tensorflow as tf
from make_graphdefs import RNG, normal, write
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2


def freeze(name, function, *values):
    """Two sizes are dynamic where the name says so."""
    cut = 2 if name.startswith("ops_dynamic") else 0
    shapes = [[None] * cut + list(v.shape[cut:]) for v in values]
    specs = [
        tf.TensorSpec(shape, v.dtype, name=f"x{i}")
        for i, (shape, v) in enumerate(zip(shapes, values, strict=True))
    ]
    concrete = tf.function(function).get_concrete_function(*specs)
    frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=False)
    found = tf.nest.flatten(frozen(*map(tf.constant, values)))
    write(
        name,
        frozen.graph.as_graph_def(),
        {t.op.name: v for t, v in zip(frozen.inputs, values, strict=True)},
        {t.op.name: v.numpy() for t, v in zip(frozen.outputs, found, strict=True)},
    )


def signals(x):
    """Complex numbers and Fourier transforms of [2, 64]."""
    s, m = tf.signal, tf.math
    z = tf.complex(x, x * x - 1.0)
    square = tf.reshape(z, [2, 8, 8])
    return [
        tf.abs(s.rfft(x)),
        m.imag(s.rfft(x, [50])),
        m.real(s.rfft(x, [80])),
        s.irfft(s.rfft(x), [60]),
        m.angle(s.fft(z)),
        m.imag(s.ifft(z * tf.complex(0.5, 2.0))),
        tf.abs(s.fft2d(square)),
        m.real(s.ifft2d(m.conj(square))),
        tf.abs(s.rfft2d(tf.reshape(x, [2, 8, 8]))),
        s.irfft2d(s.rfft2d(tf.reshape(x, [2, 8, 8]))),
        s.inverse_stft(s.stft(x, 16, 8), 16, 8),
        s.dct(x),
        s.idct(x, norm="ortho"),
        s.mdct(x, 16),
        m.real(tf.transpose(tf.concat([z, tf.cast(x, tf.complex64)], 0))[3:, 1:]),
        m.real(m.exp(z[:, :4])),
    ]


def speech(x):
    """[640, 2] samples."""
    raw = tf.raw_ops
    powers = raw.AudioSpectrogram(input=x, window_size=100, stride=60, magnitude_squared=True)
    return [
        raw.AudioSpectrogram(input=x, window_size=64, stride=64, magnitude_squared=False),
        raw.Mfcc(spectrogram=powers, sample_rate=8000, filterbank_channel_count=20),
        raw.Mfcc(spectrogram=powers, sample_rate=16000, lower_frequency_limit=300.0),
    ]


def resizing(x):
    """[2, 9, 7, 3]"""
    image, old = tf.image, tf.compat.v1.image
    methods = ("area", "bicubic", "gaussian", "lanczos3", "lanczos5", "mitchellcubic")
    found = [image.resize(x, size, method) for method in methods for size in ([20, 5], [4, 11])]
    found += [
        image.resize(x, [5, 13], method, antialias=True)
        for method in ("bilinear", "bicubic", "lanczos5", "gaussian", "nearest")
    ]
    return [
        *found,
        old.resize_bicubic(x, [20, 4]),
        old.resize_bicubic(x, [5, 14], align_corners=True),
        old.resize_area(x, [5, 14], align_corners=True),
        image.resize(tf.cast(x, tf.uint8), [5, 14], "bicubic"),
    ]


def images(x, boxes):
    """[2, 9, 7, 3] from 0 to 1, [3, 4]"""
    image = tf.image

    starts = np.linspace(-0.4, 0.7, 12).astype(np.float32)
    edges = np.stack([starts, starts[::-1], np.ones(12), np.ones(12)], 1).astype(np.float32)

    def patches(rates, padding):
        return image.extract_patches(x, [1, 3, 2, 1], [1, 2, 1, 1], [1, *rates, 1], padding)

    return [
        image.crop_and_resize(x, boxes, [0, 1, 0], [4, 6]),
        image.crop_and_resize(x, boxes, [1, 1, 0], [5, 3], "nearest", 2.0),
        image.crop_and_resize(x, [[0.1, -0.2, 0.8, 1.3]], [1], [1, 4]),
        image.crop_and_resize(x, edges, np.arange(12) % 2, [4, 6]),
        patches([1, 1], "VALID"),
        patches([2, 2], "SAME"),
        image.adjust_contrast(x, 1.7),
        image.rgb_to_hsv(x),
        image.hsv_to_rgb(x),
        image.adjust_hue(x, 0.3),
        image.adjust_saturation(x, 1.4),
        image.rgb_to_hsv(tf.round(x)),
    ]


def counting(x, ids):
    """[4, 6], [4] from 0 to 3"""
    t, m, raw = tf, tf.math, tf.raw_ops
    ordered, edges = t.sort(ids), t.sort(x[:2], axis=1)
    return [
        raw.Bucketize(input=x, boundaries=[-1.0, 0.0, 0.5]),
        t.searchsorted(edges, x[2:, :3]),
        t.searchsorted(edges, edges, side="right"),
        m.bincount(ids, minlength=5, maxlength=5),
        m.bincount(ids, weights=x[:, 0], minlength=5, maxlength=5),
        m.bincount(t.stack([ids, ids]), minlength=5, maxlength=5, binary_output=True, axis=-1),
        t.histogram_fixed_width(x, [-1.0, 1.5], 4),
        *(
            getattr(m, f"segment_{way}")(x, [0, 0, 2, 2])
            for way in ("sum", "mean", "max", "min", "prod")
        ),
        m.segment_sum(x, ordered),
        m.invert_permutation(t.argsort(x[0])),
        t.dynamic_stitch([[0, 3], [2, 1]], [x[:2], x[2:]]),
        *t.dynamic_partition(x, [1, 0, 1, 1], 2),
        m.in_top_k(ids, x, 2),
        m.cumprod(x, 1),
        m.cumprod(x, 0, exclusive=True, reverse=True),
        m.cumulative_logsumexp(x, 1),
        t.tensor_scatter_nd_sub(x, [[0], [0]], x[:2]),
        t.tensor_scatter_nd_max(x, [[1], [3]], x[:2]),
        t.tensor_scatter_nd_min(x, [[1], [3]], x[:2]),
        t.gather_nd(x, t.reshape(ids, [4, 1]), batch_dims=1),
        t.sparse.to_dense(t.SparseTensor([[0, 1], [2, 3]], x[0, :2], [3, 4]), 9.0),
        t.parallel_stack([x, x]),
        t.raw_ops.LinSpace(start=x[0, 0], stop=x[0, 1], num=7),
        t.linalg.band_part(x, 1, 2),
        t.linalg.band_part(x, 0, -1),
    ]


def matrices(x):
    """[2, 4, 5]"""
    g = tf.linalg
    return [
        g.diag(x[0]),
        g.diag(x[0], k=1),
        g.diag(x[0], k=-1, num_rows=6, num_cols=8, padding_value=3.0),
        g.diag(x[:, :3], k=(-1, 1)),
        g.diag_part(x),
        g.diag_part(x, k=2),
        g.diag_part(x, k=(-2, 1), padding_value=7.0),
        g.diag_part(x, k=(-1, 3), align="LEFT_RIGHT"),
        g.set_diag(x, x[:, 0, :4]),
        g.set_diag(x, x[:, :3, :4], k=(-1, 1)),
        tf.eye(4, 5) * x + tf.eye(tf.shape(x)[1], 5),
        tf.linalg.tensor_diag(x[0, 0]),
        tf.linalg.tensor_diag_part(x[0, :, :4]),
        tf.einsum("bij,bik,bk->bj", x, x, x[:, 0]),
        tf.einsum("bii->bi", x[:, :, :4]),
        tf.einsum("...ij->...", x),
        tf.math.atan2(x, x[:, :1]),
        tf.matmul(
            tf.cast(x * 50.0, tf.int8),
            tf.cast(x * 50.0, tf.int8),
            transpose_b=True,
            output_type=tf.int32,
        ),
    ]


def equations(x):
    """[2, 4, 4]"""
    g = tf.linalg
    positive = tf.matmul(x, x, transpose_b=True) + np.eye(4, dtype=np.float32)
    sign, logarithm = tf.raw_ops.LogMatrixDeterminant(input=x)
    return [
        g.inv(x),
        tf.raw_ops.MatrixInverse(input=x, adjoint=True),
        g.det(x),
        sign,
        logarithm,
        g.cholesky(positive),
        g.solve(x, x[:, :, :2]),
        g.solve(x, x[:, :, 1:], adjoint=True),
        g.triangular_solve(positive, x),
        g.triangular_solve(positive, x, lower=False),
        g.triangular_solve(positive, x, adjoint=True),
        g.triangular_solve(positive, x, lower=False, adjoint=True),
        g.cholesky_solve(g.cholesky(positive), x),
    ]


def special(x, counts):
    """[3, 8] from 0.05 to 0.95, [6] integers"""
    m, n = tf.math, tf.nn
    wide = x * 20.0 - 10.1
    return [
        m.lgamma(wide),
        m.digamma(x * 8.0 - 2.03),
        m.erfinv(x * 2.0 - 1.0),
        m.ndtri(x),
        m.bessel_i0e(wide),
        m.bessel_i1e(wide),
        m.bessel_i0(x * 4.0),
        m.bessel_i1(-x * 5.0),
        m.xlogy(tf.round(x), x),
        m.xlog1py(tf.round(x), x),
        m.xdivy(tf.round(x), tf.round(x)),
        m.multiply_no_nan(1.0 / tf.round(x), tf.round(x)),
        tf.bitcast(x, tf.int32),
        tf.bitwise.bitwise_and(counts, 5),
        tf.bitwise.bitwise_or(counts, [1, 2, 4, 8, 16, -3]),
        tf.bitwise.invert(counts),
        tf.bitwise.left_shift(counts, 3),
        tf.bitwise.right_shift(counts, 2),
        n.softmax_cross_entropy_with_logits(x, wide[:, ::-1]),
        n.sparse_softmax_cross_entropy_with_logits([1, 7, 0], wide),
    ]


def volumes(x, image):
    """[1, 5, 6, 4, 3], [2, 9, 7, 3]"""
    n = tf.nn
    filters = tf.constant(normal(2, 3, 2, 3, 4))
    back = tf.constant(normal(3, 2, 2, 4, 3))
    flat = tf.constant(normal(3, 3, 4, 3))
    top, places = n.max_pool_with_argmax(image, 3, 2, "SAME")
    return [
        n.max_pool3d(x, 3, 2, "SAME"),
        n.avg_pool3d(x, [2, 3, 2], [1, 2, 2], "SAME"),
        n.avg_pool3d(x, 2, 2, "VALID"),
        n.conv3d(x, filters, [1, 1, 1, 1, 1], "SAME", dilations=[1, 1, 1, 1, 1]),
        n.conv3d_transpose(x, back, [1, 10, 12, 8, 4], 2, "SAME"),
        n.conv3d_transpose(x, back, [1, 12, 12, 8, 4], 2, "VALID"),
        n.conv2d_transpose(image, flat, [2, 13, 11, 4], 1, "VALID", dilations=2),
        n.conv2d_transpose(image, flat, [2, 18, 13, 4], 2, [[0, 0], [1, 0], [1, 1], [0, 0]]),
        top,
        places,
        n.dilation2d(image, normal(3, 2, 3), [1, 1, 2, 1], "SAME", "NHWC", [1, 2, 1, 1]),
        n.with_space_to_batch(
            x,
            [2, 2, 1],
            "VALID",
            lambda y, n_, p: n.conv3d(y, filters, [1] * 5, "VALID"),
            [2, 3, 2],
        ),
    ]


def dynamic(x, y):
    """[2, 3, 8], [2, 4, 8]"""
    weights = tf.constant(normal(8, 2, 4))
    heads = tf.einsum("abc,cde->abde", x, weights)
    keys = tf.einsum("abc,cde->abde", y, weights)
    scores = tf.einsum("bqhd,bkhd->bhqk", heads, keys)
    norm = tf.reshape(x, [1, -1, 8, 1])
    rows = tf.shape(norm)[1]
    norm, _, _ = tf.compat.v1.nn.fused_batch_norm(
        norm, tf.ones([rows]), tf.zeros([rows]), epsilon=1e-3, data_format="NCHW"
    )
    middle = tf.shape(x)[1] // 2
    first, second = tf.split(x, [3, -1], 2)
    return [
        scores,
        tf.linalg.band_part(scores, -1, 0),
        tf.reshape(norm, tf.shape(x)),
        x[:, middle],
        x[..., : tf.shape(x)[0], 1:],
        first * 2.0,
        second,
        tf.math.atan2(x, y[:, :1]),
        tf.image.resize(x[..., None], tf.shape(x)[1:] * 2),
    ]


def instances(x):
    """[1, 5, 4, 3], normalized by its own statistics and by computed ones."""
    norm = tf.compat.v1.nn.fused_batch_norm
    computed = tf.reduce_mean(x, [0, 1, 2])
    return [
        norm(x, normal(3), normal(3), epsilon=1e-2)[0],
        norm(x, computed, normal(3), computed, computed * computed, 1e-2, is_training=False)[0],
    ]


def flow(x, number):
    """[3], a number from 0 to 3 (and beyond): cases, and lists that grow."""
    raw = tf.raw_ops
    chosen = [
        tf.switch_case(
            number + shift, [lambda: x, lambda: x * 2.0, lambda: tf.ones([3]), lambda: tf.exp(x)]
        )
        for shift in (0, 1, 2, 9, -9)
    ]
    grown = tf.TensorArray(tf.float32, 0, dynamic_size=True)
    _, grown = tf.while_loop(
        lambda i, _: i < 5,
        lambda i, a: (i + 1, a.write(i, x * tf.cast(i, tf.float32))),
        (tf.constant(0), grown),
    )
    kind = {"element_shape": [3], "element_dtype": tf.float32}
    items = raw.EmptyTensorList(max_num_elements=-1, **kind)
    items = raw.TensorListPushBack(input_handle=items, tensor=x)
    items = raw.TensorListPushBack(input_handle=items, tensor=x * 2.0)
    items, last = raw.TensorListPopBack(input_handle=items, **kind)
    return [*chosen, grown.stack(), raw.TensorListStack(input_handle=items, **kind), last]


def all_graphs():
    pixels = RNG.rand(2, 9, 7, 3).astype(np.float32)
    boxes = np.sort(RNG.rand(3, 2, 2).astype(np.float32), 1).reshape(3, 4) * 1.1
    return {
        "ops_signals": (signals, normal(2, 64)),
        "ops_speech": (speech, normal(640, 2) * np.float32(0.3)),
        "ops_resizing": (resizing, pixels * 255),
        "ops_images": (images, pixels, boxes),
        "ops_counting": (counting, normal(4, 6), np.array([2, 0, 3, 0], np.int32)),
        "ops_matrices": (matrices, normal(2, 4, 5)),
        "ops_equations": (equations, RNG.uniform(-1, 1, (2, 4, 4)).astype(np.float32)),
        "ops_special": (
            special,
            RNG.uniform(0.05, 0.95, (3, 8)).astype(np.float32),
            np.array([0, 1, -5, 1 << 20, -(1 << 30), 77], np.int32),
        ),
        "ops_flow": (flow, normal(3), np.int32(1)),
        "ops_dynamic": (dynamic, normal(2, 3, 8), normal(2, 4, 8)),
        "ops_instances": (instances, normal(1, 5, 4, 3)),
        "ops_volumes": (volumes, normal(1, 5, 6, 4, 3), pixels),
    }


if __name__ == "__main__":
    for key, (made, *given) in all_graphs().items():
        if not sys.argv[1:] or key in sys.argv[1:]:
            freeze(key, made, *given)
