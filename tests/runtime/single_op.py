# SPDX-License-Identifier: Apache-2.0
"""Models of one op, run on this runtime and on LiteRT."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np
from ai_edge_litert.interpreter import Interpreter as LiteRT
from ai_edge_litert.interpreter import OpResolverType

import runtime
from converter import ir, write_tflite
from converter.tensor_types import numpy_dtype

ISAS = ["scalar", "avx2", "avx512"]  # up to what this machine has
ISAS = ISAS[: ISAS.index(runtime.best_isa()) + 1] if runtime.best_isa() in ISAS else []


@dataclass
class Arg:
    """An input: its values, and its scale(s) and zero point(s) if it is quantized."""

    value: Any
    scale: Any = None
    zero: Any = 0
    const: bool = False
    axis: int = 0
    dtype: str | None = None  # schema name where NumPy's does not tell
    variable: bool = False  # state: only its shape counts

    def __post_init__(self) -> None:
        self.value = np.asarray(self.value)

    @property
    def type(self) -> str:
        return self.dtype or self.value.dtype.name.upper()


@dataclass
class Out:
    """An output. Without a shape it is declared with the one the operator gives it: LiteRT chooses
    its path by what the file declares."""

    type: str = "FLOAT32"
    scale: Any = None
    zero: Any = 0
    axis: int = 0
    shape: tuple[int, ...] | None = None


@dataclass
class OpModel:
    """A serialized model of one op and what its computed inputs get."""

    op: str
    content: bytes
    feeds: list[np.ndarray] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)  # the outputs', where known here


def const(value: Any, dtype: Any = np.int32) -> Arg:
    """A constant input, such as axes or a shape."""
    return Arg(np.asarray(value, dtype), const=True)


def _quant(of: Arg | Out) -> ir.Quantization | None:
    if of.scale is None:
        return None
    scale = np.atleast_1d(np.asarray(of.scale, np.float32))
    zero = np.broadcast_to(np.asarray(of.zero, np.int64), scale.shape).copy()
    return ir.Quantization(scale, zero, of.axis)


def single_op(
    op: str,
    args: Sequence[Any],
    outs: Out | Sequence[Out] | None = None,
    intermediates: Sequence[ir.Value] = (),
    custom_options: bytes | None = None,
    **options: Any,
) -> OpModel:
    """A model of `op`; plain arrays among `args` are computed float or integer inputs, None is an
    optional input left out.

    Without `outs` the output has the first input's type and quantization. With `custom_options`,
    which may be empty, `op` is the name of a custom operator.
    """
    args = [a if a is None or isinstance(a, Arg) else Arg(a) for a in args]
    if outs is None:
        outs = Out(args[0].type, args[0].scale, args[0].zero, args[0].axis)
    graph = ir.Graph("main")
    values, feeds = [], []
    for i, arg in enumerate(args):
        if arg is None:
            values.append(None)
        elif arg.const:
            constant = ir.Value.constant(f"c{i}", arg.value, quant=_quant(arg), dtype=arg.dtype)
            values.append(constant)
        elif arg.variable:
            shape = arg.value.shape
            state = ir.Value(f"s{i}", arg.type, shape, quant=_quant(arg), is_variable=True)
            values.append(state)
        else:
            shape = arg.value.shape
            values.append(graph.add_input(f"x{i}", arg.type, shape, quant=_quant(arg)))
            feeds.append(arg.value)
    outs = [outs] if isinstance(outs, Out) else outs
    results = [
        ir.Value(f"y{i}", out.type, (1,) if out.shape is None else out.shape, quant=_quant(out))
        for i, out in enumerate(outs)
    ]
    custom = {} if custom_options is None else {"custom_code": op, "custom_options": custom_options}
    node = graph.add_node("CUSTOM" if custom else op, values, results, options, **custom)
    node.intermediates = list(intermediates)
    graph.outputs = list(results)
    with mock.patch("converter.writer.verify"):  # some are wrong on purpose
        content = write_tflite(ir.Model([graph]))
        shapes = [out.shape for out in outs if out.shape is not None]
        if len(shapes) < len(outs):
            shapes = shapes_of(content)
            for value, out, shape in zip(results, outs, shapes, strict=False):
                value.shape = value.shape if out.shape is not None else shape
            content = write_tflite(ir.Model([graph]))
    return OpModel(op, content, feeds, shapes)


def shapes_of(content: bytes) -> list[tuple[int, ...]]:
    """Shapes of the outputs, as this runtime knows them before it runs; [] where it refuses."""
    try:
        mine = runtime.Interpreter(model_content=content)
        mine.allocate_tensors()
    except runtime.RilletError:
        return []
    return [tuple(int(d) for d in detail["shape"]) for detail in mine.get_output_details()]


def _run(interpreter: Any, feeds: list[np.ndarray]) -> list[np.ndarray]:
    interpreter.allocate_tensors()
    for detail, value in zip(interpreter.get_input_details(), feeds, strict=True):
        interpreter.set_tensor(detail["index"], np.ascontiguousarray(value).reshape(value.shape))
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]


def run_all(model: OpModel, threads: int = 1, isa: str | None = None) -> list[np.ndarray]:
    """Every output, on this runtime, with the best ISA or the one named."""
    with mock.patch.dict(os.environ, {"RILLET_ISA": isa} if isa else {}):
        mine = runtime.Interpreter(model_content=model.content, num_threads=threads)
        return _run(mine, model.feeds)


def run(model: OpModel, threads: int = 1, isa: str | None = None) -> np.ndarray:
    """The first output, on this runtime."""
    return run_all(model, threads, isa)[0]


def litert_all(model: OpModel, *, reference: bool = False) -> list[np.ndarray]:
    """Every output, on LiteRT's default path or its reference kernels."""
    resolver = OpResolverType.BUILTIN_REF if reference else OpResolverType.AUTO
    peer = LiteRT(
        model_content=model.content, num_threads=1, experimental_op_resolver_type=resolver
    )
    return _run(peer, model.feeds)


