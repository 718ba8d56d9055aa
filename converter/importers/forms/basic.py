# SPDX-License-Identifier: Apache-2.0
"""Types, shapes and elementwise operations."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from converter import ir
from converter.importers.builder import Builder, show_dims
from converter.importers.no_form import NoForm


def rank(b: Builder, x: ir.Value) -> int:
    return len(b.dims(x))


def axis_of(b: Builder, x: ir.Value, axis: int) -> int:
    """`axis` counted from the front; NoForm where `x` has no such axis."""
    dims = rank(b, x)
    if not -dims <= axis < max(dims, 1):
        raise NoForm(f"has axis {axis}, but its input is of rank {dims}")
    return axis + dims if axis < 0 else axis


def cast(b: Builder, x: ir.Value, dtype: str) -> ir.Value:
    """`x` in another TensorType; `x` itself where it is of that type. CAST lacks UINT64, which goes
    through INT64 and is right below 2**63.
    """
    if x.dtype == dtype:
        return x
    if x.dtype == "UINT64":
        return cast(b, b.emit("BITCAST", [x], dtype="INT64"), dtype)
    if dtype == "UINT64":
        return b.emit("BITCAST", [cast(b, x, "INT64")], dtype=dtype)
    return b.emit("CAST", [x], dtype=dtype, in_data_type=x.dtype, out_data_type=dtype)


def ints(b: Builder, x: ir.Value) -> ir.Value:
    """Indices, axes or sizes as INT32, which TFLite's ops read. NoForm where one is larger."""
    ends = np.iinfo(np.int32)
    if x.data is not None and x.data.size and x.data.dtype.kind in "iu":
        for number in (int(x.data.min()), int(x.data.max())):
            if not ends.min <= number <= ends.max:
                raise NoForm(f"has the index or size {number}, which 32 bits do not hold")
    return cast(b, x, "INT32")


def int32s(b: Builder, data: Sequence[int] | np.ndarray, name: str) -> ir.Value:
    """A constant vector of int32."""
    return b.constant(data, name, np.int32)


def scalar(b: Builder, number: float, like: ir.Value, name: str = "scalar") -> ir.Value:
    """A constant of rank 0 and the type of `like`."""
    return b.constant(number, name, ir.numpy_dtype(like.dtype))


def transpose(b: Builder, x: ir.Value, perm: Sequence[int]) -> ir.Value:
    """`x` with axes `perm`; `x` itself where they stand so already."""
    if list(perm) == list(range(len(perm))):
        return x
    return b.emit("TRANSPOSE", [x, int32s(b, perm, "perm")])


def channels_last(b: Builder, x: ir.Value) -> ir.Value:
    """N, C, ... to N, ..., C."""
    dims = rank(b, x)
    return transpose(b, x, [0, *range(2, dims), 1])


def channels_first(b: Builder, x: ir.Value) -> ir.Value:
    """N, ..., C to N, C, ..."""
    dims = rank(b, x)
    return transpose(b, x, [0, dims - 1, *range(1, dims - 1)])


def reshape(b: Builder, x: ir.Value, dims: Sequence[int | None]) -> ir.Value:
    """`x` with sizes `dims`, None where a size is dynamic (at most one)."""
    if list(dims).count(None) > 1:
        raise NoForm(f"becomes the shape {show_dims(dims)}, of which several sizes are dynamic")
    if tuple(dims) == b.dims(x) and None not in dims:
        return x
    sizes = [-1 if d is None else int(d) for d in dims]
    return b.emit("RESHAPE", [x, int32s(b, sizes, "shape")])


