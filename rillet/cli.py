# SPDX-License-Identifier: Apache-2.0
"""Entry point of the ``rillet`` command."""

from __future__ import annotations

import importlib
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
    try:
        args = parse(argv)
    except SystemExit as stop:  # argparse has said why
        return errors.USAGE if stop.code else errors.OK
    try:
        command = importlib.import_module(f"rillet.commands.{args.command}")
        result = command.run(args)
        if args.json:
            print(json.dumps(result, indent=2, allow_nan=False))
        else:
            print(command.text(result, args))
        sys.stdout.flush()
        return errors.OK
    except KeyboardInterrupt:
        return errors.INTERRUPTED
    except BrokenPipeError:  # the reader of the output has gone, as in `rillet inspect m | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return errors.OK
    except Exception as error:
        return _fail(error, args.json)


def _fail(error: Exception, as_json: bool) -> int:
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
        print(json.dumps(found))
    return code
