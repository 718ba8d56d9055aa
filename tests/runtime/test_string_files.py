# SPDX-License-Identifier: Apache-2.0
"""Constants of strings in files, also in files that lie about them."""

from __future__ import annotations

import itertools
import struct

import control_models as models
import numpy as np
import pytest
from test_control_flow import run as run_with
from test_strings import constant, ready, strings

import runtime
from runtime import RilletError


def stored(items: list[bytes]) -> bytes:
    """A buffer of strings."""
    ends = np.cumsum([0, *map(len, items)]) + 4 * (len(items) + 2)
    return struct.pack(f"<{len(items) + 2}i", len(items), *ends) + b"".join(items)


def told(buffer: bytes, count: int) -> list[bytes] | None:
    """What a buffer of `count` strings says; None where it lies."""
    if len(buffer) < 4 * (count + 2):
        return None
    found, *offsets = struct.unpack_from(f"<{count + 2}i", buffer)
    if found != count or offsets[0] < 4 * (count + 2) or offsets[-1] > len(buffer):
        return None
    if any(a > b for a, b in itertools.pairwise(offsets)):
        return None
    return [buffer[a:b] for a, b in itertools.pairwise(offsets)]


ITEMS = [b"one", b"", b"t\0o", b"\xff", b"three"]


def holding(items: list[bytes] = ITEMS) -> bytes:
    sub = models.Sub("main")
    sub.input((1,))
    held = constant("labels", strings((len(items),), items))
    return models.serialize(
        sub.ends(sub.op("RESHAPE", [held, np.int32([-1])], ((len(items),), "STRING")))
    )


def judge(content: bytes, buffer: bytes) -> str:
    """Opens and runs; what is given is what the buffer says, or the tensor is named."""
    wanted = told(buffer, len(ITEMS))
    try:
        (found,) = run_with(runtime.Interpreter(model_content=content), np.float32([0]))
    except RilletError as error:
        assert wanted is None and error.status == "BAD_MODEL" and "'labels'" in str(error), error
        return "refused"
    assert found.tolist() == wanted
    return "runs"


def test_every_changed_byte_is_judged() -> None:
    content, buffer = holding(), stored(ITEMS)
    assert content.count(buffer) == 1
    at, seen = content.index(buffer), set()
    for i in range(len(buffer)):
        for bits in (0x01, 0x02, 0x04, 0x10, 0x80, 0xFF):
            changed = bytearray(buffer)
            changed[i] ^= bits
            whole = content[:at] + bytes(changed) + content[at + len(buffer) :]
            seen.add((judge(whole, bytes(changed)), i < 4 * (len(ITEMS) + 2)))
    assert seen == {("refused", True), ("runs", True), ("runs", False)}


def test_every_shorter_buffer_is_judged() -> None:
    content, buffer = holding(), stored(ITEMS)
    at = content.index(buffer)
    for size in range(1, len(buffer)):  # the vector's length lies in front of its bytes
        whole = content[: at - 4] + struct.pack("<I", size) + content[at:]
        assert judge(whole, buffer[:size]) == "refused"


def test_a_shape_of_more_strings_than_there_are_is_refused() -> None:
    content = holding()
    dims = struct.pack("<ii", 1, len(ITEMS))
    assert content.count(dims) >= 1
    for count in (0, 4, 6, 1000, 2**30, 2**31 - 1):
        with pytest.raises(RilletError) as caught:
            ready(content.replace(dims, struct.pack("<ii", 1, count)))
        assert caught.value.status in ("BAD_MODEL", "LIMIT")


def test_no_strings_at_all() -> None:
    sub = models.Sub("main")
    x = sub.input((0,), "STRING")
    y = sub.op("EQUAL", [x, constant("none", strings((0,)))], ((0,), "BOOL"))
    content = models.serialize(sub.ends(y, x))
    found = run_with(runtime.Interpreter(model_content=content), strings((0,)))
    assert [y.shape for y in found] == [(0,), (0,)]
