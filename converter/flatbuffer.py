# SPDX-License-Identifier: Apache-2.0
"""FlatBuffers, driven by :mod:`converter.schema`: tables of a file as dicts, and dicts as a file.

Reading is our own, because the library trusts its bytes; writing is the library's Builder.

A table is a dict of schema field names. Absent strings, vectors, tables and unions are None, absent
scalars have their default. Scalar vectors are NumPy arrays, enums are member names, a union is the
pair (member name, dict). Values of an enum the schema does not know stay numbers.
"""

from __future__ import annotations

import struct
from functools import partial
from typing import Any

import flatbuffers
import numpy as np
from flatbuffers import number_types
from flatbuffers.number_types import Uint8Flags, UOffsetTFlags

from converter import schema

_U16 = struct.Struct("<H")
_I32 = struct.Struct("<i")
_U32 = struct.Struct("<I")
_FORMATS = {name: struct.Struct("<" + code) for name, code in schema.SCALARS.items()}
_DTYPES = {name: np.dtype("<" + code) for name, code in schema.SCALARS.items()}
_FLAGS = {
    "bool": number_types.BoolFlags,
    "byte": number_types.Int8Flags,
    "ubyte": number_types.Uint8Flags,
    "short": number_types.Int16Flags,
    "ushort": number_types.Uint16Flags,
    "int": number_types.Int32Flags,
    "uint": number_types.Uint32Flags,
    "long": number_types.Int64Flags,
    "ulong": number_types.Uint64Flags,
    "float": number_types.Float32Flags,
}
# Fields whose vector starts at a multiple of this, counted from the start of the file.
_ALIGNED = {("Buffer", "data"): 16}


class CorruptData(Exception):
    """Bytes that are not what the schema says; the message says where."""


class Decoder:
    """Reads tables from any bytes; every access is checked, so only CorruptData can come out."""

    def __init__(self, data: Any) -> None:
        self.data = memoryview(data).cast("B")
        # Tables may be shared, so without a limit a small file could describe an enormous tree.
        self._tables_left = len(self.data) // 4 + 16
        self._text_left = 16 * len(self.data) + 4096

    def root(self, table: str) -> dict[str, Any]:
        """The root table."""
        return self.table(table, self._offset(0))

    def table(self, name: str, pos: int) -> dict[str, Any]:
        """The table `name` at byte `pos`."""
        self._tables_left -= 1
        if self._tables_left < 0:
            raise CorruptData("the same tables are referred to over and over")
        vtable = pos - self._unpack(_I32, pos, name)
        vtable_size = self._unpack(_U16, vtable, f"{name}'s vtable")
        if vtable_size < 4 or vtable_size % 2:
            raise CorruptData(f"{name} at byte {pos} has a vtable of {vtable_size} bytes")
        self._check(vtable, vtable_size, f"{name}'s vtable")
        found: dict[str, Any] = {}
        for field in schema.fields(name):
            at = self._slot(vtable, vtable_size, field.slot)
            if not at:
                found[field.name] = field.default
            elif field.kind == "union":
                tag_at = self._slot(vtable, vtable_size, field.slot - 1)
                found[field.name] = self._union(field, pos + tag_at if tag_at else -1, pos + at)
            else:
                found[field.name] = self._field(field, pos + at)
        return found

    def _slot(self, vtable: int, vtable_size: int, slot: int) -> int:
        if 4 + 2 * slot + 2 > vtable_size:
            return 0
        return _U16.unpack_from(self.data, vtable + 4 + 2 * slot)[0]

    def _field(self, field: schema.Field, pos: int) -> Any:
        if field.kind == "scalar":
            return self._unpack(_FORMATS[field.type], pos, field.name)
        if field.kind == "enum":
            return _enum_member(field.type, self._unpack(_FORMATS[field.base], pos, field.name))
        target = self._offset(pos)
        if field.kind == "string":
            return self._string(target)
        if field.kind == "table":
            return self.table(field.type, target)
        return self._vector(field, target)

    def _union(self, field: schema.Field, tag_at: int, pos: int) -> Any:
        tag = self._unpack(_FORMATS["ubyte"], tag_at, f"{field.name}_type") if tag_at >= 0 else 0
        if tag == 0:
            return None
        member = schema.enum_name(field.type, tag)
        if member is None:
            raise CorruptData(f"{field.type} number {tag} is unknown")
        return member, self.table(member, self._offset(pos))

    def _vector(self, field: schema.Field, pos: int) -> Any:
        count = self._unpack(_U32, pos, field.name)
        base = field.base
        if base in _DTYPES:
            dtype = _DTYPES[base]
            self._check(pos + 4, count * dtype.itemsize, field.name)
            array = np.frombuffer(self.data, dtype, count, pos + 4)
            if field.type in schema.ALL_ENUMS:
                return [_enum_member(field.type, int(value)) for value in array]
            return array != 0 if base == "bool" else array  # any byte but 0 is true
        self._check(pos + 4, count * 4, field.name)
        targets = [self._offset(pos + 4 + 4 * i) for i in range(count)]
        if base == "string":
            return [self._string(target) for target in targets]
        return [self.table(base, target) for target in targets]

    def _string(self, pos: int) -> str:
        size = self._unpack(_U32, pos, "string")
        self._check(pos + 4, size, "string")
        self._text_left -= size
        if self._text_left < 0:
            raise CorruptData("the same strings are referred to over and over")
        # Names written by other tools are not always UTF-8; the escape survives a round trip.
        return bytes(self.data[pos + 4 : pos + 4 + size]).decode("utf-8", "surrogateescape")

    def _offset(self, pos: int) -> int:
        return pos + self._unpack(_U32, pos, "offset")

    def _unpack(self, form: struct.Struct, pos: int, what: str) -> Any:
        self._check(pos, form.size, what)
        return form.unpack_from(self.data, pos)[0]

    def _check(self, pos: int, size: int, what: str) -> None:
        if pos < 0 or pos + size > len(self.data):
            raise CorruptData(
                f"{what} should lie at bytes {pos} to {pos + size}, but there are {len(self.data)}"
            )


