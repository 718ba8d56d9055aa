# SPDX-License-Identifier: Apache-2.0
"""Operators whose output is as large as their values say, and those told by computed values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from control_models import Sub, serialize
from hypothesis import given, settings
from hypothesis import strategies as st
from single_op import Arg, OpModel, Out, const, litert, litert_all, numbers, run, run_all, single_op

import runtime
from runtime import RilletError

# ---- WHERE ----

CONDITIONS = ["bool", "float32", "int8", "uint8", "int32", "uint32", "int64"]


@pytest.mark.parametrize("dtype", CONDITIONS)
@pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 3, 4, 2), (0, 3), (50, 70)], ids=str)
def test_where(dtype: str, shape: Any, rng: Any) -> None:
    x = rng.integers(0, 2, shape).astype(dtype)
    for condition in (x, np.zeros_like(x), np.ones_like(x)):
        wanted = np.argwhere(condition)
        for args in ([condition], [Arg(condition, const=True)]):
            found = run(single_op("WHERE", args, Out("INT64")))
            assert found.dtype == np.int64 and found.shape == wanted.shape
            np.testing.assert_array_equal(found, wanted)
        if wanted.size:  # LiteRT cannot hand out what is empty
            np.testing.assert_array_equal(
                litert(single_op("WHERE", [condition], Out("INT64"))), wanted
            )


def test_where_takes_minus_zero_for_zero_and_nan_for_set() -> None:
    x = np.float32([-0.0, 0.0, np.nan, 1e-45, np.inf])
    model = single_op("WHERE", [x], Out("INT64"))
    assert run(model).tolist() == [[2], [3], [4]] == litert(model).tolist()


def test_where_changes_its_size_from_run_to_run() -> None:
    model = single_op("WHERE", [np.zeros((2, 3), bool)], Out("INT64"))
    interpreter = runtime.Interpreter(model_content=model.content)
    interpreter.allocate_tensors()
    at, out = (
        d[0]["index"] for d in (interpreter.get_input_details(), interpreter.get_output_details())
    )
    for count in (0, 6, 2, 5, 1):
        x = (np.arange(6) < count).reshape(2, 3)
        interpreter.set_tensor(at, x)
        interpreter.invoke()
        np.testing.assert_array_equal(interpreter.get_tensor(out), np.argwhere(x))


# ---- UNIQUE ----


def unique(x: Any, index: str = "INT32") -> OpModel:
    outs = [Out(x.dtype.name.upper()), Out(index, shape=x.shape)]
    return single_op("UNIQUE", [x], outs, idx_out_type=index)


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8", "int16", "int32", "int64"])
@pytest.mark.parametrize("index", ["INT32", "INT64"])
@pytest.mark.parametrize("count", [0, 1, 2, 50, 3000])
def test_unique(dtype: str, index: str, count: int, rng: Any) -> None:
    x = rng.integers(0, 20, count).astype(dtype)
    values, ids = run_all(unique(x, index))
    first = np.sort(np.unique(x, return_index=True)[1])
    np.testing.assert_array_equal(values, x[first])
    np.testing.assert_array_equal(values[ids], x)
    if count:
        for mine, other in zip((values, ids), litert_all(unique(x, index)), strict=True):
            np.testing.assert_array_equal(mine, other)


def test_unique_of_special_values() -> None:
    x = np.float32([np.nan, -0.0, 0.0, np.inf, np.nan, -np.inf])
    values, ids = run_all(unique(x))
    assert ids.tolist() == [0, 1, 1, 2, 0, 3]
    np.testing.assert_array_equal(values, np.float32([np.nan, 0, np.inf, -np.inf]))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=60))
def test_unique_of_any_integers(items: list[int]) -> None:
    x = np.array(items + items[::-1], np.int64)
    values, ids = run_all(unique(x))
    assert values.tolist() == list(dict.fromkeys(x.tolist()))
    np.testing.assert_array_equal(values[ids], x)


# ---- what computed values tell ----

X = numbers((2, 3, 4))
COMPUTED: list[tuple[str, list[Any], Any, dict[str, Any]]] = [
    ("TRANSPOSE", [X, np.int32([2, 0, 1])], X.transpose(2, 0, 1), {}),
    ("PAD", [X, np.int32([[0, 1], [2, 0], [0, 0]])], np.pad(X, [(0, 1), (2, 0), (0, 0)]), {}),
    (
        "MIRROR_PAD",
        [X, np.int32([[0, 1], [2, 0], [0, 3]])],
        np.pad(X, [(0, 1), (2, 0), (0, 3)], "reflect"),
        {"mode": "REFLECT"},
    ),
    ("TILE", [X, np.int32([1, 2, 3])], np.tile(X, (1, 2, 3)), {}),
    ("SUM", [X, np.int32([0, -1])], X.sum((0, 2)), {}),
    ("MEAN", [X, np.int32([1])], X.mean(1, keepdims=True), {"keep_dims": True}),
    ("REDUCE_MAX", [X, np.int32([0])], X.max(0), {}),
    ("RANGE", [np.int32(3), np.int32(9), np.int32(2)], np.int32([3, 5, 7]), {}),
    ("TOPK_V2", [X, np.int32(2)], X[..., :1:-1], {}),
    ("SCATTER_ND", [np.int32([[1]]), np.float32([5]), np.int32([3])], np.float32([0, 5, 0]), {}),
    ("BROADCAST_TO", [X[:, :1], np.int32([2, 5, 4])], np.tile(X[:, :1], (1, 5, 1)), {}),
]


@pytest.mark.parametrize(
    ("op", "args", "wanted", "options"), COMPUTED, ids=[r[0] for r in COMPUTED]
)
def test_values_that_are_computed(op: str, args: Any, wanted: Any, options: Any) -> None:
    outs = [Out(wanted.dtype.name.upper())]
    outs += [Out("INT32")] if op == "TOPK_V2" else []
    model = single_op(op, args, outs, **options)
    found = run_all(model)[0]
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    np.testing.assert_allclose(litert_all(model)[0], found, rtol=1e-6)


def test_transpose_of_eight_dimensions() -> None:
    x = numbers((2, 1, 3, 2, 1, 2, 2, 3))
    perm = [7, 2, 0, 5, 3, 6, 1, 4]
    np.testing.assert_array_equal(run(single_op("TRANSPOSE", [x, const(perm)])), x.transpose(perm))
    np.testing.assert_array_equal(
        run(single_op("TRANSPOSE", [x, np.int32(perm)])), x.transpose(perm)
    )


def drawing(op: str, computed: bool) -> runtime.Interpreter:
    """Draws for logits that are reshaped, to a computed shape or a constant one."""
    main = Sub("main")
    x = main.input((2, 3))
    shape = main.input((2,), "INT32") if computed else np.int32([2, 3])
    known = ((2, 3), "FLOAT32", (-1, -1)) if computed else ((2, 3), "FLOAT32")
    logits = main.op("RESHAPE", [x, shape], known)
    seeds = {"seed": 5, "seed2": 9}
    if op == "MULTINOMIAL":
        drawn = ((2, 40), "INT32", (-1, 40)) if computed else ((2, 40), "INT32")
        y = main.op(op, [logits, np.int32(40)], drawn, **seeds)
    else:
        size = main.op("SHAPE", [logits], ((2,), "INT32"), out_type="INT32")
        y = main.op(op, [size], known, **seeds)
    it = runtime.Interpreter(model_content=serialize(main.ends(y)))
    it.allocate_tensors()
    for detail in it.get_input_details():
        value = np.int32([2, 3]) if len(detail["shape"]) == 1 else np.zeros((2, 3), np.float32)
        it.set_tensor(detail["index"], value)
    return it


@pytest.mark.parametrize("op", ["MULTINOMIAL", "RANDOM_UNIFORM", "RANDOM_STANDARD_NORMAL"])
def test_random_numbers_go_on_where_nodes_are_prepared_in_every_invoke(op: str) -> None:
    late, fixed = drawing(op, True), drawing(op, False)
    seen = []
    for _ in range(4):
        late.invoke()
        fixed.invoke()
        seen.append(late.get_tensor(late.get_output_details()[0]["index"]))
        wanted = fixed.get_tensor(fixed.get_output_details()[0]["index"])
        np.testing.assert_array_equal(seen[-1], wanted)
    assert len({y.tobytes() for y in seen}) == 4


def test_random_numbers_of_a_computed_shape_go_on() -> None:
    model = single_op("RANDOM_UNIFORM", [np.int32([2, 4])], Out(), seed=1, seed2=2)
    interpreter = runtime.Interpreter(model_content=model.content)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], model.feeds[0])
    found = []
    for _ in range(3):
        interpreter.invoke()
        found.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).copy())
    wanted = run(single_op("RANDOM_UNIFORM", [const([2, 4])], Out(), seed=1, seed2=2))
    np.testing.assert_array_equal(found[0], wanted)
    assert not np.array_equal(found[1], found[0]) and not np.array_equal(found[2], found[1])


@pytest.mark.parametrize(
    ("op", "args", "words"),
    [
        ("TRANSPOSE", [X, np.int32([0, 0, 1])], "twice"),
        ("TRANSPOSE", [X, np.int32([0, 1, 3])], "axis 3"),
        ("PAD", [X, np.int32([[0, 1], [-2, 0], [0, 0]])], "padded by"),
        ("TILE", [X, np.int32([1, -1, 1])], "repeated"),
        ("SUM", [X, np.int32([3])], "axis 3"),
        ("RANDOM_UNIFORM", [np.int32([2, -4])], "negative dimension"),
        ("TOPK_V2", [X, np.int32(9)], "wanted of each row"),
    ],
)
def test_computed_values_that_do_not_fit(op: str, args: Any, words: str) -> None:
    outs = [Out(), Out("INT32")] if op == "TOPK_V2" else Out()
    with pytest.raises(RilletError, match=words):
        run(single_op(op, args, outs))


REFUSED: list[tuple[str, OpModel, str]] = [
    ("where of a scalar", single_op("WHERE", [np.float32(1)], Out("INT64")), "dimensions"),
    ("where output", single_op("WHERE", [X], Out("INT32")), "INT64"),
    ("where type", single_op("WHERE", [X.astype(np.float64)], Out("INT64")), "takes"),
    ("unique rank", unique(X), "one dimension"),
    ("unique type", unique(np.float64([1])), "takes"),
]


@pytest.mark.parametrize(("name", "model", "words"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refusals_say_why(name: str, model: OpModel, words: str) -> None:
    with pytest.raises(RilletError, match=words):
        run(model)
