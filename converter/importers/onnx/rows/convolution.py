# SPDX-License-Identifier: Apache-2.0
"""Rows for convolutions and products of matrices."""

from __future__ import annotations

from collections.abc import Sequence

from converter import ir
from converter.importers.forms import products
from converter.importers.forms.convolution import Window, convolution, same_pads
from converter.importers.forms.elementwise import affine, arithmetic
from converter.importers.forms.transposed import transposed_convolution
from converter.importers.no_form import NoForm
from converter.importers.onnx.context import Context, Rows


def window_of(c: Context, x: ir.Value, kernel: Sequence[int]) -> Window:
    """Strides, dilations and paddings of a node, `auto_pad` settled."""
    spatial = len(kernel)
    strides = tuple(c.attr("strides") or [1] * spatial)
    dilations = tuple(c.attr("dilations") or [1] * spatial)
    auto = c.attr("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        pads = []
        for axis in range(spatial):
            size = c.b.dims(x)[2 + axis]
            if size is None and strides[axis] == 1:
                size = kernel[axis] * dilations[axis]  # any, since all are padded alike
            if size is None and auto == "SAME_UPPER" and spatial < 3:
                return Window(strides, ((0, 0),) * spatial, dilations, same=True)
            if size is None:
                raise NoForm(
                    "pads to SAME an axis of dynamic size: give the model's inputs fixed sizes"
                    " (--input NAME=SIZES)"
                )
            few, many = same_pads(size, kernel[axis], strides[axis], dilations[axis])
            pads.append((few, many) if auto == "SAME_UPPER" else (many, few))
        return Window(strides, tuple(pads), dilations)
    flat = c.attr("pads") or [0] * (2 * spatial)
    if auto == "VALID":
        flat = [0] * (2 * spatial)
    pairs = tuple((flat[i], flat[spatial + i]) for i in range(spatial))
    return Window(strides, pairs, dilations)


def _conv(c: Context) -> ir.Value:
    x, weights = c.input(0), c.input(1)
    kernel = c.b.fixed_dims(weights, "its filter")[2:]
    bias = c.optional(2)
    return convolution(c.b, x, weights, bias, window_of(c, x, kernel), c.attr("group", 1))


def _conv_transpose(c: Context) -> ir.Value:
    x, weights = c.input(0), c.input(1)
    kernel = c.b.fixed_dims(weights, "its filter")[2:]
    spatial = len(kernel)
    window = Window(
        tuple(c.attr("strides") or [1] * spatial),
        ((0, 0),) * spatial,
        tuple(c.attr("dilations") or [1] * spatial),
    )
    flat = c.attr("pads") or [0] * (2 * spatial)
    extra = list(c.attr("output_padding") or [0] * spatial)[:spatial]
    auto, wanted = c.attr("auto_pad", "NOTSET"), c.attr("output_shape")
    if auto in ("SAME_UPPER", "SAME_LOWER") or wanted:
        pads = _output_pads(c, x, kernel, window, extra, auto, wanted)
    elif auto == "VALID":
        pads = [(0, 0)] * spatial
    else:
        pads = [(flat[i], flat[spatial + i]) for i in range(spatial)]
    window = window._replace(pads=tuple(pads))
    bias, groups = c.optional(2), c.attr("group", 1)
    return transposed_convolution(c.b, x, weights, bias, window, groups, extra)


def _output_pads(
    c: Context,
    x: ir.Value,
    kernel: Sequence[int],
    window: Window,
    extra: Sequence[int],
    auto: str,
    wanted: Sequence[int] | None,
) -> list[tuple[int, int]]:
    """What is cut off so that the output has the sizes `wanted`, or those of SAME."""
    sizes = c.b.dims(x)[2:]
    pads = []
    for i, k in enumerate(kernel):
        stride, reach = window.strides[i], (k - 1) * window.dilations[i] + 1
        if wanted:
            size = sizes[i]
            if size is None:
                raise NoForm("has an output_shape for dynamic sizes: give the inputs fixed sizes")
            total = stride * (size - 1) + extra[i] + reach - wanted[len(wanted) - len(kernel) + i]
        else:
            total = reach + extra[i] - stride
        half = total // 2
        pads.append((half, total - half) if auto == "SAME_UPPER" else (total - half, half))
    return pads


def _matmul(c: Context) -> ir.Value:
    return products.matmul(c.b, c.input(0), c.input(1))


def _gemm(c: Context) -> ir.Value:
    """alpha A B + beta C, either matrix transposed."""
    a, b = c.input(0), c.input(1)
    transposed = bool(c.attr("transA", 0)), bool(c.attr("transB", 0))
    product = products.matmul(c.b, a, b, *transposed)
    product = affine(c.b, product, c.attr("alpha", 1.0), 0)
    if not c.has(2):
        return product
    term = affine(c.b, c.input(2), c.attr("beta", 1.0), 0)
    return arithmetic(c.b, "ADD", product, term)


ROWS: Rows = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
}
