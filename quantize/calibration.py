# SPDX-License-Identifier: Apache-2.0
"""Calibration: the range of every activation, seen while the float model runs on samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from converter.ir import Model, Value
from quantize.errors import QuantizationError
from quantize.evaluation import Evaluator, Sample, bind_sample, samples_of
from quantize.observers import MinMax, Observer, Percentile

Progress = Callable[[Iterable[Sample]], Iterable[Sample]]
Ranges = dict[Value, tuple[float, float]]


def calibrate(
    model: Model,
    samples: Iterable[Sample] | None,
    values: Sequence[Value],
    *,
    method: str = "minmax",
    percentile: float = 99.99,
    progress: Progress | None = None,
) -> Ranges:
    """(low, high) of each of `values` (float32, of the main graph) over all samples.

    Samples are taken one at a time, so a generator of any length will do; each is what
    :func:`quantize.evaluation.bind_sample` accepts. `progress` wraps the iterable, such as
    ``tqdm.tqdm``. Errors: QuantizationError for no samples, a sample that does not fit the model,
    or a value that is not finite (naming sample and tensor).
    """
    if samples is None:
        raise QuantizationError("static_int8 needs calibration samples; none were given")
    samples = samples_of(samples, "calibration")
    observers: dict[Value, Observer] = {
        value: MinMax() if method == "minmax" else Percentile(percentile) for value in values
    }
    evaluator = Evaluator(model)
    count = 0
    for sample in progress(samples) if progress else samples:
        which = f"calibration sample {count}"
        evaluator.run(bind_sample(model, sample, which))
        for value, observer in observers.items():
            array = evaluator.get(value)
            _check_finite(array, value, which)
            observer.add(array)
        count += 1
    if count == 0:
        raise QuantizationError(
            "the calibration set is empty; give it about 100 samples of what the model will see"
        )
    return {value: observer.range() for value, observer in observers.items()}


def _check_finite(array: np.ndarray, value: Value, which: str) -> None:
    if np.isfinite(array).all():
        return
    kind = "NaN" if np.isnan(array).any() else "infinity"
    origin = f"output of {value.producer.label}" if value.producer else "model input"
    raise QuantizationError(
        f"{which}: {value.name!r} ({origin}) holds {kind}, which int8 cannot represent; "
        "check the sample, or keep that node float with an override"
    )
