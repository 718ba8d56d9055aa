# SPDX-License-Identifier: Apache-2.0
"""What a quantized tensor's integers mean; the names are those of :mod:`converter.ir`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from converter.ir import Value


@dataclass
class QuantizationDetails:
    """The QuantizationDetails union: `kind` names the member.

    Blockwise and multi-axis quantization refer to tensors of the same graph for scales and zero
    points; `fields` holds the member's other fields by schema name (``block_size``, ``custom``...).
    """

    kind: str
    scales: Value | None = None
    zero_points: Value | None = None
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass
class Quantization:
    """Affine quantization, real = scale * (q - zero_point).

    `scale` float32 and `zero_point` int64, both of shape [1] or [shape[axis]]; `min`, `max` are
    informative float32 arrays or None. Empty `scale` means only a range (or details) is recorded.
    """

    scale: np.ndarray
    zero_point: np.ndarray
    axis: int = 0
    min: np.ndarray | None = None
    max: np.ndarray | None = None
    details: QuantizationDetails | None = None

    def __post_init__(self) -> None:
        self.scale = np.atleast_1d(np.asarray(self.scale, np.float32))
        self.zero_point = np.atleast_1d(np.asarray(self.zero_point, np.int64))

    def __eq__(self, other: object) -> bool:
        """Same scales, zero points and axis; recorded ranges do not matter."""
        if not isinstance(other, Quantization):
            return NotImplemented
        return (
            np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero_point, other.zero_point)
            and (self.axis == other.axis or self.scale.size <= 1)
            and self.details == other.details
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def per_channel(self) -> bool:
        return self.scale.size > 1
