# SPDX-License-Identifier: Apache-2.0
"""Cross entropies."""

from __future__ import annotations

from typing import Any

import numpy as np

from host_engine.errors import invalid
from host_engine.framework import dtypes
from host_engine.framework import shape_rules as rules
from host_engine.framework.build import build, build_op, convert_to_tensor, name_scope
from host_engine.framework.registry import define, sample
from host_engine.framework.tensor import Tensor
from host_engine.ops import array, math, nn, reduce, source
from host_engine.ops.broadcast import shape_of


def _loss_and_backprop_shape(op: Any) -> list[Any]:
    shape = rules.merged(op)[0] if op.type.startswith("Softmax") else op.inputs[0].shape
    if shape.ndims not in (2, None):
        raise ValueError(f"Shape must be rank 2 but is rank {shape.ndims}")
    shape = shape.with_rank(2)
    return [shape[:1], shape]


def _shifted(xp: Any, logits: Any) -> tuple[Any, Any, Any]:
    shifted = logits - logits.max(1, keepdims=True)
    e = xp.exp(shifted)
    return shifted, e, e.sum(1, keepdims=True)


def _dense(xp: Any, logits: Any, labels: Any) -> tuple[Any, Any]:
    if logits.shape != labels.shape:
        raise invalid(
            f"logits and labels must be same size: logits_size={list(logits.shape)} "
            f"labels_size={list(labels.shape)}"
        )
    shifted, e, total = _shifted(xp, logits)
    loss = (labels * (xp.log(total) - shifted)).sum(1)
    return loss, e / total - labels


def _logits_grad(op: Any, dloss: Any, dbackprop: Any) -> Any:
    """The gradient to the logits; each of the two output gradients may be None."""
    parts = []
    if dloss is not None:
        parts.append(build("ExpandDims", [dloss, -1]) * op.outputs[1])
    if dbackprop is not None:
        # The backprop output was differentiated too (second order): it is softmax - labels.
        y = nn.softmax(op.inputs[0])
        parts.append((dbackprop - reduce.reduce_sum(dbackprop * y, 1, True)) * y)
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def _dense_grad(op: Any, dloss: Any, dbackprop: Any) -> list[Any]:
    logits = op.inputs[0]
    parts = []
    if dloss is not None:
        parts.append(-build("ExpandDims", [dloss, -1]) * nn.log_softmax(logits))
    if dbackprop is not None:
        parts.append(-dbackprop)
    dlabels = parts[0] if len(parts) == 1 else parts[0] + parts[1]
    return [_logits_grad(op, dloss, dbackprop), dlabels]


define(
    "SoftmaxCrossEntropyWithLogits",
    "features:T labels:T",
    shape=_loss_and_backprop_shape,
    compute=_dense,
    grad=_dense_grad,
    types=dtypes.FLOATS,
    samples=(
        sample((3, 4), np.full((3, 4), 0.25), wrt=(0,)),
        # The kernel's backprop is that of labels that sum to 1, so labels are moved alone.
        sample((3, 4), (3, 4), wrt=(1,)),
    ),
)


def _sparse(xp: Any, logits: Any, labels: Any, **_: Any) -> tuple[Any, Any]:
    classes = logits.shape[1]
    if labels.size and ((labels < 0) | (labels >= classes)).any():
        bad = labels[(labels < 0) | (labels >= classes)][0]
        raise invalid(
            f"Received a label value of {bad} which is outside the valid range of [0, {classes}). "
            f" Label values: {' '.join(map(str, labels[:10]))}"
        )
    shifted, e, total = _shifted(xp, logits)
    rows = xp.arange(len(labels))
    loss = xp.log(total[:, 0]) - shifted[rows, labels]
    e /= total
    e[rows, labels] -= 1
    return loss, e


def _sparse_grad(op: Any, dloss: Any, dbackprop: Any) -> list[Any]:
    return [_logits_grad(op, dloss, dbackprop), None]


define(
    "SparseSoftmaxCrossEntropyWithLogits",
    "features:T labels:index",
    shape=_loss_and_backprop_shape,
    compute=_sparse,
    grad=_sparse_grad,
    types=dtypes.FLOATS,
    samples=(sample((3, 4), np.array([0, 3, 1])),),
)

# Python functions


def _arguments(function: str, sentinel: Any, labels: Any, logits: Any) -> tuple[Any, Any]:
    """(labels, logits), given by name, or by position in the order (logits, labels) of 0.x."""
    if sentinel is not None:
        if labels is not None and logits is not None:
            raise ValueError(
                f"Only call `{function}` with named arguments (labels=..., logits=..., ...)"
            )
        logits, labels = sentinel, labels if labels is not None else logits
    if labels is None or logits is None:
        raise ValueError("Both labels and logits must be provided.")
    return labels, logits


