# SPDX-License-Identifier: Apache-2.0
"""Norms and attention become composites that still compute what their parts did."""

from __future__ import annotations

import network_graphs
import numpy as np
import pytest
from flatbuffers import flexbuffers
from graph_building import run_litert
from layout_graphs import PAIR, Builder, model_of, run
from pass_checks import RNG

import converter
from converter.passes.composites import flexbuffer, outline_composites
from converter.verifier import verify


def axes(b):
    return b.constant([-1], "axes", np.int32)


def number(b, value):
    return b.constant(value, "number", np.float32)


def along_last(b, size=6):
    return b.constant(RNG.uniform(0.5, 2, size), "row", np.float32)


def mean(b, x):
    return b.emit("MEAN", [x, axes(b)], keep_dims=True)


def spread(b, x, spelling):
    squares = {
        "mul": lambda: b.emit("MUL", [x, x]),
        "square": lambda: b.emit("SQUARE", [x]),
        "pow": lambda: b.emit("POW", [x, number(b, 2)]),
    }[spelling]()
    return b.emit("ADD", [mean(b, squares), number(b, 1e-5)])


def over_spread(b, x, spelling, division):
    y = spread(b, x, spelling)
    if division:
        return b.emit("DIV", [x, b.emit("SQRT", [y])])
    return b.emit("MUL", [b.emit("RSQRT", [y]), x])


def layer_norm(b, x, spelling="mul", division=True, affine=True):
    y = over_spread(b, b.emit("SUB", [x, mean(b, x)]), spelling, division)
    if not affine:
        return y
    return b.emit("ADD", [b.emit("MUL", [y, along_last(b)]), along_last(b)])


def rms_norm(b, x, spelling="mul", division=True, affine=True):
    y = over_spread(b, x, spelling, division)
    return b.emit("MUL", [along_last(b), y]) if affine else y


def attention(b, q, k, v, mask=None, scale=None, adj_y=True, beta=1.0):
    scores = b.emit("BATCH_MATMUL", [q, k], adj_y=adj_y)
    scores = b.emit("MUL", [scores, number(b, scale)]) if scale else scores
    scores = b.emit("ADD", [scores, mask]) if mask is not None else scores
    return b.emit("BATCH_MATMUL", [b.emit("SOFTMAX", [scores], beta=beta), v])


def outlined(model):
    """Outline, verify, compare with what was; the composites' names and attributes."""
    before = run(model)
    signature = [(v.name, v.shape, v.shape_signature) for v in model.main.outputs]
    assert outline_composites(model)
    verify(model)
    assert signature == [(v.name, v.shape, v.shape_signature) for v in model.main.outputs]
    for a, c in zip(before, run(model), strict=True):
        np.testing.assert_allclose(a, c, rtol=0, atol=1e-5 * np.abs(a).max())
    assert all(np.isfinite(y).all() for y in run_litert(converter.write_tflite(model)))
    assert not outline_composites(model)
    composites = [n for n in model.main.nodes if n.op == "STABLEHLO_COMPOSITE"]
    return [
        (n.options["name"], flexbuffers.Loads(n.options["composite_attributes"].tobytes()))
        for n in composites
    ]


@pytest.mark.parametrize("norm", [layer_norm, rms_norm])
@pytest.mark.parametrize("spelling", ["mul", "square", "pow"])
@pytest.mark.parametrize("division", [True, False])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("batch", [2, PAIR])
def test_norms(norm, spelling, division, affine, batch):
    b = Builder()
    x = b.emit("ABS", [b.input("x", "FLOAT32", (batch, 3, 6))])
    model = model_of(b, b.emit("NEG", [norm(b, x, spelling, division, affine)]))
    ((name, attributes),) = outlined(model)
    assert name == f"rillet.{norm.__name__}"
    assert attributes == {"epsilon": pytest.approx(1e-5)}
    assert [n.op for n in model.main.nodes] == ["ABS", "STABLEHLO_COMPOSITE", "NEG"]
    given = {layer_norm: 2, rms_norm: 1}[norm] if affine else 0
    assert len(model.main.nodes[1].inputs) == 1 + given


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("scale", [None, 0.25])
@pytest.mark.parametrize("adj_y", [True, False])
def test_attention(masked, scale, adj_y):
    b = Builder()
    q, v = (b.input(n, "FLOAT32", (PAIR, 2, 4, 6)) for n in "qv")
    k = b.input("k", "FLOAT32", (PAIR, 2, 4, 6) if adj_y else (PAIR, 2, 6, 4))
    mask = b.input("m", "FLOAT32", (4, 4)) if masked else None
    model = model_of(b, attention(b, q, k, v, mask, scale, adj_y))
    ((name, attributes),) = outlined(model)
    assert name == "rillet.attention"
    assert attributes == {"keys_are_rows": int(adj_y), **({"scale": scale} if scale else {})}
    (node,) = model.main.nodes
    assert node.inputs == model.main.inputs[:1] + [k, v] + ([mask] if masked else [])


