# SPDX-License-Identifier: Apache-2.0
"""What memory a model takes, beside LiteRT: python -m benchmarks.memory [--isa NAME] [MODEL...]

Prints the rows of docs/memory.md: the blocks as the runtime tells them before it allocates, and the
peak resident set of a process that loads and runs the model once, above what Python and NumPy take.
Without arguments: what `make demo` wrote, and the public models beside the repository.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

import runtime
from benchmarks.beside_litert import ROOT, models

# The child's whole program. Writing 5 to clear_refs makes the peak start anew (proc(5)).
CHILD = """
import contextlib, json, sys
import numpy as np
def resident(field):
    with open("/proc/self/status") as status:
        return next(1024 * int(line.split()[1]) for line in status if line.startswith(field))
# Python's modules and NumPy's code are not the runtime's: they are brought in beforehand.
import ctypes, mmap, threading
class Memory:
    def __init__(self, array):
        self.__array_interface__ = array.__array_interface__
array = np.zeros(np.array([3, 4], np.int32), np.float32)
np.asarray(Memory(array))[...] = np.asarray(array.copy())
np.zeros(3, np.int64).astype(np.int32).sum()
base = resident("VmHWM")
with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as peak:
    peak.write("5")
    peak.flush()
    base = resident("VmRSS")
if sys.argv[1] == "rillet":
    from runtime import Interpreter
else:
    from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(model_path=sys.argv[2], num_threads=int(sys.argv[3]))
interpreter.allocate_tensors()
for details in interpreter.get_input_details():
    interpreter.set_tensor(details["index"], np.zeros(details["shape"], details["dtype"]))
interpreter.invoke()
print(json.dumps({"peak": resident("VmHWM") - base, "after": resident("VmRSS") - base}))
"""


@functools.cache
def _bytecode() -> tempfile.TemporaryDirectory[str]:
    """Where the children keep compiled modules, as an installed package has them; else what is
    measured is Python's compiler.
    """
    return tempfile.TemporaryDirectory(prefix="rillet_memory_")


def measure(engine: str, path: str | os.PathLike[str], threads: int = 1) -> dict[str, int]:
    """Bytes beyond Python and NumPy of a process that runs a model once on zeros: "peak" and, when
    it has run, "after". `engine` is "rillet" or "litert".

    RuntimeError, with the child's last line, where it fails.
    """
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": _bytecode().name}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-c", CHILD, engine, os.fspath(path), str(threads)]
    for _ in range(1 if engine in _warmed else 2):
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(
                (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
            )
    _warmed.add(engine)
    found: dict[str, int] = json.loads(done.stdout)
    return found


_warmed: set[str] = set()  # engines whose modules are compiled


def planned(path: str | os.PathLike[str], threads: int = 1) -> dict[str, int]:
    """`Interpreter.memory` with "scratch", the largest that a node takes; nothing is allocated."""
    interpreter = runtime.Interpreter(path, num_threads=threads)
    sizes = interpreter.memory()
    scratch = max((node["scratch"] for node in interpreter.nodes()), default=0)
    return {**sizes, "scratch": threads * scratch}


def row(path: pathlib.Path, threads: int = 1) -> list[Any]:
    """One row of the table; RilletError where the runtime refuses the model."""
    sizes = planned(path, threads)
    live = sizes["peak_live"] + sizes["scratch"]
    ours = measure("rillet", path, threads)
    try:
        theirs: dict[str, Any] = measure("litert", path, threads)
    except RuntimeError:
        theirs = {}
    blocks = [sizes[name] for name in ("model", "prepared", "arena", "peak_live", "scratch")]
    return [
        path.stem,
        *blocks,
        sizes["arena"] / live,
        ours["peak"],
        ours["after"],
        theirs.get("peak"),
    ]


COLUMNS = [
    "model",
    "file",
    "prepared",
    "arena",
    "peak live",
    "scratch",
    "arena / (live + scratch)",
    "peak RSS",
    "RSS after",
    "LiteRT's peak RSS",
]


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.2f}"
    return "refuses" if value is None else f"{value / 1024:,.0f}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--isa", help="use no more than this instruction set")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("models", nargs="*", type=pathlib.Path, metavar="MODEL")
    args = parser.parse_args(arguments)
    if args.isa:
        os.environ["RILLET_ISA"] = args.isa
    print(f"ISA {args.isa or runtime.best_isa()}, {args.threads} thread(s), KiB\n")
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    refused = []
    for path in args.models or models():
        try:
            print(f"| {' | '.join(map(_cell, row(path, args.threads)))} |", flush=True)
        except runtime.RilletError as error:
            refused.append(f"{path.stem}: {error}")
    print("".join(f"\nrefused: {line}" for line in refused))
    return 0


if __name__ == "__main__":
    sys.exit(main())
