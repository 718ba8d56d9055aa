# SPDX-License-Identifier: Apache-2.0
"""The package's face: light to import, with the names it promises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import converter

ROOT = Path(__file__).resolve().parent.parent.parent
HEAVY = ("host_engine", "runtime", "tflite", "ai_edge_litert", "tensorboard", "hypothesis")


def python(code):
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


def test_importing_loads_nothing_that_is_not_used():
    loaded = python("import sys, converter; print(*sys.modules)").split()
    assert not {"numpy", "converter.ir", *HEAVY} & set(loaded)
    loaded = python("import sys, converter; converter.convert_session; print(*sys.modules)").split()
    assert not set(HEAVY) & set(loaded)


def test_every_name_of_the_face_is_there():
    for name in converter.__all__:
        assert getattr(converter, name) is not None
    assert set(converter.__all__) == set(dir(converter))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        converter.nothing  # noqa: B018
