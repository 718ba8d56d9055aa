# SPDX-License-Identifier: Apache-2.0
"""A compiled run: the needed operations in order, with the slots they read, write and free."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from host_engine.errors import InternalError, OpError, ResourceExhaustedError, invalid
from host_engine.framework.tensor import Operation, Tensor
from host_engine.ops.flow import DEAD
from host_engine.ops.random import RandomState
from host_engine.ops.state import Storage
from host_engine.parallel import one_blas_thread

_EXITS = ("Exit", "RefExit")
_SWITCHES = ("Switch", "RefSwitch", "_SwitchN")
_MERGES = ("Merge", "RefMerge")


@dataclass
class Context:
    """What a session lends to stateful operations: array module, variables, random streams."""

    xp: Any
    variables: Storage
    random: RandomState


class _Step(NamedTuple):
    """`guards` are slots that must not be dead for the operation to run; `token` is a slot that
    says so to those that wait for it.
    """

    op: Operation
    compute: Callable[..., Any]
    stateful: bool
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    free: tuple[int, ...]
    guards: tuple[int, ...] = ()
    token: int | None = None


class Plan:
    """Computes `fetches` given `feeds`; nothing above a fed tensor and nothing unneeded runs.

    Operations run in the order of their creation, except that those that change a variable wait
    until everything that does not depend on them is done: a read that is not ordered after a write
    by a control dependency sees the value from before. A read of a variable (directly or through
    its `read` identity) happens where the value is consumed.

    A loop of TensorFlow 1 is one step, whose condition and body are plans of their own (see
    :class:`_Loop`); there, `done` are the operations that stand for the loop itself. Where Switches
    part branches, what depends on the side that is not taken is dead and does not run.
    """

    def __init__(
        self,
        fetches: Sequence[Tensor | Operation],
        feeds: Sequence[Tensor],
        done: frozenset[Operation] = frozenset(),
    ) -> None:
        self._feeds, self._done = set(feeds), done
        self._slots: dict[Any, int] = {}
        self._feed_slots = [self._slot(t) for t in feeds]
        self.ops = _ordered(_needed(fetches, self._feeds, done), self._feeds)
        self._parted = any(op.type in _SWITCHES for op in self.ops)
        self._results = [None if isinstance(f, Operation) else self._slot(f) for f in fetches]
        self._steps = self._compile(self.ops)

    def _slot(self, tensor: Tensor | Operation) -> int:
        return self._slots.setdefault(tensor, len(self._slots))

    def _compile(self, ops: list[Operation]) -> list[_Step]:
        keep = {slot for slot in self._results if slot is not None}
        steps: list[_Step] = []
        loops: set[Operation] = set()
        for op in ops:
            if op.type in _EXITS:
                if op not in loops:
                    loop = _Loop(op, ops)
                    loops.update(loop.exits)
                    steps.append(self._step(op, loop, loop.sources, loop.outputs))
                continue
            values = op.inputs[op.definition.refs :]
            for tensor in dict.fromkeys(values):
                self._reload(tensor, steps)
            compute = op.definition.run or op.definition.compute
            if compute is None:
                raise invalid(f"op type {op.type} cannot be computed").attach(op)
            if op.definition.run is None:
                compute = partial(compute, **op.definition.arguments(op._attrs))
            steps.append(self._step(op, compute, values, op.outputs))
        return _with_frees(steps, keep | set(self._tokens()))

    def _step(
        self, op: Operation, compute: Any, values: Sequence[Tensor], results: Sequence[Tensor]
    ) -> _Step:
        inputs = tuple(self._slot(t) for t in values)
        outputs = tuple(self._slot(t) for t in results)
        stateful = op.definition.run is not None
        if not self._parted:
            return _Step(op, compute, stateful, inputs, outputs, ())
        waits = [self._slot(other) for other in op.control_inputs if other not in self._done]
        guards = () if op.type in _MERGES else (*inputs, *waits)
        return _Step(op, compute, stateful, inputs, outputs, (), guards, self._slot(op))

    def _tokens(self) -> list[int]:
        return [slot for key, slot in self._slots.items() if isinstance(key, Operation)]

    def _reload(self, tensor: Tensor, steps: list[_Step]) -> None:
        """Reads a variable again just before its value is used."""
        variable = _variable_behind(tensor, self._feeds)
        if variable is None:
            return
        read = variable.definition.run
        assert read is not None
        steps.append(_Step(variable, read, True, (), (self._slot(tensor),), ()))

    def run(self, context: Context, fed: Iterable[Any]) -> list[Any]:
        """The fetched values (None for operations); raises errors.OpError naming the node."""
        with np.errstate(all="ignore"), one_blas_thread():
            found = self.execute(context, fed)
        if any(value is DEAD for value in found):
            raise invalid("Retval does not have a value: it is on a branch that was not taken")
        return found

    def execute(self, context: Context, fed: Iterable[Any]) -> list[Any]:
        """:meth:`run` within another run; values may be dead."""
        values: list[Any] = [None] * len(self._slots)
        for slot, value in zip(self._feed_slots, fed, strict=True):
            values[slot] = value
        xp = context.xp
        for op, compute, stateful, inputs, outputs, free, guards, token in self._steps:
            if guards and any(values[i] is DEAD for i in guards):
                for slot in outputs:
                    values[slot] = DEAD
                if token is not None:
                    values[token] = DEAD
                continue
            arguments = [values[i] for i in inputs]
            try:
                result = compute(context, op, *arguments) if stateful else compute(xp, *arguments)
            except OpError as error:
                raise error.attach(op) from None
            except Exception as error:
                raise _named(error, op, arguments) from error
            if len(outputs) == 1:
                values[outputs[0]] = result
            elif outputs:
                for slot, value in zip(outputs, result, strict=True):
                    values[slot] = value
            del arguments, result
            for slot in free:
                values[slot] = None
        return [None if slot is None else values[slot] for slot in self._results]


class _Loop:
    """A loop of TensorFlow 1 as one step: what enters it goes in, what its `exits` give comes out.

    `exits` are those among `ops` that leave the loop that `op` leaves.
    """

    def __init__(self, op: Operation, ops: Sequence[Operation]) -> None:
        frame = self.frame = _loop_of(op)
        self.exits = [o for o in ops if o.type in _EXITS and o.inputs[0].op in frame.switches]
        self.sources = [enter.inputs[0] for enter in frame.enters]
        self.outputs = [exit_.outputs[0] for exit_ in self.exits]
        self._kept = [frame.switches.index(exit_.inputs[0].op) for exit_ in self.exits]
        enters = [enter.outputs[0] for enter in frame.enters]
        starts = [
            next(t.op for t in merge.inputs if t.op in frame.enters) for merge in frame.merges
        ]
        self._starts = [frame.enters.index(enter) for enter in starts]
        last = frame.switches[0].inputs[1].op
        done = frozenset([*frame.merges, *frame.switches, *frame.enters, last])
        merged = [merge.outputs[0] for merge in frame.merges]
        carried = [switch.outputs[1] for switch in frame.switches]
        self._test = Plan([frame.condition], [*merged, *enters], done)
        self._body = Plan(frame.nexts, [*carried, *merged, *enters], done)

    def __call__(self, context: Context, op: Operation, *given: Any) -> Any:
        states = [given[i] for i in self._starts]
        while bool(self._test.execute(context, [*states, *given])[0]):
            states = self._body.execute(context, [*states, *states, *given])
        found = [states[i] for i in self._kept]
        return found[0] if len(found) == 1 else found


def _loop_of(op: Operation) -> Any:
    try:
        return op.graph.loop_of(op)
    except (ValueError, IndexError, StopIteration) as error:
        raise invalid(f"loop cannot be run: {error}").attach(op) from None


def outermost(fetches: Sequence[Tensor]) -> list[Operation]:
    """The operations of a run of `fetches` that are in no loop and on no branch, in order."""
    depth: dict[Operation, int] = {}
    ops = Plan(fetches, []).ops
    for op in ops:
        around = [t.op for t in op.inputs] + op.control_inputs
        level = max((depth.get(other, 0) for other in around), default=0)
        depth[op] = level + (op.type in _SWITCHES) - (op.type in _MERGES)
        if op.type in _EXITS:
            depth[op] = max((depth.get(t.op, 0) for t in _Loop(op, [op]).sources), default=0)
    return [op for op in ops if depth[op] <= 0]


def _named(error: Exception, op: Operation, arguments: list[Any]) -> OpError:
    """The OpError for a NumPy failure, with the node and what it was given."""
    shapes = ", ".join(str(list(np.shape(a))) for a in arguments)
    message = f"{error} (input shapes: {shapes})"
    if isinstance(error, MemoryError):
        return ResourceExhaustedError(None, op, message)
    if isinstance(error, (ValueError, TypeError, IndexError)):
        return invalid(message).attach(op)
    return InternalError(None, op, f"{type(error).__name__}: {message}")


def _variable_behind(tensor: Tensor, feeds: set[Tensor]) -> Operation | None:
    """The variable that `tensor` reads, if it is one or an identity of one, and not fed."""
    if tensor in feeds:
        return None
    op = tensor.op
    if op.type == "VariableV2":
        return op
    if op.type == "Identity" and not op.control_inputs and op.inputs[0] not in feeds:
        source = op.inputs[0].op
        return source if source.type == "VariableV2" else None
    return None


def _sources(op: Operation) -> tuple[list[Tensor], list[Operation]]:
    """(tensors, operations) that `op` waits for; a loop's last step for all that enters it."""
    if op.type not in _EXITS:
        return op.inputs, op.control_inputs
    enters = _loop_of(op).enters
    waits = [other for enter in enters for other in enter.control_inputs]
    return [enter.inputs[0] for enter in enters], [*op.control_inputs, *waits]


