# SPDX-License-Identifier: Apache-2.0
"""Rows for the ops of networks on images: convolution, pooling, batch normalization, resizing.

Layouts: TensorFlow's filters are [height, width, in, out] (HWIO), TFLite's are [out, height, width,
in] (OHWI), and [1, height, width, out] for depthwise convolution.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from converter import ir
from converter.importers.host_ops import Context, NoForm, Row


def _check_layout(c: Context) -> None:
    if c.attr("data_format", "NHWC") != "NHWC":
        raise NoForm(
            f"has data_format {c.attr('data_format')}: build the network with NHWC, which devices "
            "run without transposing"
        )


def _spatial(c: Context, name: str) -> tuple[int, int]:
    """Height and width of a list attribute such as strides; batch and channels must have 1."""
    batch, height, width, channels = (int(i) for i in c.attr(name, [1, 1, 1, 1]))
    if (batch, channels) != (1, 1):
        raise NoForm(f"has {name} along batch or channels: only height and width may have them")
    return height, width


def _window(c: Context, x: ir.Value) -> tuple[ir.Value, dict[str, Any]]:
    """The input, padded where the op pads explicitly, and the stride and padding options."""
    _check_layout(c)
    stride_h, stride_w = _spatial(c, "strides")
    padding = c.attr("padding")
    if padding == "EXPLICIT":
        x, padding = _padded(c, x), "VALID"
    return x, {"padding": padding, "stride_h": stride_h, "stride_w": stride_w}


def _padded(c: Context, x: ir.Value) -> ir.Value:
    if c.rank(0) != 4:
        raise NoForm("needs an input of rank 4")
    amounts = np.array(c.attr("explicit_paddings"), np.int32).reshape(4, 2)
    shape = [d + int(sum(pair)) for d, pair in zip(x.shape, amounts, strict=True)]
    out = c.between("padded", x, shape)
    return c.node("PAD", [x, c.constant(amounts, "paddings")], [out])[0]


def _dilation(c: Context) -> dict[str, int]:
    height, width = _spatial(c, "dilations")
    return {"dilation_h_factor": height, "dilation_w_factor": width}


def _filter(c: Context, value: ir.Value, perm: tuple[int, ...], name: str) -> ir.Value:
    """The filter with its axes in TFLite's order, transposed at run time if it is computed."""
    if value.data is not None:
        return ir.Value.constant(value.name, value.data.transpose(perm))
    out = c.between(name, value, [value.shape[i] for i in perm])
    return c.node("TRANSPOSE", [value, c.constant(perm, "perm", np.int32)], [out])[0]


def _conv_2d(c: Context) -> list[ir.Value]:
    x, options = _window(c, c.input(0))
    weights = _filter(c, c.input(1), (3, 0, 1, 2), "ohwi")
    bias = c.constant(np.zeros(weights.shape[0], np.float32), "bias")  # LiteRT demands one
    options.update(_dilation(c), fused_activation_function="NONE")
    return c.emit("CONV_2D", [x, weights, bias], **options)


def _depthwise_conv_2d(c: Context) -> list[ir.Value]:
    x, options = _window(c, c.input(0))
    weights = c.input(1)
    height, width, channels, multiplier = weights.shape
    shape = (1, height, width, channels * multiplier)
    if weights.data is not None:
        weights = ir.Value.constant(weights.name, weights.data.reshape(shape))
    else:
        out = c.between("1hwo", weights, shape)
        weights = c.node("RESHAPE", [weights, c.constant(shape, "shape", np.int32)], [out])[0]
    bias = c.constant(np.zeros(shape[3], np.float32), "bias")
    options.update(_dilation(c), fused_activation_function="NONE", depth_multiplier=multiplier)
    return c.emit("DEPTHWISE_CONV_2D", [x, weights, bias], **options)


