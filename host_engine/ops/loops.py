# SPDX-License-Identifier: Apache-2.0
"""tf.while_loop: the operation While, as in TensorFlow 2.

Its gradient goes through the steps again, last one first, each from the states that it began with,
which the loop records where a gradient wants them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from host_engine.framework import dtypes
from host_engine.framework.bodies import Body, argument
from host_engine.framework.build import build, build_op, constant, convert_to_tensor, name_scope
from host_engine.framework.graph import Graph, get_default_graph
from host_engine.framework.registry import OPS, define
from host_engine.framework.shape import TensorShape, as_shape
from host_engine.framework.tensor import Operation, Tensor
from host_engine.ops import flow  # noqa: F401 (whose records get gradients here)
from host_engine.ops.functional import (
    flat,
    gradient_of,
    gradients_of_results,
    listed,
    named_output,
    result_in,
    shaped_like,
)


def while_loop(
    cond: Callable[..., Any],
    body: Callable[..., Any],
    loop_vars: Any,
    shape_invariants: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    name: str | None = None,
    maximum_iterations: Any = None,
    return_same_structure: bool = False,
) -> Any:
    """The last of `loop_vars`, of which `body` makes the next while `cond` holds.

    `loop_vars` are a list or tuple of tensors (or nested lists, tuples, dictionaries of those);
    `cond` gives a boolean, `body` the same structure. Shapes must stay as they are, or as
    `shape_invariants` say. A single variable comes back bare unless `return_same_structure`.
    Raises TypeError and ValueError as TensorFlow does.
    """
    if not callable(cond):
        raise TypeError("cond must be callable.")
    if not callable(body):
        raise TypeError("body must be callable.")
    if not flat(loop_vars):
        raise ValueError("No loop variables provided")
    with name_scope(name, "while", flat(loop_vars)) as scope:
        graph = get_default_graph()
        starts = [convert_to_tensor(leaf) for leaf in flat(loop_vars)]
        shapes = _invariants(starts, shape_invariants)
        states, test, step = starts, cond, body
        if maximum_iterations is not None:
            states, shapes, test, step = _counted(
                loop_vars, starts, shapes, maximum_iterations, cond, body
            )
            structure: Any = (0, loop_vars)
        else:
            structure = loop_vars
        tests = _function(graph, states, shapes, structure, test)
        steps = _function(graph, states, shapes, structure, step)
        verdict = _verdict(tests)
        nexts = _nexts(steps, structure, states, shapes)
        op = _loop(graph, states, shapes, (tests, [verdict]), (steps, nexts), scope)
        kept = op.outputs[: len(states)]
        leaves = [named_output(t) for t in kept[len(states) - len(starts) :]]
        found = shaped_like(loop_vars, leaves)
    if not return_same_structure and isinstance(found, (list, tuple)) and len(found) == 1:
        return found[0]
    return found


class _Function:
    """A body with its arguments, and what the user's function returned."""

    def __init__(self, body: Body, arguments: list[Tensor], found: Any) -> None:
        self.body, self.arguments, self.found = body, arguments, found


def _function(
    graph: Graph,
    states: Sequence[Tensor],
    shapes: Sequence[TensorShape],
    structure: Any,
    fn: Callable[..., Any],
) -> _Function:
    body = Body(graph)
    with body.as_default():
        arguments = [
            argument(body, "state", state.dtype.base_dtype, shape)
            for state, shape in zip(states, shapes, strict=True)
        ]
        given = shaped_like(structure, list(arguments))
        if isinstance(structure, Mapping):
            return _Function(body, arguments, fn(given))
        parts = given if isinstance(structure, (list, tuple)) else [given]
        return _Function(body, arguments, fn(*parts))


def _invariants(states: Sequence[Tensor], given: Any) -> list[TensorShape]:
    if given is None:
        return [state.shape for state in states]
    leaves = [given] if isinstance(given, TensorShape) else _flat_shapes(given)
    shapes = [as_shape(leaf) for leaf in leaves]
    if len(shapes) != len(states):
        raise ValueError("The two structures don't have the same nested structure.")
    for state, shape in zip(states, shapes, strict=True):
        if not _admits(shape, state.shape):
            raise ValueError(
                f"The shape invariant specified for {state.name} is not compatible with the initial"
                f" shape of the loop variable. It enters the loop with shape {state.shape}, but the"
                f" specified shape invariant is {shape}."
            )
    return shapes


def _flat_shapes(given: Any) -> list[Any]:
    if isinstance(given, Mapping):
        return [leaf for key in sorted(given) for leaf in _flat_shapes(given[key])]
    if isinstance(given, (list, tuple)):
        return [leaf for part in given for leaf in _flat_shapes(part)]
    return [given]


def _admits(shape: TensorShape, other: TensorShape) -> bool:
    """Whether all that `other` may be is what `shape` allows."""
    if shape.sizes is None:
        return True
    if other.sizes is None or shape.ndims != other.ndims:
        return False
    return all(p is None or p == q for p, q in zip(shape.as_list(), other.as_list(), strict=True))


