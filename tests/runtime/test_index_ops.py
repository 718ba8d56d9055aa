# SPDX-License-Identifier: Apache-2.0
"""Operators that look elements up, put them somewhere or count along an axis."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from single_op import Arg, OpModel, Out, check_exact, const, litert, numbers, run, single_op

from runtime import RilletError

# ---- CUMSUM ----


def cumsum(x: np.ndarray, axis: int, exclusive: bool, reverse: bool) -> np.ndarray:
    x = np.flip(x, axis) if reverse else x
    total = np.cumsum(x, axis, dtype=x.dtype)
    total = total - x if exclusive else total
    return np.flip(total, axis) if reverse else total


@pytest.mark.parametrize("dtype", ["float32", "int32", "int64"])
@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("shape", [(7,), (3, 5, 4), (2, 0, 3), (40, 700)], ids=str)
def test_cumsum(dtype: str, exclusive: bool, reverse: bool, shape: Any, rng: Any) -> None:
    x = rng.integers(-99, 99, shape).astype(dtype)
    for axis in range(-len(shape), len(shape)):
        wanted = cumsum(x, axis, exclusive, reverse)
        for at in (const(axis), np.int32(axis)):
            model = single_op("CUMSUM", [x, at], exclusive=exclusive, reverse=reverse)
            check_exact(model, wanted)


def test_cumsum_wraps_around() -> None:
    x = np.array([2**31 - 1, 1, 5], np.int32)
    with np.errstate(all="ignore"):
        check_exact(single_op("CUMSUM", [x, const(0)]), np.cumsum(x, dtype=np.int32))


def test_cumsum_by_an_axis_outside_is_said() -> None:
    for at, words in ((const(2), "axis 2"), (np.int32(2), "axis")):
        with pytest.raises(RilletError, match=words):
            run(single_op("CUMSUM", [numbers((2, 3)), at]))


# ---- REVERSE_SEQUENCE ----


def reversed_sequence(x: np.ndarray, lengths: Any, sequence: int, batch: int) -> np.ndarray:
    moved = np.moveaxis(x.copy(), (batch, sequence), (0, 1))
    result = moved.copy()
    for row, length in enumerate(lengths):
        result[row, :length] = moved[row, :length][::-1]
    return np.moveaxis(result, (0, 1), (batch, sequence))


@pytest.mark.parametrize("dtype", ["float32", "uint8", "int16", "int32", "int64"])
@pytest.mark.parametrize("dims", [(0, 1), (1, 0), (0, 2), (3, 1), (2, 3)], ids=str)
def test_reverse_sequence(dtype: str, dims: Any, rng: Any) -> None:
    sequence, batch = dims
    x = numbers((3, 4, 5, 2), dtype)
    lengths = rng.integers(0, x.shape[sequence] + 1, x.shape[batch])
    wanted = reversed_sequence(x, lengths, sequence, batch)
    for index in (np.int32, np.int64):
        args = [x, lengths.astype(index)]
        check_exact(single_op("REVERSE_SEQUENCE", args, seq_dim=sequence, batch_dim=batch), wanted)


def test_reverse_sequence_of_a_length_that_is_not_there() -> None:
    for length in (4, -1):
        model = single_op(
            "REVERSE_SEQUENCE", [numbers((1, 3)), np.int32([length])], seq_dim=1, batch_dim=0
        )
        with pytest.raises(RilletError, match="longer"):
            run(model)


# ---- ONE_HOT ----


def one_hot(indices: np.ndarray, depth: int, on: Any, off: Any, axis: int) -> np.ndarray:
    hot = indices[..., None] == np.arange(depth)
    return np.moveaxis(np.where(hot, on, off), -1, axis).astype(on.dtype)


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8", "int32", "int64", "bool"])
@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 3, 2), (0, 3), (), (90, 70)], ids=str)
def test_one_hot(dtype: str, shape: Any, rng: Any) -> None:
    on, off = np.array(1, dtype), np.array(0 if dtype == "bool" else 3, dtype)
    for index in ("int32", "int64"):
        indices = rng.integers(-1, 6, shape).astype(index)
        for axis in (-1, *range(len(shape) + 1)):
            args = [indices, const(5), Arg(on, const=True), off]
            model = single_op("ONE_HOT", args, Out(dtype.upper()), axis=axis)
            check_exact(model, one_hot(indices, 5, on, off, axis), peer=0 not in shape)


def test_one_hot_of_a_computed_depth() -> None:
    args = [np.int32([0, 2]), np.int32(3), np.float32(1), np.float32(0)]
    model = single_op("ONE_HOT", args, Out(shape=(2, 3)), axis=-1)
    np.testing.assert_array_equal(run(model), np.eye(3, dtype=np.float32)[[0, 2]])
    for declared in ((2, 4), (3, 3), ()):
        found = run(single_op("ONE_HOT", args, Out(shape=declared), axis=-1))
        np.testing.assert_array_equal(found, np.eye(3, dtype=np.float32)[[0, 2]])


# ---- MATRIX_DIAG, MATRIX_SET_DIAG ----

TYPES = ["float32", "int8", "uint8", "int16", "int32", "int64"]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(1,), (5,), (3, 4), (2, 3, 3), (2, 0), (0, 3)], ids=str)
def test_matrix_diag(dtype: str, shape: Any) -> None:
    x = numbers(shape, dtype)
    wanted = x[..., None] * np.eye(shape[-1], dtype=dtype)
    check_exact(single_op("MATRIX_DIAG", [x]), wanted)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(3, 3), (2, 5), (5, 2), (2, 3, 4, 4), (2, 0, 3)], ids=str)
def test_matrix_set_diag(dtype: str, shape: Any) -> None:
    x = numbers(shape, dtype)
    least = min(shape[-2:])
    diagonal = (50 + numbers((*shape[:-2], least), dtype)).astype(dtype)
    wanted = x.copy()
    for i in range(least):
        wanted[..., i, i] = diagonal[..., i]
    check_exact(single_op("MATRIX_SET_DIAG", [x, diagonal]), wanted)


# ---- RANGE, BROADCAST_ARGS ----

RANGES = [(0, 5, 1), (3, 18, 4), (9, -4, -3), (2, 2, 1), (0, 10, 10), (-3, 3, 2)]


@pytest.mark.parametrize("dtype", ["float32", "int32", "int64"])
@pytest.mark.parametrize("bounds", RANGES, ids=str)
def test_range(dtype: str, bounds: Any) -> None:
    wanted = np.arange(*bounds, dtype=dtype)
    args = [const(v, dtype) for v in bounds]
    check_exact(single_op("RANGE", args, Out(dtype.upper())), wanted)
    computed = [const(bounds[0], dtype), np.array(bounds[1], dtype), const(bounds[2], dtype)]
    model = single_op("RANGE", computed, Out(dtype.upper(), shape=wanted.shape))
    np.testing.assert_array_equal(run(model), wanted)


def test_range_of_fractions_adds_them_up() -> None:
    args = [const(v, np.float32) for v in (0.1, 7.0, 0.3)]
    model = single_op("RANGE", args, Out())
    np.testing.assert_array_equal(run(model), litert(model))


def test_range_at_the_edge_of_its_type() -> None:
    top, bottom = 2**63 - 1, -(2**63)
    args = [const(v, np.int64) for v in (bottom, top, 2**62)]
    wanted = np.array([bottom, bottom + 2**62, 0, 2**62], np.int64)
    np.testing.assert_array_equal(run(single_op("RANGE", args, Out("INT64"))), wanted)


SHAPE_PAIRS = [((2, 3), (2, 3)), ((1, 3), (2, 1)), ((4,), (2, 3, 4)), ((), (2, 2)), ((0, 1), (5,))]


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("shapes", SHAPE_PAIRS, ids=str)
def test_broadcast_args(dtype: Any, shapes: Any) -> None:
    wanted = np.array(np.broadcast_shapes(*shapes), dtype)
    args = [np.array(shape, dtype) for shape in shapes]
    check_exact(single_op("BROADCAST_ARGS", args), wanted)


def test_broadcast_args_that_do_not_fit() -> None:
    with pytest.raises(RilletError, match="do not broadcast"):
        run(single_op("BROADCAST_ARGS", [np.int32([2, 3]), np.int32([4])]))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_cumsum_of_any_shape(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=5))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    exclusive, reverse = data.draw(st.booleans()), data.draw(st.booleans())
    x = numbers(shape, "int32")
    model = single_op("CUMSUM", [x, const(axis)], exclusive=exclusive, reverse=reverse)
    np.testing.assert_array_equal(run(model), cumsum(x, axis, exclusive, reverse))


# ---- refusals ----

F, I32 = np.ones((2, 3), np.float32), np.ones((2, 3), np.int32)
ONE = np.float32(1)
REFUSED: list[tuple[str, OpModel, str]] = [
    ("cumsum type", single_op("CUMSUM", [F.astype(np.int8), const(0)]), "takes FLOAT32"),
    ("cumsum axis type", single_op("CUMSUM", [F, const(0, np.float32)]), "INT32 or INT64"),
    ("sequence", single_op("REVERSE_SEQUENCE", [F, const([1, 1])], seq_dim=0), "are both 0"),
    (
        "lengths",
        single_op("REVERSE_SEQUENCE", [F, const([1, 1, 1])], seq_dim=1),
        "one length per element",
    ),
    ("depth", single_op("ONE_HOT", [I32, const(-1), ONE, ONE], Out(), axis=-1), "depth of -1"),
    ("hot axis", single_op("ONE_HOT", [I32, const(2), ONE, ONE], Out(), axis=4), "axis 4"),
    ("hot type", single_op("ONE_HOT", [I32, const(2), ONE, np.int32(1)], Out()), "same type"),
    ("hot values", single_op("ONE_HOT", [I32, const(2), F, ONE], Out()), "one value"),
    ("diagonal", single_op("MATRIX_SET_DIAG", [F, np.ones(3, np.float32)]), "no diagonal"),
    ("no matrix", single_op("MATRIX_SET_DIAG", [F[0], ONE]), "two dimensions"),
    ("range", single_op("RANGE", [const(0), const(5), const(-1)], Out("INT32")), "not lead"),
    ("range of 0", single_op("RANGE", [const(0), const(5), const(0)], Out("INT32")), "not lead"),
    (
        "long range",
        single_op("RANGE", [const(v, np.int64) for v in (0, 2**40, 1)], Out("INT64")),
        "not lead",
    ),
    (
        "range of NaN",
        single_op("RANGE", [const(v, np.float32) for v in (0, np.nan, 1)], Out()),
        "not lead",
    ),
    ("args", single_op("BROADCAST_ARGS", [I32, np.int32([1])]), "must be shapes"),
]


@pytest.mark.parametrize(("name", "model", "words"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refusals_say_why(name: str, model: OpModel, words: str) -> None:
    with pytest.raises(RilletError, match=words):
        run(model)
