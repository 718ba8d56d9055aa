# SPDX-License-Identifier: Apache-2.0
"""ONNX models whose sizes stay dynamic compute what ONNX Runtime computes, at several sizes, here
and on LiteRT.
"""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter
from onnx import helper
from onnx_models import model_of

import converter
import runtime

RNG = np.random.default_rng(5)
FILTER = RNG.normal(size=(4, 3, 3, 2)).astype(np.float32)  # in, out / groups, height, width
GROUPED = RNG.normal(size=(4, 2, 3, 3)).astype(np.float32)
VECTOR = RNG.normal(size=4).astype(np.float32)
TWICE = np.array([1, 1, 2, 2], np.float32)


def node(op: str, inputs: str = "x", **attributes):
    return helper.make_node(op, inputs.split(" "), ["y"], **attributes)


def resize(**attributes):
    return [node("Resize", "x  twice", **attributes)]


def resized_to_the_size_of_another():
    """Sizes from Shape, Slice and Concat, as exporters write them."""
    return [
        helper.make_node("MaxPool", ["x"], ["small"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Shape", ["x"], ["whole"]),
        helper.make_node("Slice", ["whole", "two", "four"], ["hw"]),
        helper.make_node("Shape", ["small"], ["own"]),
        helper.make_node("Slice", ["own", "zero", "two"], ["nc"]),
        helper.make_node("Concat", ["nc", "hw"], ["target"], axis=0),
        helper.make_node("Resize", ["small", "", "", "target"], ["y"], mode="nearest",
                         coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
    ]  # fmt: skip


CASES = {
    "resize_nearest": resize(mode="nearest"),
    "resize_linear": resize(mode="linear"),
    "resize_linear_aligned": resize(mode="linear", coordinate_transformation_mode="align_corners"),
    "resize_to_another": resized_to_the_size_of_another(),
    "average_pool": [node("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])],
    "average_pool_counting": [
        node("AveragePool", kernel_shape=[3, 3], pads=[1, 0, 1, 2], count_include_pad=1)
    ],
    "max_pool": [node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])],
    "lp_pool": [node("LpPool", kernel_shape=[2, 3], p=2)],
    "transposed": [
        node("ConvTranspose", "x w", strides=[2, 2], pads=[1, 1, 0, 1], output_padding=[1, 0])
    ],
    "transposed_dilated": [node("ConvTranspose", "x w", dilations=[2, 1], strides=[1, 3])],
    "transposed_groups": [
        node("ConvTranspose", "x grouped", group=2, strides=[2, 2], pads=[1, 1, 1, 1])
    ],
    "instance_norm": [node("InstanceNormalization", "x v v", epsilon=1e-3)],
    "lrn": [node("LRN", size=3, alpha=0.1, bias=2.0)],
    "global_lp": [node("GlobalLpPool", p=2)],
    "log_softmax": [node("LogSoftmax", axis=1)],
    "lp_normalization": [node("LpNormalization", axis=1, p=1)],
    "einsum": [helper.make_node("Einsum", ["x", "x"], ["y"], equation="nchw,nchv->nwv")],
}


@pytest.mark.parametrize("name", CASES)
def test_dynamic_sizes(name):
    constants = [
        ("w", FILTER), ("grouped", GROUPED), ("v", VECTOR), ("twice", TWICE),
        ("zero", np.array([0])), ("two", np.array([2])), ("four", np.array([4])),
    ]  # fmt: skip
    used = {i for n in CASES[name] for i in n.input}
    source = model_of(
        CASES[name],
        [("x", ["n", 4, "height", "width"])],
        [("y", None)],
        [(key, value) for key, value in constants if key in used],
    )
    source.ir_version = 9
    session = onnxruntime.InferenceSession(source.SerializeToString())
    try:
        model = converter.from_onnx(source)
    except converter.ConversionError as error:
        assert name in REFUSED and REFUSED[name] in str(error)
        return
    assert name not in REFUSED
    assert model.main.inputs[0].shape_signature == (-1, 4, -1, -1)
    converter.optimize(model)
    content = converter.write_tflite(model)
    for dims in ((1, 4, 6, 8), (3, 4, 12, 10)):
        x = RNG.normal(size=dims).astype(np.float32)
        (want,) = session.run(None, {"x": x})
        for engine in (runtime.Interpreter, Interpreter):
            found = engine(model_content=content).get_signature_runner()(x=x)["y"]
            np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-5 * np.abs(want).max())


# What needs the sizes, with words of the refusal.
REFUSED: dict[str, str] = {}
