# SPDX-License-Identifier: Apache-2.0
"""Rows for Fourier transforms, as products with constant matrices, and for Einsum, CumProd, Det."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from converter import ir
from converter.importers.forms import basic, einsum, fourier, linear_algebra, products, scan
from converter.importers.forms.basic import binary, int32s
from converter.importers.no_form import NoForm
from converter.importers.onnx.context import Context, Rows


def _function(
    length: int, inverse: bool, one_sided: bool
) -> tuple[Callable[[np.ndarray], np.ndarray], int]:
    """(the transform along the last axis, numbers per output: 2 for complex ones)"""
    if inverse and one_sided:
        return lambda x: np.fft.irfft(x, length), 1
    if inverse:
        return lambda x: np.fft.ifft(x, length), 2
    if one_sided:
        return lambda x: np.fft.fft(x, length)[:, : length // 2 + 1], 2
    return lambda x: np.fft.fft(x, length), 2


def _dft(c: Context) -> ir.Value:
    x = c.input(0)
    rank = basic.rank(c.b, x)
    if c.opset >= 20:
        axis = int(c.array(2, "axis").reshape(())) if c.has(2) else -2
    else:
        axis = c.attr("axis", 1)
    axis = basic.axis_of(c.b, x, axis)
    inverse, one_sided = bool(c.attr("inverse", 0)), bool(c.attr("onesided", 0))
    size, parts = c.b.dims(x)[axis], c.b.dims(x)[-1]
    if size is None or parts not in (1, 2) or axis == rank - 1:
        raise NoForm("transforms an axis of dynamic size, or numbers of other than 1 or 2 parts")
    whole = 2 * (size - 1) if inverse and one_sided else size
    length = int(c.array(1, "length").reshape(())) if c.has(1) else whole
    function, width = _function(length, inverse, one_sided)
    table = c.b.constant(fourier.of_pairs(size, parts, function), "transform", np.float32)
    perm = [*(i for i in range(rank - 1) if i != axis), axis, rank - 1]
    moved = basic.transpose(c.b, x, perm)
    flat = basic.with_last(c.b, moved, rank - 2, [size * parts])
    found = products.matmul(c.b, flat, table)
    split = basic.with_last(c.b, found, rank - 2, [table.shape[1] // width, width])
    return basic.transpose(c.b, split, [perm.index(i) for i in range(rank)])


def _stft(c: Context) -> ir.Value:
    x = c.input(0)
    if basic.rank(c.b, x) == 2:
        x = basic.unsqueeze(c.b, x, [2])
    _, length, parts = c.b.dims(x)
    if parts not in (1, 2):
        raise NoForm(f"transforms numbers of {parts} parts: give it real or complex ones")
    step = int(c.array(1, "step").reshape(()))
    window = c.optional(2)
    frame = int(c.array(3, "frame length").reshape(())) if c.has(3) else None
    if frame is None:
        frame = length if window is None else c.b.fixed_dims(window, "its window")[0]
    if frame is None:
        raise NoForm("transforms a signal of dynamic length as one frame: give it a frame_length")
    if step < 1 or frame < 1 or (length is not None and frame > length):
        raise NoForm(f"cuts frames of {frame}, {step} apart, from a signal of {length}")
    frames = c.b.emit("GATHER", [x, _frames(c, x, frame, step)], axis=1)
    if window is not None:
        frames = binary(c.b, "MUL", frames, basic.unsqueeze(c.b, window, [1]))
    function, width = _function(frame, False, bool(c.attr("onesided", 1)))
    table = c.b.constant(fourier.of_pairs(frame, parts, function), "transform", np.float32)
    flat = basic.with_last(c.b, frames, 2, [frame * parts])
    found = products.matmul(c.b, flat, table)
    return basic.with_last(c.b, found, 2, [table.shape[1] // width, width])


def _frames(c: Context, x: ir.Value, frame: int, step: int) -> ir.Value:
    """[frames, frame] which numbers along the second axis of `x` are in each frame."""
    length = basic.size_of(c.b, x, 1)
    end = binary(c.b, "SUB", length, c.b.constant(frame - 1, "rest", np.int32))
    starts = basic.counted(c.b, c.b.constant(0, "zero", np.int32), end, step)
    return binary(c.b, "ADD", basic.unsqueeze(c.b, starts, [1]), int32s(c.b, range(frame), "frame"))


def _einsum(c: Context) -> ir.Value:
    return einsum.einsum(c.b, c.attr("equation"), c.inputs())


def _cumulative_product(c: Context) -> ir.Value:
    axis = int(c.array(1, "axis").reshape(()))
    exclusive, reverse = bool(c.attr("exclusive", 0)), bool(c.attr("reverse", 0))
    return scan.cumulative_product(c.b, c.input(0), axis, exclusive, reverse)


def _det(c: Context) -> ir.Value:
    return linear_algebra.determinant(c.b, c.input(0))


ROWS: Rows = {
    "CumProd": _cumulative_product,
    "DFT": _dft,
    "Det": _det,
    "Einsum": _einsum,
    "STFT": _stft,
}
