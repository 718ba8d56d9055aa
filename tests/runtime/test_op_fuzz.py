# SPDX-License-Identifier: Apache-2.0
"""Damaged forms of the models of every operator's own tests."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from test_core_fuzz import driver, run

__all__ = ["driver"]  # a fixture
HERE = Path(__file__).parent
LARGEST = 6000  # bytes; larger models hold weights rather than structure
NO_OPERATORS = ["core_fuzz", "op_fuzz", "packaging", "build", "threads", "zoo_models", "plan"]
NO_OPERATORS += ["targets", "memory", "sanitized"]


@pytest.mark.slow
def test_mutants_of_every_operator_give_a_status(driver, tmp_path):
    ignored = [f"--ignore={HERE / f'test_{name}.py'}" for name in NO_OPERATORS]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "corpus_plugin", str(HERE), *ignored]
    env = {**os.environ, "RILLET_CORPUS": str(tmp_path), "PYTHONPATH": str(HERE)}
    subprocess.run(command, check=True, env=env, cwd=HERE.parents[1], stdout=subprocess.DEVNULL)
    corpus = sorted(path for path in tmp_path.glob("*.tflite") if path.stat().st_size < LARGEST)
    assert len(corpus) > 1000
    for model in random.Random(1).sample(corpus, 1000):
        counts = run(driver, "mutate", model, 300)
        assert sum(counts.values()) == 300, model
