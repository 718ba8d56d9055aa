# SPDX-License-Identifier: Apache-2.0
"""FLOAT32 activations with INT8 and INT4 weights: how activations are quantized on the way."""

from __future__ import annotations

import numpy as np
import pytest
from single_op import ISAS, Arg, Out, const, error, integers, litert, run, single_op

WINDOW = {"padding": "SAME", "stride_h": 1, "stride_w": 1}
# operator: shapes of the activations and the weights, axis of the scales, options
CASES = {
    "CONV_2D": ((2, 9, 7, 6), (8, 3, 3, 6), 0, WINDOW),
    "CONV_2D 1x1": ((2, 9, 7, 6), (8, 1, 1, 6), 0, WINDOW),
    "CONV_2D 1x1 stride 2": ((2, 9, 7, 6), (8, 1, 1, 6), 0, {**WINDOW, "stride_h": 2}),
    "CONV_2D groups": ((2, 9, 7, 6), (8, 3, 3, 3), 0, WINDOW),
    "DEPTHWISE_CONV_2D": ((2, 9, 7, 8), (1, 3, 3, 8), 3, {**WINDOW, "depth_multiplier": 1}),
    "FULLY_CONNECTED": ((9, 32), (8, 32), 0, {}),
    "FULLY_CONNECTED odd": ((9, 33), (8, 33), 0, {}),
    "BATCH_MATMUL": ((2, 9, 32), (32, 8), 1, {}),
    "TRANSPOSE_CONV": (
        (1, 5, 5, 6),
        (8, 3, 3, 6),
        0,
        {"padding": "SAME", "stride_h": 2, "stride_w": 2},
    ),
}
NO_INT4 = {"BATCH_MATMUL", "TRANSPOSE_CONV"}  # neither runtime takes such weights
# What LiteRT refuses, and where it reads scales that are not there.
REFUSED = {
    ("CONV_2D groups", "INT4", "tensor"),
    ("DEPTHWISE_CONV_2D", "INT4", "tensor"),
    ("DEPTHWISE_CONV_2D", "INT4", "channel"),
    ("DEPTHWISE_CONV_2D", "INT8", "tensor"),
}


def model(rng, case, w_type, by, asymmetric=False, weights=None):
    """The model, or with `weights` "float" that of the real numbers the weights stand for."""
    x_shape, w_shape, axis, options = CASES[case]
    most = 127 if w_type == "INT8" else 7
    x = (rng.standard_normal(x_shape) * 2 + 0.7).astype(np.float32)
    held = rng.integers(-most, most + 1, w_shape).astype(np.int8)
    scale = np.linspace(0.01, 0.05, 8, dtype=np.float32) if by == "channel" else np.float32(0.02)
    bias = Arg(rng.standard_normal(8).astype(np.float32), const=True)
    if weights == "float":
        shape = [-1 if d == axis else 1 for d in range(len(w_shape))]
        along = scale if by == "tensor" else scale.reshape(shape)
        w = Arg(held * along, const=True)
    else:
        along = axis if by == "channel" else 0
        w = Arg(held, scale=scale, zero=0, const=True, axis=along, dtype=w_type)
    op = case.split()[0]
    if op == "BATCH_MATMUL":
        return single_op(op, [x, w], Out(), asymmetric_quantize_inputs=asymmetric)
    if op == "TRANSPOSE_CONV":
        return single_op(op, [const([1, 10, 10, 8]), w, x, bias], Out(), **options)
    more = {"asymmetric_quantize_inputs": asymmetric} if op == "FULLY_CONNECTED" else {}
    return single_op(op, [x, w, bias], Out(), **options, **more)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("w_type", ["INT8", "INT4"])
@pytest.mark.parametrize("by", ["tensor", "channel"])
@pytest.mark.parametrize("asymmetric", [False, True])
def test_litert_quantizes_activations_alike(case, w_type, by, asymmetric):
    if asymmetric and not case.startswith(("FULLY_CONNECTED", "BATCH_MATMUL")):
        return
    if w_type == "INT4" and case in NO_INT4:
        return
    one = model(np.random.default_rng(3), case, w_type, by, asymmetric)
    found = run(one)
    for isa in ISAS:
        assert error(run(one, threads=3, isa=isa), found) < 1e-6
    if (case, w_type, by) not in REFUSED:
        assert error(found, litert(one)) < 1e-6


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("w_type", ["INT8", "INT4"])
@pytest.mark.parametrize("by", ["tensor", "channel"])
def test_quantized_activations_cost_little(case, w_type, by):
    """About half a step in 255, in every product; where LiteRT gives nothing this is the check."""
    if w_type == "INT4" and case in NO_INT4:
        return
    quantized = run(model(np.random.default_rng(4), case, w_type, by))
    real = run(model(np.random.default_rng(4), case, w_type, by, weights="float"))
    assert 0 < error(quantized, real) < 0.02


def test_rows_of_zeros_and_large_values():
    """The symmetric form, of rows of odd length: each row has a range of its own."""
    x = np.zeros((3, 3), np.float32)
    x[1] = [1, -2, 3]
    x[2] = [1e30, -1e30, 0]
    held = np.int8([[1, 2, 3], [-7, 0, 7]])
    w = Arg(held, scale=0.5, zero=0, const=True, dtype="INT4")
    one = single_op("FULLY_CONNECTED", [x, w], Out())
    found = run(one)
    assert not found[0].any()
    assert error(found[1], held @ (x[1] * 0.5)) < 0.02
    assert error(found, litert(one)) < 1e-6


@pytest.mark.parametrize("x_type", ["FLOAT32", "INT8", "INT16"])
@pytest.mark.parametrize("depth", [32, 33, 34, 36])
@pytest.mark.parametrize("by", ["tensor", "channel"])
def test_int2_weights(x_type, depth, by):
    """XNNPACK takes rows of whole bytes with a scale each, LiteRT's own kernel the others."""
    rng = np.random.default_rng(depth)
    scale = np.linspace(0.01, 0.05, 8) if by == "channel" else 0.02
    held = rng.integers(-2, 2, (8, depth)).astype(np.int8)
    w = Arg(held, scale=scale, zero=0, const=True, dtype="INT2")
    if x_type == "FLOAT32":
        x, out = rng.standard_normal((50, depth)).astype(np.float32), Out()
    else:
        zero = 3 if x_type == "INT8" else 0
        x = Arg(integers(rng, x_type, (13_000, depth)), 0.05, zero)
        out = Out(x_type, 0.05, zero)
    one = single_op("FULLY_CONNECTED", [x, w], out)
    found, wanted = run(one), litert(one)
    if x_type == "FLOAT32":
        assert error(found, wanted) < 1e-6
    else:
        np.testing.assert_array_equal(found, wanted)
