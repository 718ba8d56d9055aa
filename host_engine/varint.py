# SPDX-License-Identifier: Apache-2.0
"""Numbers of seven bits per byte, the lowest first, as protobuf and checkpoints write them."""

from __future__ import annotations


def varint(value: int) -> bytes:
    """The bytes of a number of 0 or more."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
