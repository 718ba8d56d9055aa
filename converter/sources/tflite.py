# SPDX-License-Identifier: Apache-2.0
"""Files of TFLite, which the runtime runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from converter import ir
from converter.errors import ConversionError, InputsError
from converter.reader import read_tflite
from converter.sources.base import Arrays, Source


class TfliteSource(Source):
    """A .tflite file, run by the runtime."""

    engine = "the file as it was"

    def __init__(self, path: str | os.PathLike[str] | bytes) -> None:
        self.path = path

    def convert(self) -> ir.Model:
        return read_tflite(self.path)

    def run(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        content = self.path if isinstance(self.path, bytes) else Path(self.path).read_bytes()
        return run_tflite(content, feeds)


def run_tflite(content: bytes, feeds: Mapping[str, np.ndarray]) -> Arrays:
    """Outputs by name of a .tflite file on the runtime, names as :meth:`ir.Model.end_names`.

    Raises InputsError where they make the model divide integers by zero, and ConversionError where
    the runtime refuses anything else.
    """
    import runtime

    try:
        found = runtime.Interpreter(model_content=content)(**feeds)
        if isinstance(found, dict):
            return found
        values = found if isinstance(found, tuple) else (found,)
        return dict(zip(read_tflite(content).end_names()[1], values, strict=True))
    except runtime.RilletError as error:
        if "division by zero" in str(error):
            raise InputsError(
                f"the converted model divides integers by zero on these inputs: {error}; give other"
                " inputs (--check-input NAME=FILE.npy)"
            ) from error
        raise ConversionError(f"the runtime refuses the converted model: {error}") from error
