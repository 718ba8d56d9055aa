# SPDX-License-Identifier: Apache-2.0
"""Moments and batch normalization."""

from __future__ import annotations

from typing import Any

import numpy as np

from host_engine.framework import dtypes
from host_engine.framework import shape_rules as rules
from host_engine.framework.build import build, build_op, constant, convert_to_tensor, name_scope
from host_engine.framework.registry import define, sample
from host_engine.framework.tensor import Tensor
from host_engine.ops import array, math, reduce, source


def _channel_last(x: Any, data_format: str) -> Any:
    return x.transpose(0, 2, 3, 1) if data_format == "NCHW" else x


def _restore(xp: Any, x: Any, data_format: str) -> Any:
    return xp.ascontiguousarray(x.transpose(0, 3, 1, 2)) if data_format == "NCHW" else x


def _fused(
    xp: Any,
    x: Any,
    scale: Any,
    offset: Any,
    mean: Any,
    variance: Any,
    epsilon: float = 1e-4,
    is_training: bool = True,
    data_format: str = "NHWC",
    **_: Any,
) -> tuple[Any, ...]:
    """(y, mean, variance, saved mean, saved variance); the third is the unbiased estimate."""
    x = _channel_last(x, data_format)
    unbiased = variance
    if is_training:
        rows = x.reshape(-1, x.shape[-1])
        mean = rows.mean(0)
        variance = rows.var(0)
        unbiased = variance * x.dtype.type(len(rows) / max(len(rows) - 1, 1))
    factor = scale / xp.sqrt(variance + x.dtype.type(epsilon))
    y = x * factor
    y += offset - mean * factor
    return _restore(xp, y, data_format), mean, unbiased, mean, variance


def _fused_shape(op: Any) -> list[Any]:
    x, scale = op.inputs[0].shape.with_rank(4), op.inputs[1].shape.with_rank(1)
    axis = 1 if op._attrs["data_format"] == "NCHW" else 3
    size = rules.equal_size(x.as_list()[axis], scale.as_list()[0])
    return [x, *[(size,)] * 4]


def _fused_grad(op: Any, dy: Any, *rest: Any) -> list[Any]:
    if any(g is not None for g in rest):
        raise LookupError(
            f"the batch statistics of '{op.name}' are not differentiable: use tf.nn.moments"
        )
    x, scale = op.inputs[:2]
    saved = op.outputs[3:5] if op._attrs["is_training"] else op.inputs[3:5]
    grads = build_op("FusedBatchNormGrad", [dy, x, scale, *saved], dict(op._attrs)).outputs
    if op._attrs["is_training"]:
        return [*grads, None, None]
    # With given statistics, y is an affine function of the mean and a smooth one of the variance.
    inverse = math.rsqrt(op.inputs[4] + op._attrs["epsilon"])
    return [*grads, -grads[2] * scale * inverse, grads[1] * scale * inverse * inverse * -0.5]


def _fused_grad_compute(
    xp: Any,
    dy: Any,
    x: Any,
    scale: Any,
    mean: Any,
    variance: Any,
    epsilon: float = 1e-4,
    is_training: bool = True,
    data_format: str = "NHWC",
    **_: Any,
) -> tuple[Any, ...]:
    dy, x = _channel_last(dy, data_format), _channel_last(x, data_format)
    inverse = 1 / xp.sqrt(variance + x.dtype.type(epsilon))
    normal = x - mean
    normal *= inverse
    flat, lines = dy.reshape(-1, dy.shape[-1]), normal.reshape(-1, dy.shape[-1])
    d_offset = flat.sum(0)
    d_scale = xp.einsum("ij,ij->j", flat, lines)
    dx = dy * (scale * inverse)
    if is_training:
        count = x.dtype.type(len(flat))
        normal *= d_scale
        normal += d_offset
        normal *= scale * inverse / count
        dx -= normal
    return _restore(xp, dx, data_format), d_scale, d_offset


