# SPDX-License-Identifier: Apache-2.0
"""Reads a ``.tflite`` file into :mod:`converter.ir`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from converter import ir, packing, schema
from converter.associated_files import split_files
from converter.errors import ConversionError
from converter.flatbuffer import CorruptData, Decoder
from converter.offline_plan import OFFLINE_PLAN
from converter.verifier import verify

# Metadata that refers to positions of tensors or operators, which no rewrite keeps.
POSITIONAL_METADATA = (OFFLINE_PLAN, "model_control_dependencies")


def read_tflite(
    source: str | os.PathLike | bytes | bytearray | memoryview, name: str = "the model"
) -> ir.Model:
    """Model of a ``.tflite`` file (path) or of its bytes; constants are views of the bytes.

    `name` is what messages call bytes; a file is called by its path.

    Raises ConversionError, naming the file, for anything that is not a whole, valid model of schema
    version 3. Metadata that refers to positions of tensors or operators is left out.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
    else:
        name = os.fspath(source)
        try:
            data = Path(name).read_bytes()
        except OSError as error:
            raise ConversionError(f"{name}: cannot be read ({error.strerror})") from error
    try:
        model = _Reader(data).model()
        verify(model)
        return model
    except ConversionError as error:
        raise ConversionError(f"{name}: {error}") from None
    except CorruptData as error:
        raise ConversionError(
            f"{name}: cut short or damaged: {error}; get the file again"
        ) from None


