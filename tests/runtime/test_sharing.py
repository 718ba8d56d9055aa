# SPDX-License-Identifier: Apache-2.0
"""Interpreters of one `Model`: one structure and one block of packed weights, an arena each; one
interpreter per thread."""

from __future__ import annotations

import gc
import re
import sys
import threading
import weakref

import numpy as np
import pytest
import runtime_models as models
from zoo import ROOT, zoo_files

import runtime


@pytest.fixture
def model() -> runtime.Model:
    """Enough work per layer that threads meet in it."""
    return runtime.Model(model_content=models.dense_stack((300, 512, 512, 10), dynamic=True))


def prepared(interpreter: runtime.Interpreter) -> np.ndarray:
    return interpreter._session._prepared


def in_threads(count: int, task) -> list:
    """What `count` threads that start together return."""
    results, start = [None] * count, threading.Barrier(count)

    def work(i: int) -> None:
        start.wait()
        results[i] = task(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_packed_weights_exist_once(model):
    one, two = model.interpreter(), model.interpreter(num_threads=2)
    for interpreter in (one, two):
        interpreter.allocate_tensors()
    assert prepared(one).nbytes == one.memory()["prepared"] > 0
    assert prepared(two) is prepared(one)
    assert one._session._arena is not two._session._arena
    assert len(model.prepared) == 1


def test_a_second_interpreter_packs_nothing(model):
    model.interpreter().allocate_tensors()
    first = model.interpreter()
    first.allocate_tensors()
    prepared(first)[:] = 0  # what the second one finds
    second = model.interpreter()
    assert not second(np.ones((1, 300), np.float32)).any()


def test_packed_weights_go_with_their_last_user(model):
    one, two = model.interpreter(), model.interpreter()
    for interpreter in (one, two):
        interpreter.allocate_tensors()
    gone = weakref.ref(prepared(one))
    del one, interpreter
    gc.collect()
    assert gone() is prepared(two)
    two(np.ones((1, 300), np.float32))
    del two
    gc.collect()
    assert gone() is None


def test_a_view_keeps_shared_memory_alive(model):
    interpreter = model.interpreter()
    interpreter.allocate_tensors()
    weights = interpreter.nodes()[0]["inputs"][1]
    view, expected = interpreter.tensor(weights)(), interpreter.get_tensor(weights)
    del interpreter, model
    gc.collect()
    np.testing.assert_array_equal(view, expected)


@pytest.mark.parametrize("options", [{}, {"experimental_preserve_all_tensors": True}])
def test_other_settings_have_their_own_block(model, options, monkeypatch):
    x = np.random.default_rng(0).standard_normal((1, 300)).astype(np.float32)
    plain = model.interpreter()
    expected = plain(x)
    if not options:
        monkeypatch.setenv("RILLET_ISA", "scalar")
    other = model.interpreter(**options)
    np.testing.assert_allclose(other(x), expected, rtol=1e-3, atol=1e-3)
    assert prepared(other) is not prepared(plain)
    np.testing.assert_array_equal(plain(x), expected)


def test_shapes_of_one_interpreter_are_its_own(model):
    rng = np.random.default_rng(1)
    wide = rng.standard_normal((5, 300)).astype(np.float32)
    one, two = model.interpreter(), model.interpreter()
    alone = runtime.Interpreter(model_content=models.dense_stack((300, 512, 512, 10), dynamic=True))
    for x in (wide[:1], wide, wide[:2], wide[:1]):
        np.testing.assert_array_equal(one(x), alone(x))
        np.testing.assert_array_equal(two(wide[:1]), alone(wide[:1]))


def test_one_interpreter_per_thread(model):
    x = np.random.default_rng(2).standard_normal((1, 300)).astype(np.float32)
    expected = runtime.Interpreter(model=model)(x)

    def task(i: int) -> list[np.ndarray]:
        interpreter = model.interpreter(num_threads=1 + i % 2)
        return [interpreter(x) for _ in range(30)]

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for results in in_threads(4, task):
            for result in results:
                np.testing.assert_array_equal(result, expected)
    finally:
        sys.setswitchinterval(before)


def test_threads_that_allocate_at_once_pack_once(model):
    def task(_: int) -> runtime.Interpreter:
        interpreter = model.interpreter()
        interpreter.allocate_tensors()
        return interpreter

    made = in_threads(6, task)
    assert all(prepared(interpreter) is prepared(made[0]) for interpreter in made)


@pytest.mark.parametrize("path", zoo_files("models/tflite/vww*.tflite"), ids=lambda p: p.stem)
def test_public_models_in_two_threads(path):
    shared, rng = runtime.Model(path), np.random.default_rng(3)
    (details,) = runtime.Interpreter(path).get_input_details()
    x = rng.integers(-128, 128, details["shape"]).astype(details["dtype"])
    expected = runtime.Interpreter(path)(x)

    def task(_: int) -> np.ndarray:
        interpreter = shared.interpreter()
        return [interpreter(x) for _ in range(5)][-1]

    for result in in_threads(2, task):
        np.testing.assert_array_equal(result, expected)


def test_a_model_is_given_once(model, tmp_path):
    with pytest.raises(runtime.RilletError, match="one of model, model_path and model_content"):
        runtime.Interpreter(tmp_path / "m.tflite", model=model)
    with pytest.raises(runtime.RilletError, match="either model_path or model_content"):
        runtime.Model()


def test_sizes_are_known_before_anything_is_allocated(model):
    interpreter = model.interpreter(num_threads=3)
    sizes, session = interpreter.memory(), interpreter._session
    assert session._arena.nbytes == 0 == session._prepared.nbytes and not model.prepared
    assert all(node["loop"] for node in interpreter.nodes())
    interpreter.allocate_tensors()
    assert interpreter.memory() == sizes
    assert (session._arena.nbytes, session._prepared.nbytes) == (
        sizes["arena"],
        sizes["prepared"],
    )
    interpreter.resize_tensor_input(0, [7, 300])
    assert interpreter.memory()["arena"] > sizes["arena"] == session._arena.nbytes


def test_the_example_of_the_docs_runs(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/memory.md").read_text(), re.DOTALL)
    (tmp_path / "model.tflite").write_bytes(models.dense_stack())
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs/memory.md", "exec"), {})
