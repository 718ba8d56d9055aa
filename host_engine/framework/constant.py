# SPDX-License-Identifier: Apache-2.0
"""Values of tensors that are known while the graph is built, for shape inference."""

from __future__ import annotations

from typing import Any

import numpy as np

from host_engine.framework.shape import TensorShape
from host_engine.framework.tensor import Tensor

_LARGEST = 1024
_DEEPEST = 16


def constant_value(tensor: Any, _depth: int = 0) -> np.ndarray | None:
    """The value of a tensor that depends on constants and static shapes only, else None.

    Only small pure operations are evaluated; the result must not be written to.
    """
    if not isinstance(tensor, Tensor):
        return None
    op = tensor.op
    if op.type == "Const":
        return op._attrs["value"]
    if op.type == "Shape":
        sizes = op.inputs[0].shape.sizes
        if sizes is None or None in sizes:
            return None
        return np.array(sizes, dtype=tensor.dtype.as_numpy_dtype)
    if op.type == "StridedSlice" and op.inputs[0].op.type == "Shape":
        return _part_of_shape(tensor)
    count = tensor.shape.num_elements()
    if count is None or count > _LARGEST or _depth > _DEEPEST or not op.inputs:
        return None
    if op.definition.compute is None or op.type in ("PlaceholderWithDefault", "StopGradient"):
        return None
    inputs = []
    for source in op.inputs:
        value = constant_value(source, _depth + 1)
        if value is None:
            return None
        inputs.append(value)
    with np.errstate(all="ignore"):
        result = op.definition.compute(np, *inputs, **op.definition.arguments(op._attrs))
    return np.asarray(result[tensor.value_index] if isinstance(result, tuple) else result)


def shape_value(tensor: Tensor) -> TensorShape:
    """The shape that an integer vector describes, as far as it is known; -1 counts as unknown."""
    value = constant_value(tensor)
    if value is not None:
        return TensorShape([None if v < 0 else int(v) for v in value.ravel()])
    op = tensor.op
    if op.type == "Shape":
        return op.inputs[0].shape
    if op.type == "Pack":
        return TensorShape([_element(t) for t in op.inputs])
    if op.type == "ConcatV2":
        whole = TensorShape([])
        for part in op.inputs[:-1]:
            whole = whole.concatenate(shape_value(part))
        return whole
    if op.type == "Identity":
        return shape_value(op.inputs[0])
    sizes = tensor.shape.sizes
    if sizes is not None and len(sizes) == 1 and sizes[0] is not None:
        return TensorShape([None] * sizes[0])
    return TensorShape(None)


def _element(tensor: Tensor) -> int | None:
    value = constant_value(tensor)
    return None if value is None or value < 0 else int(value)


def _part_of_shape(tensor: Tensor) -> np.ndarray | None:
    """tf.shape(x)[part], if the sizes in that part are known."""
    op = tensor.op
    sizes = op.inputs[0].op.inputs[0].shape.sizes
    bounds = [constant_value(t) for t in op.inputs[1:]]
    if sizes is None or any(b is None for b in bounds) or op.definition.compute is None:
        return None
    known = np.array([-1 if s is None else s for s in sizes], tensor.dtype.as_numpy_dtype)
    part = np.asarray(
        op.definition.compute(np, known, *bounds, **op.definition.arguments(op._attrs))
    )
    return None if (part < 0).any() else part
