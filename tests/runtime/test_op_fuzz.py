# SPDX-License-Identifier: Apache-2.0
"""Damaged forms of the models of every operator's own tests."""

from __future__ import annotations

import random

import corpus_plugin
import pytest
from test_core_fuzz import driver, run

__all__ = ["driver"]  # a fixture
LARGEST = 6000  # bytes; larger models hold weights rather than structure


@pytest.mark.slow
def test_mutants_of_every_operator_give_a_status(driver, tmp_path):
    models = corpus_plugin.collect(tmp_path)
    corpus = [path for path in models if path.stat().st_size < LARGEST]
    assert len(corpus) > 1000
    for model in random.Random(1).sample(corpus, 1000):
        counts = run(driver, "mutate", model, 300)
        assert sum(counts.values()) == 300, model
