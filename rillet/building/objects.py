# SPDX-License-Identifier: Apache-2.0
"""How many bytes of code and data an object file brings: ELF, Mach-O, COFF and WebAssembly."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from runtime.core.build import ISA_FLAGS


def loaded_bytes(path: Path) -> int:
    """Bytes of an object file that a program has in memory. ValueError for another format."""
    data = path.read_bytes()
    for magic, reader in (
        (b"\x7fELF", _elf),
        (b"\xcf\xfa\xed\xfe", _macho),
        (b"\0asm", _wasm),
        (b"\x64\x86", _coff),
    ):
        if data.startswith(magic):
            return reader(data)
    raise ValueError(f"{path} is no object file of a known format")


def _elf(data: bytes) -> int:
    is_64 = data[4] == 2
    at = struct.unpack_from("<Q" if is_64 else "<I", data, 40 if is_64 else 32)[0]
    entry, count = struct.unpack_from("<HH", data, 58 if is_64 else 46)
    total = 0
    for i in range(count):
        section = "<IIQQQQ" if is_64 else "<IIIIII"
        _, _, flags, _, _, size = struct.unpack_from(section, data, at + i * entry)
        total += size if flags & 2 else 0  # SHF_ALLOC
    return total


def _macho(data: bytes) -> int:
    total, at = 0, 32
    for _ in range(struct.unpack_from("<I", data, 16)[0]):
        command, size = struct.unpack_from("<II", data, at)
        if command == 0x19:  # LC_SEGMENT_64
            for i in range(struct.unpack_from("<I", data, at + 64)[0]):
                section = at + 72 + i * 80
                is_debug = data[section + 16 : section + 23] in (b"__DWARF", b"__LD\0\0\0")
                total += 0 if is_debug else struct.unpack_from("<Q", data, section + 40)[0]
        at += size
    return total


def _coff(data: bytes) -> int:
    total = 0
    for i in range(struct.unpack_from("<H", data, 2)[0]):
        header = 20 + i * 40
        size, flags = struct.unpack_from("<I", data, header + 16), data[header + 39] << 24
        total += size[0] if flags & 0x60000000 and not flags & 0x02000000 else 0  # kept, readable
    return total


def _wasm(data: bytes) -> int:
    total, at = 0, 8
    while at < len(data):
        kind, at = data[at], at + 1
        size = shift = 0
        while True:
            byte, at = data[at], at + 1
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        total += size if kind in (10, 11) else 0  # code, data
        at += size
    return total


def by_family(objects: Iterable[Path]) -> dict[str, int]:
    """Bytes of "core", "platform", every family of kernels, such as "conv" and "lstm", and every
    instruction set's loops, such as "loops neon_dot"; the largest first.
    """
    total: dict[str, int] = defaultdict(int)
    for path in objects:
        folder, _, stem = path.name.split(".")[0].partition("_")
        total[_family(folder, stem)] += loaded_bytes(path)
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))


def _family(folder: str, stem: str) -> str:
    if folder == "kernels":
        return stem.split("_")[0]
    if folder != "simd":
        return folder
    words = stem.split("_")
    if words[-2:] == ["neon", "dot"]:
        return "loops neon_dot"
    return f"loops {words[-1] if words[-1] in ISA_FLAGS else 'scalar'}"
