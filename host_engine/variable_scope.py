# SPDX-License-Identifier: Apache-2.0
"""Sharing variables by name: get_variable and variable_scope."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from host_engine.framework import dtypes
from host_engine.framework.dtypes import DType, as_dtype
from host_engine.framework.graph import Graph, GraphKeys, get_default_graph
from host_engine.framework.shape import as_shape
from host_engine.framework.tensor import Tensor
from host_engine.initializers import GlorotUniform, Initializer, Zeros
from host_engine.variables import Variable


class _Reuse(enum.Enum):
    AUTO_REUSE = 1


AUTO_REUSE = _Reuse.AUTO_REUSE


class VariableScope:
    """A prefix of variable names with defaults for the variables made inside."""

    def __init__(
        self,
        reuse: Any,
        name: str = "",
        initializer: Any = None,
        regularizer: Any = None,
        name_scope: str = "",
        dtype: Any = dtypes.float32,
    ) -> None:
        self.reuse = reuse
        self.name = name
        self.initializer = initializer
        self.regularizer = regularizer
        self.original_name_scope = name_scope
        self.dtype: DType = as_dtype(dtype)

    def reuse_variables(self) -> None:
        """From now on get_variable only returns variables that exist."""
        self.reuse = True

    def set_initializer(self, initializer: Any) -> None:
        self.initializer = initializer

    def set_regularizer(self, regularizer: Any) -> None:
        self.regularizer = regularizer

    def global_variables(self) -> list[Variable]:
        return get_default_graph().get_collection(GraphKeys.GLOBAL_VARIABLES, self.name + "/")

    def trainable_variables(self) -> list[Variable]:
        return get_default_graph().get_collection(GraphKeys.TRAINABLE_VARIABLES, self.name + "/")

    def get_variable(self, name: str, *args: Any, **kwargs: Any) -> Variable:
        return _get(self, name, *args, **kwargs)


class _Store:
    """What a graph remembers: named variables, the scope in force, how often each was opened."""

    def __init__(self) -> None:
        self.variables: dict[str, Variable] = {}
        self.scope = VariableScope(False)
        self.opened: dict[str, int] = {}

    def enter(self, name: str) -> None:
        self.opened[name] = self.opened.get(name, 0) + 1

    def forget_inside(self, name: str) -> None:
        for other in self.opened:
            if not name or other.startswith(name + "/"):
                self.opened[other] = 0

    def unique(self, prefix: str) -> str:
        """`prefix` with _1, _2... if a scope of that name was opened in the scope in force."""
        base = f"{self.scope.name}/{prefix}" if self.scope.name else prefix
        if not self.opened.get(base):
            return prefix
        number = 1
        while self.opened.get(f"{base}_{number}"):
            number += 1
        return f"{prefix}_{number}"


def _store(graph: Graph) -> _Store:
    if graph.variable_scope_state is None:
        graph.variable_scope_state = _Store()
    return graph.variable_scope_state


def get_variable_scope() -> VariableScope:
    """The scope in force in the default graph."""
    return _store(get_default_graph()).scope


@contextmanager
def variable_scope(
    name_or_scope: Any,
    default_name: str | None = None,
    values: Any = None,
    initializer: Any = None,
    regularizer: Any = None,
    caching_device: Any = None,
    partitioner: Any = None,
    custom_getter: Any = None,
    reuse: Any = None,
    dtype: Any = None,
    use_resource: Any = None,
    constraint: Any = None,
    auxiliary_name_scope: bool = True,
) -> Iterator[VariableScope]:
    """Enters a scope by name or by object; `default_name` is made unique if the name is None.

    Also opens a name scope. `reuse` is inherited: True only returns existing variables,
    tf.AUTO_REUSE creates what is missing.
    """
    if name_or_scope is None and default_name is None:
        raise TypeError("If default_name is None then name_or_scope is required")
    if custom_getter is not None or partitioner is not None:
        raise ValueError("variable_scope: custom_getter and partitioner are not supported")
    graph = get_default_graph()
    store = _store(graph)
    outer = store.scope
    name, short, base = _resolve(store, name_or_scope, default_name)
    with ExitStack() as stack:
        scope_name = graph.get_name_scope() + "/" if graph.get_name_scope() else ""
        if auxiliary_name_scope and short:
            scope_name = stack.enter_context(graph.name_scope(short))
        store.scope = VariableScope(
            reuse or base.reuse,
            name,
            initializer or base.initializer,
            regularizer or base.regularizer,
            base.original_name_scope if base is name_or_scope else scope_name,
            base.dtype if dtype is None else dtype,
        )
        store.enter(name)
        try:
            yield store.scope
        finally:
            store.forget_inside(name)
            store.scope = outer


def _resolve(
    store: _Store, name_or_scope: Any, default_name: str | None
) -> tuple[str, str, VariableScope]:
    """(full name, name scope to open, scope inherited from)."""
    outer = store.scope
    if isinstance(name_or_scope, VariableScope):
        return name_or_scope.name, name_or_scope.name.rpartition("/")[2], name_or_scope
    if name_or_scope is not None and not isinstance(name_or_scope, str):
        raise TypeError(
            f"VariableScope: name_or_scope must be a string or VariableScope, got {name_or_scope!r}"
        )
    short = name_or_scope if name_or_scope is not None else str(default_name)
    unique = short if name_or_scope is not None else store.unique(short)
    full = f"{outer.name}/{unique}" if outer.name and unique else unique or outer.name
    return full, short, outer


def get_variable(
    name: str,
    shape: Any = None,
    dtype: Any = None,
    initializer: Any = None,
    regularizer: Any = None,
    trainable: bool = True,
    collections: Any = None,
    caching_device: Any = None,
    partitioner: Any = None,
    validate_shape: bool = True,
    use_resource: Any = None,
    custom_getter: Any = None,
    constraint: Any = None,
    **_: Any,
) -> Variable:
    """The variable `name` in the scope in force: a new one, or an existing one under reuse.

    `initializer` is an initializer, a function of (shape, dtype), or a value; by default the
    scope's, else Glorot uniform (zeros for integers and booleans).

    Raises ValueError if the variable exists and reuse is off, is missing and reuse is on, or has
    another shape or type.
    """
    if custom_getter is not None or partitioner is not None:
        raise ValueError("get_variable: custom_getter and partitioner are not supported")
    scope = get_variable_scope()
    return _get(
        scope, name, shape, dtype, initializer, regularizer, trainable, collections,
        validate_shape=validate_shape, constraint=constraint,
    )  # fmt: skip


def _get(
    scope: VariableScope,
    name: str,
    shape: Any = None,
    dtype: Any = None,
    initializer: Any = None,
    regularizer: Any = None,
    trainable: bool = True,
    collections: Any = None,
    validate_shape: bool = True,
    constraint: Any = None,
) -> Variable:
    graph = get_default_graph().root
    store = _store(graph)
    full = f"{scope.name}/{name}" if scope.name else name
    wanted = None if dtype is None else as_dtype(dtype)
    existing = store.variables.get(full)
    if existing is not None:
        return _shared(existing, full, scope, shape, wanted)
    if scope.reuse is True:
        raise ValueError(
            f"Variable {full} does not exist, or was not created with tf.get_variable(). "
            "Did you mean to set reuse=tf.AUTO_REUSE in VarScope?"
        )
    chosen = initializer if initializer is not None else scope.initializer
    with graph.as_default(), graph.control_dependencies(None), graph.name_scope(None):
        value, wanted = _initial_value(full, shape, wanted or scope.dtype, chosen, dtype is None)
        variable = Variable(
            value,
            trainable=trainable,
            collections=collections,
            validate_shape=validate_shape,
            name=full,
            dtype=wanted,
            constraint=constraint,
        )
    store.variables[full] = variable
    _regularize(graph, variable, full, regularizer or scope.regularizer)
    return variable


def _shared(
    existing: Variable, full: str, scope: VariableScope, shape: Any, dtype: DType | None
) -> Variable:
    if not scope.reuse:
        lines = "\n".join(f'  File "{f}", line {n}, in {w}' for f, n, w in existing.op.traceback)
        raise ValueError(
            f"Variable {full} already exists, disallowed. Did you mean to set reuse=True or "
            f"reuse=tf.AUTO_REUSE in VarScope? Originally defined at:\n\n{lines}\n"
        )
    if shape is not None and not as_shape(shape).is_compatible_with(existing.shape):
        raise ValueError(
            f"Trying to share variable {full}, but specified shape {as_shape(shape)} and found "
            f"shape {existing.shape}."
        )
    if dtype is not None and dtype != existing.dtype:
        raise ValueError(
            f"Trying to share variable {full}, but specified dtype {dtype.name} and found dtype "
            f"{existing.dtype.name}_ref."
        )
    return existing


def _initial_value(
    full: str, shape: Any, dtype: DType, initializer: Any, inferred: bool
) -> tuple[Any, DType | None]:
    """(initial value or a function that builds it, its type)."""
    if initializer is None:
        floating = dtype.is_floating or dtype.is_complex
        initializer = GlorotUniform() if floating else Zeros()
    if not callable(initializer):
        if shape is not None:
            raise ValueError("If initializer is a constant, do not specify shape.")
        return initializer, None if inferred else dtype
    if isinstance(initializer, type):
        initializer = initializer()
    if shape is None:
        if isinstance(initializer, Initializer):
            raise ValueError(
                f"Shape of a new variable ({full}) must be fully defined, but instead was "
                "<unknown>."
            )
        return initializer, None if inferred else dtype
    sizes = as_shape(shape)
    if not sizes.is_fully_defined():
        raise ValueError(
            f"Shape of a new variable ({full}) must be fully defined, but instead was {sizes}."
        )
    build = initializer
    return (lambda: build(sizes.as_list(), dtype=dtype)), dtype


def _regularize(graph: Graph, variable: Variable, full: str, regularizer: Any) -> None:
    if regularizer is None:
        return
    with graph.name_scope(full + "/Regularizer/"):
        loss: Tensor | None = regularizer(variable.value())
    if loss is not None:
        graph.add_to_collection(GraphKeys.REGULARIZATION_LOSSES, loss)
