# SPDX-License-Identifier: Apache-2.0
"""Parts of tensors: slices, indexing, padding, gathering."""

from __future__ import annotations

from typing import Any

import numpy as np

from host_engine.errors import invalid
from host_engine.framework import dtypes
from host_engine.framework.build import build, constant, convert_to_tensor, name_scope
from host_engine.framework.constant import constant_value, shape_value
from host_engine.framework.operators import OPERATORS
from host_engine.framework.registry import define, sample
from host_engine.framework.tensor import Tensor
from host_engine.ops.broadcast import shape_of


def _slice_shape(op: Any) -> list[Any]:
    x, begin, size = op.inputs
    sizes, wanted, start = x.shape.sizes, constant_value(size), constant_value(begin)
    if wanted is None:
        partial = shape_value(size)
        return [
            partial if partial.sizes is not None else None if sizes is None else [None] * len(sizes)
        ]
    out: list[int | None] = []
    for axis, count in enumerate(wanted.tolist()):
        known = None if sizes is None else sizes[axis]
        if count >= 0:
            out.append(count)
        else:
            out.append(None if known is None or start is None else known - int(start[axis]))
    return [out]


def _slice(xp: Any, x: Any, begin: Any, size: Any, **_: Any) -> Any:
    if x.ndim != len(begin):
        raise invalid(f"Expected begin and size arguments to be 1-D tensors of size {x.ndim}")
    parts = []
    for axis, (b, s) in enumerate(zip(begin.tolist(), size.tolist(), strict=True)):
        end = x.shape[axis] if s == -1 else b + s
        if not 0 <= b <= end <= x.shape[axis]:
            raise invalid(
                f"Expected size[{axis}] in [0, {x.shape[axis] - b}], but got {s}"
                if 0 <= b <= x.shape[axis]
                else f"Expected begin[{axis}] in [0, {x.shape[axis]}], but got {b}"
            )
        parts.append(slice(b, end))
    return x[tuple(parts)]


def _slice_grad(op: Any, dy: Tensor) -> list[Any]:
    x, begin, _ = op.inputs
    after = shape_of(x) - begin - shape_of(op.outputs[0])
    return [build("Pad", [dy, build("Pack", [[begin, after]], {"axis": 1})]), None, None]


define(
    "Slice",
    "input:any begin:index size:index",
    shape=_slice_shape,
    compute=_slice,
    grad=_slice_grad,
    samples=(sample((3, 4), np.array([1, 0], np.int32), np.array([2, -1], np.int32)),),
)

_MASKS = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")


def _index(begin: Any, end: Any, strides: Any, masks: dict[str, int]) -> tuple[Any, ...]:
    """The NumPy index that a StridedSlice means."""
    parts: list[Any] = []
    for i, (b, e, s) in enumerate(zip(begin.tolist(), end.tolist(), strides.tolist(), strict=True)):
        bit = 1 << i
        if masks["ellipsis_mask"] & bit:
            parts.append(Ellipsis)
        elif masks["new_axis_mask"] & bit:
            parts.append(None)
        elif masks["shrink_axis_mask"] & bit:
            parts.append(b)
        else:
            parts.append(
                slice(
                    None if masks["begin_mask"] & bit else b,
                    None if masks["end_mask"] & bit else e,
                    s,
                )
            )
    return tuple(parts)


def _strided_shape(op: Any) -> list[Any]:
    sizes = op.inputs[0].shape.sizes
    begin, end, strides = (constant_value(t) for t in op.inputs[1:4])
    masks = {m: op._attrs[m] for m in _MASKS}
    if sizes is None:
        return [None]
    if begin is None or end is None or strides is None:
        return [_partial_shape(op, sizes, masks)]
    index = _index(begin, end, strides, masks)
    used = sum(1 for part in index if part is not None and part is not Ellipsis)
    if used > len(sizes):
        raise ValueError(
            f"Index out of range using input dim {len(sizes)}; input has only {len(sizes)} dims"
        )
    if Ellipsis not in index:
        index = (*index, Ellipsis)
    out: list[int | None] = []
    axis = 0
    for part in index:
        if part is None:
            out.append(1)
        elif part is Ellipsis:
            rest = len(sizes) - used
            out += sizes[axis : axis + rest]
            axis += rest
        else:
            out += _indexed(part, sizes[axis], axis)
            axis += 1
    return [out]


