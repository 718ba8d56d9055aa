# SPDX-License-Identifier: Apache-2.0
"""The whole path on real input: `make demo`, or `python -m edge_examples.demo`.

Trains a network on handwritten digits and takes a pretrained one for photos; converts, quantizes
and runs both; leaves models, pictures and results.json in a folder.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import converter
import quantize
import runtime
from edge_examples import camera_to_device, digits_to_device
from edge_examples.classify_photos import UsageError, photo_paths
from edge_examples.report import Stages, make_folder, plot_training, write_json
from edge_examples.torch_pickle import CheckpointError


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m edge_examples.demo",
        description="Trains, converts, quantizes and runs two networks, and shows what came out.",
        epilog="example: python -m edge_examples.demo --out demo_out --photos ~/Pictures",
    )
    parser.add_argument("--out", type=Path, default=Path("demo_out"), help="folder for the results")
    parser.add_argument("--photos", type=Path, help="folder of photos to classify (those shipped)")
    parser.add_argument("--quick", action="store_true", help="little data, for a look at the steps")
    return parser.parse_args(arguments)


def run(out: Path, photos: Path | None = None, quick: bool = False) -> dict:
    """Runs every stage and returns what goes into results.json. Raises UsageError."""
    start = time.perf_counter()
    if photos is not None:
        photo_paths(photos)  # a wrong folder should be told of before a minute of training
    make_folder(out)
    stages = Stages(6)
    digits = digits_to_device.run(out, stages, quick)
    camera = camera_to_device.run(out, stages, photos, quick)
    accuracies = {row.model: row.accuracy for row in digits.models}
    plot_training(digits.history, accuracies, out / "training_curve.png")
    print(f"\n{digits.table()}\n\n{camera.table()}\n\n{camera.summary()}")
    results = {
        "seconds": round(time.perf_counter() - start, 1),
        "quick": quick,
        "machine": {
            "platform": platform.platform(),
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "runtime": runtime.__version__,
        },
        "mnist": digits.to_dict(),
        "camera": camera.to_dict(),
    }
    write_json(results, out / "results.json")
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 2 after a sentence on stderr about what the caller can put right."""
    options = parse_arguments(arguments)
    expected = (
        UsageError,
        CheckpointError,
        converter.ConversionError,
        quantize.QuantizationError,
        runtime.RilletError,
        OSError,
    )
    try:
        results = run(options.out, options.photos, options.quick)
    except ModuleNotFoundError as error:
        print(f"error: {error}; pip install 'rillet[train,examples]'", file=sys.stderr)
        return 2
    except expected as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    files = ", ".join(sorted(p.name for p in options.out.iterdir()))
    print(f"\n{results['seconds']:.0f} s. In {options.out}/: {files}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
