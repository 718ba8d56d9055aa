# SPDX-License-Identifier: Apache-2.0
"""Inputs, outputs and attributes of TensorFlow's ops, from ``signatures.txt``.

The file is made from TensorFlow's registry by tests/host_engine/make_op_signatures.py.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from host_engine.framework.dtypes import DType, as_dtype, float32
from host_engine.framework.shape import TensorShape

_MOST_OUTPUTS = 4096  # of an op whose number of outputs is an attribute


class Arg(NamedTuple):
    """A formal input or output: `many` names the attribute that says how many there are, `types`
    one that lists their types; `kind` is a type's name or an attribute's.
    """

    name: str
    kind: str
    many: str
    types: str


class Signature(NamedTuple):
    name: str
    inputs: tuple[Arg, ...]
    outputs: tuple[Arg, ...]
    attrs: dict[str, str]  # name: type
    defaults: dict[str, Any]


@functools.cache
def signatures() -> dict[str, str]:
    """The line of every op by its name."""
    text = Path(__file__).with_name("signatures.txt").read_text()
    return {line.partition(" ")[0]: line for line in text.splitlines()}


@functools.cache
def signature(op_type: str) -> Signature | None:
    """The signature of `op_type`; None for an op that is not in the list."""
    line = signatures().get(op_type)
    if line is None:
        return None
    formal, _, attributes = line.partition(" | ")
    inputs, _, outputs = formal[len(op_type) :].partition("->")
    attrs, defaults = {}, {}
    for word in attributes.split():
        name, _, rest = word.partition(":")
        attrs[name], given, default = rest.partition("=")
        if given:
            defaults[name] = _default(attrs[name], default)
    return Signature(op_type, _args(inputs), _args(outputs), attrs, defaults)


def _args(text: str) -> tuple[Arg, ...]:
    found = []
    for word in text.split():
        name, _, kind = word.partition(":")
        count, many, single = kind.removesuffix("&").rpartition("*")
        types = single[1:-1] if single.startswith("[") else ""
        found.append(Arg(name, single, count if many else "", types))
    return tuple(found)


def _default(kind: str, text: str) -> Any:
    if kind.startswith("list"):
        return [int(i) for i in text[1:-1].split(",") if i]
    if kind == "type":
        return as_dtype(text)
    if kind == "shape":
        return TensorShape(None)
    if kind == "bool":
        return text == "True"
    return int(text) if kind == "int" else float(text) if kind == "float" else text


def output_types(op_type: str, attrs: Mapping[str, Any]) -> list[DType] | None:
    """Types of an op's outputs from its attributes; None where the op is not in the list."""
    known = signature(op_type)
    if known is None:
        return None
    attrs = {**known.defaults, **attrs}
    found: list[DType] = []
    for arg in known.outputs:
        if arg.types:
            found += [as_dtype(t) for t in attrs.get(arg.types, [])]
            continue
        kind = attrs.get(arg.kind, float32) if arg.kind in known.attrs else as_dtype(arg.kind)
        count = int(attrs.get(arg.many, 1)) if arg.many else 1
        if not 0 <= count <= _MOST_OUTPUTS:
            raise ValueError(f"has {arg.many} = {count}: damaged")
        found += [as_dtype(kind)] * count
    return found


def output_index(op_type: str, attrs: Mapping[str, Any], name: str, index: int) -> int:
    """Flat number of output `index` of the output argument `name`, as functions write it."""
    known = signature(op_type)
    if known is None:
        return index
    attrs = {**known.defaults, **attrs}
    first = 0
    for arg in known.outputs:
        if arg.name == name:
            return first + index
        if arg.types:
            first += len(attrs.get(arg.types, []))
        else:
            first += int(attrs.get(arg.many, 1)) if arg.many else 1
    raise ValueError(f"{op_type} has no output called {name!r}")


def output_name(op_type: str, attrs: Mapping[str, Any], index: int) -> tuple[str, int]:
    """(output argument, number in it) of flat output `index`: the inverse of output_index."""
    known = signature(op_type)
    if known is None:
        raise ValueError(f"{op_type} is an op that TensorFlow does not have")
    attrs = {**known.defaults, **attrs}
    for arg in known.outputs:
        count = len(attrs.get(arg.types, [])) if arg.types else int(attrs.get(arg.many, 1) or 1)
        if not arg.types and not arg.many:
            count = 1
        if index < count:
            return arg.name, index
        index -= count
    raise ValueError(f"{op_type} has no output {index}")
