# SPDX-License-Identifier: Apache-2.0
"""Elementwise functions of two tensors: arithmetic, comparisons, logic, and Tensor's operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from host_engine.errors import invalid
from host_engine.framework import dtypes
from host_engine.framework import shape_rules as rules
from host_engine.framework.build import build, convert_to_tensor, name_scope
from host_engine.framework.operators import OPERATORS
from host_engine.framework.registry import NOT_DIFFERENTIABLE, define, sample
from host_engine.framework.tensor import Tensor
from host_engine.ops.broadcast import unbroadcast

POSITIVE = (0.2, 3.0)


def _shapes_text(*arrays: Any) -> str:
    return " vs. ".join("[" + ",".join(str(s) for s in np.shape(a)) + "]" for a in arrays)


def _binary(name: str, f: Callable[..., Any], grad: Any, types: Any, **facts: Any) -> None:
    def compute(xp: Any, x: Any, y: Any, **_: Any) -> Any:
        try:
            return f(xp, x, y)
        except ValueError:
            raise invalid(f"Incompatible shapes: {_shapes_text(x, y)}") from None

    facts.setdefault(
        "samples", tuple(sample(a, b) for a, b in (((2, 3), (2, 3)), ((2, 3), (3,)), ((), (2, 1))))
    )
    define(name, "x:T y:T", shape=rules.broadcast, compute=compute, grad=grad, types=types, **facts)


def _pair(rule: Callable[..., tuple[Any, Any]]) -> Callable[..., list[Any]]:
    """A gradient for broadcasting operands out of one for equal shapes."""

    def grad(op: Any, dy: Tensor) -> list[Any]:
        x, y = op.inputs
        dx_full, dy_full = rule(x, y, op.outputs[0], dy)
        return [unbroadcast(dx_full, x, y), unbroadcast(dy_full, y, x)]

    return grad


def _int_checked(f: Callable[..., Any]) -> Callable[..., Any]:
    def checked(xp: Any, x: Any, y: Any) -> Any:
        if y.dtype.kind in "iu" and not xp.all(y):
            raise invalid("Integer division by zero")
        return f(xp, x, y)

    return checked


_NUMERIC = dtypes.NUMBERS
_AWAY = {"samples": (sample((2, 3), (2, 1), domain=POSITIVE), sample((3,), (), domain=POSITIVE))}

_binary("Add", lambda xp, x, y: x + y, _pair(lambda x, y, z, g: (g, g)), (*_NUMERIC, dtypes.string))
_binary("Sub", lambda xp, x, y: x - y, _pair(lambda x, y, z, g: (g, -g)), _NUMERIC)
_binary("Mul", lambda xp, x, y: x * y, _pair(lambda x, y, z, g: (g * y, x * g)), _NUMERIC)
_binary(
    "RealDiv",
    lambda xp, x, y: x / y,
    _pair(lambda x, y, z, g: (g / y, g * (-x / y / y))),
    dtypes.FLOATS + dtypes.COMPLEX,
    **_AWAY,
)
_binary(
    "FloorDiv",
    _int_checked(lambda xp, x, y: xp.floor_divide(x, y)),
    NOT_DIFFERENTIABLE,
    _NUMERIC,
    **_AWAY,
)
_binary(
    "FloorMod",
    _int_checked(lambda xp, x, y: xp.mod(x, y)),
    _pair(lambda x, y, z, g: (g, -g * floordiv(x, y))),
    dtypes.REALS,
    samples=(sample((4,), (), domain=(1.1, 1.9)), sample((2, 3), np.full((3,), 0.7), wrt=(0,))),
)
_binary(
    "TruncateDiv",
    _int_checked(lambda xp, x, y: xp.trunc(x / y).astype(x.dtype)),
    NOT_DIFFERENTIABLE,
    _NUMERIC,
    **_AWAY,
)


def _pow_grad(x: Any, y: Any, z: Any, g: Any) -> tuple[Any, Any]:
    # log(x) only where it is defined; elsewhere the gradient to y is 0, as TensorFlow says.
    positive = build("Greater", [x, 0])
    safe = build("Select", [positive, x, build("OnesLike", [x])])
    logs = build("Select", [positive, build("Log", [safe]), build("ZerosLike", [x])])
    return g * y * build("Pow", [x, y - 1]), g * z * logs


_binary("Pow", lambda xp, x, y: xp.power(x, y), _pair(_pow_grad), _NUMERIC, **_AWAY)


def _chooser(better: Callable[[Any, Any], Any]) -> Callable[..., tuple[Any, Any]]:
    def rule(x: Any, y: Any, z: Any, g: Any) -> tuple[Any, Any]:
        mask = build("Cast", [better(x, y)], {"SrcT": dtypes.bool_, "DstT": g.dtype})
        return g * mask, g * (1 - mask)

    return rule


_binary(
    "Maximum",
    lambda xp, x, y: xp.maximum(x, y),
    _pair(_chooser(lambda x, y: greater_equal(x, y))),
    dtypes.REALS,
)
_binary(
    "Minimum",
    lambda xp, x, y: xp.minimum(x, y),
    _pair(_chooser(lambda x, y: less_equal(x, y))),
    dtypes.REALS,
)


def _squared_difference_grad(x: Any, y: Any, z: Any, g: Any) -> tuple[Any, Any]:
    twice = g * 2 * (x - y)
    return twice, -twice


def _squared_difference(xp: Any, x: Any, y: Any) -> Any:
    d = x - y
    return d * d


_binary("SquaredDifference", _squared_difference, _pair(_squared_difference_grad), _NUMERIC)
_binary(
    "Atan2",
    lambda xp, y, x: xp.arctan2(y, x),
    _pair(lambda y, x, z, g: (g * x / (x * x + y * y), -g * y / (x * x + y * y))),
    dtypes.FLOATS,
    **_AWAY,
)


def _compare(name: str, f: Callable[..., Any], types: Any) -> None:
    _binary(name, f, NOT_DIFFERENTIABLE, types, dtype=dtypes.bool_)


_compare("Less", lambda xp, x, y: x < y, dtypes.REALS)
_compare("LessEqual", lambda xp, x, y: x <= y, dtypes.REALS)
_compare("Greater", lambda xp, x, y: x > y, dtypes.REALS)
_compare("GreaterEqual", lambda xp, x, y: x >= y, dtypes.REALS)
_compare("Equal", lambda xp, x, y: xp.equal(x, y).astype(bool), None)
_compare("NotEqual", lambda xp, x, y: xp.not_equal(x, y).astype(bool), None)


def _logical(name: str, f: Callable[..., Any]) -> None:
    define(
        name,
        "x:bool y:bool",
        shape=rules.broadcast,
        compute=lambda xp, x, y: f(xp)(x, y),
        grad=NOT_DIFFERENTIABLE,
        samples=(sample(np.array([True, False]), np.array([[True], [False]])),),
    )


_logical("LogicalAnd", lambda xp: xp.logical_and)
_logical("LogicalOr", lambda xp: xp.logical_or)
define(
    "LogicalNot",
    "x:bool",
    shape=rules.same,
    compute=lambda xp, x: xp.logical_not(x),
    grad=NOT_DIFFERENTIABLE,
    samples=(sample(np.array([True, False])),),
)


# Python functions


def add(x: Any, y: Any, name: str | None = None) -> Tensor:
    return build("Add", [x, y], name=name)


def subtract(x: Any, y: Any, name: str | None = None) -> Tensor:
    return build("Sub", [x, y], name=name)


def multiply(x: Any, y: Any, name: str | None = None) -> Tensor:
    return build("Mul", [x, y], name=name)


sub, mul = subtract, multiply


def truediv(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x / y as Python 3 divides: small integers as float32, others as float64."""
    with name_scope(name, "truediv", [x, y]) as scope:
        x, y = _pair_of(x, y)
        if x.dtype.is_integer:
            wanted = dtypes.float32 if x.dtype.size < 4 else dtypes.float64
            x, y = (build("Cast", [v], {"SrcT": v.dtype, "DstT": wanted}) for v in (x, y))
        return build("RealDiv", [x, y], name=scope)


