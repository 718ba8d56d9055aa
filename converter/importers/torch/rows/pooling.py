# SPDX-License-Identifier: Apache-2.0
"""Rows for pooling, with windows and to given sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from converter import ir
from converter.importers.forms import basic, pooling, products, reduction
from converter.importers.forms.convolution import Window
from converter.importers.forms.elementwise import affine, carried
from converter.importers.no_form import NoForm
from converter.importers.torch.context import Context, Row, Rows

_MOST_CELLS = 64  # of an uneven maximum, each of which is a slice


def _window(c: Context, spatial: int) -> tuple[list[int], Window]:
    """The kernel, and how it moves."""
    kernel = _each(c.arg("kernel_size"), spatial)
    stride = _each(c.arg("stride"), spatial) if c.arg("stride") else kernel
    padding = _each(c.arg("padding"), spatial)
    dilation = _each(c.arguments.get("dilation") or [1], spatial)
    return kernel, Window(tuple(stride), tuple((p, p) for p in padding), tuple(dilation))


def _each(numbers: Sequence[int], count: int) -> list[int]:
    return list(numbers) * count if len(numbers) == 1 else list(numbers)


def _batched(
    c: Context, spatial: int, form: Callable[[ir.Value], list[ir.Value]]
) -> list[ir.Value]:
    """form(input), whose axis of batches may be left out."""
    x = c.value("self")
    if basic.rank(c.b, x) == spatial + 2:
        return form(x)
    found = form(basic.unsqueeze(c.b, x, [0]))
    return [basic.squeeze(c.b, v, [0]) for v in found]


def _max_pool(spatial: int) -> Row:
    """The largest elements, and where in its plane each was, if that is asked for."""

    def row(c: Context) -> list[ir.Value | None]:
        kernel, window = _window(c, spatial)
        ceil = bool(c.arg("ceil_mode"))

        def values(x: ir.Value) -> list[ir.Value]:
            return [carried(c.b, lambda v: pooling.max_pool(c.b, v, kernel, window, ceil), [x])]

        def places(x: ir.Value) -> list[ir.Value]:
            found, at = pooling.max_pool_places(c.b, x, kernel, window, ceil)
            plane = math.prod(c.b.fixed_dims(x, "its input")[2:])
            return [found, basic.binary(c.b, "FLOOR_MOD", at, basic.scalar(c.b, plane, at))]

        if _wants(c, 1):
            return list(_batched(c, spatial, places))
        return [*_batched(c, spatial, values), None]

    return row


def _wants(c: Context, index: int) -> bool:
    """Whether someone reads result `index`."""
    return any(user.args[1:] == (index,) for user in c.node.users)


def _average_pool(spatial: int) -> Row:
    def row(c: Context) -> ir.Value:
        kernel, window = _window(c, spatial)
        ceil, counts = bool(c.arg("ceil_mode")), bool(c.arg("count_include_pad"))
        divisor = c.arguments.get("divisor_override")
        if divisor and ceil:
            raise NoForm("has divisor_override and ceil_mode: use one of them")

        def form(x: ir.Value) -> list[ir.Value]:
            mean = pooling.average_pool(c.b, x, kernel, window, ceil, counts or bool(divisor))
            return [affine(c.b, mean, math.prod(kernel) / divisor, 0) if divisor else mean]

        return _batched(c, spatial, form)[0]

    return row


def _max_unpool(c: Context) -> ir.Value:
    """Zeros with the elements where their plane's places say."""
    x, at, wanted = c.value("self"), c.value("indices"), c.arg("output_size")
    batch, channels, *_ = c.b.fixed_dims(x, "its input")
    first = np.arange(batch * channels).reshape(batch, channels, *[1] * len(wanted))
    base = c.b.constant(first * math.prod(wanted), "planes", np.int64)
    places = basic.binary(c.b, "ADD", at, base)
    return pooling.max_unpool(c.b, x, places, [batch, channels, *wanted])


# -- to given sizes -------------------------------------------------------------------------------


def _adaptive_average(c: Context) -> ir.Value:
    x, wanted = c.value("self"), c.arg("output_size")
    if all(size == 1 for size in wanted):
        return reduction.reduce(c.b, "MEAN", x, range(-len(wanted), 0), True)
    return _adaptive(
        c, pooling.average_pool, lambda v, axis, *sizes: _along(c, v, axis, _shares(*sizes))
    )


