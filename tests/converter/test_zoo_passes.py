# SPDX-License-Identifier: Apache-2.0
"""The default passes over public models: LiteRT computes the same, from no more nodes."""

from __future__ import annotations

import numpy as np
import pytest
from graph_building import run_litert
from zoo import zoo_files

from converter import optimize, read_tflite, write_tflite


@pytest.mark.parametrize("path", zoo_files("models/tflite/*.tflite"), ids=lambda p: p.stem)
def test_outputs_stay(path):
    model = read_tflite(path)
    nodes = len(model.main.nodes)
    changed = optimize(model, check=True)
    assert len(model.main.nodes) <= nodes
    assert not optimize(model, check=True)
    data = write_tflite(model)
    if not changed:
        assert data == write_tflite(read_tflite(path))
    for a, b in zip(run_litert(path.read_bytes()), run_litert(data), strict=True):
        if a.dtype.kind == "f":
            np.testing.assert_allclose(b, a, rtol=0, atol=2e-5 * float(np.abs(a).max() or 1))
        else:
            np.testing.assert_array_equal(a, b)
