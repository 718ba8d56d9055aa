# SPDX-License-Identifier: Apache-2.0
"""What one step of a loop computes, where that is a recurrent cell."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from converter import ir
from converter.passes.affine_functions import (
    AFFINE_OPS,
    Affine,
    Reader,
    is_clamped,
    node_of,
    terms,
    through,
)


class Lstm(NamedTuple):
    """The affine functions of the gates input, forget, cell, output, and a matrix for what is shown
    where it is projected.
    """

    gates: tuple[Affine, Affine, Affine, Affine]
    projection: np.ndarray | None = None


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


class CellReader(Reader):
    """Reads the values of a step as recurrent cells."""

    def is_same(self, value: ir.Value | None, other: ir.Value) -> bool:
        return through(value) is through(other)

    def gate(self, value: ir.Value | None, op: str = "LOGISTIC") -> ir.Value | None:
        """What the activation `op` is of, where `value` is one."""
        node = node_of(value)
        return node.inputs[0] if node is not None and node.op == op else None

    def factors(self, value: ir.Value | None) -> list[tuple[ir.Value, ir.Value]]:
        """Both orders of the two values whose product `value` is."""
        node = node_of(value)
        if node is None or node.op != "MUL" or is_clamped(node) or None in node.inputs:
            return []
        x, y = node.inputs
        assert x is not None and y is not None
        return [(x, y), (y, x)]

    def lstm(self, cell: ir.Value, shown: ir.Value, after: ir.Value) -> Lstm | None:
        """Where `after`, the next of `cell`, and `shown` are those of an LSTM."""
        product, projection = self._before_projection(cell, shown)
        seen = [
            o
            for o, c in self.factors(product)
            if (inner := self.gate(c, "TANH")) is not None and self.is_same(inner, after)
        ]
        for kept, added in terms(after) if seen else []:
            forget = [f for f, c in self.factors(kept) if self.is_same(c, cell)]
            new = [
                (i, self.gate(g, "TANH"))
                for i, g in self.factors(added)
                if self.gate(g, "TANH") is not None
            ]
            if not (forget and new):
                continue
            gates = [self.affine(self.gate(v)) for v in (new[0][0], forget[0])]
            gates.append(self.affine(new[0][1]))
            last = Reader({**self.sources, after: self.sources[cell]}, self.constants)
            gates.append(last.affine(self.gate(seen[0])))
            i, f, g, o = gates
            if i is not None and f is not None and g is not None and o is not None:
                return Lstm((i, f, g, o), projection)
        return None

    def _before_projection(
        self, cell: ir.Value, shown: ir.Value
    ) -> tuple[ir.Value | None, np.ndarray | None]:
        """(what `shown` is a matrix times of, that matrix); `shown` itself where it is none."""
        node = node_of(shown)
        if node is None or node.op not in ("BATCH_MATMUL", "FULLY_CONNECTED"):
            return shown, None
        product = node.inputs[0]
        if product is None:
            return None, None
        whole = Reader({product: self.sources[cell]}, self.constants).affine(shown)
        if whole is None or whole.bias.any() or product not in whole.matrices:
            return None, None
        return product, whole.matrices[product]

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
        for kept, added in terms(after):
            gates = [z for z, h in self.factors(kept) if self.is_same(h, hidden)]
            for rest, new in self.factors(added) if gates else []:
                node = node_of(rest)
                if node is None or node.op != "SUB" or is_clamped(node):
                    continue
                one = self.constants(node.inputs[0]) if node.inputs[0] is not None else None
                z = node.inputs[1]
                if one is not None and (one == 1).all() and z is not None:
                    found += [(gate, new) for gate in gates if self.is_same(z, gate)]
        return found

    def _moved(self, hidden: ir.Value, after: ir.Value) -> list[tuple[ir.Value, ir.Value]]:
        found = []
        for new, change in terms(after):
            for gate, way in self.factors(change):
                node = node_of(way)
                if node is None or node.op != "SUB" or is_clamped(node) or None in node.inputs:
                    continue
                if self.is_same(node.inputs[0], hidden) and self.is_same(node.inputs[1], new):
                    found.append((gate, new))
        return found

    def _reset_after(
        self, hidden: ir.Value, inside: ir.Value
    ) -> tuple[Affine, Affine, Affine, bool] | None:
        for fresh, product in terms(inside):
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
        elif node.op in AFFINE_OPS:
            stack += [v for v in node.inputs if v is not None]
    return found
