# SPDX-License-Identifier: Apache-2.0
"""Hatchling's hook of both distributions, `rillet` and `rillet-runtime`: compiles the C runtime
into the wheel.

RILLET_CC=gcc uses a compiler of this machine instead of downloading one. RILLET_TARGET=aarch64
makes a wheel for another target of runtime/core/build_targets.py. RILLET_BUILD_DIR keeps objects.
"""

from __future__ import annotations

import os
import pathlib
import runpy
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompileRuntime(BuildHookInterface):
    def dependencies(self) -> list[str]:
        return [] if os.environ.get("RILLET_CC") else ["ziglang==0.17.0"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """`version` is "editable", where the library goes into the source tree, or "standard"."""
        root = pathlib.Path(self.root)
        package = root / "runtime" if (root / "runtime").is_dir() else root
        build = runpy.run_path(str(package / "core" / "build.py"))
        target = os.environ.get("RILLET_TARGET") or build["host_target"]()
        editable = version == "editable"
        work = pathlib.Path(os.environ.get("RILLET_BUILD_DIR", root / "build"))
        out = package / "_lib" if editable else work / "wheel" / target
        library = build["build"](target, out / "librillet.so", work=work)

        # A system compiler links this machine's C library, which only this machine promises to
        # have.
        own_compiler = bool(os.environ.get("RILLET_CC"))
        platform = f"linux_{build['wheel_machine'](target)}" if own_compiler else None
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform or build['TARGETS'][target].wheel}"
        if not editable:
            # Hatchling puts what runtime/pyproject.toml names under "runtime/" by itself.
            inside = "runtime/_lib" if package != root else "_lib"
            build_data["force_include"][str(library)] = f"{inside}/librillet.so"
