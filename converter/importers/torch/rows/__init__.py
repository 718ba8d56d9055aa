# SPDX-License-Identifier: Apache-2.0
"""One row per ATen op (whatever its overload): how it is written in TFLite's ops."""

from __future__ import annotations

from converter.importers.rows import merged
from converter.importers.torch.context import Rows
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

_TABLES = (
    *(activations, complexes, convolution, elementwise, grouping, indexing, linear_algebra, making),
    *(normalization, pooling, quantized, recurrent, reduction, refused, resize, shapes),
)
ROWS: Rows = merged(table.ROWS for table in _TABLES)
