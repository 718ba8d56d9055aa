# SPDX-License-Identifier: Apache-2.0
"""Loops and branches: those of TensorFlow 1 (Enter, Switch, Merge...) are found in the graph, those
of TensorFlow 2 (While, If) name functions. Short loops whose number of steps is known are written
out, others become WHILE.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic, control
from converter.importers.forms.complexes import Complex
from converter.importers.no_form import NoForm
from converter.importers.tensorflow.lists import Listed, zeros
from converter.passes.recurrent import fuse_loop

_MOST_WRITTEN_OUT = control.MOST_UNROLLED
_MOST_NODES = 3000  # of a loop that is written out

Condition = Callable[[Builder, list[Any]], ir.Value]
Step = Callable[[Builder, list[Any]], list[Any]]


class ArrayHandle(NamedTuple):
    """The resource of a TensorArray, which only names its other output, the flow."""

    dtype: str


def captured(b: Builder, found: Any) -> Any:
    """What stands in a body for something of the graph around it."""
    if isinstance(found, ir.Value):
        return b.captured(found)
    return found.into(b) if isinstance(found, (Listed, Complex)) else found


# -- loops ------------------------------------------------------------------------------------


def loop(
    b: Builder,
    states: Sequence[Any],
    condition: Condition,
    step: Step,
    obstacles: list[str],
) -> list[Any]:
    """`step` again and again on `states` while `condition` holds; the last states. `obstacles` are
    what steps have met, of which those that another form of the loop does not meet are removed.
    """
    first, met = len(b.graph.nodes), len(obstacles)
    looped = _recurrent(b, list(states), condition, step)
    del obstacles[met:]
    if looped is not None and looped.is_fused:
        return looped.states
    end = len(b.graph.nodes)
    written_out = _written_out(b, list(states), condition, step)
    if written_out is None:
        return _while(b, list(states), condition, step) if looped is None else looped.states
    for node in reversed(b.graph.nodes[first:end]):
        b.graph.remove_node(node)
    return written_out


class _Looped(NamedTuple):
    states: list[Any]
    is_fused: bool


def _recurrent(b: Builder, states: list[Any], condition: Condition, step: Step) -> _Looped | None:
    """The loop as a WHILE, or as the op of a recurrent layer that it is; None where it is neither,
    or in a loop itself.
    """
    if b.outer is not None:
        return None
    nodes, bodies = len(b.graph.nodes), len(b.bodies)
    try:
        found = _while(b, states, condition, step)
    except NoForm:  # though its steps may be written out
        _forget(b, nodes, bodies)
        return None
    loops = [n for n in b.graph.nodes[nodes:] if n.op == "WHILE"]
    is_fused = len(loops) == 1 and fuse_loop(b.graph, loops[0], b.bodies, is_growing=True)
    return _Looped(found, is_fused)


def _written_out(
    b: Builder, states: list[Any], condition: Condition, step: Step
) -> list[Any] | None:
    """The loop's steps one after the other; None where they are many, or not known to be few."""
    nodes, bodies = len(b.graph.nodes), len(b.bodies)
    for _ in range(_MOST_WRITTEN_OUT + 1):
        on = b.known(condition(b, states))
        if on is None:
            break
        if not on.reshape(()):
            return states
        states = step(b, states)
        if len(b.graph.nodes) - nodes > _MOST_NODES:
            break
    _forget(b, nodes, bodies)
    return None


def _forget(b: Builder, nodes: int, bodies: int) -> None:
    """Remove what a trial has appended."""
    for node in reversed(b.graph.nodes[nodes:]):
        b.graph.remove_node(node)
    del b.bodies[bodies:]


