# SPDX-License-Identifier: Apache-2.0
"""The registry of op records: everything the engine knows about an op type is one OpDef."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from host_engine.framework.dtypes import DType


class _NotDifferentiable:
    def __repr__(self) -> str:
        return "NOT_DIFFERENTIABLE"


NOT_DIFFERENTIABLE: Final = _NotDifferentiable()
"""As a record's `grad`: the gradient stops here (comparisons, argmax, casts to integers...)."""


@dataclass(frozen=True)
class Sample:
    """Example inputs of an op, used by the generic checks of every record.

    Each input is a shape (a float64 standard normal is drawn, mapped into `domain` if given),
    an array taken as it is, or a list of those. `wrt` limits which inputs are differentiated
    (default: every floating one), `outputs` which outputs take part (default: all floating).
    """

    inputs: tuple[Any, ...]
    attrs: dict[str, Any] = field(default_factory=dict)
    domain: tuple[float, float] | None = None
    wrt: tuple[int, ...] | None = None
    outputs: tuple[int, ...] | None = None


def sample(
    *inputs: Any, domain: Any = None, wrt: Any = None, outputs: Any = None, **attrs: Any
) -> Sample:
    return Sample(inputs, attrs, domain, wrt, outputs)


@dataclass(frozen=True)
class Input:
    """One formal input: its name, its kind and whether it is a list of tensors."""

    name: str
    kind: str
    is_list: bool


@dataclass(frozen=True)
class OpDef:
    """What the engine knows about an op type.

    inputs   names with kinds, as in "x:T y:T axis:index"; see `parse_inputs`.
    shape    (op) -> one static shape per output (a TensorShape, a tuple, or None for unknown).
    compute  (xp, *arrays, **attrs) -> array, or a tuple of them when there are several outputs.
    dtype    output types: None (that of the first input), a DType, an attribute's name, or
             (op) -> list of DTypes.
    grad     (op, *output gradients) -> one gradient (or None) per input, built as graph ops;
             NOT_DIFFERENTIABLE, or None if no gradient is defined.
    types    the element types the kind T admits; None for any.
    run      for ops with state or effects, instead of compute: (context, op, *arrays).
    writes   whether the op changes the variable that is its first input (see Session's order).
    refs     how many of the first inputs are variables themselves and not their values.
    """

    name: str
    inputs: tuple[Input, ...]
    shape: Callable[..., Iterable[Any]]
    compute: Callable[..., Any] | None = None
    dtype: DType | str | Callable[..., Iterable[DType]] | None = None
    grad: Callable[..., Iterable[Any]] | _NotDifferentiable | None = None
    types: tuple[DType, ...] | None = None
    run: Callable[..., Any] | None = None
    writes: bool = False
    refs: int = 0
    samples: tuple[Sample, ...] = ()

    def arguments(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Those of `attrs` that `compute` takes: imported nodes have more, such as "T"."""
        assert self.compute is not None
        names = _parameters(self.compute)
        return attrs if names is None else {k: v for k, v in attrs.items() if k in names}


@functools.cache
def _parameters(compute: Callable[..., Any]) -> frozenset[str] | None:
    """Names of what `compute` takes; None where it takes anything."""
    found = inspect.signature(compute).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in found):
        return None
    return frozenset(p.name for p in found)


OPS: dict[str, OpDef] = {}


def parse_inputs(text: str) -> tuple[Input, ...]:
    """Parses "x:T values:T* axis:index" into formal inputs.

    Kinds: T (all inputs of that kind share one type), index (int32 or int64), bool, int32, any.
    A trailing * marks a list of tensors.
    """
    parsed = []
    for word in text.split():
        name, _, kind = word.partition(":")
        parsed.append(Input(name, kind.removesuffix("*") or "any", kind.endswith("*")))
    return tuple(parsed)


def define(name: str, inputs: str, **facts: Any) -> OpDef:
    """Registers the record of op type `name`; ValueError if there is one already."""
    if name in OPS:
        raise ValueError(f"op type {name!r} is defined twice")
    OPS[name] = OpDef(name, parse_inputs(inputs), **facts)
    return OPS[name]


def lookup(name: str) -> OpDef:
    """The record of op type `name`; ValueError naming it if there is none."""
    try:
        return OPS[name]
    except KeyError:
        raise ValueError(
            f"Op type not registered: '{name}' has no record in host_engine.ops"
        ) from None
