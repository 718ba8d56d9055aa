# SPDX-License-Identifier: Apache-2.0
"""What a permutation of an operator's operands does to the operator.

Every axis of an operand carries an id of the node: axes of two operands with one id are the same
axis, seen from either side. A node computes the same with its ids in any *order*: operands stand
with their axes in that order, and what names axes (paddings, reduced axes, slices) follows. An axis
that only one side has, of size 1, has the id None and goes with the axis behind it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from converter import ir

Perm = tuple[int, ...]
Ids = list["int | None"]


@dataclass
class Axes:
    """Ids of the axes of a node's operands. `inputs` are those that permute, by position.

    The last `pinned` ids stay where they are. `adjust` writes a new order into what names axes.
    """

    count: int
    inputs: dict[int, Ids]
    outputs: list[Ids]
    pinned: int = 0
    adjust: Callable[[ir.Node, Perm], None] | None = None
    broadcasts: bool = False  # inputs of lower rank align with the last axes


def order_of(axes: Axes, ids: Ids, perm: Perm) -> Perm | None:
    """The order of all ids that `perm` of an operand asks for; None where the node forbids it."""
    seen = [(ids[i], i) for i in perm if ids[i] is not None]
    order: list[int] = []
    for (axis, place), (before, at) in zip(seen, [(None, -1), *seen], strict=False):
        assert axis is not None
        if axis == before:
            if place < at:
                return None  # axes that the other side holds as one change their order
        elif axis in order:
            return None  # ... or stand apart
        else:
            order.append(axis)
    for axis in range(axes.count - 1, -1, -1):
        if axis in order:
            continue
        lower = [order.index(i) for i in range(axis) if i in order]
        at = order.index(axis + 1) if axis + 1 < axes.count else (lower[-1] + 1 if lower else 0)
        order.insert(at, axis)
    if any(order[i] != i for i in range(axes.count - axes.pinned, axes.count)):
        return None
    return tuple(order)


def perm_of(ids: Ids, order: Perm) -> Perm:
    """The permutation of an operand whose node has the order `order`."""
    clusters: list[tuple[int, list[int]]] = []
    waiting: list[int] = []
    for place, axis in enumerate(ids):
        waiting.append(place)
        if axis is not None:
            clusters.append((order.index(axis), waiting))
            waiting = []
    if not clusters:
        return tuple(range(len(ids)))
    clusters[-1][1].extend(waiting)
    return tuple(place for _, cluster in sorted(clusters) for place in cluster)


def inverse(perm: Perm) -> Perm:
    return tuple(int(i) for i in np.argsort(perm))


def is_identity(perm: Perm) -> bool:
    return perm == tuple(range(len(perm)))


def sizes(value: ir.Value) -> tuple[int, ...]:
    """Sizes with -1 where they are dynamic."""
    return tuple(value.shape_signature or value.shape)


def set_target(node: ir.Node, target: Sequence[int]) -> None:
    """The shape that a RESHAPE gives."""
    shape = ir.Value.constant(f"{node.outputs[0].name}/shape", np.array(target, np.int32))
    if len(node.inputs) > 1:
        node.set_input(1, shape)
    else:
        node.add_input(shape)
    node.options = {}


def matching_axes(before: Sequence[int], after: Sequence[int]) -> tuple[int, Ids, Ids] | None:
    """(count, ids of `before`, ids of `after`): runs of axes that a reshape makes of each other.

    Sizes are -1 where dynamic, at most one on each side. None where the sizes do not tell.
    """
    if before.count(-1) > 1 or before.count(-1) != after.count(-1) or 0 in (*before, *after):
        return None
    prime = 1_000_003  # stands for the dynamic size: no product of fixed sizes holds it by chance
    fixed = [math.prod(d for d in side if d != -1) for side in (before, after)]
    left = [prime * fixed[1] if d == -1 else d for d in before]
    right = [prime * fixed[0] if d == -1 else d for d in after]
    if math.prod(left) != math.prod(right):
        return None
    ids_left: Ids = [None] * len(left)
    ids_right: Ids = [None] * len(right)
    i = j = count = 0
    while True:
        while i < len(left) and left[i] == 1 and not (j < len(right) and right[j] == 1):
            i += 1
        while j < len(right) and right[j] == 1 and not (i < len(left) and left[i] == 1):
            j += 1
        if i == len(left) or j == len(right):
            return (count, ids_left, ids_right) if i == len(left) and j == len(right) else None
        a, b = left[i], right[j]
        ids_left[i] = ids_right[j] = count
        while a != b:
            if a < b:
                i += 1
                if i == len(left):
                    return None
                a, ids_left[i] = a * left[i], count
            else:
                j += 1
                if j == len(right):
                    return None
                b, ids_right[j] = b * right[j], count
        i, j, count = i + 1, j + 1, count + 1