def _needed(
    fetches: Sequence[Tensor | Operation], feeds: set[Tensor], done: frozenset[Operation]
) -> set[Operation]:
    """Operations that must run; variables and their plain reads only where they are fetched."""
    needed: set[Operation] = set()
    stack: list[Operation] = []
    for fetch in fetches:
        if isinstance(fetch, Operation):
            stack.append(fetch)
        elif fetch not in feeds:
            stack.append(fetch.op)
    while stack:
        op = stack.pop()
        if op in needed or op in done:
            continue
        needed.add(op)
        tensors, waits = _sources(op)
        for tensor in tensors[op.definition.refs :]:
            if tensor not in feeds and _variable_behind(tensor, feeds) is None:
                stack.append(tensor.op)
        stack.extend(waits)
        for tensor in op.inputs[: op.definition.refs]:
            # The reference itself may come from an assignment, which then has to run.
            if tensor.op.type != "VariableV2":
                stack.append(tensor.op)
    return needed


def _ordered(needed: set[Operation], feeds: set[Tensor]) -> list[Operation]:
    waiting: dict[Operation, int] = {}
    users: dict[Operation, list[Operation]] = {op: [] for op in needed}
    for op in needed:
        tensors, waits = _sources(op)
        sources = ({t.op for t in tensors if t not in feeds} | set(waits)) & needed
        waiting[op] = len(sources)
        for source in sources:
            users[source].append(op)
    ready = [_priority(op) for op in needed if waiting[op] == 0]
    heapq.heapify(ready)
    ordered: list[Operation] = []
    while ready:
        op = heapq.heappop(ready)[2]
        ordered.append(op)
        for user in users[op]:
            waiting[user] -= 1
            if waiting[user] == 0:
                heapq.heappush(ready, _priority(user))
    return ordered


def _priority(op: Operation) -> tuple[bool, int, Operation]:
    return op.definition.writes, op._id, op


def _with_frees(steps: list[_Step], keep: set[int]) -> list[_Step]:
    """Adds to each step the slots nobody reads after it."""
    seen: set[int] = set(keep)
    done: list[_Step] = []
    for step in reversed(steps):
        last = tuple(s for s in dict.fromkeys((*step.inputs, *step.outputs)) if s not in seen)
        seen.update(last)
        done.append(step._replace(free=last))
    return done[::-1]
