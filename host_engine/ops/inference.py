# SPDX-License-Identifier: Apache-2.0
"""Records of ops of imported graphs that only inference needs: no function builds them, and they
have no gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from host_engine.errors import invalid
from host_engine.framework import dtypes
from host_engine.framework import shape_rules as rules
from host_engine.framework.constant import constant_value
from host_engine.framework.registry import define, sample
from host_engine.framework.tensor import Operation

# -- what checks or shows values --------------------------------------------------------------


def _assert(context: Any, op: Operation, condition: Any, *data: Any) -> None:
    if not np.all(condition):
        shown = " ".join(f"[{value!r}]" for value in data)
        raise invalid(f"assertion failed: {shown}")


def _check_numerics(xp: Any, x: Any, message: str = "", **_: Any) -> Any:
    if not xp.isfinite(x).all():
        raise invalid(f"{message} : Tensor had NaN or Inf values")
    return x


define("Assert", "condition:bool data:any*", shape=rules.none, run=_assert)
define(
    "CheckNumerics", "tensor:T", shape=rules.same, compute=_check_numerics, samples=(sample((2,)),)
)
define(
    "Print",
    "input:any data:any*",
    shape=rules.same,
    compute=lambda xp, x, *data, **_: x,
    samples=(sample((2, 3), [(2,)]),),
)
define("PrintV2", "input:any", shape=rules.none, run=lambda context, op, text: None)
define(
    "StringFormat",
    "inputs:any*",
    shape=rules.scalar,
    dtype=dtypes.string,
    run=lambda context, op, *values: np.array(str(op._attrs.get("template", "")).encode(), object),
)


# -- functions of each element ------------------------------------------------------------------


def _selu(xp: Any, x: Any) -> Any:
    scale, alpha = 1.0507009873554805, 1.6732632423543772
    found = scale * xp.where(x > 0, x, alpha * xp.expm1(xp.minimum(x, 0)))
    return found.astype(x.dtype)


def _local_response(
    xp: Any,
    x: Any,
    depth_radius: int = 5,
    bias: float = 1.0,
    alpha: float = 1.0,
    beta: float = 0.5,
) -> Any:
    """x / (bias + alpha * sum of squares of the channels around)^beta"""
    padded = xp.pad(x * x, ((0, 0), (0, 0), (0, 0), (depth_radius, depth_radius)))
    window = 2 * depth_radius + 1
    views = [padded[..., i : i + x.shape[3]] for i in range(window)]
    return (x / (bias + alpha * sum(views)) ** beta).astype(x.dtype)


define("Selu", "features:T", shape=rules.same, compute=_selu, samples=(sample((2, 3)),))
define(
    "LRN",
    "input:T",
    shape=rules.same,
    compute=_local_response,
    samples=(sample((1, 2, 3, 7), depth_radius=2, bias=1.5, alpha=0.3, beta=0.6),),
)


# -- moving elements ----------------------------------------------------------------------------


def _mirrored_shape(op: Operation) -> list[Any]:
    pads, shape = constant_value(op.inputs[1]), op.inputs[0].shape
    if pads is None or shape.sizes is None:
        return [None if shape.sizes is None else [None] * len(shape.sizes)]
    sizes = zip(shape.as_list(), np.asarray(pads).sum(1), strict=True)
    return [[None if size is None else size + int(more) for size, more in sizes]]


def _mirror_pad(xp: Any, x: Any, pads: Any, mode: str = "REFLECT") -> Any:
    how = "reflect" if mode == "REFLECT" else "symmetric"
    return xp.pad(x, [tuple(map(int, pair)) for pair in np.asarray(pads)], mode=how)


define(
    "MirrorPad",
    "input:any paddings:index",
    shape=_mirrored_shape,
    compute=_mirror_pad,
    samples=(
        sample((3, 4), np.array([[1, 2], [0, 3]], np.int32), mode="REFLECT"),
        sample((3, 4), np.array([[1, 2], [0, 3]], np.int32), mode="SYMMETRIC"),
    ),
)


def _reverse_sequence(xp: Any, x: Any, lengths: Any, seq_dim: int = 0, batch_dim: int = 0) -> Any:
    found = xp.array(x)
    rows, back = xp.moveaxis(found, batch_dim, 0), seq_dim - (batch_dim < seq_dim)
    for row, count in zip(rows, np.asarray(lengths), strict=True):
        moved = xp.moveaxis(row, back, 0)
        moved[: int(count)] = moved[: int(count)][::-1].copy()
    return found


define(
    "ReverseSequence",
    "input:any seq_lengths:index",
    shape=rules.same,
    compute=_reverse_sequence,
    samples=(sample((2, 4, 3), np.array([3, 1], np.int64), seq_dim=1, batch_dim=0),),
)


# -- boxes --------------------------------------------------------------------------------------


def _suppressed(
    xp: Any, boxes: Any, scores: Any, most: Any, overlap: Any = 0.5, least: Any = -np.inf
) -> Any:
    """Places of the best boxes, none of which overlaps a better one by more than `overlap`."""
    corners = np.asarray(boxes, np.float32)
    low, high = (
        np.minimum(corners[:, :2], corners[:, 2:]),
        np.maximum(corners[:, :2], corners[:, 2:]),
    )
    areas = np.prod(high - low, axis=1)
    kept: list[int] = []
    for i in np.argsort(-np.asarray(scores), kind="stable"):
        if len(kept) >= int(most) or not scores[i] > least:
            break
        inner = np.maximum(np.minimum(high[kept], high[i]) - np.maximum(low[kept], low[i]), 0)
        shared = np.prod(inner, axis=1)
        union = areas[kept] + areas[i] - shared
        held = (areas[kept] > 0) & (areas[i] > 0)
        if not (held & (shared > overlap * union)).any():
            kept.append(int(i))
    return np.array(kept, np.int32)


_BOXES = np.array([[0, 0, 1, 1], [0, 0.1, 1, 1], [2, 2, 3, 3], [0, 5, 1, 4]], np.float32)
_SCORES = np.array([0.5, 0.9, 0.3, 0.1], np.float32)
_GIVEN = (_BOXES, _SCORES, np.int32(3))
for _name, _more in (("V2", 1), ("V3", 2)):
    _names = ("iou_threshold:any", "score_threshold:any")[:_more]
    define(
        f"NonMaxSuppression{_name}",
        " ".join(("boxes:any", "scores:any", "max_output_size:int32", *_names)),
        shape=lambda op: [(None,)],
        compute=_suppressed,
        dtype=dtypes.int32,
        samples=(sample(*_GIVEN, *(np.float32(0.5), np.float32(0.2))[:_more]),),
    )


# -- quantization in training ----------------------------------------------------------------


def _fake_quant(
    xp: Any, x: Any, low: Any, high: Any, num_bits: int = 8, narrow_range: bool = False, **_: Any
) -> Any:
    """As TensorFlow's FakeQuantWithMinMax functors: the range is moved so that 0 is a step."""
    first, last = np.float32(int(narrow_range)), np.float32((1 << num_bits) - 1)
    low, high = xp.asarray(low, np.float32), xp.asarray(high, np.float32)
    empty = (low == 0) & (high == 0)
    scale = xp.where(empty, np.float32(1), (high - low) / (last - first))
    zero = xp.floor(xp.clip(first - low / scale, first, last) + np.float32(0.5))
    least, most = (first - zero) * scale, (last - zero) * scale
    steps = xp.floor((xp.clip(x, least, most) - least) / scale + np.float32(0.5))
    return xp.where(empty, np.float32(0), steps * scale + least).astype(x.dtype)


