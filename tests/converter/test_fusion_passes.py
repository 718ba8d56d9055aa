# SPDX-License-Identifier: Apache-2.0
"""Folding and fusing: fires where it should, holds still where it must, keeps the outputs."""

from __future__ import annotations

import numpy as np
import pytest
from graph_building import Builder, conv, normal
from pass_checks import INT8, LINEAR, RNG, fires, holds, linear, ops, then

from converter import ir
from converter.passes.affine import fold_affine, fuse_bias
from converter.passes.fusion import fuse_activations, fuse_padding, recognize_activations

# -- affine ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", LINEAR)
@pytest.mark.parametrize("shape", [(4,), (1,), (), (1, 4)])
@pytest.mark.parametrize("swap", [False, True])
def test_batch_norm_folds_into_weights(kind, shape, swap):
    b = Builder()
    y = then(b, "MUL", linear(b, kind), normal(RNG, *shape), swap)
    y = then(b, "ADD", y, normal(RNG, *shape), swap, fused_activation_function="RELU6")
    model = b.model(y)
    assert fires(model, fold_affine, fuse_bias)
    assert ops(model) == [kind]
    assert model.main.nodes[0].options["fused_activation_function"] == "RELU6"
    assert model.main.nodes[0].outputs[0].name == y.name


@pytest.mark.parametrize("kind", LINEAR)
def test_division_and_subtraction_fold(kind):
    b = Builder()
    y = then(b, "DIV", linear(b, kind), normal(RNG, 4) + 3)
    model = b.model(then(b, "SUB", y, normal(RNG, 4)))
    assert fires(model, fold_affine, fuse_bias)
    assert ops(model) == [kind]


def test_shared_weights_are_not_scaled_for_the_other_user():
    b = Builder()
    x, weights = b.input((3, 6)), b.constant(normal(RNG, 4, 6))
    left = b.op("FULLY_CONNECTED", [x, weights], (3, 4))
    right = b.op("FULLY_CONNECTED", [x, weights], (3, 4))
    model = b.model(then(b, "MUL", left, normal(RNG, 4)), right)
    assert fires(model, fold_affine)
    assert ops(model) == ["FULLY_CONNECTED"] * 2


def affine_with_second_user():
    b = Builder()
    y = linear(b, "CONV_2D")
    return b.model(then(b, "MUL", y, normal(RNG, 4)), b.op("NEG", [y], y.shape))


def affine_on_an_output():
    b = Builder()
    y = linear(b, "CONV_2D")
    return b.model(then(b, "ADD", y, normal(RNG, 4)), y)


def affine_after_activation():
    b = Builder()
    return b.model(then(b, "MUL", linear(b, "CONV_2D", "RELU"), normal(RNG, 4)))


def affine_along_another_axis():
    b = Builder()
    return b.model(then(b, "MUL", linear(b, "CONV_2D"), normal(RNG, 5, 1)))


def affine_along_every_axis():
    b = Builder()
    y = linear(b, "CONV_2D")
    return b.model(then(b, "ADD", y, normal(RNG, *y.shape)))


def affine_with_computed_operand():
    b = Builder()
    y = linear(b, "CONV_2D")
    return b.model(then(b, "MUL", y, b.input((4,))))


def affine_with_computed_weights():
    b = Builder()
    y = b.op("FULLY_CONNECTED", [b.input((3, 6)), b.input((4, 6))], (3, 4))
    return b.model(then(b, "MUL", y, normal(RNG, 4)))


def affine_that_broadcasts():
    b = Builder()
    x = b.op("FULLY_CONNECTED", [b.input((1, 6)), normal(RNG, 1, 6)], (1, 1))
    return b.model(b.op("ADD", [x, normal(RNG, 4)], (1, 4)))


def affine_with_the_constant_on_the_left():
    b = Builder()
    y = then(b, "SUB", linear(b, "CONV_2D"), normal(RNG, 4), swap=True)
    return b.model(then(b, "DIV", y, normal(RNG, 4), swap=True))


def affine_by_zero():
    b = Builder()
    return b.model(then(b, "DIV", linear(b, "CONV_2D"), np.zeros(4, np.float32)))


def affine_quantized():
    b = Builder()
    x = b.input((1, 4), "INT8", quant=INT8)
    w = b.constant(np.ones((4, 4), np.int8), quant=ir.Quantization(0.1, 0))
    y = b.op("FULLY_CONNECTED", [x, w], (1, 4), "INT8", INT8)
    shift = b.constant(np.ones(4, np.int8), quant=INT8)
    return b.model(b.op("ADD", [y, shift], (1, 4), "INT8", INT8))


@pytest.mark.parametrize(
    "build",
    [
        affine_with_second_user,
        affine_on_an_output,
        affine_after_activation,
        affine_along_another_axis,
        affine_along_every_axis,
        affine_with_computed_operand,
        affine_with_computed_weights,
        affine_that_broadcasts,
        affine_with_the_constant_on_the_left,
        affine_by_zero,
        affine_quantized,
    ],
    ids=lambda f: f.__name__,
)
def test_affine_passes_hold_still(build):
    assert holds(build(), fold_affine, fuse_bias)


# -- activations ----------------------------------------------------------------------------------


def host(b, op):
    if op in LINEAR:
        return linear(b, op)
    if op.endswith("POOL_2D"):
        window = {"stride_w": 1, "stride_h": 1, "filter_width": 2, "filter_height": 2}
        return b.op(op, [b.input((1, 4, 4, 3))], (1, 3, 3, 3), padding="VALID", **window)
    return b.op(op, [b.input((2, 3)), b.input((2, 3))], (2, 3))


