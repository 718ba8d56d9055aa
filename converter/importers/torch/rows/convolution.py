# SPDX-License-Identifier: Apache-2.0
"""Rows for convolutions, products of matrices and attention."""

from __future__ import annotations

from converter import ir
from converter.importers.forms import attention, basic, products, reduction
from converter.importers.forms.convolution import Window, convolution
from converter.importers.forms.elementwise import affine, arithmetic
from converter.importers.forms.transposed import transposed_convolution
from converter.importers.no_form import NoForm
from converter.importers.torch.context import Context, Rows


def _convolution(c: Context) -> ir.Value:
    """Plain or transposed, over as many axes as the filter has beside its channels."""
    x, weights, bias = c.value("input"), c.value("weight"), c.optional("bias")
    spatial = basic.rank(c.b, weights) - 2
    strides, padding, dilations = (_each(c, n, spatial) for n in ("stride", "padding", "dilation"))
    window = Window(strides, tuple((p, p) for p in padding), dilations)
    alone = basic.rank(c.b, x) == spatial + 1  # without an axis of batches
    x = basic.unsqueeze(c.b, x, [0]) if alone else x
    if c.arg("transposed"):
        extra = _each(c, "output_padding", spatial)
        y = transposed_convolution(c.b, x, weights, bias, window, c.arg("groups"), extra)
    else:
        y = convolution(c.b, x, weights, bias, window, c.arg("groups"))
    return basic.squeeze(c.b, y, [0]) if alone else y


def _each(c: Context, name: str, count: int) -> tuple[int, ...]:
    """A number for each axis; one stands for all."""
    found = c.arg(name)
    if any(isinstance(n, ir.Value) for n in found):
        raise NoForm(f"has a computed {name}: make it a number")
    return tuple(found) * count if len(found) == 1 else tuple(found)


def _linear(c: Context) -> ir.Value:
    product = products.matmul(c.b, c.value("input"), c.value("weight"), False, True)
    bias = c.optional("bias")
    return product if bias is None else arithmetic(c.b, "ADD", product, bias)


def _added(c: Context) -> ir.Value:
    """beta * self + alpha * a b: addmm, baddbmm."""
    names = ("mat1", "mat2") if "mat1" in c.arguments else ("batch1", "batch2")
    left, right = (c.value(name) for name in names)
    product = affine(c.b, products.matmul(c.b, left, right), c.arg("alpha"), 0)
    if c.arg("beta") == 0:
        return product
    return arithmetic(c.b, "ADD", product, affine(c.b, c.value("self"), c.arg("beta"), 0))


def _matmul(c: Context) -> ir.Value:
    other = "mat2" if "mat2" in c.arguments else "vec" if "vec" in c.arguments else "other"
    x, y = c.value("self"), c.value("tensor" if "tensor" in c.arguments else other)
    if x.dtype == "FLOAT32":
        return products.matmul(c.b, x, y)
    left, right = (basic.cast(c.b, v, "FLOAT32") for v in (x, y))
    return basic.cast(c.b, products.matmul(c.b, left, right), x.dtype)  # right below 2**24


def _trilinear(c: Context) -> ir.Value:
    """The sum of products of three tensors, each spread along axes of its own (Bilinear)."""
    parts = [
        basic.unsqueeze(c.b, c.value(f"i{n}"), c.arg(f"expand{n}")) if c.arg(f"expand{n}") else
        c.value(f"i{n}")
        for n in (1, 2, 3)
    ]  # fmt: skip
    product = arithmetic(c.b, "MUL", arithmetic(c.b, "MUL", parts[0], parts[1]), parts[2])
    return reduction.reduce(c.b, "SUM", product, c.arg("sumdim"), False)


def _attention(c: Context) -> ir.Value:
    """softmax(q k^T scale + mask) v"""
    q, k, v = (c.value(name) for name in ("query", "key", "value"))
    if c.arg("dropout_p"):
        raise NoForm("drops elements out: export the model for inference")
    size = c.b.dims(q)[-1]
    if size is None:
        raise NoForm("has a dynamic number of features: give it a fixed one")
    scale = size**-0.5 if c.arg("scale") is None else c.arg("scale")
    return attention.attention(
        c.b,
        q,
        *attention.repeated_heads(c.b, q, k, v),
        float(scale),
        c.optional("attn_mask"),
        bool(c.arg("is_causal")),
    )


ROWS: Rows = {
    "_trilinear": _trilinear,
    "addmm": _added,
    "baddbmm": _added,
    "bmm": _matmul,
    "convolution": _convolution,
    "dot": _matmul,
    "linear": _linear,
    "matmul": _matmul,
    "mm": _matmul,
    "mv": _matmul,
    "scaled_dot_product_attention": _attention,
}