def reshape_like(b: Builder, x: ir.Value, shape: ir.Value, zero_keeps: bool = False) -> ir.Value:
    """`x` in the shape that the values of `shape` say, which may follow from dynamic sizes: one of
    them may be -1; 0 keeps the size of `x` there if `zero_keeps`.
    """
    samples = b.samples(shape)
    if samples is None:
        if zero_keeps:
            shape = _with_kept_sizes(b, x, shape)
        (count,) = b.fixed_dims(shape, "its shape")
        return b.emit("RESHAPE", [x, ints(b, shape)], dims=[None] * count)
    first, second = (
        _settled(pair, sizes, zero_keeps) for pair, sizes in zip(b.pair(x), samples, strict=True)
    )
    dims = [p if p == q else None for p, q in zip(first, second, strict=True)]
    if dims.count(None) > 1:
        if zero_keeps and any((sample == 0).any() for sample in samples):
            shape = _with_kept_sizes(b, x, shape)
        return b.emit("RESHAPE", [x, ints(b, shape)])
    return reshape(b, x, dims)


def with_last(b: Builder, x: ir.Value, kept: int, sizes: Sequence[int]) -> ir.Value:
    """`x` with its first `kept` axes, any number of them dynamic, and then `sizes`."""
    dims = b.dims(x)[:kept]
    if dims.count(None) <= 1:
        return reshape(b, x, [*dims, *sizes])
    own = slice_axis(b, shape_of(b, x), 0, 0, kept)
    return b.emit("RESHAPE", [x, concat(b, [own, int32s(b, sizes, "sizes")], 0)])


def counted(b: Builder, start: ir.Value, end: ir.Value, step: int = 1) -> ir.Value:
    """start, start + step, ... below `end`, all INT32 and rank 0."""
    return b.emit("RANGE", [start, end, b.constant(step, "step", np.int32)], dims=[None])


def size_of(b: Builder, x: ir.Value, axis: int) -> ir.Value:
    """The size of one axis, INT32, rank 0."""
    return reshape(b, slice_axis(b, shape_of(b, x), 0, axis, axis + 1), [])


def _with_kept_sizes(b: Builder, x: ir.Value, shape: ir.Value) -> ir.Value:
    """`shape` with the sizes of `x` where it is 0."""
    (count,) = b.fixed_dims(shape, "its shape")
    own = shape_of(b, x, shape.dtype)
    if rank(b, x) < count:
        own = b.emit("PAD", [own, b.constant([[0, count - rank(b, x)]], "paddings", np.int32)])
    own = slice_axis(b, own, 0, 0, count)
    is_zero = b.emit("EQUAL", [shape, scalar(b, 0, shape)], dtype="BOOL")
    return b.emit("SELECT_V2", [is_zero, own, shape], dtype=shape.dtype)


def _settled(dims: Sequence[int], target: np.ndarray, zero_keeps: bool) -> list[int]:
    """`target` with the sizes that -1 and 0 stand for in a reshape of `dims`."""
    sizes = [int(d) for d in target.reshape(-1)]
    if zero_keeps:
        if any(d == 0 and i >= len(dims) for i, d in enumerate(sizes)):
            raise NoForm(f"keeps size {sizes.index(0)} of an input of rank {len(dims)}")
        sizes = [dims[i] if d == 0 else d for i, d in enumerate(sizes)]
    count = math.prod(dims)
    fixed = math.prod(d for d in sizes if d != -1)
    rest = count // fixed if fixed else 0
    sizes = [rest if d == -1 else d for d in sizes]
    if math.prod(sizes) != count or min(sizes, default=0) < 0:
        raise NoForm(f"reshapes {show_dims(dims)} to {show_dims(target.tolist())}")
    return sizes


def unsqueeze(b: Builder, x: ir.Value, axes: Sequence[int]) -> ir.Value:
    """`x` with axes of size 1 where the result has `axes`."""
    dims = list(b.dims(x))
    final = len(dims) + len(axes)
    for axis in sorted(a + final if a < 0 else a for a in axes):
        dims.insert(axis, 1)
    if dims.count(None) <= 1:
        return reshape(b, x, dims)
    for axis in sorted(a + final if a < 0 else a for a in axes):
        x = b.emit("EXPAND_DIMS", [x, b.constant(axis, "axis", np.int32)])
    return x


