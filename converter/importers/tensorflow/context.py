# SPDX-License-Identifier: Apache-2.0
"""What a row of the TensorFlow importer sees: one operation, its inputs, and the builder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic
from converter.importers.no_form import NoForm

_NARROWED = {"float64": "FLOAT32", "complex128": "COMPLEX64"}


def device_type(dtype: Any) -> str:
    """The TensorType that stands for a DType: numbers of twice the width are computed in half."""
    base = dtype.base_dtype
    if base.name == "bfloat16":
        raise NoForm(
            "computes in bfloat16, which devices lack: build the model in float32 or float16"
        )
    return _NARROWED.get(base.name) or ir.dtype_name(base.as_numpy_dtype)


def narrowed(array: np.ndarray) -> np.ndarray:
    """Numbers as devices hold them."""
    kind = {np.dtype(np.float64): np.float32, np.dtype(np.complex128): np.complex64}
    return array.astype(kind[array.dtype]) if array.dtype in kind else array


class Context:
    """One operation of a host graph. Rows read it through these methods and append to `b`."""

    def __init__(self, graph: Any, op: Any) -> None:
        self.graph = graph  # a GraphImport: for rows that convert bodies
        self.b: Builder = graph.builder
        self.op = op

    def attr(self, name: str, default: Any = None) -> Any:
        """Attribute `name` (bytes as str), `default` where the op lacks it."""
        try:
            value = self.op.get_attr(name)
        except (ValueError, KeyError):
            return default
        return value.decode() if isinstance(value, bytes) else value

    @property
    def n_inputs(self) -> int:
        return len(self.op.inputs)

    def any_input(self, index: int) -> Any:
        """Input `index`, which may be an array or list of tensors (see ``lists``)."""
        if index >= len(self.op.inputs):
            raise NoForm(f"lacks its input {index}: the file is damaged")
        return self.graph.value(self.op.inputs[index])

    def input(self, index: int) -> ir.Value:
        """Input `index`, a tensor."""
        found = self.any_input(index)
        if not isinstance(found, ir.Value):
            raise NoForm("computes with a list of tensors as if it was a tensor")
        return found

    def inputs(self) -> list[ir.Value]:
        return [self.input(i) for i in range(len(self.op.inputs))]

    def broadcast(self) -> list[ir.Value]:
        """All inputs in one shape, for ops that do not broadcast themselves."""
        return basic.broadcast_together(self.b, self.inputs())

    def array(self, index: int, what: str) -> np.ndarray:
        """Input `index` in numbers; NoForm if it is computed from the model's inputs."""
        return self.b.require(self.input(index), what)

    def ints(self, index: int) -> ir.Value:
        """Input `index` (axes, shape, sizes) as INT32, whichever integer type the source has."""
        return basic.ints(self.b, self.input(index))

    def kind(self, output: int = 0) -> str:
        """TensorType of an output."""
        return device_type(self.op.outputs[output].dtype)

    def turned(self, value: ir.Value, name: str, turn: Callable[[np.ndarray], Any]) -> ir.Value:
        """A constant in another layout, `turn` of its data, made once and called as before."""
        made: dict[Any, ir.Value] = self.graph.shared
        if (value, name) not in made:
            assert value.data is not None
            twin = ir.Value.constant(value.name, np.ascontiguousarray(turn(value.data)))
            made[value, name] = twin
        return made[value, name]


Row = Callable[[Context], "Any | Sequence[Any]"]
Rows = dict[str, Row]
