# SPDX-License-Identifier: Apache-2.0
"""Computes nodes of constants with ONNX's reference, in its own types, within bounds: a file of a
kilobyte may ask for an Expand to terabytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import defs, helper, numpy_helper, reference, shape_inference

_MOST_RESULT = 1 << 28  # bytes of a folded constant
_MOST_GROWN = 1 << 30  # bytes that all folded constants of a model have more than their operands
_MOST_READ = 1024  # elements of an operand that says sizes


class Folding:
    """What is computed while one model is imported."""

    def __init__(self) -> None:
        self.grown = 0

    def results(
        self, node: onnx.NodeProto, arrays: Mapping[str, np.ndarray], opset: int
    ) -> list[np.ndarray] | None:
        """What `node` computes from `arrays`; None where the reference does not know it, or where
        that is too large.
        """
        if self._too_large(_foreseen(node, arrays, opset), arrays):
            return None
        try:
            program = reference.ReferenceEvaluator(node, opsets={node.domain: opset})
            results = list(program.run(None, dict(arrays)))
        except Exception:  # the reference lacks this op or version: its row may know better
            return None
        if any(not isinstance(result, np.ndarray) for result in results):
            return None
        sizes = [result.nbytes for result in results]
        if self._too_large(sizes, arrays):
            return None
        self.grown += _growth(sizes, arrays)
        return results

    def _too_large(self, sizes: list[int], arrays: Mapping[str, np.ndarray]) -> bool:
        grown = self.grown + _growth(sizes, arrays)
        return max(sizes, default=0) > _MOST_RESULT or grown > _MOST_GROWN


def _growth(sizes: list[int], arrays: Mapping[str, np.ndarray]) -> int:
    """Bytes of results beyond those of the operands, each of which counts once."""
    return max(0, sum(sizes) - sum(array.nbytes for array in arrays.values()))


def _foreseen(node: onnx.NodeProto, arrays: Mapping[str, np.ndarray], opset: int) -> list[int]:
    """Bytes of the results as ONNX's shape inference knows them without computing; else empty."""
    try:
        domain = "" if node.domain == "ai.onnx" else node.domain
        schema = defs.get_schema(node.op_type, opset, domain)
        kinds, data = {}, {}
        for name, array in arrays.items():
            element = helper.np_dtype_to_tensor_dtype(array.dtype)
            kinds[name] = helper.make_tensor_type_proto(element, array.shape)
            if array.size <= _MOST_READ:
                data[name] = numpy_helper.from_array(array)
        opsets = [helper.make_opsetid(domain, opset)]
        found = shape_inference.infer_node_outputs(schema, node, kinds, data, opset_imports=opsets)
        return [_bytes(kind.tensor_type) for kind in found.values()]
    except Exception:  # for an op or types that it does not know, or sizes that do not fit
        return []


def _bytes(kind: onnx.TypeProto.Tensor) -> int:
    """The least that a tensor of this type may have."""
    if not kind.HasField("shape"):
        return 0
    sizes = [dim.dim_value if dim.HasField("dim_value") else 1 for dim in kind.shape.dim]
    return math.prod(sizes) * np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type)).itemsize
