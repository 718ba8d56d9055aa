# SPDX-License-Identifier: Apache-2.0
"""What 8-bit quantization asks of each op: one row per op, after the LiteRT 8-bit quantization
specification. An op without a row has no int8 form and stays float.

Unless a row says otherwise an op's float inputs and outputs are int8 activations, each with its own
scale and zero point.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from converter.ir import Node, Quantization, Value
from quantize.errors import QuantizationError


@dataclass(frozen=True)
class Constraint:
    """Requirements of one op.

    weights     index of the input that holds symmetric int8 weights
    axis        the weights' dimension that has a scale per channel
    data        index of the input the weights are multiplied with
    bias        index of the input that is int32 with scale data * weights and zero point 0
    same_scale  all activations in and out share one scale and zero point
    fixed       (scale, zero point) the output must have
    multiplies  output = product of inputs, requantized: likewise
    adds        output = sum of inputs, requantized: its scale may not be tiny beside theirs
    """

    weights: int | None = None
    axis: int = 0
    data: int = 0
    bias: int | None = None
    same_scale: bool = False
    fixed: tuple[float, int] | None = None
    multiplies: bool = False
    adds: bool = False

    def fixed_params(self) -> Quantization | None:
        """`fixed` as a Quantization, or None."""
        if self.fixed is None:
            return None
        scale, zero_point = self.fixed
        return Quantization(np.array([scale], np.float32), np.array([zero_point]))


_SAME_SCALE = """
    AVERAGE_POOL_2D BATCH_TO_SPACE_ND CONCATENATION DEPTH_TO_SPACE EXPAND_DIMS GATHER MAX_POOL_2D
    MAXIMUM MINIMUM MIRROR_PAD PACK PAD PADV2 REDUCE_MAX REDUCE_MIN RESHAPE RESIZE_BILINEAR
    RESIZE_NEAREST_NEIGHBOR REVERSE_V2 SLICE SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPLIT SPLIT_V
    SQUEEZE STRIDED_SLICE TILE TRANSPOSE UNPACK
"""
_OWN_SCALES = """
    ARG_MAX ARG_MIN ELU GELU LEAKY_RELU MEAN PRELU RELU RELU6 RELU_0_TO_1 RELU_N1_TO_1 SUM
"""

CONSTRAINTS: Mapping[str, Constraint] = {
    "CONV_2D": Constraint(weights=1, axis=0, bias=2),
    "DEPTHWISE_CONV_2D": Constraint(weights=1, axis=3, bias=2),
    "FULLY_CONNECTED": Constraint(weights=1, axis=0, bias=2),
    "TRANSPOSE_CONV": Constraint(weights=1, axis=0, data=2, bias=3),
    "ADD": Constraint(adds=True),
    "HARD_SWISH": Constraint(multiplies=True),
    "MUL": Constraint(multiplies=True),
    "SUB": Constraint(adds=True),
    "LOGISTIC": Constraint(fixed=(1 / 256, -128)),
    "SOFTMAX": Constraint(fixed=(1 / 256, -128)),
    "LOG_SOFTMAX": Constraint(fixed=(16 / 256, 127)),
    "TANH": Constraint(fixed=(1 / 128, 0)),
    "L2_NORMALIZATION": Constraint(fixed=(1 / 128, 0)),
    **{op: Constraint(same_scale=True) for op in _SAME_SCALE.split()},
    **{op: Constraint() for op in _OWN_SCALES.split()},
}

# Ops that ask a tensor's shape, whatever its type.
TYPE_BLIND = frozenset({"RANK", "SHAPE"})

# What the fused activation leaves of an output's range.
FUSED_RANGES: Mapping[str, tuple[float, float]] = {
    "RELU": (0.0, np.inf),
    "RELU6": (0.0, 6.0),
    "RELU_N1_TO_1": (-1.0, 1.0),
    "RELU_0_TO_1": (0.0, 1.0),
}


def constant_weights(node: Node) -> Value | None:
    """The dense float32 constant that `node` uses as weights, or None.

    Errors: QuantizationError if it holds NaN or infinity.
    """
    row = CONSTRAINTS.get(node.op)
    if row is None or row.weights is None:
        return None
    value = node.inputs[row.weights]
    if value is None or value.data is None or value.dtype != "FLOAT32" or value.sparsity:
        return None
    if node.options.get("weights_format", "DEFAULT") != "DEFAULT":
        return None
    if not np.isfinite(value.data).all():
        raise QuantizationError(
            f"{node.label}: the weights {value.name!r} hold NaN or infinity; train or load again"
        )
    return value
