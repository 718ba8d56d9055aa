"""Convolutions: patches (im2col) of a block of images at a time, then one matrix product each.

The products run over blocks so that the patches stay in cache and their buffer is reused; the
patch buffer is the only large temporary. NCHW tensors are computed through NHWC views.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from host_engine.errors import invalid
from host_engine.ops.windows import Axis, axis_of, pad, tap, unpad, windows

_BLOCK_BYTES = 4 << 20


def spatial(attrs: dict[str, Any], key: str) -> tuple[int, int]:
    values = attrs.get(key) or [1, 1, 1, 1]
    return (values[2], values[3]) if attrs.get("data_format") == "NCHW" else (values[1], values[2])


def geometry(in_shape: Any, filter_shape: Any, attrs: dict[str, Any]) -> tuple[Axis, Axis]:
    strides, dilations = spatial(attrs, "strides"), spatial(attrs, "dilations")
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


def conv2d(xp: Any, x: Any, filters: Any, **attrs: Any) -> Any:
    x = _nhwc(xp, x, attrs)
    _check_channels(x, filters)
    rows, cols = geometry(x.shape, filters.shape, attrs)
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


def conv2d_filter(xp: Any, x: Any, sizes: Any, dy: Any, **attrs: Any) -> Any:
    x, dy = _nhwc(xp, x, attrs), _nhwc(xp, dy, attrs)
    shape = tuple(int(s) for s in sizes)
    rows, cols = geometry(x.shape, shape, attrs)
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


def conv2d_input(xp: Any, sizes: Any, filters: Any, dy: Any, **attrs: Any) -> Any:
    shape = tuple(int(s) for s in sizes)
    if attrs.get("data_format") == "NCHW":
        shape = (shape[0], shape[2], shape[3], shape[1])
    dy = _nhwc(xp, dy, attrs)
    rows, cols = geometry(shape, filters.shape, attrs)
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


def depthwise(xp: Any, x: Any, filters: Any, **attrs: Any) -> Any:
    x = _nhwc(xp, x, attrs)
    _check_channels(x, filters)
    rows, cols = geometry(x.shape, filters.shape, attrs)
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


def depthwise_input(xp: Any, sizes: Any, filters: Any, dy: Any, **attrs: Any) -> Any:
    shape = tuple(int(s) for s in sizes)
    if attrs.get("data_format") == "NCHW":
        shape = (shape[0], shape[2], shape[3], shape[1])
    dy = _nhwc(xp, dy, attrs)
    rows, cols = geometry(shape, filters.shape, attrs)
    spread = dy.reshape(*dy.shape[:3], *filters.shape[2:])
    out = xp.zeros((shape[0], rows.padded, cols.padded, shape[3]), dy.dtype)
    for i in range(rows.kernel):
        for j in range(cols.kernel):
            tap(out, i, j, rows, cols)[...] += (spread * filters[i, j]).sum(-1)
    return _back(xp, unpad(out, rows, cols), attrs)


def depthwise_filter(xp: Any, x: Any, sizes: Any, dy: Any, **attrs: Any) -> Any:
    x, dy = _nhwc(xp, x, attrs), _nhwc(xp, dy, attrs)
    shape = tuple(int(s) for s in sizes)
    rows, cols = geometry(x.shape, shape, attrs)
    padded = pad(xp, x, rows, cols)
    spread = dy.reshape(*dy.shape[:3], *shape[2:])
    out = xp.empty(shape, dy.dtype)
    for i in range(rows.kernel):
        for j in range(cols.kernel):
            seen = tap(padded, i, j, rows, cols)
            out[i, j] = xp.einsum("nhwc,nhwcm->cm", seen, spread)
    return out
