# SPDX-License-Identifier: Apache-2.0
"""Composites by their kernels, against the decompositions they stand for and against LiteRT."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from composite_models import (
    NEAR,
    attention_parts,
    by_kernel,
    check,
    composite,
    floats,
    norm_of_unique,
    norm_parts,
    rms_parts,
)
from single_op import OpModel, error, run_all

import converter
import runtime

# ---- norms ----

NORMS = {"rillet.layer_norm": (norm_parts, 2), "rillet.rms_norm": (rms_parts, 1)}


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("shape", [(1,), (7,), (3, 8), (2, 5, 33), (1, 197, 192), (0, 4)], ids=str)
@pytest.mark.parametrize("rows", [0, 1, 2])
@pytest.mark.parametrize("const", [True, False])
def test_norms(rng, name, shape, rows, const):
    parts, most = NORMS[name]
    rows = min(rows, most)
    args = [floats(rng, *shape) * 3 + 1, *(floats(rng, shape[-1]) for _ in range(rows))]
    constants = range(1, len(args)) if const else ()
    check(name, parts(1e-3), args, {"epsilon": 1e-3}, constants, peer=0 not in shape)


@pytest.mark.parametrize("name", NORMS)
def test_norms_of_unusual_numbers(rng, name):
    """Far from zero, tiny, constant rows; NaN and infinity stay in their own rows."""
    x = floats(rng, 8, 40)
    x[0] += 1e4
    x[1] *= 1e-12
    x[2] = 5
    x[3] = 0
    x[4] *= 1e15
    x[5, 3], x[6, 4] = np.nan, np.inf
    args = [x, floats(rng, 40)]
    model = composite(name, NORMS[name][0](1e-6), args, {"epsilon": 1e-6})
    assert by_kernel(model)
    (found,) = run_all(model)
    y = x.astype(np.float64)
    with np.errstate(invalid="ignore"):
        y = y - y.mean(-1, keepdims=True) if name == "rillet.layer_norm" else y
        y = y / np.sqrt((y * y).mean(-1, keepdims=True) + np.float32(1e-6)) * args[1]
    for i in (1, 2, 3, 4, 7):
        assert error(found[i], y[i].astype(np.float32)) <= NEAR
    assert error(found[0], y[0].astype(np.float32)) <= 1e-3  # the mean is rounded to float32
    assert np.isnan(found[5]).all() and np.isnan(found[6]).any()


@pytest.mark.parametrize(
    ("rows", "attributes"),
    [
        ([(1, 1, 6)], {"epsilon": 1e-3}),  # makes the rank larger
        ([(3, 6)], {"epsilon": 1e-3}),  # differs from row to row
        ([(1,)], {"epsilon": 1e-3}),
        ([], {}),
        ([], {"epsilon": 1e-3, "axis": 0}),
        ([], {"epsilon": float("nan")}),
    ],
    ids=["rank", "rows", "one", "missing", "unknown", "nan"],
)
@pytest.mark.parametrize("name", NORMS)
def test_other_norms_are_decomposed(rng, name, rows, attributes):
    args = [floats(rng, 3, 6), *(floats(rng, *shape) for shape in rows)]
    check(name, NORMS[name][0](1e-3), args, attributes, kernel=False)


# ---- attention ----

SHAPES = {
    "one": ((1, 1), (1, 1), (1, 1), None),
    "heads": ((2, 3, 5, 8), (2, 3, 7, 8), (2, 3, 7, 4), (5, 7)),
    "wide": ((3, 33, 17), (3, 65, 17), (3, 65, 40), (3, 1, 65)),
    "chunks": ((2, 150, 16), (2, 130, 16), (2, 130, 16), (150, 1)),
    "shared keys": ((4, 2, 9, 6), (2, 5, 6), (1, 5, 6), (1, 1, 5)),
    "mask of batches": ((9, 6), (5, 6), (5, 3), (3, 2, 9, 5)),
    "mask of keys": ((2, 9, 6), (2, 5, 6), (2, 5, 3), (5,)),
    "one number": ((2, 9, 6), (2, 5, 6), (2, 5, 3), ()),
    "one query": ((1, 4, 1, 32), (1, 4, 100, 32), (1, 4, 100, 32), (1, 1, 1, 100)),
}


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("keys_are_rows", [True, False])
@pytest.mark.parametrize("scale", [None, 0.25, -0.5])
def test_attention(rng, kind, masked, keys_are_rows, scale):
    q, k, v, mask = SHAPES[kind]
    k = k if keys_are_rows else (*k[:-2], k[-1], k[-2])
    args = [floats(rng, *shape) for shape in (q, k, v)]
    if masked and mask is not None:
        args.append(floats(rng, *mask))
    attributes = {"keys_are_rows": int(keys_are_rows), **({"scale": scale} if scale else {})}
    parts = attention_parts(scale or 1.0, keys_are_rows)
    check("rillet.attention", parts, args, attributes, peer=kind != "mask of batches")


def test_what_attention_must_not_see(rng):
    """Masked out by minus infinity, or by a large number; a row that sees nothing is NaN."""
    q, k, v = (floats(rng, 2, 40, 16) for _ in range(3))
    mask = np.where(np.tril(np.ones((40, 40), bool)), np.float32(0), np.float32(-np.inf))
    check(
        "rillet.attention",
        attention_parts(0.25),
        [q, k, v, mask],
        {"keys_are_rows": 1, "scale": 0.25},
    )
    v[:, 39] = np.float32(1e30)
    finite = np.maximum(mask, np.float32(-1e9))
    check("rillet.attention", attention_parts(), [q, k, v, finite], {"keys_are_rows": 1})
    mask[3] = -np.inf
    (found,) = run_all(
        composite("rillet.attention", attention_parts(), [q, k, v, mask], {"keys_are_rows": 1})
    )
    assert np.isnan(found[:, 3]).all() and np.isfinite(np.delete(found, 3, 1)).all()


@pytest.mark.parametrize(
    ("shapes", "attributes"),
    [
        (((1, 6), (5, 6), (5, 3), (4, 5)), {"keys_are_rows": 1}),  # the mask has more rows
        (((4, 6), (1, 6), (1, 3), (4, 5)), {"keys_are_rows": 1}),
        (((4, 6), (5, 6), (5, 3)), {"keys_are_rows": 2}),
        (((4, 6), (5, 6), (5, 3)), {}),
        (((4, 6), (5, 6), (5, 3)), {"keys_are_rows": 1, "dropout": 0.5}),
        (((4, 6), (5, 6), (5, 3)), {"keys_are_rows": 1, "scale": float("inf")}),
        (((0, 6), (5, 6), (5, 3)), {"keys_are_rows": 1}),
        (((0, 4, 6), (1, 5, 6), (1, 5, 3)), {"keys_are_rows": 1}),
    ],
    ids=["rows", "keys", "flag", "missing", "unknown", "infinite", "empty", "no batch"],
)
def test_other_attention_is_decomposed(rng, shapes, attributes):
    args = [floats(rng, *shape) for shape in shapes]
    if args[-1].shape == (4, 5) and args[1].shape == (1, 6):  # a product of five values by one
        args[2] = floats(rng, 5, 3)
    peer = 0 not in itertools.chain(*shapes)
    check("rillet.attention", attention_parts(), args, attributes, kernel=False, peer=peer)


# ---- what no kernel takes ----


def absolute(b, x, *_):
    return [b.emit("ABS", [x])]


@pytest.mark.parametrize("name", [*NORMS, "rillet.unheard_of", "layer_norm"])
@pytest.mark.parametrize(
    "value", [np.int32([[-1, 2]]), np.float32([[-1, 2]])], ids=["int", "float"]
)
def test_other_types_and_names_are_decomposed(name, value):
    """What is found tells which ran: the decompositions compute something else."""
    model = composite(name, absolute, [value], {"epsilon": 0.5})
    interpreter = runtime.Interpreter(model_content=model.content)
    interpreter.allocate_tensors()
    (found,) = run_all(model)
    if name in NORMS and value.dtype == np.float32:
        assert error(found, np.abs(value)) > NEAR
        assert interpreter.nodes()[0]["loop"] and not interpreter.nodes(1)[0]["loop"]
    else:
        np.testing.assert_array_equal(found, np.abs(value))
        assert not interpreter.nodes()[0]["loop"]


@pytest.mark.parametrize(
    "change",
    [
        {"composite_attributes": np.zeros(0, np.uint8)},
        {"composite_attributes": np.frombuffer(b"epsilon\0\1\1\1\x05\x90\1", np.uint8)},
        {"composite_attributes": np.full(40, 0xFF, np.uint8)},
        {"composite_attributes_format": 7},
        {"version": 0},
        {"version": -1},
        {"name": ""},
    ],
    ids=["none", "cut", "noise", "format", "version 0", "version -1", "no name"],
)
def test_damaged_options_leave_the_decomposition(change):
    x = np.float32([[-1, 2]])
    model = converter.read_tflite(
        composite("rillet.rms_norm", absolute, [x], {"epsilon": 0.5}).content
    )
    model.main.nodes[0].options.update(change)
    content = converter.write_tflite(model)
    (found,) = run_all(OpModel("rillet.rms_norm", content, [x]))
    np.testing.assert_array_equal(found, np.abs(x))


# ---- shapes that change, limits, damage ----


def test_shapes_may_change(rng):
    """One model, resized: the kernel where it fits, and memory for the decomposition where not."""
    args = [floats(rng, 3, 6), floats(rng, 3, 6)]
    model = composite("rillet.rms_norm", rms_parts(0.1), args, {"epsilon": 0.1}, dynamic=[0, 1])
    interpreter = runtime.Interpreter(model_content=model.content)
    x_at, gamma_at = (d["index"] for d in interpreter.get_input_details())
    arenas = []
    for rows, gains in [(3, 1), (3, 3), (5, 1), (1, 4), (3, 1)]:
        x, gamma = floats(rng, rows, 6), floats(rng, gains, 6)
        interpreter.resize_tensor_input(x_at, x.shape)
        interpreter.resize_tensor_input(gamma_at, gamma.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(x_at, x)
        interpreter.set_tensor(gamma_at, gamma)
        interpreter.invoke()
        wanted = x / np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(0.1)) * gamma
        found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        assert error(found, wanted) <= NEAR
        assert (interpreter.nodes()[0]["loop"] is not None) == (gains == 1)
        arenas.append(interpreter.memory()["arena"])
    assert arenas[0] == arenas[4] < arenas[1]


def test_what_a_kernel_gives_is_bounded_as_its_input_is():
    interpreter = runtime.Interpreter(model_content=norm_of_unique())
    interpreter.allocate_tensors()
    for x in np.float32([[1, 2, 3, 1, 2, 3, 1, 2], [4] * 8, np.arange(8)]):
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
        interpreter.invoke()
        y = np.array(list(dict.fromkeys(x.tolist())), np.float32)
        wanted = y / np.sqrt((y * y).mean() + np.float32(0.1))
        found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        assert error(found, wanted) <= NEAR
    assert interpreter.extent() == "bounded" and interpreter.memory()["region"] == 0


def test_work_is_limited(rng):
    args = [floats(rng, 2, 64, 16) for _ in range(3)]
    model = composite("rillet.attention", attention_parts(), args, {"keys_are_rows": 1})
    work = 2 * 64 * 64 * 32
    for limit in (work, work - 1):
        interpreter = runtime.Interpreter(model_content=model.content, limits={"max_macs": limit})
        if limit == work:
            interpreter.allocate_tensors()
            continue
        with pytest.raises(runtime.RilletError, match="max_macs"):
            interpreter.allocate_tensors()


def test_damaged_attributes_are_no_attributes(rng):
    """Every truncation and flipped byte of the attributes runs, or is refused in words."""
    args = [floats(rng, 4, 6) for _ in range(3)]
    attributes = {"keys_are_rows": 1, "scale": 0.5}
    model = composite("rillet.attention", attention_parts(0.5), args, attributes)
    at = model.content.index(b"keys_are_rows\0")
    end = model.content.index(b"scale\0", at) + 64
    for i, flip in itertools.product(range(at - 4, end), (0x01, 0x80, 0xFF)):
        damaged = bytearray(model.content)
        damaged[i] ^= flip
        try:
            run_all(OpModel(model.op, bytes(damaged), model.feeds))
        except (runtime.RilletError, ValueError) as caught:
            assert str(caught)
