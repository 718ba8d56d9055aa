# SPDX-License-Identifier: Apache-2.0
"""Max and average pooling over [n, h, w, c]."""

from __future__ import annotations

from typing import Any

import numpy as np

from host_engine.framework import dtypes
from host_engine.framework.build import build, name_scope
from host_engine.framework.constant import shape_value
from host_engine.framework.registry import define, sample
from host_engine.framework.tensor import Tensor
from host_engine.ops.broadcast import shape_of
from host_engine.ops.windows import (
    Axis,
    axis_of,
    check_padding,
    image_slices,
    out_size,
    pad,
    tap,
    unpad,
)
from host_engine.parallel import for_each


def _spatial(values: Any, data_format: str) -> tuple[int, int]:
    return (values[2], values[3]) if data_format == "NCHW" else (values[1], values[2])


def _geometry(
    shape: Any, ksize: Any, strides: Any, padding: str, data_format: str
) -> tuple[Axis, Axis]:
    kernel, step = _spatial(ksize, data_format), _spatial(strides, data_format)
    rows, cols = (axis_of(shape[1 + k], kernel[k], step[k], 1, padding) for k in (0, 1))
    return rows, cols


def _taps(padded: Any, rows: Axis, cols: Axis) -> list[Any]:
    return [tap(padded, i, j, rows, cols) for i in range(rows.kernel) for j in range(cols.kernel)]


def _layout(x: Any, data_format: str) -> Any:
    return x.transpose(0, 2, 3, 1) if data_format == "NCHW" else x


def _restore(xp: Any, x: Any, data_format: str) -> Any:
    return xp.ascontiguousarray(x.transpose(0, 3, 1, 2)) if data_format == "NCHW" else x


def _max_pool(
    xp: Any, x: Any, ksize: Any, strides: Any, padding: str, data_format: str = "NHWC", **_: Any
) -> Any:
    x = _layout(x, data_format)
    rows, cols = _geometry(x.shape, ksize, strides, padding, data_format)
    source = pad(xp, x, rows, cols, _lowest(x.dtype))
    out = xp.empty((len(x), rows.out, cols.out, x.shape[3]), x.dtype)

    def work(images: slice) -> None:
        taps = _taps(source[images], rows, cols)
        best = out[images]
        best[...] = taps[0]
        for seen in taps[1:]:
            xp.maximum(best, seen, out=best)

    for_each(xp, image_slices(source), work)
    return _restore(xp, out, data_format)


def _lowest(dtype: Any) -> Any:
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


def _max_pool_grad(
    xp: Any,
    x: Any,
    y: Any,
    dy: Any,
    ksize: Any,
    strides: Any,
    padding: str,
    data_format: str = "NHWC",
    **_: Any,
) -> Any:
    """Each window's gradient goes to its first largest cell (row by row)."""
    x, y, dy = (_layout(v, data_format) for v in (x, y, dy))
    rows, cols = _geometry(x.shape, ksize, strides, padding, data_format)
    source = pad(xp, x, rows, cols, _lowest(x.dtype))
    out = xp.zeros(source.shape, dy.dtype)

    def work(images: slice) -> None:
        _choose(xp, source[images], y[images], dy[images], out[images], rows, cols)

    for_each(xp, image_slices(source), work)
    return _restore(xp, unpad(out, rows, cols), data_format)


def _choose(xp: Any, source: Any, y: Any, dy: Any, out: Any, rows: Axis, cols: Axis) -> None:
    """Adds `dy` to the cell of `out` where `source` first equals `y`."""
    apart = rows.stride >= rows.kernel and cols.stride >= cols.kernel
    free = xp.ones(y.shape, bool)
    for seen, target in zip(_taps(source, rows, cols), _taps(out, rows, cols), strict=True):
        chosen = seen == y
        chosen &= free
        free ^= chosen
        if apart:
            xp.multiply(dy, chosen, out=target)
        else:
            target += dy * chosen


def _counts(xp: Any, shape: Any, rows: Axis, cols: Axis, dtype: Any) -> Any:
    """How many cells of each window lie inside the image, [1, out_h, out_w, 1]."""
    inside = pad(xp, xp.ones((1, *shape[1:3], 1), dtype), rows, cols)
    return sum(_taps(inside, rows, cols))


