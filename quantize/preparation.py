# SPDX-License-Identifier: Apache-2.0
"""What the int8 recipes do to a model first, and why some models cannot be quantized."""

from __future__ import annotations

import numpy as np

from converter.ir import Model, Value
from converter.passes.inlining import inline_composites
from quantize.errors import QuantizationError

_WITH_WEIGHTS = ("rillet.gru", "rillet.lstm")


def with_float_constants(model: Model) -> Model:
    """A copy of `model` whose FLOAT16 constants behind DEQUANTIZE are float32 constants again, and
    whose composites that hold weights are the operators they are made of.
    """
    model = model.copy()
    inline_composites(model, _WITH_WEIGHTS)
    for graph in model.graphs:
        for node in list(graph.nodes):
            source = node.inputs[0] if node.op == "DEQUANTIZE" else None
            if source is None or source.data is None or source.dtype != "FLOAT16":
                continue
            if source.sparsity or graph.is_output(node.outputs[0]):
                continue
            wide = Value.constant(node.outputs[0].name, source.data.astype(np.float32))
            graph.replace_value(node.outputs[0], wide)
            graph.remove_node(node)
    return model


def nothing_to_do(model: Model, wanted: str) -> QuantizationError:
    """The error for a model without anything to quantize; `wanted` says what was looked for."""
    for graph in model.graphs:
        for value in graph.values():
            if value.is_quantized:
                return QuantizationError(
                    f"nothing to quantize: the model is quantized already ({value.name!r} is "
                    f"{value.dtype}); start from its float form"
                )
    return QuantizationError(f"nothing to quantize: {wanted}")
