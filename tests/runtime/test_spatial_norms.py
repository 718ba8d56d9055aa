# SPDX-License-Identifier: Apache-2.0
"""L2_NORMALIZATION, LOCAL_RESPONSE_NORMALIZATION and L2_POOL_2D against LiteRT."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from single_op import ISAS, Arg, OpModel, Out, error, integers, litert, run, single_op

from runtime import RilletError

ZERO = {"INT8": 0, "UINT8": 128}  # of L2_NORMALIZATION's output


def same_everywhere(model: OpModel) -> np.ndarray:
    found = run(model)
    for isa in ISAS:
        assert run(model, isa=isa).tobytes() == found.tobytes(), isa
    assert run(model, threads=3).tobytes() == found.tobytes()
    return found


# ---- L2_NORMALIZATION ----


@pytest.mark.parametrize("dtype", ["INT8", "UINT8"])
def test_l2_of_integers_equals_litert(dtype: str, rng: Any) -> None:
    seen, low = 0, -128 + ZERO[dtype]
    while seen < 100_000:
        width = int(rng.choice([1, 2, 3, 8, 50, 300, 2000]))
        zero = int(rng.integers(low, low + 256))
        x = integers(rng, dtype, (int(rng.integers(1, 40)), width))
        if rng.random() < 0.5:  # small sums
            x = np.clip(zero + rng.integers(-2, 3, x.shape), low, low + 255).astype(x.dtype)
        model = single_op(
            "L2_NORMALIZATION", [Arg(x, 0.03, zero)], Out(dtype, 1 / 128, ZERO[dtype])
        )
        found = same_everywhere(model)
        np.testing.assert_array_equal(found, litert(model))
        seen += found.size


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.sampled_from([1e-30, 1e-6, 1, 1e15]))
def test_l2_of_floats(shape: list[int], scale: float) -> None:
    x = np.random.default_rng(4).normal(0, scale, shape).astype(np.float32)
    model = single_op("L2_NORMALIZATION", [x])
    found = same_everywhere(model)
    norm = np.sqrt((x.astype(np.float64) ** 2).sum(-1, keepdims=True))
    assert error(found, x / np.maximum(norm, 1e-6)) <= 1e-6
    assert error(found, litert(model)) <= 1e-5


def test_l2_of_special_values() -> None:
    x = np.float32([[1, np.nan, 2], [np.inf, 1, -1], [0, -0.0, 0], [3, 4, 0]])
    found = run(single_op("L2_NORMALIZATION", [x]))
    assert np.isnan(found[0]).all()
    assert np.isnan(found[1, 0]) and (found[1, 1:] == 0).all()
    np.testing.assert_array_equal(found[2:], np.float32([[0, 0, 0], [0.6, 0.8, 0]]))
    assert np.signbit(found[2, 1])
    assert run(single_op("L2_NORMALIZATION", [x[:0]])).shape == (0, 3)
    assert run(single_op("L2_NORMALIZATION", [x[:, :0]])).shape == (4, 0)


# ---- LOCAL_RESPONSE_NORMALIZATION ----


def response(x: np.ndarray, radius: int, bias: float, alpha: float, beta: float) -> OpModel:
    options = {"radius": radius, "bias": bias, "alpha": alpha, "beta": beta}
    return single_op("LOCAL_RESPONSE_NORMALIZATION", [x], **options)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 70)),
    st.integers(0, 80),
    st.sampled_from([0.5, 1.0, 2.0]),
    st.sampled_from([1e-4, 0.01, 1.0]),
    st.sampled_from([0.5, 0.75, 1.0, 0.0, -1.0]),
)
def test_response(shape: Any, radius: int, bias: float, alpha: float, beta: float) -> None:
    x = np.random.default_rng(5).normal(0, 2, shape).astype(np.float32)
    model = response(x, radius, bias, alpha, beta)
    found = same_everywhere(model)
    squares = np.pad(x.astype(np.float64) ** 2, [(0, 0)] * 3 + [(radius, radius)])
    sums = np.stack([squares[..., c : c + 2 * radius + 1].sum(-1) for c in range(shape[3])], -1)
    assert error(found, x * (bias + alpha * sums) ** -beta) <= 1e-5
    assert error(found, litert(model)) <= 1e-5


def test_response_of_special_values() -> None:
    x = np.float32([[[[1, np.nan, 1, 1, 1, np.inf, 1, 1]]]])
    found = run(response(x, 1, 1.0, 1.0, 0.5))[0, 0, 0]
    assert np.isnan(found[:3]).all() and np.isfinite(found[3]) and np.isnan(found[5])
    np.testing.assert_array_equal(found[[4, 6]], [0, 0])
    zeros = run(response(np.zeros((1, 1, 1, 3), np.float32), 1, 0.0, 1.0, 0.5))
    assert np.isnan(zeros).all()  # 0 times 0^-0.5
    minus = run(response(np.ones((1, 1, 1, 2), np.float32), 0, -3.0, 1.0, 1.0))
    np.testing.assert_array_equal(minus, np.full((1, 1, 1, 2), -0.5, np.float32))
    assert run(response(x[:0], 1, 1.0, 1.0, 0.5)).shape == (0, 1, 1, 8)
    assert run(response(x, 2**31 - 1, 1.0, 1.0, 0.5)).shape == x.shape


# ---- L2_POOL_2D ----


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 2), st.integers(5, 9), st.integers(5, 9), st.integers(1, 20)),
    st.tuples(*[st.integers(1, 4)] * 4),
    st.sampled_from(["SAME", "VALID"]),
    st.sampled_from(["NONE", "RELU", "RELU6", "RELU_N1_TO_1"]),
)
def test_l2_pool(shape: Any, window: Any, padding: str, act: str) -> None:
    x = np.random.default_rng(6).normal(0, 2, shape).astype(np.float32)
    names = ("filter_height", "filter_width", "stride_h", "stride_w")
    options = {**dict(zip(names, window, strict=True)), "padding": padding}
    model = single_op("L2_POOL_2D", [x], fused_activation_function=act, **options)
    assert error(same_everywhere(model), litert(model)) <= 1e-6


# ---- refusals ----

F4 = np.ones((1, 4, 4, 8), np.float32)
I8 = Arg(F4.astype(np.int8), 0.1)
POOL = {"filter_height": 2, "filter_width": 2, "stride_h": 1, "stride_w": 1}
REFUSED: list[tuple[str, OpModel, str]] = [
    ("l2 scale", single_op("L2_NORMALIZATION", [I8], Out("INT8", 1 / 64)), "1/128"),
    ("l2 zero", single_op("L2_NORMALIZATION", [I8], Out("INT8", 1 / 128, 3)), "zero point 0"),
    ("l2 type", single_op("L2_NORMALIZATION", [F4.astype(np.int32)]), "FLOAT32, INT8"),
    (
        "l2 activation",
        single_op("L2_NORMALIZATION", [F4], fused_activation_function="RELU"),
        "activation",
    ),
    ("l2 scalar", single_op("L2_NORMALIZATION", [np.float32(3)]), "no dimension"),
    ("response type", single_op("LOCAL_RESPONSE_NORMALIZATION", [I8]), "FLOAT32"),
    ("response radius", response(F4, -1, 1.0, 1.0, 1.0), "radius -1"),
    ("pool type", single_op("L2_POOL_2D", [I8], **POOL), "takes FLOAT32 here"),
    ("pool stride", single_op("L2_POOL_2D", [F4], **{**POOL, "stride_h": 0}), "stride 0"),
]


@pytest.mark.parametrize(("name", "model", "words"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refusals_say_why(name: str, model: OpModel, words: str) -> None:
    with pytest.raises(RilletError, match=words):
        run(model)
