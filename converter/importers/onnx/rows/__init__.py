# SPDX-License-Identifier: Apache-2.0
"""One row per ONNX op: how it is written in TFLite's ops."""

from __future__ import annotations

from converter.importers.onnx.context import merged
from converter.importers.onnx.rows import convolution, elementwise, indexing, reduction, shapes

ROWS = merged((elementwise.ROWS, indexing.ROWS, reduction.ROWS, shapes.ROWS, convolution.ROWS))
