# SPDX-License-Identifier: Apache-2.0
"""Elementwise operators on float32 and plain integers: against NumPy's float64 and LiteRT."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from single_op import ISAS, Arg, OpModel, Out, error, litert, run, single_op

from runtime import RilletError

TOLERANCE = 1e-5
INF, NAN = np.inf, np.nan
# fmt: off
SPECIAL = np.float32([
    NAN, INF, -INF, 0.0, -0.0, 1, -1, 1e-40, -1e-40, 3e38, -3e38, 0.5, 1.5, 2.5, -0.5, -1.5,
    2, 3, 88.9, -104, 1e-6, -1e-6, 6, 7, -3, 8388609, -2.5,
])
# fmt: on


def sigmoid(x: Any) -> Any:
    small = np.exp(-np.abs(x))
    return np.where(x < 0, small, 1) / (1 + small)


def clip(low: float, high: float) -> Callable[[Any], Any]:
    return lambda x: np.clip(x, low, high)


def hard_swish(x: Any) -> Any:
    return x * np.clip(x + 3, 0, 6) / 6


def gelu(x: Any) -> Any:
    return 0.5 * x * np.vectorize(math.erfc, otypes=[float])(x * -math.sqrt(0.5))


def gelu_by_tanh(x: Any) -> Any:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


# Op, what it computes in float64, its options.
UNARY: list[tuple[str, Callable[[Any], Any], dict[str, Any]]] = [
    ("RELU", lambda x: np.maximum(x, 0), {}),
    ("RELU6", clip(0, 6), {}),
    ("RELU_N1_TO_1", clip(-1, 1), {}),
    ("RELU_0_TO_1", clip(0, 1), {}),
    ("LEAKY_RELU", lambda x: np.where(x < 0, np.float64(np.float32(0.3)) * x, x), {"alpha": 0.3}),
    ("ELU", lambda x: np.where(x < 0, np.expm1(np.minimum(x, 0)), x), {}),
    ("LOGISTIC", sigmoid, {}),
    ("TANH", np.tanh, {}),
    ("HARD_SWISH", hard_swish, {}),
    ("EXP", np.exp, {}),
    ("LOG", np.log, {}),
    ("SQRT", np.sqrt, {}),
    ("RSQRT", lambda x: 1 / np.sqrt(x), {}),
    ("NEG", operator.neg, {}),
    ("ABS", np.abs, {}),
    ("SQUARE", np.square, {}),
    ("FLOOR", np.floor, {}),
    ("CEIL", np.ceil, {}),
    ("ROUND", np.rint, {}),
    ("SIN", np.sin, {}),
    ("COS", np.cos, {}),
    ("SIGN", np.sign, {}),
    ("GELU", gelu, {}),
    ("GELU", gelu_by_tanh, {"approximate": True}),
]
# Op, float64, whether it takes a fused activation.
BINARY: list[tuple[str, Callable[[Any, Any], Any], bool]] = [
    ("ADD", np.add, True),
    ("SUB", np.subtract, True),
    ("MUL", np.multiply, True),
    ("DIV", np.divide, True),
    ("MAXIMUM", np.maximum, False),
    ("MINIMUM", np.minimum, False),
    ("SQUARED_DIFFERENCE", lambda a, b: np.square(a - b), False),
    ("FLOOR_DIV", lambda a, b: np.floor((a / b).astype(np.float32)), False),
    ("FLOOR_MOD", np.mod, False),
    ("POW", np.power, False),
]
BINARY_INT: list[tuple[str, Callable[[Any, Any], Any]]] = [
    ("ADD", np.add),
    ("SUB", np.subtract),
    ("MUL", np.multiply),
    ("MAXIMUM", np.maximum),
    ("MINIMUM", np.minimum),
    ("SQUARED_DIFFERENCE", lambda a, b: (a - b) * (a - b)),
    ("FLOOR_DIV", np.floor_divide),
    ("FLOOR_MOD", np.mod),
    ("DIV", lambda a, b: np.trunc(a / b).astype(a.dtype)),
]
COMPARISONS = {
    "EQUAL": np.equal,
    "NOT_EQUAL": np.not_equal,
    "LESS": np.less,
    "LESS_EQUAL": np.less_equal,
    "GREATER": np.greater,
    "GREATER_EQUAL": np.greater_equal,
}
ACTIVATIONS = {
    "NONE": clip(-np.inf, np.inf),
    "RELU": clip(0, np.inf),
    "RELU_N1_TO_1": clip(-1, 1),
    "RELU6": clip(0, 6),
}
# Two shapes that broadcast; every way a row can step through them.
SHAPES = [
    ((3, 5), (3, 5)),
    ((2, 7, 7, 33), (33,)),
    ((4, 9, 1), (4, 9, 17)),
    ((1,), (130,)),
    ((), (5, 3)),
    ((2, 1, 3, 1), (1, 4, 1, 5)),
    ((2, 1, 3, 1, 2, 1), (2, 1, 3, 2, 1)),
    ((6, 1, 1), (6, 5, 4)),
    ((0, 3), (1, 3)),
    ((200, 201), (200, 201)),  # more than one tile
]


def close_to_exact(model: OpModel, exact: Any) -> None:
    """Within tolerance of float64, and of LiteRT where that is right itself."""
    found = run(model)
    with np.errstate(over="ignore"):
        exact = np.asarray(exact).astype(np.float32)
    assert error(found, exact) <= TOLERANCE, model.op
    np.testing.assert_array_equal(run(model, threads=3), found)
    for isa in ISAS:  # floats, too: no loop of these sums in an order of its own
        np.testing.assert_array_equal(run(model, isa=isa), found)
    if exact.size:
        peer = litert(model)
        assert error(found, peer) <= TOLERANCE or error(peer, exact) > TOLERANCE


@pytest.mark.parametrize(("op", "exact", "options"), UNARY, ids=[row[0] for row in UNARY])
@pytest.mark.parametrize("shape", [(1,), (3, 5, 7), (), (0, 4), (30_001,)], ids=str)
def test_unary_is_close_to_exact(op: str, exact: Any, options: Any, shape: Any, rng: Any) -> None:
    x = rng.normal(0, 3, shape).astype(np.float32)
    x = np.abs(x) if op in ("LOG", "SQRT", "RSQRT") else x
    close_to_exact(single_op(op, [x], **options), exact(np.asarray(x, np.float64)))


@pytest.mark.parametrize(("op", "exact", "options"), UNARY, ids=[row[0] for row in UNARY])
def test_a_value_does_not_depend_on_how_many_there_are(op: str, exact: Any, options: Any) -> None:
    """Loops take blocks; what is left over after them gives the same bits."""
    x = np.linspace(0.1, 4, 100, dtype=np.float32)
    for isa in ISAS:
        whole = run(single_op(op, [x], **options), isa=isa)
        for n in [*range(1, 36), 47, 48, 63, 64, 65, 79, 99]:
            found = run(single_op(op, [x[:n]], **options), isa=isa)
            np.testing.assert_array_equal(found, whole[:n])


@pytest.mark.parametrize(("op", "exact", "options"), UNARY, ids=[row[0] for row in UNARY])
def test_unary_keeps_nan_infinity_and_zero(op: str, exact: Any, options: Any) -> None:
    """One value at a time, so that no large one hides a small one's error."""
    found = run(single_op(op, [SPECIAL], **options))
    with np.errstate(all="ignore"):
        wanted = exact(SPECIAL.astype(np.float64)).astype(np.float32)
    for x, y, want in zip(SPECIAL, found, wanted, strict=True):
        tiny = abs(want) < 1.2e-38 and abs(y - want) < 1e-43
        overflows = np.isinf(want) and y == want
        assert tiny or overflows or error(np.array([y]), np.array([want])) <= 1e-6, (x, y, want)
    if op in ("FLOOR", "CEIL", "ROUND", "NEG", "ABS", "SQRT", "TANH", "SIN"):
        zeros = SPECIAL == 0
        np.testing.assert_array_equal(np.signbit(found[zeros]), np.signbit(wanted[zeros]))


