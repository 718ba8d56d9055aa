# SPDX-License-Identifier: Apache-2.0
"""Protobuf's text form, as in .pbtxt files.

https://protobuf.dev/reference/protobuf/textformat-spec/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from host_engine.errors import DataLossError
from host_engine.framework.dtypes import as_dtype
from host_engine.graphdef.wire import Field, Map, Message

_TOKEN = re.compile(
    r"""(?P<skip>\s+|\#[^\n]*)|(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')"""
    r"""|(?P<name>[A-Za-z_][\w.]*)|(?P<number>-?\s*(?:0[xX][0-9a-fA-F]+|inf|nan|[\d.][\w.+-]*))"""
    r"""|(?P<mark>[:{}<>\[\],;-])"""
)
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.)", re.DOTALL)
_ESCAPED = {
    b"n": b"\n",
    b"t": b"\t",
    b"r": b"\r",
    b"a": b"\a",
    b"b": b"\b",
    b"f": b"\f",
    b"v": b"\v",
}
_DEEPEST = 64
_CLOSING = {"{": "}", "<": ">"}
# Proto names of the types whose names here differ.
_TYPE_NAMES = {"float32": "float", "float64": "double", "float16": "half"}


def from_text(text: str | bytes, message: Message) -> Message:
    """Fill `message` from its text form; DataLossError with the line where it is none."""
    source = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    _Parser(source).fields(message, "", 0)
    return message


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = self._tokens()
        self.at = 0
        self.kind, self.token = "", ""
        self.advance()

    def _tokens(self) -> Iterator[tuple[str, str, int]]:
        at = 0
        while at < len(self.text):
            match = _TOKEN.match(self.text, at)
            if match is None:
                self.at = at
                raise self.error(f"{self.text[at : at + 12]!r} is nothing known")
            if match.lastgroup != "skip":
                yield str(match.lastgroup), match[0], at
            at = match.end()
        yield "end", "", at

    def error(self, what: str) -> DataLossError:
        line = self.text.count("\n", 0, self.at) + 1
        return DataLossError(None, None, f"line {line}: {what}: this is no text of a GraphDef")

    def advance(self) -> str:
        token = self.token
        self.kind, self.token, self.at = next(self.tokens, ("end", "", self.at))
        return token

    def accept(self, token: str) -> bool:
        if self.kind == "mark" and self.token == token:
            self.advance()
            return True
        return False

    def fields(self, message: Message | None, closing: str, depth: int) -> None:
        """Fields until `closing`; read and dropped where `message` is None."""
        if depth > _DEEPEST:
            raise self.error(f"messages are nested more than {_DEEPEST} deep")
        while not (closing and self.accept(closing)):
            if self.kind == "end" and not closing:
                return
            if self.kind != "name":
                raise self.error(f"{self.token or 'the end'!r} where a field's name should be")
            name = self.advance()
            found = type(message)._by_name.get(name) if message is not None else None
            self.accept(":")
            self.values(message, found[1] if found else None, depth)
            self.accept(",") or self.accept(";")

    def values(self, message: Message | None, field: Field | None, depth: int) -> None:
        if not self.accept("["):
            self.value(message, field, depth)
            return
        while not self.accept("]"):
            self.value(message, field, depth)
            self.accept(",")
            if self.kind == "end":
                raise self.error("a list does not end")

    def value(self, message: Message | None, field: Field | None, depth: int) -> None:
        if self.kind == "mark" and self.token in _CLOSING:
            self.nested(message, field, _CLOSING[self.advance()], depth)
            return
        if field is not None and field.kind in ("message", "map"):
            raise self.error(f"{field.name} is a message, not {self.token!r}")
        scalar = self.scalar(field)
        if message is None or field is None:
            return
        if field.repeated:
            getattr(message, field.name).append(scalar)
        else:
            setattr(message, field.name, scalar)

    def nested(self, message: Any, field: Field | None, closing: str, depth: int) -> None:
        if message is None or field is None:
            self.fields(None, closing, depth + 1)
        elif field.kind == "map":
            entry = field.type()
            self.fields(entry, closing, depth + 1)
            getattr(message, field.name)[entry.key] = entry.value
        elif field.kind != "message":
            raise self.error(f"{field.name} is a message")
        elif field.repeated:
            self.fields(getattr(message, field.name).add(), closing, depth + 1)
        else:
            self.fields(getattr(message, field.name), closing, depth + 1)
            message._set_explicitly(field.name)

    def scalar(self, field: Field | None) -> Any:
        if self.kind == "string":
            data = b""
            while self.kind == "string":
                data += _unescaped(self.advance())
            if field is not None and field.kind not in ("string", "bytes"):
                raise self.error(f"{field.name} is a text")
            return data.decode("utf-8", "replace") if field and field.kind == "string" else data
        if self.kind not in ("name", "number"):
            raise self.error(f"{self.token or 'the end'!r} where a value should be")
        token = self.advance().replace(" ", "")
        kind = field.kind if field is not None else "skipped"
        try:
            return _number(kind, token)
        except (ValueError, TypeError):
            assert field is not None
            raise self.error(f"{token!r} is no value of {field.name}") from None


