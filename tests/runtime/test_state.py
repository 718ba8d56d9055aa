# SPDX-License-Identifier: Apache-2.0
"""Resource variables: what is read is what was assigned last, by any subgraph."""

from __future__ import annotations

from typing import Any

import control_models as models
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter as LiteRT
from test_control_flow import run

import runtime
from runtime import RilletError

NAMES = {"container": "c", "shared_name": "v"}


def handle(sub: models.Sub, **names: str) -> Any:
    return sub.op("VAR_HANDLE", [], ((), "RESOURCE"), **{**NAMES, **names})


def assign_and_read(*reads: Any, dtype: str = "FLOAT32", shape: Any = (2,)) -> bytes:
    """Assigns x, then reads the variable as told: (declared shape, dtype, signature)."""
    sub = models.Sub("main")
    x = sub.input(shape, dtype, shape_signature=(-1,) * len(shape))
    sub.op("ASSIGN_VARIABLE", [handle(sub), x])
    values = [sub.op("READ_VARIABLE", [handle(sub)], read) for read in reads]
    zero = np.zeros(1, np.dtype(dtype.lower()))
    sums = [sub.op("ADD", [v, zero], (v.shape, dtype, v.shape_signature)) for v in values]
    return models.serialize(sub.ends(*sums))


@pytest.mark.parametrize("dtype", ["FLOAT32", "INT32", "INT64"])
def test_assigned_values_are_read(dtype):
    content = assign_and_read(((2,), dtype, None), ((2,), dtype, (-1,)), dtype=dtype)
    x = np.array([3, -4], dtype.lower())
    for interpreter in (runtime.Interpreter(model_content=content), LiteRT(model_content=content)):
        for y in run(interpreter, x):
            np.testing.assert_array_equal(y, x)


@pytest.mark.parametrize("dtype", ["INT4", "UINT4", "INT2"])
def test_packed_integers_are_kept(dtype):
    sub = models.Sub("main")
    x = sub.input((3, 5), dtype, shape_signature=(-1, 5))
    sub.op("ASSIGN_VARIABLE", [handle(sub), x])
    reads = [((3, 5), dtype, None), ((1, 5), dtype, (-1, 5))]
    content = models.serialize(
        sub.ends(*(sub.op("READ_VARIABLE", [handle(sub)], r) for r in reads))
    )
    low, high = {"INT4": (-8, 8), "UINT4": (0, 16), "INT2": (-2, 2)}[dtype]
    kind = np.uint8 if dtype == "UINT4" else np.int8
    value = np.random.default_rng(7).integers(low, high, (3, 5)).astype(kind)
    for y in run(runtime.Interpreter(model_content=content), value):
        np.testing.assert_array_equal(y, value)


def test_values_larger_than_declared_take_memory_that_grows():
    content = assign_and_read(((2,), "FLOAT32", (-1,)))
    interpreter = runtime.Interpreter(model_content=content)
    for size in (2, 3, 5000, 1, 40_000):
        x = np.arange(size, dtype=np.float32)
        np.testing.assert_array_equal(run(interpreter, x)[0], x)


def reading(declared: Any = (2,), dtype: str = "FLOAT32") -> bytes:
    """One signature assigns, another reads."""
    put, get = models.Sub("put"), models.Sub("get")
    x = put.input((2,))
    put.op("ASSIGN_VARIABLE", [handle(put), x])
    y = put.op("ADD", [x, x], ((2,),))
    value = get.op("READ_VARIABLE", [handle(get)], (declared, dtype))
    unused = get.input((1,))
    z = get.op("ABS", [unused], ((1,),))
    signatures = [
        models.ir.Signature("put", {"x": 0}, {"y": 0}, graph=0),
        models.ir.Signature("get", {"u": 0}, {"value": 0, "z": 1}, graph=1),
    ]
    return models.serialize(put.ends(y), get.ends(value, z), signatures=signatures)


def test_reading_before_assigning_is_said():
    interpreter = runtime.Interpreter(model_content=reading())
    put, get = (interpreter.get_signature_runner(key) for key in ("put", "get"))
    with pytest.raises(RilletError, match="'v' is read before anything") as caught:
        get(u=np.float32([1]))
    assert caught.value.status == "BAD_VALUE"
    put(x=np.float32([5, 6]))
    assert get(u=np.float32([1]))["value"].tolist() == [5, 6]


@pytest.mark.parametrize(
    ("declared", "dtype", "words"), [((3,), "FLOAT32", "another shape"), ((2,), "INT32", "holds")]
)
def test_reading_as_something_else_is_said(declared, dtype, words):
    interpreter = runtime.Interpreter(model_content=reading(declared, dtype))
    interpreter.get_signature_runner("put")(x=np.float32([5, 6]))
    with pytest.raises(RilletError, match=words):
        interpreter.get_signature_runner("get")(u=np.float32([1]))


def test_interpreters_of_one_model_have_variables_of_their_own():
    model = runtime.Model(model_content=models.counter())
    one, other = model.interpreter(), model.interpreter()
    x = np.float32([1, 2])
    assert run(one, x)[0].tolist() == [11, 12]
    assert run(one, x)[0].tolist() == [12, 14]
    assert run(other, x)[0].tolist() == [11, 12]


def test_containers_tell_variables_apart():
    sub = models.Sub("main")
    x, y = sub.input((1,)), sub.input((1,))
    sub.op("ASSIGN_VARIABLE", [handle(sub), x])
    sub.op("ASSIGN_VARIABLE", [handle(sub, container="d"), y])
    values = [sub.op("READ_VARIABLE", [handle(sub, container=c)], ((1,),)) for c in ("d", "c", "d")]
    content = models.serialize(sub.ends(*values))
    found = run(runtime.Interpreter(model_content=content), np.float32([1]), np.float32([2]))
    assert [v.tolist() for v in found] == [[2], [1], [2]]
