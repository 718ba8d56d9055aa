# SPDX-License-Identifier: Apache-2.0
"""Compiles the C runtime into one shared library. Standard library only.

    python runtime/core/build.py [--target T] [--out FILE] [--sanitize] [--werror]

The compiler is clang from the PyPI package `ziglang`, or the command in the environment variable
RILLET_CC (such as `gcc`), which builds for this machine only. Objects are named by the hash of
everything they come from, so an unchanged build only links, and two builds at once do not disturb
each other.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import pathlib
import platform
import re
import shlex
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

RUNTIME = pathlib.Path(__file__).resolve().parents[1]
LIBRARY = RUNTIME / "_lib" / "librillet.so"


class Target(NamedTuple):
    """One row of the target table: zig's target triple, its wheel's tag (None: no Python there),
    the ISA overlays it carries, flags that choose its CPU, and how the library is linked.
    """

    triple: str
    wheel: str | None
    isas: tuple[str, ...]
    flags: tuple[str, ...] = ()
    link: tuple[str, ...] = ("-shared", "-Wl,--no-undefined", "-Wl,-soname,librillet.so")

    @property
    def is_wasm(self) -> bool:
        """No operating system: no threads, no position-independent code."""
        return self.triple.startswith("wasm")

    @property
    def library(self) -> str:
        """Name of the library's file."""
        return "rillet.wasm" if self.is_wasm else "librillet.so"


# A module without imports that exports its memory; what lies from __heap_base on is the caller's.
WASM_LINK = (
    "-nostdlib",
    "-rtlib=compiler-rt",
    "-Wl,--no-entry",
    "-Wl,--export-dynamic",
    "-Wl,--export=__heap_base",
    "-Wl,-z,stack-size=131072",
)

TARGETS = {
    "x86_64": Target("x86_64-linux-gnu.2.17", "manylinux_2_17_x86_64", ("avx2", "avx512")),
    "aarch64": Target("aarch64-linux-gnu.2.17", "manylinux_2_17_aarch64", ("neon",)),
    "armv7": Target(  # Raspberry Pi 2 and newer with a 32-bit system
        "arm-linux-gnueabihf.2.31", "manylinux_2_31_armv7l", ("armv7",), ("-mcpu=cortex_a7",)
    ),
    "armv6": Target(  # Raspberry Pi Zero and 1
        "arm-linux-gnueabihf.2.28",
        "linux_armv6l",
        (),
        ("-mcpu=arm1176jzf_s", "-Wno-pass-failed"),  # it has no vectors
    ),
    "wasm32": Target(
        "wasm32-freestanding", None, ("wasm",), ("-mcpu=generic+simd128",), link=WASM_LINK
    ),
}
MACHINES = {"AMD64": "x86_64", "arm64": "aarch64", "armv7l": "armv7", "armv6l": "armv6"}

# A file of simd/ whose name has one of these words is an overlay: built only for targets that list
# it.
ISA_FLAGS = {
    "avx2": ["-mavx2", "-mfma"],
    "avx512": [
        "-mavx2",
        "-mfma",
        "-mavx512f",
        "-mavx512bw",
        "-mavx512vl",
        "-mavx512dq",
        "-mavx512vnni",
    ],
    "neon": [],
    "armv7": [],
    "wasm": [],
}

# What most image networks run.
COMMON_KERNELS = {
    "binary", "binary_quantized", "common", "concat", "conv_2d", "depthwise_conv_2d",
    "depthwise_fixed", "fully_connected", "matrix", "matrix_checks", "matrix_run", "move", "pad",
    "pool", "quantize", "quantize_math", "reshape", "resize", "softmax", "transpose", "unary",
    "window",
}  # fmt: skip

WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow"]
# No fused multiply-add but by intrinsic: float results must not depend on the compiler.
# No errno: a square root is an instruction, never a call into a C library.
COMMON = ["-std=c11", "-fvisibility=hidden", "-fomit-frame-pointer"]
COMMON += ["-ffp-contract=off", "-fno-math-errno"]
SANITIZE = [
    "-O1",
    "-g",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
]


class BuildError(RuntimeError):
    """The library could not be built; the message says what to install or which file failed."""


