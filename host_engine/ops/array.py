"""Constants, placeholders, identities, shapes, and rearrangements of whole tensors."""

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
from host_engine.framework.shape import TensorShape, as_shape
from host_engine.framework.tensor import Tensor
from host_engine.ops.broadcast import broadcast_to, shape_of

__all__ = ["broadcast_to", "constant"]

define(
    "Const",
    "",
    shape=lambda op: [op._attrs["value"].shape],
    compute=lambda xp, value, **_: xp.asarray(value),
    dtype="dtype",
    grad=lambda op, dy: [],
    samples=(sample(value=np.arange(3.0), dtype=dtypes.float64),),
)


def _unfed(context: Any, op: Any) -> Any:
    dtype, shape = op._attrs["dtype"], op._attrs["shape"]
    sizes = ",".join("?" if s is None else str(s) for s in shape.sizes or ())
    proto = {"float32": "float", "float64": "double", "float16": "half"}.get(dtype.name, dtype.name)
    known = f" and shape [{sizes}]" if shape.sizes else ""
    raise invalid(
        f"You must feed a value for placeholder tensor '{op.name}' with dtype {proto}{known}"
    )


define("Placeholder", "", shape=lambda op: [op._attrs["shape"]], run=_unfed, dtype="dtype")
define(
    "PlaceholderWithDefault",
    "input:any",
    shape=lambda op: [op._attrs["shape"]],
    compute=lambda xp, x, **_: x,
    grad=lambda op, dy: [dy],
    samples=(sample((2, 3), shape=TensorShape([None, 3])),),
)
define(
    "Identity",
    "input:any",
    shape=rules.same,
    compute=lambda xp, x, **_: x,
    grad=lambda op, dy: [dy],
    samples=(sample((2, 3)),),
)
define(
    "StopGradient",
    "input:any",
    shape=rules.same,
    compute=lambda xp, x: x,
    grad=NOT_DIFFERENTIABLE,
    samples=(sample((2, 3), wrt=()),),
)


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
define(
    "ZerosLike",
    "x:any",
    shape=rules.same,
    compute=lambda xp, x: xp.zeros_like(x),
    grad=NOT_DIFFERENTIABLE,
    samples=(sample((2, 3), wrt=()),),
)
define(
    "OnesLike",
    "x:any",
    shape=rules.same,
    compute=lambda xp, x: xp.ones_like(x),
    grad=NOT_DIFFERENTIABLE,
    samples=(sample((2, 3), wrt=()),),
)
define(
    "Fill",
    "dims:index value:any",
    shape=lambda op: [shape_value(op.inputs[0])],
    compute=lambda xp, dims, value: xp.full(tuple(int(d) for d in dims), value, value.dtype),
    dtype=lambda op: [op.inputs[1].dtype],
    grad=lambda op, dy: [None, build("Sum", [dy, _all_axes(dy)], {"keep_dims": False})],
    samples=(sample(np.array([2, 3], np.int32), ()),),
)


def _all_axes(x: Tensor) -> Any:
    rank = x.shape.ndims
    if rank is not None:
        return np.arange(rank, dtype=np.int32)
    return build("Range", [0, build("Rank", [x]), 1], {"Tidx": dtypes.int32})


# Reshape, squeeze, expand


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
    return [sizes[:axis] + (1,) + sizes[axis:]]


define(
    "ExpandDims",
    "input:any dim:index",
    shape=_expand_shape,
    compute=lambda xp, x, dim: xp.expand_dims(x, int(np.ravel(dim)[0])),
    grad=lambda op, dy: [_reshape_back(op, dy), None],
    samples=(sample((2, 3), np.int32(-1)), sample((2,), np.int32(0))),
)


# Transpose, tile, one-hot, ranges


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
    return [build("Sum", [split, np.arange(0, 2 * rank, 2, np.int32)], {"keep_dims": False}), None]


define(
    "Tile",
    "input:any multiples:index",
    shape=_tile_shape,
    compute=lambda xp, x, multiples: xp.tile(x, tuple(int(m) for m in multiples)),
    grad=_tile_grad,
    samples=(sample((2, 3), np.array([2, 1], np.int32)),),
)


