# SPDX-License-Identifier: Apache-2.0
"""Writes :mod:`converter.ir` as a ``.tflite`` file."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import numpy as np

from converter import ir, packing, schema
from converter.associated_files import append_files
from converter.errors import ConversionError
from converter.flatbuffer import encode
from converter.offline_plan import OFFLINE_PLAN, plan_of
from converter.op_versions import op_version
from converter.output_files import whole_file
from converter.runtime_versions import min_runtime_version
from converter.verifier import verify

# FlatBuffers offsets reach 2 GiB; more bytes of constants than this go behind the FlatBuffer.
INSIDE_LIMIT = (1 << 31) - (1 << 26)
_MIN_RUNTIME_VERSION = "min_runtime_version"


def write_tflite(
    model: ir.Model,
    path: str | os.PathLike | None = None,
    *,
    offline_plan: bool | None = None,
) -> bytes:
    """Bytes of `model` as a ``.tflite`` file, also written to `path` where one is given.

    The file appears whole or not at all. Equal constants share one buffer; constants lie at
    multiples of 16 bytes. `offline_plan`: whether the metadata OfflineMemoryAllocation is written,
    a memory plan that TFLite Micro obeys (`offline_plan.plan_of`); None means where there is a
    path, because bytes that stay in this program are better planned when they run.

    Raises ConversionError for a model that does not verify and for a path that cannot be written.
    """
    verify(model)
    try:
        writer = _Writer(model)
        data = writer.data()
        plan = plan_of(data) if offline_plan or (offline_plan is None and path) else None
        if plan is not None:
            writer.plan = plan
            data = writer.data()
    except ValueError as error:
        raise ConversionError(f"the model cannot be written: {error}") from error
    if path is not None:
        write_atomically(path, data)
    return data


def write_atomically(path: str | os.PathLike, data: bytes) -> None:
    """Write `data` to `path` in one step.

    Raises ConversionError, leaving nothing behind, where that fails.
    """
    try:
        with whole_file(path) as file:
            file.write(data)
    except OSError as error:
        raise ConversionError(
            f"{os.fspath(path)}: cannot be written ({error.strerror}); choose another place or make"
            " room"
        ) from error


class _Writer:
    """One model on its way to bytes."""

    def __init__(self, model: ir.Model) -> None:
        self.model = model
        self.buffers: list[bytes | memoryview] = [b""]  # buffer 0 is the empty one
        self._buffer_of: dict[bytes, int] = {}
        self._buffer_of_array: dict[tuple[int, str], int] = {}
        self.codes: list[tuple[str, str | None, int]] = []
        self.plan = b""  # content of OFFLINE_PLAN; empty: none

    def data(self) -> bytes:
        root = self._root()
        inside = sum(map(len, self.buffers)) <= INSIDE_LIMIT
        flat = self._inside(root) if inside else self._behind(root)
        return append_files(flat, self.model.files)

    def _root(self) -> dict[str, Any]:
        graphs = [_GraphWriter(self, graph) for graph in self.model.graphs]
        metadata = dict(self.model.metadata)
        for name in (_MIN_RUNTIME_VERSION, OFFLINE_PLAN):  # facts about the file, found anew
            metadata.pop(name, None)
        if self.plan:
            metadata[OFFLINE_PLAN] = self.plan
        release = min_runtime_version(self.model).encode()
        metadata[_MIN_RUNTIME_VERSION] = release.ljust(16, b"\0")
        return {
            "version": schema.VERSION,
            "description": self.model.description,
            "subgraphs": [graph.table() for graph in graphs],
            "operator_codes": [_operator_code(*code) for code in self.codes],
            "metadata": [
                {"name": name, "buffer": self.bytes_buffer(content)}
                for name, content in metadata.items()
            ],
            "signature_defs": [
                graphs[signature.graph].signature(signature) for signature in self.model.signatures
            ]
            or None,
        }

    def _inside(self, root: dict[str, Any]) -> bytearray:
        root["buffers"] = [{"data": np.frombuffer(b, np.uint8)} if b else {} for b in self.buffers]
        return encode("Model", root, schema.FILE_IDENTIFIER)

    def _behind(self, root: dict[str, Any]) -> bytearray:
        """Constants behind the FlatBuffer, each with its offset and size in the buffer's table."""
        sizes = [len(b) for b in self.buffers]
        # Offsets are fixed-size fields, so a first encoding tells how long the second will be.
        root["buffers"] = [{"offset": 2, "size": size} if size else {} for size in sizes]
        end = len(encode("Model", root, schema.FILE_IDENTIFIER))
        for table, size in zip(root["buffers"], sizes, strict=True):
            if size:
                table["offset"] = end
                end += size + -size % 16
        flat = encode("Model", root, schema.FILE_IDENTIFIER)
        for content in self.buffers:
            flat += content
            flat += bytes(-len(content) % 16)
        return flat

    def bytes_buffer(self, content: bytes | memoryview) -> int:
        """Index of a buffer with `content`, an earlier one where the bytes are equal."""
        if not len(content):
            return 0
        digest = hashlib.sha256(content).digest()
        if digest not in self._buffer_of:
            self._buffer_of[digest] = len(self.buffers)
            self.buffers.append(content)
        return self._buffer_of[digest]

    def constant_buffer(self, value: ir.Value) -> int:
        """Index of the buffer for a constant (0 for other values)."""
        if value.data is None:
            return 0
        key = (id(value.data), value.dtype)
        if key not in self._buffer_of_array:
            content = packing.pack(value.data, value.dtype)
            self._buffer_of_array[key] = self.bytes_buffer(content)
        return self._buffer_of_array[key]

    def opcode(self, node: ir.Node) -> int:
        code = (node.op, node.custom_code, op_version(node))
        if code not in self.codes:
            self.codes.append(code)
        return self.codes.index(code)


