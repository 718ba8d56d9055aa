# SPDX-License-Identifier: Apache-2.0
"""``rillet run``."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import runtime
from converter.ir import Value
from quantize.affine import dequantize
from rillet.errors import CommandError
from rillet.files import check_writable, read_bytes, write_arrays
from rillet.inputs import Pixels, input_arrays, read_labels
from rillet.sources import read_model
from rillet.tables import table
from runtime.metadata import ModelMetadata, read_metadata

SHOWN = 8  # elements of an output that are printed


def run(args: argparse.Namespace) -> dict[str, Any]:
    """One inference; each output's statistics, first elements and largest elements."""
    if args.output is not None:
        check_writable(args.output)
    given = read_labels(args.labels) if args.labels else None
    content = read_bytes(args.model)
    model, metadata = read_model(args.model, content), read_metadata(content)
    pixels = Pixels(args.mean, args.std, metadata)
    arrays = input_arrays(model, None if args.random else args.files, args.seed, pixels)
    outputs = infer(args.model, arrays, args.threads)
    names = model.end_names()[1]
    labels = [given or own for own in own_labels(metadata, outputs)]
    if args.output:
        write_arrays(args.output, dict(zip(names, outputs, strict=True)))
    described = [
        _described(name, array, value, args.top or (3 if known else 0), known)
        for name, array, value, known in zip(
            names, outputs, model.main.outputs, labels, strict=True
        )
    ]
    return {"model": args.model, "saved": args.output, "outputs": described}


def infer(path: str, arrays: list[np.ndarray], threads: int | None) -> list[np.ndarray]:
    """The outputs of one invoke on `arrays`, one per input."""
    interpreter = runtime.Interpreter(model_path=path, num_threads=threads)
    details = interpreter.get_input_details()
    for detail, array in zip(details, arrays, strict=True):
        if array.shape != tuple(detail["shape"]):
            interpreter.resize_tensor_input(detail["index"], array.shape)
    interpreter.allocate_tensors()
    for detail, array in zip(details, arrays, strict=True):
        interpreter.set_tensor(detail["index"], array)
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]


def own_labels(
    metadata: ModelMetadata | None, outputs: Sequence[np.ndarray]
) -> list[list[str] | None]:
    """Per output, the labels in the model's metadata; None where there are none for its classes."""
    described = [found.labels for found in metadata.outputs] if metadata else []
    described += [[]] * (len(outputs) - len(described))
    return [
        labels if labels and array.ndim and len(labels) == array.shape[-1] else None
        for labels, array in zip(described, outputs, strict=False)
    ]


def _described(
    name: str, array: np.ndarray, value: Value, top: int, labels: list[str] | None
) -> dict[str, Any]:
    shown = array
    if array.dtype.kind in "iu" and value.quant is not None and value.is_quantized:
        shown = dequantize(array, value.quant)
    numbers = shown.astype(np.float64) if shown.dtype.kind in "fiub" else np.zeros(0)
    result: dict[str, Any] = {
        "name": name,
        "dtype": str(array.dtype),
        "shape": list(array.shape),
        "min": _plain(numbers.min()) if numbers.size else None,
        "max": _plain(numbers.max()) if numbers.size else None,
        "mean": _plain(numbers.mean()) if numbers.size else None,
        "first": [_plain(v) for v in numbers.ravel()[:SHOWN]],
    }
    if top and numbers.size:
        result["top"] = _largest(numbers, top, labels, name)
    return result


def _largest(
    numbers: np.ndarray, top: int, labels: list[str] | None, name: str
) -> list[dict[str, Any]]:
    """The `top` largest elements of the first row along the last axis."""
    row = numbers.reshape(-1, numbers.shape[-1])[0] if numbers.ndim else numbers.reshape(1)
    if labels is not None and len(labels) != row.size:
        raise CommandError(f"{len(labels)} labels for output {name!r} of {row.size} classes")
    order = np.argsort(-row, kind="stable")[:top]
    return [
        {"index": int(i), "label": labels[i] if labels else None, "score": _plain(row[i])}
        for i in order
    ]


def _plain(number: Any) -> float | None:
    """A JSON number; None for what JSON has none."""
    number = float(number)
    return number if math.isfinite(number) else None


def text(result: dict[str, Any], args: argparse.Namespace) -> str:
    parts = []
    for output in result["outputs"]:
        shape = "x".join(map(str, output["shape"])) or "scalar"
        head = f"{output['name']}: {output['dtype']} {shape}"
        if output["min"] is not None:
            head += f", min {output['min']:.6g}, max {output['max']:.6g}"
            head += f", mean {output['mean']:.6g}"
        parts.append(head)
        if "top" in output:
            rows = [[t["index"], _score(t["score"]), t["label"]] for t in output["top"]]
            parts.append(table(["class", "score", "label"], rows))
        else:
            more = " ..." if math.prod(output["shape"]) > SHOWN else ""
            parts.append("  " + " ".join(_score(v) for v in output["first"]) + more)
    if result["saved"]:
        parts.append(f"saved to {result['saved']}")
    return "\n".join(parts)


def _score(number: float | None) -> str:
    return "not finite" if number is None else f"{number:.6g}"
