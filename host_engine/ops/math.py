# SPDX-License-Identifier: Apache-2.0
"""Elementwise functions of one tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from host_engine.framework import dtypes
from host_engine.framework import shape_rules as rules
from host_engine.framework.build import build
from host_engine.framework.registry import NOT_DIFFERENTIABLE, define, sample
from host_engine.framework.tensor import Tensor

POSITIVE = (0.2, 3.0)

# Unary


def _unary(name: str, f: Callable[..., Any], grad: Any, types: Any = None, **facts: Any) -> None:
    facts.setdefault("samples", (sample((3, 4)), sample(())))
    define(
        name,
        "x:T",
        shape=rules.same,
        compute=lambda xp, x, **_: f(xp, x),
        grad=grad,
        types=types or dtypes.FLOATS + dtypes.COMPLEX,
        **facts,
    )


_POSITIVE_SAMPLES = (sample((3, 4), domain=POSITIVE),)

_unary("Neg", lambda xp, x: xp.negative(x), lambda op, dy: [-dy], dtypes.NUMBERS)
_unary("Abs", lambda xp, x: xp.abs(x), lambda op, dy: [dy * sign(op.inputs[0])], dtypes.REALS)
_unary("Sign", lambda xp, x: xp.sign(x), lambda op, dy: [build("ZerosLike", [dy])], dtypes.NUMBERS)
_unary("Square", lambda xp, x: x * x, lambda op, dy: [dy * (op.inputs[0] * 2)], dtypes.NUMBERS)
_unary(
    "Sqrt",
    lambda xp, x: xp.sqrt(x),
    lambda op, dy: [dy * 0.5 / op.outputs[0]],
    samples=_POSITIVE_SAMPLES,
)
_unary(
    "Rsqrt",
    lambda xp, x: 1 / xp.sqrt(x),
    lambda op, dy: [dy * -0.5 * (op.outputs[0] / op.inputs[0])],
    samples=_POSITIVE_SAMPLES,
)
_unary(
    "Reciprocal",
    lambda xp, x: 1 / x,
    lambda op, dy: [-dy * square(op.outputs[0])],
    samples=_POSITIVE_SAMPLES,
)
_unary("Exp", lambda xp, x: xp.exp(x), lambda op, dy: [dy * op.outputs[0]])
_unary("Expm1", lambda xp, x: xp.expm1(x), lambda op, dy: [dy * exp(op.inputs[0])])
_unary(
    "Log", lambda xp, x: xp.log(x), lambda op, dy: [dy / op.inputs[0]], samples=_POSITIVE_SAMPLES
)
_unary(
    "Log1p",
    lambda xp, x: xp.log1p(x),
    lambda op, dy: [dy / (1 + op.inputs[0])],
    samples=_POSITIVE_SAMPLES,
)
_unary("Sin", lambda xp, x: xp.sin(x), lambda op, dy: [dy * cos(op.inputs[0])])
_unary("Cos", lambda xp, x: xp.cos(x), lambda op, dy: [-dy * sin(op.inputs[0])])
_unary(
    "Tan",
    lambda xp, x: xp.tan(x),
    lambda op, dy: [dy * (1 + square(op.outputs[0]))],
    samples=(sample((5,), domain=(-1.0, 1.0)),),
)
_unary("Tanh", lambda xp, x: xp.tanh(x), lambda op, dy: [dy * (1 - square(op.outputs[0]))])


def _sigmoid(xp: Any, x: Any) -> Any:
    # 1 / (1 + e^-x) overflows to 1 / inf = 0, which is the right limit.
    y = xp.exp(-x)
    y += 1
    return 1 / y


_unary("Sigmoid", _sigmoid, lambda op, dy: [dy * op.outputs[0] * (1 - op.outputs[0])])
_unary("Floor", lambda xp, x: xp.floor(x), NOT_DIFFERENTIABLE)
_unary("Ceil", lambda xp, x: xp.ceil(x), NOT_DIFFERENTIABLE)
# Half to even, as TensorFlow's Round.
_unary("Round", lambda xp, x: xp.rint(x).astype(x.dtype), NOT_DIFFERENTIABLE, dtypes.NUMBERS)


def _test(name: str, f: Callable[..., Any]) -> None:
    define(
        name,
        "x:T",
        shape=rules.same,
        compute=lambda xp, x: f(xp)(x),
        dtype=dtypes.bool_,
        grad=NOT_DIFFERENTIABLE,
        types=dtypes.FLOATS,
        samples=(sample((3,)),),
    )


_test("IsNan", lambda xp: xp.isnan)
_test("IsInf", lambda xp: xp.isinf)
_test("IsFinite", lambda xp: xp.isfinite)


# Python functions


def negative(x: Any, name: str | None = None) -> Tensor:
    """-x."""
    return build("Neg", [x], name=name)


neg = negative


def abs(x: Any, name: str | None = None) -> Tensor:
    """|x|; its gradient at 0 is 0."""
    return build("Abs", [x], name=name)


def sign(x: Any, name: str | None = None) -> Tensor:
    return build("Sign", [x], name=name)


def square(x: Any, name: str | None = None) -> Tensor:
    """x * x."""
    return build("Square", [x], name=name)


def sqrt(x: Any, name: str | None = None) -> Tensor:
    return build("Sqrt", [x], name=name)


def rsqrt(x: Any, name: str | None = None) -> Tensor:
    """1 / sqrt(x)."""
    return build("Rsqrt", [x], name=name)


def reciprocal(x: Any, name: str | None = None) -> Tensor:
    """1 / x."""
    return build("Reciprocal", [x], name=name)


inv = reciprocal


def exp(x: Any, name: str | None = None) -> Tensor:
    return build("Exp", [x], name=name)


def expm1(x: Any, name: str | None = None) -> Tensor:
    """exp(x) - 1 without cancellation near 0."""
    return build("Expm1", [x], name=name)


def log(x: Any, name: str | None = None) -> Tensor:
    """Natural logarithm; -inf at 0, NaN below."""
    return build("Log", [x], name=name)


def log1p(x: Any, name: str | None = None) -> Tensor:
    """log(1 + x) without cancellation near 0."""
    return build("Log1p", [x], name=name)


def sin(x: Any, name: str | None = None) -> Tensor:
    return build("Sin", [x], name=name)


def cos(x: Any, name: str | None = None) -> Tensor:
    return build("Cos", [x], name=name)


def tan(x: Any, name: str | None = None) -> Tensor:
    return build("Tan", [x], name=name)


def tanh(x: Any, name: str | None = None) -> Tensor:
    return build("Tanh", [x], name=name)


def sigmoid(x: Any, name: str | None = None) -> Tensor:
    """1 / (1 + exp(-x))."""
    return build("Sigmoid", [x], name=name)


def floor(x: Any, name: str | None = None) -> Tensor:
    return build("Floor", [x], name=name)


def ceil(x: Any, name: str | None = None) -> Tensor:
    return build("Ceil", [x], name=name)


def round(x: Any, name: str | None = None) -> Tensor:
    """Nearest integer, halves to even."""
    return build("Round", [x], name=name)


def is_nan(x: Any, name: str | None = None) -> Tensor:
    return build("IsNan", [x], name=name)


def is_inf(x: Any, name: str | None = None) -> Tensor:
    return build("IsInf", [x], name=name)


def is_finite(x: Any, name: str | None = None) -> Tensor:
    return build("IsFinite", [x], name=name)
