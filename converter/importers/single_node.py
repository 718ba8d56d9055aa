# SPDX-License-Identifier: Apache-2.0
"""Asks the runtime about one node: what shapes come out, and what values.

The runtime is what says what an op means; importers do not have rules of their own. Answers are
kept, because networks repeat themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from converter import ir
from converter.errors import ConversionError
from converter.writer import write_tflite

_MOST_READ = 4096  # bytes of a constant that an op reads while shapes are inferred: axes, paddings
_MOST_KEPT = 4096  # answers

Shapes = list[tuple[int, ...]]
_answers: dict[Any, Shapes | None] = {}


class Given(NamedTuple):
    """An input: its TensorType, its shape, its values where they are known, its scales."""

    dtype: str
    shape: tuple[int, ...]
    data: np.ndarray | None = None
    quant: ir.Quantization | None = None


def infer(
    op: str, inputs: Sequence[Given | None], dtypes: Sequence[str], options: Mapping[str, Any]
) -> Shapes | None:
    """Shapes of the outputs; None where they are known only when the node runs.

    ConversionError, in the runtime's words, where it refuses the node.
    """
    key = _key(op, inputs, dtypes, options)
    if key not in _answers:
        small = [None if g is None else _without_weights(g) for g in inputs]
        interpreter, outputs = _interpreter(op, small, dtypes, options)
        if len(_answers) >= _MOST_KEPT:
            _answers.clear()
        details = [interpreter.get_tensor_details()[i]["shape"] for i in outputs]
        shapes = [tuple(int(d) for d in shape) for shape in details]
        _answers[key] = shapes if interpreter.extent() == "static" else None
    return _answers[key]


def compute(
    op: str, inputs: Sequence[Given | None], dtypes: Sequence[str], options: Mapping[str, Any]
) -> list[np.ndarray] | None:
    """Values of the outputs of a node whose inputs are all known; None where it is refused."""
    small = [None if g is None else _without_weights(g) for g in inputs]
    try:
        interpreter, outputs = _interpreter(op, small, dtypes, options)
        large = [g for g, s in zip(inputs, small, strict=True) if s is not g]
        for given, detail in zip(large, interpreter.get_input_details(), strict=True):
            assert given is not None
            interpreter.set_tensor(detail["index"], given.data)
        interpreter.invoke()
    except (ConversionError, RuntimeError):
        return None
    return [np.array(interpreter.get_tensor(i)) for i in outputs]


def _interpreter(
    op: str, inputs: Sequence[Given | None], dtypes: Sequence[str], options: Mapping[str, Any]
) -> tuple[Any, list[int]]:
    import runtime

    graph = ir.Graph("one node")
    values: list[ir.Value | None] = []
    for i, given in enumerate(inputs):
        if given is None:
            values.append(None)
            continue
        value = ir.Value(f"input {i}", given.dtype, given.shape, data=given.data, quant=given.quant)
        if given.data is None:
            graph.inputs.append(value)
        values.append(value)
    graph.outputs = [ir.Value(f"output {i}", dtype, ()) for i, dtype in enumerate(dtypes)]
    graph.add_node(op, values, graph.outputs, options)
    try:
        interpreter = runtime.Interpreter(model_content=write_tflite(ir.Model([graph])))
        interpreter.allocate_tensors()
    except runtime.RilletError as error:
        raise ConversionError(_without_place(str(error))) from error
    return interpreter, [d["index"] for d in interpreter.get_output_details()]


def _without_place(text: str) -> str:
    """The runtime's sentence without the place in the op-sized model."""
    _, mark, rest = text.partition("): ")
    return rest if mark and text.startswith("node 0") else text


def _without_weights(given: Given) -> Given:
    """Large constants as computed inputs: shapes do not depend on them, and a file is a copy."""
    if given.data is None or given.data.nbytes <= _MOST_READ or given.data.dtype == object:
        return given
    return given._replace(data=None)


def _key(
    op: str, inputs: Sequence[Given | None], dtypes: Sequence[str], options: Mapping[str, Any]
) -> Any:
    def spec(given: Given | None) -> Any:
        if given is None:
            return None
        small = given.data is not None and given.data.nbytes <= _MOST_READ
        quant = given.quant and (given.quant.scale.tobytes(), given.quant.zero_point.tobytes())
        values = given.data.tobytes() if given.data is not None and small else None
        return given.dtype, given.shape, values, quant

    settled = tuple(
        (k, v.tobytes() if isinstance(v, np.ndarray) else repr(v)) for k, v in options.items()
    )
    return op, tuple(spec(g) for g in inputs), tuple(dtypes), settled
