# SPDX-License-Identifier: Apache-2.0
"""Calibration runs the float model over a stream of samples; a bad sample gets a sentence."""

from __future__ import annotations

import numpy as np
import pytest
from quantize_nets import Net, conv_net, samples

import quantize
from quantize import QuantizationError
from quantize.calibration import calibrate


def two_inputs():
    net = Net()
    a, b = net.input(1, 4), net.input(1, 4)
    return net.model(net.op("SUB", [a, b]))


def test_ranges_are_those_of_the_whole_stream() -> None:
    model = two_inputs()
    a, b, c = model.main.inputs + model.main.outputs
    stream = samples(model, 20)
    ranges = calibrate(model, iter(stream), [a, b, c])
    seen = np.stack([pair[0] for pair in stream])
    assert ranges[a] == (seen.min(), seen.max())
    differences = np.stack([pair[0] - pair[1] for pair in stream])
    assert ranges[c] == (differences.min(), differences.max())


def test_samples_may_be_arrays_tuples_or_mappings_by_either_name() -> None:
    model = two_inputs()
    x, y = samples(model, 1)[0]
    forms = [[(x, y)], [[x, y]], [{"x0": x, "x1": y}], [{"in0": x, "in1": y}]]
    ranges = [list(calibrate(model, form, model.main.outputs).values()) for form in forms]
    assert all(r == ranges[0] for r in ranges)
    single = conv_net()
    x = samples(single, 1)[0][0]
    assert calibrate(single, [x], single.main.inputs) == {single.main.inputs[0]: (x.min(), x.max())}


def test_the_stream_is_read_one_sample_at_a_time() -> None:
    model, alive = two_inputs(), []

    def stream():
        for sample in samples(model, 5):
            alive.append("made")
            yield sample
            alive.append("done")

    calibrate(model, stream(), model.main.outputs)
    assert alive == ["made", "done"] * 5


def test_progress_wraps_the_stream() -> None:
    model, seen = two_inputs(), []

    def progress(stream):
        for sample in stream:
            seen.append(sample)
            yield sample

    calibrate(model, samples(model, 3), model.main.outputs, progress=progress)
    assert len(seen) == 3


def test_dynamic_batch_takes_batches_of_any_size() -> None:
    net = Net()
    x = net.input(1, 4, shape_signature=(-1, 4))
    y = net.op("TANH", [x])
    model = net.model(y)
    y.shape_signature = (-1, 4)
    stream = [np.full((n, 4), n, np.float32) for n in (3, 1, 7)]
    assert calibrate(model, stream, [x])[x] == (1.0, 7.0)


X = np.zeros((1, 4), np.float32)


@pytest.mark.parametrize(
    ("stream", "sentence"),
    [
        (None, "needs calibration samples; none were given"),
        ([], "the calibration set is empty"),
        ({"x0": X, "x1": X}, "wants an iterable of samples.*given one dict"),
        (7, "given one int"),
        ([(X, X), (X,)], r"sample 1: the model has 2 inputs \['x0', 'x1'\], the sample 1"),
        ([{"x0": X, "y": X}], r"sample 0: no input 'y'; the model's inputs are \['x0', 'x1'\]"),
        ([{"x0": X}], r"sample 0: nothing given for inputs \['x1'\]"),
        ([(X, X[:, :3])], r"'x1' expects shape \[1, 4\], given \[1, 3\]"),
        ([(X, X[0])], r"expects shape \[1, 4\], given \[4\]; add the batch dimension"),
        ([(X, X.astype(np.float64))], "'x1' expects float32, given float64; convert with"),
        ([(X, X), (X, X * np.nan)], "sample 1: 'x1' .model input. holds NaN"),
    ],
)
def test_bad_samples_get_a_sentence(stream, sentence: str) -> None:
    model = two_inputs()
    with pytest.raises(QuantizationError, match=sentence):
        quantize.static_int8(model, stream)


def test_an_activation_that_overflows_is_named() -> None:
    net = Net()
    model = net.model(net.op("RELU", [net.op("EXP", [net.input(1, 4)])]))
    with pytest.raises(QuantizationError, match=r"sample 0: 'exp_1' .output of EXP.*infinity"):
        quantize.static_int8(model, [X + np.float32(100)])
