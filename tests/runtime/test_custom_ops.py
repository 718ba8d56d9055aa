# SPDX-License-Identifier: Apache-2.0
"""Operators of the caller's own: written in Python, and in C."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import control_models as models
import numpy as np
import pytest
from sanitized_program import compiled
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


# ---- in C ----


@pytest.fixture(scope="module")
def driver() -> Path:
    return compiled("custom_driver")


def in_c(name: str, options: bytes = b"", counted: bool = False) -> bytes:
    """y = name(x) + name(x) for x of 2 x 3; with `counted` a computed number is its second input,
    and the rows of its output are not known."""
    sub = models.Sub("main")
    x = sub.input((2, 3), shape_signature=(-1, 3))
    inputs = [x]
    if counted:
        one = sub.input((1,), "INT32")
        inputs.append(sub.op("ADD", [one, np.int32([1])], ((1,), "INT32")))
    made = ir.Value("made", "FLOAT32", (2, 3), shape_signature=(-1, 3))
    node = sub.graph.add_node("CUSTOM", inputs, [made], {})
    node.custom_code, node.custom_options = name, options
    return write_tflite(
        ir.Model([sub.ends(sub.op("ADD", [made, made], ((2, 3), "FLOAT32", (-1, 3))))])
    )


def said(driver: Path, path: Path, content: bytes, *arguments: object) -> list[str]:
    path.write_bytes(content)
    command = [str(driver), str(path), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


AFFINE = np.float32([3, 0.5]).tobytes()


def test_an_operator_in_c(driver, tmp_path):
    """It gets its options and context, is prepared once and run at every invoke."""
    values, counts = said(driver, tmp_path / "m", in_c("Affine", AFFINE))
    assert [float(v) for v in values.split()] == [6 * i + 1 for i in range(6)]
    assert counts == "prepared 1 run 2"


def test_an_operator_in_c_follows_other_shapes(driver, tmp_path):
    values, _ = said(driver, tmp_path / "m", in_c("Affine", AFFINE), 5)
    assert [float(v) for v in values.split()] == [6 * i + 1 for i in range(15)]


def test_an_operator_in_c_whose_shape_follows_from_values(driver, tmp_path):
    values, _ = said(driver, tmp_path / "m", in_c("Repeat", counted=True))
    assert [float(v) for v in values.split()] == 3 * [2 * i for i in range(6)]


def test_errors_of_operators_in_c(driver, tmp_path):
    (words,) = said(driver, tmp_path / "m", in_c("Affine", b"123"))
    assert words.startswith("BAD_MODEL") and "Affine wants two floats, not 3 bytes" in words
    (words,) = said(driver, tmp_path / "m", in_c("Fails"))
    assert words.startswith("BAD_VALUE") and "xxx" in words
    (words,) = said(driver, tmp_path / "m", in_c("Repeat"))
    assert words.startswith("UNSUPPORTED") and "did not say why" in words
    (words,) = said(driver, tmp_path / "m", in_c("Nobody"))
    assert words.startswith("UNSUPPORTED") and "custom operator 'Nobody'" in words