@pytest.mark.parametrize(("op", "exact", "fused"), BINARY, ids=[row[0] for row in BINARY])
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_binary_is_close_to_exact(op: str, exact: Any, fused: bool, shapes: Any, rng: Any) -> None:
    a, b = (rng.normal(0, 2, shape).astype(np.float32) for shape in shapes)
    if op == "POW":
        a = np.abs(a) + np.float32(0.01)
    for x, y in ((a, b), (b, a)):
        if op == "POW":
            x = np.abs(x)
        for activation in ACTIVATIONS if fused else ["NONE"]:
            options = {"fused_activation_function": activation} if fused else {}
            with np.errstate(all="ignore"):
                wanted = ACTIVATIONS[activation](exact(np.float64(x), np.float64(y)))
            close_to_exact(single_op(op, [x, y], **options), wanted)


@pytest.mark.parametrize("op", [row[0] for row in BINARY])
def test_binary_of_special_values(op: str) -> None:
    exact = {name: function for name, function, _ in BINARY}[op]
    a, b = (grid.ravel() for grid in np.meshgrid(SPECIAL, SPECIAL))
    with np.errstate(all="ignore"):
        wanted = exact(np.float64(a), np.float64(b)).astype(np.float32)
    found = run(single_op(op, [a, b]))
    with np.errstate(all="ignore"):
        same = (found == wanted) | (np.isnan(found) & np.isnan(wanted))
        # 2.5 ULP, or the last bits of what is below the normal numbers
        near = np.abs(found / wanted - 1) < 3e-7
        small = (np.abs(wanted) < 1.2e-38) & (np.abs(found - wanted) < 1e-43)
    wrong = ~(same | near | small)
    assert not wrong.any(), np.stack([a, b, found, wanted], 1)[wrong][:5]


