# SPDX-License-Identifier: Apache-2.0
"""The exceptions of this package."""

from __future__ import annotations

from collections.abc import Sequence


class ConversionError(Exception):
    """A model cannot be read, converted or written; the message says why and what to do."""


class ObstacleError(ConversionError):
    """A model that is valid uses what has no form in TFLite. `obstacles` has a sentence for each
    place, with the node's name, its shapes, why, and what to do; all of them, not the first.
    """

    def __init__(self, source: str, obstacles: Sequence[str]) -> None:
        self.obstacles = list(obstacles)
        if len(self.obstacles) == 1:
            super().__init__(f"{source} cannot be converted: {self.obstacles[0]}")
            return
        lines = "\n".join(f"  - {obstacle}" for obstacle in self.obstacles)
        super().__init__(f"{source} cannot be converted, {len(self.obstacles)} obstacles:\n{lines}")


class ProofError(ConversionError):
    """The source cannot be run on this machine, so that nothing can be proved."""


class InputsError(ConversionError):
    """The source's own engine does not run the model on these inputs."""
