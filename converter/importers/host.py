# SPDX-License-Identifier: Apache-2.0
"""Imports a host engine session: freezes the variables and legalizes the graph into the IR.

What depends on no input is computed by the session itself, so weights, shapes and axes arrive as
constants however they were made. What remains is converted op by op with the rows of
:mod:`converter.importers.host_ops`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from converter import ir
from converter.errors import ConversionError, ObstacleError
from converter.importers import host_composed, host_nn, host_ops
from converter.importers.host_ops import Context
from converter.importers.host_random import settled
from converter.importers.no_form import NoForm
from converter.shapes import infer_shapes
from converter.verifier import verify

ROWS = {**host_ops.ROWS, **host_nn.ROWS, **host_composed.ROWS}
_VARIABLES = {"Const", "Variable", "VariableV2", "VarHandleOp"}
_RANDOM = ("Random", "Multinomial", "TruncatedNormal", "ParameterizedTruncatedNormal")


def from_session(
    sess: Any,
    inputs: Iterable[Any],
    outputs: Iterable[Any],
    *,
    input_shapes: Mapping[Any, Sequence[int | None]] | None = None,
    constants: Mapping[Any, Any] | None = None,
) -> ir.Model:
    """Model of what `outputs` compute from `inputs`, with the session's variables as constants.

    `inputs` and `outputs` are tensors of `sess.graph` (or their names). `input_shapes` gives shapes
    for inputs by tensor or name, None or -1 where a dimension stays dynamic. `constants` gives the
    values at which other placeholders are frozen, e.g. ``{keep_prob: 1.0}``. The signature
    ``serving_default`` has the tensors' names without ``:0``. No pass is run.

    Raises ConversionError, listing every obstacle with its node's name, where an op has no form in
    TFLite, a placeholder is neither an input nor a constant, or a variable is not initialized.
    """
    return _Import(sess, inputs, outputs, input_shapes or {}, constants or {}).model()


def short_name(tensor: Any) -> str:
    """The tensor's name as signatures show it: without ``:0``."""
    return tensor.op.name if tensor.value_index == 0 else tensor.name


