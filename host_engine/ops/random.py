# SPDX-License-Identifier: Apache-2.0
"""Random numbers: TensorFlow's Philox streams, so that the same seeds give the same numbers.

Philox 4x32-10 is of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011); how
its output becomes floats follows tensorflow/core/lib/random/random_distributions.h.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from host_engine.framework import dtypes
from host_engine.framework.build import build, convert_to_tensor, name_scope
from host_engine.framework.constant import shape_value
from host_engine.framework.dtypes import as_dtype
from host_engine.framework.graph import get_default_graph
from host_engine.framework.registry import NOT_DIFFERENTIABLE, define, sample
from host_engine.framework.tensor import Tensor

_DEFAULT_GRAPH_SEED = 87654321
_MAX_INT32 = 2**31 - 1
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_RESERVED = 256


def philox(seed: int, seed2: int, blocks: Any) -> np.ndarray:
    """Philox 4x32-10 outputs uint32 [n, 4] for the 64-bit block numbers `blocks` [n]."""
    blocks = np.asarray(blocks, np.uint64)
    c0, c1 = blocks & _LOW, blocks >> _32
    c2 = np.full(blocks.shape, seed2 & 0xFFFFFFFF, np.uint64)
    c3 = np.full(blocks.shape, (seed2 >> 32) & 0xFFFFFFFF, np.uint64)
    k0, k1 = seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF
    for _ in range(10):
        a, b = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0 = (b >> _32) ^ c1 ^ np.uint64(k0)
        c2 = (a >> _32) ^ c3 ^ np.uint64(k1)
        c1, c3 = b & _LOW, a & _LOW
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    out = np.empty((*blocks.shape, 4), np.uint32)
    for lane, word in enumerate((c0, c1, c2, c3)):
        out[..., lane] = word
    return out


def _to_float(bits: np.ndarray) -> np.ndarray:
    """uint32 to float32 in [0, 1): 23 random bits as the mantissa of a number in [1, 2)."""
    return ((bits & np.uint32(0x7FFFFF)) | np.uint32(127 << 23)).view(np.float32) - np.float32(1)


def _to_double(bits: np.ndarray) -> np.ndarray:
    """uint32 pairs [..., 2k] to float64 [..., k] in [0, 1)."""
    high = (bits[..., ::2] & np.uint32(0xFFFFF)).astype(np.uint64) << _32
    mantissa = high | bits[..., 1::2] | np.uint64(1023 << 52)
    return mantissa.view(np.float64) - 1.0


def _box_muller(uniform: np.ndarray) -> np.ndarray:
    """Pairs of uniforms along the last axis to pairs of normals."""
    real = uniform.dtype.type
    radius = np.sqrt(real(-2) * np.log(np.maximum(uniform[..., ::2], real(1e-7))))
    # In double, as C++ multiplies by the double M_PI before rounding.
    angle = (2 * np.pi * uniform[..., 1::2].astype(np.float64)).astype(real)
    out = np.empty_like(uniform)
    out[..., ::2] = np.sin(angle) * radius
    out[..., 1::2] = np.cos(angle) * radius
    return out


class RandomState:
    """The streams of one session: for each random operation, how far it has advanced."""

    def __init__(self) -> None:
        self._next: dict[Any, tuple[int, int, int]] = {}
        self._lock = threading.Lock()

    def take(self, op: Any, count: int) -> tuple[int, int, int]:
        """(seed, seed2, first block) for `count` more numbers; blocks are reserved generously."""
        with self._lock:
            if op not in self._next:
                seeds = op._attrs["seed"], op._attrs["seed2"]
                if seeds == (0, 0):
                    entropy = np.random.SeedSequence().generate_state(2, np.uint64)
                    seeds = int(entropy[0]), int(entropy[1])
                self._next[op] = (*seeds, 0)
            seed, seed2, at = self._next[op]
            self._next[op] = (seed, seed2, at + count * _RESERVED)
            return seed, seed2, at


def _stream(context: Any, op: Any, shape: Any) -> tuple[tuple[int, ...], int, tuple[int, int, int]]:
    sizes = tuple(int(s) for s in shape)
    count = int(np.prod(sizes, dtype=np.int64))
    return sizes, count, context.random.take(op, count)


def _bits(stream: tuple[int, int, int], count: int, per_block: int) -> np.ndarray:
    seed, seed2, first = stream
    return philox(seed, seed2, np.arange(first, first + -(-count // per_block), dtype=np.uint64))


def _uniforms(op: Any, stream: Any, count: int) -> np.ndarray:
    """Uniforms in [0, 1) as [blocks, 4] float32 or [blocks, 2] float64 (half: from float32)."""
    if op.outputs[0].dtype == dtypes.float64:
        return _to_double(_bits(stream, count, 2))
    return _to_float(_bits(stream, count, 4))


def _finish(context: Any, op: Any, values: np.ndarray, count: int, sizes: Any) -> Any:
    flat = values.reshape(-1)[:count].reshape(sizes)
    return context.xp.asarray(flat.astype(op.outputs[0].dtype.as_numpy_dtype, copy=False))


def _run_uniform(context: Any, op: Any, shape: Any) -> Any:
    sizes, count, stream = _stream(context, op, shape)
    return _finish(context, op, _uniforms(op, stream, count), count, sizes)


def _run_normal(context: Any, op: Any, shape: Any) -> Any:
    sizes, count, stream = _stream(context, op, shape)
    return _finish(context, op, _box_muller(_uniforms(op, stream, count)), count, sizes)


def _run_truncated(context: Any, op: Any, shape: Any) -> Any:
    """Normals within two standard deviations; each group of four draws again until it is full."""
    sizes, count, (seed, seed2, first) = _stream(context, op, shape)
    wide = op.outputs[0].dtype == dtypes.float64
    convert = _to_double if wide else _to_float
    per_group = 2 if wide else 4
    groups = -(-count // per_group)
    out = np.empty((groups, per_group), np.float64 if wide else np.float32)
    filled = np.zeros(groups, np.int64)
    active = np.arange(groups)
    step = per_group * _RESERVED // 4
    draw = 0
    while active.size:
        blocks = (first + active * step + draw).astype(np.uint64)
        normals = _box_muller(convert(philox(seed, seed2, blocks)))
        for lane in range(normals.shape[1]):
            good = (np.abs(normals[:, lane]) < 2) & (filled[active] < per_group)
            rows = active[good]
            out[rows, filled[rows]] = normals[good, lane]
            filled[rows] += 1
        active = active[filled[active] < per_group]
        draw += 1
    return _finish(context, op, out, count, sizes)


def _run_integers(context: Any, op: Any, shape: Any, low: Any, high: Any) -> Any:
    sizes, count, stream = _stream(context, op, shape)
    span = int(high) - int(low)
    if span <= 0:
        from host_engine.errors import invalid

        raise invalid(f"Need minval < maxval, got {int(low)} >= {int(high)}")
    if op.outputs[0].dtype == dtypes.int64:
        bits = _bits(stream, count, 2).astype(np.uint64)
        words = bits[:, ::2] | bits[:, 1::2] << _32
    else:
        words = _bits(stream, count, 4).astype(np.uint64)
    return _finish(context, op, (words % np.uint64(span)).astype(np.int64) + int(low), count, sizes)


_FACTS: dict[str, Any] = {
    "shape": lambda op: [shape_value(op.inputs[0])],
    "dtype": "dtype",
    "grad": NOT_DIFFERENTIABLE,
}
_ATTRS = {"seed": 1, "seed2": 2}
for _name, _run in (
    ("RandomUniform", _run_uniform),
    ("RandomStandardNormal", _run_normal),
    ("TruncatedNormal", _run_truncated),
):
    define(
        _name,
        "shape:index",
        run=_run,
        samples=tuple(
            sample(np.array([3, 3], np.int32), dtype=t, **_ATTRS)
            for t in (dtypes.float32, dtypes.float64)
        ),
        **_FACTS,
    )
define(
    "RandomUniformInt",
    "shape:index minval:T maxval:T",
    run=_run_integers,
    **{**_FACTS, "dtype": lambda op: [op.inputs[1].dtype]},
    samples=(sample(np.array([3], np.int32), np.int64(-2), np.int64(5), **_ATTRS),),
)

# Python functions


def set_random_seed(seed: int | None) -> None:
    """The graph's seed: with it every random operation added later repeats in each session."""
    get_default_graph().seed = seed