def _one_hot_shape(op: Any) -> list[Any]:
    sizes, depth = op.inputs[0].shape.sizes, constant_value(op.inputs[1])
    if sizes is None:
        return [None]
    axis = op._attrs["axis"]
    at = len(sizes) if axis == -1 else axis
    return [sizes[:at] + (None if depth is None else int(depth),) + sizes[at:]]


def _one_hot(xp: Any, indices: Any, depth: Any, on: Any, off: Any, axis: int = -1, **_: Any) -> Any:
    at = indices.ndim if axis == -1 else axis
    steps = xp.arange(int(depth)).reshape((-1,) + (1,) * (indices.ndim - at))
    return xp.where(xp.expand_dims(indices, at) == steps, on, off).astype(on.dtype)


define(
    "OneHot",
    "indices:any depth:int32 on_value:T off_value:T",
    shape=_one_hot_shape,
    compute=_one_hot,
    dtype=lambda op: [op.inputs[2].dtype],
    grad=NOT_DIFFERENTIABLE,
    samples=(
        sample(np.array([0, 2]), np.int32(3), np.float64(1), np.float64(0), axis=-1, wrt=()),
        sample(np.array([[0, 9]]), np.int32(3), np.float64(1), np.float64(0), axis=1, wrt=()),
    ),
)


def _range_shape(op: Any) -> list[Any]:
    parts = [constant_value(t) for t in op.inputs]
    if any(p is None for p in parts):
        return [[None]]
    return [[len(np.arange(*(p.item() for p in parts if p is not None)))]]


define(
    "Range",
    "start:T limit:T delta:T",
    shape=_range_shape,
    compute=lambda xp, a, b, d, **_: xp.arange(a.item(), b.item(), d.item(), dtype=a.dtype),
    grad=NOT_DIFFERENTIABLE,
    types=dtypes.REALS,
    samples=(sample(np.int32(0), np.int32(7), np.int32(2)),),
)
define(
    "LinSpace",
    "start:T stop:T num:index",
    shape=lambda op: [[None if (n := constant_value(op.inputs[2])) is None else int(n)]],
    compute=lambda xp, a, b, n: xp.linspace(a, b, int(n), dtype=a.dtype),
    grad=NOT_DIFFERENTIABLE,
    types=dtypes.FLOATS,
    samples=(sample(np.float64(0), np.float64(1), np.int32(5), wrt=()),),
)

# Python functions


def placeholder(dtype: Any, shape: Any = None, name: str | None = None) -> Tensor:
    """A tensor whose value is given by `feed_dict`; sizes that are None may be any."""
    attrs = {"dtype": as_dtype(dtype), "shape": as_shape(shape)}
    return build("Placeholder", [], attrs, name)


def placeholder_with_default(input: Any, shape: Any, name: str | None = None) -> Tensor:
    """A tensor that is `input` unless fed."""
    return build("PlaceholderWithDefault", [input], {"shape": as_shape(shape)}, name)


def identity(input: Any, name: str | None = None) -> Tensor:
    """A tensor of the same value, computed when its operation runs."""
    if hasattr(input, "_as_reference"):
        # Of a variable itself, not of an earlier read: sees assignments it has to wait for.
        input = input._as_reference()
    return build("Identity", [input], name=name)


def stop_gradient(input: Any, name: str | None = None) -> Tensor:
    """`input`, through which no gradient flows."""
    return build("StopGradient", [input], name=name)


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
                perm = np.arange(a.shape.ndims - 1, -1, -1, dtype=np.int32)
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


def one_hot(
    indices: Any,
    depth: Any,
    on_value: Any = None,
    off_value: Any = None,
    axis: int | None = None,
    dtype: Any = None,
    name: str | None = None,
) -> Tensor:
    """A new axis of size `depth` that holds `on_value` (1) at the index, else `off_value` (0)."""
    with name_scope(name, "one_hot", [indices, depth, on_value, off_value]) as scope:
        given = dtype
        if given is None and isinstance(on_value, Tensor):
            given = on_value.dtype
        on = (
            convert_to_tensor(1 if on_value is None else on_value, given, name="on_value")
            if (given is not None or on_value is not None)
            else convert_to_tensor(1.0, name="on_value")
        )
        off = convert_to_tensor(0 if off_value is None else off_value, on.dtype, name="off_value")
        attrs = {"axis": -1 if axis is None else axis}
        return build("OneHot", [indices, depth, on, off], attrs, scope)


