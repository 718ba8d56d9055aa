# SPDX-License-Identifier: Apache-2.0
"""Weights that came as float16 lie in the file as float16."""

from __future__ import annotations

import logging

import numpy as np

from converter import ir

_LOGGER = logging.getLogger("converter.passes")
_FEWEST = 256  # a DEQUANTIZE node costs about 150 bytes of file


def pack_half(graph: ir.Graph) -> bool:
    """Store FLOAT32 constants whose every number float16 holds as FLOAT16 behind a DEQUANTIZE.

    Nothing is rounded (`quantize.float16` does that): it is for models whose source has float16
    weights, after the other passes, which look for constants and not behind nodes.
    """
    widened: dict[int, ir.Value | None] = {}
    for node in list(graph.nodes):
        if node.op == "DEQUANTIZE":
            continue
        for i, value in enumerate(node.inputs):
            if value is None or value.data is None or not _is_large_float(value):
                continue
            key = id(value.data)
            if key not in widened:
                widened[key] = _widened(graph, node, value)
            wide = widened[key]
            if wide is not None and wide.shape == value.shape:
                node.set_input(i, wide)
    return any(wide is not None for wide in widened.values())


def _is_large_float(value: ir.Value) -> bool:
    plain = value.dtype == "FLOAT32" and value.sparsity is None and not value.is_quantized
    return plain and value.size >= _FEWEST


def _widened(graph: ir.Graph, before: ir.Node, value: ir.Value) -> ir.Value | None:
    assert value.data is not None
    with np.errstate(over="ignore"):
        half = value.data.astype(np.float16)
    if not np.array_equal(half.astype(np.float32), value.data, equal_nan=True):
        return None
    _LOGGER.info("pack_half: %s", value.name)
    wide = ir.Value(value.name, "FLOAT32", value.shape)
    packed = ir.Value.constant(f"{value.name}_float16", half)
    graph.add_node("DEQUANTIZE", [packed], [wide], before=before, name=before.name)
    return wide
