# SPDX-License-Identifier: Apache-2.0
"""Buffers that change when a module runs: resource variables that live from one call to the next.

The first call of an interpreter runs an initializing graph (CALL_ONCE) that gives them the module's
values; every call reads them at its start and assigns them at its end.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from converter import ir
from converter.importers.builder import Builder, Dims
from converter.importers.forms import basic
from converter.importers.torch import types

_RESOURCE: tuple[str, Dims] = ("RESOURCE", ((), ()))


@contextlib.contextmanager
def registered(module: torch.nn.Module) -> Iterator[None]:
    """Within it, tensors that are plain attributes of modules are buffers.

    Else ``torch.export`` would take them for constants, and what `forward` assigns to them would be
    lost.
    """
    found = [
        (inner, name, value)
        for inner in module.modules()
        if not isinstance(inner, torch.jit.ScriptModule)
        for name, value in list(vars(inner).items())
        if isinstance(value, torch.Tensor)
    ]
    for inner, name, value in found:
        del inner.__dict__[name]
        inner.register_buffer(name, value, persistent=False)
    try:
        yield
    finally:
        for inner, name, value in found:
            inner._buffers.pop(name, None)
            inner._non_persistent_buffers_set.discard(name)
            inner.__dict__[name] = value


def unite(program: torch.export.ExportedProgram) -> None:
    """Constants that are a buffer's own memory become that buffer.

    ``torch.export`` lifts tensors that a plain object of the module holds, such as a cache's, even
    where they are registered as buffers too.
    """
    signature, constants = program.graph_signature, program.constants
    places = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    buffers = {}
    for name, target in signature.inputs_to_buffers.items():
        tensor = program.state_dict.get(target, constants.get(target))
        buffers[_memory(tensor)] = places[name]
    for name, target in signature.inputs_to_lifted_tensor_constants.items():
        twin = buffers.get(_memory(constants[target]))
        if twin is None or not constants[target].numel():
            continue
        places[name].replace_all_uses_with(twin)
        program.graph.erase_node(places[name])
        signature.input_specs = [s for s in signature.input_specs if s.arg.name != name]
        del constants[target]
    program.graph_module.recompile()


def _memory(tensor: torch.Tensor) -> tuple[Any, ...]:
    return tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride()


class State:
    """The variables of a model under construction; `buffers` are their first values by name."""

    def __init__(self, b: Builder, buffers: Mapping[str, torch.Tensor]) -> None:
        self.b = b
        self.types: dict[str, str] = {}
        if buffers:
            self._initialize(buffers)

    def _initialize(self, buffers: Mapping[str, torch.Tensor]) -> None:
        body = self.b.body("initialize")
        for name, tensor in buffers.items():
            first = body.constant(types.array_of(tensor), name)
            self.types[name] = first.dtype
            body.append("ASSIGN_VARIABLE", [_handle(body, name), first], [], {})
        self.b.append("CALL_ONCE", [], [], {"init_subgraph_index": self.b.add_body(body)})

    def read(self, name: str, shape: tuple[int, ...]) -> ir.Value:
        outputs = [(self.types[name], (shape, shape))]
        return self.b.append("READ_VARIABLE", [_handle(self.b, name)], outputs, {})[0]

    def assign(self, name: str, value: ir.Value) -> None:
        value = basic.cast(self.b, value, self.types[name])
        self.b.append("ASSIGN_VARIABLE", [_handle(self.b, name), value], [], {})


def _handle(b: Builder, name: str) -> ir.Value:
    return b.append("VAR_HANDLE", [], [_RESOURCE], {"container": "", "shared_name": name})[0]
