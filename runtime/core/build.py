# SPDX-License-Identifier: Apache-2.0
"""Compiles the C runtime into one shared library. Standard library only.

    python runtime/core/build.py [--target T] [--out FILE] [--sanitize] [--werror]

`rillet build` has more to it: static libraries, builds for a few models, sizes, wheels.

The compiler is clang from the PyPI package `ziglang`, or the command in the environment variable
RILLET_CC (such as `gcc`), which builds for this machine only. Objects are named by the hash of
everything they come from, so an unchanged build only links, and two builds at once do not disturb
each other.
"""

from __future__ import annotations

import argparse
import contextlib
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
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

# The wheels' build hook and the command line run this file by its path.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from build_targets import (
    BIONIC,
    BOARDS,
    COMMON_KERNELS,
    FAST_KERNELS,
    FASTEST_KERNELS,
    ISA_FLAGS,
    MACHINES,
    TARGETS,
)

RUNTIME = pathlib.Path(__file__).resolve().parents[1]
LIBRARY = RUNTIME / "_lib" / "librillet.so"


WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow"]
# No fused multiply-add but by intrinsic: float results must not depend on the compiler.
# No errno: a square root is an instruction, never a call into a C library.
COMMON = ["-std=c11", "-fvisibility=hidden", "-fomit-frame-pointer"]
COMMON += ["-ffp-contract=off", "-fno-math-errno"]
# What nothing refers to is left out; nobody unwinds through the library.
COMMON += ["-ffunction-sections", "-fdata-sections"]
COMMON += ["-fno-asynchronous-unwind-tables", "-fno-unwind-tables"]
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
        return shlex.split(os.environ["RILLET_CC"]), []
    if importlib.util.find_spec("ziglang") is None:
        raise BuildError("no C compiler: `pip install ziglang==0.17.0`, or set RILLET_CC=gcc")
    row = TARGETS[target]
    triple, libc = (row.triple, [])
    if static and not row.is_wasm:
        triple, libc = re.sub(r"-gnu(\w*).*", r"-musl\1", row.triple), ["-static"]
    # zig keeps debug info unless told; without -target it tunes for this CPU.
    return [sys.executable, "-m", "ziglang", "cc"], ["-target", triple, *libc, *row.flags, "-g0"]


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


def object_flags(source: pathlib.Path, target: str, sanitize: bool, small: bool) -> list[str]:
    """Flags of one file: its level; overlays get their ISA; only the platform layer may use the C
    library.
    """
    is_rows = small and source.stem.startswith("rows_")
    own_loops = FASTEST_KERNELS if small else FAST_KERNELS
    fast = (source.parent.name == "simd" and not is_rows) or source.stem in own_loops
    level = "-O3" if fast else "-Oz" if small and not is_rows else "-Os"
    if sanitize:
        flags = []
    elif os.environ.get("RILLET_CC"):
        flags = [level.replace("z", "s")]
    else:
        flags = [level, "-Xclang", level]  # zig knows -O2 and -Os only, unless told twice
    if source.parent.name == "platform":
        # bionic's headers are not at hand; its types are no larger than glibc's, which stand in.
        return [*flags, "-target", "aarch64-linux-gnu"] if TARGETS[target].is_android else flags
    if source.parent.name == "simd":
        flags += [f for word in source.stem.split("_") for f in ISA_FLAGS.get(word, [])]
        flags += [] if TARGETS[target].is_wasm else ["-DRLT_HAS_PLATFORM"]
    return [*flags, "-ffreestanding"]


class Selection(NamedTuple):
    """A build for a few models: the kernel files it takes, by stem, and a folder with
    selected_kernels.def, selection.h, selected_types.h and lacking.h for those that see them.
    """

    kernels: frozenset[str]
    folder: pathlib.Path
    needs_sums: bool = True  # whether int8 products are wanted as int32 too
    lacks: frozenset[str] = frozenset()  # files of core/ that are left out

    def takes(self, source: pathlib.Path) -> bool:
        """Whether a source file is among those compiled."""
        if source.parent.name == "core":
            return source.stem not in self.lacks
        return source.parent.name != "kernels" or source.stem in self.kernels


# Who calls files of core/ that may be left out.
CALL_OPTIONAL = {"interpreter", "model_node", "model_tensor"}


SEE_SELECTION = {"table", "selected", "select"}
SEE_SELECTION |= {"binary", "binary_plain", "binary_quantized", "compare", "reduce_forms"}


def selection_flags(source: pathlib.Path, selection: Selection | None) -> list[str]:
    """What one file is told of a build for a few models."""
    if selection is None:
        return []
    flags = []
    if source.stem.startswith("s8_gemm") and not selection.needs_sums:
        flags += ["-DRLT_SUMS(run)=((void *)0)", "-Wno-unused-function"]
    if source.parent.name == "core" and source.stem in CALL_OPTIONAL:
        flags += [f"-DRLT_LACKS_{name.upper()}" for name in sorted(selection.lacks)]
    if source.stem not in SEE_SELECTION and not source.stem.startswith("loops_"):
        return flags
    names = ["-DRLT_SELECTION", '-DRLT_KERNELS_DEF="selected_kernels.def"']
    return [*flags, *names, "-Wno-unused-function", f"-I{selection.folder}"]


