# SPDX-License-Identifier: Apache-2.0
"""Inputs to compare a source and its conversion on, where the user gives none."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from converter import ir
from converter.errors import ConversionError
from converter.sources import Arrays, Source

_LARGEST = 1 << 31  # bytes of an input: the runtime takes fewer

_EXAMPLE_BATCH, _EXAMPLE_SIZE = 2, 64  # of dynamic dimensions
_OTHER_SIZES = (640, 16000, 8)
_MOST_ELEMENTS = 1 << 22  # of an input of other sizes


def candidate_feeds(model: ir.Model, source: Source) -> Iterator[Arrays]:
    """:func:`example_feeds`, and then what a model may take that refuses those: other integers,
    other sizes where they are dynamic.
    """
    yield example_feeds(model, source)
    kinds = {ir.numpy_dtype(value.dtype).kind for value in model.main.inputs}
    if kinds & set("iu"):
        yield example_feeds(model, source, least=1)
        yield example_feeds(model, source, only=0)
    if any(value.shape_signature for value in model.main.inputs):
        for size in _OTHER_SIZES:
            feeds = example_feeds(model, source, size=size, most=_MOST_ELEMENTS)
            if all(x.size for x in feeds.values()):
                yield feeds


def example_feeds(
    model: ir.Model,
    source: Source,
    seed: int = 0,
    *,
    size: int = _EXAMPLE_SIZE,
    least: int = 0,
    only: int | None = None,
    most: int = 0,
) -> Arrays:
    """Random values for every input: normal floats; quantized integers over their whole range,
    others over what they index, where the model shows it, else 0 and 1, and from `least` on, or
    `only` this number. A dynamic dimension is of 2 along the first axis, else of `size`; an input
    of more than `most` elements is left empty (0: none is).
    """
    rng = np.random.default_rng(seed)
    feeds: Arrays = {}
    symbols, settled = source.symbols(), dict[str, int]()
    for name, value in zip(model.end_names()[0], model.main.inputs, strict=True):
        given = source.shapes().get(name, value.shape_signature or value.shape)
        names = symbols.get(name, [""] * len(given))
        dims = []
        for axis, d in enumerate(given):
            usual = size if axis else _EXAMPLE_BATCH
            if d is not None and d >= 0:
                dims.append(int(d))
            else:
                symbol = names[axis] if axis < len(names) else ""
                dims.append(settled.setdefault(symbol, usual) if symbol else usual)
        if most and math.prod(dims) > most:
            dims = [0]
        feeds[name] = _random(rng, value, dims, least, only)
    return feeds


def _random(
    rng: np.random.Generator, value: ir.Value, dims: Sequence[int], least: int, only: int | None
) -> np.ndarray:
    kind = ir.numpy_dtype(value.dtype)
    if math.prod(dims) * kind.itemsize >= _LARGEST:
        raise ConversionError(
            f"input '{value.name}' of shape {list(dims)} takes more than {_LARGEST} bytes: give the"
            " model smaller sizes"
        )
    if kind.kind == "f":
        return rng.standard_normal(dims).astype(kind)
    if kind.kind in "iub":
        if value.is_quantized:
            limits = np.iinfo(kind)
            return rng.integers(limits.min, limits.max, dims, kind, endpoint=True)
        if kind.kind == "b":
            return rng.integers(0, 2, dims).astype(kind)
        if only is not None:
            return np.full(dims, only, kind)
        high = min(_count_of(value), np.iinfo(kind).max)
        return rng.integers(least, high, dims).astype(kind)
    if kind.kind == "c":
        return (rng.standard_normal(dims) + 1j * rng.standard_normal(dims)).astype(kind)
    return np.full(dims, b"text", object)


_MOVING = {"RESHAPE", "CAST", "TRANSPOSE", "SQUEEZE", "EXPAND_DIMS", "TILE", "BROADCAST_TO"}


def _count_of(value: ir.Value) -> int:
    """How many values integers have: rows of the table they are looked up in, the depth of their
    one-hot form, the numbers they are compared with; 2 where none of this is found.
    """
    for node in value.users:
        first, second = (*node.inputs, None, None)[:2]
        if node.op in _MOVING and first is value:
            found = _count_of(node.outputs[0])
        elif node.op == "FLOOR_MOD" and first is value and _is_number(second):
            found = int(second.data)  # type: ignore[union-attr, arg-type]
        elif node.op == "GATHER" and second is value and first is not None:
            found = first.shape[node.options.get("axis", 0)]
        elif node.op == "EMBEDDING_LOOKUP" and second is not None:
            found = second.shape[0]
        elif node.op == "ONE_HOT" and first is value and _is_number(second):
            found = int(second.data)  # type: ignore[union-attr, arg-type]
        elif node.op == "EQUAL" and (numbers := _constant(first, second)) is not None:
            found = int(numbers.max(initial=0)) + 1
        else:
            continue
        if found > 2:
            return found
    return 2


def _is_number(value: ir.Value | None) -> bool:
    return value is not None and value.data is not None and value.data.size == 1


def _constant(*values: ir.Value | None) -> np.ndarray | None:
    return next((v.data for v in values if v is not None and v.data is not None), None)
