# SPDX-License-Identifier: Apache-2.0
"""Arrays and lists of tensors (TensorArray, TensorList), which TFLite lacks.

One whose elements are all there is the tensor of its elements, stacked. One that was only reserved
is a :class:`Listed`: nothing says what its elements look like until one is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from converter import ir
from converter.importers.builder import Builder, Dims
from converter.importers.forms import basic
from converter.importers.forms.basic import int32s
from converter.importers.no_form import NoForm


class Listed:
    """A list of `length` (INT32, rank 0) elements of type `dtype`; `parts` are those written at
    places that were known. A `carried` one goes through a loop; the trial step of the loop finds
    the shape of its elements (at both samples), `element`, by what it writes. One that `grows` may
    be written behind its end.
    """

    def __init__(
        self,
        length: ir.Value,
        dtype: str,
        parts: Mapping[int, ir.Value] | None = None,
        carried: bool = False,
        element: Dims | None = None,
        grows: bool = False,
    ) -> None:
        self.length, self.dtype, self.carried, self.element = length, dtype, carried, element
        self.parts = dict(parts or {})
        self.grows = grows

    def into(self, b: Builder) -> Listed:
        """The same list, seen in a body."""
        parts = {place: b.captured(v) for place, v in self.parts.items()}
        length = b.captured(self.length)
        return Listed(length, self.dtype, parts, self.carried, self.element, self.grows)

    def with_part(self, b: Builder, place: int, item: ir.Value) -> Listed:
        """The list with `item` at `place`, longer where that is behind its end and it grows."""
        length, known = self.length, b.known(self.length)
        if self.grows and known is not None and place >= int(known):
            length = b.constant(place + 1, "length", np.int32)
        return Listed(length, self.dtype, {**self.parts, place: item}, grows=self.grows)

    def without_last(self, b: Builder) -> tuple[Listed, ir.Value]:
        """(the list one shorter, its last element)"""
        known = b.known(self.length)
        last = -1 if known is None else int(known) - 1
        if last not in self.parts or self.carried:
            raise NoForm(GROWS)
        parts = {place: v for place, v in self.parts.items() if place != last}
        length = b.constant(last, "length", np.int32)
        return Listed(length, self.dtype, parts, grows=self.grows), self.parts[last]


GROWS = (
    "grows or shrinks a list in a loop whose number of steps is not known, or large: reserve its"
    " size before the loop"
)


def reserve(b: Builder, length: ir.Value, dtype: str, grows: bool = False) -> Listed:
    if dtype not in ("FLOAT32", "INT32", "INT64", "BOOL", "INT8", "UINT8", "INT16", "FLOAT16"):
        raise NoForm(f"holds elements of {dtype}: cast them to a 32-bit type")
    return Listed(_scalar(b, length), dtype, grows=grows)


def write(
    b: Builder, items: Listed | ir.Value, place: ir.Value, item: ir.Value
) -> Listed | ir.Value:
    """The list with `item` at `place`."""
    if isinstance(items, Listed):
        known = b.known(place)
        if known is not None and not items.carried:
            return items.with_part(b, int(known), item)
        if items.grows:
            raise NoForm(GROWS)
        if items.carried:
            return Listed(items.length, items.dtype, items.parts, True, b.pair(item))
        items = zeros(b, items, b.pair(item), [item])
    rank = basic.rank(b, items)
    at = basic.reshape(b, basic.ints(b, place), [1])
    if rank > 1:
        at = basic.concat(b, [at, int32s(b, [0] * (rank - 1), "rest")], 0)
    return b.emit("DYNAMIC_UPDATE_SLICE", [items, basic.unsqueeze(b, item, [0]), at])


def zeros(b: Builder, items: Listed, element: Dims, around: Sequence[ir.Value]) -> ir.Value:
    """[length, *element] of zeros, with the parts that were written. Dynamic sizes of an element
    are those of a value `around` that has the same.
    """
    sizes = [basic.reshape(b, items.length, [1])]
    sizes += [_size(b, pair, around) for pair in zip(*element, strict=True)]
    zero = b.constant(0, "zero", ir.numpy_dtype(items.dtype))
    known = b.known(items.length)
    dims = [None if known is None else int(known)]
    dims += [p if p == q else None for p, q in zip(*element, strict=True)]
    shape = basic.concat(b, sizes, 0)
    whole: ir.Value = b.emit("FILL", [shape, zero], dtype=items.dtype, dims=dims)
    for place, item in items.parts.items():
        found = write(b, whole, b.constant(place, "place", np.int32), item)
        assert isinstance(found, ir.Value)
        whole = found
    return whole


def _size(b: Builder, pair: tuple[int, int], around: Sequence[ir.Value]) -> ir.Value:
    """A size as a vector of one number."""
    if pair[0] == pair[1]:
        return int32s(b, [pair[0]], "size")
    for value in around:
        for axis, other in enumerate(zip(*b.pair(value), strict=True)):
            if other == pair:
                return basic.slice_axis(b, basic.shape_of(b, value), 0, axis, axis + 1)
    raise NoForm(
        "gathers elements of dynamic sizes in a loop: give the model's inputs fixed sizes"
        " (--input NAME=SIZES)"
    )


def read(b: Builder, items: Listed | ir.Value, place: ir.Value) -> ir.Value:
    """The element at `place`."""
    known = b.known(place)
    if isinstance(items, Listed):
        if known is None or int(known) not in items.parts:
            raise NoForm("reads an element of a list before it was written")
        return items.parts[int(known)]
    if known is not None:
        part = basic.slice_axis(b, items, 0, int(known), int(known) + 1)
        return basic.squeeze(b, part, [0])
    return b.emit("GATHER", [items, basic.reshape(b, basic.ints(b, place), [])], axis=0)


def stacked(b: Builder, items: Listed | ir.Value) -> ir.Value:
    """All elements in one tensor, along a new first axis."""
    if isinstance(items, ir.Value):
        return items
    known = b.known(items.length)
    if known is None or not items.parts:
        raise NoForm("stacks a list that nothing was written to")
    missing = [i for i in range(int(known)) if i not in items.parts]
    if missing:
        raise NoForm(f"stacks a list whose element {missing[0]} was never written")
    parts = [basic.unsqueeze(b, items.parts[i], [0]) for i in range(int(known))]
    return basic.concat(b, parts, 0)


def gathered(b: Builder, items: Listed | ir.Value, places: ir.Value) -> ir.Value:
    """The elements at `places`, stacked."""
    whole = stacked(b, items)
    if covers(b, places, whole):
        return whole
    return b.emit("GATHER", [whole, basic.ints(b, places)], axis=0)


def covers(b: Builder, places: ir.Value, whole: ir.Value) -> bool:
    """Whether `places` are 0, 1, 2... as far as the first axis of `whole` goes."""
    samples = b.samples(places)
    if samples is None:
        return False
    sizes = (dims[0] for dims in b.pair(whole))
    return all(
        np.array_equal(numbers.reshape(-1), np.arange(size))
        for numbers, size in zip(samples, sizes, strict=True)
    )


def count(b: Builder, items: Listed | ir.Value) -> ir.Value:
    """How many elements there are, INT32, rank 0."""
    if isinstance(items, Listed):
        return items.length
    return _scalar(b, basic.slice_axis(b, basic.shape_of(b, items), 0, 0, 1))


def _scalar(b: Builder, x: ir.Value) -> ir.Value:
    return basic.reshape(b, basic.ints(b, x), [])
