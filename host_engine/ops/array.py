# SPDX-License-Identifier: Apache-2.0
"""Shapes, and rearrangements of whole tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from host_engine.errors import invalid
from host_engine.framework import dtypes
from host_engine.framework import shape_rules as rules
from host_engine.framework.build import build, constant, convert_to_tensor, name_scope
from host_engine.framework.constant import constant_value, shape_value
from host_engine.framework.dtypes import as_dtype
from host_engine.framework.registry import NOT_DIFFERENTIABLE, define, sample
from host_engine.framework.tensor import Tensor
from host_engine.ops.broadcast import shape_of


def _out_type(op: Any) -> list[Any]:
    return [op._attrs.get("out_type", dtypes.int32)]


define(
    "Shape",
    "input:any",
    shape=lambda op: [[op.inputs[0].shape.ndims]],
    compute=lambda xp, x, out_type=dtypes.int32: np.array(x.shape, out_type.as_numpy_dtype),
    dtype=_out_type,
    grad=NOT_DIFFERENTIABLE,
    samples=(sample((2, 3), out_type=dtypes.int32), sample((), out_type=dtypes.int64)),
)

define(
    "Size",
    "input:any",
    shape=rules.scalar,
    compute=lambda xp, x, out_type=dtypes.int32: np.array(x.size, out_type.as_numpy_dtype),
    dtype=_out_type,
    grad=NOT_DIFFERENTIABLE,
    samples=(sample((2, 3), out_type=dtypes.int32),),
)

define(
    "Rank",
    "input:any",
    shape=rules.scalar,
    compute=lambda xp, x: np.array(x.ndim, np.int32),
    dtype=dtypes.int32,
    grad=NOT_DIFFERENTIABLE,
    samples=(sample((2, 3)),),
)


def _reshape_shape(op: Any) -> list[Any]:
    wanted, have = shape_value(op.inputs[1]), op.inputs[0].shape.num_elements()
    if wanted.sizes is None:
        return [None]
    fixed = 1
    for size in wanted.sizes:
        fixed *= 1 if size is None else size
    unknown = wanted.sizes.count(None)
    value = constant_value(op.inputs[1])
    if value is not None and (value < 0).sum() > 1:
        raise ValueError("Only one input size may be -1")
    if unknown == 0 and have is not None and have != fixed:
        sizes = "[" + ",".join(map(str, wanted.sizes)) + "]"
        raise ValueError(
            f"Cannot reshape a tensor with {have} elements to shape {sizes} ({fixed} elements)"
        )
    if unknown == 1 and value is not None and have is not None:
        if (fixed == 0 and have) or (fixed and have % fixed):
            raise ValueError(f"Dimension size must be evenly divisible by {fixed} but is {have}")
        rest = have // fixed if fixed else 0
        return [[rest if s is None else s for s in wanted.sizes]]
    return [wanted]


def _reshape(xp: Any, x: Any, shape: Any, **_: Any) -> Any:
    sizes = tuple(int(s) for s in shape)
    try:
        return x.reshape(sizes)
    except ValueError:
        pass
    fixed = int(np.prod([s for s in sizes if s >= 0], dtype=np.int64))
    if -1 in sizes:
        raise invalid(
            f"Input to reshape is a tensor with {x.size} values, but the requested shape "
            f"requires a multiple of {fixed}"
        )
    raise invalid(
        f"Input to reshape is a tensor with {x.size} values, but the requested shape has {fixed}"
    )


def _reshape_back(op: Any, dy: Tensor) -> Tensor:
    return build("Reshape", [dy, shape_of(op.inputs[0])])


define(
    "Reshape",
    "tensor:any shape:index",
    shape=_reshape_shape,
    compute=_reshape,
    grad=lambda op, dy: [_reshape_back(op, dy), None],
    samples=(sample((2, 6), np.array([3, -1], np.int32)), sample((), np.array([1, 1], np.int32))),
)


def _squeeze_shape(op: Any) -> list[Any]:
    sizes = op.inputs[0].shape.sizes
    dims = op._attrs.get("squeeze_dims") or []
    if sizes is None:
        return [None]
    if not dims:
        return [None] if None in sizes else [[s for s in sizes if s != 1]]
    axes = {rules.normal_axis(d, len(sizes)) for d in dims}
    for axis in axes:
        if sizes[axis] not in (1, None):
            raise ValueError(
                f"Can not squeeze dim[{axis}], expected a dimension of 1, got {sizes[axis]}"
            )
    return [[s for i, s in enumerate(sizes) if i not in axes]]


def _squeeze(xp: Any, x: Any, squeeze_dims: Any = (), **_: Any) -> Any:
    try:
        return xp.squeeze(x, tuple(squeeze_dims) if squeeze_dims else None)
    except ValueError:
        raise invalid(f"Can not squeeze dims {list(squeeze_dims)} of shape {x.shape}") from None


define(
    "Squeeze",
    "input:any",
    shape=_squeeze_shape,
    compute=_squeeze,
    grad=lambda op, dy: [_reshape_back(op, dy)],
    samples=(sample((1, 3, 1), squeeze_dims=[]), sample((1, 3, 1), squeeze_dims=[-1])),
)


def _expand_shape(op: Any) -> list[Any]:
    sizes, dim = op.inputs[0].shape.sizes, constant_value(op.inputs[1])
    if sizes is None or dim is None:
        return [None]
    axis = rules.normal_axis(int(dim.ravel()[0]), len(sizes) + 1)
    return [(*sizes[:axis], 1, *sizes[axis:])]


define(
    "ExpandDims",
    "input:any dim:index",
    shape=_expand_shape,
    compute=lambda xp, x, dim: xp.expand_dims(x, int(np.ravel(dim)[0])),
    grad=lambda op, dy: [_reshape_back(op, dy), None],
    samples=(sample((2, 3), np.int32(-1)), sample((2,), np.int32(0))),
)


def _transpose_shape(op: Any) -> list[Any]:
    sizes, perm = op.inputs[0].shape.sizes, constant_value(op.inputs[1])
    if sizes is None or perm is None:
        return [None if sizes is None else [None] * len(sizes)]
    if sorted(perm.tolist()) != list(range(len(sizes))):
        raise ValueError(f"perm {perm.tolist()} is not a permutation of {len(sizes)} dimensions")
    return [[sizes[int(p)] for p in perm]]


def _transpose_grad(op: Any, dy: Tensor) -> list[Any]:
    return [build("Transpose", [dy, build("InvertPermutation", [op.inputs[1]])]), None]


define(
    "Transpose",
    "x:any perm:index",
    shape=_transpose_shape,
    compute=lambda xp, x, perm, **_: xp.transpose(x, tuple(int(p) for p in perm)),
    grad=_transpose_grad,
    samples=(sample((2, 3, 4), np.array([2, 0, 1], np.int32)),),
)

define(
    "InvertPermutation",
    "x:index",
    shape=rules.same,
    compute=lambda xp, x: np.argsort(x).astype(x.dtype),
    grad=NOT_DIFFERENTIABLE,
    samples=(sample(np.array([2, 0, 1], np.int32)),),
)


def _tile_shape(op: Any) -> list[Any]:
    sizes, times = op.inputs[0].shape.sizes, constant_value(op.inputs[1])
    if sizes is None or times is None:
        return [None if sizes is None else [None] * len(sizes)]
    if len(times) != len(sizes):
        raise ValueError(f"Shape must be rank {len(times)} but is rank {len(sizes)}")
    return [[None if s is None else s * int(t) for s, t in zip(sizes, times, strict=True)]]


def _tile_grad(op: Any, dy: Tensor) -> list[Any]:
    # Each axis becomes (copies, size), and the copies are summed.
    x, multiples = op.inputs
    pairs = build("Transpose", [build("Pack", [[multiples, shape_of(x)]], {"axis": 0}), [1, 0]])
    split = build("Reshape", [dy, build("Reshape", [pairs, [-1]])])
    rank = x.shape.ndims
    if rank is None:
        raise ValueError(f"the gradient of '{op.name}' needs an input of known rank")
    copies = np.arange(0, 2 * rank, 2, dtype=np.int32)
    return [build("Sum", [split, copies], {"keep_dims": False}), None]


define(
    "Tile",
    "input:any multiples:index",
    shape=_tile_shape,
    compute=lambda xp, x, multiples: xp.tile(x, tuple(int(m) for m in multiples)),
    grad=_tile_grad,
    samples=(sample((2, 3), np.array([2, 1], np.int32)),),
)

# Python functions


def shape(input: Any, name: str | None = None, out_type: Any = dtypes.int32) -> Tensor:
    """The sizes of `input` when it is computed, as a vector."""
    x = convert_to_tensor(input)
    if x.shape.is_fully_defined():
        return constant(x.shape.as_list(), out_type, shape=[len(x.shape)], name=name or "Shape")
    return build("Shape", [x], {"out_type": as_dtype(out_type)}, name)


def size(input: Any, name: str | None = None, out_type: Any = dtypes.int32) -> Tensor:
    """The number of elements of `input`."""
    x = convert_to_tensor(input)
    count = x.shape.num_elements()
    if count is not None:
        return constant(count, out_type, name=name or "Size")
    return build("Size", [x], {"out_type": as_dtype(out_type)}, name)


def rank(input: Any, name: str | None = None) -> Tensor:
    """The number of axes of `input`."""
    x = convert_to_tensor(input)
    if x.shape.ndims is not None:
        return constant(x.shape.ndims, dtypes.int32, name=name or "Rank")
    return build("Rank", [x], name=name)


def reshape(tensor: Any, shape: Any, name: str | None = None) -> Tensor:
    """`tensor` with other sizes and the same elements; one size may be -1."""
    return build("Reshape", [tensor, shape], name=name)


def transpose(a: Any, perm: Any = None, name: str = "transpose") -> Tensor:
    """`a` with axes in the order `perm` (default: reversed)."""
    with name_scope(name, "transpose", [a]) as scope:
        a = convert_to_tensor(a, name="a")
        if perm is None:
            if a.shape.ndims is not None:
                perm = np.arange(a.shape.ndims, dtype=np.int32)[::-1]
            else:
                perm = build("Range", [build("Rank", [a]) - 1, -1, -1], {"Tidx": dtypes.int32})
        return build("Transpose", [a, perm], name=scope)


def squeeze(input: Any, axis: Any = None, name: Any = None, squeeze_dims: Any = None) -> Tensor:
    """`input` without its axes of size 1, or without those in `axis`."""
    axis = squeeze_dims if axis is None else axis
    dims = [] if axis is None else [int(a) for a in np.atleast_1d(axis)]
    return build("Squeeze", [input], {"squeeze_dims": dims}, name)


def expand_dims(input: Any, axis: Any = None, name: Any = None, dim: Any = None) -> Tensor:
    """`input` with an axis of size 1 inserted before `axis`."""
    return build("ExpandDims", [input, dim if axis is None else axis], name=name)


def tile(input: Any, multiples: Any, name: str | None = None) -> Tensor:
    """`input` repeated `multiples[i]` times along axis i."""
    return build("Tile", [input, multiples], name=name)
