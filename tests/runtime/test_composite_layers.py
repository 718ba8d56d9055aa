# SPDX-License-Identifier: Apache-2.0
"""Composites of recurrent layers by their kernels, against their decompositions and LiteRT."""

from __future__ import annotations

import numpy as np
import pytest
from composite_models import NEAR, check, composite, floats, gru_parts, lstm_parts, reshaped_gru
from single_op import ISAS, error, run_all

import runtime

# ---- GRU ----


def gru_args(rng, time, batch, features, size):
    shapes = [(3 * size, features), (3 * size, size), (3 * size,), (3 * size,), (batch, size)]
    return [floats(rng, time, batch, features), *(floats(rng, *s) / 2 for s in shapes)]


@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize(
    "sizes", [(1, 1, 1, 1), (3, 2, 5, 4), (5, 3, 33, 17), (35, 1, 8, 32)], ids=str
)
@pytest.mark.parametrize("const", [True, False])
def test_gru(rng, reset_after, sizes, const):
    parts, attributes = gru_parts(reset_after), {"reset_after": int(reset_after)}
    check("rillet.gru", parts, gru_args(rng, *sizes), attributes, [1, 2, 3, 4] if const else ())


@pytest.mark.parametrize("reset_after", [True, False])
def test_gru_of_many_sequences(rng, reset_after):
    args = gru_args(rng, 4, 37, 6, 9)
    check("rillet.gru", gru_parts(reset_after), args, {"reset_after": int(reset_after)}, [1, 2])


def test_gru_packs_its_weights_once(rng):
    args = gru_args(rng, 2, 2, 16, 16)
    model = composite("rillet.gru", gru_parts(True), args, {"reset_after": 1}, [1, 2, 3, 4])
    interpreter = runtime.Interpreter(model_content=model.content)
    interpreter.allocate_tensors()
    (node,) = interpreter.nodes()
    assert node["macs"] == 2 * 2 * 3 * 16 * (16 + 16)
    assert node["packed"] >= 4 * (args[1].size + args[2].size)
    assert interpreter.memory()["prepared"] == node["packed"]


@pytest.mark.parametrize(
    "attributes", [{}, {"reset_after": 3}, {"reset_after": 1, "clip": 2.0}], ids=str
)
def test_other_grus_are_decomposed(rng, attributes):
    check("rillet.gru", gru_parts(True), gru_args(rng, 2, 2, 3, 4), attributes, kernel=False)


# ---- LSTM ----


def lstm_args(rng, time, batch, features, size):
    shapes = [(4 * size, features), (4 * size, size), (4 * size,), (batch, size), (batch, size)]
    return [floats(rng, time, batch, features), *(floats(rng, *s) / 2 for s in shapes)]


@pytest.mark.parametrize(
    "sizes",
    [(1, 1, 1, 1), (3, 2, 5, 4), (5, 3, 33, 17), (35, 1, 8, 32), (4, 37, 6, 9), (12, 7, 64, 16)],
    ids=str,
)
@pytest.mark.parametrize("const", [(), (1, 2), (1, 2, 3), (1, 2, 3, 4, 5)], ids=str)
def test_lstm(rng, sizes, const):
    check("rillet.lstm", lstm_parts, lstm_args(rng, *sizes), {}, const)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_lstm_of_what_is_no_number(rng, value):
    args = lstm_args(rng, 3, 2, 5, 4)
    args[0][1, 0, 2] = value
    model = composite("rillet.lstm", lstm_parts, args, {}, [1, 2, 3])
    plain = composite("rillet.lstm", lstm_parts, args, {}, [1, 2, 3], version=2)
    for isa in ISAS:
        for a, b in zip(run_all(model, isa=isa), run_all(plain, isa=isa), strict=True):
            np.testing.assert_allclose(a, b, atol=NEAR)


def test_lstm_packs_its_weights_once(rng):
    args = lstm_args(rng, 2, 3, 16, 8)
    model = composite("rillet.lstm", lstm_parts, args, {}, [1, 2, 3])
    interpreter = runtime.Interpreter(model_content=model.content)
    interpreter.allocate_tensors()
    (node,) = interpreter.nodes()
    assert node["macs"] == 2 * 3 * 4 * 8 * (16 + 8)
    assert node["packed"] >= 4 * (args[1].size + args[2].size)
    assert interpreter.memory()["prepared"] == node["packed"]


@pytest.mark.parametrize("state", [4, 5])
def test_states_that_are_repeated_are_decomposed(rng, state):
    args = lstm_args(rng, 3, 2, 5, 4)
    args[state] = args[state][:1]
    check("rillet.lstm", lstm_parts, args, {}, [1, 2, 3], kernel=False)


def test_other_lstms_are_decomposed(rng):
    args = lstm_args(rng, 2, 2, 3, 4)
    check("rillet.lstm", lstm_parts, args, {"clip": 2.0}, [1, 2, 3], kernel=False)


# ---- shapes that change ----


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("state", [(2, 4), (1, 4), (2, 1, 4)], ids=str)
def test_sizes_that_only_a_run_tells(rng, half, state):
    """The state's shape is an input; the weights, which may be stored as float16, are packed once.

    Where the kernel does not take the state in the middle of a run, the decomposition does; not
    though where it would want weights that were packed and forgotten.
    """
    x, w, r, b, c, h = gru_args(rng, 3, 2, 5, 4)
    w, r = (a.astype(np.float16) for a in (w, r))
    args = [x, w, r, b, c, h.reshape(-1), np.int32(state)]
    content = reshaped_gru(args, half)
    interpreter = runtime.Interpreter(model_content=content)
    feeds = [x, h.reshape(-1)[: np.prod(state)], np.int32(state)]
    details = interpreter.get_input_details()
    interpreter.resize_tensor_input(details[1]["index"], feeds[1].shape)
    interpreter.resize_tensor_input(details[2]["index"], feeds[2].shape)
    interpreter.allocate_tensors()
    for detail, feed in zip(details, feeds, strict=True):
        interpreter.set_tensor(detail["index"], feed)
    if half and state != (2, 4):
        with pytest.raises(runtime.RilletError, match="was packed for other shapes"):
            interpreter.invoke()
        return
    state_given = np.broadcast_to(feeds[1].reshape(state), (2, 4)) if len(state) == 2 else None
    if state_given is None:
        with pytest.raises(runtime.RilletError):  # the decomposition does not take three either
            interpreter.invoke()
        return
    for _ in range(2):
        interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    parts = [x, w.astype("f"), r.astype("f"), b, c, np.ascontiguousarray(state_given)]
    plain = composite("rillet.gru", gru_parts(True), parts, {"reset_after": 1}, version=2)
    assert error(found, run_all(plain)[0]) <= NEAR
