# SPDX-License-Identifier: Apache-2.0
"""Joining tensors and taking them apart: concat, split, stack, unstack."""

from __future__ import annotations

from typing import Any

import numpy as np

from host_engine.errors import invalid
from host_engine.framework import shape_rules as rules
from host_engine.framework.build import build, build_op, convert_to_tensor
from host_engine.framework.constant import constant_value
from host_engine.framework.registry import define, sample
from host_engine.framework.shape import TensorShape
from host_engine.framework.tensor import Tensor
from host_engine.ops.broadcast import shape_of


def _axis(tensor: Any, rank: int) -> int | None:
    value = constant_value(tensor)
    return None if value is None else rules.normal_axis(int(value), rank)


def _concat_shape(op: Any) -> list[Any]:
    shapes = [t.shape for t in op.inputs[:-1]]
    rank = next((s.ndims for s in shapes if s.ndims is not None), None)
    if rank is None:
        return [None]
    axis = _axis(op.inputs[-1], rank)
    if axis is None:
        return [[None] * rank]
    total: int | None = 0
    rest = TensorShape([None] * rank)
    for shape in shapes:
        sizes = shape.with_rank(rank).as_list()
        size, sizes[axis] = sizes[axis], None
        total = None if total is None or size is None else total + size
        try:
            rest = rest.merge_with(sizes)
        except ValueError:
            raise ValueError(
                "Dimensions of inputs should match: " + " vs. ".join(str(s) for s in shapes)
            ) from None
    merged = rest.as_list()
    merged[axis] = total
    return [merged]


def _concat(xp: Any, *inputs: Any, **_: Any) -> Any:
    *values, axis = inputs
    try:
        return xp.concatenate(values, int(axis))
    except ValueError:
        shapes = " vs. ".join(str(list(v.shape)) for v in values)
        raise invalid(f"ConcatOp : Dimensions of inputs should match: {shapes}") from None


def _concat_grad(op: Any, dy: Tensor) -> list[Any]:
    *values, axis = op.inputs
    if len(values) == 1:
        return [dy, None]
    rank = op.outputs[0].shape.ndims
    at = axis if rank is None else build("FloorMod", [axis, rank])
    sizes = [build("GatherV2", [shape_of(v), at, 0]) for v in values]
    return [*_split_v(dy, sizes, axis), None]


def _split_v(value: Any, sizes: Any, axis: Any, name: str | None = None) -> list[Tensor]:
    attrs = {"num_split": len(sizes)}
    return build_op("SplitV", [value, sizes, axis], attrs, name).outputs


define(
    "ConcatV2",
    "values:T* axis:index",
    shape=_concat_shape,
    compute=_concat,
    grad=_concat_grad,
    samples=(
        sample([(2, 3), (2, 1)], np.int32(1)),
        sample([(2, 3), (1, 3), (4, 3)], np.int32(-2)),
        sample([(2,)], np.int32(0)),
    ),
)


def _split_shape(op: Any) -> list[Any]:
    count, shape = op._attrs["num_split"], op.inputs[1].shape
    if shape.sizes is None:
        return [None] * count
    axis = _axis(op.inputs[0], len(shape.sizes))
    sizes = shape.as_list()
    if axis is None:
        return [[None] * len(sizes)] * count
    size = sizes[axis]
    if size is not None:
        if size % count:
            raise ValueError(f"Dimension size must be evenly divisible by {count} but is {size}")
        sizes[axis] = size // count
    return [list(sizes) for _ in range(count)]


def _split(xp: Any, axis: Any, value: Any, num_split: int, **_: Any) -> Any:
    if value.shape[int(axis)] % num_split:
        raise invalid(
            f"Number of ways to split should evenly divide the split dimension, but got split_dim "
            f"{int(axis)} (size = {value.shape[int(axis)]}) and num_split {num_split}"
        )
    return tuple(xp.split(value, num_split, int(axis)))


def _outputs_or_zeros(op: Any, grads: Any) -> list[Any]:
    return [
        build("ZerosLike", [out]) if g is None else g
        for out, g in zip(op.outputs, grads, strict=True)
    ]


