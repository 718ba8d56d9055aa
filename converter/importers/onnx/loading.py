# SPDX-License-Identifier: Apache-2.0
"""Reads ONNX files: the protobuf, external data, sparse tensors; what must hold of any model."""

from __future__ import annotations

import collections
import heapq
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from converter.errors import ConversionError

if TYPE_CHECKING:
    import onnx

_OLDEST, _RAISED = 7, 13


def load(source: Any) -> tuple[onnx.ModelProto, str, str]:
    """(model, folder of its external data, what messages call it) of a path, bytes or a ModelProto.

    External data is not read here.
    """
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
    return proto, folder, name


def raised(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A model of an opset before the oldest that rows know, in a newer one where onnx can say it
    so; others as they are.
    """
    from onnx import checker, version_converter

    version = next((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), _OLDEST)
    if version >= _OLDEST:
        return proto
    try:
        checker.check_model(proto)  # the version converter trusts its models
        return version_converter.convert_version(proto, _RAISED)
    except Exception:  # whatever it raises for what it lacks; the version is then refused
        return proto


def opsets_of(proto: onnx.ModelProto, name: str) -> dict[str, int]:
    """The opset of each domain ("" for ONNX's own); ConversionError where one cannot be read."""
    from onnx import defs

    if not proto.opset_import or not proto.HasField("graph"):
        raise ConversionError(f"{name} is no ONNX model: it has no graph or no opset")
    broken = unreadable(proto.graph)
    if broken:
        raise ConversionError(f"{name} is damaged: the name {broken} is no text")
    opsets = {"" if o.domain == "ai.onnx" else o.domain: o.version for o in proto.opset_import}
    version, newest = opsets.get("", defs.onnx_opset_version()), defs.onnx_opset_version()
    if version > newest:
        raise ConversionError(
            f"{name} has opset {version}; the installed onnx package knows up to {newest}:"
            " upgrade it, or export with an older opset"
        )
    if version < _OLDEST:
        raise ConversionError(
            f"{name} has opset {version}, older than {_OLDEST}, and onnx.version_converter cannot"
            " raise it: export it again with a newer opset"
        )
    return opsets


def defects(graph: onnx.GraphProto) -> Iterator[str]:
    """What is wrong with a graph's names: two values of one name, or a use before its maker."""
    made = collections.Counter(name for node in graph.node for name in node.output if name)
    given = collections.Counter(info.name for info in graph.input)
    held = collections.Counter(t.name for t in graph.initializer)
    for names, what in ((given, "inputs"), (held, "initializers"), (made, "node outputs")):
        for name, count in names.items():
            if count > 1:
                yield f"{count} {what} are called '{name}': the file is damaged, export it again"
    for name in made.keys() & (given.keys() | held.keys()):
        yield f"a node computes '{name}', which is an input or a constant: the file is damaged"
    if not graph.output:
        yield "the model has no outputs: name what it computes"
    known: set[str] = set()
    for position, node in enumerate(in_order(graph.node)):
        for name in node.input:
            if name and name in made and name not in known:
                yield (
                    f"{node.op_type} at node '{node.name or position}' reads '{name}', which is"
                    " computed from it: a model has no circles, export it again"
                )
        known |= set(node.output)


def in_order(nodes: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """`nodes`, each behind those whose outputs it or its bodies read; else in their own order.
    Those of a circle stand last.
    """
    makers = {name: i for i, node in enumerate(nodes) for name in node.output if name}
    sources = [{makers[name] for name in _reads(node) if name in makers} for node in nodes]
    if all(source < i for i, found in enumerate(sources) for source in found):
        return list(nodes)
    readers: dict[int, list[int]] = collections.defaultdict(list)
    for i, found in enumerate(sources):
        for source in found:
            readers[source].append(i)
    waits = [len(found) for found in sources]
    ready = [i for i, count in enumerate(waits) if not count]
    heapq.heapify(ready)
    order = []
    while ready:
        i = heapq.heappop(ready)
        order.append(i)
        for reader in readers[i]:
            waits[reader] -= 1
            if not waits[reader]:
                heapq.heappush(ready, reader)
    placed = set(order)
    return [nodes[i] for i in [*order, *(i for i in range(len(nodes)) if i not in placed)]]


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    """Names that a node or its bodies read; a body's own names are among them."""
    yield from node.input
    for attribute in node.attribute:
        for graph in [attribute.g, *attribute.graphs]:
            for inner in graph.node:
                yield from _reads(inner)
            yield from (info.name for info in graph.output)


def fixed_inputs(proto: onnx.ModelProto, values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Values that were given for inputs, in the inputs' own types; a single number is a scalar
    where the input is one.
    """
    from onnx import helper

    found = {}
    for info in proto.graph.input:
        if info.name not in values:
            continue
        tensor = info.type.tensor_type
        try:
            kind = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
            array = np.asarray(values[info.name]).astype(kind)
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            raise ConversionError(
                f"the value for input '{info.name}' does not fit its type: {error}"
            ) from error
        is_scalar = tensor.HasField("shape") and not tensor.shape.dim and array.size == 1
        found[info.name] = array.reshape(()) if is_scalar else array
    return found


def unreadable(graph: onnx.GraphProto) -> str:
    """A name in the graph, or in its bodies, that is no UTF-8; empty where all are."""
    for node in graph.node:
        names = [node.name, node.op_type, node.domain, *node.input, *node.output]
        names += [a.name for a in node.attribute]
        for name in names:
            if isinstance(name, bytes):
                return repr(name)
        for attribute in node.attribute:
            if attribute.HasField("g") and (found := unreadable(attribute.g)):
                return found
    infos = [*graph.input, *graph.output, *graph.initializer]
    return next((repr(i.name) for i in infos if isinstance(i.name, bytes)), "")


def external_array(tensor: onnx.TensorProto, folder: str) -> np.ndarray | None:
    """The numbers of a tensor whose data is in a file of its own, read once; None for others.

    ValueError where the file is not there, lies outside of `folder` or is too short.
    """
    from onnx import TensorProto, helper, numpy_helper

    if tensor.data_location != TensorProto.EXTERNAL:
        return None
    entries = {e.key: e.value for e in tensor.external_data}
    location = entries.get("location", "")
    path = (Path(folder) / location).resolve()
    if not location or not path.is_relative_to(Path(folder).resolve()):
        raise ValueError(f"its data is said to be in {location!r}, outside of the model's folder")
    if not path.is_file():
        raise ValueError(f"its data is in {location!r}, which is not beside the model")
    kind = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
    dims = [int(d) for d in tensor.dims]
    count = int(np.prod(dims, dtype=np.int64))
    offset, length = (_number(entries, key) for key in ("offset", "length"))
    if kind.itemsize < 1 or min(dims, default=1) < 0:
        raise ValueError("its type cannot be read from a file of its own: store it in the model")
    packed = _bits(tensor.data_type)
    size = -(-count * packed // 8) if packed else count * kind.itemsize
    if length and length != size:
        raise ValueError(f"it is said to have {length} bytes in {location!r}, but takes {size}")
    if offset < 0 or offset + size > os.stat(path).st_size:
        raise ValueError(f"{location!r} is too short: it ends before the data does")
    if packed:
        inner = TensorProto(data_type=tensor.data_type, dims=dims)
        inner.raw_data = np.fromfile(path, np.uint8, size, offset=offset).tobytes()
        return numpy_helper.to_array(inner)
    flat = np.fromfile(path, kind, count, offset=offset)
    return flat.reshape(dims)


def _number(entries: Mapping[str, str], key: str) -> int:
    """An entry of external data; 0 where it is absent."""
    text = entries.get(key) or "0"
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"its {key} {text[:40]!r} in a file of its own is no number") from None


def _bits(element: int) -> int:
    """Of elements narrower than a byte, the first lowest in its byte; 0 for others."""
    from onnx import TensorProto

    name = TensorProto.DataType.Name(element)
    return 4 if name.endswith(("INT4", "E2M1")) else 2 if name.endswith("INT2") else 0


def dense_array(sparse: onnx.SparseTensorProto, values: np.ndarray, places: Any) -> np.ndarray:
    """The whole of a sparse tensor; ValueError where its indices do not fit."""
    dims = tuple(int(d) for d in sparse.dims)
    places = np.asarray(places)
    if min(dims, default=1) < 0 or places.shape[:1] != values.shape[:1] or values.ndim != 1:
        raise ValueError("its indices do not fit its values")
    flat = places if places.ndim == 1 else _flat(places, dims)
    count = int(np.prod(dims, dtype=np.int64))
    if flat.size and (flat.min() < 0 or flat.max() >= count):
        raise ValueError("it has an index out of range")
    whole = np.zeros(count, values.dtype)
    whole[flat] = values
    return whole.reshape(dims)


def _flat(places: np.ndarray, dims: Sequence[int]) -> np.ndarray:
    if places.ndim != 2 or places.shape[1] != len(dims):
        raise ValueError("its indices do not fit its shape")
    return np.ravel_multi_index(tuple(places.T), tuple(dims))
