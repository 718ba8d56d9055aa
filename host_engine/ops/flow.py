# SPDX-License-Identifier: Apache-2.0
"""Loops, branches and calls of imported graphs: those of TensorFlow 2 call functions; those of
TensorFlow 1 (Enter, Switch, Merge...) are run by :mod:`host_engine.plan`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from host_engine.errors import UnimplementedError, invalid
from host_engine.framework.dtypes import variant
from host_engine.framework.registry import define
from host_engine.framework.tensor import Operation
from host_engine.graphdef.signatures import output_types

DEAD: Any = type("Dead", (), {"__repr__": lambda self: "DEAD"})()
"""What stands for a tensor on a branch that is not taken."""


def _types(op: Operation) -> list[Any]:
    known = output_types(op.type, op._attrs)
    if known is not None:
        return known
    return [op.inputs[0].dtype if op.inputs else op._attrs["T"]]


def _shapes(op: Operation) -> list[None]:
    return [None] * len(_types(op))


# -- TensorFlow 2 -----------------------------------------------------------------------------


def call(context: Any, op: Operation, name: str, values: Sequence[Any]) -> list[Any]:
    """The results of a function of the graph's library."""
    from host_engine.plan import Plan

    try:
        graph, arguments, results = op.graph.function(name)
    except ValueError as error:
        raise invalid(str(error)).attach(op) from None
    if len(arguments) != len(values):
        raise invalid(f"function '{name}' takes {len(arguments)} values, not {len(values)}")
    if name not in graph.plans:
        graph.plans[name] = Plan(results, arguments)
    return graph.plans[name].execute(context, values)


def _results(op: Operation, values: list[Any]) -> Any:
    """As a plan's step gives them: one alone, or a list."""
    return values[0] if len(op.outputs) == 1 else values


def _while(context: Any, op: Operation, *states: Any) -> Any:
    """The last states; behind them, of a loop of tf.while_loop, those before each of its steps."""
    test, body = op.get_attr("cond").name, op.get_attr("body").name
    values, history = list(states), []
    while np.asarray(call(context, op, test, values)[0]).all():
        if op._attrs.get("recorded"):
            history.append(values)
        values = call(context, op, body, values)
    return [*values, history] if op._attrs.get("history") else _results(op, values)


def _while_types(op: Operation) -> list[Any]:
    return [*op._attrs["T"], variant] if op._attrs.get("history") else list(op._attrs["T"])


def _is_true(value: Any) -> bool:
    array = np.asarray(value)
    return bool(array.reshape(-1)[0]) if array.ndim == 0 else array.size > 0


def _if(context: Any, op: Operation, condition: Any, *values: Any) -> Any:
    branch = "then_branch" if _is_true(condition) else "else_branch"
    return _results(op, call(context, op, op.get_attr(branch).name, values))


def _case(context: Any, op: Operation, index: Any, *values: Any) -> Any:
    branches = op.get_attr("branches")
    at = int(index) if 0 <= int(index) < len(branches) else len(branches) - 1
    return _results(op, call(context, op, branches[at].name, values))


def _call(context: Any, op: Operation, *values: Any) -> Any:
    return _results(op, call(context, op, op.get_attr("f").name, values))


def _by_functions(run: Callable[..., Any], inputs: str, *names: str) -> None:
    for name in names:
        define(name, inputs, shape=_shapes, dtype=_types, run=run)


for _name in ("While", "StatelessWhile"):
    define(
        _name,
        "input:any*",
        shape=lambda op: [None] * len(_while_types(op)),
        dtype=_while_types,
        run=_while,
    )
_by_functions(_if, "cond:any input:any*", "If", "StatelessIf")
_by_functions(_case, "branch_index:int32 input:any*", "Case", "StatelessCase")
_by_functions(_call, "args:any*", "PartitionedCall", "StatefulPartitionedCall")


# -- TensorFlow 1 -----------------------------------------------------------------------------


def _switch(context: Any, op: Operation, data: Any, condition: Any) -> tuple[Any, Any]:
    return (DEAD, data) if bool(condition) else (data, DEAD)


def _switch_n(context: Any, op: Operation, data: Any, index: Any) -> Any:
    count = len(op.outputs)
    at = int(index) if 0 <= int(index) < count else count - 1
    return _results(op, [data if i == at else DEAD for i in range(count)])


def _merge(context: Any, op: Operation, *values: Any) -> tuple[Any, Any]:
    for i, value in enumerate(values):
        if value is not DEAD:
            return value, np.int32(i)
    return DEAD, DEAD


def _in_a_loop(context: Any, op: Operation, *values: Any) -> Any:
    raise UnimplementedError(None, op, f"{op.type} is of a loop that is damaged")


for _prefix in ("", "Ref"):
    define(f"{_prefix}Switch", "data:any pred:bool", shape=_shapes, dtype=_types, run=_switch)
    define(f"{_prefix}Merge", "inputs:any*", shape=_shapes, dtype=_types, run=_merge)
    for _name in ("Enter", "Exit", "NextIteration"):
        define(f"{_prefix}{_name}", "data:any", shape=_shapes, dtype=_types, run=_in_a_loop)
define("LoopCond", "input:bool", shape=_shapes, dtype=_types, run=_in_a_loop)
define(
    "_SwitchN",
    "data:any output_index:int32",
    shape=lambda op: [None] * int(op._attrs.get("num_outs", 1)),
    dtype=lambda op: [op._attrs["T"]] * int(op._attrs.get("num_outs", 1)),
    run=_switch_n,
)
define("ControlTrigger", "", shape=lambda op: [], run=lambda context, op: None)
