# SPDX-License-Identifier: Apache-2.0
"""Regions and moved taps: what ONNX Runtime computes, here and on LiteRT."""

from __future__ import annotations

import numpy as np
import pytest
from test_onnx_computed import INT64, RNG, agrees, floats, node

import converter


def regions(count, size):
    corner = RNG.uniform(-2, size, (count, 2))
    return np.concatenate([corner, corner + RNG.uniform(0, size, (count, 2))], 1).astype(np.float32)


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("how", ["half_pixel", "output_half_pixel"])
def test_regions_of_any_number(mode, how):
    nodes = [node("RoiAlign", "x regions batches", mode=mode, output_height=3, output_width=4,
                  sampling_ratio=2, spatial_scale=0.5,
                  coordinate_transformation_mode=how)]  # fmt: skip
    inputs = [("x", [2, 3, 9, 8]), ("regions", ["n", 4]), ("batches", ["n"], INT64)]
    feeds = [
        {"x": floats(2, 3, 9, 8), "regions": regions(n, 16), "batches": RNG.integers(0, 2, n)}
        for n in (5, 1)
    ]
    agrees(nodes, inputs, feeds)


def test_regions_with_as_many_points_as_they_are_large():
    nodes = [node("RoiAlign", "x regions batches", output_height=3, output_width=4)]
    inputs = [("x", [2, 3, 9, 8]), ("regions", ["n", 4]), ("batches", ["n"], INT64)]
    with pytest.raises(converter.ConversionError, match="sampling_ratio"):
        agrees(nodes, inputs, [])


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_convolutions_whose_taps_move(groups, masked):
    """Two offset groups, strides, dilations and padding that differ between the axes."""
    out = (5, 6)  # (9 + 2 - 3) / 2 + 1 and (10 + 4 - 3) / 2 + 1
    feeds = {"x": floats(2, 4, 9, 10), "w": floats(6, 4 // groups, 3, 2),
             "offset": 2 * floats(2, 2 * 2 * 6, *out), "b": floats(6)}  # fmt: skip
    if masked:
        feeds["mask"] = floats(2, 2 * 6, *out)
    names = "x w offset b mask" if masked else "x w offset b"
    nodes = [node("DeformConv", names, group=groups, offset_group=2, strides=[2, 2],
                  dilations=[1, 2], pads=[1, 2, 1, 2])]  # fmt: skip
    inputs = [(name, list(value.shape)) for name, value in feeds.items()]
    agrees(nodes, inputs, [feeds], opset=19)


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_pools_that_round_up_on_dynamic_sizes(op):
    inputs = [("x", ["n", 2, "h", "w"])]
    feeds = [{"x": floats(1, 2, 8, 11)}, {"x": floats(2, 2, 9, 6)}]
    for kernel, strides in (([3, 2], [2, 2]), ([3, 3], [3, 1])):
        window = {"kernel_shape": kernel, "strides": strides, "ceil_mode": 1}
        agrees([node(op, "x", **window)], inputs, feeds)
    window = {"kernel_shape": [2, 2], "strides": [3, 3], "ceil_mode": 1}
    with pytest.raises(converter.ConversionError, match="rounds up"):
        agrees([node(op, "x", **window)], inputs, [])
