# SPDX-License-Identifier: Apache-2.0
"""What an axis has come to so far, in log2(size) steps (Hillis and Steele, 1986).

Each step takes in what stood twice as far away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic
from converter.importers.forms.basic import int32s
from converter.importers.forms.convolution import pad_with
from converter.importers.forms.elementwise import arithmetic, bounded, carried, compare, select
from converter.importers.no_form import NoForm

# (what is behind, what is here) -> both together; each a list of values of one shape
Combine = Callable[[list[ir.Value], list[ir.Value]], list[ir.Value]]


def scan(
    b: Builder,
    values: Sequence[ir.Value],
    axis: int,
    combine: Combine,
    identities: Sequence[float],
    exclusive: bool = False,
    reverse: bool = False,
) -> list[ir.Value]:
    """For each place along `axis` what an associative `combine` makes of all up to there (from
    there on if `reverse`; without the place itself if `exclusive`).
    """
    x = values[0]
    axis = basic.axis_of(b, x, axis)
    size = b.dims(x)[axis]
    if size is None:
        raise NoForm("goes along an axis of dynamic size: give the inputs fixed sizes")

    def shifted(value: ir.Value, identity: float, by: int) -> ir.Value:
        pads = [(0, 0)] * basic.rank(b, value)
        pads[axis] = (-by, by) if reverse else (by, -by)
        return carried(b, lambda v: pad_with(b, v, pads, identity), [value])

    def behind(found: Sequence[ir.Value], by: int) -> list[ir.Value]:
        return [shifted(v, i, by) for v, i in zip(found, identities, strict=True)]

    found = behind(values, 1) if exclusive else list(values)
    by = 1
    while by < size:
        found = combine(behind(found, by), found)
        by *= 2
    return found


def cumulative_product(
    b: Builder, x: ir.Value, axis: int, exclusive: bool = False, reverse: bool = False
) -> ir.Value:
    """Zeros and signs are right, which sums of logarithms would not have."""
    if not basic.rank(b, x):
        return x
    return scan(
        b, [x], axis, lambda p, q: [arithmetic(b, "MUL", p[0], q[0])], [1.0], exclusive, reverse
    )[0]


def cumulative_extreme(b: Builder, op: str, x: ir.Value, axis: int) -> tuple[ir.Value, ir.Value]:
    """The largest ("GREATER_EQUAL") or smallest ("LESS_EQUAL") so far and its place (INT64), the
    last of equal ones.
    """
    if not basic.rank(b, x):
        return x, b.constant(0, "place", np.int64)
    axis = basic.axis_of(b, x, axis)
    dims = b.fixed_dims(x, "its input")
    shape = [size if i == axis else 1 for i, size in enumerate(dims)]
    steps = b.constant(np.arange(dims[axis]).reshape(shape), "places", np.int32)
    places = basic.broadcast_to(b, steps, int32s(b, dims, "shape"))

    def better(p: list[ir.Value], q: list[ir.Value]) -> list[ir.Value]:
        here = compare(b, op, q[0], p[0])
        pairs = zip(q, p, strict=True)
        return [carried(b, lambda v, w: select(b, here, v, w), [new, old]) for new, old in pairs]

    worst = bounded(np.inf if op == "LESS_EQUAL" else -np.inf, x.dtype)
    value, place = scan(b, [x, places], axis, better, [worst, 0])
    return value, basic.cast(b, place, "INT64")