def _number(kind: str, token: str) -> Any:
    if kind == "skipped":
        return token
    if kind == "bool":
        return {"true": True, "false": False, "1": True, "0": False, "t": True, "f": False}[token]
    if kind == "enum" and token.startswith("DT_"):
        name = token[3:].lower()
        number = as_dtype(name.removesuffix("_ref")).as_datatype_enum
        return number + 100 if name.endswith("_ref") else number
    if kind in ("float", "double"):
        return float(token.rstrip("fF") if token[-1:] in "fF" and "inf" not in token else token)
    if kind in ("string", "bytes"):
        raise ValueError
    return int(token, 0)


def _unescaped(token: str) -> bytes:
    def one(match: re.Match[bytes]) -> bytes:
        code = match[1]
        if code[:1] == b"x":
            return bytes([int(code[1:], 16)])
        if code.isdigit():
            return bytes([int(code, 8) & 255])
        return _ESCAPED.get(code, code)

    return _ESCAPE.sub(one, token[1:-1].encode())


def to_text(message: Message) -> str:
    """The text form, a field a line."""
    return "".join(_lines(message, ""))


def _lines(message: Message, indent: str) -> Iterator[str]:
    for _, field in sorted(message.FIELDS.items()):
        value = message._values.get(field.name)
        if value is None or not (
            field.repeated or field.kind == "map" or message.HasField(field.name)
        ):
            continue
        if isinstance(value, Map):
            for key in sorted(value):
                entry = field.type()
                entry.key = key
                entry._values["value"] = value[key]
                entry._set_explicitly("value")
                yield from _nested(field.name, entry, indent)
            continue
        for item in value if field.repeated else [value]:
            if isinstance(item, Message):
                yield from _nested(field.name, item, indent)
            else:
                yield f"{indent}{field.name}: {_shown(field, item)}\n"


def _nested(name: str, message: Message, indent: str) -> Iterator[str]:
    yield f"{indent}{name} {{\n"
    yield from _lines(message, indent + "  ")
    yield f"{indent}}}\n"


def _shown(field: Field, value: Any) -> str:
    if field.kind in ("string", "bytes"):
        return _quoted(value.encode() if isinstance(value, str) else value)
    if field.kind == "bool":
        return "true" if value else "false"
    if field.kind == "enum":
        return type_name(value)
    if field.kind == "float":
        return f"{value:.9g}"
    return repr(value)


def type_name(number: int) -> str:
    """DT_FLOAT for 1."""
    try:
        name = as_dtype(number % 100).name
    except TypeError:
        return str(number)
    return f"DT_{_TYPE_NAMES.get(name, name).upper()}{'_REF' if number > 100 else ''}"


def _quoted(data: bytes) -> str:
    shown = []
    for byte in data:
        char = chr(byte)
        if char in '"\\':
            shown.append("\\" + char)
        elif 32 <= byte < 127:
            shown.append(char)
        else:
            shown.append({10: "\\n", 9: "\\t", 13: "\\r"}.get(byte, f"\\{byte:03o}"))
    return '"' + "".join(shown) + '"'
