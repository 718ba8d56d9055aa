# SPDX-License-Identifier: Apache-2.0
"""Rows for pooling."""

from __future__ import annotations

from converter import ir
from converter.importers.forms import basic, pooling, reduction
from converter.importers.forms.convolution import pad_with
from converter.importers.forms.elementwise import carried
from converter.importers.no_form import NoForm
from converter.importers.onnx.context import Context, Row, Rows
from converter.importers.onnx.rows.convolution import window_of


def _kernel(c: Context) -> list[int]:
    kernel = c.attr("kernel_shape")
    if not kernel:
        raise NoForm("has no kernel_shape: the file is damaged")
    return [int(k) for k in kernel]


def _ceil(c: Context) -> bool:
    return bool(c.attr("ceil_mode", 0)) and c.attr("auto_pad", "NOTSET") == "NOTSET"


def _max_pool(c: Context) -> ir.Value | list[ir.Value]:
    x, kernel = c.input(0), _kernel(c)
    window = window_of(c, x, kernel)
    if not c.wants(1):
        return carried(c.b, lambda v: pooling.max_pool(c.b, v, kernel, window, _ceil(c)), [x])
    columns = bool(c.attr("storage_order", 0))
    return list(pooling.max_pool_places(c.b, x, kernel, window, _ceil(c), columns))


def _average_pool(c: Context) -> ir.Value:
    x, kernel = c.input(0), _kernel(c)
    counts = bool(c.attr("count_include_pad", 0))
    return pooling.average_pool(c.b, x, kernel, window_of(c, x, kernel), _ceil(c), counts)


def _lp_pool(c: Context) -> ir.Value:
    x, kernel = c.input(0), _kernel(c)
    return pooling.lp_pool(c.b, x, kernel, window_of(c, x, kernel), c.attr("p", 2), _ceil(c))


def _global(op: str) -> Row:
    def row(c: Context) -> ir.Value:
        x = c.input(0)
        return reduction.reduce(c.b, op, x, range(2, basic.rank(c.b, x)), True)

    return row


def _global_lp(c: Context) -> ir.Value:
    x, p = c.input(0), c.attr("p", 2)
    powers = pooling.powers(c.b, x, p)
    total = reduction.reduce(c.b, "SUM", powers, range(2, basic.rank(c.b, x)), True)
    return pooling.roots(c.b, total, p)


def _max_unpool(c: Context) -> ir.Value:
    x, kernel = c.input(0), _kernel(c)
    dims = c.b.fixed_dims(x, "its input")
    spatial = len(kernel)
    strides = c.attr("strides") or [1] * spatial
    pads = c.attr("pads") or [0] * 2 * spatial
    sizes = [
        (dims[2 + i] - 1) * strides[i] + kernel[i] - pads[i] - pads[spatial + i]
        for i in range(spatial)
    ]
    whole = [*dims[:2], *sizes]
    if not c.has(2):
        return pooling.max_unpool(c.b, x, c.input(1), whole)
    wanted = [int(d) for d in c.array(2, "output shape").reshape(-1)]
    found = pooling.max_unpool(c.b, x, c.input(1), whole)  # places count in the smaller shape
    if len(wanted) != len(whole) or any(w < n for w, n in zip(wanted, whole, strict=True)):
        raise NoForm(f"has the output shape {wanted}, which does not hold {whole}")
    return pad_with(c.b, found, [(0, w - n) for w, n in zip(wanted, whole, strict=True)])


ROWS: Rows = {
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global("MEAN"),
    "GlobalLpPool": _global_lp,
    "GlobalMaxPool": _global("REDUCE_MAX"),
    "LpPool": _lp_pool,
    "MaxPool": _max_pool,
    "MaxUnpool": _max_unpool,
}
