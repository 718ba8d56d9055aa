# SPDX-License-Identifier: Apache-2.0
"""BATCH_MATMUL: broadcast batches, both transpositions, constant and computed, every product."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from single_op import Arg, OpModel, Out, check_close, error, integers, litert, run, single_op

from runtime import RilletError

KINDS = ["float", "hybrid", "int8", "int8-zero", "int32", "int16", "int16x8"]
BATCHES = [
    ((), ()),
    ((3,), (3,)),
    ((2, 3), (2, 3)),
    ((2, 3), (3,)),
    ((2, 1), (1, 3)),
    ((4,), ()),
    ((), (4,)),
    ((2, 3), (1, 1)),
]


def batch_matmul(
    kind: str, batches: Any, sizes: Any, adj: Any = (False, False), const: bool = True
) -> OpModel:
    """x [*batches[0], rows, depth] times y [*batches[1], depth, columns], transposed by `adj`."""
    rows, depth, columns = sizes
    rng = np.random.default_rng(rows * 100 + columns)
    x_shape = (*batches[0], depth, rows) if adj[0] else (*batches[0], rows, depth)
    y_shape = (*batches[1], columns, depth) if adj[1] else (*batches[1], depth, columns)
    shape = (*np.broadcast_shapes(*batches), rows, columns)
    options = {"adj_x": adj[0], "adj_y": adj[1]}
    spread = np.sqrt(max(depth, 1))
    real = rng.normal(0, 1, x_shape).astype(np.float32)
    bytes_y = integers(rng, "INT8", y_shape)
    if kind in ("float", "hybrid"):
        y = Arg(rng.normal(0, 1, y_shape).astype(np.float32), const=const)
        if kind == "hybrid":
            y = Arg(bytes_y, 0.01, const=const)
        return single_op("BATCH_MATMUL", [real, y], Out(shape=shape), **options)
    if kind.startswith("int16"):
        wide = kind == "int16"
        y = integers(rng, "INT16", y_shape) if wide else bytes_y
        out = Out("INT16", 2.6e-8 * 33000 * spread * (1 if wide else 1 / 256), shape=shape)
        args = [Arg(integers(rng, "INT16", x_shape), 0.0002), Arg(y, 0.00013, const=const)]
        return single_op("BATCH_MATMUL", args, out, **options)
    x = Arg(integers(rng, "INT8", x_shape), 0.02, 3)
    y = Arg(bytes_y, 0.013, 0 if kind == "int8" else 7, const=const)
    out = Out("INT8", 0.02 * 0.013 * 80 * spread, -5, shape=shape)
    if kind == "int32":
        out = Out("INT32", shape=shape)
    return single_op("BATCH_MATMUL", [x, y], out, **options)


def agrees(model: OpModel, kind: str) -> None:
    check_close(model, exact=kind.startswith("int"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batches", BATCHES, ids=str)
def test_batches_broadcast(kind: str, batches: Any) -> None:
    agrees(batch_matmul(kind, batches, (5, 19, 35)), kind)
    agrees(batch_matmul(kind, batches, (17, 8, 3), (True, True)), kind)
    if kind != "hybrid":
        agrees(batch_matmul(kind, batches, (17, 8, 3), const=False), kind)


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.tuples(*[st.integers(1, 70)] * 3),
    st.tuples(st.booleans(), st.booleans()),
    st.booleans(),
)
def test_any_size(kind: str, sizes: Any, adj: Any, const: bool) -> None:
    agrees(batch_matmul(kind, ((2,), (2,)), sizes, adj, const or kind == "hybrid"), kind)


@pytest.mark.parametrize("kind", ["int8", "int8-zero", "int16", "int16x8", "int32"])
def test_no_integer_of_100000_differs(kind: str) -> None:
    model = batch_matmul(kind, ((5,), (5,)), (150, 40, 140))
    assert litert(model).size > 100_000
    agrees(model, kind)


@pytest.mark.parametrize("adj", [False, True])
def test_one_scale_per_column_and_a_computed_int8_y(adj: bool) -> None:
    """LiteRT's result for an INT8 y that is computed has nothing to do with the operands."""
    rng = np.random.default_rng(8)
    x, y = rng.normal(0, 1, (2, 9, 33)).astype(np.float32), integers(rng, "INT8", (2, 33, 40))
    scale = rng.uniform(0.01, 0.02, 40).astype(np.float32)
    exact = x.astype(np.float64) @ (y * scale.astype(np.float64))
    side = y.swapaxes(1, 2).copy() if adj else y
    for scales, axis in ((scale, 1 if adj else 2), (np.float32(0.01), 0)):
        found = []
        for const in (True, False):
            arg = Arg(side, scales, np.zeros(np.size(scales), int), const=const, axis=axis)
            model = single_op("BATCH_MATMUL", [x, arg], Out(shape=(2, 9, 40)), adj_y=adj)
            found.append(run(model))
            if const and np.size(scales) == 1:
                assert error(found[0], litert(model)) <= 1e-6
        np.testing.assert_array_equal(*found)
        if np.size(scales) > 1:
            assert error(found[0], exact) < 0.01


