# SPDX-License-Identifier: Apache-2.0
"""``rillet check``: what stands in the way of a conversion, all of it at once."""

from __future__ import annotations

import argparse
from typing import Any

from rillet.sources import load_source


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Import without writing anything; ObstacleError with every obstacle."""
    source, _ = load_source(
        args.source, args.input, args.outputs, constants=args.constant, signature=args.signature
    )
    model = source.convert()
    return {"source": args.source, "obstacles": [], "nodes": len(model.main.nodes)}


def text(result: dict[str, Any], args: argparse.Namespace) -> str:
    return f"{result['source']} converts: {result['nodes']} nodes before any pass, no obstacle"
