# SPDX-License-Identifier: Apache-2.0
"""Axes of size 1 stay where two nodes want them, so that what is between can fold."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from layout_graphs import PAIR, Builder, model_of, outputs_stay, shapes_are_true
from network_graphs import Network
from pass_checks import RNG, ops

import converter
import runtime
from converter.passes.dead_code import remove_dead_code
from converter.passes.no_ops import remove_no_ops
from converter.passes.units import sink_squeezes


def floats(b, *shape):
    return b.constant(RNG.uniform(0.5, 2, shape), "floats", np.float32)


def ints(b, numbers):
    return b.constant(numbers, "numbers", np.int32)


def wide(b, x):
    """Works on four axes only."""
    window = {"filter_width": 1, "filter_height": 1, "stride_w": 1, "stride_h": 1}
    return b.emit("AVERAGE_POOL_2D", [x], padding="VALID", **window)


def squeezed(b, x):
    return b.emit("RESHAPE", [x, ints(b, (-1, *(d for d in b.dims(x)[1:] if d != 1)))])


def back(b, x, axis=1):
    dims = list(b.dims(x)[1:])
    dims.insert(axis - 1, 1)
    return b.emit("RESHAPE", [x, ints(b, (-1, *dims))])


BETWEEN = {
    "unary": lambda b, x, _: b.emit("TANH", [x]),
    "batch norm": lambda b, x, _: b.emit("ADD", [b.emit("MUL", [x, floats(b, 5)]), floats(b, 5)]),
    "rows": lambda b, x, _: b.emit("SUB", [x, floats(b, 7, 1)]),
    "rank 3": lambda b, x, _: b.emit("MAXIMUM", [floats(b, 1, 7, 5), x]),
    "scalar": lambda b, x, _: b.emit("MINIMUM", [x, floats(b)]),
    "pad": lambda b, x, _: b.emit("PAD", [x, ints(b, [(0, 0), (1, 2), (0, 0)])]),
    "mirror": lambda b, x, _: b.emit("MIRROR_PAD", [x, ints(b, [(0, 0), (1, 2), (2, 0)])], mode=0),
    "residual": lambda b, x, axis: b.emit(
        "ADD", [x, squeezed(b, wide(b, back(b, b.emit("NEG", [x]), axis)))]
    ),
    "join": lambda b, x, _: b.emit("CONCATENATION", [x, b.emit("NEG", [x])], axis=-1),
}


@pytest.mark.parametrize("case", BETWEEN)
@pytest.mark.parametrize("batch", [PAIR, 2])
@pytest.mark.parametrize("axis", [1, 2])
def test_nothing_is_reshaped_between(case, batch, axis):
    b = Builder()
    dims = [7, 5]
    dims.insert(axis - 1, 1)
    x = b.input("x", "FLOAT32", (batch, *dims))
    model = model_of(b, wide(b, back(b, BETWEEN[case](b, squeezed(b, wide(b, x)), axis), axis)))
    assert outputs_stay(model, sink_squeezes, remove_no_ops, remove_dead_code)
    assert "RESHAPE" not in ops(model)
    assert shapes_are_true(model)


def of_an_output(b, x):
    y = squeezed(b, x)
    return [y, b.emit("NEG", [y])]


def read_otherwise(b, x):
    y = squeezed(b, x)
    return [b.emit("SOFTMAX", [y], beta=1.0), b.emit("NEG", [y])]


def of_two_shapes(b, x):
    other = squeezed(b, b.input("y", "FLOAT32", (2, 7, 1, 5)))
    return [b.emit("ADD", [squeezed(b, x), other])]


def merged(b, x):
    return [b.emit("NEG", [b.emit("RESHAPE", [x, ints(b, (-1, 5))])])]


def joined_with_a_constant(b, x):
    return [b.emit("CONCATENATION", [squeezed(b, x), floats(b, 2, 7, 5)], axis=1)]


@pytest.mark.parametrize(
    "build",
    [of_an_output, read_otherwise, of_two_shapes, merged, joined_with_a_constant],
    ids=lambda f: f.__name__,
)
def test_others_stay(build):
    b = Builder()
    model = model_of(b, *build(b, b.input("x", "FLOAT32", (2, 1, 7, 5))))
    before = converter.write_tflite(model)
    assert not sink_squeezes(model.main)
    assert converter.write_tflite(model) == before


@pytest.mark.parametrize("batch", ["n", 1])
def test_a_network_over_time_is_convolutions_and_sums(batch):
    n = Network(batch, 8, 100)

    def conv(x, given, made):
        return n.op("Conv", x, n.weights(made, given, 3), pads=[1, 1])

    x = n.op("Relu", n.norm(conv("x", 8, 16), 16))
    for _ in range(2):
        y = n.op("Relu", n.norm(conv(x, 16, 16), 16))
        x = n.op("Relu", n.op("Add", x, n.norm(conv(y, 16, 16), 16)))
    pooled = n.op("Flatten", n.op("GlobalAveragePool", x))
    source = n.model(n.dense(pooled, 16, 4))
    model = converter.from_onnx(source)
    converter.optimize(model, check=True)
    found = ops(model)
    assert found.count("CONV_2D") == 5 and found.count("ADD") == 2
    assert "MUL" not in found and "RELU" not in found
    assert found.count("TRANSPOSE") == 1 and found.count("RESHAPE") <= 3
    x = RNG.standard_normal((1, 8, 100)).astype(np.float32)
    data = converter.write_tflite(model)
    (got,) = runtime.Interpreter(model_content=data).get_signature_runner()(x=x).values()
    (wanted,) = onnx.reference.ReferenceEvaluator(source).run(None, {"x": x})
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
