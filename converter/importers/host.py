# SPDX-License-Identifier: Apache-2.0
"""Imports TensorFlow graphs: sessions of the host engine, and frozen GraphDefs, which become one.

What depends on no input is computed by the session itself, so weights, shapes and axes arrive as
constants however they were made. What remains is converted op by op with the rows of
:mod:`converter.importers.tensorflow`. Only this module of the package sees host_engine.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from converter import ir
from converter.errors import ConversionError, ObstacleError
from converter.importers.builder import Builder
from converter.importers.forms import basic
from converter.importers.forms.complexes import Complex
from converter.importers.graph_files import (
    VARIABLES,
    frozen_checkpoint,
    open_graphdef,
    tensor_name,
)
from converter.importers.no_form import NoForm
from converter.importers.tensorflow.context import device_type
from converter.importers.tensorflow.graph import GraphImport, producers_first, short_name
from converter.importers.tensorflow.random_draws import RANDOM, settled
from converter.importers.tensorflow.rows import ROWS

_LARGEST = 1 << 31  # bytes of a constant
_BATCH_SAMPLES, _OTHER_SAMPLES = (2, 3), (64, 96)


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


def from_graphdef(
    source: str | os.PathLike[str] | bytes,
    inputs: Iterable[str] | None = None,
    outputs: Iterable[str] | None = None,
    input_shapes: Mapping[str, Sequence[int | None]] | None = None,
) -> ir.Model:
    """Model of a frozen GraphDef: a .pb or .pbtxt file, or its bytes.

    `inputs` are by default the Placeholders, `outputs` the nodes whose results nothing reads; both
    are names such as "scores" or "top:1". `input_shapes` is as in :func:`from_session`. No pass is
    run.

    Raises ConversionError where the file is damaged or not frozen, and, listing every obstacle with
    its node's name, where an op has no form in TFLite.
    """
    session, own_inputs, own_outputs = open_graphdef(source)
    given = own_inputs if inputs is None else list(inputs)
    wanted = own_outputs if outputs is None else list(outputs)
    shapes = {tensor_name(name): dims for name, dims in (input_shapes or {}).items()}
    named = [tensor_name(name) for name in given]
    return from_session(session, named, map(tensor_name, wanted), input_shapes=shapes)


def from_checkpoint(
    prefix: str | os.PathLike[str],
    outputs: Iterable[str],
    input_shapes: Mapping[str, Sequence[int | None]] | None = None,
    constants: Mapping[str, Any] | None = None,
) -> ir.Model:
    """Model of the graph in PREFIX.meta with the variables of the checkpoint PREFIX.

    `outputs` are names of nodes or tensors; `constants` gives placeholders their values for good,
    such as ``{"keep_prob": 1.0}``; the other placeholders that the outputs need are the inputs.
    `input_shapes` is as in :func:`from_session`. No pass is run.

    Raises ConversionError where files are missing or damaged, and as :func:`from_graphdef` does.
    """
    names = list(outputs)
    content = frozen_checkpoint(prefix, names, constants or {})
    return from_graphdef(content, None, names, input_shapes)


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
        # What is named twice is one end: signatures have its name once.
        self.inputs = list(dict.fromkeys(self._tensor(t) for t in inputs))
        self.outputs = list(dict.fromkeys(self._tensor(t) for t in outputs))
        self.shapes = {self._tensor(t): tuple(shape) for t, shape in input_shapes.items()}
        self.feeds = {self._tensor(t): value for t, value in constants.items()}
        self.builder = Builder("main")
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
            reason = error.args[0] if error.args else error
            raise ConversionError(
                f"{tensor!r} is no tensor of the session's graph: {reason}"
            ) from (error)
        return found

    def model(self) -> ir.Model:
        needed = self._needed()
        self._freeze(needed, self._fixed(needed))
        graph = GraphImport(
            self.builder, ROWS, arrays=self.arrays, function=self._function, settle=self._settled
        )
        for tensor in self.inputs:
            self._add_input(graph, tensor)
        graph.prepare([t for t in self.outputs if not graph.has(t)])
        obstacles = [*self.obstacles, *graph.obstacles]
        if obstacles:
            raise ObstacleError("the graph", obstacles)
        outputs = [short_name(t) for t in self.outputs]
        self.builder.graph.outputs = self._output_values(graph)
        _remove_unread(self.builder.graph)
        named = list(zip(outputs, self.builder.graph.outputs, strict=True))
        return self.builder.model([short_name(t) for t in self.inputs], named)

    # -- freezing -----------------------------------------------------------------------------

    def _needed(self) -> list[Any]:
        """Ops that the outputs depend on, producers first, cut at the inputs and constants."""
        return producers_first(self.outputs, lambda op: op.inputs, self._is_given)

    def _is_given(self, tensor: Any) -> bool:
        return tensor in self.inputs or tensor in self.feeds

    def _fixed(self, needed: list[Any]) -> set[Any]:
        """Ops that the session can compute and whose value depends on no input and no draw."""
        fixed: set[Any] = set()
        for op in needed:
            if op.type.startswith(RANDOM) or (not op.inputs and op.type not in VARIABLES):
                continue
            computed = op.type in VARIABLES or op.definition.compute is not None
            if op._imported and op.type != "Const":  # those of a session can be run
                computed = computed and all(other in fixed for other in op.control_inputs)
            if computed and all(self._is_fixed(t, fixed) for t in op.inputs):
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
        for op in fixed:
            if op.type == "Const" and op.control_inputs:  # which a frozen graph cannot always run
                self.feeds.setdefault(op.outputs[0], op.get_attr("value"))
        self._check_sizes(fixed)
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

    def _check_sizes(self, fixed: set[Any]) -> None:
        """No constant is so large that only a damaged file can mean it."""
        for op in fixed:
            for tensor in op.outputs:
                count = tensor.shape.num_elements() if tensor.shape.ndims is not None else None
                if count is not None and count * tensor.dtype.base_dtype.size > _LARGEST:
                    raise ConversionError(
                        f"the constant '{tensor.name}' has the shape {_dims(tensor)}, more than"
                        f" {_LARGEST} bytes: the file is damaged, or the model too large"
                    )

    def _settled(self, tensor: Any) -> np.ndarray | None:
        return settled(tensor, self.arrays)

    def _function(self, name: str) -> tuple[Any, list[Any], list[Any]]:
        from host_engine.errors import OpError

        try:
            found: tuple[Any, list[Any], list[Any]] = self.sess.graph.function(name)
            return found
        except (ValueError, OpError) as error:
            raise NoForm(f"calls a function that cannot be read: {error}") from error

    # -- the model's ends ---------------------------------------------------------------------

    def _add_input(self, graph: GraphImport, tensor: Any) -> None:
        dims = self.shapes.get(tensor)
        if dims is None and tensor.shape.ndims is None:
            self.obstacles.append(
                f"input '{tensor.op.name}' has no known rank: give its shape in input_shapes"
            )
        sizes: list[int | tuple[int, int]] = []
        for axis, size in enumerate(_dims(tensor) if dims is None else dims):
            dynamic = size is None or size < 0
            samples = _OTHER_SAMPLES if axis else _BATCH_SAMPLES
            sizes.append(samples if dynamic or size is None else int(size))
        dtype = ir.dtype_name(tensor.dtype.base_dtype.as_numpy_dtype)
        given = self.builder.input(short_name(tensor), dtype, sizes)
        self.builder.scope = tensor.op.name
        try:
            graph.values[tensor] = basic.cast(self.builder, given, device_type(tensor.dtype))
        except NoForm as error:
            self.obstacles.append(f"input '{tensor.op.name}' {error}")
            graph.values[tensor] = given

    def _output_values(self, graph: GraphImport) -> list[ir.Value]:
        """Values for the outputs, each made by a node of its own name where it can be."""
        found: list[ir.Value] = []
        for tensor in self.outputs:
            self.builder.scope = tensor.op.name
            value = graph.value(tensor)
            if isinstance(value, Complex):
                raise ConversionError(
                    f"output '{tensor.op.name}' holds complex numbers, which TFLite's ops do not"
                    " make: give tf.math.real and tf.math.imag of it"
                )
            if not isinstance(value, ir.Value):
                raise ConversionError(
                    f"output '{tensor.op.name}' is a list of tensors: choose a tensor"
                )
            if tensor.dtype.base_dtype.name == "float64":
                value = basic.cast(self.builder, value, "FLOAT64")
            if value.producer is None or any(value is other for other in found):
                value = self._copied(tensor, value)
            else:
                value.name = short_name(tensor)
            found.append(value)
        return found

    def _copied(self, tensor: Any, value: ir.Value) -> ir.Value:
        """A RESHAPE to the same shape, because an input or a constant cannot be an output."""
        sizes = [-1 if d is None else d for d in self.builder.dims(value)]
        if sizes.count(-1) > 1:
            raise ConversionError(
                f"output '{tensor.op.name}' is an input with two dynamic dimensions; leave it out"
            )
        shape = basic.int32s(self.builder, sizes, "shape")
        outputs = [(value.dtype, self.builder.pair(value))]
        (copy,) = self.builder.append("RESHAPE", [value, shape], outputs, {})
        copy.name = short_name(tensor)
        return copy


def _remove_unread(graph: ir.Graph) -> None:
    """Nodes that nothing reads: what was tried, or went into another form."""
    for node in reversed(graph.nodes[:]):
        if not any(v.users or graph.is_output(v) for v in node.outputs):
            graph.remove_node(node)


def _dims(tensor: Any) -> list[int | None]:
    return [] if tensor.shape.ndims is None else list(tensor.shape.as_list())