define(
    "Split",
    "split_dim:index value:any",
    shape=_split_shape,
    compute=_split,
    dtype=lambda op: [op.inputs[1].dtype] * op._attrs["num_split"],
    grad=lambda op, *dys: [
        None,
        build("ConcatV2", [_outputs_or_zeros(op, dys), op.inputs[0]]),
    ],
    samples=(sample(np.int32(1), (2, 6), num_split=3),),
)


def _split_v_shape(op: Any) -> list[Any]:
    count, shape = op._attrs["num_split"], op.inputs[0].shape
    if shape.sizes is None:
        return [None] * count
    axis, sizes = _axis(op.inputs[2], len(shape.sizes)), constant_value(op.inputs[1])
    if axis is None:
        return [[None] * len(shape.sizes)] * count
    parts = [None] * count if sizes is None else [None if s < 0 else int(s) for s in sizes]
    total = shape.sizes[axis]
    if total is not None and parts.count(None) == 1 and sizes is not None:
        parts[parts.index(None)] = total - sum(p for p in parts if p is not None)
    return [(*shape.sizes[:axis], p, *shape.sizes[axis + 1 :]) for p in parts]


def _split_v_compute(xp: Any, value: Any, sizes: Any, axis: Any, **_: Any) -> Any:
    parts = [int(s) for s in sizes]
    total = value.shape[int(axis)]
    if -1 in parts:
        parts[parts.index(-1)] = total - sum(p for p in parts if p >= 0)
    if sum(parts) != total or min(parts) < 0:
        raise invalid(
            f"Determined shape must either match input shape along split_dim exactly if fully "
            f"specified, or be less than the size of the input along split_dim if not fully "
            f"specified. Got: {sum(parts)}"
        )
    return tuple(xp.split(value, np.cumsum(parts)[:-1].tolist(), int(axis)))


define(
    "SplitV",
    "value:any size_splits:index split_dim:index",
    shape=_split_v_shape,
    compute=_split_v_compute,
    dtype=lambda op: [op.inputs[0].dtype] * op._attrs["num_split"],
    grad=lambda op, *dys: [
        build("ConcatV2", [_outputs_or_zeros(op, dys), op.inputs[2]]),
        None,
        None,
    ],
    samples=(sample((5, 2), np.array([1, -1], np.int32), np.int32(0), num_split=2),),
)


def _pack_shape(op: Any) -> list[Any]:
    shape = rules.merged(op)[0]
    if shape.sizes is None:
        return [None]
    axis = rules.normal_axis(op._attrs["axis"], len(shape.sizes) + 1)
    return [(*shape.sizes[:axis], len(op.inputs), *shape.sizes[axis:])]


def _pack(xp: Any, *values: Any, axis: int = 0, **_: Any) -> Any:
    try:
        return xp.stack(values, axis)
    except ValueError:
        shapes = " vs. ".join(str(list(np.shape(v))) for v in values)
        raise invalid(f"Shapes of all inputs must match: {shapes}") from None


def _unpack(value: Any, count: int, axis: int, name: Any = None) -> list[Tensor]:
    return build_op("Unpack", [value], {"num": count, "axis": axis}, name).outputs


define(
    "Pack",
    "values:T*",
    shape=_pack_shape,
    compute=_pack,
    grad=lambda op, dy: _unpack(dy, len(op.inputs), op._attrs["axis"]),
    samples=(sample([(2, 3), (2, 3)], axis=1), sample([(), ()], axis=0)),
)


def _unpack_shape(op: Any) -> list[Any]:
    shape, count = op.inputs[0].shape, op._attrs["num"]
    if shape.sizes is None:
        return [None] * count
    axis = rules.normal_axis(op._attrs["axis"], len(shape.sizes))
    rules.equal_size(shape.sizes[axis], count)
    return [shape.sizes[:axis] + shape.sizes[axis + 1 :]] * count


