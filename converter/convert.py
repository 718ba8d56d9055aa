# SPDX-License-Identifier: Apache-2.0
"""The whole way from a session to a file in one call."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from converter.importers.host import from_session
from converter.passes import optimize
from converter.writer import write_tflite


def convert_session(
    sess: Any,
    inputs: Iterable[Any],
    outputs: Iterable[Any],
    path: str | os.PathLike | None = None,
    **kwargs: Any,
) -> bytes:
    """Freeze, import, optimize and serialize; the bytes are also written to `path` if given.

    `kwargs` are those of :func:`converter.from_session`. Raises ConversionError; nothing is written
    unless everything succeeded.
    """
    model = from_session(sess, inputs, outputs, **kwargs)
    optimize(model)
    return write_tflite(model, path, offline_plan=True)
