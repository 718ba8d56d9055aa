# SPDX-License-Identifier: Apache-2.0
"""Damaged models and small blocks: always a status in words, never a crash. Under ASan and UBSan
where gcc exists."""

from __future__ import annotations

import subprocess
from pathlib import Path

import control_models
import numpy as np
import pytest
import runtime_models as models
from sanitized_program import compiled
from single_op import Arg, Out, single_op

import runtime
from converter import read_tflite, write_tflite

MODELS = {
    "dense_float": models.dense_stack,
    "dense_int8": models.dense_int8,
    "branches": models.branches,
    "float16": lambda: models.dense_float16(5, 4)[0],
    "conv_float": models.conv_float,
    "conv_int8": models.conv_int8,
    "branches_if": control_models.branches,
    "loop": control_models.loop,
    "loop_of_states": control_models.loop_of_states,
    "growing_loop": control_models.growing_loop,
    "twice_called": control_models.twice_called,
    "counter": control_models.counter,
    "computed_shape": control_models.computed_shape,
    "offline_plan": lambda: write_tflite(read_tflite(models.branches()), offline_plan=True),
}

ZERO_POINTS = {
    "INT8": (-128, 127),
    "UINT8": (0, 255),
    "INT16": (-32768, 32767),
    "INT4": (-8, 7),
    "UINT4": (0, 15),
    "INT2": (-2, 1),
}


@pytest.fixture(scope="session")
def driver() -> Path:
    return compiled("fuzz_driver")


def run(driver: Path, *arguments: object) -> dict[str, int]:
    """Status name -> number of mutants that gave it."""
    command = [str(driver), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return {name: int(count) for name, count in (row.split() for row in done.stdout.splitlines())}


@pytest.fixture(params=MODELS)
def model(request, tmp_path) -> Path:
    path = tmp_path / f"{request.param}.tflite"
    path.write_bytes(MODELS[request.param]())
    return path


def test_every_truncation_gives_a_status(driver, model):
    counts = run(driver, "truncate", model)
    assert sum(counts.values()) == model.stat().st_size
    # Only what pads the file's end may be missing.
    assert counts.get("OK", 0) < 16


def test_every_flipped_byte_gives_a_status(driver, model):
    counts = run(driver, "flip", model)
    assert sum(counts.values()) == 5 * model.stat().st_size
    assert counts["OK"] and counts["BAD_MODEL"] and counts["UNSUPPORTED"]


def test_mutants_give_a_status(driver, model):
    counts = run(driver, "mutate", model, 3000)
    assert sum(counts.values()) == 3000
    assert counts["BAD_MODEL"]


def test_every_smaller_block_is_refused(driver, model):
    if model.stem == "counter":
        return  # a second run gives another result, as it should
    assert run(driver, "grow", model) == {"OK": 1}


def test_limits_and_cancelling(driver, tmp_path):
    path = tmp_path / "branches.tflite"
    path.write_bytes(models.branches())
    assert run(driver, "limits", path) == {"OK": 1}


@pytest.mark.parametrize("dtype", ZERO_POINTS)
def test_a_zero_point_its_type_does_not_have_is_refused(dtype):
    """Kernels subtract it from values in 32 bits."""
    numpy_type = {"UINT8": np.uint8, "UINT4": np.uint8, "INT16": np.int16}.get(dtype, np.int8)
    lo, hi = ZERO_POINTS[dtype]
    for zero in (lo, hi, lo - 1, hi + 1, -(2**31), 2**31 - 1, 2**40):
        x = Arg(np.zeros(4, numpy_type), 0.5, zero, dtype=dtype)
        content = single_op("DEQUANTIZE", [x], Out("FLOAT32")).content
        if lo <= zero <= hi:
            runtime.Interpreter(model_content=content).allocate_tensors()
        else:
            with pytest.raises(runtime.RilletError, match=f"zero point 0 does not fit in {dtype}"):
                runtime.Interpreter(model_content=content)
