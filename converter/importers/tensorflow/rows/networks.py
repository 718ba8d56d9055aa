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
from converter.importers.forms import basic
from converter.importers.forms.convolution import pad_with, same_pads
from converter.importers.no_form import NoForm
from converter.importers.tensorflow.context import Context, Row, Rows

_LAST = ("NHWC", "NDHWC", "N...C")
_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
_ACTIVATIONS = ("RELU", "RELU6", "RELU_N1_TO_1", "TANH", "LOGISTIC")


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
    options: dict[str, Any] = {"padding": padding, "fused_activation_function": "NONE"}
    for name, stride, dilation in zip(
        "dhw", _spatial(c, "strides", 3), _spatial(c, "dilations", 3), strict=True
    ):
        options[f"stride_{name}"], options[f"dilation_{name}_factor"] = stride, dilation
    channels = c.b.fixed_dims(c.input(1), "its filter")[-1]
    return _left(c, c.b.emit("CONV_3D", [x, c.input(1), _no_bias(c, channels)], **options))


def _transpose_conv(c: Context) -> ir.Value:
    if _spatial(c, "dilations") != [1, 1]:
        raise NoForm("has dilations, which TFLite's transposed convolution lacks")
    if c.attr("padding") == "EXPLICIT":
        raise NoForm("pads explicitly: use SAME or VALID")
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
    """scale * (x - mean) / sqrt(variance + epsilon) + offset, as MUL and ADD by constants."""
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
    x = _entered(c, c.input(0))
    product = basic.binary(c.b, "MUL", x, c.b.constant(factor, "factor", np.float32))
    shift = c.b.constant(offset - mean * factor, "shift", np.float32)
    y = basic.binary(c.b, "ADD", product, shift)
    return [_left(c, y), c.input(3), c.input(4)]


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


def _space_to_batch(c: Context) -> ir.Value:
    dims: list[int | None] = [None] * basic.rank(c.b, c.input(0))
    return c.b.emit("SPACE_TO_BATCH_ND", [c.input(0), c.ints(1), c.ints(2)], dims=dims)


def _batch_to_space(c: Context) -> ir.Value:
    x, block, crops = c.input(0), c.ints(1), c.ints(2)
    dilated = _dilated(c, x, block, crops)
    if dilated is not None:
        return dilated
    dims: list[int | None] = [None] * basic.rank(c.b, x)
    return c.b.emit("BATCH_TO_SPACE_ND", [x, block, crops], dims=dims)


def _dilated(c: Context, x: ir.Value, block: ir.Value, crops: ir.Value) -> ir.Value | None:
    """SPACE_TO_BATCH_ND, a convolution, BATCH_TO_SPACE_ND as one dilated convolution, with what
    else is done to each element in between; None where it is anything else. Over one axis (rank 3)
    the convolution has an axis of size 1 more.
    """
    flat = basic.rank(c.b, x) == 3
    chain: list[ir.Node] = []
    node = x.producer
    while node is not None and len(chain) < 8 and (_is_per_channel(node) or _drops_axis(c, node)):
        chain.append(node)
        node = node.inputs[0].producer if node.inputs[0] is not None else None
    steps = [step for step in chain if _is_per_channel(step)]
    if node is None or node.op not in _CONVOLUTIONS or len(chain) - len(steps) != flat:
        return None
    spread = _producer(node.inputs[0])
    if flat and spread is not None:
        spread = _producer(spread.inputs[0]) if _adds_axis(c, spread) else None
    if spread is None or spread.op != "SPACE_TO_BATCH_ND":
        return None
    origin, own_block, paddings = (v for v in spread.inputs if v is not None)
    rates, own_rates = c.b.known(block), c.b.known(own_block)
    pads = _net_pads(c, paddings, crops)
    if rates is None or own_rates is None or pads is None or not _is_plain(node):
        return None
    if not np.array_equal(rates, own_rates) or rates.size != len(pads):
        return None
    if flat:
        origin = basic.unsqueeze(c.b, origin, [1])
        pads, rates = [(0, 0), *pads], np.array([1, *rates.reshape(-1)])
    y = _dilated_once(c, node, origin, pads, [int(r) for r in rates.reshape(-1)])
    y = basic.squeeze(c.b, y, [1]) if flat else y
    for step in reversed(steps):
        options = {k: v for k, v in step.options.items() if v is not None}
        y = c.b.emit(step.op, [y, *step.inputs[1:]], **options)
    return y


