# SPDX-License-Identifier: Apache-2.0
"""Converts the nodes of one ONNX graph (the main one, or a body) into a builder's graph.

What depends on constants alone is computed by ONNX's own reference implementation, in its own types
(float64 too). An op without a row is replaced by its definition, where ONNX or the model itself
defines it by simpler ops.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import onnx

from converter import ir
from converter.errors import ConversionError
from converter.importers.builder import Builder, show_dims
from converter.importers.forms import quantized
from converter.importers.no_form import NoForm
from converter.importers.onnx import functions as definitions
from converter.importers.onnx import types
from converter.importers.onnx.context import Context, Listed, Rows
from converter.importers.onnx.folding import Folding

_RANDOM = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform"}
_RANDOM |= {"RandomUniformLike", "Dropout"}
_FEWEST_PACKED = 1024  # elements
# What a row may raise for attributes and shapes that its op cannot have.
_UNFIT = (
    ArithmeticError, AssertionError, AttributeError, ConversionError, LookupError, MemoryError,
    RecursionError, TypeError, ValueError,
)  # fmt: skip
# Ops whose constants are weights, which no NaN belongs in.
_WEIGHTED = {"BatchNormalization", "Conv", "ConvTranspose", "GRU", "Gemm", "LSTM", "MatMul", "RNN"}
# Ops whose results are elements of their first input (of all, if several are joined).
_MOVED = """
    Concat DepthToSpace Expand Flatten Gather GatherElements GatherND GlobalMaxPool Identity Max
    MaxPool Min ReduceMax ReduceMin Reshape Slice SpaceToDepth Split Squeeze Tile Transpose
    Unsqueeze