def test_special_values_and_nothing() -> None:
    model = batch_matmul("float", ((2,), (2,)), (3, 4, 5))
    model.feeds[0][0, 1, 2], model.feeds[0][1, 0, 0] = np.nan, np.inf
    found = run(model)
    assert np.isnan(found[0, 1]).all() and np.isinf(found[1, 0]).all()
    assert np.isfinite(found[0, [0, 2]]).all() and np.isfinite(found[1, 1:]).all()
    for sizes in ((0, 4, 5), (3, 4, 0), (3, 0, 5)):
        for kind in ("float", "int8", "int16"):
            for const in (True, False):
                found = run(batch_matmul(kind, ((2,), (2,)), sizes, const=const))
                assert found.shape == (2, sizes[0], sizes[2])
                assert not found.size or len(np.unique(found)) == 1
    assert run(batch_matmul("float", ((0,), (1,)), (3, 4, 5))).shape == (0, 3, 5)


F = np.ones((2, 3, 4), np.float32)
I8 = Arg(np.ones((2, 4, 3), np.int8), 0.1)
REFUSED: list[tuple[str, OpModel, str]] = [
    ("rank", single_op("BATCH_MATMUL", [F[0, 0], F]), "2 dimensions or more"),
    ("depth", single_op("BATCH_MATMUL", [F, F]), "differ in length"),
    ("batches", single_op("BATCH_MATMUL", [F, np.ones((3, 4, 3), np.float32)]), "broadcast"),
    (
        "types",
        single_op("BATCH_MATMUL", [F.astype(np.int32), F.astype(np.int32)], adj_y=True),
        "supported are",
    ),
    ("output", single_op("BATCH_MATMUL", [F, I8], Out("INT8", 0.1)), "supported are"),
    ("no scale", single_op("BATCH_MATMUL", [F.astype(np.int8), I8], Out("INT8", 0.1)), "no quant"),
    (
        "int16 zero point",
        single_op("BATCH_MATMUL", [Arg(F.astype(np.int16), 0.1, 5), I8], Out("INT16", 0.1)),
        "must be 0",
    ),
    (
        "hybrid zero point",
        single_op("BATCH_MATMUL", [F, Arg(I8.value, 0.1, 3)], Out()),
        "not 0",
    ),
    (
        "scales",
        single_op("BATCH_MATMUL", [F, Arg(I8.value, [0.1] * 4, [0] * 4, axis=1)], Out()),
        "4 scales along axis 1",
    ),
]


@pytest.mark.parametrize(("name", "model", "words"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refusals_say_why(name: str, model: OpModel, words: str) -> None:
    with pytest.raises(RilletError, match=words):
        run(model)
