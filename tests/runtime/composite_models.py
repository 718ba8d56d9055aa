# SPDX-License-Identifier: Apache-2.0
"""Models of one composite that this runtime has a kernel for, over the operators it is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from single_op import OpModel

from converter import ir, write_tflite
from converter.importers.builder import Builder
from converter.passes.composites import outline


def composite(
    name: str,
    parts: Any,
    args: Sequence[Any],
    attributes: Mapping[str, Any],
    constants: Sequence[int] = (),
    version: int = 1,
    dynamic: Sequence[int] = (),
) -> OpModel:
    """`parts(b, *values)` gives the decomposition's outputs; args at `constants` are constants, the
    first dimensions of those at `dynamic` may be of any size.

    Version 1 is the one that kernels know: with another, the decomposition runs.
    """
    b = Builder()
    arrays = [np.asarray(arg) for arg in args]
    values = []
    for i, array in enumerate(arrays):
        dims: list[Any] = list(array.shape)
        if i in dynamic:
            dims[0] = (dims[0], dims[0] + 1)
        if i in constants:
            values.append(b.constant(array, f"c{i}"))
        else:
            values.append(b.input(f"x{i}", array.dtype.name.upper(), dims))
    outputs = parts(b, *values)
    b.graph.outputs = list(outputs)
    model = ir.Model([b.graph])
    node = outline(model, list(b.graph.nodes), name, values, attributes)
    node.options["version"] = version
    feeds = [array for i, array in enumerate(arrays) if i not in constants]
    return OpModel(name, write_tflite(model), feeds)


def _number(b: Builder, value: float) -> ir.Value:
    return b.constant(value, "number", np.float32)


def _mean(b: Builder, x: ir.Value) -> ir.Value:
    return b.emit("MEAN", [x, b.constant([-1], "axes", np.int32)], keep_dims=True)


def rms_parts(epsilon: float) -> Any:
    def parts(b: Builder, x: ir.Value, *gamma: ir.Value) -> list[ir.Value]:
        spread = b.emit("ADD", [_mean(b, b.emit("MUL", [x, x])), _number(b, epsilon)])
        y = b.emit("DIV", [x, b.emit("SQRT", [spread])])
        return [b.emit("MUL", [y, *gamma])] if gamma else [y]

    return parts


def norm_parts(epsilon: float) -> Any:
    def parts(b: Builder, x: ir.Value, *rows: ir.Value) -> list[ir.Value]:
        (y,) = rms_parts(epsilon)(b, b.emit("SUB", [x, _mean(b, x)]), *rows[:1])
        return [b.emit("ADD", [y, rows[1]])] if len(rows) > 1 else [y]

    return parts


def attention_parts(scale: float = 1.0, keys_are_rows: bool = True) -> Any:
    def parts(b: Builder, q: ir.Value, k: ir.Value, v: ir.Value, *mask: ir.Value) -> list[ir.Value]:
        scores = b.emit("BATCH_MATMUL", [q, k], adj_y=keys_are_rows)
        scores = b.emit("MUL", [scores, _number(b, scale)])
        for term in mask:
            scores = b.emit("ADD", [scores, term])
        return [b.emit("BATCH_MATMUL", [b.emit("SOFTMAX", [scores], beta=1.0), v])]

    return parts


def gru_parts(reset_after: bool) -> Any:
    """Unrolled over time, so that it needs no graphs but its own."""

    def cut(b: Builder, x: ir.Value, start: int, size: int) -> ir.Value:
        rank = len(b.dims(x))
        begin, sizes = [0] * (rank - 1) + [start], [-1] * (rank - 1) + [size]
        at = [b.constant(ends, "at", np.int32) for ends in (begin, sizes)]
        return b.emit("SLICE", [x, *at])

    def product(b: Builder, x: ir.Value, w: ir.Value, bias: ir.Value) -> ir.Value:
        return b.emit("ADD", [b.emit("BATCH_MATMUL", [x, w], adj_y=True), bias])

    def parts(b: Builder, x: Any, w: Any, r: Any, bias: Any, again: Any, h: Any) -> list[ir.Value]:
        (time, _, _), size = b.dims(x), b.dims(h)[1]
        turned = b.emit("TRANSPOSE", [r, b.constant([1, 0], "perm", np.int32)])
        gates, rest = (cut(b, turned, i, n) for i, n in ((0, 2 * size), (2 * size, size)))
        every = []
        for t in range(time):
            at = b.constant(t, "t", np.int32)
            fresh = product(b, b.emit("GATHER", [x, at], axis=0), w, bias)
            old = b.emit("ADD", [b.emit("BATCH_MATMUL", [h, gates]), cut(b, again, 0, 2 * size)])
            both = b.emit("LOGISTIC", [b.emit("ADD", [cut(b, fresh, 0, 2 * size), old])])
            z, reset = cut(b, both, 0, size), cut(b, both, size, size)
            seen = h if reset_after else b.emit("MUL", [reset, h])
            term = b.emit("BATCH_MATMUL", [seen, rest])
            term = b.emit("ADD", [term, cut(b, again, 2 * size, size)])
            term = b.emit("MUL", [reset, term]) if reset_after else term
            new = b.emit("TANH", [b.emit("ADD", [cut(b, fresh, 2 * size, size), term])])
            h = b.emit("ADD", [new, b.emit("MUL", [z, b.emit("SUB", [h, new])])])
            every.append(h)
        return [
            b.emit("PACK", every, axis=0, values_count=time),
            b.emit("NEG", [b.emit("NEG", [h])]),
        ]

    return parts


def reshaped_gru(args: Sequence[Any], half: bool) -> bytes:
    """`rillet.gru` of x, weights, recurrent weights, two biases, a flat state and the shape that
    the state gets in the graph; the weights are constants, `half` stored as float16.
    """
    b = Builder()
    x, weights, recurrent, bias, again, flat, _ = (np.asarray(arg) for arg in args)
    inputs = [b.input("x", "FLOAT32", x.shape)]
    inputs += [b.constant(array, dtype=np.float32) for array in (weights, recurrent, bias, again)]
    dims = [b.input("flat", "FLOAT32", [flat.size]), b.input("shape", "INT32", [2])]
    state = b.emit("RESHAPE", dims, dims=[x.shape[1], recurrent.shape[1]])
    (reshape,) = b.graph.nodes
    b.graph.outputs = gru_parts(True)(b, *inputs, state)
    model = ir.Model([b.graph])
    nodes = [node for node in b.graph.nodes if node is not reshape]
    node = outline(model, nodes, "rillet.gru", [*inputs, state], {"reset_after": 1})
    for i in (1, 2) if half else ():
        value = inputs[i]
        assert value.data is not None
        stored = ir.Value.constant(f"{value.name}_half", value.data.astype(np.float16))
        wide = ir.Value(f"{value.name}_wide", "FLOAT32", value.shape)
        b.graph.add_node("DEQUANTIZE", [stored], [wide], before=node)
        node.set_input(i, wide)
    return write_tflite(model)


def norm_of_unique() -> bytes:
    """`rillet.rms_norm` of the different ones among eight numbers: how many, only a run tells."""
    b = Builder()
    x = b.input("x", "FLOAT32", [8])
    unique, _ = b.emit_many("UNIQUE", [x], ["FLOAT32", "INT32"], dims=[[None], [8]])
    before = list(b.graph.nodes)
    b.graph.outputs = rms_parts(0.1)(b, unique)
    model = ir.Model([b.graph])
    nodes = [node for node in b.graph.nodes if node not in before]
    outline(model, nodes, "rillet.rms_norm", [unique], {"epsilon": 0.1})
    return write_tflite(model)