def _while(b: Builder, states: list[Any], condition: Condition, step: Step) -> list[Any]:
    given = [_opened(state) for state in states]
    results, trial, own = _tried(b, given, step)
    moving: list[int] = []  # the states that a step changes
    start: list[ir.Value] = []
    around = [state for state in given if isinstance(state, ir.Value)]
    for i, (before, inner, after) in enumerate(zip(given, own, results, strict=True)):
        if after is inner:
            continue
        if isinstance(before, Listed):
            if not isinstance(after, Listed) or after.element is None:
                raise NoForm("carries a list through the loop that is not written at every step")
            before = zeros(b, before, after.element, [*around, *b.graph.inputs])
        elif not isinstance(after, ir.Value):
            raise NoForm("carries a list where the loop began with a tensor")
        elif trial.pair(after) != b.pair(before):
            raise NoForm("changes the shape of what it carries: pad it to one size")
        moving.append(i)
        start.append(before)

    def whole(inner: Builder, values: Sequence[ir.Value]) -> list[Any]:
        """All states as the source's body sees them."""
        now = dict(zip(moving, values, strict=True))
        return [now[i] if i in now else captured(inner, s) for i, s in enumerate(given)]

    def test(inner: Builder, values: list[ir.Value]) -> ir.Value:
        verdict = condition(inner, whole(inner, values))
        return basic.reshape(inner, verdict, []) if basic.rank(inner, verdict) else verdict

    def body(inner: Builder, values: list[ir.Value]) -> list[ir.Value]:
        found = step(inner, whole(inner, values))
        return [found[i] for i in moving]

    last = control.loop(b, start, test, body)
    after = dict(zip(moving, last, strict=True))
    return [after.get(i, state) for i, state in enumerate(states)]


def _opened(state: Any) -> Any:
    if not isinstance(state, Listed):
        return state
    return Listed(state.length, state.dtype, state.parts, carried=True, grows=state.grows)


def _tried(b: Builder, states: list[Any], step: Step) -> tuple[list[Any], Builder, list[Any]]:
    """One step that is thrown away: (its results, its builder, the states it began with)."""
    bodies = len(b.bodies)
    trial = b.body("trial")
    own = [trial.input_like(s) if isinstance(s, ir.Value) else captured(trial, s) for s in states]
    results = step(trial, own)
    del b.bodies[bodies:]
    return results, trial, own


# -- branches ---------------------------------------------------------------------------------


def branch(
    b: Builder,
    condition: ir.Value,
    then: Callable[[Builder], list[Any]],
    other: Callable[[Builder], list[Any]],
) -> list[Any]:
    """The values of one of two branches; only that one where the condition is known."""
    known = b.known(condition)
    if known is not None:
        return (then if known.reshape(-1)[0] else other)(b)
    if condition.dtype != "BOOL":
        zero = basic.scalar(b, 0, condition)
        condition = b.emit("NOT_EQUAL", [condition, zero], dtype="BOOL")

    def tensors(make: Callable[[Builder], list[Any]]) -> Callable[[Builder], list[ir.Value]]:
        def made(inner: Builder) -> list[ir.Value]:
            found = make(inner)
            if not all(isinstance(v, ir.Value) for v in found):
                raise NoForm("has branches that give lists of tensors: stack them first")
            return found

        return made

    return control.branch(b, condition, tensors(then), tensors(other))


def choice(b: Builder, number: ir.Value, cases: Sequence[Callable[[Builder], list[Any]]]) -> Any:
    """The values of one of several branches, the last where `number` is none of them."""
    if len(cases) == 1:
        return cases[0](b)
    first = basic.reshape(b, basic.ints(b, number), [])
    is_first = b.emit("EQUAL", [first, b.constant(0, "first", np.int32)], dtype="BOOL")

    def others(inner: Builder) -> list[Any]:
        seen = inner.captured(first)
        less = basic.binary(inner, "SUB", seen, inner.constant(1, "one", np.int32))
        found: list[Any] = choice(inner, less, cases[1:])
        return found

    return branch(b, is_first, cases[0], others)


# -- TensorFlow 1 -----------------------------------------------------------------------------


