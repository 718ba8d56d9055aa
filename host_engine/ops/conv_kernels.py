# SPDX-License-Identifier: Apache-2.0
"""Convolutions: patches (im2col) of a block of images or rows, then one matrix product each.

Patches of a block stay in cache and blocks run on several threads; no temporary is larger than a
block. NCHW tensors are computed through NHWC views.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from host_engine.errors import invalid
from host_engine.ops.windows import Axis, axis_of, image_slices, pad, tap, unpad, windows
from host_engine.parallel import for_each, matmul, slices

# Patches of one block stay in cache; a block is long enough to need the interpreter seldom.
_BLOCK_BYTES = 2 << 20
_PARTIAL_SUMS = 8


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


def _is_pointwise(rows: Axis, cols: Axis) -> bool:
    return all(a.kernel == 1 and a.stride == 1 and not a.before + a.after for a in (rows, cols))


Block = tuple[slice, slice]
"""Some images and some rows of the output: several whole images, or part of one."""


def _blocks(images: int, rows: int, bytes_per_row: int) -> list[Block]:
    per_block = max(1, _BLOCK_BYTES // max(bytes_per_row, 1))
    if per_block >= rows:
        return [(part, slice(0, rows)) for part in slices(images, per_block // max(rows, 1))]
    parts = slices(rows, per_block)
    return [(slice(i, i + 1), part) for i in range(images) for part in parts]


class _Patches:
    """Patches [images * out_h * out_w, kernel_h * kernel_w * c] of padded input, by block."""

    def __init__(self, xp: Any, padded: Any, rows: Axis, cols: Axis) -> None:
        self.view = windows(xp, padded, rows, cols)
        self.columns = int(np.prod(self.view.shape[3:]))
        per_row = cols.out * self.columns * padded.itemsize
        self.blocks = _blocks(len(padded), rows.out, per_row)
        self._xp = xp

    def of(self, block: Block) -> Any:
        """The patches of a block, copied."""
        return self._xp.ascontiguousarray(self.view[block]).reshape(-1, self.columns)

    def product(self, matrix: Any) -> Any:
        """All patches [n, out_h, out_w] times `matrix` [columns, depth]."""
        xp, depth = self._xp, matrix.shape[1]
        out = xp.empty((*self.view.shape[:3], depth), matrix.dtype)

        def work(block: Block) -> None:
            xp.matmul(self.of(block), matrix, out=out[block].reshape(-1, depth))

        for_each(xp, self.blocks, work)
        return out


def conv2d(xp: Any, x: Any, filters: Any, **attrs: Any) -> Any:
    """x [n, h, w, c] with filters [kh, kw, c, depth] -> [n, out_h, out_w, depth]."""
    x = _nhwc(xp, x, attrs)
    _check_channels(x, filters)
    rows, cols = geometry(x.shape, filters.shape, attrs)
    depth = filters.shape[3]
    matrix = filters.reshape(-1, depth)
    if _is_pointwise(rows, cols):
        out = matmul(xp, x.reshape(-1, x.shape[3]), matrix).reshape(*x.shape[:3], depth)
        return _back(xp, out, attrs)
    return _back(xp, _Patches(xp, pad(xp, x, rows, cols), rows, cols).product(matrix), attrs)


def _check_channels(x: Any, filters: Any) -> None:
    if x.shape[3] != filters.shape[2]:
        raise invalid(
            f"input and filter must have the same depth: {x.shape[3]} vs {filters.shape[2]}"
        )


def conv2d_filter(xp: Any, x: Any, sizes: Any, dy: Any, **attrs: Any) -> Any:
    """The gradient of conv2d to its filters."""
    x, dy = _nhwc(xp, x, attrs), _nhwc(xp, dy, attrs)
    shape = tuple(int(s) for s in sizes)
    rows, cols = geometry(x.shape, shape, attrs)
    depth = shape[3]
    if _is_pointwise(rows, cols):
        return matmul(xp, x.reshape(-1, x.shape[3]).T, dy.reshape(-1, depth)).reshape(shape)
    patches = _Patches(xp, pad(xp, x, rows, cols), rows, cols)
    # A fixed number of partial sums, added in order: the result does not depend on the threads.
    groups = slices(len(patches.blocks), -(-len(patches.blocks) // _PARTIAL_SUMS) or 1)
    sums: list[Any] = [None] * len(groups)

    def work(index: int) -> None:
        total = xp.zeros((patches.columns, depth), dy.dtype)
        for block in patches.blocks[groups[index]]:
            total += patches.of(block).T @ dy[block].reshape(-1, depth)
        sums[index] = total

    for_each(xp, range(len(groups)), work)
    return sum(sums[1:], sums[0]).reshape(shape)


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
        product = matmul(xp, dy.reshape(-1, dy.shape[3]), matrix.T)
        return _back(xp, product.reshape(shape), attrs)
    if rows.stride == cols.stride == 1:
        return _back(xp, _flipped(xp, filters, dy, rows, cols), attrs)
    return _back(xp, _scattered(xp, shape, filters, dy, rows, cols), attrs)


def _flipped(xp: Any, filters: Any, dy: Any, rows: Axis, cols: Axis) -> Any:
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
    patches = _Patches(xp, pad(xp, dy, *back), *back)
    return patches.product(turned.reshape(-1, turned.shape[3]))


def _scattered(xp: Any, shape: Any, filters: Any, dy: Any, rows: Axis, cols: Axis) -> Any:
    """Any stride: each kernel cell's product is added where the cell reads."""
    out = xp.zeros((shape[0], rows.padded, cols.padded, shape[3]), dy.dtype)

    def work(images: slice) -> None:
        part = dy[images]
        flat = part.reshape(-1, dy.shape[3])
        for i in range(rows.kernel):
            for j in range(cols.kernel):
                product = (flat @ filters[i, j].T).reshape(*part.shape[:3], shape[3])
                tap(out[images], i, j, rows, cols)[...] += product

    for_each(xp, image_slices(out), work)
    return unpad(out, rows, cols)


