# SPDX-License-Identifier: Apache-2.0
"""One row per TensorFlow op type: how it is written in TFLite's ops."""

from __future__ import annotations

from converter.importers.tensorflow.context import Rows
from converter.importers.tensorflow.rows import (
    control,
    elementwise,
    indexing,
    networks,
    products,
    reduction,
    shapes,
)

_TABLES = (control, elementwise, indexing, networks, products, reduction, shapes)
ROWS: Rows = {name: row for table in _TABLES for name, row in table.ROWS.items()}
assert len(ROWS) == sum(len(table.ROWS) for table in _TABLES), "an op has two rows"
