# SPDX-License-Identifier: Apache-2.0
"""ONNX networks of the common kinds, small, with random weights, channels first."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Network:
    """Appends nodes; each method takes and gives names of values."""

    def __init__(self, *dims, seed=0):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.constants, self.dims = [], [], dims

    def constant(self, array, dtype=np.float32):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def op(self, op, *inputs, outputs=1, **attributes):
        names = [f"{op.lower()}{len(self.nodes)}_{i}" for i in range(outputs)]
        node = helper.make_node(op, list(inputs), names, f"node{len(self.nodes)}", **attributes)
        self.nodes.append(node)
        return names[0] if outputs == 1 else names

    def weights(self, *shape):
        return self.constant(self.rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:])))

    def conv(self, x, given, made, kernel=3, stride=1, group=1):
        w, pad = self.weights(made, given // group, kernel, kernel), kernel // 2
        return self.op("Conv", x, w, strides=[stride] * 2, pads=[pad] * 4, group=group)

    def norm(self, x, channels):
        draws = [self.rng.uniform(0.5, 1.5, channels) for _ in range(4)]
        return self.op("BatchNormalization", x, *map(self.constant, draws))

    def relu6(self, x):
        return self.op("Clip", x, self.constant(0), self.constant(6))

    def dense(self, x, given, made):
        return self.op("Gemm", x, self.weights(made, given), self.weights(made), transB=1)

    def model(self, *outputs, opset=17):
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, self.dims)
        ends = [helper.make_tensor_value_info(y, TensorProto.FLOAT, None) for y in outputs]
        graph = helper.make_graph(self.nodes, "network", [x], ends, self.constants)
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9
        )


def classify(n, x, channels):
    return n.dense(n.op("Flatten", n.op("GlobalAveragePool", x)), channels, 10)


def resnet() -> onnx.ModelProto:
    n = Network("n", 3, 32, 32)
    x = n.op("Relu", n.norm(n.conv("x", 3, 8, 7, 2), 8))
    x = n.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    given = 8
    for made, stride in ((8, 1), (16, 2), (32, 2)):
        y = n.op("Relu", n.norm(n.conv(x, given, made, 3, stride), made))
        y = n.norm(n.conv(y, made, made), made)
        short = x if stride == 1 else n.norm(n.conv(x, given, made, 1, stride), made)
        x, given = n.op("Relu", n.op("Add", y, short)), made
    return n.model(classify(n, x, given))


def mobilenet() -> onnx.ModelProto:
    """Version 2's inverted residuals, with squeeze-and-excite and hard-swish as version 3 has."""
    n = Network(1, 3, 32, 32)
    x, given = n.relu6(n.norm(n.conv("x", 3, 8, 3, 2), 8)), 8
    for made, stride in ((8, 1), (16, 2), (16, 1)):
        wide = 4 * given
        y = n.relu6(n.norm(n.conv(x, given, wide, 1), wide))
        y = n.norm(n.conv(y, wide, wide, 3, stride, group=wide), wide)
        inner = n.op("Clip", n.op("Add", y, n.constant(3)), n.constant(0), n.constant(6))
        y = n.op("Div", n.op("Mul", y, inner), n.constant(6))
        gate = n.op("Relu", n.conv(n.op("GlobalAveragePool", y), wide, 4, 1))
        gate = n.op("HardSigmoid", n.conv(gate, 4, wide, 1), alpha=1 / 6, beta=0.5)
        y = n.norm(n.conv(n.op("Mul", y, gate), wide, made, 1), made)
        x, given = n.op("Add", x, y) if (made, stride) == (given, 1) else y, made
    return n.model(classify(n, x, given))


