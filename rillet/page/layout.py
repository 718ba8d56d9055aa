# SPDX-License-Identifier: Apache-2.0
"""A layered drawing of a graph: boxes in rows, edges that lead down.

The steps are those of Sugiyama, Tagawa and Toda ("Methods for Visual Understanding of Hierarchical
System Structures", 1981): a row for every box by its longest path, a bend in every row that an edge
passes, an order in each row by barycentres, then coordinates. Coordinates minimize the squared
sideways length of edges in one row after the other, which is isotonic regression (pool adjacent
violators; Barlow and others, 1972).
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf

SIDE_GAP, BEND_GAP, ROW_GAP = 36.0, 18.0, 58.0  # between boxes, beside bends, between rows
ORDERINGS, PLACEMENTS = 12, 6  # sweeps; more change little
MOST_BENDS = 10_000  # above that, edges past so many rows are drawn straight
MOST_LINES = 100_000  # gone through in all sweeps: large graphs get fewer
STRAIGHT, ASIDE = 6.0, 0.0005  # how much the straightness of bends, and of leaves, weighs; else 1

Point = tuple[float, float]
Edge = tuple[int, int, int]  # source box, target box, what it carries: a tensor


@dataclass
class Drawing:
    """Centres of boxes and the points of each edge, from the source's centre bottom on down.

    An edge's points are in pairs: it runs straight between the two of a pair and may swing from one
    pair to the next. Everything lies between 0 and (width, height).
    """

    centres: list[Point]
    routes: list[list[Point]]
    width: float
    height: float


def layered(sizes: Sequence[tuple[float, float]], edges: Sequence[Edge]) -> Drawing:
    """Draw boxes of `sizes` (width, height) and `edges` between them.

    Edges that carry the same from the same box share their bends. Those that lead back, to a box of
    a lower number or the same one, do not decide about rows.
    """
    if not sizes:
        return Drawing([], [], 0.0, 0.0)
    rows = _rows(len(sizes), edges)
    net = _Net(sizes, edges, rows)
    _order(net)
    xs = _across(net)
    tops, height = _down(net)
    left = min(x - width / 2 for x, width in zip(xs, net.widths, strict=True))
    right = max(x + width / 2 for x, width in zip(xs, net.widths, strict=True))
    xs = [x - left for x in xs]

    def box_centre(box: int) -> Point:
        return xs[box], tops[rows[box]] + net.heights[rows[box]] / 2

    routes = []
    for (source, target, _), bends in zip(edges, net.bends_of, strict=True):
        points = [(xs[source], box_centre(source)[1] + sizes[source][1] / 2)]
        for bend in bends:
            row = net.row_of[bend]
            points += [(xs[bend], tops[row]), (xs[bend], tops[row] + net.heights[row])]
        points.append((xs[target], box_centre(target)[1] - sizes[target][1] / 2))
        routes.append(points)
    centres = [box_centre(box) for box in range(len(sizes))]
    return Drawing(centres, routes, right - left, height)


def _rows(count: int, edges: Sequence[Edge]) -> list[int]:
    """The row of each box: one below the lowest it depends on, but close to what it feeds where
    that is more than it is fed by.
    """
    into: list[set[int]] = [set() for _ in range(count)]
    out: list[set[int]] = [set() for _ in range(count)]
    for source, target, _ in edges:
        if source < target:
            into[target].add(source)
            out[source].add(target)
    rows = [0] * count
    for box in range(count):
        rows[box] = max((rows[source] + 1 for source in into[box]), default=0)
    for box in reversed(range(count)):
        if len(out[box]) > len(into[box]):
            rows[box] = max(rows[box], min(rows[target] for target in out[box]) - 1)
    first = min(rows)
    return [row - first for row in rows]


class _Net:
    """Boxes, and after them bends, as items in rows; every line joins items of adjacent rows."""

    def __init__(
        self, sizes: Sequence[tuple[float, float]], edges: Sequence[Edge], rows: Sequence[int]
    ) -> None:
        self.boxes = len(sizes)
        self.widths = [width for width, _ in sizes]
        self.row_of = list(rows)
        self.above: list[list[int]] = [[] for _ in sizes]
        self.below: list[list[int]] = [[] for _ in sizes]
        self.bends_of: list[list[int]] = []  # per edge
        self.chains: dict[tuple[int, int], list[int]] = {}  # bends below a source, by what it sends
        longest = self._longest(edges, rows)
        for source, target, what in edges:
            span = rows[target] - rows[source]
            bends = self._bends(source, what, span - 1) if 1 < span <= longest else []
            if 1 <= span <= longest:
                self._join(bends[-1] if bends else source, target)
            self.bends_of.append(bends)
        self.rows: list[list[int]] = [[] for _ in range(max(self.row_of) + 1)]
        for item, row in enumerate(self.row_of):
            self.rows[row].append(item)
        # A box with a single line stands beside the path that it joins, and does not bend it.
        self.importance = [
            ASIDE if len(above) + len(below) < 2 else 1.0
            for above, below in zip(self.above, self.below, strict=True)
        ]
        self.heights = [0.0] * len(self.rows)
        for box, (_, height) in enumerate(sizes):
            self.heights[rows[box]] = max(self.heights[rows[box]], height)

    @staticmethod
    def _longest(edges: Sequence[Edge], rows: Sequence[int]) -> int:
        """The span up to which edges get bends, so that those are not too many."""
        spans: dict[tuple[int, int], int] = {}
        for source, target, what in edges:
            span = rows[target] - rows[source]
            spans[source, what] = max(spans.get((source, what), 0), span)
        bends, longest = 0, 1
        for span in sorted(spans.values()):
            bends += max(span - 1, 0)
            if bends > MOST_BENDS:
                return longest
            longest = max(longest, span)
        return longest

    def _bends(self, source: int, what: int, count: int) -> list[int]:
        chain = self.chains.setdefault((source, what), [])
        while len(chain) < count:
            bend = len(self.row_of)
            self.row_of.append(self.row_of[source] + len(chain) + 1)
            self.widths.append(0.0)
            self.above.append([])
            self.below.append([])
            self._join(chain[-1] if chain else source, bend)
            chain.append(bend)
        return chain[:count]

    def _join(self, upper: int, lower: int) -> None:
        self.below[upper].append(lower)
        self.above[lower].append(upper)

    def sweeps(self, most: int) -> int:
        return min(most, 2 + MOST_LINES // (sum(map(len, self.below)) + 1))

    def gap(self, left: int, right: int) -> float:
        """Least distance of the centres of two neighbours in a row."""
        apart = SIDE_GAP if left < self.boxes and right < self.boxes else BEND_GAP
        return (self.widths[left] + self.widths[right]) / 2 + apart


def _order(net: _Net) -> None:
    """Arrange every row so that few lines cross."""
    best, fewest = net.rows, _crossings(net)
    for sweep in range(net.sweeps(ORDERINGS)):
        if not fewest:
            break
        downwards = sweep % 2 == 0
        rows = [list(row) for row in net.rows]
        order = range(1, len(rows)) if downwards else range(len(rows) - 2, -1, -1)
        near = net.above if downwards else net.below
        for index in order:
            fixed = rows[index - 1 if downwards else index + 1]
            places = {item: place for place, item in enumerate(fixed)}
            rows[index] = _by_barycentre(rows[index], near, places)
        net.rows = rows
        crossings = _crossings(net)
        if crossings < fewest:
            best, fewest = rows, crossings
    net.rows = best


def _by_barycentre(row: list[int], near: list[list[int]], places: dict[int, int]) -> list[int]:
    """The row by the mean place of neighbours; items without any keep to the left one's side."""
    keys, last = {}, -1.0
    for item in row:
        if near[item]:
            last = sum(places[other] for other in near[item]) / len(near[item])
        keys[item] = last
    return sorted(row, key=keys.__getitem__)


