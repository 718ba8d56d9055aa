# SPDX-License-Identifier: Apache-2.0
"""Updates of variables by optimizers, each one pass over the arrays in cache-sized pieces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from host_engine.errors import invalid
from host_engine.framework import dtypes
from host_engine.framework.registry import NOT_DIFFERENTIABLE, define
from host_engine.ops.state import variable_of
from host_engine.parallel import for_each, slices

# Elements whose temporaries stay in a core's cache.
_PIECE = 1 << 15
_PARALLEL = 1 << 18


def _by_pieces(xp: Any, work: Callable[..., None], *arrays: Any) -> None:
    """Calls `work` with the arrays, flat, a piece at a time, large ones on several threads."""
    flat = [a.reshape(-1) for a in arrays]
    size = flat[0].size

    def part(span: slice) -> None:
        for piece in slices(span.stop - span.start, _PIECE):
            inside = slice(span.start + piece.start, span.start + piece.stop)
            work(*[a[inside] for a in flat])

    for_each(xp, slices(size, max(_PARALLEL, -(-size // 8))), part)


def _targets(context: Any, op: Any, count: int, grad: Any) -> list[Any]:
    """The arrays of the first `count` inputs, to be updated in place."""
    arrays = [context.variables.writable(variable_of(t)) for t in op.inputs[:count]]
    for array in arrays:
        if array.shape != grad.shape:
            raise invalid(
                f"var and grad do not have the same shape: {list(array.shape)} vs. "
                f"{list(grad.shape)}"
            )
    return arrays


def _descent(context: Any, op: Any, alpha: Any, delta: Any) -> Any:
    (var,) = _targets(context, op, 1, delta)

    def step(v: Any, g: Any) -> None:
        v -= g * alpha

    _by_pieces(context.xp, step, var, delta)
    return var


def _momentum(context: Any, op: Any, rate: Any, grad: Any, momentum: Any) -> Any:
    """accum = momentum * accum + grad; var -= rate * accum (or the Nesterov look-ahead)."""
    var, accum = _targets(context, op, 2, grad)
    nesterov = op._attrs["use_nesterov"]

    def step(v: Any, a: Any, g: Any) -> None:
        a *= momentum
        a += g
        v -= (g + momentum * a) * rate if nesterov else a * rate

    _by_pieces(context.xp, step, var, accum, grad)
    return var


def _adam(
    context: Any,
    op: Any,
    beta1_power: Any,
    beta2_power: Any,
    rate: Any,
    beta1: Any,
    beta2: Any,
    epsilon: Any,
    grad: Any,
) -> Any:
    """Kingma and Ba, "Adam" (2015), in the form before their equation for epsilon-hat."""
    xp = context.xp
    var, m, v = _targets(context, op, 3, grad)
    one = grad.dtype.type(1)
    scale = rate * xp.sqrt(one - beta2_power) / (one - beta1_power)
    keep1, keep2 = one - beta1, one - beta2

    def step(w: Any, m1: Any, v1: Any, g: Any) -> None:
        t = g - m1
        t *= keep1
        m1 += t
        xp.multiply(g, g, out=t)
        t -= v1
        t *= keep2
        v1 += t
        xp.sqrt(v1, out=t)
        t += epsilon
        xp.divide(m1, t, out=t)
        t *= scale
        w -= t

    _by_pieces(xp, step, var, m, v, grad)
    return var


def _rms_prop(
    context: Any, op: Any, rate: Any, rho: Any, momentum: Any, epsilon: Any, grad: Any
) -> Any:
    """ms += (1 - rho) (grad^2 - ms); mom = mu mom + rate grad / sqrt(ms + eps); var -= mom."""
    var, ms, mom = _targets(context, op, 3, grad)
    keep = grad.dtype.type(1) - rho

    def step(v: Any, s: Any, m: Any, g: Any) -> None:
        s += (g * g - s) * keep
        m *= momentum
        m += g * rate / context.xp.sqrt(s + epsilon)
        v -= m

    _by_pieces(context.xp, step, var, ms, mom, grad)
    return var


def _adagrad(context: Any, op: Any, rate: Any, grad: Any) -> Any:
    """accum += grad^2; var -= rate grad / sqrt(accum)."""
    var, accum = _targets(context, op, 2, grad)

    def step(v: Any, a: Any, g: Any) -> None:
        a += g * g
        v -= g * rate / context.xp.sqrt(a)

    _by_pieces(context.xp, step, var, accum, grad)
    return var


def _apply(name: str, slots: str, values: str, run: Any) -> None:
    refs = " ".join(f"{s}:T" for s in ("var", *slots.split()))
    define(
        name,
        f"{refs} {' '.join(f'{v}:T' for v in values.split())}",
        shape=lambda op: [op.inputs[0].shape],
        run=run,
        grad=NOT_DIFFERENTIABLE,
        types=dtypes.FLOATS,
        refs=1 + len(slots.split()),
        writes=True,
    )


_apply("ApplyGradientDescent", "", "alpha delta", _descent)
_apply("ApplyMomentum", "accum", "lr grad momentum", _momentum)
_apply("ApplyAdam", "m v", "beta1_power beta2_power lr beta1 beta2 epsilon grad", _adam)
_apply("ApplyRMSProp", "ms mom", "lr rho momentum epsilon grad", _rms_prop)
_apply("ApplyAdagrad", "accum", "lr grad", _adagrad)
