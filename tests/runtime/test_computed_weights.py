# SPDX-License-Identifier: Apache-2.0
"""Products of integers whose weights or bias are computed: LiteRT's bits."""

from __future__ import annotations

import numpy as np
import pytest
from single_op import ISAS, Arg, Out, integers, litert, run, single_op

# Not DEPTHWISE_CONV_2D of UINT8: LiteRT's kernel rounds it once.
ROWS = [
    ("FULLY_CONNECTED", "INT8"),
    ("FULLY_CONNECTED", "UINT8"),
    ("CONV_2D", "INT8"),
    ("CONV_2D", "UINT8"),
    ("DEPTHWISE_CONV_2D", "INT8"),
]


@pytest.mark.parametrize("computed", ["weights", "bias"])
@pytest.mark.parametrize(("op", "dtype"), ROWS)
def test_computed_integer_weights_round_as_litert(op: str, computed: str, dtype: str) -> None:
    """XNNPACK leaves them to LiteRT's own kernels, whose ties go up after a first rounding."""
    rng, seen = np.random.default_rng(7), 0
    shapes = {
        "FULLY_CONNECTED": ((200, 20), (30, 20)),
        "CONV_2D": ((1, 15, 15, 8), (21, 3, 3, 8)),
        "DEPTHWISE_CONV_2D": ((1, 15, 15, 21), (1, 3, 3, 21)),
    }[op]
    options = {} if op == "FULLY_CONNECTED" else {"padding": "SAME", "stride_w": 1, "stride_h": 1}
    options |= {"depth_multiplier": 1} if op == "DEPTHWISE_CONV_2D" else {}
    channels = shapes[1][-1] if op == "DEPTHWISE_CONV_2D" else shapes[1][0]
    while seen < 100_000:
        x_scale, w_scale = 10 ** rng.uniform(-2, -1, 2)
        zero, middle = int(rng.integers(-100, 100)), 0 if dtype == "INT8" else 128
        bias = rng.integers(-3000, 3000, channels).astype(np.int32)
        args = [
            Arg(integers(rng, dtype, shapes[0]), x_scale, zero + middle),
            Arg(integers(rng, dtype, shapes[1]), w_scale, middle, const=computed == "bias"),
            Arg(bias, x_scale * w_scale, const=computed == "weights"),
        ]
        out = Out(dtype, x_scale * w_scale * 300, zero + middle)
        model = single_op(op, args, out, **options)
        found = run(model)
        assert np.count_nonzero(found != litert(model)) == 0
        seen += found.size
    for isa in ISAS:
        assert np.array_equal(run(model, threads=3, isa=isa), found)
