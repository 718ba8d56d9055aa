# SPDX-License-Identifier: Apache-2.0
"""Exit codes, and which error gives which."""

from __future__ import annotations

import importlib.util
import sys

OK, MISTAKE, USAGE, UNSUPPORTED, INTERNAL = range(5)
INTERRUPTED = 130

EXIT_CODES = """exit codes:
  0  done
  1  a mistake in what was given: no such file, a damaged model, a wrong shape
  2  wrong usage of the command line
  3  the input is valid, but uses something Rillet does not support
  4  an internal error; set RILLET_DEBUG=1 for the traceback and report it
  130  interrupted by Ctrl-C"""


class CommandError(Exception):
    """What a command has to say to the user; `code` is the exit code."""

    def __init__(self, message: str, code: int = MISTAKE) -> None:
        super().__init__(message)
        self.code = code


def exit_code(error: BaseException) -> int:
    """The exit code that `error` leads to."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, CommandError):
        return error.code
    if getattr(error, "status", None) == "UNSUPPORTED":  # a RilletError's
        return UNSUPPORTED
    if hasattr(error, "obstacles"):  # a converter.errors.ObstacleError
        return UNSUPPORTED
    known: list[type[Exception]] = [OSError, MemoryError]
    # A package that is not loaded has raised nothing; loading it here would slow the message.
    for module, name in (
        ("converter.errors", "ConversionError"),
        ("quantize.errors", "QuantizationError"),
        ("runtime.errors", "RilletError"),
        ("edge_examples.classify_photos", "UsageError"),
    ):
        if module in sys.modules:
            known.append(getattr(sys.modules[module], name))
    return MISTAKE if isinstance(error, tuple(known)) else INTERNAL


def sentence(error: BaseException) -> str:
    """One line for the user."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; files that were not finished are not there"
    if isinstance(error, MemoryError):
        said = f" ({error})" if str(error) else ""
        return f"this takes more memory than there is{said}; give smaller sizes, or more memory"
    if isinstance(error, OSError) and error.strerror:
        name = f"{error.filename}: " if error.filename else ""
        return f"{name}{error.strerror}"
    return str(error) or type(error).__name__


def require(module: str, extra: str, purpose: str) -> None:
    """CommandError that names the extra to install if `module` is absent."""
    if importlib.util.find_spec(module) is None:
        raise CommandError(
            f"{purpose} needs the Python package {module}: pip install 'rillet[{extra}]'"
        )
