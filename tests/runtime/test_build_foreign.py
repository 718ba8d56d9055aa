# SPDX-License-Identifier: Apache-2.0
"""Libraries for systems that nothing here plays: built, linked with, and their structure read."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from binaries import commands, linked, load_alignment
from zoo import ROOT

from runtime.core.build import BIONIC, BOARDS, TARGETS, run

HEADER = (ROOT / "runtime/include/rillet.h").read_text()
PUBLIC = set(re.findall(r"^RLT_API[^;(]*?\b(rlt_\w+)\(", HEADER, re.M))
PROGRAM = """
#include "rillet.h"
int main(void) {
  rlt_pool *pool = rlt_pool_create(2);
  rlt_pool_destroy(pool);
  return rlt_version()[0] == 0;
}
"""


def built(target: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "rillet", "build", "--target", target, "--out", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / TARGETS[BOARDS.get(target, target)].library


def link(triple: str, folder: Path, library: Path) -> None:
    """A program with the static library, and one with the shared one."""
    source = folder / "user.c"
    source.write_text(PROGRAM)
    for file in (folder / "librillet.a", library):
        command = [sys.executable, "-m", "ziglang", "cc", "-target", triple, f"-I{folder}"]
        run([*command, str(source), str(file), "-o", str(folder / "user")], ROOT / "build" / "zig")


@pytest.mark.slow
def test_android_s_library_asks_for_bionic_alone(tmp_path):
    library = built("android-arm64", tmp_path)
    found = linked(library)
    assert found.exports == PUBLIC
    assert found.libraries == {"libc.so"} and found.imports <= set(BIONIC)
    assert load_alignment(library) >= 16384  # Android 15's pages


@pytest.mark.slow
def test_macos_s_library_is_signed_and_asks_for_the_system_alone(tmp_path):
    library = built("macos-arm64", tmp_path)
    found = linked(library)
    assert {name for name in found.exports if name.startswith("rlt_")} == PUBLIC
    assert found.libraries == {"/usr/lib/libSystem.B.dylib"}
    assert not any(name.startswith("rlt_") for name in found.imports)
    assert 0x1D in [kind for kind, _ in commands(library.read_bytes())]  # LC_CODE_SIGNATURE
    link("aarch64-macos.11.0", tmp_path, library)


@pytest.mark.slow
def test_windows_s_library_asks_for_the_system_alone(tmp_path):
    library = built("windows-x64", tmp_path)
    found = linked(library)
    assert found.exports == PUBLIC
    others = {name for name in found.libraries if not name.startswith("api-ms-win-crt-")}
    assert others == {"kernel32.dll"}
    link("x86_64-windows-gnu", tmp_path, library)
