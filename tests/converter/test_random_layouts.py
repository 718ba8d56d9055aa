# SPDX-License-Identifier: Apache-2.0
"""Property test: moving transposes ends, moves no more elements than before, keeps the outputs."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from layout_graphs import (
    PAIR,
    Builder,
    model_of,
    moved_elements,
    outputs_stay,
    pool,
    shapes_are_true,
    transpose,
)

from converter.importers.no_form import NoForm
from converter.passes.dead_code import merge_equal_nodes, remove_dead_code
from converter.passes.layout import move_transposes
from converter.passes.no_ops import remove_no_ops

PERMS = {r: list(itertools.permutations(range(r))) for r in range(6)}


def ints(b, numbers, name="numbers"):
    return b.constant(numbers, name, np.int32)


def rank(x):
    return len(x.shape)


def unary(draw, b, x, others):
    return b.emit(draw(st.sampled_from(["RELU", "TANH", "ABS"])), [x])


def turn(draw, b, x, others):
    return transpose(b, x, draw(st.sampled_from(PERMS[rank(x)])))


def there_and_back(draw, b, x, others):
    perm = draw(st.sampled_from(PERMS[rank(x)]))
    y = b.emit("RELU", [transpose(b, x, perm)])
    return transpose(b, y, np.argsort(perm))


def spatial(draw, b, x, others):
    if rank(x) != 4:
        return x
    return transpose(b, pool(b, transpose(b, x, (0, 2, 3, 1))), (0, 3, 1, 2))


def over_time(draw, b, x, others):
    """As convolutions over one axis are written: an axis of size 1 comes and goes."""
    if rank(x) != 3:
        return x
    dims = [-1 if d is None else d for d in b.dims(x)]
    y = b.emit("RESHAPE", [x, ints(b, [*dims[:2], 1, dims[2]])])
    y = transpose(b, pool(b, transpose(b, y, (0, 2, 3, 1))), (0, 3, 1, 2))
    return b.emit("RESHAPE", [y, ints(b, dims)])


def with_constant(draw, b, x, others):
    dims = [1 if d is None or draw(st.booleans()) else d for d in b.dims(x)]
    dims = dims[draw(st.integers(0, len(dims))) :]
    constant = np.random.default_rng(len(dims)).uniform(0.5, 2, dims).astype(np.float32)
    operands = [x, b.constant(constant)]
    return b.emit(draw(st.sampled_from(["ADD", "SUB", "MUL", "MAXIMUM"])), operands)


def with_other(draw, b, x, others):
    other = draw(st.sampled_from(others))
    return b.emit(draw(st.sampled_from(["ADD", "MUL", "MINIMUM"])), [x, other])


def joined(draw, b, x, others):
    axis = draw(st.integers(0, rank(x) - 1))
    other = draw(st.sampled_from(others))
    if draw(st.booleans()):
        return b.emit("PACK", [x, other], values_count=2, axis=axis)
    return b.emit("CONCATENATION", [x, other], axis=axis)


def reduced(draw, b, x, others):
    axes = draw(st.lists(st.integers(-rank(x), rank(x) - 1), max_size=3))
    op = draw(st.sampled_from(["MEAN", "SUM", "REDUCE_MAX"]))
    return b.emit(op, [x, ints(b, axes)], keep_dims=draw(st.booleans()))


def padded(draw, b, x, others):
    amounts = [draw(st.sampled_from([(0, 0), (1, 0), (0, 2)])) for _ in range(rank(x))]
    return b.emit("PAD", [x, ints(b, amounts)])


def cut(draw, b, x, others):
    masks = st.integers(0, 2 ** rank(x) - 1)
    begin = [draw(st.integers(0, 1)) for _ in x.shape]
    numbers = [ints(b, n) for n in (begin, [2] * rank(x), [1] * rank(x))]
    shrink = draw(masks) if draw(st.booleans()) else 0
    options = {"begin_mask": draw(masks), "end_mask": draw(masks), "shrink_axis_mask": shrink}
    return b.emit("STRIDED_SLICE", [x, *numbers], **options)


def sliced(draw, b, x, others):
    begin = [0 if d is None else draw(st.integers(0, d - 1)) for d in b.dims(x)]
    return b.emit("SLICE", [x, ints(b, begin), ints(b, [-1] * rank(x))])


def gathered(draw, b, x, others):
    axis = draw(st.integers(0, rank(x) - 1))
    indices = draw(st.sampled_from([0, [0], [0, 0, 0], [[0, 0], [0, 0]]]))
    return b.emit("GATHER", [x, ints(b, indices)], axis=axis, batch_dims=0)


def parts(draw, b, x, others):
    axis = draw(st.integers(0, rank(x) - 1))
    if b.dims(x)[axis] in (None, 1):
        return x
    count = b.dims(x)[axis]
    outs = b.emit_many("SPLIT", [ints(b, axis), x], [x.dtype] * count, num_splits=count)
    others.append(outs[0])
    return outs[-1]


def softmax(draw, b, x, others):
    return b.emit("SOFTMAX", [x], beta=1.0)


def reshaped(draw, b, x, others):
    dims = [-1 if d is None else d for d in b.dims(x)]
    at = draw(st.integers(0, len(dims) - 1))
    kind = draw(st.sampled_from(["unit", "drop", "merge", "split", "flat"]))
    if kind == "unit":
        dims.insert(at, 1)
    elif kind == "drop" and dims[at] == 1:
        del dims[at]
    elif kind == "merge" and at + 1 < len(dims):
        a, c = dims[at], dims[at + 1]
        dims[at : at + 2] = [-1 if -1 in (a, c) else a * c]
    elif kind == "split" and dims[at] > 0 and dims[at] % 2 == 0:
        dims[at : at + 1] = [2, dims[at] // 2]
    elif kind == "flat":
        dims = [-1]
    return b.emit("RESHAPE", [x, ints(b, dims)])


def expanded(draw, b, x, others):
    y = b.emit("EXPAND_DIMS", [x, ints(b, draw(st.integers(0, rank(x))))])
    if draw(st.booleans()):
        return y
    axis = draw(st.integers(0, rank(y) - 1))
    return (
        b.emit("SQUEEZE", [y], squeeze_dims=np.array([axis], np.int32))
        if b.dims(y)[axis] == 1
        else y
    )


def tiled(draw, b, x, others):
    return b.emit("TILE", [x, ints(b, [draw(st.integers(1, 2)) for _ in x.shape])])


def selected(draw, b, x, others):
    other = draw(st.sampled_from(others))
    return b.emit(
        "SELECT_V2", [b.emit("GREATER", [x, other], dtype="BOOL"), x, other], dtype="FLOAT32"
    )


STEPS = [
    unary,
    turn,
    turn,
    there_and_back,
    spatial,
    over_time,
    with_constant,
    with_other,
    joined,
    reduced,
]
STEPS += [padded, cut, sliced, gathered, parts, softmax, reshaped, expanded, tiled, selected]


@st.composite
def models(draw):
    b = Builder()
    batch = PAIR if draw(st.booleans()) else draw(st.sampled_from([1, 2]))
    shape = draw(st.sampled_from([(4, 2, 3), (3, 1, 2), (2, 2, 2), (1, 4, 4), (3, 4), (5,)]))
    values = [b.input("a", "FLOAT32", (batch, *shape)), b.input("b", "FLOAT32", (batch, *shape))]
    for _ in range(draw(st.integers(2, 10))):
        x = values[-1] if draw(st.integers(0, 3)) else draw(st.sampled_from(values))
        try:
            y = draw(st.sampled_from(STEPS))(draw, b, x, values)
        except NoForm:
            continue
        if 1 <= len(y.shape) <= 5 and y.size < 4000 and y.data is None and 0 not in y.shape:
            values.append(y)
    made = [v for v in values if v.producer is not None] or [b.emit("NEG", [values[0]])]
    outputs = [made[-1]]
    if draw(st.booleans()):
        extra = draw(st.sampled_from(made))
        outputs += [extra] if extra is not made[-1] else []
    return model_of(b, *outputs)


@settings(max_examples=150, deadline=None)
@given(models())
def test_layouts_keep_the_outputs(model):
    remove_dead_code(model.main)
    cost = moved_elements(model.main)
    outputs_stay(model, move_transposes, remove_dead_code)
    assert moved_elements(model.main) <= cost
    assert not move_transposes(model.main)
    shapes_are_true(model)


@settings(max_examples=60, deadline=None)
@given(models())
def test_layouts_settle_with_their_neighbours(model):
    outputs_stay(model, remove_no_ops, move_transposes, merge_equal_nodes, remove_dead_code)
    shapes_are_true(model)


@settings(max_examples=60, deadline=None)
@given(models())
def test_all_passes_keep_the_outputs(model):
    outputs_stay(model, tolerance=1e-4)
    shapes_are_true(model)
