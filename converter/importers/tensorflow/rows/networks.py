# SPDX-License-Identifier: Apache-2.0
"""Rows for the ops of networks on images: convolution, pooling, batch normalization, resizing.

Layouts: TensorFlow's filters are [height, width, in, out] (HWIO), TFLite's are [out, height, width,
in] (OHWI), and [1, height, width, out] for depthwise convolution. What is channels first (NCHW) is
transposed around the op; converter.optimize moves the transposes to where they cancel.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from converter import ir
from converter.importers.forms import basic, normalization
from converter.importers.forms.convolution import pad_with
from converter.importers.forms.elementwise import affine
from converter.importers.no_form import NoForm
from converter.importers.tensorflow.context import Context, Row, Rows
from converter.importers.tensorflow.rows import volumes

_LAST = ("NHWC", "NDHWC", "N...C")


def _is_last(c: Context) -> bool:
    return c.attr("data_format", "NHWC") in _LAST


def _entered(c: Context, x: ir.Value) -> ir.Value:
    """`x` channels last."""
    return x if _is_last(c) else basic.channels_last(c.b, x)


def _left(c: Context, y: ir.Value) -> ir.Value:
    """`y` in the op's own layout."""
    return y if _is_last(c) else basic.channels_first(c.b, y)


def _spatial(c: Context, name: str, axes: int = 2) -> list[int]:
    """A list attribute such as strides along space; batch and channels must have 1."""
    numbers = [int(i) for i in c.attr(name, [1] * (axes + 2))]
    channel = len(numbers) - 1 if _is_last(c) else 1
    if len(numbers) != axes + 2 or numbers[0] != 1 or numbers[channel] != 1:
        raise NoForm(f"has {name} along batch or channels: only height and width may have them")
    return [n for i, n in enumerate(numbers) if i not in (0, channel)]


def _window(c: Context, value: float = 0.0) -> tuple[ir.Value, dict[str, Any]]:
    """The input, channels last and padded where the op pads explicitly, and the options."""
    x = c.input(0)
    if basic.rank(c.b, x) != 4:
        raise NoForm(f"needs an input of rank 4, not {basic.rank(c.b, x)}")
    x, padding = _entered(c, x), c.attr("padding")
    stride_h, stride_w = _spatial(c, "strides")
    if padding == "EXPLICIT":
        amounts = np.array(c.attr("explicit_paddings")).reshape(4, 2)
        pairs = amounts if _is_last(c) else amounts[[0, 2, 3, 1]]
        x = pad_with(c.b, x, [(int(p), int(q)) for p, q in pairs], value)
        padding = "VALID"
    return x, {"padding": padding, "stride_h": stride_h, "stride_w": stride_w}


def _dilation(c: Context) -> dict[str, int]:
    height, width = _spatial(c, "dilations")
    return {"dilation_h_factor": height, "dilation_w_factor": width}


def _filter(c: Context, value: ir.Value, perm: tuple[int, ...]) -> ir.Value:
    """The filter with its axes in TFLite's order, transposed at run time if it is computed."""
    if value.data is not None:
        return c.turned(value, f"axes {perm}", lambda data: data.transpose(perm))
    return basic.transpose(c.b, value, perm)


def _no_bias(c: Context, channels: int) -> ir.Value:
    return c.b.constant(np.zeros(channels), "bias", np.float32)  # LiteRT demands one


def _conv_2d(c: Context) -> ir.Value:
    x, options = _window(c)
    weights = _filter(c, c.input(1), (3, 0, 1, 2))
    channels = c.b.fixed_dims(weights, "its filter")[0]
    options.update(_dilation(c), fused_activation_function="NONE")
    y = c.b.emit("CONV_2D", [x, weights, _no_bias(c, channels)], **options)
    return _left(c, y)


def _depthwise_conv_2d(c: Context) -> ir.Value:
    x, options = _window(c)
    weights = c.input(1)
    height, width, channels, multiplier = c.b.fixed_dims(weights, "its filter")
    shape = (1, height, width, channels * multiplier)
    if weights.data is not None:
        weights = c.turned(weights, "depthwise", lambda data: data.reshape(shape))
    else:
        weights = basic.reshape(c.b, weights, shape)
    options.update(_dilation(c), fused_activation_function="NONE", depth_multiplier=multiplier)
    y = c.b.emit("DEPTHWISE_CONV_2D", [x, weights, _no_bias(c, shape[3])], **options)
    return _left(c, y)


def _conv_3d(c: Context) -> ir.Value:
    x, padding = _entered(c, c.input(0)), c.attr("padding")
    if c.b.dims(x)[4] != c.b.dims(c.input(1))[3]:
        return volumes.grouped_convolution_3d(c)
    options: dict[str, Any] = {"padding": padding, "fused_activation_function": "NONE"}
    for name, stride, dilation in zip(
        "dhw", _spatial(c, "strides", 3), _spatial(c, "dilations", 3), strict=True
    ):
        options[f"stride_{name}"], options[f"dilation_{name}_factor"] = stride, dilation
    channels = c.b.fixed_dims(c.input(1), "its filter")[-1]
    return _left(c, c.b.emit("CONV_3D", [x, c.input(1), _no_bias(c, channels)], **options))


def _transpose_conv(c: Context) -> Any:
    if _spatial(c, "dilations") != [1, 1] or c.attr("padding") == "EXPLICIT":
        return volumes.transposed_convolution(2)(c)
    stride_h, stride_w = _spatial(c, "strides")
    shape, x = c.ints(0), _entered(c, c.input(2))
    if not _is_last(c):
        shape = c.b.emit("GATHER", [shape, basic.int32s(c.b, [0, 2, 3, 1], "last")], axis=0)
    y = c.b.emit(
        "TRANSPOSE_CONV",
        [shape, _filter(c, c.input(1), (2, 0, 1, 3)), x],
        dtype=x.dtype,
        dims=[None, None, None, c.b.dims(c.input(1))[2]],
        padding=c.attr("padding"),
        stride_h=stride_h,
        stride_w=stride_w,
    )
    return _left(c, y)


