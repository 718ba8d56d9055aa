# SPDX-License-Identifier: Apache-2.0
"""ONNX files."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from converter import ir
from converter.errors import ConversionError
from converter.sources.base import Arrays, Source, cannot_run


def _tensors(names: Sequence[str], values: Sequence[Any], content: bytes) -> Arrays:
    """Outputs by name. Maps from labels to scores, as ZipMap makes them, become the scores."""
    import onnx

    found = dict(zip(names, values, strict=True))
    maps = {n for n, x in found.items() if isinstance(x, list) and x and isinstance(x[0], dict)}
    if not maps:
        return found
    for node in onnx.load_model_from_string(content).graph.node:
        if node.op_type == "ZipMap" and node.output[0] in maps:
            labels = [
                label.decode() if isinstance(label, bytes) else label
                for a in node.attribute
                for label in onnx.helper.get_attribute_value(a)
            ]
            rows = [[row[label] for label in labels] for row in found[node.output[0]]]
            found[node.output[0]] = np.array(rows, np.float32)
    return found


def _spell_sigmoids(graph: Any) -> bool:
    """Write the Sigmoid nodes of a graph as 1 / (1 + exp(-x)); False where there are none.

    ONNX Runtime's own are exact to 1e-7 of 1, which is much where all results are near 0.
    """
    from onnx import helper, numpy_helper

    nodes, found = [], False
    for node in graph.node:
        if node.op_type != "Sigmoid" or node.domain not in ("", "ai.onnx"):
            nodes.append(node)
            continue
        (x,), (y,) = node.input, node.output
        steps = [f"{y}/negative", f"{y}/power", f"{y}/one", f"{y}/sum"]
        one = numpy_helper.from_array(np.ones((), np.float32))
        nodes += [
            helper.make_node("Neg", [x], steps[:1]),
            helper.make_node("Exp", steps[:1], steps[1:2]),
            helper.make_node("Constant", [], steps[2:3], value=one),
            helper.make_node("Add", steps[1:3], steps[3:]),
            helper.make_node("Reciprocal", steps[3:], [y]),
        ]
        found = True
    del graph.node[:]
    graph.node.extend(nodes)
    return found


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

    def symbols(self) -> dict[str, Sequence[str]]:
        from converter.importers.onnx.loading import load

        found: dict[str, Sequence[str]] = {}
        for info in load(self.path)[0].graph.input:
            names = [dim.dim_param for dim in info.type.tensor_type.shape.dim]
            last = self.nhwc_io and len(names) == 4
            found[info.name] = [names[i] for i in (0, 2, 3, 1)] if last else names
        return found

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
        return _is_quantized(self._content())

    def other_engines(self) -> Iterator[Source]:
        if self.package == "onnx":
            return
        import onnx

        given = self.input_shapes, self.nhwc_io, self.constants
        model = onnx.load_model_from_string(self._content())
        if _spell_sigmoids(model.graph):
            other = OnnxSource(model, *given)
            other.engine += " with sigmoids as 1 / (1 + exp(-x)), since its own are coarse"
            yield other
        model = onnx.load_model_from_string(self._content())
        if _ask_for_floats(model.graph):
            other = OnnxSource(model, *given)
            other.engine += " with accuracy_level 0, since other levels let it round inputs"
            yield other
        reference = OnnxSource(self.path, *given)
        reference._use("onnx")
        yield reference

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

        try:
            return bytes(onnx.load(os.fspath(self.path)).SerializeToString())
        except Exception as error:  # of protobuf, or of onnx's reader of external data
            raise ConversionError(f"onnx cannot read {os.fspath(self.path)}: {error}") from error

    def _run(self, content: bytes, feeds: Mapping[str, np.ndarray]) -> Arrays:
        try:
            if self.package == "onnxruntime":
                session = self._session(content)
                if session is not None:
                    names = [output.name for output in session.get_outputs()]
                    return _tensors(names, session.run(names, dict(feeds)), content)
            from onnx.reference import ReferenceEvaluator

            program = ReferenceEvaluator(content)
            return _tensors(program.output_names, list(program.run(None, dict(feeds))), content)
        except Exception as error:  # whatever the framework raises, the reader needs its sentence
            raise cannot_run(self.engine, error) from error

    def _session(self, content: bytes) -> Any:
        """ONNX Runtime's session; None, and the reference from then on, where the model is newer
        than the installed ONNX Runtime.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what it raises says the same
        if _is_quantized(content):
            # As the file says: optimized, it rounds elsewhere, some steps away.
            level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.graph_optimization_level = level
        try:
            return onnxruntime.InferenceSession(content, options)
        except Exception:  # its own classes, none of which its stubs name
            self._use("onnx")
            return None


def _ask_for_floats(graph: Any) -> bool:
    """Let products with packed weights multiply floats; whether one may have done otherwise."""
    levels = [a for n in graph.node for a in n.attribute if a.name == "accuracy_level" and a.i]
    for level in levels:
        level.i = 0
    return bool(levels)


def _is_quantized(content: bytes) -> bool:
    """Whether an ONNX file names an op that rounds to integers with a scale."""
    return any(word in content for word in (b"Quantize", b"QLinear", b"QGemm"))
