# SPDX-License-Identifier: Apache-2.0
"""Imports ONNX models: opset 7 to the newest that the installed ``onnx`` package knows.

Ops are converted by the rows of :mod:`converter.importers.onnx.rows`, in the source's layout
(channels first); :func:`converter.optimize` moves the transposes that this takes to where they
cancel.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from converter import ir
from converter.errors import ConversionError, ObstacleError
from converter.importers.builder import Builder
from converter.importers.no_form import NoForm
from converter.verifier import verify

if TYPE_CHECKING:
    import onnx

_OLDEST = 7
_BATCH_SAMPLES, _OTHER_SAMPLES = (2, 3), (64, 96)


def from_onnx(
    source: str | os.PathLike[str] | bytes | onnx.ModelProto,
    *,
    input_shapes: Mapping[str, Sequence[int | None]] | None = None,
    constants: Mapping[str, Any] | None = None,
) -> ir.Model:
    """The model in an ONNX file (a path, its bytes, or a ModelProto).

    `input_shapes` gives shapes for inputs by name, None or -1 where a size stays dynamic.
    `constants` gives inputs values that they keep: axes, sizes, paddings, which TFLite's ops want
    to know before they run. They are then no inputs of the result. The
    signature ``serving_default`` keeps the source's input and output names, order, layout and
    types. No pass is run.

    Raises ConversionError, listing every obstacle with its node's name and shapes, where the file
    is damaged or an op has no form in TFLite, and where the package ``onnx`` is not installed.
    """
    proto, folder, name = _load(source)
    return _Import(proto, folder, name, dict(input_shapes or {}), dict(constants or {})).model()


def _load(source: Any) -> tuple[onnx.ModelProto, str, str]:
    """(model, folder of its external data, what messages call it)."""
    try:
        import onnx
    except ImportError as error:
        raise ConversionError(
            'ONNX models are read with the package onnx: pip install "rillet[onnx]"'
        ) from error
    if isinstance(source, onnx.ModelProto):
        return source, "", source.graph.name or "the model"
    if isinstance(source, bytes):
        content, folder, name = source, "", "the model"
    else:
        path = Path(source)
        name, folder = str(path), str(path.parent)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ConversionError(f"{name} cannot be read: {error.strerror}") from error
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(content)
    except Exception as error:  # protobuf's own DecodeError, whose class moved between releases
        raise ConversionError(f"{name} is no ONNX model, or is damaged ({error})") from error
    if not proto.opset_import or not proto.HasField("graph"):
        raise ConversionError(f"{name} is no ONNX model: it has no graph or no opset")
    return proto, folder, name


class _Import:
    """One ModelProto on its way to a Model."""

    def __init__(
        self,
        proto: onnx.ModelProto,
        folder: str,
        name: str,
        shapes: dict[str, Any],
        constants: dict[str, Any],
    ) -> None:
        from converter.importers.onnx import rows
        from converter.importers.onnx.graph import GraphImport

        self.proto, self.name, self.shapes, self.constants = proto, name, shapes, constants
        self.opsets = {
            "" if o.domain == "ai.onnx" else o.domain: o.version for o in proto.opset_import
        }
        self._check_opset()
        self.builder = Builder(proto.graph.name or "main")
        functions = {(f.domain, f.name): f for f in proto.functions}
        self.graph = GraphImport(self.builder, self.opsets, rows.ROWS, functions, folder=folder)

    def _check_opset(self) -> None:
        from onnx import defs

        version, newest = self.opsets.get("", defs.onnx_opset_version()), defs.onnx_opset_version()
        if version > newest:
            raise ConversionError(
                f"{self.name} has opset {version}; the installed onnx package knows up to {newest}:"
                " upgrade it, or export with an older opset"
            )
        if version < _OLDEST:
            raise ConversionError(
                f"{self.name} has opset {version}, older than {_OLDEST}: raise it with"
                " onnx.version_converter.convert_version(model, 13)"
            )

    def model(self) -> ir.Model:
        proto = self.proto.graph
        self.graph.hold(proto.initializer)
        if proto.sparse_initializer:
            first = proto.sparse_initializer[0].values.name
            self.graph.obstacles.append(f"constant '{first}' is sparse: export it dense")
        inputs = [i for i in proto.input if i.name not in self.graph.held]
        self._check_names(inputs)
        self._fix(inputs)
        inputs = [i for i in inputs if i.name not in self.constants]
        for info in inputs:
            self._add_input(info)
        self.graph.convert(proto.node)
        outputs = self._outputs()
        if self.graph.obstacles:
            raise ObstacleError(self.name, self.graph.obstacles)
        self.builder.graph.outputs = [value for _, value in outputs]
        model = ir.Model([self.builder.graph, *self.builder.bodies])
        model.signatures.append(
            ir.Signature(
                "serving_default",
                {info.name: i for i, info in enumerate(inputs)},
                {name: i for i, (name, _) in enumerate(outputs)},
            )
        )
        verify(model)
        return model

    def _check_names(self, inputs: Sequence[Any]) -> None:
        names = [i.name for i in inputs]
        for given, what in ((self.shapes, "shape"), (self.constants, "value")):
            for name in given:
                if name not in names:
                    raise ConversionError(
                        f"{self.name} has no input '{name}' to give a {what}; it has"
                        f" {', '.join(names)}"
                    )

    def _fix(self, inputs: Sequence[Any]) -> None:
        """Hold the values of inputs that are given as constants, in the inputs' own types."""
        from onnx import helper

        for info in inputs:
            if info.name not in self.constants:
                continue
            element = info.type.tensor_type.elem_type
            try:
                kind = helper.tensor_dtype_to_np_dtype(element)
                self.graph.held[info.name] = np.asarray(self.constants[info.name]).astype(kind)
            except (KeyError, TypeError, ValueError) as error:
                raise ConversionError(
                    f"{self.name}: the value for input '{info.name}' does not fit its type: {error}"
                ) from error

    def _add_input(self, info: Any) -> None:
        from converter.importers.onnx import types

        try:
            tensor = info.type.tensor_type
            if info.type.WhichOneof("value") != "tensor_type":
                kind = (info.type.WhichOneof("value") or "no type").replace("_type", "")
                raise NoForm(f"is a {kind}, which TFLite lacks: make it a tensor")
            self.builder.scope = ""
            border = types.border_type(tensor.elem_type)
            value = self.builder.input(info.name, border, self._sizes(info.name, tensor))
            self.builder.scope = info.name
            inner = types.inner_type(tensor.elem_type)
            self.graph.widens |= types.is_widened(tensor.elem_type)
            if inner != border:
                value = self.builder.emit(
                    "CAST", [value], dtype=inner, in_data_type=border, out_data_type=inner
                )
            self.graph.values[info.name] = value
        except NoForm as error:
            self.graph.obstacles.append(f"input '{info.name}' {error}")
            self.graph.lost.add(info.name)

    def _sizes(self, name: str, tensor: Any) -> list[int | tuple[int, int]]:
        """The input's sizes; for a dynamic one, its two samples."""
        given = self.shapes.get(name)
        if given is None and not tensor.HasField("shape"):
            raise NoForm("has no known rank: give its shape (--input NAME=SIZES)")
        dims = list(tensor.shape.dim) if tensor.HasField("shape") else []
        if given is not None and tensor.HasField("shape") and len(given) != len(dims):
            raise NoForm(f"is of rank {len(dims)}, but {len(given)} sizes were given")
        sizes: list[int | tuple[int, int]] = []
        for axis in range(len(dims) if given is None else len(given)):
            size: Any = given[axis] if given is not None else None
            dim = dims[axis] if dims else None
            if size is None and dim is not None and dim.WhichOneof("value") == "dim_value":
                size = dim.dim_value
            if size is not None and size >= 0:
                sizes.append(int(size))
            else:
                sizes.append(_BATCH_SAMPLES if axis == 0 else _OTHER_SAMPLES)
        return sizes

    def _outputs(self) -> list[tuple[str, ir.Value]]:
        """(ONNX's name, value), each value made by a node and listed once."""
        from converter.importers.onnx import types

        found: list[tuple[str, ir.Value]] = []
        for info in self.proto.graph.output:
            self.builder.scope = info.name
            if info.name in self.graph.lost:
                continue
            try:
                value = self.graph.value(info.name)
                border = types.border_type(info.type.tensor_type.elem_type or 1)
                if border != value.dtype and border in types.AT_BORDER.values():
                    value = self.builder.append(
                        "CAST",
                        [value],
                        [(border, self.builder.pair(value))],
                        {"in_data_type": value.dtype, "out_data_type": border},
                    )[0]
                elif value.producer is None or any(value is v for _, v in found):
                    value = self._copied(value)
            except NoForm as error:
                self.graph.obstacles.append(f"output '{info.name}' {error}")
                continue
            found.append((info.name, value))
        return found

    def _copied(self, value: ir.Value) -> ir.Value:
        """A RESHAPE to the same shape, because an input or a constant cannot be an output."""
        dims = self.builder.dims(value)
        sizes = [-1 if d is None else d for d in dims]
        if sizes.count(-1) > 1:
            raise NoForm("is an input with several dynamic sizes: leave it out")
        return self.builder.append(
            "RESHAPE",
            [value, self.builder.constant(np.array(sizes, np.int32), "shape")],
            [(value.dtype, self.builder.pair(value))],
            {},
        )[0]
