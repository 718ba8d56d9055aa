# SPDX-License-Identifier: Apache-2.0
"""Operators that move elements: against NumPy, for every element size, and LiteRT."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from single_op import (
    ISAS,
    Arg,
    OpModel,
    Out,
    check_exact,
    const,
    integers,
    litert_all,
    numbers,
    run,
    run_all,
    single_op,
)

from runtime import RilletError

TYPES = ["float32", "int8", "int16", "int32", "int64", "bool"]


# ---- RESHAPE, SQUEEZE, EXPAND_DIMS, SHAPE ----


@pytest.mark.parametrize("dtype", TYPES)
def test_reshape_by_input_and_by_option(dtype: str) -> None:
    x = numbers((2, 3, 4), dtype)
    for shape, result in (((4, 6), (4, 6)), ((-1, 2), (12, 2)), ((2, 1, -1), (2, 1, 12))):
        wanted = x.reshape(result)
        check_exact(single_op("RESHAPE", [x, const(shape)], new_shape=list(shape)), wanted)
        check_exact(single_op("RESHAPE", [x], new_shape=list(shape)), wanted, peer=False)


def test_reshape_to_and_from_a_scalar() -> None:
    check_exact(
        single_op("RESHAPE", [numbers((1, 1)), const(np.zeros(0))]), np.float32(1), peer=False
    )
    check_exact(single_op("RESHAPE", [np.float32(3), const([1, 1])]), np.float32([[3]]))
    check_exact(single_op("RESHAPE", [numbers((1, 1)), const([0])]), np.float32(1), peer=False)


def test_reshape_of_nothing() -> None:
    check_exact(single_op("RESHAPE", [numbers((0, 3)), const([5, 0])]), numbers((5, 0)))
    check_exact(single_op("RESHAPE", [numbers((0, 3)), const([-1, 3])]), numbers((0, 3)))


def test_reshape_by_a_computed_shape_whatever_is_declared() -> None:
    x, shape = numbers((2, 6)), np.array([3, 4], np.int32)
    for declared in ((3, 4), (4, 3), (1,), ()):
        check_exact(single_op("RESHAPE", [x, shape], Out(shape=declared)), x.reshape(3, 4))
    with pytest.raises(RilletError, match="whole number"):
        run(single_op("RESHAPE", [x, np.array([5, -1], np.int32)], Out(shape=(3, 4))))


def test_squeeze_and_expand_dims() -> None:
    x = numbers((1, 3, 1, 4, 1))
    check_exact(single_op("SQUEEZE", [x], squeeze_dims=[]), x.squeeze())
    check_exact(single_op("SQUEEZE", [x], squeeze_dims=[0, -1]), x.squeeze((0, 4)))
    for axis in (0, 1, -1, -6):
        check_exact(single_op("EXPAND_DIMS", [x, const(axis)]), np.expand_dims(x, axis))


def test_shape_and_rank() -> None:
    x = numbers((2, 0, 5))
    check_exact(single_op("SHAPE", [x], Out("INT32"), out_type="INT32"), np.int32([2, 0, 5]))
    check_exact(single_op("SHAPE", [x], Out("INT64"), out_type="INT64"), np.int64([2, 0, 5]))
    check_exact(single_op("SHAPE", [np.float32(1)], Out("INT32")), np.zeros(0, np.int32))
    check_exact(single_op("RANK", [x], Out("INT32")), np.int32(3))


# ---- TRANSPOSE ----


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    "perm",
    [(0, 1, 2, 3), (3, 2, 1, 0), (0, 2, 3, 1), (0, 3, 1, 2), (1, 0, 3, 2), (-1, 0, 1, 2)],
    ids=str,
)
def test_transpose(dtype: str, perm: Any) -> None:
    x = numbers((3, 5, 7, 2), dtype)
    check_exact(single_op("TRANSPOSE", [x, const(perm)]), x.transpose(perm), peer=min(perm) >= 0)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_transpose_of_any_rank(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(0, 4), max_size=7))
    perm = data.draw(st.permutations(range(len(shape))))
    x = numbers(shape)
    found = run(single_op("TRANSPOSE", [x, const(list(perm))]))
    np.testing.assert_array_equal(found, x.transpose(perm))


# ---- PAD, PADV2, MIRROR_PAD ----

PADDINGS = [
    [(0, 0), (1, 2), (3, 0), (0, 0)],
    [(2, 1), (0, 0), (0, 0), (1, 1)],
    [(0, 0), (0, 0), (0, 0), (0, 0)],
    [(1, 0), (0, 0), (0, 0), (0, 0)],
]


@pytest.mark.parametrize("dtype", ["float32", "int32", "int64"])
@pytest.mark.parametrize("paddings", PADDINGS, ids=str)
def test_pad(dtype: str, paddings: Any) -> None:
    x = numbers((2, 3, 4, 5), dtype)
    check_exact(single_op("PAD", [x, const(paddings)]), np.pad(x, paddings))
    model = single_op("PADV2", [x, const(paddings), Arg(np.array([7], dtype), const=True)])
    check_exact(model, np.pad(x, paddings, constant_values=7))
    for kind in (np.int8, np.int16, np.int64):
        check_exact(single_op("PAD", [x, const(paddings, kind)]), np.pad(x, paddings))
        filled = single_op(
            "PADV2", [x, const(paddings, kind), Arg(np.array([7], dtype), const=True)]
        )
        check_exact(filled, np.pad(x, paddings, constant_values=7))


@pytest.mark.parametrize("dtype", ["INT8", "UINT8"])
def test_padding_of_a_quantized_tensor_is_its_zero_point(dtype: str, rng: Any) -> None:
    x = integers(rng, dtype, (2, 3, 4, 5))
    model = single_op("PAD", [Arg(x, 0.1, 5), const(PADDINGS[0])])
    check_exact(model, np.pad(x, PADDINGS[0], constant_values=5))


@pytest.mark.parametrize(
    ("mode", "numpy_mode"), [("REFLECT", "reflect"), ("SYMMETRIC", "symmetric")]
)
def test_mirror_pad(mode: str, numpy_mode: str) -> None:
    x = numbers((2, 3, 4, 5))
    for paddings in ([(0, 1), (2, 0), (1, 3), (0, 0)], [(1, 1), (2, 2), (3, 3), (4, 4)]):
        model = single_op("MIRROR_PAD", [x, const(paddings)], mode=mode)
        check_exact(model, np.pad(x, paddings, mode=numpy_mode))


# ---- CONCATENATION, PACK, SPLIT, SPLIT_V, UNPACK ----


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_concatenation(dtype: str, axis: int) -> None:
    shapes = [[3, 4, 5] for _ in range(4)]
    for shape, size in zip(shapes, (1, 6, 0, 2), strict=True):
        shape[axis] = size
    parts = [numbers(shape, dtype) for shape in shapes]
    model = single_op("CONCATENATION", parts, axis=axis)
    check_exact(model, np.concatenate(parts, axis), peer=dtype != "bool")


def test_concatenation_of_many() -> None:
    parts = [numbers((2, 3)) + i for i in range(40)]
    check_exact(single_op("CONCATENATION", parts, axis=1), np.concatenate(parts, 1))
    check_exact(single_op("CONCATENATION", parts[:1], axis=0), parts[0])


@pytest.mark.parametrize("dtype", TYPES)
def test_pack_and_unpack(dtype: str) -> None:
    parts = [numbers((3, 4), dtype) for _ in range(3)]
    for axis in (0, 1, 2, -1):
        model = single_op("PACK", parts, axis=axis, values_count=3)
        check_exact(model, np.stack(parts, axis), peer=dtype != "bool")
    x = numbers((3, 4, 2), dtype)
    for axis in (0, 1, -1):
        count = x.shape[axis]
        outs = [Out(dtype.upper()) for _ in range(count)]
        found = run_all(single_op("UNPACK", [x], outs, axis=axis, num=count))
        for part, wanted in zip(found, np.moveaxis(x, axis, 0), strict=True):
            np.testing.assert_array_equal(part, wanted)


@pytest.mark.parametrize("dtype", ["float32", "int8", "int16", "int32", "int64"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_split(dtype: str, axis: int) -> None:
    x = numbers((6, 6, 6), dtype)
    model = single_op("SPLIT", [const(axis), x], [Out(dtype.upper())] * 3, num_splits=3)
    for part, wanted, peer in zip(
        run_all(model), np.split(x, 3, axis), litert_all(model), strict=True
    ):
        np.testing.assert_array_equal(part, wanted)
        np.testing.assert_array_equal(part, peer)
    for sizes in ([1, 2, 3], [4, -1, 0]):
        outs = [Out(dtype.upper())] * 3
        model = single_op("SPLIT_V", [x, const(sizes), const(axis)], outs, num_splits=3)
        solved = [6 - sum(s for s in sizes if s > 0) if s < 0 else s for s in sizes]
        wanted = np.split(x, np.cumsum(solved)[:-1], axis)
        for part, want in zip(run_all(model), wanted, strict=True):
            np.testing.assert_array_equal(part, want)


# ---- GATHER, GATHER_ND, SELECT ----


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_gather(dtype: str, index: Any) -> None:
    x = numbers((4, 5, 6), dtype)
    for axis in (0, 1, 2, -1):
        for indices in ([3, 0, 0], [[1, 2], [3, 0]], 2):
            at = np.array(indices, index)
            check_exact(single_op("GATHER", [x, at], axis=axis, batch_dims=0), np.take(x, at, axis))


def test_gather_in_batches() -> None:
    x, at = numbers((3, 4, 5)), np.array([[0, 3], [1, 1], [2, 0]], np.int32)
    wanted = np.stack([x[i][at[i]] for i in range(3)])
    check_exact(single_op("GATHER", [x, at], axis=1, batch_dims=1), wanted)
    wanted = np.stack([x[i][:, at[i]] for i in range(3)])
    check_exact(single_op("GATHER", [x, at], axis=2, batch_dims=1), wanted)


def test_gather_nd() -> None:
    x = numbers((3, 4, 5))
    at = np.array([[[0, 3], [2, 1]]], np.int32)
    check_exact(single_op("GATHER_ND", [x, at]), x[at[..., 0], at[..., 1]])
    at = np.array([[1, 2, 4], [0, 0, 0]], np.int32)
    check_exact(single_op("GATHER_ND", [x, at]), x[tuple(at.T)])


@pytest.mark.parametrize("bad", [-1, 4, 2**31 - 1])
@pytest.mark.parametrize("op", ["GATHER", "GATHER_ND"])
def test_index_out_of_range_is_said(op: str, bad: int) -> None:
    with pytest.raises(RilletError, match="outside"):
        run(single_op(op, [numbers((4, 5)), np.array([[bad]], np.int32)]))


@pytest.mark.parametrize("dtype", TYPES)
def test_select(dtype: str, rng: Any) -> None:
    a, b = numbers((3, 4, 5), dtype), numbers((3, 4, 5), dtype)[::-1].copy()
    where = rng.random((3, 4, 5)) < 0.5
    args = [a, b]
    out = Out(dtype.upper())
    check_exact(single_op("SELECT", [where, *args], out), np.where(where, a, b))
    check_exact(single_op("SELECT_V2", [where, *args], out), np.where(where, a, b))
    rows = np.array([True, False, True])
    check_exact(single_op("SELECT", [rows, *args], out), np.where(rows[:, None, None], a, b))
    for c, p, q in ((where[:, :1], a, b[..., :1]), (where[0, 0], a[:, :1, :1], b[0, 0])):
        check_exact(single_op("SELECT_V2", [c, p, q], out), np.where(c, p, q))


# ---- FILL, ZEROS_LIKE, TILE, BROADCAST_TO ----


@pytest.mark.parametrize("dtype", ["float32", "int8", "int32", "int64", "bool"])
def test_fill_tile_broadcast(dtype: str) -> None:
    value = np.array(1, dtype)
    check_exact(
        single_op("FILL", [const([2, 3]), value], Out(dtype.upper())), np.full((2, 3), value)
    )
    x = numbers((2, 1, 3), dtype)
    check_exact(single_op("TILE", [x, const([2, 3, 1])]), np.tile(x, (2, 3, 1)))
    check_exact(single_op("TILE", [x, const([1, 1, 2])]), np.tile(x, (1, 1, 2)))
    for shape in ((2, 4, 3), (5, 2, 4, 3)):
        check_exact(single_op("BROADCAST_TO", [x, const(shape)]), np.broadcast_to(x, shape))


def test_tile_of_eight_dimensions() -> None:
    x = numbers((1, 2, 1, 2, 1, 2, 1, 2))
    times = [2, 1, 2, 2, 1, 1, 3, 1]
    check_exact(single_op("TILE", [x, const(times)]), np.tile(x, times), peer=False)


def test_zeros_like() -> None:
    check_exact(single_op("ZEROS_LIKE", [numbers((3, 4))]), np.zeros((3, 4), np.float32))


def test_fill_by_a_computed_shape_whatever_is_declared() -> None:
    args = [np.array([2, 3], np.int32), np.float32(4)]
    for declared in ((2, 3), (3, 2), (1,), ()):
        check_exact(single_op("FILL", args, Out(shape=declared)), np.full((2, 3), np.float32(4)))
    with pytest.raises(RilletError, match="negative dimension"):
        run(single_op("FILL", [np.array([2, -3], np.int32), np.float32(4)], Out(shape=(2, 3))))


def test_many_rows_of_nothing_take_no_time() -> None:
    x, at = np.zeros((1 << 14, 1 << 14, 0), np.float32), np.zeros(1, np.int32)
    assert run(single_op("GATHER", [x, at], axis=1)).shape == (1 << 14, 1, 0)
    found = run(single_op("GATHER_ND", [x, np.zeros((1 << 14, 1), np.int32)]))
    assert found.shape == (1 << 14, 1 << 14, 0)
    window = {"filter_height": 1, "filter_width": 1, "stride_h": 1, "stride_w": 1}
    assert run(single_op("MAX_POOL_2D", [x[None]], **window)).size == 0
    assert run(single_op("CONCATENATION", [x, x], axis=2)).size == 0
    assert run(single_op("TRANSPOSE", [x, const([2, 1, 0])])).size == 0


# ---- refusals ----

F = numbers((2, 3))
I32 = np.array([1], np.int32)
REFUSED: list[tuple[str, OpModel, str]] = [
    ("reshape count", single_op("RESHAPE", [F, const([4, 2])]), "counts differ"),
    ("reshape two unknown", single_op("RESHAPE", [F, const([-1, -1])]), "more than one -1"),
    ("reshape no whole", single_op("RESHAPE", [F, const([-1, 4])]), "no whole number"),
    ("reshape by nothing", single_op("RESHAPE", [F]), "no new shape"),
    ("reshape negative", single_op("RESHAPE", [F, const([-2, -3])]), "is -2"),
    ("squeeze", single_op("SQUEEZE", [F], squeeze_dims=[0]), "is not 1"),
    ("squeeze axis", single_op("SQUEEZE", [F], squeeze_dims=[2]), "out of range"),
    ("expand axis", single_op("EXPAND_DIMS", [F, const(4)]), "out of range"),
    ("perm twice", single_op("TRANSPOSE", [F, const([0, 0])]), "twice"),
    ("perm length", single_op("TRANSPOSE", [F, const([0])]), "no permutation"),
    ("pad negative", single_op("PAD", [F, const([[0, -1], [0, 0]])]), "-1"),
    ("pad shape", single_op("PAD", [F, const([[0, 1]])]), "two values per dimension"),
    ("mirror", single_op("MIRROR_PAD", [F, const([[2, 0], [0, 0]])], mode="REFLECT"), "mirror"),
    ("concat axis", single_op("CONCATENATION", [F, F], axis=2), "out of range"),
    ("concat shape", single_op("CONCATENATION", [F, F.T.copy()], axis=0), "differ"),
    ("concat type", single_op("CONCATENATION", [F, F.astype(np.int32)], axis=0), "same type"),
    (
        "concat activation",
        single_op("CONCATENATION", [F, F], axis=0, fused_activation_function="RELU"),
        "activation",
    ),
    ("pack count", single_op("PACK", [F, F], axis=0, values_count=3), "values_count"),
    ("unpack", single_op("UNPACK", [F], [Out()] * 3, axis=0, num=3), "unpacked to 3"),
    ("split", single_op("SPLIT", [const(1), F], [Out()] * 2, num_splits=2), "multiple of 2"),
    (
        "split sizes",
        single_op("SPLIT_V", [F, const([1, 1]), const(1)], [Out()] * 2, num_splits=2),
        "does not add up",
    ),
    ("gather axis", single_op("GATHER", [F, I32], axis=2), "out of range"),
    ("gather index type", single_op("GATHER", [F, F], axis=0), "INT16, INT32 or INT64"),
    ("gather batch", single_op("GATHER", [F, I32], axis=1, batch_dims=1), "differ in batch"),
    ("select condition", single_op("SELECT_V2", [I32, F, F], Out()), "BOOL"),
    ("fill value", single_op("FILL", [const([2]), F], Out()), "one value"),
    ("tile", single_op("TILE", [F, const([2])]), "one value per dimension"),
    ("broadcast", single_op("BROADCAST_TO", [F, const([4, 3])]), "does not broadcast"),
    ("moved type", single_op("RESHAPE", [F, const([6])], Out("INT32")), "same type"),
    (
        "moved scale",
        single_op("TRANSPOSE", [Arg(F.astype(np.int8), 0.1), const([1, 0])], Out("INT8", 0.2)),
        "same scale",
    ),
]


@pytest.mark.parametrize(("name", "model", "words"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refusals_say_why(name: str, model: OpModel, words: str) -> None:
    with pytest.raises(RilletError, match=words):
        run(model)


@pytest.mark.parametrize("dtype", ["int8", "int16", "float32", "int64", "complex64"])
def test_transposed_matrices_on_every_isa(dtype: str, rng: np.random.Generator) -> None:
    """Sizes below, at and beyond the squares that are turned at once."""
    for shape in [(2, 35, 33), (3, 16, 64), (1, 130, 3), (2, 7, 70), (1, 64, 17)]:
        x = (rng.standard_normal((*shape, 2)) * 99).astype(dtype)
        for order in [(0, 2, 1, 3), (3, 0, 2, 1), (2, 1, 0, 3), (3, 2, 1, 0)]:
            one = single_op("TRANSPOSE", [x, const(order)])
            for isa in ISAS:
                np.testing.assert_array_equal(run(one, isa=isa, threads=2), x.transpose(order))