@pytest.mark.parametrize("first", [True, False])
def test_a_mask_may_be_a_product_and_stand_first(first):
    b = Builder()
    x = b.input("x", "FLOAT32", (2, 4, 6))
    mask = b.emit("MUL", [b.input("m", "FLOAT32", (4, 4)), number(b, -1e4)])
    scores = b.emit("BATCH_MATMUL", [x, x], adj_y=True)
    terms = [mask, scores] if first else [scores, mask]
    weights = b.emit("SOFTMAX", [b.emit("ADD", terms)], beta=1.0)
    model = model_of(b, b.emit("BATCH_MATMUL", [weights, x]))
    ((name, _),) = outlined(model)
    assert name == "rillet.attention" and model.main.nodes[-1].inputs == [x, x, x, mask]


def test_constants_are_the_graphs_own_too_and_in_the_file_once():
    b = Builder()
    row = RNG.uniform(0.5, 2, 1000).astype(np.float32)
    x = b.input("x", "FLOAT32", (2, 3, 1000))
    model = model_of(b, b.emit("MUL", [over_spread(b, x, "mul", True), b.constant(row, "row")]))
    plain = converter.write_tflite(model)
    outlined(model)
    (node,), body = model.main.nodes, model.graphs[1]
    assert node.inputs[1].data is not None and not body.inputs[1].users
    whole = converter.write_tflite(model)
    assert plain.count(row.tobytes()) == whole.count(row.tobytes()) == 1


def test_attention_to_itself_is_given_one_value_thrice():
    b = Builder()
    x = b.input("x", "FLOAT32", (2, 4, 6))
    model = model_of(b, attention(b, x, x, x))
    outlined(model)
    assert model.main.nodes[0].inputs == [x, x, x] and len(model.graphs) == 2


def read_in_between(b, x):
    off = b.emit("SUB", [x, mean(b, x)])
    y = spread(b, off, "mul")
    return [b.emit("DIV", [off, b.emit("SQRT", [y])]), y]


def of_another(b, x):
    return [b.emit("DIV", [x, b.emit("SQRT", [spread(b, b.emit("EXP", [x]), "mul")])])]


def cubes(b, x):
    y = b.emit("ADD", [mean(b, b.emit("POW", [x, number(b, 3)])), number(b, 9)])
    return [b.emit("DIV", [x, b.emit("SQRT", [y])])]


def activated(b, x):
    y = b.emit("ADD", [mean(b, b.emit("SQUARE", [x])), number(b, 1)])
    return [b.emit("MUL", [x, b.emit("RSQRT", [y])], fused_activation_function="RELU")]


def sharpened(b, x):
    return [attention(b, x, x, x, beta=2.0)]


def over_zero(b, x):
    scores = b.emit("DIV", [b.emit("BATCH_MATMUL", [x, x], adj_y=True), number(b, 0)])
    return [b.emit("BATCH_MATMUL", [b.emit("SOFTMAX", [scores], beta=1.0), x])]


OTHERS = [read_in_between, of_another, cubes, activated, sharpened, over_zero]


@pytest.mark.parametrize("build", OTHERS, ids=lambda f: f.__name__)
def test_others_stay(build):
    b = Builder()
    model = model_of(b, *build(b, b.input("x", "FLOAT32", (2, 3, 6))))
    before = converter.write_tflite(model)
    assert not outline_composites(model)
    assert converter.write_tflite(model) == before


@pytest.mark.parametrize(
    "numbers", [{}, {"epsilon": 0.5}, {"scale": -2.0, "a": 7, "heads": -3}], ids=len
)
def test_attributes_are_flexbuffers(numbers):
    assert flexbuffers.Loads(flexbuffer(numbers)) == numbers


def test_of_a_transformer_every_norm_and_attention():
    model = converter.from_onnx(network_graphs.vit())
    converter.optimize(model)
    names = [name for name, _ in outlined(model)]
    assert names.count("rillet.layer_norm") == 5
    assert names.count("rillet.attention") == 2
