# SPDX-License-Identifier: Apache-2.0
"""Complex numbers, which TFLite's arithmetic lacks: a pair of tensors until something is real."""

from __future__ import annotations

from typing import Any

import numpy as np

from converter import ir
from converter.importers.forms.complexes import Complex, paired
from converter.importers.no_form import NoForm
from converter.importers.tensorflow.context import Context, Row


def parts(c: Context, index: int) -> Complex:
    """Input `index`, whatever holds its complex numbers."""
    found = c.any_input(index)
    if isinstance(found, Complex):
        return found
    if not isinstance(found, ir.Value) or found.dtype != "COMPLEX64":
        raise NoForm("computes with real numbers as if they were complex: the file is damaged")
    if found.data is not None:
        real, imaginary = found.data.real, found.data.imag
        return Complex(
            c.b.constant(real, "real", np.float32), c.b.constant(imaginary, "imaginary", np.float32)
        )
    return Complex(*(c.b.emit(op, [found], dtype="FLOAT32") for op in ("REAL", "IMAG")))


def is_complex(found: Any) -> bool:
    """Whether what stands for a tensor holds complex numbers."""
    return isinstance(found, Complex) or (
        isinstance(found, ir.Value) and found.dtype == "COMPLEX64"
    )


class _Part(Context):
    """An operation seen as if its complex inputs had one part alone."""

    def __init__(self, c: Context, part: int) -> None:
        super().__init__(c.graph, c.op)
        self.whole, self.part = c, part

    def any_input(self, index: int) -> Any:
        found = self.whole.any_input(index)
        return list(parts(self.whole, index))[self.part] if is_complex(found) else found

    def kind(self, output: int = 0) -> str:
        found = super().kind(output)
        return "FLOAT32" if found == "COMPLEX64" else found


def by_parts(row: Row) -> Row:
    """A row for what moves elements or is linear: on complex numbers, the same to both parts."""

    def both(c: Context) -> Any:
        if not any(is_complex(c.any_input(i)) for i in range(c.n_inputs)):
            return row(c)
        return paired(row(_Part(c, 0)), row(_Part(c, 1)))

    return both
