# SPDX-License-Identifier: Apache-2.0
"""Variables as operations: their storage belongs to each session."""

from __future__ import annotations

from typing import Any

import numpy as np

from host_engine.errors import FailedPreconditionError, invalid
from host_engine.framework import dtypes
from host_engine.framework import shape_rules as rules
from host_engine.framework.build import build
from host_engine.framework.registry import NOT_DIFFERENTIABLE, define
from host_engine.framework.tensor import Tensor


class Storage:
    """The values of one session's variables, keyed by their VariableV2 operation.

    A value handed out by `read` never changes afterwards: `writable` copies an array that anybody
    else still holds and otherwise lends it out to be updated in place.
    """

    def __init__(self, xp: Any) -> None:
        self._xp = xp
        self._values: dict[Any, Any] = {}

    def read(self, variable: Any) -> Any:
        """The value of `variable`; FailedPreconditionError if it was never assigned."""
        value = self._values.get(variable)
        if value is None:
            raise FailedPreconditionError(
                None, None, f"Attempting to use uninitialized value {variable.name}"
            )
        return value

    def is_initialized(self, variable: Any) -> bool:
        return variable in self._values

    def assign(self, variable: Any, value: Any) -> Any:
        """Stores a copy of `value`."""
        stored = self._xp.array(value, order="C")
        self._values[variable] = stored
        return stored

    def writable(self, variable: Any) -> Any:
        """The array of `variable` to be changed in place, seen by nobody else."""
        value = self.read(variable)
        del value
        if _references(self._values[variable]) > _EXCLUSIVE:
            self._values[variable] = self._values[variable].copy()
        return self._values[variable]


def _references(value: Any) -> int:
    from sys import getrefcount

    return getrefcount(value)


# How many references an array has that only a dictionary holds, counted on the same path.
_probe = {0: np.zeros(1)}
_EXCLUSIVE = _references(_probe[0])


def variable_of(tensor: Tensor) -> Any:
    """The VariableV2 operation that a reference stands for."""
    while tensor.op.type != "VariableV2":
        tensor = tensor.op.inputs[0]
    return tensor.op


def _variable_shape(op: Any) -> list[Any]:
    return [op._attrs["shape"]]


def _read(context: Any, op: Any) -> Any:
    return context.variables.read(op)


define("VariableV2", "", shape=_variable_shape, run=_read, dtype="dtype")


def _assign_shape(op: Any) -> list[Any]:
    if not op._attrs["validate_shape"]:
        return [op.inputs[1].shape]
    return rules.merged(op)


def _assign(context: Any, op: Any, value: Any) -> Any:
    variable = variable_of(op.inputs[0])
    shape = variable._attrs["shape"]
    if op._attrs["validate_shape"] and not shape.is_compatible_with(value.shape):
        have = "[" + ",".join(str(s) for s in shape.as_list()) + "]"
        got = "[" + ",".join(str(s) for s in value.shape) + "]"
        raise invalid(
            f"Assign requires shapes of both tensors to match. lhs shape= {have} rhs shape= {got}"
        )
    return context.variables.assign(variable, value)


_REF = {"refs": 1, "writes": True, "grad": NOT_DIFFERENTIABLE}
define("Assign", "ref:T value:T", shape=_assign_shape, run=_assign, **_REF)


def _update(add: bool) -> Any:
    def run(context: Any, op: Any, value: Any) -> Any:
        array = context.variables.writable(variable_of(op.inputs[0]))
        if array.shape != value.shape:
            raise invalid(f"Incompatible shapes: {list(array.shape)} vs. {list(np.shape(value))}")
        if add:
            array += value
        else:
            array -= value
        return array

    return run


define("AssignAdd", "ref:T value:T", shape=rules.merged, run=_update(True), **_REF)
define("AssignSub", "ref:T value:T", shape=rules.merged, run=_update(False), **_REF)
define(
    "IsVariableInitialized",
    "ref:any",
    shape=rules.scalar,
    run=lambda context, op: np.bool_(context.variables.is_initialized(variable_of(op.inputs[0]))),
    dtype=dtypes.bool_,
    refs=1,
    grad=NOT_DIFFERENTIABLE,
)


def reference(variable: Any) -> Tensor:
    """What an update of `variable` takes as its first input; ValueError if it is not a variable.

    The output of an assignment stands for its variable too, after the assignment.
    """
    if hasattr(variable, "_as_reference"):
        return variable._as_reference()
    if isinstance(variable, Tensor) and (
        variable.op.type == "VariableV2" or variable.op.definition.writes
    ):
        return variable
    raise ValueError(f"{variable} is not a variable and cannot be assigned to")


def assign(
    ref: Any, value: Any, validate_shape: bool = True, use_locking: Any = None, name: Any = None
) -> Tensor:
    """Sets a variable when run; the output is the new value."""
    return build("Assign", [reference(ref), value], {"validate_shape": validate_shape}, name)


def assign_add(ref: Any, value: Any, use_locking: Any = None, name: Any = None) -> Tensor:
    """Adds to a variable when run; the output is the new value."""
    return build("AssignAdd", [reference(ref), value], name=name)


def assign_sub(ref: Any, value: Any, use_locking: Any = None, name: Any = None) -> Tensor:
    """Subtracts from a variable when run; the output is the new value."""
    return build("AssignSub", [reference(ref), value], name=name)


def is_variable_initialized(variable: Any, name: str | None = None) -> Tensor:
    """Whether a variable has a value in the session."""
    return build("IsVariableInitialized", [reference(variable)], name=name)
