# SPDX-License-Identifier: Apache-2.0
"""One row per ATen op (whatever its overload): how it is written in TFLite's ops."""

from __future__ import annotations

from converter.importers.torch.rows import (
    activations,
    complexes,
    convolution,
    elementwise,
    grouping,
    indexing,
    linear_algebra,
    making,
    normalization,
    pooling,
    quantized,
    recurrent,
    reduction,
    refused,
    resize,
    shapes,
)

ROWS = {
    **activations.ROWS,
    **complexes.ROWS,
    **convolution.ROWS,
    **elementwise.ROWS,
    **grouping.ROWS,
    **indexing.ROWS,
    **linear_algebra.ROWS,
    **making.ROWS,
    **normalization.ROWS,
    **pooling.ROWS,
    **quantized.ROWS,
    **recurrent.ROWS,
    **reduction.ROWS,
    **refused.ROWS,
    **resize.ROWS,
    **shapes.ROWS,
}
