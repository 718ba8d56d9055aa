# SPDX-License-Identifier: Apache-2.0
"""Observers: what calibration remembers of a tensor, and the range it makes of that.

Both are deterministic, need memory independent of the number of samples, and give the same range
whatever order the samples come in.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

BINS = 4096


class Observer(Protocol):
    def add(self, values: np.ndarray) -> None:
        """Take in float32 values of any shape, all finite."""

    def range(self) -> tuple[float, float]:
        """(low, high) of what was taken in."""


class MinMax:
    """The smallest and the largest value."""

    def __init__(self) -> None:
        self.low, self.high = np.inf, -np.inf

    def add(self, values: np.ndarray) -> None:
        if values.size:
            self.low = min(self.low, float(values.min()))
            self.high = max(self.high, float(values.max()))

    def range(self) -> tuple[float, float]:
        return (self.low, self.high) if self.low <= self.high else (0.0, 0.0)


class Percentile:
    """Cuts the share 100 - `percentile` of all values off either end.

    A histogram of BINS bins around 0 counts the values. The bins' width is the smallest power of
    two that reaches the largest magnitude: a larger value merges neighbouring bins, which floors
    every earlier value exactly as if the wider bins had been there from the start.
    """

    def __init__(self, percentile: float) -> None:
        self.percentile = percentile
        self.counts = np.zeros(BINS, np.int64)
        self.exponent: int | None = None  # bins are 2**exponent wide
        self.ends = MinMax()

    def add(self, values: np.ndarray) -> None:
        if not values.size:
            return
        self.ends.add(values)
        self._reach(max(abs(self.ends.low), abs(self.ends.high)))
        assert self.exponent is not None
        # A product with a power of two is exact.
        bins = np.floor(values.ravel() * np.float32(2.0**-self.exponent))
        bins = np.clip(bins.astype(np.int32) + BINS // 2, 0, BINS - 1)
        self.counts += np.bincount(bins, minlength=BINS)

    def _reach(self, magnitude: float) -> None:
        """Widen the bins until they cover [-magnitude, magnitude]."""
        # frexp gives magnitude < 2**e; half of the bins must span that. 2**-60 stands in for 0.
        needed = int(np.frexp(max(magnitude, 2.0**-60))[1]) - (BINS // 2).bit_length() + 1
        if self.exponent is None:
            self.exponent = needed
        while self.exponent < needed:
            merged = np.zeros_like(self.counts)
            merged[BINS // 4 : BINS // 4 + BINS // 2] = self.counts[0::2] + self.counts[1::2]
            self.counts, self.exponent = merged, self.exponent + 1

    def range(self) -> tuple[float, float]:
        total = int(self.counts.sum())
        if total == 0 or self.exponent is None:
            return 0.0, 0.0
        cut = total * (1.0 - self.percentile / 100.0)
        low, high = self._quantile(cut), self._quantile(total - cut)
        low, high = np.clip([low, high], self.ends.low, self.ends.high)
        return float(low), float(high)

    def _quantile(self, rank: float) -> float:
        """The value that `rank` of the counted values lie below, even within a bin."""
        upto = np.cumsum(self.counts)
        found = min(int(np.searchsorted(upto, rank)), BINS - 1)
        inside = rank - (upto[found] - self.counts[found])
        position = found + inside / max(int(self.counts[found]), 1)
        assert self.exponent is not None
        return float(np.ldexp(position - BINS // 2, self.exponent))
