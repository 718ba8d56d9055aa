# SPDX-License-Identifier: Apache-2.0
"""``rillet quantize``."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import converter
import quantize
import runtime
from converter.ir import Model
from rillet.errors import CommandError
from rillet.files import check_writable, read_bytes, read_text
from rillet.inputs import Pixels, SampleSet, sample_set
from rillet.sources import read_model
from runtime.metadata import read_metadata


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Quantize a file; sizes, notes and the accuracy report."""
    check_writable(args.output)
    recipe = recipe_of(args)
    source = read_bytes(args.model)
    model = read_model(args.model, source)
    samples = None
    if args.calibrate is not None:
        pixels = Pixels(args.mean, args.std, read_metadata(source))
        samples = sample_set(args.calibrate, model, pixels)
        samples = samples.first(args.limit or samples.count)
        runtime.Interpreter(
            model_path=args.model
        )  # what it cannot run is said with the file's name
    elif recipe.kind == "static_int8":
        raise CommandError(
            "static-int8 needs samples to find the ranges: --calibrate with a folder of photos, "
            "an .npz or an .npy"
        )
    notes: list[str] = []
    small = quantize.apply(model, recipe, samples, progress=_progress(samples), notes=notes)
    report = _report(model, small, samples, args.report)
    content = converter.write_tflite(small, args.output)
    return {
        "model": args.model,
        "output": args.output,
        "recipe": dataclasses.asdict(recipe),
        "samples": samples.count if samples and recipe.kind == "static_int8" else 0,
        "model_bytes": Path(args.model).stat().st_size,
        "output_bytes": len(content),
        "notes": notes,
        "report": report.to_dict() if report else None,
        "table": report.table() if report else None,
    }


def text(result: dict[str, Any], args: argparse.Namespace) -> str:
    before, after = result["model_bytes"], result["output_bytes"]
    lines = [f"note: {note}" for note in result["notes"]]
    lines.append(
        f"{result['output']}: {result['recipe']['kind']}, {after:,} bytes "
        f"({before:,} before, {after / before:.0%})"
    )
    if result["table"]:
        lines += ["", result["table"]]
    elif args.report:
        lines.append("no report: --calibrate gives it samples to compare the models on")
    return "\n".join(lines)


def recipe_of(args: argparse.Namespace) -> quantize.Recipe:
    """The recipe of the arguments; settings on the command line go before those of the file."""
    if args.recipe_file:
        try:
            recipe = quantize.Recipe.from_json(read_text(args.recipe_file))
        except quantize.QuantizationError as error:
            raise CommandError(f"{args.recipe_file}: {error}") from error
    else:
        recipe = quantize.Recipe(args.recipe.replace("-", "_"))
    given = {name: getattr(args, name) for name in ("method", "percentile", "io")}
    given = {name: value for name, value in given.items() if value is not None}
    if given and recipe.kind != "static_int8":
        raise CommandError(f"--{next(iter(given))} is for static-int8; this is {recipe.kind}")
    if "percentile" in given:
        given.setdefault("method", "percentile")
    return dataclasses.replace(recipe, **given)


def _report(
    model: Model, small: Model, samples: SampleSet | None, count: int
) -> quantize.Report | None:
    if samples is None or not count:
        return None
    return quantize.report(model, small, samples.first(count))


def _progress(samples: SampleSet | None) -> Any:
    """Counts samples on a terminal's standard error; silent elsewhere."""

    def counted(stream: Iterable[Any]) -> Iterator[Any]:
        total = samples.count if samples else 0
        for i, sample in enumerate(stream):
            print(f"\rcalibrating {i + 1}/{total}", end="", file=sys.stderr, flush=True)
            yield sample
        print(file=sys.stderr)

    return counted if sys.stderr.isatty() else None
