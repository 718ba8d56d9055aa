# SPDX-License-Identifier: Apache-2.0
"""Aligned text tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def table(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Lines of `headers`, a rule and `rows`; columns of numbers are aligned to the right.

    Cells are shown with str(); None is empty. Rows must be as long as the headers.
    """
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(headers, *cells, strict=True)]
    right = [
        bool(cells) and all(_is_number(text) for text in column if text)
        for column in (zip(*cells, strict=True) if cells else [()] * len(headers))
    ]
    lines = [_line(headers, widths, right), "  ".join("-" * width for width in widths)]
    return "\n".join(lines + [_line(row, widths, right) for row in cells])


def _line(texts: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = [
        text.rjust(width) if is_right else text.ljust(width)
        for text, width, is_right in zip(texts, widths, right, strict=True)
    ]
    return "  ".join(padded).rstrip()


def _is_number(text: str) -> bool:
    return text[0] in "+-.0123456789" or text in ("inf", "nan")


def size(count: int) -> str:
    """Bytes with thousands separated, such as "1,234,567"."""
    return f"{count:,}"
