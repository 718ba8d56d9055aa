# SPDX-License-Identifier: Apache-2.0
"""Graph: a set of operations with unique names, scopes and collections; and the default graph."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from host_engine.framework.dtypes import DType, as_dtype
from host_engine.framework.frames import Frame, frame_of
from host_engine.framework.origins import canonical_device, user_frames
from host_engine.framework.registry import OpDef, lookup
from host_engine.framework.shape import as_shape
from host_engine.framework.tensor import Operation, Tensor

_VALID_NAME = re.compile(r"^[A-Za-z0-9.][A-Za-z0-9_.\\/\-]*$")
_VALID_INNER_SCOPE = re.compile(r"^[A-Za-z0-9_.\\/\-]*$")


class GraphKeys:
    """Names of the standard collections."""

    GLOBAL_VARIABLES = "variables"
    VARIABLES = "variables"
    LOCAL_VARIABLES = "local_variables"
    MODEL_VARIABLES = "model_variables"
    TRAINABLE_VARIABLES = "trainable_variables"
    MOVING_AVERAGE_VARIABLES = "moving_average_variables"
    REGULARIZATION_LOSSES = "regularization_losses"
    UPDATE_OPS = "update_ops"
    LOSSES = "losses"
    GLOBAL_STEP = "global_step"
    TRAIN_OP = "train_op"
    INIT_OP = "init_op"
    LOCAL_INIT_OP = "local_init_op"
    WEIGHTS = "weights"
    BIASES = "biases"
    ACTIVATIONS = "activations"


class Graph:
    """A TensorFlow 1 graph: operations are added, never changed or removed."""

    def __init__(self) -> None:
        self._operations: list[Operation] = []
        self._by_name: dict[str, Operation] = {}
        self._names_in_use: dict[str, int] = {}
        self._scope = ""
        self._collections: dict[str, list[Any]] = {}
        self._control_stack: list[list[Operation]] = []
        self._device_stack: list[str] = []
        self._finalized = False
        self.seed: int | None = None
        self.variable_scope_state: Any = None
        self.functions: dict[str, Any] = {}  # FunctionDefs of imported graphs
        self._bodies: dict[str, Any] = {}  # functions as (graph, arguments, results)
        self.plans: dict[str, Any] = {}  # of this function, by its name
        self._loops: dict[Operation, Any] = {}

    # Operations

    def create_op(
        self,
        op_type: str,
        inputs: Sequence[Tensor],
        attrs: dict[str, Any] | None = None,
        name: str | None = None,
        definition: OpDef | None = None,
    ) -> Operation:
        """Adds an operation; a name ending in "/" is taken as it is, others are made unique.

        Raises ValueError if an input belongs to another graph or the shapes do not fit, and
        RuntimeError if the graph is finalized.
        """
        self._check_not_finalized()
        definition = definition or lookup(op_type)
        for tensor in inputs:
            if tensor.graph is not self:
                other = inputs[0] if inputs[0].graph is self else tensor
                raise ValueError(f"{tensor} must be from the same graph as {other}.")
        name = name or op_type
        name = name[:-1] if name.endswith("/") else self.unique_name(name)
        control = self._control_inputs(inputs)
        device = self._device_stack[-1] if self._device_stack else ""
        op = Operation(self, definition, name, inputs, attrs or {}, control, device, user_frames())
        op._id = len(self._operations) + 1
        try:
            shapes = [as_shape(s) for s in definition.shape(op)]
        except ValueError as error:
            shapes_text = ", ".join(_dims_text(t) for t in inputs)
            raise ValueError(
                f"{error} for '{name}' (op: '{op_type}') with input shapes: {shapes_text}."
            ) from None
        for index, (dtype, shape) in enumerate(zip(_dtypes(op, len(shapes)), shapes, strict=True)):
            op.outputs.append(Tensor(op, index, dtype, shape))
        self._operations.append(op)
        self._by_name[name] = op
        return op

    def _control_inputs(self, inputs: Sequence[Tensor]) -> list[Operation]:
        direct = {t.op for t in inputs}
        found = dict.fromkeys(op for level in self._control_stack for op in level)
        return [op for op in found if op not in direct]

    def get_operations(self) -> list[Operation]:
        return list(self._operations)

    def get_operation_by_name(self, name: str) -> Operation:
        return self.as_graph_element(name, allow_tensor=False)

    def get_tensor_by_name(self, name: str) -> Tensor:
        return self.as_graph_element(name, allow_operation=False)

    def as_graph_element(
        self, obj: Any, allow_tensor: bool = True, allow_operation: bool = True
    ) -> Any:
        """The tensor or operation of this graph meant by a name, Tensor, Operation or Variable.

        Raises KeyError for an unknown name, ValueError for a malformed name or an element of
        another graph, TypeError for anything else.
        """
        if hasattr(obj, "_as_graph_element"):
            obj = obj._as_graph_element()
        if isinstance(obj, str):
            return self._named(obj, allow_tensor, allow_operation)
        if (isinstance(obj, Tensor) and allow_tensor) or (
            isinstance(obj, Operation) and allow_operation
        ):
            if obj.graph is not self:
                kind = "Tensor" if isinstance(obj, Tensor) else "Operation"
                raise ValueError(f"{kind} {obj} is not an element of this graph.")
            return obj
        kinds = [k for k, a in (("Tensor", allow_tensor), ("Operation", allow_operation)) if a]
        raise TypeError(f"Can not convert a {type(obj).__name__} into a {' or '.join(kinds)}.")

    def _named(self, name: str, allow_tensor: bool, allow_operation: bool) -> Any:
        if ":" in name and allow_tensor:
            op_name, _, index = name.rpartition(":")
            if not op_name or not index.isdigit():
                raise ValueError(
                    f"The name {name!r} looks a like a Tensor name, but is not a valid one. "
                    'Tensor names must be of the form "<op_name>:<output_index>".'
                )
            op = self._by_name.get(op_name)
            if op is None:
                raise KeyError(
                    f"The name {name!r} refers to a Tensor which does not exist. "
                    f"The operation, {op_name!r}, does not exist in the graph."
                )
            if int(index) >= len(op.outputs):
                raise KeyError(
                    f"The name {name!r} refers to a Tensor which does not exist. The operation, "
                    f"{op_name!r}, exists but only has {len(op.outputs)} outputs."
                )
            return op.outputs[int(index)]
        if name in self._by_name and allow_operation:
            return self._by_name[name]
        if name in self._by_name:
            raise ValueError(
                f"The name {name!r} refers to an Operation, not a Tensor. Tensor names must be "
                'of the form "<op_name>:<output_index>".'
            )
        raise KeyError(
            f"The name {name!r} refers to an Operation not in the graph."
            if allow_operation
            else f"The name {name!r} looks like an (invalid) Operation name, not a Tensor. "
            'Tensor names must be of the form "<op_name>:<output_index>".'
        )

    def as_graph_def(self, from_version: int | None = None, add_shapes: bool = False) -> Any:
        """This graph as a GraphDef, which TensorFlow reads too."""
        from host_engine.graphdef import exporting

        return exporting.graph_def_of(self, add_shapes)

    # Functions and loops

    @property
    def root(self) -> Graph:
        """The graph around all bodies of loops and branches: this one."""
        return self

    def is_inside(self, graph: Graph) -> bool:
        return self is graph

    def function(self, name: str) -> tuple[Graph, list[Tensor], list[Tensor]]:
        """(graph, arguments, results) of a function of this graph's library.

        ValueError where there is none of this name, or its definition is damaged.
        """
        if name not in self._bodies:
            if name not in self.functions:
                raise ValueError(f"calls the function '{name}', which the graph does not have")
            from host_engine.graphdef.importing import function_graph

            self._bodies[name] = function_graph(self.functions[name], self.functions)
        return self._bodies[name]

    def has_function(self, name: str) -> bool:
        return name in self._bodies or name in self.functions

    def loop_of(self, op: Operation) -> Frame:
        """The loop of TensorFlow 1 that `op`, an Exit, leaves; ValueError where it is damaged."""
        if op not in self._loops:
            self._loops[op] = frame_of(op)
        return self._loops[op]

    # Names and scopes

    def unique_name(self, name: str, mark_as_used: bool = True) -> str:
        """`name` within the current scope, with _1, _2... appended while it is taken.

        Names that differ only in case count as equal, as in TensorFlow 1.15.
        """
        if self._scope:
            name = f"{self._scope}/{name}"
        key = name.lower()
        count = self._names_in_use.get(key, 0)
        if mark_as_used:
            self._names_in_use[key] = count + 1
        if count > 0:
            base = key
            while key in self._names_in_use:
                key = f"{base}_{count}"
                count += 1
            if mark_as_used:
                self._names_in_use[key] = 1
            name = f"{name}_{count - 1}"
        return name

    @contextmanager
    def name_scope(self, name: str | None) -> Iterator[str]:
        """Enters a scope and yields its prefix ("relu_1/"); None resets, "relu/" re-enters."""
        if name:
            pattern = _VALID_INNER_SCOPE if self._scope else _VALID_NAME
            if not pattern.match(name):
                raise ValueError(f"'{name}' is not a valid scope name")
        outer = self._scope
        if not name:
            self._scope = ""
        elif name.endswith("/"):
            self._scope = name[:-1]
        else:
            self._scope = self.unique_name(name)
        try:
            yield self._scope + "/" if self._scope else ""
        finally:
            self._scope = outer

    def get_name_scope(self) -> str:
        return self._scope

    @contextmanager
    def device(self, name: Any) -> Iterator[None]:
        """Records `name` as the device of the operations created inside."""
        self._device_stack.append("" if name is None else canonical_device(str(name)))
        try:
            yield
        finally:
            self._device_stack.pop()

    @contextmanager
    def control_dependencies(self, control_inputs: Any) -> Iterator[None]:
        """Operations created inside wait for `control_inputs`; None clears the outer ones."""
        saved = self._control_stack
        if control_inputs is None:
            self._control_stack = []
        else:
            level = []
            for item in control_inputs:
                element = self.as_graph_element(item)
                level.append(element.op if isinstance(element, Tensor) else element)
            self._control_stack = [*saved, level]
        try:
            yield
        finally:
            self._control_stack = saved

    # Collections

    def add_to_collection(self, name: str, value: Any) -> None:
        self._check_not_finalized()
        self._collections.setdefault(name, []).append(value)

    def add_to_collections(self, names: Any, value: Any) -> None:
        for name in dict.fromkeys((names,) if isinstance(names, str) else names):
            self.add_to_collection(name, value)

    def get_collection_ref(self, name: str) -> list[Any]:
        return self._collections.setdefault(name, [])

    def get_collection(self, name: str, scope: str | None = None) -> list[Any]:
        """A copy of collection `name`, of the items whose name matches the regex `scope`."""
        items = self._collections.get(name, [])
        if scope is None:
            return list(items)
        match = re.compile(scope).match
        return [item for item in items if hasattr(item, "name") and match(item.name)]

    def get_all_collection_keys(self) -> list[str]:
        return [key for key in self._collections if isinstance(key, str)]

    def clear_collection(self, name: str) -> None:
        self._check_not_finalized()
        self._collections.pop(name, None)

    # Life

    @property
    def finalized(self) -> bool:
        return self._finalized

    def finalize(self) -> None:
        """Makes the graph read-only."""
        self._finalized = True

    def _check_not_finalized(self) -> None:
        if self._finalized:
            raise RuntimeError("Graph is finalized and cannot be modified.")

    @contextmanager
    def as_default(self) -> Iterator[Graph]:
        """Makes this the graph that new operations are added to, in this thread."""
        stack = _stack()
        stack.append(self)
        try:
            yield self
        finally:
            stack.remove(self)

    def session_for(self, session: Any, what: str, method: str) -> Any:
        """`session`, or the default one; ValueError if there is none or it runs another graph."""
        from host_engine.session import session_for

        return session_for(self, session, what, method)


def _dtypes(op: Operation, count: int) -> list[DType]:
    rule = op.definition.dtype
    if count == 0:
        return []
    if rule is None:
        return [op.inputs[0].dtype] * count
    if isinstance(rule, DType):
        return [rule] * count
    if isinstance(rule, str):
        return [as_dtype(op._attrs[rule])] * count
    return list(rule(op))


def _dims_text(tensor: Tensor) -> str:
    sizes = tensor.shape.sizes
    if sizes is None:
        return "<unknown>"
    return "[" + ",".join("?" if s is None else str(s) for s in sizes) + "]"


# The default graph is thread-local, as sessions' and TensorFlow's are; all threads share the
# graph that is there when nobody entered one.
_local = threading.local()
_global_default: list[Graph] = []


def _stack() -> list[Graph]:
    if not hasattr(_local, "graphs"):
        _local.graphs = []
    return _local.graphs


def get_default_graph() -> Graph:
    """The innermost graph entered in this thread, or the global one."""
    stack = _stack()
    if stack:
        return stack[-1]
    if not _global_default:
        _global_default.append(Graph())
    return _global_default[0]


def reset_default_graph() -> None:
    """Replaces the global default graph by an empty one; AssertionError inside `as_default`."""
    if _stack():
        raise AssertionError(
            "Do not use tf.reset_default_graph() to clear nested graphs. If you need a cleared "
            "graph, exit the nesting and create a new graph."
        )
    _global_default.clear()
