# SPDX-License-Identifier: Apache-2.0
"""Session: runs parts of a graph. A run is compiled once per (fetches, feeds) and then replayed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from host_engine.fetches import FetchPlan
from host_engine.framework.build import to_array
from host_engine.framework.dtypes import string
from host_engine.framework.graph import Graph, get_default_graph
from host_engine.framework.tensor import Tensor
from host_engine.ops.random import RandomState
from host_engine.ops.state import Storage
from host_engine.plan import Context, Plan

_local = threading.local()


def _sessions() -> list[Session]:
    if not hasattr(_local, "sessions"):
        _local.sessions = []
    return _local.sessions


def get_default_session() -> Session | None:
    """The innermost session entered in this thread, or None."""
    stack = _sessions()
    return stack[-1] if stack else None


def session_for(graph: Graph, session: Any, what: str, method: str) -> Any:
    """`session`, or the default one; ValueError if there is none or it runs another graph."""
    verb = {"eval": "evaluate tensor using `eval()`", "run": "execute operation using `run()`"}
    if session is None:
        session = get_default_session()
        if session is None:
            raise ValueError(
                f"Cannot {verb[method]}: No default session is registered. Use "
                f"`with sess.as_default()` or pass an explicit session to "
                f"`{method}(session=sess)`"
            )
        if session.graph is not graph:
            raise ValueError(
                f"Cannot use the default session to {verb[method].split(' using')[0]}: the "
                f"{what}'s graph is different from the session's graph. Pass an explicit "
                f"session to `{method}(session=sess)`."
            )
    elif session.graph is not graph:
        raise ValueError(
            f"Cannot use the given session to {verb[method].split(' using')[0]}: the {what}'s "
            "graph is different from the session's graph."
        )
    return session


class Session:
    """Runs operations of `graph` (default: the default graph) and holds its variables' values.

    As a context manager it is the default session inside and closed afterwards. `target` and
    `config` are accepted for compatibility; everything runs in this process.
    """

    def __init__(self, target: str = "", graph: Graph | None = None, config: Any = None) -> None:
        self.graph = get_default_graph() if graph is None else graph
        if not isinstance(self.graph, Graph):
            raise TypeError(f"graph must be a tf.Graph, but got {type(graph)}")
        self._closed = False
        self._context = Context(np, Storage(np), RandomState())
        self._plans: dict[Any, Plan] = {}
        self._entered: list[Any] = []

    # Running

    def run(
        self, fetches: Any, feed_dict: Any = None, options: Any = None, run_metadata: Any = None
    ) -> Any:
        """The values of `fetches`, in the same structure; None for operations.

        fetches    a tensor, operation, variable or name, or a list, tuple, dict or namedtuple
                   of those, nested as you like.
        feed_dict  values for tensors (any, not only placeholders), by tensor, variable or name.

        Values are NumPy arrays, NumPy scalars for rank 0, bytes for strings. Raises TypeError
        and ValueError for bad fetches and feeds, errors.OpError when an operation fails.
        """
        if self._closed:
            raise RuntimeError("Attempted to use a closed Session.")
        if not self.graph._operations:
            raise RuntimeError(
                "The Session graph is empty.  Add operations to the graph before calling run()."
            )
        wanted = FetchPlan(self.graph, fetches)
        feeds = self._feeds(feed_dict)
        key = (tuple(wanted.elements), tuple(feeds))
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = Plan(wanted.elements, list(feeds))
        values = plan.run(self._context, feeds.values())
        return wanted.build([_to_user(v) for v in values])

    def _feeds(self, feed_dict: Any) -> dict[Tensor, Any]:
        feeds: dict[Tensor, Any] = {}
        for key, value in (feed_dict or {}).items():
            for tensor, part in _fed_pairs(key, value):
                target = _fed_tensor(self.graph, tensor)
                feeds[target] = self._context.xp.asarray(_fed_value(target, part))
        return feeds

    def make_callable(self, fetches: Any, feed_list: Any = None) -> Callable[..., Any]:
        """A function of the values of `feed_list` that runs `fetches`."""
        keys = list(feed_list or [])
        return lambda *values: self.run(fetches, dict(zip(keys, values, strict=True)))

    # Life

    def close(self) -> None:
        """Frees the variables; running again raises RuntimeError."""
        self._closed = True
        self._plans.clear()
        self._context = Context(np, Storage(np), RandomState())

    @contextmanager
    def as_default(self) -> Iterator[Session]:
        """Makes this the default session of the thread; does not close it."""
        stack = _sessions()
        stack.append(self)
        try:
            yield self
        finally:
            stack.remove(self)

    def __enter__(self) -> Session:
        managers: list[Any] = [self.graph.as_default(), self.as_default()]
        for manager in managers:
            manager.__enter__()
        self._entered.append(managers)
        return self

    def __exit__(self, *error: Any) -> None:
        for manager in reversed(self._entered.pop()):
            manager.__exit__(*error)
        self.close()


class InteractiveSession(Session):
    """A session that is the default one (and its graph the default graph) until it is closed."""

    def __init__(self, target: str = "", graph: Graph | None = None, config: Any = None) -> None:
        super().__init__(target, graph, config)
        self._managers: list[Any] = [self.as_default()]
        if graph is not None:
            self._managers.append(graph.as_default())
        for manager in self._managers:
            manager.__enter__()

    def close(self) -> None:
        super().close()
        while self._managers:
            self._managers.pop().__exit__(None, None, None)


def _fed_pairs(key: Any, value: Any) -> list[tuple[Any, Any]]:
    """A tuple of tensors as key feeds each with its part of the value."""
    if isinstance(key, tuple):
        return list(zip(key, value, strict=True))
    return [(key, value)]


def _fed_tensor(graph: Graph, key: Any) -> Tensor:
    try:
        return graph.as_graph_element(key, allow_operation=False)
    except (KeyError, ValueError, TypeError) as error:
        message = error.args[0]
        raise TypeError(f"Cannot interpret feed_dict key as Tensor: {message}") from None


def _fed_value(tensor: Tensor, value: Any) -> np.ndarray:
    if isinstance(value, Tensor) or hasattr(value, "_as_tensor"):
        raise TypeError(
            "The value of a feed cannot be a tf.Tensor object. Acceptable feed values include "
            "Python scalars, strings, lists, numpy ndarrays, or TensorHandles. For reference, the "
            f"tensor object was {value} which was passed to the feed with key {tensor}."
        )
    if tensor.dtype == string:
        array = to_array(value, string)
    else:
        try:
            array = np.asarray(value, dtype=tensor.dtype.as_numpy_dtype)
        except (TypeError, ValueError) as error:
            raise type(error)(
                f"Cannot feed a {type(value).__name__} for Tensor '{tensor.name}', which holds "
                f"{tensor.dtype.name}: {error}"
            ) from None
    if isinstance(value, int) and array.item() != value and not tensor.dtype.is_floating:
        raise TypeError(
            f"Type of feed value {value} with type {type(value)} is not compatible with Tensor "
            f"type {tensor.dtype.name}. Try explicitly setting the type of the feed tensor to a "
            "larger type (e.g. int64)."
        )
    if not tensor.shape.is_compatible_with(array.shape):
        raise ValueError(
            f"Cannot feed value of shape {array.shape!r} for Tensor {tensor.name!r}, which has "
            f"shape '{tensor.shape}'"
        )
    return array


def _to_user(value: Any) -> Any:
    """A copy that later runs cannot change; rank 0 as a scalar."""
    if value is None:
        return None
    array = np.asarray(value)
    return array[()] if array.ndim == 0 else np.array(array)


__all__ = ["InteractiveSession", "Session", "get_default_session"]
