# SPDX-License-Identifier: Apache-2.0
"""What ``variants`` must know of single operators: constants and options that go with the shapes it
draws, and where LiteRT's numbers are wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from single_op import Arg

Draw = Callable[[st.SearchStrategy[Any]], Any]
_DIMS = st.lists(st.integers(1, 9), min_size=1, max_size=4)


def _put(arg: Arg, value: Any) -> None:
    arg.value = np.asarray(value, arg.value.dtype)


def _reshape(draw: Draw, args: list[Arg], options: dict[str, Any]) -> None:
    size = args[0].value.size
    first = draw(st.sampled_from([d for d in range(1, size + 1) if size % d == 0]))
    new = [first, size // first, 1][: draw(st.integers(2, 3))]
    _put(args[1], new)
    options["new_shape"] = np.int32(new)


def _dims(draw: Draw, args: list[Arg], options: dict[str, Any]) -> None:
    _put(args[0], draw(_DIMS))


def _one_hot(draw: Draw, args: list[Arg], options: dict[str, Any]) -> None:
    shape = draw(_DIMS)[:3]
    args[0].value = np.resize(np.arange(-1, 6), shape).astype(args[0].value.dtype)
    _put(args[1], draw(st.integers(1, 9)))


def _range(draw: Draw, args: list[Arg], options: dict[str, Any]) -> None:
    for arg, least, most in zip(args, (0, 0, 1), (20, 60, 5), strict=True):
        _put(arg, draw(st.integers(least, most)))


def _broadcast_args(draw: Draw, args: list[Arg], options: dict[str, Any]) -> None:
    full = draw(_DIMS)
    sides = [[draw(st.sampled_from([1, dim])) for dim in full] for _ in range(2)]
    for arg, side in zip(args, sides, strict=True):
        _put(arg, side[draw(st.integers(0, len(side) - 1)) :])


def _scatter(draw: Draw, args: list[Arg], options: dict[str, Any]) -> None:
    rows, width = args[1].value.shape
    total = rows + draw(st.integers(0, 5))
    _put(args[0], np.random.default_rng(rows).permutation(total)[:rows, None])
    _put(args[2], [total, width])


def _unpack(draw: Draw, args: list[Arg], options: dict[str, Any]) -> None:
    """As many parts as the row has outputs, along any axis."""
    value = args[0].value
    axis = options["axis"] = draw(st.integers(0, value.ndim - 1))
    _put(args[0], np.take(value, np.arange(options["num"]) % value.shape[axis], axis))


def _grown(draw: Draw, args: list[Arg], options: dict[str, Any]) -> None:
    """Output shapes of transposed convolutions (shape, weights, x)."""
    weights, x = args[1].value.shape, args[2].value.shape
    sides = "dhw"[-(len(x) - 2) :]
    kernel = weights[1:-1] if len(x) == 4 else weights[:3]
    inner = []
    for dim, side, extent in zip(x[1:-1], sides, kernel, strict=True):
        stride = options.get(f"stride_{side}", 1)
        same = options.get("padding", "SAME") == "SAME"
        inner.append(dim * stride if same else (dim - 1) * stride + extent)
    _put(args[0], [x[0], *inner, weights[0] if len(x) == 4 else weights[3]])


def _boxes(draw: Draw, args: list[Arg], options: dict[str, Any]) -> None:
    count = draw(st.integers(1, 12))
    rng = np.random.default_rng(count)
    corners = rng.uniform(0, 3, (count, 2))
    _put(args[0], np.concatenate([corners, corners + rng.uniform(0.2, 1, (count, 2))], 1))
    _put(args[1], rng.permutation(count) / count + 0.05)
    _put(args[2], draw(st.integers(1, 12)))


def _bitcast(draw: Draw, args: list[Arg], options: dict[str, Any]) -> None:
    last = draw(st.sampled_from([2, 2, 4, 8, 16]))  # or there may be no such element
    args[0].value = np.resize(args[0].value, (draw(st.integers(1, 9)), last))


def _lstm(draw: Draw, args: list[Arg], options: dict[str, Any]) -> None:
    if len(args) != 5:  # not the kernel of one weight matrix
        return
    batch, inputs, units = (draw(st.integers(1, 9)) for _ in range(3))
    shapes = [(batch, inputs), (batch, units), (4 * units, inputs + units), (4 * units,)]
    for arg, shape in zip(args, [*shapes, (batch, units)], strict=True):
        arg.value = np.resize(arg.value, shape)


def _svdf(draw: Draw, args: list[Arg], options: dict[str, Any]) -> None:
    batch, inputs, units, memory = (draw(st.integers(1, 9)) for _ in range(4))
    filters = units * options["rank"]
    shapes = [(batch, inputs), (filters, inputs), (filters, memory), (units,)]
    for arg, shape in zip(args, [*shapes, (batch, filters * memory)], strict=True):
        arg.value = np.resize(arg.value, shape)


FITTING: dict[str, Callable[[Draw, list[Arg], dict[str, Any]], None]] = {
    "RESHAPE": _reshape,
    "FILL": _dims,
    "RANDOM_UNIFORM": _dims,
    "RANDOM_STANDARD_NORMAL": _dims,
    "ONE_HOT": _one_hot,
    "RANGE": _range,
    "BROADCAST_ARGS": _broadcast_args,
    "SCATTER_ND": _scatter,
    "TRANSPOSE_CONV": _grown,
    "UNPACK": _unpack,
    "CONV_3D_TRANSPOSE": _grown,
    "BITCAST": _bitcast,
    "LSTM": _lstm,
    "SVDF": _svdf,
    "NON_MAX_SUPPRESSION_V4": _boxes,
    "NON_MAX_SUPPRESSION_V5": _boxes,
}


_PER_BYTE = {"INT4": 2, "UINT4": 2, "INT2": 4}


def litert_is_wrong(op: str, args: Sequence[Arg | None], options: Mapping[str, Any]) -> bool:
    """Where this runtime does otherwise on purpose; docs/numerics.md says why."""
    first = args[0]
    quantized = first is not None and first.scale is not None
    if op in ("DIV", "REDUCE_PROD"):  # shifts too far; lets long products wrap around
        return quantized
    if op == "FULLY_CONNECTED" and first is not None and first.type == "FLOAT32":
        weights = args[1]  # of odd rows LiteRT takes the input to be symmetric
        return weights is not None and weights.type == "INT4" and weights.value.shape[1] % 2 == 1
    if op == "EMBEDDING_LOOKUP":  # takes rows of packed elements to begin on whole bytes
        table = args[1]
        return table is not None and table.value[0].size % _PER_BYTE.get(table.type, 1) != 0
    if op == "GATHER" and first is not None:  # the same of what it moves
        beyond = first.value.shape[options.get("axis", 0) :][1:]
        return math.prod(beyond) % _PER_BYTE.get(first.type, 1) != 0
    if op == "DEPTHWISE_CONV_2D":  # rounds once
        weights = args[1]
        return weights is not None and weights.type == "UINT8" and not weights.const
    return op == "GELU" and first is not None and first.type == "INT16"  # a sample rounds otherwise
