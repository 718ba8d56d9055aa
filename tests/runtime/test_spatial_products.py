# SPDX-License-Identifier: Apache-2.0
"""Matrix products with a shape of their own: TRANSPOSE_CONV, BATCH_MATMUL, CONV_3D."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from single_op import Arg, OpModel, Out, check_close, const, litert, run, single_op

from runtime import RilletError

FLOAT, INT8, HYBRID = "FLOAT32", "INT8", "hybrid"
FAMILIES = [FLOAT, INT8, HYBRID]


# ---- TRANSPOSE_CONV ----


def grown(size: int, kernel: int, stride: int, padding: str) -> int:
    return size * stride if padding == "SAME" else (size - 1) * stride + kernel


def transpose_conv(
    shape: Any,
    outputs: int,
    kernel: Any,
    stride: Any,
    *,
    family: str = FLOAT,
    padding: str = "SAME",
    act: str = "NONE",
    bias: bool = True,
    per_channel: bool = True,
    computed_weights: bool = False,
    size_rule: Any = grown,
) -> OpModel:
    rng = np.random.default_rng(sum(shape) + outputs)
    out_shape = (
        shape[0],
        *(size_rule(shape[1 + i], kernel[i], stride[i], padding) for i in range(2)),
        outputs,
    )
    options = {
        "padding": padding,
        "stride_h": stride[0],
        "stride_w": stride[1],
        "fused_activation_function": act,
    }
    x = rng.normal(0, 1.5, shape).astype(np.float32)
    weights = rng.normal(0, 0.3, (outputs, *kernel, shape[3])).astype(np.float32)
    offset = rng.normal(0, 1, outputs).astype(np.float32)
    size, out = const(out_shape), Out(shape=out_shape)
    fixed = not computed_weights
    if family == FLOAT:
        args = [size, Arg(weights, const=fixed), x, Arg(offset, const=True)]
        return single_op("TRANSPOSE_CONV", args[: 4 if bias else 3], out, **options)
    scale = np.abs(weights).max(axis=(1, 2, 3) if per_channel else None) / np.float32(127)
    quantized = np.round(weights / np.reshape(scale, (-1, 1, 1, 1))).astype(np.int8)
    kernel_arg = Arg(quantized, scale, const=fixed)
    if family == HYBRID:
        args = [size, kernel_arg, x, Arg(offset, const=True)]
        return single_op("TRANSPOSE_CONV", args[: 4 if bias else 3], out, **options)
    x_scale = np.float32(0.0374)
    bias_scale = x_scale * scale.astype(np.float32)
    taps = weights[0].size / (stride[0] * stride[1])
    args = [
        size,
        kernel_arg,
        Arg(np.clip(np.round(x / x_scale) - 7, -128, 127).astype(np.int8), x_scale, -7),
        Arg(np.round(offset / bias_scale).astype(np.int32), bias_scale, const=True),
    ]
    out = Out("INT8", float(np.sqrt(taps)) * 0.45 * 2.3 / 127, 11, shape=out_shape)
    return single_op("TRANSPOSE_CONV", args[: 4 if bias else 3], out, **options)


SHAPES = {
    "3x3-stride-2": ((2, 9, 11, 13), 19, (3, 3), (2, 2)),
    "2x2-stride-2": ((1, 8, 8, 32), 16, (2, 2), (2, 2)),
    "one-output": ((1, 16, 16, 16), 1, (2, 2), (2, 2)),
    "stride-1": ((1, 7, 9, 5), 40, (3, 5), (1, 1)),
    "mixed": ((1, 6, 5, 8), 7, (4, 3), (3, 2)),
    "1d": ((1, 1, 40, 24), 10, (1, 16), (1, 8)),
    "1x1": ((1, 5, 4, 3), 33, (1, 1), (1, 1)),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("name", SHAPES)
def test_transpose_conv(name: str, padding: str, family: str) -> None:
    model = transpose_conv(*SHAPES[name], padding=padding, family=family)
    check_close(model, exact=family == INT8)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "options",
    [
        {"act": "RELU"},
        {"act": "RELU6"},
        {"bias": False},
        {"per_channel": False},
        {"per_channel": False, "bias": False, "act": "RELU6"},
    ],
    ids=str,
)
def test_transpose_conv_options(options: Any, family: str) -> None:
    model = transpose_conv((2, 9, 11, 13), 19, (3, 3), (2, 2), family=family, **options)
    check_close(model, exact=family == INT8)


@pytest.mark.parametrize("per_channel", [True, False])
def test_transpose_conv_equals_litert_on_100000_values(per_channel: bool) -> None:
    model = transpose_conv(
        (1, 32, 33, 21), 37, (3, 3), (2, 2), family=INT8, per_channel=per_channel
    )
    wanted = litert(model)
    assert wanted.size > 100_000 and len(np.unique(wanted)) == 256
    check_close(model, wanted, exact=True)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 2), st.integers(1, 6), st.integers(1, 20), st.integers(1, 40)),
    st.integers(1, 40),
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.sampled_from(["SAME", "VALID"]),
    st.sampled_from([FLOAT, INT8]),
)
def test_any_transpose_conv(shape, outputs, kernel, stride, padding, family) -> None:
    if padding == "SAME":
        kernel = tuple(max(k, s) for k, s in zip(kernel, stride, strict=True))
    model = transpose_conv(shape, outputs, kernel, stride, padding=padding, family=family)
    check_close(model, exact=family == INT8)


@pytest.mark.parametrize("family", FAMILIES)
def test_computed_weights_give_what_constant_ones_give(family: str) -> None:
    """INT8: what LiteRT's own kernel gives, since XNNPACK wants its weights in the file."""
    for shape in SHAPES.values():
        model = transpose_conv(*shape, family=family, computed_weights=True)
        constant = transpose_conv(*shape, family=family)
        wanted = litert(model) if family == INT8 else run(constant)
        np.testing.assert_array_equal(run(model, threads=3), wanted)


