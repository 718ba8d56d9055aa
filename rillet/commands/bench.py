# SPDX-License-Identifier: Apache-2.0
"""``rillet bench``."""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from typing import Any

import numpy as np

import runtime
from rillet.errors import require
from rillet.inputs import input_arrays
from rillet.sources import read_model
from rillet.tables import table


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of an invoke on random inputs; per node and beside LiteRT where asked."""
    arrays = input_arrays(read_model(args.model), None, 0)
    ours = {"isa": args.isa}
    engines = {"rillet": _opened(runtime.Interpreter, args.model, arrays, args.threads, **ours)}
    if args.compare == "litert":
        require("ai_edge_litert", "test", "--compare litert")
        from ai_edge_litert.interpreter import Interpreter as LiteRT

        engines["litert"] = _opened(LiteRT, args.model, arrays, args.threads)
    times = measured(engines, args.warmup, args.runs)
    result: dict[str, Any] = {
        "model": args.model,
        "isa": args.isa or runtime.best_isa(),
        "threads": args.threads,
        "runs": args.runs,
        "memory": engines["rillet"].memory(),
        "ms": {name: statistics(values) for name, values in times.items()},
    }
    if args.compare:
        result["ratio"] = result["ms"]["rillet"]["median"] / result["ms"][args.compare]["median"]
    if args.per_op:
        ours["profile"] = True
        profiled = _opened(runtime.Interpreter, args.model, arrays, args.threads, **ours)
        for _ in range(args.runs):
            profiled.invoke()
        result["nodes"] = [
            {key: row[key] for key in ("index", "op", "name", "loop", "macs", "microseconds")}
            for row in profiled.profile()
        ]
    return result


def _opened(
    interpreter_class: Any, path: str, arrays: list[np.ndarray], threads: int, **options: Any
) -> Any:
    interpreter = interpreter_class(model_path=path, num_threads=threads, **options)
    interpreter.allocate_tensors()
    for detail, array in zip(interpreter.get_input_details(), arrays, strict=True):
        interpreter.set_tensor(detail["index"], array)
    return interpreter


def measured(engines: dict[str, Any], warmup: int, runs: int) -> dict[str, list[float]]:
    """Milliseconds of every run by engine; engines take turns, so that all see the same machine."""
    times: dict[str, list[float]] = {name: [] for name in engines}
    for i in range(warmup + runs):
        for name, engine in engines.items():
            start = time.perf_counter_ns()
            engine.invoke()
            if i >= warmup:
                times[name].append((time.perf_counter_ns() - start) / 1e6)
    return times


def statistics(times: list[float]) -> dict[str, float]:
    """Median, percentiles and extremes."""
    p10, median, p90, p99 = np.percentile(times, [10, 50, 90, 99])
    found = {"median": median, "p10": p10, "p90": p90, "p99": p99}
    return {name: float(v) for name, v in [*found.items(), ("min", min(times))]}


def text(result: dict[str, Any], args: argparse.Namespace) -> str:
    memory = result["memory"]
    lines = [
        f"{result['model']}: {result['runs']} runs, {result['threads']} thread(s), "
        f"{result['isa']}; arena {memory['arena']:,} bytes, prepared {memory['prepared']:,} bytes",
        "",
    ]
    columns = ["median", "p10", "p90", "p99", "min"]
    rows = [
        [name, *(f"{values[column]:.3f}" for column in columns)]
        for name, values in result["ms"].items()
    ]
    lines.append(table(["ms", *columns], rows))
    if "ratio" in result:
        lines.append(f"rillet / {args.compare}: {result['ratio']:.2f}")
    if "nodes" in result:
        lines += ["", *_per_op(result["nodes"])]
    return "\n".join(lines)


def _per_op(nodes: list[dict[str, Any]]) -> list[str]:
    total = sum(node["microseconds"] for node in nodes) or 1.0
    by_op: dict[str, list[float]] = defaultdict(list)
    for node in nodes:
        by_op[node["op"]].append(node["microseconds"])
    summary = [
        [op, len(spent), f"{sum(spent):.1f}", f"{sum(spent) / total:.1%}"]
        for op, spent in sorted(by_op.items(), key=lambda item: -sum(item[1]))
    ]
    rows = [
        [
            node["index"],
            node["op"],
            f"{node['microseconds']:.1f}",
            f"{node['microseconds'] / total:.1%}",
            f"{2e-3 * node['macs'] / max(node['microseconds'], 1e-3):.1f}" if node["macs"] else "",
            node["loop"],
        ]
        for node in nodes
    ]
    return [
        table(["op", "nodes", "us", "share"], summary),
        "",
        table(["node", "op", "us", "share", "Gop/s", "loop"], rows),
    ]
