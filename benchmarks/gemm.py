# SPDX-License-Identifier: Apache-2.0
"""Matrix products against what one core can do: python -m benchmarks.gemm [--all] [--json]

Builds benchmarks/gemm.c with the runtime's own sources and compiler, runs it, and prints per ISA
and type the peak a register-only loop reaches, what a product of that size reaches, their ratio.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import runpy
import subprocess
import sys
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]


def measure(every_size: bool = False) -> list[dict[str, Any]]:
    """Rows of isa, type, m, n, k, peak and reached (10^9 operations per second), ratio, loop.

    `peak` is 0 and `ratio` None for the scalar loops, whose peak is a matter of the compiler.
    """
    build = runpy.run_path(str(ROOT / "runtime" / "core" / "build.py"))["build"]
    program = build(out=ROOT / "build" / "gemm", program=ROOT / "benchmarks" / "gemm.c")
    command = [str(program), *(["all"] if every_size else [])]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = []
    for line in text.splitlines():
        isa, kind, m, n, k, peak, reached, loop = line.split("\t")
        ratio = float(reached) / float(peak) if float(peak) else None
        rows.append(
            {"isa": isa, "type": kind, "m": int(m), "n": int(n), "k": int(k), "peak": float(peak),
             "reached": float(reached), "ratio": ratio, "loop": loop}
        )  # fmt: skip
    return rows


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--all", action="store_true", help="sizes of MobileNet too, not 512 only")
    parser.add_argument("--json", action="store_true", help="rows as JSON")
    options = parser.parse_args(arguments)
    rows = measure(options.all)
    if options.json:
        print(json.dumps(rows, indent=1))
        return 0
    print(f"{'loop':28} {'m x n x k':>16} {'GOP/s':>8} {'peak':>8} {'ratio':>6}")
    for row in rows:
        size = f"{row['m']} x {row['n']} x {row['k']}"
        peak, ratio = (
            ("", "") if row["ratio"] is None else (f"{row['peak']:.0f}", f"{row['ratio']:.0%}")
        )
        print(f"{row['loop']:28} {size:>16} {row['reached']:8.0f} {peak:>8} {ratio:>6}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
