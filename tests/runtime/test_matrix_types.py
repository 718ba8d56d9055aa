# SPDX-License-Identifier: Apache-2.0
"""Products of the integer types that XNNPACK does not take: not one value differs from LiteRT.

UINT8 with zero points in the weights, INT16 with INT8 weights, INT4 weights, float16 weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from single_op import (
    ISAS,
    Arg,
    OpModel,
    Out,
    const,
    error,
    integers,
    litert,
    run,
    run_all,
    single_op,
)

from runtime import RilletError

ENOUGH = 100_000
ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")
OPS = ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")
REAL_OPS = OPS[:3]
# Activations, weights, bias (None: left out).
TYPES = [
    ("UINT8", "UINT8", "INT32"),
    ("INT8", "INT4", "INT32"),
    ("INT16", "INT8", "INT32"),
    ("INT16", "INT8", "INT64"),
    ("INT16", "INT4", "INT64"),
    ("INT16", "INT8", None),
]
# What LiteRT does not take, or reads wrongly (INT4 as if it were INT8).
NOT_THERE = {
    ("CONV_2D", "INT16", "INT8", None),
    ("DEPTHWISE_CONV_2D", "INT16", "INT8", "INT32"),
    ("DEPTHWISE_CONV_2D", "INT16", "INT4", "INT64"),
    ("TRANSPOSE_CONV", "INT8", "INT4", "INT32"),
    ("TRANSPOSE_CONV", "INT16", "INT4", "INT64"),
}


def values(rng: np.random.Generator, dtype: str, shape: Any) -> np.ndarray:
    if dtype == "INT4":
        return rng.integers(-8, 8, shape).astype(np.int8)
    if dtype == "INT8":
        return rng.integers(-127, 128, shape).astype(np.int8)
    return integers(rng, dtype, shape)


def shapes(rng: np.random.Generator, op: str) -> tuple[Any, Any, int, dict[str, Any]]:
    """Shapes of activations and weights, the axis of channels, options."""
    if op == "FULLY_CONNECTED":
        k, n = int(rng.integers(1, 90)), int(rng.integers(1, 70))
        return (100, k), (n, k), 0, {}
    kernel = tuple(int(v) for v in rng.choice([1, 1, 2, 3], 2))
    options: dict[str, Any] = {
        "padding": str(rng.choice(["SAME", "VALID"])),
        "stride_h": int(rng.integers(1, 3)),
        "stride_w": int(rng.integers(1, 3)),
    }
    if op == "TRANSPOSE_CONV":
        channels, outputs = (int(v) for v in rng.integers(1, 24, 2))
        if options["padding"] == "SAME":  # XNNPACK leaves steps over more than the window alone
            kernel = (max(kernel[0], options["stride_h"]), max(kernel[1], options["stride_w"]))
        return (2, 7, 9, channels), (outputs, *kernel, channels), 0, options
    options |= {
        "dilation_h_factor": int(rng.choice([1, 1, 2])),
        "dilation_w_factor": int(rng.choice([1, 1, 2])),
    }
    channels = int(rng.integers(1, 24))
    if op == "CONV_2D":
        groups = int(rng.choice([1, 1, 1, 2]))
        outputs = groups * int(rng.integers(1, 30))
        return (2, 11, 13, groups * channels), (outputs, *kernel, channels), 0, options
    options["depth_multiplier"] = int(rng.choice([1, 1, 2, 3]))
    outputs = channels * options["depth_multiplier"]
    return (2, 11, 13, channels), (1, *kernel, outputs), 3, options


def grown(x_shape: Any, w_shape: Any, options: dict[str, Any]) -> tuple[int, ...]:
    """Shape that a TRANSPOSE_CONV gives."""
    strides = (options["stride_h"], options["stride_w"])
    if options["padding"] == "SAME":
        sizes = [x_shape[1 + i] * strides[i] for i in range(2)]
    else:
        sizes = [(x_shape[1 + i] - 1) * strides[i] + w_shape[1 + i] for i in range(2)]
    return (x_shape[0], *sizes, w_shape[0])


def model(rng: np.random.Generator, op: str, types: tuple[str, str, str | None]) -> OpModel:
    x_type, w_type, bias_type = types
    x_shape, w_shape, axis, options = shapes(rng, op)
    if bias_type == "INT32" and x_type == "INT16" and op != "DEPTHWISE_CONV_2D":
        options["quantized_bias_type"] = "INT32"
    if (x_type, w_type) != ("INT8", "INT8") and op == "CONV_2D":
        w_shape = (*w_shape[:3], x_shape[3])  # LiteRT has groups for few of these
    channels = w_shape[axis]
    per_channel = x_type != "UINT8" and rng.random() < 0.7
    w_scale = 10 ** rng.uniform(-2.5, -1, channels if per_channel else 1).astype(np.float32)
    x_scale = np.float32(10 ** rng.uniform(-2, -1) / (256 if x_type == "INT16" else 1))
    zeros = {"UINT8": lambda: int(rng.integers(256)), "INT8": lambda: int(rng.integers(-128, 128))}
    zero = zeros.get(x_type, lambda: 0)
    x = Arg(values(rng, x_type, x_shape), x_scale, zero())
    w = Arg(values(rng, w_type, w_shape), w_scale, 0, const=True, axis=axis, dtype=w_type)
    if w_type == "UINT8":
        w.axis = 0  # as files have it: XNNPACK leaves others alone
        w.zero = int(rng.integers(1, 256))
    spread = np.sqrt(np.prod(w_shape) / channels) * float(x_scale) * float(w_scale.mean())
    spread *= float(w.value.std() + 1) * float(x.value.std() + 1)
    out = Out(x_type, spread * rng.uniform(2, 5) / (32768 if x_type == "INT16" else 128), zero())
    args: list[Any] = [x, w]
    if bias_type:
        bias = rng.integers(-9000, 9000, channels).astype(bias_type.lower())
        args.append(Arg(bias, x_scale * w_scale, 0, const=True))
    elif op == "FULLY_CONNECTED":
        args.append(None)
    activation = str(rng.choice(ACTIVATIONS))
    if op == "TRANSPOSE_CONV":
        args = [const(grown(x_shape, w_shape, options)), w, x, *args[2:]]
    return single_op(op, args, out, fused_activation_function=activation, **options)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("types", TYPES, ids=str)
def test_equals_litert(op, types, rng):
    if (op, *types) in NOT_THERE:
        return
    seen = 0
    while seen < ENOUGH:
        one = model(rng, op, types)
        found = run(one)
        np.testing.assert_array_equal(found, litert(one))
        seen += found.size


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("types", TYPES, ids=str)
def test_isas_and_threads_give_the_same_bits(op, types, rng):
    if op == "TRANSPOSE_CONV" and (op, *types) in NOT_THERE:
        return
    for _ in range(3):
        one = model(rng, op, types)
        found = run(one)
        for isa in ISAS:
            np.testing.assert_array_equal(run(one, threads=3, isa=isa), found)


@pytest.mark.parametrize("op", REAL_OPS)
@pytest.mark.parametrize("w_type", ["INT4", "FLOAT16"])
def test_real_activations(op, w_type, rng):
    """INT4 weights as INT8 ones (dynamic range), FLOAT16 ones as the FLOAT32 they stand for."""
    for _ in range(10):
        x_shape, w_shape, axis, options = shapes(rng, op)
        w_shape = (*w_shape[:3], x_shape[3]) if op == "CONV_2D" else w_shape
        x = rng.standard_normal(x_shape).astype(np.float32)
        held = values(rng, "INT4", w_shape).astype("int8" if w_type == "INT4" else "float16")
        same = held.astype(np.int8 if w_type == "INT4" else np.float32)
        how: dict[str, Any] = {"const": True, "axis": axis}
        if w_type == "INT4":
            how["scale"] = rng.uniform(0.01, 0.1, w_shape[axis])
        bias = Arg(rng.standard_normal(w_shape[axis]).astype(np.float32), const=True)
        built = [
            single_op(op, [Arg(x), Arg(held, dtype=w_type, **how), bias], Out(), **options),
            single_op(op, [Arg(x), Arg(same, **how), bias], Out(), **options),
        ]
        found, wanted = run(built[0]), run(built[1])
        if w_type == "INT4" and own_kernel(op, w_shape, how["scale"]):
            assert error(found, wanted) < 0.05  # quantized otherwise: test_dynamic_range
        else:
            np.testing.assert_array_equal(found, wanted)
        if (op, w_type) == ("FULLY_CONNECTED", "INT4"):
            assert error(found, litert(built[0])) < 1e-5


def own_kernel(op: str, w_shape: tuple[int, ...], scale: np.ndarray) -> bool:
    """Whether LiteRT runs INT4 weights by a kernel that quantizes the activations otherwise."""
    if op == "FULLY_CONNECTED":
        return w_shape[1] % 2 == 1
    return op == "CONV_2D" and (w_shape[1:3] == (1, 1) or scale.size == 1)


def test_no_rows_give_no_rows():
    for x_type, w_type in (("UINT8", "UINT8"), ("INT16", "INT8")):
        x = Arg(np.zeros((0, 4), x_type.lower()), 0.1)
        w = Arg(np.ones((3, 4), w_type.lower()), 0.1, const=True)
        assert run(single_op("FULLY_CONNECTED", [x, w], Out(x_type, 0.1))).shape == (0, 3)


UNHAPPY = [
    ({"x": ("INT16", 5)}, "must have zero point 0"),
    ({"w": ("INT8", 3)}, "weights .* have zero point 3"),
    ({"x": ("UINT8", 5)}, "supported are"),
    ({"y": 1e-4}, "a factor of 128 or more"),
    ({"bias": "float32"}, "bias .* must be INT64"),
]


@pytest.mark.parametrize(("change", "words"), UNHAPPY, ids=[words for _, words in UNHAPPY])
def test_refused_in_words(change, words):
    x_type, x_zero = change.get("x", ("INT16", 0))
    w_type, w_zero = change.get("w", ("INT8", 0))
    x = Arg(np.zeros((2, 4), x_type.lower()), 0.1, x_zero)
    w = Arg(np.ones((3, 4), w_type.lower()), 0.2, w_zero, const=True)
    bias = Arg(np.zeros(3, change.get("bias", "int64")), const=True)
    built = single_op("FULLY_CONNECTED", [x, w, bias], Out(x_type, change.get("y", 0.1)))
    with pytest.raises(RilletError, match=words):
        run_all(built)


def test_a_sum_of_too_many_products_is_refused():
    x = Arg(np.zeros((1, 65537), np.int16), 0.1)
    w = Arg(np.ones((1, 65537), np.int8), 0.1, const=True)
    with pytest.raises(RilletError, match="the sum of 65537 products"):
        run(single_op("FULLY_CONNECTED", [x, w, None], Out("INT16", 0.1)))


@pytest.mark.parametrize("op", [op for op in OPS if op != "TRANSPOSE_CONV"])
def test_zero_points_of_channels(op, rng):
    """UINT8 weights with zero points of their own: each channel as if all had its zero point."""
    for _ in range(5):
        x_shape, w_shape, axis, options = shapes(rng, op)
        x, held = values(rng, "UINT8", x_shape), values(rng, "UINT8", w_shape)
        zeros = np.where(np.arange(w_shape[axis]) % 2, 140, 101)
        out = Out("UINT8", 40.0, 120)

        def one(zero, x=x, held=held, axis=axis, out=out, options=options):
            scale = np.full(held.shape[axis], 0.02)
            weights = Arg(held, scale, zero, const=True, axis=axis)
            return single_op(op, [Arg(x, 0.5, 33), weights, None], out, **options)

        found = [run(one(zero)) for zero in (zeros, 101, 140)]
        np.testing.assert_array_equal(found[0][..., ::2], found[1][..., ::2])
        np.testing.assert_array_equal(found[0][..., 1::2], found[2][..., 1::2])
        assert (found[1] != found[2]).any()
