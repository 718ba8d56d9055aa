# SPDX-License-Identifier: Apache-2.0
"""Shapes that only a run tells, and those that follow from other shapes."""

from __future__ import annotations

from typing import Any

import control_models as models
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter as LiteRT
from test_control_flow import run

import runtime
from runtime import RilletError, _binding

STATIC, BOUNDED, UNBOUNDED = range(3)


def extents(interpreter: runtime.Interpreter) -> list[int]:
    """Of each node's first output."""
    return [interpreter._session.info(node["outputs"][0]).extent for node in interpreter.nodes()]


def check(sub: models.Sub, outputs: Any, *feeds: Any) -> list[np.ndarray]:
    content = models.serialize(sub.ends(*outputs))
    found = run(runtime.Interpreter(model_content=content), *feeds)
    peer = run(LiteRT(model_content=content), *feeds)
    for a, b in zip(found, peer, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    return found


def batch_flatten() -> tuple[models.Sub, Any]:
    """reshape(x, [shape(x)[0], -1]), as converters write it, then a product."""
    sub = models.Sub("main")
    x = sub.input((1, 2, 3), shape_signature=(-1, 2, 3))
    shape = sub.op("SHAPE", [x], ((3,), "INT32"), out_type="INT32")
    slice_of = [shape, np.int32([0]), np.int32([1]), np.int32([1])]
    batch = sub.op("STRIDED_SLICE", slice_of, ((), "INT32"), shrink_axis_mask=1)
    wanted = sub.op("PACK", [batch, np.int32(6)], ((2,), "INT32"), values_count=2, axis=0)
    flat = sub.op("RESHAPE", [x, wanted], ((1, 6), "FLOAT32", (-1, 6)))
    weights = np.arange(24, dtype=np.float32).reshape(4, 6)
    bias = np.zeros(4, np.float32)
    return sub, [sub.op("FULLY_CONNECTED", [flat, weights, bias], ((1, 4), "FLOAT32", (-1, 4)))]


@pytest.mark.parametrize("batch", [1, 5])
def test_shapes_of_shapes_stay_static(batch):
    sub, outputs = batch_flatten()
    x = np.random.default_rng(1).standard_normal((batch, 2, 3)).astype(np.float32)
    (y,) = check(sub, outputs, x)
    assert y.shape == (batch, 4)
    interpreter = runtime.Interpreter(model_content=models.serialize(sub.graph))
    run(interpreter, x)
    assert set(extents(interpreter)) == {STATIC}
    assert interpreter.memory()["region"] == 0


def test_a_resize_computes_shapes_again():
    sub, outputs = batch_flatten()
    interpreter = runtime.Interpreter(model_content=models.serialize(sub.ends(*outputs)))
    rng = np.random.default_rng(1)
    for batch in (1, 4, 2):
        x = rng.standard_normal((batch, 2, 3)).astype(np.float32)
        weights = np.arange(24, dtype=np.float32).reshape(4, 6)
        np.testing.assert_allclose(
            run(interpreter, x)[0], x.reshape(batch, 6) @ weights.T, rtol=1e-4
        )


def computed_reshape(rank: int = 2) -> models.Sub:
    """reshape(x, shape), then a layer with packed weights, scaling and a mean."""
    sub = models.Sub("main")
    x, shape = sub.input((4, 6)), sub.input((rank,), "INT32")
    y = sub.op("RESHAPE", [x, shape], ((1, 6), "FLOAT32", (-1, 6)))
    weights = np.linspace(-1, 1, 18, dtype=np.float32).reshape(3, 6)
    z = sub.op("FULLY_CONNECTED", [y, weights, np.float32([1, 2, 3])], ((1, 3), "FLOAT32", (-1, 3)))
    scaled = sub.op("MUL", [z, np.float32([2])], ((1, 3), "FLOAT32", (-1, 3)))
    mean = sub.op("MEAN", [scaled, np.int32([0])], ((3,),), keep_dims=False)
    sub.ends(scaled, mean)
    return sub


def test_a_computed_shape_and_what_follows():
    sub, x = computed_reshape(), np.arange(24, dtype=np.float32).reshape(4, 6)
    scaled, mean = check(sub, sub.graph.outputs, x, np.int32([-1, 6]))
    assert scaled.shape == (4, 3) and mean.shape == (3,)
    content = models.serialize(sub.graph)
    interpreter = runtime.Interpreter(model_content=content)
    run(interpreter, x, np.int32([-1, 6]))
    assert extents(interpreter)[:3] == [UNBOUNDED] * 3
    first = interpreter.memory()["region"]
    for _ in range(5):
        run(interpreter, x, np.int32([4, -1]))
    assert 0 < interpreter.memory()["region"] == first  # memory is reused
    assert interpreter.memory()["prepared"] > 0  # weights are packed once all the same


def test_a_shape_that_fits_nothing_is_said_and_leaves_the_interpreter_usable():
    content, x = models.serialize(computed_reshape().graph), np.ones((4, 6), np.float32)
    interpreter = runtime.Interpreter(model_content=content)
    for _ in range(2):
        with pytest.raises(RilletError, match=r"RESHAPE .*whole number"):
            run(interpreter, x, np.int32([5, -1]))
        assert run(interpreter, x, np.int32([4, 6]))[0].shape == (4, 3)


def test_outputs_of_a_run_that_failed_are_not_there():
    sub = models.Sub("main")
    shape, value = sub.input((1,), "INT32"), sub.input((1,))
    filled = sub.op("FILL", [shape, value], ((1,), "FLOAT32", (-1,)))
    interpreter = runtime.Interpreter(model_content=models.serialize(sub.ends(filled)))
    output = interpreter.get_output_details()[0]["index"]
    run(interpreter, np.int32([5]), np.float32([1]))
    with pytest.raises(RilletError, match=r"max_region_bytes|max_tensor_bytes") as caught:
        run(interpreter, np.int32([2**31 - 1]), np.float32([1]))
    assert caught.value.status == "LIMIT"
    with pytest.raises(RilletError, match="unallocated"):
        interpreter.get_tensor(output)
    assert run(interpreter, np.int32([3]), np.float32([2]))[0].tolist() == [2, 2, 2]


def test_outputs_that_move_are_read_where_they_are():
    sub = models.Sub("main")
    shape, value = sub.input((1,), "INT32"), sub.input((1,))
    filled = sub.op("FILL", [shape, value], ((1,), "FLOAT32", (-1,)))
    grown = sub.op("ADD", [filled, filled], ((1,), "FLOAT32", (-1,)))
    interpreter = runtime.Interpreter(model_content=models.serialize(sub.ends(grown)))
    for size in (3, 50_000, 0, 7, 200_000):
        (y,) = run(interpreter, np.int32([size]), np.float32([size]))
        np.testing.assert_array_equal(y, np.full(size, np.float32(2 * size)))
        assert interpreter.get_output_details()[0]["shape"].tolist() == [size]


def test_computed_axes_and_paddings():
    sub = models.Sub("main")
    x, axis, pads = sub.input((2, 3)), sub.input((1,), "INT32"), sub.input((2, 2), "INT32")
    padded = sub.op("PAD", [x, pads], ((1, 1), "FLOAT32", (-1, -1)))
    total = sub.op("SUM", [padded, axis], ((1,), "FLOAT32", (-1,)), keep_dims=False)
    data = np.arange(6, dtype=np.float32).reshape(2, 3)
    _, found = check(sub, [padded, total], data, np.int32([1]), np.int32([[1, 0], [0, 2]]))
    np.testing.assert_array_equal(found, [0, 3, 12])


def test_the_file_bounds_what_it_declares():
    sub = models.Sub("main")
    x, shape = sub.input((4, 6)), sub.input((2,), "INT32")
    y = sub.op("RESHAPE", [x, shape], ((8, 3),))
    sub.ends(sub.op("NEG", [y], ((8, 3),)))
    interpreter = runtime.Interpreter(model_content=models.serialize(sub.graph))
    feed = np.arange(24, dtype=np.float32).reshape(4, 6)
    (found,) = run(interpreter, feed, np.int32([8, 3]))
    np.testing.assert_array_equal(found, -feed.reshape(8, 3))
    assert extents(interpreter) == [BOUNDED, BOUNDED]
    assert interpreter.memory()["region"] == 0


def test_what_is_bounded_needs_no_memory_that_grows():
    """WHERE has at most as many rows as there are values; what follows takes them on."""
    sub = models.Sub("main")
    x = sub.input((3, 4))
    rows = sub.op("WHERE", [x], ((1, 2), "INT64", (-1, 2)))
    doubled = sub.op("CAST", [rows], ((1, 2), "FLOAT32", (-1, 2)))
    data = np.float32([[0, 1, 0, 2], [0, 0, 0, 0], [3, 0, 0, 4]])
    for feed in (data, np.zeros((3, 4), np.float32), np.ones((3, 4), np.float32)):
        (found,) = check(sub, [doubled], feed)
        np.testing.assert_array_equal(found, np.argwhere(feed))
    interpreter = runtime.Interpreter(model_content=models.serialize(sub.graph))
    run(interpreter, data)
    assert extents(interpreter) == [BOUNDED, BOUNDED]
    assert interpreter.memory()["region"] == 0


def test_sizes_that_follow_from_constants_alone():
    sub = models.Sub("main")
    x = sub.input((1, 2))
    rows = sub.op("WHERE", [np.array([True, False, True])], ((1, 1), "INT64", (-1, 1)))
    cast = sub.op("CAST", [rows], ((1, 1), "FLOAT32", (-1, 1)))
    (found,) = check(
        sub, [sub.op("ADD", [cast, x], ((1, 2), "FLOAT32", (-1, 2)))], np.ones((1, 2), "f")
    )
    np.testing.assert_array_equal(found, [[1, 1], [3, 3]])


def test_without_memory_that_grows_such_models_are_refused():
    content = models.serialize(computed_reshape().graph)
    session = runtime.Interpreter(model_content=content)._session
    session._options.grow = _binding.Grow()
    with pytest.raises(RilletError, match=r"rlt_options\.grow") as caught:
        _binding.call("rlt_create", *create_arguments(session))
        _binding.call("rlt_prepare", session._it)
    assert caught.value.status == "UNSUPPORTED"


def create_arguments(session: Any) -> tuple[Any, ...]:
    import ctypes

    return (
        session.model.pointer,
        ctypes.byref(session._options),
        session._state.ctypes.data,
        session._state.nbytes,
        ctypes.byref(session._it),
    )
