# SPDX-License-Identifier: Apache-2.0
"""Records of convolutions: shapes, gradients, samples; and the functions of tf.nn."""

from __future__ import annotations

from typing import Any

import numpy as np

from host_engine.framework import dtypes
from host_engine.framework import shape_rules as rules
from host_engine.framework.build import build, name_scope
from host_engine.framework.constant import shape_value
from host_engine.framework.registry import Sample, define, sample
from host_engine.framework.tensor import Tensor
from host_engine.ops import conv_kernels as kernels
from host_engine.ops.broadcast import shape_of
from host_engine.ops.conv_kernels import geometry, spatial
from host_engine.ops.windows import check_padding, out_size


def _conv_shape(op: Any) -> list[Any]:
    attrs = op._attrs
    x, filters = op.inputs[0].shape, op.inputs[1].shape
    for shape in (x, filters):
        if shape.ndims not in (4, None):
            raise ValueError(f"Shape must be rank 4 but is rank {shape.ndims}")
    sizes, kernel = x.with_rank(4).as_list(), filters.with_rank(4).as_list()
    first = attrs.get("data_format") == "NCHW"
    n, h, w, c = [sizes[i] for i in (0, 2, 3, 1)] if first else sizes
    rules.equal_size(c, kernel[2])
    strides, dilations = spatial(attrs, "strides"), spatial(attrs, "dilations")
    oh, ow = (
        out_size(s, k, t, d, attrs["padding"])
        for s, k, t, d in zip((h, w), kernel, strides, dilations, strict=False)
    )
    depth = kernel[3]
    if op.type == "DepthwiseConv2dNative":
        depth = None if depth is None or kernel[2] is None else depth * kernel[2]
    return [(n, depth, oh, ow) if first else (n, oh, ow, depth)]


def _backprop_args(op: Any) -> tuple[Any, dict[str, Any]]:
    return op.inputs, dict(op._attrs)


def _gradients(prefix: str, forward: str) -> dict[str, Any]:
    """Gradient rules of a convolution and of its two backward operations: all are bilinear."""
    to_input, to_filter = f"{prefix}BackpropInput", f"{prefix}BackpropFilter"

    def conv(op: Any, dy: Tensor) -> list[Any]:
        (x, filters), attrs = _backprop_args(op)
        return [
            build(to_input, [shape_of(x), filters, dy], attrs),
            build(to_filter, [x, shape_of(filters), dy], attrs),
        ]

    def backprop_input(op: Any, ddx: Tensor) -> list[Any]:
        (_, filters, dy), attrs = _backprop_args(op)
        return [
            None,
            build(to_filter, [ddx, shape_of(filters), dy], attrs),
            build(forward, [ddx, filters], attrs),
        ]

    def backprop_filter(op: Any, ddw: Tensor) -> list[Any]:
        (x, _, dy), attrs = _backprop_args(op)
        return [
            build(to_input, [shape_of(x), ddw, dy], attrs),
            None,
            build(forward, [x, ddw], attrs),
        ]

    return {"conv": conv, "input": backprop_input, "filter": backprop_filter}


_CASES = (
    # input, filter, stride, dilation, padding
    ((2, 5, 6, 3), (3, 3), 1, 1, "SAME"),
    ((2, 5, 6, 3), (2, 3), 1, 1, "VALID"),
    ((1, 7, 8, 2), (3, 2), 2, 1, "SAME"),
    ((1, 8, 7, 2), (3, 3), 2, 1, "VALID"),
    ((1, 9, 8, 2), (3, 3), 1, 2, "SAME"),
    ((1, 9, 8, 2), (3, 2), 1, 2, "VALID"),
    ((2, 4, 4, 3), (1, 1), 1, 1, "SAME"),
    ((1, 5, 5, 2), (1, 1), 2, 1, "VALID"),
    ((1, 3, 3, 1), (5, 5), 1, 1, "SAME"),
)


def _attrs(stride: int, dilation: int, padding: str, first: bool = False) -> dict[str, Any]:
    order = (lambda s: [1, 1, s, s]) if first else (lambda s: [1, s, s, 1])
    return {
        "strides": order(stride),
        "dilations": order(dilation),
        "padding": padding,
        "data_format": "NCHW" if first else "NHWC",
    }