def host_target() -> str:
    """Name of this machine's row in TARGETS."""
    machine = platform.machine()
    name = MACHINES.get(machine, machine)
    if name not in TARGETS:
        raise BuildError(f"no build target for a {machine} machine; known: {', '.join(TARGETS)}")
    return name


def wheel_machine(target: str) -> str:
    """The machine as wheel tags name it. BuildError where the target has no wheels."""
    tag = TARGETS[target].wheel
    if tag is None:
        raise BuildError(f"{target} has no Python, so it has no wheels")
    return tag.removeprefix("manylinux_").removeprefix("linux_").lstrip("0123456789_")


def sources(target: str) -> list[pathlib.Path]:
    """The C files of one target, in their order in the library."""
    found = [f for folder in ("core", "kernels", "simd") for f in (RUNTIME / folder).glob("*.c")]
    overlays = set(ISA_FLAGS) - set(TARGETS[target].isas)
    kept = [f for f in found if f.parent.name != "simd" or not overlays & set(f.stem.split("_"))]
    platform_files = [] if TARGETS[target].is_wasm else [RUNTIME / "platform" / "posix.c"]
    return sorted([*platform_files, *kept], key=_place)


def _place(source: pathlib.Path) -> tuple[int, str, str]:
    """Order in the library. Systems read code in runs of some 64 KB around what is called, so what
    runs together lies together: the core and the kernels of image networks, then each ISA's loops,
    then the other kernels.
    """
    kernel, isa = source.parent.name == "kernels", source.stem.rpartition("_")[2]
    common = source.parent.name in ("core", "platform") or source.stem in COMMON_KERNELS
    return (0 if common else 2 if kernel else 1, isa if isa in ISA_FLAGS else "", source.stem)


def compiler(target: str, sanitize: bool, static: bool = False) -> tuple[list[str], list[str]]:
    """(command, flags for every call) of the compiler to use."""
    if sanitize:
        return shlex.split(os.environ.get("RILLET_CC", "gcc")), SANITIZE
    if os.environ.get("RILLET_CC"):
        if target != host_target():
            raise BuildError(
                f"RILLET_CC builds for {host_target()} only; unset it to build {target}"
            )
        return shlex.split(os.environ["RILLET_CC"]), ["-O3"]
    if importlib.util.find_spec("ziglang") is None:
        raise BuildError("no C compiler: `pip install ziglang==0.17.0`, or set RILLET_CC=gcc")
    row = TARGETS[target]
    triple, libc = (row.triple, [])
    if static and not row.is_wasm:
        triple, libc = re.sub(r"-gnu(\w*).*", r"-musl\1", row.triple), ["-static"]
    # zig turns every -O level into -O2 and keeps debug info unless told; without -target it tunes
    # for this CPU.
    return [sys.executable, "-m", "ziglang", "cc"], [
        "-target", triple, *libc, *row.flags, "-O3", "-Xclang", "-O3", "-g0",
    ]  # fmt: skip


def run(command: list[str], cache: pathlib.Path) -> None:
    """Runs one compiler call; shows warnings; raises BuildError with its output when it fails."""
    env = dict(os.environ)
    env.setdefault("ZIG_GLOBAL_CACHE_DIR", str(cache))
    done = subprocess.run(command, env=env, text=True, capture_output=True, check=False)
    if done.returncode:
        shown = shlex.join(command[:40]) + (" ..." if len(command) > 40 else "")
        raise BuildError(f"{shown}\n{done.stdout}{done.stderr}")
    if done.stderr:
        print(done.stderr, file=sys.stderr, end="")


def object_flags(source: pathlib.Path) -> list[str]:
    """Flags of one file: overlays get their ISA; only the platform layer may use the C library."""
    flags = [] if source.parent.name == "platform" else ["-ffreestanding"]
    if source.parent.name == "simd":
        flags += [f for word in source.stem.split("_") for f in ISA_FLAGS.get(word, [])]
    return flags


