"""Dropout."""

from __future__ import annotations

from typing import Any

from host_engine.framework.build import build, convert_to_tensor, name_scope
from host_engine.framework.tensor import Tensor
from host_engine.ops.broadcast import shape_of
from host_engine.ops.random import random_uniform


def dropout(
    x: Any,
    keep_prob: Any = None,
    noise_shape: Any = None,
    seed: int | None = None,
    name: str | None = None,
    rate: Any = None,
) -> Tensor:
    """`x` with each element set to 0 with probability `rate` and the others scaled up.

    `keep_prob` = 1 - rate may be a number or a tensor; 1 gives `x` itself. `noise_shape` shares
    the choice along axes of size 1. Raises ValueError unless 0 < keep_prob <= 1.
    """
    if (keep_prob is None) == (rate is None):
        raise ValueError("dropout needs exactly one of keep_prob and rate")
    with name_scope(name, "dropout", [x]) as scope:
        x = convert_to_tensor(x, name="x")
        if not x.dtype.is_floating:
            raise ValueError(
                f"x has to be a floating point tensor since it's going to be scaled. Got a "
                f"{x.dtype.name} tensor instead."
            )
        kept = _kept(x, keep_prob, rate)
        if isinstance(kept, float) and kept == 1:
            return x
        sizes = shape_of(x) if noise_shape is None else noise_shape
        noise = random_uniform(sizes, seed=seed, dtype=x.dtype)
        mask = build("GreaterEqual", [noise, 1 - kept])
        scaled = x * (1 / kept)
        return build("Mul", [scaled, build("Cast", [mask], _to(x))], name=scope)


def _to(x: Tensor) -> dict[str, Any]:
    from host_engine.framework.dtypes import bool_

    return {"SrcT": bool_, "DstT": x.dtype}


def _kept(x: Tensor, keep_prob: Any, rate: Any) -> Any:
    given = keep_prob if rate is None else rate
    if isinstance(given, (int, float)):
        kept = float(given) if rate is None else 1.0 - float(given)
        if not 0 < kept <= 1:
            raise ValueError(
                f"keep_prob must be a scalar tensor or a float in the range (0, 1], got {kept:g}"
            )
        return kept
    share = convert_to_tensor(given, x.dtype, name="keep_prob")
    return share if rate is None else 1 - share
