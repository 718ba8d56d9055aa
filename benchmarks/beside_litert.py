# SPDX-License-Identifier: Apache-2.0
"""One thread of the runtime beside one of LiteRT: python -m benchmarks.beside_litert [MODEL...]

The two take turns, so that a busy machine slows both alike; medians are printed. Without arguments:
what `make demo` wrote, and the public models beside the repository.
"""

from __future__ import annotations

import os
import pathlib
import statistics
import sys
import time
from typing import Any

import numpy as np

import runtime

ROOT = pathlib.Path(__file__).resolve().parents[1]
ROUNDS = 30


def models() -> list[pathlib.Path]:
    """The demo's models and the zoo's, those that are there."""
    zoo = pathlib.Path(os.environ.get("RILLET_ZOO", ROOT.parent / "shared")) / "models" / "tflite"
    return [*sorted((ROOT / "demo_out").glob("*.tflite")), *sorted(zoo.glob("*.tflite"))]


def random_inputs(details: list[dict[str, Any]]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    values = []
    for detail in details:
        dtype, shape = np.dtype(detail["dtype"]), tuple(detail["shape"])
        if dtype.kind == "f":
            values.append(rng.normal(0, 1, shape).astype(dtype))
        else:
            values.append(rng.integers(0, 100, shape).astype(dtype))
    return values


def side_by_side(path: pathlib.Path, rounds: int = ROUNDS) -> tuple[float, float]:
    """Median milliseconds of one invoke (ours, LiteRT's).

    RilletError where the runtime refuses the model, RuntimeError or ValueError where LiteRT does.
    """
    from ai_edge_litert.interpreter import Interpreter as LiteRT

    interpreters: list[Any] = [
        runtime.Interpreter(model_path=str(path), num_threads=1),
        LiteRT(model_path=str(path), num_threads=1),
    ]
    values = None
    for it in interpreters:
        it.allocate_tensors()
        values = values or random_inputs(it.get_input_details())
        for detail, value in zip(it.get_input_details(), values, strict=True):
            it.set_tensor(detail["index"], value)
        it.invoke()
    taken: list[list[float]] = [[], []]
    for _ in range(rounds):
        for it, times in zip(interpreters, taken, strict=True):
            start = time.perf_counter()
            it.invoke()
            times.append(1000 * (time.perf_counter() - start))
    return statistics.median(taken[0]), statistics.median(taken[1])


def main(arguments: list[str] | None = None) -> int:
    paths = [
        pathlib.Path(p) for p in (sys.argv[1:] if arguments is None else arguments)
    ] or models()
    print(f"{'model, one thread':44} {'ours ms':>9} {'LiteRT ms':>9} {'ratio':>6}")
    for path in paths:
        try:
            ours, theirs = side_by_side(path)
        except (RuntimeError, ValueError) as error:
            print(f"{path.stem[:44]:44} {str(error).splitlines()[0][:70]}")
            continue
        print(f"{path.stem[:44]:44} {ours:9.3f} {theirs:9.3f} {ours / theirs:6.2f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
