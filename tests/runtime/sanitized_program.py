# SPDX-License-Identifier: Apache-2.0
"""Programs in C over the runtime, such as fuzz_driver.c, compiled for this machine."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def compiled(name: str) -> Path:
    """The program of `name`.c in this folder, under ASan and UBSan where gcc exists."""
    build = runpy.run_path(str(ROOT / "runtime/core/build.py"))["build"]
    sanitize = shutil.which("gcc") is not None
    out = ROOT / "build" / ("asan" if sanitize else "fuzz") / name
    made: Path = build(None, out, sanitize=sanitize, program=HERE / f"{name}.c")
    return made
