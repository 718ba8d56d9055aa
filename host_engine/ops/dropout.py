# SPDX-License-Identifier: Apache-2.0
"""Dropout."""

from __future__ import annotations

from typing import Any

from host_engine.framework.build import build, convert_to_tensor, name_scope
from host_engine.framework.dtypes import bool_
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
    if rate is None:
        rate = 1 - keep_prob
    with name_scope(name, "dropout", [x]):
        x = convert_to_tensor(x, name="x")
        if not x.dtype.is_floating:
            raise ValueError(
                f"x has to be a floating point tensor since it's going to be scaled. Got a "
                f"{x.dtype.name} tensor instead."
            )
        if isinstance(rate, (int, float)):
            if not 0 <= rate < 1:
                raise ValueError(
                    "rate must be a scalar tensor or a float in the range [0, 1), "
                    f"got {rate:g} (keep_prob {1 - rate:g})"
                )
            if rate == 0:
                return x
        share = convert_to_tensor(rate, x.dtype, name="rate")
        sizes = shape_of(x) if noise_shape is None else noise_shape
        kept = random_uniform(sizes, seed=seed, dtype=x.dtype) >= share
        scaled = x * (1 / (1 - share))
        return scaled * build("Cast", [kept], {"SrcT": bool_, "DstT": x.dtype})
