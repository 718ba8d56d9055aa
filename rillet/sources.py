# SPDX-License-Identifier: Apache-2.0
"""What ``rillet convert`` and ``rillet check`` read: files and scripts as converter sources."""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import converter
import runtime
from converter.ir import Model
from converter.sources import (
    CheckpointSource,
    GraphDefSource,
    OnnxSource,
    SavedModelSource,
    SessionSource,
    Source,
    TensorflowSource,
    TfliteSource,
    TorchSource,
)
from rillet.errors import MISTAKE, UNSUPPORTED, CommandError, require
from rillet.files import read_bytes

ACCEPTED = (
    "a source is an .onnx, .pb (frozen), .pt2, .keras or .tflite file, a checkpoint's .meta, a"
    " SavedModel's folder, or script.py:function that gives a host_engine session or a PyTorch"
    " module"
)
FROZEN = (".pb", ".pbtxt")
_CONVERTED = (*FROZEN, ".onnx", ".pt2", ".keras", ".h5", ".meta")
_WEIGHTS = "holds weights, or a module of TorchScript, without a program that can be converted:"
_WEIGHTS += (
    " write a function that builds the module and loads them, or torch.export.save it as .pt2"
)
_OTHERS = {
    ".pt": _WEIGHTS,
    ".pth": _WEIGHTS,
    ".safetensors": _WEIGHTS,
}


def load_source(
    source: str,
    shapes: Sequence[str] = (),
    outputs: str | None = None,
    nhwc_io: bool = False,
    constants: Sequence[str] = (),
    signature: str | None = None,
) -> tuple[Source, int | None]:
    """The source with its size in bytes (None for a script or a folder). `shapes` are
    ``NAME=1,3,224,224``; `outputs` the names of a frozen graph's outputs, with commas between;
    `nhwc_io` makes an ONNX model's images channels last, `constants` (``NAME=1,2``) its settings
    that are inputs constants; `signature` is the one of a SavedModel's to convert.

    CommandError where there is no such file, or nothing that reads it.
    """
    given = dict(_shape(text) for text in shapes)
    suffix = Path(source).suffix.lower()
    prefix = _checkpoint(source)
    if outputs is not None and suffix not in FROZEN and prefix is None:
        raise CommandError(
            f"--outputs names outputs of a frozen .pb file or a checkpoint; {source} has its own"
        )
    if nhwc_io and suffix != ".onnx":
        raise CommandError(f"--nhwc-io is for .onnx files; {source} keeps its layout")
    if constants and suffix != ".onnx" and prefix is None:
        raise CommandError(f"--constant is for inputs of .onnx files and checkpoints, not {source}")
    if signature is not None and not os.path.isdir(source):
        raise CommandError(f"--signature names one of a SavedModel's; {source} is no such folder")
    values = dict(_numbers(text) for text in constants)
    script, mark, function = source.rpartition(":")
    if mark and script.endswith(".py"):
        _refuse_shapes(given, "the script's own example inputs decide them")
        return _from_script(script, function), None
    if source.endswith(".py"):
        raise CommandError(f"which function? {ACCEPTED}: {source}:NAME")
    if os.path.isdir(source):
        return _saved(source, given, signature), None
    if prefix is not None:
        fixed = {name: n[0] if len(n) == 1 else n for name, n in values.items()}
        return CheckpointSource(prefix, given, _names(outputs), fixed), None
    content = read_bytes(source)
    if suffix in FROZEN:
        return _frozen(source, given, outputs), len(content)
    if suffix in (".h5", ".keras"):
        require("tensorflow", "tensorflow", "reading Keras models")
        return TensorflowSource(source, given), len(content)
    if suffix == ".onnx":
        require("onnx", "onnx", "reading ONNX models")
        return OnnxSource(source, given, nhwc_io, values), len(content)
    if suffix == ".pt2":
        require("torch", "torch", "reading exported programs of PyTorch")
        _refuse_shapes(given, "an exported program has its own (torch.export's dynamic_shapes)")
        return TorchSource(source), len(content)
    if suffix in _OTHERS:
        raise CommandError(f"{source}: {_OTHERS[suffix]}; {ACCEPTED}", UNSUPPORTED)
    _refuse_shapes(given, "a .tflite file has its own")
    read_model(source, content)  # so that what is wrong with the file is said with its name
    return TfliteSource(source), len(content)


