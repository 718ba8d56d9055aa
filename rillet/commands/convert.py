# SPDX-License-Identifier: Apache-2.0
"""``rillet convert``."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import converter
import runtime
from converter.ir import Model
from rillet.errors import MISTAKE, UNSUPPORTED, CommandError
from rillet.files import check_writable, read_bytes

ACCEPTED = "convert takes a .tflite file, or script.py:function that gives a host_engine session"


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Read, optimize and write a model; counts and sizes before and after."""
    check_writable(args.output)
    model, size = load(args.source)
    before = [node.op for node in model.main.nodes]
    if not args.no_optimize:
        with contextlib.redirect_stdout(sys.stderr):  # the passes' log is no result
            converter.optimize(model, verbose=args.verbose)
    content = converter.write_tflite(model, args.output)
    return {
        "source": args.source,
        "output": args.output,
        "source_bytes": size,
        "output_bytes": len(content),
        "nodes_before": len(before),
        "nodes_after": len(model.main.nodes),
    }


def text(result: dict[str, Any], args: argparse.Namespace) -> str:
    size = result["source_bytes"]
    return (
        f"{result['output']}: {result['nodes_after']} nodes ({result['nodes_before']} before), "
        f"{result['output_bytes']:,} bytes" + (f" ({size:,} before)" if size is not None else "")
    )


def load(source: str) -> tuple[Model, int | None]:
    """The model of a .tflite file with its size, or of a script's session (size None)."""
    script, mark, function = source.rpartition(":")
    if mark and script.endswith(".py"):
        return _from_script(script, function), None
    if source.endswith(".py"):
        raise CommandError(f"which function? {ACCEPTED}: {source}:NAME")
    content = read_bytes(source)
    suffix = Path(source).suffix.lower()
    if suffix in (".onnx", ".pb", ".h5", ".keras", ".pt", ".pth", ".safetensors", ".meta"):
        raise CommandError(f"{source}: {suffix} files cannot be read; {ACCEPTED}", UNSUPPORTED)
    return read_model(source, content), len(content)


def read_model(path: str, content: bytes | None = None) -> Model:
    """The model in a .tflite file; errors name the file."""
    content = read_bytes(path) if content is None else content
    try:
        return converter.read_tflite(content, name=path)
    except converter.ConversionError as error:
        raise CommandError(str(error), _code_for(content)) from error


def _code_for(content: bytes) -> int:
    """Whether a file that the reader refused is damaged or valid beyond us: the runtime knows."""
    try:
        runtime.Interpreter(model_content=content)
    except runtime.RilletError as error:
        return UNSUPPORTED if error.status == "UNSUPPORTED" else MISTAKE
    return MISTAKE


def _from_script(path: str, function: str) -> Model:
    if not os.path.isfile(path):
        raise CommandError(f"there is no file {path}")
    # The script's own folder first, as if Python ran it.
    sys.path.insert(0, str(Path(path).resolve().parent))
    try:
        given = _call(path, function)
    finally:
        del sys.path[0]
    if not isinstance(given, tuple) or len(given) != 3:
        raise CommandError(
            f"{path}:{function} returned {type(given).__name__}; "
            "it must return (session, inputs, outputs)"
        )
    session, inputs, outputs = given
    return converter.from_session(session, inputs=inputs, outputs=outputs)


def _call(path: str, function: str) -> Any:
    """What the script's function returns; what it raises becomes a CommandError with the line."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        target = getattr(module, function, None)
        if not callable(target):
            raise CommandError(f"{path} has no function {function!r}")
        return target()
    except CommandError:
        raise
    except Exception as error:
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == path]
        where = f"{path}, line {lines[-1]}" if lines else path
        raise CommandError(f"{where}: {type(error).__name__}: {error}") from error
