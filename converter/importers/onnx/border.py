# SPDX-License-Identifier: Apache-2.0
"""Inputs and outputs of an ONNX model: their sizes, types and layout."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from converter import ir
from converter.importers.builder import Builder
from converter.importers.forms import basic, quantized
from converter.importers.no_form import NoForm
from converter.importers.onnx import types

LAYOUT_METADATA = "rillet.layout"
_BATCH_SAMPLES = (2, 3)

Size = int | tuple[int, int]
# Pairs to try for dynamic sizes but that of the batch: windows may want longer signals, tables of
# positions shorter ones. The third is for what has no pixels.
SAMPLES = ((64, 96), (512, 768), (16000, 24000), (8, 12))
LONGEST_OF_IMAGES = 1000


class Sizes:
    """Sizes of the inputs. A symbolic dimension has one size, or one pair of samples, wherever its
    name stands; `given` are the shapes that the user fixed, `samples` the pair for the others.
    """

    def __init__(
        self,
        inputs: Sequence[Any],
        given: Mapping[str, Sequence[int | None]],
        samples: tuple[int, int] = SAMPLES[0],
    ) -> None:
        self.given, self.samples = given, samples
        self.has_dynamic = self.has_dynamic_images = False
        self.symbols: dict[str, Size] = {}
        for info in inputs:
            dims = info.type.tensor_type.shape.dim
            for dim, size in zip(dims, given.get(info.name, ()), strict=False):
                if dim.dim_param and size is not None and size >= 0:
                    self.symbols.setdefault(dim.dim_param, int(size))

    def of(self, info: Any) -> list[Size]:
        """One size per axis of an input; for a dynamic one, its two samples."""
        if info.type.WhichOneof("value") != "tensor_type":
            kind = (info.type.WhichOneof("value") or "unknown").replace("_type", "")
            raise NoForm(f"is of kind {kind}, which TFLite lacks: make it a tensor")
        tensor, given = info.type.tensor_type, self.given.get(info.name)
        if given is None and not tensor.HasField("shape"):
            raise NoForm("has no known rank: give its shape (--input NAME=SIZES)")
        dims = list(tensor.shape.dim) if tensor.HasField("shape") else []
        if given is not None and tensor.HasField("shape") and len(given) != len(dims):
            raise NoForm(f"is of rank {len(dims)}, but {len(given)} sizes were given")
        sizes: list[Size] = []
        for axis in range(len(dims) if given is None else len(given)):
            size = given[axis] if given is not None else None
            if size is not None and size >= 0:
                sizes.append(int(size))
            else:
                sizes.append(self._settled(dims[axis] if dims else None, axis))
        dynamic = any(isinstance(size, tuple) for size in sizes[1:])
        self.has_dynamic |= dynamic
        self.has_dynamic_images |= dynamic and len(sizes) > 3
        return sizes

    def _settled(self, dim: Any, axis: int) -> Size:
        if dim is not None and dim.WhichOneof("value") == "dim_value" and dim.dim_value >= 0:
            return int(dim.dim_value)
        samples = _BATCH_SAMPLES if axis == 0 else self.samples
        if dim is None or not dim.dim_param:
            return samples
        return self.symbols.setdefault(dim.dim_param, samples)


def add_input(b: Builder, info: Any, sizes: Sequence[Size], nhwc: bool) -> ir.Value:
    """An input of the graph, and what the nodes see of it: in the type that the device computes in,
    channels first.
    """
    element = info.type.tensor_type.elem_type
    border, inner = types.border_type(element), types.inner_type(element)
    last = nhwc and len(sizes) == 4
    shown = [sizes[i] for i in (0, 2, 3, 1)] if last else list(sizes)
    b.scope = ""
    value = b.input(info.name, border, shown)
    b.scope = info.name
    if inner != border:
        value = b.emit("CAST", [value], dtype=inner, in_data_type=border, out_data_type=inner)
    return basic.channels_first(b, value) if last else value


def output(
    b: Builder, value: ir.Value, element: int, taken: Sequence[ir.Value], nhwc: bool
) -> ir.Value:
    """`value` as an output of the graph: of the source's type, made by a node, listed once."""
    border = types.border_type(element or 1)
    value = quantized.integer_output(b, value) or value
    if nhwc and basic.rank(b, value) == 4 and value.data is None:
        value = basic.channels_last(b, value)
    if border != value.dtype and border in types.AT_BORDER.values():
        options = {"in_data_type": value.dtype, "out_data_type": border}
        return b.append("CAST", [value], [(border, b.pair(value))], options)[0]
    if border != value.dtype:
        raise NoForm(f"is declared {border}, but computed as {value.dtype}: the file is damaged")
    if value.producer is None or any(value is v for v in taken):
        return _copied(b, value)
    return value


def _copied(b: Builder, value: ir.Value) -> ir.Value:
    """A RESHAPE to the same shape, because an input or a constant cannot be an output."""
    sizes = [-1 if d is None else d for d in b.dims(value)]
    shape = b.constant(np.array(sizes, np.int32), "shape")
    if sizes.count(-1) > 1:
        shape = basic.shape_of(b, value)
    copy = b.append("RESHAPE", [value, shape], [(value.dtype, b.pair(value))], {})[0]
    copy.quant = value.quant
    return copy


def tell_layout(model: ir.Model) -> None:
    """Say in the metadata which inputs and outputs are channels last, unlike the source's."""
    (signature,) = model.signatures
    graph = model.main
    names = {
        side: [n for n, i in places.items() if len(values[i].shape) == 4]
        for side, places, values in (
            ("inputs", signature.inputs, graph.inputs),
            ("outputs", signature.outputs, graph.outputs),
        )
    }
    model.metadata[LAYOUT_METADATA] = json.dumps({"NHWC": names}).encode()
