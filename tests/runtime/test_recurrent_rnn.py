# SPDX-License-Identifier: Apache-2.0
"""RNN and SVDF operators: every option against LiteRT, the integer SVDF bit by bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import pytest
from recurrent_models import Recurrent, basic, litert, rnn, rnn_both_ways, run, svdf
from single_op import ISAS, error

import runtime
from converter import ir, read_tflite, write_tflite
from runtime import RilletError

ENOUGH = 100_000
# A value of a state that rounds to another int8 moves everything behind it.
TOLERANCE = {"FLOAT": 1e-5, "HYBRID": 2e-3}
ACTIVATIONS = ["NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT"]


def check(model: Recurrent, family: str) -> None:
    found = run(model)
    for ours, theirs in zip(found, litert(model), strict=True):
        assert error(ours, theirs) <= TOLERANCE[family]
    for isa in ISAS:
        for ours, other in zip(found, run(model, isa), strict=True):
            assert error(other, ours) <= TOLERANCE[family]
    for ours, other in zip(found, run(model, threads=3), strict=True):
        np.testing.assert_array_equal(other, ours)


@pytest.mark.parametrize("family", ["FLOAT", "HYBRID"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("op", ["RNN", "UNIDIRECTIONAL_SEQUENCE_RNN"])
def test_rnn(op: str, activation: str, family: str, rng: Any) -> None:
    check(rnn(rng, op, family, activation=activation), family)


@pytest.mark.parametrize("family", ["FLOAT", "HYBRID"])
@pytest.mark.parametrize("units", [1, 16, 67])
def test_sequences(units: int, family: str, rng: Any) -> None:
    op = "UNIDIRECTIONAL_SEQUENCE_RNN"
    check(rnn(rng, op, family, units, time_major=True), family)
    check(rnn(rng, op, family, units), family)


@pytest.mark.parametrize("op", ["RNN", "UNIDIRECTIONAL_SEQUENCE_RNN"])
def test_asymmetric_inputs(op: str, rng: Any) -> None:
    check(rnn(rng, op, "HYBRID", asymmetric_quantize_inputs=True), "HYBRID")


# LiteRT steps through an auxiliary input as if it were as wide as the input.
AUX = {"none": 0, "input of the backward one": 7, "into both": 7}


@pytest.mark.parametrize("major", [False, True])
@pytest.mark.parametrize("merge", [False, True])
@pytest.mark.parametrize("aux", AUX)
def test_both_ways(aux: str, merge: bool, major: bool, rng: Any) -> None:
    if aux == "input of the backward one" and not major:
        return  # LiteRT forgets it there; test_major_is_minor_turned tells
    options = {"time_major": major, "merge_outputs": merge}
    both = aux == "into both"
    check(rnn_both_ways(rng, "FLOAT", aux=AUX[aux], aux_weights=both, **options), "FLOAT")


@pytest.mark.parametrize("merge", [False, True])
@pytest.mark.parametrize("aux", ["none", "into both"])
@pytest.mark.parametrize("asymmetric", [False, True])
def test_both_ways_with_int8_weights(asymmetric: bool, aux: str, merge: bool, rng: Any) -> None:
    options = {"merge_outputs": merge, "asymmetric_quantize_inputs": asymmetric}
    both = aux == "into both"
    check(rnn_both_ways(rng, "HYBRID", aux=AUX[aux], aux_weights=both, **options), "HYBRID")


@pytest.mark.parametrize("family", ["FLOAT", "HYBRID"])
@pytest.mark.parametrize("aux", [*AUX, "narrow"])
def test_major_is_minor_turned(aux: str, family: str, rng: Any) -> None:
    """With int8 weights LiteRT runs time-major sequences several times over."""
    both = aux in ("into both", "narrow")
    options = {"aux": AUX.get(aux, 4), "aux_weights": both, "merge_outputs": True}
    state = rng.bit_generator.state
    plain = rnn_both_ways(rng, family, **options)
    rng.bit_generator.state = state
    major = rnn_both_ways(rng, family, time_major=True, **options)
    major.feeds = [[x.swapaxes(0, 1).copy() for x in feeds] for feeds in plain.feeds]
    for a, b in zip(run(major), run(plain), strict=True):
        np.testing.assert_array_equal(a, b.swapaxes(0, 1))


@pytest.mark.parametrize("family", ["FLOAT", "HYBRID"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_svdf(activation: str, family: str, rng: Any) -> None:
    check(svdf(rng, family, activation=activation), family)


SIZES = [
    {"batch": 1, "n_input": 1, "units": 1, "rank": 1, "memory": 1},
    {"batch": 2, "n_input": 40, "units": 33, "rank": 1, "memory": 10},
    {"batch": 5, "n_input": 16, "units": 4, "rank": 5, "memory": 3, "bias": False},
    {"batch": 0},
]


@pytest.mark.parametrize("family", ["FLOAT", "HYBRID"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_svdf_sizes(size: dict[str, Any], family: str, rng: Any) -> None:
    model = svdf(rng, family, **size)
    if size["batch"] > 0:
        check(model, family)
    else:
        assert all(y.size == 0 for y in run(model))


def test_svdf_asymmetric_inputs(rng: Any) -> None:
    check(svdf(rng, "HYBRID", asymmetric_quantize_inputs=True), "HYBRID")


def test_integer_svdf_bit_by_bit(rng: Any) -> None:
    seen = 0
    while seen < ENOUGH:
        batch, units, rank, memory = (int(rng.integers(1, n)) for n in (5, 40, 4, 12))
        shape = {"batch": batch, "units": units, "rank": rank, "memory": memory}
        n_input, bias = int(rng.integers(1, 70)), bool(rng.random() < 0.7)
        model = svdf(rng, "INT8", **shape, n_input=n_input, bias=bias, invokes=40)
        theirs = litert(model)
        for isa in ISAS:
            for a, b in zip(run(model, isa), theirs, strict=True):
                np.testing.assert_array_equal(a, b)
        seen += sum(y.size for y in theirs)


def svdf_of_bytes(model: Recurrent) -> list[np.ndarray]:
    """The int8 SVDF of TFLite Micro, written out: sums, and state clamped to a byte."""
    node = read_tflite(model.content).graphs[0].nodes[0]
    x, feature, time, bias, state = node.inputs
    scales = {v: np.float32(v.quant.scale[0]) for v in (x, feature, time, state, node.outputs[0])}
    first = float(scales[x] * scales[feature] / scales[state])
    last = float(scales[state] * scales[time] / scales[node.outputs[0]])
    zero, out_zero = (int(v.quant.zero_point[0]) for v in (x, node.outputs[0]))
    units, rank = time.shape[0] // node.options["rank"], node.options["rank"]
    kept = np.zeros((x.shape[0], *time.shape), np.int64)
    results = []
    for (fed,) in model.feeds:
        sums = (fed.astype(np.int64) - zero) @ feature.data.astype(np.int64).T
        kept = np.concatenate([kept[..., 1:], scaled(sums, first).clip(-128, 127)[..., None]], -1)
        products = (kept * time.data).sum(-1).reshape(-1, units, rank).sum(-1)
        products += 0 if bias is None else bias.data
        results.append((scaled(products, last) + out_zero).clip(-128, 127).astype(np.int8))
    return results


def scaled(x: np.ndarray, factor: float) -> np.ndarray:
    """gemmlowp's product with both of its roundings, for factors below 1."""
    fraction, exponent = np.frexp(factor)
    product = x * round(float(fraction) * 2**31)
    high = np.where(x >= 0, (product + 2**30) >> 31, -((2**30 - 1 - product) >> 31))
    step = 1 << -int(exponent)
    return np.sign(high) * ((np.abs(high) + step // 2) // step)


def test_svdf_with_a_state_of_bytes(rng: Any) -> None:
    seen = 0
    while seen < ENOUGH:
        batch, units, rank, memory = (int(rng.integers(1, n)) for n in (5, 60, 4, 12))
        shape = {"batch": batch, "units": units, "rank": rank, "memory": memory}
        model = svdf(rng, "INT8", **shape, state="INT8", n_input=30, invokes=40)
        wanted = svdf_of_bytes(model)
        wanted.append(wanted[0])  # after a reset
        for isa in ISAS:
            for a, b in zip(run(model, isa), wanted, strict=True):
                np.testing.assert_array_equal(a, b)
        seen += sum(y.size for y in wanted)


# ---- values that are no numbers; refusals ----


@pytest.mark.parametrize("family", ["FLOAT", "HYBRID"])
def test_nan_stays_in_its_row(family: str, rng: Any) -> None:
    for model in (rnn(rng, "RNN", family), svdf(rng, family)):
        clean = run(model)[0]
        model.feeds[0][0][1, 2] = np.nan
        found = run(model)[0]
        assert np.isnan(found[1]).all()
        np.testing.assert_array_equal(found[[0, 2]], clean[[0, 2]])


def constant(*shape: int, dtype: Any = np.float32) -> ir.Value:
    quant = None if dtype == np.float32 else ir.Quantization(np.array([0.1]), np.array([0]))
    return ir.Value.constant("wrong", np.ones(shape, dtype), quant=quant)


def set_input(index: int, value: ir.Value | None) -> Callable[[ir.Node], None]:
    return lambda node: node.set_input(index, value)


def zero_of(index: int) -> Callable[[ir.Node], None]:
    def change(node: ir.Node) -> None:
        node.inputs[index].quant = ir.Quantization(np.array([0.1], np.float32), np.array([4]))

    return change


MODELS = {
    "rnn": lambda rng: rnn(rng, "RNN", "FLOAT"),
    "sequence": lambda rng: rnn(rng, "UNIDIRECTIONAL_SEQUENCE_RNN", "HYBRID"),
    "both": lambda rng: rnn_both_ways(rng, "FLOAT", aux=7, aux_weights=True),
    "svdf": lambda rng: svdf(rng, "FLOAT"),
    "svdf int8": lambda rng: svdf(rng, "INT8"),
    "svdf hybrid": lambda rng: svdf(rng, "HYBRID"),
    "basic": lambda rng: basic(rng, False),
    "basic uint8": lambda rng: basic(rng, True),
}
REFUSED = [
    ("rnn", lambda n: n.add_input(None), "wanted 5"),
    ("rnn", set_input(1, constant(9, 8)), "must be"),
    ("rnn", set_input(2, constant(9, 8)), "must be"),
    ("rnn", set_input(3, constant(8)), "9 values"),
    ("rnn", set_input(4, constant(3, 9)), "variable"),
    ("rnn", set_input(0, constant(3, 2, 7)), "2 dimensions"),
    ("sequence", zero_of(1), "zero point 4"),
    ("sequence", set_input(2, constant(9, 9)), "INT8"),
    ("sequence", set_input(0, constant(3, 2, 7, dtype=np.int8)), "int8 activations"),
    ("both", set_input(10, None), "one direction only"),
    ("both", set_input(9, None), "no auxiliary input"),
    ("both", set_input(9, constant(3, 4, 7)), "does not go with"),
    ("both", lambda n: n.options.update(merge_outputs=True), "2 outputs, wanted 1"),
    ("svdf", lambda n: n.options.update(rank=0), "rank 0"),
    ("svdf", lambda n: n.options.update(rank=3), "rank 3"),
    ("svdf", lambda n: n.options.update(rank=-2), "rank -2"),
    ("svdf", set_input(2, constant(9, 6)), "do not go with"),
    ("svdf", set_input(3, constant(4)), "5 values"),
    ("svdf", set_input(4, constant(3, 60)), "variable"),
    ("svdf int8", lambda n: n.options.update(fused_activation_function="NONE"), "RELU"),
    ("svdf int8", zero_of(2), "zero point 0"),
    ("svdf hybrid", zero_of(2), "zero point 4"),
    ("basic", lambda n: n.options.update(kernel_type="FULL"), "20, or 24"),
    ("basic", set_input(2, constant(32, 13)), "must be"),
    ("basic", set_input(1, constant(3, 8)), "variable tensor or an input"),
    ("basic", set_input(3, constant(31)), "32 values"),
    ("basic uint8", lambda n: setattr(n.outputs[1], "quant", n.outputs[3].quant), "2\\^-11"),
    ("basic uint8", set_input(2, constant(32, 14)), "UINT8"),
]


@pytest.mark.parametrize("row", range(len(REFUSED)))
def test_refused_with_words(row: int, rng: Any) -> None:
    name, change, words = REFUSED[row]
    model = read_tflite(MODELS[name](rng).content)
    change(model.main.nodes[0])
    with mock.patch("converter.writer.verify"):
        content = write_tflite(model)
    with pytest.raises(RilletError, match=words):
        runtime.Interpreter(model_content=content).allocate_tensors()