def get_seed(op_seed: int | None) -> tuple[int, int]:
    """(graph seed, op seed) as TensorFlow derives them; (0, 0) means new numbers each time."""
    graph = get_default_graph()
    if graph.seed is not None:
        op_seed = len(graph._operations) if op_seed is None else op_seed
        seeds = graph.seed, op_seed
    elif op_seed is not None:
        seeds = _DEFAULT_GRAPH_SEED, op_seed
    else:
        return 0, 0
    seeds = seeds[0] % _MAX_INT32, seeds[1] % _MAX_INT32
    return (0, _MAX_INT32) if seeds == (0, 0) else seeds


def _draw(op_type: str, shape: Tensor, dtype: Any, seed: int | None, name: Any = None) -> Tensor:
    seed1, seed2 = get_seed(seed)
    return build(op_type, [shape], {"dtype": dtype, "seed": seed1, "seed2": seed2}, name)


def _shape_tensor(shape: Any) -> Tensor:
    wanted = None if isinstance(shape, (Tensor, np.ndarray)) else dtypes.int32
    if isinstance(shape, (int, np.integer)):
        raise ValueError(f"the shape of random numbers must be a list, got {shape!r}")
    return convert_to_tensor(shape, wanted, name="shape")


def random_normal(
    shape: Any,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: Any = dtypes.float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Normal numbers, new ones each run."""
    return _scaled("RandomStandardNormal", "random_normal", shape, mean, stddev, dtype, seed, name)


def truncated_normal(
    shape: Any,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: Any = dtypes.float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Normal numbers within two standard deviations of the mean."""
    return _scaled("TruncatedNormal", "truncated_normal", shape, mean, stddev, dtype, seed, name)


def _scaled(
    op_type: str, default: str, shape: Any, mean: Any, stddev: Any, dtype: Any, seed: Any, name: Any
) -> Tensor:
    wanted = as_dtype(dtype)
    with name_scope(name, default, [shape, mean, stddev]) as scope:
        sizes = _shape_tensor(shape)
        mean = convert_to_tensor(mean, wanted, name="mean")
        stddev = convert_to_tensor(stddev, wanted, name="stddev")
        drawn = _draw(op_type, sizes, wanted, seed)
        scaled = build("Mul", [drawn, stddev], name="mul")
        return build("Add", [scaled, mean], name=scope)


def random_uniform(
    shape: Any,
    minval: Any = 0,
    maxval: Any = None,
    dtype: Any = dtypes.float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Uniform numbers in [minval, maxval); integers need a maxval (else ValueError)."""
    wanted = as_dtype(dtype)
    if maxval is None:
        if wanted.is_integer:
            raise ValueError(f"Must specify maxval for integer dtype {wanted.name}")
        maxval = 1
    with name_scope(name, "random_uniform", [shape, minval, maxval]) as scope:
        sizes = _shape_tensor(shape)
        low = convert_to_tensor(minval, wanted, name="min")
        high = convert_to_tensor(maxval, wanted, name="max")
        if wanted.is_integer:
            seed1, seed2 = get_seed(seed)
            attrs = {"seed": seed1, "seed2": seed2}
            return build("RandomUniformInt", [sizes, low, high], attrs, scope)
        drawn = _draw("RandomUniform", sizes, wanted, seed)
        span = build("Sub", [high, low], name="sub")
        return build("Add", [build("Mul", [drawn, span], name="mul"), low], name=scope)