def frame_of(op: Any) -> Any:
    """The loop that `op`, an Exit, leaves (host_engine's Frame); NoForm where it is damaged."""
    try:
        return op.graph.loop_of(op)
    except (ValueError, IndexError, StopIteration) as error:
        raise NoForm(str(error)) from error


def sources(op: Any) -> list[Any]:
    """The tensors that must be there before `op` is converted."""
    try:
        if op.type == "Exit":
            return [enter.inputs[0] for enter in frame_of(op).enters]
        case = parted(op) if op.type == "Merge" else None
        if case is not None:
            return [case[0], *(s.inputs[0] for s in case[1])]
        if op.type == "Merge":
            predicate, switches, _ = sides(op)
            return [predicate, *(s.inputs[0] for s in switches)]
    except (NoForm, ValueError, IndexError):  # damaged, as the row will say
        return []
    return list(op.inputs)


def parted(merge: Any) -> tuple[Any, list[Any]] | None:
    """(number, its _SwitchNs) of a Merge of the branches of a Case; None where it is another."""
    found = [switches_behind(t, frozenset([merge])) for t in merge.inputs]
    switches = [s for guarded in found for s in guarded if s.type == "_SwitchN"]
    numbers = {s.inputs[1] for s in switches}
    if len(numbers) != 1:
        return None
    return numbers.pop(), list(dict.fromkeys(switches))


def sides(merge: Any, within: frozenset[Any] = frozenset()) -> tuple[Any, list[Any], list[Any]]:
    """(predicate, its Switches, [input where it is false, where it is true]) of a Merge."""
    if merge in within:
        raise NoForm("merges branches that are one another's: the file is damaged")
    inner = within | {merge}
    found: list[dict[Any, Any]] = [switches_behind(t, inner) for t in merge.inputs]
    if len(found) != 2:
        raise NoForm("merges other than two branches: use tf.cond")
    # A branch that is a constant has no Switch of its own.
    for guarded, unlike, flip in ((found[0], found[1], 0), (found[1], found[0], 1)):
        for switch, side in guarded.items():
            predicate = _predicate(switch)
            same = [s for s in guarded if _predicate(s) is predicate]
            others = [s for s, d in unlike.items() if _predicate(s) is predicate and d != side]
            if others or not unlike:
                ordered = list(merge.inputs) if side == flip else list(reversed(merge.inputs))
                return predicate, [*same, *others], ordered
    raise NoForm("merges what no Switch has parted: the file is damaged")


def _predicate(switch: Any) -> Any:
    """What a Switch looks at, without the identities that cond makes of it."""
    tensor = switch.inputs[1]
    while tensor.op.type == "Identity":
        tensor = tensor.op.inputs[0]
    return tensor


def switches_behind(tensor: Any, within: frozenset[Any] = frozenset()) -> dict[Any, int]:
    """The Switches that guard `tensor`, with the side of each; inner branches are stepped over."""
    found: dict[Any, int] = {}
    seen: set[Any] = set()
    stack = [tensor]
    while stack:
        t = stack.pop()
        op = t.op
        if op.type in ("Switch", "_SwitchN"):
            found[op] = t.value_index
            continue
        if op in seen:
            continue
        seen.add(op)
        if op.type == "Merge":
            predicate, switches, _ = sides(op, within)
            stack += [predicate, *(s.inputs[0] for s in switches)]
            continue
        stack += op.inputs
        stack += _waited(op)
    return found


def _waited(op: Any) -> list[Any]:
    """What the identities pass on that `op` waits for, directly or through operations that do
    nothing; a constant of a branch waits for the Switch so.
    """
    found, stack, seen = [], list(op.control_inputs), set()
    while stack:
        other = stack.pop()
        if other.type == "Identity" and other.inputs:
            found.append(other.inputs[0])
        elif other.type == "NoOp" and other not in seen:
            seen.add(other)
            stack += other.control_inputs
    return found
