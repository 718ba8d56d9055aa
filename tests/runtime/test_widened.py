# SPDX-License-Identifier: Apache-2.0
"""Types without loops of their own: FLOAT16 by FLOAT32, integers of 4 and 2 bits by bytes."""

from __future__ import annotations

import numpy as np
import pytest
from single_op import Arg, Out, const, error, litert, run, single_op

import runtime

WINDOW = {"padding": "SAME", "stride_h": 2, "stride_w": 1}
POOL = {**WINDOW, "filter_height": 2, "filter_width": 3}


def halves(shape, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float16)


def weights(shape, dtype=np.float16) -> Arg:
    return Arg(halves(shape, 6).astype(dtype), const=True)


def small(shape, seed: int = 7) -> Arg:
    held = np.random.default_rng(seed).integers(-127, 128, shape).astype(np.int8)
    return Arg(held, scale=np.linspace(0.01, 0.02, shape[0]), zero=0, const=True)


def nibbles(shape) -> Arg:
    held = np.random.default_rng(8).integers(-8, 8, shape).astype(np.int8)
    return Arg(held, scale=np.linspace(0.1, 0.2, shape[0]), zero=0, const=True, dtype="INT4")


# operator, inputs, options; the third of FULLY_CONNECTED and the convolutions is the bias
HALF_CASES = {
    "ATAN2": ("ATAN2", [halves((3, 700)), halves((3, 700), 9)], {}),
    "SOFTMAX": ("SOFTMAX", [halves((5, 301))], {"beta": 0.7}),
    "AVERAGE_POOL_2D": ("AVERAGE_POOL_2D", [halves((2, 9, 7, 5))], POOL),
    "BATCH_MATMUL": ("BATCH_MATMUL", [halves((2, 9, 33)), halves((2, 33, 17), 9)], {}),
    "BATCH_MATMUL const": ("BATCH_MATMUL", [halves((2, 9, 33)), weights((33, 17))], {}),
    "dense": ("FULLY_CONNECTED", [halves((7, 40)), weights((19, 40))], {}),
    "dense, bias": ("FULLY_CONNECTED", [halves((7, 40)), weights((19, 40)), weights((19,))], {}),
    "dense, float bias": (
        "FULLY_CONNECTED",
        [halves((7, 40)), weights((19, 40)), weights((19,), np.float32)],
        {"fused_activation_function": "RELU6"},
    ),
    "dense, computed": ("FULLY_CONNECTED", [halves((7, 40)), halves((19, 40)), weights((19,))], {}),
    "dense, INT8": ("FULLY_CONNECTED", [halves((7, 40)), small((19, 40))], {}),
    "dense, INT4": (
        "FULLY_CONNECTED",
        [halves((7, 40)), nibbles((19, 40)), weights((19,), np.float32)],
        {},
    ),
    "CONV_2D": ("CONV_2D", [halves((2, 9, 7, 5)), weights((6, 3, 3, 5)), weights((6,))], WINDOW),
    "CONV_2D, float bias": (
        "CONV_2D",
        [halves((2, 9, 7, 5)), weights((6, 3, 3, 5)), weights((6,), np.float32)],
        WINDOW,
    ),
    "DEPTHWISE_CONV_2D": (
        "DEPTHWISE_CONV_2D",
        [halves((2, 9, 7, 5)), weights((1, 3, 3, 5)), weights((5,))],
        {"padding": "SAME", "stride_h": 2, "stride_w": 2, "depth_multiplier": 1},
    ),
}


def as_real(arg):
    if isinstance(arg, Arg):
        real = arg.value.astype(np.float32) if arg.type == "FLOAT16" else arg.value
        return Arg(real, arg.scale, arg.zero, arg.const, dtype=arg.dtype)
    return arg.astype(np.float32)


@pytest.mark.parametrize("case", HALF_CASES)
def test_half_is_the_float_result_rounded_once(case):
    op, args, options = HALF_CASES[case]
    half, real = single_op(op, args, **options), single_op(op, list(map(as_real, args)), **options)
    wanted = run(real).astype(np.float16)
    np.testing.assert_array_equal(run(half), wanted)
    np.testing.assert_array_equal(run(half, threads=3), wanted)


@pytest.mark.parametrize("case", HALF_CASES)
def test_half_agrees_with_litert(case):
    op, args, options = HALF_CASES[case]
    if op == "ATAN2" or case == "dense, computed":  # LiteRT computes in halves, or refuses
        return
    model = single_op(op, args, **options)
    assert error(run(model), litert(model)) < 3e-3