@pytest.mark.parametrize("activation", ["RELU", "RELU6", "RELU_N1_TO_1"])
@pytest.mark.parametrize(
    "op", [*LINEAR, "ADD", "SUB", "MUL", "DIV", "AVERAGE_POOL_2D", "MAX_POOL_2D"]
)
def test_activation_fuses(op, activation):
    b = Builder()
    y = host(b, op)
    model = b.model(b.op(activation, [y], y.shape))
    assert fires(model, fuse_activations)
    assert ops(model) == [op]
    assert model.main.nodes[0].options["fused_activation_function"] == activation


def activation_of_shared_value():
    b = Builder()
    y = linear(b, "CONV_2D")
    return b.model(b.op("RELU", [y], y.shape), b.op("NEG", [y], y.shape))


def activation_of_an_output():
    b = Builder()
    y = linear(b, "CONV_2D")
    return b.model(b.op("RELU", [y], y.shape), y)


def second_activation():
    b = Builder()
    y = linear(b, "CONV_2D", "RELU_N1_TO_1")
    return b.model(b.op("RELU", [y], y.shape))


def tanh_stays():
    b = Builder()
    y = linear(b, "FULLY_CONNECTED")
    return b.model(b.op("TANH", [y], y.shape))


def activation_after_other_op():
    b = Builder()
    y = b.op("NEG", [b.input((3,))], (3,))
    return b.model(b.op("RELU", [y], (3,)))


def activation_of_an_input():
    b = Builder()
    return b.model(b.op("RELU", [b.input((3,))], (3,)))


def activation_quantized():
    b = Builder()
    x = b.input((1, 4), "INT8", quant=INT8)
    y = b.op("ADD", [x, x], (1, 4), "INT8", INT8)
    return b.model(b.op("RELU", [y], (1, 4), "INT8", INT8))


@pytest.mark.parametrize(
    "build",
    [
        activation_of_shared_value,
        activation_of_an_output,
        second_activation,
        tanh_stays,
        activation_after_other_op,
        activation_of_an_input,
        activation_quantized,
    ],
    ids=lambda f: f.__name__,
)
def test_activation_fusion_holds_still(build):
    assert holds(build(), fuse_activations)


@pytest.mark.parametrize(
    ("low", "high", "op"),
    [
        (0.0, None, "RELU"),
        (0.0, 6.0, "RELU6"),
        (-1.0, 1.0, "RELU_N1_TO_1"),
        (0.0, 1.0, "RELU_0_TO_1"),
    ],
)
@pytest.mark.parametrize("low_first", [True, False])
def test_clamps_are_recognized(low, high, op, low_first):
    b = Builder()
    y = b.input((20,))
    steps = [("MAXIMUM", low), ("MINIMUM", high)]
    for kind, bound in steps if low_first else steps[::-1]:
        if bound is not None:
            y = then(b, kind, y, np.float32(bound), swap=True)
    model = b.model(y)
    assert fires(model, recognize_activations)
    assert ops(model) == [op]


@pytest.mark.parametrize("numbers", [(0.5, 6.0), (-1.0, 2.0), (-2.0, 1.0)])
def test_other_clamps_are_not(numbers):
    b = Builder()
    y = then(b, "MAXIMUM", b.input((20,)), np.float32(numbers[0]))
    assert holds(b.model(then(b, "MINIMUM", y, np.float32(numbers[1]))), recognize_activations)


# -- padding --------------------------------------------------------------------------------------


def padded_conv(size, kernel, stride, amounts, op="PAD", value=0.0, activation="NONE"):
    b = Builder()
    x = b.input((1, size, size, 2))
    shape = tuple(d + sum(p) for d, p in zip(x.shape, amounts, strict=True))
    extra = [np.float32(value)] if op == "PADV2" else []
    y = b.op(op, [x, np.array(amounts, np.int32), *extra], shape)
    weights, bias = normal(RNG, 3, kernel, kernel, 2), normal(RNG, 3)
    return b.model(conv(b, y, weights, bias, stride, "VALID", activation))


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "amounts"),
    [(7, 3, 1, (1, 1)), (8, 3, 2, (0, 1)), (7, 3, 2, (1, 1)), (9, 5, 1, (2, 2)), (6, 2, 1, (0, 1))],
)
@pytest.mark.parametrize("op", ["PAD", "PADV2"])
def test_padding_like_same_becomes_same(size, kernel, stride, amounts, op):
    model = padded_conv(size, kernel, stride, [(0, 0), amounts, amounts, (0, 0)], op)
    assert fires(model, fuse_padding)
    assert ops(model) == ["CONV_2D"]
    assert model.main.nodes[0].options["padding"] == "SAME"


@pytest.mark.parametrize(
    ("stride", "amounts", "value"),
    [(2, (1, 1), 0.0), (1, (2, 2), 0.0), (1, (2, 0), 0.0), (1, (1, 1), 3.0)],
)
def test_other_padding_stays(stride, amounts, value):
    op = "PADV2" if value else "PAD"
    model = padded_conv(8, 3, stride, [(0, 0), amounts, amounts, (0, 0)], op, value)
    assert holds(model, fuse_padding)


def test_padding_with_two_users_stays():
    model = padded_conv(8, 3, 1, [(0, 0), (1, 1), (1, 1), (0, 0)])
    model.main.outputs.append(model.main.nodes[0].outputs[0])
    assert holds(model, fuse_padding)


def test_padding_of_unknown_size_stays():
    model = padded_conv(8, 3, 1, [(0, 0), (1, 1), (1, 1), (0, 0)])
    model.main.inputs[0].shape_signature = (1, -1, -1, 2)
    assert holds(model, fuse_padding)
