# SPDX-License-Identifier: Apache-2.0
"""How an importer says that something cannot be written in TFLite."""

from __future__ import annotations


class NoForm(Exception):
    """This use of an op cannot be written in TFLite; the message says why and what to do."""


def list_obstacles(source: str, obstacles: list[str]) -> str:
    """One sentence for one obstacle, a list for several; `source` is what was to be converted."""
    if len(obstacles) == 1:
        return f"{source} cannot be converted: {obstacles[0]}"
    lines = "\n".join(f"  - {obstacle}" for obstacle in obstacles)
    return f"{source} cannot be converted, {len(obstacles)} obstacles:\n{lines}"
