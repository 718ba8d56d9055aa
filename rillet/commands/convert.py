# SPDX-License-Identifier: Apache-2.0
"""``rillet convert``."""

from __future__ import annotations

import argparse
import contextlib
import sys
from typing import Any

import converter
from converter.metadata import ImageInput
from rillet.files import check_writable
from rillet.inputs import named_arrays, read_labels
from rillet.sources import load_source


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Import, optimize, prove and write a model; counts, sizes and errors."""
    check_writable(args.output)
    source, size = load_source(
        args.source, args.input, args.outputs, args.nhwc_io, args.constant, args.signature
    )
    feeds = named_arrays(args.check_input) if args.check_input else None
    with contextlib.redirect_stdout(sys.stderr):  # the passes' log is no result
        made = converter.convert(
            source,
            args.output,
            passes=not args.no_optimize,
            composites=args.composites,
            check=args.check,
            feeds=feeds,
            tolerance=args.tolerance,
            force=args.force,
            verbose=args.verbose,
            metadata=_metadata(args),
        )
    return {
        "source": args.source,
        "output": args.output,
        "source_bytes": size,
        "output_bytes": len(made.content),
        "nodes_before": made.nodes_imported,
        "nodes_after": len(made.model.main.nodes),
        "proof": None if made.proof is None else _proof(made.proof),
    }


def text(result: dict[str, Any], args: argparse.Namespace) -> str:
    size = result["source_bytes"]
    lines = [
        f"{result['output']}: {result['nodes_after']} nodes ({result['nodes_before']} before), "
        f"{result['output_bytes']:,} bytes" + (f" ({size:,} before)" if size is not None else "")
    ]
    if result["proof"] is not None:
        lines.append(result["proof"]["text"])
    elif args.check != "none":
        lines.append("not proved: its source cannot be run here")
    return "\n".join(lines)


def _metadata(args: argparse.Namespace) -> dict[str, Any]:
    """What the flags say about the model, for `converter.describe`; empty for nothing."""
    found: dict[str, Any] = {}
    if args.labels:
        found["labels"] = read_labels(args.labels)
    if args.mean or args.std or args.gray:
        color = "GRAYSCALE" if args.gray else "RGB"
        found["images"] = {"": ImageInput(args.mean or [0.0], args.std or [1.0], color)}
    return found


def _proof(proof: Any) -> dict[str, Any]:
    return {
        "engine": proof.engine,
        "passed": proof.passed,
        "outputs": {
            output.name: {
                "error": output.error,
                "relative_error": output.relative,
                "remark": output.remark,
            }
            for output in proof.outputs
        },
        "layers_compared": proof.compared_layers,
        "text": str(proof),
    }
