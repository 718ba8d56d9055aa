# SPDX-License-Identifier: Apache-2.0
"""What a WHILE does with each of its states: what counts, what is read and written row by row."""

from __future__ import annotations

import numpy as np

from converter import ir
from converter.passes.layout_axes import sizes

Axis = tuple[ir.Value, int]  # of a tensor that no other only turns, or has the size of


class Loop:
    """What a WHILE does with each of its states."""

    def __init__(self, node: ir.Node, test: ir.Graph, body: ir.Graph) -> None:
        self.node, self.body = node, body
        self.given = dict(zip(body.inputs, node.inputs, strict=True))
        self.after = dict(zip(body.inputs, body.outputs, strict=True))
        self.counters = {v: way for v in body.inputs if (way := self._way(v))}
        # Whose size, outside, is how often a loop of unknown steps runs, and the state that is it.
        self.length: Axis | None = None
        self.bound: ir.Value | None = None
        self.steps = self._steps(test)
        if not self.steps:
            self._find_length(test)

    def constant(self, value: ir.Value) -> np.ndarray | None:
        """The numbers of a constant, or of an input that is one at every step."""
        if value.data is not None:
            return value.data
        if value in self.given and self.is_invariant(value):
            given = self.given[value]
            return given.data if given is not None else None
        return None

    def is_invariant(self, value: ir.Value) -> bool:
        return value in self.after and plain(self.after[value]) is value

    def start(self, counter: ir.Value) -> int | None:
        given = self.given[counter]
        return None if given is None or given.data is None else int(given.data.reshape(-1)[0])

    def _way(self, value: ir.Value) -> int:
        """1 or -1 where `value` counts up or down, else 0."""
        node = plain(self.after[value]).producer
        if value.size != 1 or value.dtype not in ("INT32", "INT64"):
            return 0
        if node is None or node.op not in ("ADD", "SUB"):
            return 0
        for x, y in (node.inputs, node.inputs[::-1]) if node.op == "ADD" else (node.inputs,):
            if x is None or y is None or plain(x) is not value or y.data is None or y.size != 1:
                continue
            way = int(y.data.reshape(-1)[0]) * (-1 if node.op == "SUB" else 1)
            return way if way in (1, -1) else 0
        return 0

    def _steps(self, test: ir.Graph) -> int:
        """How often the loop runs; 0 where that is not known."""
        place = self._places(test)
        counts = [self._bound(n, place) if n is not None else None for n in _tests(test)]
        if not counts or None in counts or len(counts) > 8:
            return 0
        return max(0, min(c for c in counts if c is not None))

    def _places(self, test: ir.Graph) -> dict[ir.Value, ir.Value]:
        """The body's inputs by those of the condition."""
        return {v: self.body.inputs[i] for i, v in enumerate(test.inputs)}

    def _find_length(self, test: ir.Graph) -> None:
        """Where every test is that a counter from 0 on is less than the size of one axis."""
        place, found = self._places(test), set()
        for node in _tests(test):
            if node is None or node.op != "LESS" or None in node.inputs:
                return
            counter, bound = (place.get(plain(v)) for v in node.inputs if v is not None)
            if counter is None or bound is None or not self.is_invariant(bound):
                return
            if self.counters.get(counter) != 1 or self.start(counter) != 0:
                return
            found.add(_size_of(self.given[bound]))
            self.bound = bound
        self.length = found.pop() if len(found) == 1 else None

    def _bound(self, node: ir.Node, place: dict[ir.Value, ir.Value]) -> int | None:
        """Steps until a comparison of a counter with a constant fails."""
        ops = {"LESS": (1, 0), "GREATER_EQUAL": (-1, 1), "GREATER": (-1, 0), "LESS_EQUAL": (1, 1)}
        way, more = ops.get(node.op, (0, 0))
        if not way or node.inputs[0] is None or node.inputs[1] is None:
            return None
        counter = place.get(plain(node.inputs[0]))
        bound = plain(node.inputs[1])
        end = self.constant(place[bound]) if bound in place else bound.data
        if counter is None or self.counters.get(counter) != way or end is None or end.size != 1:
            return None
        start = self.start(counter)
        return None if start is None else (int(end.reshape(-1)[0]) - start) * way + more

    # -- what is read and written -----------------------------------------------------------------

    def sequences(self) -> dict[ir.Value, tuple[ir.Value, bool]]:
        """Rows that a step reads: (the sequence, whether from its end)."""
        found = {}
        for node in self.body.nodes:
            if node.op != "GATHER" or node.option("axis") or node.option("batch_dims"):
                continue
            x, at = node.inputs
            if x is None or at is None or not self.is_invariant(x):
                continue
            counter = plain(at)
            backwards = self._order(counter, x) if counter in self.counters else None
            if backwards is not None and node.outputs[0].size * x.shape[0] == x.size:
                found[node.outputs[0]] = (x, backwards)
        return found

    def _order(self, counter: ir.Value, whole: ir.Value) -> bool | None:
        """Whether `counter` goes through all rows of the state `whole` from the last to the first;
        None: through others, or not through all.
        """
        start, way, rows = self.start(counter), self.counters[counter], sizes(whole)[0]
        if self.length is not None:
            given = self.given[whole]
            same = given is not None and _axis(given, 0) == self.length
            return False if same and rows == -1 and (start, way) == (0, 1) else None
        if self.steps != rows or start != (0 if way == 1 else rows - 1):
            return None
        return way == -1

    def written(self, state: ir.Value) -> tuple[ir.Value, bool | None] | None:
        """Where a step writes one row of `state`: (that row, whether rows are written from the
        last, None where it is always the only row); None where it does something else.
        """
        node = plain(self.after[state]).producer
        if node is None or node.op != "DYNAMIC_UPDATE_SLICE" or len(state.shape) < 2:
            return None
        whole, row, at = node.inputs
        if whole is not state or row is None or at is None or row.shape != (1, *state.shape[1:]):
            return None
        if at.data is not None:
            return (row, None) if sizes(state)[0] == 1 and not at.data.any() else None
        start = at.producer
        parts = start.inputs if start is not None and start.op == "CONCATENATION" else []
        if not parts or parts[0] is None:
            return None
        counter = plain(parts[0])
        rest = [p.data for p in parts[1:] if p is not None]
        if counter not in self.counters or any(r is None or r.any() for r in rest):
            return None
        order = self._order(counter, state)
        return None if order is None else (row, order)


