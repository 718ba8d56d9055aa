# SPDX-License-Identifier: Apache-2.0
"""The runtime beside LiteRT: python -m benchmarks.beside_litert [--markdown] [--threads N]
[MODEL...]

The two take turns, so that a busy machine slows both alike; medians are printed. Without arguments:
what `make demo` wrote, and the public models beside the repository. `--markdown` prints the tables
of docs/latency.md: one thread, then two.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import statistics
import struct
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

import runtime
from converter import ir, read_tflite, write_tflite

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


def in_builtin_operators(path: pathlib.Path) -> bytes:
    """The model as LiteRT takes it, which has no kernels for MediaPipe's custom operators."""
    content = path.read_bytes()
    if b"Convolution2DTransposeBias" not in content:
        return content
    model = read_tflite(content)
    graph = model.main
    for node in [n for n in graph.nodes if n.custom_code == "Convolution2DTransposeBias"]:
        x, weights, bias = node.inputs
        old = node.outputs[0]
        padding, stride_w, stride_h = struct.unpack("<3i", node.custom_options)
        options = {"padding": {1: "SAME", 2: "VALID"}[padding]}
        options |= {"stride_w": stride_w, "stride_h": stride_h}
        shape = ir.Value.constant(f"{old.name}_shape", np.array(old.shape, np.int32))
        new = ir.Value(old.name, old.dtype, old.shape)
        graph.add_node("TRANSPOSE_CONV", [shape, weights, x, bias], [new], options, before=node)
        graph.replace_value(old, new)
        graph.remove_node(node)
    return write_tflite(model)


def side_by_side(path: pathlib.Path, rounds: int = ROUNDS, threads: int = 1) -> tuple[float, float]:
    """Median milliseconds of one invoke (ours, LiteRT's).

    RilletError where the runtime refuses the model, RuntimeError or ValueError where LiteRT does.
    """
    from ai_edge_litert.interpreter import Interpreter as LiteRT

    interpreters: list[Any] = [
        runtime.Interpreter(model_path=str(path), num_threads=threads),
        LiteRT(model_content=in_builtin_operators(path), num_threads=threads),
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


def print_table(paths: Sequence[pathlib.Path], threads: int, markdown: bool) -> None:
    """A row per model; the words of whichever runtime refuses it."""
    plural = "s" if threads > 1 else ""
    name, heads = f"model, {threads} thread{plural}", ("Rillet ms", "LiteRT ms", "ratio")
    if markdown:
        print(f"| {name} | {' | '.join(heads)} |\n|---|---|---|---|")
    else:
        print(f"{name:44} {heads[0]:>9} {heads[1]:>9} {heads[2]:>6}")
    for path in paths:
        try:
            ours, theirs = side_by_side(path, threads=threads)
        except (RuntimeError, ValueError) as error:
            words = str(error).splitlines()[0][:70]
            print(f"| {path.stem} | {words} | | |" if markdown else f"{path.stem[:44]:44} {words}")
            continue
        numbers = f"{ours:9.3f}", f"{theirs:9.3f}", f"{ours / theirs:6.2f}"
        if markdown:
            print(f"| {path.stem} | {' | '.join(n.strip() for n in numbers)} |", flush=True)
        else:
            print(f"{path.stem[:44]:44} {' '.join(numbers)}", flush=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.beside_litert", description=__doc__)
    parser.add_argument("--markdown", action="store_true", help="print tables for docs/latency.md")
    parser.add_argument("--threads", type=int, help="default: 1, and with --markdown then 2")
    parser.add_argument("models", nargs="*", type=pathlib.Path, metavar="MODEL")
    args = parser.parse_args(arguments)
    counts = [args.threads] if args.threads else [1, 2] if args.markdown else [1]
    for number, threads in enumerate(counts):
        if number:
            print()
        print_table(args.models or models(), threads, args.markdown)
    return 0


if __name__ == "__main__":
    sys.exit(main())
