# SPDX-License-Identifier: Apache-2.0
"""INT16 activations: not one of 100,000 values per operator differs from LiteRT's default path."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from single_op import Arg, OpModel, Out, const, integers, litert, run, single_op

from runtime import RilletError

ENOUGH = 100_000
EVERY = np.arange(-32768, 32768).astype(np.int16)
ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")
Rng = np.random.Generator


def power(rng: Rng, least: float, most: float) -> float:
    return float(10 ** rng.uniform(least, most))


def binary(op: str, exact: bool = False) -> Any:
    """`exact`: scales are powers of two and the file says so."""

    def build(rng: Rng) -> OpModel:
        a_scale, b_scale = power(rng, -4, -2), power(rng, -4, -2)
        out_scale = max(a_scale, b_scale) * power(rng, -0.5, 1)
        if op == "MUL":
            out_scale = a_scale * b_scale * power(rng, 0, 5)
        options: dict[str, Any] = {"fused_activation_function": str(rng.choice(ACTIVATIONS))}
        if op != "MUL":
            options["pot_scale_int16"] = exact
        if exact:
            out_scale = 2.0 ** int(rng.integers(-12, -6))
            a_scale, b_scale = out_scale * 2.0 ** -int(rng.integers(0, 6)), out_scale
            if rng.random() < 0.5:
                a_scale, b_scale = b_scale, a_scale
        a = Arg(integers(rng, "INT16", (101, 90)), a_scale)
        # LiteRT stops the process where it would have to broadcast by shifts.
        shape = [(101, 90), (90,), (101, 1)][0 if exact else int(rng.integers(3))]
        b = Arg(integers(rng, "INT16", shape), b_scale)
        return single_op(op, [a, b], Out("INT16", out_scale), **options)

    return build


def comparison(op: str) -> Any:
    def build(rng: Rng) -> OpModel:
        a, b = (integers(rng, "INT16", (90, 101)) for _ in range(2))
        b[::3] = a[::3]
        return single_op(op, [Arg(a, 0.001), Arg(b, 0.001)], Out("BOOL"))

    return build


def unary(op: str, out_scale: float | None = None, **options: Any) -> Any:
    def build(rng: Rng) -> OpModel:
        scale = power(rng, -5, -2) if rng.random() < 0.7 else 2.0 ** -int(rng.integers(9, 15))
        x = np.maximum(EVERY, 1) if op in ("LOG", "RSQRT") else EVERY
        more = dict(options)
        if op == "LEAKY_RELU":
            more["alpha"] = float(rng.choice([0.1, 0.3, -0.2, 1.5, 0.001]))
        if op == "GELU":
            more["approximate"] = bool(rng.integers(2))
        out = Out("INT16", out_scale or scale * power(rng, -1, 1))
        if op in ("EXP", "RSQRT", "LOG"):
            out.scale = power(rng, -4, -1)
        return single_op(op, [Arg(x, scale)], out, **more)

    return build


def softmax(rng: Rng) -> OpModel:
    x = np.clip(rng.normal(0, 9000, (100, int(rng.integers(1, 300)))), -32768, 32767)
    beta = float(rng.choice([1, 0.5, 2]))
    arg = Arg(x.astype(np.int16), power(rng, -5, -2))
    return single_op("SOFTMAX", [arg], Out("INT16", 1 / 32768), beta=beta)


def reduction(op: str) -> Any:
    def build(rng: Rng) -> OpModel:
        shape, axes = [((50, 40, 9), [1]), ((7, 3000), [0]), ((3, 5, 7, 100), [0, 2])][
            int(rng.integers(3))
        ]
        count = float(np.prod([shape[axis] for axis in axes]))
        scale = power(rng, -4, -2)
        spread = count**0.5 if op == "SUM" else count**-0.5
        out = Out("INT16", scale * (1 if rng.random() < 0.3 else spread * power(rng, -0.5, 0.3)))
        return single_op(op, [Arg(integers(rng, "INT16", shape), scale), const(axes)], out)

    return build


def product(dtype: str) -> Any:
    """REDUCE_PROD, whose results mostly lie within the output's range."""

    def build(rng: Rng) -> OpModel:
        shape, axes = [
            ((60, 5, 40), [1]),
            ((3, 9000), [0]),
            ((2, 60, 2, 70), [0, 2]),
            ((9, 8), [1]),
        ][int(rng.integers(4))]
        count = int(np.prod([shape[axis] for axis in axes], dtype=int))
        zero, out_zero = (int(z) for z in rng.integers(-9, 9, 2) * (dtype == "INT8"))
        x = np.clip(rng.normal(0, 60 if dtype == "INT8" else 9000, shape), -128, 127)
        if dtype == "INT16":
            x = rng.normal(0, 9000, shape).clip(-32768, 32767)
        scale = power(rng, -2, -0.5) / (1 if dtype == "INT8" else 128)
        held = x.astype(dtype.lower())
        spread = float(np.abs(held.astype(float) - zero).mean() * scale) ** count
        out = Out(
            dtype, spread * power(rng, -0.5, 0.5) / (30 if dtype == "INT8" else 8000), out_zero
        )
        return single_op("REDUCE_PROD", [Arg(held, scale, zero), const(axes)], out)

    return build