class _GraphWriter:
    """One graph; tensors are numbered in the order Graph.values gives them."""

    def __init__(self, writer: _Writer, graph: ir.Graph) -> None:
        self.writer = writer
        self.graph = graph
        self.values = list(graph.values())
        self.numbers = {id(value): i for i, value in enumerate(self.values)}

    def table(self) -> dict[str, Any]:
        return {
            "name": self.graph.name,
            "inputs": self._list(self.graph.inputs),
            "outputs": self._list(self.graph.outputs),
            "tensors": [self._tensor(value) for value in self.values],
            "operators": [self._operator(node) for node in self.graph.nodes],
        }

    def signature(self, signature: ir.Signature) -> dict[str, Any]:
        def maps(positions: dict[str, int], ends: list[ir.Value]) -> list[dict[str, Any]]:
            return [
                {"name": name, "tensor_index": self.numbers[id(ends[position])]}
                for name, position in positions.items()
            ]

        return {
            "signature_key": signature.key,
            "subgraph_index": signature.graph,
            "inputs": maps(signature.inputs, self.graph.inputs),
            "outputs": maps(signature.outputs, self.graph.outputs),
        }

    def _number(self, value: ir.Value | None) -> int:
        return -1 if value is None else self.numbers[id(value)]

    def _list(self, values: Any) -> np.ndarray:
        return np.array([self._number(value) for value in values], np.int32)

    def _tensor(self, value: ir.Value) -> dict[str, Any]:
        signature = value.shape_signature
        return {
            "name": value.name,
            "type": value.dtype,
            "shape": np.array(value.shape, np.int32),
            "shape_signature": None if signature is None else np.array(signature, np.int32),
            "has_rank": True,
            "buffer": self.writer.constant_buffer(value),
            "is_variable": value.is_variable,
            "quantization": self._quantization(value.quant),
            "sparsity": value.sparsity,
            "variant_tensors": value.variant_tensors,
        }

    def _quantization(self, quant: ir.Quantization | None) -> dict[str, Any] | None:
        if quant is None:
            return None
        table: dict[str, Any] = {
            "scale": quant.scale if quant.scale.size else None,
            "zero_point": quant.zero_point if quant.zero_point.size else None,
            "quantized_dimension": quant.axis,
            "min": quant.min,
            "max": quant.max,
        }
        if quant.details is not None:
            fields = dict(quant.details.fields)
            if quant.details.kind != "CustomQuantization":
                fields["scales"] = self._number(quant.details.scales)
                fields["zero_points"] = self._number(quant.details.zero_points)
            table["details"] = (quant.details.kind, fields)
        return table

    def _operator(self, node: ir.Node) -> dict[str, Any]:
        table: dict[str, Any] = {
            "opcode_index": self.writer.opcode(node),
            "inputs": self._list(node.inputs),
            "outputs": self._list(node.outputs),
        }
        if node.intermediates:
            table["intermediates"] = self._list(node.intermediates)
        if node.mutating_variable_inputs:
            table["mutating_variable_inputs"] = np.array(node.mutating_variable_inputs, np.bool_)
        if node.custom_options:
            table["custom_options"] = node.custom_options
        member = node.options_type or schema.options_of(node.op)
        if member == "NONE" and node.options:
            member = schema.options_of(node.op)
        if member in schema.ENUMS["BuiltinOptions2"].values and member != "NONE":
            table["builtin_options_2"] = (member, node.options)
        elif member not in (None, "NONE"):
            table["builtin_options"] = (member, node.options)
        return table


def _operator_code(op: str, custom_code: str | None, version: int) -> dict[str, Any]:
    number = schema.ENUMS["BuiltinOperator"].values[op]
    return {
        # Readers older than the second field look at the first, which is one signed byte.
        "deprecated_builtin_code": min(number, 127),
        "builtin_code": op,
        "custom_code": custom_code,
        "version": version,
    }
