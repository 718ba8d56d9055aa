# SPDX-License-Identifier: Apache-2.0
"""Measures the float model's accuracy and the int8 model's agreement on labelled photos.

    python -m edge_examples.evaluate_imagenet photos/ --models demo_out

The photos are named NNN_anything.jpg, NNN being the ImageNet class index.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import runtime
from edge_examples.classify_photos import (
    Classifier,
    Frame,
    UsageError,
    classify,
    expected_class,
    median_ms,
    photo_paths,
    read_frames,
)
from edge_examples.report import progress, table

NAMES = ("fp32", "int8")


def labelled_photos(folder: Path) -> list[Path]:
    """The folder's photos whose names start with a class index; UsageError where none does."""
    paths = [path for path in photo_paths(folder) if expected_class(path) is not None]
    if not paths:
        raise UsageError(f"no photo in {folder} has a name like 387_panda.jpg (class index first)")
    return paths


def open_classifiers(models: Path) -> dict[str, Classifier]:
    """Both models of a folder that the demo wrote; UsageError where they are not there."""
    classifiers = {}
    for name in NAMES:
        path = models / f"efficientnet_lite0_{name}.tflite"
        if not path.is_file():
            raise UsageError(f"there is no {path}; `make demo` writes it")
        classifiers[name] = Classifier(path)
    return classifiers


def evaluate(frames: Sequence[Frame], classifiers: dict[str, Classifier]) -> dict[str, Any]:
    """Shares 0..1: top-1 and top-3 accuracy of each model, and how often both say the same."""
    for name, classifier in classifiers.items():
        for frame in progress(frames, name):
            classify(frame, name, classifier)
    result: dict[str, Any] = {"photos": len(frames)}
    for name in classifiers:
        ranks = [[g.index for g in frame.guesses[name]] for frame in frames]
        hits = [frame.expected == rank[0] for frame, rank in zip(frames, ranks, strict=True)]
        near = [frame.expected in rank for frame, rank in zip(frames, ranks, strict=True)]
        result[name] = {
            "top1": float(np.mean(hits)),
            "top3": float(np.mean(near)),
            "ms": median_ms(frames, name),
        }
    same = [f.guesses["fp32"][0].index == f.guesses["int8"][0].index for f in frames]
    result["agreement"] = float(np.mean(same))
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 2 after a sentence on stderr about what the caller can put right."""
    parser = argparse.ArgumentParser(
        prog="python -m edge_examples.evaluate_imagenet",
        description="Top-1 accuracy of the float model, agreement of the int8 model with it.",
        epilog="example: python -m edge_examples.evaluate_imagenet edge_examples/data/photos",
    )
    parser.add_argument("photos", type=Path, help="folder of NNN_name.jpg, NNN the class index")
    parser.add_argument("--models", type=Path, default=Path("demo_out"), help="the demo's folder")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(arguments)
    try:
        paths, classifiers = labelled_photos(options.photos), open_classifiers(options.models)
        frames = list(read_frames(paths, classifiers["fp32"].size))
        if not frames:
            raise UsageError(f"none of the {len(paths)} photos could be read")
        result = evaluate(frames, classifiers)
    except (UsageError, runtime.RilletError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(result, indent=2))
        return 0
    rows = [
        (
            name,
            f"{result[name]['top1']:.1%}",
            f"{result[name]['top3']:.1%}",
            f"{result[name]['ms']:.1f}",
        )
        for name in NAMES
    ]
    print(table((f"{len(frames)} photos", "top-1", "top-3", "ms/frame"), rows))
    print(f"   int8 says what fp32 says on {result['agreement']:.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
