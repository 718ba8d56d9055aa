# SPDX-License-Identifier: Apache-2.0
"""The data that ships with the examples: digits, photos and class names (data/CREDITS.md)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

DATA = Path(__file__).resolve().parent / "data"
PHOTOS = DATA / "photos"


@dataclass(frozen=True)
class Digits:
    """Images float32 [n, 28, 28, 1] in 0..1 (1 is ink), labels int64 [n]."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def one_hot(self) -> np.ndarray:
        """Labels as float32 [n, 10]."""
        return np.eye(10, dtype=np.float32)[self.labels]


def load_mnist() -> tuple[Digits, Digits]:
    """Returns 4,000 digits to train on and 1,000 to test with, a fixed split, balanced by class."""
    with np.load(DATA / "mnist_5k.npz", allow_pickle=False) as file:
        images = file["images"][..., None].astype(np.float32) / np.float32(255)
        labels = file["labels"].astype(np.int64)
        train, test = file["train"], file["test"]
    return Digits(images[train], labels[train]), Digits(images[test], labels[test])