def _unpack_compute(xp: Any, value: Any, num: int, axis: int = 0, **_: Any) -> Any:
    if value.shape[axis] != num:
        raise invalid(f"Input shape axis {axis} must equal {num}, got shape {list(value.shape)}")
    return tuple(xp.moveaxis(value, axis, 0))


define(
    "Unpack",
    "value:any",
    shape=_unpack_shape,
    compute=_unpack_compute,
    dtype=lambda op: [op.inputs[0].dtype] * op._attrs["num"],
    grad=lambda op, *dys: [
        build("Pack", [_outputs_or_zeros(op, dys)], {"axis": op._attrs["axis"]})
    ],
    samples=(sample((2, 3), num=3, axis=1), sample((2, 3), num=2, axis=0)),
)

# Python functions


def _is_axis(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.shape.ndims == 0 and value.dtype.is_integer
    return isinstance(value, (int, np.integer))


def concat(values: Any, axis: Any = None, name: str = "concat", concat_dim: Any = None) -> Tensor:
    """The tensors `values` one after another along `axis`.

    `concat(axis, values)`, the order of TensorFlow 0.x, is recognized by its first argument.
    """
    axis = concat_dim if axis is None else axis
    if _is_axis(values) and isinstance(axis, (list, tuple)):
        values, axis = axis, values
    if not isinstance(values, (list, tuple)):
        values = [values]
    if len(values) == 1:
        # As TensorFlow does: an identity under the op's name.
        return build("Identity", [convert_to_tensor(values[0])], name=name)
    return build("ConcatV2", [list(values), axis], name=name)


def split(
    value: Any,
    num_or_size_splits: Any = None,
    axis: Any = 0,
    num: int | None = None,
    name: str = "split",
    split_dim: Any = None,
    num_split: Any = None,
) -> list[Tensor]:
    """`value` cut along `axis` into equal parts (an int) or parts of the sizes given (a list).

    `split(axis, count, value)`, the order of TensorFlow 0.x, is recognized by its arguments.
    """
    axis = axis if split_dim is None else split_dim
    parts = num_or_size_splits if num_split is None else num_split
    if _is_axis(value) and not _is_axis(axis):
        value, axis = axis, value
    if isinstance(parts, (int, np.integer)):
        return build_op("Split", [axis, value], {"num_split": int(parts)}, name).outputs
    sizes = convert_to_tensor(parts)
    count = sizes.shape.as_list()[0] if num is None else num
    if count is None:
        raise ValueError(f"Cannot infer num from shape {sizes.shape}")
    attrs = {"num_split": count}
    return build_op("SplitV", [value, sizes, axis], attrs, name).outputs


def stack(values: Any, axis: int = 0, name: str = "stack") -> Tensor:
    """Tensors of one shape joined along a new axis."""
    if axis == 0:
        try:
            return convert_to_tensor(np.asarray(_numbers(values)), name=name)
        except TypeError:
            pass
    return build("Pack", [list(values)], {"axis": axis}, name)


def _numbers(values: Any) -> Any:
    """`values` if it holds no tensors (then one constant will do); TypeError if it does."""
    tensors = any(isinstance(v, Tensor) or hasattr(v, "_as_tensor") for v in values)
    if tensors or not all(isinstance(v, (int, np.integer)) for v in values):
        raise TypeError("not plain integers")
    return np.array(values, np.int32)


def unstack(value: Any, num: int | None = None, axis: int = 0, name: str = "unstack") -> Any:
    """The slices of `value` along `axis`; ValueError if their number is not known."""
    value = convert_to_tensor(value)
    if num is None:
        sizes = value.shape.sizes
        num = None if sizes is None else sizes[rules.normal_axis(axis, len(sizes))]
        if num is None:
            raise ValueError(f"Cannot infer num from shape {value.shape}")
    return _unpack(value, num, axis, name)


def pack(values: Any, axis: int = 0, name: str = "pack") -> Tensor:
    """`stack` under its name of TensorFlow 0.x."""
    return stack(values, axis, name)


def unpack(value: Any, num: int | None = None, axis: int = 0, name: str = "unpack") -> Any:
    """`unstack` under its name of TensorFlow 0.x."""
    return unstack(value, num, axis, name)