def _adaptive_max(c: Context) -> list[ir.Value | None]:
    if _wants(c, 1):
        raise NoForm("gives the places of the largest elements: use max_pool with a fixed kernel")
    found = _adaptive(
        c, pooling.max_pool, lambda v, axis, *sizes: _maxima(c, v, axis, _cells(*sizes))
    )
    return [found, None]


def _adaptive(c: Context, even: Callable[..., Any], uneven: Callable[..., ir.Value]) -> ir.Value:
    """Pooling to the sizes asked for: by one window where cells are alike, else axis by axis, by
    `uneven` of (value, axis, its size, the size asked for).
    """
    wanted = c.arg("output_size")

    def form(value: ir.Value) -> list[ir.Value]:
        sizes = _sizes(c, value, wanted)
        window = _even(sizes, wanted)
        if window is not None:
            return [even(c.b, value, list(window.strides), window)]
        for axis, (size, out) in enumerate(zip(sizes, wanted, strict=True), 2):
            if size != out:
                value = uneven(value, axis, size, out)
        return [value]

    return _batched(c, len(wanted), form)[0]


def _sizes(c: Context, x: ir.Value, wanted: list[Any]) -> list[int]:
    if any(isinstance(size, ir.Value) for size in wanted):
        raise NoForm("pools to computed sizes: make them numbers")
    found = c.b.dims(x)[2:]
    if None in found:
        raise NoForm("pools inputs of dynamic sizes to fixed ones: give the inputs fixed sizes")
    return [d for d in found if d is not None]


def _even(sizes: Sequence[int], wanted: Sequence[int]) -> Window | None:
    """The window that cuts each axis into equal cells."""
    if any(size % out for size, out in zip(sizes, wanted, strict=True)):
        return None
    kernel = tuple(size // out for size, out in zip(sizes, wanted, strict=True))
    return Window(kernel, ((0, 0),) * len(kernel), (1,) * len(kernel))


def _cells(size: int, out: int) -> list[tuple[int, int]]:
    """PyTorch's cells, which overlap where they are not even."""
    return [(i * size // out, -(-(i + 1) * size // out)) for i in range(out)]


def _shares(size: int, out: int) -> np.ndarray:
    """[out, size] what each element adds to the mean of each cell."""
    found = np.zeros((out, size))
    for i, (begin, end) in enumerate(_cells(size, out)):
        found[i, begin:end] = 1 / (end - begin)
    return found


def _along(c: Context, x: ir.Value, axis: int, weights: np.ndarray) -> ir.Value:
    """A product with a matrix along one axis."""
    last = basic.rank(c.b, x) - 1
    perm = list(range(last + 1))
    perm[axis], perm[last] = last, axis
    table = c.b.constant(weights, "shares", np.float32)
    moved = products.matmul(c.b, basic.transpose(c.b, x, perm), table, False, True)
    return basic.transpose(c.b, moved, perm)


def _maxima(c: Context, x: ir.Value, axis: int, cells: list[tuple[int, int]]) -> ir.Value:
    if len(cells) > _MOST_CELLS:
        raise NoForm(f"takes the maxima of {len(cells)} uneven cells: pool to sizes that divide")
    parts = [
        reduction.reduce(c.b, "REDUCE_MAX", basic.slice_axis(c.b, x, axis, *cell), [axis], True)
        for cell in cells
    ]
    return basic.concat(c.b, parts, axis)


ROWS: Rows = {
    **{f"adaptive_avg_pool{n}d": _adaptive_average for n in (1, 2, 3)},
    **{f"_adaptive_avg_pool{n}d": _adaptive_average for n in (2, 3)},
    **{f"adaptive_max_pool{n}d": _adaptive_max for n in (1, 2, 3)},
    **{f"avg_pool{n}d": _average_pool(n) for n in (1, 2, 3)},
    **{f"max_pool{n}d_with_indices": _max_pool(n) for n in (2, 3)},
    **{f"max_unpool{n}d": _max_unpool for n in (2, 3)},
}