def to_int32(rng: Rng) -> OpModel:
    scale = power(rng, -4, -2)
    out = Out("INT32", scale * power(rng, -4, 1), int(rng.integers(-9, 9)))
    return single_op("QUANTIZE", [Arg(integers(rng, "INT16", (40, 130)), scale)], out)


def pool(op: str) -> Any:
    def build(rng: Rng) -> OpModel:
        x = Arg(integers(rng, "INT16", (2, 14, 15, 33)), power(rng, -4, -2))
        window = {name: int(rng.integers(1, 5)) for name in ("filter_height", "filter_width")}
        stride = {name: int(rng.integers(1, 3)) for name in ("stride_h", "stride_w")}
        padding = {"padding": str(rng.choice(["SAME", "VALID"]))}
        activation = {"fused_activation_function": str(rng.choice(ACTIVATIONS))}
        return single_op(
            op, [x], Out("INT16", x.scale), **window, **stride, **padding, **activation
        )

    return build


BUILDERS = {
    "ADD": binary("ADD"),
    "SUB": binary("SUB"),
    "MUL": binary("MUL"),
    "ADD of powers of two": binary("ADD", exact=True),
    "SUB of powers of two": binary("SUB", exact=True),
    **{op: comparison(op) for op in ("EQUAL", "NOT_EQUAL", "LESS", "GREATER_EQUAL")},
    "LOGISTIC": unary("LOGISTIC", 1 / 32768),
    "TANH": unary("TANH", 1 / 32768),
    **{op: unary(op) for op in ("RELU", "RELU6", "LEAKY_RELU", "ABS")},
    **{op: unary(op) for op in ("EXP", "LOG", "GELU", "RSQRT")},
    "SOFTMAX": softmax,
    "MEAN": reduction("MEAN"),
    "SUM": reduction("SUM"),
    "REDUCE_PROD": product("INT16"),
    "REDUCE_PROD of INT8": product("INT8"),
    "QUANTIZE to INT32": to_int32,
    "AVERAGE_POOL_2D": pool("AVERAGE_POOL_2D"),
    "MAX_POOL_2D": pool("MAX_POOL_2D"),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_equals_litert(name, rng):
    seen = 0
    while seen < ENOUGH:
        model = BUILDERS[name](rng)
        found = run(model)
        np.testing.assert_array_equal(found, litert(model))
        seen += found.size


@pytest.mark.parametrize("dtype", ["INT8", "UINT8", "INT16"])
def test_negation_keeps_to_the_scales(dtype):
    """LiteRT negates the stored integers whatever the zero points are."""
    info = np.iinfo(dtype.lower())
    x = np.arange(info.min, info.max + 1).astype(dtype.lower())
    zero = 10 if dtype != "INT16" else 0
    found = run(single_op("NEG", [Arg(x, 0.5, zero)], Out(dtype, 0.25, zero)))
    wanted = np.clip((zero - x.astype(int)) * 2 + zero, info.min, info.max)
    np.testing.assert_array_equal(found, wanted)


def test_slopes_of_prelu_are_meant_in_their_scale(rng):
    """LiteRT reads INT16 slopes as bytes."""
    x, slope = integers(rng, "INT16", (40, 50)), integers(rng, "INT16", (50,))
    arg = Arg(slope, 2.0**-15, const=True)
    found = run(single_op("PRELU", [Arg(x, 0.001), arg], Out("INT16", 0.001)))
    real = np.where(x >= 0, x, x * (slope / 32768))
    assert np.abs(found - real).max() <= 0.5001


UNHAPPY = [
    (single_op("ADD", [Arg(EVERY, 0.1, 1), Arg(EVERY, 0.1)], Out("INT16", 0.1)), "zero point 0"),
    (single_op("TANH", [Arg(EVERY, 0.1)], Out("INT16", 0.1)), "the output scale 2\\^-15"),
    (single_op("LOGISTIC", [Arg(EVERY, 1e9)], Out("INT16", 1 / 32768)), "scale is too large"),
    (single_op("ELU", [Arg(EVERY, 0.1)], Out("INT16", 0.1)), "no kernel for INT16"),
    (single_op("ABS", [EVERY], Out("INT16")), "has no quantization parameters"),
]


@pytest.mark.parametrize(("model", "words"), UNHAPPY, ids=[words for _, words in UNHAPPY])
def test_refused_in_words(model, words):
    with pytest.raises(RilletError, match=words):
        run(model)