def _avg_pool(
    xp: Any, x: Any, ksize: Any, strides: Any, padding: str, data_format: str = "NHWC", **_: Any
) -> Any:
    x = _layout(x, data_format)
    rows, cols = _geometry(x.shape, ksize, strides, padding, data_format)
    taps = _taps(pad(xp, x, rows, cols), rows, cols)
    out = taps[0].copy()
    for seen in taps[1:]:
        out += seen
    out /= _counts(xp, x.shape, rows, cols, x.dtype)
    return _restore(xp, out, data_format)


def _avg_pool_grad(
    xp: Any,
    sizes: Any,
    dy: Any,
    ksize: Any,
    strides: Any,
    padding: str,
    data_format: str = "NHWC",
    **_: Any,
) -> Any:
    shape = tuple(int(s) for s in sizes)
    if data_format == "NCHW":
        shape = (shape[0], shape[2], shape[3], shape[1])
    dy = _layout(dy, data_format)
    rows, cols = _geometry(shape, ksize, strides, padding, data_format)
    share = dy / _counts(xp, shape, rows, cols, dy.dtype)
    out = xp.zeros((shape[0], rows.padded, cols.padded, shape[3]), dy.dtype)
    for target in _taps(out, rows, cols):
        target += share
    return _restore(xp, unpad(out, rows, cols), data_format)


def _pool_shape(op: Any) -> list[Any]:
    attrs = op._attrs
    sizes = op.inputs[0].shape.with_rank(4).as_list()
    layout = attrs["data_format"]
    first = layout == "NCHW"
    n, h, w, c = [sizes[i] for i in (0, 2, 3, 1)] if first else sizes
    kernel, step = _spatial(attrs["ksize"], layout), _spatial(attrs["strides"], layout)
    oh, ow = (
        out_size(s, k, t, 1, attrs["padding"]) for s, k, t in zip((h, w), kernel, step, strict=True)
    )
    return [(n, c, oh, ow) if first else (n, oh, ow, c)]


_CASES = (
    ((2, 6, 4, 3), 2, 2, "SAME", "NHWC"),
    ((1, 7, 7, 2), 3, 2, "SAME", "NHWC"),
    ((1, 7, 7, 2), 3, 2, "VALID", "NHWC"),
    ((1, 5, 5, 2), 3, 1, "SAME", "NHWC"),
    ((1, 5, 5, 2), 1, 2, "VALID", "NHWC"),
    ((1, 2, 7, 7), 3, 2, "SAME", "NCHW"),
)


def _attrs(size: Any, stride: Any, padding: Any, layout: Any) -> dict[str, Any]:
    order = (lambda s: [1, 1, s, s]) if layout == "NCHW" else (lambda s: [1, s, s, 1])
    return {
        "ksize": order(size),
        "strides": order(stride),
        "padding": padding,
        "data_format": layout,
    }


_SAMPLES = tuple(sample(shape, **_attrs(*rest)) for shape, *rest in _CASES)


def _grad_samples() -> tuple[Any, ...]:
    rng = np.random.default_rng(5)
    found = []
    for shape, *rest in _CASES:
        attrs = _attrs(*rest)
        x = rng.standard_normal(shape)
        y = _max_pool(np, x, **attrs)
        found.append(sample(x, y, y.shape, wrt=(2,), **attrs))
    return tuple(found)


def _average_grad_samples() -> tuple[Any, ...]:
    found = []
    for shape, *rest in _CASES:
        attrs = _attrs(*rest)
        out = _avg_pool(np, np.zeros(shape), **attrs).shape
        found.append(sample(np.array(shape, np.int32), out, **attrs))
    return tuple(found)


define(
    "MaxPool",
    "input:T",
    shape=_pool_shape,
    compute=_max_pool,
    grad=lambda op, dy: [build("MaxPoolGrad", [op.inputs[0], op.outputs[0], dy], dict(op._attrs))],
    types=dtypes.REALS,
    samples=_SAMPLES,
)


def _choice_gradient(op: Any, ddx: Tensor) -> list[Any]:
    """MaxPoolGrad is linear in dy: its transpose picks the chosen cells of `ddx`."""
    x, y, _ = op.inputs
    return [None, None, build("MaxPoolGradGrad", [x, y, ddx], dict(op._attrs))]


