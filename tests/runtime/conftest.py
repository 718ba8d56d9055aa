# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the runtime's tests."""

from __future__ import annotations

import numpy as np
import pytest
import runtime_models as models

import runtime


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same in every run."""
    return np.random.default_rng(20240229)


@pytest.fixture
def dense() -> bytes:
    """A model of two dense layers, [?, 4] to [?, 3]."""
    return models.dense_stack((4, 8, 3), dynamic=True)


@pytest.fixture
def ready(dense: bytes) -> runtime.Interpreter:
    """`dense`, ready to be invoked."""
    interpreter = runtime.Interpreter(model_content=dense)
    interpreter.allocate_tensors()
    return interpreter
