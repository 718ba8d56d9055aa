# SPDX-License-Identifier: Apache-2.0
"""TensorFlow's error classes: every failure while a graph runs is an OpError naming its node."""

from __future__ import annotations

import linecache
from typing import Any


class OpError(Exception):
    """A failed operation: `op` (or None), `message`, `error_code`; prints the line that made it."""

    error_code = 2

    def __init__(self, node_def: Any = None, op: Any = None, message: str = "") -> None:
        super().__init__(message)
        self.node_def = node_def if node_def is not None else op
        self.op = op
        self.message = message

    def attach(self, op: Any) -> OpError:
        """Names `op` as the node that failed, unless one is named already."""
        if self.op is None:
            self.op = op
            self.node_def = op
        return self

    def __str__(self) -> str:
        if self.op is None:
            return self.message
        text = f"{self.message}\n\t [[node {self.op.name} = {describe(self.op)}]]"
        return text + f"\n{creation_text(self.op)}"


def describe(op: Any) -> str:
    """`MatMul(x, Variable/read)`: an op's type and inputs in one line."""
    return f"{op.type}({', '.join(t.name.removesuffix(':0') for t in op.inputs)})"


def creation_text(op: Any) -> str:
    """The user's lines that created `op`, outermost first, in traceback form."""
    lines = [f"Caused by op '{op.name}', defined at:"]
    for filename, number, function in reversed(op.traceback):
        lines.append(f'  File "{filename}", line {number}, in {function}')
        source = linecache.getline(filename, number).strip()
        if source:
            lines.append(f"    {source}")
    return "\n".join(lines)


class CancelledError(OpError):
    error_code = 1


class UnknownError(OpError):
    error_code = 2


class InvalidArgumentError(OpError):
    error_code = 3


class DeadlineExceededError(OpError):
    error_code = 4


class NotFoundError(OpError):
    error_code = 5


class AlreadyExistsError(OpError):
    error_code = 6


class PermissionDeniedError(OpError):
    error_code = 7


class ResourceExhaustedError(OpError):
    error_code = 8


class FailedPreconditionError(OpError):
    error_code = 9


class AbortedError(OpError):
    error_code = 10


class OutOfRangeError(OpError):
    error_code = 11


class UnimplementedError(OpError):
    error_code = 12


class InternalError(OpError):
    error_code = 13


class UnavailableError(OpError):
    error_code = 14


class DataLossError(OpError):
    error_code = 15


def invalid(message: str) -> InvalidArgumentError:
    """An InvalidArgumentError whose node the session fills in."""
    return InvalidArgumentError(None, None, message)
