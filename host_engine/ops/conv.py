"""Convolutions: patches (im2col) of a block of images at a time, then one matrix product each.

The products run over blocks so that the patches stay in cache and their buffer is reused; the
patch buffer is the only large temporary. NCHW tensors are computed through NHWC views.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from host_engine.errors import invalid
from host_engine.framework import dtypes
from host_engine.framework import shape_rules as rules
from host_engine.framework.build import build, name_scope
from host_engine.framework.constant import shape_value
from host_engine.framework.registry import define, sample
from host_engine.framework.tensor import Tensor
from host_engine.ops.broadcast import shape_of
from host_engine.ops.windows import Axis, axis_of, check_padding, out_size, pad, tap, unpad, windows

_BLOCK_BYTES = 4 << 20


def _spatial(attrs: dict[str, Any], key: str) -> tuple[int, int]:
    values = attrs.get(key) or [1, 1, 1, 1]
    return (values[2], values[3]) if attrs.get("data_format") == "NCHW" else (values[1], values[2])


def _geometry(in_shape: Any, filter_shape: Any, attrs: dict[str, Any]) -> tuple[Axis, Axis]:
    strides, dilations = _spatial(attrs, "strides"), _spatial(attrs, "dilations")
    rows, cols = (
        axis_of(in_shape[1 + k], filter_shape[k], strides[k], dilations[k], attrs["padding"])
        for k in (0, 1)
    )
    return rows, cols


def _nhwc(xp: Any, x: Any, attrs: dict[str, Any]) -> Any:
    return x.transpose(0, 2, 3, 1) if attrs.get("data_format") == "NCHW" else x


def _back(xp: Any, x: Any, attrs: dict[str, Any]) -> Any:
    if attrs.get("data_format") != "NCHW":
        return x
    return xp.ascontiguousarray(x.transpose(0, 3, 1, 2))


def _blocks(count: int, bytes_each: int) -> list[slice]:
    step = max(1, min(count, _BLOCK_BYTES // max(bytes_each, 1)))
    return [slice(i, min(i + step, count)) for i in range(0, count, step)]


def _is_pointwise(rows: Axis, cols: Axis) -> bool:
    return all(a.kernel == 1 and a.stride == 1 and not a.before + a.after for a in (rows, cols))


class _Patches:
    """Patches [images * out_h * out_w, kernel_h * kernel_w * c] of padded input, by block."""

    def __init__(self, xp: Any, padded: Any, rows: Axis, cols: Axis) -> None:
        self.view = windows(xp, padded, rows, cols)
        self.columns = int(np.prod(self.view.shape[3:]))
        self.per_image = rows.out * cols.out
        self.blocks = _blocks(len(padded), self.per_image * self.columns * padded.itemsize)
        first = self.blocks[0].stop if self.blocks else 0
        self.buffer = xp.empty((first, *self.view.shape[1:]), padded.dtype)

    def of(self, block: slice) -> Any:
        part = self.buffer[: block.stop - block.start]
        part[...] = self.view[block]
        return part.reshape(-1, self.columns)


def _conv2d(xp: Any, x: Any, filters: Any, **attrs: Any) -> Any:
    x = _nhwc(xp, x, attrs)
    _check_channels(x, filters)
    rows, cols = _geometry(x.shape, filters.shape, attrs)
    depth = filters.shape[3]
    matrix = filters.reshape(-1, depth)
    out = xp.empty((x.shape[0], rows.out, cols.out, depth), x.dtype)
    flat = out.reshape(-1, depth)
    if _is_pointwise(rows, cols):
        xp.matmul(x.reshape(-1, x.shape[3]), matrix, out=flat)
        return _back(xp, out, attrs)
    patches = _Patches(xp, pad(xp, x, rows, cols), rows, cols)
    for block in patches.blocks:
        lines = slice(block.start * patches.per_image, block.stop * patches.per_image)
        xp.matmul(patches.of(block), matrix, out=flat[lines])
    return _back(xp, out, attrs)


def _check_channels(x: Any, filters: Any) -> None:
    if x.shape[3] != filters.shape[2]:
        raise invalid(
            f"input and filter must have the same depth: {x.shape[3]} vs {filters.shape[2]}"
        )


def _conv2d_filter(xp: Any, x: Any, sizes: Any, dy: Any, **attrs: Any) -> Any:
    x, dy = _nhwc(xp, x, attrs), _nhwc(xp, dy, attrs)
    shape = tuple(int(s) for s in sizes)
    rows, cols = _geometry(x.shape, shape, attrs)
    depth = shape[3]
    flat = dy.reshape(-1, depth)
    if _is_pointwise(rows, cols):
        return (x.reshape(-1, x.shape[3]).T @ flat).reshape(shape)
    total = xp.zeros((int(np.prod(shape[:3])), depth), dy.dtype)
    patches = _Patches(xp, pad(xp, x, rows, cols), rows, cols)
    for block in patches.blocks:
        lines = slice(block.start * patches.per_image, block.stop * patches.per_image)
        total += patches.of(block).T @ flat[lines]
    return total.reshape(shape)


def _conv2d_input(xp: Any, sizes: Any, filters: Any, dy: Any, **attrs: Any) -> Any:
    shape = tuple(int(s) for s in sizes)
    if attrs.get("data_format") == "NCHW":
        shape = (shape[0], shape[2], shape[3], shape[1])
    dy = _nhwc(xp, dy, attrs)
    rows, cols = _geometry(shape, filters.shape, attrs)
    if dy.shape[1:3] != (rows.out, cols.out):
        raise invalid(
            f"Conv2DBackpropInput: out_backprop is {dy.shape[1]}x{dy.shape[2]}, but the input "
            f"sizes give {rows.out}x{cols.out}"
        )
    if _is_pointwise(rows, cols):
        matrix = filters.reshape(filters.shape[2:])
        return _back(xp, (dy.reshape(-1, dy.shape[3]) @ matrix.T).reshape(shape), attrs)
    if rows.stride == cols.stride == 1:
        return _back(xp, _flipped(xp, shape, filters, dy, rows, cols), attrs)
    return _back(xp, _scattered(xp, shape, filters, dy, rows, cols), attrs)


def _flipped(xp: Any, shape: Any, filters: Any, dy: Any, rows: Axis, cols: Axis) -> Any:
    """Stride 1: a convolution of `dy` with the kernel turned by 180 degrees."""
    turned = xp.ascontiguousarray(filters[::-1, ::-1].transpose(0, 1, 3, 2))
    back = [
        Axis(
            size=a.out,
            out=a.size,
            kernel=a.kernel,
            stride=1,
            dilation=a.dilation,
            before=(a.kernel - 1) * a.dilation - a.before,
            after=(a.kernel - 1) * a.dilation - a.after,
        )
        for a in (rows, cols)
    ]
    matrix = turned.reshape(-1, turned.shape[3])
    out = xp.empty(shape, dy.dtype)
    flat = out.reshape(-1, shape[3])
    patches = _Patches(xp, pad(xp, dy, *back), *back)
    for block in patches.blocks:
        lines = slice(block.start * patches.per_image, block.stop * patches.per_image)
        xp.matmul(patches.of(block), matrix, out=flat[lines])
    return out


def _scattered(xp: Any, shape: Any, filters: Any, dy: Any, rows: Axis, cols: Axis) -> Any:
    """Any stride: each kernel cell's product is added where the cell reads."""
    out = xp.zeros((shape[0], rows.padded, cols.padded, shape[3]), dy.dtype)
    flat = dy.reshape(-1, dy.shape[3])
    for i in range(rows.kernel):
        for j in range(cols.kernel):
            part = (flat @ filters[i, j].T).reshape(*dy.shape[:3], shape[3])
            tap(out, i, j, rows, cols)[...] += part
    return unpad(out, rows, cols)


