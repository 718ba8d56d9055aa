# SPDX-License-Identifier: Apache-2.0
"""The structure of fetches: what elements it names and how values are put back into it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from host_engine.framework.graph import Graph
from host_engine.framework.tensor import Operation, Tensor


class FetchPlan:
    """`elements`: the distinct tensors and operations in a structure; `build` fills it."""

    def __init__(self, graph: Graph, fetches: Any) -> None:
        self._graph = graph
        self._slots: dict[Any, int] = {}
        self.elements: list[Tensor | Operation] = []
        self._structure = self._parse(fetches)

    def build(self, values: Sequence[Any]) -> Any:
        """The fetched structure with `values`, one for each of `elements`."""
        return self._structure(values)

    def _parse(self, fetch: Any) -> Callable[[Sequence[Any]], Any]:
        if fetch is None:
            raise TypeError(f"Fetch argument None has invalid type {type(None)}")
        if isinstance(fetch, Mapping):
            return self._mapping(fetch)
        if isinstance(fetch, (list, tuple)):
            return self._sequence(fetch)
        slot = self._slot(fetch)
        return lambda values: values[slot]

    def _sequence(self, fetch: Any) -> Callable[[Sequence[Any]], Any]:
        parts = [self._parse(item) for item in fetch]
        if hasattr(fetch, "_fields"):
            named = type(fetch)
            return lambda values: named(*[part(values) for part in parts])
        kind = tuple if isinstance(fetch, tuple) else list
        return lambda values: kind([part(values) for part in parts])

    def _mapping(self, fetch: Any) -> Callable[[Sequence[Any]], Any]:
        parts = {key: self._parse(item) for key, item in fetch.items()}
        kind = type(fetch)
        return lambda values: kind((key, part(values)) for key, part in parts.items())

    def _slot(self, fetch: Any) -> int:
        try:
            element = self._graph.as_graph_element(fetch)
        except TypeError as error:
            raise TypeError(
                f"Fetch argument {fetch!r} has invalid type {type(fetch)}, must be a string or "
                f"Tensor. ({error})"
            ) from None
        except (ValueError, KeyError) as error:
            raise ValueError(
                f"Fetch argument {fetch!r} cannot be interpreted as a Tensor. ({error.args[0]})"
            ) from None
        if element not in self._slots:
            self._slots[element] = len(self.elements)
            self.elements.append(element)
        return self._slots[element]
