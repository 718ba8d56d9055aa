# SPDX-License-Identifier: Apache-2.0
"""Shapes of a graph's values, as the runtime computes them.

A dynamic dimension is inferred at two sample sizes: what differs between the two is dynamic.
"""

from __future__ import annotations

from typing import Any

from converter import ir
from converter.errors import ConversionError
from converter.writer import write_tflite

_SECOND_SIZE = 2  # the first sample is the inputs' own shape, 1 where dynamic


def infer_shapes(model: ir.Model) -> bool:
    """Set shape and shape_signature of every computed value of the main graph, in place.

    Returns False, leaving the model as it is, where the runtime refuses it (an op without a kernel,
    or a model that calls other graphs). Where it refuses only the second sample size, because the
    graph is not as dynamic as its inputs say, signatures stay as they are.
    """
    import runtime

    graph = model.main
    if len(model.graphs) > 1:
        return False
    try:
        interpreter = runtime.Interpreter(model_content=write_tflite(ir.Model([graph])))
        first = _shapes(interpreter)
    except (runtime.RilletError, ConversionError):
        return False
    for value, detail in zip(graph.inputs, interpreter.get_input_details(), strict=True):
        if -1 in (value.shape_signature or ()):
            interpreter.resize_tensor_input(detail["index"], _second_shape(value))
    try:
        second = _shapes(interpreter)
    except runtime.RilletError:
        second = {}
    for index, value in enumerate(graph.values()):
        if value.producer is None or index not in first:
            continue
        value.shape = first[index]
        if index in second:
            value.shape_signature = _signature(first[index], second[index])
        elif len(value.shape_signature or ()) != len(value.shape):
            value.shape_signature = None
    return True


def _shapes(interpreter: Any) -> dict[int, tuple[int, ...]]:
    interpreter.allocate_tensors()
    details = interpreter.get_tensor_details()
    return {detail["index"]: tuple(int(d) for d in detail["shape"]) for detail in details}


def _second_shape(value: ir.Value) -> list[int]:
    signature = value.shape_signature or value.shape
    return [
        _SECOND_SIZE if d == -1 else size for d, size in zip(signature, value.shape, strict=True)
    ]


def _signature(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...] | None:
    if first == second:
        return None
    return tuple(a if a == b else -1 for a, b in zip(first, second, strict=True))
