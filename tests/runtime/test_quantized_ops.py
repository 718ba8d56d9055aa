# SPDX-License-Identifier: Apache-2.0
"""Integer formulas: not one of 100,000 values per op and type differs from LiteRT's default path.

Scales and zero points are drawn at random; docs/numerics.md has the formulas.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from single_op import ISAS, Arg, OpModel, Out, const, integers, litert, run, single_op

from runtime import RilletError

ENOUGH = 100_000
COMPARISONS = ["EQUAL", "NOT_EQUAL", "LESS", "GREATER", "LESS_EQUAL", "GREATER_EQUAL"]
ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")
Rng = np.random.Generator


def low(dtype: str) -> int:
    return {"INT8": -128, "UINT8": 0, "INT16": -32768}[dtype]


def zero(rng: Rng, dtype: str) -> int:
    return int(rng.integers(low(dtype), low(dtype) + 256))


def power(rng: Rng, least: float, most: float) -> float:
    return float(10 ** rng.uniform(least, most))


def every_value(dtype: str, repeat: int = 1) -> np.ndarray:
    return np.tile(np.arange(low(dtype), low(dtype) + 256), repeat).astype(dtype.lower())


# ---- one random model of an op ----


def sum_or_product(op: str, far: float = 1.0) -> Callable[[Rng, str], OpModel]:
    """ADD, SUB or MUL. `far` moves the output's scale out of the short form's bounds."""

    def build(rng: Rng, dtype: str) -> OpModel:
        a_scale, b_scale = power(rng, -3, 0), power(rng, -3, 0)
        wide = power(rng, -1, 1) * max(a_scale, b_scale)
        out_scale = a_scale * b_scale * power(rng, -1, 2.5) if op == "MUL" else wide
        a = Arg(integers(rng, dtype, (101, 90)), a_scale, zero(rng, dtype))
        b_shape = [(101, 90), (90,), (101, 1)][int(rng.integers(3))]
        b = Arg(integers(rng, dtype, b_shape), b_scale, zero(rng, dtype))
        out = Out(dtype, out_scale * far, zero(rng, dtype))
        return single_op(op, [a, b], out, fused_activation_function=str(rng.choice(ACTIVATIONS)))

    return build


def squared_difference(rng: Rng, dtype: str) -> OpModel:
    scales = power(rng, -3, 0), power(rng, -3, 0)
    args = [Arg(integers(rng, dtype, (91, 97)), s, zero(rng, dtype)) for s in scales]
    return single_op(
        "SQUARED_DIFFERENCE",
        args,
        Out(dtype, max(scales) ** 2 * power(rng, 0, 2), zero(rng, dtype)),
    )


def prelu(rng: Rng, dtype: str) -> OpModel:
    scale, slope = power(rng, -2.5, -0.5), power(rng, -3, -1)
    x = Arg(integers(rng, dtype, (11, 17, 55)), scale, zero(rng, dtype))
    shape = [(55,), (1, 17, 55), (11, 17, 55)][int(rng.integers(3))]
    alpha = Arg(integers(rng, dtype, shape), slope, zero(rng, dtype), const=True)
    return single_op("PRELU", [x, alpha], Out(dtype, scale * power(rng, -1, 1), zero(rng, dtype)))


def comparison(op: str) -> Callable[[Rng, str], OpModel]:
    def build(rng: Rng, dtype: str) -> OpModel:
        scale = power(rng, -2.5, -0.5)
        a, b = (integers(rng, dtype, (90, 101)) for _ in range(2))
        b[::3] = a[::3]
        second = (scale, 3) if rng.random() < 0.5 else (scale * 0.7, zero(rng, dtype))
        return single_op(op, [Arg(a, scale, 3), Arg(b, *second)], Out("BOOL"))

    return build


def unary(op: str, out_scale: float | None = None, out_zero: int = 0, **more: Any) -> Any:
    """`out_zero` is relative to the type's least value."""

    def build(rng: Rng, dtype: str) -> OpModel:
        scale = power(rng, -2.5, -0.5)
        x = Arg(every_value(dtype, 32), scale, zero(rng, dtype))
        out = Out(dtype, scale * power(rng, -1, 1), zero(rng, dtype))
        if out_scale is not None:
            out = Out(dtype, out_scale, low(dtype) + out_zero)
        if op == "EXP":
            out.scale = rng.uniform(0.01, 1)
        options = dict(more)
        if op in ("RSQRT", "SQRT"):
            x.zero = low(dtype)  # LiteRT refuses what has no root
        if op == "LEAKY_RELU":
            options = {"alpha": float(rng.choice([0.1, 0.3, -0.2, 1.5, 0.001, 0.0]))}
        return single_op(op, [x], out, **options)

    return build