def _by_attributes(xp: Any, x: Any, min: float = -6.0, max: float = 6.0, **attrs: Any) -> Any:
    return _fake_quant(xp, x, min, max, **attrs)


def _and_back(
    xp: Any,
    x: Any,
    low: Any,
    high: Any,
    bits: Any = None,
    *,
    signed_input: bool = True,
    num_bits: int = 8,
    range_given: bool = False,
    round_mode: str = "HALF_TO_EVEN",
    narrow_range: bool = False,
    axis: int = -1,
    **_: Any,
) -> Any:
    """Symmetric steps that hold the range; as TensorFlow's QuantizeAndDequantizeOneScaleImpl."""
    count = int(bits) if bits is not None else num_bits
    most = (1 << (count - 1)) - 1 if signed_input else (1 << count) - 1
    least = (-most if narrow_range else -most - 1) if signed_input else 0
    if not range_given:
        axes = tuple(i for i in range(x.ndim) if axis < 0 or i != axis)
        low, high = x.min(axes), x.max(axes)
    low, high = xp.asarray(low, np.float32), xp.asarray(high, np.float32)
    below = low / np.float32(least) if least else xp.zeros_like(low)
    step = xp.maximum(xp.maximum(below, high / np.float32(most)), np.finfo(np.float32).tiny)
    if axis >= 0:
        step = step.reshape([-1 if i == axis else 1 for i in range(x.ndim)])
    scaled = (xp.clip(x, least * step, most * step) if range_given else x) / step
    mode = round_mode.decode() if isinstance(round_mode, bytes) else round_mode
    whole = xp.floor(scaled + np.float32(0.5)) if mode == "HALF_UP" else xp.rint(scaled)
    return (whole * step).astype(x.dtype)


_SAMPLE = {"shape": rules.same}
define(
    "FakeQuantWithMinMaxArgs", "inputs:T", compute=_by_attributes,
    samples=(sample((3, 4), min=-1.5, max=2.5),), **_SAMPLE,
)  # fmt: skip
define(
    "FakeQuantWithMinMaxVars", "inputs:T min:T max:T", compute=_fake_quant,
    samples=(sample((3, 4), np.array(-1.0), np.array(2.0)),), **_SAMPLE,
)  # fmt: skip
define(
    "FakeQuantWithMinMaxVarsPerChannel", "inputs:T min:T max:T",
    compute=_fake_quant,
    samples=(sample((3, 2), np.array([-1.0, -2.0]), np.array([2.0, 3.0])),), **_SAMPLE,
)  # fmt: skip
for _name in ("QuantizeAndDequantizeV2", "QuantizeAndDequantizeV4"):
    define(
        _name, "input:T input_min:T input_max:T", compute=_and_back,
        samples=(sample((3, 4), np.array(-1.0), np.array(2.0), range_given=True),), **_SAMPLE,
    )  # fmt: skip
define(
    "QuantizeAndDequantizeV3", "input:T input_min:T input_max:T num_bits:int32", compute=_and_back,
    samples=(
        sample((3, 4), np.array(-1.0), np.array(2.0), np.array(8, np.int32), range_given=True),
    ), **_SAMPLE,
)  # fmt: skip
