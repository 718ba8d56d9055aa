# SPDX-License-Identifier: Apache-2.0
"""The layered drawing: nothing overlaps, edges lead down from box to box, and it is quick."""

from __future__ import annotations

import random
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rillet.page import layout
from rillet.page.layout import Drawing, Edge, layered

Sizes = list[tuple[float, float]]
BOX = (100.0, 40.0)


def check(sizes: Sizes, edges: list[Edge], drawing: Drawing) -> None:
    """What holds of every drawing."""
    corners = []
    for (x, y), (width, height) in zip(drawing.centres, sizes, strict=True):
        corners.append((x - width / 2, y - height / 2, x + width / 2, y + height / 2))
        assert corners[-1][0] >= -1e-6 and corners[-1][2] <= drawing.width + 1e-6
        assert corners[-1][1] >= -1e-6 and corners[-1][3] <= drawing.height + 1e-6
    by_row = sorted(corners, key=lambda c: (c[1] + c[3], c[0]))
    for (_, _, right, bottom), (left, top, _, _) in pairwise(by_row):
        assert right <= left + 1e-6 or bottom <= top + 1e-6
    for (source, target, _), points in zip(edges, drawing.routes, strict=True):
        assert points[0] == (drawing.centres[source][0], pytest.approx(corners[source][3]))
        assert points[-1] == (drawing.centres[target][0], pytest.approx(corners[target][1]))
        if source < target:
            assert all(a[1] <= b[1] for a, b in pairwise(points)), "an edge leads up"
            for bend, end in zip(points[1:-1:2], points[2:-1:2], strict=True):
                assert bend[0] == end[0], "a bend is not straight"
                for left, top, right, bottom in corners:
                    apart = bend[0] <= left or bend[0] >= right
                    assert apart or end[1] <= top or bend[1] >= bottom, "an edge crosses a box"


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Sizes, list[Edge]]:
    count = draw(st.integers(1, 25))
    sizes = draw(
        st.lists(
            st.sampled_from([(100.0, 40.0), (240.0, 98.0), (60.0, 20.0)]),
            min_size=count,
            max_size=count,
        )
    )
    ends = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))
    edges = [(a, b, a) for a, b in draw(st.lists(ends, max_size=50)) if a < b]
    return sizes, edges


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_boxes_and_edges_keep_apart(graph: tuple[Sizes, list[Edge]]) -> None:
    check(*graph, layered(*graph))


def test_nothing_and_a_single_box() -> None:
    assert layered([], []) == Drawing([], [], 0.0, 0.0)
    assert layered([BOX], []) == Drawing([(50.0, 20.0)], [], 100.0, 40.0)


def test_a_chain_is_straight() -> None:
    drawing = layered([BOX] * 5, [(i, i + 1, i) for i in range(4)])
    assert len({x for x, _ in drawing.centres}) == 1
    assert drawing.width == 100 and drawing.height == 5 * 40 + 4 * layout.ROW_GAP


def test_a_detour_goes_round_what_it_passes() -> None:
    """0 -> 1 -> 2 -> 3, and 0 -> 3 past the two in between."""
    edges = [(0, 1, 0), (1, 2, 1), (2, 3, 2), (0, 3, 0)]
    drawing = layered([BOX] * 4, edges)
    check([BOX] * 4, edges, drawing)
    assert [len(points) for points in drawing.routes] == [2, 2, 2, 6]
    bends = {x for x, _ in drawing.routes[3][1:-1]}
    assert len(bends) == 1, "the detour is not straight"


def test_paths_are_straight_beside_detours() -> None:
    """Residual blocks: 0 -> 1 -> 2 -> 3 with 0 -> 3, and so on."""
    edges = [(i, i + 1, i) for i in range(30)] + [(i, i + 3, i) for i in range(0, 30, 3)]
    drawing = layered([BOX] * 31, edges)
    check([BOX] * 31, edges, drawing)
    assert len({x for x, _ in drawing.centres}) == 1
    assert all(len({x for x, _ in route[1:-1]}) == 1 for route in drawing.routes[30:])


def test_edges_that_carry_the_same_share_their_bends() -> None:
    """0's value is read by 3 and 4 below a chain, another value of it by 4 too."""
    edges = [(0, 1, 0), (1, 2, 1), (2, 3, 2), (3, 4, 3), (0, 3, 0), (0, 4, 0), (0, 4, 9)]
    routes = layered([BOX] * 5, edges).routes
    assert routes[4][1:-1] == routes[5][1:5] != routes[6][1:5]


def test_crossings_are_undone() -> None:
    """Two independent chains whose boxes are listed crosswise."""
    edges = [(0, 3, 0), (1, 2, 1), (2, 5, 2), (3, 4, 3)]
    drawing = layered([BOX] * 6, edges)
    x = [centre[0] for centre in drawing.centres]
    assert (x[0] < x[1]) == (x[3] < x[2]) == (x[4] < x[5])


def test_what_feeds_one_box_stands_just_above_it() -> None:
    """A chain whose last box reads an input of its own: the input stands one row above."""
    edges = [(0, 2, 0), (2, 3, 2), (3, 4, 3), (4, 5, 4), (1, 5, 1)]
    y = [centre[1] for centre in layered([BOX] * 6, edges).centres]
    assert y[1] == y[4] and y[0] < y[2] < y[3] < y[4] < y[5]


def test_a_leaf_does_not_bend_the_path_it_joins() -> None:
    """Constants' nodes at one side of a long chain leave it straight."""
    edges, count = [], 0
    for _ in range(30):  # a node, and two leaves that only it reads
        edges += [(count + 1, count + 3, count + 1), (count + 2, count + 3, count + 2)]
        edges.append((count, count + 3, count))
        count += 3
    drawing = layered([BOX] * (count + 1), edges)
    path = [drawing.centres[i][0] for i in range(0, count + 1, 3)]
    assert len(set(path[1:])) == 1 and path[0] < path[1], "the first box is a leaf as well"


def test_edges_that_lead_back_are_drawn() -> None:
    edges = [(0, 1, 0), (1, 2, 1), (2, 0, 2), (1, 1, 1)]
    drawing = layered([BOX] * 3, edges)
    assert all(len(points) == 2 for points in drawing.routes[2:])


def random_edges(count: int, most: int, reach: int) -> list[Edge]:
    pick = random.Random(1)
    return [
        (source := pick.randrange(max(0, target - reach), target), target, source)
        for target in range(1, count)
        for _ in range(pick.randint(1, most))
    ]


@pytest.mark.parametrize(
    "edges",
    [
        random_edges(1000, 3, 30),
        random_edges(1000, 2, 1000),
        [(i, i + 1, i) for i in range(999)] + [(i, 999, i) for i in range(999)],
    ],
    ids=["near", "far", "all to one"],
)
def test_a_thousand_boxes_take_less_than_two_seconds(edges: list[Edge]) -> None:
    start = time.process_time()
    drawing = layered([BOX] * 1000, edges)
    assert time.process_time() - start < 2
    assert len(drawing.centres) == 1000 and len(drawing.routes) == len(edges)