def test_floor_mod_of_any_magnitudes(rng: Any) -> None:
    """Exact however many times the divisor fits. None so small that a remainder is denormal: armv7
    knows no such numbers."""
    a, b = rng.integers(0, 2**32, (2, 300_000), np.uint32).view(np.float32)
    usable = np.isfinite(a) & np.isfinite(b) & (np.abs(a) > 1e-30) & (np.abs(b) > 1e-30)
    a, b = a[usable], b[usable]
    model = single_op("FLOOR_MOD", [a, b])
    found, peer = run(model), litert(model)
    np.testing.assert_array_equal(found, peer)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(peer))
    for isa in ISAS:
        np.testing.assert_array_equal(run(model, isa=isa), found)


def test_comparisons_of_special_values() -> None:
    a, b = (grid.ravel() for grid in np.meshgrid(SPECIAL, SPECIAL))
    for op, exact in COMPARISONS.items():
        model = single_op(op, [a, b], Out("BOOL"))
        np.testing.assert_array_equal(run(model), exact(a, b))
        np.testing.assert_array_equal(litert(model), exact(a, b))


@pytest.mark.parametrize("op", ["PRELU", "LEAKY_RELU"])
def test_slopes_of_special_values(op: str) -> None:
    """NaN and infinities pass, -0 keeps its sign, one value at a time."""
    options = {"alpha": 0.25} if op == "LEAKY_RELU" else {}
    slopes = [] if options else [Arg(np.float32([0.25]), const=True)]
    found = run(single_op(op, [SPECIAL, *slopes], **options))
    wanted = np.where(SPECIAL < 0, SPECIAL * np.float32(0.25), SPECIAL)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(np.signbit(found[1:]), np.signbit(wanted[1:]))


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize(("op", "exact"), BINARY_INT, ids=[row[0] for row in BINARY_INT])
@pytest.mark.parametrize("shapes", SHAPES[:6], ids=str)
def test_integers_are_exact(op: str, exact: Any, dtype: Any, shapes: Any, rng: Any) -> None:
    a, b = (rng.integers(-900, 900, shape).astype(dtype) for shape in shapes)
    b = np.where(b == 0, 7, b).astype(dtype)
    np.testing.assert_array_equal(run(single_op(op, [a, b])), exact(a, b))


def test_integers_wrap_around() -> None:
    edge = np.array([2**31 - 1, -(2**31), -(2**31), 5], np.int32)
    other = np.array([1, -1, -(2**31), -1], np.int32)
    with np.errstate(all="ignore"):
        for op, exact in (("ADD", np.add), ("SUB", np.subtract), ("MUL", np.multiply)):
            np.testing.assert_array_equal(run(single_op(op, [edge, other])), exact(edge, other))
    divided = run(single_op("DIV", [edge, other]))
    np.testing.assert_array_equal(divided, np.array([2**31 - 1, -(2**31), 1, -5], np.int32))
    np.testing.assert_array_equal(run(single_op("NEG", [edge])), np.negative(edge))
    np.testing.assert_array_equal(run(single_op("ABS", [edge])), np.abs(edge))


@pytest.mark.parametrize("slopes", [(1, 1, 6), (5, 6), (3, 5, 6), (1,)], ids=str)
def test_prelu(slopes: Any, rng: Any) -> None:
    x = rng.normal(0, 3, (3, 5, 6)).astype(np.float32)
    alpha = rng.normal(0, 0.5, slopes).astype(np.float32)
    wanted = np.where(x < 0, np.float64(x) * alpha, x)
    close_to_exact(single_op("PRELU", [x, Arg(alpha, const=True)]), wanted)


def test_fused_activation_on_integers_is_of_the_exact_result() -> None:
    a, b = np.array([2**31 - 1, -5, 3], np.int32), np.array([1, 2, 4], np.int32)
    model = single_op("ADD", [a, b], fused_activation_function="RELU6")
    np.testing.assert_array_equal(run(model), [6, 0, 6])


