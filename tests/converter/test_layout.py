# SPDX-License-Identifier: Apache-2.0
"""Transposes move to where they cancel: through every op that works in either layout."""

from __future__ import annotations

import numpy as np
import pytest
from layout_graphs import (
    FIRST,
    LAST,
    PAIR,
    Builder,
    model_of,
    moved_elements,
    outputs_stay,
    pool,
    run,
    shapes_are_true,
    transpose,
    transposes,
)
from pass_checks import RNG
from zoo import zoo_files

import converter
from converter.passes.dead_code import remove_dead_code
from converter.passes.layout import move_transposes
from converter.passes.layout_cut import Edge, cheapest

DIMS = (4, 2, 6)  # channels, height, width


def ints(b, numbers):
    return b.constant(numbers, "numbers", np.int32)


def floats(b, *shape):
    return b.constant(RNG.uniform(0.5, 2, shape), "floats", np.float32)


def bound(b, x):
    """A channels-last op in a channels-first graph."""
    return transpose(b, pool(b, transpose(b, x, LAST)), FIRST)


def emit(op, *operands, **options):
    """The op on `x` and on what `operands` make of the builder."""
    return lambda b, x: b.emit(op, [x, *(f(b) for f in operands)], **options)


def sliced(b, x):
    numbers = [ints(b, n) for n in ((0, 1, 0, -1), (0, 4, 2, 0), (1, 2, 1, -1))]
    return b.emit("STRIDED_SLICE", [x, *numbers], begin_mask=5, end_mask=13)


def shrunk(b, x):
    numbers = [ints(b, n) for n in ((0, 0, 1, 0), (0, 0, 2, 0), (1, 1, 1, 1))]
    y = b.emit("STRIDED_SLICE", [x, *numbers], begin_mask=11, end_mask=11, shrink_axis_mask=4)
    return b.emit("EXPAND_DIMS", [y, ints(b, 2)])


def halves(b, x):
    left, right = b.emit_many("SPLIT", [ints(b, 1), x], ["FLOAT32"] * 2, num_splits=2)
    return b.emit("CONCATENATION", [right, left], axis=1)


def uneven(b, x):
    inputs = [x, ints(b, [1, 3]), ints(b, 1)]
    left, right = b.emit_many("SPLIT_V", inputs, ["FLOAT32"] * 2, num_splits=2)
    return b.emit("CONCATENATION", [b.emit("NEG", [right]), left], axis=-3)


def packed(b, x):
    y = b.emit("PACK", [x, b.emit("ABS", [x])], values_count=2, axis=2)
    return b.emit("SUM", [y, ints(b, [2])], keep_dims=False)


def unpacked(b, x):
    parts = b.emit_many("UNPACK", [x], ["FLOAT32"] * DIMS[0], num=DIMS[0], axis=1)
    return b.emit("PACK", parts[::-1], values_count=DIMS[0], axis=1)


def over_one_axis(b, x):
    y = b.emit("RELU", [b.emit("RESHAPE", [x, ints(b, (-1, 4, 12))])])
    return b.emit("RESHAPE", [y, ints(b, (-1, 4, 2, 6))])


def shuffled(b, x):
    y = transpose(b, b.emit("RESHAPE", [x, ints(b, (-1, 2, 2, 2, 6))]), (0, 2, 1, 3, 4))
    return b.emit("RESHAPE", [y, ints(b, (-1, 4, 2, 6))])


def squeezed(b, x):
    y = b.emit("MEAN", [x, ints(b, [2])], keep_dims=True)
    y = b.emit("SQUEEZE", [y], squeeze_dims=np.array([2], np.int32))
    return b.emit("EXPAND_DIMS", [b.emit("NEG", [y]), ints(b, 2)])


def gate(b, x):
    y = b.emit("MEAN", [x, ints(b, [2, 3])], keep_dims=True)
    y = b.emit("LOGISTIC", [b.emit("MUL", [y, floats(b, 4, 1, 1)])])
    return b.emit("MUL", [x, y])


