# SPDX-License-Identifier: Apache-2.0
"""``rillet build``."""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path
from typing import Any

from rillet.errors import UNSUPPORTED, CommandError
from rillet.tables import table
from runtime.core.build import BOARDS, RUNTIME, TARGETS, BuildError, build_all


def run(args: argparse.Namespace) -> dict[str, Any]:
    """The files that were made, and what is in them."""
    target = BOARDS.get(args.target, args.target)
    out = Path(args.out or f"rillet-{args.target}")
    try:
        if args.wheel:
            return _wheel(args, target, out)
        return _library(args, target, out)
    except BuildError as error:
        raise CommandError(str(error)) from None


def _wheel(args: argparse.Namespace, target: str, out: Path) -> dict[str, Any]:
    from rillet.building.wheel import build_wheel

    if args.ops:
        raise CommandError("a wheel holds the whole runtime: leave out --ops, or --wheel")
    wheel = build_wheel(target, out)
    return {"target": args.target, "files": {str(wheel): wheel.stat().st_size}}


def _library(args: argparse.Namespace, target: str, out: Path) -> dict[str, Any]:
    from rillet.building import objects, selection

    work = Path(os.environ.get("RILLET_BUILD_DIR", RUNTIME.parent / "build"))
    chosen = None
    result: dict[str, Any] = {"target": args.target}
    if args.ops:
        kinds = selection.node_kinds(args.ops)
        if names := selection.unknown(sorted(kinds, key=str)):
            raise CommandError(f"the runtime has no kernel for {', '.join(names)}", UNSUPPORTED)
        chosen = selection.select(kinds, work)
        result["ops"] = sorted(
            {f"{k.composite or k.custom or k.op} of {', '.join(sorted(k.types))}" for k in kinds}
        )
    row = TARGETS[target]
    archive = out / "librillet.a"
    built = build_all(target, out / row.library, archive=archive, selection=chosen, work=work)
    header = Path(shutil.copy(RUNTIME / "include" / "rillet.h", out))
    files = [built.library, archive, header]
    return {
        **result,
        "files": {str(path): path.stat().st_size for path in files},
        "bytes": objects.by_family(built.objects),
    }


def text(result: dict[str, Any], args: argparse.Namespace) -> str:
    lines = [f"{path} ({size:,} bytes)" for path, size in result["files"].items()]
    if "ops" in result:
        lines += ["", f"runs {len(result['ops'])} operators with their types, and nothing else:"]
        lines += [f"  {name}" for name in result["ops"]]
    if "bytes" in result:
        rows = [[name, f"{size:,}"] for name, size in result["bytes"].items()]
        lines += ["", table(["compiled", "bytes"], rows)]
    return "\n".join(lines)