# Depthwise


def _depthwise(xp: Any, x: Any, filters: Any, **attrs: Any) -> Any:
    x = _nhwc(xp, x, attrs)
    _check_channels(x, filters)
    rows, cols = _geometry(x.shape, filters.shape, attrs)
    n, _, _, c = x.shape
    times = filters.shape[3]
    padded = pad(xp, x, rows, cols)
    out = xp.zeros((n, rows.out, cols.out, c, times), x.dtype)
    for block in _blocks(n, out[:1].nbytes):
        part = out[block]
        product = xp.empty_like(part)
        for i in range(rows.kernel):
            for j in range(cols.kernel):
                seen = tap(padded[block], i, j, rows, cols)
                xp.multiply(seen[..., None], filters[i, j], out=product)
                part += product
    return _back(xp, out.reshape(n, rows.out, cols.out, c * times), attrs)


def _depthwise_input(xp: Any, sizes: Any, filters: Any, dy: Any, **attrs: Any) -> Any:
    shape = tuple(int(s) for s in sizes)
    if attrs.get("data_format") == "NCHW":
        shape = (shape[0], shape[2], shape[3], shape[1])
    dy = _nhwc(xp, dy, attrs)
    rows, cols = _geometry(shape, filters.shape, attrs)
    spread = dy.reshape(*dy.shape[:3], *filters.shape[2:])
    out = xp.zeros((shape[0], rows.padded, cols.padded, shape[3]), dy.dtype)
    for i in range(rows.kernel):
        for j in range(cols.kernel):
            tap(out, i, j, rows, cols)[...] += (spread * filters[i, j]).sum(-1)
    return _back(xp, unpad(out, rows, cols), attrs)


