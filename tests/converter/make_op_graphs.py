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
    specs = [tf.TensorSpec(v.shape, v.dtype, name=f"x{i}") for i, v in enumerate(values)]
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

    def patches(rates, padding):
        return image.extract_patches(x, [1, 3, 2, 1], [1, 2, 1, 1], [1, *rates, 1], padding)

    return [
        image.crop_and_resize(x, boxes, [0, 1, 0], [4, 6]),
        image.crop_and_resize(x, boxes, [1, 1, 0], [5, 3], "nearest", 2.0),
        image.crop_and_resize(x, [[0.1, -0.2, 0.8, 1.3]], [1], [1, 4]),
        patches([1, 1], "VALID"),
        patches([2, 2], "SAME"),
        image.adjust_contrast(x, 1.7),
        image.rgb_to_hsv(x),
        image.hsv_to_rgb(x),
        image.adjust_hue(x, 0.3),
        image.adjust_saturation(x, 1.4),
        image.rgb_to_hsv(tf.round(x)),
    ]


def all_graphs():
    pixels = RNG.rand(2, 9, 7, 3).astype(np.float32)
    boxes = np.sort(RNG.rand(3, 2, 2).astype(np.float32), 1).reshape(3, 4) * 1.1
    return {
        "ops_signals": (signals, normal(2, 64)),
        "ops_speech": (speech, normal(640, 2) * np.float32(0.3)),
        "ops_resizing": (resizing, pixels * 255),
        "ops_images": (images, pixels, boxes),
    }


if __name__ == "__main__":
    for key, (made, *given) in all_graphs().items():
        if not sys.argv[1:] or key in sys.argv[1:]:
            freeze(key, made, *given)
