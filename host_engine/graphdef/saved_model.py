# SPDX-License-Identifier: Apache-2.0
"""SavedModels: the folder's graph and variables as one frozen graph."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from host_engine.bundle import Reader
from host_engine.errors import DataLossError, NotFoundError
from host_engine.graphdef.freezing import freeze_checkpoint
from host_engine.graphdef.inlining import inline_calls
from host_engine.graphdef.messages import GraphDef, MetaGraphDef, SavedModel

_SERVE = "serve"  # the tag of graphs for inference


class FrozenModel(NamedTuple):
    """A frozen graph, and the names of its inputs and outputs as callers use them, by tensor name
    of the graph.
    """

    graph_def: GraphDef
    inputs: dict[str, str]
    outputs: dict[str, str]


def freeze_saved_model(
    meta_graph: MetaGraphDef, folder: str | os.PathLike[str], signature: str
) -> FrozenModel:
    """The graph that a signature of a SavedModel runs, the variables in its folder constants.

    OSError where a file is missing, DataLossError where one is damaged, NotFoundError where there
    is no such signature.
    """
    if signature not in meta_graph.signature_def:
        raise NotFoundError(None, None, f"there is no signature '{signature}'")
    found = meta_graph.signature_def[signature]
    outputs = sorted(found.outputs.items())
    tensors = [info.name for _, info in outputs]
    variables = Path(folder, "variables", "variables")
    reader = Reader(variables) if Path(f"{variables}.index").is_file() else None
    frozen, tensors = inline_calls(freeze_checkpoint(meta_graph, reader, tensors), tensors)
    names = {node.name for node in frozen.node}
    ends: dict[str, str] = {}
    for (name, info), tensor in zip(outputs, tensors, strict=True):  # of which two may be one
        end = frozen.node.add(name=f"{name}/output" if name in names else name, op="Identity")
        end.input.append(tensor)
        end.attr["T"].type = info.dtype
        ends[end.name] = name
    return FrozenModel(frozen, {info.name: name for name, info in found.inputs.items()}, ends)


def read_saved_model(folder: str | os.PathLike[str]) -> MetaGraphDef:
    """The graph for inference in a SavedModel's folder. OSError, DataLossError."""
    path = Path(folder, "saved_model.pb")
    message = SavedModel()
    message.ParseFromString(path.read_bytes())
    graphs = list(message.meta_graphs)
    if not graphs:
        raise DataLossError(None, None, f"{path} holds no graph: it is damaged")
    return next((g for g in graphs if _SERVE in g.meta_info_def.tags), graphs[0])
