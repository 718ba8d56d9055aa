# SPDX-License-Identifier: Apache-2.0
"""Convolutions, matrix products, pooling, resizing and lookups."""

from __future__ import annotations

import numpy as np
from conformance.op_rows import ANY, REALS, given, of, out, row, tensor

ACTIVATIONS = ["FLOAT32", "FLOAT16", "INT8q", "UINT8q", "INT16q"]
WEIGHTS = ["FLOAT32", "FLOAT16", "INT8q", "UINT8q", "INT16q", "INT4q", "INT2q", "UINT4q"]
BIASES = ["FLOAT32", "FLOAT16", "INT32q", "INT64", "none"]
_WINDOW = {"padding": "SAME", "stride_h": 1, "stride_w": 1}


def _weights(type_, shape, axis, channels):
    """Constant weights; symmetric per channel but for UINT8."""
    if type_ in ("INT8q", "INT16q", "INT4q", "INT2q"):
        scale = np.linspace(0.02, 0.05, channels) if axis is not None else 0.03
        return tensor(type_, shape, const=True, scale=scale, zero=0, axis=axis or 0)
    return tensor(type_, shape, const=True)


def _bias(type_, channels, x, w):
    if type_ == "none":
        return []
    if type_ in ("FLOAT32", "FLOAT16"):
        return [tensor(type_, (channels,), const=True)]
    scale = np.float32(x.scale or 1) * np.float32(w.scale if w.scale is not None else 1)
    return [tensor(type_, (channels,), const=True, low=-300, high=300, scale=scale, zero=0)]


def _weighted(op, x, w, channels, bias, **options):
    parts = [x, w, *_bias(bias, channels, x, w)]
    type_ = x.type + ("q" if x.scale is not None else "")
    return of(op, parts, out(type_, **({"scale": 0.1} if x.scale else {})), **options)


@row("CONV_2D", ACTIVATIONS, WEIGHTS, BIASES)
def conv_2d(op, x, w, bias):
    weights = _weights(w, (5, 3, 3, 2), 0, 5)
    return _weighted(op, tensor(x, (1, 6, 6, 2)), weights, 5, bias, **_WINDOW)


@row("DEPTHWISE_CONV_2D", ACTIVATIONS, WEIGHTS, BIASES)
def depthwise(op, x, w, bias):
    weights = _weights(w, (1, 3, 3, 4), 3, 4)
    options = {**_WINDOW, "depth_multiplier": 1}
    return _weighted(op, tensor(x, (1, 6, 6, 4)), weights, 4, bias, **options)


@row("FULLY_CONNECTED", ACTIVATIONS, WEIGHTS, BIASES)
def fully_connected(op, x, w, bias):
    weights = _weights(w, (5, 8), 0, 5)
    return _weighted(op, tensor(x, (2, 8)), weights, 5, bias)


@row(
    "CONV_2D DEPTHWISE_CONV_2D FULLY_CONNECTED",
    ["FLOAT32", "INT8q", "UINT8q", "INT16q"],
    ["TANH", "RELU"],
)
def weighted_activation(op, type_, activation):
    weights = {"INT16q": "INT8q"}.get(type_, type_)
    bias = "FLOAT32" if type_ == "FLOAT32" else "INT32q"
    x = tensor(type_, (1, 4, 4, 4))
    shape, options = {
        "CONV_2D": ((4, 1, 1, 4), _WINDOW),
        "DEPTHWISE_CONV_2D": ((1, 3, 3, 4), {**_WINDOW, "depth_multiplier": 1}),
        "FULLY_CONNECTED": ((4, 4), {}),
    }[op]
    w = _weights(weights, shape, None, 4)
    return _weighted(op, x, w, 4, bias, fused_activation_function=activation, **options)


@row(
    "CONV_2D DEPTHWISE_CONV_2D FULLY_CONNECTED",
    ["FLOAT32", "INT8q", "UINT8q"],
    ["computed-weights"],
)
def computed_weights(op, type_, _):
    shape, options = {
        "CONV_2D": ((4, 1, 1, 4), _WINDOW),
        "DEPTHWISE_CONV_2D": ((1, 3, 3, 4), {**_WINDOW, "depth_multiplier": 1}),
        "FULLY_CONNECTED": ((4, 4), {}),
    }[op]
    how = {"zero": 0, "scale": 0.02} if type_ == "INT8q" else {}
    w = tensor(type_, shape, **how)
    return of(op, [tensor(type_, (1, 4, 4, 4)), w, None], out(type_), **options)


@row("TRANSPOSE_CONV", ACTIVATIONS, WEIGHTS, BIASES)
def transpose_conv(op, x, w, bias):
    weights = _weights(w, (5, 3, 3, 2), 0, 5)
    image = tensor(x, (1, 3, 3, 2))
    args = [given("INT32", [1, 6, 6, 5]), weights, image, *_bias(bias, 5, image, weights)]
    options = {"padding": "SAME", "stride_h": 2, "stride_w": 2}
    return of(op, args, out(x), **options)