def squeeze_excite() -> onnx.ModelProto:
    """The gate by dense layers, between Flatten and Reshape."""
    n = Network("n", 3, 16, 16)
    x = n.op("Relu", n.conv("x", 3, 8))
    for _ in range(2):
        y = n.norm(n.conv(x, 8, 8), 8)
        gate = n.op("Flatten", n.op("GlobalAveragePool", y))
        gate = n.op("Sigmoid", n.dense(n.op("Relu", n.dense(gate, 8, 4)), 4, 8))
        gate = n.op("Reshape", gate, n.constant([0, 8, 1, 1], np.int64))
        x = n.op("Relu", n.op("Add", x, n.op("Mul", y, gate)))
    return n.model(classify(n, x, 8))


def unet() -> onnx.ModelProto:
    """Down by pooling, up by shuffling channels into pixels; the ways join by Concat."""
    n = Network(1, 3, 16, 16)
    kept, x, given = [], "x", 3
    for made in (8, 16):
        x = n.op("Relu", n.norm(n.conv(x, given, made), made))
        kept.append((x, made))
        x, given = n.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), made
    x, given = n.op("Relu", n.conv(x, given, 32)), 32
    for other, channels in kept[::-1]:
        x, given = n.op("DepthToSpace", x, blocksize=2), given // 4
        x = n.op("Concat", x, other, axis=1)
        x = n.op("LeakyRelu", n.conv(x, given + channels, channels))
        given = channels
    return n.model(n.op("Sigmoid", n.conv(x, given, 1, 1)))


def layer_norm(n, x, width):
    mean = n.op("ReduceMean", x, axes=[-1])
    off = n.op("Sub", x, mean)
    variance = n.op("ReduceMean", n.op("Mul", off, off), axes=[-1])
    scale = n.op("Sqrt", n.op("Add", variance, n.constant(1e-5)))
    y = n.op("Mul", n.op("Div", off, scale), n.constant(n.rng.uniform(0.5, 1.5, width)))
    return n.op("Add", y, n.constant(n.rng.uniform(-1, 1, width)))


def gelu(n, x):
    bent = n.op("Erf", n.op("Div", x, n.constant(np.sqrt(2))))
    y = n.op("Mul", x, n.op("Add", bent, n.constant(1)))
    return n.op("Mul", y, n.constant(0.5))


def linear(n, x, given, made):
    return n.op("Add", n.op("MatMul", x, n.weights(given, made)), n.weights(made))


def attention(n, x, width, heads, tokens):
    def split(y):
        y = n.op("Reshape", y, n.constant([0, tokens, heads, width // heads], np.int64))
        return n.op("Transpose", y, perm=[0, 2, 1, 3])

    q, k, v = (split(linear(n, x, width, width)) for _ in range(3))
    scores = n.op("MatMul", q, n.op("Transpose", k, perm=[0, 1, 3, 2]))
    scores = n.op("Mul", scores, n.constant(1 / np.sqrt(width // heads)))
    y = n.op("MatMul", n.op("Softmax", scores, axis=-1), v)
    y = n.op("Transpose", y, perm=[0, 2, 1, 3])
    return linear(n, n.op("Reshape", y, n.constant([0, tokens, width], np.int64)), width, width)


def vit(layers=2, width=16, heads=2) -> onnx.ModelProto:
    """Patches by convolution, tokens, pre-norm blocks, mean of tokens."""
    n = Network("n", 3, 16, 16)
    x = n.op("Conv", "x", n.weights(width, 3, 4, 4), n.weights(width), strides=[4, 4])
    x = n.op("Reshape", x, n.constant([0, width, 16], np.int64))
    x = n.op("Transpose", x, perm=[0, 2, 1])
    x = n.op("Add", x, n.weights(1, 16, width))
    for _ in range(layers):
        x = n.op("Add", x, attention(n, layer_norm(n, x, width), width, heads, 16))
        y = gelu(n, linear(n, layer_norm(n, x, width), width, 4 * width))
        x = n.op("Add", x, linear(n, y, 4 * width, width))
    x = n.op("ReduceMean", layer_norm(n, x, width), axes=[1], keepdims=0)
    return n.model(n.dense(x, width, 10))
