# SPDX-License-Identifier: Apache-2.0
"""Rows for sequences and optionals of which the import knows how many tensors they hold. They take
no part in the result, which has the tensors alone.
"""

from __future__ import annotations

import numpy as np

from converter import ir
from converter.importers.forms import basic, gathering, movement
from converter.importers.no_form import NoForm
from converter.importers.onnx.context import Context, Listed, Rows
from converter.importers.onnx.rows.control import body_values

_MOST_PARTS = 1024


def _construct(c: Context) -> ir.Value:
    return Listed(c.inputs())


def _empty(c: Context) -> ir.Value:
    return Listed([])


def _place(c: Context, index: int, count: int, last: int) -> int:
    """The position that input `index` says, from the front."""
    place = int(c.array(index, "position").reshape(()))
    if not -count <= place < last:
        raise NoForm(f"names the position {place} of a sequence of {count}")
    return place + count if place < 0 else place


def _at(c: Context) -> ir.Value:
    items = c.listed(0)
    if c.b.known(c.input(1)) is not None:
        return items[_place(c, 1, len(items), len(items))]
    if not items or len({(v.dtype, c.b.dims(v)) for v in items}) > 1:
        raise NoForm("takes one of tensors of several shapes at a computed position: name it")
    stacked = basic.concat(c.b, [basic.unsqueeze(c.b, v, [0]) for v in items], 0)
    return gathering.gather(c.b, stacked, c.input(1), 0)


def _insert(c: Context) -> ir.Value:
    items = c.listed(0)
    place = _place(c, 2, len(items), len(items) + 1) if c.has(2) else len(items)
    return Listed([*items[:place], c.input(1), *items[place:]])


def _erase(c: Context) -> ir.Value:
    items = c.listed(0)
    place = _place(c, 1, len(items), len(items)) if c.has(1) else len(items) - 1
    return Listed([*items[:place], *items[place + 1 :]])


def _length(c: Context) -> ir.Value:
    return c.b.constant(len(c.listed(0)), "length", np.int64)


def _split(c: Context) -> ir.Value:
    """Parts of sizes that are given, or of one size, the last one smaller; default: slices."""
    x = c.input(0)
    axis = basic.axis_of(c.b, x, c.attr("axis", 0))
    whole = c.b.dims(x)[axis]
    given = c.array(1, "sizes") if c.has(1) else np.array(1)
    if given.ndim:
        sizes = [int(n) for n in given]
    elif whole is None:
        raise NoForm("splits an axis of dynamic size: give the model's inputs fixed sizes")
    else:
        part = max(int(given), 1)
        sizes = [min(part, whole - i) for i in range(0, whole, part)]
    if len(sizes) > _MOST_PARTS:
        raise NoForm(f"makes {len(sizes)} tensors: at most {_MOST_PARTS} have a form")
    parts = movement.split(c.b, x, sizes, axis)
    if not c.has(1) and not c.attr("keepdims", 1):
        parts = [basic.squeeze(c.b, part, [axis]) for part in parts]
    return Listed(parts)


def _concat(c: Context) -> ir.Value:
    items, axis = c.listed(0), c.attr("axis")
    if not items:
        raise NoForm("joins an empty sequence")
    if c.attr("new_axis", 0):
        items = [basic.unsqueeze(c.b, v, [axis]) for v in items]
    return basic.concat(c.b, items, axis)


def _map(c: Context) -> list[ir.Value]:
    """A body for every element, with those of further sequences, and tensors as they are."""
    graph, count = c.attr("body"), len(c.listed(0))
    given = [c.any(i) for i in range(c.n_inputs)]
    if any(isinstance(v, Listed) and len(v.items) != count for v in given):
        raise NoForm("goes over sequences of different lengths")
    rows = []
    for i in range(count):
        inputs = [v.items[i] if isinstance(v, Listed) else v for v in given]
        rows.append(body_values(c, c.b, graph, inputs, f"element {i}"))
    return [Listed([row[k] for row in rows]) for k in range(c.n_outputs)]


def _optional(c: Context) -> ir.Value:
    if not c.has(0):
        raise NoForm("holds nothing, which TFLite lacks: leave it out")
    return c.any(0)


def _has_element(c: Context) -> ir.Value:
    return c.b.constant(c.has(0), "has", np.bool_)


ROWS: Rows = {
    "ConcatFromSequence": _concat,
    "Optional": _optional,
    "OptionalGetElement": _optional,
    "OptionalHasElement": _has_element,
    "SequenceAt": _at,
    "SequenceConstruct": _construct,
    "SequenceEmpty": _empty,
    "SequenceErase": _erase,
    "SequenceInsert": _insert,
    "SequenceLength": _length,
    "SequenceMap": _map,
    "SplitToSequence": _split,
}