def test_an_output_shape_that_is_computed_or_cuts() -> None:
    """A SAME output one smaller than its input grown: what falls outside is left out."""
    rng = np.random.default_rng(3)
    x, weights = (rng.normal(0, 1, s).astype(np.float32) for s in ((1, 4, 5, 3), (2, 3, 3, 3)))
    options = {"padding": "SAME", "stride_h": 2, "stride_w": 2}
    size = (1, 7, 9, 2)
    fixed = single_op(
        "TRANSPOSE_CONV", [const(size), Arg(weights, const=True), x], Out(shape=size), **options
    )
    check_close(fixed)
    computed = np.array(size, np.int32)
    open_shape = [computed, Arg(weights, const=True), x]
    model = single_op("TRANSPOSE_CONV", open_shape, Out(shape=size), **options)
    np.testing.assert_array_equal(run(model), run(fixed))
    model = single_op("TRANSPOSE_CONV", open_shape, Out(shape=(1, 8, 9, 2)), **options)
    np.testing.assert_array_equal(run(model), run(fixed))


def test_transpose_conv_of_special_values() -> None:
    model = transpose_conv((1, 4, 4, 3), 5, (2, 2), (2, 2), act="RELU")
    x = model.feeds[0].copy()
    x[0, 1, 1, 0], x[0, 2, 2, 1] = np.nan, np.inf
    model.feeds[0] = x
    found = run(model)
    assert np.isnan(found[0, 2:4, 2:4]).all()
    assert not np.isnan(found[0, :2]).any()
    model.feeds[0] = x[:0]
    assert run(transpose_conv((0, 4, 4, 3), 5, (2, 2), (2, 2))).shape == (0, 8, 8, 5)


# ---- Convolution2DTransposeBias ----


def mediapipe_size(size: int, kernel: int, stride: int, padding: str) -> int:
    rest = (size - 1) % stride + 1
    return (size - 1) * stride + (min(kernel, rest) if padding == "SAME" else kernel)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("name", SHAPES)
def test_mediapipe_transpose_conv_is_the_builtin_one(name: str, padding: str) -> None:
    shape, outputs, kernel, stride = SHAPES[name]
    sizes = {"size_rule": mediapipe_size, "padding": padding}
    builtin = transpose_conv(shape, outputs, kernel, stride, **sizes)
    rng = np.random.default_rng(sum(shape) + outputs)
    x = rng.normal(0, 1.5, shape).astype(np.float32)
    weights = rng.normal(0, 0.3, (outputs, *kernel, shape[3])).astype(np.float32)
    offset = rng.normal(0, 1, outputs).astype(np.float32)
    options = struct.pack("<3i", {"SAME": 1, "VALID": 2}[padding], stride[1], stride[0])
    args = [x, Arg(weights, const=True), Arg(offset, const=True)]
    model = single_op("Convolution2DTransposeBias", args, Out(), custom_options=options)
    np.testing.assert_array_equal(run(model), run(builtin))


# ---- refusals ----

X, W = np.ones((1, 4, 4, 3), np.float32), Arg(np.ones((2, 3, 3, 3), np.float32), const=True)
S2 = {"stride_h": 2, "stride_w": 2}
BIAS = Arg(np.ones(2, np.float32), const=True)


def deconvolution(size: Any, weights: Any = W, x: Any = X, **options: Any) -> OpModel:
    return single_op("TRANSPOSE_CONV", [const(size), weights, x], Out(), **{**S2, **options})


REFUSED: list[tuple[str, OpModel, str]] = [
    ("output rank", deconvolution([8, 8, 2]), "no output shape"),
    ("output channels", deconvolution([1, 8, 8, 3]), "no output shape"),
    ("output images", deconvolution([2, 8, 8, 2]), "no output shape"),
    ("output of 0", deconvolution([1, 0, 8, 2]), "no output shape"),
    ("channels", deconvolution([1, 8, 8, 2], x=X[..., :2]), "take 3 channels"),
    ("stride", deconvolution([1, 8, 8, 2], stride_h=0), "stride 0"),
    ("does not fit", deconvolution([1, 2, 8, 2], padding="VALID"), "does not fit"),
    ("activation", deconvolution([1, 8, 8, 2], fused_activation_function="TANH"), "activation"),
    (
        "no options",
        single_op("Convolution2DTransposeBias", [X, W, BIAS], Out(), custom_options=b""),
        "padding 0",
    ),
    (
        "no stride",
        single_op(
            "Convolution2DTransposeBias", [X, W, BIAS], Out(), custom_options=struct.pack("<i", 1)
        ),
        "no output",
    ),
]


@pytest.mark.parametrize(("name", "model", "words"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refusals_say_why(name: str, model: OpModel, words: str) -> None:
    with pytest.raises(RilletError, match=words):
        run(model)
