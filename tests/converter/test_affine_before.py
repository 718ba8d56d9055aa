# SPDX-License-Identifier: Apache-2.0
"""Arithmetic before a linear op goes into its weights; chains of constants become one."""

from __future__ import annotations

import numpy as np
import pytest
from graph_building import Builder, conv, normal
from pass_checks import INT8, RNG, fires, holds, ops, then

from converter import ir
from converter.passes.affine_before import fold_affine_before, merge_constants
from converter.passes.no_ops import remove_no_ops

CHANNELS = 3


def data(b, kind):
    return b.input((4, CHANNELS) if kind == "FULLY_CONNECTED" else (2, 5, 6, CHANNELS))


def linear(b, kind, x, padding="VALID", bias=True):
    n = x.shape[0]
    bias |= kind != "FULLY_CONNECTED"  # LiteRT's convolutions want one
    size = x.shape[1:3]
    biases = [normal(RNG, 6)] if bias else []
    if kind == "FULLY_CONNECTED":
        return b.op(kind, [x, normal(RNG, 6, CHANNELS), *biases], (n, 6))
    if kind == "CONV_2D":
        return conv(b, x, normal(RNG, 6, 3, 3, CHANNELS), *biases, padding=padding)
    size = size if padding == "SAME" else tuple(d - 2 for d in size)
    options = {"padding": padding, "stride_w": 1, "stride_h": 1, "depth_multiplier": 2}
    return b.op(kind, [x, normal(RNG, 1, 3, 3, 6), *biases], (n, *size, 6), **options)


LINEAR = ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"]
SHAPES = [(), (1,), (CHANNELS,), (1, CHANNELS)]


@pytest.mark.parametrize("kind", LINEAR)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("bias", [True, False])
def test_normalization_folds(kind, shape, bias):
    b = Builder()
    x = then(b, "SUB", data(b, kind), normal(RNG, *shape))
    x = then(b, "DIV", x, RNG.uniform(0.5, 2, shape).astype(np.float32))
    model = b.model(linear(b, kind, x, bias=bias))
    assert fires(model, fold_affine_before)
    assert ops(model) == [kind]


@pytest.mark.parametrize("kind", LINEAR[:2])
def test_factors_fold_past_padding_and_shifts_do_not(kind):
    b = Builder()
    x = then(b, "ADD", data(b, kind), normal(RNG, CHANNELS))
    x = then(b, "MUL", x, normal(RNG, CHANNELS), swap=True)
    model = b.model(linear(b, kind, x, padding="SAME"))
    assert fires(model, fold_affine_before)
    assert ops(model) == ["ADD", kind]


def with_two_readers(b):
    x = then(b, "MUL", data(b, "CONV_2D"), normal(RNG, CHANNELS))
    return [linear(b, "CONV_2D", x), b.op("NEG", [x], x.shape)]


def by_rows(b):
    return [linear(b, "CONV_2D", then(b, "MUL", data(b, "CONV_2D"), normal(RNG, 6, 1)))]


def under_the_line(b):
    x = then(b, "DIV", data(b, "CONV_2D"), normal(RNG, CHANNELS), swap=True)
    return [linear(b, "CONV_2D", x)]


def from_a_constant(b):
    x = then(b, "SUB", data(b, "CONV_2D"), normal(RNG, CHANNELS), swap=True)
    return [linear(b, "CONV_2D", x)]


def by_zero(b):
    x = then(b, "DIV", data(b, "CONV_2D"), np.zeros(CHANNELS, np.float32))
    return [linear(b, "CONV_2D", x)]


def clamped(b):
    x = data(b, "CONV_2D")
    x = then(b, "MUL", x, normal(RNG, CHANNELS), fused_activation_function="RELU")
    return [linear(b, "CONV_2D", x)]


def that_grows(b):
    x = b.op("MUL", [b.input((2, 5, 6, 1)), normal(RNG, CHANNELS)], (2, 5, 6, CHANNELS))
    return [linear(b, "CONV_2D", x)]


def computed_bias(b):
    x = then(b, "ADD", data(b, "FULLY_CONNECTED"), normal(RNG, CHANNELS))
    return [b.op("FULLY_CONNECTED", [x, normal(RNG, 6, CHANNELS), b.input((6,))], (4, 6))]


