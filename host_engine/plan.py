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
from host_engine.ops.random import RandomState
from host_engine.ops.state import Storage
from host_engine.parallel import one_blas_thread


@dataclass
class Context:
    """What a session lends to stateful operations: array module, variables, random streams."""

    xp: Any
    variables: Storage
    random: RandomState


class _Step(NamedTuple):
    op: Operation
    compute: Callable[..., Any]
    stateful: bool
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    free: tuple[int, ...]


class Plan:
    """Computes `fetches` given `feeds`; nothing above a fed tensor and nothing unneeded runs.

    Operations run in the order of their creation, except that those that change a variable wait
    until everything that does not depend on them is done: a read that is not ordered after a write
    by a control dependency sees the value from before. A read of a variable (directly or through
    its `read` identity) happens where the value is consumed.
    """

    def __init__(self, fetches: Sequence[Tensor | Operation], feeds: Sequence[Tensor]) -> None:
        self._feeds = set(feeds)
        self._slots: dict[Tensor, int] = {}
        self._feed_slots = [self._slot(t) for t in feeds]
        ops = _ordered(_needed(fetches, self._feeds), self._feeds)
        self._results = [None if isinstance(f, Operation) else self._slot(f) for f in fetches]
        self._steps = self._compile(ops)

    def _slot(self, tensor: Tensor) -> int:
        return self._slots.setdefault(tensor, len(self._slots))

    def _compile(self, ops: list[Operation]) -> list[_Step]:
        keep = {slot for slot in self._results if slot is not None}
        steps: list[_Step] = []
        for op in ops:
            values = op.inputs[op.definition.refs :]
            for tensor in dict.fromkeys(values):
                self._reload(tensor, steps)
            inputs = tuple(self._slot(t) for t in values)
            outputs = tuple(self._slot(t) for t in op.outputs)
            stateful = op.definition.run is not None
            compute = op.definition.run if stateful else op.definition.compute
            if compute is None:
                raise invalid(f"op type {op.type} cannot be computed").attach(op)
            if not stateful:
                compute = partial(compute, **op.definition.arguments(op._attrs))
            steps.append(_Step(op, compute, stateful, inputs, outputs, ()))
        return _with_frees(steps, keep)

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
        values: list[Any] = [None] * len(self._slots)
        for slot, value in zip(self._feed_slots, fed, strict=True):
            values[slot] = value
        xp = context.xp
        with np.errstate(all="ignore"), one_blas_thread():
            for op, compute, stateful, inputs, outputs, free in self._steps:
                arguments = [values[i] for i in inputs]
                try:
                    if stateful:
                        result = compute(context, op, *arguments)
                    else:
                        result = compute(xp, *arguments)
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


def _needed(fetches: Sequence[Tensor | Operation], feeds: set[Tensor]) -> set[Operation]:
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
        if op in needed:
            continue
        needed.add(op)
        for tensor in op.inputs[op.definition.refs :]:
            if tensor not in feeds and _variable_behind(tensor, feeds) is None:
                stack.append(tensor.op)
        stack.extend(op.control_inputs)
        for tensor in op.inputs[: op.definition.refs]:
            # The reference itself may come from an assignment, which then has to run.
            if tensor.op.type != "VariableV2":
                stack.append(tensor.op)
    return needed


def _ordered(needed: set[Operation], feeds: set[Tensor]) -> list[Operation]:
    waiting: dict[Operation, int] = {}
    users: dict[Operation, list[Operation]] = {op: [] for op in needed}
    for op in needed:
        sources = {t.op for t in op.inputs if t not in feeds} | set(op.control_inputs)
        sources &= needed
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
