# SPDX-License-Identifier: Apache-2.0
"""FULLY_CONNECTED, CONV_2D and DEPTHWISE_CONV_2D on every ISA of this machine, against peers."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matrix_models import (
    FLOAT,
    HYBRID,
    INT8,
    Case,
    conv_2d,
    depthwise_conv_2d,
    fully_connected,
    int8_quant,
)
from matrix_runs import ISAS, interpreter, relative_error, run, run_litert

from converter import ir
from converter.writer import write_tflite
from runtime.errors import RilletError

X = (2, 17, 19, 12)  # batch, height, width, channels
DX = (2, 11, 13, 44)
CASES: dict[str, Callable[..., Case]] = {
    "dense": lambda **kw: fully_connected(37, 131, 45, **kw),
    "dense-no-bias": lambda **kw: fully_connected(7, 64, 32, bias=False, **kw),
    "dense-one-row": lambda **kw: fully_connected(1, 1024, 1000, **kw),
    "dense-per-tensor": lambda **kw: fully_connected(9, 33, 17, per_channel=False, **kw),
    "dense-keep-dims": lambda **kw: fully_connected(5, 64, 33, keep=True, lead=(2, 3), **kw),
    "dense-rank-4": lambda **kw: fully_connected(5, 64, 33, lead=(2, 3), **kw),
    "dense-relu": lambda **kw: fully_connected(37, 50, 45, act="RELU", **kw),
    "dense-relu6": lambda **kw: fully_connected(37, 50, 45, act="RELU6", **kw),
    "dense-relu1": lambda **kw: fully_connected(37, 50, 45, act="RELU_N1_TO_1", **kw),
    "dense-heavy": lambda **kw: fully_connected(70, 600, 520, **kw),
    "conv": lambda **kw: conv_2d(X, 26, **kw),
    "conv-rgb": lambda **kw: conv_2d((1, 32, 32, 3), 32, stride=(2, 2), **kw),
    "conv-one-channel": lambda **kw: conv_2d((1, 28, 28, 1), 32, (5, 5), **kw),
    "conv-per-tensor": lambda **kw: conv_2d(X, 26, per_channel=False, **kw),
    "conv-stride": lambda **kw: conv_2d(X, 26, stride=(2, 3), **kw),
    "conv-dilation": lambda **kw: conv_2d(X, 26, dilation=(2, 3), **kw),
    "conv-valid": lambda **kw: conv_2d(X, 26, (5, 3), stride=(1, 2), padding="VALID", **kw),
    "conv-1x1": lambda **kw: conv_2d(X, 26, (1, 1), act="RELU6", **kw),
    "conv-1x1-heavy": lambda **kw: conv_2d((2, 7, 7, 300), 520, (1, 1), **kw),
    "conv-1x1-stride": lambda **kw: conv_2d(X, 26, (1, 1), stride=(2, 2), **kw),
    "conv-groups": lambda **kw: conv_2d(X, 26, groups=2, **kw),
    "conv-window-over-edge": lambda **kw: conv_2d((1, 2, 3, 5), 7, (7, 7), act="RELU", **kw),
    "depthwise": lambda **kw: depthwise_conv_2d(DX, **kw),
    "depthwise-relu6": lambda **kw: depthwise_conv_2d(DX, act="RELU6", **kw),
    "depthwise-stride": lambda **kw: depthwise_conv_2d(DX, stride=(2, 2), **kw),
    "depthwise-dilation": lambda **kw: depthwise_conv_2d(DX, dilation=(3, 2), **kw),
    "depthwise-valid": lambda **kw: depthwise_conv_2d(DX, padding="VALID", **kw),
    "depthwise-5x5": lambda **kw: depthwise_conv_2d(DX, kernel=(5, 5), **kw),
    "depthwise-2x4": lambda **kw: depthwise_conv_2d(DX, kernel=(2, 4), **kw),
    "depthwise-multiplier": lambda **kw: depthwise_conv_2d(DX, 3, **kw),
    "depthwise-one-channel": lambda **kw: depthwise_conv_2d((1, 9, 9, 1), 8, **kw),
}
# One op, 100,000 values or more.
LARGE: dict[str, Callable[..., Case]] = {
    "FULLY_CONNECTED": lambda **kw: fully_connected(512, 201, 200, **kw),
    "CONV_2D": lambda **kw: conv_2d((1, 41, 41, 13), 60, **kw),
    "DEPTHWISE_CONV_2D": lambda **kw: depthwise_conv_2d((1, 40, 40, 65), **kw),
}


def thread_counts(case: Case, isa: str) -> np.ndarray:
    """The output, after checking that three threads give the same bits as one."""
    one = run(case, isa)
    assert run(case, isa, threads=3).tobytes() == one.tobytes()
    return one


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", CASES)
def test_float_is_close_to_litert(name: str, isa: str) -> None:
    case = CASES[name](family=FLOAT)
    found, wanted = thread_counts(case, isa), run_litert(case)
    assert found.shape == wanted.shape
    assert relative_error(found, wanted) <= 1e-6


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", CASES)
def test_int8_equals_litert(name: str, isa: str) -> None:
    case = CASES[name](family=INT8)
    found, wanted = thread_counts(case, isa), run_litert(case)
    assert found.dtype == np.int8 and found.shape == wanted.shape
    assert np.count_nonzero(found != wanted) == 0


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("name", LARGE)
def test_int8_equals_litert_on_100000_values(name: str, per_channel: bool) -> None:
    case = LARGE[name](family=INT8, per_channel=per_channel, seed=7)
    wanted = run_litert(case)
    assert wanted.size >= 100_000
    assert len(np.unique(wanted)) == 256  # saturation included
    for isa in ISAS:
        assert np.count_nonzero(run(case, isa) != wanted) == 0, isa


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", CASES)
def test_dynamic_range_is_close_to_litert(name: str, isa: str) -> None:
    case = CASES[name](family=HYBRID)
    found, wanted = thread_counts(case, isa), run_litert(case)
    assert found.shape == wanted.shape
    assert relative_error(found, wanted) <= 1e-6


@pytest.mark.parametrize("act", ["RELU6", "RELU_N1_TO_1"])
def test_int8_bounds_on_ties_equal_litert(act: str) -> None:
    """The bound divided by the output scale lies half-way between two integers."""
    top = 6.0 if act == "RELU6" else 1.0
    for steps in range(3, 120, 13):
        case = fully_connected(9, 33, 40, family=INT8, act=act, out_scale=top / (steps + 0.5))
        wanted = run_litert(case)
        for isa in ISAS:
            assert np.array_equal(run(case, isa), wanted), (steps, isa)


def exact_case(zero_in: int, zero_out: int) -> tuple[Case, np.ndarray]:
    """All int8 inputs times -127..127 times one half: ties in every second value, saturation."""
    x = np.arange(-128, 128, dtype=np.int8).reshape(256, 1)
    weights = np.arange(-127, 128, dtype=np.int8).reshape(255, 1)
    graph = ir.Graph()
    value = graph.add_input("x", "INT8", x.shape, quant=int8_quant(1.0, zero_in))
    kernel = ir.Value.constant("weights", weights, quant=int8_quant(0.5))
    y = ir.Value("y", "INT8", (256, 255), quant=int8_quant(1.0, zero_out))
    graph.add_node("FULLY_CONNECTED", [value, kernel, None], [y])
    graph.outputs.append(y)
    sums = (x.astype(np.int64) - zero_in) @ weights.astype(np.int64).T
    wanted = np.clip(np.rint(sums * 0.5) + zero_out, -128, 127).astype(np.int8)
    return Case(write_tflite(ir.Model([graph])), [x]), wanted


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("zeros", [(0, 0), (-128, 127), (127, -128), (5, -3)])
def test_int8_ties_go_to_even(isa: str, zeros: tuple[int, int]) -> None:
    case, wanted = exact_case(*zeros)
    assert np.array_equal(run(case, isa), wanted)
    assert np.array_equal(run_litert(case), wanted)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 33), st.integers(1, 70), st.integers(1, 70), st.booleans())
def test_any_size_of_product(rows: int, k: int, n: int, per_channel: bool) -> None:
    """Sizes on both sides of every vector width and block."""
    exact = fully_connected(rows, k, n, family=INT8, per_channel=per_channel)
    wanted = run(exact, "scalar")
    real = fully_connected(rows, k, n)
    close = run_litert(real)
    for isa in ISAS:
        assert np.array_equal(run(exact, isa), wanted)
        assert relative_error(run(real, isa), close, real.typical) <= 1e-6


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(1, 2), st.integers(1, 9), st.integers(1, 9), st.integers(1, 40)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.sampled_from(["SAME", "VALID"]),
    st.booleans(),
)
def test_any_window(shape, kernel, stride, dilation, padding, depthwise) -> None:
    if padding == "VALID":
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        shape = (shape[0], max(shape[1], reach[0]), max(shape[2], reach[1]), shape[3])
    options = {"kernel": kernel, "stride": stride, "dilation": dilation, "padding": padding}
    for family in (INT8, FLOAT):
        if depthwise:
            case = depthwise_conv_2d(shape, 1, family=family, **options)
        else:
            case = conv_2d(shape, 9, family=family, **options)
        wanted = run_litert(case)
        for isa in ISAS:
            found = run(case, isa)
            assert found.shape == wanted.shape
            limit = 0 if family == INT8 else 1e-6
            assert relative_error(found, wanted, case.typical) <= limit


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    "build",
    [
        lambda: fully_connected(6, 40, 50, computed_weights=True),
        lambda: conv_2d((2, 9, 9, 6), 20, computed_weights=True),
    ],
)
def test_computed_float_weights(build: Callable[[], Case], isa: str) -> None:
    case = build()
    assert relative_error(thread_counts(case, isa), run_litert(case)) <= 1e-6


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("family", [FLOAT, HYBRID])
@pytest.mark.parametrize("name", ["dense", "conv", "conv-groups", "depthwise"])
def test_computed_weights_give_what_constant_ones_give(name: str, family: str, isa: str) -> None:
    """LiteRT's default path wants most of them constant; integers have test_computed_weights.py."""
    wanted = run(CASES[name](family=family), isa)
    case = CASES[name](family=family, computed_weights=True)
    assert np.array_equal(thread_counts(case, isa), wanted)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("act", ["NONE", "RELU6"])