class _Reader:
    """One file on its way to a Model."""

    def __init__(self, data: bytes) -> None:
        _check_header(data)
        self.data = np.frombuffer(data, np.uint8)
        self.root: dict[str, Any] = Decoder(data).root("Model")
        if self.root["version"] != schema.VERSION:
            raise ConversionError(
                f"schema version {self.root['version']}, and only version {schema.VERSION} is "
                "known; convert the model again with a current converter"
            )
        if self.root["external_buffers"]:
            raise ConversionError(
                "its weights are in other files (external buffers), which is not supported; "
                "write it with the weights inside"
            )
        self.buffers = [self._buffer(i, b) for i, b in enumerate(self.root["buffers"] or [])]
        self.files = split_files(data)

    def model(self) -> ir.Model:
        root = self.root
        subgraphs = root["subgraphs"] or []
        if not subgraphs:
            raise ConversionError("there is no graph in it; it is not a model that can be run")
        model = ir.Model(description=root["description"] or "")
        tensors = [self._tensors(s) for s in subgraphs]
        model.graphs = [self._graph(s, t) for s, t in zip(subgraphs, tensors, strict=True)]
        for item in root["metadata"] or []:
            if item["name"] not in POSITIONAL_METADATA:
                data = self._buffer_of(item["buffer"], f"metadata {item['name']!r}")
                model.metadata[item["name"] or ""] = b"" if data is None else data.tobytes()
        for item in root["signature_defs"] or []:
            model.signatures.append(_signature(item, model.graphs, tensors))
        model.files = self.files
        return model

    def _buffer(self, index: int, buffer: dict[str, Any]) -> np.ndarray | None:
        if buffer["offset"] > 1:  # data behind the FlatBuffer, for files over 2 GB
            return self._outside(buffer["offset"], buffer["size"], f"buffer {index}")
        return buffer["data"] if buffer["data"] is not None and buffer["data"].size else None

    def _outside(self, offset: int, size: int, what: str) -> np.ndarray:
        if offset + size > self.data.size:
            raise ConversionError(
                f"cut short: {what} should lie at bytes {offset} to {offset + size}, but there "
                f"are {self.data.size}; get the file again"
            )
        return self.data[offset : offset + size]

    def _buffer_of(self, index: int, what: str) -> np.ndarray | None:
        if index >= len(self.buffers):
            raise ConversionError(
                f"{what} refers to buffer {index}, and there are {len(self.buffers)}; the file is "
                "damaged, get it again"
            )
        return self.buffers[index]

    # -- tensors ------------------------------------------------------------------------------

    def _tensors(self, subgraph: dict[str, Any]) -> list[ir.Value]:
        values = [self._tensor(t) for t in subgraph["tensors"] or []]
        for value, tensor in zip(values, subgraph["tensors"] or [], strict=True):
            if tensor["quantization"]:
                value.quant = _quantization(tensor["quantization"], values, value.name)
        return values

    def _tensor(self, tensor: dict[str, Any]) -> ir.Value:
        name, dtype = tensor["name"] or "", tensor["type"]
        if not isinstance(dtype, str):
            raise ConversionError(
                f"tensor {name!r} has type number {dtype}, which is unknown; a newer version may "
                "read it"
            )
        shape = _ints(tensor["shape"])
        if any(d < 0 for d in shape):
            raise ConversionError(f"tensor {name!r} has the shape {shape}; dimensions must be >= 0")
        signature = tensor["shape_signature"]
        value = ir.Value(
            name,
            dtype,
            shape,
            shape_signature=None if signature is None else _ints(signature),
            is_variable=tensor["is_variable"],
        )
        value.sparsity, value.variant_tensors = tensor["sparsity"], tensor["variant_tensors"]
        raw = self._buffer_of(tensor["buffer"], f"tensor {name!r}")
        if raw is not None:
            if value.sparsity is None:
                value.data = packing.unpack(raw, dtype, shape, name)
            else:
                value.data = _sparse_values(raw, dtype, name)
        return value

    # -- operators ----------------------------------------------------------------------------

    def _graph(self, subgraph: dict[str, Any], values: list[ir.Value]) -> ir.Graph:
        graph = ir.Graph(subgraph["name"] or "")
        graph.inputs = [_pick(values, i, "a graph input") for i in _ints(subgraph["inputs"])]
        graph.outputs = [_pick(values, i, "a graph output") for i in _ints(subgraph["outputs"])]
        for position, operator in enumerate(subgraph["operators"] or []):
            self._node(graph, values, operator, position)
        for value in values:
            # An empty buffer does not tell a constant without elements from a computed tensor.
            if value.size == 0 and value.producer is None and not graph.is_input(value):
                value.data = np.zeros(value.shape, ir.numpy_dtype(value.dtype))
        return graph

    def _node(
        self, graph: ir.Graph, values: list[ir.Value], operator: dict[str, Any], position: int
    ) -> None:
        codes = self.root["operator_codes"] or []
        if operator["opcode_index"] >= len(codes):
            raise ConversionError(
                f"operator {position} has opcode index {operator['opcode_index']}, and there are "
                f"{len(codes)}; the file is damaged, get it again"
            )
        code = codes[operator["opcode_index"]]
        op = _op_name(code)
        what = f"operator {position} ({op})"
        inputs = [_pick(values, i, what, optional=True) for i in _ints(operator["inputs"])]
        outputs = [_pick(values, i, what) for i in _ints(operator["outputs"])]
        node = graph.add_node(
            op,
            inputs,
            outputs,
            custom_code=(code["custom_code"] or "") if op == "CUSTOM" else None,
            custom_options=self._custom_options(operator, what),
        )
        node.version = code["version"]
        intermediates = _ints(operator["intermediates"])
        node.intermediates = [_pick(values, i, what, optional=True) for i in intermediates]
        flags = operator["mutating_variable_inputs"]
        node.mutating_variable_inputs = [] if flags is None else [bool(flag) for flag in flags]
        expected = schema.options_of(op)
        found = operator["builtin_options"] or operator["builtin_options_2"]
        if found:
            node.options = {k: v for k, v in found[1].items() if v is not None}
        if (found[0] if found else None) != expected:
            node.options_type = found[0] if found else "NONE"

    def _custom_options(self, operator: dict[str, Any], what: str) -> bytes:
        offset = operator["large_custom_options_offset"]
        if offset > 1:
            raw = self._outside(offset, operator["large_custom_options_size"], what)
            return raw.tobytes()
        options = operator["custom_options"]
        return b"" if options is None else options.tobytes()


