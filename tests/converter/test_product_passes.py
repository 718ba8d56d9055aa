# SPDX-License-Identifier: Apache-2.0
"""Products take constants, transposes and what follows them into weights and flags."""

from __future__ import annotations

import numpy as np
import pytest
from graph_building import Builder, normal
from layout_graphs import LAST, PAIR, model_of, outputs_stay, shapes_are_true, transpose
from layout_graphs import Builder as Shaped
from pass_checks import RNG, fires, holds, ops, then

from converter.passes.affine import fold_affine, fuse_bias
from converter.passes.dead_code import remove_dead_code
from converter.passes.fusion import fuse_activations
from converter.passes.layout import move_transposes
from converter.passes.products import absorb_transposes, make_fully_connected


def deconvolution(b, bias=True):
    x, shape = b.input((2, 3, 3, 5)), np.array([2, 6, 6, 4], np.int32)
    inputs = [shape, normal(RNG, 4, 2, 2, 5), x, *([normal(RNG, 4)] if bias else [])]
    window = {"padding": "VALID", "stride_w": 2, "stride_h": 2}
    return b.op("TRANSPOSE_CONV", inputs, (2, 6, 6, 4), **window)


def solid(b, bias=True):
    x = b.input((1, 4, 4, 4, 3))
    inputs = [x, normal(RNG, 2, 2, 2, 3, 4), *([normal(RNG, 4)] if bias else [])]
    window = {"padding": "SAME", "stride_d": 1, "stride_w": 2, "stride_h": 1}
    dilation = {"dilation_d_factor": 1, "dilation_w_factor": 1, "dilation_h_factor": 1}
    return b.op("CONV_3D", inputs, (1, 4, 4, 2, 4), **window, **dilation)


@pytest.mark.parametrize("build", [deconvolution, solid])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ["NONE", "RELU6"])
def test_batch_norm_and_activation_fold(build, bias, activation):
    b = Builder()
    y = then(b, "MUL", build(b, bias), normal(RNG, 1, 1, 1, 4))
    y = then(b, "ADD", y, normal(RNG, 4))
    y = b.op("RELU6", [y], y.shape) if activation != "NONE" else y
    model = b.model(y)
    assert fires(model, fold_affine, fuse_bias, fuse_activations)
    assert len(ops(model)) == 1
    assert model.main.nodes[0].option("fused_activation_function") == activation


@pytest.mark.parametrize("build", [deconvolution, solid])
def test_of_two_readers_none_folds(build):
    b = Builder()
    y = build(b)
    model = b.model(then(b, "MUL", y, normal(RNG, 4)), b.op("NEG", [y], y.shape))
    assert holds(model, fold_affine, fuse_bias, fuse_activations)


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("leading", [(), (1,), (1, 1)])
@pytest.mark.parametrize("batch", [2, PAIR])
def test_a_product_with_a_constant_is_fully_connected(swapped, leading, batch):
    b = Shaped()
    x = b.input("x", "FLOAT32", (batch, 3, 5))
    matrix = b.constant(normal(RNG, *leading[:1], *((4, 5) if swapped else (5, 4))))
    y = b.emit("BATCH_MATMUL", [x, matrix], adj_y=swapped)
    y = b.emit("ADD", [y, b.constant(normal(RNG, 4))], fused_activation_function="RELU")
    model = model_of(b, y)
    assert outputs_stay(model, make_fully_connected, fuse_bias)
    (node,) = model.main.nodes
    assert node.op == "FULLY_CONNECTED" and node.option("keep_num_dims")
    assert len(node.inputs) == 3 and node.inputs[1].shape == (4, 5)
    assert shapes_are_true(model)


def product_of_computed():
    b = Builder()
    return b.model(b.op("BATCH_MATMUL", [b.input((2, 3)), b.input((3, 4))], (2, 4)))


def product_by_several():
    b = Builder()
    return b.model(b.op("BATCH_MATMUL", [b.input((2, 2, 3)), normal(RNG, 2, 3, 4)], (2, 2, 4)))


def product_that_gains_axes():
    b = Builder()
    return b.model(b.op("BATCH_MATMUL", [b.input((2, 3)), normal(RNG, 1, 3, 4)], (1, 2, 4)))


