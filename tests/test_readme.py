# SPDX-License-Identifier: Apache-2.0
"""The README's program and commands run as printed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def block(language: str) -> str:
    """The one fenced block of `language`."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return found


def run(command: list[str], folder: Path) -> str:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Folder in which the tour ran, and what it printed."""
    folder = tmp_path_factory.mktemp("tour")
    return folder, run([sys.executable, "-c", block("python")], folder)


def test_tour_trains_converts_quantizes_and_runs(tour: tuple[Path, str]) -> None:
    folder, printed = tour
    assert (folder / "circle_int8.tflite").stat().st_size > 0
    (probability,) = re.findall(r"^\[\[([\d.]+)\]\]$", printed, re.MULTILINE)
    assert float(probability) > 0.9


COMMANDS = [line for line in block("sh").splitlines() if line.startswith("rillet ")]


@pytest.mark.parametrize("line", COMMANDS)
def test_command_runs_as_printed(line: str, tour: tuple[Path, str]) -> None:
    words = shlex.split(line, comments=True)
    assert run([sys.executable, "-m", *words], tour[0])


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", README)
    assert targets
    assert [t for t in targets if not (ROOT / t).exists()] == []