def squeeze(b: Builder, x: ir.Value, axes: Sequence[int] | None = None) -> ir.Value:
    """`x` without `axes` of size 1; None: without any size 1."""
    dims = b.dims(x)
    gone = (
        {i for i, d in enumerate(dims) if d == 1}
        if axes is None
        else {axis_of(b, x, a) for a in axes}
    )
    kept = [d for i, d in enumerate(dims) if i not in gone]
    if any(dims[i] != 1 for i in gone):
        raise NoForm(f"drops axes {sorted(gone)} of the shape {show_dims(dims)}, not all of size 1")
    if kept.count(None) <= 1:
        return reshape(b, x, kept)
    return b.emit("SQUEEZE", [x], squeeze_dims=np.array(sorted(gone), np.int32))


def concat(b: Builder, values: Sequence[ir.Value], axis: int) -> ir.Value:
    if len(values) == 1:
        return values[0]
    return b.emit(
        "CONCATENATION",
        values,
        axis=axis_of(b, values[0], axis),
        fused_activation_function="NONE",
    )


def binary(b: Builder, op: str, x: ir.Value, y: ir.Value, dtype: str | None = None) -> ir.Value:
    """ADD, SUB, MUL, DIV, MAXIMUM... with NumPy's broadcasting. Comparisons give `dtype` BOOL."""
    options = {"fused_activation_function": "NONE"} if op in ("ADD", "SUB", "MUL", "DIV") else {}
    return b.emit(op, [x, y], dtype=dtype, dims=None, **options)


def unary(b: Builder, op: str, x: ir.Value) -> ir.Value:
    return b.emit(op, [x])


def shape_of(b: Builder, x: ir.Value, dtype: str = "INT32") -> ir.Value:
    """The sizes of `x`; a constant where none is dynamic."""
    return b.emit("SHAPE", [x], dtype=dtype, out_type=dtype)


def broadcast_to(b: Builder, x: ir.Value, shape: ir.Value) -> ir.Value:
    return b.emit("BROADCAST_TO", [x, ints(b, shape)])


def broadcast_together(b: Builder, values: Sequence[ir.Value]) -> list[ir.Value]:
    """`values` in one shape, for ops that do not broadcast themselves."""
    first = b.dims(values[0])
    if None not in first and all(b.dims(v) == first for v in values):
        return list(values)
    shape = shape_of(b, values[0])
    for value in values[1:]:
        shape = b.emit("BROADCAST_ARGS", [shape, shape_of(b, value)])
    return [broadcast_to(b, value, shape) for value in values]


def slice_axis(
    b: Builder, x: ir.Value, axis: int, begin: int, end: int | None, step: int = 1
) -> ir.Value:
    """x[..., begin:end:step, ...] as NumPy means it (end None: to the end)."""
    dims = rank(b, x)
    axis = axis_of(b, x, axis)
    begins, ends, steps = [0] * dims, [0] * dims, [1] * dims
    begins[axis], ends[axis], steps[axis] = begin, end or 0, step
    mask = (1 << dims) - 1
    keep_end = mask if end is None else mask & ~(1 << axis)
    return b.emit(
        "STRIDED_SLICE",
        [x, *(int32s(b, v, n) for v, n in ((begins, "begin"), (ends, "end"), (steps, "step")))],
        begin_mask=mask & ~(1 << axis),
        end_mask=keep_end,
    )


def reduce(
    b: Builder, op: str, x: ir.Value, axes: Sequence[int] | None, keep_dims: bool
) -> ir.Value:
    """SUM, MEAN, REDUCE_MAX... over `axes` (None: all)."""
    dims = rank(b, x)
    over = list(range(dims)) if axes is None else sorted({axis_of(b, x, a) for a in axes})
    return b.emit(op, [x, int32s(b, over, "axes")], keep_dims=keep_dims)