def compile_objects(
    files: list[pathlib.Path],
    command: list[str],
    folder: pathlib.Path,
    flags_of: Callable[[pathlib.Path], list[str]],
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
        flags = flags_of(source)
        key = shared.copy()
        key.update(" ".join(flags).encode() + source.read_bytes())
        if RUNTIME not in source.parents:  # a program, which may include what lies beside it
            for near in sorted(source.parents[1].glob("*/*.[ch]")):
                key.update(near.read_bytes())
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
        with contextlib.suppress(FileNotFoundError):  # another build's, which has its name by now
            if old.stat().st_mtime < time.time() - 3600:
                old.unlink()
    return objects


def bionic_stub(cc: list[str], base: list[str], work: pathlib.Path) -> str:
    """A libc.so to link with: Android's names and nothing behind them. Returns its path."""
    folder = work / "bionic"
    folder.mkdir(parents=True, exist_ok=True)
    source, names, out = folder / "stub.c", folder / "stub.map", folder / "libc.so"
    source.write_text("".join(f"void {name}(void) {{}}\n" for name in BIONIC))
    names.write_text(f"LIBC {{ global: {' '.join(f'{name};' for name in BIONIC)} local: *; }};\n")
    flags = ["-ffreestanding", "-fno-builtin", "-nostdlib", "-shared", "-fPIC", "-w", "-s"]
    version = ["-Wl,-soname,libc.so", f"-Wl,--version-script,{names}"]
    part = folder / f"{os.getpid()}.part.so"
    run([*cc, *base, *flags, *version, "-o", str(part), str(source)], work / "zig")
    part.replace(out)
    return str(out)


class Built(NamedTuple):
    """What a build made: the library or program, the static library where one was asked for, and
    the objects in them.
    """

    library: pathlib.Path
    archive: pathlib.Path | None
    objects: list[pathlib.Path]


def build(target: str | None = None, out: pathlib.Path | str = LIBRARY, **options) -> pathlib.Path:
    """Path of what `build_all` makes."""
    return build_all(target, out, **options).library


def build_all(
    target: str | None = None,
    out: pathlib.Path | str = LIBRARY,
    *,
    sanitize: bool = False,
    werror: bool = False,
    program: pathlib.Path | None = None,
    static: bool = False,
    archive: pathlib.Path | None = None,
    selection: Selection | None = None,
    work: pathlib.Path | None = None,
) -> Built:
    """Builds the shared library, or `program` (one C file with main) linked with the runtime, and
    the static library `archive` from the same objects.

    `static` links a program with the C library musl, so that it needs nothing of the machine it
    runs on; the first time that takes about a minute per target. Files appear complete or not at
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
        *([] if row.is_wasm or target == "windows-x64" else ["-fPIC"]),
        *base,
        *WARNINGS,
        *(["-Werror"] if werror else []),
        f"-I{RUNTIME / 'include'}",
    ]
    files = sources(target)
    if selection:
        files = [f for f in files if selection.takes(f)]
    files += [pathlib.Path(program)] if program else []
    objects = compile_objects(
        files,
        command,
        objects_in,
        lambda f: [
            *object_flags(f, target, sanitize, small=selection is not None),
            *selection_flags(f, selection),
        ],
    )

    kind = ["-Wl,--gc-sections"] if program and not sanitize else [] if program else list(row.link)
    libraries = [] if row.is_wasm else ["-lpthread"]
    if row.is_android:
        libraries = [bionic_stub(cc, base, work)]
    # The level is that of the compiler's own support code, and of a static program's C library.
    level, strip = ([], []) if sanitize else (["-O3"], ["-s"])
    link = [*cc, *base, *level, *kind, *strip, *objects, *libraries]
    _put_in_place(link, objects, out, archive, work / "zig")
    return Built(out, archive, [pathlib.Path(name) for name in objects])


def _put_in_place(
    link: list[str],
    objects: list[str],
    out: pathlib.Path,
    archive: pathlib.Path | None,
    cache: pathlib.Path,
) -> None:
    """Links `out`, and puts `objects` into `archive`: each appears complete or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=out.name) as folder:
        part = pathlib.Path(folder) / out.name
        run([*link, "-o", str(part)], cache)
        part.chmod(0o755)
        if archive:
            kept = pathlib.Path(folder) / archive.name
            run([*archiver(), "rcs", str(kept), *objects], cache)
            archive.parent.mkdir(parents=True, exist_ok=True)
            kept.replace(archive)
        if part.with_suffix(".lib").exists():  # what programs for Windows link with
            part.with_suffix(".lib").replace(out.with_suffix(".lib"))
        part.replace(out)


def archiver() -> list[str]:
    """The command that makes static libraries."""
    if os.environ.get("RILLET_CC"):
        return ["ar"]
    return [sys.executable, "-m", "ziglang", "ar"]


def main() -> int:
    """Command line; exit code 1 with a sentence when the build fails."""
    parser = argparse.ArgumentParser(description="Build the Rillet runtime library.")
    parser.add_argument(
        "--target", choices=sorted({**TARGETS, **BOARDS}), help="default: this machine"
    )
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
        target = BOARDS.get(args.target, args.target) or host_target()
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