def requantize(target: str, far: float = 1.0) -> Callable[[Rng, str], OpModel]:
    def build(rng: Rng, dtype: str) -> OpModel:
        scale = power(rng, -2.5, -0.5)
        out_zero = 0 if target == "INT16" else zero(rng, target)
        out = Out(target, scale * power(rng, -1, 1) * far, out_zero)
        return single_op("QUANTIZE", [Arg(every_value(dtype, 32), scale, zero(rng, dtype))], out)

    return build


def quantize(rng: Rng, dtype: str) -> OpModel:
    scale = power(rng, -2.5, -0.5)
    real = (rng.normal(0, 60 * scale, (64, 128))).astype(np.float32)
    real.flat[::9] = (np.round(real.flat[::9] / scale) + 0.5) * np.float32(scale)  # ties
    if dtype == "INT16":
        return single_op("QUANTIZE", [real], Out(dtype, scale / 200, 0))
    return single_op("QUANTIZE", [real], Out(dtype, scale, zero(rng, dtype)))


def softmax(rng: Rng, dtype: str) -> OpModel:
    shape = (60, int(rng.choice([2, 7, 100, 1000])))
    x = Arg(integers(rng, dtype, shape), power(rng, -3, -0.3), zero(rng, dtype))
    beta = float(rng.choice([1.0, 0.5]))
    return single_op("SOFTMAX", [x], Out(dtype, 1 / 256, low(dtype)), beta=beta)


def log_softmax(rng: Rng, dtype: str) -> OpModel:
    shape = (60, int(rng.choice([2, 7, 100, 1000])))
    x = Arg(integers(rng, dtype, shape), power(rng, -3, -0.3), zero(rng, dtype))
    return single_op("LOG_SOFTMAX", [x], Out(dtype, 16 / 256, low(dtype) + 255))


def pool(op: str) -> Callable[[Rng, str], OpModel]:
    def build(rng: Rng, dtype: str) -> OpModel:
        height, width, stride_h, stride_w = (int(v) for v in rng.integers(1, 5, 4))
        x = Arg(integers(rng, dtype, (2, 13, 17, 35)), power(rng, -2, 0), zero(rng, dtype))
        return single_op(
            op,
            [x],
            filter_height=height + 1,
            filter_width=width,
            stride_h=stride_h,
            stride_w=stride_w,
            padding=str(rng.choice(["SAME", "VALID"])),
            fused_activation_function=str(rng.choice(ACTIVATIONS)),
        )

    return build


def reduction(op: str) -> Callable[[Rng, str], OpModel]:
    def build(rng: Rng, dtype: str) -> OpModel:
        scale, x_zero = power(rng, -2, 0), zero(rng, dtype)
        x = Arg(integers(rng, dtype, (6, 9, 31, 60)), scale, x_zero)
        axes = [[1, 2], [3], [0, 2], [-1, 0], [1], [2]][int(rng.integers(6))]
        out = Out(dtype, scale, x_zero)
        if op in ("MEAN", "SUM"):
            more = 20 if op == "SUM" else 1
            out = Out(dtype, scale * power(rng, -0.5, 0.5) * more, zero(rng, dtype))
        return single_op(op, [x, const(axes)], out, keep_dims=bool(rng.integers(2)))

    return build


def concatenation(rng: Rng, dtype: str) -> OpModel:
    quants = [(power(rng, -2, -1), zero(rng, dtype)) for _ in range(3)]
    args = [
        Arg(integers(rng, dtype, (30, size, 11)), *q)
        for size, q in zip((5, 9, 1), quants, strict=True)
    ]
    return single_op("CONCATENATION", args, Out(dtype, *quants[1]), axis=1)


