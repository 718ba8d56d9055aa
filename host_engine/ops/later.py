# SPDX-License-Identifier: Apache-2.0
"""Records of ops that imported graphs contain and that no function of this package builds.

Graphs of later versions of TensorFlow write these, so that a frozen graph can be run here, for one
to compare with what it was converted to. Those without a gradient are for inference.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from host_engine.framework import dtypes
from host_engine.framework import shape_rules as rules
from host_engine.framework.constant import constant_value
from host_engine.framework.registry import OPS, define, sample
from host_engine.ops import binary, linalg, norm  # noqa: F401 (whose records these are)


def _again(name: str, like: str, **changes: Any) -> None:
    """The record of `like` under another name."""
    OPS[name] = replace(OPS[like], name=name, grad=None, **changes)


_again("AddV2", "Add", types=dtypes.NUMBERS)
_again("BatchMatMul", "BatchMatMulV2")
_again("Rint", "Round")
_again("FusedBatchNormV2", "FusedBatchNorm")
_norm = OPS["FusedBatchNorm"]


def _norm_v3(xp: Any, *arrays: Any, **attrs: Any) -> tuple[Any, ...]:
    """FusedBatchNorm with a sixth output, of which only gradients make use."""
    assert _norm.compute is not None
    found = _norm.compute(xp, *arrays, **_norm.arguments(attrs))
    return (*found, xp.zeros(0, found[1].dtype))


_again(
    "FusedBatchNormV3",
    "FusedBatchNorm",
    compute=_norm_v3,
    shape=lambda op: [*_norm.shape(op), (0,)],
    dtype=lambda op: [op.inputs[0].dtype] * 6,
)


def _select_v2_shape(op: Any) -> list[Any]:
    shapes = [t.shape.sizes for t in op.inputs]
    if any(s is None or None in s for s in shapes):
        return [None]
    return [np.broadcast_shapes(*shapes)]


define(
    "SelectV2",
    "condition:bool t:T e:T",
    shape=_select_v2_shape,
    compute=lambda xp, condition, t, e, **_: xp.where(condition, t, e),
    dtype=lambda op: [op.inputs[1].dtype],
    samples=(sample(np.array([[True], [False]]), (2, 3), (3,)),),
)
define(
    "EnsureShape",
    "input:any",
    shape=lambda op: [op.inputs[0].shape.merge_with(op._attrs["shape"])],
    compute=lambda xp, x, **_: x,
    samples=(sample((2, 3), shape=(2, 3)),),
)


define(
    "IdentityN",
    "input:any*",
    shape=lambda op: [t.shape for t in op.inputs],
    compute=lambda xp, *arrays, **_: arrays if len(arrays) != 1 else arrays[0],
    dtype=lambda op: [t.dtype for t in op.inputs],
    samples=(sample([(2, 3), (4,)]), sample([(2,)])),
)


def _erf(xp: Any, x: Any, **_: Any) -> Any:
    return xp.asarray(np.vectorize(math.erf, otypes=[x.dtype])(x))


define(
    "Erf",
    "x:T",
    shape=rules.same,
    compute=_erf,
    types=dtypes.FLOATS,
    samples=(sample((2, 3)), sample((0,))),
)
define(
    "Erfc",
    "x:T",
    shape=rules.same,
    compute=lambda xp, x, **_: xp.asarray(np.vectorize(math.erfc, otypes=[x.dtype])(x)),
    types=dtypes.FLOATS,
    samples=(sample((2, 3)),),
)
define(
    "ReverseV2",
    "tensor:any axis:index",
    shape=rules.same,
    compute=lambda xp, x, axis, **_: xp.flip(x, tuple(int(a) for a in axis)),
    dtype=lambda op: [op.inputs[0].dtype],
    samples=(sample((2, 3, 4), np.array([0, -1], np.int32)),),
)


def _einsum_shape(op: Any) -> list[Any]:
    terms, _, result = op._attrs["equation"].replace(" ", "").partition("->")
    sizes: dict[str, int | None] = {}
    longest = ""
    for term, tensor in zip(terms.split(","), op.inputs, strict=True):
        if tensor.shape.ndims is None:
            return [None]
        spare = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: tensor.shape.ndims - len(term.replace("...", ""))]
        longest = max(longest, spare, key=len)
        dims = tensor.shape.as_list()
        for label, size in zip(term.replace("...", spare), dims, strict=True):
            if sizes.get(label, 1) == 1:  # which broadcasts
                sizes[label] = size
    return [[sizes[label] for label in result.replace("...", longest)]]


define(
    "Einsum",
    "inputs:T*",
    shape=_einsum_shape,
    compute=lambda xp, *arrays, equation, **_: xp.einsum(equation, *arrays),
    types=dtypes.NUMBERS,
    samples=(
        sample([(2, 3, 4), (4, 5, 6)], equation="abc,cde->abde"),
        sample([(2, 3, 4, 5), (2, 6, 4, 5)], equation="aecd,abcd->acbe"),
        sample([(2, 3, 4), (4, 2, 5)], equation="abc,cad->bd"),
        sample([(2, 3, 4)], equation="abc->ca"),
        sample([(7, 2, 3), (3, 4)], equation="...ab,bc->...ac"),
    ),
)


# -- blocks -----------------------------------------------------------------------------------


def _space_to_batch(xp: Any, x: Any, block: Any, paddings: Any, **_: Any) -> Any:
    """https://www.tensorflow.org/api_docs/python/tf/space_to_batch_nd"""
    sizes = [int(b) for b in block]
    pairs = [(int(p), int(q)) for p, q in paddings]
    rest = x.ndim - 1 - len(sizes)
    x = xp.pad(x, [(0, 0), *pairs, *[(0, 0)] * rest])
    cut = [n for size, b in zip(x.shape[1:], sizes, strict=False) for n in (size // b, b)]
    whole = x.shape[1 + len(sizes) :]
    x = x.reshape(x.shape[0], *cut, *whole)
    inside = [2 + 2 * i for i in range(len(sizes))]
    outside = [1 + 2 * i for i in range(len(sizes))]
    last = range(1 + 2 * len(sizes), x.ndim)
    x = x.transpose(*inside, 0, *outside, *last)
    batch = math.prod(x.shape[: len(sizes) + 1])
    return x.reshape(batch, *x.shape[len(sizes) + 1 :])


def _batch_to_space(xp: Any, x: Any, block: Any, crops: Any, **_: Any) -> Any:
    sizes = [int(b) for b in block]
    count = len(sizes)
    batch = x.shape[0] // math.prod(sizes)
    space, whole = x.shape[1 : 1 + count], x.shape[1 + count :]
    x = x.reshape(*sizes, batch, *space, *whole)
    order = [count]
    for i in range(count):
        order += [count + 1 + i, i]
    x = x.transpose(*order, *range(2 * count + 1, x.ndim))
    x = x.reshape(batch, *(s * b for s, b in zip(space, sizes, strict=True)), *whole)
    cut = [slice(int(p), x.shape[i + 1] - int(q)) for i, (p, q) in enumerate(crops)]
    return x[(slice(None), *cut)]


def _block_shape(op: Any) -> list[Any]:
    dims = op.inputs[0].shape.sizes
    block, amounts = (constant_value(t) for t in op.inputs[1:])
    if dims is None or block is None or amounts is None:
        return [None if dims is None else [None] * len(dims)]
    spread = op.type == "SpaceToBatchND"
    count = math.prod(int(b) for b in block)
    batch = None if dims[0] is None else dims[0] * count if spread else dims[0] // count
    space: list[int | None] = []
    for size, b, (p, q) in zip(dims[1:], block, amounts, strict=False):
        if size is None:
            space.append(None)
        else:
            space.append(int((size + p + q) // b if spread else size * b - p - q))
    return [[batch, *space, *dims[1 + len(space) :]]]


for _name, _compute, _shape, _amounts in (
    ("SpaceToBatchND", _space_to_batch, (2, 4, 6, 3), [[1, 1], [2, 1]]),
    ("BatchToSpaceND", _batch_to_space, (12, 2, 3, 1), [[1, 0], [0, 2]]),
):
    define(
        _name,
        "input:any block_shape:index amounts:index",
        shape=_block_shape,
        compute=_compute,
        dtype=lambda op: [op.inputs[0].dtype],
        samples=(sample(_shape, np.array([2, 3], np.int32), np.array(_amounts, np.int32)),),
    )


# -- resizing ---------------------------------------------------------------------------------


def _resize_shape(op: Any) -> list[Any]:
    size = constant_value(op.inputs[1])
    sizes = op.inputs[0].shape.sizes or (None,) * 4
    height, width = (None, None) if size is None else (int(s) for s in size)
    return [(sizes[0], height, width, sizes[3])]


def _places(before: int, after: int, align: bool, half: bool) -> np.ndarray:
    """Where the pixels of the result lie in the input, along one axis."""
    scale = (before - 1) / (after - 1) if align and after > 1 else before / after
    steps = np.arange(after, dtype=np.float32)
    at = (steps + np.float32(0.5)) * np.float32(scale) - np.float32(0.5) if half else None
    return steps * np.float32(scale) if at is None else at


def _bilinear(
    xp: Any, x: Any, size: Any, align_corners: bool, half_pixel_centers: bool = False, **_: Any
) -> Any:
    x = x.astype(np.float32)
    for axis in (1, 2):
        after, before = int(size[axis - 1]), x.shape[axis]
        at = _places(before, after, align_corners, half_pixel_centers)
        low = np.floor(at)
        shape = [1] * 4
        shape[axis] = after
        weight = xp.asarray((at - low).reshape(shape))
        first = np.clip(low.astype(int), 0, before - 1)
        second = np.clip(low.astype(int) + 1, 0, before - 1)
        upper, lower = xp.take(x, second, axis), xp.take(x, first, axis)
        x = lower + (upper - lower) * weight
    return x


def _nearest(
    xp: Any, x: Any, size: Any, align_corners: bool, half_pixel_centers: bool = False, **_: Any
) -> Any:
    for axis in (1, 2):
        after, before = int(size[axis - 1]), x.shape[axis]
        at = _places(before, after, align_corners, half_pixel_centers)
        at = at + np.float32(0.5) if half_pixel_centers else at
        at = np.floor(at + np.float32(0.5)) if align_corners else np.floor(at)
        x = xp.take(x, np.clip(at.astype(int), 0, before - 1), axis)
    return x


_WAYS = (
    {"align_corners": False, "half_pixel_centers": False},
    {"align_corners": True, "half_pixel_centers": False},
    {"align_corners": False, "half_pixel_centers": True},
)
define(
    "ResizeBilinear",
    "images:T size:int32",
    shape=_resize_shape,
    compute=_bilinear,
    dtype=dtypes.float32,
    types=dtypes.REALS,
    samples=tuple(sample((2, 3, 4, 2), np.array([5, 6], np.int32), **way) for way in _WAYS),
)
define(
    "ResizeNearestNeighbor",
    "images:T size:int32",
    shape=_resize_shape,
    compute=_nearest,
    dtype=lambda op: [op.inputs[0].dtype],
    types=dtypes.REALS,
    samples=tuple(sample((2, 3, 4, 2), np.array([6, 8], np.int32), **way) for way in _WAYS),
)