def _depthwise_filter(xp: Any, x: Any, sizes: Any, dy: Any, **attrs: Any) -> Any:
    x, dy = _nhwc(xp, x, attrs), _nhwc(xp, dy, attrs)
    shape = tuple(int(s) for s in sizes)
    rows, cols = _geometry(x.shape, shape, attrs)
    padded = pad(xp, x, rows, cols)
    spread = dy.reshape(*dy.shape[:3], *shape[2:])
    out = xp.empty(shape, dy.dtype)
    for i in range(rows.kernel):
        for j in range(cols.kernel):
            seen = tap(padded, i, j, rows, cols)
            out[i, j] = xp.einsum("nhwc,nhwcm->cm", seen, spread)
    return out


# Records


def _conv_shape(op: Any) -> list[Any]:
    attrs = op._attrs
    x, filters = op.inputs[0].shape, op.inputs[1].shape
    for shape in (x, filters):
        if shape.ndims not in (4, None):
            raise ValueError(f"Shape must be rank 4 but is rank {shape.ndims}")
    sizes, kernel = x.with_rank(4).as_list(), filters.with_rank(4).as_list()
    first = attrs.get("data_format") == "NCHW"
    n, h, w, c = [sizes[i] for i in (0, 2, 3, 1)] if first else sizes
    rules.equal_size(c, kernel[2])
    strides, dilations = _spatial(attrs, "strides"), _spatial(attrs, "dilations")
    oh, ow = (
        out_size(s, k, t, d, attrs["padding"])
        for s, k, t, d in zip((h, w), kernel, strides, dilations, strict=False)
    )
    depth = kernel[3]
    if op.type == "DepthwiseConv2dNative":
        depth = None if depth is None or kernel[2] is None else depth * kernel[2]
    return [(n, depth, oh, ow) if first else (n, oh, ow, depth)]


def _backprop_args(op: Any) -> tuple[Any, dict[str, Any]]:
    return op.inputs, dict(op._attrs)


def _gradients(prefix: str, forward: str) -> dict[str, Any]:
    """Gradient rules of a convolution and of its two backward operations: all are bilinear."""
    to_input, to_filter = f"{prefix}BackpropInput", f"{prefix}BackpropFilter"

    def conv(op: Any, dy: Tensor) -> list[Any]:
        (x, filters), attrs = _backprop_args(op)
        return [
            build(to_input, [shape_of(x), filters, dy], attrs),
            build(to_filter, [x, shape_of(filters), dy], attrs),
        ]

    def backprop_input(op: Any, ddx: Tensor) -> list[Any]:
        (_, filters, dy), attrs = _backprop_args(op)
        return [
            None,
            build(to_filter, [ddx, shape_of(filters), dy], attrs),
            build(forward, [ddx, filters], attrs),
        ]

    def backprop_filter(op: Any, ddw: Tensor) -> list[Any]:
        (x, _, dy), attrs = _backprop_args(op)
        return [
            build(to_input, [shape_of(x), ddw, dy], attrs),
            None,
            build(forward, [x, ddw], attrs),
        ]

    return {"conv": conv, "input": backprop_input, "filter": backprop_filter}


_CASES = (
    # input, filter, stride, dilation, padding
    ((2, 5, 6, 3), (3, 3), 1, 1, "SAME"),
    ((2, 5, 6, 3), (2, 3), 1, 1, "VALID"),
    ((1, 7, 8, 2), (3, 2), 2, 1, "SAME"),
    ((1, 8, 7, 2), (3, 3), 2, 1, "VALID"),
    ((1, 9, 8, 2), (3, 3), 1, 2, "SAME"),
    ((1, 9, 8, 2), (3, 2), 1, 2, "VALID"),
    ((2, 4, 4, 3), (1, 1), 1, 1, "SAME"),
    ((1, 5, 5, 2), (1, 1), 2, 1, "VALID"),
    ((1, 3, 3, 1), (5, 5), 1, 1, "SAME"),
)


def _attrs(stride: int, dilation: int, padding: str, first: bool = False) -> dict[str, Any]:
    order = (lambda s: [1, 1, s, s]) if first else (lambda s: [1, s, s, 1])
    return {
        "strides": order(stride),
        "dilations": order(dilation),
        "padding": padding,
        "data_format": "NCHW" if first else "NHWC",
    }


