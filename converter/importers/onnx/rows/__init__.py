# SPDX-License-Identifier: Apache-2.0
"""One row per ONNX op: how it is written in TFLite's ops."""

from __future__ import annotations

from converter.importers.onnx.context import merged
from converter.importers.onnx.rows import (
    control,
    convolution,
    elementwise,
    indexing,
    normalization,
    pooling,
    recurrent,
    reduction,
    resize,
    shapes,
)

ROWS = merged(
    (
        control.ROWS,
        recurrent.ROWS,
        elementwise.ROWS,
        indexing.ROWS,
        reduction.ROWS,
        shapes.ROWS,
        convolution.ROWS,
        normalization.ROWS,
        pooling.ROWS,
        resize.ROWS,
    )
)
