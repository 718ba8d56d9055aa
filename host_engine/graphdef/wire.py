# SPDX-License-Identifier: Apache-2.0
"""Protobuf messages driven by tables of fields, and their binary form.

A message class has FIELDS: number -> Field. Attributes behave as in the protobuf package: an unset
number reads as 0, a list or map or message as an empty one that can be filled in place. Any bytes
give a message or a DataLossError.
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import copy
import struct
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import numpy as np

from host_engine.errors import DataLossError
from host_engine.varint import varint

_DEEPEST = 64  # messages within messages
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIRE = {
    **dict.fromkeys(("int32", "int64", "uint64", "bool", "enum"), _VARINT),
    "double": _FIXED64,
    "fixed64": _FIXED64,
    "float": _FIXED32,
    **dict.fromkeys(("string", "bytes", "message", "map"), _BYTES),
}
_DEFAULTS = {"string": "", "bytes": b"", "bool": False, "float": 0.0, "double": 0.0}


class Field(NamedTuple):
    """`kind`: a protobuf type, "message" or "map"; `type` is the class of a message or of a map's
    values (then a Message with fields `key` and `value`).
    """

    name: str
    kind: str
    type: Any = None
    repeated: bool = False


class Repeated(list):
    """The items of a repeated field."""

    def __init__(self, field: Field, items: Any = ()) -> None:
        super().__init__(items)
        self._field = field

    def add(self, **values: Any) -> Any:
        """Append a new message and return it."""
        self.append(self._field.type(**values))
        return self[-1]

    def __deepcopy__(self, memo: Any) -> Repeated:
        if self._field.kind != "message":
            return Repeated(self._field, self)
        return Repeated(self._field, (item.__deepcopy__(memo) for item in self))

    def __reduce__(self) -> Any:
        return Repeated, (self._field, list(self))


class Map(dict):
    """A map field; messages are made when first asked for."""

    def __init__(self, field: Field) -> None:
        super().__init__()
        self._field = field

    def __missing__(self, key: Any) -> Any:
        kind = _entry_field(self._field, 2)
        if kind.kind != "message":
            raise KeyError(key)
        self[key] = kind.type()
        return self[key]

    def __deepcopy__(self, memo: Any) -> Map:
        twin = Map(self._field)
        plain = _entry_field(self._field, 2).kind != "message"
        for key, value in self.items():
            twin[key] = value if plain else value.__deepcopy__(memo)
        return twin

    def __reduce__(self) -> Any:
        return _map_of, (self._field, dict(self))


def _map_of(field: Field, items: dict[Any, Any]) -> Map:
    made = Map(field)
    made.update(items)
    return made


class Message:
    """Base of messages."""

    FIELDS: ClassVar[dict[int, Field]] = {}
    _by_name: ClassVar[dict[str, tuple[int, Field]]] = {}

    def __init_subclass__(cls) -> None:
        cls._by_name = {f.name: (n, f) for n, f in cls.FIELDS.items()}

    def __init__(self, **values: Any) -> None:
        self.__dict__["_values"] = {}
        self.__dict__["_unknown"] = []
        for name, value in values.items():
            if isinstance(value, (list, tuple)):
                getattr(self, name).extend(value)
            else:
                setattr(self, name, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in type(self)._by_name:
            raise AttributeError(f"{type(self).__name__} has no field {name!r}")
        values, field = self.__dict__["_values"], type(self)._by_name[name][1]
        if name not in values:
            if field.kind == "map":
                values[name] = Map(field)
            elif field.repeated:
                values[name] = Repeated(field)
            elif field.kind == "message":
                values[name] = field.type()
            else:
                return _DEFAULTS.get(field.kind, 0)
        return values[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in type(self)._by_name:
            raise AttributeError(f"{type(self).__name__} has no field {name!r}")
        field = type(self)._by_name[name][1]
        if field.kind == "map" or field.repeated:
            raise AttributeError(f"fill {name!r} in place: it is a list or a map")
        if field.kind == "string" and isinstance(value, bytes):
            value = value.decode()
        if field.kind == "bytes" and isinstance(value, str):
            value = value.encode()
        self._values[name] = value
        self._set_explicitly(name)

    def _set_explicitly(self, name: str) -> None:
        self.__dict__.setdefault("_explicit", set()).add(name)

    def HasField(self, name: str) -> bool:
        """Whether a field that is no list is set (a message: set, or with anything in it)."""
        if name not in self._values:
            return False
        value = self._values[name]
        if isinstance(value, Message) and name not in self.__dict__.get("_explicit", ()):
            return not value.is_empty()
        return True

    def is_empty(self) -> bool:
        """Whether nothing was set."""
        return not self._unknown and all(
            not value if isinstance(value, (Repeated, Map)) else not self.HasField(name)
            for name, value in self._values.items()
        )

    def ClearField(self, name: str) -> None:
        self._values.pop(name, None)
        self.__dict__.get("_explicit", set()).discard(name)

    def Clear(self) -> None:
        self._values.clear()
        self._unknown.clear()

    def __deepcopy__(self, memo: Any) -> Any:
        twin = type(self)()
        twin._unknown.extend(self._unknown)  # numbers and bytes, which nobody changes
        if "_explicit" in self.__dict__:
            twin.__dict__["_explicit"] = set(self.__dict__["_explicit"])
        inner = (Message, Repeated, Map)
        for name, value in self._values.items():
            twin._values[name] = value.__deepcopy__(memo) if isinstance(value, inner) else value
        return twin

    def CopyFrom(self, other: Message) -> None:
        """Become a copy of `other`."""
        if type(other) is not type(self):
            raise TypeError(f"a {type(self).__name__} cannot become a {type(other).__name__}")
        twin = copy.deepcopy(other)
        self.__dict__.update(twin.__dict__)

    def MergeFrom(self, other: Message) -> None:
        """Take what `other` has set, and append its lists."""
        self.MergeFromString(other.SerializeToString())

    def SetInParent(self) -> None:
        """Nothing: protobuf's way to set an empty message."""

    @classmethod
    def FromString(cls, data: bytes) -> Any:
        """The message in `data`; DataLossError where it is none."""
        message = cls()
        message.ParseFromString(data)
        return message

    def ParseFromString(self, data: bytes) -> int:
        """Become the message in `data`; DataLossError where it is none."""
        self.Clear()
        return self.MergeFromString(data)

    def MergeFromString(self, data: bytes) -> int:
        view = memoryview(data).cast("B")
        _parse(self, view, 0)
        return len(view)

    def SerializeToString(self, **_: Any) -> bytes:
        """The binary form; maps in the order of their keys."""
        return b"".join(_pieces(self))

    def ByteSize(self) -> int:
        return len(self.SerializeToString())

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and (other.SerializeToString() == self.SerializeToString())

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        from host_engine.graphdef.text import to_text

        return to_text(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self.SerializeToString())} bytes>"


