# SPDX-License-Identifier: Apache-2.0
"""Nodes nobody reads, and nodes that compute what another node already did."""

from __future__ import annotations

import hashlib
import logging
from typing import Any

import numpy as np

from converter import ir
from converter.effects import has_effects, is_deterministic

_LOGGER = logging.getLogger("converter.passes")
_HASHED_BYTES = 1 << 16  # larger constants are equal only if they are the same array


def remove_dead_code(graph: ir.Graph) -> bool:
    """Drop nodes without effects whose outputs nobody reads."""
    changed = False
    for node in reversed(list(graph.nodes)):
        used = any(value.users or graph.is_output(value) for value in node.outputs)
        if used or has_effects(node):
            continue
        _LOGGER.info("remove_dead_code: %s", node.label)
        graph.remove_node(node)
        changed = True
    return changed


def merge_equal_nodes(graph: ir.Graph) -> bool:
    """Let one node stand for all that apply the same op to the same values."""
    changed = False
    first: dict[Any, ir.Node] = {}
    for node in list(graph.nodes):
        if not is_deterministic(node):
            continue
        twin = first.setdefault(_key(node), node)
        if twin is node or any(graph.is_output(value) for value in node.outputs):
            continue
        _LOGGER.info("merge_equal_nodes: %s into %s", node.label, twin.label)
        for old, new in zip(node.outputs, twin.outputs, strict=True):
            graph.replace_value(old, new)
        graph.remove_node(node)
        changed = True
    return changed


def _key(node: ir.Node) -> Any:
    options = tuple(sorted((k, np.asarray(v).tobytes()) for k, v in node.options.items()))
    outputs = tuple((v.dtype, v.shape, _quant_key(v.quant)) for v in node.outputs)
    return node.op, options, tuple(map(_input_key, node.inputs)), outputs


def _input_key(value: ir.Value | None) -> Any:
    if value is None or value.data is None:
        return id(value)
    large = value.data.nbytes > _HASHED_BYTES
    if large or value.data.dtype.hasobject or value.sparsity is not None:
        return id(value.data)
    digest = hashlib.sha256(np.ascontiguousarray(value.data).data).digest()
    return value.dtype, value.shape, digest, _quant_key(value.quant)


def _quant_key(quant: ir.Quantization | None) -> Any:
    if quant is None:
        return None
    if quant.details is not None:
        return id(quant)
    return quant.scale.tobytes(), quant.zero_point.tobytes(), quant.axis