def _dilated_once(
    c: Context, node: ir.Node, x: ir.Value, pads: list[tuple[int, int]], rates: list[int]
) -> ir.Value:
    """The convolution `node` over `x`, dilated."""
    weights = node.inputs[1]
    assert weights is not None
    kernel = c.b.fixed_dims(weights, "its filter")[1:3]
    same = [same_pads(1, k, 1, rate) for k, rate in zip(kernel, rates, strict=True)]
    padding = "SAME" if pads == same else "VALID"
    if padding == "VALID":
        x = pad_with(c.b, x, [(0, 0), *pads, (0, 0)])
    options = {k: v for k, v in node.options.items() if v is not None}
    options.update(padding=padding, dilation_h_factor=rates[0], dilation_w_factor=rates[1])
    return c.b.emit(node.op, [x, *node.inputs[1:]], **options)


def _producer(value: ir.Value | None) -> ir.Node | None:
    return None if value is None else value.producer


def _is_plain(node: ir.Node) -> bool:
    numbers = ("stride_h", "stride_w", "dilation_h_factor", "dilation_w_factor")
    plain = all(node.options.get(name, 1) == 1 for name in numbers)
    return plain and node.options["padding"] == "VALID"


def _drops_axis(c: Context, node: ir.Node) -> bool:
    """[batch, 1, width, channels] to [batch, width, channels]"""
    source = node.inputs[0]
    if node.op not in ("RESHAPE", "SQUEEZE") or source is None:
        return False
    wide = c.b.pair(source)
    narrow = c.b.pair(node.outputs[0])
    return len(wide[0]) == 4 and all(
        n == (w[0], *w[2:]) and w[1] == 1 for n, w in zip(narrow, wide, strict=True)
    )


def _adds_axis(c: Context, node: ir.Node) -> bool:
    source = node.inputs[0]
    if node.op not in ("RESHAPE", "EXPAND_DIMS") or source is None:
        return False
    pairs = zip(c.b.pair(node.outputs[0]), c.b.pair(source), strict=True)
    return all(len(n) == 3 and w == (n[0], 1, *n[1:]) for w, n in pairs)


def _is_per_channel(node: ir.Node) -> bool:
    """An op that does the same wherever an element lies: an activation, or a constant vector."""
    if node.op in _ACTIVATIONS:
        return True
    if node.op not in ("ADD", "MUL") or len(node.inputs) != 2:
        return False
    term = node.inputs[1]
    return term is not None and term.data is not None and term.data.ndim <= 1


def _net_pads(c: Context, paddings: ir.Value, crops: ir.Value) -> list[tuple[int, int]] | None:
    """Paddings less crops, where both samples give the same."""
    added, cut = c.b.samples(paddings), c.b.samples(crops)
    if added is None or cut is None:
        return None
    nets = [a.astype(int) - b for a, b in zip(added, cut, strict=True)]
    if nets[0].ndim != 2 or not np.array_equal(*nets):
        return None
    return [(int(p), int(q)) for p, q in nets[0]]


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
    "BatchToSpaceND": _batch_to_space,
    "Conv2D": _conv_2d,
    "Conv2DBackpropInput": _transpose_conv,
    "Conv3D": _conv_3d,
    "DepthToSpace": _block("DEPTH_TO_SPACE"),
    "DepthwiseConv2dNative": _depthwise_conv_2d,
    "LRN": _lrn,
    "MaxPool": _pool("MAX_POOL_2D"),
    "ResizeBilinear": _resize("RESIZE_BILINEAR"),
    "ResizeNearestNeighbor": _resize("RESIZE_NEAREST_NEIGHBOR"),
    "SpaceToBatchND": _space_to_batch,
    "SpaceToDepth": _block("SPACE_TO_DEPTH"),
}
