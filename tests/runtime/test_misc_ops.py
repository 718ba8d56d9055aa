# SPDX-License-Identifier: Apache-2.0
"""Fake quantization, complex numbers, Fourier transforms, random numbers, boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter as LiteRT
from single_op import (
    OpModel,
    Out,
    check_exact,
    const,
    error,
    litert,
    litert_all,
    run,
    run_all,
    single_op,
)

import runtime
from runtime import RilletError

# ---- FAKE_QUANT ----


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
@pytest.mark.parametrize("bounds", [(-1.0, 1.0), (0.0, 6.0), (-3.3, 0.7), (-0.01, 5.0)], ids=str)
def test_fake_quant(bits: int, bounds: Any, rng: Any) -> None:
    x = np.append(rng.normal(0, 4, 5000), [np.nan, np.inf, -np.inf, -0.0]).astype(np.float32)
    options = {"min": bounds[0], "max": bounds[1], "num_bits": bits}
    model = single_op("FAKE_QUANT", [x], **options)
    np.testing.assert_array_equal(run(model), litert(model))
    np.testing.assert_array_equal(run(model, threads=3), run(model))


def test_fake_quant_of_a_narrow_range() -> None:
    x = np.linspace(-2, 2, 101, dtype=np.float32)
    model = single_op("FAKE_QUANT", [x], min=-1.0, max=1.0, num_bits=3, narrow_range=True)
    wanted = np.round(np.clip(x, -1, 1) * 3) / 3  # LiteRT refuses it
    np.testing.assert_allclose(run(model), wanted, atol=0.34)
    assert set(np.round(run(model) * 3).astype(int)) == {-3, -2, -1, 0, 1, 2, 3}


# ---- complex numbers ----


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("shape", [(5,), (3, 4), (), (0, 2), (17_000,)], ids=str)
def test_complex_parts(dtype: Any, shape: Any, rng: Any) -> None:
    z = (rng.normal(0, 9, shape) + 1j * rng.normal(0, 9, shape)).astype(dtype)
    real = Out("FLOAT32" if dtype is np.complex64 else "FLOAT64")
    check_exact(single_op("REAL", [z], real), z.real)
    check_exact(single_op("IMAG", [z], real), z.imag)
    model = single_op("COMPLEX_ABS", [z], real)
    exact = np.abs(z.astype(np.clongdouble)).astype(z.real.dtype)
    np.testing.assert_allclose(run(model), exact, rtol=6e-8 if dtype is np.complex64 else 5e-16)
    if z.size:
        np.testing.assert_allclose(run(model), litert(model), rtol=3e-7)


def test_complex_magnitudes_neither_overflow_nor_vanish() -> None:
    inf, nan = np.inf, np.nan
    z = np.array(
        [3e38 + 1j, 1e-45 + 0j, complex(inf, nan), complex(nan, -inf), complex(nan, 1)],
        np.complex64,
    )
    found = run(single_op("COMPLEX_ABS", [z], Out()))
    np.testing.assert_array_equal(found, np.float32([3e38, 1e-45, inf, inf, nan]))
    z = np.array([1e300 + 1e300j, 1e-300 + 1e-300j], np.complex128)
    np.testing.assert_allclose(
        run(single_op("COMPLEX_ABS", [z], Out("FLOAT64"))), np.abs(z), rtol=4e-16
    )


# ---- RFFT2D ----

TRANSFORMS = [
    ((4, 8), (4, 8)),
    ((3, 5), (4, 8)),  # padded
    ((9, 20), (8, 16)),  # cropped
    ((2, 3, 1, 512), (1, 512)),
    ((1, 1), (1, 1)),
    ((2, 2), (2, 2)),
    ((16, 1), (16, 1)),
    ((32, 64), (32, 64)),
]


@pytest.mark.parametrize("shapes", TRANSFORMS, ids=str)
def test_rfft2d(shapes: Any, rng: Any) -> None:
    shape, lengths = shapes
    x = rng.normal(0, 1, shape).astype(np.float32)
    model = single_op("RFFT2D", [x, const(lengths)], Out("COMPLEX64"))
    found = run(model)
    wanted = np.fft.rfft2(x.astype(np.float64), lengths)
    assert found.shape == wanted.shape and found.dtype == np.complex64
    largest = np.abs(wanted).max()
    assert np.abs(found - wanted).max() <= 1e-7 * largest
    np.testing.assert_array_equal(run(model, threads=3), found)
    computed = single_op("RFFT2D", [x, np.int32(lengths)], Out("COMPLEX64"))
    np.testing.assert_array_equal(run(computed), found)
    if min(lengths) > 1:  # LiteRT's own transform needs two rows and columns
        assert np.abs(found - litert(model)).max() <= 1e-6 * largest


def test_rfft2d_of_nothing() -> None:
    model = single_op("RFFT2D", [np.zeros((0, 3, 4), np.float32), const([2, 4])], Out("COMPLEX64"))
    assert run(model).shape == (0, 2, 3)


# ---- random numbers ----


def runs(interpreter: Any, model: OpModel, times: int = 3) -> list[np.ndarray]:
    """The first output of several invokes in a row."""
    interpreter.allocate_tensors()
    for detail, value in zip(interpreter.get_input_details(), model.feeds, strict=True):
        interpreter.set_tensor(detail["index"], value)
    results = []
    for _ in range(times):
        interpreter.invoke()
        results.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).copy())
    return results


def both(model: OpModel) -> tuple[list[np.ndarray], list[np.ndarray]]:
    mine = runtime.Interpreter(model_content=model.content)
    return runs(mine, model), runs(LiteRT(model_content=model.content), model)


@pytest.mark.parametrize("seeds", [(1, 2), (123456789012, -5), (0, 7)], ids=str)
@pytest.mark.parametrize("shape", [(8,), (3, 4), (100, 1000)], ids=str)
def test_random_uniform_gives_litert_s_numbers(seeds: Any, shape: Any) -> None:
    model = single_op("RANDOM_UNIFORM", [const(shape)], Out(), seed=seeds[0], seed2=seeds[1])
    for found, wanted in zip(*both(model), strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("shape", [(8,), (100, 1000)], ids=str)
def test_random_normal_gives_litert_s_numbers(shape: Any) -> None:
    model = single_op("RANDOM_STANDARD_NORMAL", [const(shape)], Out(), seed=3, seed2=4)
    for found, wanted in zip(*both(model), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("op", ["RANDOM_UNIFORM", "RANDOM_STANDARD_NORMAL"])
def test_random_numbers_of_an_odd_count(op: str) -> None:
    whole = run(single_op(op, [const([8])], Out(), seed=1, seed2=1))
    for count in (0, 1, 3, 5):
        part = run(single_op(op, [const([count])], Out(), seed=1, seed2=1))
        np.testing.assert_array_equal(part, whole[:count])


def test_random_numbers_go_on_and_start_again() -> None:
    model = single_op("RANDOM_UNIFORM", [const([4])], Out(), seed=1, seed2=1)
    first = runs(runtime.Interpreter(model_content=model.content), model, 2)
    assert not np.array_equal(first[0], first[1])
    again = runs(runtime.Interpreter(model_content=model.content), model, 2)
    np.testing.assert_array_equal(first, again)
    large = run(single_op("RANDOM_STANDARD_NORMAL", [const([200_000])], Out(), seed=9))
    assert abs(large.mean()) < 0.01 and abs(large.std() - 1) < 0.01


@pytest.mark.parametrize("dtype", ["INT32", "INT64"])
@pytest.mark.parametrize("samples", [1, 7, 1000])
def test_multinomial_gives_litert_s_numbers(dtype: str, samples: int, rng: Any) -> None:
    logits = rng.normal(0, 2, (3, 6)).astype(np.float32)
    logits[1, 2], logits[1, 3], logits[2, 0] = -np.inf, np.nan, 100
    model = single_op("MULTINOMIAL", [logits, const(samples)], Out(dtype), seed=11, seed2=12)
    for found, wanted in zip(*both(model), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_multinomial_without_odds_stays_among_the_classes() -> None:
    logits = np.full((1, 3), -np.inf, np.float32)
    found = run(single_op("MULTINOMIAL", [logits, const(9)], Out("INT64"), seed=1))
    assert ((found >= 0) & (found < 3)).all()


@pytest.mark.parametrize("algorithm", ["RNG_DEFAULT", "RNG_PHILOX", "RNG_THREEFRY"])
@pytest.mark.parametrize("dtype", ["INT32", "UINT32", "INT64", "UINT64"])
@pytest.mark.parametrize("shape", [(5,), (3, 4), (1,)], ids=str)
def test_rng_bit_generator(algorithm: str, dtype: str, shape: Any) -> None:
    states = [[1, 2], [2**40 + 7, 2**32 - 2]]
    if algorithm != "RNG_THREEFRY":
        states.append([5, 2**64 - 1, 2**50])
    for state in states:
        outs = [Out("UINT64", shape=(len(state),)), Out(dtype, shape=shape)]
        name = algorithm.removeprefix("RNG_")
        model = single_op("STABLEHLO_RNG_BIT_GENERATOR", [np.uint64(state)], outs, algorithm=name)
        for found, wanted in zip(run_all(model), litert_all(model), strict=True):
            np.testing.assert_array_equal(found, wanted)


# ---- NON_MAX_SUPPRESSION ----


def boxes_and_scores(rng: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    corner = rng.uniform(0, 10, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0.5, 4, (count, 2))], 1)
    boxes[::3] = boxes[::3][:, [2, 3, 0, 1]]  # corners the other way round
    return boxes.astype(np.float32), rng.permutation(count).astype(np.float32) / count


@pytest.mark.parametrize("count", [1, 30, 400])
@pytest.mark.parametrize("most", [0, 5, 50])
@pytest.mark.parametrize("limits", [(0.5, 0.1), (0.0, 0.0), (1.0, 0.6), (0.3, 2.0)], ids=str)
def test_non_max_suppression(count: int, most: int, limits: Any, rng: Any) -> None:
    boxes, scores = boxes_and_scores(rng, count)
    iou, least = (const(v, np.float32) for v in limits)
    args = [boxes, scores, const(most), iou, least]
    model = single_op("NON_MAX_SUPPRESSION_V4", args, [Out("INT32"), Out("INT32")])
    for found, wanted in zip(run_all(model), litert_all(model), strict=True):
        np.testing.assert_array_equal(found, wanted)
    for sigma in (0.0, 0.5, 2.0):
        args[5:] = [const(sigma, np.float32)]
        outs = [Out("INT32"), Out(), Out("INT32")]
        soft = single_op("NON_MAX_SUPPRESSION_V5", args, outs)
        chosen, kept, number = run_all(soft)
        other, others_kept, others_number = litert_all(soft)
        np.testing.assert_array_equal(chosen, other)
        assert number == others_number and error(kept, others_kept) <= 1e-6


def test_non_max_suppression_takes_equal_scores_in_order_and_boxes_once() -> None:
    flat = np.float32([[0, 0, 0, 1], [5, 5, 6, 6], [0, 0, 1, 1]])  # the first covers nothing
    args = [flat, np.float32([1, 1, 1]), const(5), const(0.5, np.float32), const(0, np.float32)]
    model = single_op("NON_MAX_SUPPRESSION_V4", args, [Out("INT32"), Out("INT32")])
    chosen, number = run_all(model)
    assert chosen.tolist() == [0, 1, 2, 0, 0] and number == 3


def test_non_max_suppression_of_no_boxes_and_of_nan() -> None:
    empty = [np.zeros((0, 4), np.float32), np.zeros(0, np.float32)]
    nan = [np.ones((2, 4), np.float32), np.float32([np.nan, 0.5])]
    for boxes, wanted in ((empty, 0), (nan, 1)):
        args = [*boxes, const(2), const(0.5, np.float32), const(0, np.float32)]
        model = single_op("NON_MAX_SUPPRESSION_V4", args, [Out("INT32"), Out("INT32")])
        assert run_all(model)[1] == wanted


def test_a_negative_sigma_is_said() -> None:
    args = [np.ones((2, 4), np.float32), np.ones(2, np.float32), const(2)]
    args += [const(v, np.float32) for v in (0.5, 0.0, -1.0)]
    model = single_op("NON_MAX_SUPPRESSION_V5", args, [Out("INT32"), Out(), Out("INT32")])
    with pytest.raises(RilletError, match="sigma"):
        run(model)


# ---- refusals ----

F, C = np.ones((2, 4), np.float32), np.ones((2, 4), np.complex64)
STATE = np.uint64([1, 2])
BITS = [Out("UINT64", shape=(2,)), Out("INT32", shape=(3,))]
TWO = [Out("INT32"), Out("INT32")]
LIMITS = [const(v, np.float32) for v in (0.5, 0.0)]
REFUSED: list[tuple[str, OpModel, str]] = [
    ("bits", single_op("FAKE_QUANT", [F], min=-1.0, max=1.0, num_bits=1), "num_bits is 1"),
    ("range", single_op("FAKE_QUANT", [F], min=1.0, max=2.0, num_bits=8), "hold 0"),
    ("no range", single_op("FAKE_QUANT", [F], min=0.0, max=0.0, num_bits=8), "hold 0"),
    ("real of real", single_op("REAL", [F]), "COMPLEX64"),
    ("real into double", single_op("REAL", [C], Out("FLOAT64")), "FLOAT32"),
    ("length", single_op("RFFT2D", [F, const([3, 4])], Out("COMPLEX64")), "length 3"),
    ("length 0", single_op("RFFT2D", [F, const([0, 4])], Out("COMPLEX64")), "length 0"),
    ("lengths", single_op("RFFT2D", [F, const([4])], Out("COMPLEX64")), "two lengths"),
    ("computed", single_op("RFFT2D", [F, np.int32([4, 5])], Out("COMPLEX64")), "length 5"),
    ("random type", single_op("RANDOM_UNIFORM", [const([4])], Out("FLOAT64")), "FLOAT32"),
    ("samples", single_op("MULTINOMIAL", [F, const(-1)], Out("INT32")), "below 0"),
    ("classes", single_op("MULTINOMIAL", [F[0], const(1)], Out("INT32")), "rows of"),
    (
        "state",
        single_op("STABLEHLO_RNG_BIT_GENERATOR", [np.uint64([1])], BITS, algorithm="PHILOX"),
        "no state",
    ),
    (
        "bits type",
        single_op("STABLEHLO_RNG_BIT_GENERATOR", [STATE], [BITS[0], Out()], algorithm="PHILOX"),
        "takes INT32",
    ),
    (
        "boxes",
        single_op("NON_MAX_SUPPRESSION_V4", [F, F[0], const(2), *LIMITS], TWO),
        "not boxes",
    ),
    (
        "most",
        single_op("NON_MAX_SUPPRESSION_V4", [F, F[:, 0], const(-2), *LIMITS], TWO),
        "at most -2",
    ),
]


@pytest.mark.parametrize(("name", "model", "words"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refusals_say_why(name: str, model: OpModel, words: str) -> None:
    with pytest.raises(RilletError, match=words):
        run(model)