def div(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x / y as Python 2 divides: integers are floored."""
    with name_scope(name, "div", [x, y]) as scope:
        x, y = _pair_of(x, y)
        return build("FloorDiv" if x.dtype.is_integer else "RealDiv", [x, y], name=scope)


def divide(x: Any, y: Any, name: str | None = None) -> Tensor:
    return truediv(x, y, name)


def realdiv(x: Any, y: Any, name: str | None = None) -> Tensor:
    return build("RealDiv", [x, y], name=name)


def floordiv(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x / y rounded towards minus infinity."""
    return build("FloorDiv", [x, y], name=name or "floordiv")


floor_div = floordiv


def truncatediv(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x / y rounded towards zero."""
    return build("TruncateDiv", [x, y], name=name)


def mod(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The remainder with the sign of `y`."""
    return build("FloorMod", [x, y], name=name)


floormod = mod


def pow(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x to the power y."""
    return build("Pow", [x, y], name=name)


def maximum(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The larger of each pair; at ties the gradient goes to `x`."""
    return build("Maximum", [x, y], name=name)


def minimum(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The smaller of each pair; at ties the gradient goes to `x`."""
    return build("Minimum", [x, y], name=name)


def squared_difference(x: Any, y: Any, name: str | None = None) -> Tensor:
    """(x - y)^2."""
    return build("SquaredDifference", [x, y], name=name)


def atan2(y: Any, x: Any, name: str | None = None) -> Tensor:
    return build("Atan2", [y, x], name=name)


def less(x: Any, y: Any, name: str | None = None) -> Tensor:
    return build("Less", [x, y], name=name)


def less_equal(x: Any, y: Any, name: str | None = None) -> Tensor:
    return build("LessEqual", [x, y], name=name)


def greater(x: Any, y: Any, name: str | None = None) -> Tensor:
    return build("Greater", [x, y], name=name)


def greater_equal(x: Any, y: Any, name: str | None = None) -> Tensor:
    return build("GreaterEqual", [x, y], name=name)


def equal(x: Any, y: Any, name: str | None = None) -> Tensor:
    return build("Equal", [x, y], name=name)


def not_equal(x: Any, y: Any, name: str | None = None) -> Tensor:
    return build("NotEqual", [x, y], name=name)


def logical_and(x: Any, y: Any, name: str | None = None) -> Tensor:
    return build("LogicalAnd", [x, y], name=name)


def logical_or(x: Any, y: Any, name: str | None = None) -> Tensor:
    return build("LogicalOr", [x, y], name=name)


def logical_not(x: Any, name: str | None = None) -> Tensor:
    return build("LogicalNot", [x], name=name)


def logical_xor(x: Any, y: Any, name: str = "LogicalXor") -> Tensor:
    with name_scope(name, values=[x, y]) as scope:
        return logical_and(logical_or(x, y), logical_not(logical_and(x, y)), name=scope)


# Operators


def _pair_of(x: Any, y: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors; a Python value takes the type of the tensor it meets."""
    if isinstance(x, Tensor) or hasattr(x, "_as_tensor"):
        x = convert_to_tensor(x, name="x")
        y = y if isinstance(y, Tensor) else convert_to_tensor(_valued(y), _dtype_for(y, x), "y")
    elif isinstance(y, Tensor) or hasattr(y, "_as_tensor"):
        y = convert_to_tensor(y, name="y")
        x = convert_to_tensor(x, y.dtype, name="x")
    else:
        x = convert_to_tensor(x, name="x")
        y = convert_to_tensor(y, x.dtype, name="y")
    return x, y


def _valued(y: Any) -> Any:
    return y._as_tensor() if hasattr(y, "_as_tensor") else y


def _dtype_for(y: Any, x: Tensor) -> Any:
    return None if hasattr(y, "_as_tensor") else x.dtype


def _operator(key: str, name: str, function: Callable[..., Tensor]) -> None:
    def left(x: Any, y: Any) -> Tensor:
        with name_scope(None, name, [x, y]) as scope:
            return function(*_pair_of(x, y), name=scope)

    OPERATORS[key] = left


for _key, _name, _function in (
    ("add", "add", add),
    ("sub", "sub", subtract),
    ("mul", "mul", multiply),
    ("truediv", "truediv", truediv),
    ("floordiv", "floordiv", floordiv),
    ("mod", "mod", mod),
    ("pow", "pow", pow),
    ("and", "and", logical_and),
    ("or", "or", logical_or),
    ("xor", "xor", logical_xor),
    ("lt", "Less", less),
    ("le", "LessEqual", less_equal),
    ("gt", "Greater", greater),
    ("ge", "GreaterEqual", greater_equal),
):
    _operator(_key, _name, _function)

OPERATORS["neg"] = lambda x: build("Neg", [x])
OPERATORS["abs"] = lambda x: build("Abs", [x])
OPERATORS["invert"] = lambda x: build("LogicalNot", [x])