def _transpose_conv(c: Context) -> list[ir.Value]:
    _check_layout(c)
    if _spatial(c, "dilations") != (1, 1):
        raise NoForm("has dilations, which TFLite's transposed convolution lacks")
    if c.attr("padding") == "EXPLICIT":
        raise NoForm("pads explicitly: use SAME or VALID")
    stride_h, stride_w = _spatial(c, "strides")
    weights = _filter(c, c.input(1), (2, 0, 1, 3), "ohwi")
    return c.emit(
        "TRANSPOSE_CONV",
        [c.ints(0, "output_shape"), weights, c.input(2)],
        padding=c.attr("padding"),
        stride_h=stride_h,
        stride_w=stride_w,
    )


def _pool(op: str) -> Row:
    def row(c: Context) -> list[ir.Value]:
        if c.attr("padding") == "EXPLICIT":
            raise NoForm("pads explicitly: use SAME or VALID")
        x, options = _window(c, c.input(0))
        height, width = _spatial(c, "ksize")
        options.update(filter_height=height, filter_width=width, fused_activation_function="NONE")
        return c.emit(op, [x], **options)

    return row


def _fused_batch_norm(c: Context) -> list[ir.Value]:
    """scale * (x - mean) / sqrt(variance + epsilon) + offset, as MUL and ADD by constants."""
    _check_layout(c)
    if c.attr("is_training", True):
        raise NoForm(
            "uses the statistics of the batch (is_training=True): build the inference graph with "
            "is_training=False"
        )
    names = ("scale", "offset", "mean", "variance")
    scale, offset, mean, variance = (
        c.array(i + 1, name).astype(np.float64) for i, name in enumerate(names)
    )
    factor = scale / np.sqrt(variance + float(c.attr("epsilon", 1e-4)))
    x = c.input(0)
    result, *statistics = [c.importer.new_value(tensor) for tensor in c.op.outputs]
    product = c.between("mul", x)
    product.shape_signature = x.shape_signature
    c.node("MUL", [x, c.constant(factor, "factor", np.float32)], [product])
    c.node("ADD", [product, c.constant(offset - mean * factor, "shift", np.float32)], [result])
    for value, index in zip(statistics, (3, 4), strict=False):
        value.data, value.shape = c.array(index, names[index - 1]), c.input(index).shape
    return [result, *statistics]


def _resize(op: str) -> Row:
    def row(c: Context) -> list[ir.Value]:
        return c.emit(
            op,
            [c.input(0), c.ints(1, "size")],
            align_corners=bool(c.attr("align_corners", False)),
            half_pixel_centers=bool(c.attr("half_pixel_centers", False)),
        )

    return row


def _block(op: str) -> Row:
    def row(c: Context) -> list[ir.Value]:
        _check_layout(c)
        return c.emit(op, c.inputs(), block_size=int(c.attr("block_size")))

    return row


def _space_batch(op: str) -> Row:
    return lambda c: c.emit(op, [c.input(0), c.ints(1, "block"), c.ints(2, "amounts")])


def _lrn(c: Context) -> list[ir.Value]:
    return c.emit(
        "LOCAL_RESPONSE_NORMALIZATION",
        c.inputs(),
        radius=int(c.attr("depth_radius", 5)),
        bias=float(c.attr("bias", 1.0)),
        alpha=float(c.attr("alpha", 1.0)),
        beta=float(c.attr("beta", 0.5)),
    )


ROWS: dict[str, Row] = {
    "AvgPool": _pool("AVERAGE_POOL_2D"),
    "BatchToSpaceND": _space_batch("BATCH_TO_SPACE_ND"),
    "Conv2D": _conv_2d,
    "Conv2DBackpropInput": _transpose_conv,
    "DepthToSpace": _block("DEPTH_TO_SPACE"),
    "DepthwiseConv2dNative": _depthwise_conv_2d,
    **dict.fromkeys(("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"), _fused_batch_norm),
    "LRN": _lrn,
    "MaxPool": _pool("MAX_POOL_2D"),
    "ResizeBilinear": _resize("RESIZE_BILINEAR"),
    "ResizeNearestNeighbor": _resize("RESIZE_NEAREST_NEIGHBOR"),
    "SpaceToBatchND": _space_batch("SPACE_TO_BATCH_ND"),
    "SpaceToDepth": _block("SPACE_TO_DEPTH"),
}