def plain(value: ir.Value) -> ir.Value:
    """`value` before reshapes."""
    while value.producer is not None and value.producer.op in ("RESHAPE", "SQUEEZE", "EXPAND_DIMS"):
        before = value.producer.inputs[0]
        if before is None or before.size != value.size:
            break
        value = before
    return value


def _tests(test: ir.Graph) -> list[ir.Node | None]:
    """The comparisons that must all hold; None for what is none."""
    found: list[ir.Node | None] = []
    stack: list[ir.Value | None] = [test.outputs[0]]
    while stack:
        value = stack.pop()
        node = plain(value).producer if value is not None else None
        if node is not None and node.op == "LOGICAL_AND":
            stack += node.inputs
        else:
            found.append(node)
    return found


def _size_of(value: ir.Value | None) -> Axis | None:
    """The axis whose size `value`, one number, is."""
    node = plain(value).producer if value is not None else None
    if (
        node is None
        or node.op != "STRIDED_SLICE"
        or any(node.option(f"{kind}_mask") for kind in ("begin", "end", "ellipsis", "new_axis"))
    ):
        return None
    whole, begin, _, _ = node.inputs
    shape = whole.producer if whole is not None else None
    if shape is None or shape.op != "SHAPE" or begin is None or begin.data is None:
        return None
    tensor, at = shape.inputs[0], int(begin.data.reshape(-1)[0])
    assert value is not None
    if tensor is None or value.size != 1 or not 0 <= at < len(tensor.shape):
        return None
    return _axis(tensor, at)


def _axis(tensor: ir.Value, axis: int) -> Axis | None:
    """That axis where it comes from: before transposes and reversals, and before a FILL."""
    while (node := tensor.producer) is not None and node.inputs:
        first = node.inputs[0]
        if first is None:
            break
        if node.op == "TRANSPOSE" and (order := node.inputs[1]) is not None:
            if order.data is None:
                break
            axis = int(order.data[axis])
        elif node.op == "FILL":
            parts = first.producer.inputs if first.producer is not None else []
            joined = first.producer is not None and first.producer.op in ("CONCATENATION", "PACK")
            if not joined or axis or not parts or parts[0] is None or parts[0].size != 1:
                break
            return _size_of(parts[0])
        elif node.op != "REVERSE_V2":
            break
        tensor = first
    return tensor, axis
