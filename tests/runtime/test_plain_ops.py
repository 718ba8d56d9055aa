# SPDX-License-Identifier: Apache-2.0
"""Elementwise operators on plain types: ATAN2, bits, STABLEHLO_*, ADD_N, BITCAST, BUCKETIZE."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from single_op import OpModel, Out, check_exact, error, integers, litert, numbers, run, single_op

from runtime import RilletError

INTEGERS = ["int8", "int16", "int32", "uint8", "uint16", "uint32"]
BROADCASTS = [
    ((3, 5), (3, 5)),
    ((2, 7, 33), (33,)),
    ((4, 1, 3), (5, 1)),
    ((), (6,)),
    ((0, 3), (3,)),
]


# ---- ATAN2 ----


def test_atan2_is_close_to_exact(rng: Any) -> None:
    y, x = rng.normal(0, 3, (2, 50, 401)).astype(np.float32)
    model = single_op("ATAN2", [y, x])
    found = run(model)
    assert error(found, np.arctan2(y.astype(np.float64), x)) <= 1e-7
    assert error(found, litert(model)) <= 1e-6
    np.testing.assert_array_equal(run(model, threads=3), found)
    row = run(single_op("ATAN2", [y, x[0]]))
    np.testing.assert_array_equal(row, run(single_op("ATAN2", [y, np.tile(x[0], (50, 1))])))


def test_atan2_in_double_precision(rng: Any) -> None:
    y, x = rng.normal(0, 1, (2, 5000)) * 10 ** rng.uniform(-9, 9, (2, 5000))
    y[:5], x[:5] = [0.0, -0.0, np.inf, np.nan, 1], [-1.0, -1.0, -np.inf, 1, -0.0]
    model = single_op("ATAN2", [y, x])
    np.testing.assert_allclose(run(model), np.arctan2(y, x), rtol=8e-16)
    np.testing.assert_allclose(run(model), litert(model), rtol=8e-16)
    np.testing.assert_array_equal(np.signbit(run(model)[:2]), [False, True])


def test_atan2_of_special_values() -> None:
    values = np.float32([np.nan, np.inf, -np.inf, 0.0, -0.0, 1, -1, 1e-45, -1e-45, 3e38, 2])
    y, x = (grid.ravel() for grid in np.meshgrid(values, values))
    found = run(single_op("ATAN2", [y, x]))
    wanted = np.arctan2(y.astype(np.float64), x.astype(np.float64)).astype(np.float32)
    np.testing.assert_allclose(found, wanted, rtol=2e-7)
    known = ~np.isnan(wanted)
    np.testing.assert_array_equal(np.signbit(found[known]), np.signbit(wanted[known]))


# ---- bits ----


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("shapes", BROADCASTS, ids=str)
def test_bitwise_xor(dtype: str, shapes: Any, rng: Any) -> None:
    a, b = (integers(rng, dtype.upper(), shape) for shape in shapes)
    check_exact(single_op("BITWISE_XOR", [a, b]), a ^ b)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("shapes", BROADCASTS, ids=str)
def test_right_shift(dtype: str, shapes: Any, rng: Any) -> None:
    bits = np.dtype(dtype).itemsize * 8
    a = integers(rng, dtype.upper(), shapes[0])
    b = rng.integers(0, bits + 5, shapes[1]).astype(dtype)
    check_exact(single_op("RIGHT_SHIFT", [a, b]), a >> np.minimum(b, bits - 1))


def test_right_shift_by_a_negative_number_is_by_none() -> None:
    a, b = np.int32([-8, 77]), np.int32([-1, -(2**31)])
    check_exact(single_op("RIGHT_SHIFT", [a, b]), a)


# ---- STABLEHLO_* ----

ARITHMETIC = {
    "STABLEHLO_ADD": np.add,
    "STABLEHLO_MULTIPLY": np.multiply,
    "STABLEHLO_MAXIMUM": np.maximum,
    "STABLEHLO_MINIMUM": np.minimum,
}
NUMBERS = [*INTEGERS, "int64", "uint64", "float32", "float64", "bool"]


@pytest.mark.parametrize("op", ARITHMETIC)
@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("shape", [(5,), (3, 7), (), (0, 2), (20_001,)], ids=str)
def test_stablehlo_arithmetic(op: str, dtype: str, shape: Any, rng: Any) -> None:
    if dtype == "bool":
        a, b = rng.integers(0, 2, (2, *shape)).astype(bool)
    elif dtype.startswith("float"):
        a, b = rng.normal(0, 3, (2, *shape)).astype(dtype)
    else:
        a, b = integers(rng, dtype.upper(), (2, *shape))
    with np.errstate(all="ignore"):
        check_exact(single_op(op, [a, b]), ARITHMETIC[op](a, b))


def test_stablehlo_extremes_keep_nan() -> None:
    a, b = np.float32([np.nan, 1, np.nan]), np.float32([1, np.nan, np.nan])
    for op in ("STABLEHLO_MAXIMUM", "STABLEHLO_MINIMUM"):
        assert np.isnan(run(single_op(op, [a, b]))).all()


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint32", "bool"])
def test_stablehlo_and(dtype: str, rng: Any) -> None:
    a, b = integers(rng, "INT8", (2, 5, 9)).astype(dtype)
    check_exact(single_op("STABLEHLO_AND", [a, b]), a & b)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32"])
def test_stablehlo_shift_left(dtype: str, rng: Any) -> None:
    bits = np.dtype(dtype).itemsize * 8
    a = integers(rng, dtype.upper(), (50,))
    b = rng.integers(0, bits, 50).astype(dtype)
    check_exact(single_op("STABLEHLO_SHIFT_LEFT", [a, b]), a << b)
    beyond = np.array([bits, -1, 127], dtype)  # LiteRT leaves these to C, which does, too
    found = run(single_op("STABLEHLO_SHIFT_LEFT", [a[:3], beyond]))
    np.testing.assert_array_equal(found, np.zeros(3, dtype))


# ---- ADD_N ----


@pytest.mark.parametrize("dtype", ["float32", "int32"])
@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), (), (0, 2), (30_001,)], ids=str)
def test_add_n(dtype: str, count: int, shape: Any, rng: Any) -> None:
    args = list((rng.normal(0, 1000, (count, *shape))).astype(dtype))
    wanted = args[0].copy()
    for other in args[1:]:
        wanted = wanted + other
    check_exact(single_op("ADD_N", args), wanted)


# ---- BITCAST ----


@pytest.mark.parametrize("source", ["float32", "int32", "int64", "uint8", "int16", "uint32"])
@pytest.mark.parametrize("target", ["float32", "int32", "int8", "int16", "float64", "uint32"])
def test_bitcast(source: str, target: str, rng: Any) -> None:
    wide = np.dtype(target).itemsize // np.dtype(source).itemsize
    shape = (3, 4, wide) if wide > 1 else (3, 4)
    x = integers(rng, "UINT8", (*shape, np.dtype(source).itemsize)).view(source)[..., 0]
    narrow = np.dtype(source).itemsize // np.dtype(target).itemsize
    result = (3, 4, narrow) if narrow > 1 else (3, 4)
    wanted = np.frombuffer(x.tobytes(), target).reshape(result)
    found = run(single_op("BITCAST", [x], Out(target.upper())))
    assert found.shape == result and found.tobytes() == wanted.tobytes()


# ---- BUCKETIZE ----


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
def test_bucketize(dtype: str, rng: Any) -> None:
    boundaries = [-10.0, 0.0, 0.5, 3.0, 3.0, 100.0]
    x = np.concatenate([rng.normal(0, 40, 500), np.repeat(boundaries, 2)]).astype(dtype)
    wanted = np.searchsorted(np.float32(boundaries), x, "right").astype(np.int32)
    check_exact(single_op("BUCKETIZE", [x], Out("INT32"), boundaries=boundaries), wanted)


def test_bucketize_of_special_values_and_without_boundaries() -> None:
    x = np.float32([np.nan, np.inf, -np.inf, -0.0, 0.0])
    check_exact(
        single_op("BUCKETIZE", [x], Out("INT32"), boundaries=[0.0]), np.int32([1, 1, 0, 1, 1])
    )
    check_exact(
        single_op("BUCKETIZE", [x], Out("INT32"), boundaries=[]), np.zeros(5, np.int32), peer=False
    )


# ---- refusals ----

F, I32 = np.ones((2, 3), np.float32), np.ones((2, 3), np.int32)
REFUSED: list[tuple[str, OpModel, str]] = [
    ("atan2 type", single_op("ATAN2", [I32, I32]), "no kernel for INT32"),
    ("xor type", single_op("BITWISE_XOR", [F, F]), "no kernel for FLOAT32"),
    ("xor types", single_op("BITWISE_XOR", [I32, I32.astype(np.int8)]), "same type"),
    ("shift shapes", single_op("RIGHT_SHIFT", [I32, numbers((2,), "int32")]), "broadcast"),
    ("hlo shapes", single_op("STABLEHLO_ADD", [F, F[0]]), "same shape"),
    ("hlo and", single_op("STABLEHLO_AND", [F, F]), "no kernel for FLOAT32"),
    ("hlo half", single_op("STABLEHLO_ADD", [F.astype(np.float16)] * 2), "no kernel for FLOAT16"),
    ("one", single_op("ADD_N", [F]), "1 inputs"),
    ("add shapes", single_op("ADD_N", [F, F, F[0]]), "same shape"),
    ("add types", single_op("ADD_N", [F, F, I32]), "same type"),
    ("add type", single_op("ADD_N", [F > 0, F > 0]), "FLOAT32 or INT32"),
    ("cast up", single_op("BITCAST", [F.astype(np.int8)], Out("FLOAT32")), "last dimension"),
    (
        "bucket order",
        single_op("BUCKETIZE", [F], Out("INT32"), boundaries=[1.0, 0.0]),
        "ascending",
    ),
    ("bucket NaN", single_op("BUCKETIZE", [F], Out("INT32"), boundaries=[np.nan]), "ascending"),
    ("bucket type", single_op("BUCKETIZE", [F > 0], Out("INT32"), boundaries=[1.0]), "takes"),
    ("bucket output", single_op("BUCKETIZE", [F], Out("INT64"), boundaries=[1.0]), "INT32"),
]


@pytest.mark.parametrize(("name", "model", "words"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refusals_say_why(name: str, model: OpModel, words: str) -> None:
    with pytest.raises(RilletError, match=words):
        run(model)
