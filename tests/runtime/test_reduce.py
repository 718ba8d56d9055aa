# SPDX-License-Identifier: Apache-2.0
"""Reductions, pooling, softmax and arg-max on float32 and plain integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from single_op import ISAS, Arg, OpModel, Out, const, error, litert, run, single_op

from runtime import RilletError

TOLERANCE = 1e-5
REDUCTIONS = {
    "MEAN": np.mean,
    "SUM": np.sum,
    "REDUCE_PROD": np.prod,
    "REDUCE_MAX": np.max,
    "REDUCE_MIN": np.min,
}
# Shape and axes: innermost kept and reduced, several of either, none, all, repeated, size 1.
LAYOUTS = [
    ((2, 7, 7, 33), [1, 2]),
    ((3, 5, 40), [2]),
    ((3, 5, 40), [-1]),
    ((4, 6, 5, 3), [0, 3]),
    ((4, 6, 5, 3), [0, 2]),
    ((64, 50), [0]),
    ((2, 3, 4), [0, 1, 2]),
    ((2, 3, 4), []),
    ((2, 3, 4), [1, 1, -2]),
    ((1, 6, 1, 5, 1), [0, 1, 4]),
    ((1, 1), [0]),
    ((2, 1, 600), [1]),
    ((2, 2, 2, 3, 2, 3), [0, 2, 4]),
    ((), []),
    ((300, 3, 300), [0, 2]),
]


@pytest.mark.parametrize("op", REDUCTIONS)
@pytest.mark.parametrize(("shape", "axes"), LAYOUTS, ids=str)
@pytest.mark.parametrize("keep", [False, True])
def test_float_reductions(op: str, shape: Any, axes: list[int], keep: bool, rng: Any) -> None:
    x = rng.normal(0, 1, shape).astype(np.float32)
    if op == "REDUCE_PROD":
        x = (1 + x / 1000).astype(np.float32)
    model = single_op(op, [x, const(axes)], Out(), keep_dims=keep)
    along = tuple({axis % len(shape) for axis in axes})
    wanted = REDUCTIONS[op](x.astype(np.float64), axis=along, keepdims=keep)
    found = run(model)
    assert error(found, wanted) <= TOLERANCE
    np.testing.assert_array_equal(run(model, threads=3), found)
    for isa in ISAS:
        np.testing.assert_array_equal(run(model, isa=isa), found)
    if axes:
        assert error(found, litert(model)) <= 2 * TOLERANCE


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("op", REDUCTIONS)
def test_integer_reductions(op: str, dtype: Any, rng: Any) -> None:
    x = rng.integers(-9, 9, (5, 6, 7)).astype(dtype)
    wanted = REDUCTIONS[op](x, axis=(0, 2))
    wanted = np.trunc(wanted) if op == "MEAN" else wanted
    model = single_op(op, [x, const([0, 2])], keep_dims=False)
    np.testing.assert_array_equal(run(model), wanted.astype(dtype))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16])
def test_products_of_plain_small_integers_wrap(dtype: Any, rng: Any) -> None:
    x = rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, (50, 6, 41), endpoint=True)
    model = single_op("REDUCE_PROD", [x.astype(dtype), const([1])])
    found = run(model)
    wrapped = np.multiply.reduce(x.astype(np.uint64) & 0xFFFF, axis=1).astype(dtype)
    np.testing.assert_array_equal(found, wrapped)
    np.testing.assert_array_equal(found, litert(model))
    empty = single_op("REDUCE_PROD", [np.zeros((0, 3), dtype), const([0])])
    np.testing.assert_array_equal(run(empty), np.ones(3, dtype))


def test_an_empty_product_is_one_in_the_output_scale() -> None:
    x = Arg(np.zeros((0, 3), np.int8), 0.5, 3)
    found = run(single_op("REDUCE_PROD", [x, const([0])], Out("INT8", 0.1, -4)))
    np.testing.assert_array_equal(found, np.full(3, 10 - 4, np.int8))


@pytest.mark.parametrize(("op", "exact"), [("REDUCE_ANY", np.any), ("REDUCE_ALL", np.all)])
def test_bool_reductions(op: str, exact: Any, rng: Any) -> None:
    x = rng.random((4, 3, 5)) < 0.5
    for axes in ([0], [1, 2]):
        found = run(single_op(op, [x, const(axes)], keep_dims=False))
        np.testing.assert_array_equal(found, exact(x, axis=tuple(axes)))


def test_sums_do_not_lose_small_values() -> None:
    x = np.full((1, 1 << 20), 0.1, np.float32)
    found = run(single_op("SUM", [x, const([1])]))
    assert error(found, x.astype(np.float64).sum(axis=1)) < 1e-7


@pytest.mark.parametrize("op", ["SUM", "MEAN", "REDUCE_MAX", "REDUCE_MIN"])
def test_rows_of_every_length(op: str, rng: Any) -> None:
    """Every value counts once, wherever it stands in a row and whatever the row leaves over."""
    for n in [*range(1, 52), 63, 64, 65, 97]:
        x = rng.normal(0, 1, (3, n)).astype(np.float32)
        x[2] = np.eye(1, n, int(rng.integers(n)))[0]
        model = single_op(op, [x, const([1])], Out(), keep_dims=False)
        wanted = REDUCTIONS[op](x.astype(np.float64), axis=1)
        for isa in ISAS:
            assert error(run(model, isa=isa), wanted) <= 1e-6
        odd = np.repeat(x[:1], n, 0)
        np.fill_diagonal(odd, np.nan)
        assert np.isnan(run(single_op(op, [odd, const([1])], Out(), keep_dims=False))).all()


def test_nothing_to_reduce_gives_the_neutral_value() -> None:
    x = np.zeros((2, 0, 3), np.float32)
    neutral = {
        "SUM": 0,
        "REDUCE_PROD": 1,
        "REDUCE_MAX": -np.inf,
        "REDUCE_MIN": np.inf,
        "MEAN": np.nan,
    }
    for op, value in neutral.items():
        found = run(single_op(op, [x, const([1])], keep_dims=False))
        np.testing.assert_array_equal(found, np.full((2, 3), value, np.float32))
    assert run(single_op("SUM", [x, const([0])], keep_dims=False)).shape == (0, 3)


@pytest.mark.parametrize("op", ["REDUCE_MAX", "REDUCE_MIN", "SUM"])
def test_nan_is_kept(op: str) -> None:
    x = np.array([[1, np.nan, 3], [1, 2, 3], [np.inf, 0, -np.inf]], np.float32)
    for axis in (0, 1):
        found = run(single_op(op, [x, const([axis])], keep_dims=False))
        with np.errstate(invalid="ignore"):
            np.testing.assert_array_equal(found, REDUCTIONS[op](x, axis=axis))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_axes_of_any_shape(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=6))
    axes = data.draw(st.lists(st.integers(-len(shape), len(shape) - 1), max_size=len(shape)))
    x = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    keep = data.draw(st.booleans())
    along = tuple({axis % len(shape) for axis in axes})
    found = run(single_op("SUM", [x, const(axes)], keep_dims=keep))
    np.testing.assert_array_equal(found, x.sum(axis=along, keepdims=keep))


# ---- pooling ----


def pooled(x: np.ndarray, window: Any, stride: Any, same: bool, average: bool) -> np.ndarray:
    """The definition, in float64; padding takes no part."""
    (height, width), origin, size = x.shape[1:3], [0, 0], [0, 0]
    for i, full in enumerate((height, width)):
        size[i] = -(-full // stride[i]) if same else (full - window[i]) // stride[i] + 1
        origin[i] = max(0, (size[i] - 1) * stride[i] + window[i] - full) // 2 if same else 0
    y = np.zeros((x.shape[0], *size, x.shape[3]))
    for i in range(size[0]):
        for j in range(size[1]):
            top, left = i * stride[0] - origin[0], j * stride[1] - origin[1]
            part = x[:, max(top, 0) : top + window[0], max(left, 0) : left + window[1]]
            y[:, i, j] = (np.mean if average else np.max)(part.astype(np.float64), axis=(1, 2))
    return y


@pytest.mark.parametrize("op", ["MAX_POOL_2D", "AVERAGE_POOL_2D"])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("window", [(2, 2), (3, 3), (1, 4), (5, 2), (11, 13), (1, 1)], ids=str)
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (3, 1), (2, 5)], ids=str)
def test_float_pooling(op: str, padding: str, window: Any, stride: Any, rng: Any) -> None:
    x = rng.normal(0, 3, (2, 11, 13, 19)).astype(np.float32)
    for activation, (low, high) in {"NONE": (-np.inf, np.inf), "RELU6": (0, 6)}.items():
        model = single_op(
            op,
            [x],
            filter_height=window[0],
            filter_width=window[1],
            stride_h=stride[0],
            stride_w=stride[1],
            padding=padding,
            fused_activation_function=activation,
        )
        wanted = pooled(x, window, stride, padding == "SAME", op == "AVERAGE_POOL_2D")
        found = run(model)
        assert error(found, np.clip(wanted, low, high)) <= TOLERANCE
        np.testing.assert_array_equal(run(model, threads=3), found)
        assert error(found, litert(model)) <= TOLERANCE


# ---- softmax ----


@pytest.mark.parametrize("op", ["SOFTMAX", "LOG_SOFTMAX"])
@pytest.mark.parametrize(
    "shape", [(1, 10), (3, 4, 5), (7,), (2, 3001), (5, 1), (0, 4), (40, 1000)], ids=str
)
def test_float_softmax(op: str, shape: Any, rng: Any) -> None:
    x = rng.normal(0, 4, shape).astype(np.float32)
    for beta in (1.0, 0.25) if op == "SOFTMAX" else (1.0,):
        scaled = np.float64(x) * beta
        shifted = scaled - scaled.max(axis=-1, keepdims=True, initial=-1e9)
        wanted = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        wanted = np.exp(wanted) if op == "SOFTMAX" else wanted
        model = single_op(op, [x], **({"beta": beta} if op == "SOFTMAX" else {}))
        found = run(model)
        assert error(found, wanted) <= TOLERANCE
        np.testing.assert_array_equal(run(model, threads=3), found)
        if x.size:
            assert error(found, litert(model)) <= TOLERANCE


def test_softmax_of_a_row_does_not_depend_on_the_others(rng: Any) -> None:
    """Rows go through the loops together."""
    for n in [1, 2, 3, 9, 17, 40, 63, 64, 129, 700, 2100]:
        x = rng.normal(0, 3, (19, n)).astype(np.float32)
        for isa in ISAS:
            together = run(single_op("SOFTMAX", [x], beta=1.5), isa=isa)
            for row in (0, 7, 18):
                alone = run(single_op("SOFTMAX", [x[row : row + 1]], beta=1.5), isa=isa)
                np.testing.assert_array_equal(together[row], alone[0])
            assert error(together.sum(axis=1), np.ones(19)) <= TOLERANCE


def test_softmax_of_large_and_infinite_values() -> None:
    x = np.array([[1e30, 0, -1e30], [-np.inf, 0, 0], [88, 1000, 1000]], np.float32)
    found = run(single_op("SOFTMAX", [x], beta=1.0))
    np.testing.assert_array_equal(found, [[1, 0, 0], [0, 0.5, 0.5], [0, 0.5, 0.5]])
    nan = run(single_op("SOFTMAX", [np.array([[np.nan, 1]], np.float32)], beta=1.0))
    assert np.isnan(nan).all()


# ---- arg-max ----


@pytest.mark.parametrize(("op", "exact"), [("ARG_MAX", np.argmax), ("ARG_MIN", np.argmin)])
@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8", "int32"])
@pytest.mark.parametrize("index", ["INT32", "INT64"])
def test_arg_extreme(op: str, exact: Any, dtype: str, index: str, rng: Any) -> None:
    x = rng.integers(0, 9, (4, 5, 6)).astype(dtype)  # with ties: the first wins
    for axis in (0, 1, 2, -1):
        model = single_op(op, [x, const(axis)], Out(index), output_type=index)
        found = run(model)
        np.testing.assert_array_equal(found, exact(x, axis=axis))
        np.testing.assert_array_equal(found, litert(model))


# ---- refusals ----

F = np.ones((2, 3, 3, 4), np.float32)
WINDOW = {"filter_height": 2, "filter_width": 2, "stride_h": 1, "stride_w": 1}
REFUSED: list[tuple[str, OpModel, str]] = [
    ("axis", single_op("SUM", [F, const([4])]), "axis 4 is out of range"),
    ("axes of another type", single_op("SUM", [F, const([1.0], np.float32)]), "INT32 or INT64"),
    ("bool sum", single_op("SUM", [F > 0, const([1])]), "no kernel for BOOL"),
    ("one input", single_op("MEAN", [F]), "1 inputs"),
    (
        "scales of a maximum",
        single_op("REDUCE_MAX", [Arg(F.astype(np.int8), 0.1), const([1])], Out("INT8", 0.3)),
        "same scale",
    ),
    ("pool rank", single_op("MAX_POOL_2D", [F[0]], **WINDOW), "4 dimensions"),
    ("pool stride", single_op("MAX_POOL_2D", [F], **{**WINDOW, "stride_h": 0}), "1 or more"),
    (
        "pool window",
        single_op("MAX_POOL_2D", [F], **{**WINDOW, "filter_height": 4}, padding="VALID"),
        "does not fit",
    ),
    (
        "pool scales",
        single_op("AVERAGE_POOL_2D", [Arg(F.astype(np.int8), 0.1)], Out("INT8", 0.2), **WINDOW),
        "same scale",
    ),
    (
        "pool activation",
        single_op("MAX_POOL_2D", [F], **WINDOW, fused_activation_function="TANH"),
        "activation",
    ),
    ("softmax type", single_op("SOFTMAX", [F.astype(np.int32)], beta=1.0), "FLOAT32"),
    ("softmax of a scalar", single_op("SOFTMAX", [np.float32(1)], beta=1.0), "no dimension"),
    ("arg axis", single_op("ARG_MAX", [F, const(5)], Out("INT32")), "out of range"),
    ("arg type", single_op("ARG_MAX", [F, const(1)], Out("FLOAT32")), "INT32 or INT64"),
    ("arg of nothing", single_op("ARG_MAX", [F[:, :0], const(1)], Out("INT32")), "empty"),
]


@pytest.mark.parametrize(("name", "model", "words"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refusals_say_why(name: str, model: OpModel, words: str) -> None:
    with pytest.raises(RilletError, match=words):
        run(model)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float32"])
def test_sums_have_the_same_bits_on_every_isa(dtype: str, rng: Any) -> None:
    """Channels below, at and beyond the vectors that stay in registers; one and several axes."""
    for channels in (3, 16, 40, 64, 100, 300):
        for axes in ([1, 2], [1], [3], [0, 2], [2, 3], [1, 3], [0, 1, 2, 3]):
            x = (rng.standard_normal((2, 5, 7, channels)) * 60 + 64).astype(dtype)
            quantized = dtype != "float32"
            out = Out(dtype.upper(), 0.6, 5) if quantized else Out()
            one = single_op("MEAN", [Arg(x, 0.5, 9) if quantized else Arg(x), const(axes)], out)
            found = run(one)
            if quantized:
                np.testing.assert_array_equal(found, litert(one))
            for isa in ISAS:
                assert run(one, isa=isa, threads=2).tobytes() == found.tobytes()
