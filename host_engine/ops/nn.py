# SPDX-License-Identifier: Apache-2.0
"""Activations, softmax, bias, dropout and other small parts of neural networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from host_engine.framework import dtypes
from host_engine.framework import shape_rules as rules
from host_engine.framework.build import build, build_op, convert_to_tensor, name_scope
from host_engine.framework.registry import NOT_DIFFERENTIABLE, define, sample
from host_engine.framework.tensor import Tensor
from host_engine.ops import math, reduce
from host_engine.ops.broadcast import shape_of
from host_engine.ops.linalg import matmul

_FLOAT = {"types": dtypes.FLOATS}


def _activation(name: str, f: Callable[..., Any], slope: Callable[..., Any], of: str) -> None:
    """Records `name` and `name`Grad: the gradient is dy times a slope found from x or y.

    `slope(xp, dy, v, **attrs)` gives dy * slope, with v the features or the output, as `of` says.
    """
    grad_name = f"{name}Grad"

    def grad(op: Any, dy: Tensor) -> list[Any]:
        source = op.inputs[0] if of == "features" else op.outputs[0]
        return [build(grad_name, [dy, source], dict(op._attrs))]

    define(
        name,
        "features:T",
        shape=rules.same,
        compute=f,
        grad=grad,
        types=dtypes.REALS if name == "Relu" else dtypes.FLOATS,
        samples=(sample((3, 4), **({"alpha": 0.2} if name == "LeakyRelu" else {})),),
    )
    # Piecewise linear ones are linear in dy, and their second derivative is 0.
    linear = name in ("Relu", "Relu6", "LeakyRelu")
    define(
        grad_name,
        f"gradients:T {of}:T",
        shape=rules.same,
        compute=slope,
        grad=(lambda op, dy: [build(grad_name, [dy, op.inputs[1]], dict(op._attrs)), None])
        if linear
        else _elu_grad_grad,
        types=dtypes.REALS if name == "Relu" else dtypes.FLOATS,
        samples=(
            sample(
                (3, 4),
                (3, 4),
                wrt=(0,) if linear else None,
                **({"alpha": 0.2} if name == "LeakyRelu" else {}),
            ),
        ),
    )


def _elu_grad_grad(op: Any, ddy: Tensor) -> list[Any]:
    gradients, outputs = op.inputs
    negative = build("Less", [outputs, 0])
    zero = build("ZerosLike", [outputs])
    return [
        build("EluGrad", [ddy, outputs]),
        build("Select", [negative, ddy * gradients, zero]),
    ]


def _relu6(xp: Any, x: Any, **_: Any) -> Any:
    y = xp.maximum(x, 0)
    return xp.minimum(y, 6, out=y) if y.ndim else xp.minimum(y, 6)


_activation(
    "Relu",
    lambda xp, x, **_: xp.maximum(x, 0),
    lambda xp, dy, x, **_: xp.multiply(dy, x > 0),
    "features",
)
_activation("Relu6", _relu6, lambda xp, dy, x, **_: xp.multiply(dy, (x > 0) & (x < 6)), "features")
_activation(
    "LeakyRelu",
    lambda xp, x, alpha=0.2, **_: xp.maximum(x, x * x.dtype.type(alpha)),
    lambda xp, dy, x, alpha=0.2, **_: xp.where(x > 0, dy, dy * x.dtype.type(alpha)),
    "features",
)
_activation(
    "Elu",
    lambda xp, x, **_: xp.where(x > 0, x, xp.expm1(xp.minimum(x, 0))),
    lambda xp, dy, y, **_: xp.where(y > 0, dy, dy * (y + 1)),
    "outputs",
)


def _softplus(xp: Any, x: Any) -> Any:
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))


define(
    "Softplus",
    "features:T",
    shape=rules.same,
    compute=_softplus,
    grad=lambda op, dy: [dy * math.sigmoid(op.inputs[0])],
    samples=(sample((3, 4)),),
    **_FLOAT,
)
define(
    "Softsign",
    "features:T",
    shape=rules.same,
    compute=lambda xp, x: x / (1 + xp.abs(x)),
    grad=lambda op, dy: [dy / math.square(1 + math.abs(op.inputs[0]))],
    samples=(sample((3, 4)),),
    **_FLOAT,
)


def _softmax(xp: Any, x: Any, **_: Any) -> Any:
    e = xp.exp(x - x.max(-1, keepdims=True))
    e /= e.sum(-1, keepdims=True)
    return e


def _log_softmax(xp: Any, x: Any, **_: Any) -> Any:
    shifted = x - x.max(-1, keepdims=True)
    shifted -= xp.log(xp.exp(shifted).sum(-1, keepdims=True))
    return shifted


def _softmax_grad(op: Any, dy: Tensor) -> list[Any]:
    y = op.outputs[0]
    return [(dy - reduce.reduce_sum(dy * y, -1, True)) * y]


def _log_softmax_grad(op: Any, dy: Tensor) -> list[Any]:
    return [dy - reduce.reduce_sum(dy, -1, True) * math.exp(op.outputs[0])]


define(
    "Softmax",
    "logits:T",
    shape=rules.same,
    compute=_softmax,
    grad=_softmax_grad,
    samples=(sample((3, 4)), sample((2, 2, 3))),
    **_FLOAT,
)
define(
    "LogSoftmax",
    "logits:T",
    shape=rules.same,
    compute=_log_softmax,
    grad=_log_softmax_grad,
    samples=(sample((3, 4)),),
    **_FLOAT,
)


def _bias_shape(op: Any) -> list[Any]:
    value, bias = (t.shape for t in op.inputs)
    if bias.ndims not in (1, None):
        raise ValueError(f"Shape must be rank 1 but is rank {bias.ndims}")
    if value.sizes is None:
        return [None]
    if len(value.sizes) < 2:
        raise ValueError(f"Shape must be at least rank 2 but is rank {len(value.sizes)}")
    axis = 1 if op._attrs["data_format"] == "NCHW" else len(value.sizes) - 1
    size = rules.equal_size(value.sizes[axis], bias.with_rank(1).as_list()[0])
    return [(*value.sizes[:axis], size, *value.sizes[axis + 1 :])]


def _bias_add(xp: Any, value: Any, bias: Any, data_format: str = "NHWC", **_: Any) -> Any:
    if data_format == "NCHW":
        bias = bias.reshape((-1,) + (1,) * (value.ndim - 2))
    return value + bias


def _bias_grad(xp: Any, dy: Any, data_format: str = "NHWC", **_: Any) -> Any:
    if data_format == "NCHW":
        return dy.sum(axis=(0, *range(2, dy.ndim)), dtype=dy.dtype)
    rows = dy.reshape(-1, dy.shape[-1])
    return xp.ones(len(rows), dy.dtype) @ rows


def _bias_grad_grad(op: Any, ddy: Tensor) -> list[Any]:
    x = op.inputs[0]
    zeros = build("ZerosLike", [x])
    return [build("BiasAdd", [zeros, ddy], dict(op._attrs))]


define(
    "BiasAdd",
    "input:T bias:T",
    shape=_bias_shape,
    compute=_bias_add,
    grad=lambda op, dy: [dy, build("BiasAddGrad", [dy], dict(op._attrs))],
    types=dtypes.NUMBERS,
    samples=(
        sample((2, 3), (3,), data_format="NHWC"),
        sample((2, 3, 4), (4,), data_format="NHWC"),
        sample((2, 3, 4, 5), (3,), data_format="NCHW"),
    ),
)
define(
    "BiasAddGrad",
    "out_backprop:T",
    shape=lambda op: [
        [op.inputs[0].shape[1 if op._attrs["data_format"] == "NCHW" else -1].value]
        if op.inputs[0].shape.sizes is not None
        else [None]
    ],
    compute=_bias_grad,
    grad=_bias_grad_grad,
    types=dtypes.NUMBERS,
    samples=(sample((2, 3, 4), data_format="NHWC"), sample((2, 3, 4), data_format="NCHW")),
)
define(
    "L2Loss",
    "t:T",
    shape=rules.scalar,
    compute=lambda xp, t: (t.ravel() @ t.ravel()) / 2,
    grad=lambda op, dy: [op.inputs[0] * dy],
    samples=(sample((3, 4)), sample(())),
    **_FLOAT,
)


def _in_top_k(xp: Any, predictions: Any, targets: Any, k: Any) -> Any:
    rows = xp.arange(len(targets))
    score = predictions[rows, targets]
    better = (predictions > score[:, None]).sum(1)
    return (better < int(k)) & xp.isfinite(score)


define(
    "InTopKV2",
    "predictions:any targets:index k:index",
    shape=lambda op: [[op.inputs[1].shape.with_rank(1).as_list()[0]]],
    compute=_in_top_k,
    dtype=dtypes.bool_,
    grad=NOT_DIFFERENTIABLE,
    samples=(sample((4, 5), np.array([0, 1, 2, 3]), np.int32(2)),),
)


def _top_k_shape(op: Any) -> list[Any]:
    from host_engine.framework.constant import constant_value

    sizes, k = op.inputs[0].shape.sizes, constant_value(op.inputs[1])
    shape = None if sizes is None else (*sizes[:-1], None if k is None else int(k))
    return [shape, shape]


def _top_k(xp: Any, x: Any, k: Any, **_: Any) -> Any:
    order = xp.argsort(-x, axis=-1, kind="stable")[..., : int(k)]
    return xp.take_along_axis(x, order, -1), order.astype(np.int32)


def _top_k_grad(op: Any, dy: Tensor, _: Any) -> list[Any]:
    x = op.inputs[0]
    depth = build("GatherV2", [shape_of(x), build("Sub", [build("Rank", [x]), 1]), 0])
    one = convert_to_tensor(1, x.dtype)
    hot = build("OneHot", [op.outputs[1], depth, one, one - one], {"axis": -1})
    return [reduce.reduce_sum(hot * build("ExpandDims", [dy, -1]), -2), None]


define(
    "TopKV2",
    "input:T k:index",
    shape=_top_k_shape,
    compute=_top_k,
    dtype=lambda op: [op.inputs[0].dtype, dtypes.int32],
    grad=_top_k_grad,
    types=dtypes.REALS,
    samples=(sample((3, 5), np.int32(2), sorted=True),),
)

# Python functions


def relu(features: Any, name: str | None = None) -> Tensor:
    """max(x, 0); its gradient at 0 is 0."""
    return build("Relu", [features], name=name)


def relu6(features: Any, name: str | None = None) -> Tensor:
    """min(max(x, 0), 6)."""
    return build("Relu6", [features], name=name)


def elu(features: Any, name: str | None = None) -> Tensor:
    """x above 0, exp(x) - 1 below."""
    return build("Elu", [features], name=name)


def leaky_relu(features: Any, alpha: float = 0.2, name: str | None = None) -> Tensor:
    """x above 0, alpha * x below."""
    return build("LeakyRelu", [features], {"alpha": float(alpha)}, name)


def softplus(features: Any, name: str | None = None) -> Tensor:
    """log(1 + exp(x))."""
    return build("Softplus", [features], name=name)


def softsign(features: Any, name: str | None = None) -> Tensor:
    """x / (1 + |x|)."""
    return build("Softsign", [features], name=name)


def softmax(logits: Any, axis: Any = None, name: str | None = None, dim: Any = None) -> Tensor:
    """exp(x) / sum(exp(x)) along `axis` (default: the last)."""
    return _along("Softmax", logits, dim if axis is None else axis, name)


def log_softmax(logits: Any, axis: Any = None, name: str | None = None, dim: Any = None) -> Tensor:
    """log(softmax(x)) along `axis` (default: the last)."""
    return _along("LogSoftmax", logits, dim if axis is None else axis, name)


def _along(op_type: str, logits: Any, axis: int | None, name: Any) -> Tensor:
    x = convert_to_tensor(logits)
    rank = x.shape.ndims
    if axis is None or axis == -1 or (rank is not None and axis == rank - 1):
        return build(op_type, [x], name=name)
    if rank is None:
        raise ValueError(f"{op_type} along axis {axis} needs a tensor of known rank")
    order = np.arange(rank, dtype=np.int32)
    at = rules.normal_axis(axis, rank)
    order[[at, -1]] = order[[-1, at]]
    with name_scope(name, op_type, [x]) as scope:
        moved = build(op_type, [build("Transpose", [x, order])])
        return build("Transpose", [moved, order], name=scope)


def bias_add(value: Any, bias: Any, data_format: str | None = None, name: Any = None) -> Tensor:
    """`value` [..., channels] plus `bias` [channels] (NCHW: channels are axis 1)."""
    with name_scope(name, "BiasAdd", [value, bias]) as scope:
        return build("BiasAdd", [value, bias], {"data_format": data_format or "NHWC"}, scope)


def xw_plus_b(x: Any, weights: Any, biases: Any, name: str | None = None) -> Tensor:
    """matmul(x, weights) + biases."""
    with name_scope(name, "xw_plus_b", [x, weights, biases]) as scope:
        biases = convert_to_tensor(biases, name="biases")
        return bias_add(matmul(x, weights), biases, name=scope)


def relu_layer(x: Any, weights: Any, biases: Any, name: str | None = None) -> Tensor:
    """relu(matmul(x, weights) + biases)."""
    with name_scope(name, "relu_layer", [x, weights, biases]) as scope:
        return relu(xw_plus_b(x, weights, biases), name=scope)


def l2_loss(t: Any, name: str | None = None) -> Tensor:
    """sum(t^2) / 2."""
    return build("L2Loss", [t], name=name)


def l2_normalize(
    x: Any, axis: Any = None, epsilon: float = 1e-12, name: Any = None, dim: Any = None
) -> Tensor:
    """x / sqrt(max(sum(x^2), epsilon)), the sum over `axis`."""
    with name_scope(name, "l2_normalize", [x]) as scope:
        x = convert_to_tensor(x, name="x")
        total = reduce.reduce_sum(math.square(x), dim if axis is None else axis, True)
        return build("Mul", [x, math.rsqrt(build("Maximum", [total, epsilon]))], name=scope)


def zero_fraction(value: Any, name: str | None = None) -> Tensor:
    """The share of elements that are 0."""
    with name_scope(name, "zero_fraction", [value]):
        value = convert_to_tensor(value, name="value")
        zero = build("Equal", [value, 0])
        cast = build("Cast", [zero], {"SrcT": dtypes.bool_, "DstT": dtypes.float32})
        return reduce.reduce_mean(cast, name="fraction")


def in_top_k(predictions: Any, targets: Any, k: Any, name: str | None = None) -> Tensor:
    """Whether each target [batch] is among the k largest of its row of predictions."""
    return build("InTopKV2", [predictions, targets, k], name=name or "in_top_k")


def top_k(input: Any, k: Any = 1, sorted: bool = True, name: str | None = None) -> Any:
    """Values and indices of the k largest of each row, largest first."""
    return build_op("TopKV2", [input, k], {"sorted": sorted}, name).outputs