def test_nan_and_infinity_stay_in_their_row(isa: str, act: str) -> None:
    case = fully_connected(20, 30, 40, act=act)
    clean = run(case, isa)
    case.inputs[0][3, 7] = math.nan
    case.inputs[0][11, 2] = math.inf
    found = run(case, isa)
    assert np.isnan(found[3]).all()
    rest = [i for i in range(20) if i not in (3, 11)]
    assert np.array_equal(found[rest], clean[rest])
    assert not np.isfinite(found[11]).any() if act == "NONE" else set(found[11]) <= {0.0, 6.0}


def test_loops_are_those_of_the_isa() -> None:
    for isa in ISAS:
        for name, family in (
            ("dense", FLOAT),
            ("conv", INT8),
            ("depthwise", FLOAT),
            ("depthwise", INT8),
        ):
            node = interpreter(CASES[name](family=family), isa).nodes()[0]
            assert node["loop"].endswith(f"__{isa}"), node
            assert node["macs"] > 0


def test_macs_are_counted() -> None:
    def macs(case: Case) -> int:
        return interpreter(case, ISAS[-1]).nodes()[0]["macs"]

    assert macs(fully_connected(3, 5, 7)) == 3 * 5 * 7
    assert (
        macs(conv_2d((2, 8, 8, 6), 10, (3, 5), stride=(2, 2), groups=2)) == 2 * 4 * 4 * 10 * 15 * 3
    )
    assert macs(depthwise_conv_2d((1, 8, 8, 6), 2)) == 8 * 8 * 12 * 9