def _enum_member(enum: str, value: int) -> Any:
    name = schema.enum_name(enum, value)
    return value if name is None else name


def enum_value(enum: str, member: Any) -> int:
    """Number of an enum member given by name (or already a number); ValueError if unknown."""
    if isinstance(member, str):
        try:
            return schema.ALL_ENUMS[enum].values[member]
        except KeyError:
            known = ", ".join(schema.ALL_ENUMS[enum].members[:8])
            raise ValueError(f"{member!r} is not a member of {enum} ({known}...)") from None
    return int(member)


def encode(root: str, content: dict[str, Any], identifier: bytes) -> bytearray:
    """A FlatBuffer whose root is table `root` with `content`; its size is a multiple of 16."""
    held = (item.get("data") for item in content.get("buffers", []))
    constants = sum(len(data) for data in held if data is not None)
    builder = flatbuffers.Builder(constants + constants // 32 + 4096)  # growing copies all of it
    builder.Prep(16, 0)
    builder.Finish(_add_table(builder, root, content), file_identifier=identifier)
    data: bytearray = builder.Bytes
    del data[: builder.Head()]  # in place, where Output() copies
    return data


def _add_table(builder: flatbuffers.Builder, name: str, content: dict[str, Any]) -> int:
    """Write table `name` after all below it; returns its position, as the others here do."""
    fields = schema.fields(name)
    unknown = content.keys() - {field.name for field in fields}
    if unknown:
        raise ValueError(f"{name} has no field {sorted(unknown)[0]!r}")
    parts = [part for field in fields for part in _parts(builder, name, field, content)]
    builder.StartObject(max((field.slot for field in fields), default=-1) + 1)
    for slot, flags, value in sorted(parts, key=lambda part: -part[1].bytewidth):
        if flags is UOffsetTFlags:
            builder.PrependUOffsetTRelative(value)
        else:
            builder.Prepend(flags, value)
        builder.Slot(slot)
    return builder.EndObject()


def _parts(
    builder: flatbuffers.Builder, table: str, field: schema.Field, content: dict[str, Any]
) -> list[tuple[int, Any, Any]]:
    """(slot, number type, value) of what `field` adds to its table; nothing for a default."""
    value = content.get(field.name)
    if value is None:
        return []
    if field.kind == "scalar":
        return [] if value == field.default else [(field.slot, _FLAGS[field.type], value)]
    if field.kind == "enum":
        number = enum_value(field.type, value)
        default = enum_value(field.type, field.default)
        return [] if number == default else [(field.slot, _FLAGS[field.base], number)]
    if field.kind == "union":
        member, fields = value
        position = _add_table(builder, member, fields)
        tag = enum_value(field.type, member)
        return [(field.slot - 1, Uint8Flags, tag), (field.slot, UOffsetTFlags, position)]
    return [(field.slot, UOffsetTFlags, _add_child(builder, table, field, value))]


def _add_child(builder: flatbuffers.Builder, table: str, field: schema.Field, value: Any) -> int:
    if field.kind == "string":
        return _add_string(builder, value)
    if field.kind == "table":
        return _add_table(builder, field.type, value)
    if field.base in _DTYPES:
        return _add_scalars(builder, field, value, _ALIGNED.get((table, field.name), 4))
    add = _add_string if field.base == "string" else partial(_add_table, name=field.base)
    positions = [add(builder, content=item) for item in value]
    builder.StartVector(4, len(positions), 4)
    for position in reversed(positions):
        builder.PrependUOffsetTRelative(position)
    return builder.EndVector()


def _add_scalars(
    builder: flatbuffers.Builder, field: schema.Field, value: Any, alignment: int
) -> int:
    dtype = _DTYPES[field.base]
    if field.type in schema.ALL_ENUMS:
        value = [enum_value(field.type, member) for member in value]
    array = np.frombuffer(value, dtype) if isinstance(value, bytes) else np.asarray(value)
    array = np.ascontiguousarray(array, dtype).reshape(-1)
    builder.Prep(alignment, array.nbytes)
    return builder.CreateNumpyVector(array)


def _add_string(builder: flatbuffers.Builder, content: str) -> int:
    return builder.CreateString(content, "utf-8", "surrogateescape")
