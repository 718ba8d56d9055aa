# SPDX-License-Identifier: Apache-2.0
"""SLICE and STRIDED_SLICE with every mask: against Python's own slices and LiteRT."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from single_op import OpModel, Out, check_exact, const, numbers, run, single_op

from runtime import RilletError

TYPES = ["float32", "int8", "int16", "int32", "int64", "bool"]

# ---- SLICE, STRIDED_SLICE ----


@pytest.mark.parametrize("dtype", TYPES)
def test_slice(dtype: str) -> None:
    x = numbers((4, 5, 6), dtype)
    for begin, size in (((0, 0, 0), (4, 5, 6)), ((1, 2, 3), (2, -1, 1)), ((3, 0, 5), (1, 5, 1))):
        window = tuple(slice(b, None if s < 0 else b + s) for b, s in zip(begin, size, strict=True))
        out = Out(dtype.upper(), shape=x[window].shape)
        for index in (np.int32, np.int64):
            bounds = const(begin, index), const(size, index)
            check_exact(single_op("SLICE", [x, *bounds], out), x[window])
    out = Out(dtype.upper(), shape=(4, 0, 6))
    check_exact(single_op("SLICE", [x, const([0, 5, 0]), const([4, 0, 6])], out), x[:, 5:])


def test_slice_by_computed_bounds() -> None:
    x = numbers((4, 6))
    begin, size = np.array([1, 2], np.int32), np.array([2, 3], np.int32)
    check_exact(single_op("SLICE", [x, begin, size], Out(shape=(2, 3))), x[1:3, 2:5])
    with pytest.raises(RilletError, match="sliced from"):
        run(single_op("SLICE", [x, begin + 2, size], Out(shape=(2, 3))))
    for declared in ((3, 3), (1,)):
        found = run(single_op("SLICE", [x, begin, size], Out(shape=declared)))
        np.testing.assert_array_equal(found, x[1:3, 2:5])


# begin, end, strides, masks, and what that is in Python.
ELLIPSIS_AND_NEW = {"ellipsis_mask": 1, "new_axis_mask": 2}
STRIDED: list[tuple[list[int], list[int], list[int], dict[str, int], Any]] = [
    ([0, 1], [4, 3], [1, 1], {}, np.s_[0:4, 1:3]),
    ([0, 0, 0], [4, 5, 6], [2, 3, 1], {}, np.s_[0:4:2, 0:5:3, 0:6]),
    ([3, -1, 0], [0, -4, 6], [-1, -2, 1], {}, np.s_[3:0:-1, -1:-4:-2, 0:6]),
    ([9, 9, 9], [9, 9, 9], [1, 1, 1], {"begin_mask": 7, "end_mask": 7}, np.s_[:, :, :]),
    ([0, 0, 0], [0, 0, 0], [-1, -1, -1], {"begin_mask": 7, "end_mask": 7}, np.s_[::-1, ::-1, ::-1]),
    ([1, 2, 3], [2, 3, 4], [1, 1, 1], {"shrink_axis_mask": 2}, np.s_[1:2, 2, 3:4]),
    ([-1, -2, -3], [0, 0, 0], [1, 1, 1], {"shrink_axis_mask": 7}, np.s_[-1, -2, -3]),
    ([0, 0, 1], [0, 0, 3], [1, 1, 1], ELLIPSIS_AND_NEW, np.s_[..., None, 1:3]),
    ([0, 2], [0, 4], [1, 1], {"ellipsis_mask": 1}, np.s_[..., 2:4]),
    ([1, 0, 2], [3, 0, 4], [1, 1, 1], {"ellipsis_mask": 2}, np.s_[1:3, ..., 2:4]),
    ([0] * 5, [1, 9, 9, 0, 2], [1] * 5, {"new_axis_mask": 9}, np.s_[None, 0:9, 0:9, None, 0:2]),
    ([3, 0, 0], [1, 5, 6], [1, 1, 1], {}, np.s_[3:1]),
    ([-9, -9, -9], [9, 9, 9], [1, 1, 1], {}, np.s_[:, :, :]),
    ([2], [3], [1], {"shrink_axis_mask": 1}, np.s_[2]),
]  # fmt: skip


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("begin", "end", "strides", "masks", "window"), STRIDED)
def test_strided_slice(
    begin: Any, end: Any, strides: Any, masks: Any, window: Any, dtype: str
) -> None:
    x = numbers((4, 5, 6), dtype)
    model = single_op("STRIDED_SLICE", [x, const(begin), const(end), const(strides)], **masks)
    wanted = x[window]
    check_exact(model, wanted, peer=wanted.ndim > 0)


def test_strided_slice_with_end_as_offset() -> None:
    x = numbers((4, 6))
    args = [x, const([1, 2]), const([2, 3]), const([1, 1])]
    check_exact(single_op("STRIDED_SLICE", args, offset=True), x[1:3, 2:5])


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_strided_slice_is_pythons(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=4))
    bound, stride = st.integers(-7, 7), st.integers(-3, 3).filter(bool)
    rows = [[data.draw(bound), data.draw(bound), data.draw(stride)] for _ in shape]
    x = numbers(shape)
    columns = [const([row[i] for row in rows]) for i in range(3)]
    found = run(single_op("STRIDED_SLICE", [x, *columns]))
    np.testing.assert_array_equal(found, x[tuple(slice(*row) for row in rows)])


# ---- refusals ----

F = numbers((2, 3))
REFUSED: list[tuple[str, OpModel, str]] = [
    ("slice", single_op("SLICE", [F, const([0, 2]), const([2, 2])]), "sliced from"),
    ("slice rank", single_op("SLICE", [F, const([0]), const([2])]), "one value per dimension"),
    (
        "stride 0",
        single_op("STRIDED_SLICE", [F, const([0]), const([1]), const([0])]),
        "is 0",
    ),
    (
        "index",
        single_op("STRIDED_SLICE", [F, const([2]), const([3]), const([1])], shrink_axis_mask=1),
        "outside dimension 0",
    ),
    (
        "too many bounds",
        single_op("STRIDED_SLICE", [F, *[const([0, 0, 0])] * 2, const([1, 1, 1])]),
        "names 3 dimensions",
    ),
]


@pytest.mark.parametrize(("name", "model", "words"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refusals_say_why(name: str, model: OpModel, words: str) -> None:
    with pytest.raises(RilletError, match=words):
        run(model)
