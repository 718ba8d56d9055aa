# SPDX-License-Identifier: Apache-2.0
"""STABLEHLO_SCATTER and REDUCE_WINDOW recognize the subgraph they name, STABLEHLO_CASE runs one."""

from __future__ import annotations

import itertools
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from single_op import OpModel, litert, numbers, run

from converter import ir, write_tflite
from runtime import RilletError

BODIES = {
    "STABLEHLO_ADD": np.add,
    "STABLEHLO_MULTIPLY": np.multiply,
    "STABLEHLO_MAXIMUM": np.maximum,
    "STABLEHLO_MINIMUM": np.minimum,
}
NUMBERS = ["float32", "float64", "int8", "int16", "int32", "int64", "uint8"]


def body(op: str | None, dtype: str) -> ir.Graph:
    """A subgraph of two numbers; None gives the second back."""
    graph = ir.Graph("body")
    a, b = (graph.add_input(name, dtype.upper(), ()) for name in "ab")
    graph.outputs = [b]
    if op:
        y = ir.Value("c", dtype.upper(), ())
        graph.add_node(op, [a, b], [y])
        graph.outputs = [y]
    return graph


def model(op: str, feeds: list[Any], shape: Any, graphs: list[ir.Graph], **options: Any) -> OpModel:
    """Inputs `feeds` to one node, with `graphs` from subgraph 1 on."""
    main = ir.Graph("main")
    feeds = [np.asarray(feed) for feed in feeds]
    inputs = [
        main.add_input(f"x{i}", feed.dtype.name.upper(), feed.shape) for i, feed in enumerate(feeds)
    ]
    types = [v.dtype for v in inputs]
    y = ir.Value("y", types[1] if op == "STABLEHLO_CASE" else types[0], shape)
    main.add_node(op, inputs, [y], options)
    main.outputs = [y]
    with mock.patch("converter.writer.verify"):
        return OpModel(op, write_tflite(ir.Model([main, *graphs])), feeds)


# ---- STABLEHLO_SCATTER ----


def scatter(
    x: Any, indices: Any, updates: Any, windows: Any, inserted: Any, named: Any, axis: int, op: Any
) -> OpModel:
    options = {
        "update_window_dims": np.int64(windows),
        "inserted_window_dims": np.int64(inserted),
        "scatter_dims_to_operand_dims": np.int64(named),
        "index_vector_dim": axis,
        "update_computation_subgraph_index": 1,
    }
    kind = np.asarray(x).dtype.name
    return model(
        "STABLEHLO_SCATTER", [x, indices, updates], np.shape(x), [body(op, kind)], **options
    )


def scattered(
    x: Any, indices: Any, updates: Any, windows: Any, named: Any, axis: int, op: Any
) -> Any:
    """By the specification, update by update; no dimension is inserted."""
    result = np.array(x)
    batch = [d for d in range(updates.ndim) if d not in windows]
    vectors = np.moveaxis(indices[..., None] if axis == indices.ndim else indices, axis, -1)
    for at in np.ndindex(updates.shape):
        start = np.zeros(x.ndim, int)
        start[list(named)] = vectors[tuple(at[d] for d in batch)]
        place = tuple(start + [at[d] for d in windows])
        if all(0 <= p < size for p, size in zip(place, x.shape, strict=True)):
            result[place] = updates[at] if op is None else BODIES[op](result[place], updates[at])
    return result


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("op", [None, *BODIES])
def test_scatter(op: str | None, dtype: str, index: Any, rng: Any) -> None:
    """100,000 updates of windows, some of which reach beyond the input; repeated places add up."""
    x = rng.integers(-9, 9, (40, 30)).astype(dtype)
    indices = rng.integers(-2, 41, (150, 2)).astype(index)
    updates = rng.integers(-9, 9, (3, 150, 2)).astype(dtype)
    for one in (indices, indices[:, ::-1].copy()):
        built = scatter(x, one, updates, [0, 2], [], [0, 1], 1, op)
        with np.errstate(over="ignore"):
            wanted = scattered(x, one, updates, [0, 2], [0, 1], 1, op)
        np.testing.assert_array_equal(run(built), wanted)
        np.testing.assert_array_equal(run(built, threads=3), wanted)
        np.testing.assert_array_equal(litert(built), wanted)