def compile_objects(
    files: list[pathlib.Path], command: list[str], folder: pathlib.Path
) -> list[str]:
    """Compiles what changed, a few at a time; returns the objects in the order of `files`."""
    folder.mkdir(parents=True, exist_ok=True)
    headers = sorted(
        f for pattern in ("**/*.h", "**/*.def", "**/*.inc") for f in RUNTIME.glob(pattern)
    )
    shared = hashlib.sha256("\0".join(command).encode())
    for header in headers:
        shared.update(str(header.relative_to(RUNTIME)).encode() + header.read_bytes())

    def compile_one(source: pathlib.Path) -> str:
        flags = object_flags(source)
        key = shared.copy()
        key.update(" ".join(flags).encode() + source.read_bytes())
        out = folder / f"{source.parent.name}_{source.stem}.{key.hexdigest()[:16]}.o"
        if not out.exists():
            part = out.with_suffix(f".{os.getpid()}.part.o")
            try:
                run([*command, *flags, "-c", str(source), "-o", str(part)], folder.parent / "zig")
                part.replace(out)
            finally:
                part.unlink(missing_ok=True)
        os.utime(out)
        return str(out)

    with ThreadPoolExecutor(max(2, min(8, os.cpu_count() or 2))) as pool:
        objects = list(pool.map(compile_one, files))
    for old in folder.glob("*.o"):  # what no build of the last hour used
        if old.stat().st_mtime < time.time() - 3600:
            old.unlink(missing_ok=True)
    return objects


def build(
    target: str | None = None,
    out: pathlib.Path | str = LIBRARY,
    *,
    sanitize: bool = False,
    werror: bool = False,
    program: pathlib.Path | None = None,
    static: bool = False,
    work: pathlib.Path | None = None,
) -> pathlib.Path:
    """Builds the shared library, or `program` (one C file with main) linked with the runtime;
    returns its path.

    `static` links a program with the C library musl, so that it needs nothing of the machine it
    runs on; the first time that takes about a minute per target. `out` appears complete or not at
    all. `work` keeps objects and compiler cache, by default `build/` beside the runtime. Raises
    BuildError with the compiler's words.
    """
    target = target or host_target()
    out = pathlib.Path(out)
    work = work or RUNTIME.parent / "build"
    row = TARGETS[target]
    cc, base = compiler(target, sanitize, static)
    objects_in = work / "-".join(
        ["obj", target, pathlib.Path(cc[-1]).name, *(["asan"] if sanitize else [])]
    )
    command = [
        *cc,
        *COMMON,
        *([] if row.is_wasm else ["-fPIC"]),
        *base,
        *WARNINGS,
        *(["-Werror"] if werror else []),
        f"-I{RUNTIME / 'include'}",
    ]
    files = sources(target) + ([pathlib.Path(program)] if program else [])
    objects = compile_objects(files, command, objects_in)

    kind = [] if program else list(row.link)
    threads = [] if row.is_wasm else ["-lpthread"]
    strip = [] if sanitize else ["-s"]
    out.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=out.parent, prefix=out.name)
    os.close(handle)
    try:
        run([*cc, *base, *kind, *strip, "-o", part, *objects, *threads], work / "zig")
        os.chmod(part, 0o755)
        os.replace(part, out)
    finally:
        pathlib.Path(part).unlink(missing_ok=True)
    return out


def main() -> int:
    """Command line; exit code 1 with a sentence when the build fails."""
    parser = argparse.ArgumentParser(description="Build the Rillet runtime library.")
    parser.add_argument("--target", choices=sorted(TARGETS), help="default: this machine")
    parser.add_argument(
        "--out", type=pathlib.Path, help="default: runtime/_lib; for another machine build/TARGET"
    )
    parser.add_argument(
        "--sanitize", action="store_true", help="gcc with address and undefined sanitizers"
    )
    parser.add_argument("--werror", action="store_true", help="warnings are errors")
    parser.add_argument(
        "--program", type=pathlib.Path, help="a C file with main to link, instead of a library"
    )
    args = parser.parse_args()
    started = time.time()
    try:
        target = args.target or host_target()
        beside = RUNTIME.parent / "build" / target / TARGETS[target].library
        out = args.out or (LIBRARY if target == host_target() else beside)
        out = build(target, out, sanitize=args.sanitize, werror=args.werror, program=args.program)
    except BuildError as error:
        print(f"build failed: {error}", file=sys.stderr)
        return 1
    print(f"{out} ({out.stat().st_size:,} bytes, {time.time() - started:.1f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
