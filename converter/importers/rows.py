# SPDX-License-Identifier: Apache-2.0
"""Rows that the importers of ONNX and TensorFlow have in common.

A row is `(context) -> value`; a context has the builder `b`, `input(i)` and `inputs()`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from converter.importers.forms.elementwise import apply, arithmetic, compare
from converter.importers.no_form import NoForm

Row = Callable[[Any], Any]
Rows = dict[str, Row]


def refuse(reason: str) -> Row:
    """An op that has no form, with the reason and the way out."""

    def row(c: Any) -> Any:
        raise NoForm(reason)

    return row


def merged(tables: Iterable[Rows]) -> Rows:
    """All rows in one table; each op in one place only."""
    rows: Rows = {}
    for table in tables:
        twice = rows.keys() & table.keys()
        assert not twice, f"two rows for {sorted(twice)}"
        rows |= table
    return rows


def plain(op: str) -> Row:
    """TFLite's op of all inputs."""
    return lambda c: c.b.emit(op, c.inputs())


def unary(op: str) -> Row:
    """A function of each element, in a type that TFLite computes it in."""
    return lambda c: apply(c.b, op, c.input(0))


def binary(op: str) -> Row:
    """Arithmetic of two tensors, in a type that TFLite computes it in."""
    return lambda c: arithmetic(c.b, op, c.input(0), c.input(1))


def comparison(op: str) -> Row:
    return lambda c: compare(c.b, op, c.input(0), c.input(1))