def _saved(folder: str, given: dict[str, Any], signature: str | None) -> Source:
    if not os.path.isfile(os.path.join(folder, "saved_model.pb")):
        raise CommandError(f"the folder {folder} holds no saved_model.pb; {ACCEPTED}")
    installed = importlib.util.find_spec("tensorflow") is not None
    kind = TensorflowSource if installed else SavedModelSource
    return kind(folder, given, *([signature] if signature else []))


def _frozen(source: str, given: dict[str, Any], outputs: str | None) -> Source:
    if Path(source).name == "saved_model.pb":
        raise CommandError(f"{source} is part of a SavedModel: give the folder that it is in")
    return GraphDefSource(source, given, _names(outputs))


def _names(outputs: str | None) -> list[str] | None:
    names = [n.strip() for n in outputs.split(",") if n.strip()] if outputs is not None else None
    if names == []:
        raise CommandError("--outputs names no output; write --outputs scores,boxes")
    return names


def _checkpoint(source: str) -> str | None:
    """The prefix of a checkpoint, of which one file or the prefix itself is given."""
    for end in (".meta", ".index"):
        if source.endswith(end):
            return source.removesuffix(end)
    is_prefix = not os.path.exists(source) and os.path.isfile(f"{source}.index")
    return source if is_prefix else None


def _refuse_shapes(given: dict[str, Any], why: str) -> None:
    if given:
        raise CommandError(f"--input gives the shapes of an imported model's inputs; {why}")


def _numbers(text: str) -> tuple[str, list[float]]:
    """NAME=0.5,2"""
    name, mark, numbers = text.rpartition("=")
    try:
        if not mark or not name:
            raise ValueError
        return name, [float(n) if "." in n else int(n) for n in numbers.split(",")]
    except ValueError:
        raise CommandError(f"--constant {text}: write NAME=NUMBERS, such as axes=1,2") from None


def _shape(text: str) -> tuple[str, list[int | None]]:
    """NAME=1,3,?,224"""
    name, mark, sizes = text.rpartition("=")
    try:
        if not mark or not name:
            raise ValueError
        dims = [None if s.strip() in ("?", "-1") else int(s) for s in sizes.split(",") if s.strip()]
        if any(d is not None and not 0 <= d < 1 << 31 for d in dims):
            raise ValueError
        return name, dims
    except ValueError:
        raise CommandError(
            f"--input {text}: write NAME=SIZES, such as image=1,3,224,224 (each below 2^31); ?"
            " leaves a size dynamic"
        ) from None


def read_model(path: str, content: bytes | None = None) -> Model:
    """The model in a .tflite file; errors name the file."""
    content = read_bytes(path) if content is None else content
    if Path(path).suffix.lower() in _CONVERTED:
        raise CommandError(f"{path} is no .tflite file: rillet convert {path} -o NAME.tflite first")
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


def _from_script(path: str, function: str) -> Source:
    if not os.path.isfile(path):
        raise CommandError(f"there is no file {path}")
    # The script's own folder first, as if Python ran it.
    sys.path.insert(0, str(Path(path).resolve().parent))
    try:
        given = _call(path, function)
    finally:
        del sys.path[0]
    if isinstance(given, tuple) and len(given) == 3 and _is_session(*given):
        session, inputs, outputs = given
        return SessionSource(session, inputs, outputs)
    if isinstance(given, tuple) and len(given) == 2 and hasattr(given[0], "state_dict"):
        return TorchSource(*given)
    if hasattr(given, "graph_signature"):  # of torch.export, with inputs of its own
        return TorchSource(given)
    raise CommandError(
        f"{path}:{function} returned {_described(given)}; it must return (session, [inputs],"
        " [outputs]) of host_engine, or (module, example inputs) or an exported program of PyTorch"
    )


def _is_session(session: Any, inputs: Any, outputs: Any) -> bool:
    lists = isinstance(inputs, list | tuple) and isinstance(outputs, list | tuple)
    return lists and hasattr(session, "graph") and hasattr(session, "run")


def _described(given: Any) -> str:
    if isinstance(given, tuple):
        return f"({', '.join(type(item).__name__ for item in given)})"
    return type(given).__name__


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
    except (CommandError, KeyboardInterrupt):
        raise
    except BaseException as error:  # sys.exit() too: it would end this program without a word
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == path]
        where = f"{path}, line {lines[-1]}" if lines else path
        said = f": {error}" if str(error) else ""
        raise CommandError(f"{where}: {type(error).__name__}{said}") from error
