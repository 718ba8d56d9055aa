# SPDX-License-Identifier: Apache-2.0
"""Exports a PyTorch module and converts it, ATen call by ATen call."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from converter import ir
from converter.errors import ConversionError, ObstacleError
from converter.importers.builder import Builder
from converter.importers.no_form import NoForm
from converter.verifier import verify

if TYPE_CHECKING:
    import torch

_BATCH_SAMPLES, _OTHER_SAMPLES = (2, 3), (64, 96)
# What PyTorch would take apart, and a row knows as a whole.
_KEPT_WHOLE = (
    "aten.lstm.", "aten.gru.", "aten.rnn_", "upsample_", "aten.layer_norm", "aten.group_norm",
    "aten.gelu", "aten.hardswish", "aten.hardsigmoid", "aten.silu", "aten.mish", "aten.elu",
    "aten.pixel_shuffle", "aten.pixel_unshuffle", "aten.scaled_dot_product_attention",
    "aten.adaptive_avg_pool", "aten.linear.",
)  # fmt: skip


def from_torch(
    model: torch.nn.Module | torch.export.ExportedProgram,
    example_inputs: Sequence[Any] = (),
    *,
    dynamic_shapes: Any = None,
    example_kwargs: Mapping[str, Any] | None = None,
) -> ir.Model:
    """The model that a PyTorch module computes, for inference.

    `model` is a module, which is exported with ``torch.export`` on `example_inputs` (tensors, in
    the order of ``forward``), or a program that was exported. `dynamic_shapes` is torch.export's
    own: other sizes are fixed to those of the examples. The signature ``serving_default`` has the
    names of forward's parameters, and of the results: the keys of a dictionary, or ``output``,
    ``output_1``... Layout and types are the module's. Buffers that change become variables.

    Raises ConversionError, listing every obstacle with its module's name, where the export fails or
    an op has no form in TFLite, and where the package ``torch`` is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise ConversionError(
            'modules are converted with the package torch: pip install "rillet[torch]"'
        ) from error
    program: Any = model
    if not isinstance(model, torch.export.ExportedProgram):
        program = _exported(
            model, tuple(example_inputs), dict(example_kwargs or {}), dynamic_shapes
        )
    table = torch.export.default_decompositions()
    for op in [op for op in table if any(word in str(op) for word in _KEPT_WHOLE)]:
        table.pop(op)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = program.run_decompositions(table)
    return _Import(program, type(model).__name__).model()


def _exported(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any], dynamic: Any) -> Any:
    import torch

    was_training = model.training
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            return torch.export.export(
                model.eval(), args, kwargs, dynamic_shapes=dynamic, strict=False
            )
    except Exception as error:  # whatever torch.export finds in the module's code
        reason = str(error).strip().splitlines()
        raise ConversionError(
            f"torch.export cannot export {type(model).__name__}:"
            f" {reason[0] if reason else type(error).__name__}"
        ) from error
    finally:
        model.train(was_training)


class _Import:
    """One exported program on its way to a Model."""

    def __init__(self, program: Any, name: str) -> None:
        from converter.importers.torch import rows
        from converter.importers.torch.graph import GraphImport

        self.program, self.name = program, name
        self.builder = Builder(name)
        self.graph = GraphImport(self.builder, rows.ROWS)
        self.samples: dict[str, tuple[int, int]] = {}
        self.inputs: list[str] = []

    def model(self) -> ir.Model:
        signature = self.program.graph_signature
        nodes = list(self.program.graph.nodes)
        self._hold_constants(signature, nodes)
        by_name = {node.name: node for node in nodes}
        for name in signature.user_inputs:
            if isinstance(name, str) and name in by_name:
                self._add_input(by_name[name])
        self.graph.convert(nodes)
        outputs = self._outputs(signature, by_name)
        if self.graph.obstacles:
            raise ObstacleError(self.name, self.graph.obstacles)
        self.builder.graph.outputs = [value for _, value in outputs]
        model = ir.Model([self.builder.graph, *self.builder.bodies])
        model.signatures.append(
            ir.Signature(
                "serving_default",
                {name: i for i, name in enumerate(self.inputs)},
                {name: i for i, (name, _) in enumerate(outputs)},
            )
        )
        verify(model)
        return model

    def _hold_constants(self, signature: Any, nodes: list[Any]) -> None:
        mutated = set(signature.buffers_to_mutate.values())
        sources = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        for node in nodes:
            target = sources.get(node.name)
            if node.op != "placeholder" or target is None:
                continue
            if target in mutated:
                self.graph.obstacles.append(f"buffer '{target}' changes when the model runs")
                self.graph.lost.add(node.name)
                continue
            state = self.program.state_dict
            self.graph.held[node.name] = (
                state[target] if target in state else self.program.constants[target]
            )

    def _add_input(self, node: Any) -> None:
        from converter.importers.torch import types

        value = node.meta.get("val")
        try:
            if not hasattr(value, "dtype"):
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
            self.graph.results[node.name] = given
        except NoForm as error:
            self.graph.obstacles.append(f"input '{node.name}' {error}")
            self.graph.lost.add(node.name)

    def _sizes(self, shape: Sequence[Any]) -> list[int | tuple[int, int]]:
        """Sizes, with two samples for each symbol."""
        sizes: list[int | tuple[int, int]] = []
        for axis, size in enumerate(shape):
            if isinstance(size, int):
                sizes.append(size)
            else:
                pair = _BATCH_SAMPLES if axis == 0 else _OTHER_SAMPLES
                sizes.append(self.samples.setdefault(str(size), pair))
        return sizes

    def _outputs(self, signature: Any, by_name: dict[str, Any]) -> list[tuple[str, ir.Value]]:
        from converter.importers.torch import types

        names = self._output_names(len(signature.user_outputs))
        found: list[tuple[str, ir.Value]] = []
        for name, source in zip(names, signature.user_outputs, strict=True):
            if source in self.graph.lost:
                continue
            self.builder.scope = name
            node = by_name[source]
            value = self.graph.result(node)
            border = types.border_type(node.meta["val"].dtype)
            if border != value.dtype:
                options = {"in_data_type": value.dtype, "out_data_type": border}
                value = self._made("CAST", value, border, options)
            elif value.producer is None or any(value is other for _, other in found):
                sizes = [-1 if d is None else d for d in self.builder.dims(value)]
                shape = self.builder.constant(sizes, "shape", "int32")
                value = self._made("RESHAPE", value, value.dtype, {}, shape)
            value.name = self.builder.unique(name)
            found.append((name, value))
        return found

    def _made(
        self, op: str, value: ir.Value, dtype: str, options: Any, *others: ir.Value
    ) -> ir.Value:
        dims = self.builder.pair(value)
        return self.builder.append(op, [value, *others], [(dtype, dims)], options)[0]

    def _output_names(self, count: int) -> list[str]:
        spec = self.program.call_spec.out_spec
        if spec is not None and spec.type is dict and len(spec.context) == count:
            return [str(key) for key in spec.context]
        return ["output" if i == 0 else f"output_{i}" for i in range(count)]
