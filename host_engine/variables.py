# SPDX-License-Identifier: Apache-2.0
"""Variable: state kept by sessions, with its initializer and its read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from host_engine.framework.build import build, convert_to_tensor, name_scope
from host_engine.framework.dtypes import DType, as_dtype
from host_engine.framework.graph import Graph, GraphKeys, get_default_graph
from host_engine.framework.operators import Operators
from host_engine.framework.shape import UNKNOWN, TensorShape
from host_engine.framework.tensor import Operation, Tensor
from host_engine.ops import control, state
from host_engine.ops.source import identity


class Variable(Operators):
    """A tensor that keeps its value between runs of a session.

    `initial_value` is a tensor, anything convertible to one, or a function without arguments
    (then `dtype` is recommended). The variable joins the collections `collections` (default:
    GLOBAL_VARIABLES) and, if `trainable`, TRAINABLE_VARIABLES. With `validate_shape` false the
    shape may change with each assignment.

    Raises ValueError if there is no initial value or its shape is not known.
    """

    def __init__(
        self,
        initial_value: Any = None,
        trainable: bool = True,
        collections: Sequence[str] | None = None,
        validate_shape: bool = True,
        caching_device: Any = None,
        name: str | None = None,
        variable_def: Any = None,
        dtype: Any = None,
        expected_shape: Any = None,
        import_scope: Any = None,
        constraint: Callable[[Tensor], Tensor] | None = None,
        **_: Any,
    ) -> None:
        if initial_value is None:
            raise ValueError("initial_value must be specified.")
        self.trainable = trainable
        self.constraint = constraint
        graph = get_default_graph().root
        values = [] if callable(initial_value) else [initial_value]
        with (
            graph.as_default(),
            graph.control_dependencies(None),
            name_scope(name, "Variable", values) as scope,
        ):
            self._initial_value = _initial(initial_value, dtype)
            shape = self._initial_value.shape if validate_shape else UNKNOWN
            if validate_shape and not shape.is_fully_defined():
                raise ValueError(
                    f"initial_value must have a shape specified: {self._initial_value}"
                )
            attrs = {"shape": shape, "dtype": self._initial_value.dtype}
            self._variable: Tensor = build("VariableV2", [], attrs, scope)
            self.initializer: Operation = state.assign(
                self._variable, self._initial_value, validate_shape, name="Assign"
            ).op
            self._snapshot = identity(self._variable, name="read")
        wanted = [GraphKeys.GLOBAL_VARIABLES] if collections is None else list(collections)
        if trainable and GraphKeys.TRAINABLE_VARIABLES not in wanted:
            wanted.append(GraphKeys.TRAINABLE_VARIABLES)
        self.graph.add_to_collections(wanted, self)

    @classmethod
    def of_imported(
        cls, variable: Tensor, initializer: Operation, snapshot: Tensor, trainable: bool
    ) -> Variable:
        """The variable of nodes that are in the graph already, as import_meta_graph finds them."""
        made = cls.__new__(cls)
        made.trainable, made.constraint = trainable, None
        made._variable, made.initializer, made._snapshot = variable, initializer, snapshot
        made._initial_value = initializer.inputs[1]
        return made

    # How the engine sees a variable

    def _as_tensor(self) -> Tensor:
        return self._snapshot

    def _as_reference(self) -> Tensor:
        return self._variable

    def _as_graph_element(self) -> Tensor:
        return self._variable

    # Facts

    @property
    def name(self) -> str:
        return self._variable.name

    @property
    def op(self) -> Operation:
        return self._variable.op

    @property
    def graph(self) -> Graph:
        return self._variable.graph

    @property
    def device(self) -> str:
        return self._variable.device

    @property
    def dtype(self) -> DType:
        return self._variable.dtype

    @property
    def shape(self) -> TensorShape:
        return self._variable.shape

    def get_shape(self) -> TensorShape:
        return self._variable.shape

    def set_shape(self, shape: Any) -> None:
        self._variable.set_shape(shape)
        self._snapshot.set_shape(shape)

    @property
    def initial_value(self) -> Tensor:
        return self._initial_value

    # Reading and writing

    def value(self) -> Tensor:
        """The tensor that reads the variable."""
        return self._snapshot

    def read_value(self) -> Tensor:
        """A new read, which waits for the control dependencies in force."""
        return identity(self._variable, name="read")

    def assign(
        self,
        value: Any,
        use_locking: bool = False,
        name: str | None = None,
        read_value: bool = True,
    ) -> Any:
        """A tensor that, when run, sets the variable and holds its new value."""
        new = state.assign(self._variable, value, name=name)
        return new if read_value else new.op

    def assign_add(
        self,
        delta: Any,
        use_locking: bool = False,
        name: str | None = None,
        read_value: bool = True,
    ) -> Any:
        new = state.assign_add(self._variable, delta, name=name)
        return new if read_value else new.op

    def assign_sub(
        self,
        delta: Any,
        use_locking: bool = False,
        name: str | None = None,
        read_value: bool = True,
    ) -> Any:
        new = state.assign_sub(self._variable, delta, name=name)
        return new if read_value else new.op

    def eval(self, session: Any = None) -> Any:
        """The value in `session` or the default session."""
        return self._variable.eval(session=session)

    def load(self, value: Any, session: Any = None) -> None:
        """Sets the value in `session` without adding to the graph."""
        chosen = self.graph.session_for(session, "tensor", "eval")
        chosen.run(self.initializer, {self.initializer.inputs[1]: np.asarray(value)})

    def __bool__(self) -> bool:
        return bool(self._snapshot)

    def __iter__(self) -> Any:
        raise TypeError("'Variable' object is not iterable.")

    def __repr__(self) -> str:
        return f"<tf.Variable '{self.name}' shape={self.shape} dtype={self.dtype.name}_ref>"


def _initial(value: Any, dtype: Any) -> Tensor:
    wanted = None if dtype is None else as_dtype(dtype)
    if not callable(value):
        return convert_to_tensor(value, wanted, name="initial_value")
    with get_default_graph().name_scope("Initializer"):
        return convert_to_tensor(value(), wanted, name="initial_value")


# Collections of variables


def global_variables(scope: str | None = None) -> list[Variable]:
    """All variables of the default graph that sessions save and share."""
    return get_default_graph().get_collection(GraphKeys.GLOBAL_VARIABLES, scope)


def local_variables(scope: str | None = None) -> list[Variable]:
    return get_default_graph().get_collection(GraphKeys.LOCAL_VARIABLES, scope)


def trainable_variables(scope: str | None = None) -> list[Variable]:
    """The variables that optimizers change by default."""
    return get_default_graph().get_collection(GraphKeys.TRAINABLE_VARIABLES, scope)


def model_variables(scope: str | None = None) -> list[Variable]:
    return get_default_graph().get_collection(GraphKeys.MODEL_VARIABLES, scope)


def moving_average_variables(scope: str | None = None) -> list[Variable]:
    return get_default_graph().get_collection(GraphKeys.MOVING_AVERAGE_VARIABLES, scope)


def variables_initializer(var_list: Sequence[Variable], name: str = "init") -> Operation:
    """An operation that initializes the variables of `var_list`."""
    return control.group(*[v.initializer for v in var_list], name=name)


def global_variables_initializer() -> Operation:
    """An operation that initializes the global variables made so far."""
    return variables_initializer(global_variables())


def local_variables_initializer() -> Operation:
    return variables_initializer(local_variables())


def report_uninitialized_variables(var_list: Any = None, name: str = "report") -> Tensor:
    """The names (bytes) of the variables that have no value in the session."""
    chosen = global_variables() + local_variables() if var_list is None else list(var_list)
    from host_engine.framework.build import constant
    from host_engine.ops.gather import gather
    from host_engine.ops.select import where

    with name_scope(name):
        if not chosen:
            return constant(np.array([], dtype=object))
        flags = [state.is_variable_initialized(v) for v in chosen]
        missing = build("LogicalNot", [build("Pack", [flags], {"axis": 0})])
        names = constant([v.op.name for v in chosen])
        return gather(names, build("Reshape", [where(missing), [-1]]))