def _cases(depth: int, kind: str) -> tuple[Any, ...]:
    found: list[Sample] = []
    for shape, kernel, stride, dilation, padding in (*_CASES, _CASES[2]):
        first = len(found) == len(_CASES)
        filters = (*kernel, shape[3], depth)
        attrs = _attrs(stride, dilation, padding, first)
        rows, cols = geometry(shape, filters, _attrs(stride, dilation, padding))
        channels = depth * shape[3] if kind.startswith("depthwise") else depth
        out = (shape[0], rows.out, cols.out, channels)
        if first:
            shape, out = (shape[0], shape[3], *shape[1:3]), (out[0], out[3], *out[1:3])
        if kind.endswith("conv"):
            found.append(sample(shape, filters, **attrs))
        elif kind.endswith("input"):
            found.append(sample(np.array(shape, np.int32), filters, out, **attrs))
        else:
            found.append(sample(shape, np.array(filters, np.int32), out, **attrs))
    return tuple(found)


def _family(forward: str, prefix: str, functions: Any, depth: int, kind: str) -> None:
    grads = _gradients(prefix, forward)
    shared: dict[str, Any] = {"types": dtypes.FLOATS}
    define(
        forward,
        "input:T filter:T",
        shape=_conv_shape,
        compute=functions[0],
        grad=grads["conv"],
        samples=_cases(depth, f"{kind}conv"),
        **shared,
    )
    define(
        f"{prefix}BackpropInput",
        "input_sizes:int32 filter:T out_backprop:T",
        shape=lambda op: [shape_value(op.inputs[0]).with_rank(4)],
        compute=functions[1],
        grad=grads["input"],
        dtype=lambda op: [op.inputs[1].dtype],
        samples=_cases(depth, f"{kind}input"),
        **shared,
    )
    define(
        f"{prefix}BackpropFilter",
        "input:T filter_sizes:int32 out_backprop:T",
        shape=lambda op: [shape_value(op.inputs[1]).with_rank(4)],
        compute=functions[2],
        grad=grads["filter"],
        samples=_cases(depth, f"{kind}filter"),
        **shared,
    )


_family("Conv2D", "Conv2D", (kernels.conv2d, kernels.conv2d_input, kernels.conv2d_filter), 4, "")
_family(
    "DepthwiseConv2dNative",
    "DepthwiseConv2dNative",
    (kernels.depthwise, kernels.depthwise_input, kernels.depthwise_filter),
    2,
    "depthwise ",
)

# Python functions


def _four(value: Any, data_format: str) -> list[int]:
    """Strides or dilations as four ints; one or two numbers mean height and width."""
    values = [int(v) for v in np.atleast_1d(value)]
    if len(values) == 4:
        return values
    if len(values) not in (1, 2):
        raise ValueError(f"expected 1, 2 or 4 numbers, got {value}")
    h, w = values[0], values[-1]
    return [1, 1, h, w] if data_format == "NCHW" else [1, h, w, 1]


def conv2d(
    input: Any,
    filter: Any = None,
    strides: Any = None,
    padding: Any = None,
    use_cudnn_on_gpu: Any = True,
    data_format: str = "NHWC",
    dilations: Any = (1, 1, 1, 1),
    name: str | None = None,
    filters: Any = None,
) -> Tensor:
    """Convolution of `input` [n, h, w, c] with `filter` [kh, kw, c, out].

    `strides` and `dilations` have 4 entries (or 1 or 2 for the spatial axes), `padding` is
    "SAME" or "VALID".
    """
    attrs = {
        "strides": _four(strides, data_format),
        "padding": check_padding(padding),
        "data_format": data_format,
        "dilations": _four(dilations, data_format),
    }
    return build("Conv2D", [input, filter if filters is None else filters], attrs, name)


def conv2d_transpose(
    value: Any,
    filter: Any,
    output_shape: Any,
    strides: Any,
    padding: str = "SAME",
    data_format: str = "NHWC",
    name: str | None = None,
) -> Tensor:
    """The gradient of conv2d to its input, as a layer; `filter` is [kh, kw, out, c]."""
    with name_scope(name, "conv2d_transpose", [value, filter, output_shape]) as scope:
        attrs = {
            "strides": _four(strides, data_format),
            "padding": check_padding(padding),
            "data_format": data_format,
            "dilations": [1, 1, 1, 1],
        }
        return build("Conv2DBackpropInput", [output_shape, filter, value], attrs, scope)


def depthwise_conv2d(
    input: Any,
    filter: Any,
    strides: Any,
    padding: Any,
    rate: Any = None,
    name: str | None = None,
    data_format: str | None = None,
) -> Tensor:
    """Each channel of `input` [n, h, w, c] with its own filters; `filter` is [kh, kw, c, m].

    The output has c * m channels; `rate` dilates.
    """
    layout = data_format or "NHWC"
    with name_scope(name, "depthwise", [input, filter]) as scope:
        attrs = {
            "strides": _four(strides, layout),
            "padding": check_padding(padding),
            "data_format": layout,
            "dilations": _four(1 if rate is None else rate, layout),
        }
        return build("DepthwiseConv2dNative", [input, filter], attrs, scope)


depthwise_conv2d_native = depthwise_conv2d
