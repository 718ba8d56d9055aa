# SPDX-License-Identifier: Apache-2.0
"""Calls the command line in this process."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cli_models import dense_model, image_model, written

from rillet.cli import main


@dataclass
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def rillet(capsys, monkeypatch) -> Callable[..., Outcome]:
    """rillet("run", path, "--random") -> Outcome; never a traceback, whatever was given."""
    monkeypatch.delenv("RILLET_DEBUG", raising=False)
    monkeypatch.setattr(os, "environ", os.environ.copy())

    def call(*argv: object) -> Outcome:
        code = main([str(part) for part in argv])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture
def dense(tmp_path: Path) -> str:
    return written(dense_model(), tmp_path / "dense.tflite")


@pytest.fixture
def image(tmp_path: Path) -> str:
    return written(image_model(), tmp_path / "image.tflite")
