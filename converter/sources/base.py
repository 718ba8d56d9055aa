# SPDX-License-Identifier: Apache-2.0
"""What every source is: a model in its own form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from converter import ir
from converter.errors import InputsError

Arrays = dict[str, np.ndarray]


class Source:
    """A model in its own form. `engine` says what runs it, for reports."""

    engine = ""
    _rounds = False

    @property
    def rounds_to_8_bits(self) -> bool:
        """Whether its own engine may round otherwise at each 8-bit step than the runtime does."""
        return self._rounds

    def _noted(self, model: ir.Model) -> ir.Model:
        """`model`, as this source is imported, having seen whether it rounds."""
        self._rounds = _rounds(model)
        return model

    def convert(self) -> ir.Model:
        """The model as an IR, without any pass."""
        raise NotImplementedError

    def run(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        """Outputs by name, from inputs by name."""
        raise NotImplementedError

    def symbols(self) -> dict[str, Sequence[str]]:
        """Names of the dynamic sizes of inputs, one per axis; axes of one name have one size."""
        return {}

    def other_engines(self) -> Iterator[Source]:
        """The same model run in other ways, which decide where the first one disagrees."""
        return iter(())

    def values(self, feeds: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
        """Intermediate values by name, in the order of the model; empty where none can be had."""
        return iter(())

    def shapes(self) -> dict[str, Sequence[int | None]]:
        """Shapes of inputs where the user gave them."""
        return {}


def cannot_run(engine: str, error: Exception) -> InputsError:
    """What is raised where a framework refuses to run its own model."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return InputsError(
        f"{engine} cannot run the model on these inputs: {reason[:300]}; give inputs that it takes"
        " (--check-input NAME=FILE.npy)"
    )


def _rounds(model: ir.Model) -> bool:
    """Whether a model, as imported, rounds to integers with a scale."""
    nodes = [node for graph in model.graphs for node in graph.nodes]
    narrow = {"INT8", "INT16", "UINT8"}
    cast = any(n.op == "CAST" and n.outputs[0].dtype in narrow for n in nodes)
    return any(n.op == "QUANTIZE" or (n.op == "ROUND" and cast) for n in nodes)