BOUNDS = {"RELU": (0, 2**63 - 1), "RELU6": (0, 6), "RELU_N1_TO_1": (-1, 1)}


@pytest.mark.parametrize("activation", BOUNDS)
@pytest.mark.parametrize(
    ("op", "dtype"),
    [("ADD", np.int64), ("SUB", np.int64), ("MUL", np.int64), ("DIV", np.int64), ("DIV", np.int32)],
)
def test_fused_activation_on_wide_integers(op: str, dtype: Any, activation: str, rng: Any) -> None:
    least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    edges = np.array([least, most, least + 1, -1, 1, 2, 3_037_000_500 % most, most // 3], dtype)
    a, b = (rng.integers(-9, 9, 50_000).astype(dtype) for _ in range(2))
    a, b = np.append(a, np.repeat(edges, len(edges))), np.append(b, np.tile(edges, len(edges)))
    b[(b == 0) & (op == "DIV")] = 5
    model = single_op(op, [a, b], fused_activation_function=activation)
    lo, hi = BOUNDS[activation]
    exact = {"ADD": int.__add__, "SUB": int.__sub__, "MUL": int.__mul__}.get(op)
    if exact is None:  # the least over -1 wraps around, as without an activation

        def exact(u: int, v: int) -> int:
            quotient = abs(u) // abs(v) * (1 if (u < 0) == (v < 0) else -1)
            return least if quotient > most else quotient

    wanted = [min(max(exact(int(u), int(v)), lo), hi, int(most)) for u, v in zip(a, b, strict=True)]
    np.testing.assert_array_equal(run(model), np.array(wanted, dtype))
    if (op, dtype) != (
        "DIV",
        np.int64,
    ):  # LiteRT has none; beyond the type its results are C's choice
        small = single_op(op, [a[:50_000], b[:50_000]], fused_activation_function=activation)
        np.testing.assert_array_equal(run(small), litert(small))


@pytest.mark.parametrize(
    "shapes", [((400, 300), (400, 300)), ((400, 300), (300,)), ((9, 1), (1, 7))]
)
def test_complex_products(shapes: Any, rng: Any) -> None:
    a, b = ((rng.normal(0, 3, s) + 1j * rng.normal(0, 3, s)).astype(np.complex64) for s in shapes)
    model = single_op("MUL", [a, b])
    found = run(model)
    wanted = a.astype(np.complex128) * b
    assert np.abs(found - wanted).max() <= 1e-6 * np.abs(wanted).max()
    assert np.abs(found - litert(model)).max() <= 1e-6 * np.abs(wanted).max()
    np.testing.assert_array_equal(run(model, threads=3), found)


@pytest.mark.parametrize(
    "model",
    [
        single_op("MUL", [np.ones(3, np.float32)] * 2, fused_activation_function="TANH"),
        single_op("CONCATENATION", [np.ones(3, np.int32)] * 2, fused_activation_function="TANH"),
        single_op("MUL", [np.ones(3, np.complex64)] * 2, fused_activation_function="TANH"),
    ],
)
def test_an_activation_that_litert_ignores_names_the_way_out(model: OpModel) -> None:
    words = "'y0'.*TANH \\(4\\), which LiteRT ignores.*make it a node of its own behind this one"
    with pytest.raises(RilletError, match=words):
        run(model)


@pytest.mark.parametrize("op", ["DIV", "FLOOR_DIV", "FLOOR_MOD"])
def test_integer_division_by_zero_is_said(op: str) -> None:
    model = single_op(op, [np.array([1, 2], np.int32), np.array([1, 0], np.int32)])
    with pytest.raises(RilletError, match="by zero"):
        run(model)


def test_integer_powers() -> None:
    a, b = (v.ravel() for v in np.meshgrid(np.arange(-4, 5), np.arange(0, 12)))
    a, b = a.astype(np.int32), b.astype(np.int32)
    np.testing.assert_array_equal(run(single_op("POW", [a, b])), np.power(a, b))


@pytest.mark.parametrize("op", COMPARISONS)
@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int64])
@pytest.mark.parametrize("shapes", SHAPES[:6], ids=str)
def test_comparisons(op: str, dtype: Any, shapes: Any, rng: Any) -> None:
    a, b = (rng.integers(-3, 3, shape).astype(dtype) for shape in shapes)
    if dtype is np.float32 and a.size > 3:
        a.flat[:3] = np.nan, np.inf, -0.0
    found = run(single_op(op, [a, b], Out("BOOL")))
    np.testing.assert_array_equal(found, COMPARISONS[op](a, b))


