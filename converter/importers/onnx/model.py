# SPDX-License-Identifier: Apache-2.0
"""Imports ONNX models: opset 7 to the newest that the installed ``onnx`` package knows.

Ops are converted by the rows of :mod:`converter.importers.onnx.rows`, in the source's layout
(channels first); :func:`converter.optimize` moves the transposes that this takes to where they
cancel.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from converter import ir
from converter.errors import ConversionError, ObstacleError
from converter.importers.builder import Builder
from converter.importers.no_form import NoForm
from converter.importers.onnx import loading

if TYPE_CHECKING:
    import onnx


def from_onnx(
    source: str | os.PathLike[str] | bytes | onnx.ModelProto,
    *,
    input_shapes: Mapping[str, Sequence[int | None]] | None = None,
    constants: Mapping[str, Any] | None = None,
    nhwc_io: bool = False,
) -> ir.Model:
    """The model in an ONNX file (a path, its bytes, or a ModelProto).

    `input_shapes` gives shapes for inputs by name, in the source's order of axes, None or -1 where
    a size stays dynamic. `constants` gives inputs values that they keep: axes, sizes, paddings,
    which TFLite's ops want to know before they run; they are then no inputs of the result.
    `nhwc_io` makes inputs and outputs of four axes channels last, and says so in the metadata
    ``rillet.layout``. Else the signature ``serving_default`` keeps the source's input and output
    names, order, layout and types. No pass is run.

    Raises ConversionError, listing every obstacle with its node's name and shapes, where the file
    is damaged or an op has no form in TFLite, and where the package ``onnx`` is not installed.
    """
    proto, folder, name = loading.load(source)
    proto = loading.raised(proto)
    given = dict(input_shapes or {}), dict(constants or {})
    return _imported(lambda: _Import(proto, folder, name, *given, nhwc_io))


def _imported(start: Callable[[], _Import]) -> ir.Model:
    """The model, at other samples of its dynamic sizes where the usual ones do not fit it."""
    from converter.importers.onnx.border import LONGEST_OF_IMAGES, SAMPLES

    first: ObstacleError | None = None
    for samples in SAMPLES:
        work = start()
        try:
            return work.model(samples)
        except ObstacleError as error:
            first = first or error
            if not work.has_dynamic or (work.has_dynamic_images and samples[0] > LONGEST_OF_IMAGES):
                break
    assert first is not None
    if work.has_dynamic:
        raise ObstacleError(work.name, [_with_way_out(o) for o in first.obstacles])
    raise first


def _with_way_out(obstacle: str) -> str:
    """What refuses some sizes may take others."""
    if "fixed size" in obstacle or "--input" in obstacle or " node 0 " not in obstacle:
        return obstacle
    return f"{obstacle}; this is for made-up sizes: give the inputs theirs (--input NAME=SIZES)"


class _Import:
    """One ModelProto on its way to a Model."""

    def __init__(
        self,
        proto: onnx.ModelProto,
        folder: str,
        name: str,
        shapes: dict[str, Any],
        constants: dict[str, Any],
        nhwc: bool,
    ) -> None:
        from converter.importers.onnx import rows
        from converter.importers.onnx.graph import GraphImport

        self.proto, self.name, self.shapes, self.constants = proto, name, shapes, constants
        self.nhwc = nhwc
        self.has_dynamic = self.has_dynamic_images = False
        self.opsets = loading.opsets_of(proto, name)
        self.builder = Builder(proto.graph.name or "main")
        functions = {(f.domain, f.name): f for f in proto.functions}
        self.graph = GraphImport(self.builder, self.opsets, rows.ROWS, functions, folder=folder)

    def model(self, samples: tuple[int, int]) -> ir.Model:
        """`samples` are two sizes for what is dynamic."""
        from converter.importers.forms import quantized
        from converter.importers.onnx import border

        proto = self.proto.graph
        self._refuse_defects(proto)
        self.graph.hold(proto.initializer, proto.sparse_initializer)
        inputs = [i for i in proto.input if i.name not in self.graph.held]
        self._check_names(inputs)
        self.graph.held |= loading.fixed_inputs(self.proto, self.constants)
        inputs = [i for i in inputs if i.name not in self.constants]
        sizes = border.Sizes(inputs, self.shapes, samples)
        for info in inputs:
            self._add_input(info, sizes)
        self.has_dynamic, self.has_dynamic_images = sizes.has_dynamic, sizes.has_dynamic_images
        self.graph.convert(loading.in_order(proto.node))
        outputs = self._outputs()
        if self.graph.obstacles:
            raise ObstacleError(self.name, self.graph.obstacles)
        quantized.settle_inputs(self.builder)
        model = self.builder.model([info.name for info in inputs], outputs)
        if self.nhwc:
            border.tell_layout(model)
        return model

    def _refuse_defects(self, proto: onnx.GraphProto) -> None:
        found = list(loading.defects(proto))
        if found:
            raise ObstacleError(self.name, found)

    def _check_names(self, inputs: Sequence[Any]) -> None:
        names = [i.name for i in inputs]
        for given, what in ((self.shapes, "shape"), (self.constants, "value")):
            for name in given:
                if name not in names:
                    raise ConversionError(
                        f"{self.name} has no input '{name}' to give a {what}; it has"
                        f" {', '.join(names)}"
                    )

    def _add_input(self, info: Any, sizes: Any) -> None:
        from converter.importers.onnx import border, types

        self.graph.widens |= types.is_widened(info.type.tensor_type.elem_type)
        try:
            value = border.add_input(self.builder, info, sizes.of(info), self.nhwc)
            self.graph.values[info.name] = value
            if info.type.tensor_type.elem_type in types.NARROW:
                self.graph.narrow[value] = info.type.tensor_type.elem_type
        except NoForm as error:
            self.graph.obstacles.append(f"input '{info.name}' {error}")
            self.graph.lost.add(info.name)

    def _outputs(self) -> list[tuple[str, ir.Value]]:
        """(ONNX's name, value)"""
        from converter.importers.onnx import border
        from converter.importers.onnx.context import Listed

        found: list[tuple[str, ir.Value]] = []
        for info in self.proto.graph.output:
            self.builder.scope = info.name
            if info.name in self.graph.lost or info.name in dict(found):
                continue
            try:
                value = self.graph.value(info.name)
                if isinstance(value, Listed):
                    raise NoForm("is a sequence, which TFLite lacks: give its tensors as outputs")
                element, taken = info.type.tensor_type.elem_type, [v for _, v in found]
                value = border.output(self.builder, value, element, taken, self.nhwc)
            except NoForm as error:
                self.graph.obstacles.append(f"output '{info.name}' {error}")
                continue
            found.append((info.name, value))
        return found
