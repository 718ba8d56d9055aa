# SPDX-License-Identifier: Apache-2.0
"""One row per ONNX op: how it is written in TFLite's ops."""

from __future__ import annotations

from converter.importers.onnx.rows import (
    classical,
    contrib_fused,
    contrib_quantized,
    control,
    convolution,
    elementwise,
    indexing,
    integer_products,
    normalization,
    pooling,
    quantized,
    random,
    recurrent,
    reduction,
    refused,
    regions,
    resize,
    scores,
    sequences,
    shapes,
    signal,
    trees,
    vision,
)
from converter.importers.rows import merged

ROWS = merged(
    (
        classical.ROWS,
        contrib_fused.ROWS,
        contrib_quantized.ROWS,
        control.ROWS,
        convolution.ROWS,
        elementwise.ROWS,
        indexing.ROWS,
        integer_products.ROWS,
        normalization.ROWS,
        pooling.ROWS,
        quantized.ROWS,
        random.ROWS,
        recurrent.ROWS,
        reduction.ROWS,
        refused.ROWS,
        regions.ROWS,
        resize.ROWS,
        scores.ROWS,
        sequences.ROWS,
        shapes.ROWS,
        signal.ROWS,
        trees.ROWS,
        vision.ROWS,
    )
)
