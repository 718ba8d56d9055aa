# SPDX-License-Identifier: Apache-2.0
"""A pytest plugin that keeps every small model the tests open, as files in the folder that the
environment variable RILLET_CORPUS names: seeds for fuzzing every operator."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from runtime import interpreter

SIZES = range(100, 6000)  # bytes; larger models hold weights rather than structure


class KeptModel(interpreter.Model):
    def __init__(self, content, origin):
        data = bytes(memoryview(content))
        if len(data) in SIZES:
            name = hashlib.sha256(data).hexdigest()[:16]
            Path(os.environ["RILLET_CORPUS"], name).write_bytes(data)
        super().__init__(content, origin)


def pytest_configure() -> None:
    interpreter.Model = KeptModel
