# SPDX-License-Identifier: Apache-2.0
"""Wheels of the runtime alone, for boards."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from runtime.core.build import RUNTIME, TARGETS, BuildError


def build_wheel(target: str, out: Path) -> Path:
    """Path of the wheel of rillet-runtime made in the folder `out`. BuildError with the words of
    what failed.
    """
    if TARGETS[target].wheel is None:
        raise BuildError(f"{target} has no wheels; pi-arm64, pi-armv7 and pi-zero have")
    if importlib.util.find_spec("hatchling") is None:
        raise BuildError("wheels are made by hatchling: pip install 'rillet[build]'")
    if not (RUNTIME / "pyproject.toml").is_file():
        raise BuildError(f"{RUNTIME} lacks pyproject.toml: run this from a checkout of the sources")
    out.mkdir(parents=True, exist_ok=True)
    work = str(RUNTIME.parent / "build")
    env = {"RILLET_BUILD_DIR": work, **os.environ, "RILLET_TARGET": target}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
        done = subprocess.run(command, cwd=RUNTIME, env=env, capture_output=True, text=True)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or len(wheels) != 1:
            raise BuildError(f"hatchling failed:\n{done.stdout}{done.stderr}")
        return Path(shutil.copy(wheels[0], out))
