# SPDX-License-Identifier: Apache-2.0
"""One exported program on its way to a Model: its inputs, constants, state and outputs."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from converter import ir
from converter.errors import ObstacleError
from converter.importers.builder import Builder
from converter.importers.forms.complexes import Complex
from converter.importers.no_form import NoForm
from converter.importers.torch import types
from converter.importers.torch.graph import GraphImport
from converter.importers.torch.names import output_names
from converter.importers.torch.rows import ROWS
from converter.importers.torch.state import State

_BATCH_SAMPLES, _OTHER_SAMPLES = (2, 3), (64, 96)
_MOST_SAMPLED = 1 << 20


class ProgramImport:
    """`program` is in the ops that have rows; `name` is what messages call it."""

    def __init__(self, program: Any, name: str) -> None:
        self.program, self.name = program, name
        self.builder = Builder(name)
        self.graph = GraphImport(self.builder, ROWS)
        self.samples: dict[Any, tuple[int, int]] = {}
        self.inputs: list[str] = []
        self.changes: dict[str, str] = {}  # what a buffer becomes: its name

    def model(self) -> ir.Model:
        """The converted program. Raises ObstacleError with all that has no form."""
        signature = self.program.graph_signature
        nodes = list(self.program.graph.nodes)
        by_name = {node.name: node for node in nodes}
        for name in signature.user_inputs:
            if isinstance(name, str) and name in by_name:
                self._add_input(by_name[name])
        state = self._hold(signature, nodes)
        self.graph.convert(nodes)
        outputs = self._outputs(signature, by_name)
        self._assign(state, by_name)
        if self.graph.obstacles:
            raise ObstacleError(self.name, self.graph.obstacles)
        return self.builder.model(self.inputs, outputs)

    # -- parameters, buffers and state ----------------------------------------------------------

    def _hold(self, signature: Any, nodes: list[Any]) -> State:
        """Parameters and buffers become constants, buffers that change are read."""
        sources = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        self.changes = {
            name: target
            for name, target in signature.buffers_to_mutate.items()
            if not self._is_kept(next(n for n in nodes if n.name == name), sources)
        }
        mutated = set(self.changes.values())
        changing = {}
        for node in nodes:
            target = sources.get(node.name)
            if node.op != "placeholder" or target is None:
                continue
            state = self.program.state_dict
            tensor = state[target] if target in state else self.program.constants[target]
            if target in mutated:
                changing[node.name] = (target, tensor)
            else:
                self.graph.held[node.name] = tensor
        self.builder.scope = "state"
        found = State(self.builder, dict(changing.values()))
        for name, (target, tensor) in changing.items():
            self.graph.results[name] = found.read(target, tuple(tensor.shape))
        return found

    def _is_kept(self, node: Any, sources: Mapping[str, str]) -> bool:
        """Whether what a buffer becomes is what it was: the scale that a switched-off observer of
        fake quantization gives back.
        """
        call = node.args[0] if node.target is operator.getitem else None
        if call is None or "_fused_moving_avg_obs_fq_helper" not in str(call.target):
            return False
        switch = self.program.state_dict.get(sources.get(call.args[1].name, ""))
        return switch is not None and not bool(switch.any())

    def _assign(self, state: State, by_name: dict[str, Any]) -> None:
        """At the end, what the buffers have become."""
        self.builder.scope = "state"
        for source, target in self.changes.items():
            if source not in self.graph.lost:
                state.assign(target, self.graph.result(by_name[source]))

    # -- inputs -----------------------------------------------------------------------------------

    def _add_input(self, node: Any) -> None:
        value = node.meta.get("val")
        if value is None or isinstance(value, bool | int | float | str):
            return  # torch.export has fixed it
        try:
            if not isinstance(value, torch.Tensor):
                raise NoForm(f"is a {type(value).__name__}: make it a tensor, or fix its value")
            border, inner = types.border_type(value.dtype), types.inner_type(value.dtype)
            self.builder.scope = ""
            given = self.builder.input(node.name, border, self._sizes(value.shape))
            self.inputs.append(node.name)
            self.builder.scope = node.name
            if inner != border:
                given = self.builder.emit(
                    "CAST", [given], dtype=inner, in_data_type=border, out_data_type=inner
                )
            is_complex = inner == "COMPLEX64"
            self.graph.results[node.name] = _parts(self.builder, given) if is_complex else given
        except NoForm as error:
            self.graph.obstacles.append(f"input '{node.name}' {error}")
            self.graph.lost.add(node.name)

    def _sizes(self, shape: Sequence[Any]) -> list[int | tuple[int, int]]:
        """Sizes, with two samples for each symbol."""
        sizes: list[int | tuple[int, int]] = []
        for axis, size in enumerate(shape):
            if isinstance(size, int):
                sizes.append(size)
                continue
            rule = size.node.expr
            for symbol in rule.free_symbols:
                self.samples.setdefault(symbol, self._samples(symbol, axis))
            low, high = (
                int(rule.subs({symbol: self.samples[symbol][i] for symbol in rule.free_symbols}))
                for i in (0, 1)
            )
            sizes.append((low, high))
        return sizes

    def _samples(self, symbol: Any, axis: int) -> tuple[int, int]:
        """Two sizes that the program allows."""
        low, high = _BATCH_SAMPLES if axis == 0 else _OTHER_SAMPLES
        limits = self.program.range_constraints.get(symbol)
        if limits is None:
            return low, high
        least, most = (int(min(end, _MOST_SAMPLED)) for end in (limits.lower, limits.upper))
        high = max(least + 1, min(high, most))
        return max(least, min(low, high - 1)), high

    # -- outputs ----------------------------------------------------------------------------------

    def _outputs(self, signature: Any, by_name: dict[str, Any]) -> list[tuple[str, ir.Value]]:
        sources = signature.user_outputs
        names = output_names(self.program.call_spec.out_spec, len(sources))
        found: list[tuple[str, ir.Value]] = []
        for name, source in zip(names, sources, strict=True):
            if source is None or source in self.graph.lost:
                continue
            self.builder.scope = name
            node = by_name.get(source) if isinstance(source, str) else None
            given = source if node is None else self.graph.result(node)
            try:
                value = self._output(given, node, [v for _, v in found])
            except NoForm as error:
                self.graph.obstacles.append(f"output '{name}' {error}")
                continue
            value.name = self.builder.unique(name)
            found.append((name, value))
        return found

    def _output(self, given: Any, node: Any, others: list[ir.Value]) -> ir.Value:
        """A value that only this output names, in the type that the module gives."""
        made = None if node is None else node.meta.get("val")
        if not isinstance(given, ir.Value):
            if isinstance(given, Complex):
                raise NoForm("is of complex numbers: give torch.view_as_real of them back")
            if not isinstance(given, bool | int | float):
                raise NoForm(f"is a {type(given).__name__}: give tensors and numbers back")
            given = self.builder.constant(given, "number", _number_type(given))
        border = "INT64" if given.dtype == "INT32" else given.dtype  # of sizes
        if isinstance(made, torch.Tensor):
            border = types.border_type(made.dtype)
        if border != given.dtype:
            options = {"in_data_type": given.dtype, "out_data_type": border}
            return self._made("CAST", given, border, options)
        kept = given.producer is not None and given.producer.op != "READ_VARIABLE"
        if kept and not any(given is other for other in others):
            return given
        sizes = [-1 if d is None else d for d in self.builder.dims(given)]
        if sizes.count(-1) > 1:
            shape = self.builder.emit("SHAPE", [given], dtype="INT32", out_type="INT32")
        else:
            shape = self.builder.constant(sizes, "shape", np.int32)
        return self._made("RESHAPE", given, given.dtype, {}, shape)

    def _made(
        self, op: str, value: ir.Value, dtype: str, options: Any, *others: ir.Value
    ) -> ir.Value:
        dims = self.builder.pair(value)
        return self.builder.append(op, [value, *others], [(dtype, dims)], options)[0]


def _parts(b: Builder, x: ir.Value) -> Complex:
    return Complex(*(b.emit(op, [x], dtype="FLOAT32") for op in ("REAL", "IMAG")))


def _number_type(number: bool | int | float) -> type:
    if isinstance(number, bool):
        return np.bool_
    return np.int64 if isinstance(number, int) else np.float32
