# SPDX-License-Identifier: Apache-2.0
"""Values as affine functions of others, whatever operators make them.

Sources spell the products of a cell in many ways: one matrix for inputs and states or two, gates
split before or after the bias.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from converter import ir

Sources = Mapping[ir.Value, int]  # what varies from step to step, and how many numbers a row has
Constants = Callable[[ir.Value], "np.ndarray | None"]


class Affine(NamedTuple):
    """bias + the sum of matrix times source; a matrix is [numbers, numbers of the source]."""

    matrices: dict[ir.Value, np.ndarray]
    bias: np.ndarray

    def of(self, source: ir.Value, numbers: int) -> np.ndarray:
        zeros = np.zeros((self.bias.size, numbers))
        return self.matrices.get(source, zeros)

    def mapped(self, change: Callable[[np.ndarray], np.ndarray]) -> Affine:
        """With `change` done to the numbers, the first axis of bias and matrices."""
        matrices = {source: change(m) for source, m in self.matrices.items()}
        return Affine(matrices, change(self.bias))


class Reader:
    """Reads the values of one graph as functions of `sources`."""

    def __init__(self, sources: Sources, constants: Constants) -> None:
        self.sources, self.constants = dict(sources), constants
        self._found: dict[ir.Value, Affine | None] = {}

    # -- affine functions -------------------------------------------------------------------------

    def affine(self, value: ir.Value | None) -> Affine | None:
        if value is None:
            return None
        if value not in self._found:
            self._found[value] = self._affine(value)
        return self._found[value]

    def _affine(self, value: ir.Value) -> Affine | None:
        if value in self.sources:
            return Affine({value: np.eye(self.sources[value])}, np.zeros(self.sources[value]))
        data = self.constants(value)
        if data is not None:
            one_row = data.ndim < 2 or data.size == data.shape[-1]
            return Affine({}, data.reshape(-1).astype(np.float64)) if one_row else None
        node = value.producer
        row = AFFINE_OPS.get(node.op) if node is not None else None
        if node is None or row is None or is_clamped(node):
            return None
        return row(self, node, node.outputs.index(value))

    def sum(self, node: ir.Node, _: int) -> Affine | None:
        x, y = (self.affine(v) for v in node.inputs)
        if x is None or y is None:
            return None
        y = y.mapped(np.negative) if node.op == "SUB" else y
        count = max(x.bias.size, y.bias.size)
        x, y = (_spread(v, count) for v in (x, y))
        if x is None or y is None:
            return None
        matrices = dict(x.matrices)
        for source, matrix in y.matrices.items():
            matrices[source] = matrices[source] + matrix if source in matrices else matrix
        return Affine(matrices, x.bias + y.bias)

    def scaled(self, node: ir.Node, _: int) -> Affine | None:
        x, y = (self.affine(v) for v in node.inputs)
        if x is None or y is None or (x.matrices and y.matrices):
            return None
        x, factor = (y, x) if y.matrices else (x, y)
        count = max(x.bias.size, factor.bias.size)
        x = _spread(x, count)
        own = _spread(factor, count)
        if x is None or own is None:
            return None
        return x.mapped(lambda m: (m.T * own.bias).T)

    def product(self, node: ir.Node, _: int) -> Affine | None:
        x, weights = self.affine(node.inputs[0]), node.inputs[1]
        data = self.constants(weights) if weights is not None else None
        if x is None or data is None or data.ndim != 2:
            return None
        matrix = data.astype(np.float64)
        if node.op == "BATCH_MATMUL":
            matrix = matrix if node.option("adj_y") else matrix.T
            if node.option("adj_x"):
                return None
        elif node.options.get("weights_format", "DEFAULT") != "DEFAULT":
            return None
        if matrix.shape[1] != x.bias.size:
            return None
        found = x.mapped(lambda m: matrix @ m)
        bias = node.inputs[2] if len(node.inputs) > 2 else None
        if bias is None:
            return found
        term = self.affine(bias)
        return None if term is None else Affine(found.matrices, found.bias + term.bias)

    def joined(self, node: ir.Node, _: int) -> Affine | None:
        rank = len(node.outputs[0].shape)
        parts = [self.affine(v) for v in node.inputs]
        if int(node.option("axis")) % rank != rank - 1:
            return None
        found = [part for part in parts if part is not None]
        if len(found) != len(parts) or any(
            p.bias.size != v.shape[-1] for p, v in zip(found, node.inputs, strict=True) if v
        ):
            return None
        sources = dict.fromkeys(source for part in found for source in part.matrices)
        matrices = {s: np.concatenate([p.of(s, self._numbers(s)) for p in found]) for s in sources}
        return Affine(matrices, np.concatenate([p.bias for p in found]))

    def _numbers(self, source: ir.Value) -> int:
        return self.sources[source]

    def part(self, node: ir.Node, index: int) -> Affine | None:
        """SPLIT, SLICE and STRIDED_SLICE of the last axis."""
        x = node.inputs[1] if node.op == "SPLIT" else node.inputs[0]
        whole = self.affine(x)
        if x is None or whole is None or whole.bias.size != x.shape[-1]:
            return None
        out = node.outputs[index]
        if len(out.shape) != len(x.shape) or out.shape[:-1] != x.shape[:-1]:
            return None
        begin = _begin(node, index)
        if begin is None:
            return None
        return whole.mapped(lambda m: m[begin : begin + out.shape[-1]])

    def reshaped(self, node: ir.Node, _: int) -> Affine | None:
        return self.affine(node.inputs[0]) if _keeps_rows(node) else None


def _begin(node: ir.Node, index: int) -> int | None:
    """Where, on the last axis, the part begins that output `index` is."""
    out = node.outputs[index]
    if node.op == "SPLIT":
        axis = node.inputs[0]
        rank = len(out.shape)
        if axis is None or axis.data is None:
            return None
        return index * out.shape[-1] if int(axis.data.reshape(-1)[0]) % rank == rank - 1 else None
    x, begin = node.inputs[:2]
    if x is None or begin is None or begin.data is None:
        return None
    start = int(begin.data[-1])
    if node.op == "SLICE":
        return start
    steps = node.inputs[3]
    if steps is None or steps.data is None or (steps.data != 1).any():
        return None
    if any(node.option(m) for m in ("ellipsis_mask", "new_axis_mask", "shrink_axis_mask")):
        return None
    last = len(x.shape) - 1
    if int(node.option("begin_mask")) >> last & 1:
        return 0
    return start if start >= 0 else start + x.shape[-1]


def _keeps_rows(node: ir.Node) -> bool:
    """Whether a RESHAPE leaves every row, the numbers along the last axis, as it is."""
    x, (out,) = node.inputs[0], node.outputs
    if x is None or not x.shape or not out.shape:
        return False
    return x.size == out.size and x.shape[-1] == out.shape[-1]


def through(value: ir.Value | None) -> ir.Value | None:
    """What `value` is a reshape of."""
    while value is not None and value.producer is not None:
        node = value.producer
        if node.op not in ("RESHAPE", "SQUEEZE", "EXPAND_DIMS") or not _keeps_rows(node):
            break
        value = node.inputs[0]
    return value


def node_of(value: ir.Value | None) -> ir.Node | None:
    value = through(value)
    return None if value is None else value.producer


def terms(value: ir.Value) -> list[tuple[ir.Value, ir.Value]]:
    """Both orders of the two values whose sum `value` is."""
    node = node_of(value)
    if node is None or node.op != "ADD" or is_clamped(node) or None in node.inputs:
        return []
    x, y = node.inputs
    assert x is not None and y is not None
    return [(x, y), (y, x)]


def is_clamped(node: ir.Node) -> bool:
    return node.options.get("fused_activation_function", "NONE") != "NONE"


AFFINE_OPS: dict[str, Callable[[Reader, ir.Node, int], Affine | None]] = {
    "ADD": Reader.sum,
    "BATCH_MATMUL": Reader.product,
    "CONCATENATION": Reader.joined,
    "EXPAND_DIMS": Reader.reshaped,
    "FULLY_CONNECTED": Reader.product,
    "MUL": Reader.scaled,
    "RESHAPE": Reader.reshaped,
    "SLICE": Reader.part,
    "SPLIT": Reader.part,
    "SQUEEZE": Reader.reshaped,
    "STRIDED_SLICE": Reader.part,
    "SUB": Reader.sum,
}


def _spread(value: Affine, count: int) -> Affine | None:
    """One number stands for all."""
    if value.bias.size == count:
        return value
    return value.mapped(lambda m: np.repeat(m, count, axis=0)) if value.bias.size == 1 else None
