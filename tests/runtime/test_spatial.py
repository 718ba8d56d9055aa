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


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["INT8", "UINT8"])
def test_bytes_without_a_scale_equal_litert(dtype: str, mode: str, rng: Any) -> None:
    """XNNPACK does not take them; LiteRT's own kernels round otherwise."""
    seen = 0
    while seen < ENOUGH:
        height, width, *size = (int(v) for v in rng.integers(2, 40, 4))
        size = [min(size[0], 4 * height), min(size[1], 4 * width)]
        x = draw(rng, dtype, (2, height, width, int(rng.choice([1, 3, 7, 16]))))
        out = Out(dtype, shape=(2, *size, x.shape[3]))
        model = single_op("RESIZE_BILINEAR", [x, const(size)], out, **MODES[mode])
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


def test_a_computed_size_whatever_is_declared() -> None:
    x = numbers((1, 3, 4, 2))
    for op in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"):
        fixed = run(resize(op, x, (6, 5)))
        args = [x, np.array([6, 5], np.int32)]
        np.testing.assert_array_equal(run(single_op(op, args, Out(shape=(1, 6, 5, 2)))), fixed)
        np.testing.assert_array_equal(run(single_op(op, args, Out(shape=(1, 5, 6, 2)))), fixed)


# ---- SPACE_TO_DEPTH, DEPTH_TO_SPACE ----

TYPES = ["float32", "int8", "uint8", "int16", "int32", "int64", "bool"]


def with_shape(op: str, x: np.ndarray, args: list[Any], wanted: np.ndarray, **options: Any) -> None:
    """`wanted` exactly, also from LiteRT where it takes the type."""
    model = single_op(op, [x, *args], Out(x.dtype.name.upper(), shape=wanted.shape), **options)
    np.testing.assert_array_equal(same_bits(model, wanted), wanted)
    if wanted.size and x.dtype.name not in ("int16", "bool"):
        np.testing.assert_array_equal(litert(model), wanted)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 4), st.integers(0, 5)),
    st.integers(1, 3),
    st.sampled_from(TYPES),
)
def test_space_to_depth_and_back(shape: Any, block: int, dtype: str) -> None:
    batch, high, wide, channels = shape
    x = numbers((batch, high * block, wide * block, channels), dtype)
    cut = x.reshape(batch, high, block, wide, block, channels).transpose(0, 1, 3, 2, 4, 5)
    deep = cut.reshape(batch, high, wide, channels * block * block)
    with_shape("SPACE_TO_DEPTH", x, [], deep, block_size=block)
    with_shape("DEPTH_TO_SPACE", deep, [], x, block_size=block)


# ---- SPACE_TO_BATCH_ND, BATCH_TO_SPACE_ND ----