BOTH = ("INT8", "UINT8")
ROWS: list[tuple[str, Callable[[Rng, str], OpModel], tuple[str, ...]]] = [
    ("ADD", sum_or_product("ADD"), BOTH),
    ("ADD-long", sum_or_product("ADD", 1e4), BOTH),
    ("SUB", sum_or_product("SUB"), BOTH),
    ("SUB-long", sum_or_product("SUB", 1e4), BOTH),
    ("MUL", sum_or_product("MUL"), BOTH),
    ("MUL-long", sum_or_product("MUL", 1e6), BOTH),
    ("SQUARED_DIFFERENCE", squared_difference, ("INT8",)),
    ("PRELU", prelu, BOTH),
    *[(op, comparison(op), BOTH) for op in COMPARISONS],
    ("RELU", unary("RELU"), BOTH),
    ("RELU6", unary("RELU6"), BOTH),
    ("RELU_N1_TO_1", unary("RELU_N1_TO_1"), ("INT8",)),
    ("LEAKY_RELU", unary("LEAKY_RELU"), BOTH),
    ("LOGISTIC", unary("LOGISTIC", 1 / 256), BOTH),
    ("TANH", unary("TANH", 1 / 128, 128), BOTH),
    ("HARD_SWISH", unary("HARD_SWISH"), BOTH),
    ("ELU", unary("ELU"), ("INT8",)),
    ("EXP", unary("EXP"), ("INT8",)),
    ("LOG", unary("LOG"), ("INT8",)),
    ("ABS", unary("ABS"), ("INT8",)),
    ("GELU", unary("GELU"), BOTH),
    ("GELU-tanh", unary("GELU", approximate=True), BOTH),
    ("RSQRT", unary("RSQRT"), ("INT8",)),
    ("SQRT", unary("SQRT"), ("INT8",)),
    ("QUANTIZE", quantize, (*BOTH, "INT16")),
    ("requantize-to-INT8", requantize("INT8"), BOTH),
    ("requantize-to-UINT8", requantize("UINT8"), BOTH),
    ("requantize-to-INT16", requantize("INT16"), BOTH),
    ("requantize-far", requantize("INT8", 1e3), ("INT8",)),
    ("SOFTMAX", softmax, BOTH),
    ("LOG_SOFTMAX", log_softmax, BOTH),
    ("MAX_POOL_2D", pool("MAX_POOL_2D"), BOTH),
    ("AVERAGE_POOL_2D", pool("AVERAGE_POOL_2D"), BOTH),
    *[(op, reduction(op), BOTH) for op in ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN")],
    ("CONCATENATION", concatenation, ("UINT8",)),
]  # fmt: skip


def all_rows() -> Iterator[Any]:
    for name, build, types in ROWS:
        for dtype in types:
            yield pytest.param(build, dtype, id=f"{name}-{dtype}")


@pytest.mark.parametrize(("build", "dtype"), list(all_rows()))
def test_no_value_differs_from_litert(build: Any, dtype: str, rng: Rng) -> None:
    seen, differing, models = 0, 0, 0
    while seen < ENOUGH:
        model = build(rng, dtype)
        found, wanted = run(model), litert(model)
        assert found.shape == wanted.shape and found.dtype == wanted.dtype
        differing += int((found != wanted).sum())
        seen += found.size
        models += 1
        if models == 1:
            np.testing.assert_array_equal(run(model, threads=3), found)
            for isa in ISAS:
                np.testing.assert_array_equal(run(model, isa=isa), found)
    print(f"{differing} of {seen:,} values differ, over {models} models")
    assert differing == 0


# Rows that reach both ends of the output's type.
SATURATING = (
    "ADD-",
    "SUB-",
    "MUL-",
    "SQUARED",
    "PRELU",
    "LEAKY_RELU",
    "QUANTIZE",
    "requantize-to-",
)


@pytest.mark.parametrize(("build", "dtype"), list(all_rows()))
def test_ties_and_saturation(
    build: Any, dtype: str, rng: Rng, monkeypatch: Any, request: Any
) -> None:
    """Scales that are powers of two make ties; small ones of the output make it saturate."""
    drawn = power
    monkeypatch.setitem(globals(), "power", lambda *r: 2.0 ** round(math.log2(drawn(*r))))
    differing, edges = 0, set()
    for _ in range(12):
        model = build(rng, dtype)
        found = run(model)
        differing += int((found != litert(model)).sum())
        if found.dtype != bool:
            info = np.iinfo(found.dtype)
            edges |= {int(edge) for edge in (info.min, info.max) if (found == edge).any()}
        for isa in ISAS:
            np.testing.assert_array_equal(run(model, isa=isa), found)
    assert differing == 0
    row = request.node.callspec.id
    wanted = 1 if row.startswith("SQUARED") else 2 if row.startswith(SATURATING) else 0
    assert len(edges) >= (0 if "long" in row or "INT16" in row else wanted)


def test_bounds_of_activations_between_two_steps() -> None:
    """Six over the scale is a tie, or a rounding error away from one."""
    a, b = (grid.ravel() for grid in np.meshgrid(np.arange(-128, 128), np.arange(-128, 128, 5)))
    for steps in np.arange(3.5, 90, 2.5):
        for scale in np.float32(6) / np.float32([steps, np.nextafter(steps, 99, dtype=np.float32)]):
            args = [Arg(v.astype(np.int8), scale, 4) for v in (a, b)]
            for op in ("ADD", "MUL"):
                model = single_op(
                    op, args, Out("INT8", scale, -7), fused_activation_function="RELU6"
                )
                np.testing.assert_array_equal(run(model), litert(model))


@pytest.mark.parametrize("dtype", BOTH)
def test_dequantize_is_exact(dtype: str, rng: Rng) -> None:
    model = single_op("DEQUANTIZE", [Arg(every_value(dtype), 0.0371, zero(rng, dtype))], Out())
    np.testing.assert_array_equal(run(model), litert(model))


def test_dequantize_int16_and_float16(rng: Rng) -> None:
    x = integers(rng, "INT16", (7, 31))
    model = single_op("DEQUANTIZE", [Arg(x, 0.0007, 0)], Out())
    np.testing.assert_array_equal(run(model), x * np.float32(0.0007))
    bits = np.arange(65536, dtype=np.uint16).view(np.float16)
    found = run(single_op("DEQUANTIZE", [bits], Out()))
    np.testing.assert_array_equal(found, bits.astype(np.float32))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_one_scale_per_channel(axis: int, rng: Rng) -> None:
    x = integers(rng, "INT8", (5, 5, 5))
    scale = rng.uniform(0.01, 0.1, 5).astype(np.float32)
    zeros = rng.integers(-9, 9, 5)
    per_channel = {"scale": scale, "zero": zeros, "axis": axis}
    along = [1, 1, 1]
    along[axis] = 5
    real = (x - zeros.reshape(along)).astype(np.float32) * scale.reshape(along)
    np.testing.assert_array_equal(
        run(single_op("DEQUANTIZE", [Arg(x, **per_channel)], Out())), real
    )
    back = run(single_op("QUANTIZE", [real], Out("INT8", shape=x.shape, **per_channel)))
    np.testing.assert_array_equal(back, x)


def test_quantize_of_special_values() -> None:
    x = np.array(
        [np.nan, np.inf, -np.inf, 1e30, -1e30, -0.0, 0.5, 1.5, 2.5, -0.5, -1.5], np.float32
    )
    for dtype in BOTH:
        model = single_op("QUANTIZE", [np.tile(x, 7)], Out(dtype, 1.0, 3))
        np.testing.assert_array_equal(run(model), litert(model))
    found = run(single_op("QUANTIZE", [x], Out("INT16", 1.0, 0)))
    np.testing.assert_array_equal(found, [32767, 32767, -32768, 32767, -32768, 0, 0, 2, 2, 0, -2])


def test_ratios_beyond_any_form_saturate() -> None:
    """Where LiteRT's own arithmetic wraps around (ratios of scales above 256)."""
    x = every_value("INT8")
    for op in ("ADD", "MUL"):
        model = single_op(op, [Arg(x, 0.7), Arg(x, 0.7)], Out("INT8", 1e-5))
        real = {"ADD": 1.4 * x.astype(float), "MUL": 0.49 * x.astype(float) ** 2}[op]
        np.testing.assert_array_equal(run(model), np.clip(real / 1e-5, -128, 127).astype(np.int8))


@pytest.mark.parametrize("dtype", BOTH)
def test_division_differs_from_litert_only_where_that_shifts_too_far(dtype: str, rng: Rng) -> None:
    """A quotient below half a step: LiteRT shifts by 32 bits and more, which C leaves undefined."""
    seen = 0
    while seen < ENOUGH:
        a_scale, b_scale, b_zero = power(rng, -2, 0), power(rng, -2, 0), zero(rng, dtype)
        a, b = (integers(rng, dtype, (91, 97)) for _ in range(2))
        b[b == b_zero] = b_zero + 1 if b_zero < low(dtype) + 255 else b_zero - 1
        a_zero, out_zero = zero(rng, dtype), zero(rng, dtype)
        out = Out(dtype, a_scale / b_scale * power(rng, -2, 0), out_zero)
        args = [Arg(a, a_scale, a_zero), Arg(b, b_scale, b_zero)]
        model = single_op("DIV", args, out)
        found, wanted = run(model), litert(model)
        exact = (a - float(a_zero)) * a_scale / ((b - float(b_zero)) * b_scale) / out.scale
        tiny = (np.abs(exact) < 0.5) & (found == out_zero)
        assert ((found == wanted) | tiny).all()
        assert (
            np.abs(found - np.clip(exact + out_zero, low(dtype), low(dtype) + 255)) < 0.51
        ).all()
        seen += found.size


def test_quantized_division_by_zero_is_said() -> None:
    a, b = np.int8([[5, 5]]), np.int8([[1, 3]])  # 3 is the zero point
    with pytest.raises(RilletError, match="by zero"):
        run(single_op("DIV", [Arg(a, 0.1), Arg(b, 0.1, 3)], Out("INT8", 0.1)))


@pytest.mark.parametrize("count", [127, 128, 129, 191, 192, 1000])
def test_tables_of_bytes_on_every_isa(count: int, rng: Rng) -> None:
    """Whole vectors and what is left over; all 256 bytes occur, in any order."""
    x = Arg(np.resize(rng.permutation(256), (2, count)).astype(np.uint8).view(np.int8), 0.02, 7)
    one = single_op("LOGISTIC", [x], Out("INT8", 1 / 256, -128))
    found = run(one)
    np.testing.assert_array_equal(found, litert(one))
    for isa in ISAS:
        np.testing.assert_array_equal(run(one, isa=isa, threads=2), found)
