# SPDX-License-Identifier: Apache-2.0
"""Rillet's runtime: runs .tflite models on NumPy arrays.

    import runtime
    model = runtime.load("model.tflite")
    y = model(x)

`Interpreter` is a drop-in for tf.lite.Interpreter; a `Model` gives several threads an interpreter
each over the same weights. Needs NumPy and the compiled library, nothing
else.
"""

from __future__ import annotations

import os as _os
import re as _re
import sys as _sys

from ._binding import VERSION as __version__
from ._model import Model
from .errors import RilletError
from .interpreter import Interpreter, OpResolverType, load
from .signature import SignatureRunner

__all__ = [
    "Interpreter",
    "Model",
    "OpResolverType",
    "RilletError",
    "SignatureRunner",
    "__version__",
    "best_isa",
    "load",
    "supported_ops",
]


def _refuse_two_distributions() -> None:
    """Both distributions carry this package; the one installed last would overwrite the other."""
    # importlib.metadata would tell as well, for 1.4 MB of a device's memory.
    found = set()
    for folder in filter(_os.path.isdir, _sys.path):
        for name in _os.listdir(folder):
            if match := _re.match(r"(rillet|rillet_runtime)-[^-]+\.(dist|egg)-info$", name):
                found.add(match[1])
    if len(found) == 2:
        raise ImportError(
            "the distributions rillet and rillet-runtime are both installed, and each carries the"
            " package `runtime`; keep one: pip uninstall rillet-runtime"
        )


_refuse_two_distributions()


def best_isa() -> str:
    """The best instruction set that this machine has and the library carries."""
    from ._binding import library

    return str(library().rlt_best_isa().decode())


def supported_ops() -> list[str]:
    """Names of the builtin operators the library has kernels for."""
    from ._binding import library

    names: list[str] = []
    while (name := library().rlt_supported_op(len(names))) is not None:
        names.append(name.decode())
    return names
