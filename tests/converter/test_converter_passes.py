# SPDX-License-Identifier: Apache-2.0
"""Each pass fires where it should, holds still where it must, and keeps what the model computes."""

from __future__ import annotations

import numpy as np
import pytest
from graph_building import Builder, conv, normal, run

import converter
from converter import ConversionError, ir
from converter.passes import DEFAULT_PASSES, optimize
from converter.passes.affine import fold_affine, fuse_bias
from converter.passes.dead_code import merge_equal_nodes, remove_dead_code
from converter.passes.fusion import fuse_activations, fuse_padding, recognize_activations
from converter.passes.no_ops import remove_no_ops

RNG = np.random.default_rng(7)
INT8 = ir.Quantization(0.05, 3)


def ops(model):
    return [node.op for node in model.main.nodes]


def fires(model, *passes):
    """Run passes to a fixpoint under the verifier; outputs must not move. True if any fired."""
    before = run(model)
    changed = optimize(model, passes=(*passes, remove_dead_code), check=True)
    after = run(model)
    for a, b in zip(before, after, strict=True):
        assert a.shape == b.shape
        scale = float(np.abs(a).max()) or 1.0
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-5 * scale)
    return changed


def holds(model, *passes):
    """Passes say they changed nothing, and the bytes agree."""
    before = converter.write_tflite(model)
    changed = [p(model.main) for p in passes]
    return not any(changed) and converter.write_tflite(model) == before


def linear(b, kind, activation="NONE"):
    """An op with weights whose result has 4 channels."""
    if kind == "CONV_2D":
        x, w = b.input((2, 5, 5, 3)), normal(RNG, 4, 3, 3, 3)
        return conv(b, x, w, normal(RNG, 4), activation=activation)
    if kind == "DEPTHWISE_CONV_2D":
        x, w = b.input((2, 5, 5, 2)), normal(RNG, 1, 3, 3, 4)
        window = {"padding": "SAME", "stride_w": 1, "stride_h": 1, "depth_multiplier": 2}
        options = {**window, "fused_activation_function": activation}
        return b.op("DEPTHWISE_CONV_2D", [x, w, normal(RNG, 4)], (2, 5, 5, 4), **options)
    x, w = b.input((3, 6)), normal(RNG, 4, 6)
    return b.op("FULLY_CONNECTED", [x, w], (3, 4), fused_activation_function=activation)


LINEAR = ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"]


def then(b, op, x, constant, swap=False, **options):
    inputs = [constant, x] if swap else [x, constant]
    return b.op(op, inputs, x.shape, **options)


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
    ("low", "high", "op"), [(0.0, None, "RELU"), (0.0, 6.0, "RELU6"), (-1.0, 1.0, "RELU_N1_TO_1")]
)
def test_clamps_are_recognized(low, high, op):
    b = Builder()
    y = then(b, "MAXIMUM", b.input((20,)), np.float32(low), swap=True)
    if high is not None:
        y = then(b, "MINIMUM", y, np.float32(high))
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


# -- no-ops ---------------------------------------------------------------------------------------


def no_op(op, *operands, shape=(2, 3), **options):
    """NEG, the op that does nothing, NEG."""
    b = Builder()
    x = b.op("NEG", [b.input(shape)], shape)
    y = b.op(op, [x if o is None else o for o in operands], shape, **options)
    return b.model(b.op("NEG", [y], shape))


ONES, ZEROS = np.ones(3, np.float32), np.zeros(3, np.float32)
NO_OPS = {
    "reshape": lambda: no_op("RESHAPE", None, np.array([2, 3], np.int32)),
    "add 0": lambda: no_op("ADD", None, ZEROS),
    "0 + x": lambda: no_op("ADD", ZEROS, None),
    "sub 0": lambda: no_op("SUB", None, np.float32(0)),
    "mul 1": lambda: no_op("MUL", None, np.float32(1)),
    "1 * x": lambda: no_op("MUL", ONES, None),
    "div 1": lambda: no_op("DIV", None, ONES),
    "cast": lambda: no_op("CAST", None, in_data_type="FLOAT32", out_data_type="FLOAT32"),
    "transpose": lambda: no_op("TRANSPOSE", None, np.array([0, 1], np.int32)),
    "pad": lambda: no_op("PAD", None, np.zeros((2, 2), np.int32)),
    "squeeze": lambda: no_op("SQUEEZE", None),
    "concatenation": lambda: no_op("CONCATENATION", None, axis=1),
    "select": lambda: no_op("SELECT_V2", np.array(True), None, np.float32(5)),
    "slice": lambda: no_op("SLICE", None, np.zeros(2, np.int32), np.array([-1, 3], np.int32)),
}