def fill(dims: Any, value: Any, name: str | None = None) -> Tensor:
    """A tensor of sizes `dims` that holds `value` everywhere."""
    return build("Fill", [dims, value], name=name)


def range(
    *args: Any, delta: Any = 1, dtype: Any = None, name: str = "range", **named: Any
) -> Tensor:
    """range(limit) or range(start, limit, delta=1): numbers from start up to, not with, limit."""
    if "limit" in named:
        args = (named.pop("start", args[0] if args else 0), named.pop("limit"), *args[1:])
    elif "start" in named:
        args = (0, named.pop("start"))
    if named or not 1 <= len(args) <= 3:
        raise TypeError(f"range expects 1 to 3 positional arguments, got {args} and {named}")
    start, limit, step = (0, args[0], delta) if len(args) == 1 else (*args, delta)[:3]
    with name_scope(name, "Range", [start, limit, step]) as scope:
        parts = [
            convert_to_tensor(v, dtype, name=n)
            for v, n in ((start, "start"), (limit, "limit"), (step, "delta"))
        ]
        order = (dtypes.int32, dtypes.int64, dtypes.float32, dtypes.float64)
        wanted = max((p.dtype for p in parts), key=order.index)
        parts = [
            p if p.dtype == wanted else build("Cast", [p], {"SrcT": p.dtype, "DstT": wanted})
            for p in parts
        ]
        return build("Range", parts, {"Tidx": wanted}, scope)


def linspace(start: Any, stop: Any, num: Any, name: str | None = None) -> Tensor:
    """`num` evenly spaced values from `start` to `stop`, both included."""
    return build("LinSpace", [start, stop, num], name=name)


lin_space = linspace


def zeros(shape: Any, dtype: Any = dtypes.float32, name: str | None = None) -> Tensor:
    """A tensor of zeros (empty strings, False)."""
    return _filled("zeros", shape, as_dtype(dtype), name)


def ones(shape: Any, dtype: Any = dtypes.float32, name: str | None = None) -> Tensor:
    """A tensor of ones (True)."""
    return _filled("ones", shape, as_dtype(dtype), name)


_SMALL = 1000


def _filled(kind: str, shape: Any, dtype: Any, name: Any) -> Tensor:
    value: Any = int(kind == "ones")
    if dtype == dtypes.string:
        value = ""
    elif dtype.is_bool:
        value = bool(value)
    with name_scope(name, kind, [shape] if isinstance(shape, Tensor) else []) as scope:
        if not isinstance(shape, Tensor):
            try:
                sizes = TensorShape(shape)
            except TypeError:
                sizes = None
            count = None if sizes is None else sizes.num_elements()
            if sizes is not None and count is not None and count < _SMALL:
                return constant(value, dtype, shape=sizes, name=scope)
            shape = convert_to_tensor(shape, dtypes.int32, name="shape_as_tensor")
        return build("Fill", [shape, constant(value, dtype)], name=scope)


def zeros_like(tensor: Any, dtype: Any = None, name: str | None = None) -> Tensor:
    """Zeros in the shape (and type, unless given) of `tensor`."""
    return _like("ZerosLike", "zeros", tensor, dtype, name)


def ones_like(tensor: Any, dtype: Any = None, name: str | None = None) -> Tensor:
    """Ones in the shape (and type, unless given) of `tensor`."""
    return _like("OnesLike", "ones", tensor, dtype, name)


def _like(op_type: str, kind: str, tensor: Any, dtype: Any, name: Any) -> Tensor:
    with name_scope(name, f"{kind}_like", [tensor]) as scope:
        x = convert_to_tensor(tensor, name="tensor")
        wanted = x.dtype if dtype is None else as_dtype(dtype)
        if x.shape.is_fully_defined():
            return _filled(kind, x.shape, wanted, scope)
        if wanted == x.dtype:
            return build(op_type, [x], name=scope)
        return _filled(kind, build("Shape", [x], {"out_type": dtypes.int32}), wanted, scope)