def _counted(
    loop_vars: Any,
    starts: list[Tensor],
    shapes: list[TensorShape],
    most: Any,
    cond: Callable[..., Any],
    body: Callable[..., Any],
) -> Any:
    """The loop with a count of its steps as its first state."""
    limit = convert_to_tensor(most, name="maximum_iterations")
    zero = constant(0, limit.dtype)

    def called(fn: Callable[..., Any], values: Any) -> Any:
        if isinstance(loop_vars, Mapping):
            return fn(values)
        return fn(*values) if isinstance(loop_vars, (list, tuple)) else fn(values)

    def test(count: Tensor, values: Any) -> Tensor:
        return build("LogicalAnd", [build("Less", [count, limit]), called(cond, values)])

    def step(count: Tensor, values: Any) -> Any:
        return count + constant(1, limit.dtype), _packed(loop_vars, called(body, values))

    return [zero, *starts], [TensorShape([]), *shapes], test, step


def _packed(structure: Any, found: Any) -> Any:
    """What a body returned, in the structure of the loop's variables."""
    if not isinstance(structure, (list, tuple)):
        return found
    parts = found if isinstance(found, (list, tuple)) else [found]
    alike = len(structure) == len(parts) and type(structure) is not type(found)
    return shaped_like(structure, flat(parts)) if alike else found


def _verdict(tests: _Function) -> Tensor:
    with tests.body.as_default():
        verdict = convert_to_tensor(tests.found)
        if verdict.dtype != dtypes.bool_ or verdict.shape.ndims not in (None, 0):
            raise TypeError(
                "cond must return a boolean of rank 0, but it returned "
                f"{verdict.dtype.name} of shape {verdict.shape}"
            )
        return tests.body.captured(verdict)


def _nexts(
    steps: _Function, structure: Any, states: Sequence[Tensor], shapes: Sequence[TensorShape]
) -> list[Tensor]:
    """What the body gives, checked against what went in."""
    leaves = flat(_packed(structure, steps.found))
    if len(leaves) != len(states):
        raise ValueError("The two structures don't have the same nested structure.")
    nexts = []
    with steps.body.as_default():
        for leaf, state, shape in zip(leaves, states, shapes, strict=True):
            tensor = result_in(
                steps.body, leaf if hasattr(leaf, "dtype") else convert_to_tensor(leaf, state.dtype)
            )
            if tensor.dtype.base_dtype != state.dtype.base_dtype:
                raise TypeError(
                    f"The loop variable {state.name} enters the loop with type {state.dtype.name},"
                    f" but has type {tensor.dtype.name} after one iteration."
                )
            if not _admits(shape, tensor.shape):
                raise ValueError(
                    f"The shape for {state.name} is not an invariant for the loop. It enters the "
                    f"loop with shape {shape}, but has shape {tensor.shape} after one iteration. "
                    "Provide shape invariants using either the `shape_invariants` argument of "
                    "tf.while_loop or set_shape() on the loop variables."
                )
            nexts.append(tensor)
    return nexts


def _loop(
    graph: Graph,
    states: Sequence[Tensor],
    shapes: Sequence[TensorShape],
    test: tuple[_Function, list[Tensor]],
    step: tuple[_Function, list[Tensor]],
    scope: str,
) -> Operation:
    """The operation While, whose last states are what both functions have captured."""
    outer = list(dict.fromkeys(t for f in (test[0], step[0]) for t, _ in f.body.arguments()))
    names = {}
    for what, (function, found) in (("cond", test), ("body", step)):
        captured = [function.body.captured(t) for t in outer]
        results = found if what == "cond" else [*found, *captured]
        given = [*function.arguments, *captured]
        names[what] = listed(graph, what, function.body, given, results)
    given = [*states, *outer]
    attrs = {**names, "T": [t.dtype.base_dtype for t in given], "history": True}
    op = build_op("While", [given], attrs, scope)
    for tensor, shape in zip(op.outputs, [*shapes, *(t.shape for t in outer)], strict=False):
        tensor.set_shape(shape)
    return op


def _while_gradient(op: Operation, *dys: Any) -> list[Any]:
    count = len(op.inputs)
    if not op._attrs.get("history"):
        raise LookupError(f"No gradient defined for the imported loop '{op.name}'")
    name, own, _, places = gradient_of(op.graph, op.get_attr("body").name, "body_gradient")
    op._attrs["recorded"] = True
    seeds = gradients_of_results(op, dys, count)
    attrs = {"body": name, "Tout": [t.dtype.base_dtype for t in own]}
    made = build_op("WhileGrad", [op.outputs[count], seeds], attrs)
    outgoing: list[Any] = [None] * count
    for place, tensor in zip(places, made.outputs, strict=True):
        tensor.set_shape(op.inputs[place].shape)
        outgoing[place] = tensor
    return outgoing


def _through_steps(context: Any, op: Operation, history: Any, *gradients: Any) -> Any:
    from host_engine.ops.flow import call

    name, found = op.get_attr("body").name, list(gradients)
    for states in reversed(history):
        found = call(context, op, name, [*states, *found])
    return found[0] if len(op.outputs) == 1 else found


define(
    "WhileGrad",
    "history:any gradients:any*",
    shape=lambda op: [None] * len(op._attrs["Tout"]),
    dtype=lambda op: op._attrs["Tout"],
    run=_through_steps,
)
for _name in ("While", "StatelessWhile"):
    OPS[_name] = replace(OPS[_name], grad=_while_gradient)