@pytest.mark.parametrize("case", NO_OPS)
def test_no_ops_go(case):
    model = NO_OPS[case]()
    assert fires(model, remove_no_ops)
    assert ops(model) == ["NEG", "NEG"]


STAYS = {
    "0 - x": lambda: no_op("SUB", ZEROS, None),
    "1 / x": lambda: no_op("DIV", ONES, None),
    "add 1": lambda: no_op("ADD", None, ONES),
    "mul by 0 and 1": lambda: no_op("MUL", None, np.array([0, 1, 1], np.float32)),
    "add 0 and clamp": lambda: no_op("ADD", None, ZEROS, fused_activation_function="RELU"),
    "swap": lambda: no_op("TRANSPOSE", None, np.array([1, 0], np.int32), shape=(3, 3)),
    "select other": lambda: no_op("SELECT_V2", np.array([True, False, True]), None, np.float32(5)),
}


@pytest.mark.parametrize("case", STAYS)
def test_others_stay(case):
    assert holds(STAYS[case](), remove_no_ops)


def test_broadcasting_by_zero_stays():
    b = Builder()
    y = b.op("ADD", [b.input((1, 3)), np.zeros((4, 3), np.float32)], (4, 3))
    assert holds(b.model(b.op("NEG", [y], (4, 3))), remove_no_ops)


def test_requantization_stays_and_its_no_op_goes():
    for quant, left in ((ir.Quantization(0.1, 0), 2), (INT8, 1)):
        b = Builder()
        x = b.op("NEG", [b.input((4,), "INT8", quant=INT8)], (4,), "INT8", INT8)
        model = b.model(b.op("QUANTIZE", [x], (4,), "INT8", quant))
        assert remove_no_ops(model.main) == (left == 1)
        assert len(model.main.nodes) == left


def test_an_input_does_not_become_an_output():
    b = Builder()
    y = b.op("RESHAPE", [b.input((2, 3)), np.array([2, 3], np.int32)], (2, 3))
    assert holds(b.model(y), remove_no_ops)


def test_two_outputs_do_not_become_one():
    b = Builder()
    x = b.op("NEG", [b.input((2, 3))], (2, 3))
    y = b.op("RESHAPE", [x, np.array([2, 3], np.int32)], (2, 3))
    assert holds(b.model(x, y), remove_no_ops)


def test_an_output_keeps_its_name():
    b = Builder()
    x = b.op("NEG", [b.input((2, 3))], (2, 3))
    y = b.op("RESHAPE", [x, np.array([2, 3], np.int32)], (2, 3))
    model = b.model(y)
    assert fires(model, remove_no_ops)
    assert model.main.outputs[0].name == y.name


def test_chains_of_reshape_and_transpose_merge():
    b = Builder()
    x = b.input((2, 3, 4))
    y = b.op("RESHAPE", [x, np.array([6, 4], np.int32)], (6, 4))
    y = b.op("RESHAPE", [y, np.array([-1], np.int32)], (24,))
    z = b.op("TRANSPOSE", [x, np.array([1, 2, 0], np.int32)], (3, 4, 2))
    z = b.op("TRANSPOSE", [z, np.array([0, 2, 1], np.int32)], (3, 2, 4))
    w = b.op("TRANSPOSE", [b.op("NEG", [x], x.shape), np.array([2, 0, 1], np.int32)], (4, 2, 3))
    w = b.op("TRANSPOSE", [w, np.array([1, 2, 0], np.int32)], (2, 3, 4))
    model = b.model(y, z, b.op("ABS", [w], x.shape))
    assert fires(model, remove_no_ops)
    assert sorted(ops(model)) == ["ABS", "NEG", "RESHAPE", "TRANSPOSE"]


def test_two_dynamic_dimensions_may_differ_so_the_reshape_stays():
    b = Builder()
    x = b.op("NEG", [b.input((1, 1), shape_signature=(-1, -1))], (1, 1))
    y = b.op("RESHAPE", [x, b.input((2,), "INT32")], (1, 1))
    x.shape_signature = y.shape_signature = (-1, -1)
    assert holds(b.model(b.op("NEG", [y], (1, 1))), remove_no_ops)