class _Import:
    """One session's graph on its way to a Model."""

    def __init__(
        self,
        sess: Any,
        inputs: Iterable[Any],
        outputs: Iterable[Any],
        input_shapes: Mapping[Any, Any],
        constants: Mapping[Any, Any],
    ) -> None:
        self.sess = sess
        self.inputs = [self._tensor(t) for t in inputs]
        self.outputs = [self._tensor(t) for t in outputs]
        self.shapes = {self._tensor(t): tuple(shape) for t, shape in input_shapes.items()}
        self.feeds = {self._tensor(t): value for t, value in constants.items()}
        self.graph = ir.Graph("main")
        self.values: dict[Any, ir.Value] = {}
        self.arrays: dict[Any, np.ndarray] = {}
        self.obstacles: list[str] = []
        for t in self.shapes:
            if t not in self.inputs:
                raise ConversionError(f"input_shapes names {t.name!r}, which is not an input")
        if not self.outputs:
            raise ConversionError("outputs is empty; name the tensors that the model should give")

    def _tensor(self, tensor: Any) -> Any:
        try:
            found = self.sess.graph.as_graph_element(tensor, allow_operation=False)
        except (KeyError, ValueError, TypeError) as error:
            raise ConversionError(f"{tensor!r} is no tensor of the session's graph: {error}") from (
                error
            )
        return found

    def model(self) -> ir.Model:
        needed = self._needed()
        fixed = self._fixed(needed)
        self._freeze(needed, fixed)
        for tensor in self.inputs:
            self._add_input(tensor)
        for op in self._order(fixed):
            self._convert(op)
        if self.obstacles:
            raise ObstacleError("the graph", self.obstacles)
        self.graph.outputs = self._output_values()
        model = ir.Model([self.graph])
        model.signatures.append(
            ir.Signature(
                "serving_default",
                {short_name(t): i for i, t in enumerate(self.inputs)},
                {short_name(t): i for i, t in enumerate(self.outputs)},
            )
        )
        infer_shapes(model)  # static shapes of the source miss what broadcasting decides
        verify(model)
        return model

    # -- freezing -----------------------------------------------------------------------------

    def _needed(self) -> list[Any]:
        """Ops that the outputs depend on, producers first, cut at the inputs and constants."""
        return self._postorder(lambda op: op.inputs, lambda t: t in self.inputs or t in self.feeds)

    def _postorder(self, inputs_of: Any, is_cut: Any) -> list[Any]:
        found: dict[Any, None] = {}
        opened: set[Any] = set()
        stack = [t.op for t in reversed(self.outputs) if not is_cut(t)]
        while stack:
            op = stack[-1]
            if op in opened:
                found.setdefault(stack.pop())
                continue
            opened.add(op)
            stack += [t.op for t in inputs_of(op) if not is_cut(t) and t.op not in opened]
        return list(found)

    def _fixed(self, needed: list[Any]) -> set[Any]:
        """Ops whose value depends on no input and no random draw."""
        fixed: set[Any] = set()
        for op in needed:
            if op.type.startswith(_RANDOM) or (not op.inputs and op.type not in _VARIABLES):
                continue
            if all(self._is_fixed(t, fixed) for t in op.inputs):
                fixed.add(op)
        return fixed

    def _is_fixed(self, tensor: Any, fixed: set[Any]) -> bool:
        return tensor not in self.inputs and (tensor in self.feeds or tensor.op in fixed)

    def _freeze(self, needed: list[Any], fixed: set[Any]) -> None:
        """Let the session compute every fixed tensor that a converted op reads."""
        wanted: dict[Any, None] = {}
        for op in needed:
            if op not in fixed:
                wanted.update(dict.fromkeys(t for t in op.inputs if self._is_fixed(t, fixed)))
        wanted.update(dict.fromkeys(t for t in self.outputs if self._is_fixed(t, fixed)))
        tensors = list(wanted)
        if not tensors:
            return
        try:
            arrays = self.sess.run(tensors, feed_dict=self.feeds or None)
        except Exception as error:  # whatever a graph's own ops raise, the way out is the same
            reason = (str(error).splitlines() or [repr(error)])[0]
            raise ConversionError(
                f"the values to freeze cannot be computed: {reason}; initialize or restore the "
                "variables first"
            ) from error
        self.arrays = {t: np.asarray(a) for t, a in zip(tensors, arrays, strict=True)}

    # -- converting ---------------------------------------------------------------------------

    def _order(self, fixed: set[Any]) -> list[Any]:
        """Ops to convert, producers first; what a random draw cannot change is settled here."""

        def is_cut(tensor: Any) -> bool:
            if tensor in self.arrays or tensor in self.inputs:
                return True
            value = settled(tensor, self.arrays)
            if value is not None:
                self.arrays[tensor] = value
            return value is not None

        return self._postorder(lambda op: op.inputs, is_cut)

    def _add_input(self, tensor: Any) -> None:
        dims = self.shapes.get(tensor, _dims(tensor))
        if tensor not in self.shapes and tensor.shape.ndims is None:
            self.obstacles.append(
                f"input '{tensor.op.name}' has no known rank: give its shape in input_shapes"
            )
        signature = tuple(-1 if d is None or d < 0 else int(d) for d in dims)
        self.values[tensor] = self.graph.add_input(
            short_name(tensor),
            ir.dtype_name(tensor.dtype.base_dtype.as_numpy_dtype),
            tuple(abs(d) for d in signature),
            shape_signature=signature if -1 in signature else None,
        )

    def _convert(self, op: Any) -> None:
        try:
            if op.type in ("Placeholder", "PlaceholderWithDefault"):
                raise NoForm(
                    "it is not among the inputs: list it there, or freeze it with "
                    "constants={tensor: value}"
                )
            if op.type not in ROWS:
                raise NoForm(
                    "has no form in TFLite: build the inference graph without it, or cut the "
                    "model before it by choosing other outputs"
                )
            for tensor in op.outputs:
                if tensor.dtype.base_dtype.as_numpy_dtype in (np.float64, np.complex128):
                    raise NoForm(f"computes in {tensor.dtype.name}: cast to a 32-bit type")
            results = ROWS[op.type](Context(self, op))
        except NoForm as error:
            self.obstacles.append(f"{op.type} at node '{op.name}': {error}")
            results = [self.new_value(tensor) for tensor in op.outputs]
        for tensor, value in zip(op.outputs, results, strict=True):
            self.values[tensor] = value

    def new_value(self, tensor: Any) -> ir.Value:
        """A value with the tensor's name, type and static shape (1 where it is unknown)."""
        signature = tuple(-1 if d is None else d for d in _dims(tensor))
        return ir.Value(
            short_name(tensor),
            ir.dtype_name(tensor.dtype.base_dtype.as_numpy_dtype),
            tuple(abs(d) for d in signature),
            shape_signature=signature if -1 in signature else None,
        )

    def value(self, tensor: Any) -> ir.Value:
        """The value that stands for `tensor`; constants are made when first asked for."""
        if tensor not in self.values:
            self.values[tensor] = ir.Value.constant(_origin(tensor), self.arrays[tensor])
        return self.values[tensor]

    def _output_values(self) -> list[ir.Value]:
        """Values for the outputs, each made by a node of its own name where it can be."""
        found: list[ir.Value] = []
        for tensor in self.outputs:
            value = self.value(tensor)
            if self.graph.is_input(value) or value.is_constant:
                value = self._copied(tensor, value)
            elif not any(value is other for other in found):
                value.name = short_name(tensor)
            found.append(value)
        return found

    def _copied(self, tensor: Any, source: ir.Value) -> ir.Value:
        """A RESHAPE to the same shape, because an input or a constant cannot be an output."""
        out = self.new_value(tensor)
        out.shape, out.shape_signature = source.shape, source.shape_signature
        dims = np.array(source.shape_signature or source.shape, np.int32)
        if np.count_nonzero(dims < 0) > 1:
            raise ConversionError(
                f"output '{tensor.op.name}' is an input with two dynamic dimensions; leave it out"
            )
        shape = ir.Value.constant(f"{out.name}/shape", dims)
        self.graph.add_node("RESHAPE", [source, shape], [out], name=tensor.op.name)
        return out


def _dims(tensor: Any) -> list[int | None]:
    return [] if tensor.shape.ndims is None else list(tensor.shape.as_list())


def _origin(tensor: Any) -> str:
    """Name of the variable or constant behind identities, for the reader of the model."""
    while tensor.op.type in ("Identity", "ReadVariableOp") and tensor.op.inputs:
        tensor = tensor.op.inputs[0]
    return short_name(tensor)
