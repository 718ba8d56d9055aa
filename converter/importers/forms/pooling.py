# SPDX-License-Identifier: Apache-2.0
"""Pooling over one or two axes, channels first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic
from converter.importers.forms.convolution import Window, pad_option, pad_with
from converter.importers.no_form import NoForm


def max_pool(b: Builder, x: ir.Value, kernel: Sequence[int], window: Window) -> ir.Value:
    """The largest element of each window; padding never wins."""
    if len(kernel) == 1:
        return _over_one_axis(b, x, kernel, window)
    if len(kernel) != 2:
        raise NoForm(f"pools over {len(kernel)} axes: TFLite has 1 or 2")
    if any(d != 1 for d in window.dilations):
        raise NoForm("has dilations, which TFLite's pooling lacks")
    last = basic.channels_last(b, x)
    last, padding = pad_option(b, last, window._replace(pads=((0, 0), (0, 0))), kernel)
    if any(map(any, window.pads)):
        same, padding = pad_option(b, last, window, kernel)
        if padding == "VALID":
            pads = [(0, 0), *window.pads, (0, 0)]
            lowest = float(np.finfo(np.float32).min)
            same = pad_with(b, last, pads, lowest)
        last = same
    y = b.emit(
        "MAX_POOL_2D",
        [last],
        padding=padding,
        stride_h=window.strides[0],
        stride_w=window.strides[1],
        filter_height=kernel[0],
        filter_width=kernel[1],
        fused_activation_function="NONE",
    )
    return basic.channels_first(b, y)


def _over_one_axis(b: Builder, x: ir.Value, kernel: Sequence[int], window: Window) -> ir.Value:
    plane = Window((1, *window.strides), ((0, 0), *window.pads), (1, *window.dilations))
    return basic.squeeze(b, max_pool(b, basic.unsqueeze(b, x, [2]), (1, *kernel), plane), [2])
