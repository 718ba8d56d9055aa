# SPDX-License-Identifier: Apache-2.0
"""What depends on constants alone is computed now, by the runtime that would compute it later."""

from __future__ import annotations

import logging
import math

import numpy as np

from converter import ir
from converter.effects import is_deterministic
from converter.evaluator import evaluate

_LOGGER = logging.getLogger("converter.passes")
# These unpack a smaller form of the weights, which the file should keep.
_STORAGE = {"DEQUANTIZE", "DENSIFY"}
# A result may be this much larger than its operands; beyond, computing is cheaper than storing.
_GROWTH_BYTES = 1 << 20


def fold_constants(graph: ir.Graph) -> bool:
    """Replace nodes with constant inputs by their result; SHAPE and RANK of static values too."""
    changed = False
    for node in list(graph.nodes):
        if any(graph.is_output(value) for value in node.outputs):
            continue  # an output must be made by a node
        results = _shape_of_static(node) or _results(node)
        if results is None:
            continue
        _LOGGER.info("fold_constants: %s", node.label)
        for value, array in zip(node.outputs, results, strict=True):
            constant = ir.Value(value.name, value.dtype, array.shape, data=array, quant=value.quant)
            graph.replace_value(value, constant)
        graph.remove_node(node)
        changed = True
    return changed


def _shape_of_static(node: ir.Node) -> list[np.ndarray] | None:
    if node.op not in ("SHAPE", "RANK") or node.inputs[0] is None:
        return None
    x, (out,) = node.inputs[0], node.outputs
    if node.op == "RANK":
        return [np.array(len(x.shape), ir.numpy_dtype(out.dtype))]
    if -1 in (x.shape_signature or ()):
        return None
    return [np.array(x.shape, ir.numpy_dtype(out.dtype))]


def _results(node: ir.Node) -> list[np.ndarray] | None:
    constants = [value for value in node.inputs if value is not None]
    # A file cannot tell a constant without elements from a computed tensor.
    if not constants or not all(value.is_constant and value.size for value in constants):
        return None
    if node.op in _STORAGE or not is_deterministic(node):
        return None
    distinct = {id(value): value for value in constants}.values()
    most = sum(_bytes(value.dtype, value.shape) for value in distinct) + _GROWTH_BYTES
    if sum(_bytes(value.dtype, value.shape) for value in node.outputs) > most:
        return None
    results = evaluate(node)
    if results is None:
        return None
    grown = sum(_bytes(v.dtype, a.shape) for v, a in zip(node.outputs, results, strict=True))
    return results if grown <= most else None


def _bytes(dtype: str, shape: tuple[int, ...]) -> int:
    return math.prod(shape) * ir.numpy_dtype(dtype).itemsize
