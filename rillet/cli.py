# SPDX-License-Identifier: Apache-2.0
"""Entry point of the ``rillet`` command."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import sys
import traceback
from collections.abc import Sequence

from rillet import errors
from rillet.arguments import parse


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code, as documented in ``rillet --help``.

    Results go to standard output, progress and errors to standard error. With ``--json`` the
    output is one JSON object, ``{"error": ..., "exit_code": ...}`` where the command failed.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # names in models may be in any script
            stream.reconfigure(errors="backslashreplace")
    given = sys.argv[1:] if argv is None else argv
    try:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            args = parse(argv)
    except SystemExit as stop:  # argparse has said why
        print(said.getvalue(), end="", file=sys.stderr)
        if stop.code and "--json" in given:
            sentence = said.getvalue().rpartition("error: ")[2].strip()
            print(json.dumps({"error": sentence, "exit_code": errors.USAGE}))
        return errors.USAGE if stop.code else errors.OK
    try:
        command = importlib.import_module(f"rillet.commands.{args.command}")
        result = command.run(args)
        shown = json.dumps(result, indent=2, allow_nan=False) if args.json else None
        _print(command.text(result, args) if shown is None else shown)
        return errors.OK
    except (Exception, KeyboardInterrupt) as error:
        return _fail(error, args.json)


def _print(text: str) -> None:
    """To standard output, if there is one. OSError where it is full."""
    try:
        print(text)
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        if not isinstance(error, BrokenPipeError):  # the reader has gone: `rillet inspect m | head`
            raise


def _fail(error: BaseException, as_json: bool) -> int:
    code, message = errors.exit_code(error), errors.sentence(error)
    if os.environ.get("RILLET_DEBUG"):
        traceback.print_exception(error)
    if code == errors.INTERNAL:
        message = (
            f"internal error: {type(error).__name__}: {message}; "
            "run again with RILLET_DEBUG=1 and report the traceback"
        )
    print(f"rillet: {message}", file=sys.stderr)
    if as_json:
        found = {"error": message, "exit_code": code}
        if hasattr(error, "obstacles"):  # a converter.errors.ObstacleError
            found["obstacles"] = error.obstacles
        _print(json.dumps(found))
    return code