def swish(b, x):
    return b.emit("MUL", [x, b.emit("LOGISTIC", [x])])


def residual(b, x):
    return b.emit("ADD", [x, b.emit("RELU", [bound(b, b.emit("ABS", [x]))])])


def chosen(b, x):
    zero = b.constant(0, "zero", np.float32)
    return b.emit(
        "SELECT_V2",
        [b.emit("GREATER", [x, zero], dtype="BOOL"), x, floats(b, 2, 1)],
        dtype="FLOAT32",
    )


def quantized(b, x):
    y = b.emit("CAST", [x], dtype="INT32", in_data_type="FLOAT32", out_data_type="INT32")
    return b.emit("CAST", [y], dtype="FLOAT32", in_data_type="INT32", out_data_type="FLOAT32")


def half_constant(b, x):
    half = b.constant(RNG.uniform(0.5, 2, (1, 4, 2, 6)), "half", np.float16)
    return b.emit("MUL", [x, b.emit("DEQUANTIZE", [half], dtype="FLOAT32")])


def of_lower_rank(b, x):
    row = b.emit("MEAN", [x, ints(b, [0, 1, 2])], keep_dims=False)
    return b.emit("SUB", [x, row])


THROUGH = {
    "unary": emit("RELU"),
    "batch norm": lambda b, x: b.emit(
        "ADD", [b.emit("MUL", [x, floats(b, 4, 1, 1)]), floats(b, 4, 1, 1)]
    ),
    "constant of rank 1": emit("SUB", lambda b: floats(b, 6)),
    "constant of rank 4": emit("MUL", lambda b: floats(b, 1, 4, 2, 6)),
    "scalar": emit("MAXIMUM", lambda b: floats(b)),
    "prelu": emit("PRELU", lambda b: floats(b, 4, 1, 1)),
    "pad": emit("PAD", lambda b: ints(b, [(0, 0), (1, 0), (0, 2), (0, 0)])),
    "padv2": emit("PADV2", lambda b: ints(b, [(0, 0), (0, 1), (1, 0), (2, 0)]), floats),
    "mirror": emit("MIRROR_PAD", lambda b: ints(b, [(0, 0), (1, 0), (0, 1), (2, 0)]), mode=0),
    "tile": emit("TILE", lambda b: ints(b, [1, 2, 1, 3])),
    "slice": emit("SLICE", lambda b: ints(b, [0, 1, 0, 2]), lambda b: ints(b, [-1, 2, -1, 3])),
    "strided slice": sliced,
    "shrinking slice": shrunk,
    "gather": emit("GATHER", lambda b: ints(b, [3, 0, 0]), axis=1, batch_dims=0),
    "reverse": emit("REVERSE_V2", lambda b: ints(b, [1])),
    "cumsum": emit("CUMSUM", lambda b: ints(b, 1)),
    "mean of channels": emit("MEAN", lambda b: ints(b, [1]), keep_dims=True),
    "concatenation": lambda b, x: b.emit("CONCATENATION", [x, b.emit("ABS", [x])], axis=1),
    "split": halves,
    "split_v": uneven,
    "pack": packed,
    "unpack": unpacked,
    "merged axes": over_one_axis,
    "channel shuffle": shuffled,
    "squeeze": squeezed,
    "gate": gate,
    "swish": swish,
    "residual": residual,
    "select": chosen,
    "cast": quantized,
    "float16 constant": half_constant,
    "lower rank": of_lower_rank,
    "broadcast": lambda b, x: b.emit(
        "BROADCAST_TO",
        [b.emit("MEAN", [x, ints(b, [0, 2])], keep_dims=True), ints(b, [3, 4, 2, 6])],
    ),
}