def _indexed(part: Any, size: int | None, axis: int) -> list[int | None]:
    if isinstance(part, slice):
        if size is None:
            whole = part.start is None and part.stop is None and part.step == 1
            bounded = part.start in (None, 0) and part.stop == 0
            return [0 if bounded and not whole else None]
        return [len(range(*part.indices(size)))]
    if size is not None and not -size <= part < size:
        raise ValueError(f"slice index {part} of dimension {axis} out of bounds.")
    return []


def _partial_shape(op: Any, sizes: Any, masks: dict[str, int]) -> Any:
    """When bounds are not known: the rank, if the number of parts is."""
    count = op.inputs[1].shape.num_elements()
    if count is None:
        return None
    if masks["ellipsis_mask"] or masks["new_axis_mask"]:
        return None
    kept = [None for i in range(count) if not masks["shrink_axis_mask"] >> i & 1]
    return [*kept, *sizes[count:]]


def _strided(xp: Any, x: Any, begin: Any, end: Any, strides: Any, **masks: Any) -> Any:
    try:
        return x[_index(begin, end, strides, masks)]
    except IndexError as error:
        raise invalid(f"slice index out of bounds: {error}") from None


def _strided_grad(op: Any, dy: Tensor) -> list[Any]:
    x, begin, end, strides = op.inputs
    grad = build("StridedSliceGrad", [shape_of(x), begin, end, strides, dy], dict(op._attrs))
    return [grad, None, None, None]


def _strided_grad_compute(
    xp: Any, shape: Any, begin: Any, end: Any, strides: Any, dy: Any, **masks: Any
) -> Any:
    out = xp.zeros(tuple(int(s) for s in shape), dy.dtype)
    out[_index(begin, end, strides, masks)] = dy
    return out


def _masks(**given: int) -> dict[str, int]:
    return {name: given.get(name, 0) for name in _MASKS}


def _spec(*rows: list[int]) -> list[Any]:
    return [np.array(row, np.int32) for row in rows]


define(
    "StridedSlice",
    "input:any begin:index end:index strides:index",
    shape=_strided_shape,
    compute=_strided,
    grad=_strided_grad,
    samples=(
        sample((4, 5), *_spec([1, 0], [3, 4], [1, 2]), **_masks()),
        sample((4, 5), *_spec([-1, 0], [0, 0], [-2, 1]), **_masks(end_mask=3)),
        sample(
            (2, 3, 4), *_spec([0, 1], [0, 0], [1, 1]), **_masks(ellipsis_mask=1, shrink_axis_mask=2)
        ),
        sample(
            (2, 3),
            *_spec([0, 0], [0, 0], [1, 1]),
            **_masks(new_axis_mask=1, begin_mask=2, end_mask=2),
        ),
    ),
)
define(
    "StridedSliceGrad",
    "shape:index begin:index end:index strides:index dy:any",
    shape=lambda op: [shape_value(op.inputs[0])],
    compute=_strided_grad_compute,
    dtype=lambda op: [op.inputs[4].dtype],
    grad=lambda op, ddx: [
        *[None] * 4,
        build("StridedSlice", [ddx, *op.inputs[1:4]], dict(op._attrs)),
    ],
    samples=(
        sample(np.array([4, 5], np.int32), *_spec([1, 0], [3, 4], [1, 2]), (2, 2), **_masks()),
    ),
)


def _pad_shape(op: Any) -> list[Any]:
    sizes, paddings = op.inputs[0].shape.sizes, constant_value(op.inputs[1])
    if sizes is None or paddings is None:
        return [None if sizes is None else [None] * len(sizes)]
    if paddings.shape != (len(sizes), 2):
        raise ValueError(f"The paddings must be [{len(sizes)}, 2], got {list(paddings.shape)}")
    return [[None if s is None else s + int(p.sum()) for s, p in zip(sizes, paddings, strict=True)]]


def _pad(xp: Any, x: Any, paddings: Any, value: Any = 0, **_: Any) -> Any:
    pairs = [(int(a), int(b)) for a, b in paddings]
    return xp.pad(x, pairs, constant_values=value) if x.ndim else x


def _pad_grad(op: Any, dy: Tensor) -> list[Any]:
    x, paddings = op.inputs[:2]
    begin = build("Reshape", [build("Slice", [paddings, [0, 0], [-1, 1]]), [-1]])
    rest = [None] * (len(op.inputs) - 2)
    return [build("Slice", [dy, begin, shape_of(x)]), None, *rest]


