# SPDX-License-Identifier: Apache-2.0
"""tf.cond: the operation If, as in TensorFlow 2, whose gradient is an If too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from host_engine.framework.bodies import Body
from host_engine.framework.build import build_op, convert_to_tensor, name_scope
from host_engine.framework.graph import Graph, get_default_graph
from host_engine.framework.registry import OPS
from host_engine.framework.shape import TensorShape
from host_engine.framework.tensor import Operation, Tensor
from host_engine.ops import flow  # noqa: F401 (whose records get gradients here)
from host_engine.ops.functional import (
    flat,
    gradient_of,
    gradients_of_results,
    kind_of,
    listed,
    named_output,
    result_in,
    shaped_like,
)


def cond(
    pred: Any,
    true_fn: Callable[[], Any] | None = None,
    false_fn: Callable[[], Any] | None = None,
    strict: bool = False,
    name: str | None = None,
    fn1: Any = None,
    fn2: Any = None,
) -> Any:
    """What `true_fn` returns where `pred` holds, else what `false_fn` does; only that one runs.

    Both return tensors (or nested lists, tuples, dictionaries of those) of the same structure and
    types. A list of one is unpacked unless `strict`. What was built outside of the functions runs
    whatever `pred` is. Raises TypeError and ValueError as TensorFlow does.
    """
    true_fn, false_fn = fn1 or true_fn, fn2 or false_fn
    for fn, what in ((true_fn, "true_fn"), (false_fn, "false_fn")):
        if not callable(fn):
            raise TypeError(f"{what} must be callable.")
    if isinstance(pred, bool):
        raise TypeError("pred must not be a Python bool")
    assert true_fn is not None and false_fn is not None
    with name_scope(name, "cond", [pred]) as scope:
        condition = convert_to_tensor(pred)
        graph = get_default_graph()
        branches = [_branch(graph, fn) for fn in (true_fn, false_fn)]
        (then, then_found), (other, other_found) = branches
        _check_branches(then_found, other_found)
        results = [[_in(body, leaf) for leaf in flat(found)] for body, found in branches]
        for left, right in zip(*results, strict=True):
            if left.dtype.base_dtype != right.dtype.base_dtype:
                raise ValueError(
                    "Outputs of true_fn and false_fn must have the same type: "
                    f"{left.dtype.name}, {right.dtype.name}"
                )
        op = _if(condition, (then, other), results, scope)
        leaves = [named_output(t) for t in op.outputs]
        found = shaped_like(then_found, leaves)
    if not strict and isinstance(found, (list, tuple)) and len(found) == 1:
        return found[0]
    return found


def _in(body: Body, leaf: Any) -> Tensor:
    with body.as_default():
        return result_in(body, leaf)


def _branch(graph: Graph, fn: Callable[[], Any]) -> tuple[Body, Any]:
    body = Body(graph)
    with body.as_default():
        return body, fn()


def _check_branches(left: Any, right: Any) -> None:
    for found, what in ((left, "true_fn"), (right, "false_fn")):
        if any(leaf is None for leaf in flat(found)):
            raise ValueError(f"{what} must have a return value.")
    if kind_of(left) != kind_of(right):
        raise TypeError(
            "true_fn and false_fn arguments to tf.cond must have the same number, type, and "
            "overall structure of return values."
        )


def _if(
    condition: Tensor, bodies: Sequence[Body], results: Sequence[Sequence[Tensor]], scope: str
) -> Operation:
    """The operation If, of what both bodies have captured."""
    outer = list(dict.fromkeys(t for body in bodies for t, _ in body.arguments()))
    graph = bodies[0].outer
    names = [
        listed(graph, what, body, [body.captured(t) for t in outer], found)
        for what, body, found in zip(("then", "else"), bodies, results, strict=True)
    ]
    return _branching(condition, outer, names, results, scope)


def _branching(
    condition: Tensor,
    given: Sequence[Tensor],
    names: Sequence[Any],
    results: Sequence[Sequence[Tensor]],
    scope: str | None,
) -> Operation:
    attrs = {
        "then_branch": names[0],
        "else_branch": names[1],
        "Tcond": condition.dtype.base_dtype,
        "Tin": [t.dtype.base_dtype for t in given],
        "Tout": [t.dtype.base_dtype for t in results[0]],
    }
    op = build_op("If", [condition, list(given)], attrs, scope)
    for tensor, left, right in zip(op.outputs, *results, strict=True):
        tensor.set_shape(_common(left.shape, right.shape))
    return op


def _common(left: TensorShape, right: TensorShape) -> TensorShape:
    """What is true of both shapes."""
    if left.sizes is None or right.sizes is None or left.ndims != right.ndims:
        return TensorShape(None)
    pairs = zip(left.as_list(), right.as_list(), strict=True)
    return TensorShape([p if p == q else None for p, q in pairs])


def _if_gradient(op: Operation, *dys: Any) -> list[Any]:
    found = [
        gradient_of(op.graph, op.get_attr(f"{side}_branch").name, f"{side}_gradient")
        for side in ("then", "else")
    ]
    given = [*op.inputs[1:], *gradients_of_results(op, dys, len(op.outputs))]
    if not found[0][1]:
        return [None] * len(op.inputs)
    names, results = [f[0] for f in found], [f[1] for f in found]
    made = _branching(op.inputs[0], given, names, results, None)
    outgoing: list[Any] = [None] * len(op.inputs)
    for place, tensor in zip(found[0][3], made.outputs, strict=True):
        outgoing[place + 1] = tensor
    return outgoing


for _name in ("If", "StatelessIf"):
    OPS[_name] = replace(OPS[_name], grad=_if_gradient)
