# SPDX-License-Identifier: Apache-2.0
"""Operators written in Python."""

from __future__ import annotations

from typing import Any

import control_models as models
import numpy as np
import pytest
from test_control_flow import run

import runtime
from converter import ir, write_tflite
from runtime import RilletError

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def custom(outs: Any, options: bytes = b"", signature: Any = None) -> bytes:
    """y = Scale(x) * 2, and whatever else it gives."""
    sub = models.Sub("main")
    x = sub.input((2, 3), shape_signature=signature)
    made = [ir.Value(f"made{i}", dtype, shape) for i, (shape, dtype) in enumerate(outs)]
    node = sub.graph.add_node("CUSTOM", [x], made, {})
    node.custom_code, node.custom_options = "Scale", options
    doubled = sub.op("ADD", [made[0], made[0]], (outs[0][0],))
    sub.ends(doubled, *made[1:])
    return write_tflite(ir.Model([sub.graph]))


def test_a_function_is_an_operator():
    seen = []

    def scale(x: np.ndarray, options: bytes) -> tuple[np.ndarray, np.ndarray]:
        seen.append(options)
        with pytest.raises(ValueError, match="read-only"):
            x[...] = 0
        return x * np.float32(3), np.int32([x.sum()])

    content = custom([((2, 3), "FLOAT32"), ((1,), "INT32")], b"abc")
    y, total = run(runtime.Interpreter(model_content=content, custom_ops={"Scale": scale}), X)
    np.testing.assert_array_equal(y, 6 * X)
    assert total.tolist() == [15] and seen == [b"abc"]


def test_shapes_follow_the_inputs():
    def shapes(x: tuple[int, ...], options: bytes) -> list[tuple[int, ...]]:
        return [(x[0] * 2, x[1])]

    def twice(x: np.ndarray, options: bytes) -> np.ndarray:
        return np.concatenate([x, x])

    content = custom([((4, 3), "FLOAT32")], signature=(-1, 3))
    interpreter = runtime.Interpreter(model_content=content, custom_ops={"Scale": (twice, shapes)})
    for rows in (2, 5):
        x = np.random.default_rng(rows).standard_normal((rows, 3)).astype(np.float32)
        np.testing.assert_array_equal(run(interpreter, x)[0], 2 * np.concatenate([x, x]))


def test_what_it_raises_reaches_the_caller():
    def fails(x: np.ndarray, options: bytes) -> np.ndarray:
        if x[0, 0] > 0:
            raise KeyError("no such thing")
        return x

    content = custom([((2, 3), "FLOAT32")])
    interpreter = runtime.Interpreter(model_content=content, custom_ops={"Scale": fails})
    with pytest.raises(KeyError, match="no such thing") as caught:
        run(interpreter, X + 1)
    assert isinstance(caught.value.__cause__, RilletError)
    assert "CUSTOM" in str(caught.value.__cause__) or "Scale" in str(caught.value.__cause__)
    np.testing.assert_array_equal(run(interpreter, X)[0], 2 * X)


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (lambda x: x[:1], r"float32\[1, 3\], the model wants float32\[2, 3\]"),
        (lambda x: x.astype(np.float64), "float64"),
        (lambda x: (x, x), "2 results for 1 outputs"),
    ],
    ids=["shape", "dtype", "count"],
)
def test_results_are_checked(result, words):
    content = custom([((2, 3), "FLOAT32")])
    ops = {"Scale": lambda x, options: result(x)}
    with pytest.raises(ValueError, match=words):
        run(runtime.Interpreter(model_content=content, custom_ops=ops), X)


def test_an_operator_nobody_knows_is_refused_at_open():
    content = custom([((2, 3), "FLOAT32")])
    for ops in (None, {"Other": lambda x, options: x}):
        with pytest.raises(RilletError, match="custom operator 'Scale'") as caught:
            runtime.Interpreter(model_content=content, custom_ops=ops)
        assert caught.value.status == "UNSUPPORTED"
    with pytest.raises(RilletError, match="not callable"):
        runtime.Interpreter(model_content=content, custom_ops={"Scale": 3})
