# SPDX-License-Identifier: Apache-2.0
"""Grows an IR graph whose shapes, and whose shape-like numbers, are known at every step.

Importers of ONNX, PyTorch and GraphDef say *what* to compute with :meth:`Builder.emit`; the runtime
says what shape comes out. A dynamic dimension has two sample sizes: every shape is inferred at
both, and what differs is dynamic. Small integers that follow from shapes (ONNX computes the targets
of its reshapes this way) are computed at both samples too, and are constants where both agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from converter import ir
from converter.errors import ConversionError
from converter.importers.no_form import NoForm
from converter.importers.single_node import Given, Shapes, compute, infer
from converter.passes.inlining import drop_uncalled
from converter.verifier import verify

_LARGEST_SIZE = (1 << 31) - 1
# Bytes that what is computed here may have more than its operands, in all. Small results and
# operands that only become wider numbers do not count.
_MOST_GROWN, _SMALL, _WIDEST = 1 << 28, 1 << 20, 8
_MOST_KNOWN = 1024  # elements of a value that is followed at both samples
_SHAPE_TYPES = ("INT32", "INT64", "BOOL", "FLOAT32")
_STAND_INS = (2, 3)  # for sizes that depend on values, at the two samples
_RANDOM = ("RANDOM_UNIFORM", "RANDOM_STANDARD_NORMAL", "MULTINOMIAL")

# A size for each of the two samples; equal where the dimension is fixed.
Dims = tuple[tuple[int, ...], tuple[int, ...]]
Size = int | tuple[int, int] | None


class Builder:
    """An IR graph under construction.

    `scope` is the name of the source node at work: it names values and goes into messages.
    """

    def __init__(self, name: str = "main", outer: Builder | None = None) -> None:
        self.graph = ir.Graph(name)
        self.scope: str = outer.scope if outer else ""
        self.outer = outer
        self.captures: dict[ir.Value, ir.Value] = {}  # a value of `outer`: what stands for it here
        self.bodies: list[ir.Graph] = outer.bodies if outer else []
        # A quantized number of the source: its twin on the device, and the scale and zero point.
        self.twins: dict[ir.Value, tuple[ir.Value, float, int]] = {}
        self.wholes: dict[ir.Value, ir.Value] = {}  # integers: the floats cast to them
        # Integer inputs of the model with what they mean: (input, its real numbers, its twin).
        self.quantized_inputs: list[tuple[ir.Value, ir.Value, ir.Value]] = []
        # By (matrix, whether it is transposed) of a product's right-hand side: its rows, where they
        # are constants that a DEQUANTIZE unpacks.
        self.unpacked: dict[tuple[ir.Value, bool], ir.Value] = {}
        self.dequantizes = False  # whether something here computes with what int8 numbers mean
        self._dims: dict[ir.Value, Dims] = {}
        self._twins: dict[ir.Value, ir.Value] = {}  # of constants of graphs around this one
        self._grown = 0
        self._known: dict[ir.Value, tuple[np.ndarray, np.ndarray]] = {}
        self._taken: dict[str, int] = outer._taken if outer else {}

    # -- values -------------------------------------------------------------------------------

    def input(self, name: str, dtype: str, dims: Sequence[int | tuple[int, int]]) -> ir.Value:
        """A graph input; a dynamic dimension is given as its two sample sizes."""
        pairs = [d if isinstance(d, tuple) else (d, d) for d in dims]
        largest = max((max(pair) for pair in pairs), default=0)
        if largest > _LARGEST_SIZE:
            raise NoForm(f"has an axis of {largest}, more than TFLite's {_LARGEST_SIZE}")
        value = self.graph.add_input(self.unique(name), dtype, [1] * len(pairs))
        self._set_dims(value, (tuple(a for a, _ in pairs), tuple(b for _, b in pairs)))
        return value

    def constant(self, data: Any, name: str = "constant", dtype: Any = None) -> ir.Value:
        """A constant; `dtype` is NumPy's. Its name is put into the scope."""
        return ir.Value.constant(self._scoped(name), np.asarray(data, dtype))

    def dims(self, value: ir.Value) -> tuple[int | None, ...]:
        """Sizes of `value`, None where they are dynamic."""
        first, second = self._pair(value)
        return tuple(a if a == b else None for a, b in zip(first, second, strict=True))

    def fixed_dims(self, value: ir.Value, what: str) -> tuple[int, ...]:
        """Sizes of `value`; NoForm where one is dynamic, with what to do."""
        dims = self.dims(value)
        if None in dims:
            raise NoForm(
                f"{what} has the dynamic shape {show_dims(dims)}: give the model's inputs fixed"
                " sizes (--input NAME=SIZES)"
            )
        return tuple(d for d in dims if d is not None)

    def known(self, value: ir.Value) -> np.ndarray | None:
        """The numbers of `value` where they do not depend on the model's inputs."""
        if value.data is not None:
            return value.data
        pair = self._known.get(value)
        return pair[0] if pair and np.array_equal(*pair) else None

    def samples(self, value: ir.Value) -> tuple[np.ndarray, np.ndarray] | None:
        """The numbers of `value` at both samples, where they follow from shapes alone."""
        if value.data is not None:
            return value.data, value.data
        return self._known.get(value)

    def require(self, value: ir.Value, what: str) -> np.ndarray:
        """The numbers of `value`; NoForm where they are computed from the model's inputs."""
        data = self.known(value)
        if data is None:
            raise NoForm(f"its {what} is computed at run time: make it a constant")
        return data

    # -- bodies of control flow ---------------------------------------------------------------

    def body(self, name: str) -> Builder:
        """A builder for a graph that a node of this one will run; see :meth:`add_body`."""
        return Builder(self.unique(name), self)

    def add_body(self, body: Builder) -> int:
        """List a finished body in the model; its position, as options name it."""
        self.bodies.append(body.graph)
        return len(self.bodies)

    def captured(self, value: ir.Value) -> ir.Value:
        """What stands in this body for a value of a graph around it: a constant of its own, or an
        input, made when first asked for. A value of this graph stands for itself.
        """
        if value in self._dims or (value.data is not None and self.outer is None):
            return value
        if value.data is not None:
            if value not in self._twins:
                name = self.unique(value.name)
                self._twins[value] = ir.Value.constant(
                    name, value.data, dtype=value.dtype, quant=value.quant
                )
            return self._twins[value]
        if value not in self.captures:
            assert self.outer is not None, f"{value!r} is of another graph"
            self.captures[value] = self.input_like(self.outer.captured(value))
        return self.captures[value]

    def model(self, inputs: Sequence[str], outputs: Sequence[tuple[str, ir.Value]]) -> ir.Model:
        """The finished model: this graph with its bodies, verified, and the signature
        ``serving_default`` with these names, `inputs` in the graph's order.
        """
        self.graph.outputs = [value for _, value in outputs]
        model = ir.Model([self.graph, *self.bodies])
        starts = {name: i for i, name in enumerate(inputs)}
        ends = {name: i for i, (name, _) in enumerate(outputs)}
        model.signatures.append(ir.Signature("serving_default", starts, ends))
        drop_uncalled(model)  # bodies of what was tried and written otherwise
        verify(model)
        return model

    def input_like(self, value: ir.Value, dims: Dims | None = None) -> ir.Value:
        """An input of this body for a value of the graph around it (of another shape: `dims`)."""
        assert self.outer is not None
        pair = dims or self.outer.pair(value)
        return self.input(value.name, value.dtype, list(zip(*pair, strict=True)))

    # -- nodes --------------------------------------------------------------------------------

    def emit(
        self,
        op: str,
        inputs: Sequence[ir.Value | None],
        *,
        dtype: str | None = None,
        name: str = "",
        dims: Sequence[Size] | None = None,
        **options: Any,
    ) -> ir.Value:
        """Append a node with one output of type `dtype` (default: that of the first input).

        Where all it needs is known, nothing is appended and a constant is returned. `dims` is what
        the caller knows of a shape that depends on values: its rank and its sizes, a pair where one
        is dynamic but that of another value, None where nothing tells. NoForm, in the runtime's
        words, where the op does not take these types, shapes or options.
        """
        known_dims = None if dims is None else [dims]
        return self.emit_many(op, inputs, [dtype], name=name, dims=known_dims, **options)[0]

    def emit_many(
        self,
        op: str,
        inputs: Sequence[ir.Value | None],
        dtypes: Sequence[str | None],
        *,
        name: str = "",
        dims: Sequence[Sequence[Size]] | None = None,
        **options: Any,
    ) -> list[ir.Value]:
        """:meth:`emit` for a node of several outputs, one type (and `dims`) each."""
        first = next(v.dtype for v in inputs if v is not None)
        types = [dtype or first for dtype in dtypes]
        known = self._computed(op, inputs, types, options)
        if known is not None and all(np.array_equal(a, b) for a, b in known):
            return [self.constant(a, name or op.lower()) for a, _ in known]
        shapes = self._inferred(op, inputs, types, options, dims)
        outputs = []
        for i, dtype in enumerate(types):
            value = ir.Value(self._scoped(name or op.lower()), dtype, shapes[0][i])
            self._set_dims(value, (shapes[0][i], shapes[1][i]))
            if known is not None:
                self._known[value] = known[i]
            outputs.append(value)
        self.graph.add_node(op, inputs, outputs, options, name=self.scope)
        return outputs

    def append(
        self,
        op: str,
        inputs: Sequence[ir.Value | None],
        outputs: Sequence[tuple[str, Dims]],
        options: Mapping[str, Any],
        **kwargs: Any,
    ) -> list[ir.Value]:
        """Append a node whose outputs' types and shapes the caller knows: one that calls graphs,
        or a custom one. `kwargs` are those of :meth:`ir.Graph.add_node`.
        """
        values = []
        for dtype, dims in outputs:
            value = ir.Value(self._scoped(op.lower()), dtype, dims[0])
            self._set_dims(value, dims)
            values.append(value)
        self.graph.add_node(op, inputs, values, options, name=self.scope, **kwargs)
        return values

    def variable(self, start: ir.Value, dims: tuple[int, ...], name: str) -> ir.Value:
        """A variable of these sizes that holds `start`, broadcast to them, when a run begins."""
        value = ir.Value(self._scoped(name), start.dtype, dims, is_variable=True)
        self._set_dims(value, (dims, dims))
        shape = self.constant(dims, "shape", np.int32)
        self.graph.add_node("BROADCAST_TO", [start, shape], [value], {}, name=self.scope)
        return value

    def quantize(self, x: ir.Value, scale: float, zero_point: int, dtype: str = "INT8") -> ir.Value:
        """float32 `x` as numbers of this meaning."""
        (y,) = self.append("QUANTIZE", [x], [(dtype, self._pair(x))], {})
        y.quant = ir.Quantization(np.array([scale]), np.array([zero_point]))
        return y

    def dequantize(self, x: ir.Value) -> ir.Value:
        """What the numbers `x` of :meth:`quantize` mean, in float32."""
        self.dequantizes = True
        return self.append("DEQUANTIZE", [x], [("FLOAT32", self._pair(x))], {})[0]

    def pair(self, value: ir.Value) -> Dims:
        """The shape of `value` at both samples."""
        return self._pair(value)

    def unique(self, name: str) -> str:
        """`name`, with a number behind it where another value has it."""
        count = self._taken.get(name, 0)
        self._taken[name] = count + 1
        return name if not count else self.unique(f"{name}_{count}")

    # -- inside -------------------------------------------------------------------------------

    def _scoped(self, name: str) -> str:
        return self.unique(f"{self.scope}/{name}" if self.scope else name)

    def _pair(self, value: ir.Value) -> Dims:
        if value.data is not None:
            return value.shape, value.shape
        return self._dims[value]

    def _set_dims(self, value: ir.Value, dims: Dims) -> None:
        self._dims[value] = dims
        first, second = dims
        if len(first) != len(second):
            raise NoForm("its rank depends on sizes of the inputs: give those fixed sizes")
        value.shape = tuple(a if a == b else 1 for a, b in zip(first, second, strict=True))
        signature = tuple(a if a == b else -1 for a, b in zip(first, second, strict=True))
        value.shape_signature = signature if -1 in signature else None

    def _given(self, value: ir.Value | None, sample: int) -> Given | None:
        if value is None:
            return None
        data = value.data
        if data is None and value in self._known:
            data = self._known[value][sample]
        return Given(value.dtype, self._pair(value)[sample], data, value.quant)

    def _is_static(self, inputs: Sequence[ir.Value | None]) -> bool:
        """Both samples are the same to a node with these inputs."""
        values = [v for v in inputs if v is not None]
        return all(
            self._pair(v)[0] == self._pair(v)[1]
            and (v not in self._known or np.array_equal(*self._known[v]))
            for v in values
        )

    def _inferred(
        self,
        op: str,
        inputs: Sequence[ir.Value | None],
        types: list[str],
        options: dict[str, Any],
        dims: Sequence[Sequence[Size]] | None,
    ) -> tuple[Shapes, Shapes]:
        """The outputs' shapes at both samples; sizes that only values tell get stand-ins."""
        first = self._ask(infer, op, [self._given(v, 0) for v in inputs], types, options)
        second = first
        if not self._is_static(inputs):
            second = self._ask(infer, op, [self._given(v, 1) for v in inputs], types, options)
        if first is not None and second is not None:
            return first, second
        if dims is None:
            raise NoForm(
                "gives a shape that is known only when the model runs: make what decides it a"
                " constant"
            )
        low, high = (
            [tuple(_at_sample(d, sample) for d in sizes) for sizes in dims] for sample in (0, 1)
        )
        return low, high

    def _computed(
        self, op: str, inputs: Sequence[ir.Value | None], types: list[str], options: dict[str, Any]
    ) -> list[tuple[np.ndarray, np.ndarray]] | None:
        """The outputs at both samples, where they follow from constants and shapes."""
        if op in _RANDOM or any(v.quant is not None for v in inputs if v is not None):
            return None
        values = [v for v in inputs if v is not None]
        if op == "SHAPE":
            kind = ir.numpy_dtype(types[0])
            first, second = self._pair(values[0])
            return [(np.array(first, kind), np.array(second, kind))]
        if not all(v.data is not None or v in self._known for v in values):
            return None
        held = {v: v.data.nbytes for v in values if v.data is not None}
        twice = sum(held.get(v, 0) for v in values) - sum(held.values())
        if twice > _SMALL and self._grown + twice > _MOST_GROWN:
            return None  # a small file may ask for constants of any size
        samples = []
        for sample in (0, 1) if not self._is_static(inputs) else (0,):
            found = compute(op, [self._given(v, sample) for v in inputs], types, options)
            if found is None:
                return None
            samples.append(found)
        pairs = list(zip(samples[0], samples[-1], strict=True))
        size = sum(a.nbytes for a, _ in pairs)
        grown = twice + max(0, size - _WIDEST * sum(held.values()))
        if size > _SMALL:
            if self._grown + grown > _MOST_GROWN:
                return None
            self._grown += grown
        constant = all(np.array_equal(a, b) for a, b in pairs)
        small = all(a.size <= _MOST_KNOWN for a, _ in pairs) and set(types) <= set(_SHAPE_TYPES)
        return pairs if constant or small else None

    def _ask(self, question: Any, op: str, *args: Any) -> Any:
        try:
            return question(op, *args)
        except ConversionError as error:
            raise NoForm(str(error)) from error


def _at_sample(size: Size, sample: int) -> int:
    if size is None:
        return _STAND_INS[sample]
    return size[sample] if isinstance(size, tuple) else size


def show_dims(dims: Sequence[int | None]) -> str:
    """[?,3,224,224]"""
    return "[" + ",".join("?" if d is None else str(d) for d in dims) + "]"
