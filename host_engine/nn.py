# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: F401
"""The functions of `tf.nn`."""

from host_engine.ops.conv import (
    conv2d,
    conv2d_transpose,
    depthwise_conv2d,
    depthwise_conv2d_native,
)
from host_engine.ops.dropout import dropout
from host_engine.ops.gather import embedding_lookup
from host_engine.ops.loss import (
    sigmoid_cross_entropy_with_logits,
    softmax_cross_entropy_with_logits,
    softmax_cross_entropy_with_logits_v2,
    sparse_softmax_cross_entropy_with_logits,
)
from host_engine.ops.math import sigmoid, tanh
from host_engine.ops.nn import (
    bias_add,
    elu,
    in_top_k,
    l2_loss,
    l2_normalize,
    leaky_relu,
    log_softmax,
    relu,
    relu6,
    relu_layer,
    softmax,
    softplus,
    softsign,
    top_k,
    xw_plus_b,
    zero_fraction,
)
from host_engine.ops.norm import batch_normalization, fused_batch_norm, moments
from host_engine.ops.pool import avg_pool, avg_pool2d, max_pool, max_pool2d