@pytest.mark.parametrize("case", THROUGH)
@pytest.mark.parametrize("batch", [PAIR, 1, 2], ids=["dynamic", "one", "two"])
def test_only_the_ends_are_transposed(case, batch):
    b = Builder()
    x = b.input("x", "FLOAT32", (batch, *DIMS))
    model = model_of(b, bound(b, THROUGH[case](b, bound(b, x))))
    own = {"channel shuffle": 1, "mean of channels": -1}  # the mean's last one is a RESHAPE
    assert outputs_stay(model, move_transposes, remove_dead_code)
    assert len(transposes(model)) == 2 + own.get(case, 0)
    assert transposes(model)[0].inputs[0] is model.main.inputs[0]
    if case != "mean of channels":
        assert transposes(model)[-1].outputs[0] is model.main.outputs[0]
    assert shapes_are_true(model)


LEADING = {
    "softmax": emit("SOFTMAX", beta=1.0),
    "log softmax": emit("LOG_SOFTMAX"),
    "matmul": lambda b, x: b.emit("BATCH_MATMUL", [x, x], adj_y=True),
    "fully connected": emit(
        "FULLY_CONNECTED", lambda b: floats(b, 3, 6), lambda b: floats(b, 3), keep_num_dims=True
    ),
}


@pytest.mark.parametrize("case", LEADING)
def test_leading_axes_move_through_what_works_on_the_last(case):
    b = Builder()
    x = b.input("x", "FLOAT32", (2, *DIMS))
    perm = (1, 0, 2, 3) if case == "matmul" else (0, 2, 1, 3)
    y = LEADING[case](b, transpose(b, b.emit("NEG", [x]), perm))
    model = model_of(b, transpose(b, y, perm))
    assert outputs_stay(model, move_transposes)
    assert not transposes(model)


@pytest.mark.parametrize("case", ["softmax", "log softmax", "fully connected"])
def test_the_last_axis_does_not(case):
    b = Builder()
    x = b.input("x", "FLOAT32", (2, 6, 2, 6))
    model = model_of(b, transpose(b, LEADING[case](b, transpose(b, x, LAST)), FIRST))
    assert not outputs_stay(model, move_transposes)
    assert len(transposes(model)) == 2


def ends(b):
    """One op between input and output, transposed before: as cheap behind."""
    return [b.emit("RELU", [transpose(b, b.input("x", "FLOAT32", (2, *DIMS)), LAST)])]


def computed_axis(b):
    x, axis = b.input("x", "FLOAT32", (2, *DIMS)), b.input("axis", "INT32", ())
    return [transpose(b, b.emit("CUMSUM", [transpose(b, x, LAST), axis]), FIRST)]


def merged_across(b):
    """The axes that become one do not stand together on the other side."""
    x = transpose(b, pool(b, b.input("x", "FLOAT32", (2, 2, 6, 4))), FIRST)
    y = b.emit("NEG", [b.emit("RESHAPE", [x, ints(b, (2, 48))])])
    return [b.emit("RESHAPE", [y, ints(b, (2, 4, 2, 6))])]


def as_cheap_there(b):
    """Two readers, of which one wants the other layout: one transpose either way."""
    x = pool(b, b.input("x", "FLOAT32", (2, 2, 6, 4)))
    return [pool(b, x), transpose(b, b.emit("NEG", [x]), FIRST)]


def with_its_own_transpose(b):
    x = b.emit("NEG", [b.input("x", "FLOAT32", (2, 3, 3, 3))])
    return [b.emit("ADD", [x, transpose(b, x, LAST)])]


@pytest.mark.parametrize(
    "build",
    [ends, computed_axis, merged_across, as_cheap_there, with_its_own_transpose],
    ids=lambda f: f.__name__,
)
def test_holds_still(build):
    b = Builder()
    model = model_of(b, *build(b))
    before = [node.op for node in model.main.nodes]
    assert not move_transposes(model.main)
    assert [node.op for node in model.main.nodes] == before


