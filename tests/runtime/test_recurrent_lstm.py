# SPDX-License-Identifier: Apache-2.0
"""LSTM operators: every option against LiteRT, the integer one bit by bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import pytest
from recurrent_models import Lstm, Recurrent, basic, both_ways, litert, lstm, run
from single_op import ISAS, error

import runtime
from converter import ir, read_tflite, write_tflite
from runtime import RilletError

ENOUGH = 100_000
# A value of a state that rounds to another int8 moves everything behind it.
TOLERANCE = {"FLOAT": 1e-5, "HYBRID": 2e-3}

OPTIONS = {
    "plain": {},
    "one": {"batch": 1, "time": 1, "n_input": 1, "n_cell": 1},
    "wide": {"n_input": 70, "n_cell": 67, "time": 3},
    "no time": {"time": 0},
    "many": {"batch": 19, "n_cell": 33, "time": 2},
    "projection": {"n_output": 5},
    "wide projection": {"n_output": 40, "projection_bias": False},
    "cifg": {"cifg": True},
    "peephole": {"peephole": True},
    "norm": {"norm": True, "n_cell": 16},
    "everything": {"norm": True, "peephole": True, "n_output": 9, "cifg": True},
    "all gates": {"norm": True, "peephole": True, "n_output": 9},
    "time major": {"options": {"time_major": True}},
    "clips": {"n_output": 6, "options": {"cell_clip": 0.6, "proj_clip": 0.4}},
}


def case(name: str, family: str, **more: Any) -> Lstm:
    return Lstm(family=family, **{**OPTIONS[name], **more})


@pytest.mark.parametrize("family", ["FLOAT", "HYBRID"])
@pytest.mark.parametrize("name", OPTIONS)
def test_float_options(name: str, family: str, rng: Any) -> None:
    model = lstm(rng, case(name, family))
    found = run(model)
    for ours, theirs in zip(found, litert(model), strict=True):
        assert error(ours, theirs) <= TOLERANCE[family]
    for isa in ISAS:
        for ours, other in zip(found, run(model, isa), strict=True):
            assert error(other, ours) <= TOLERANCE[family]
    for ours, other in zip(found, run(model, threads=3), strict=True):
        np.testing.assert_array_equal(other, ours)


@pytest.mark.parametrize("name", OPTIONS)
def test_integer_options_bit_by_bit(name: str, rng: Any) -> None:
    seen = 0
    enough = ENOUGH // len(OPTIONS) if name != "no time" else 1
    while seen < enough:
        exponent = int(rng.integers(-15, -8))
        model = lstm(rng, case(name, "INT8", cell_exponent=exponent, invokes=9))
        theirs = litert(model)
        for isa in ISAS:
            for a, b in zip(run(model, isa), theirs, strict=True):
                np.testing.assert_array_equal(a, b)
        seen += max(1, sum(b.size for b in theirs))


@pytest.mark.parametrize("family", ["FLOAT", "HYBRID", "INT8"])
@pytest.mark.parametrize("name", ["plain", "projection", "everything", "clips"])
def test_one_step_operator(name: str, family: str, rng: Any) -> None:
    model = lstm(rng, case(name, family, op="LSTM"))
    for ours, theirs in zip(run(model), litert(model), strict=True):
        if family == "INT8":
            np.testing.assert_array_equal(ours, theirs)
        else:
            assert error(ours, theirs) <= TOLERANCE[family]


@pytest.mark.parametrize("activation", ["RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT"])
@pytest.mark.parametrize("family", ["FLOAT", "HYBRID"])
def test_activations(activation: str, family: str, rng: Any) -> None:
    options = {"fused_activation_function": activation, "cell_clip": 3.0}
    model = lstm(rng, case("plain", family, time=2, options=options))
    for ours, theirs in zip(run(model), litert(model), strict=True):
        assert error(ours, theirs) <= TOLERANCE[family]


@pytest.mark.parametrize("family", ["FLOAT", "HYBRID"])
def test_diagonal_recurrent_weights(family: str, rng: Any) -> None:
    options = {"diagonal_recurrent_tensors": True}
    model = lstm(rng, case("plain", family, diagonal=True, options=options))
    for ours, theirs in zip(run(model), litert(model), strict=True):
        assert error(ours, theirs) <= TOLERANCE[family]


@pytest.mark.parametrize("name", ["plain", "projection"])
def test_asymmetric_inputs(name: str, rng: Any) -> None:
    model = lstm(rng, case(name, "HYBRID", options={"asymmetric_quantize_inputs": True}))
    for ours, theirs in zip(run(model), litert(model), strict=True):
        assert error(ours, theirs) <= TOLERANCE["HYBRID"]


@pytest.mark.parametrize("family", ["FLOAT", "HYBRID", "INT8"])
def test_weights_that_are_computed(family: str, rng: Any) -> None:
    """LiteRT wants them constant: the same weights as constants tell what is right."""
    state = rng.bit_generator.state
    wanted = run(lstm(rng, case("projection", family)))
    rng.bit_generator.state = state
    found = run(lstm(rng, case("projection", family, computed_weights=True)))
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


def halve_weights(model: Recurrent) -> Recurrent:
    """The same with weights stored as float16, behind a DEQUANTIZE each."""
    read = read_tflite(model.content)
    graph = read.main
    node = graph.nodes[0]
    for i, value in enumerate(node.inputs):
        if value is None or value.data is None or value.data.ndim != 2:
            continue
        half = ir.Value.constant(f"half{i}", value.data.astype(np.float16))
        real = ir.Value(f"real{i}", "FLOAT32", value.shape)
        graph.add_node("DEQUANTIZE", [half], [real], before=node)
        node.set_input(i, real)
    return Recurrent(write_tflite(read), model.feeds)


def test_float16_weights(rng: Any) -> None:
    sides = [Lstm(n_output=4), Lstm(n_output=4)]
    for plain in (lstm(rng, case("projection", "FLOAT")), both_ways(rng, *sides)):
        model = halve_weights(plain)
        for ours, theirs in zip(run(model), litert(model), strict=True):
            assert error(ours, theirs) <= TOLERANCE["FLOAT"]


@pytest.mark.parametrize("family", ["FLOAT", "HYBRID", "INT8"])
def test_no_sequences(family: str, rng: Any) -> None:
    for y in run(lstm(rng, case("projection", family, batch=0))):
        assert y.shape == (0, 6, 5)


# ---- both ways ----

# What the two directions have, which LiteRT wants of one size, and how the auxiliary input goes in.
BOTH = {
    "plain": ({}, {}),
    "projections": ({"n_output": 4}, {"n_output": 4, "projection_bias": False}),
    "cifg and peephole": ({"cifg": True, "peephole": True}, {"peephole": True}),
}
AUX = {"none": 0, "input of the backward one": 7, "into both": 4}


@pytest.mark.parametrize("family", ["FLOAT", "HYBRID"])
@pytest.mark.parametrize("major", [False, True])
@pytest.mark.parametrize("merge", [False, True])
@pytest.mark.parametrize("aux", AUX)
@pytest.mark.parametrize("name", BOTH)
def test_both_ways(name: str, aux: str, merge: bool, major: bool, family: str, rng: Any) -> None:
    # LiteRT writes outside its state where a batch's merged outputs are not time-major.
    batch = 1 if merge and not major else 3
    options = {"time_major": major, "merge_outputs": merge, "cell_clip": 2.0}
    sides = [Lstm(family=family, batch=batch, options=options, **side) for side in BOTH[name]]
    model = both_ways(rng, *sides, aux=AUX[aux], aux_weights=aux == "into both")
    found = run(model)
    for ours, theirs in zip(found, litert(model), strict=True):
        assert error(ours, theirs) <= TOLERANCE[family]
    for ours, other in zip(found, run(model, threads=3), strict=True):
        np.testing.assert_array_equal(other, ours)


def test_merged_outputs_of_a_batch(rng: Any) -> None:
    """And directions of two sizes."""
    state = rng.bit_generator.state
    found = []
    for merge in (False, True):
        rng.bit_generator.state = state
        options = {"time_major": False, "merge_outputs": merge}
        sides = [Lstm(batch=3, n_cell=n, options=options) for n in (5, 8)]
        found.append(run(both_ways(rng, *sides)))
    apart, merged = found
    for i, y in enumerate(merged):
        wanted = np.concatenate(apart[2 * i : 2 * i + 2], axis=-1)
        np.testing.assert_array_equal(y, wanted)


# ---- BASIC kernel ----


@pytest.mark.parametrize("cells", [1, 8, 19])
@pytest.mark.parametrize("integer", [False, True])
def test_basic_kernel(integer: bool, cells: int, rng: Any) -> None:
    seen = 0
    while seen < (ENOUGH // 3 if integer and cells == 19 else 1):
        model = basic(rng, integer, batch=5, cells=cells)
        theirs = litert(model)
        for isa in ISAS:
            for a, b in zip(run(model, isa), theirs, strict=True):
                if integer:
                    np.testing.assert_array_equal(a, b)
                else:
                    assert error(a, b) <= TOLERANCE["FLOAT"]
        seen += sum(b.size for b in theirs)


# ---- values that are no numbers, and what LiteRT gets wrong ----


def exact(model: Recurrent, x: np.ndarray, activation: Any) -> np.ndarray:
    """The float64 outputs of a plain LSTM over one sequence [time, values]."""
    values = [
        v.data.astype(np.float64)
        for v in read_tflite(model.content).main.nodes[0].inputs
        if v and v.data is not None
    ]
    weights, recurrent, bias = values[:4], values[4:8], values[8:12]
    state, cell, outputs = np.zeros(9), np.zeros(9), []
    for row in x.astype(np.float64):
        i, f, c, o = (
            w @ row + r @ state + b for w, r, b in zip(weights, recurrent, bias, strict=True)
        )
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        cell = f * cell + i * activation(c)
        state = o * activation(cell)
        outputs.append(state)
    return np.array(outputs)


def test_no_activation(rng: Any) -> None:
    """LiteRT leaves half-made sums where the gate should be."""
    model = lstm(rng, Lstm(batch=1, options={"fused_activation_function": "NONE"}))
    wanted = exact(model, model.feeds[0][0][0], lambda x: x)
    assert error(run(model)[0][0], wanted) <= TOLERANCE["FLOAT"]


@pytest.mark.parametrize("family", ["FLOAT", "HYBRID"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_no_numbers_stay_in_their_sequence(value: float, family: str, rng: Any) -> None:
    model = lstm(rng, case("plain", family))
    clean = run(model)[0]
    model.feeds[0][0][0, 3, 2] = value
    found = run(model)[0]
    np.testing.assert_array_equal(found[1], clean[1])
    np.testing.assert_array_equal(found[0, :3], clean[0, :3])
    if np.isnan(value):
        assert np.isnan(found[0, 3:]).all()


@pytest.mark.parametrize("family", ["FLOAT", "INT8"])
def test_states_persist_until_they_are_reset(family: str, rng: Any) -> None:
    model = lstm(rng, case("plain", family))
    model.feeds = [model.feeds[0]] * 3
    first, second, third, again = run(model)
    assert (first != second).any() and (second != third).any()
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("name", ["all gates", "cifg"])
def test_extreme_integers_bit_by_bit(name: str, rng: Any) -> None:
    for extreme in (-128, 127):
        model = lstm(rng, case(name, "INT8", time=20, cell_exponent=-9))
        model.feeds = [[np.full_like(x, extreme) for x in feeds] for feeds in model.feeds]
        for a, b in zip(run(model), litert(model), strict=True):
            np.testing.assert_array_equal(a, b)


# ---- refusals: what was found and what is wanted ----


def vector(n: int, dtype: Any = np.float32) -> ir.Value:
    return ir.Value.constant("wrong", np.ones(n, dtype))


def matrix(*shape: int, dtype: Any = np.float32, zero: int = 0) -> ir.Value:
    quant = None if dtype == np.float32 else ir.Quantization(np.array([0.1]), np.array([zero]))
    return ir.Value.constant("wrong", np.ones(shape, dtype), quant=quant)


def set_input(index: int, value: ir.Value | None) -> Callable[[ir.Node], None]:
    return lambda node: node.set_input(index, value)


def set_quant(index: int, scale: float, zero: int = 0) -> Callable[[ir.Node], None]:
    def change(node: ir.Node) -> None:
        value = node.inputs[index] if index >= 0 else node.intermediates[-index - 1]
        value.quant = ir.Quantization(np.array([scale], np.float32), np.array([zero], np.int64))

    return change


def state(shape: tuple[int, ...], variable: bool = True) -> ir.Value:
    return ir.Value("wrong", "FLOAT32", shape, is_variable=variable)


REFUSED = {
    "input count": ("FLOAT", lambda n: n.add_input(None), "20, or 24"),
    "rank": ("FLOAT", lambda n: setattr(n.inputs[0], "shape", (2, 7)), "3 dimensions"),
    "weights missing": ("FLOAT", set_input(4, None), "weights are missing"),
    "cifg": ("FLOAT", set_input(1, None), "but not for both"),
    "bias without gate": ("FLOAT", lambda n: [n.set_input(i, None) for i in (1, 5)], "no weights"),
    "weights shape": ("FLOAT", set_input(2, matrix(9, 8)), r"must be \[9,7\]"),
    "weights type": ("FLOAT", set_input(2, matrix(9, 7, dtype=np.int8)), "FLOAT32"),
    "empty weights": ("FLOAT", set_input(4, matrix(0, 7)), "must be|empty"),
    "bias missing": ("FLOAT", set_input(13, None), "missing"),
    "bias length": ("FLOAT", set_input(13, vector(8)), "9 values"),
    "bias type": ("FLOAT", set_input(13, vector(9, np.int32)), "FLOAT32"),
    "peephole of one gate": ("FLOAT", set_input(11, vector(9)), "some of its gates"),
    "norm of one gate": ("FLOAT", set_input(21, vector(9)), "some of its gates"),
    "projection bias": ("FLOAT", set_input(17, vector(9)), "no weights"),
    "projection shape": ("FLOAT", set_input(16, matrix(8, 9)), "must be"),
    "some diagonal": ("FLOAT", set_input(8, vector(9)), "must have 9 values"),
    "state missing": ("FLOAT", set_input(18, None), "missing"),
    "state size": ("FLOAT", set_input(19, state((3, 9))), "fixed when the model is converted"),
    "state constant": ("FLOAT", set_input(18, matrix(2, 9)), "variable"),
    "clip": ("FLOAT", lambda n: n.options.update(cell_clip=-1.0), "below zero"),
    "zero point": ("HYBRID", set_quant(2, 0.1, 3), "zero point 3"),
    "diagonal": ("INT8", set_input(8, vector(9)), "full matrices"),
    "cell scale": ("INT8", set_quant(19, 0.0007), "power of 2"),
    "cell scale too large": ("INT8", set_quant(19, 0.25), "power of 2"),
    "cell zero point": ("INT8", set_quant(19, 2**-11, 1), "zero point 0"),
    "state scale": ("INT8", set_quant(18, 0.5), "same scale"),
    "hidden scale": ("INT8", lambda n: setattr(n.intermediates[4], "quant", None), "must carry"),
    "intermediates": ("INT8", lambda n: n.intermediates.pop(), "has 5"),
    "activation": ("INT8", lambda n: n.options.update(fused_activation_function="RELU"), "TANH"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_words(name: str, rng: Any) -> None:
    family, change, words = REFUSED[name]
    model = read_tflite(lstm(rng, case("plain", family)).content)
    change(model.main.nodes[0])
    with mock.patch("converter.writer.verify"):
        content = write_tflite(model)
    with pytest.raises(RilletError, match=words):
        runtime.Interpreter(model_content=content).allocate_tensors()


def test_norm_scale_is_bounded(rng: Any) -> None:
    model = read_tflite(lstm(rng, case("norm", "INT8")).content)
    set_quant(21, 2.0)(model.main.nodes[0])
    with pytest.raises(RilletError, match="below 1"):
        runtime.Interpreter(model_content=write_tflite(model)).allocate_tensors()


def test_an_intermediate_must_exist(rng: Any) -> None:
    """Its index is the only place where a file of this size has these bytes."""
    model = read_tflite(lstm(rng, case("plain", "INT8")).content)
    content = bytearray(write_tflite(model))
    count = len(list(model.main.values()))
    hidden = next(i for i, v in enumerate(model.main.values()) if v.name == "hidden")
    found = bytes(np.array([hidden - 1, hidden], np.int32))
    at = content.rindex(found)
    content[at + 4 : at + 8] = bytes(np.array([count + 5], np.int32))
    with pytest.raises(RilletError, match="intermediate 4 is tensor"):
        runtime.Interpreter(model_content=bytes(content))
