# SPDX-License-Identifier: Apache-2.0
"""Converts trained models to ``.tflite`` files and reads such files back.

``convert_session(sess, [x], [y], "model.tflite")`` is the whole way; the steps are
:func:`from_session`, :func:`optimize`, :func:`write_tflite`, with :func:`read_tflite` and
:func:`verify` beside them. The names are loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import Any

from converter.errors import ConversionError

_LAZY = {
    "from_session": "converter.importers.host",
    "from_graphdef": "converter.importers.host",
    "from_checkpoint": "converter.importers.host",
    "from_tensorflow": "converter.importers.tensorflow.saved",
    "from_torch": "converter.importers.torch.model",
    "from_onnx": "converter.importers.onnx.model",
    "convert": "converter.conversion",
    "convert_session": "converter.conversion",
    "describe": "converter.metadata",
    "optimize": "converter.passes",
    "read_tflite": "converter.reader",
    "write_tflite": "converter.writer",
    "verify": "converter.verifier",
    "ir": "converter.ir",
}
__all__ = ["ConversionError", *_LAZY]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'converter' has no attribute {name!r}")
    module = importlib.import_module(_LAZY[name])
    value = module if _LAZY[name] == f"{__name__}.{name}" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