def _crossings(net: _Net) -> int:
    total = 0
    for upper, lower in pairwise(net.rows):
        places = {item: place for place, item in enumerate(lower)}
        seen: list[int] = []
        for item in upper:
            ends = sorted(places[other] for other in net.below[item])
            total += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return total


def _across(net: _Net) -> list[float]:
    """The x of every item's centre."""
    xs = [0.0] * len(net.row_of)
    for row in net.rows:
        for left, right in pairwise(row):
            xs[right] = xs[left] + net.gap(left, right)
        middle = (xs[row[0]] + xs[row[-1]]) / 2 if row else 0.0
        for item in row:
            xs[item] -= middle
    both = [a + b for a, b in zip(net.above, net.below, strict=True)]
    for _ in range(net.sweeps(PLACEMENTS)):
        for row in net.rows[1:]:
            _place(net, row, net.above, xs)
        for row in reversed(net.rows[:-1]):
            _place(net, row, net.below, xs)
    for row in net.rows:
        _place(net, row, both, xs)
    _straighten(net, xs)
    return xs


def _straighten(net: _Net, xs: list[float]) -> None:
    """Put boxes, then bends, that follow each other on one vertical line, and leaves in line with
    what they join, as far as their neighbours allow.
    """
    beside: dict[int, tuple[int | None, int | None]] = {}
    for row in net.rows:
        beside |= dict(zip(row, zip([None, *row[:-1]], [*row[1:], None], strict=True), strict=True))

    def room(bend: int) -> tuple[float, float]:
        left, right = beside[bend]
        low = -inf if left is None else xs[left] + net.gap(left, bend)
        return low, inf if right is None else xs[right] - net.gap(bend, right)

    for chain in [*_paths(net), *net.chains.values()]:
        start = 0
        while start < len(chain):
            (low, high), end = room(chain[start]), start + 1
            while end < len(chain):
                least, most = room(chain[end])
                if max(low, least) > min(high, most):
                    break
                low, high, end = max(low, least), min(high, most), end + 1
            run = chain[start:end]
            x = min(max(sum(xs[bend] for bend in run) / len(run), low), high)
            for bend in run:
                xs[bend] = x
            start = end
    for box in range(net.boxes):
        others = net.above[box] + net.below[box]
        if len(others) == 1:
            low, high = room(box)
            xs[box] = min(max(xs[others[0]], low), high)