def _entry_field(field: Field, number: int) -> Field:
    found: Field = field.type.FIELDS[number]
    return found


def _damaged(message: Message, what: str) -> DataLossError:
    return DataLossError(None, None, f"{type(message).__name__}: {what}: the file is damaged")


def _varint(message: Message, view: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(view) or shift > 63:
            raise _damaged(message, f"a number at byte {at} does not end")
        byte = view[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & (1 << 64) - 1, at
        shift += 7


def _parse(message: Message, view: memoryview, depth: int) -> None:
    if depth > _DEEPEST:
        raise _damaged(message, f"messages are nested more than {_DEEPEST} deep")
    at = 0
    while at < len(view):
        begin = at
        tag, at = _varint(message, view, at)
        number, wire = tag >> 3, tag & 7
        value, at = _raw(message, view, at, wire)
        field = message.FIELDS.get(number)
        if number == 0:
            raise _damaged(message, f"field 0 at byte {begin}")
        packed = field is not None and field.repeated and wire == _BYTES != _WIRE[field.kind]
        if field is None or (wire != _WIRE[field.kind] and not packed):
            message._unknown.append(bytes(view[begin:at]))
            continue
        if packed:
            getattr(message, field.name).extend(_unpacked(message, field, value))
        else:
            _store(message, field, value, depth)


def _raw(message: Message, view: memoryview, at: int, wire: int) -> tuple[Any, int]:
    """A field's number or bytes, and where the next one begins."""
    if wire == _VARINT:
        return _varint(message, view, at)
    if wire == _BYTES:
        size, at = _varint(message, view, at)
    elif wire in (_FIXED32, _FIXED64):
        size = 4 if wire == _FIXED32 else 8
    else:
        raise _damaged(message, f"unknown wire type {wire} before byte {at}")
    if size > len(view) - at:
        raise _damaged(message, f"{size} bytes at byte {at}, of which {len(view) - at} are there")
    return view[at : at + size], at + size


def _store(message: Message, field: Field, value: Any, depth: int) -> None:
    if field.kind == "map":
        entry = field.type()
        _parse(entry, value, depth + 1)
        getattr(message, field.name)[entry.key] = entry.value
    elif field.kind == "message":
        if field.repeated:
            _parse(getattr(message, field.name).add(), value, depth + 1)
        else:
            _parse(getattr(message, field.name), value, depth + 1)
            message._set_explicitly(field.name)
    elif field.repeated:
        getattr(message, field.name).append(_scalar(message, field, value))
    else:
        message._values[field.name] = _scalar(message, field, value)
        message._set_explicitly(field.name)


def _scalar(message: Message, field: Field, value: Any) -> Any:
    kind = field.kind
    if kind in ("int32", "int64", "enum"):
        value = value - (1 << 64) if value >= 1 << 63 else value
        if kind != "int64" and not -(1 << 31) <= value < 1 << 32:
            raise _damaged(message, f"{field.name} is {value}, which has no 32 bits")
        return value
    if kind == "bool":
        return value != 0
    if kind == "bytes":
        return bytes(value)
    if kind == "string":
        try:
            return bytes(value).decode()
        except UnicodeDecodeError:
            raise _damaged(message, f"{field.name} is no UTF-8 text") from None
    if kind in ("float", "double", "fixed64"):
        return struct.unpack({"float": "<f", "double": "<d", "fixed64": "<Q"}[kind], value)[0]
    return value


def _unpacked(message: Message, field: Field, data: memoryview) -> Iterator[Any]:
    """The numbers of a packed repeated field."""
    if _WIRE[field.kind] != _VARINT:
        kind = {"float": "<f4", "double": "<f8", "fixed64": "<u8"}[field.kind]
        if len(data) % np.dtype(kind).itemsize:
            raise _damaged(message, f"{field.name} ends in the middle of a number")
        yield from np.frombuffer(data, kind).tolist()
        return
    at = 0
    while at < len(data):
        value, at = _varint(message, data, at)
        yield _scalar(message, field, value)


def _pieces(message: Message) -> Iterator[bytes]:
    for number, field in sorted(message.FIELDS.items()):
        if field.name not in message._values:
            continue
        value = message._values[field.name]
        if field.kind == "map":
            for key in sorted(value):
                entry = field.type()
                entry._values.update(key=key, value=value[key])
                entry.__dict__["_explicit"] = {"key", "value"}
                yield from _delimited(number, entry.SerializeToString())
        elif field.repeated:
            yield from _repeated(number, field, value)
        elif field.kind == "message":
            if message.HasField(field.name):
                yield from _delimited(number, value.SerializeToString())
        else:
            yield _tag(number, field.kind) + _encoded(field.kind, value)
    yield from message._unknown


def _repeated(number: int, field: Field, values: Any) -> Iterator[bytes]:
    if field.kind in ("message", "string", "bytes"):
        for value in values:
            data = value.SerializeToString() if field.kind == "message" else value
            yield from _delimited(number, data.encode() if isinstance(data, str) else data)
    elif values:
        if _WIRE[field.kind] == _VARINT:
            packed = b"".join(_encoded(field.kind, v) for v in values)
        else:
            kind = {"float": "<f4", "double": "<f8", "fixed64": "<u8"}[field.kind]
            packed = np.array(values, kind).tobytes()
        yield from _delimited(number, packed)


def _tag(number: int, kind: str) -> bytes:
    return varint(number << 3 | _WIRE[kind])


def _delimited(number: int, data: bytes) -> Iterator[bytes]:
    yield varint(number << 3 | _BYTES) + varint(len(data))
    yield data


def _encoded(kind: str, value: Any) -> bytes:
    if kind in ("string", "bytes"):
        data = value.encode() if isinstance(value, str) else bytes(value)
        return varint(len(data)) + data
    if kind in ("float", "double", "fixed64"):
        return struct.pack({"float": "<f", "double": "<d", "fixed64": "<Q"}[kind], value)
    return varint(int(value) & (1 << 64) - 1)
