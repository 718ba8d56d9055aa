# SPDX-License-Identifier: Apache-2.0
"""Moves transposes to where they cancel.

Importers of channels-first models put TRANSPOSE around what TFLite has for channels-last only. Each
TRANSPOSE asks a question about two layouts: which of the nodes around it, that work in either,
should work in which? The answer is a minimum cut (`layout_cut`); a node changes its layout as
`layout_rows` says. The number of elements that all transposes move only falls, so this ends. Inputs
and outputs of the graph keep their layout.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Hashable
from dataclasses import dataclass, field

from converter import ir
from converter.passes.layout_axes import (
    Axes,
    Ids,
    Perm,
    inverse,
    is_identity,
    order_of,
    perm_of,
    set_target,
    sizes,
)
from converter.passes.layout_change import change_layout
from converter.passes.layout_cut import Edge, cheapest, cost_of
from converter.passes.layout_rows import axes_of
from converter.passes.no_ops import merge_transpose, permutation
from converter.passes.rewriting import is_wired

_LOGGER = logging.getLogger("converter.passes")
_DYNAMIC = 16  # how large a dynamic size counts
_OF_A_NODE = 16  # elements that one more node weighs


def move_transposes(graph: ir.Graph) -> bool:
    """Let nodes work in the layout of their neighbours, where fewer elements are moved then."""
    changed = _tidy(graph)
    moved = True
    while moved:
        moved = False
        done: set[ir.Node] = set()
        for node in [n for n in graph.nodes if n.op == "TRANSPOSE"]:
            if node in done or not is_wired(node):
                continue
            question = _Question(graph, node)
            done |= question.transposes
            if question.answer():
                _tidy(graph)
                moved = changed = True
    for node in [n for n in graph.nodes if n.op == "TRANSPOSE"]:
        changed |= _reshape_instead(node)
    return changed


def moved_elements(graph: ir.Graph) -> int:
    """What the transposes of a graph cost: the measure that moving them lowers."""
    pairs = ((n.inputs[0], _perm(n)) for n in graph.nodes if n.op == "TRANSPOSE")
    return sum(_cost(x, perm) for x, perm in pairs if x is not None and perm is not None)


def _cost(value: ir.Value, perm: Perm) -> int:
    """Of a TRANSPOSE of `value`."""
    if is_identity(perm):
        return 0
    if _only_units(sizes(value), perm):
        return 1  # a RESHAPE
    return _OF_A_NODE + math.prod(_DYNAMIC if d == -1 else d for d in sizes(value))


def _only_units(dims: tuple[int, ...], perm: Perm) -> bool:
    """Whether `perm` of a value with `dims` leaves the order of its elements alone."""
    moving = [i for i in perm if dims[i] != 1]
    return moving == sorted(moving)


def _perm(node: ir.Node) -> Perm | None:
    found = permutation(node) if node.op == "TRANSPOSE" else None
    return None if found is None else tuple(int(i) for i in found)


def compose(first: Perm, second: Perm) -> Perm:
    """The one permutation that does `first`, then `second`."""
    return tuple(first[i] for i in second)


# -- which nodes, which layouts -------------------------------------------------------------------


@dataclass
class _Free:
    """A node that works in either layout: `layout` now, the other with its axes in `order`."""

    axes: Axes
    layout: int
    order: Perm
    bound: bool = False


@dataclass
class _Class:
    """A value and all transposes of it: permutations of the value in layout 0 and 1.

    `members` are the values with the layout they are in now; the value itself is none of them where
    it is made in a third layout.
    """

    perms: tuple[Perm, Perm]
    members: dict[ir.Value, int] = field(default_factory=dict)


class _Question:
    """The nodes and values around one TRANSPOSE, from whose input to whose output layouts differ.

    Layout 0 is how its input stands, layout 1 how its output does.
    """

    def __init__(self, graph: ir.Graph, seed: ir.Node) -> None:
        self.graph = graph
        self.nodes: dict[ir.Node, _Free] = {}
        self.classes: dict[ir.Value, _Class] = {}
        self.transposes: set[ir.Node] = {seed}
        perm, x = _perm(seed), seed.inputs[0]
        if perm is None or x is None or x.data is not None:
            return
        self.waiting: list[ir.Node] = []
        self._meet(x, 0, perm)
        while self.waiting:
            node = self.waiting.pop()
            free = self.nodes[node]
            for value, ids in _operands(node, free.axes):
                self._meet(value, free.layout, perm_of(ids, free.order))

    def _meet(self, value: ir.Value, layout: int, other: Perm) -> None:
        """`value` stands in `layout`, and its permutation `other` would be the other layout."""
        if is_identity(other):
            return
        root, path = value, tuple(range(len(value.shape)))
        while root.producer is not None and (perm := _perm(root.producer)) is not None:
            source = root.producer.inputs[0]
            if source is None or source.data is not None:
                break
            root, path = source, compose(perm, path)
        if root in self.classes:
            return  # where it disagrees, the node is bound later
        here, there = path, compose(path, other)
        found = _Class((here, there) if layout == 0 else (there, here))
        self.classes[root] = found
        self._gather(root, tuple(range(len(root.shape))), found)

    def _gather(self, value: ir.Value, path: Perm, group: _Class) -> None:
        """Add `value`, which is the class's root with axes `path`, and its transposes."""
        if path in group.perms:
            layout = group.perms.index(path)
            group.members[value] = layout
            back = inverse(path)
            other = compose(back, group.perms[1 - layout])
            for node in (*value.users, *([value.producer] if value.producer else ())):
                self._offer(node, value, layout, other)
        for user in value.users:
            perm = _perm(user)
            if perm is None or value is not user.inputs[0]:
                continue
            if path in group.perms:
                self.transposes.add(user)
            self._gather(user.outputs[0], compose(path, perm), group)

    def _offer(self, node: ir.Node, value: ir.Value, layout: int, other: Perm) -> None:
        if node.op == "TRANSPOSE" or node in self.nodes:
            return
        axes = axes_of(node)
        if axes is None:
            return
        ids = next((ids for v, ids in _operands(node, axes) if v is value), None)
        order = order_of(axes, ids, other) if ids is not None else None
        if order is None or ids is None or perm_of(ids, order) != other:
            return
        self.nodes[node] = _Free(axes, layout, order)
        self.waiting.append(node)

    # -- the answer ---------------------------------------------------------------------------

    def answer(self) -> bool:
        """Rewrite the nodes that should change their layout; False where none should."""
        if not any(c.members for c in self.classes.values()):
            return False
        self._bind_where_unclear()
        edges = [self._edge(root, group) for root, group in self.classes.items()]
        least, in_one = cheapest(edges)
        if least >= sum(cost_of(edge, self._now) for edge in edges):
            return False
        for node, free in self.nodes.items():
            if not free.bound and (node in in_one) != (free.layout == 1):
                _LOGGER.info("move_transposes: %s", node.label)
                change_layout(self.graph, node, free.axes, free.order)
        return True

    def _now(self, end: Hashable) -> int:
        return self.nodes[end].layout if isinstance(end, ir.Node) else int(end == 1)

    def _bind_where_unclear(self) -> None:
        """A node that stands between two pairs of layouts stays as it is."""
        for node, free in self.nodes.items():
            for value, ids in _operands(node, free.axes):
                other = perm_of(ids, free.order)
                found = self._class_of(value)
                if found is None:
                    continue  # the same in both layouts
                group, layout = found
                if layout is None:
                    free.bound = True
                    continue
                path = group.perms[layout]
                expected = compose(inverse(path), group.perms[1 - layout])
                free.bound |= layout != free.layout or other != expected

    def _class_of(self, value: ir.Value) -> tuple[_Class, int | None] | None:
        root = value
        while root.producer is not None and _perm(root.producer) is not None:
            source = root.producer.inputs[0]
            if source is None or source.data is not None:
                break
            root = source
        group = self.classes.get(root)
        return None if group is None else (group, group.members.get(value))

    def _edge(self, root: ir.Value, group: _Class) -> Edge:
        readers: list[Hashable] = []
        for value, layout in group.members.items():
            if self.graph.is_output(value):
                readers.append(layout)
            for user in dict.fromkeys(value.users):
                if self._is_free_to_read(user, group):
                    continue
                readers.append(self._end(user, layout))
                if _reads_otherwise(user, value):
                    readers.append(layout)
        costs = [_cost(root, perm) for perm in group.perms]
        if root not in group.members:
            return Edge((costs[0], costs[1]), None, tuple(readers))
        cost, made = max(costs), group.members[root]
        producer = made if root.producer is None else self._end(root.producer, made)
        return Edge((cost, cost), producer, tuple(readers))

    def _is_free_to_read(self, user: ir.Node, group: _Class) -> bool:
        """Whether `user` is a TRANSPOSE that costs the same whichever layout it reads."""
        perm = _perm(user)
        if perm is None:
            return False
        (out,) = user.outputs
        # To a third layout: if it only moves units, it would cost more elsewhere.
        return out in group.members or not _only_units(sizes(out), inverse(perm))

    def _end(self, node: ir.Node, layout: int) -> Hashable:
        free = self.nodes.get(node)
        return layout if free is None or free.bound else node


