# SPDX-License-Identifier: Apache-2.0
"""Recipes: how to quantize a model, as data that round-trips through JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from converter.ir import Model, Node
from quantize.errors import QuantizationError

KINDS = ("float16", "dynamic_int8", "static_int8")
METHODS = ("minmax", "percentile")
IO_TYPES = ("int8", "float32")
CHOICES = ("float", "quantized")
# A DEQUANTIZE node costs about 150 bytes of file, which 256 elements win back three times over.
DEFAULT_MIN_ELEMENTS = {"float16": 256, "dynamic_int8": 1024, "static_int8": 0}


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a quantized model looks like, but for the calibration samples.

    kind          "float16", "dynamic_int8" or "static_int8"
    method        "minmax" or "percentile": how static_int8 turns calibration into ranges
    percentile    with method "percentile", the share in percent kept on either side
    per_channel   a scale per output channel of weights, else one per tensor
    io            "int8" or "float32": static_int8's type of float model inputs and outputs
    min_elements  constants smaller than this stay float32; None: the kind's default
                  (float16 256, dynamic_int8 1024)
    overrides     node output name or op (such as "SOFTMAX") -> "float" or "quantized";
                  a name goes before an op

    Errors: QuantizationError for a field of the wrong type or out of range.
    """

    kind: str = "static_int8"
    method: str = "minmax"
    percentile: float = 99.99
    per_channel: bool = True
    io: str = "int8"
    min_elements: int | None = None
    overrides: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _one_of("kind", self.kind, KINDS)
        _one_of("method", self.method, METHODS)
        _one_of("io", self.io, IO_TYPES)
        number = self.percentile
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise QuantizationError(f"recipe field percentile: wants a number, not {number!r}")
        if not 50.0 < number <= 100.0:
            raise QuantizationError(
                f"recipe field percentile: {number} is outside (50, 100]; 99.99 is usual"
            )
        if not isinstance(self.per_channel, bool):
            raise QuantizationError(
                f"recipe field per_channel: wants true or false, not {self.per_channel!r}"
            )
        count = self.min_elements
        if count is not None and (
            isinstance(count, bool) or not isinstance(count, int) or count < 0
        ):
            raise QuantizationError(
                f"recipe field min_elements: wants a whole number >= 0 or null, not {count!r}"
            )
        if not isinstance(self.overrides, Mapping):
            raise QuantizationError(
                f"recipe field overrides: wants a mapping from names or ops to one of "
                f"{list(CHOICES)}, not {self.overrides!r}"
            )
        for key, choice in self.overrides.items():
            _one_of(f"overrides[{key!r}]", choice, CHOICES)
        object.__setattr__(self, "overrides", dict(self.overrides))

    @property
    def smallest_constant(self) -> int:
        """Constants of fewer elements than this stay float32."""
        chosen = self.min_elements
        return DEFAULT_MIN_ELEMENTS[self.kind] if chosen is None else chosen

    def to_json(self) -> str:
        """Indented JSON with every field."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """The recipe that `to_json` wrote; fields left out take their defaults.

        Errors: QuantizationError for text that is not a JSON object, an unknown field or a value
        that makes no sense.
        """
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise QuantizationError(f"the recipe is not JSON: {error}") from None
        if not isinstance(fields, dict):
            raise QuantizationError(
                f'a recipe is a JSON object such as {{"kind": "float16"}}, not {fields!r}'
            )
        known = [f.name for f in dataclasses.fields(cls)]
        for name in fields:
            if name not in known:
                raise QuantizationError(f"unknown recipe field {name!r}; known are {known}")
        return cls(**fields)

    def check_overrides(self, model: Model) -> None:
        """QuantizationError if an override names no op and no node output of `model`."""
        known: set[str] = set()
        for graph in model.graphs:
            for node in graph.nodes:
                known.add(node.op)
                known.update(value.name for value in node.outputs)
        for key in self.overrides:
            if key not in known:
                ops = sorted({node.op for graph in model.graphs for node in graph.nodes})
                raise QuantizationError(
                    f"override {key!r} matches no node: it is neither the name of a node's output "
                    f"nor one of the model's ops {ops}"
                )

    def wants_float(self, node: Node) -> bool:
        """True if the overrides keep `node` as it is."""
        for value in node.outputs:
            if value.name in self.overrides:
                return self.overrides[value.name] == "float"
        return self.overrides.get(node.op) == "float"


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise QuantizationError(f"recipe field {name}: {value!r} is not one of {list(allowed)}")