define(
    "MaxPoolGrad",
    "orig_input:T orig_output:T grad:T",
    shape=lambda op: [op.inputs[0].shape],
    compute=_max_pool_grad,
    grad=_choice_gradient,
    types=dtypes.REALS,
    samples=_grad_samples(),
)


def _max_pool_grad_grad(
    xp: Any,
    x: Any,
    y: Any,
    ddx: Any,
    ksize: Any,
    strides: Any,
    padding: str,
    data_format: str = "NHWC",
    **_: Any,
) -> Any:
    x, y, ddx = (_layout(v, data_format) for v in (x, y, ddx))
    rows, cols = _geometry(x.shape, ksize, strides, padding, data_format)
    source, values = pad(xp, x, rows, cols, _lowest(x.dtype)), pad(xp, ddx, rows, cols)
    out = xp.zeros(y.shape, ddx.dtype)
    free = xp.ones(y.shape, bool)
    for seen, value in zip(_taps(source, rows, cols), _taps(values, rows, cols), strict=True):
        chosen = (seen == y) & free
        free ^= chosen
        out += value * chosen
    return _restore(xp, out, data_format)


def _grad_grad_samples() -> tuple[Any, ...]:
    return tuple(
        sample(s.inputs[0], s.inputs[1], s.inputs[0].shape, wrt=(2,), **s.attrs)
        for s in _grad_samples()
    )


define(
    "MaxPoolGradGrad",
    "orig_input:T orig_output:T grad:T",
    shape=lambda op: [op.inputs[1].shape],
    compute=_max_pool_grad_grad,
    grad=lambda op, dy: [
        None,
        None,
        build("MaxPoolGrad", [op.inputs[0], op.inputs[1], dy], dict(op._attrs)),
    ],
    types=dtypes.REALS,
    samples=_grad_grad_samples(),
)
define(
    "AvgPool",
    "value:T",
    shape=_pool_shape,
    compute=_avg_pool,
    grad=lambda op, dy: [build("AvgPoolGrad", [shape_of(op.inputs[0]), dy], dict(op._attrs))],
    types=dtypes.FLOATS,
    samples=_SAMPLES,
)
define(
    "AvgPoolGrad",
    "orig_input_shape:int32 grad:T",
    shape=lambda op: [shape_value(op.inputs[0])],
    compute=_avg_pool_grad,
    dtype=lambda op: [op.inputs[1].dtype],
    grad=lambda op, dy: [None, build("AvgPool", [dy], dict(op._attrs))],
    types=dtypes.FLOATS,
    samples=_average_grad_samples(),
)


def _pool(
    op_type: str, value: Any, ksize: Any, strides: Any, padding: Any, layout: str, name: Any
) -> Any:
    attrs = {
        "ksize": _four(ksize, layout),
        "strides": _four(strides, layout),
        "padding": check_padding(padding),
        "data_format": layout,
    }
    for key in ("ksize", "strides"):
        channel = attrs[key][1 if layout == "NCHW" else 3]
        if attrs[key][0] != 1 or channel != 1:
            raise ValueError(
                f"{op_type} over batch or channels is not supported: {key}={attrs[key]}"
            )
    with name_scope(name, op_type, [value]) as scope:
        return build(op_type, [value], attrs, scope)


def _four(value: Any, layout: str) -> list[int]:
    values = [int(v) for v in np.atleast_1d(value)]
    if len(values) == 4:
        return values
    h, w = values[0], values[-1]
    return [1, 1, h, w] if layout == "NCHW" else [1, h, w, 1]


def max_pool(
    value: Any,
    ksize: Any,
    strides: Any,
    padding: Any,
    data_format: str = "NHWC",
    name: str | None = None,
) -> Tensor:
    """The largest of each window; at ties the gradient goes to the first cell."""
    return _pool("MaxPool", value, ksize, strides, padding, data_format, name)


def avg_pool(
    value: Any,
    ksize: Any,
    strides: Any,
    padding: Any,
    data_format: str = "NHWC",
    name: str | None = None,
) -> Tensor:
    """The mean of each window, of its cells inside the image only."""
    return _pool("AvgPool", value, ksize, strides, padding, data_format, name)


max_pool2d, avg_pool2d = max_pool, avg_pool