def test_scatter_inserts_dimensions_and_takes_single_numbers() -> None:
    x = numbers((3, 4, 2), "int32")
    rows = np.int32([2, 0, 2])  # index_vector_dim is their rank: every number is an index
    updates = 100 * numbers((3, 4, 2), "int32")
    built = scatter(x, rows, updates, [1, 2], [0], [0], 1, "STABLEHLO_ADD")
    wanted = x.copy()
    np.add.at(wanted, rows, updates)
    np.testing.assert_array_equal(run(built), wanted)
    listed = scatter(x, rows[:, None], updates, [1, 2], [0], [0], 1, "STABLEHLO_ADD")
    np.testing.assert_array_equal(run(listed), wanted)
    np.testing.assert_array_equal(litert(listed), wanted)  # it stops for single numbers
    none = scatter(x, rows[:0], updates[:0], [1, 2], [0], [0], 1, None)
    np.testing.assert_array_equal(run(none), x)


# ---- STABLEHLO_REDUCE_WINDOW ----


def reduce_window(x: Any, start: Any, op: str, **options: Any) -> OpModel:
    rank = np.ndim(x)
    given = {"window_strides": [1] * rank, "window_dilations": [1] * rank}
    given |= {"base_dilations": [1] * rank, "padding": [0, 0] * rank, **options}
    given = {name: np.int64(values) for name, values in given.items()}
    shape = reduced(x, start, BODIES.get(op, np.logical_or), **given).shape
    start = np.asarray(start, np.asarray(x).dtype)
    kind = start.dtype.name
    return model(
        "STABLEHLO_REDUCE_WINDOW",
        [x, start],
        shape,
        [body(op, kind)],
        body_subgraph_index=1,
        **given,
    )


def reduced(
    x: Any,
    start: Any,
    function: Any,
    window_dimensions: Any,
    window_strides: Any,
    window_dilations: Any,
    base_dilations: Any,
    padding: Any,
) -> Any:
    """By the specification: gaps and paddings hold `start`, from which every window begins."""
    padding = np.reshape(padding, (-1, 2))
    spread = np.full(
        [(n - 1) * b + 1 for n, b in zip(x.shape, base_dilations, strict=True)], start, x.dtype
    )
    spread[tuple(slice(None, None, b) for b in base_dilations)] = x
    spread = np.pad(spread, np.maximum(padding, 0), constant_values=start)
    cut = tuple(
        slice(max(-low, 0), size - max(-high, 0))
        for (low, high), size in zip(padding, spread.shape, strict=True)
    )
    spread = spread[cut]
    reach = (np.array(window_dimensions) - 1) * window_dilations
    sizes = [
        max(0, (n - r - 1) // s + 1)
        for n, r, s in zip(spread.shape, reach, window_strides, strict=True)
    ]
    result = np.full(sizes, start, x.dtype)
    for tap in itertools.product(*(range(w) for w in window_dimensions)):
        at = np.array(tap) * window_dilations
        part = (
            spread[
                tuple(
                    slice(a, a + (n - 1) * s + 1, s)
                    for a, n, s in zip(at, sizes, window_strides, strict=True)
                )
            ]
            if result.size
            else result
        )
        result = function(result, part).astype(x.dtype)
    return result


def close(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.shape == wanted.shape and found.dtype == wanted.dtype
    np.testing.assert_allclose(found, wanted, 1e-5 if found.dtype.kind == "f" else 0)


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("op", BODIES)
def test_reduce_window(op: str, dtype: str, rng: Any) -> None:
    x = rng.integers(1, 4, (5, 70, 300)).astype(dtype)
    options = {
        "window_dimensions": [2, 3, 2],
        "window_strides": [1, 2, 1],
        "window_dilations": [1, 2, 3],
        "base_dilations": [1, 2, 1],
        "padding": [1, 0, 3, -2, 0, 4],
    }
    start = 1 if op == "STABLEHLO_MULTIPLY" else 2
    built = reduce_window(x, start, op, **options)
    given = {name: np.int64(values) for name, values in options.items()}
    found = run(built)
    assert found.size >= 100_000
    with np.errstate(over="ignore"):
        close(found, reduced(x, start, BODIES[op], **given))
    close(found, litert(built))
    np.testing.assert_array_equal(run(built, threads=3), found)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_reduce_window_of_any_shape(data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, 4))

    def draw(least: int, most: int, count: int = rank) -> list[int]:
        return data.draw(st.lists(st.integers(least, most), min_size=count, max_size=count))

    x = numbers(draw(1, 5), "int32")
    options = {
        "window_dimensions": draw(1, 3),
        "window_strides": draw(1, 3),
        "window_dilations": draw(1, 2),
        "base_dilations": draw(1, 2),
        "padding": draw(-1, 3, 2 * rank),
    }
    given = {name: np.int64(values) for name, values in options.items()}
    wanted = reduced(x, 3, np.add, **given)
    built = reduce_window(x, 3, "STABLEHLO_ADD", **options)
    np.testing.assert_array_equal(run(built), wanted)


@pytest.mark.parametrize(("op", "wanted"), [("LOGICAL_OR", [1, 1, 0]), ("LOGICAL_AND", [0, 0, 0])])
def test_reduce_window_of_truth_values(op: str, wanted: list[int]) -> None:
    x = np.array([True, False, True, False, False], bool)
    built = reduce_window(
        x, op.endswith("AND"), op, window_dimensions=[2], window_strides=[2], padding=[0, 1]
    )
    found = run(built)
    np.testing.assert_array_equal(found, np.array(wanted, bool) | (op.endswith("AND") & found))
    np.testing.assert_array_equal(found, litert(built))


# ---- STABLEHLO_CASE ----


def branch(op: str) -> ir.Graph:
    graph = ir.Graph(op)
    x = graph.add_input(f"{op}_x", "FLOAT32", (2, 3))
    y = ir.Value(f"{op}_y", "FLOAT32", (2, 3))
    graph.add_node(op, [x], [y])
    graph.outputs = [y]
    return graph


def case(index: int, branches: list[int]) -> OpModel:
    x = np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3)
    graphs = [branch(op) for op in ("ABS", "NEG", "SQUARE")]
    return model(
        "STABLEHLO_CASE",
        [np.array([index], np.int32), x],
        (2, 3),
        graphs,
        branch_subgraph_indices=np.int32(branches),
    )


