# SPDX-License-Identifier: Apache-2.0
"""Symbolic differentiation: gradients are operations added to the graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from host_engine.framework.build import build, convert_to_tensor, name_scope
from host_engine.framework.registry import NOT_DIFFERENTIABLE
from host_engine.framework.tensor import Operation, Tensor
from host_engine.ops import source


def gradients(
    ys: Any,
    xs: Any,
    grad_ys: Any = None,
    name: str = "gradients",
    colocate_gradients_with_ops: bool = False,
    gate_gradients: Any = None,
    aggregation_method: Any = None,
    stop_gradients: Any = None,
) -> list[Any]:
    """d(sum of `ys`) / dx for each x in `xs` (one or a list); None where ys do not depend on x.

    `grad_ys` weighs each y (default: ones). `stop_gradients` are taken as constants.

    Raises LookupError at an operation without a gradient, ValueError for a grad_ys of another
    length, TypeError for a y that is not floating.
    """
    ys, xs = _listed(ys), _listed(xs)
    sources = [_source(x) for x in xs]
    targets = [convert_to_tensor(y) for y in ys]
    stops = {_source(t) for t in _listed(stop_gradients if stop_gradients is not None else [])}
    seeds = [None] * len(targets) if grad_ys is None else _listed(grad_ys)
    if len(seeds) != len(targets):
        raise ValueError(f"Passed {len(seeds)} grad_ys for {len(targets)} ys")
    with name_scope(name, "gradients", [*targets, *sources]):
        pending: dict[Tensor, list[Tensor]] = {}
        for i, (y, seed) in enumerate(zip(targets, seeds, strict=True)):
            pending.setdefault(y, []).append(_seed(y, seed, i))
        between = _between(targets, sources, stops)
        _propagate(pending, between, stops)
        return [_summed(pending, x) for x in sources]


def _listed(values: Any) -> list[Any]:
    return list(values) if isinstance(values, (list, tuple)) else [values]


def _source(x: Any) -> Tensor:
    """What is differentiated for `x`: a tensor, or a variable's storage."""
    return x._as_reference() if hasattr(x, "_as_reference") else convert_to_tensor(x)


def _seed(y: Tensor, seed: Any, index: int) -> Tensor:
    if not (y.dtype.is_floating or y.dtype.is_complex):
        raise TypeError(f"Gradients of tensors must be floating, {y.name} is {y.dtype.name}")
    if seed is None:
        return source.ones_like(y, name=f"grad_ys_{index}")
    seed = convert_to_tensor(seed, y.dtype, name=f"grad_ys_{index}")
    if not seed.shape.is_compatible_with(y.shape):
        raise ValueError(f"grad_ys[{index}] has shape {seed.shape}, but ys has {y.shape}")
    return seed


def _between(ys: Sequence[Tensor], xs: Sequence[Tensor], stops: set[Tensor]) -> list[Operation]:
    """Operations on a path from `xs` to `ys`, latest first."""
    needed = set()
    stack = [y.op for y in ys]
    while stack:
        op = stack.pop()
        if op not in needed:
            needed.add(op)
            stack += [t.op for t in op.inputs if t not in stops]
    reached = {x.op for x in xs}
    order = sorted(needed, key=lambda op: op._id)
    for op in order:
        if any(t.op in reached for t in op.inputs if t not in stops):
            reached.add(op)
    return [op for op in reversed(order) if op in reached]


def _propagate(
    pending: dict[Tensor, list[Tensor]],
    between: list[Operation],
    stops: set[Tensor],
) -> None:
    inside = set(between)
    for op in between:
        if not any(t.op in inside and t not in stops for t in op.inputs):
            continue
        incoming = [_summed(pending, out) for out in op.outputs]
        if all(g is None for g in incoming):
            continue
        rule = op.definition.grad
        if rule is NOT_DIFFERENTIABLE:
            continue
        if rule is None or not callable(rule):
            raise LookupError(f"No gradient defined for operation '{op.name}' (op type: {op.type})")
        with op.graph.name_scope(f"{op.name}_grad"):
            outgoing = list(rule(op, *incoming))
        for tensor, grad in zip(op.inputs, outgoing, strict=True):
            if grad is not None and tensor.op in inside and tensor not in stops:
                pending.setdefault(tensor, []).append(_shaped(grad, tensor))


def _shaped(grad: Tensor, like: Tensor) -> Tensor:
    grad.set_shape(like.shape)
    return grad


def _summed(pending: dict[Tensor, list[Tensor]], tensor: Tensor) -> Tensor | None:
    """The sum of all gradients that arrived at `tensor`."""
    parts = pending.get(tensor)
    if not parts:
        return None
    if len(parts) > 1:
        pending[tensor] = parts = [build("AddN", [parts])]
    return parts[0]