def to_batch(x: np.ndarray, blocks: Any, pads: Any, value: int = 0) -> np.ndarray:
    """NumPy's form of SPACE_TO_BATCH_ND."""
    n = len(blocks)
    widths = [(0, 0), *pads, *[(0, 0)] * (x.ndim - 1 - n)]
    x = np.pad(x, widths, constant_values=value)
    shape = [x.shape[0]]
    for size, block in zip(x.shape[1:], blocks, strict=False):
        shape += [size // block, block]
    order = [*range(2, 2 * n + 1, 2), 0, *range(1, 2 * n, 2)]
    rest = range(2 * n + 1, n + x.ndim)
    cut = x.reshape([*shape, *x.shape[1 + n :]]).transpose([*order, *rest])
    sizes = [size // block for size, block in zip(x.shape[1:], blocks, strict=False)]
    return cut.reshape([x.shape[0] * int(np.prod(blocks)), *sizes, *x.shape[1 + n :]])


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_space_to_batch_and_back(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 2))
    blocks = data.draw(st.lists(st.integers(1, 3), min_size=n, max_size=n))
    shape, pads = [data.draw(st.integers(1, 3))], []
    for block in blocks:
        before, after, parts = (data.draw(st.integers(0, 4)) for _ in range(3))
        size = (parts + 1) * block - (before + after) % block
        shape.append(size)
        pads.append((before, after))
    shape.append(data.draw(st.integers(1, 3)))
    x = numbers(shape, data.draw(st.sampled_from(["float32", "int8", "uint8", "int32", "int64"])))
    wanted = to_batch(x, blocks, pads)
    edges = [const(blocks), const(pads)]
    with_shape("SPACE_TO_BATCH_ND", x, edges, wanted)
    with_shape("BATCH_TO_SPACE_ND", wanted, edges, x)


def test_padding_of_batches_is_the_zero_point() -> None:
    x = numbers((1, 3, 3, 2), "int8")
    pads = [(1, 0), (0, 1)]
    model = single_op("SPACE_TO_BATCH_ND", [Arg(x, 0.1, -7), const([2, 2]), const(pads)])
    np.testing.assert_array_equal(run(model), to_batch(x, [2, 2], pads, -7))
    np.testing.assert_array_equal(litert(model), run(model))


def test_batches_of_three_dimensions_and_of_none() -> None:
    x, blocks, pads = numbers((2, 3, 4, 5, 2)), [2, 1, 3], [(1, 0), (0, 0), (0, 1)]
    args = [const(blocks), const(pads)]
    wanted = to_batch(x, blocks, pads)
    np.testing.assert_array_equal(run(single_op("SPACE_TO_BATCH_ND", [x, *args])), wanted)
    np.testing.assert_array_equal(run(single_op("BATCH_TO_SPACE_ND", [wanted, *args])), x)
    nothing = [const(np.zeros(0)), const(np.zeros((0, 2)))]
    np.testing.assert_array_equal(run(single_op("SPACE_TO_BATCH_ND", [x, *nothing])), x)
    assert run(single_op("SPACE_TO_BATCH_ND", [x[:0], *args])).shape == (0, 2, 4, 2, 2)


# ---- REVERSE_V2 ----


@pytest.mark.parametrize("dtype", TYPES)
def test_reverse(dtype: str) -> None:
    x = numbers((2, 3, 4, 5), dtype)
    for axes in ([0], [1, 2], [2, 1], [3], [-1], [0, 1, 2, 3], []):
        neighbours = [a % 4 for a in axes] == sorted(a % 4 for a in axes) and len(axes) < 3
        model = single_op("REVERSE_V2", [x, const(np.array(axes, int))], Out(dtype.upper()))
        wanted = np.flip(x, axes)
        np.testing.assert_array_equal(same_bits(model, wanted), wanted)
        if neighbours and axes:
            np.testing.assert_array_equal(litert(model), wanted)


def test_reverse_of_nothing() -> None:
    assert run(single_op("REVERSE_V2", [numbers((0, 3)), const([0, 1])])).shape == (0, 3)


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
    ("depth", single_op("SPACE_TO_DEPTH", [F4], block_size=3), "does not divide"),
    ("depth block", single_op("SPACE_TO_DEPTH", [F4], block_size=0), "block size 0"),
    ("space", single_op("DEPTH_TO_SPACE", [F4], block_size=3), "do not make blocks"),
    (
        "batch",
        single_op("SPACE_TO_BATCH_ND", [F4, const([3, 2]), const([[0, 0], [0, 0]])]),
        "does not go with blocks of 3",
    ),
    (
        "batch edges",
        single_op("SPACE_TO_BATCH_ND", [F4, const([2, 2]), const([[0, 0]])]),
        "two edges",
    ),
    (
        "negative padding",
        single_op("SPACE_TO_BATCH_ND", [F4, const([2, 2]), const([[0, -2], [0, 0]])]),
        "-2 after",
    ),
    (
        "images",
        single_op("BATCH_TO_SPACE_ND", [F4, const([2, 2]), const([[0, 0], [0, 0]])]),
        "images",
    ),
    (
        "crops",
        single_op("BATCH_TO_SPACE_ND", [F4, const([1, 1]), const([[3, 3], [0, 0]])]),
        "does not go",
    ),
    ("reverse", single_op("REVERSE_V2", [F4, const([4])]), "out of range"),
    ("reverse twice", single_op("REVERSE_V2", [F4, const([1, -3])]), "twice"),
    ("huge", single_op(NEAREST, [F4, const([1 << 24, 1])]), "2\\^24"),
]


@pytest.mark.parametrize(("name", "model", "words"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refusals_say_why(name: str, model: OpModel, words: str) -> None:
    with pytest.raises(RilletError, match=words):
        run(model)