@pytest.mark.parametrize("isa", [isa for isa in ISAS if isa != "scalar"])
@pytest.mark.parametrize("name, rows", [("dense-heavy", 70), ("conv-1x1-heavy", 98)])
def test_all_rows_pass_by_weights_that_no_cache_holds(name: str, rows: int, isa: str) -> None:
    """One tile has them all: scratch holds a pointer to each."""
    assert interpreter(CASES[name](family=FLOAT), isa).nodes()[0]["scratch"] >= 8 * rows


# ---- refusals: what was found and what is wanted --------------------------------------------


def broken(
    change: Callable[[ir.Node], None],
    build: Callable[[], Case] = lambda: conv_2d(X, 26, family=INT8),
) -> Case:
    from converter.reader import read_tflite

    case = build()
    model = read_tflite(case.model)
    change(model.main.nodes[0])
    return Case(write_tflite(model), case.inputs)


def set_option(name: str, value: object) -> Callable[[ir.Node], None]:
    return lambda node: node.options.update({name: value})


def set_weights(data: np.ndarray, zero: int = 0, axis: int = -1) -> Callable[[ir.Node], None]:
    scales = data.shape[axis] if axis >= 0 else 1
    quant = ir.Quantization(np.full(scales, 0.1), np.full(scales, zero), max(axis, 0))
    return lambda node: node.set_input(1, ir.Value.constant("w", data, quant=quant))


REFUSED = {
    "empty": (set_weights(np.ones((0, 3, 3, 12), np.int8)), "empty"),
    "activation": (set_option("fused_activation_function", "TANH"), "fused activation"),
    "stride": (set_option("stride_w", 0), "stride 0"),
    "dilation": (set_option("dilation_h_factor", -1), "dilation -1"),
    "channels": (set_weights(np.ones((26, 3, 3, 5), np.int8)), "multiple"),
    "zero point": (set_weights(np.ones((26, 3, 3, 12), np.int8), 3), "zero point 3"),
    "scales": (set_weights(np.ones((26, 3, 3, 12), np.int8), axis=3), "12 scales along axis 3"),
    "bias length": (lambda n: n.set_input(2, ir.Value.constant("b", np.ones(25, np.int32))), "26"),
    "bias type": (
        lambda n: n.set_input(2, ir.Value.constant("b", np.ones(26, np.float32))),
        "INT32",
    ),
    "weights type": (set_weights(np.ones((26, 3, 3, 12), np.float32)), "FLOAT32"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_words(name: str) -> None:
    change, words = REFUSED[name]
    with pytest.raises(RilletError, match=words):
        interpreter(broken(change), ISAS[-1])


def test_dense_rows_must_divide() -> None:
    case = broken(
        set_weights(np.ones((45, 130), np.int8)), lambda: fully_connected(37, 131, 45, family=INT8)
    )
    with pytest.raises(RilletError, match="130"):
        interpreter(case, ISAS[-1])


def test_a_valid_window_must_fit() -> None:
    case = broken(set_option("padding", "VALID"), lambda: conv_2d((1, 3, 3, 4), 5, (5, 5)))
    with pytest.raises(RilletError, match="does not fit"):
        interpreter(case, ISAS[-1])
