# SPDX-License-Identifier: Apache-2.0
"""Windows of more dimensions: CONV_3D, CONV_3D_TRANSPOSE, DILATE and REDUCE_WINDOW."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from single_op import (
    Arg,
    OpModel,
    Out,
    check_close,
    check_exact,
    const,
    integers,
    numbers,
    run,
    single_op,
)

from runtime import RilletError

# ---- CONV_3D, CONV_3D_TRANSPOSE ----


def conv_3d(
    op: str,
    shape: Any,
    outputs: int,
    kernel: Any,
    stride: Any = (1, 1, 1),
    dilation: Any = (1, 1, 1),
    padding: str = "SAME",
    act: str = "NONE",
    bias: bool = True,
    fixed: bool = True,
) -> OpModel:
    rng = np.random.default_rng(sum(shape) + outputs)
    options: dict[str, Any] = {"padding": padding, "fused_activation_function": act}
    for axis, s, d in zip("dhw", stride, dilation, strict=True):
        options |= {f"stride_{axis}": s, f"dilation_{axis}_factor": d}
    x = rng.normal(0, 1, shape).astype(np.float32)
    offset = [Arg(rng.normal(0, 1, outputs).astype(np.float32), const=True)] if bias else []
    if op == "CONV_3D":
        weights = rng.normal(0, 1, (*kernel, shape[4], outputs)).astype(np.float32)
        return single_op(op, [x, Arg(weights, const=fixed), *offset], **options)
    weights = rng.normal(0, 1, (*kernel, outputs, shape[4])).astype(np.float32)
    grown = [
        size * s if padding == "SAME" else (size - 1) * s + (k - 1) * d + 1
        for size, s, k, d in zip(shape[1:4], stride, kernel, dilation, strict=True)
    ]
    size = const([shape[0], *grown, outputs])
    return single_op(op, [size, Arg(weights, const=fixed), x, *offset], Out(), **options)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["CONV_3D", "CONV_3D_TRANSPOSE"]),
    st.tuples(*[st.integers(1, 2)], *[st.integers(5, 8)] * 3, st.integers(1, 20)),
    st.integers(1, 40),
    st.tuples(*[st.integers(1, 3)] * 3),
    st.tuples(*[st.integers(1, 3)] * 3),
    st.tuples(*[st.integers(1, 2)] * 3),
    st.sampled_from(["SAME", "VALID"]),
    st.sampled_from(["NONE", "RELU", "RELU6"]),
    st.booleans(),
)
def test_conv_3d(op, shape, outputs, kernel, stride, dilation, padding, act, bias) -> None:
    check_close(conv_3d(op, shape, outputs, kernel, stride, dilation, padding, act, bias))


@pytest.mark.parametrize("op", ["CONV_3D", "CONV_3D_TRANSPOSE"])
def test_conv_3d_of_computed_weights_nan_and_nothing(op: str) -> None:
    args = (op, (2, 3, 4, 5, 6), 33, (2, 3, 2))
    np.testing.assert_array_equal(run(conv_3d(*args, fixed=False)), run(conv_3d(*args)))
    model = conv_3d(op, (2, 3, 4, 5, 1), 2, (1, 1, 1))
    model.feeds[0][1, 0, 0, 0, 0] = np.nan
    found = run(model)
    assert np.isnan(found[1, 0, 0, 0]).all() and np.isnan(found).sum() == 2
    assert run(conv_3d(op, (0, 3, 4, 5, 6), 2, (1, 1, 1))).shape == (0, 3, 4, 5, 2)


# ---- DILATE ----


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=5),
    st.sampled_from(["float32", "int8", "int16", "int32", "int64", "bool", "complex64"]),
)
def test_dilate(dims: Any, dtype: str) -> None:
    shape, factors = zip(*dims, strict=True)
    x, value = numbers(shape, dtype), np.array(1, dtype)
    wanted = np.full([(s - 1) * f + 1 for s, f in dims], value)
    wanted[tuple(slice(None, None, f) for f in factors)] = x
    check_exact(single_op("DILATE", [x, const(factors), Arg(value, const=True)]), wanted)


def test_dilate_of_nothing() -> None:
    model = single_op("DILATE", [numbers((0, 3)), const([2, 2]), np.float32(1)])
    assert run(model).shape == (0, 5)


# ---- REDUCE_WINDOW ----

FUNCTIONS = {
    "ADD": np.add,
    "MUL": np.multiply,
    "MINIMUM": np.minimum,
    "MAXIMUM": np.maximum,
    "ALL": np.logical_and,
    "ANY": np.logical_or,
}


def lists(*values: Any) -> list[Arg]:
    return [const(v, np.int64) for v in values]


def reduced(x: np.ndarray, start: Any, function: str, size: Any, stride: Any, dilation: Any) -> Any:
    """The window one element at a time, in order."""
    shape = [
        max(0, (n - (k - 1) * d - 1) // s + 1)
        for n, k, s, d in zip(x.shape, size, stride, dilation, strict=True)
    ]
    out = np.full(shape, start, x.dtype)
    for tap in np.ndindex(*size):
        parts = [
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, n, s in zip(tap, dilation, shape, stride, strict=True)
        ]
        if out.size:
            out = FUNCTIONS[function](out, x[tuple(parts)]).astype(x.dtype)
    return out


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(list(FUNCTIONS)),
    st.sampled_from(["float32", "float64", "int8", "uint8", "int16", "int32", "int64", "bool"]),
    st.lists(
        st.tuples(st.integers(1, 6), st.integers(1, 3), st.integers(1, 3), st.integers(1, 2)),
        min_size=1,
        max_size=4,
    ),
)
def test_reduce_window(function: str, dtype: str, dims: Any) -> None:
    shape, size, stride, dilation = zip(*dims, strict=True)
    rng = np.random.default_rng(9)
    if dtype == "bool":
        x, start = rng.random(shape) < 0.7, np.array(function in ("ALL", "MUL", "MINIMUM"))
    elif dtype.startswith("float"):
        x, start = rng.normal(0, 1, shape).astype(dtype), np.array(0.5, dtype)
    else:
        x, start = integers(rng, dtype.upper(), shape), np.array(3, dtype)
    args = [x, Arg(start, const=True), *lists(size, stride, dilation)]
    model = single_op("REDUCE_WINDOW", args, reduce_function=function)
    wanted = reduced(x, start, function, size, stride, dilation)
    odd = dtype == "bool" and function in ("ADD", "MUL")  # LiteRT adds and multiplies the bytes
    check_exact(model, wanted, peer=not odd)


def test_reduce_window_of_nan_and_zero_sizes() -> None:
    x = np.float32([1, np.nan, 3, 4, np.inf])
    for function in ("MAXIMUM", "MINIMUM", "ADD"):
        args = [x, np.float32(2), *lists([2], [1], [1])]
        found = run(single_op("REDUCE_WINDOW", args, reduce_function=function))
        assert np.isnan(found).tolist() == [True, True, False, False]
    args = [x[:0], np.float32(2), *lists([2], [1], [1])]
    assert run(single_op("REDUCE_WINDOW", args, reduce_function="ADD")).shape == (0,)


# ---- refusals ----

F5, F1 = np.ones((1, 4, 4, 4, 3), np.float32), np.ones(5, np.float32)
W = np.ones((2, 2, 2, 3, 5), np.float32)
ZERO = np.float32(0)
STRIDES = {"stride_d": 1, "stride_h": 1, "stride_w": 1}


def window(x: Any = F1, start: Any = ZERO, function: str = "ADD", **lengths: Any) -> OpModel:
    size, stride, dilation = (lengths.get(k, [1]) for k in ("size", "stride", "dilation"))
    args = [x, start, *lists(size, stride, dilation)]
    return single_op("REDUCE_WINDOW", args, reduce_function=function)


REFUSED: list[tuple[str, OpModel, str]] = [
    ("rank", single_op("CONV_3D", [F5[0], W], **STRIDES), "5 dimensions"),
    ("channels", single_op("CONV_3D", [F5[..., :2], W], **STRIDES), "take 3 channels"),
    ("type", single_op("CONV_3D", [F5.astype(np.int8), W], **STRIDES), "takes FLOAT32"),
    ("stride", single_op("CONV_3D", [F5, W], **{**STRIDES, "stride_d": 0}), "stride 0"),
    ("bias", single_op("CONV_3D", [F5, W, F1[:4]], **STRIDES), "must have 5 values"),
    ("fits", single_op("CONV_3D", [F5[:, :1], W], padding="VALID", **STRIDES), "does not fit"),
    (
        "output shape",
        single_op("CONV_3D_TRANSPOSE", [const([1, 4, 4, 4, 5]), W, F5], Out(), **STRIDES),
        "take 5 channels",
    ),
    (
        "output channels",
        single_op("CONV_3D_TRANSPOSE", [const([1, 4, 4, 4, 5]), W[..., :3], F5], Out(), **STRIDES),
        "no output shape",
    ),
    ("factor", single_op("DILATE", [F1, const([0]), F1[0]]), "dilated by 0"),
    ("factors", single_op("DILATE", [F1, const([1, 1]), F1[0]]), "one factor per dimension"),
    ("between", single_op("DILATE", [F1, const([2]), F1[:2]]), "one value"),
    ("far", single_op("DILATE", [F1, const([2**31 - 1]), F1[0]]), "too much"),
    ("window", window(size=[0]), "holds 0 for dimension 0"),
    ("window rank", window(stride=[1, 1]), "one per dimension"),
    ("window type", window(F1.astype(np.uint32), np.uint32(0)), "FLOAT32 or FLOAT64"),
    ("window start", window(start=F1), "one value"),
    ("function", window(function="UNSUPPORTED"), "reduce function 0"),
]


@pytest.mark.parametrize(("name", "model", "words"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refusals_say_why(name: str, model: OpModel, words: str) -> None:
    with pytest.raises(RilletError, match=words):
        run(model)
