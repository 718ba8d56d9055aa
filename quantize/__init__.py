# SPDX-License-Identifier: Apache-2.0
"""Makes models smaller and faster after training: float16, dynamic int8 and static int8.

    small = quantize.float16(model)
    small = quantize.static_int8(model, samples)
    print(quantize.report(model, small, samples))

Every function returns a new :class:`converter.ir.Model`. The names are loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import Any

from quantize.errors import QuantizationError

_LAZY = {
    "Recipe": "quantize.recipes",
    "apply": "quantize.application",
    "float16": "quantize.application",
    "dynamic_int8": "quantize.application",
    "static_int8": "quantize.application",
    "Report": "quantize.accuracy",
    "report": "quantize.accuracy",
}
__all__ = ["QuantizationError", *_LAZY]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'quantize' has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
