# SPDX-License-Identifier: Apache-2.0
"""Models as their own framework runs them: what a conversion is compared with.

A source knows how to become an :class:`~converter.ir.Model`, what to feed it, and how to run, with
its intermediate values where asked. Nothing of a framework is imported before it is needed.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converter import ir
from converter.errors import ConversionError, ProofError
from converter.reader import read_tflite

Arrays = dict[str, np.ndarray]


class Source:
    """A model in its own form. `engine` says what runs it, for reports."""

    engine = ""

    @property
    def rounds_to_8_bits(self) -> bool:
        """Whether its own engine may round otherwise at each 8-bit step than the runtime does."""
        return False

    def convert(self) -> ir.Model:
        """The model as an IR, without any pass."""
        raise NotImplementedError

    def run(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        """Outputs by name, from inputs by name."""
        raise NotImplementedError

    def values(self, feeds: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
        """Intermediate values by name, in the order of the model; empty where none can be had."""
        return iter(())

    def shapes(self) -> dict[str, Sequence[int | None]]:
        """Shapes of inputs where the user gave them."""
        return {}


class OnnxSource(Source):
    """An ONNX file, run by ONNX Runtime where it is installed, else by ONNX's reference."""

    def __init__(
        self,
        path: str | os.PathLike[str] | bytes | Any,
        input_shapes: Mapping[str, Sequence[int | None]] | None = None,
        nhwc_io: bool = False,
        constants: Mapping[str, Any] | None = None,
    ) -> None:
        self.path, self.nhwc_io, self.constants = path, nhwc_io, dict(constants or {})
        self.input_shapes = dict(input_shapes or {})
        self._use("onnxruntime" if importlib.util.find_spec("onnxruntime") else "onnx")

    def _use(self, package: str) -> None:
        self.package = package
        self.engine = {"onnxruntime": "ONNX Runtime", "onnx": "the ONNX reference"}[package]
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            self.engine += f" {importlib.metadata.version(package)}"

    def convert(self) -> ir.Model:
        from converter.importers.onnx.model import from_onnx

        options = {"input_shapes": self.input_shapes, "constants": self.constants}
        return from_onnx(self.path, nhwc_io=self.nhwc_io, **options)

    def shapes(self) -> dict[str, Sequence[int | None]]:
        if not self.nhwc_io:
            return self.input_shapes
        return {
            name: [dims[i] for i in (0, 2, 3, 1)] if len(dims) == 4 else dims
            for name, dims in self.input_shapes.items()
        }

    def run(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        found = self._run(self._content(), self._as_source(feeds))
        if not self.nhwc_io:
            return found
        return {name: x.transpose(0, 2, 3, 1) if x.ndim == 4 else x for name, x in found.items()}

    def _as_source(self, feeds: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """The result's inputs as the source's: channels first, and those that became constants."""
        if not self.nhwc_io and not self.constants:
            return feeds
        from converter.importers.onnx.loading import fixed_inputs, load

        fixed = fixed_inputs(load(self.path)[0], self.constants) if self.constants else {}
        given = {
            name: np.ascontiguousarray(x.transpose(0, 3, 1, 2))
            if x.ndim == 4 and self.nhwc_io
            else x
            for name, x in feeds.items()
        }
        return given | fixed

    @property
    def rounds_to_8_bits(self) -> bool:
        return b"QuantizeLinear" in self._content()

    def values(self, feeds: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
        import onnx

        model = onnx.load_model_from_string(self._content())
        names = [name for node in model.graph.node for name in node.output if name]
        del model.graph.output[:]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        yield from self._run(model.SerializeToString(), self._as_source(feeds)).items()

    def _content(self) -> bytes:
        if isinstance(self.path, bytes):
            return self.path
        if hasattr(self.path, "SerializeToString"):
            return bytes(self.path.SerializeToString())
        import onnx

        return bytes(onnx.load(os.fspath(self.path)).SerializeToString())

    def _run(self, content: bytes, feeds: Mapping[str, np.ndarray]) -> Arrays:
        try:
            if self.package == "onnxruntime":
                session = self._session(content)
                if session is not None:
                    names = [output.name for output in session.get_outputs()]
                    return dict(zip(names, session.run(names, dict(feeds)), strict=True))
            from onnx.reference import ReferenceEvaluator

            program = ReferenceEvaluator(content)
            return dict(zip(program.output_names, program.run(None, dict(feeds)), strict=True))
        except Exception as error:  # whatever the framework raises, the reader needs its sentence
            raise _cannot_run(self.engine, error) from error

    def _session(self, content: bytes) -> Any:
        """ONNX Runtime's session; None, and the reference from then on, where the model is newer
        than the installed ONNX Runtime.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if b"QuantizeLinear" in content:
            # As the file says: optimized, it rounds elsewhere, some steps away.
            level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.graph_optimization_level = level
        try:
            return onnxruntime.InferenceSession(content, options)
        except Exception:  # its own classes, none of which its stubs name
            self._use("onnx")
            return None


class TfliteSource(Source):
    """A .tflite file, run by the runtime."""

    engine = "the file as it was"

    def __init__(self, path: str | os.PathLike[str] | bytes) -> None:
        self.path = path

    def convert(self) -> ir.Model:
        return read_tflite(self.path)

    def run(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        content = self.path if isinstance(self.path, bytes) else Path(self.path).read_bytes()
        return run_tflite(content, feeds)


class SessionSource(Source):
    """A session of the host engine."""

    engine = "the session"

    def __init__(self, session: Any, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        self.session, self.inputs, self.outputs = session, list(inputs), list(outputs)

    def convert(self) -> ir.Model:
        from converter.importers.host import from_session

        return from_session(self.session, self.inputs, self.outputs)

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

        return from_graphdef(self.path, None, self.outputs, self.input_shapes)

    def shapes(self) -> dict[str, Sequence[int | None]]:
        return self.input_shapes

    def run(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        from converter.importers.host import unknown_ops

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
            raise _cannot_run(self.engine, error) from error
        outputs = (name.removesuffix(":0") for name in names)
        return {name: np.asarray(x) for name, x in zip(outputs, found, strict=True)}

    def _opened(self) -> tuple[Any, list[str]]:
        from converter.importers.host import open_graphdef

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
        from converter.importers.host import graph_def_bytes
        from converter.importers.tensorflow.saved import run_graph_def

        self.engine = f"TensorFlow {importlib.metadata.version('tensorflow')}"
        return run_graph_def(graph_def_bytes(self.path), tensors, feeds)

    def values(self, feeds: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
        from converter.importers.host import computed_tensors, unknown_ops

        session, names = self._opened()
        if unknown_ops(session.graph, names):
            return
        tensors = computed_tensors(session.graph, names)
        found = session.run(tensors, {_full_name(name): x for name, x in feeds.items()})
        for tensor, value in zip(tensors, found, strict=True):
            yield tensor.name.removesuffix(":0"), np.asarray(value)


class TensorflowSource(Source):
    """A Keras model, a SavedModel or a concrete function, run by the package tensorflow."""

    def __init__(
        self, source: Any, input_shapes: Mapping[str, Sequence[int | None]] | None = None
    ) -> None:
        self.source, self.input_shapes = source, dict(input_shapes or {})
        self.function: Any = None
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            self.engine = f"TensorFlow {importlib.metadata.version('tensorflow')}"

    def _opened(self) -> Any:
        from converter.importers.tensorflow.saved import open_function

        self.function = self.function or open_function(self.source)
        return self.function

    def convert(self) -> ir.Model:
        from converter.importers.tensorflow.saved import convert_frozen, freeze

        return convert_frozen(freeze(self._opened()), self.input_shapes)

    def shapes(self) -> dict[str, Sequence[int | None]]:
        return self.input_shapes

    def run(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        from converter.importers.tensorflow.saved import run_function

        try:
            return run_function(self._opened(), feeds)
        except ConversionError:
            raise
        except Exception as error:  # whatever its kernels raise
            raise _cannot_run(self.engine, error) from error


class TorchSource(Source):
    """A PyTorch module with the inputs to export it on."""

    def __init__(self, module: Any, example_inputs: Sequence[Any], **options: Any) -> None:
        self.module, self.examples, self.options = module, tuple(example_inputs), options
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            self.engine = f"PyTorch {importlib.metadata.version('torch')}"
        self.names: tuple[list[str], list[str]] = ([], [])

    def convert(self) -> ir.Model:
        from converter.importers.torch.model import from_torch

        model = from_torch(self.module, self.examples, **self.options)
        (signature,) = model.signatures
        self.names = (list(signature.inputs), list(signature.outputs))
        return model

    def shapes(self) -> dict[str, Sequence[int | None]]:
        return {n: tuple(x.shape) for n, x in zip(self.names[0], self.examples, strict=False)}

    def run(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        import torch

        module = self.module.eval() if hasattr(self.module, "eval") else self.module.module()
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = module(*(torch.from_numpy(np.array(feeds[name])) for name in self.names[0]))
        leaves = torch.utils._pytree.tree_leaves(found)
        return {n: x.detach().numpy() for n, x in zip(self.names[1], leaves, strict=True)}


def _full_name(name: str) -> str:
    return name if ":" in name else f"{name}:0"


def run_tflite(content: bytes, feeds: Mapping[str, np.ndarray]) -> Arrays:
    """Outputs by name of a .tflite file on the runtime, names as :meth:`ir.Model.end_names`."""
    import runtime

    try:
        found = runtime.Interpreter(model_content=content)(**feeds)
        if isinstance(found, dict):
            return found
        values = found if isinstance(found, tuple) else (found,)
        return dict(zip(read_tflite(content).end_names()[1], values, strict=True))
    except runtime.RilletError as error:
        raise ConversionError(f"the runtime refuses the converted model: {error}") from error


def _cannot_run(engine: str, error: Exception) -> ConversionError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ConversionError(
        f"{engine} cannot run the model on these inputs: {reason[:300]}; give inputs that it takes"
        " (--check-input NAME=FILE.npy)"
    )
