# SPDX-License-Identifier: Apache-2.0
"""Numbers with scales: real = scale * (integer - zero point).

They are written as arithmetic of the same numbers. Where what :func:`quantize` made with a constant
scale is read by :func:`dequantize` with the same one, numbers of the device (int8, or int16 with
zero point 0) stand between the two, and :func:`converter.passes.quantized.compute_in_int8` lets ops
compute on those.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic
from converter.importers.forms.basic import binary, scalar, unary
from converter.importers.forms.elementwise import clamp
from converter.importers.no_form import NoForm

# The device's type for a type of the source, and what the zero point is less there.
_TWINS = {
    "INT8": ("INT8", 0),
    "UINT8": ("INT8", 128),
    "INT16": ("INT16", 0),
    "UINT16": ("INT16", 1 << 15),
}


def along(b: Builder, x: ir.Value, value: ir.Value, axis: int, block: int = 0) -> ir.Value:
    """A scale or zero point so that it broadcasts with `x`: one number, one per place of `axis`, or
    one per block of `block` of them.
    """
    rank = basic.rank(b, x)
    if math.prod(b.fixed_dims(value, "its scale")) == 1:
        return basic.reshape(b, value, [])
    axis = basic.axis_of(b, x, axis)
    if block:
        size = b.fixed_dims(x, "its input")[axis]
        at = basic.int32s(b, np.arange(size) // block, "blocks")
        return b.emit("GATHER", [value, at], axis=axis)
    if basic.rank(b, value) == rank > 1:  # MatMul's scales broadcast with the matrix
        return value
    (count,) = b.fixed_dims(value, "its scale")
    return basic.reshape(b, value, [count, *[1] * (rank - 1 - axis)])


def real(
    b: Builder,
    x: ir.Value,
    scale: ir.Value,
    zero: ir.Value | None,
    axis: int = 1,
    block: int = 0,
) -> ir.Value:
    """(x - zero) * scale, as arithmetic."""
    y = whole(b, x)
    if zero is not None:
        y = binary(b, "SUB", y, along(b, x, whole(b, zero), axis, block))
    return binary(b, "MUL", y, along(b, x, scale, axis, block))


def integers(
    b: Builder,
    x: ir.Value,
    scale: ir.Value,
    zero: ir.Value | None,
    kind: str,
    axis: int = 1,
    block: int = 0,
    limits: tuple[int, int] | None = None,
) -> ir.Value:
    """round(x / scale) + zero, halves to even, within `limits` (those of `kind`), as arithmetic."""
    y = unary(b, "ROUND", binary(b, "DIV", x, along(b, x, scale, axis, block)))
    if zero is not None:
        y = binary(b, "ADD", y, along(b, x, whole(b, zero), axis, block))
    info = np.iinfo(ir.numpy_dtype(kind))
    low, high = limits or (int(info.min), int(info.max))
    y = binary(b, "MAXIMUM", y, scalar(b, float(low), y))
    y = binary(b, "MINIMUM", y, scalar(b, float(high), y))
    return as_integers(b, y, kind)


def as_integers(b: Builder, x: ir.Value, kind: str) -> ir.Value:
    """Whole floats as integers, of which :func:`whole` gives the floats again."""
    y = basic.cast(b, x, kind)
    b.wholes[y] = x
    return y


def whole(b: Builder, x: ir.Value) -> ir.Value:
    """Integers as floats."""
    return b.wholes[x] if x in b.wholes else basic.cast(b, x, "FLOAT32")


def quantize(
    b: Builder,
    x: ir.Value,
    scale: ir.Value,
    zero: ir.Value | None,
    kind: str,
    axis: int = 1,
    block: int = 0,
    limits: tuple[int, int] | None = None,
) -> ir.Value:
    """Real numbers as integers of type `kind` within `limits`, with a twin on the device where it
    can have one.
    """
    x = basic.cast(b, x, "FLOAT32")
    meaning = _meaning(b, scale, zero, kind)
    if meaning is None or b.samples(x) is not None:
        return integers(b, x, scale, zero, kind, axis, block, limits)
    if limits is not None:
        x = _within(b, x, kind, meaning, limits)
    twin = _twin(b, x, kind, meaning)
    if x.producer is not None and b.dequantizes:
        x = b.dequantize(twin)  # what computes it can then do so in int8, whoever reads y
    y = integers(b, x, scale, zero, kind, axis, block)
    b.twins[y] = (twin, *meaning)
    return y


def dequantize(
    b: Builder,
    x: ir.Value,
    scale: ir.Value,
    zero: ir.Value | None,
    axis: int = 1,
    block: int = 0,
) -> ir.Value:
    """What integers mean, in float32."""
    meaning, twin = _meaning(b, scale, zero, x.dtype), b.twins.get(x)
    if twin is not None and twin[1:] == meaning:
        return b.dequantize(twin[0])
    y = real(b, x, scale, zero, axis, block)
    if meaning is None or x.producer is not None or b.samples(x) is not None:
        return y
    small = _twin(b, y, x.dtype, meaning)
    b.quantized_inputs.append((x, y, small))
    return b.dequantize(small)


def settle_inputs(b: Builder) -> None:
    """Integer inputs of the model that are read with one scale alone have that scale, and need no
    arithmetic.
    """
    for x, y, twin in b.quantized_inputs:
        chain = [twin.producer, *_ancestors(y, x)]
        used = sum(len(v.users) for n in chain if n is not None for v in n.outputs)
        plain = used - len(twin.users) == len(chain) - 1 and b.graph.is_input(x)
        if not plain or len(x.users) != 1 or x.dtype not in ("INT8", "UINT8", "INT16"):
            continue
        assert twin.quant is not None
        shift = _TWINS[x.dtype][1]
        x.quant = ir.Quantization(twin.quant.scale, twin.quant.zero_point + shift)
        first, *rest = (n for n in chain if n is not None)
        first.set_input(0, x)
        for node in rest:
            b.graph.remove_node(node)
        if not shift:
            b.graph.replace_value(twin, x)
            b.graph.remove_node(first)


def _ancestors(y: ir.Value, x: ir.Value) -> list[ir.Node]:
    """The nodes between an input and its real numbers, the last first."""
    found = []
    while y is not x and y.producer is not None and y.producer.inputs[0] is not None:
        found.append(y.producer)
        y = y.producer.inputs[0]
    return found


def integer_output(b: Builder, y: ir.Value) -> ir.Value | None:
    """Integers with a twin as an output of the model: the twin, or the twin in the type of `y`."""
    twin = b.twins.get(y)
    if twin is None or y.dtype not in ("INT8", "UINT8", "INT16"):
        return None
    small, scale, zero = twin
    if small.dtype == y.dtype:
        return small
    (whole,) = b.append("QUANTIZE", [small], [(y.dtype, b.pair(y))], {})
    whole.quant = ir.Quantization(np.array([scale]), np.array([zero]))
    return whole


def stored(
    b: Builder,
    numbers: np.ndarray,
    scale: np.ndarray,
    zero: np.ndarray | None,
    axis: int,
    block: int,
    bits: int,
) -> ir.Value:
    """Constant integers with a scale (and zero point) per block of `block` along `axis`, as a
    DEQUANTIZE of INT4, or INT8, that the device unpacks when it loads the model.

    `scale` and `zero` have the shape of `numbers`, with fewer places along `axis`.
    """
    shape = np.moveaxis(numbers, axis, -1).shape
    rows = np.moveaxis(numbers, axis, -1).astype(np.int16)
    rows = np.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, -shape[-1] % block)])
    scales = np.moveaxis(scale, axis, -1).reshape(-1)
    zeros = np.zeros(scales.size, np.int16)
    if zero is not None:
        zeros = np.moveaxis(zero, axis, -1).reshape(-1).astype(np.int16)
    shift = (1 << (bits - 1)) if rows.max(initial=0) >= 1 << (bits - 1) else 0
    data = (rows - shift).reshape(-1, block)
    if data.min(initial=0) < -(1 << (bits - 1)):
        raise NoForm(f"has integers beyond {bits} bits: the file is damaged")
    packed = b.constant(data.astype(np.int8), f"int{bits}")
    packed.dtype = "INT4" if bits <= 4 else "INT8"
    packed.quant = ir.Quantization(scales.astype(np.float32), zeros - shift, 0)
    y = b.append("DEQUANTIZE", [packed], [("FLOAT32", (data.shape, data.shape))], {})[0]
    y = basic.reshape(b, y, rows.shape)
    if rows.shape != shape:
        y = basic.slice_axis(b, y, -1, 0, shape[-1])
    if len(shape) == 2:
        b.unpacked[y, True] = y
    order = list(range(len(shape) - 1))
    order.insert(axis % len(shape), len(shape) - 1)
    whole = basic.transpose(b, y, order)
    if len(shape) == 2 and whole is not y:
        b.unpacked[whole, False] = y
        del b.unpacked[y, True]
    return whole


def carry_twins(
    b: Builder,
    source: Sequence[ir.Value],
    moved: Sequence[ir.Value],
    again: Callable[[list[ir.Value]], Sequence[ir.Value]],
) -> None:
    """Give twins to `moved`, which an op that moves or selects whole elements made of `source`:
    `again` does the same to real numbers.
    """
    twins = [b.twins.get(x) for x in source]
    meaning = next((t[1:] for t in twins if t is not None), None)
    if meaning is None:
        return
    kind, reals = source[0].dtype, []
    for x, twin in zip(source, twins, strict=True):
        if twin is not None and twin[1:] == meaning:
            reals.append(b.dequantize(twin[0]))
        elif x.data is not None and x.dtype == kind:
            data = (x.data.astype(np.float32) - meaning[1]) * np.float32(meaning[0])
            reals.append(b.constant(data, "real", np.float32))
        else:
            return
    found = again(reals)
    for x, y in zip(moved, found, strict=True):
        if x.dtype == kind and x not in b.twins:
            b.twins[x] = (_twin(b, y, kind, meaning), *meaning)


def _twin(b: Builder, x: ir.Value, kind: str, meaning: tuple[float, int]) -> ir.Value:
    """QUANTIZE of real `x` to the device's type."""
    dtype, shift = _TWINS[kind]
    return b.quantize(x, meaning[0], meaning[1] - shift, dtype)


