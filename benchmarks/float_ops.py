# SPDX-License-Identifier: Apache-2.0
"""Float operators beside LiteRT, one at a time: python -m benchmarks.float_ops [--markdown] [OP...]

The two take turns on one thread. A time is the least over the rounds: other programs on the machine
can only make it longer. A model on 1024 values has its operator 32 times, and what is told is one
of them: a call from Python takes longer than that.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import runtime
from converter import ir, write_tflite

ROUNDS = 25
SIZES = (1024, 65536, 1048576)
ROWS = (10, 128, 1000, 4096)  # softmax and sums over the last axis, 2^18 values in all
POSITIVE = ("LOG", "SQRT", "RSQRT", "POW")
UNARY: tuple[str, ...] = (
    "EXP",
    "LOG",
    "LOGISTIC",
    "TANH",
    "GELU",
    "GELU_TANH",
    "ELU",
    "HARD_SWISH",
)
UNARY += ("SQRT", "RSQRT", "SIN", "COS")
BINARY = ("ADD", "MUL", "DIV", "SQUARED_DIFFERENCE", "POW")
ROW_OPS = ("SOFTMAX", "LOG_SOFTMAX", "MEAN", "SUM", "REDUCE_MAX")


def copies(shape: tuple[int, ...]) -> int:
    """How often the model on this shape has its operator."""
    return 32 if math.prod(shape) <= 1024 else 1


def model(op: str, shape: tuple[int, ...], with_inputs: int = 1) -> bytes:
    """A model of one operator on `with_inputs` computed inputs of that shape, `copies` times."""
    graph = ir.Graph("main")
    values = [graph.add_input(f"x{i}", "FLOAT32", shape) for i in range(with_inputs)]
    options: dict[str, Any] = {}
    out_shape = shape
    if op in ("MEAN", "SUM", "REDUCE_MAX"):
        values.append(ir.Value.constant("axes", np.array([len(shape) - 1], np.int32)))
        options["keep_dims"] = True
        out_shape = (*shape[:-1], 1)
    if op == "SOFTMAX":
        options["beta"] = 1.0
    if op == "GELU_TANH":
        op, options = "GELU", {"approximate": True}
    graph.outputs = [ir.Value(f"y{i}", "FLOAT32", out_shape) for i in range(copies(shape))]
    for out in graph.outputs:
        graph.add_node(op, values, [out], dict(options))
    return write_tflite(ir.Model([graph]))


def by_turns(content: bytes, feeds: Sequence[np.ndarray], rounds: int) -> tuple[float, float]:
    """Least microseconds of one invoke (ours, LiteRT's), one thread."""
    from ai_edge_litert.interpreter import Interpreter as LiteRT

    calls: list[Callable[[], None]] = []
    for make in (runtime.Interpreter, LiteRT):
        it: Any = make(model_content=content, num_threads=1)
        it.allocate_tensors()
        for detail, value in zip(it.get_input_details(), feeds, strict=True):
            it.set_tensor(detail["index"], value)
        it.invoke()
        calls.append(it.invoke)
    start = time.perf_counter()
    calls[0]()
    repeats = max(1, int(1e-3 / (time.perf_counter() - start)))
    taken: list[list[float]] = [[], []]
    for _ in range(rounds):
        for call, times in zip(calls, taken, strict=True):
            start = time.perf_counter()
            for _ in range(repeats):
                call()
            times.append(1e6 * (time.perf_counter() - start) / repeats)
    return min(taken[0]), min(taken[1])


def cases(names: Sequence[str]) -> list[tuple[str, tuple[int, ...], int]]:
    """(operator, shape, inputs) of every row of the tables."""
    found: list[tuple[str, tuple[int, ...], int]] = [(op, (n,), 1) for op in UNARY for n in SIZES]
    found += [(op, (n,), 2) for op in BINARY for n in SIZES]
    found += [(op, (2**18 // n, n), 1) for op in ROW_OPS for n in ROWS]
    return [case for case in found if not names or case[0] in names]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.float_ops", description=__doc__)
    parser.add_argument("--markdown", action="store_true", help="print a table for docs/latency.md")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("ops", nargs="*", metavar="OP")
    args = parser.parse_args(arguments)
    rng = np.random.default_rng(0)
    if args.markdown:
        print(
            "| operator, 1 thread | shape | Rillet us | LiteRT us | ratio |\n|---|---|---|---|---|"
        )
    for op, shape, inputs in cases(args.ops):
        feeds = [rng.normal(0, 3, shape).astype(np.float32) for _ in range(inputs)]
        if op in POSITIVE:
            feeds[0] = np.abs(feeds[0])
        times = by_turns(model(op, shape, inputs), feeds, args.rounds)
        ours, theirs = (time / copies(shape) for time in times)
        cells = [op, " x ".join(map(str, shape)), f"{ours:.2f}", f"{theirs:.2f}"]
        cells.append(f"{ours / theirs:.2f}")
        if args.markdown:
            print(f"| {' | '.join(cells)} |", flush=True)
        else:
            print(
                f"{cells[0]:20} {cells[1]:>12} {cells[2]:>10} {cells[3]:>10} {cells[4]:>6}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
