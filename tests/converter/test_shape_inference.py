# SPDX-License-Identifier: Apache-2.0
"""Shapes as the runtime infers them, and which dimensions are dynamic."""

from __future__ import annotations

import numpy as np
import pytest
from graph_building import Builder, normal, small_model
from zoo import zoo_files

from converter import ir, read_tflite
from converter.shapes import infer_shapes


def forget(model):
    for node in model.main.nodes:
        for value in node.outputs:
            value.shape, value.shape_signature = (), None


def test_forgotten_shapes_come_back_with_the_dynamic_batch():
    model = small_model()
    forget(model)
    assert infer_shapes(model)
    computed = [node.outputs[0] for node in model.main.nodes]
    assert [v.shape for v in computed] == [(1, 6, 6, 3), (1, 3, 3, 3), (1, 27), (1, 4), (1, 4)]
    assert all(v.shape_signature == (-1, *v.shape[1:]) for v in computed)
    assert model.main.inputs[0].shape_signature == (-1, 6, 6, 2)


def test_static_models_have_no_signatures():
    model = small_model()
    model.main.inputs[0].shape_signature = None
    model.main.nodes[0].outputs[0].shape_signature = (-1, 6, 6, 3)
    assert infer_shapes(model)
    assert all(value.shape_signature is None for value in model.main.values())


def test_a_graph_less_dynamic_than_its_input_gets_its_shapes():
    b = Builder()
    x = b.input((1, 4), shape_signature=(-1, 4))
    y = b.op("RESHAPE", [x, np.array([2, 2], np.int32)], ())
    model = b.model(b.op("ADD", [y, normal(np.random.default_rng(0), 2)], ()))
    assert infer_shapes(model)
    assert [node.outputs[0].shape for node in model.main.nodes] == [(2, 2), (2, 2)]


def test_an_unknown_op_leaves_everything_as_it_is():
    b = Builder()
    out = ir.Value("made", "FLOAT32", (7,))
    b.graph.add_node("CUSTOM", [b.input((2,))], [out], custom_code="mine")
    assert not infer_shapes(b.model(out))
    assert out.shape == (7,)


@pytest.mark.parametrize("path", zoo_files("models/tflite/*.tflite"), ids=lambda p: p.stem)
def test_files_record_what_is_inferred(path):
    """The shapes in public files are those of TensorFlow's own inference."""
    model = read_tflite(path)
    recorded = {id(value): value.shape for value in model.main.values()}
    infer_shapes(model)
    for value in model.main.values():
        assert value.shape == recorded[id(value)], value
