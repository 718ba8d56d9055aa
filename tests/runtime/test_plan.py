# SPDX-License-Identifier: Apache-2.0
"""The memory plan: no two values that are alive together share a byte, and nothing is wasted that
need not be."""

from __future__ import annotations

import numpy as np
import pytest
import runtime_models as models
from hypothesis import given, settings
from hypothesis import strategies as st

import runtime
from converter import write_tflite
from runtime import _binding


def lifetimes(interpreter: runtime.Interpreter) -> dict[int, tuple[int, int]]:
    """Tensor -> (first node, last node) it is alive at; inputs from -1, outputs to the end."""
    nodes = interpreter.nodes()
    alive = {d["index"]: [-1, len(nodes)] for d in interpreter.get_input_details()}
    for i, node in enumerate(nodes):
        for tensor in node["inputs"]:
            if tensor in alive:
                alive[tensor][1] = max(alive[tensor][1], i)
        alive.update({tensor: [i, i] for tensor in node["outputs"]})
    for details in interpreter.get_output_details():
        alive[details["index"]][1] = len(nodes)
    return {tensor: (first, last) for tensor, (first, last) in alive.items()}


def places(interpreter: runtime.Interpreter, tensors) -> dict[int, tuple[int, int]]:
    """Tensor -> (first byte, byte past the last), as addresses."""
    session, found = interpreter._session, {}
    for tensor in tensors:
        address = _binding.library().rlt_tensor_data(session._it, 0, tensor)
        found[tensor] = (address, address + session.info(tensor).bytes)
    return found


def check_no_overlap(interpreter: runtime.Interpreter, may_share: set[tuple[int, int]]) -> None:
    alive = lifetimes(interpreter)
    where = places(interpreter, alive)
    arena = interpreter._session._arena
    for a, (start, end) in where.items():
        assert start % 64 == 0
        assert arena.ctypes.data <= start and end <= arena.ctypes.data + arena.nbytes
        for b, (other, other_end) in where.items():
            if a >= b or start >= other_end or other >= end:
                continue
            together = alive[a][0] <= alive[b][1] and alive[b][0] <= alive[a][1]
            assert not together or (a, b) in may_share or (b, a) in may_share, (a, b)


def in_place_pairs(interpreter: runtime.Interpreter) -> set[tuple[int, int]]:
    """(input, output) of nodes at which the input dies: the kernel may have offered to share."""
    alive = lifetimes(interpreter)
    return {
        (source, node["outputs"][0])
        for i, node in enumerate(interpreter.nodes())
        for source in node["inputs"]
        if source in alive and alive[source][1] == i
    }


@st.composite
def graphs(draw):
    """A random graph of dense layers, RELU6 and ADD; every node reads values made before it."""
    rng, b = np.random.default_rng(draw(st.integers(0, 2**32))), models.Builder()
    batch = draw(st.integers(1, 3))
    values = [b.input((batch, draw(st.integers(1, 40)))) for _ in range(draw(st.integers(1, 2)))]
    for _ in range(draw(st.integers(1, 14))):
        x = values[draw(st.integers(0, len(values) - 1))]
        kind = draw(st.sampled_from(["dense", "dense", "RELU6", "ADD"]))
        if kind == "dense":
            values.append(b.dense(x, draw(st.integers(1, 40)), rng))
        elif kind == "RELU6":
            values.append(b.op("RELU6", [x], x.shape))
        else:
            same = [v for v in values if v.shape == x.shape]
            values.append(b.op("ADD", [x, draw(st.sampled_from(same))], x.shape))
    made = [v for v in values if v.producer]
    outputs = draw(st.lists(st.sampled_from(made), min_size=1, max_size=3, unique_by=id))
    return write_tflite(b.model(*outputs, signature=False))


def run_all(interpreter: runtime.Interpreter, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    interpreter.allocate_tensors()
    for details in interpreter.get_input_details():
        value = rng.standard_normal(details["shape"]).astype(np.float32)
        interpreter.set_tensor(details["index"], value)
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]


@settings(max_examples=150, deadline=None)
@given(model=graphs(), seed=st.integers(0, 1000))
def test_no_two_live_tensors_share_memory(model, seed):
    planned = runtime.Interpreter(model_content=model)
    apart = runtime.Interpreter(model_content=model, experimental_preserve_all_tensors=True)
    results = run_all(planned, seed)
    for ours, expected in zip(results, run_all(apart, seed), strict=True):
        np.testing.assert_array_equal(ours, expected)
    check_no_overlap(planned, in_place_pairs(planned))
    check_no_overlap(apart, set())
    for again, before in zip(run_all(planned, seed), results, strict=True):
        np.testing.assert_array_equal(again, before)


def test_a_chain_reuses_memory():
    interpreter = runtime.Interpreter(model_content=models.dense_stack((64, *[256] * 10, 8)))
    interpreter.allocate_tensors()
    memory = interpreter.memory()
    # Two of the wide values are alive at a time; input and output stay.
    assert memory["peak_live"] <= 4 * (2 * 256 + 64 + 8)
    assert memory["arena"] <= 1.1 * memory["peak_live"] + 1024


def test_preserved_tensors_hold_what_each_layer_computed():
    model = models.dense_stack((4, 8, 8, 3))
    interpreter = runtime.Interpreter(model_content=model, experimental_preserve_all_tensors=True)
    x = np.random.default_rng(1).standard_normal((1, 4)).astype(np.float32)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    value = x
    for i, node in enumerate(interpreter.nodes()):
        weights, bias = (interpreter.get_tensor(t) for t in node["inputs"][1:])
        value = value @ weights.T + bias
        value = np.maximum(value, 0) if i < 2 else value
        np.testing.assert_allclose(interpreter.get_tensor(node["outputs"][0]), value, rtol=1e-4)


def test_float16_weights_are_computed_once_and_kept_only_packed():
    half, full = (runtime.Interpreter(model_content=m) for m in models.dense_float16())
    for before, expected in zip(run_all(half, 3), run_all(full, 3), strict=True):
        np.testing.assert_array_equal(before, expected)
    assert half.memory()["prepared"] == full.memory()["prepared"]
    with pytest.raises(runtime.RilletError, match="preserve_all_tensors"):
        half.get_tensor(half.nodes()[0]["outputs"][0])
    content, _ = models.dense_float16()
    kept = runtime.Interpreter(model_content=content, experimental_preserve_all_tensors=True)
    np.testing.assert_array_equal(run_all(kept, 3)[0], expected)
    weights, stored = (kept.nodes()[0][side][0] for side in ("outputs", "inputs"))
    np.testing.assert_array_equal(kept.get_tensor(weights), kept.get_tensor(stored))


@pytest.mark.parametrize("count", [200, 2000])
def test_many_tensors_are_planned(count):
    interpreter = runtime.Interpreter(model_content=models.dense_stack([3] * count))
    interpreter.allocate_tensors()
    assert interpreter.memory()["arena"] <= 64 * 8
