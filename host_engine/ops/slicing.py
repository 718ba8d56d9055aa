"""Parts of tensors: slices, indexing, padding, gathering."""

from __future__ import annotations

from typing import Any

import numpy as np

from host_engine.errors import invalid
from host_engine.framework import dtypes
from host_engine.framework import shape_rules as rules
from host_engine.framework.build import build, constant, convert_to_tensor, name_scope
from host_engine.framework.constant import constant_value, shape_value
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
    spec = [constant_value(t) for t in op.inputs[1:4]]
    masks = {m: op._attrs[m] for m in _MASKS}
    if sizes is None:
        return [None]
    if any(v is None for v in spec):
        return [_partial_shape(op, sizes, masks)]
    index = _index(*spec, masks)
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


def _gather_shape(op: Any) -> list[Any]:
    params, indices, axis = op.inputs
    at = constant_value(axis)
    if params.shape.sizes is None or indices.shape.sizes is None or at is None:
        return [None]
    k = rules.normal_axis(int(at), len(params.shape.sizes))
    sizes = params.shape.sizes
    return [sizes[:k] + indices.shape.sizes + sizes[k + 1 :]]


def _gather(xp: Any, params: Any, indices: Any, axis: Any, **_: Any) -> Any:
    size = params.shape[int(axis)]
    outside = (indices < 0) | (indices >= size)
    if outside.any():
        at = np.argwhere(np.atleast_1d(outside))[0]
        bad = np.atleast_1d(indices)[tuple(at)]
        place = ",".join(map(str, at)) if np.ndim(indices) else ""
        raise invalid(f"indices[{place}] = {bad} is not in [0, {size})")
    return xp.take(params, indices, int(axis))


def _gather_grad(op: Any, dy: Tensor) -> list[Any]:
    params, indices, axis = op.inputs
    at, rank = constant_value(axis), params.shape.ndims
    count = indices.shape.ndims
    if at is None or rank is None or count is None:
        raise ValueError(f"the gradient of '{op.name}' needs known ranks and a constant axis")
    k = int(at) % rank
    # Index axes first, then the rest of params; the sum over equal indices restores axis k.
    order = [*range(k, k + count), *range(k), *range(k + count, rank - 1 + count)]
    moved = dy if order == sorted(order) else build("Transpose", [dy, np.array(order, np.int32)])
    rows = build("GatherV2", [shape_of(params), k, 0])
    summed = build("UnsortedSegmentSum", [moved, indices, rows])
    if k == 0:
        return [summed, None, None]
    back = [*range(1, k + 1), 0, *range(k + 1, rank)]
    return [build("Transpose", [summed, np.array(back, np.int32)]), None, None]


define(
    "GatherV2",
    "params:any indices:index axis:index",
    shape=_gather_shape,
    compute=_gather,
    grad=_gather_grad,
    samples=(
        sample((4, 3), np.array([[0, 2], [2, 3]]), np.int32(0)),
        sample((2, 4, 3), np.array([1, 1, 3]), np.int32(1)),
        sample((5,), np.int32(2), np.int32(0)),
    ),
)


def _segment_shape(op: Any) -> list[Any]:
    data, ids, count = op.inputs
    rows = constant_value(count)
    if data.shape.sizes is None or ids.shape.ndims is None:
        return [None]
    return [[None if rows is None else int(rows), *data.shape.sizes[ids.shape.ndims :]]]


def _segment_sum(xp: Any, data: Any, ids: Any, count: Any, **_: Any) -> Any:
    if np.any(ids >= count):
        raise invalid(f"segment_ids must be < {int(count)}, got {int(np.max(ids))}")
    out = xp.zeros((int(count), *data.shape[np.ndim(ids) :]), data.dtype)
    flat = np.ravel(ids)
    rows = data.reshape(flat.size, *out.shape[1:])
    used = flat >= 0
    xp.add.at(out, flat[used], rows[used])
    return out


define(
    "UnsortedSegmentSum",
    "data:T segment_ids:index num_segments:index",
    shape=_segment_shape,
    compute=_segment_sum,
    grad=lambda op, dy: [build("GatherV2", [dy, op.inputs[1], 0]), None, None],
    types=dtypes.NUMBERS,
    samples=(sample((4, 2), np.array([0, 2, 0, 1]), np.int32(3)),),
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


Tensor.OPERATORS["getitem"] = getitem


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


def gather(
    params: Any, indices: Any, validate_indices: Any = None, name: Any = None, axis: Any = 0
) -> Tensor:
    """The slices of `params` along `axis` at `indices`.

    An index outside raises InvalidArgumentError when run.
    """
    return build("GatherV2", [params, indices, axis], name=name)


def embedding_lookup(
    params: Any, ids: Any, partition_strategy: str = "mod", name: str | None = None
) -> Tensor:
    """Rows of one table `params` [rows, ...] (a list of one table is accepted)."""
    tables = params if isinstance(params, (list, tuple)) else [params]
    if len(tables) != 1:
        raise ValueError(f"embedding_lookup takes one table here, got {len(tables)} partitions")
    with name_scope(name, "embedding_lookup", [tables[0], ids]) as scope:
        return gather(tables[0], ids, name=scope)


def unsorted_segment_sum(data: Any, segment_ids: Any, num_segments: Any, name: Any = None) -> Any:
    """Row s of the result is the sum of the rows of `data` whose id is s."""
    return build("UnsortedSegmentSum", [data, segment_ids, num_segments], name=name)
