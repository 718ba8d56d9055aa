# SPDX-License-Identifier: Apache-2.0
"""STABLEHLO_PAD and STABLEHLO_GATHER; HASHTABLE_LOOKUP."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from single_op import (
    OpModel,
    Out,
    check_exact,
    litert,
    litert_all,
    numbers,
    run,
    run_all,
    single_op,
)

from runtime import RilletError

# ---- STABLEHLO_PAD ----


def padded(x: np.ndarray, low: Any, high: Any, interior: Any, value: Any) -> np.ndarray:
    """By the definition: spread, put into a large frame, cut out."""
    for axis, between in enumerate(interior):
        size = max(0, x.shape[axis] + (x.shape[axis] - 1) * between)
        shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
        spread = np.full(shape, value, x.dtype)
        spread[(slice(None),) * axis + (slice(None, None, between + 1),)] = x
        x = spread
    x = np.pad(
        x, [(max(a, 0), max(b, 0)) for a, b in zip(low, high, strict=True)], constant_values=value
    )
    cut = [
        slice(max(-a, 0), max(max(-a, 0), size + min(b, 0)))
        for a, b, size in zip(low, high, x.shape, strict=True)
    ]
    return x[tuple(cut)]


def pad(x: Any, low: Any, high: Any, interior: Any, value: Any = 9) -> OpModel:
    return single_op(
        "STABLEHLO_PAD",
        [x, np.array(value, x.dtype)],
        edge_padding_low=list(low),
        edge_padding_high=list(high),
        interior_padding=list(interior),
    )


PADS = [
    ((3,), (1,), (2,), (0,)),
    ((3,), (0,), (0,), (2,)),
    ((5,), (-2,), (-1,), (0,)),
    ((5,), (-3,), (4,), (1,)),
    ((2, 3), (1, 0), (0, 2), (1, 0)),
    ((2, 3, 2), (0, -1, 3), (1, 2, -1), (2, 1, 0)),
    ((4, 4), (-2, -2), (-2, -2), (0, 0)),
    ((0, 2), (1, 0), (1, 0), (3, 1)),
]


@pytest.mark.parametrize("dtype", ["float32", "int8", "int16", "int64", "bool"])
@pytest.mark.parametrize("row", PADS, ids=str)
def test_stablehlo_pad(dtype: str, row: Any) -> None:
    shape, low, high, interior = row
    x = numbers(shape, dtype)
    model = pad(x, low, high, interior, 1 if dtype == "bool" else 9)
    wanted = padded(x, low, high, interior, 1 if dtype == "bool" else 9)
    check_exact(model, wanted, peer=bool(x.size and wanted.size))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_stablehlo_pad_of_any_shape(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=4))
    low, high = (
        data.draw(st.lists(st.integers(-3, 4), min_size=len(shape), max_size=len(shape)))
        for _ in range(2)
    )
    interior = data.draw(st.lists(st.integers(0, 3), min_size=len(shape), max_size=len(shape)))
    x = numbers(shape, "int32")
    np.testing.assert_array_equal(
        run(pad(x, low, high, interior)), padded(x, low, high, interior, 9)
    )


# ---- STABLEHLO_GATHER ----


def gather(x: Any, indices: Any, rank: int, **options: Any) -> OpModel:
    return single_op(
        "STABLEHLO_GATHER", [x, indices], Out(x.dtype.name.upper(), shape=(1,) * rank), **options
    )


def gathered(x: np.ndarray, indices: np.ndarray, o: dict[str, Any]) -> np.ndarray:
    """By the definition, element by element."""
    at = o["index_vector_dim"]
    vectors = indices[..., None] if at == indices.ndim else np.moveaxis(indices, at, -1)
    batch = vectors.shape[:-1]
    kept = [d for d in range(x.ndim) if d not in o["collapsed_slice_dims"]]
    rank = len(batch) + len(kept)
    batch_dims = [d for d in range(rank) if d not in o["offset_dims"]]
    shape = [0] * rank
    for d, size in zip(batch_dims, batch, strict=True):
        shape[d] = size
    for d, source in zip(o["offset_dims"], kept, strict=True):
        shape[d] = o["slice_sizes"][source]
    result = np.zeros(shape, x.dtype)
    for place in np.ndindex(*shape):
        start = [0] * x.ndim
        for d, number in zip(
            o["start_index_map"], vectors[tuple(place[d] for d in batch_dims)], strict=True
        ):
            start[d] = int(np.clip(number, 0, x.shape[d] - o["slice_sizes"][d]))
        for d, source in zip(o["offset_dims"], kept, strict=True):
            start[source] += place[d]
        result[place] = x[tuple(start)]
    return result


GATHERS: list[tuple[Any, Any, dict[str, Any]]] = [
    (
        (5, 3),
        (4, 1),
        {
            "offset_dims": [1],
            "collapsed_slice_dims": [0],
            "start_index_map": [0],
            "index_vector_dim": 1,
            "slice_sizes": [1, 3],
        },
    ),
    (
        (5, 3),
        (4,),
        {
            "offset_dims": [1],
            "collapsed_slice_dims": [0],
            "start_index_map": [0],
            "index_vector_dim": 1,
            "slice_sizes": [1, 2],
        },
    ),
    (
        (3, 4, 2),
        (2, 3, 2),
        {
            "offset_dims": [2, 3],
            "collapsed_slice_dims": [0],
            "start_index_map": [1, 0],
            "index_vector_dim": 2,
            "slice_sizes": [1, 2, 2],
        },
    ),
    (
        (3, 4, 2),
        (2, 2, 3),
        {
            "offset_dims": [0, 3],
            "collapsed_slice_dims": [1],
            "start_index_map": [0, 2],
            "index_vector_dim": 1,
            "slice_sizes": [2, 1, 1],
        },
    ),
    (
        (6,),
        (3, 1),
        {
            "offset_dims": [],
            "collapsed_slice_dims": [0],
            "start_index_map": [0],
            "index_vector_dim": 1,
            "slice_sizes": [1],
        },
    ),
    (
        (4, 4),
        (2,),
        {
            "offset_dims": [0, 1],
            "collapsed_slice_dims": [],
            "start_index_map": [0, 1],
            "index_vector_dim": 0,
            "slice_sizes": [2, 3],
        },
    ),
]


@pytest.mark.parametrize("dtype", ["float32", "int8", "int16", "int64", "bool"])
@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("row", GATHERS, ids=str)
def test_stablehlo_gather(dtype: str, index: Any, row: Any, rng: Any) -> None:
    shape, indices_shape, options = row
    x = numbers(shape, dtype)
    indices = rng.integers(-2, 7, indices_shape).astype(index)
    wanted = gathered(x, indices, options)
    model = gather(x, indices, wanted.ndim, **options)
    found = run(model)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(run(model, threads=3), found)
    if options["index_vector_dim"] in (0, len(indices_shape) - 1):
        np.testing.assert_array_equal(litert(model), found)


# ---- HASHTABLE_LOOKUP ----


@pytest.mark.parametrize("dtype", ["float32", "int8", "int64"])
@pytest.mark.parametrize("shape", [(5,), (5, 3), (5, 2, 2)], ids=str)
def test_hashtable_lookup(dtype: str, shape: Any) -> None:
    keys, table = np.int32([-3, 0, 4, 9, 100]), numbers(shape, dtype)
    wanted = np.int32([4, 5, -3, 100, 101, -4, 0])
    hits = np.isin(wanted, keys)
    rows = np.where(
        hits.reshape(-1, *[1] * (len(shape) - 1)), table[np.searchsorted(keys, wanted) % 5], 0
    )
    model = single_op(
        "HASHTABLE_LOOKUP",
        [wanted, keys, table],
        [Out(dtype.upper(), shape=(1,) * len(shape)), Out("UINT8")],
    )
    found = run_all(model)
    np.testing.assert_array_equal(found[0], rows.astype(dtype))
    np.testing.assert_array_equal(found[1], hits)
    for mine, other in zip(found, litert_all(model), strict=True):
        np.testing.assert_array_equal(mine, other)


# ---- refusals ----

X = numbers((5, 3))
GOOD = GATHERS[0][2]
AT = np.int32([[1], [2]])
REFUSED: list[tuple[str, OpModel, str]] = [
    ("pads", pad(X, [0], [0, 0], [0, 0]), "one value per dimension"),
    ("negative inside", pad(X, [0, 0], [0, 0], [0, -1]), "less than 0 inside"),
    ("huge", pad(X, [2**31 - 1, 0], [2**31 - 1, 0], [0, 0]), "too much"),
    ("slices", gather(X, AT, 2, **{**GOOD, "slice_sizes": [1, 4]}), "larger than dimension 1"),
    ("sizes", gather(X, AT, 2, **{**GOOD, "slice_sizes": [1]}), "one size per dimension"),
    ("collapsed", gather(X, AT, 2, **{**GOOD, "slice_sizes": [2, 3]}), "collapsed"),
    ("map", gather(X, AT, 2, **{**GOOD, "start_index_map": [0, 1]}), "names 2 dimensions"),
    ("map beyond", gather(X, AT, 2, **{**GOOD, "start_index_map": [2]}), "beyond 2"),
    ("offsets", gather(X, AT, 2, **{**GOOD, "offset_dims": []}), "do not make up"),
    ("offset beyond", gather(X, AT, 2, **{**GOOD, "offset_dims": [2]}), "beyond 2"),
    ("vector", gather(X, AT, 2, **{**GOOD, "index_vector_dim": 3}), "index_vector_dim"),
    (
        "keys",
        single_op("HASHTABLE_LOOKUP", [AT[:, 0], AT[:, 0], X], [Out(), Out("UINT8")]),
        "no keys",
    ),
]


@pytest.mark.parametrize(("name", "model", "words"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refusals_say_why(name: str, model: OpModel, words: str) -> None:
    with pytest.raises(RilletError, match=words):
        run(model)
