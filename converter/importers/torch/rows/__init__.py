# SPDX-License-Identifier: Apache-2.0
"""One row per ATen op (whatever its overload): how it is written in TFLite's ops."""

from __future__ import annotations

from converter.importers.torch.rows import elementwise, networks, shapes

ROWS = {**elementwise.ROWS, **networks.ROWS, **shapes.ROWS}
