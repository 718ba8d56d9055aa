# SPDX-License-Identifier: Apache-2.0
"""Graphs of the host engine and of TensorFlow."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from converter import ir
from converter.errors import ConversionError, ProofError
from converter.importers.graph_files import SERVING
from converter.sources.base import Arrays, Source, cannot_run


class SessionSource(Source):
    """A session of the host engine."""

    engine = "the session"

    def __init__(self, session: Any, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        self.session, self.inputs, self.outputs = session, list(inputs), list(outputs)

    def convert(self) -> ir.Model:
        from converter.importers.host import from_session

        return self._noted(from_session(self.session, self.inputs, self.outputs))

    def run(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        from converter.importers.host import short_name

        graph = self.session.graph
        tensors = [graph.as_graph_element(t) for t in self.outputs]
        by_name = {short_name(graph.as_graph_element(t)): t for t in self.inputs}
        found = self.session.run(tensors, {by_name[name]: x for name, x in feeds.items()})
        return {short_name(t): np.asarray(x) for t, x in zip(tensors, found, strict=True)}


class GraphDefSource(Source):
    """A frozen GraphDef, run by the host engine where it knows all of its ops, else by the package
    tensorflow where that is installed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | bytes,
        input_shapes: Mapping[str, Sequence[int | None]] | None = None,
        outputs: Sequence[str] | None = None,
    ) -> None:
        self.path, self.input_shapes = path, dict(input_shapes or {})
        self.outputs = None if outputs is None else list(outputs)
        self.engine = "the host engine"

    def convert(self) -> ir.Model:
        from converter.importers.host import from_graphdef

        return self._noted(from_graphdef(self.path, None, self.outputs, self.input_shapes))

    def shapes(self) -> dict[str, Sequence[int | None]]:
        return self.input_shapes

    def run(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        from converter.importers.graph_files import unknown_ops

        session, names = self._opened()
        unknown = unknown_ops(session.graph, names)
        tensors = [_full_name(name) for name in names]
        given = {_full_name(name): x for name, x in feeds.items()}
        try:
            found = self._by_tensorflow(tensors, given, unknown) if unknown else (
                session.run(tensors, given)
            )  # fmt: skip
        except ProofError:
            raise
        except Exception as error:  # the host engine's OpError, or what TensorFlow raises
            raise cannot_run(self.engine, error) from error
        outputs = (name.removesuffix(":0") for name in names)
        return {name: np.asarray(x) for name, x in zip(outputs, found, strict=True)}

    def _opened(self) -> tuple[Any, list[str]]:
        from converter.importers.graph_files import open_graphdef

        session, _, own = open_graphdef(self.path)
        return session, own if self.outputs is None else self.outputs

    def _by_tensorflow(
        self, tensors: list[str], feeds: Arrays, unknown: list[str]
    ) -> list[np.ndarray]:
        if importlib.util.find_spec("tensorflow") is None:
            raise ProofError(
                f"the host engine cannot run {', '.join(unknown)} and the package tensorflow is not"
                " installed, so that nothing proves the conversion: install it, or write the file"
                " without proof (--force, or --check none)"
            )
        from converter.importers.graph_files import graph_def_bytes
        from converter.importers.tensorflow.saved import run_graph_def

        self.engine = f"TensorFlow {importlib.metadata.version('tensorflow')}"
        return run_graph_def(graph_def_bytes(self.path), tensors, feeds)

    def values(self, feeds: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
        from converter.importers.graph_files import computed_tensors, unknown_ops

        session, names = self._opened()
        if unknown_ops(session.graph, names):
            return
        tensors = computed_tensors(session.graph, names)
        found = session.run(tensors, {_full_name(name): x for name, x in feeds.items()})
        for tensor, value in zip(tensors, found, strict=True):
            yield tensor.name.removesuffix(":0"), np.asarray(value)


class CheckpointSource(GraphDefSource):
    """A checkpoint of TensorFlow 1 or of the host engine with its .meta, frozen and then run as a
    GraphDef is. `constants` are values of placeholders.
    """

    def __init__(
        self,
        prefix: str | os.PathLike[str],
        input_shapes: Mapping[str, Sequence[int | None]] | None = None,
        outputs: Sequence[str] | None = None,
        constants: Mapping[str, Any] | None = None,
    ) -> None:
        from converter.importers.graph_files import frozen_checkpoint

        names = list(outputs or ())
        super().__init__(frozen_checkpoint(prefix, names, constants or {}), input_shapes, names)


class SavedModelSource(GraphDefSource):
    """A SavedModel's folder, frozen without TensorFlow and then run as a GraphDef is."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        input_shapes: Mapping[str, Sequence[int | None]] | None = None,
        signature: str = SERVING,
    ) -> None:
        from converter.importers.graph_files import frozen_saved_model

        self.frozen = frozen_saved_model(folder, signature)
        super().__init__(self.frozen.graph_def, input_shapes, list(self.frozen.outputs))

    def convert(self) -> ir.Model:
        from converter.importers.tensorflow.saved import convert_frozen

        return self._noted(convert_frozen(self.frozen, self.input_shapes))

    def run(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        found = super().run(self._inner(feeds))
        return {self.frozen.outputs[name]: x for name, x in found.items()}

    def values(self, feeds: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
        return super().values(self._inner(feeds))

    def _inner(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        return {own: feeds[name] for own, name in self.frozen.inputs.items()}


class TensorflowSource(Source):
    """A Keras model, a SavedModel or a concrete function, run by the package tensorflow."""

    def __init__(
        self,
        source: Any,
        input_shapes: Mapping[str, Sequence[int | None]] | None = None,
        signature: str = SERVING,
    ) -> None:
        self.source, self.input_shapes = source, dict(input_shapes or {})
        self.signature = signature
        self.function: Any = None
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            self.engine = f"TensorFlow {importlib.metadata.version('tensorflow')}"

    def _opened(self) -> Any:
        from converter.importers.tensorflow.saved import open_function

        self.function = self.function or open_function(self.source, self.signature)
        return self.function

    def convert(self) -> ir.Model:
        from converter.importers.tensorflow.saved import convert_frozen, freeze

        return self._noted(convert_frozen(freeze(self._opened()), self.input_shapes))

    def shapes(self) -> dict[str, Sequence[int | None]]:
        return self.input_shapes

    def run(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        from converter.importers.tensorflow.saved import run_function

        try:
            return run_function(self._opened(), feeds)
        except ConversionError:
            raise
        except Exception as error:  # whatever its kernels raise
            raise cannot_run(self.engine, error) from error


def _full_name(name: str) -> str:
    return name if ":" in name else f"{name}:0"
