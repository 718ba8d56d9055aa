# SPDX-License-Identifier: Apache-2.0
"""ONNX models that several tests make."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def model_of(nodes, inputs, outputs, constants=(), opset=17, **kwargs) -> onnx.ModelProto:
    """`inputs` and `outputs` are (name, dims), of float32, or (name, dims, type); `constants`
    (name, array).
    """

    def infos(pairs):
        return [
            helper.make_tensor_value_info(name, *(kind or [FLOAT]), dims)
            for name, dims, *kind in pairs
        ]

    initializers = [numpy_helper.from_array(np.asarray(a), name) for name, a in constants]
    graph = helper.make_graph(nodes, "graph", infos(inputs), infos(outputs), initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], **kwargs)


def engine_of(source: onnx.ModelProto, optimize: bool = True):
    """ONNX Runtime, where the installed one has the ops of a model, else ONNX's reference; both
    have `run(names, feeds)`.
    """
    import onnxruntime
    from onnx.reference import ReferenceEvaluator

    options = onnxruntime.SessionOptions()
    if not optimize:
        level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.graph_optimization_level = level
    try:
        return onnxruntime.InferenceSession(source.SerializeToString(), options)
    except onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented:
        return ReferenceEvaluator(source)


def small_network(dims=(1, 3, 8, 8)) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv", strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Shape", ["r"], ["s"]),
        helper.make_node("Slice", ["s", "zero", "one"], ["batch"]),
        helper.make_node("Concat", ["batch", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["r", "target"], ["y"], "flat"),
    ]
    constants = [
        ("w", rng.normal(size=(4, 3, 3, 3)).astype(np.float32)),
        ("b", rng.normal(size=4).astype(np.float32)),
        ("zero", np.array([0], np.int64)),
        ("one", np.array([1], np.int64)),
        ("rest", np.array([-1], np.int64)),
    ]
    return model_of(nodes, [("x", dims)], [("y", None)], constants)
