# SPDX-License-Identifier: Apache-2.0
"""Files of TensorFlow's graphs, as the host engine reads them: GraphDefs, checkpoints, SavedModels.

None of them needs the package tensorflow.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from converter.errors import ConversionError

VARIABLES = {"Const", "Variable", "VariableV2", "VarHandleOp"}
SERVING = "serving_default"
_NO_OUTPUTS = {"Const", "NoOp", "Assert", "Placeholder", "SaveV2", "RestoreV2", "Print"}


class Frozen(NamedTuple):
    """A frozen graph: its GraphDef in bytes, and the model's names of its inputs and outputs by the
    graph's.
    """

    graph_def: bytes
    inputs: dict[str, str]
    outputs: dict[str, str]


def open_graphdef(source: str | os.PathLike[str] | bytes) -> tuple[Any, list[str], list[str]]:
    """(a session of the host engine on the graph, its Placeholders, what nothing reads)."""
    import host_engine
    from host_engine.graphdef.importing import read_graph_def

    name = "the GraphDef" if isinstance(source, bytes) else os.fspath(source)
    try:
        graph_def = read_graph_def(source)
        with host_engine.Graph().as_default() as graph:
            host_engine.import_graph_def(graph_def, name="")
    except OSError as error:
        raise ConversionError(f"{name} cannot be read: {error.strerror}") from error
    except (ValueError, host_engine.OpError) as error:
        raise ConversionError(f"{name} is no GraphDef that can be read: {error}") from error
    operations = graph.get_operations()
    variables = [op.name for op in operations if op.type in VARIABLES - {"Const"}]
    if variables:
        raise ConversionError(
            f"{name} is not frozen: '{variables[0]}' is one of {len(variables)} variables; write it"
            " after tf.graph_util.convert_variables_to_constants"
        )
    read = {t.op for op in operations for t in op.inputs}
    read.update(waited for op in operations for waited in op.control_inputs)
    inputs = [op.name for op in operations if op.type == "Placeholder"]
    outputs = [
        op.name for op in operations if op not in read and op.outputs and op.type not in _NO_OUTPUTS
    ]
    return host_engine.Session(graph=graph), inputs, outputs


def graph_def_bytes(source: str | os.PathLike[str] | bytes) -> bytes:
    """The binary GraphDef of a source, which may be text."""
    from host_engine.graphdef.importing import read_graph_def

    return bytes(read_graph_def(source).SerializeToString())


def frozen_checkpoint(
    prefix: str | os.PathLike[str], outputs: Sequence[str], constants: Mapping[str, Any]
) -> bytes:
    """The frozen GraphDef of a checkpoint with its PREFIX.meta. Raises ConversionError."""
    from host_engine.bundle import Reader
    from host_engine.graphdef.freezing import freeze_checkpoint, unread_nodes
    from host_engine.graphdef.metagraph import read_meta_graph

    name = os.fspath(prefix)
    with _freezing(name):
        meta_graph = read_meta_graph(f"{name}.meta")
        if not outputs:
            found = ", ".join(unread_nodes(meta_graph.graph_def)) or "none"
            raise ConversionError(
                f"{name}.meta holds all that trains: name the outputs to convert (--outputs);"
                f" results that nothing else of the model reads: {found}"
            )
        frozen = freeze_checkpoint(meta_graph, Reader(name), outputs, constants)
        return bytes(frozen.SerializeToString())


def frozen_saved_model(folder: str | os.PathLike[str], signature: str = SERVING) -> Frozen:
    """A signature of a SavedModel, frozen. Raises ConversionError."""
    from host_engine.graphdef.saved_model import freeze_saved_model, read_saved_model

    with _freezing(os.fspath(folder)):
        meta_graph = read_saved_model(folder)
        if signature not in meta_graph.signature_def:
            raise ConversionError(no_signature(folder, signature, meta_graph.signature_def))
        graph_def, inputs, outputs = freeze_saved_model(meta_graph, folder, signature)
    ends = (
        {k.removesuffix(":0"): name for k, name in named.items()} for named in (inputs, outputs)
    )
    return Frozen(bytes(graph_def.SerializeToString()), *ends)


@contextmanager
def _freezing(name: str) -> Iterator[None]:
    """What the host engine raises while it freezes `name`, as ConversionErrors."""
    from host_engine import OpError

    try:
        yield
    except OSError as error:
        raise ConversionError(f"{error.filename} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, OpError) as error:
        reason = getattr(error, "message", None) or str(error)
        raise ConversionError(f"{name} cannot be frozen: {reason.splitlines()[0]}") from error


def no_signature(folder: str | os.PathLike[str], signature: str, known: Iterable[str]) -> str:
    """What to say of a SavedModel without the signature that was asked for."""
    found = ", ".join(name for name in known if not name.startswith("__")) or "none"
    return (
        f"{os.fspath(folder)} has no signature '{signature}' (it has {found}): choose one of them"
        " (--signature NAME), or export the model with one"
    )


def unknown_ops(graph: Any, names: Iterable[str]) -> list[str]:
    """Types of the ops that `names` need and that the host engine cannot compute."""
    from host_engine.framework.registry import OPS

    ops = _needed_ops(graph, names)
    return sorted({op.type for op in ops if op.definition is not OPS.get(op.type)})


def computed_tensors(graph: Any, names: Iterable[str]) -> list[Any]:
    """What is computed on the way to `names` outside of loops and branches, in order."""
    from host_engine.plan import outermost

    plain = ("Identity", "NoOp", "Const", "Placeholder", "Switch", "TensorArrayV3")
    ops = outermost([graph.get_tensor_by_name(tensor_name(name)) for name in names])
    numbers = [op for op in ops if op.type not in plain and not op.type.startswith("TensorList")]
    return [op.outputs[0] for op in numbers if op.outputs]


def _needed_ops(graph: Any, names: Iterable[str]) -> set[Any]:
    """With those of the functions that are called."""
    seen: set[Any] = set()
    called: set[tuple[Any, str]] = set()
    stack = [graph.get_tensor_by_name(tensor_name(name)).op for name in names]
    while stack:
        op = stack.pop()
        if op in seen:
            continue
        seen.add(op)
        stack += [*(t.op for t in op.inputs), *op.control_inputs]
        for name in _function_names(op):
            if (op.graph, name) not in called:
                called.add((op.graph, name))
                stack += [result.op for result in op.graph.function(name)[2]]
    return {op for op in seen if op.type != "Arg"}


def _function_names(op: Any) -> list[str]:
    """Of the functions that an op calls."""
    found = []
    for value in op._attrs.values():
        for part in value if isinstance(value, list) else [value]:
            if type(part).__name__ == "NameAttrList" and op.graph.has_function(part.name):
                found.append(part.name)
    return found


def tensor_name(name: str) -> str:
    """ "scores" as "scores:0"."""
    return name if ":" in name else f"{name}:0"