@row("CONV_3D CONV_3D_TRANSPOSE", ACTIVATIONS, WEIGHTS, BIASES)
def conv_3d(op, x, w, bias):
    options = {"padding": "SAME", "stride_d": 1, "stride_h": 1, "stride_w": 1}
    image = tensor(x, (1, 3, 4, 4, 2))
    if op == "CONV_3D":
        weights = _weights(w, (2, 2, 2, 2, 3), None, 3)
        return of(op, [image, weights, *_bias(bias, 3, image, weights)], out(x), **options)
    weights = _weights(w, (2, 2, 2, 3, 2), None, 3)
    shape = given("INT32", [1, 3, 4, 4, 3])
    return of(op, [shape, weights, image, *_bias(bias, 3, image, weights)], out(x), **options)


@row(
    "BATCH_MATMUL",
    [*ACTIVATIONS, "INT32", "INT64"],
    [*WEIGHTS, "INT32", "INT64"],
    ["const", "computed"],
)
def batch_matmul(op, a, b, how):
    right = tensor(b, (2, 4, 5), const=how == "const", **({"zero": 0} if b.endswith("q") else {}))
    to = {"FLOAT32": "FLOAT32"}.get(a, a)
    return of(op, [tensor(a, (2, 3, 4)), right], out(to))


@row("BATCH_MATMUL", ["INT8q"], ["INT8q"], ["INT32"])
def batch_matmul_sums(op, a, b, to):
    return of(op, [tensor(a, (2, 3, 4)), tensor(b, (2, 4, 5), zero=0)], out(to))


@row("AVERAGE_POOL_2D MAX_POOL_2D L2_POOL_2D", ANY)
def pool(op, type_):
    options = {**_WINDOW, "filter_height": 2, "filter_width": 3}
    return of(op, [tensor(type_, (1, 5, 5, 3))], out(type_), **options)


@row("RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR", ANY)
def resize(op, type_):
    options = {"half_pixel_centers": True}
    return of(op, [tensor(type_, (1, 3, 4, 2)), given("INT32", [5, 6])], out(type_), **options)


@row("EMBEDDING_LOOKUP", ["INT32", "INT64"], ANY)
def embedding_lookup(op, index, type_):
    to = "FLOAT32" if type_ in ("INT4q", "INT2q", "UINT4q") else type_
    table = tensor(type_, (4, 6), const=True)
    return of(op, [given(index, [2, 0], const=False), table], out(to))


@row("EMBEDDING_LOOKUP", ["INT32"], ["INT8q", "UINT8q"], ["FLOAT32"])
def embedding_lookup_hybrid(op, index, type_, to):
    table = tensor(type_, (4, 6), const=True, zero=0)
    return of(op, [given(index, [2, 0], const=False), table], out(to))


@row("EMBEDDING_LOOKUP_SPARSE", ["FLOAT32"], ["SUM", "MEAN", "SQRTN"])
def embedding_lookup_sparse(op, type_, combiner):
    args = [
        given("INT32", [1, 3, 0], const=False),
        given("INT32", [[0, 0], [2, 0], [2, 1]], const=False),
        given("INT32", [3, 2], const=False),
        given("FLOAT32", [1.0, 2.0, 4.0], const=False),
        tensor(type_, (4, 5)),
    ]
    return of(op, args, out(type_), combiner=combiner)


@row("RFFT2D", REALS)
def rfft2d(op, type_):
    return of(op, [tensor(type_, (2, 4, 8)), given("INT32", [4, 8])], out("COMPLEX64"))


@row("NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5", ["FLOAT32"])
def non_max_suppression(op, type_):
    corners = [[0, 0, 1, 1], [0, 0.1, 1, 1.1], [0, 2, 1, 3]]
    args = [given(type_, corners, const=False), given(type_, [0.9, 0.8, 0.7], const=False)]
    args += [given("INT32", 3), given(type_, 0.5), given(type_, 0.1)]
    if op.endswith("V5"):
        return of(op, [*args, given(type_, 0.0)], [out("INT32"), out(type_), out("INT32")])
    return of(op, args, [out("INT32"), out("INT32")])


@row("RANDOM_STANDARD_NORMAL RANDOM_UNIFORM", ["INT32", "INT64"], ["FLOAT32", "FLOAT64"])
def random(op, index, type_):
    return of(op, [given(index, [2, 3])], out(type_), seed=7, seed2=11)


@row("MULTINOMIAL", ["FLOAT32"], ["INT32", "INT64"])
def multinomial(op, type_, to):
    args = [tensor(type_, (2, 4)), given("INT32", 3)]
    return of(op, args, out(to), seed=7, seed2=11)
