# SPDX-License-Identifier: Apache-2.0
"""Graphs with transposes for the tests of layouts, and what is asked of them."""

from __future__ import annotations

import numpy as np

import converter
import runtime
from converter import ir
from converter.importers.builder import Builder
from converter.passes import optimize
from converter.passes.layout import move_transposes, moved_elements

LAST, FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
PAIR = (2, 3)  # the sample sizes of a dynamic dimension


def transpose(b, x, perm):
    return b.emit("TRANSPOSE", [x, b.constant(perm, "perm", np.int32)])


def neg(b, x):
    """What makes a value no graph input, and reads it in any layout."""
    return b.emit("NEG", [x])


def pool(b, x):
    """Something that works on channels last only."""
    window = {"filter_width": 1, "filter_height": 1, "stride_w": 1, "stride_h": 1}
    return b.emit("AVERAGE_POOL_2D", [x], padding="VALID", **window)


def model_of(b, *outputs):
    b.graph.outputs = list(outputs)
    return ir.Model([b.graph])


def prepared(model, batch):
    """An interpreter whose dynamic sizes are `batch`."""
    interpreter = runtime.Interpreter(model_content=converter.write_tflite(model))
    details = interpreter.get_input_details()
    for value, detail in zip(model.main.inputs, details, strict=True):
        shape = [batch if d == -1 else d for d in value.shape_signature or value.shape]
        interpreter.resize_tensor_input(detail["index"], shape)
    interpreter.allocate_tensors()
    return interpreter


def run(model, batch=2, seed=0):
    """Outputs of the main graph on random inputs, dynamic sizes being `batch`."""
    interpreter = prepared(model, batch)
    rng = np.random.default_rng(seed)
    for detail in interpreter.get_input_details():
        array = rng.standard_normal(detail["shape"]) * 3
        interpreter.set_tensor(detail["index"], array.astype(detail["dtype"]))
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]


def outputs_stay(model, *passes, tolerance=1e-5):
    """Run `passes` (default: all) under the verifier; outputs must not move. Whether any fired."""
    values = [run(model, batch) for batch in PAIR]
    ends = [(v.name, v.shape, v.shape_signature) for v in (*model.main.inputs, *model.main.outputs)]
    options = {"passes": passes} if passes else {}
    changed = optimize(model, check=True, **options)
    after = [
        (v.name, v.shape, v.shape_signature) for v in (*model.main.inputs, *model.main.outputs)
    ]
    assert ends == after
    for batch, wanted in zip(PAIR, values, strict=True):
        for a, b in zip(wanted, run(model, batch), strict=True):
            assert a.shape == b.shape and a.dtype == b.dtype
            scale = float(np.abs(a.astype(np.float64)).max(initial=0)) or 1.0
            np.testing.assert_allclose(b, a, rtol=0, atol=tolerance * scale)
    return changed


def shapes_are_true(model):
    """What the values say of their shapes is what the runtime computes."""
    interpreter = prepared(model, PAIR[0])
    found = {d["index"]: tuple(map(int, d["shape"])) for d in interpreter.get_tensor_details()}
    for index, value in enumerate(model.main.values()):
        if value.producer is not None:
            said = value.shape_signature or value.shape
            assert len(said) == len(found[index]), value
            assert all(d in (-1, f) for d, f in zip(said, found[index], strict=True)), value
    return True


def transposes(model):
    return [node for node in model.main.nodes if node.op == "TRANSPOSE"]


__all__ = ["Builder", "move_transposes", "moved_elements"]
