# SPDX-License-Identifier: Apache-2.0
"""Computes single nodes with the C runtime, so that an op has one meaning everywhere."""

from __future__ import annotations

import numpy as np

from converter import ir
from converter.errors import ConversionError
from converter.writer import write_tflite


def evaluate(node: ir.Node) -> list[np.ndarray] | None:
    """Outputs of `node`, whose inputs are all constants; None where the runtime refuses the op."""
    import runtime

    graph = ir.Graph("one node")
    twins = {id(v): _constant_twin(v) for v in node.inputs if v is not None}
    graph.outputs = [ir.Value(v.name, v.dtype, v.shape, quant=v.quant) for v in node.outputs]
    twin = graph.add_node(
        node.op,
        [None if v is None else twins[id(v)] for v in node.inputs],
        graph.outputs,
        node.options,
        custom_code=node.custom_code,
        custom_options=node.custom_options,
    )
    twin.options_type, twin.version = node.options_type, node.version
    try:
        interpreter = runtime.Interpreter(model_content=write_tflite(ir.Model([graph])))
        interpreter.allocate_tensors()
        interpreter.invoke()
    except (runtime.RilletError, ConversionError):
        return None
    details = interpreter.get_output_details()
    arrays = [np.array(interpreter.get_tensor(detail["index"])) for detail in details]
    wanted = [ir.numpy_dtype(value.dtype) for value in node.outputs]
    return arrays if [array.dtype for array in arrays] == wanted else None


def _constant_twin(value: ir.Value) -> ir.Value:
    twin = ir.Value(value.name, value.dtype, value.shape, data=value.data, quant=value.quant)
    twin.sparsity = value.sparsity
    return twin