def _paths(net: _Net) -> list[list[int]]:
    """Boxes one below the other, each the only one that the former leads to directly, and that one
    the only one that leads to it, leaves aside.
    """

    def only(near: list[int]) -> int | None:
        found = [item for item in near if item < net.boxes and net.importance[item] == 1]
        return found[0] if len(found) == 1 else None

    below = [only(near) for near in net.below[: net.boxes]]
    above = [only(near) for near in net.above[: net.boxes]]
    linked = [v if v is not None and above[v] == u else None for u, v in enumerate(below)]
    paths = []
    for head in set(range(net.boxes)) - set(linked):
        path, item = [], linked[head] if net.importance[head] < 1 else head
        while item is not None:
            path.append(item)
            item = linked[item]
        paths.append(path)
    return paths


def _place(net: _Net, row: list[int], near: list[list[int]], xs: list[float]) -> None:
    """Move a row's items to where their lines are straightest, without changing their order.

    With s the sums of gaps, x - s must not fall along the row: blocks of items that would are
    pooled at their weighted mean.
    """
    shift = 0.0
    blocks: list[list[float]] = []  # each: sum of weight * place, sum of weights, items
    for index, item in enumerate(row):
        shift += net.gap(row[index - 1], item) if index else 0.0
        others = near[item]
        pull = sum(net.importance[other] for other in others)
        wish = (
            sum(net.importance[other] * xs[other] for other in others) / pull if pull else xs[item]
        )
        weight = net.importance[item] if others else ASIDE / 2
        if item >= net.boxes and any(other >= net.boxes for other in others):
            weight = STRAIGHT
        block = [weight * (wish - shift), weight, 1]
        while blocks and blocks[-1][0] * block[1] > block[0] * blocks[-1][1]:
            former = blocks.pop()
            block = [a + b for a, b in zip(former, block, strict=True)]
        blocks.append(block)
    shift, index = 0.0, 0
    for total, weight, count in blocks:
        for _ in range(int(count)):
            shift += net.gap(row[index - 1], row[index]) if index else 0.0
            xs[row[index]] = total / weight + shift
            index += 1


def _down(net: _Net) -> tuple[list[float], float]:
    """The top of every row, and the height of all."""
    tops, y = [], 0.0
    for height in net.heights:
        tops.append(y)
        y += height + ROW_GAP
    return tops, y - ROW_GAP