def litert(model: OpModel, *, reference: bool = False) -> np.ndarray:
    """The first output, on LiteRT."""
    return litert_all(model, reference=reference)[0]


def error(found: np.ndarray, wanted: Any) -> float:
    """Largest difference over the largest finite magnitude wanted; infinite where NaN, infinity
    or shape differ."""
    wanted = np.asarray(wanted)
    if found.shape != wanted.shape:
        return float("inf")
    finite = np.isfinite(wanted)
    same = np.array_equal(found[~finite], wanted[~finite].astype(found.dtype), equal_nan=True)
    if not same or not np.isfinite(found[finite]).all():
        return float("inf")
    difference = np.abs(found[finite].astype(np.float64) - wanted[finite].astype(np.float64))
    scale = float(np.abs(wanted[finite].astype(np.float64)).max(initial=0.0)) or 1.0
    return float(difference.max(initial=0.0)) / scale


def integers(rng: np.random.Generator, dtype: str, shape: Any) -> np.ndarray:
    """Uniform over the whole type."""
    info = np.iinfo(numpy_dtype(dtype))
    return rng.integers(info.min, info.max, shape, numpy_dtype(dtype), endpoint=True)


def numbers(shape: Any, dtype: str = "float32") -> np.ndarray:
    """Values that tell every element apart, as far as the type allows."""
    return np.arange(1, 1 + np.prod(shape, dtype=int)).reshape(shape).astype(dtype)


def check_exact(model: OpModel, wanted: Any, *, peer: bool = True) -> None:
    """Exactly what is wanted, with any number of threads, and what LiteRT gives."""
    found = run(model)
    wanted = np.asarray(wanted)
    assert found.shape == wanted.shape and found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(run(model, threads=3), found)
    if peer and found.size:
        np.testing.assert_array_equal(litert(model), found)


def check_close(model: OpModel, wanted: np.ndarray | None = None, *, exact: bool = False) -> None:
    """What is wanted (LiteRT's result), to 1e-5 or `exact`, on every instruction set, and the same
    bits with three threads as with one.
    """
    wanted = litert(model) if wanted is None else wanted
    for isa in ISAS:
        found = run(model, isa=isa)
        assert found.shape == wanted.shape and found.dtype == wanted.dtype
        if exact:
            np.testing.assert_array_equal(found, wanted)
        else:
            assert error(found, wanted) <= 1e-5
        assert run(model, threads=3, isa=isa).tobytes() == found.tobytes()
