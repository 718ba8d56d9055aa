# SPDX-License-Identifier: Apache-2.0
"""Float weights that are integers times a scale lie in the file as those integers."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from converter import ir
from converter.passes.whole_numbers import FEWEST_LEVELS, WIDEST, is_plain_constant, whole_scales

_LOGGER = logging.getLogger("converter.passes")
_PLAIN = "DEFAULT"
_FEWEST = 256  # elements: a DEQUANTIZE node costs about 150 bytes of file
# Which inputs are weights, and which of their axes may have a scale per place.
_WEIGHTS: dict[str, tuple[Sequence[int], int]] = {
    "BATCH_MATMUL": ((1,), -1),
    "CONV_2D": ((1,), 0),
    "CONV_3D": ((1,), 4),
    "DEPTHWISE_CONV_2D": ((1,), 3),
    "FULLY_CONNECTED": ((1,), 0),
    "GATHER": ((0,), 0),
    "TRANSPOSE_CONV": ((1,), 0),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (range(1, 9), 0),
    "rillet.gru": ((1, 2), 0),
    "rillet.lstm": ((1, 2), 0),
}


def store_integers(graph: ir.Graph) -> bool:
    """Store FLOAT32 weights that quantization left as INT8, or INT4, behind a DEQUANTIZE.

    Nothing is rounded: the integers times the scale must be the weights, bit for bit. It comes
    after all other passes, which look for constants and not behind nodes.
    """
    made: dict[tuple[int, int], ir.Value | None] = {}
    for node in list(graph.nodes):
        if node.kind not in _WEIGHTS or node.options.get("weights_format", _PLAIN) != _PLAIN:
            continue
        places, axis = _WEIGHTS[node.kind]
        for index in places:
            value = node.inputs[index] if index < len(node.inputs) else None
            if value is None or value.size < _FEWEST or not is_plain_constant(value):
                continue
            key = id(value), axis
            if key not in made:
                made[key] = _stored(graph, node, value, axis % len(value.shape))
            wide = made[key]
            if wide is not None:
                node.set_input(index, wide)
    return any(wide is not None for wide in made.values())


def _stored(graph: ir.Graph, before: ir.Node, value: ir.Value, axis: int) -> ir.Value | None:
    packed = _integers(value, axis)
    if packed is None:
        return None
    _LOGGER.info("store_integers: %s", value.name)
    wide = ir.Value(value.name, "FLOAT32", value.shape)
    graph.add_node("DEQUANTIZE", [packed], [wide], before=before, name=before.name)
    return wide


def _integers(value: ir.Value, axis: int) -> ir.Value | None:
    """`value` as integers with one scale and zero point, or with one per place of `axis`."""
    assert value.data is not None
    by_axis = np.moveaxis(value.data, axis, 0)
    rows = by_axis.reshape(by_axis.shape[0], -1)
    for parts in (rows.reshape(1, -1), rows):
        found = _exact(parts)
        if found is None:
            continue
        steps, scales = found
        low, high = np.minimum(steps.min(1), 0), np.maximum(steps.max(1), 0)
        bits = next((n for n in (4, 8) if (high - low < 1 << n).all()), 0)
        if not bits or np.unique(steps).size < FEWEST_LEVELS:
            return None
        half = 1 << (bits - 1)
        zero = np.where((low >= -half) & (high < half), 0, -half - low).astype(np.int64)
        data = np.moveaxis((steps + zero[:, None]).reshape(by_axis.shape), 0, axis)
        quant = ir.Quantization(scales, zero, axis if len(parts) > 1 else 0)
        name, dtype = f"{value.name}/integers", "INT4" if bits == 4 else "INT8"
        return ir.Value.constant(name, data, dtype=dtype, quant=quant)
    return None


def _exact(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """(integers, float32 scale of each row) whose products are `rows`."""
    scales = whole_scales(rows, WIDEST)
    if scales is None:
        return None
    steps = np.rint(rows / scales[:, None]).astype(np.int16)
    common = np.maximum(np.gcd.reduce(steps, axis=1), 1)  # 126 steps may be 7 of 18
    fewer = _with_scales(rows, steps // common[:, None], scales * common)
    return fewer if fewer is not None else _with_scales(rows, steps, scales)


def _with_scales(
    rows: np.ndarray, steps: np.ndarray, scales: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """:func:`_exact` with these integers, and these scales or the nearest numbers to them."""
    first = scales.astype(np.float32)
    best, right = first.copy(), np.zeros(len(rows), bool)
    for scale in (first, np.nextafter(first, np.float32(0)), np.nextafter(first, np.float32(9e9))):
        same = (steps.astype(np.float32) * scale[:, None] == rows).all(1) & ~right
        best[same], right = scale[same], right | same
    return (steps, best) if right.all() else None
