# SPDX-License-Identifier: Apache-2.0
"""MediaPipe's MaxPoolingWithArgmax2D and MaxUnpooling2D, which LiteRT has no kernels for."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from single_op import OpModel, Out, numbers, run, run_all, single_op

from runtime import RilletError

PADDING = {"SAME": 1, "VALID": 2}
ACTIVATION = {"NONE": 0, "RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}


def options(kernel: Any, stride: Any, padding: str, act: str = "NONE") -> bytes:
    """TfLitePoolParams, whose fields go width first."""
    fields = (PADDING[padding], stride[1], stride[0], kernel[1], kernel[0], ACTIVATION[act])
    return struct.pack("<6i", *fields)


def pool(x: np.ndarray, *window: Any) -> OpModel:
    outs = [Out(), Out()]
    return single_op("MaxPoolingWithArgmax2D", [x], outs, custom_options=options(*window))


def unpool(x: np.ndarray, places: np.ndarray, *window: Any) -> OpModel:
    return single_op("MaxUnpooling2D", [x, places], Out(), custom_options=options(*window))


def steps(size: int, kernel: int, stride: int, padding: str) -> tuple[int, int]:
    """Output size and the padding before the input."""
    if padding == "VALID":
        return (size - kernel) // stride + 1, 0
    out = -(-size // stride)
    return out, max(0, (out - 1) * stride + kernel - size) // 2


def pooled(x: np.ndarray, kernel: Any, stride: Any, padding: str) -> tuple[np.ndarray, np.ndarray]:
    (high, top), (wide, left) = (
        steps(x.shape[1 + i], kernel[i], stride[i], padding) for i in range(2)
    )
    best = np.full((x.shape[0], high, wide, x.shape[3]), -np.inf, np.float32)
    places = np.zeros_like(best)
    for n, y, col, c in np.ndindex(*best.shape):
        for i, j in np.ndindex(*kernel):
            row, column = y * stride[0] - top + i, col * stride[1] - left + j
            inside = 0 <= row < x.shape[1] and 0 <= column < x.shape[2]
            if inside and x[n, row, column, c] > best[n, y, col, c]:
                best[n, y, col, c] = x[n, row, column, c]
                places[n, y, col, c] = np.float32(i * kernel[1] + j) + np.float32(0.1)
    return best, places


@settings(max_examples=50, deadline=None)
@given(
    st.tuples(st.integers(1, 2), st.integers(4, 7), st.integers(4, 7), st.integers(1, 5)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.sampled_from(["SAME", "VALID"]),
    st.sampled_from(list(ACTIVATION)),
)
def test_pooling(shape: Any, kernel: Any, stride: Any, padding: str, act: str) -> None:
    x = np.random.default_rng(2).integers(-4, 9, shape).astype(np.float32)  # with ties
    model = pool(x, kernel, stride, padding, act)
    found = run_all(model)
    values, places = pooled(x, kernel, stride, padding)
    low, high = {"NONE": (-99, 99), "RELU": (0, 99), "RELU6": (0, 6)}.get(act, (-1, 1))
    np.testing.assert_array_equal(found[0], values.clip(low, high))
    np.testing.assert_array_equal(found[1], places)
    for one, three in zip(found, run_all(model, threads=3), strict=True):
        np.testing.assert_array_equal(one, three)


def test_pooling_of_nan_and_minus_infinity() -> None:
    x = np.float32([[1, np.nan, 5], [-np.inf, -np.inf, -np.inf]]).reshape(1, 2, 3, 1)
    values, places = run_all(pool(x, (1, 3), (1, 3), "VALID"))
    assert np.isnan(values[0, 0, 0, 0]) and np.isneginf(values[0, 1, 0, 0])
    np.testing.assert_array_equal(places.ravel(), np.float32([1.1, 0.1]))
    assert run(pool(x[:0], (1, 1), (1, 1), "SAME")).shape == (0, 2, 3, 1)


@pytest.mark.parametrize("kernel", [(2, 2), (3, 2), (1, 4)])
def test_unpooling_puts_back_what_pooling_took(kernel: Any) -> None:
    shape = (2, 4 * kernel[0], 3 * kernel[1], 5)
    x = np.random.default_rng(3).permutation(np.prod(shape)).reshape(shape).astype(np.float32) + 1
    values, places = run_all(pool(x, kernel, kernel, "SAME"))
    model = unpool(values, places, kernel, kernel, "SAME")
    found = run(model)
    back = values.repeat(kernel[0], 1).repeat(kernel[1], 2)
    np.testing.assert_array_equal(found, np.where(x == back, x, 0))
    np.testing.assert_array_equal(run(model, threads=3), found)


def test_places_outside_the_window_are_left_out() -> None:
    x, places = numbers((1, 2, 2, 1)), np.float32([0.1, 4.1, -1, np.nan]).reshape(1, 2, 2, 1)
    found = run(unpool(x, places, (2, 2), (2, 2), "SAME"))
    assert found[0, 0, 0, 0] == 1 and np.count_nonzero(found) == 1
    places[...] = [[[[np.inf], [-np.inf]], [[1e30], [3.1]]]]
    found = run(unpool(x, places, (2, 2), (2, 2), "SAME"))
    assert found[0, 3, 3, 0] == 4 and np.count_nonzero(found) == 1


def test_windows_that_overlap_let_the_last_win() -> None:
    x = numbers((1, 1, 3, 1))
    found = run(unpool(x, np.float32([1.1, 0.1, 0.1]).reshape(x.shape), (1, 2), (1, 1), "VALID"))
    np.testing.assert_array_equal(found.ravel(), [0, 2, 3, 0, 0, 0])


X = numbers((1, 4, 4, 2))
NO_OPTIONS = single_op("MaxPoolingWithArgmax2D", [X], [Out()] * 2, custom_options=b"")
REFUSED: list[tuple[str, OpModel, str]] = [
    ("no options", NO_OPTIONS, "padding 0"),
    ("stride", pool(X, (2, 2), (0, 1), "SAME"), "strides 0 and 1"),
    ("window", unpool(X, X, (0, 2), (1, 1), "SAME"), "window 0 x 2"),
    ("fits", pool(X, (5, 2), (1, 1), "VALID"), "does not fit"),
    ("wide", pool(X, (2**11, 2**11), (1, 1), "SAME"), "does not tell apart"),
    ("rank", pool(X[0], (2, 2), (1, 1), "SAME"), "4 dimensions"),
    ("type", pool(X.astype(np.int32), (2, 2), (1, 1), "SAME"), "FLOAT32"),
    ("shapes", unpool(X, X[:, :2], (2, 2), (2, 2), "SAME"), "same shape"),
    ("far", unpool(X, X, (2, 2), (2**30, 1), "SAME"), "too much"),
]


@pytest.mark.parametrize(("name", "model", "words"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refusals_say_why(name: str, model: OpModel, words: str) -> None:
    with pytest.raises(RilletError, match=words):
        run(model)
