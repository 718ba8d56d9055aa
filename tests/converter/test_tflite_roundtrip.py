# SPDX-License-Identifier: Apache-2.0
"""Every model of the zoo through reader and writer: LiteRT computes the same bits from both."""

from __future__ import annotations

import numpy as np
import pytest
from graph_building import run_litert
from zoo import zoo_files

from converter import read_tflite, write_tflite


def structure(model):
    """Everything a file says about its first graph, as comparable data."""
    numbers = {id(value): i for i, value in enumerate(model.main.values())}

    def value(v):
        quant = v.quant and (v.quant.scale.tobytes(), v.quant.zero_point.tobytes(), v.quant.axis)
        data = None if v.data is None else v.data.tobytes()
        return (v.name, v.dtype, v.shape, v.shape_signature, quant, data, v.is_variable)

    def node(n):
        ends = [[None if v is None else numbers[id(v)] for v in vs] for vs in (n.inputs, n.outputs)]
        options = {k: np.asarray(v).tolist() for k, v in n.options.items()}
        return (n.op, n.custom_code, n.custom_options, n.options_type, options, ends)

    nodes = [node(n) for n in model.main.nodes]
    return nodes, [value(v) for v in model.main.values()], model.signatures, model.files


@pytest.mark.parametrize("path", zoo_files("models/tflite/*.tflite"), ids=lambda p: p.stem)
def test_round_trip(path):
    original = read_tflite(path)
    data = write_tflite(original)
    again = read_tflite(data)
    assert structure(again) == structure(original)
    assert write_tflite(again) == data
    original.metadata.pop("min_runtime_version", None)
    again.metadata.pop("min_runtime_version")
    assert again.metadata == original.metadata
    before, after = run_litert(path.read_bytes()), run_litert(data)
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)