def _cases(depth: int, kind: str) -> tuple[Any, ...]:
    found = []
    for shape, kernel, stride, dilation, padding in (*_CASES, _CASES[2]):
        first = len(found) == len(_CASES)
        filters = (*kernel, shape[3], depth)
        attrs = _attrs(stride, dilation, padding, first)
        rows, cols = _geometry(shape, filters, _attrs(stride, dilation, padding))
        channels = depth * shape[3] if kind.startswith("depthwise") else depth
        out = (shape[0], rows.out, cols.out, channels)
        if first:
            shape, out = (shape[0], shape[3], *shape[1:3]), (out[0], out[3], *out[1:3])
        if kind.endswith("conv"):
            found.append(sample(shape, filters, **attrs))
        elif kind.endswith("input"):
            found.append(sample(np.array(shape, np.int32), filters, out, **attrs))
        else:
            found.append(sample(shape, np.array(filters, np.int32), out, **attrs))
    return tuple(found)


def _family(forward: str, prefix: str, functions: Any, depth: int, kind: str) -> None:
    grads = _gradients(prefix, forward)
    shared: dict[str, Any] = {"types": dtypes.FLOATS}
    define(
        forward,
        "input:T filter:T",
        shape=_conv_shape,
        compute=functions[0],
        grad=grads["conv"],
        samples=_cases(depth, f"{kind}conv"),
        **shared,
    )
    define(
        f"{prefix}BackpropInput",
        "input_sizes:int32 filter:T out_backprop:T",
        shape=lambda op: [shape_value(op.inputs[0]).with_rank(4)],
        compute=functions[1],
        grad=grads["input"],
        dtype=lambda op: [op.inputs[1].dtype],
        samples=_cases(depth, f"{kind}input"),
        **shared,
    )
    define(
        f"{prefix}BackpropFilter",
        "input:T filter_sizes:int32 out_backprop:T",
        shape=lambda op: [shape_value(op.inputs[1]).with_rank(4)],
        compute=functions[2],
        grad=grads["filter"],
        samples=_cases(depth, f"{kind}filter"),
        **shared,
    )


_family("Conv2D", "Conv2D", (_conv2d, _conv2d_input, _conv2d_filter), 4, "")
_family(
    "DepthwiseConv2dNative",
    "DepthwiseConv2dNative",
    (_depthwise, _depthwise_input, _depthwise_filter),
    2,
    "depthwise ",
)

# Python functions


def _four(value: Any, data_format: str) -> list[int]:
    """Strides or dilations as four ints; one or two numbers mean height and width."""
    values = [int(v) for v in np.atleast_1d(value)]
    if len(values) == 4:
        return values
    if len(values) not in (1, 2):
        raise ValueError(f"expected 1, 2 or 4 numbers, got {value}")
    h, w = values[0], values[-1]
    return [1, 1, h, w] if data_format == "NCHW" else [1, h, w, 1]


def conv2d(
    input: Any,
    filter: Any = None,
    strides: Any = None,
    padding: Any = None,
    use_cudnn_on_gpu: Any = True,
    data_format: str = "NHWC",
    dilations: Any = (1, 1, 1, 1),
    name: str | None = None,
    filters: Any = None,
) -> Tensor:
    """Convolution of `input` [n, h, w, c] with `filter` [kh, kw, c, out].

    `strides` and `dilations` have 4 entries (or 1 or 2 for the spatial axes), `padding` is
    "SAME" or "VALID".
    """
    attrs = {
        "strides": _four(strides, data_format),
        "padding": check_padding(padding),
        "data_format": data_format,
        "dilations": _four(dilations, data_format),
    }
    return build("Conv2D", [input, filter if filters is None else filters], attrs, name)


def conv2d_transpose(
    value: Any,
    filter: Any,
    output_shape: Any,
    strides: Any,
    padding: str = "SAME",
    data_format: str = "NHWC",
    name: str | None = None,
) -> Tensor:
    """The gradient of conv2d to its input, as a layer; `filter` is [kh, kw, out, c]."""
    with name_scope(name, "conv2d_transpose", [value, filter, output_shape]) as scope:
        attrs = {
            "strides": _four(strides, data_format),
            "padding": check_padding(padding),
            "data_format": data_format,
            "dilations": [1, 1, 1, 1],
        }
        return build("Conv2DBackpropInput", [output_shape, filter, value], attrs, scope)


def depthwise_conv2d(
    input: Any,
    filter: Any,
    strides: Any,
    padding: Any,
    rate: Any = None,
    name: str | None = None,
    data_format: str | None = None,
) -> Tensor:
    """Each channel of `input` [n, h, w, c] with its own filters; `filter` is [kh, kw, c, m].

    The output has c * m channels; `rate` dilates.
    """
    layout = data_format or "NHWC"
    with name_scope(name, "depthwise", [input, filter]) as scope:
        attrs = {
            "strides": _four(strides, layout),
            "padding": check_padding(padding),
            "data_format": layout,
            "dilations": _four(1 if rate is None else rate, layout),
        }
        return build("DepthwiseConv2dNative", [input, filter], attrs, scope)


depthwise_conv2d_native = depthwise_conv2d