def softmax_cross_entropy_with_logits(
    _sentinel: Any = None,
    labels: Any = None,
    logits: Any = None,
    dim: int = -1,
    name: str | None = None,
    axis: int | None = None,
) -> Tensor:
    """-sum(labels * log(softmax(logits))) per row; no gradient flows to the labels.

    Positional arguments are (logits, labels), the order of TensorFlow 0.x.
    """
    labels, logits = _arguments("softmax_cross_entropy_with_logits", _sentinel, labels, logits)
    with name_scope(name, "softmax_cross_entropy_with_logits_sg", [logits, labels]) as scope:
        labels = source.stop_gradient(labels, name="labels_stop_gradient")
        return softmax_cross_entropy_with_logits_v2(
            labels, logits, dim if axis is None else axis, scope
        )


def softmax_cross_entropy_with_logits_v2(
    labels: Any, logits: Any, axis: Any = None, name: str | None = None, dim: Any = None
) -> Tensor:
    """-sum(labels * log(softmax(logits))) per row, with a gradient to the labels too."""
    axis = dim if axis is None else axis
    with name_scope(name, "softmax_cross_entropy_with_logits", [logits, labels]) as scope:
        logits = convert_to_tensor(logits, name="logits")
        labels = convert_to_tensor(
            labels, None if isinstance(labels, Tensor) else logits.dtype, name="labels"
        )
        rank = logits.shape.ndims
        if rank == 2 and axis in (None, -1, 1):
            op = build_op("SoftmaxCrossEntropyWithLogits", [logits, labels], name=scope)
            return op.outputs[0]
        if rank is None:
            raise ValueError("softmax_cross_entropy_with_logits needs logits of known rank")
        if axis not in (None, -1, rank - 1):
            order = [i for i in range(rank) if i != axis % rank] + [axis % rank]
            logits, labels = (array.transpose(t, order) for t in (logits, labels))
        classes = build("StridedSlice", [shape_of(logits), [-1], [0], [1]], _LAST)
        flat = [
            build("Reshape", [t, build("Pack", [[-1, classes]], {"axis": 0})])
            for t in (logits, labels)
        ]
        cost = build_op("SoftmaxCrossEntropyWithLogits", flat).outputs[0]
        rows = build("Slice", [shape_of(logits), [0], [rank - 1]])
        return build("Reshape", [cost, rows], name=scope)


_LAST = {
    "begin_mask": 0,
    "end_mask": 1,
    "ellipsis_mask": 0,
    "new_axis_mask": 0,
    "shrink_axis_mask": 1,
}


def sparse_softmax_cross_entropy_with_logits(
    _sentinel: Any = None, labels: Any = None, logits: Any = None, name: str | None = None
) -> Tensor:
    """-log(softmax(logits)[label]) for integer labels [...] and logits [..., classes].

    Positional arguments are (logits, labels), the order of TensorFlow 0.x. A label outside the
    classes raises InvalidArgumentError when run.
    """
    labels, logits = _arguments(
        "sparse_softmax_cross_entropy_with_logits", _sentinel, labels, logits
    )
    default = "SparseSoftmaxCrossEntropyWithLogits"
    with name_scope(name, default, [labels, logits]) as scope:
        logits, labels = convert_to_tensor(logits), convert_to_tensor(labels)
        rank, wanted = logits.shape.ndims, labels.shape.ndims
        if rank is not None and wanted is not None and wanted != rank - 1:
            raise ValueError(
                f"Rank mismatch: Rank of labels (received {wanted}) should equal rank of logits "
                f"minus 1 (received {rank})."
            )
        if rank in (2, None):
            return build_op(default, [logits, labels], name=scope).outputs[0]
        classes = build("StridedSlice", [shape_of(logits), [-1], [0], [1]], _LAST)
        flat = build("Reshape", [logits, build("Pack", [[-1, classes]], {"axis": 0})])
        cost = build_op(default, [flat, build("Reshape", [labels, [-1]])]).outputs[0]
        return build("Reshape", [cost, shape_of(labels)], name=scope)


def sigmoid_cross_entropy_with_logits(
    _sentinel: Any = None, labels: Any = None, logits: Any = None, name: str | None = None
) -> Tensor:
    """max(x, 0) - x * z + log(1 + exp(-|x|)) for logits x and targets z of the same shape."""
    labels, logits = _arguments("sigmoid_cross_entropy_with_logits", _sentinel, labels, logits)
    with name_scope(name, "logistic_loss", [logits, labels]) as scope:
        logits = convert_to_tensor(logits, name="logits")
        labels = convert_to_tensor(
            labels, None if isinstance(labels, Tensor) else logits.dtype, name="labels"
        )
        if not logits.shape.is_compatible_with(labels.shape):
            raise ValueError(
                f"logits and labels must have the same shape ({logits.shape} vs {labels.shape})"
            )
        zeros = source.zeros_like(logits)
        positive = build("GreaterEqual", [logits, zeros])
        relu_logits = build("Select", [positive, logits, zeros])
        negative_abs = build("Select", [positive, -logits, logits])
        return build(
            "Add",
            [relu_logits - logits * labels, math.log1p(math.exp(negative_abs))],
            name=scope,
        )