"""
_MOVING = frozenset(_MOVED.split())
_LONGEST = 300  # characters of a foreign library's message


class GraphImport:
    """One graph on its way into `builder`. `outer` is the graph around a body or a function."""

    def __init__(
        self,
        builder: Builder,
        opsets: Mapping[str, int],
        rows: Rows,
        functions: Mapping[tuple[str, str], onnx.FunctionProto],
        *,
        folder: str = "",
        outer: GraphImport | None = None,
        prefix: str = "",
    ) -> None:
        self.builder = builder
        self.opsets = dict(opsets)
        self.rows = rows
        self.functions = functions
        self.folder = folder
        self.outer = outer
        self.prefix = prefix
        self.obstacles: list[str] = outer.obstacles if outer else []
        self.widens: bool = outer.widens if outer else False  # float16... carried as float32
        self.folding: Folding = outer.folding if outer else Folding()
        self.calls: Iterator[int] = outer.calls if outer else itertools.count(1)
        self.values: dict[str, ir.Value] = {}
        self.held: dict[str, np.ndarray] = {}
        self.lost: set[str] = set()  # what an obstacle in the list would have computed
        # ONNX types narrower than a byte, of values that stand for them.
        self.narrow: dict[ir.Value, int] = outer.narrow if outer else {}

    # -- what rows ask ------------------------------------------------------------------------

    def array_of(self, tensor: onnx.TensorProto) -> np.ndarray:
        return types.array_of(tensor, self.folder)

    def held_array(self, name: str) -> np.ndarray | None:
        """The constant called `name` in its own type, here or in a graph around; or None."""
        if name in self.held:
            return self.held[name]
        if name in self.values or self.outer is None:
            return None
        return self.outer.held_array(name)

    def value(self, name: str) -> ir.Value:
        """The value called `name`; constants are made when first asked for."""
        if name in self.values:
            return self.values[name]
        if name in self.held:
            array = types.settled(self.held[name])
            if not (array.flags.writeable and array.flags.c_contiguous):
                array = np.array(array, order="C")
            if array.dtype == self.held[name].dtype:
                self.held[name] = array  # large models fit into memory once
            label, kind = self.builder.unique(self.prefix + name), ir.dtype_name(array.dtype)
            self.values[name] = ir.Value(label, kind, array.shape, data=array)
            element = types.narrow_element(self.held[name])
            if element:
                self.narrow[self.values[name]] = element
            return self.values[name]
        if name in self.lost:
            raise _Lost
        if self.outer is None:
            raise NoForm(f"reads '{name}', which nothing computes: the file is damaged")
        found = self.outer.value(name)
        if self.builder is not self.outer.builder:  # this is a body with a graph of its own
            if isinstance(found, Listed):
                found = Listed([self.builder.captured(item) for item in found.items])
            else:
                found = self.builder.captured(found)
            self.values[name] = found
        return found

    def inside(self, builder: Builder, prefix: str) -> GraphImport:
        """An import of a body of this graph, which sees this graph's values by name."""
        return GraphImport(
            builder,
            self.opsets,
            self.rows,
            self.functions,
            folder=self.folder,
            outer=self,
            prefix=prefix,
        )

    # -- converting ---------------------------------------------------------------------------

    def hold(
        self,
        initializers: Sequence[onnx.TensorProto],
        sparse: Sequence[onnx.SparseTensorProto] = (),
    ) -> None:
        """Keep the constants of a graph; an obstacle where one cannot be read."""
        for tensor in initializers:
            self._hold(tensor.name, functools.partial(types.array_of, tensor, self.folder))
        for one in sparse:
            self._hold(one.values.name, functools.partial(types.dense_of, one, self.folder))

    def _hold(self, name: str, read: Callable[[], np.ndarray]) -> None:
        try:
            self.held[name] = read()
        except Exception as error:  # whatever the library raises for a damaged tensor
            self.obstacles.append(f"constant '{name}' cannot be read: {_short(error)}")
            self.lost.add(name)

    def convert(self, nodes: Sequence[onnx.NodeProto]) -> None:
        """Convert `nodes` in order. What cannot be goes to `obstacles`, one sentence each."""
        for position, node in enumerate(nodes):
            name = node.name or next((n for n in node.output if n), f"#{position}")
            self.builder.scope = self.prefix + name
            try:
                self._convert(node)
            except _Lost:
                self.lost |= set(node.output)
            except NoForm as error:
                self.lost |= set(node.output)
                seen = self._seen(node)
                self.obstacles.append(f"{node.op_type} at node '{self.prefix}{name}'{seen} {error}")
            except _UNFIT as error:
                self.lost |= set(node.output)
                self.obstacles.append(
                    f"{node.op_type} at node '{self.prefix}{name}'{self._seen(node)}"
                    f" has inputs or attributes that do not fit ({type(error).__name__}:"
                    f" {_short(error)})"
                )

    def _convert(self, node: onnx.NodeProto) -> None:
        if self._fold(node):
            return
        domain = "" if node.domain == "ai.onnx" else node.domain
        definitions.check(node, domain, self.opsets.get(domain, 0))
        if node.op_type in _WEIGHTED and not domain:
            self._refuse_nan(node)
        opset = self.opsets.get(domain, 0)
        row = self.rows.get(node.op_type if not domain else f"{domain}.{node.op_type}")
        function = self.functions.get((node.domain, node.op_type))
        if function is None and row is None:
            function = definitions.definition(node, domain, opset, self.value, self.narrow)
        if function is not None:
            definitions.expand(self, node, function)
            return
        if row is None:
            raise NoForm(
                "has no form in TFLite: export the model without it, or cut the model before it"
            )
        values = _listed(row(Context(self, node, opset)))
        if not domain and _only_moves(node):
            self._carry_twins(node, lambda: _listed(row(Context(self, node, opset))), values)
        for name, value in zip(node.output, values, strict=False):
            if name:
                self.bind(name, value)

    def _carry_twins(
        self, node: onnx.NodeProto, convert: Callable[[], list[ir.Value]], values: list[ir.Value]
    ) -> None:
        """Quantized numbers that are only moved keep their meaning: the node once more, on it."""
        names = _moved_inputs(node)
        given = [self.value(name) for name in names]

        def again(reals: list[ir.Value]) -> list[ir.Value]:
            self.values |= zip(names, reals, strict=True)
            held = {name: self.held.pop(name) for name in names if name in self.held}
            try:
                return convert()
            finally:
                self.values |= zip(names, given, strict=True)
                self.held |= held

        with contextlib.suppress(NoForm):  # then they are moved as they are
            quantized.carry_twins(self.builder, given, values, again)

    def _refuse_nan(self, node: onnx.NodeProto) -> None:
        for name in node.input:
            held = self.held_array(name) if name else None
            if held is None or held.dtype.kind != "f" or not held.size or not np.isnan(held.min()):
                continue
            count = int(np.isnan(held).sum())
            raise NoForm(
                f"has NaN in its weights '{name}' ({count} of {held.size} numbers), and can"
                " give nothing else: train the model again, or put numbers there"
            )

    def bind(self, name: str, value: ir.Value) -> None:
        """Let `name` stand for `value`, which takes the name if it has one of our making."""
        self.values[name] = value
        if value.producer is not None and value.name.startswith(self.builder.scope + "/"):
            value.name = self.builder.unique(self.prefix + name)

    def _fold(self, node: onnx.NodeProto) -> bool:
        """Compute a node of constants with ONNX's reference; False where it is not one."""
        if self._is_packed(node):
            return False
        if node.op_type in _RANDOM or node.domain not in ("", "ai.onnx", "ai.onnx.ml"):
            return False
        if any(a.type in (a.GRAPH, a.GRAPHS) or a.ref_attr_name for a in node.attribute):
            return False
        arrays = {name: self.held_array(name) for name in node.input if name}
        if any(array is None for array in arrays.values()):
            return False
        version = self.opsets.get("" if node.domain == "ai.onnx" else node.domain, 1)
        held = {name: array for name, array in arrays.items() if array is not None}
        results = self.folding.results(node, held, version)
        if results is None:
            return False
        for name, result in zip(node.output, results, strict=False):
            if name:
                self.held[name] = result
        return True

    def _is_packed(self, node: onnx.NodeProto) -> bool:
        """Whether these are integers with a scale per block, which the file keeps as they are."""
        blocks = any(a.name == "block_size" and a.i for a in node.attribute)
        held = self.held_array(node.input[0]) if node.input else None
        large = held is not None and held.size >= _FEWEST_PACKED
        return node.op_type == "DequantizeLinear" and blocks and large

    def _seen(self, node: onnx.NodeProto) -> str:
        """The shapes of the node's inputs, for messages."""
        shapes = []
        for name in node.input:
            try:
                shapes.append(show_dims(self.builder.dims(self.value(name))))
            except (NoForm, ConversionError, KeyError, _Lost):
                shapes.append("?")
        return f" ({', '.join(shapes)})" if shapes else ""


class _Lost(Exception):
    """An input was lost to an obstacle that is in the list already."""


def _only_moves(node: onnx.NodeProto) -> bool:
    """Whether what comes out are elements that go in."""
    if node.op_type == "Resize":
        return not any(a.name == "mode" and a.s != b"nearest" for a in node.attribute)
    if node.op_type == "Pad":  # with a number of the node's, or with its own elements
        return len(_moved_inputs(node)) > 1 or any(a.name == "mode" for a in node.attribute)
    return node.op_type in _MOVING


def _moved_inputs(node: onnx.NodeProto) -> list[str]:
    """Inputs whose elements come out."""
    if node.op_type in ("Concat", "Max", "Min"):
        return list(dict.fromkeys(node.input))
    is_padded = node.op_type == "Pad" and len(node.input) > 2 and node.input[2]
    return [node.input[0], node.input[2]] if is_padded else [node.input[0]]


def _listed(results: ir.Value | Sequence[ir.Value]) -> list[ir.Value]:
    return [results] if isinstance(results, ir.Value) else list(results)


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
