# SPDX-License-Identifier: Apache-2.0
"""Memory that grows while a model runs, for tensors whose size only the run tells."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _binding as c
from ._model import aligned_block
from .errors import RilletError


class Region:
    """Blocks given to one interpreter; they live as long as it, or a view of a tensor in them.

    `callback` goes into rlt_options.grow.
    """

    def __init__(self) -> None:
        self.blocks: list[np.ndarray] = []
        blocks = self.blocks

        @c.Grow
        def grow(_context: Any, size: int) -> int:
            try:
                blocks.append(aligned_block(size))
            except RilletError:
                return 0
            return blocks[-1].ctypes.data

        self.callback = grow
