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
        result = op.definition.compute(np, *inputs, **op._attrs)
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
    if value is not None:
        return None if value < 0 else int(value)
    # One entry of a shape: tf.shape(x)[i], whose size may be known statically.
    op = tensor.op
    if op.type == "StridedSlice" and op.inputs[0].op.type == "Shape":
        begin = constant_value(op.inputs[1])
        sizes = op.inputs[0].op.inputs[0].shape.sizes
        if begin is not None and begin.size == 1 and sizes is not None:
            return sizes[int(begin.ravel()[0])]
    return None
