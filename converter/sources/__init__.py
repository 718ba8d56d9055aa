# SPDX-License-Identifier: Apache-2.0
"""Models as their own framework runs them: what a conversion is compared with.

A source knows how to become an :class:`~converter.ir.Model`, what to feed it, and how to run, with
its intermediate values where asked. Nothing of a framework is imported before it is needed.
"""

from __future__ import annotations

from converter.sources.base import Arrays, Source
from converter.sources.onnx import OnnxSource
from converter.sources.tensorflow import (
    CheckpointSource,
    GraphDefSource,
    SavedModelSource,
    SessionSource,
    TensorflowSource,
)
from converter.sources.tflite import TfliteSource, run_tflite
from converter.sources.torch import TorchSource

__all__ = [
    "Arrays",
    "CheckpointSource",
    "GraphDefSource",
    "OnnxSource",
    "SavedModelSource",
    "SessionSource",
    "Source",
    "TensorflowSource",
    "TfliteSource",
    "TorchSource",
    "run_tflite",
]