def flattening_product(b):
    """The product takes rows of 6, each of two pixels."""
    x = then(b, "MUL", b.input((4, CHANNELS)), normal(RNG, CHANNELS))
    return [b.op("FULLY_CONNECTED", [x, normal(RNG, 2, 2 * CHANNELS)], (2, 2))]


def with_scales(b):
    x = b.input((1, 4), "INT8", quant=INT8)
    three = b.constant(np.int8(3), quant=INT8)
    x = b.op("MUL", [x, three], (1, 4), "INT8", INT8)
    w = b.constant(np.ones((4, 4), np.int8), quant=ir.Quantization(0.1, 0))
    return [b.op("FULLY_CONNECTED", [x, w], (1, 4), "INT8", INT8)]


@pytest.mark.parametrize(
    "build",
    [
        with_two_readers,
        by_rows,
        under_the_line,
        from_a_constant,
        by_zero,
        clamped,
        that_grows,
        computed_bias,
        flattening_product,
        with_scales,
    ],
    ids=lambda f: f.__name__,
)
def test_others_stay(build):
    b = Builder()
    assert holds(b.model(*build(b)), fold_affine_before)


@pytest.mark.parametrize(
    ("steps", "left"),
    [
        (["ADD", "SUB", "ADD"], "ADD"),
        (["SUB", "SUB"], "ADD"),
        (["MUL", "MUL", "MUL"], "MUL"),
    ],
)
@pytest.mark.parametrize("shapes", [[(), (3,), (2, 1)], [(2, 3), (1,), (3,)]])
@pytest.mark.parametrize("activation", ["NONE", "RELU6"])
def test_constants_merge(steps, left, shapes, activation):
    b = Builder()
    x = b.input((2, 3))
    for i, op in enumerate(steps):
        last = {"fused_activation_function": activation} if i == len(steps) - 1 else {}
        x = then(b, op, x, normal(RNG, *shapes[i]), swap=i == 1 and op != "SUB", **last)
    model = b.model(x)
    assert fires(model, merge_constants)
    assert ops(model) == [left]
    assert model.main.nodes[0].option("fused_activation_function") == activation


def one_of_each(b):
    return [then(b, "MUL", then(b, "ADD", b.input((3,)), normal(RNG, 3)), normal(RNG, 3))]


def constant_less_x(b):
    x = then(b, "ADD", b.input((3,)), normal(RNG, 3))
    return [then(b, "SUB", x, normal(RNG, 3), swap=True)]


def read_in_between(b):
    x = then(b, "ADD", b.input((3,)), normal(RNG, 3))
    return [then(b, "ADD", x, normal(RNG, 3)), x]


def clamped_in_between(b):
    x = then(b, "ADD", b.input((3,)), normal(RNG, 3), fused_activation_function="RELU")
    return [then(b, "ADD", x, normal(RNG, 3))]


def too_large(b):
    x = then(b, "MUL", b.input((3,)), np.float32(1e30))
    return [then(b, "MUL", x, np.float32(1e30))]


def too_small(b):
    x = then(b, "MUL", b.input((3,)), np.float32(1e-30))
    return [then(b, "MUL", x, np.float32(1e-30))]


def growing_constants(b):
    x = then(b, "ADD", b.input((3,)), normal(RNG, 3))
    return [b.op("ADD", [x, normal(RNG, 2, 3)], (2, 3))]


@pytest.mark.parametrize(
    "build",
    [
        one_of_each,
        constant_less_x,
        read_in_between,
        clamped_in_between,
        too_large,
        too_small,
        growing_constants,
    ],
    ids=lambda f: f.__name__,
)
def test_other_constants_stay(build):
    b = Builder()
    assert holds(b.model(*build(b)), merge_constants)


def test_opposites_vanish():
    b = Builder()
    x = then(
        b, "SUB", then(b, "ADD", b.op("NEG", [b.input((3,))], (3,)), np.float32(2)), np.float32(2)
    )
    model = b.model(b.op("ABS", [x], (3,)))
    assert fires(model, merge_constants, remove_no_ops)
    assert ops(model) == ["NEG", "ABS"]
