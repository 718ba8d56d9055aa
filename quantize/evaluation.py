# SPDX-License-Identifier: Apache-2.0
"""Runs a model through the runtime with every activation readable, and checks what is fed to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

import converter
import runtime
from converter.ir import Graph, Model, Value
from converter.tensor_types import numpy_dtype
from quantize.errors import QuantizationError

Sample = Mapping[str, np.ndarray] | Sequence[np.ndarray] | np.ndarray


def bind_sample(model: Model, sample: Sample, which: str) -> list[np.ndarray]:
    """The sample's arrays in the order of the model's inputs.

    `sample` is a mapping by input (or signature argument) name, a tuple or list in the inputs'
    order, or the array of a model with one input. `which` names the sample in messages.
    Errors: QuantizationError for a missing or unknown name, a wrong count, shape or dtype.
    """
    inputs = model.main.inputs
    arrays: list[Any]
    names = [value.name for value in inputs]
    if isinstance(sample, Mapping):
        arrays = _by_name(model, sample, which)
    elif isinstance(sample, (tuple, list)):
        arrays = list(sample)
    else:
        arrays = [sample]
    if len(arrays) != len(inputs):
        raise QuantizationError(
            f"{which}: the model has {len(inputs)} inputs {names}, the sample {len(arrays)}"
        )
    return [_checked(array, value, which) for array, value in zip(arrays, inputs, strict=True)]


def _by_name(model: Model, sample: Mapping[str, np.ndarray], which: str) -> list[np.ndarray]:
    arguments = {value.name: i for i, value in enumerate(model.main.inputs)}
    for signature in model.signatures:
        if signature.graph == 0:
            arguments.update(signature.inputs)
    names = [value.name for value in model.main.inputs]
    arrays: dict[int, np.ndarray] = {}
    for name, array in sample.items():
        if name not in arguments:
            raise QuantizationError(f"{which}: no input {name!r}; the model's inputs are {names}")
        arrays[arguments[name]] = array
    missing = [name for i, name in enumerate(names) if i not in arrays]
    if missing:
        raise QuantizationError(f"{which}: nothing given for inputs {missing}")
    return [arrays[i] for i in range(len(names))]


def _checked(array: Any, value: Value, which: str) -> np.ndarray:
    array = np.asarray(array)
    wanted = numpy_dtype(value.dtype)
    if array.dtype != wanted:
        raise QuantizationError(
            f"{which}: input {value.name!r} expects {wanted}, given {array.dtype}; "
            f"convert with .astype(np.{wanted})"
        )
    expected = value.shape_signature or value.shape
    if array.ndim != len(expected) or any(
        want not in (-1, got) for want, got in zip(expected, array.shape, strict=True)
    ):
        hint = ""
        if array.shape == tuple(expected)[1:]:
            hint = "; add the batch dimension with array[None]"
        raise QuantizationError(
            f"{which}: input {value.name!r} expects shape {list(expected)}, "
            f"given {list(array.shape)}{hint}"
        )
    return np.ascontiguousarray(array)


class Evaluator:
    """A model opened in the runtime; its values are read by their objects, whatever their names."""

    def __init__(self, model: Model) -> None:
        self.model = model
        twin_model = model.copy()
        for graph in twin_model.graphs:
            _make_names_unique(graph)
        self._interpreter = runtime.Interpreter(
            model_content=converter.write_tflite(twin_model), experimental_preserve_all_tensors=True
        )
        positions = {d["name"]: d["index"] for d in self._interpreter.get_tensor_details()}
        self._index = {
            id(value): positions[twin.name]
            for value, twin in zip(model.main.values(), twin_model.main.values(), strict=True)
            if twin.name in positions
        }
        self._shapes: list[tuple[int, ...]] | None = None

    def run(self, arrays: Sequence[np.ndarray]) -> None:
        """Invoke on `arrays`, one per model input in order, as `bind_sample` gives them."""
        shapes = [array.shape for array in arrays]
        if shapes != self._shapes:
            for value, array in zip(self.model.main.inputs, arrays, strict=True):
                if array.shape != value.shape or self._shapes is not None:
                    self._interpreter.resize_tensor_input(self._index[id(value)], array.shape)
            self._interpreter.allocate_tensors()
            self._shapes = shapes
        for value, array in zip(self.model.main.inputs, arrays, strict=True):
            self._interpreter.set_tensor(self._index[id(value)], array)
        self._interpreter.invoke()

    def get(self, value: Value) -> np.ndarray:
        """A copy of what `value` (of the main graph) held in the last run."""
        return self._interpreter.get_tensor(self._index[id(value)])


def _make_names_unique(graph: Graph) -> None:
    """Files may give tensors equal names; messages keep what they can of them."""
    seen: set[str] = set()
    for i, value in enumerate(graph.values()):
        if value.name in seen:
            value.name = f"{value.name}#{i}"
        seen.add(value.name)


def samples_of(samples: Iterable[Sample], purpose: str) -> Iterable[Sample]:
    """`samples`, with a QuantizationError in place of what cannot be iterated over."""
    if isinstance(samples, (Mapping, str, bytes)) or not isinstance(samples, Iterable):
        raise QuantizationError(
            f"{purpose} wants an iterable of samples, each an array, a tuple or a mapping by input "
            f"name; given one {type(samples).__name__}"
        )
    return samples
