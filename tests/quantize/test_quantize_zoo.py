# SPDX-License-Identifier: Apache-2.0
"""Every public float model that the runtime runs quantizes to files that LiteRT runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from quantize_nets import LiteRT, run, samples
from zoo import zoo_files

import converter
import quantize
import runtime
from quantize import Recipe


def runs_here(path: Path) -> bool:
    try:
        runtime.Interpreter(model_path=path).allocate_tensors()
    except runtime.RilletError:
        return False
    return True


def is_float(path: Path) -> bool:
    model = converter.read_tflite(path)
    return not any(v.is_quantized for v in model.main.values()) and all(
        v.dtype == "FLOAT32" for v in model.main.inputs
    )


@pytest.mark.parametrize("kind", ["float16", "dynamic_int8", "static_int8"])
def test_float_models_of_the_zoo(kind: str) -> None:
    for path in zoo_files("models/tflite/*.tflite"):
        if not (is_float(path) and runs_here(path)):
            continue
        model = converter.read_tflite(path)
        data = samples(model, 2, spread=0.5)
        try:
            small = quantize.apply(model, Recipe(kind), data)
        except quantize.QuantizationError as error:
            # Float16 models are in the zoo; there is nothing left to halve.
            assert kind == "float16" and "nothing to quantize" in str(error)
            continue
        content = converter.write_tflite(small)
        assert len(content) < 0.9 * path.stat().st_size  # of float16 files too
        outputs = run(LiteRT, content, data[0])
        assert all(np.isfinite(array.astype(np.float64)).all() for array in outputs)
        # Noise finds nobody to segment: a mask of zeros has no signal to weigh the error against.
        errors = quantize.report(model, small, data).outputs
        worst = min((e.snr_db for e in errors if e.mean > 1e-4), default=np.inf)
        print(f"{path.name} {kind}: {len(content):,} bytes, {worst:.1f} dB")
        assert worst > {"float16": 25, "dynamic_int8": 0, "static_int8": -3}[kind]
