# SPDX-License-Identifier: Apache-2.0
"""Rows of op-sized models: an operator, a combination of tensor types, and how to build the model.

A type is a schema name, with a ``q`` behind it where the tensor has a scale (``INT8q``). A case is
one combination, named by its types: ``"FLOAT32 INT8q"``.
"""

from __future__ import annotations

import functools
import itertools
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from single_op import Arg, OpModel, Out, single_op

from converter.tensor_types import numpy_dtype

REALS = ["FLOAT32", "FLOAT16", "FLOAT64"]
QUANTIZED = ["INT8q", "UINT8q", "INT16q", "INT32q"]
INTEGERS = ["INT8", "UINT8", "INT16", "UINT16", "INT32", "UINT32", "INT64", "UINT64"]
NUMBERS = [*REALS, *INTEGERS, *QUANTIZED]
COMPLEX = ["COMPLEX64", "COMPLEX128"]
# These live in constants only: the interpreters take no such arrays.
PACKED = ["INT4", "INT4q", "UINT4", "UINT4q", "INT2", "INT2q", "BFLOAT16"]
ANY = [*NUMBERS, "BOOL", "STRING", *COMPLEX, *PACKED]
INDICES = ["INT32", "INT64"]

_SCALES = {"INT8": (0.05, 3), "UINT8": (0.05, 131), "INT16": (1 / 2048, 0), "INT32": (1e-3, 0)}
_SCALES.update(INT4=(0.1, 0), UINT4=(0.1, 0), INT2=(0.5, 0))

Build = Callable[..., OpModel]
ROWS: list[tuple[str, tuple[tuple[str, ...], ...], Build]] = []


def row(ops: str, *types: Sequence[str]) -> Callable[[Build], Build]:
    """Registers a builder ``(op, *types) -> OpModel`` for every combination of `types`."""

    def register(build: Build) -> Build:
        ROWS.extend((op, tuple(map(tuple, types)), build) for op in ops.split())
        return build

    return register


def cases() -> Iterator[tuple[str, str, Callable[[], OpModel]]]:
    """Every (operator, types, builder without arguments), sorted by operator as rows came."""
    for op, types, build in ROWS:
        for chosen in itertools.product(*types):
            yield (
                op,
                " ".join(chosen) or "-",
                lambda b=build, o=op, t=types, c=chosen: _built(b, o, t, c),
            )


_fallback: list[tuple[int, ...]] = []  # shapes of outputs that this runtime does not tell


def _built(build: Build, op: str, types: Any, chosen: tuple[str, ...]) -> OpModel:
    """The model of one case. Where this runtime refuses it, its outputs are declared with the
    shapes they have for other types: LiteRT's delegate takes no others."""
    model = build(op, *chosen)
    if model.shapes:
        return model
    _fallback[:] = _shapes_of_row(build, op, types)
    try:
        return build(op, *chosen)
    finally:
        _fallback.clear()


@functools.cache
def _shapes_of_row(build: Build, op: str, types: Any) -> list[tuple[int, ...]]:
    models = (build(op, *chosen) for chosen in itertools.product(*types))
    return next((model.shapes for model in models if model.shapes), [])


def plain(type_: str) -> str:
    """The schema's name of a type."""
    return type_.removesuffix("q")


def scale_of(type_: str) -> dict[str, Any]:
    """Scale and zero point a quantized type gets where the operator does not care which."""
    if not type_.endswith("q"):
        return {}
    scale, zero = _SCALES[plain(type_)]
    return {"scale": scale, "zero": zero}


def values(type_: str, shape: Any, low: float = -4, high: float = 5) -> np.ndarray:
    """Repeatable values of a type; integers of quantized types use most of their range."""
    rng = np.random.default_rng(zlib.crc32(f"{type_} {shape}".encode()))
    name = plain(type_)
    if name == "STRING":
        count = int(np.prod(shape))
        text = [b"ab%d" % (i % 3) for i in range(count)]
        return np.array(text, object).reshape(shape)
    if name == "BOOL":
        return rng.integers(0, 2, shape).astype(np.bool_)
    if name == "BFLOAT16":
        return (rng.standard_normal(shape).astype(np.float32).view(np.uint32) >> 16).astype("u2")
    dtype = numpy_dtype(name)
    if dtype.kind == "c":
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)
    if dtype.kind == "f":
        return rng.uniform(low, high, shape).astype(dtype)
    if name in ("INT4", "INT2", "UINT4"):
        bits = int(name[-1])
        least = 0 if name[0] == "U" else -(1 << (bits - 1))
        return rng.integers(least, least + (1 << bits), shape).astype(dtype)
    if type_.endswith("q"):
        least, most = max(np.iinfo(dtype).min, -30000), min(np.iinfo(dtype).max, 30000)
        return rng.integers(least, most + 1, shape).astype(dtype)
    return rng.integers(
        max(int(low), 0 if dtype.kind == "u" else int(low)), int(high), shape
    ).astype(dtype)


def tensor(type_: str, shape: Any = (2, 3, 4), *, const: bool = False, **how: Any) -> Arg:
    """An input with values of its own; `low` and `high` bound plain numbers."""
    bounds = {k: how.pop(k) for k in ("low", "high") if k in how}
    held = values(type_, shape, **bounds)
    const = const or type_ in PACKED
    return Arg(held, const=const, dtype=plain(type_), **{**scale_of(type_), **how})


def given(type_: str, value: Any, *, const: bool = True) -> Arg:
    """An input with the values written here."""
    return Arg(np.asarray(value, numpy_dtype(plain(type_))), const=const, dtype=plain(type_))


def out(type_: str, **how: Any) -> Out:
    """An output of this type."""
    return Out(plain(type_), **{**scale_of(type_), **how})


def of(op: str, args: Sequence[Arg | None], outs: Out | Sequence[Out], **options: Any) -> OpModel:
    """The model."""
    outs = [outs] if isinstance(outs, Out) else list(outs)
    for i, shape in enumerate(_fallback[: len(outs)]):
        outs[i] = replace(outs[i], shape=outs[i].shape or shape)
    return single_op(op, args, outs, **options)
