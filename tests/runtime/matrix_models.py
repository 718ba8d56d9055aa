# SPDX-License-Identifier: Apache-2.0
"""Single-op models of the matrix products, in the three families the runtime knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from converter import ir
from converter.writer import write_tflite

FLOAT, INT8, HYBRID = "float", "int8", "hybrid"


@dataclass
class Case:
    """A model of one op, what its inputs get, and the magnitude its real outputs usually have."""

    model: bytes
    inputs: list[np.ndarray]
    typical: float = 0.0


def int8_quant(scale: Any, zero: int = 0, axis: int = 0) -> ir.Quantization:
    scale = np.atleast_1d(np.float32(scale))
    return ir.Quantization(scale, np.full(scale.size, zero), axis)


def single_op(
    op: str,
    x: np.ndarray,
    weights: np.ndarray,
    options: dict[str, Any],
    out_shape: tuple[int, ...],
    *,
    family: str = FLOAT,
    axis: int = 0,
    per_channel: bool = True,
    bias: bool = True,
    out_scale: float | None = None,
    computed_weights: bool = False,
    seed: int = 0,
) -> Case:
    """A model with constant `weights` (float32; INT8 and HYBRID quantize them along `axis`).

    INT8's output scale lets about one value in 50 saturate, unless `out_scale` is given.
    `computed_weights` makes the weights the model's second input.
    """
    rng = np.random.default_rng(seed)
    graph = ir.Graph()
    channels = weights.shape[axis]
    out_type = "INT8" if family == INT8 else "FLOAT32"
    others = tuple(i for i in range(weights.ndim) if i != axis)
    top = np.abs(weights).max(axis=others if per_channel else None, keepdims=True) / 127
    w_scale = np.maximum(top, 1e-6).astype(np.float32)
    if family == FLOAT:
        kernel = ir.Value.constant("weights", weights)
    else:
        quantized = np.clip(np.round(weights / w_scale), -127, 127).astype(np.int8)
        kernel = ir.Value.constant("weights", quantized, quant=int8_quant(w_scale.ravel(), 0, axis))
    fan_in = weights.size // channels
    typical = float(np.sqrt(np.mean(x**2) * np.mean(weights**2) * fan_in))
    quant = {}
    real_bias = rng.normal(0, 0.5, channels).astype(np.float32) * float(np.abs(weights).max())
    offset = ir.Value.constant("bias", real_bias)
    if family == INT8:
        in_scale, in_zero, out_zero = np.float32(0.0374), -7, 11
        x = np.clip(np.round(x / in_scale) + in_zero, -128, 127).astype(np.int8)
        spread = float(np.sqrt(np.mean(weights**2) * fan_in)) * float(in_scale) * 45
        scale = np.float32(out_scale or spread * 2.3 / 127)
        quant = {"quant": int8_quant(scale, out_zero)}
        bias_scale = (in_scale * w_scale).ravel().astype(np.float32)
        offset = ir.Value.constant(
            "bias",
            np.round(real_bias / bias_scale).astype(np.int32),
            quant=int8_quant(bias_scale, 0, 0),
        )
        value = graph.add_input("x", "INT8", x.shape, quant=int8_quant(in_scale, in_zero))
    else:
        value = graph.add_input("x", "FLOAT32", x.shape)
    y = ir.Value("y", out_type, out_shape, **quant)
    left_out = [None] if op == "FULLY_CONNECTED" else []  # as LiteRT wants it
    fed = [x]
    if computed_weights:
        fed.append(kernel.data)
        kernel = graph.add_input("weights", kernel.dtype, weights.shape, quant=kernel.quant)
    graph.add_node(op, [value, kernel, *([offset] if bias else left_out)], [y], options)
    graph.outputs.append(y)
    return Case(write_tflite(ir.Model([graph])), fed, typical)


def fully_connected(
    rows: int,
    k: int,
    n: int,
    *,
    keep: bool = False,
    act: str = "NONE",
    lead: tuple[int, ...] = (),
    **kw: Any,
) -> Case:
    rng = np.random.default_rng(rows * 7 + k * 3 + n)
    x = rng.normal(0, 1.5, (*lead, rows, k)).astype(np.float32)
    weights = rng.normal(0, 0.3, (n, k)).astype(np.float32)
    options = {"fused_activation_function": act, "keep_num_dims": keep}
    total = rows * int(np.prod(lead, dtype=np.int64))
    return single_op(
        "FULLY_CONNECTED", x, weights, options, (*lead, rows, n) if keep else (total, n), **kw
    )


def out_size(size: int, kernel: int, stride: int, dilation: int, padding: str) -> int:
    reach = (kernel - 1) * dilation + 1
    return -(-size // stride) if padding == "SAME" else (size - reach) // stride + 1


def conv_2d(
    shape: tuple[int, int, int, int],
    outputs: int,
    kernel: tuple[int, int] = (3, 3),
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    padding: str = "SAME",
    groups: int = 1,
    act: str = "NONE",
    **kw: Any,
) -> Case:
    rng = np.random.default_rng(sum(shape) + outputs)
    x = rng.normal(0, 1.5, shape).astype(np.float32)
    weights = rng.normal(0, 0.3, (outputs, *kernel, shape[3] // groups)).astype(np.float32)
    options = window_options(stride, dilation, padding, act)
    out_shape = window_shape(shape, outputs, kernel, stride, dilation, padding)
    return single_op("CONV_2D", x, weights, options, out_shape, **kw)


def depthwise_conv_2d(
    shape: tuple[int, int, int, int],
    multiplier: int = 1,
    kernel: tuple[int, int] = (3, 3),
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    padding: str = "SAME",
    act: str = "NONE",
    **kw: Any,
) -> Case:
    outputs = shape[3] * multiplier
    rng = np.random.default_rng(sum(shape) + outputs)
    x = rng.normal(0, 1.5, shape).astype(np.float32)
    weights = rng.normal(0, 0.3, (1, *kernel, outputs)).astype(np.float32)
    options = {**window_options(stride, dilation, padding, act), "depth_multiplier": multiplier}
    out_shape = window_shape(shape, outputs, kernel, stride, dilation, padding)
    return single_op("DEPTHWISE_CONV_2D", x, weights, options, out_shape, axis=3, **kw)


def window_options(
    stride: tuple[int, int], dilation: tuple[int, int], padding: str, act: str
) -> dict[str, Any]:
    return {
        "padding": padding,
        "stride_h": stride[0],
        "stride_w": stride[1],
        "dilation_h_factor": dilation[0],
        "dilation_w_factor": dilation[1],
        "fused_activation_function": act,
    }


def window_shape(
    shape: tuple[int, int, int, int],
    outputs: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: str,
) -> tuple[int, int, int, int]:
    high, wide = (
        out_size(shape[1 + i], kernel[i], stride[i], dilation[i], padding) for i in range(2)
    )
    return shape[0], high, wide, outputs
