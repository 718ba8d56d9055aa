# SPDX-License-Identifier: Apache-2.0
"""Which of two layouts each node should work in, so that the fewest elements are transposed.

Two-layout assignment is a minimum cut: nodes bound to one layout are the two ends, a value whose
producer and readers disagree is cut and costs its size once, however many readers disagree.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import NamedTuple

_UNBOUNDED = 1 << 60
_SOURCE, _SINK = 0, 1


class Edge(NamedTuple):
    """A value: what it costs to have it in layout 0 and in layout 1, who makes it and who reads it.

    An end is the key of a free node, or 0 or 1 where the end is bound to that layout. The producer
    is None where it makes the value in a third layout: then each layout that is read is paid for;
    else only the one that the value is not made in, and both cost the same.
    """

    costs: tuple[int, int]
    producer: Hashable | None
    readers: tuple[Hashable, ...]


def cost_of(edge: Edge, layout: Callable[[Hashable], int]) -> int:
    """What `edge` costs where `layout` says in which layout its ends work."""
    made = None if edge.producer is None else layout(edge.producer)
    return sum(edge.costs[i] for i in {layout(r) for r in edge.readers} if i != made)


def cheapest(edges: Iterable[Edge]) -> tuple[int, set[Hashable]]:
    """(the least total cost, the free nodes that then work in layout 1)."""
    network = _Network()
    for edge in edges:
        # One reader in 1 while the producer is in 0 pays once, and the other way around.
        third = edge.producer is None
        in_zero = _SOURCE if third else network.vertex(edge.producer)
        in_one = _SINK if third else in_zero
        any_in_one, any_in_zero = network.vertex(object()), network.vertex(object())
        network.arc(in_zero, any_in_one, edge.costs[1])
        network.arc(any_in_zero, in_one, edge.costs[0])
        for reader in map(network.vertex, dict.fromkeys(edge.readers)):
            network.arc(any_in_one, reader, _UNBOUNDED)
            network.arc(reader, any_in_zero, _UNBOUNDED)
    total, reached = network.cut()
    return total, {key for key, vertex in network.vertices.items() if vertex not in reached}


class _Network:
    """Dinic's algorithm; vertices are numbered, arcs lie in pairs (arc, its reverse)."""

    def __init__(self) -> None:
        self.vertices: dict[Hashable, int] = {}
        self.arcs: list[list[int]] = [[], []]  # of each vertex
        self.heads: list[int] = []
        self.room: list[int] = []

    def vertex(self, key: Hashable) -> int:
        if key == 0 or key == 1:
            return _SOURCE if key == 0 else _SINK
        if key not in self.vertices:
            self.vertices[key] = len(self.arcs)
            self.arcs.append([])
        return self.vertices[key]

    def arc(self, tail: int, head: int, capacity: int) -> None:
        if tail == head:
            return
        for a, b, room in ((tail, head, capacity), (head, tail, 0)):
            self.arcs[a].append(len(self.heads))
            self.heads.append(b)
            self.room.append(room)

    def cut(self) -> tuple[int, set[int]]:
        """(the flow, the vertices on the source's side)."""
        total = 0
        while True:
            levels = self._levels()
            if _SINK not in levels:
                return total, set(levels)
            total += self._block(levels)

    def _levels(self) -> dict[int, int]:
        levels = {_SOURCE: 0}
        queue = deque([_SOURCE])
        while queue:
            vertex = queue.popleft()
            for arc in self.arcs[vertex]:
                head = self.heads[arc]
                if self.room[arc] and head not in levels:
                    levels[head] = levels[vertex] + 1
                    queue.append(head)
        return levels

    def _block(self, levels: dict[int, int]) -> int:
        """Augment along shortest paths until none is left."""
        total = 0
        at = [0] * len(self.arcs)
        path: list[int] = []
        vertex = _SOURCE
        while True:
            if vertex == _SINK:
                flow = min(self.room[arc] for arc in path)
                total += flow
                for arc in path:
                    self.room[arc] -= flow
                    self.room[arc ^ 1] += flow
                path, vertex = [], _SOURCE
            while at[vertex] < len(self.arcs[vertex]):
                arc = self.arcs[vertex][at[vertex]]
                head = self.heads[arc]
                if self.room[arc] and levels.get(head) == levels[vertex] + 1:
                    path.append(arc)
                    vertex = head
                    break
                at[vertex] += 1
            else:
                if not path:
                    return total
                vertex = self.heads[path.pop() ^ 1]
                at[vertex] += 1
