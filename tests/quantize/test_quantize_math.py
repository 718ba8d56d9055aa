# SPDX-License-Identifier: Apache-2.0
"""Properties of the quantization arithmetic and of the observers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from quantize.affine import (
    activation_params,
    dequantize,
    quantize_activation,
    quantize_bias,
    quantize_weights,
    weight_scales,
)
from quantize.errors import QuantizationError
from quantize.observers import BINS, MinMax, Percentile

# Below 1e-6 the smallest scale is in charge; above 1e30 the halves of a range overflow float32.
SIZES = st.floats(2.0**-20, 2.0**100, width=32)
VALUES = st.one_of(st.just(0.0), SIZES, SIZES.map(lambda v: -v))


def array_of(shape):
    return hnp.arrays(np.float32, shape, elements=VALUES)


@settings(deadline=None)
@given(array_of(st.integers(1, 40)))
def test_activations_come_back_within_half_a_step(values: np.ndarray) -> None:
    params = activation_params(float(values.min()), float(values.max()))
    scale = float(params.scale[0])
    back = dequantize(quantize_activation(values, params), params).astype(np.float64)
    assert np.abs(back - values).max() <= scale / 2 * (1 + 1e-4)
    assert -128 <= params.zero_point[0] <= 127
    assert dequantize(quantize_activation(np.zeros(1, np.float32), params), params)[0] == 0.0


@settings(deadline=None)
@given(st.data(), st.integers(1, 4), st.integers(1, 6))
def test_weights_come_back_within_half_a_step_of_their_channel(data, channels, taps) -> None:
    weights = data.draw(array_of((channels, taps)))
    for axis in (0, 1, None):
        scales = weight_scales(weights, axis)
        q = quantize_weights(weights, scales, axis)
        assert np.abs(q.astype(int)).max() <= 127
        along = {0: scales.reshape(-1, 1), 1: scales.reshape(1, -1), None: scales}[axis]
        error = np.abs(q * along.astype(np.float64) - weights)
        assert (error <= along / 2 * (1 + 1e-4)).all()
        assert np.array_equal(quantize_weights(-weights, scales, axis), -q)


@settings(deadline=None)
@given(array_of(st.integers(1, 20)))
def test_biases_come_back_within_half_a_step(bias: np.ndarray) -> None:
    scales = np.full(bias.shape, max(float(np.abs(bias).max()), 1e-3) / 2**30, np.float32)
    back = quantize_bias(bias, scales) * scales.astype(np.float64)
    assert np.abs(back - bias).max() <= scales[0] / 2 * (1 + 1e-6)


def test_ranges_that_int8_cannot_cover() -> None:
    for low, high in [(1.0, -1.0), (0.0, np.inf), (np.nan, 1.0)]:
        with pytest.raises(QuantizationError, match="not a range"):
            activation_params(low, high)


def test_a_range_contains_zero_and_is_never_empty() -> None:
    assert activation_params(3.0, 6.0).zero_point[0] == -128
    assert activation_params(-6.0, -3.0).zero_point[0] == 127
    assert activation_params(0.0, 0.0).scale[0] == np.float32(1 / 255)


def test_an_all_zero_channel_has_a_scale() -> None:
    weights = np.float32([[0, 0], [1, -2]])
    assert np.array_equal(weight_scales(weights, 0), np.float32([2 / 127, 2 / 127]))
    assert weight_scales(np.zeros((2, 2), np.float32), None) == np.float32([1.0])


def chunks_of(data):
    return st.lists(
        hnp.arrays(np.float32, st.integers(0, 30), elements=data), min_size=1, max_size=5
    )


@settings(deadline=None)
@given(chunks_of(st.floats(-1e6, 1e6, width=32)), st.randoms())
def test_observers_do_not_mind_the_order(chunks: list[np.ndarray], shuffler) -> None:
    for make in (MinMax, lambda: Percentile(99.0)):
        first, second = make(), make()
        for chunk in chunks:
            first.add(chunk)
        shuffled = list(chunks)
        shuffler.shuffle(shuffled)
        for chunk in shuffled:
            second.add(chunk)
        assert first.range() == second.range()
        low, high = first.range()
        assert low <= high


@settings(deadline=None)
@given(hnp.arrays(np.float32, 2000, elements=st.floats(-100, 100, width=32)))
def test_percentile_is_within_a_bin_of_the_exact_one(values: np.ndarray) -> None:
    observer = Percentile(95.0)
    for part in np.split(values, 4):
        observer.add(part)
    low, high = observer.range()
    assert observer.exponent is not None
    width = 2.0**observer.exponent
    assert width * BINS / 2 <= 2 * max(float(np.abs(values).max()), 2.0**-59)
    ordered = np.sort(values)
    assert ordered[99] - width <= low <= ordered[100] + width
    assert ordered[1899] - width <= high <= ordered[1900] + width


def test_percentile_cuts_an_outlier_and_minmax_keeps_it() -> None:
    values = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    values[17] = 1000.0
    cut, kept = Percentile(99.9), MinMax()
    cut.add(values)
    kept.add(values)
    assert kept.range()[1] == 1000.0
    assert 2.5 < cut.range()[1] < 4.0
    whole = Percentile(100.0)
    whole.add(values)
    assert whole.range() == kept.range()