def test_half_special_values():
    x = np.float16([[np.inf, 1, -np.inf, 65504], [0.0, -0.0, 6e-8, np.nan]])
    found = run(single_op("SOFTMAX", [x[1:, :3]], beta=1.0))
    np.testing.assert_allclose(found, np.full((1, 3), 1 / 3), rtol=1e-3)
    pooled = run(single_op("AVERAGE_POOL_2D", [x.reshape(1, 2, 4, 1)], **POOL))
    assert pooled.dtype == np.float16 and np.isnan(pooled).any()
    model = single_op("FAKE_QUANT", [x], min=-1.0, max=2.0, num_bits=8)
    wanted = single_op("FAKE_QUANT", [x.astype(np.float32)], min=-1.0, max=2.0, num_bits=8)
    np.testing.assert_array_equal(run(model), run(wanted).astype(np.float16))


@pytest.mark.parametrize("dtype", ["INT8", "UINT8", "INT16"])
def test_halves_are_quantized_and_back(dtype):
    x = halves((3, 40001)) * np.float16(4)
    out = Out(dtype, 0.03 if dtype != "INT16" else 1e-3, {"UINT8": 120, "INT8": -7}.get(dtype, 0))
    model = single_op("QUANTIZE", [x], out)
    q = run(model)
    if dtype == "INT16":
        np.testing.assert_array_equal(q, run(single_op("QUANTIZE", [x.astype(np.float32)], out)))
    else:
        np.testing.assert_array_equal(q, litert(model))
    stored = Arg(q, out.scale, out.zero)
    real = run(single_op("DEQUANTIZE", [stored], Out("FLOAT32")))
    found = run(single_op("DEQUANTIZE", [stored], Out("FLOAT16")))
    np.testing.assert_array_equal(found, real.astype(np.float16))
    np.testing.assert_array_equal(run(single_op("DEQUANTIZE", [x], Out("FLOAT16"))), x)


# ---- packed integers ----

LEAST = {"INT4": -8, "UINT4": 0, "INT2": -2}
COUNT = {"INT4": 16, "UINT4": 16, "INT2": 4}
HELD = {"INT4": np.int8, "UINT4": np.uint8, "INT2": np.int8}
PACKED = list(LEAST)
SHAPES = [(1,), (3,), (5, 7), (3, 3, 3), ()]


def packed(dtype: str, shape, **how) -> Arg:
    rng = np.random.default_rng(int(np.prod(shape)))
    values = rng.integers(LEAST[dtype], LEAST[dtype] + COUNT[dtype], shape).astype(HELD[dtype])
    return Arg(values, const=True, dtype=dtype, **how)


@pytest.mark.parametrize("dtype", PACKED)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cast_from_packed(dtype, shape):
    x = packed(dtype, shape)
    for to in ("FLOAT32", "FLOAT16", "INT32", "INT8" if dtype != "UINT4" else "UINT8"):
        found = run(single_op("CAST", [x], Out(to)))
        np.testing.assert_array_equal(found, x.value.astype(to.lower()))
    if x.value.size:
        model = single_op("CAST", [x], Out("FLOAT32"))
        np.testing.assert_array_equal(run(model), litert(model))


@pytest.mark.parametrize("dtype", PACKED)
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 101])
def test_cast_to_packed_truncates_and_saturates(dtype, count):
    x = np.random.default_rng(count).uniform(-20, 20, count).astype(np.float32)
    x[:1] = 1e30
    model = single_op("CAST", [x], Out(dtype))
    wanted = np.trunc(x).clip(LEAST[dtype], LEAST[dtype] + COUNT[dtype] - 1).astype(HELD[dtype])
    np.testing.assert_array_equal(run(model), wanted)
    np.testing.assert_array_equal(litert(model), wanted)


@pytest.mark.parametrize("dtype", PACKED)
@pytest.mark.parametrize("zero", [0, 1])
def test_dequantize_packed(dtype, zero):
    x = packed(dtype, (3, 35), scale=0.25, zero=zero)
    model = single_op("DEQUANTIZE", [x], Out("FLOAT32"))
    np.testing.assert_array_equal(run(model), (x.value.astype(np.float32) - zero) * 0.25)
    half = single_op("DEQUANTIZE", [x], Out("FLOAT16"))
    np.testing.assert_array_equal(run(half), run(model).astype(np.float16))


