# SPDX-License-Identifier: Apache-2.0
"""Loops whose step is a recurrent cell, in many spellings, and what the pass makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter as LiteRT
from ai_edge_litert.interpreter import OpResolverType

import converter
import runtime
from converter import ir, verify
from converter.importers.builder import Builder
from converter.importers.forms import basic, control
from converter.passes.recurrent import recognize_recurrent

TIME, BATCH, FEATURES, SIZE = 40, 2, 3, 5
RNG = np.random.default_rng(23)
RESOLVERS = ("AUTO", "BUILTIN_REF", "BUILTIN_WITHOUT_DEFAULT_DELEGATES")


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32) / 2


def op(b: Builder, name: str, *inputs: Any, **options: Any) -> ir.Value:
    values = [v if isinstance(v, ir.Value) else b.constant(np.float32(v)) for v in inputs]
    if name in ("ADD", "SUB", "MUL"):
        options["fused_activation_function"] = "NONE"
    return b.emit(name, values, **options)


def product(b: Builder, x: ir.Value, weights: np.ndarray, whole: bool = True) -> ir.Value:
    if whole:
        return op(b, "FULLY_CONNECTED", x, weights, fused_activation_function="NONE")
    return op(b, "BATCH_MATMUL", x, weights.T.copy(), adj_x=False, adj_y=False)


def split(b: Builder, x: ir.Value, count: int) -> list[ir.Value]:
    axis = b.constant(1, "axis", np.int32)
    return b.emit_many("SPLIT", [axis, x], ["FLOAT32"] * count, num_splits=count)


W, R, BIAS, HOLES = normal(20, 3), normal(20, 5), normal(20), normal(3, 5)


def lstm_after(b: Builder, gates: list[ir.Value], c: ir.Value, activation: str = "TANH") -> list:
    i, f, g, o = gates
    kept = op(b, "MUL", op(b, "LOGISTIC", f), c)
    after = op(b, "ADD", op(b, "MUL", op(b, "LOGISTIC", i), op(b, activation, g)), kept)
    return [op(b, "MUL", op(b, "TANH", after), op(b, "LOGISTIC", o)), after]


def two_products(b: Builder, x: ir.Value, h: ir.Value, c: ir.Value) -> list[ir.Value]:
    total = op(b, "ADD", op(b, "ADD", product(b, x, W), product(b, h, R)), BIAS)
    return lstm_after(b, split(b, total, 4), c)


def one_product(b: Builder, x: ir.Value, h: ir.Value, c: ir.Value) -> list[ir.Value]:
    """As `dynamic_rnn` has it: input, cell, forget with its 1, output."""
    both = basic.concat(b, [x, h], 1)
    total = op(b, "ADD", product(b, both, np.concatenate([W, R], 1), whole=False), BIAS)
    i, g, f, o = split(b, total, 4)
    return lstm_after(b, [i, op(b, "ADD", f, 1.0), g, o], c)


def four_products(b: Builder, x: ir.Value, h: ir.Value, c: ir.Value) -> list[ir.Value]:
    gates = []
    for k in range(4):
        rows = slice(k * SIZE, (k + 1) * SIZE)
        own = op(b, "SUB", product(b, x, W[rows]), BIAS[rows])
        gates.append(op(b, "ADD", product(b, h, R[rows]), op(b, "MUL", own, 0.5)))
    return lstm_after(b, gates, c)


def peepholes(b: Builder, x: ir.Value, h: ir.Value, c: ir.Value) -> list[ir.Value]:
    i, f, g, o = split(b, op(b, "ADD", product(b, x, W), product(b, h, R)), 4)
    i, f = (op(b, "ADD", v, op(b, "MUL", c, hole)) for v, hole in ((i, HOLES[0]), (f, HOLES[1])))
    kept = op(b, "MUL", c, op(b, "LOGISTIC", f))
    after = op(b, "ADD", kept, op(b, "MUL", op(b, "TANH", g), op(b, "LOGISTIC", i)))
    o = op(b, "ADD", o, op(b, "MUL", HOLES[2], after))
    return [op(b, "MUL", op(b, "LOGISTIC", o), op(b, "TANH", after)), after]


def projected(b: Builder, x: ir.Value, h: ir.Value, c: ir.Value) -> list[ir.Value]:
    shown, after = two_products(b, x, h, c)
    return [product(b, shown, R[:5], whole=False), after]


LSTMS = [two_products, one_product, four_products, peepholes, projected]
GW, GR, GB = normal(15, 3), normal(15, 5), normal(2, 15)


def gru(spelling: str, reset_after: bool):
    def step(b: Builder, x: ir.Value, h: ir.Value, _: Any) -> list[ir.Value]:
        own = op(b, "ADD", product(b, x, GW), GB[0])
        xz, xr, xn = split(b, own, 3)
        if reset_after:
            hz, hr, hn = split(b, op(b, "ADD", product(b, h, GR), GB[1]), 3)
            r = op(b, "LOGISTIC", op(b, "ADD", xr, hr))
            inside = op(b, "ADD", op(b, "MUL", r, hn), xn)
        else:
            hz, hr = split(b, product(b, h, GR[:10]), 2)
            r = op(b, "LOGISTIC", op(b, "ADD", xr, hr))
            inside = op(b, "ADD", xn, product(b, op(b, "MUL", r, h), GR[10:]))
        z, n = op(b, "LOGISTIC", op(b, "ADD", xz, hz)), op(b, "TANH", inside)
        if spelling == "mixed":
            rest = op(b, "MUL", op(b, "SUB", 1.0, z), n)
            return [op(b, "ADD", op(b, "MUL", z, h), rest)]
        return [op(b, "ADD", n, op(b, "MUL", z, op(b, "SUB", h, n)))]

    return step


def model_of(
    step: Any,
    states: int = 2,
    reverse: bool = False,
    shown: Any = None,
    features: int = FEATURES,
    batch: Any = BATCH,
    time: Any = TIME,
) -> ir.Model:
    """A scan of `step`, whose first state is its result too, or what `shown` makes of all."""
    b = Builder()
    x = b.input("x", "FLOAT32", [time, batch, features])
    given = [b.input(f"s{i}", "FLOAT32", [batch, SIZE]) for i in range(states)]

    def body(inner: Builder, slices: list[ir.Value], before: list[ir.Value]) -> Any:
        after = step(inner, slices[0], before[0], before[-1])
        return after, (shown or (lambda b, values: values[:1]))(inner, after)

    last, results = control.scan(b, [x], given, body, reverse)
    outputs = [("y", results[0]), *((f"t{i}", v) for i, v in enumerate(last))]
    return b.model(["x", *(f"s{i}" for i in range(states))], outputs)


def _sized(value: ir.Value, call: int) -> list[int]:
    """The shape of an input, in which lengths and batches that are dynamic differ."""
    dims = value.shape_signature or value.shape
    known = (call + 1 if len(dims) - i == 2 else 2 * call + 2 for i in range(len(dims)))
    return [size if size >= 0 else own for size, own in zip(dims, known, strict=True)]


def runs(model: ir.Model, kind: Any = runtime.Interpreter, **options: Any) -> list[np.ndarray]:
    """Outputs of three calls of one interpreter, each with other dynamic sizes."""
    rng, found = np.random.default_rng(1), []
    run = kind(model_content=converter.write_tflite(model), **options).get_signature_runner()
    for call in range(3):
        feeds = {
            v.name: rng.standard_normal(_sized(v, call), np.float32) for v in model.main.inputs
        }
        outputs = run(**feeds)
        found += [np.array(outputs[name]) for name in sorted(outputs)]
    return found


def fires(model: ir.Model) -> list[str]:
    """The ops of the model behind the pass, which computes what it did, in every engine."""
    before = runs(model)
    assert recognize_recurrent(model)
    verify(model)
    for optimized in (False, True):
        if optimized:
            converter.optimize(model, check=True)
        after = [runs(model)]
        for name in RESOLVERS:
            resolver = getattr(OpResolverType, name)
            after.append(runs(model, LiteRT, experimental_op_resolver_type=resolver))
        for found in after:
            for want, got in zip(before, found, strict=True):
                np.testing.assert_allclose(got, want, atol=2e-6 * max(1, np.abs(want).max()))
    assert not recognize_recurrent(model)
    return [node.op for node in model.main.nodes]


def holds(model: ir.Model) -> None:
    before = converter.write_tflite(model)
    assert not recognize_recurrent(model)
    assert converter.write_tflite(model) == before