def test_moves_behind_what_makes_less():
    b = Builder()
    x = pool(b, b.input("x", "FLOAT32", (2, 8, 8, 4)))
    y = b.emit("MEAN", [b.emit("RELU", [transpose(b, x, FIRST)]), ints(b, [2])], keep_dims=False)
    model = model_of(b, y)
    cost = moved_elements(model.main)
    assert outputs_stay(model, move_transposes)
    (node,) = transposes(model)
    assert node.outputs[0] is model.main.outputs[0] and moved_elements(model.main) < cost


def test_several_readers_move_together_only_where_the_total_falls():
    b = Builder()
    x = b.input("x", "FLOAT32", (2, *DIMS))
    y = b.emit("RELU", [x])  # read by two that want channels last, and by the output
    z = [transpose(b, pool(b, transpose(b, b.emit(op, [y]), LAST)), FIRST) for op in ("NEG", "ABS")]
    model = model_of(b, y, b.emit("ADD", z))
    assert outputs_stay(model, move_transposes)
    assert len(transposes(model)) == 2  # one of y, one of the second output
    assert [v.name for v in model.main.outputs] == [y.name, model.main.outputs[1].name]


def test_twins_and_chains_are_one():
    b = Builder()
    x = b.input("x", "FLOAT32", (2, *DIMS))
    ys = [pool(b, transpose(b, x, LAST)) for _ in range(3)]
    y = transpose(b, transpose(b, b.emit("ADD_N", ys), FIRST), (0, 2, 1, 3))
    model = model_of(b, y)
    assert outputs_stay(model, move_transposes)
    assert len(transposes(model)) == 2


@pytest.mark.parametrize("batch", [PAIR, 1])
def test_a_transpose_of_units_is_a_reshape(batch):
    b = Builder()
    x = b.input("x", "FLOAT32", (batch, 1, 4, 6))
    model = model_of(b, pool(b, transpose(b, x, LAST)))
    assert outputs_stay(model, move_transposes)
    assert [node.op for node in model.main.nodes] == ["RESHAPE", "AVERAGE_POOL_2D"]


def test_dynamic_sizes_are_not_units():
    b = Builder()
    x = b.input("x", "FLOAT32", (1, PAIR, 1, 6))
    model = model_of(b, pool(b, transpose(b, x, (0, 1, 3, 2))))
    assert outputs_stay(model, move_transposes)  # batch and height are 1, channels move past
    b = Builder()
    x = b.input("x", "FLOAT32", (1, PAIR, 2, 6))
    assert not move_transposes(model_of(b, pool(b, transpose(b, x, LAST))).main)


def test_scales_of_channels_follow_their_axis():
    from converter import ir

    b = Builder()
    scales = ir.Quantization(np.array([0.5, 0.25, 1, 2], np.float32), np.zeros(4, np.int64), axis=1)
    data = RNG.integers(-100, 100, (1, 4, 2, 6)).astype(np.int8)
    weights = ir.Value.constant("w", data, quant=scales)
    y = b.emit("DEQUANTIZE", [weights], dtype="FLOAT32")
    x = bound(b, b.input("x", "FLOAT32", (2, *DIMS)))
    model = model_of(b, bound(b, b.emit("MUL", [x, y])))
    assert outputs_stay(model, move_transposes)
    assert len(transposes(model)) == 2
    (node,) = [n for n in model.main.nodes if n.op == "DEQUANTIZE"]
    assert node.inputs[0].shape == (1, 2, 6, 4) and node.inputs[0].quant.axis == 3


def test_cuts_are_minimal():
    edges = [
        Edge((5, 5), 0, ("a", "b")),
        Edge((2, 2), "a", ("c",)),
        Edge((3, 3), "b", ("c", 1)),
        Edge((9, 9), "c", (1,)),
    ]
    cost, in_one = cheapest(edges)
    assert cost == 5 and {"a", "b", "c"} <= in_one
    cost, in_one = cheapest([Edge((4, 4), 0, ("a",)), Edge((1, 1), "a", ("b", 1))])
    assert cost == 1 and "a" not in in_one
    assert cheapest([Edge((4, 2), None, ("a", "b", 1)), Edge((9, 9), 1, ("b",))])[0] == 2