_ATTRS = {"epsilon": 0.01, "data_format": "NHWC"}
_STATS = (np.array([0.3, -0.2, 0.1]), np.array([0.5, 1.2, 2.0]))
_EMPTY = (np.zeros(0), np.zeros(0))
define(
    "FusedBatchNorm",
    "x:T scale:T offset:T mean:T variance:T",
    shape=_fused_shape,
    compute=_fused,
    grad=_fused_grad,
    dtype=lambda op: [op.inputs[0].dtype] * 5,
    types=dtypes.FLOATS,
    samples=(
        sample(
            (2, 3, 4, 3),
            (3,),
            (3,),
            *_EMPTY,
            is_training=True,
            wrt=(0, 1, 2),
            outputs=(0,),
            **_ATTRS,
        ),
        sample((2, 3, 4, 3), (3,), (3,), *_STATS, is_training=False, outputs=(0,), **_ATTRS),
        sample(
            (2, 3, 4, 3),
            (3,),
            (3,),
            *_EMPTY,
            is_training=True,
            wrt=(0, 1, 2),
            outputs=(0,),
            epsilon=0.01,
            data_format="NHWC",
        ),
        sample(
            (2, 3, 4, 2),
            (3,),
            (3,),
            *_EMPTY,
            is_training=True,
            wrt=(0, 1, 2),
            outputs=(0,),
            epsilon=0.01,
            data_format="NCHW",
        ),
    ),
)
define(
    "FusedBatchNormGrad",
    "y_backprop:T x:T scale:T reserve_space_1:T reserve_space_2:T",
    shape=lambda op: [op.inputs[1].shape, op.inputs[2].shape, op.inputs[2].shape],
    compute=_fused_grad_compute,
    types=dtypes.FLOATS,
    samples=(sample((2, 3, 4, 3), (2, 3, 4, 3), (3,), *_STATS, is_training=True, **_ATTRS),),
)


# Python functions


def fused_batch_norm(
    x: Any,
    scale: Any,
    offset: Any,
    mean: Any = None,
    variance: Any = None,
    epsilon: float = 0.001,
    data_format: str = "NHWC",
    is_training: bool = True,
    name: str | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """(y, mean, variance) of a batch [n, h, w, c] normalized per channel.

    While training the statistics are the batch's (the variance unbiased); otherwise `mean` and
    `variance` must be given, else ValueError.
    """
    if is_training and (mean is not None or variance is not None):
        raise ValueError("Both 'mean' and 'variance' must be None if is_training is True")
    if not is_training and (mean is None or variance is None):
        raise ValueError("Both 'mean' and 'variance' must be given if is_training is False")
    with name_scope(name, "FusedBatchNorm", [x, scale, offset]) as scope:
        x = convert_to_tensor(x, name="input")
        if mean is None or variance is None:
            mean, variance = constant([], x.dtype), constant([], x.dtype)
        attrs = {
            "epsilon": max(float(epsilon), 1.001e-5),
            "data_format": data_format,
            "is_training": bool(is_training),
        }
        op = build_op("FusedBatchNorm", [x, scale, offset, mean, variance], attrs, scope)
    return op.outputs[0], op.outputs[1], op.outputs[2]


def moments(
    x: Any,
    axes: Any,
    shift: Any = None,
    name: str | None = None,
    keep_dims: bool | None = None,
    keepdims: bool | None = None,
) -> tuple[Tensor, Tensor]:
    """Mean and (biased) variance over `axes`; `shift` is accepted and not needed."""
    keep = bool(keep_dims if keepdims is None else keepdims)
    axes = [int(a) for a in np.atleast_1d(axes)]
    with name_scope(name, "moments", [x]):
        x = convert_to_tensor(x, name="x")
        mean = reduce.reduce_mean(x, axes, True, name="mean")
        variance = reduce.reduce_mean(
            build("SquaredDifference", [x, source.stop_gradient(mean)]), axes, True, name="variance"
        )
        if not keep:
            mean, variance = array.squeeze(mean, axes), array.squeeze(variance, axes)
        return mean, variance


def batch_normalization(
    x: Any,
    mean: Any,
    variance: Any,
    offset: Any,
    scale: Any,
    variance_epsilon: Any,
    name: str | None = None,
) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) * scale + offset; scale and offset may be None."""
    with name_scope(name, "batchnorm", [x, mean, variance, scale, offset]):
        factor = math.rsqrt(convert_to_tensor(variance) + variance_epsilon)
        if scale is not None:
            factor = factor * scale
        shift = -mean * factor if offset is None else offset - mean * factor
        return convert_to_tensor(x) * factor + shift
