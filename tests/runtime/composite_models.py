# SPDX-License-Identifier: Apache-2.0
"""Models of one composite that this runtime has a kernel for, over the operators it is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from single_op import ISAS, OpModel, error, litert_all, run_all

import runtime
from converter import ir, write_tflite
from converter.importers.builder import Builder
from converter.passes.composites import outline

NEAR = 1e-5


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


def _cut(b: Builder, x: ir.Value, start: int, size: int) -> ir.Value:
    """`size` values of the last axis from `start` on."""
    rank = len(b.dims(x))
    begin, sizes = [0] * (rank - 1) + [start], [-1] * (rank - 1) + [size]
    at = [b.constant(ends, "at", np.int32) for ends in (begin, sizes)]
    return b.emit("SLICE", [x, *at])


def _product(b: Builder, x: ir.Value, w: ir.Value, bias: ir.Value) -> ir.Value:
    return b.emit("ADD", [b.emit("BATCH_MATMUL", [x, w], adj_y=True), bias])


def _row(b: Builder, x: ir.Value, t: int) -> ir.Value:
    return b.emit("GATHER", [x, b.constant(t, "t", np.int32)], axis=0)


def _results(b: Builder, every: list[ir.Value], *last: ir.Value) -> list[ir.Value]:
    """The steps stacked, and values that no other node reads."""
    whole = b.emit("PACK", every, axis=0, values_count=len(every))
    return [whole, *(b.emit("NEG", [b.emit("NEG", [v])]) for v in last)]


def gru_parts(reset_after: bool) -> Any:
    """Unrolled over time, so that it needs no graphs but its own."""

    def parts(b: Builder, x: Any, w: Any, r: Any, bias: Any, again: Any, h: Any) -> list[ir.Value]:
        (time, _, _), size = b.dims(x), b.dims(h)[1]
        turned = b.emit("TRANSPOSE", [r, b.constant([1, 0], "perm", np.int32)])
        gates, rest = (_cut(b, turned, i, n) for i, n in ((0, 2 * size), (2 * size, size)))
        every = []
        for t in range(time):
            fresh = _product(b, _row(b, x, t), w, bias)
            old = b.emit("ADD", [b.emit("BATCH_MATMUL", [h, gates]), _cut(b, again, 0, 2 * size)])
            both = b.emit("LOGISTIC", [b.emit("ADD", [_cut(b, fresh, 0, 2 * size), old])])
            z, reset = _cut(b, both, 0, size), _cut(b, both, size, size)
            seen = h if reset_after else b.emit("MUL", [reset, h])
            term = b.emit("BATCH_MATMUL", [seen, rest])
            term = b.emit("ADD", [term, _cut(b, again, 2 * size, size)])
            term = b.emit("MUL", [reset, term]) if reset_after else term
            new = b.emit("TANH", [b.emit("ADD", [_cut(b, fresh, 2 * size, size), term])])
            h = b.emit("ADD", [new, b.emit("MUL", [z, b.emit("SUB", [h, new])])])
            every.append(h)
        return _results(b, every, h)

    return parts


def lstm_parts(b: Builder, x: Any, w: Any, r: Any, bias: Any, h: Any, c: Any) -> list[ir.Value]:
    """Unrolled over time, too."""
    (time, _, _), size = b.dims(x), b.dims(c)[1]
    every = []
    for t in range(time):
        both = [_product(b, _row(b, x, t), w, bias), b.emit("BATCH_MATMUL", [h, r], adj_y=True)]
        gates = [_cut(b, b.emit("ADD", both), k * size, size) for k in range(4)]
        i, f, o = (b.emit("LOGISTIC", [gates[k]]) for k in (0, 1, 3))
        new = b.emit("MUL", [i, b.emit("TANH", [gates[2]])])
        c = b.emit("ADD", [b.emit("MUL", [f, c]), new])
        h = b.emit("MUL", [o, b.emit("TANH", [c])])
        every.append(h)
    return _results(b, every, h, c)


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


# ---- how they are tested ----


def floats(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def by_kernel(model: OpModel) -> bool:
    """Whether the composite's kernel takes it, and nothing is planned for the decomposition."""
    interpreter = runtime.Interpreter(model_content=model.content)
    interpreter.allocate_tensors()
    (node,) = interpreter.nodes()
    inner = interpreter.nodes(1)
    assert node["op"] == model.op
    assert (node["loop"] is None) == any(n["loop"] for n in inner)
    return node["loop"] is not None


def check(
    name: str,
    parts: Any,
    args: Sequence[Any],
    attributes: Mapping[str, Any],
    constants: Sequence[int] = (),
    kernel: bool = True,
    peer: bool = True,
) -> None:
    """The kernel gives what the decomposition gives, and LiteRT."""
    model = composite(name, parts, args, attributes, constants)
    assert by_kernel(model) == kernel
    plain = composite(name, parts, args, attributes, constants, version=2)
    found, wanted = run_all(model), run_all(plain)
    for a, b in zip(found, wanted, strict=True):
        assert error(a, b) <= NEAR
    if peer:
        for a, b in zip(found, litert_all(model), strict=True):
            assert error(a, b) <= NEAR
    for a, b in zip(run_all(model, threads=3), found, strict=True):
        np.testing.assert_array_equal(a, b)
    for isa in ISAS:
        for a, b in zip(run_all(model, isa=isa), wanted, strict=True):
            assert error(a, b) <= NEAR
