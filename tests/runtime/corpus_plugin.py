# SPDX-License-Identifier: Apache-2.0
"""A pytest plugin that keeps the small models the tests run, as files in the folder that the
environment variable RILLET_CORPUS names: NAME.tflite, and NAME.inputs with the bytes of the inputs
of its first invoke, one after the other; a string is the four bytes of its size, then its own.
RILLET_CORPUS_EVERY=n runs every n-th test only.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime import _strings, interpreter

HERE = Path(__file__).parent
SIZES = range(100, 200_000)  # bytes
# Suites whose models are not operators', or that build, fork and measure.
OTHER_SUITES = ["core_fuzz", "op_fuzz", "packaging", "board_wheels", "build", "build_api"]
OTHER_SUITES += ["build_example", "build_selected", "sanitized", "targets", "threads"]
OTHER_SUITES += ["zoo_models", "memory"]


def collect(folder: Path, every: int = 1) -> list[Path]:
    """Runs every n-th test of the operators; the models it ran, kept in `folder`."""
    ignored = [f"--ignore={HERE / f'test_{name}.py'}" for name in OTHER_SUITES]
    plugins = ["-p", "corpus_plugin", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-q", *plugins, str(HERE), *ignored]
    env = {**os.environ, "RILLET_CORPUS": str(folder), "RILLET_CORPUS_EVERY": str(every)}
    env["PYTHONPATH"] = str(HERE)
    done = subprocess.run(
        command, env=env, cwd=HERE.parents[1], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:]
    return sorted(folder.glob("*.tflite"))


class KeptSession(interpreter.Session):
    def __init__(self, model, *args, **kwargs):
        super().__init__(model, *args, **kwargs)
        data = model.bytes.tobytes()
        name = hashlib.sha256(data).hexdigest()[:16]
        self.path = Path(os.environ["RILLET_CORPUS"], name)
        self.plain = len(data) in SIZES and self.subgraph == 0 and model.custom.count == 0
        if self.plain:
            self.path.with_suffix(".tflite").write_bytes(data)

    def input_bytes(self, tensor: int) -> bytes:
        array = self._array(tensor)
        if self.info(tensor).type != _strings.TYPE:
            return array.tobytes()
        strings = _strings.read(array).flat
        return b"".join(len(string).to_bytes(4, "little") + string for string in strings)

    def resize(self, tensor, shape):
        self.plain = False
        super().resize(tensor, shape)

    def invoke(self):
        inputs = self.path.with_suffix(".inputs")
        if self.plain and self.allocated and not inputs.exists():
            inputs.write_bytes(b"".join(map(self.input_bytes, self.model.inputs(0))))
        super().invoke()


def pytest_configure() -> None:
    interpreter.Session = KeptSession


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = items[:: int(os.environ.get("RILLET_CORPUS_EVERY", "1"))]