def _check_header(data: bytes) -> None:
    if len(data) < 8:
        raise ConversionError(
            f"{len(data)} bytes are too few for a TFLite model; get the file again"
        )
    found = data[4:8]
    if found != schema.FILE_IDENTIFIER:
        raise ConversionError(
            f"not a TFLite model: bytes 4 to 7 are {found!r} instead of "
            f"{schema.FILE_IDENTIFIER!r}; give a .tflite file"
        )


def _op_name(code: dict[str, Any]) -> str:
    """Files older than 2.4 have only the one-byte field, newer ones put 127 there above 126."""
    number = max(code["deprecated_builtin_code"], _number(code["builtin_code"]))
    op = schema.enum_name("BuiltinOperator", number)
    if op is None:
        raise ConversionError(
            f"builtin operator number {number} is unknown (the newest known is "
            f"{len(schema.ENUMS['BuiltinOperator'].members) - 1}); a newer version may read it"
        )
    return op


def _number(member: Any) -> int:
    values = schema.ENUMS["BuiltinOperator"].values
    return values[member] if isinstance(member, str) else member


def _ints(vector: np.ndarray | None) -> list[int]:
    return [] if vector is None else [int(i) for i in vector]


def _pick(values: list[ir.Value], index: int, what: str, optional: bool = False) -> Any:
    if index == -1 and optional:
        return None
    if not 0 <= index < len(values):
        raise ConversionError(
            f"{what} refers to tensor {index}, and the graph has {len(values)}; the file is "
            "damaged, get it again"
        )
    return values[index]


def _sparse_values(raw: np.ndarray, dtype: str, name: str) -> np.ndarray:
    held = ir.numpy_dtype(dtype)
    if held.hasobject or dtype in ("INT4", "UINT4", "INT2") or raw.size % held.itemsize:
        raise ConversionError(f"sparse constant {name!r}: {raw.size} bytes do not hold {dtype}")
    return packing.as_array(raw, held)


def _quantization(
    table: dict[str, Any], values: list[ir.Value], name: str
) -> ir.Quantization | None:
    details = None
    if table["details"]:
        kind, fields = table["details"]
        fields = {k: v for k, v in fields.items() if v is not None}
        tensors = {
            key: _pick(values, fields.pop(key), f"quantization of {name!r}", optional=True)
            for key in ("scales", "zero_points")
            if key in fields
        }
        details = ir.QuantizationDetails(kind, fields=fields, **tensors)
    vectors = [table[key] for key in ("scale", "zero_point", "min", "max")]
    if details is None and all(v is None or v.size == 0 for v in vectors):
        return None
    scale, zero_point, low, high = (np.zeros(0) if v is None else v for v in vectors)
    return ir.Quantization(
        scale,
        zero_point,
        table["quantized_dimension"],
        low if low.size else None,
        high if high.size else None,
        details,
    )


def _signature(
    item: dict[str, Any], graphs: list[ir.Graph], tensors: list[list[ir.Value]]
) -> ir.Signature:
    key, index = item["signature_key"] or "", item["subgraph_index"]
    if index >= len(graphs):
        raise ConversionError(
            f"signature {key!r} refers to graph {index}, and there are {len(graphs)}; the file is "
            "damaged, get it again"
        )

    def positions(maps: list[dict[str, Any]] | None, ends: list[ir.Value]) -> dict[str, int]:
        found = {}
        for entry in maps or []:
            what = f"signature {key!r}, argument {entry['name']!r},"
            value = _pick(tensors[index], entry["tensor_index"], what)
            places = [i for i, end in enumerate(ends) if end is value]
            if not places:
                raise ConversionError(
                    f"{what} names tensor {value.name!r}, which is no end of graph {index}; drop "
                    "the signature and write the model again"
                )
            found[entry["name"] or ""] = places[0]
        return found

    inputs = positions(item["inputs"], graphs[index].inputs)
    outputs = positions(item["outputs"], graphs[index].outputs)
    return ir.Signature(key, inputs, outputs, index)
