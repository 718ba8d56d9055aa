# SPDX-License-Identifier: Apache-2.0
"""Clipping by norms."""

from __future__ import annotations

from typing import Any

from host_engine.framework.build import build, convert_to_tensor, name_scope
from host_engine.framework.tensor import Tensor
from host_engine.ops import nn, reduce


def clip_by_norm(t: Any, clip_norm: Any, axes: Any = None, name: str | None = None) -> Tensor:
    """`t` scaled down so that its L2 norm (over `axes`) is at most `clip_norm`."""
    with name_scope(name, "clip_by_norm", [t, clip_norm]) as scope:
        values = convert_to_tensor(t, name="t")
        total = reduce.reduce_sum(values * values, axes, True)
        positive = build("Greater", [total, 0])
        safe = build("Select", [positive, total, build("OnesLike", [total])])
        norm = build("Select", [positive, build("Sqrt", [safe]), total])
        return build(
            "RealDiv", [values * clip_norm, build("Maximum", [norm, clip_norm])], name=scope
        )


def global_norm(t_list: Any, name: str | None = None) -> Any:
    """The L2 norm of all tensors together; entries that are None do not count."""
    values = [convert_to_tensor(t) for t in t_list if t is not None]
    if not values:
        return None
    with name_scope(name, "global_norm", values) as scope:
        halves = build("Pack", [[nn.l2_loss(v) for v in values]], {"axis": 0})
        total = reduce.reduce_sum(halves)
        return build("Sqrt", [total * convert_to_tensor(2.0, total.dtype)], name=scope)


def clip_by_global_norm(
    t_list: Any, clip_norm: Any, use_norm: Any = None, name: str | None = None
) -> tuple[list[Any], Any]:
    """(tensors scaled by clip_norm / max(norm, clip_norm), norm) for their common norm."""
    tensors = list(t_list)
    norm = global_norm(tensors, name) if use_norm is None else use_norm
    with name_scope(name, "clip_by_global_norm", [t for t in tensors if t is not None]):
        one = convert_to_tensor(1.0, norm.dtype)
        scale = clip_norm * build("Minimum", [one / norm, one / clip_norm])
        clipped = [None if t is None else build("Mul", [t, scale]) for t in tensors]
        return clipped, norm
