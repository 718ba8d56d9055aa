# SPDX-License-Identifier: Apache-2.0
"""One row per TensorFlow op type: how it is written in TFLite's ops."""

from __future__ import annotations

from converter.importers.rows import merged
from converter.importers.tensorflow.complexes import by_parts
from converter.importers.tensorflow.context import Rows
from converter.importers.tensorflow.rows import (
    control,
    counting,
    dilated,
    elementwise,
    images,
    indexing,
    matrices,
    networks,
    products,
    quantized,
    recurrent,
    reduction,
    refused,
    shapes,
    signal,
    special,
    volumes,
)

_TABLES = (
    *(control, counting, dilated, elementwise, images, indexing, matrices, networks),
    *(products, quantized, recurrent, reduction, refused, shapes, signal, special, volumes),
)
ROWS: Rows = merged(table.ROWS for table in _TABLES)

# What moves elements or is linear does so to both parts of complex numbers.
_LINEAR = (
    *("Add", "AddV2", "AddN", "Sub", "Neg", "Sum", "Mean", "Select", "SelectV2", "ZerosLike"),
    *("BroadcastTo", "Concat", "ConcatV2", "ExpandDims", "Gather", "GatherV2", "GatherNd", "Pack"),
    *("Pad", "Reshape", "ReverseV2", "Roll", "Slice", "Split", "SplitV", "Squeeze", "StridedSlice"),
    *("Tile", "Transpose", "Unpack"),
)
ROWS.update((name, by_parts(ROWS[name])) for name in _LINEAR)
ROWS.update(
    Cast=signal.cast(ROWS["Cast"]),
    Exp=signal.exponential(ROWS["Exp"]),
    Mul=signal.product(ROWS["Mul"]),
)
