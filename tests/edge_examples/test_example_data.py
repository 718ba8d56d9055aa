# SPDX-License-Identifier: Apache-2.0
"""The data that ships with the examples is whole, and every photo is credited."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from zoo import zoo_files

from edge_examples.datasets import DATA, PHOTOS, load_mnist

FREE_LICENCES = {"PD", "CC0", "CC BY 3.0"}
LABELS = (DATA / "imagenet_labels.txt").read_text(encoding="utf-8").splitlines()


def credits() -> dict[str, list[str]]:
    """The cells of each photo's row in CREDITS.md, by file name."""
    rows = re.findall(r"^\| (\d{3}_\w+\.jpg) \| (.*) \|$", (DATA / "CREDITS.md").read_text(), re.M)
    return {name: [cell.strip() for cell in rest.split(" | ")] for name, rest in rows}


def test_mnist_is_the_published_subset() -> None:
    with np.load(DATA / "mnist_5k.npz") as file:
        images, labels = file["images"], file["labels"]
    assert images.shape == (5000, 28, 28) and images.dtype == np.uint8
    digests = [hashlib.sha256(a.tobytes()).hexdigest()[:16] for a in (images, labels)]
    assert digests == ["2913c6b6527114b7", "41b7b0a9d94690a3"]


def test_mnist_split_is_balanced_and_disjoint() -> None:
    train, test = load_mnist()
    assert (len(train), len(test)) == (4000, 1000)
    np.testing.assert_array_equal(np.bincount(train.labels), [400] * 10)
    np.testing.assert_array_equal(np.bincount(test.labels), [100] * 10)
    with np.load(DATA / "mnist_5k.npz") as file:
        np.testing.assert_array_equal(
            np.sort(np.concatenate([file["train"], file["test"]])), np.arange(5000)
        )
    assert train.images.shape[1:] == (28, 28, 1) and train.images.dtype == np.float32
    assert train.images.min() == 0 and train.images.max() == 1
    assert train.one_hot().sum() == 4000 and train.one_hot().dtype == np.float32


def test_labels_are_a_thousand_different_names() -> None:
    assert len(LABELS) == len(set(LABELS)) == 1000
    assert all(label == label.strip() != "" for label in LABELS)
    assert (LABELS[0], LABELS[388], LABELS[999]) == ("tench", "giant panda", "toilet tissue")


def test_labels_name_the_samples_beside_the_repository() -> None:
    for path in zoo_files("data/imagenet_samples/*.jpg"):
        assert LABELS[int(path.name[:3])].casefold() == path.stem[4:].replace("_", " ").casefold()


@pytest.mark.parametrize("path", sorted(PHOTOS.iterdir()), ids=lambda p: p.name)
def test_every_photo_is_a_credited_photo_of_its_class(path: Path) -> None:
    name, author, licence, source, package = credits()[path.name]
    assert name == LABELS[int(path.name[:3])]
    assert author and source and package
    assert licence in FREE_LICENCES
    with Image.open(path) as image:
        assert image.format == "JPEG" and image.mode == "RGB" and max(image.size) == 320


def test_credits_name_photos_that_are_there() -> None:
    assert set(credits()) == {path.name for path in PHOTOS.iterdir()}
    assert len(credits()) >= 6
