# SPDX-License-Identifier: Apache-2.0
"""The Python face against tf.lite.Interpreter's (LiteRT's): the same answers on the happy path, a
sentence on the others."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
import runtime_models as models
from ai_edge_litert.interpreter import Interpreter as LiteRT

import runtime
from converter import ir, write_tflite
from runtime import RilletError, _binding

ROOT = Path(__file__).resolve().parents[2]


def same_details(ours, theirs) -> None:
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert list(a) == list(b)
        assert (a["name"], a["index"], a["dtype"]) == (b["name"], b["index"], b["dtype"])
        assert a["quantization"] == b["quantization"]
        assert a["sparsity_parameters"] == b["sparsity_parameters"]
        for key in ("shape", "shape_signature"):
            np.testing.assert_array_equal(a[key], b[key])
            assert a[key].dtype == b[key].dtype
        ours_q, theirs_q = a["quantization_parameters"], b["quantization_parameters"]
        assert ours_q.keys() == theirs_q.keys()
        for key, value in ours_q.items():
            np.testing.assert_array_equal(value, theirs_q[key])
            assert np.asarray(value).dtype == np.asarray(theirs_q[key]).dtype


@pytest.mark.parametrize("make", [models.dense_stack, models.dense_int8, models.branches])
def test_details_are_litert_s(make):
    content = make()
    ours, theirs = runtime.Interpreter(model_content=content), LiteRT(model_content=content)
    for allocated in (False, True):
        same_details(ours.get_input_details(), theirs.get_input_details())
        same_details(ours.get_output_details(), theirs.get_output_details())
        if not allocated:
            same_details(ours.get_tensor_details(), theirs.get_tensor_details())
            ours.allocate_tensors(), theirs.allocate_tensors()
    assert ours.get_signature_list() == theirs.get_signature_list()
    assert ours.num_subgraphs() == theirs.num_subgraphs()


@pytest.mark.parametrize(
    "make",
    [
        models.dense_stack,
        models.dense_int8,
        models.branches,
        models.conv_float,
        models.conv_int8,
    ],
)
def test_outputs_are_litert_s(make):
    content, rng = make(), np.random.default_rng(3)
    ours, theirs = runtime.Interpreter(model_content=content), LiteRT(model_content=content)
    ours.allocate_tensors(), theirs.allocate_tensors()
    for details in ours.get_input_details():
        value = (rng.standard_normal(details["shape"]) * 30).astype(details["dtype"])
        value = abs(value) % 4 if details["dtype"] == np.int32 else value
        ours.set_tensor(details["index"], value)
        theirs.set_tensor(details["index"], value)
    ours.invoke(), theirs.invoke()
    for details in ours.get_output_details():
        expected = theirs.get_tensor(details["index"])
        if details["dtype"] == np.int8:
            np.testing.assert_array_equal(ours.get_tensor(details["index"]), expected)
        else:
            limit = 1e-5 * np.abs(expected).max()
            np.testing.assert_allclose(ours.get_tensor(details["index"]), expected, 0, limit)


# ---- order of calls, shapes and types ----


def test_calls_out_of_order_get_a_sentence(dense):
    interpreter = runtime.Interpreter(model_content=dense)
    with pytest.raises(RuntimeError, match="invoke before allocate_tensors"):
        interpreter.invoke()
    with pytest.raises(ValueError, match=r"unallocated: call allocate_tensors\(\) first"):
        interpreter.set_tensor(0, np.zeros((1, 4), np.float32))
    with pytest.raises(ValueError, match=r"call allocate_tensors\(\) first"):
        interpreter.get_tensor(0)
    with pytest.raises(RuntimeError, match="profile=True"):
        interpreter.profile()
    interpreter.allocate_tensors()
    interpreter.resize_tensor_input(0, [2, 4])
    with pytest.raises(RuntimeError, match="again after resize_tensor_input"):
        interpreter.invoke()


def test_set_tensor_says_what_it_expected_and_what_it_got(ready):
    index = ready.get_input_details()[0]["index"]
    with pytest.raises(ValueError, match=r"Got shape \[2, 4\] but expected \[1, 4\]"):
        ready.set_tensor(index, np.zeros((2, 4), np.float32))
    with pytest.raises(ValueError, match="Got value of type float64 but expected type float32"):
        ready.set_tensor(index, np.zeros((1, 4)))
    with pytest.raises(ValueError, match="out of range"):
        ready.set_tensor(99, np.zeros((1, 4), np.float32))
    with pytest.raises(ValueError, match="out of range"):
        ready.get_tensor(-1)
    weights = ready.nodes()[0]["inputs"][1]
    with pytest.raises(ValueError, match="constant of the model"):
        ready.set_tensor(weights, ready.get_tensor(weights))


def test_resize(ready, dense):
    theirs = LiteRT(model_content=dense)
    index = ready.get_input_details()[0]["index"]
    x = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    ready.resize_tensor_input(index, x.shape, strict=True)
    assert list(ready.get_input_details()[0]["shape"]) == [5, 4]
    theirs.resize_tensor_input(index, x.shape)
    for interpreter in (ready, theirs):
        interpreter.allocate_tensors()
        interpreter.set_tensor(index, x)
        interpreter.invoke()
    output = ready.get_output_details()[0]
    assert list(output["shape"]) == [5, 3]
    same_details(ready.get_input_details(), theirs.get_input_details())
    np.testing.assert_allclose(
        ready.get_tensor(output["index"]), theirs.get_tensor(output["index"]), rtol=1e-5
    )


def test_resizing_what_cannot_be(ready):
    index = ready.get_input_details()[0]["index"]
    with pytest.raises(ValueError, match=r"only unknown dimensions, -1 in its shape signature"):
        ready.resize_tensor_input(index, [1, 5], strict=True)
    with pytest.raises(ValueError, match="not an input"):
        ready.resize_tensor_input(ready.get_output_details()[0]["index"], [1, 3])
    with pytest.raises(ValueError, match="dimension 0 of the new shape is -1"):
        ready.resize_tensor_input(index, [-1, 4])
    with pytest.raises(ValueError, match="9 dimensions"):
        ready.resize_tensor_input(index, [1] * 9)
    with pytest.raises(ValueError, match="does not fit in 32 bits"):
        ready.resize_tensor_input(index, [2**40, 4])
    ready.resize_tensor_input(index, [1, 5])
    with pytest.raises(ValueError, match="node 0 FULLY_CONNECTED"):
        ready.allocate_tensors()
    with pytest.raises(RuntimeError, match="invoke before allocate_tensors"):
        ready.invoke()
    ready.resize_tensor_input(index, [2**30, 4])
    with pytest.raises(ValueError, match="the limit is"):
        ready.allocate_tensors()
    ready.resize_tensor_input(index, [2, 4])
    ready.allocate_tensors()
    ready.invoke()


def test_a_batch_of_nothing(ready):
    index = ready.get_input_details()[0]["index"]
    ready.resize_tensor_input(index, [0, 4])
    ready.allocate_tensors()
    ready.set_tensor(index, np.zeros((0, 4), np.float32))
    ready.invoke()
    assert ready.get_tensor(ready.get_output_details()[0]["index"]).shape == (0, 3)


# ---- views ----


def test_views_share_memory_with_the_tensor(ready):
    source = ready.tensor(ready.get_input_details()[0]["index"])
    result = ready.tensor(ready.get_output_details()[0]["index"])
    source()[...] = 2
    ready.invoke()
    first = result().copy()
    ready.set_tensor(ready.get_input_details()[0]["index"], np.full((1, 4), 2, np.float32))
    ready.invoke()
    np.testing.assert_array_equal(result(), first)


def test_a_living_view_stops_what_could_move_memory(ready):
    index = ready.get_input_details()[0]["index"]
    view = ready.tensor(index)()[0, 1:]
    for doing in (
        ready.invoke,
        ready.allocate_tensors,
        ready.reset_all_variables,
        lambda: ready.resize_tensor_input(index, [2, 4]),
        lambda: ready(np.zeros((1, 4), np.float32)),
    ):
        with pytest.raises(RuntimeError, match="reference to internal data"):
            doing()
    del view
    ready.invoke()


def test_a_view_outlives_its_interpreter(dense):
    interpreter = runtime.Interpreter(model_content=dense)
    interpreter.allocate_tensors()
    gone = weakref.ref(interpreter)
    view = interpreter.tensor(interpreter.get_input_details()[0]["index"])()
    view[...] = 7
    del interpreter
    gc.collect()
    assert gone() is None
    ballast = [np.full(4096, 1, np.uint8) for _ in range(64)]
    assert (view == 7).all() and len(ballast) == 64


def test_constants_cannot_be_written_through_a_view(ready):
    view = ready.tensor(ready.nodes()[0]["inputs"][1])()
    with pytest.raises(ValueError, match="read-only"):
        view[...] = 0


# ---- signatures and the short form ----


def test_signature_runner(dense):
    ours, theirs = runtime.Interpreter(model_content=dense), LiteRT(model_content=dense)
    x = np.random.default_rng(5).standard_normal((3, 4)).astype(np.float32)
    run, their_run = ours.get_signature_runner(), theirs.get_signature_runner()
    same_details(
        list(run.get_input_details().values()), list(their_run.get_input_details().values())
    )
    result, expected = run(x0=x), their_run(x0=x)
    assert result.keys() == expected.keys() == {"y0"}
    np.testing.assert_allclose(result["y0"], expected["y0"], rtol=1e-5)
    same_details(
        list(run.get_output_details().values()), list(their_run.get_output_details().values())
    )
    with pytest.raises(ValueError, match=r"Invalid Input name \(z\)"):
        run(z=x)
    with pytest.raises(ValueError, match="Invalid number of inputs"):
        run()
    with pytest.raises(ValueError, match="Got value of type float64"):
        run(x0=x.astype(np.float64))
    with pytest.raises(ValueError, match="Invalid signature_key 'nope'; the model has: serving"):
        ours.get_signature_runner("nope")
    bare = runtime.Interpreter(model_content=models.dense_stack(signature=False))
    with pytest.raises(ValueError, match="the model has 0 signatures"):
        bare.get_signature_runner()


def test_the_second_subgraph_runs_by_its_signature():
    rng, first, second = np.random.default_rng(0), models.Builder("a"), models.Builder("b")
    x, z = first.input((1, 4)), second.input((1, 5))
    model = first.model(first.dense(x, 3, rng), signature=False)
    second.graph.outputs = [second.dense(z, 2, rng)]
    model.graphs.append(second.graph)
    model.signatures += [
        ir.Signature("one", {"x": 0}, {"y": 0}, 0),
        ir.Signature("two", {"z": 0}, {"y": 0}, 1),
    ]
    content = write_tflite(model)
    ours, theirs = runtime.Interpreter(model_content=content), LiteRT(model_content=content)
    z = rng.standard_normal((1, 5)).astype(np.float32)
    expected = theirs.get_signature_runner("two")(z=z)["y"]
    np.testing.assert_allclose(ours.get_signature_runner("two")(z=z)["y"], expected, rtol=1e-5)
    same_details(ours.get_tensor_details(1), theirs.get_tensor_details(1))
    with pytest.raises(ValueError, match="subgraph_index is out of range: 2"):
        ours.get_tensor_details(2)


def test_calling_the_model(dense):
    model = runtime.load(dense)
    x = np.random.default_rng(5).standard_normal((2, 4)).astype(np.float32)
    y = model(x)
    assert y.shape == (2, 3) and y.dtype == np.float32
    np.testing.assert_array_equal(model(x0=x), y)
    np.testing.assert_array_equal(model(x.astype(np.float64)), y)
    np.testing.assert_array_equal(model(x.tolist()), y)
    assert model(x[:1]).shape == (1, 3)
    with pytest.raises(ValueError, match="type <U1 but expected type float32"):
        model(np.full((1, 4), "a"))
    with pytest.raises(ValueError, match=r"expected 1 \(x0\), got 2"):
        model(x, x)


def test_calling_a_model_of_many_outputs():
    named = runtime.load(models.branches())
    x, other = np.ones((2, 6), np.float32), np.ones((2, 3), np.float32)
    result = named(x, other)
    assert {name: y.shape for name, y in result.items()} == {"y0": (2, 4), "y1": (2, 3)}
    np.testing.assert_array_equal(named(x, x1=other)["y1"], result["y1"])
    with pytest.raises(ValueError, match="by position and by name"):
        named(x, x0=x)


def test_variables_keep_their_value_until_they_are_reset():
    b = models.Builder()
    x = b.input((1, 4))
    state = ir.Value("state", "FLOAT32", (1, 4), is_variable=True)
    content = write_tflite(b.model(b.op("ADD", [x, state], (1, 4))))
    interpreter = runtime.Interpreter(model_content=content)
    ones = np.ones((1, 4), np.float32)
    assert (interpreter(ones) == 1).all()
    index = next(d["index"] for d in interpreter.get_tensor_details() if d["name"] == "state")
    interpreter.set_tensor(index, 5 * ones)
    assert (interpreter(ones) == 6).all() and (interpreter(ones) == 6).all()
    interpreter.reset_all_variables()
    assert (interpreter(ones) == 1).all()


# ---- facts ----


def test_profile_names_every_node(dense):
    interpreter = runtime.Interpreter(model_content=dense, profile=True)
    for _ in range(3):
        interpreter(np.ones((1, 4), np.float32))
    rows = interpreter.profile()
    assert [row["op"] for row in rows] == ["FULLY_CONNECTED"] * 2
    assert all(row["microseconds"] > 0 and row["name"] for row in rows)
    assert [row["macs"] for row in rows] == [4 * 8, 8 * 3]


def test_memory_is_what_the_blocks_are(ready, dense):
    memory = ready.memory()
    assert memory["model"] == len(dense)
    assert memory["arena"] == ready._session._arena.nbytes
    assert memory["prepared"] == ready._session._prepared.nbytes
    assert 0 < memory["peak_live"] <= memory["arena"]


def test_supported_ops_are_schema_names():
    ops = runtime.supported_ops()
    assert "FULLY_CONNECTED" in ops and len(set(ops)) == len(ops)


def test_a_missing_library_says_how_to_build_it(monkeypatch, tmp_path):
    monkeypatch.setattr(_binding, "LIBRARY", tmp_path / "core" / "_lib" / "librillet.so")
    monkeypatch.setattr(_binding, "library", _binding.library.__wrapped__)
    with pytest.raises(RilletError, match=r"librillet\.so is missing"):
        _binding.library()
    (tmp_path / "core").mkdir(exist_ok=True)
    (tmp_path / "core" / "core").mkdir()
    (tmp_path / "core" / "core" / "build.py").touch()
    with pytest.raises(RilletError, match=r"build\.py`, which needs `pip install ziglang"):
        _binding.library()
    (tmp_path / "core" / "_lib").mkdir()
    (tmp_path / "core" / "_lib" / "librillet.so").write_bytes(b"not a library")
    with pytest.raises(RilletError, match="cannot be used"):
        _binding.library()


def test_import_needs_numpy_alone():
    script = (
        "import sys; before = set(sys.modules); import runtime;"
        "third = {m.split('.')[0] for m in set(sys.modules) - before} - sys.stdlib_module_names;"
        "print(sorted(third))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "['numpy', 'runtime']"
