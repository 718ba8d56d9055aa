# SPDX-License-Identifier: Apache-2.0
"""A Debian for Arm with Python and NumPy, in a folder, for qemu's user-mode emulation: no chroot,
no root rights.
"""

from __future__ import annotations

import hashlib
import lzma
import re
import shutil
import subprocess
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from targets import TOOLS

WANTED = ["python3-minimal", "python3-numpy", "libpython3-stdlib"]
# Not needed to run Python.
LEFT_OUT = {"dpkg", "debconf", "media-types", "tzdata", "mime-support", "passwd", "perl-base"}
LEFT_OUT |= {"init-system-helpers"}
SUITE = "bookworm"


class NoRoot(RuntimeError):
    """It could not be downloaded; the message says why."""


def mirror() -> str:
    """Where this machine's apt gets its packages."""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise NoRoot("this machine has no apt-get")
    command = ["apt-get", "indextargets", "--format", "$(SITE)"]
    sites = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    debian = [site for site in sorted(set(sites)) if "security" not in site and "debian" in site]
    if not debian:
        raise NoRoot("this machine's apt has no Debian mirror")
    return debian[0].rstrip("/") + "/"


def _index(text: str) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """(fields of every package, what provides a virtual one)."""
    packages, provided = {}, {}
    for block in text.split("\n\n"):
        fields = dict(re.findall(r"^([\w-]+): (.*)$", block, re.M))
        if fields:
            packages[fields["Package"]] = fields
            for name in fields.get("Provides", "").split(","):
                provided.setdefault(name.split("(")[0].strip(), fields["Package"])
    return packages, provided


def _needed(packages: dict[str, dict[str, str]], provided: dict[str, str]) -> set[str]:
    todo, found = list(WANTED), set()
    while todo:
        name = todo.pop()
        name = name if name in packages else provided.get(name, "")
        if not name or name in found:
            continue
        found.add(name)
        depends = [packages[name].get(key, "") for key in ("Depends", "Pre-Depends")]
        for part in ",".join(depends).split(","):
            part = re.sub(r"\(.*?\)|:any", "", part.split("|")[0]).strip()
            if part and part not in LEFT_OUT:
                todo.append(part)
    return found


def arm_root(architecture: str) -> Path:
    """The folder, downloaded when asked for the first time. NoRoot where that fails."""
    root = TOOLS / f"root-{architecture}"
    if root.is_dir():
        return root
    site = mirror()
    part = TOOLS / f"root-{architecture}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)

    def get(path: str) -> bytes:
        with urllib.request.urlopen(site + path, timeout=60) as answer:
            return answer.read()

    def unpack(fields: dict[str, str]) -> None:
        content = get(fields["Filename"])
        if hashlib.sha256(content).hexdigest() != fields["SHA256"]:
            raise NoRoot(f"{fields['Filename']} is not what the index says")
        file = part / f"{fields['Package']}.deb"
        file.write_bytes(content)
        subprocess.run(["dpkg-deb", "-x", str(file), str(part)], check=True)
        file.unlink()

    try:
        index = get(f"dists/{SUITE}/main/binary-{architecture}/Packages.xz")
        packages, provided = _index(lzma.decompress(index).decode())
        names = sorted(_needed(packages, provided))
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(unpack, [packages[name] for name in names]))
    except (OSError, subprocess.CalledProcessError) as error:
        raise NoRoot(f"{site} gives no packages: {error}") from None
    part.rename(root)
    return root
