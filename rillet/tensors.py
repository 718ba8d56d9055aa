# SPDX-License-Identifier: Apache-2.0
"""How tensors are described: to programs as dictionaries, to people as text."""

from __future__ import annotations

from typing import Any

from converter.ir import Value


def described(value: Value) -> dict[str, Any]:
    """Name, dtype, shape (-1 where it is dynamic), bytes if it is a constant, quantization."""
    quant = value.quant
    found: dict[str, Any] = {
        "name": value.name,
        "dtype": value.dtype,
        "shape": list(value.shape_signature or value.shape),
        "constant_bytes": constant_bytes(value),
        "scales": 0,
    }
    if quant is not None and quant.scale.size:
        zero_point = int(quant.zero_point[0]) if quant.zero_point.size else 0
        found |= {"scales": int(quant.scale.size), "scale": float(quant.scale[0])}
        found |= {"zero_point": zero_point, "axis": quant.axis}
    return found


def constant_bytes(value: Value) -> int:
    """Bytes of a constant's values, 0 of what is no constant."""
    if value.data is None:
        return 0
    if value.data.dtype == object:
        return sum(len(item) for item in value.data.ravel())
    return int(value.data.nbytes)


def shape_text(shape: list[int]) -> str:
    return "x".join("?" if n == -1 else str(n) for n in shape) or "scalar"


def quantization_text(tensor: dict[str, Any]) -> str:
    """Of a `described` tensor; empty where it is not quantized."""
    if not tensor["scales"]:
        return ""
    if tensor["scales"] > 1:
        return f"{tensor['scales']} scales along axis {tensor['axis']}"
    return f"scale {tensor['scale']:.6g}, zero point {tensor['zero_point']}"


def printable(text: str) -> str:
    """The text without what would steer a terminal; names and labels come from strangers."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