def test_dequantize_packed_by_channel():
    x = packed("INT4", (3, 5), scale=[0.5, 1, 2], zero=0, axis=0)
    model = single_op("DEQUANTIZE", [x], Out("FLOAT32"))
    np.testing.assert_array_equal(run(model), x.value * np.float32([[0.5], [1], [2]]))
    np.testing.assert_array_equal(run(model), litert(model))


@pytest.mark.parametrize("dtype", ["INT4", "UINT4"])
def test_quantize_to_packed(dtype):
    x = np.random.default_rng(3).uniform(-3, 3, 100_001).astype(np.float32)
    model = single_op("QUANTIZE", [x], Out(dtype, 0.25, 0 if dtype == "INT4" else 7))
    q = np.rint(x * np.float32(4)) + (0 if dtype == "INT4" else 7)
    wanted = q.clip(LEAST[dtype], LEAST[dtype] + 15).astype(HELD[dtype])
    np.testing.assert_array_equal(run(model), wanted)
    if dtype == "INT4":
        np.testing.assert_array_equal(litert(model), wanted)


@pytest.mark.parametrize("dtype", PACKED)
def test_packed_elements_are_moved(dtype):
    x = packed(dtype, (3, 5))
    rows = np.int32([2, 0, 2])
    for op, args, wanted in [
        ("GATHER", [rows], x.value[rows]),
        ("TRANSPOSE", [const([1, 0])], x.value.T),
        ("SLICE", [const([1, 1]), const([2, 3])], x.value[1:3, 1:4]),
        ("BROADCAST_TO", [const([2, 3, 5])], np.broadcast_to(x.value, (2, 3, 5))),
        ("CONCATENATION", [packed(dtype, (1, 5))], None),
        ("RESHAPE", [const([5, 3])], x.value.reshape(5, 3)),
        ("EXPAND_DIMS", [const(0)], x.value[None]),
        ("SQUEEZE", [], x.value),
    ]:
        if op == "CONCATENATION":
            wanted = np.concatenate([x.value, args[0].value])
        model = single_op(op, [x, *args], Out(dtype), **({"axis": 0} if op == "GATHER" else {}))
        found = run(model)
        np.testing.assert_array_equal(found, wanted, err_msg=op)
        assert found.shape == wanted.shape


def test_integers_are_not_cast_to_packed_ones():
    with pytest.raises(Exception, match="only FLOAT32 is cast to integers of less than a byte"):
        run(single_op("CAST", [np.int32([1, 2])], Out("INT4")))


def test_bfloat16_is_compared():
    held = np.float32([1, 2, -3, np.inf]).view(np.uint32) >> 16
    a, b = (Arg(v.astype(np.uint16), const=True, dtype="BFLOAT16") for v in (held, held[::-1]))
    for op, wanted in (("LESS", [1, 0, 1, 0]), ("GREATER", [0, 1, 0, 1])):
        found = run(single_op(op, [a, b], Out("BOOL")))
        np.testing.assert_array_equal(found, np.bool_(wanted))


@pytest.mark.parametrize("dtype", PACKED)
@pytest.mark.parametrize("shape", [(1,), (3,), (3, 5), (2, 2)], ids=str)
def test_packed_values_go_in_and_out(dtype, shape):
    x = packed(dtype, shape)
    model = single_op("RESHAPE", [Arg(x.value, dtype=dtype), const([x.value.size])], Out(dtype))
    mine = runtime.Interpreter(model_content=model.content)
    mine.allocate_tensors()
    detail = mine.get_input_details()[0]
    assert detail["dtype"] is HELD[dtype] and tuple(detail["shape"]) == shape
    mine.set_tensor(detail["index"], x.value)
    np.testing.assert_array_equal(mine.get_tensor(detail["index"]), x.value)
    np.testing.assert_array_equal(run(model), x.value.reshape(-1))
    for wrong, words in [
        (x.value + HELD[dtype](16), f"Values for {dtype} input must be between"),
        (x.value.astype(np.int32), "expected u?int8 of shape"),
        (x.value.reshape(-1)[:0], "expected u?int8 of shape"),
    ]:
        with pytest.raises(runtime.RilletError, match=words):
            mine.set_tensor(detail["index"], wrong)
    with pytest.raises(runtime.RilletError, match="use get_tensor"):
        mine.tensor(detail["index"])()