# Depthwise


def depthwise(xp: Any, x: Any, filters: Any, **attrs: Any) -> Any:
    """x [n, h, w, c] with filters [kh, kw, c, m] -> [n, out_h, out_w, c * m]."""
    x = _nhwc(xp, x, attrs)
    _check_channels(x, filters)
    rows, cols = geometry(x.shape, filters.shape, attrs)
    n, _, _, c = x.shape
    times = filters.shape[3]
    padded = pad(xp, x, rows, cols)
    out = xp.empty((n, rows.out, cols.out, c, times), x.dtype)

    def work(block: Block) -> None:
        part = out[block]
        product = xp.empty_like(part)
        for i in range(rows.kernel):
            for j in range(cols.kernel):
                seen = tap(padded[block[0]], i, j, rows, cols)[:, block[1], :, :, None]
                xp.multiply(seen, filters[i, j], out=product if i + j else part)
                if i + j:
                    part += product

    for_each(xp, _blocks(n, rows.out, 4 * out[:1, :1].nbytes), work)
    return _back(xp, out.reshape(n, rows.out, cols.out, c * times), attrs)


def depthwise_input(xp: Any, sizes: Any, filters: Any, dy: Any, **attrs: Any) -> Any:
    """The gradient of depthwise to its input."""
    shape = tuple(int(s) for s in sizes)
    if attrs.get("data_format") == "NCHW":
        shape = (shape[0], shape[2], shape[3], shape[1])
    dy = _nhwc(xp, dy, attrs)
    rows, cols = geometry(shape, filters.shape, attrs)
    spread = dy.reshape(*dy.shape[:3], *filters.shape[2:])
    out = xp.zeros((shape[0], rows.padded, cols.padded, shape[3]), dy.dtype)

    def work(images: slice) -> None:
        for i in range(rows.kernel):
            for j in range(cols.kernel):
                part = spread[images] * filters[i, j]
                tap(out[images], i, j, rows, cols)[...] += (
                    part[..., 0] if part.shape[-1] == 1 else part.sum(-1)
                )

    for_each(xp, image_slices(out), work)
    return _back(xp, unpad(out, rows, cols), attrs)


def depthwise_filter(xp: Any, x: Any, sizes: Any, dy: Any, **attrs: Any) -> Any:
    """The gradient of depthwise to its filters."""
    x, dy = _nhwc(xp, x, attrs), _nhwc(xp, dy, attrs)
    shape = tuple(int(s) for s in sizes)
    rows, cols = geometry(x.shape, shape, attrs)
    padded = pad(xp, x, rows, cols)
    spread = dy.reshape(*dy.shape[:3], *shape[2:])
    out = xp.empty(shape, dy.dtype)

    def work(cell: tuple[int, ...]) -> None:
        seen = tap(padded, cell[0], cell[1], rows, cols)
        out[cell] = xp.einsum("nhwc,nhwcm->cm", seen, spread)

    for_each(xp, list(np.ndindex(*shape[:2])), work)
    return out