@pytest.mark.parametrize("index", [-1, 0, 1, 2, 3, 99])
def test_case_takes_the_last_branch_for_an_index_without_one(index: int) -> None:
    built = case(index, [1, 2, 3])
    x = built.feeds[1]
    wanted = [np.abs(x), -x, x * x][index if 0 <= index < 3 else 2]
    np.testing.assert_array_equal(run(built), wanted)
    np.testing.assert_array_equal(litert(built), wanted)


def test_a_case_may_name_one_branch_twice() -> None:
    built = case(1, [2, 2, 1, 3])
    np.testing.assert_array_equal(run(built), -built.feeds[1])


# ---- refusals ----

X = np.ones((3, 4), np.float32)
WINDOW = {"window_dimensions": [2, 2]}
UNHAPPY = [
    (lambda: reduce_window(X, 0, "ATAN2", **WINDOW), "its body must be one ADD"),
    (
        lambda: reduce_window(X.astype("int32"), 0, "STABLEHLO_AND", **WINDOW),
        "supported on BOOL only",
    ),
    (
        lambda: reduce_window(X, 0, "STABLEHLO_ADD", window_dimensions=[2, 2], padding=[0, 0]),
        "padding",
    ),
    (lambda: scatter(X, np.int32([[0]]), X[:1], [1], [0], [0, 1], 1, None), "names 2 dimensions"),
    (lambda: scatter(X, np.int32([[0]]), X[:1], [1], [], [0], 1, None), "do not fit"),
    (lambda: scatter(X, np.int32([[0]]), X[:2], [1], [0], [0], 1, None), "is not as long as"),
    (lambda: scatter(X, np.int32([[0]]), X[:1], [1], [0], [7], 1, None), "an option lists"),
    (
        lambda: scatter(X, np.int32([[0]]), X[:1], [1], [0], [0], 1, "ATAN2"),
        "its body must be one ADD",
    ),
    (lambda: case(0, [1, 9]), "runs subgraph 9, the model has 4"),
    (lambda: case(0, []), "names no branches"),
    (lambda: case(0, [0]), "calls itself"),
]


@pytest.mark.parametrize(("build", "words"), UNHAPPY, ids=[words for _, words in UNHAPPY])
def test_refusals_say_why(build: Any, words: str) -> None:
    with (
        mock.patch(f"{__name__}.reduced", lambda *_, **__: X),
        pytest.raises(RilletError, match=words),
    ):
        run(build())