def _reads_otherwise(node: ir.Node, value: ir.Value) -> bool:
    """Whether `node` reads `value` as what does not permute with it, such as indices."""
    axes = axes_of(node)
    data = axes.inputs if axes is not None else {}
    return any(v is value and i not in data for i, v in enumerate(node.inputs))


def _operands(node: ir.Node, axes: Axes) -> list[tuple[ir.Value, Ids]]:
    """The computed values that permute with a node, and the ids of their axes."""
    found = []
    for i, ids in axes.inputs.items():
        value = node.inputs[i]
        if value is not None and value.data is None:
            found.append((value, ids))
    return found + list(zip(node.outputs, axes.outputs, strict=True))


# -- what cancels ---------------------------------------------------------------------------------


def _tidy(graph: ir.Graph) -> bool:
    """Merge chains of transposes, drop those that do nothing, are unread or done twice."""
    changed = False
    fired = True
    while fired:
        fired = False
        made: dict[tuple[ir.Value, Perm], ir.Value] = {}
        for node in [n for n in graph.nodes if n.op == "TRANSPOSE"]:
            if not is_wired(node):
                continue
            (out,) = node.outputs
            if not out.users and not graph.is_output(out):
                graph.remove_node(node)
                fired = True
                continue
            fired |= merge_transpose(graph, node)
            if not is_wired(node):
                continue
            perm, x = _perm(node), node.inputs[0]
            if perm is None or x is None:
                continue
            twin = made.setdefault((x, perm), out)
            if twin is not out and not graph.is_output(out) and twin.quant == out.quant:
                graph.replace_value(out, twin)
                graph.remove_node(node)
                fired = True
        changed |= fired
    return changed


def _reshape_instead(node: ir.Node) -> bool:
    """A TRANSPOSE that only moves axes of size 1 becomes a RESHAPE."""
    perm, x = _perm(node), node.inputs[0]
    if perm is None or x is None or not _only_units(sizes(x), perm):
        return False
    dims = list(sizes(node.outputs[0]))
    if dims.count(-1) > 1 or is_identity(perm):
        return False
    if perm[0] == 0 and -1 not in dims and 0 not in dims:
        dims[0] = -1  # a batch can still be resized
    node.op, node.options_type = "RESHAPE", None
    set_target(node, dims)
    return True