def test_logical_operators() -> None:
    a, b = np.array([[0, 0, 1, 1]], bool), np.array([[0], [1]], bool)
    np.testing.assert_array_equal(run(single_op("LOGICAL_AND", [a, b])), a & b)
    np.testing.assert_array_equal(run(single_op("LOGICAL_OR", [a, b])), a | b)
    np.testing.assert_array_equal(run(single_op("LOGICAL_NOT", [a])), ~a)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_broadcasting_is_numpys(data: st.DataObject) -> None:
    full = data.draw(st.lists(st.integers(0, 4), max_size=6))
    sides = []
    for _ in range(2):
        shape = [data.draw(st.sampled_from([1, size])) for size in full]
        sides.append(shape[data.draw(st.integers(0, len(shape))) :])
    a, b = (np.arange(np.prod(s, dtype=int), dtype=np.float32).reshape(s) for s in sides)
    np.testing.assert_array_equal(run(single_op("SUB", [a, b])), a - b)


# ---- CAST ----

CAST_TYPES = ["float32", "float16", "float64", "int8", "uint8", "int16", "int32", "int64", "bool"]


@pytest.mark.parametrize("source", CAST_TYPES)
@pytest.mark.parametrize("target", CAST_TYPES)
def test_cast(source: str, target: str) -> None:
    values = np.array([0, 1, 2, 100, 127, -1.9, 3.99, -128, 77.5], np.float64)
    x = np.abs(values).astype(source) if "u" in source + target else values.astype(source)
    wanted = x.astype(target)
    found = run(single_op("CAST", [x], Out(target.upper())))
    np.testing.assert_array_equal(found, wanted)


def test_cast_to_integer_saturates_and_nan_is_zero() -> None:
    x = np.array([np.nan, np.inf, -np.inf, 1e20, -1e20, 2147483648.0, 300.0], np.float32)
    found = run(single_op("CAST", [x], Out("INT32")))
    top, bottom = 2**31 - 1, -(2**31)
    np.testing.assert_array_equal(found, [0, top, bottom, top, bottom, top, 300])
    found = run(single_op("CAST", [x], Out("INT64")))
    top, bottom = 2**63 - 1024, -(2**63)
    assert found[0] == 0 and found[1] >= top and found[2] == bottom and found[5] == 2**31


def test_cast_of_wide_integers_keeps_the_low_bits() -> None:
    x = np.array([300, -129, 2**40 + 5, -1], np.int64)
    for target in ("int8", "uint8", "int16", "int32"):
        found = run(single_op("CAST", [x], Out(target.upper())))
        np.testing.assert_array_equal(found, x.astype(target))


# ---- refusals ----

F, I8 = np.ones((2, 3), np.float32), np.ones((2, 3), np.int8)
REFUSED: list[tuple[str, OpModel, str]] = [
    ("three inputs", single_op("ADD", [F, F, F], Out()), "3 inputs"),
    ("slopes", single_op("PRELU", [F, np.ones((4, 2, 3), np.float32)]), "slopes for more"),
    ("mixed types", single_op("ADD", [F, F.astype(np.int32)], Out()), "same type"),
    ("shapes", single_op("MUL", [F, np.ones((2, 4), np.float32)]), "broadcast"),
    ("no scale", single_op("ADD", [I8, I8], Out("INT8", shape=(2, 3))), "no quantization"),
    ("activation", single_op("ADD", [F, F], fused_activation_function="TANH"), "activation"),
    ("type", single_op("SQRT", [F.astype(np.int32)]), "no kernel for INT32"),
    ("output type", single_op("RELU", [F], Out("INT32")), "same type"),
    (
        "per-channel",
        single_op("ADD", [Arg(I8, [0.1, 0.2]), Arg(I8, 0.1)], Out("INT8", 0.1)),
        "2 scales",
    ),
    ("scales of a maximum", single_op("MAXIMUM", [Arg(I8, 0.1), Arg(I8, 0.2)]), "same scale"),
    ("order of bool", single_op("LESS", [F > 0, F > 0], Out("BOOL")), "order"),
    ("not bool", single_op("LOGICAL_AND", [F, F], Out("BOOL")), "BOOL"),
    ("cast", single_op("CAST", [F], Out("COMPLEX128")), "takes"),
    ("quantize without scale", single_op("QUANTIZE", [F], Out("INT8")), "no scale"),
    ("dequantize without scale", single_op("DEQUANTIZE", [I8], Out()), "no scale"),
]


@pytest.mark.parametrize(("name", "model", "words"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refusals_say_why(name: str, model: OpModel, words: str) -> None:
    with pytest.raises(RilletError, match=words):
        run(model)