def _within(
    b: Builder, x: ir.Value, kind: str, meaning: tuple[float, int], limits: tuple[int, int]
) -> ir.Value:
    """Real `x` between what `limits` mean, where these are not the type's own."""
    info, (scale, zero) = np.iinfo(ir.numpy_dtype(kind)), meaning
    low, high = (
        None if limit == end else (limit - zero) * scale
        for limit, end in zip(limits, (info.min, info.max), strict=True)
    )
    return clamp(b, x, low, high)


def fake(
    b: Builder,
    x: ir.Value,
    scale: ir.Value,
    zero: ir.Value,
    limits: tuple[int, int],
    axis: int = 1,
) -> ir.Value:
    """Numbers that integers within `limits` mean, as arithmetic, wherever their zero point is."""
    step, point = along(b, x, scale, axis), along(b, x, whole(b, zero), axis)
    y = binary(b, "ADD", unary(b, "ROUND", binary(b, "DIV", x, step)), point)
    y = clamp(b, y, float(limits[0]), float(limits[1]))
    return binary(b, "MUL", binary(b, "SUB", y, point), step)


def rounded(b: Builder, x: ir.Value) -> ir.Value:
    """A zero point as integers."""
    return b.emit("ROUND", [x]) if x.dtype == "FLOAT32" else x


def _meaning(
    b: Builder, scale: ir.Value, zero: ir.Value | None, kind: str
) -> tuple[float, int] | None:
    """The constant scale and zero point of a tensor, one for all of it, that the device can have:
    TFLite's 16-bit numbers are symmetric.
    """
    step, point = b.known(scale), np.zeros(1) if zero is None else b.known(zero)
    if kind not in _TWINS or step is None or point is None or step.size != 1 or point.size != 1:
        return None
    size, place = float(step.reshape(-1)[0]), int(point.reshape(-1)[0])
    dtype, shift = _TWINS[kind]
    symmetric = dtype != "INT16" or place == shift
    usable = np.isfinite(size) and size > np.finfo(np.float32).tiny and symmetric
    return (size, place) if usable else None
