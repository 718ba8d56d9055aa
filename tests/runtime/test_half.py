# SPDX-License-Identifier: Apache-2.0
"""FLOAT16 tensors: what FLOAT32 gives, rounded once; complex and bfloat16 casts."""

from __future__ import annotations

import numpy as np
import pytest
from single_op import Arg, Out, const, error, integers, litert, run, single_op

UNARY = [
    *("ABS", "NEG", "EXP", "LOG", "SQRT", "RSQRT", "SIN", "COS", "SIGN", "CEIL", "FLOOR", "ROUND"),
    *("SQUARE", "GELU", "ELU", "RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "LOGISTIC", "TANH"),
    "HARD_SWISH",
]
BINARY = ["ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "PRELU"]
COMPARISONS = ["EQUAL", "NOT_EQUAL", "LESS", "GREATER", "LESS_EQUAL", "GREATER_EQUAL"]
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 65504, -65504, 6e-8, 6e-5]


def halves(shape, seed: int = 5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape).astype(np.float16) * np.float16(3)
    x.reshape(-1)[: len(SPECIAL)] = SPECIAL
    return x


def same(found: np.ndarray, wanted: np.ndarray) -> None:
    with np.errstate(over="ignore"):
        wanted = wanted.astype(found.dtype)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(wanted))


@pytest.mark.parametrize("op", UNARY)
def test_unary(op):
    x = halves((3, 700))
    same(run(single_op(op, [x])), run(single_op(op, [x.astype(np.float32)])))


@pytest.mark.parametrize("op", [op for op in UNARY if op not in ("SIGN", "LEAKY_RELU")])
def test_unary_agrees_with_litert(op):
    x = np.abs(halves((3, 700))[1:]) + np.float16(0.1)
    model = single_op(op, [x])
    assert error(run(model), litert(model)) < (5e-3 if op == "EXP" else 2e-3)


@pytest.mark.parametrize("op", BINARY)
@pytest.mark.parametrize("shape", [(3, 400), (400,), (3, 1), ()], ids=str)
def test_binary(op, shape):
    a, b = halves((3, 400)), np.asarray(halves((3, 400), 6)[0, 20])
    if shape:
        b = halves((3, 400), 6)[: shape[0] if len(shape) > 1 else 1, : shape[-1]].reshape(shape)
    real = run(single_op(op, [a.astype(np.float32), b.astype(np.float32)]))
    same(run(single_op(op, [a, b])), real)
    if op != "PRELU":
        real = run(single_op(op, [b.astype(np.float32), a.astype(np.float32)]))
        same(run(single_op(op, [b, a])), real)


@pytest.mark.parametrize("op", COMPARISONS)
def test_comparison(op):
    a, b = halves((3, 400)), halves((3, 400), 6)
    b[1] = a[1]
    model = single_op(op, [a, b], Out("BOOL"))
    np.testing.assert_array_equal(run(model), litert(model))


@pytest.mark.parametrize("op", ["SUM", "MEAN", "REDUCE_MAX", "REDUCE_MIN"])
@pytest.mark.parametrize("axes", [[0], [1], [0, 2], [0, 1, 2], []], ids=str)
def test_reduction(op, axes):
    x = halves((4, 30, 20))
    wanted = run(single_op(op, [x.astype(np.float32), const(axes)]))
    found = run(single_op(op, [x, const(axes)]))
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(found, wanted.astype(np.float16), rtol=2e-3)


def test_complex_casts_keep_the_real_part():
    z = np.complex64([1.5 - 2j, -3 + 1j])
    np.testing.assert_array_equal(run(single_op("CAST", [z], Out("FLOAT32"))), [1.5, -3])
    np.testing.assert_array_equal(run(single_op("CAST", [z], Out("INT32"))), [1, -3])
    np.testing.assert_array_equal(run(single_op("CAST", [np.int32([7])], Out("COMPLEX64"))), [7])
    np.testing.assert_array_equal(run(single_op("CAST", [z], Out("COMPLEX64"))), z)


def test_bfloat16_constants_are_cast():
    real = np.float32([1.5, -2, 3e38, 0])
    bits = (real.view(np.uint32) >> 16).astype(np.uint16)
    arg = Arg(bits, const=True, dtype="BFLOAT16")
    found = run(single_op("CAST", [arg], Out("FLOAT32")))
    np.testing.assert_array_equal(found.view(np.uint32), (bits.astype(np.uint32) << 16))


@pytest.mark.parametrize("op", ["FLOOR_DIV", "FLOOR_MOD"])
@pytest.mark.parametrize("dtype", ["INT8", "INT16"])
def test_small_integers_divide(op, dtype, rng):
    a, b = integers(rng, dtype, (500,)), integers(rng, dtype, (500,))
    b[b == 0] = 3
    model = single_op(op, [a, b])
    info = np.iinfo(dtype.lower())
    divide = np.floor_divide if op == "FLOOR_DIV" else np.mod
    whole = divide(a.astype(np.int32), b.astype(np.int32))
    kept = (whole >= info.min) & (whole <= info.max)
    np.testing.assert_array_equal(run(model)[kept], whole[kept])


@pytest.mark.parametrize("dtype", ["INT16", "UINT32"])
def test_small_integers_multiply(dtype, rng):
    a, b = integers(rng, dtype, (4, 500)), integers(rng, dtype, (500,))
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(run(single_op("MUL", [a, b])), a * b)
