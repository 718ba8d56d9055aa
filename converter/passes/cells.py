# SPDX-License-Identifier: Apache-2.0
"""What one step of a loop computes, where that is a recurrent cell.

Sources spell the products of a cell in many ways: one matrix for inputs and states or two, gates
split before or after the bias. So a gate is read as an affine function of its sources, whatever
operators make it.
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


class Lstm(NamedTuple):
    """The affine functions of the gates input, forget, cell, output."""

    gates: tuple[Affine, Affine, Affine, Affine]


class Gru(NamedTuple):
    """Those of update and reset, and of the hidden gate's input and state; `reset_after` as
    `forms.recurrent.gru` has it.
    """

    update: Affine
    reset: Affine
    fresh: Affine
    again: Affine
    reset_after: bool


class Rnn(NamedTuple):
    """The affine function whose activation, TANH or RELU, is the next state."""

    inside: Affine
    activation: str


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
        row = _AFFINE.get(node.op) if node is not None else None
        if node is None or row is None or _is_clamped(node):
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

    # -- cells ------------------------------------------------------------------------------------

    def is_same(self, value: ir.Value | None, other: ir.Value) -> bool:
        return _through(value) is _through(other)

    def gate(self, value: ir.Value | None, op: str = "LOGISTIC") -> ir.Value | None:
        """What the activation `op` is of, where `value` is one."""
        node = _node(value)
        return node.inputs[0] if node is not None and node.op == op else None

    def factors(self, value: ir.Value | None) -> list[tuple[ir.Value, ir.Value]]:
        """Both orders of the two values whose product `value` is."""
        node = _node(value)
        if node is None or node.op != "MUL" or _is_clamped(node) or None in node.inputs:
            return []
        x, y = node.inputs
        assert x is not None and y is not None
        return [(x, y), (y, x)]

    def lstm(self, cell: ir.Value, shown: ir.Value, after: ir.Value) -> Lstm | None:
        """Where `after`, the next of `cell`, and `shown` are those of an LSTM."""
        for kept, added in _terms(after):
            forget = [f for f, c in self.factors(kept) if self.is_same(c, cell)]
            new = [
                (i, self.gate(g, "TANH"))
                for i, g in self.factors(added)
                if self.gate(g, "TANH") is not None
            ]
            seen = [
                o
                for o, c in self.factors(shown)
                if (inner := self.gate(c, "TANH")) is not None and self.is_same(inner, after)
            ]
            if not (forget and new and seen):
                continue
            gates = [self.affine(self.gate(v)) for v in (new[0][0], forget[0])]
            gates.append(self.affine(new[0][1]))
            last = Reader({**self.sources, after: self.sources[cell]}, self.constants)
            gates.append(last.affine(self.gate(seen[0])))
            i, f, g, o = gates
            if i is not None and f is not None and g is not None and o is not None:
                return Lstm((i, f, g, o))
        return None

    def rnn(self, after: ir.Value) -> Rnn | None:
        """Where `after` is the activation of an affine function."""
        for activation in ("TANH", "RELU"):
            inside = self.affine(self.gate(after, activation))
            if inside is not None:
                return Rnn(inside, activation)
        return None

    def gru(self, hidden: ir.Value, after: ir.Value) -> Gru | None:
        """Where `after` is the next `hidden` of a GRU: z h + (1 - z) n, or n + z (h - n)."""
        for gate, new in [*self._mixed(hidden, after), *self._moved(hidden, after)]:
            update, inside = self.affine(self.gate(gate)), self.gate(new, "TANH")
            if update is None or inside is None:
                continue
            found = self._reset_after(hidden, inside) or self._reset_before(hidden, inside)
            if found is not None:
                return Gru(update, *found)
        return None

    def _mixed(self, hidden: ir.Value, after: ir.Value) -> list[tuple[ir.Value, ir.Value]]:
        found = []
        for kept, added in _terms(after):
            gates = [z for z, h in self.factors(kept) if self.is_same(h, hidden)]
            for rest, new in self.factors(added) if gates else []:
                node = _node(rest)
                if node is None or node.op != "SUB" or _is_clamped(node):
                    continue
                one = self.constants(node.inputs[0]) if node.inputs[0] is not None else None
                z = node.inputs[1]
                if one is not None and (one == 1).all() and z is not None:
                    found += [(gate, new) for gate in gates if self.is_same(z, gate)]
        return found

    def _moved(self, hidden: ir.Value, after: ir.Value) -> list[tuple[ir.Value, ir.Value]]:
        found = []
        for new, change in _terms(after):
            for gate, way in self.factors(change):
                node = _node(way)
                if node is None or node.op != "SUB" or _is_clamped(node) or None in node.inputs:
                    continue
                if self.is_same(node.inputs[0], hidden) and self.is_same(node.inputs[1], new):
                    found.append((gate, new))
        return found

    def _reset_after(
        self, hidden: ir.Value, inside: ir.Value
    ) -> tuple[Affine, Affine, Affine, bool] | None:
        for fresh, product in _terms(inside):
            for gate, again in self.factors(product):
                found = [self.affine(v) for v in (self.gate(gate), fresh, again)]
                reset, own, seen = found
                if reset is None or own is None or seen is None:
                    continue
                if hidden not in own.matrices and set(seen.matrices) == {hidden}:
                    return reset, own, seen, True
        return None

    def _reset_before(
        self, hidden: ir.Value, inside: ir.Value
    ) -> tuple[Affine, Affine, Affine, bool] | None:
        """tanh of an affine function of the input and of r * h, which is a source then."""
        for product in _products_before(inside):
            for gate, h in self.factors(product):
                if not self.is_same(h, hidden):
                    continue
                reset = self.affine(self.gate(gate))
                numbers = self.sources[hidden]
                inner = Reader({**self.sources, product: numbers}, self.constants)
                whole = inner.affine(inside)
                if reset is None or whole is None or hidden in whole.matrices:
                    continue
                again = Affine({hidden: whole.of(product, numbers)}, np.zeros(whole.bias.size))
                rest = {s: m for s, m in whole.matrices.items() if s is not product}
                return reset, Affine(rest, whole.bias), again, False
        return None


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


def _through(value: ir.Value | None) -> ir.Value | None:
    """What `value` is a reshape of."""
    while value is not None and value.producer is not None:
        node = value.producer
        if node.op not in ("RESHAPE", "SQUEEZE", "EXPAND_DIMS") or not _keeps_rows(node):
            break
        value = node.inputs[0]
    return value


def _node(value: ir.Value | None) -> ir.Node | None:
    value = _through(value)
    return None if value is None else value.producer


def _terms(value: ir.Value) -> list[tuple[ir.Value, ir.Value]]:
    """Both orders of the two values whose sum `value` is."""
    node = _node(value)
    if node is None or node.op != "ADD" or _is_clamped(node) or None in node.inputs:
        return []
    x, y = node.inputs
    assert x is not None and y is not None
    return [(x, y), (y, x)]


def _is_clamped(node: ir.Node) -> bool:
    return node.options.get("fused_activation_function", "NONE") != "NONE"


def _products_before(value: ir.Value) -> list[ir.Value]:
    """Products of two computed values that `value` is made of by affine operators."""
    found: list[ir.Value] = []
    stack = [value]
    seen: set[ir.Value] = set()
    while stack:
        at = stack.pop()
        node = at.producer
        if node is None or at in seen:
            continue
        seen.add(at)
        if node.op == "MUL" and all(v is not None and v.data is None for v in node.inputs):
            found.append(at)
        elif node.op in _AFFINE:
            stack += [v for v in node.inputs if v is not None]
    return found


_AFFINE: dict[str, Callable[[Reader, ir.Node, int], Affine | None]] = {
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