def _pool(op: str) -> Row:
    def row(c: Context) -> ir.Value:
        if c.attr("padding") == "EXPLICIT" and op == "AVERAGE_POOL_2D":
            raise NoForm("pads explicitly: use SAME or VALID")
        if c.n_inputs > 1:
            raise NoForm("has windows that are computed: give ksize and strides as attributes")
        x, options = _window(c, float(np.finfo(np.float32).min))
        height, width = _spatial(c, "ksize")
        options.update(filter_height=height, filter_width=width, fused_activation_function="NONE")
        return _left(c, c.b.emit(op, [x], **options))

    return row


def _bias_add(c: Context) -> ir.Value:
    x = c.input(0)
    y = basic.binary(c.b, "ADD", _entered(c, x), c.input(1))
    return _left(c, y)


def _fused_batch_norm(c: Context) -> list[Any]:
    """scale * (x - mean) / sqrt(variance + epsilon) + offset, as MUL and ADD (by constants)."""
    epsilon = float(c.attr("epsilon", 1e-4))
    if c.attr("is_training", True):
        return [_by_own_statistics(c, epsilon), None, None]
    values = [c.input(i) for i in range(1, 5)]
    known = [c.b.known(v) for v in values]
    if all(data is not None for data in known):
        scale, offset, mean, variance = (np.asarray(data, np.float64) for data in known)
        parts = scale / np.sqrt(variance + epsilon)
        factor = c.b.constant(parts, "factor", np.float32)
        shift = c.b.constant(offset - mean * parts, "shift", np.float32)
    else:
        spread = basic.unary(c.b, "RSQRT", affine(c.b, values[3], 1, epsilon))
        factor = basic.binary(c.b, "MUL", values[0], spread)
        shift = basic.binary(c.b, "SUB", values[1], basic.binary(c.b, "MUL", values[2], factor))
    product = basic.binary(c.b, "MUL", _entered(c, c.input(0)), factor)
    y = basic.binary(c.b, "ADD", product, shift)
    return [_left(c, y), values[2], values[3]]


def _by_own_statistics(c: Context, epsilon: float) -> ir.Value:
    """Of a batch of one, which is how Keras 2 normalizes layers and others instances."""
    x = c.input(0)
    if c.b.dims(x)[0] != 1:
        raise NoForm(
            "uses the statistics of the batch (is_training=True): build the inference graph with "
            "is_training=False"
        )
    channel = len(c.b.dims(x)) - 1 if _is_last(c) else 1
    axes = [i for i in range(len(c.b.dims(x))) if i != channel]
    y, _, _ = normalization.standardized(c.b, x, axes, epsilon)
    for op, value, neutral in (("MUL", c.input(1), 1), ("ADD", c.input(2), 0)):
        if not _is_filled(value, neutral):
            value = (
                basic.unsqueeze(c.b, value, list(range(1, len(axes)))) if channel == 1 else value
            )
            y = basic.binary(c.b, op, y, value)
    return y


def _is_filled(value: ir.Value, number: float) -> bool:
    if value.data is not None:
        return bool((value.data == number).all())
    maker = value.producer
    filler = maker.inputs[1] if maker is not None and maker.op == "FILL" else None
    return filler is not None and filler.data is not None and bool(filler.data == number)


def _resize(op: str) -> Row:
    def row(c: Context) -> ir.Value:
        x, size = c.input(0), c.ints(1)
        known = c.b.samples(size)
        sizes: list[int | None] = [None, None]
        if known is not None and np.array_equal(*known):
            sizes = [int(s) for s in known[0]]
        batch, _, _, channels = c.b.dims(x)
        y = c.b.emit(
            op,
            [x, size],
            dims=[batch, *sizes, channels],
            align_corners=bool(c.attr("align_corners", False)),
            half_pixel_centers=bool(c.attr("half_pixel_centers", False)),
        )
        return basic.cast(c.b, y, c.kind())

    return row


def _block(op: str) -> Row:
    def row(c: Context) -> ir.Value:
        x = _entered(c, c.input(0))
        return _left(c, c.b.emit(op, [x], block_size=int(c.attr("block_size"))))

    return row


def _lrn(c: Context) -> ir.Value:
    return c.b.emit(
        "LOCAL_RESPONSE_NORMALIZATION",
        [c.input(0)],
        radius=int(c.attr("depth_radius", 5)),
        bias=float(c.attr("bias", 1.0)),
        alpha=float(c.attr("alpha", 1.0)),
        beta=float(c.attr("beta", 0.5)),
    )


ROWS: Rows = {
    **dict.fromkeys(("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"), _fused_batch_norm),
    **dict.fromkeys(("BiasAdd", "BiasAddV1"), _bias_add),
    "AvgPool": _pool("AVERAGE_POOL_2D"),
    "Conv2D": _conv_2d,
    "Conv2DBackpropInput": _transpose_conv,
    "Conv3D": _conv_3d,
    "DepthToSpace": _block("DEPTH_TO_SPACE"),
    "DepthwiseConv2dNative": _depthwise_conv_2d,
    "LRN": _lrn,
    "MaxPool": _pool("MAX_POOL_2D"),
    "ResizeBilinear": _resize("RESIZE_BILINEAR"),
    "ResizeNearestNeighbor": _resize("RESIZE_NEAREST_NEIGHBOR"),
    "SpaceToDepth": _block("SPACE_TO_DEPTH"),
}
