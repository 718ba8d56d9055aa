# SPDX-License-Identifier: Apache-2.0
"""The one exception of this package."""

from __future__ import annotations


class RilletError(RuntimeError, ValueError):
    """What the runtime has to say; `status` is a name of rlt_status, such as "BAD_MODEL".

    It is a RuntimeError and a ValueError at once, because programs written for tf.lite.Interpreter
    catch either.
    """

    def __init__(self, message: str, status: str = "BAD_ARGUMENT") -> None:
        super().__init__(message)
        self.status = status
