# SPDX-License-Identifier: Apache-2.0
"""Public models: each runs and agrees with LiteRT."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter as LiteRT
from ai_edge_litert.interpreter import OpResolverType
from single_op import ISAS
from zoo import zoo_files

import runtime
from benchmarks.beside_litert import in_builtin_operators

MODELS = zoo_files("models/tflite/*.tflite")


def outputs(interpreter, seed: int = 2024) -> list[np.ndarray]:
    """What any interpreter with tf.lite's methods computes from the same random inputs."""
    rng = np.random.default_rng(seed)
    interpreter.allocate_tensors()
    for details in interpreter.get_input_details():
        shape, dtype = details["shape"], np.dtype(details["dtype"])
        if dtype.kind == "f":
            value = rng.standard_normal(shape).astype(dtype)
        else:
            info = np.iinfo(dtype)
            value = rng.integers(info.min, info.max, shape, dtype, endpoint=True)
        interpreter.set_tensor(details["index"], value)
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]


def error(ours: np.ndarray, reference: np.ndarray) -> float:
    """Largest difference over the largest magnitude."""
    reference = reference.astype(np.float64)
    return float(np.abs(ours - reference).max() / max(np.abs(reference).max(), 1e-30))


@pytest.mark.conformance
@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
@pytest.mark.parametrize("isa", [None, "avx2", "scalar"])
def test_agrees_with_litert(path, isa, monkeypatch):
    if isa:
        monkeypatch.setenv("RILLET_ISA", isa)
    ours = outputs(runtime.Interpreter(path))
    content = in_builtin_operators(path)
    default = outputs(LiteRT(model_content=content))
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    other = outputs(LiteRT(model_content=content, experimental_op_resolver_type=plain))
    for a, b, c in zip(ours, default, other, strict=True):
        if b.dtype.kind == "f":
            assert error(a, b) <= max(1e-5, 2 * error(c, b))
        else:
            assert (a != b).mean() <= 1e-3


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_the_arena_is_near_the_least_possible(path):
    interpreter = runtime.Interpreter(path)
    interpreter.allocate_tensors()
    memory = interpreter.memory()
    scratch = max(node["scratch"] for node in interpreter.nodes())
    assert memory["peak_live"] <= memory["arena"]
    assert memory["arena"] <= 1.1 * memory["peak_live"] + scratch + 64


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_memory_reuse_and_threads_do_not_change_a_bit(path):
    expected = outputs(runtime.Interpreter(path))
    apart = outputs(runtime.Interpreter(path, experimental_preserve_all_tensors=True))
    threaded = [outputs(runtime.Interpreter(path, num_threads=n)) for n in (2, 3, 4)]
    for others in (apart, *threaded):
        for a, b in zip(expected, others, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_integers_are_the_same_on_every_instruction_set(path, monkeypatch):
    expected = outputs(runtime.Interpreter(path))
    for isa in ISAS:
        monkeypatch.setenv("RILLET_ISA", isa)
        for a, b in zip(outputs(runtime.Interpreter(path)), expected, strict=True):
            assert a.dtype.kind == "f" or (a == b).all(), isa