# -- dead code and equal nodes --------------------------------------------------------------------


def test_dead_code_goes_with_everything_behind_it():
    b = Builder()
    x = b.input((3,))
    y = b.op("ABS", [x], (3,))
    b.op("NEG", [b.op("EXP", [x], (3,))], (3,))
    model = b.model(y)
    assert fires(model, remove_dead_code)
    assert ops(model) == ["ABS"]
    assert x.users == [y.producer]
    assert holds(model, remove_dead_code)


def test_effects_are_not_dead():
    b = Builder()
    x = b.input((3,))
    out = ir.Value("unused", "FLOAT32", (3,))
    b.graph.add_node("CUSTOM", [x], [out], custom_code="printer")
    model = b.model(b.op("ABS", [x], (3,)))
    assert holds(model, remove_dead_code)


def test_equal_nodes_merge():
    b = Builder()
    x = b.input((1, 3))
    left, right = (b.op("ADD", [x, np.ones(3, np.float32)], (1, 3)) for _ in range(2))
    model = b.model(b.op("CONCATENATION", [left, right], (1, 6), axis=1))
    assert fires(model, merge_equal_nodes)
    assert ops(model) == ["ADD", "CONCATENATION"]
    assert model.main.nodes[1].inputs == [left, left]


def test_unequal_nodes_stay():
    b = Builder()
    x, one = b.input((1, 3)), np.ones(3, np.float32)
    values = [
        b.op("ADD", [x, one], (1, 3)),
        b.op("ADD", [x, one * 2], (1, 3)),
        b.op("ADD", [x, one], (1, 3), fused_activation_function="RELU"),
        b.op("SUB", [x, one], (1, 3)),
        b.op("SUB", [one, x], (1, 3)),
        b.op("RANDOM_UNIFORM", [np.array([1, 3], np.int32)], (1, 3)),
        b.op("RANDOM_UNIFORM", [np.array([1, 3], np.int32)], (1, 3)),
    ]
    assert holds(b.model(b.op("ADD_N", values, (1, 3))), merge_equal_nodes)


def test_equal_outputs_both_stay():
    b = Builder()
    x = b.input((3,))
    assert holds(b.model(b.op("ABS", [x], (3,)), b.op("ABS", [x], (3,))), merge_equal_nodes)


# -- the driver -----------------------------------------------------------------------------------


def test_everything_together():
    b = Builder()
    y = linear(b, "CONV_2D")
    y = then(b, "MUL", y, normal(RNG, 4))
    y = then(b, "ADD", y, normal(RNG, 4))
    y = then(b, "MAXIMUM", y, np.float32(0))
    y = then(b, "MINIMUM", y, np.float32(6))
    y = b.op("RESHAPE", [y, np.array([2, 25, 4], np.int32)], (2, 25, 4))
    y = b.op("RESHAPE", [y, np.array([2, 100], np.int32)], (2, 100))
    model = b.model(y)
    assert fires(model, *DEFAULT_PASSES)
    assert ops(model) == ["CONV_2D", "RESHAPE"]
    assert model.main.nodes[0].options["fused_activation_function"] == "RELU6"
    assert not optimize(model)


def test_verbose_names_each_firing(capsys):
    b = Builder()
    y = then(b, "MUL", linear(b, "FULLY_CONNECTED"), normal(RNG, 4))
    optimize(b.model(b.op("RELU", [y], y.shape)), verbose=True)
    shown = capsys.readouterr().err.splitlines()
    assert shown == ["fold_affine: MUL 'mul_2'", "fuse_activations: RELU 'relu_3'"]
    optimize(b.model(y))
    assert capsys.readouterr().err == ""


def break_a_shape(graph):
    node = graph.nodes[0]
    node.outputs[0].dtype = "NONSENSE"
    return True


def test_a_pass_that_breaks_the_model_is_named(monkeypatch):
    model = affine_quantized()
    with pytest.raises(ConversionError, match=r"pass break_a_shape broke the model: .*NONSENSE"):
        optimize(model, passes=[break_a_shape], check=True)
    monkeypatch.setenv("RILLET_CHECK_PASSES", "1")
    with pytest.raises(ConversionError, match="pass break_a_shape"):
        optimize(model, passes=[break_a_shape])


def test_passes_that_never_settle_are_named():
    def restless(graph):
        return True

    with pytest.raises(ConversionError, match="after 200 rounds: restless"):
        optimize(affine_quantized(), passes=[restless])