_PADDINGS = np.array([[1, 0], [2, 3]], np.int32)
define(
    "Pad",
    "input:any paddings:index",
    shape=_pad_shape,
    compute=_pad,
    grad=_pad_grad,
    samples=(sample((2, 3), _PADDINGS),),
)
define(
    "PadV2",
    "input:T paddings:index constant_values:T",
    shape=_pad_shape,
    compute=_pad,
    grad=_pad_grad,
    samples=(sample((2, 3), _PADDINGS, np.float64(1.5), wrt=(0,)),),
)


# Python functions


def slice_(input_: Any, begin: Any, size: Any, name: str | None = None) -> Tensor:
    """`size` elements of each axis from `begin` on; a size of -1 means all that remain."""
    return build("Slice", [input_, begin, size], name=name)


def strided_slice(
    input_: Any,
    begin: Any,
    end: Any,
    strides: Any = None,
    begin_mask: int = 0,
    end_mask: int = 0,
    ellipsis_mask: int = 0,
    new_axis_mask: int = 0,
    shrink_axis_mask: int = 0,
    name: str | None = None,
) -> Tensor:
    """input_[begin:end:strides]; bit i of a mask changes the meaning of part i."""
    begin = convert_to_tensor(begin, name="begin")
    attrs = {
        "begin_mask": begin_mask,
        "end_mask": end_mask,
        "ellipsis_mask": ellipsis_mask,
        "new_axis_mask": new_axis_mask,
        "shrink_axis_mask": shrink_axis_mask,
    }
    steps = build("OnesLike", [begin]) if strides is None else strides
    return build("StridedSlice", [input_, begin, end, steps], attrs, name)


def getitem(x: Any, key: Any) -> Tensor:
    """x[key]: integers, slices, `...`, `None` (new axis) and integer tensors."""
    parts = key if isinstance(key, tuple) else (key,)
    begin: list[Any] = []
    end: list[Any] = []
    steps: list[Any] = []
    masks = dict.fromkeys(_MASKS, 0)
    for i, part in enumerate(parts):
        bit = 1 << i
        b, e, s = 0, 0, 1
        if part is Ellipsis:
            masks["ellipsis_mask"] |= bit
        elif part is None:
            masks["new_axis_mask"] |= bit
        elif isinstance(part, slice):
            s = 1 if part.step is None else part.step
            b, e = part.start, part.stop
            if b is None:
                b, masks["begin_mask"] = 0, masks["begin_mask"] | bit
            if e is None:
                e, masks["end_mask"] = 0, masks["end_mask"] | bit
        else:
            _check_index(part)
            b, e = part, part + 1
            masks["shrink_axis_mask"] |= bit
        begin.append(b)
        end.append(e)
        steps.append(s)
    with name_scope(None, "strided_slice", [x, *begin, *end]) as scope:
        bounds = [_bound(v, n) for v, n in ((begin, "stack"), (end, "stack_1"), (steps, "stack_2"))]
        return build("StridedSlice", [x, *bounds], masks, scope)


def _check_index(part: Any) -> None:
    is_tensor = isinstance(part, Tensor) or hasattr(part, "_as_tensor")
    dtype = part.dtype if is_tensor else None
    if not (dtype is not None and dtype.is_integer) and (
        isinstance(part, bool) or not hasattr(part, "__index__")
    ):
        raise TypeError(
            f"Only integers, slices (`:`), ellipsis (`...`), tf.newaxis (`None`) and scalar "
            f"integer tensors are valid indices, got {part!r}"
        )


def _bound(values: list[Any], name: str) -> Tensor:
    if any(isinstance(v, Tensor) or hasattr(v, "_as_tensor") for v in values):
        return convert_to_tensor(values, name=name)
    return constant([int(v) for v in values], dtypes.int32, name=name)


OPERATORS["getitem"] = getitem


def pad(
    tensor: Any,
    paddings: Any,
    mode: str = "CONSTANT",
    name: str | None = None,
    constant_values: Any = 0,
) -> Tensor:
    """`tensor` with paddings[i] = (before, after) cells of `constant_values` around axis i."""
    if mode.upper() != "CONSTANT":
        raise ValueError(f"Unknown padding mode: {mode}")
    if isinstance(constant_values, (int, float)) and constant_values == 0:
        return build("Pad", [tensor, paddings], name=name)
    return build("PadV2", [tensor, paddings, constant_values], name=name or "Pad")