def product_with_swapped_data():
    b = Builder()
    y = b.op("BATCH_MATMUL", [b.input((2, 3, 2)), normal(RNG, 3, 4)], (2, 2, 4), adj_x=True)
    return b.model(y)


@pytest.mark.parametrize(
    "build",
    [product_of_computed, product_by_several, product_that_gains_axes, product_with_swapped_data],
    ids=lambda f: f.__name__,
)
def test_other_products_stay(build):
    assert holds(build(), make_fully_connected)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("flag", [False, True])
def test_a_swap_becomes_a_flag(side, flag):
    b = Shaped()
    x, y = (b.input(n, "FLOAT32", (PAIR, 2, 4, 4)) for n in "xy")
    operands = [x, y]
    operands[side] = transpose(b, operands[side], (0, 1, 3, 2))
    name = ("adj_x", "adj_y")[side]
    model = model_of(b, b.emit("BATCH_MATMUL", operands, **{name: flag}))
    assert outputs_stay(model, absorb_transposes, remove_dead_code)
    (node,) = model.main.nodes
    assert node.op == "BATCH_MATMUL" and node.options[name] != flag


def test_other_transposes_of_operands_stay():
    b = Shaped()
    x, y = (b.input(n, "FLOAT32", (2, 4, 2, 4)) for n in "xy")
    y = transpose(b, transpose(b, y, (0, 2, 1, 3)), (0, 1, 3, 2))
    model = model_of(b, b.emit("BATCH_MATMUL", [transpose(b, x, (0, 2, 1, 3)), y]))
    assert outputs_stay(model, move_transposes, absorb_transposes)
    assert not absorb_transposes(model.main)
    assert sorted(ops(model)) == ["BATCH_MATMUL", "TRANSPOSE", "TRANSPOSE"]


def flattened(b, batch, dims=(3, 4, 5), perm=(0, 3, 1, 2), last=(-1, 60)):
    x = b.input("x", "FLOAT32", (batch, *dims))
    flat = b.emit("RESHAPE", [transpose(b, x, perm), b.constant(last, "shape", np.int32)])
    return x, flat


@pytest.mark.parametrize("perm", [(0, 3, 1, 2), LAST, (0, 2, 1, 3), (0, 3, 2, 1)])
@pytest.mark.parametrize("batch", [2, PAIR])
def test_weights_take_the_order_of_what_is_flattened(perm, batch):
    b = Shaped()
    _, flat = flattened(b, batch, perm=perm)
    y = b.emit("FULLY_CONNECTED", [flat, b.constant(normal(RNG, 4, 60)), None])
    model = model_of(b, y)
    assert outputs_stay(model, absorb_transposes, remove_dead_code)
    assert ops(model) == ["RESHAPE", "FULLY_CONNECTED"]


def flat_with_two_readers(b):
    _, flat = flattened(b, 2)
    y = b.emit("FULLY_CONNECTED", [flat, b.constant(normal(RNG, 4, 60)), None])
    return [y, b.emit("NEG", [flat])]


def flat_with_moved_batch(b):
    _, flat = flattened(b, 3, dims=(3, 4, 5), perm=(1, 0, 2, 3))
    return [b.emit("FULLY_CONNECTED", [flat, b.constant(normal(RNG, 4, 60)), None])]


def flat_by_rows(b):
    _, flat = flattened(b, 2, last=(-1, 12))
    return [b.emit("FULLY_CONNECTED", [flat, b.constant(normal(RNG, 4, 12)), None])]


def flat_with_computed_weights(b):
    _, flat = flattened(b, 2)
    return [b.emit("FULLY_CONNECTED", [flat, b.input("w", "FLOAT32", (4, 60)), None])]


@pytest.mark.parametrize(
    "build",
    [flat_with_two_readers, flat_with_moved_batch, flat_by_rows, flat_with_computed_weights],
    ids=lambda f: f.__name__,
)
def test_other_weights_keep_their_order(build):
    b = Shaped()
    model = model_of(b, *build(b))
    assert holds(model, absorb_transposes)
