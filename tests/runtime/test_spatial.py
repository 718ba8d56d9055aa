# SPDX-License-Identifier: Apache-2.0
"""Operators over the height and width of images: resizing, and moving pixels between dimensions."""

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
    const,
    error,
    integers,
    litert,
    numbers,
    run,
    single_op,
)

from runtime import RilletError

ENOUGH = 100_000
MODES = {"plain": {}, "corners": {"align_corners": True}, "half": {"half_pixel_centers": True}}
LOW = {"INT8": -128, "UINT8": 0}


def same_bits(model: OpModel, wanted: np.ndarray) -> np.ndarray:
    """The output, the same on every instruction set and number of threads."""
    found = run(model)
    assert found.shape == wanted.shape and found.dtype == wanted.dtype
    for isa in ISAS:
        assert run(model, isa=isa).tobytes() == found.tobytes(), isa
    assert run(model, threads=3).tobytes() == found.tobytes()
    return found


# ---- RESIZE_BILINEAR, RESIZE_NEAREST_NEIGHBOR ----


def resize(op: str, x: Any, size: Any, mode: str = "plain", dtype: str = "FLOAT32") -> OpModel:
    scale, zero = {"FLOAT32": (None, 0), "INT16": (0.1, 0)}.get(dtype, (0.1, LOW.get(dtype, 0) + 3))
    x = np.asarray(x)
    out = Out(dtype, scale, zero, shape=(x.shape[0], *size, x.shape[3]))
    return single_op(op, [Arg(x, scale, zero), const(size)], out, **MODES[mode])


def draw(rng: np.random.Generator, dtype: str, shape: Any) -> np.ndarray:
    if dtype == "FLOAT32":
        return rng.normal(0, 1, shape).astype(np.float32)
    return integers(rng, dtype, shape)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["INT8", "UINT8", "INT16"])
@pytest.mark.parametrize("op", ["RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"])
def test_resized_integers_equal_litert(op: str, dtype: str, mode: str, rng: Any) -> None:
    seen = 0
    while seen < ENOUGH:
        height, width, *size = (int(v) for v in rng.integers(1, 40, 4))
        channels = int(rng.choice([1, 2, 3, 4, 7, 16, 21, 40]))
        if dtype == "INT16" and op == "RESIZE_BILINEAR":  # LiteRT reads past the end otherwise
            size = [min(size[0], 4 * height), min(size[1], 4 * width)]
        model = resize(op, draw(rng, dtype, (2, height, width, channels)), size, mode, dtype)
        found = same_bits(model, litert(model))
        np.testing.assert_array_equal(found, litert(model))
        seen += found.size


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(["RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"]),
    st.tuples(st.integers(1, 3), st.integers(1, 30), st.integers(1, 30), st.integers(1, 20)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from(list(MODES)),
)
def test_resized_floats_are_close_to_litert(op: str, shape: Any, size: Any, mode: str) -> None:
    model = resize(op, draw(np.random.default_rng(1), "FLOAT32", shape), size, mode)
    wanted = litert(model)
    found = same_bits(model, wanted)
    assert error(found, wanted) <= (1e-6 if op == "RESIZE_BILINEAR" else 0)


@pytest.mark.parametrize("mode", MODES)
def test_the_same_size_gives_the_same_pixels(mode: str) -> None:
    for op in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"):
        x = numbers((2, 5, 7, 3))
        np.testing.assert_array_equal(run(resize(op, x, (5, 7), mode)), x)
        x = np.arange(-105, 105).reshape(2, 5, 7, 3).astype(np.int8)
        np.testing.assert_array_equal(run(resize(op, x, (5, 7), mode, "INT8")), x)


def test_saturated_and_special_values_stay() -> None:
    for value in (-128, 127):
        x = np.full((1, 3, 3, 17), value, np.int8)
        assert (run(resize("RESIZE_BILINEAR", x, (7, 9), "half", "INT8")) == value).all()
    x = numbers((1, 4, 4, 1))
    x[0, 1, 1, 0] = np.nan
    found = run(resize("RESIZE_BILINEAR", x, (8, 8), "half"))
    assert np.isnan(found[0, 2:4, 2:4]).all() and np.isfinite(found[0, 6:]).all()
    x[0, 1, 1, 0] = np.inf
    nearest = run(resize("RESIZE_NEAREST_NEIGHBOR", x, (8, 8)))
    assert np.isposinf(nearest).sum() == 4
    zero = np.full((1, 2, 2, 1), -0.0, np.float32)
    assert np.signbit(run(resize("RESIZE_NEAREST_NEIGHBOR", zero, (4, 4)))).all()


def test_no_images_and_no_channels() -> None:
    for op in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"):
        assert run(resize(op, numbers((0, 3, 3, 2)), (5, 4))).shape == (0, 5, 4, 2)
        assert run(resize(op, numbers((2, 3, 3, 0)), (5, 4))).shape == (2, 5, 4, 0)


@pytest.mark.parametrize("dtype", ["int32", "int64", "bool"])
def test_nearest_of_other_types(dtype: str) -> None:
    x = numbers((1, 3, 4, 2), dtype)
    model = single_op("RESIZE_NEAREST_NEIGHBOR", [x, const([6, 8])])
    np.testing.assert_array_equal(run(model), x.repeat(2, 1).repeat(2, 2))


def test_a_computed_size_holds_to_the_declared_one() -> None:
    x = numbers((1, 3, 4, 2))
    for op in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"):
        fixed = run(resize(op, x, (6, 5)))
        args = [x, np.array([6, 5], np.int32)]
        np.testing.assert_array_equal(run(single_op(op, args, Out(shape=(1, 6, 5, 2)))), fixed)
        with pytest.raises(RilletError, match="is declared"):
            run(single_op(op, args, Out(shape=(1, 5, 6, 2))))


# ---- refusals ----

F4 = numbers((1, 4, 4, 8))
BILINEAR, NEAREST = "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"
REFUSED: list[tuple[str, OpModel, str]] = [
    ("rank", single_op(BILINEAR, [F4[0], const([2, 2])]), "4 dimensions"),
    ("size of one", single_op(NEAREST, [F4, const([2])]), "height and width"),
    ("size of 0", single_op(BILINEAR, [F4, const([2, 0])]), "2 x 0"),
    ("negative size", single_op(NEAREST, [F4, const([-1, 2])]), "-1 x 2"),
    ("from nothing", single_op(BILINEAR, [F4[:, :0], const([2, 2])]), "no pixels"),
    (
        "both modes",
        single_op(BILINEAR, [F4, const([2, 2])], align_corners=True, half_pixel_centers=True),
        "exclude",
    ),
    ("type", single_op(BILINEAR, [F4.astype(np.int32), const([2, 2])]), "FLOAT32, INT8"),
    (
        "scales",
        single_op(BILINEAR, [Arg(F4.astype(np.int8), 0.1), const([2, 2])], Out("INT8", 0.2)),
        "same scale",
    ),
    ("huge", single_op(NEAREST, [F4, const([1 << 24, 1])]), "2\\^24"),
]


@pytest.mark.parametrize(("name", "model", "words"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refusals_say_why(name: str, model: OpModel, words: str) -> None:
    with pytest.raises(RilletError, match=words):
        run(model)
