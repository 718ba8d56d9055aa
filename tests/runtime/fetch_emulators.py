# SPDX-License-Identifier: Apache-2.0
"""Puts what the tests of other processors need under build/tools, without root.

    python tests/runtime/fetch_emulators.py

qemu's user-mode emulators come as Debian's or Ubuntu's package, downloaded by the machine's own
apt-get (which checks its signature) and unpacked beside the sources; nothing is installed. Then the
test programs are built, whose C library takes about a minute per target the first time.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent), str(HERE)]

from targets import MACHINES, TOOLS, driver, find_emulator  # noqa: E402

from runtime.core.build import BuildError  # noqa: E402

PACKAGE = "qemu-user-static"
BY_HAND = (
    "install qemu's user-mode emulators yourself (the package is called qemu-user on Debian, Ubuntu"
    " and Arch, qemu-user-static on Fedora); without them the tests of other processors are skipped"
)


class FetchError(RuntimeError):
    """The emulators could not be fetched; the message says why and what to do."""


def run(*command: object, **kwargs) -> subprocess.CompletedProcess:
    return subprocess.run([*map(str, command)], capture_output=True, check=False, **kwargs)


def own_lists(folder: Path) -> list[str]:
    """Options that make apt-get keep its lists of packages in a folder of ours."""
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    wanted = {"Dir::State::Lists": folder / "lists", "Dir::Cache": folder / "cache"}
    wanted["Debug::NoLocking"] = "1"
    return [part for key, value in wanted.items() for part in ("-o", f"{key}={value}")]


def download(folder: Path) -> Path:
    """The package, by apt-get with the system's lists, or with fresh ones where these are absent
    or old. FetchError with apt-get's words.
    """
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise FetchError(f"this machine has no apt-get: {BY_HAND}")
    done = run("apt-get", "download", PACKAGE, cwd=folder)
    if done.returncode:
        options = own_lists(folder)
        done = run("apt-get", *options, "update", cwd=folder)
        if not done.returncode:
            done = run("apt-get", *options, "download", PACKAGE, cwd=folder)
    packages = sorted(folder.glob(f"{PACKAGE}_*.deb"))
    if done.returncode or not packages:
        words = done.stderr.decode(errors="replace").strip()
        raise FetchError(f"apt-get could not download {PACKAGE}: {words}\n{BY_HAND}")
    return packages[-1]


def unpack(package: Path, names: set[str]) -> None:
    """Takes the programs named out of a package. FetchError where one is not in it."""
    done = run("dpkg-deb", "--fsys-tarfile", package)
    if done.returncode:
        raise FetchError(f"{package} cannot be read: {done.stderr.decode(errors='replace')}")
    out = TOOLS / "usr" / "bin"
    out.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as files:
        for member in files:
            name = Path(member.name).name
            content = files.extractfile(member) if member.isfile() and name in names else None
            if content is not None:
                part = out / f"{name}.part"
                part.write_bytes(content.read())
                part.chmod(0o755)
                part.replace(out / name)
                names = names - {name}
    if names:
        raise FetchError(f"{package.name} lacks {', '.join(sorted(names))}: {BY_HAND}")


def fetch(emulators: set[str]) -> None:
    """Downloads and unpacks emulators, and sees that they start."""
    folder = TOOLS / "download"
    folder.mkdir(parents=True, exist_ok=True)
    print(f"downloading {PACKAGE} for {', '.join(sorted(emulators))}")
    try:
        unpack(download(folder), {f"{name}-static" for name in emulators})
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for name in emulators:
        found = find_emulator(name)
        if found is None or run(found, "--version").returncode:
            raise FetchError(f"{found or name} does not start on this machine: {BY_HAND}")


def main() -> int:
    """Command line; exit code 1 with a sentence when something is missing."""
    wanted = {m.emulator for m in MACHINES if m.emulator != "node"}
    try:
        missing = {name for name in wanted if find_emulator(name) is None}
        if missing:
            fetch(missing)
        for target in sorted({m.target for m in MACHINES}):
            print(f"building the test program of {target}")
            driver(target)
    except (FetchError, BuildError) as error:
        print(f"tools: {error}", file=sys.stderr)
        return 1
    for name in sorted({m.emulator for m in MACHINES}):
        print(f"{name}: {find_emulator(name) or 'not found; its tests are skipped'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
