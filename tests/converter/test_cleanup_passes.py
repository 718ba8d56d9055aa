# SPDX-License-Identifier: Apache-2.0
"""No-ops, dead code, equal nodes, and the driver that runs all passes to a fixpoint."""

from __future__ import annotations

import numpy as np
import pytest
from graph_building import Builder, normal, run, small_model
from pass_checks import INT8, RNG, fires, holds, linear, ops, then

from converter import ConversionError, ir
from converter.passes import DEFAULT_PASSES, optimize
from converter.passes.dead_code import merge_equal_nodes, remove_dead_code
from converter.passes.no_ops import remove_no_ops

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
    model = small_model()
    with pytest.raises(ConversionError, match=r"pass break_a_shape broke the model: .*NONSENSE"):
        optimize(model, passes=[break_a_shape], check=True)
    monkeypatch.setenv("RILLET_CHECK_PASSES", "1")
    with pytest.raises(ConversionError, match="pass break_a_shape"):
        optimize(model, passes=[break_a_shape])


def test_passes_that_never_settle_are_named():
    def restless(graph):
        return True

    with pytest.raises(ConversionError, match="after 200 rounds: restless"):
        optimize(small_model(), passes=[restless])


def divided(*divisors):
    b = Builder()
    return b.model(b.op("DIV", [b.input((4, 3)), np.array(divisors, np.float32)], (4, 3)))


def test_division_by_powers_of_two_is_multiplication():
    model = divided(2, -0.25, 1024)
    before = run(model)
    assert remove_no_ops(model.main) and ops(model) == ["MUL"]
    np.testing.assert_array_equal(run(model), before)


@pytest.mark.parametrize("divisors", [(2, 3, 4), (0, 2, 2), (np.inf, 1, 1), (2.0**-127, 1, 1)])
def test_other_division_stays(divisors):
    assert holds(divided(*divisors), remove_no_ops)


def chain(*steps):
    b = Builder()
    y = b.input((2, 6))
    for op, operand, shape, options in steps:
        y = b.op(op, [y, *([] if operand is None else [operand])], shape, **options)
    return b.model(y)


def to(*shape):
    return "RESHAPE", np.array(shape, np.int32), shape, {}


EXPAND = ("EXPAND_DIMS", np.array(1, np.int32), (2, 1, 6), {})
SQUEEZE = ("SQUEEZE", None, (2, 6), {"squeeze_dims": np.array([1], np.int32)})


def each(op, *shape):
    return op, None, shape, {}


@pytest.mark.parametrize(
    ("steps", "left"),
    [
        ([EXPAND, to(2, 6), each("NEG", 2, 6)], ["NEG"]),
        ([to(2, 1, 6), SQUEEZE, to(12)], ["RESHAPE"]),
        ([to(12), each("RELU", 12), to(2, 6)], ["RELU"]),
        ([EXPAND, each("ABS", 2, 1, 6), to(3, 4)], ["RESHAPE", "ABS"]),
    ],
)
def test_reshapes_meet_and_cancel(steps, left):
    model = chain(*steps)
    assert fires(model, remove_no_ops)
    assert ops(model) == left


def test_reshapes_stay_apart_where_another_reads_between():
    model = chain(to(12), each("RELU", 12), to(2, 6))
    model.main.outputs.append(model.main.nodes[1].outputs[0])
    assert holds(model, remove_no_ops)


def sliced(signature=None, **options):
    b = Builder()
    x = b.input((2, 3), shape_signature=signature)
    numbers = [np.array(n, np.int32) for n in ((0, 0), (2, 3), (1, 1))]
    kwargs = {"begin_mask": 0, "end_mask": 0, **options}
    y = b.op("STRIDED_SLICE", [b.op("NEG", [x], (2, 3)), *numbers], (2, 3), **kwargs)
    for node in b.graph.nodes:
        node.outputs[0].shape_signature = signature
    return b.model(y)


def test_a_slice_of_everything_goes():
    for model in (sliced(), sliced((-1, 3), begin_mask=1, end_mask=1)):
        assert fires(model, remove_no_ops)
        assert ops(model) == ["NEG"]


def test_a_slice_that_dynamic_sizes_may_pass_stays():
    assert holds(sliced((-1, 3), begin_mask=1), remove_no_ops)
