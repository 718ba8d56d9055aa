# SPDX-License-Identifier: Apache-2.0
"""What shared libraries of other systems export and import: ELF, Mach-O and PE, 64 bits each."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple


class Linked(NamedTuple):
    """Names that a library gives, names that it takes, and the libraries it takes them from."""

    exports: set[str]
    imports: set[str]
    libraries: set[str]


def linked(path: Path) -> Linked:
    """ValueError for a file of another format."""
    data = path.read_bytes()
    readers = {b"\x7fELF": _elf, b"\xcf\xfa\xed\xfe": _macho, b"MZ": _pe}
    for magic, reader in readers.items():
        if data.startswith(magic):
            return reader(data)
    raise ValueError(f"{path} is no shared library of a known format")


def _text(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode()


def _elf(data: bytes) -> Linked:
    at, entry, count = (*struct.unpack_from("<Q", data, 40), *struct.unpack_from("<HH", data, 58))
    sections = [struct.unpack_from("<IIQQQQII", data, at + i * entry) for i in range(count)]
    found = Linked(set(), set(), set())
    for _, kind, _, _, offset, size, link, _ in sections:
        if kind == 11:  # SHT_DYNSYM
            names = sections[link][4]
            for i in range(offset + 24, offset + size, 24):
                name, _, _, section = struct.unpack_from("<IBBH", data, i)
                (found.exports if section else found.imports).add(_text(data, names + name))
        if kind == 6:  # SHT_DYNAMIC
            names = sections[link][4]
            for i in range(offset, offset + size, 16):
                tag, value = struct.unpack_from("<QQ", data, i)
                if tag == 1:  # DT_NEEDED
                    found.libraries.add(_text(data, names + value))
    return found


def load_alignment(path: Path) -> int:
    """The least page that all loaded segments of an ELF file are laid out for."""
    data = path.read_bytes()
    at, entry, count = (*struct.unpack_from("<Q", data, 32), *struct.unpack_from("<HH", data, 54))
    headers = [struct.unpack_from("<IIQQQQQQ", data, at + i * entry) for i in range(count)]
    return min(header[7] for header in headers if header[0] == 1)


def commands(data: bytes) -> list[tuple[int, int]]:
    """(kind, offset) of the load commands of a Mach-O file."""
    found, at = [], 32
    for _ in range(struct.unpack_from("<I", data, 16)[0]):
        kind, size = struct.unpack_from("<II", data, at)
        found.append((kind, at))
        at += size
    return found


def _macho(data: bytes) -> Linked:
    found = Linked(set(), set(), set())
    for kind, at in commands(data):
        if kind == 0xC:  # LC_LOAD_DYLIB
            found.libraries.add(_text(data, at + struct.unpack_from("<I", data, at + 8)[0]))
        if kind == 2:  # LC_SYMTAB
            symbols, count, names, _ = struct.unpack_from("<IIII", data, at + 8)
            for i in range(count):
                name, type_ = struct.unpack_from("<IB", data, symbols + 16 * i)
                text = _text(data, names + name).removeprefix("_")
                if type_ & 0xE1 == 1:  # external, and not for debuggers
                    (found.exports if type_ & 0xE else found.imports).add(text)
    return found


def _pe(data: bytes) -> Linked:
    header = struct.unpack_from("<I", data, 60)[0]
    count, optional = struct.unpack_from("<H12xH", data, header + 6)
    sections = [
        struct.unpack_from("<IIII", data, header + 24 + optional + 40 * i + 8) for i in range(count)
    ]

    def place(address: int) -> int:
        for size, start, stored, offset in sections:
            if start <= address < start + max(size, stored):
                return address - start + offset
        raise ValueError(f"address {address:#x} lies in no section")

    found = Linked(set(), set(), set())
    tables = header + 24 + 112
    exports, imports = (struct.unpack_from("<I", data, tables + 8 * i)[0] for i in range(2))
    count, _, table = struct.unpack_from("<III", data, place(exports) + 24)
    for address in struct.unpack_from(f"<{count}I", data, place(table)):
        found.exports.add(_text(data, place(address)))
    at = place(imports)
    while (row := struct.unpack_from("<IIIII", data, at))[3]:
        found.libraries.add(_text(data, place(row[3])).lower())
        entry = place(row[0] or row[4])
        while hint := struct.unpack_from("<Q", data, entry)[0]:
            if not hint >> 63:
                found.imports.add(_text(data, place(hint) + 2))
            entry += 8
        at += 20
    return found