def test_a_thousand_nodes_are_quick():
    import time

    from converter import optimize

    b = Builder()
    x = b.input("x", "FLOAT32", (1, 4, 6, 6))
    for _ in range(110):
        y = b.emit("MUL", [bound(b, x), floats(b, 4, 1, 1)])
        y = b.emit("MINIMUM", [b.emit("ABS", [b.emit("ADD", [y, floats(b, 4, 1, 1)])]), floats(b)])
        x = b.emit("ADD", [x, y])
    model = model_of(b, x)
    assert len(model.main.nodes) > 850
    begin = time.process_time()
    optimize(model)
    assert time.process_time() - begin < 2
    assert len(transposes(model)) == 2
    assert run(model)[0].shape == (1, 4, 6, 6)


@pytest.mark.parametrize(
    "path", zoo_files("models/onnx/ch_ppocr_mobile_v2.0_cls_infer.onnx"), ids=lambda p: p.stem
)
def test_of_a_public_network_the_input_alone_is_transposed(path):
    model = converter.from_onnx(path, input_shapes={"x": (1, 3, 48, 192)})
    assert len(transposes(model)) > 100
    converter.optimize(model, check=True)
    (node,) = transposes(model)
    assert node.inputs[0] is model.main.inputs[0]


def test_quantized_values_keep_their_scales():
    from graph_building import Builder as Plain
    from graph_building import run as run_in_litert
    from pass_checks import INT8

    def turn(x, perm):
        shape = tuple(x.shape[i] for i in perm)
        return b.op("TRANSPOSE", [x, np.array(perm, np.int32)], shape, "INT8", INT8)

    b = Plain()
    x = b.input((1, *DIMS), "INT8", quant=INT8)

    def pooled(x):
        y = turn(x, LAST)
        window = {"filter_width": 1, "filter_height": 1, "stride_w": 1, "stride_h": 1}
        y = b.op("AVERAGE_POOL_2D", [y], y.shape, "INT8", INT8, padding="VALID", **window)
        return turn(y, FIRST)

    row = b.constant(np.arange(4, dtype=np.int8).reshape(4, 1, 1), quant=INT8)
    wider = converter.ir.Quantization(0.2, -5)
    y = b.op("ADD", [pooled(x), row], x.shape, "INT8", wider)
    model = b.model(pooled(b.op("QUANTIZE", [y], x.shape, "INT8", INT8)))
    before = run_in_litert(model)
    assert len(transposes(model)) == 4 and move_transposes(model.main)
    assert [n.op for n in model.main.nodes if n.op not in ("TRANSPOSE", "AVERAGE_POOL_2D")] == [
        "ADD",
        "QUANTIZE",
    ]
    assert len(transposes(model)) == 2
    (add,) = [n for n in model.main.nodes if n.op == "ADD"]
    assert add.outputs[0].quant == wider and add.inputs[1].quant == INT8
    converter.verifier.verify(model)
    np.testing.assert_array_equal(run_in_litert(model), before)


def test_a_computed_order_stays():
    b = Builder()
    x, perm = b.input("x", "FLOAT32", (2, 2, 2, 2)), b.input("p", "INT32", (4,))
    node = b.graph.add_node("TRANSPOSE", [x, perm], [converter.ir.Value("y", "FLOAT32", x.shape)])
    out = converter.ir.Value("z", "FLOAT32", x.shape)
    b.graph.add_node("NEG", [node.outputs[0]], [out])
    assert not move_transposes(model_of(b, out).main)


def test_moving_units_of_a_shared_transpose_moves_no_elements():
    b = Builder()
    x = pool(b, b.input("x", "FLOAT32", (PAIR, 1, 2, 3)))
    y = transpose(b, x, FIRST)
    model = model_of(b, b.emit("RELU", [transpose(b, y, (0, 1, 3, 2))]), y)
    cost = moved_elements(model.main)
    assert outputs_stay(model, move_transposes)
    assert moved_elements(model.main) < cost and len(transposes(model)) == 1
