# SPDX-License-Identifier: Apache-2.0
"""Matrix products."""

from __future__ import annotations

from typing import Any

from host_engine import parallel
from host_engine.errors import invalid
from host_engine.framework import dtypes
from host_engine.framework import shape_rules as rules
from host_engine.framework.build import build, convert_to_tensor, name_scope
from host_engine.framework.operators import OPERATORS
from host_engine.framework.registry import define, sample
from host_engine.framework.shape import TensorShape
from host_engine.framework.tensor import Tensor
from host_engine.ops.broadcast import unbroadcast


def _matmul_shape(op: Any) -> list[Any]:
    shapes = []
    flips = op._attrs["transpose_a"], op._attrs["transpose_b"]
    for tensor, flip in zip(op.inputs, flips, strict=True):
        if tensor.shape.ndims not in (2, None):
            raise ValueError(f"Shape must be rank 2 but is rank {tensor.shape.ndims}")
        sizes = tensor.shape.with_rank(2).sizes or (None, None)
        shapes.append(sizes[::-1] if flip else sizes)
    rules.equal_size(shapes[0][1], shapes[1][0])
    return [(shapes[0][0], shapes[1][1])]


def _matmul(xp: Any, a: Any, b: Any, transpose_a: Any, transpose_b: Any, **_: Any) -> Any:
    left, right = (a.T if transpose_a else a), (b.T if transpose_b else b)
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[0]:
        texts = ["[" + ",".join(map(str, m.shape)) + "]" for m in (a, b)]
        raise invalid(f"Matrix size-incompatible: In[0]: {texts[0]}, In[1]: {texts[1]}")
    return parallel.matmul(xp, left, right)


def _matmul_grad(op: Any, dy: Tensor) -> list[Any]:
    a, b = op.inputs
    flip_a, flip_b = op._attrs["transpose_a"], op._attrs["transpose_b"]
    da = _product(b, dy, flip_b, True) if flip_a else _product(dy, b, False, not flip_b)
    db = _product(dy, a, True, flip_a) if flip_b else _product(a, dy, not flip_a, False)
    return [da, db]


def _product(a: Any, b: Any, flip_a: bool, flip_b: bool, name: str | None = None) -> Tensor:
    return build("MatMul", [a, b], {"transpose_a": flip_a, "transpose_b": flip_b}, name)


define(
    "MatMul",
    "a:T b:T",
    shape=_matmul_shape,
    compute=_matmul,
    grad=_matmul_grad,
    types=(*dtypes.FLOATS, dtypes.int32, dtypes.int64, *dtypes.COMPLEX),
    samples=(
        sample((2, 3), (3, 4), transpose_a=False, transpose_b=False),
        sample((3, 2), (3, 4), transpose_a=True, transpose_b=False),
        sample((2, 3), (4, 3), transpose_a=False, transpose_b=True),
        sample((3, 2), (4, 3), transpose_a=True, transpose_b=True),
    ),
)


def _batch_shape(op: Any) -> list[Any]:
    a, b = (t.shape for t in op.inputs)
    if a.sizes is None or b.sizes is None:
        return [None]
    for shape in (a, b):
        if len(shape.sizes or ()) < 2:
            raise ValueError(f"Shape must be at least rank 2 but is rank {shape.ndims}")
    rows, inner = a.sizes[-2:][::-1] if op._attrs["adj_x"] else a.sizes[-2:]
    inner_b, columns = b.sizes[-2:][::-1] if op._attrs["adj_y"] else b.sizes[-2:]
    rules.equal_size(inner, inner_b)
    lead = rules.broadcast_shapes(TensorShape(a.sizes[:-2]), TensorShape(b.sizes[:-2]))
    return [lead.concatenate([rows, columns])]


def _batch_matmul(xp: Any, x: Any, y: Any, adj_x: bool, adj_y: bool, **_: Any) -> Any:
    left = x.swapaxes(-1, -2) if adj_x else x
    right = y.swapaxes(-1, -2) if adj_y else y
    try:
        return left @ right
    except ValueError:
        raise invalid(
            f"Matrix size-incompatible: In[0]: {list(x.shape)}, In[1]: {list(y.shape)}"
        ) from None


def _batch_grad(op: Any, dy: Tensor) -> list[Any]:
    x, y = op.inputs
    adj_x, adj_y = op._attrs["adj_x"], op._attrs["adj_y"]
    dx = _batch(y, dy, adj_y, True) if adj_x else _batch(dy, y, False, not adj_y)
    dx_y = _batch(dy, x, True, adj_x) if adj_y else _batch(x, dy, not adj_x, False)
    return [_same_lead(dx, x, y), _same_lead(dx_y, y, x)]


def _same_lead(grad: Tensor, x: Tensor, other: Tensor) -> Tensor:
    sizes, theirs = x.shape.sizes, other.shape.sizes
    if sizes is None or theirs is None or len(sizes) == len(theirs):
        fixed = sizes is not None and sizes[:-2] == (theirs or ())[:-2] and None not in sizes[:-2]
        if fixed or sizes is None or len(sizes) == 2:
            return grad
    return unbroadcast(grad, x, build("ZerosLike", [grad]))


def _batch(x: Any, y: Any, adj_x: bool, adj_y: bool, name: str | None = None) -> Tensor:
    return build("BatchMatMulV2", [x, y], {"adj_x": adj_x, "adj_y": adj_y}, name)


define(
    "BatchMatMulV2",
    "x:T y:T",
    shape=_batch_shape,
    compute=_batch_matmul,
    grad=_batch_grad,
    types=(*dtypes.FLOATS, dtypes.int32, dtypes.int64, *dtypes.COMPLEX),
    samples=(
        sample((5, 2, 3), (5, 3, 4), adj_x=False, adj_y=False),
        sample((5, 3, 2), (1, 4, 3), adj_x=True, adj_y=True),
        sample((5, 2, 3), (3, 4), adj_x=False, adj_y=False),
        sample((2, 3), (2, 2, 4, 3), adj_x=False, adj_y=True),
    ),
)


def matmul(
    a: Any,
    b: Any,
    transpose_a: bool = False,
    transpose_b: bool = False,
    adjoint_a: bool = False,
    adjoint_b: bool = False,
    name: str | None = None,
    **hints: Any,
) -> Tensor:
    """The matrix product of `a` [..., n, k] and `b` [..., k, m].

    More than two axes make a batch of products. The hints a_is_sparse and b_is_sparse are
    accepted and do nothing.
    """
    unknown = set(hints) - {"a_is_sparse", "b_is_sparse"}
    if unknown:
        raise TypeError(f"matmul() got an unexpected keyword argument '{unknown.pop()}'")
    with name_scope(name, "MatMul", [a, b]) as scope:
        a = convert_to_tensor(a, name="a")
        b = (
            b
            if hasattr(b, "_as_tensor")
            else convert_to_tensor(b, None if isinstance(b, Tensor) else a.dtype, name="b")
        )
        b = convert_to_tensor(b)
        flip_a, flip_b = transpose_a or adjoint_a, transpose_b or adjoint_b
        if (a.shape.ndims or 0) > 2 or (b.shape.ndims or 0) > 2:
            return _batch(a, b, flip_a, flip_b, scope)
        return _product(a, b, flip_a, flip_b, scope)


def batch_matmul(x: Any, y: Any, adj_x: bool = False, adj_y: bool = False, name: Any = None) -> Any:
    """`matmul` under the name it had for batches before 1.0."""
    return matmul(x, y, adj_x, adj_y, name=name)


OPERATORS["matmul"] = matmul

__all__ = ["batch_matmul", "matmul"]
