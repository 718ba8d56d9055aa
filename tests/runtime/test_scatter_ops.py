# SPDX-License-Identifier: Apache-2.0
"""Operators that put values where indices say: scattering, segments, tables, the largest values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from single_op import (
    Arg,
    OpModel,
    Out,
    check_exact,
    const,
    error,
    litert,
    litert_all,
    numbers,
    run,
    run_all,
    single_op,
)

from runtime import RilletError

# ---- SCATTER_ND ----

SCATTERS = [  # indices' shape, result's shape
    ((4, 1), (7,)),
    ((3, 2), (5, 4)),
    ((3, 1), (5, 4)),
    ((2, 3, 1), (4, 3, 2)),
    ((2, 0), (3, 2)),
    ((0, 1), (3,)),
    ((6, 3), (2, 2, 2)),
]


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8", "int32", "int64", "bool"])
@pytest.mark.parametrize("shapes", SCATTERS, ids=str)
def test_scatter_nd(dtype: str, shapes: Any, rng: Any) -> None:
    shape, result = shapes
    depth = shape[-1]
    indices = (
        np.stack([rng.integers(0, result[d], shape[:-1]) for d in range(depth)], -1)
        if depth
        else np.zeros(shape)
    )
    indices = indices.astype(np.int32).reshape(shape)
    updates = rng.integers(0, 20, (*shape[:-1], *result[depth:])).astype(dtype)
    wanted = np.zeros(result, dtype)
    for at in np.ndindex(shape[:-1]):
        wanted[tuple(indices[at])] += updates[at]
    check_exact(
        single_op("SCATTER_ND", [indices, updates, const(result)], Out(dtype.upper())),
        wanted,
        peer=depth > 0,
    )
    model = single_op(
        "SCATTER_ND", [indices, updates, np.int32(result)], Out(dtype.upper(), shape=result)
    )
    np.testing.assert_array_equal(run(model), wanted)


def test_scatter_outside_is_said() -> None:
    for bad in (-1, 5):
        model = single_op("SCATTER_ND", [np.int32([[bad]]), np.float32([1]), const([5])], Out())
        with pytest.raises(RilletError, match="outside"):
            run(model)


# ---- SPARSE_TO_DENSE ----


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8", "int32", "int64"])
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_sparse_to_dense(dtype: str, index: Any) -> None:
    other = np.array(9, dtype)
    rows = [
        (np.array(2), (5,), np.array(1)),
        (np.array([0, 3]), (5,), np.array([1, 2])),
        (np.array([0, 3]), (5,), np.array(7)),
        (np.array([[0, 1], [2, 2], [0, 0]]), (3, 4), np.array([1, 2, 3])),
        (np.array([[0, 1, 0], [2, 2, 1]]), (3, 4, 2), np.array(5)),
        (np.zeros((0, 2)), (2, 2), np.zeros(0)),
    ]
    for indices, shape, values in rows:
        wanted = np.full(shape, other)
        listed = indices.reshape(-1, len(shape)).astype(int)
        for i, at in enumerate(listed):
            wanted[tuple(at)] = values if values.ndim == 0 else values[i]
        args = [indices.astype(index), const(shape, index), values.astype(dtype), other]
        check_exact(
            single_op("SPARSE_TO_DENSE", args, Out(dtype.upper())), wanted, peer=len(listed) > 0
        )


def test_sparse_to_dense_outside_is_said() -> None:
    args = [np.int32([4]), const([4]), np.float32([1]), np.float32(0)]
    with pytest.raises(RilletError, match="outside"):
        run(single_op("SPARSE_TO_DENSE", args, Out()))


# ---- TOPK_V2 ----


def largest(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    at = np.argsort(-x.astype(np.float64), -1, kind="stable")[..., :k]
    return np.take_along_axis(x, at, -1), at.astype(np.int32)


def topk(x: Any, k: Any, shape: Any = (1,), index: str = "INT32") -> OpModel:
    return single_op(
        "TOPK_V2", [x, k], [Out(x.dtype.name.upper(), shape=shape), Out(index, shape=shape)]
    )


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8", "int16", "int32", "int64"])
@pytest.mark.parametrize("shape", [(9,), (3, 20), (2, 3, 5), (1, 1), (0, 4), (300, 130)], ids=str)
def test_topk(dtype: str, shape: Any, rng: Any) -> None:
    x = rng.integers(0, 25, shape).astype(dtype)  # with ties
    for k in (0, 1, shape[-1] // 2, shape[-1]):
        found = run_all(topk(x, const(k)))
        for a, b in zip(found, largest(x, k), strict=True):
            np.testing.assert_array_equal(a, b)
        for a, b in zip(found, run_all(topk(x, const(k)), threads=3), strict=True):
            np.testing.assert_array_equal(a, b)
        if x.size and k:
            for a, b in zip(found, litert_all(topk(x, const(k))), strict=True):
                np.testing.assert_array_equal(a, b)


def test_topk_puts_nan_last() -> None:
    x = np.float32([np.nan, 1, np.inf, -np.inf, np.nan, -0.0, 0.0])
    for k in range(1, 8):
        at = run_all(topk(x, const(k)))[1]
        assert at.tolist() == [2, 1, 5, 6, 3, 0, 4][:k]
        np.testing.assert_array_equal(at, litert_all(topk(x, const(k)))[1])


def test_topk_of_a_computed_k_and_short_indices() -> None:
    x = numbers((2, 5))
    values, at = run_all(topk(x, np.int32(2), (2, 2)))
    assert at.tolist() == [[4, 3], [4, 3]] and values.tolist() == [[5, 4], [10, 9]]
    values, _ = run_all(topk(x, np.int32(3), (2, 2)))
    assert values.tolist() == [[5, 4, 3], [10, 9, 8]]
    values, at = run_all(topk(x, const(1, np.int16), index="INT16"))
    assert at.dtype == np.int16 and at.tolist() == [[4], [4]]


# ---- segments ----

F32 = np.finfo(np.float32)
I32 = np.iinfo(np.int32)
SEGMENTS: dict[str, tuple[Callable[..., Any], Any, Any]] = {
    "SUM": (np.add, 0, 0),
    "PROD": (np.multiply, 1, 1),
    "MAX": (np.maximum, F32.min, I32.min),
    "MIN": (np.minimum, F32.max, I32.max),
}


@pytest.mark.parametrize("dtype", ["float32", "int32"])
@pytest.mark.parametrize("kind", SEGMENTS)
@pytest.mark.parametrize(
    "shapes", [((6,), (6,)), ((5, 3), (5,)), ((2, 3, 4), (2, 3)), ((0, 2), (0,))], ids=str
)
def test_unsorted_segments(dtype: str, kind: str, shapes: Any, rng: Any) -> None:
    combine, real, whole = SEGMENTS[kind]
    x = rng.integers(-4, 5, shapes[0]).astype(dtype)
    ids = rng.integers(-1, 4, shapes[1]).astype(np.int32)
    inner = shapes[0][len(shapes[1]) :]
    wanted = np.full((5, *inner), real if dtype == "float32" else whole, dtype)
    for at in np.ndindex(ids.shape):
        if ids[at] >= 0:
            wanted[ids[at]] = combine(wanted[ids[at]], x[at])
    model = single_op(f"UNSORTED_SEGMENT_{kind}", [x, ids, const(5)])
    check_exact(model, wanted, peer=x.size > 0)
    model = single_op(
        f"UNSORTED_SEGMENT_{kind}", [x, ids, np.int32(5)], Out(dtype.upper(), shape=(5, *inner))
    )
    np.testing.assert_array_equal(run(model), wanted)


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_segment_sum(dtype: str) -> None:
    x = numbers((6, 3), dtype)
    ids = np.int32([0, 0, 1, 2, 2, 2])
    wanted = np.stack([x[ids == i].sum(0, dtype=x.dtype) for i in range(3)])
    check_exact(single_op("SEGMENT_SUM", [x, const(ids)]), wanted)
    check_exact(single_op("SEGMENT_SUM", [x, ids], Out(dtype.upper(), shape=(3, 3))), wanted)


@pytest.mark.parametrize("ids", [[1, 1, 2], [0, 2, 2], [0, 1, 0], [-1, 0, 1]], ids=str)
def test_segments_that_do_not_count_up(ids: Any) -> None:
    model = single_op("SEGMENT_SUM", [numbers((3, 2)), np.int32(ids)], Out(shape=(3, 2)))
    with pytest.raises(RilletError, match="segment"):
        run(model)


def test_unsorted_segment_outside_is_said() -> None:
    args = [numbers((2,)), np.int32([0, 3]), const(3)]
    with pytest.raises(RilletError, match="outside"):
        run(single_op("UNSORTED_SEGMENT_SUM", args))


def test_segment_extremes_keep_nan() -> None:
    for kind in ("MAX", "MIN"):
        args = [np.float32([np.nan, 1, 2, np.nan]), np.int32([0, 0, 1, 1]), const(2)]
        assert np.isnan(run(single_op(f"UNSORTED_SEGMENT_{kind}", args))).all()


# ---- DYNAMIC_UPDATE_SLICE ----


@pytest.mark.parametrize("dtype", ["float32", "int8", "int16", "int32", "int64", "bool"])
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_dynamic_update_slice(dtype: str, index: Any, rng: Any) -> None:
    for shape, part in (
        ((5,), (2,)),
        ((4, 6), (2, 3)),
        ((3, 4, 5), (3, 1, 5)),
        ((2, 3), (0, 3)),
        ((2, 2), (2, 2)),
    ):
        x, update = numbers(shape, dtype), (100 - numbers(part, "int32")).astype(dtype)
        for start in (np.zeros(len(shape)), rng.integers(-2, 7, len(shape))):
            at = np.clip(start, 0, np.subtract(shape, part)).astype(int)
            wanted = x.copy()
            wanted[tuple(slice(a, a + p) for a, p in zip(at, part, strict=True))] = update
            check_exact(single_op("DYNAMIC_UPDATE_SLICE", [x, update, start.astype(index)]), wanted)


# ---- EMBEDDING_LOOKUP ----


@pytest.mark.parametrize("shape", [(6, 3), (5, 2, 4), (100, 700)], ids=str)
def test_embedding_lookup(shape: Any, rng: Any) -> None:
    ids = rng.integers(0, shape[0], 9).astype(np.int32)
    table = rng.normal(0, 1, shape).astype(np.float32)
    check_exact(single_op("EMBEDDING_LOOKUP", [ids, Arg(table, const=True)], Out()), table[ids])
    q = Arg(rng.integers(-128, 128, shape).astype(np.int8), 0.1, 3, const=True)
    check_exact(single_op("EMBEDDING_LOOKUP", [ids, q], Out("INT8", 0.1, 3)), q.value[ids])


@pytest.mark.parametrize("dtype", ["INT8", "INT4"])
@pytest.mark.parametrize("per_row", [False, True])
@pytest.mark.parametrize("columns", [4, 7])
def test_embedding_lookup_dequantizes(dtype: str, per_row: bool, columns: int, rng: Any) -> None:
    ids = np.int32([3, 0, 5, 3])
    table = rng.integers(-8, 8, (6, columns)).astype(np.int8)
    scale = rng.uniform(0.01, 1, 6 if per_row else 1).astype(np.float32)
    arg = Arg(table, scale, const=True, dtype=dtype)
    model = single_op("EMBEDDING_LOOKUP", [ids, arg], Out())
    wanted = (table * scale[:, None]).astype(np.float32)[ids]
    # LiteRT reads an odd number of 4-bit columns from the wrong place
    check_exact(model, wanted, peer=dtype == "INT8" or columns % 2 == 0)


@pytest.mark.parametrize("combiner", ["SUM", "MEAN", "SQRTN"])
def test_embedding_lookup_sparse(combiner: str, rng: Any) -> None:
    ids = rng.integers(0, 5, 7).astype(np.int32)
    buckets = np.int32([0, 0, 2, 2, 2, 3, 5])
    indices = np.stack([buckets // 3, buckets % 3, np.arange(7)], -1).astype(np.int32)
    weights = rng.uniform(0.5, 2, 7).astype(np.float32)
    table = rng.normal(0, 1, (5, 2, 2)).astype(np.float32)
    wanted = np.zeros((6, 2, 2))
    for bucket in range(6):
        w = weights[buckets == bucket][:, None, None].astype(float)
        if len(w):
            divisor = {"SUM": 1, "MEAN": w.sum(), "SQRTN": np.sqrt((w * w).sum())}[combiner]
            wanted[bucket] = (table[ids[buckets == bucket]] * w).sum(0) / divisor
    model = single_op(
        "EMBEDDING_LOOKUP_SPARSE",
        [ids, indices, const([2, 3, 7]), weights, table],
        Out(),
        combiner=combiner,
    )
    found = run(model)
    assert error(found, wanted.reshape(2, 3, 2, 2)) <= 1e-6
    assert error(found, litert(model)) <= 1e-6


@pytest.mark.parametrize("row", [-1, 3])
def test_rows_outside_the_table_are_said(row: int) -> None:
    ids, table = np.int32([row]), numbers((3, 2))
    with pytest.raises(RilletError, match="outside"):
        run(single_op("EMBEDDING_LOOKUP", [ids, table], Out()))
    args = [ids, np.int32([[0, 0]]), const([1, 1]), np.float32([1]), table]
    with pytest.raises(RilletError, match="outside"):
        run(single_op("EMBEDDING_LOOKUP_SPARSE", args, Out()))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_topk_of_any_rows(data: st.DataObject) -> None:
    row = st.lists(st.floats(-5, 5, width=16), min_size=1, max_size=12)
    x = np.float32([data.draw(row)])
    k = data.draw(st.integers(0, x.shape[1]))
    for a, b in zip(run_all(topk(x, const(k))), largest(x, k), strict=True):
        np.testing.assert_array_equal(a, b)


# ---- refusals ----

F, ONE = np.ones((2, 3), np.float32), np.float32(1)
IDS = np.int32([0, 1])
REFUSED: list[tuple[str, OpModel, str]] = [
    ("updates", single_op("SCATTER_ND", [np.int32([[0]]), F, const([3, 3])], Out()), "no slices"),
    (
        "depth",
        single_op("SCATTER_ND", [np.int32([[0, 0]]), F[0, :1], const([3])], Out()),
        "no slices",
    ),
    (
        "scatter type",
        single_op("SCATTER_ND", [IDS[:, None], F.astype(np.int16), const([3, 3])], Out("INT16")),
        "takes",
    ),
    (
        "scatter shape",
        single_op("SCATTER_ND", [IDS[:, None], F, const([-1, 3])], Out()),
        "negative|-1",
    ),
    (
        "dense rank",
        single_op("SPARSE_TO_DENSE", [IDS, const([3, 3]), ONE, ONE], Out()),
        "every dimension",
    ),
    ("dense values", single_op("SPARSE_TO_DENSE", [IDS, const([3]), F[0], ONE], Out()), "neither"),
    ("k", topk(F, const(4)), "wanted of each row"),
    ("k type", topk(F, const(1, np.int64)), "INT32 or INT16"),
    ("k of bool", topk(F > 0, const(1)), "no kernel for BOOL"),
    (
        "segments",
        single_op("UNSORTED_SEGMENT_SUM", [F, np.int32([0, 1, 2]), const(3)]),
        "does not number",
    ),
    ("no segments", single_op("UNSORTED_SEGMENT_SUM", [F, IDS, const(-1)]), "-1 segments"),
    ("segment type", single_op("SEGMENT_SUM", [F.astype(np.int8), const([0, 0])]), "takes"),
    (
        "part",
        single_op("DYNAMIC_UPDATE_SLICE", [F, np.ones((3, 3), np.float32), IDS]),
        "does not fit",
    ),
    ("start", single_op("DYNAMIC_UPDATE_SLICE", [F, F, np.int32([0])]), "no position"),
    ("table scale", single_op("EMBEDDING_LOOKUP", [IDS, F.astype(np.int8)], Out()), "no scale"),
    (
        "table zero",
        single_op("EMBEDDING_LOOKUP", [IDS, Arg(F.astype(np.int8), 0.1, 1)], Out()),
        "zero point",
    ),
    (
        "table type",
        single_op("EMBEDDING_LOOKUP", [IDS, Arg(F.astype(np.uint8), 0.1)], Out()),
        "INT8 or INT4",
    ),
    ("list", single_op("EMBEDDING_LOOKUP", [F.astype(np.int32), F], Out()), "no list"),
]


@pytest.mark.parametrize(("name", "model", "words"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refusals_say_why(name: str, model: OpModel, words: str) -> None:
    with pytest.raises(RilletError, match=words):
        run(model)
