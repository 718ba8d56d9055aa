# SPDX-License-Identifier: Apache-2.0
"""FULLY_CONNECTED in the forms few files have: INT16 weights, a bias of INT64 for bytes, shuffled
weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from single_op import ISAS, Arg, OpModel, Out, integers, litert, run, single_op

from runtime import RilletError

ENOUGH = 100_000
ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")
Rng = np.random.Generator


def output_scale(x: Arg, w: Arg, k: int) -> float:
    """Lets about one result in fifty saturate."""
    spread = np.sqrt(k) * float(np.mean(x.scale)) * float(np.mean(w.scale))
    spread *= float((x.value.astype(float) - x.zero).std()) * float(w.value.astype(float).std() + 1)
    return spread * 2.3 / np.iinfo(x.value.dtype).max


def wide(rng: Rng, bias: str) -> OpModel:
    k, units = int(rng.integers(1, 90)), int(rng.integers(1, 70))
    channels = units if rng.random() < 0.7 else 1
    x = Arg(integers(rng, "INT16", (100, k)), 10 ** rng.uniform(-5, -3))
    w_scale = 10 ** rng.uniform(-5, -4, channels)
    w = Arg(integers(rng, "INT16", (units, k)), w_scale, 0, const=True)
    out = Out("INT16", output_scale(x, w, k))
    args: list[Any] = [x, w, None]
    if bias != "none":
        most = 2**31 - 1 if bias == "INT32" else 1 << 36
        held = rng.integers(-most, most, units).astype(bias.lower())
        args[2] = Arg(held, np.float32(x.scale) * np.float32(w_scale), 0, const=True)
    options: dict[str, Any] = {"fused_activation_function": str(rng.choice(ACTIVATIONS))}
    if bias == "INT64":
        options["quantized_bias_type"] = "INT64"
    return single_op("FULLY_CONNECTED", args, out, **options)


@pytest.mark.parametrize("bias", ["INT32", "INT64", "none"])
def test_int16_weights(bias: str, rng: Rng) -> None:
    seen = 0
    while seen < ENOUGH:
        model = wide(rng, bias)
        found = run(model)
        np.testing.assert_array_equal(found, litert(model))
        np.testing.assert_array_equal(run(model, threads=3), found)
        seen += found.size


@pytest.mark.parametrize("types", [("INT8", "INT8"), ("INT8", "INT4"), ("UINT8", "UINT8")], ids=str)
def test_a_wide_bias_of_bytes_is_the_narrow_one(types: tuple[str, str], rng: Rng) -> None:
    """LiteRT takes the halves of INT64 for values of their own."""
    seen = 0
    while seen < ENOUGH:
        k, units = int(rng.integers(1, 90)), int(rng.integers(1, 70))
        zero = 128 if types[0] == "UINT8" else 3
        x = Arg(integers(rng, types[0], (400, k)), 0.05, zero)
        held = integers(rng, types[0], (units, k)) // (16 if types[1] == "INT4" else 1)
        w = Arg(held, 0.02, 128 if types[1] == "UINT8" else 0, const=True, dtype=types[1])
        out = Out(types[0], output_scale(x, w, k), zero)
        bias = rng.integers(-9000, 9000, units)
        models = [
            single_op("FULLY_CONNECTED", [x, w, Arg(bias.astype(t), 0.001, 0, const=True)], out)
            for t in ("int32", "int64")
        ]
        found = run(models[1])
        np.testing.assert_array_equal(found, run(models[0]))
        np.testing.assert_array_equal(found, litert(models[0]))
        for isa in ISAS:
            np.testing.assert_array_equal(run(models[1], isa=isa), found)
        seen += found.size


def shuffled_order(w: np.ndarray) -> np.ndarray:
    """Weights [units, values] as SHUFFLED4x16INT8 has them: blocks of 4 x 16, less 128."""
    units, k = w.shape
    blocks = w.reshape(units // 4, 4, k // 16, 16).transpose(0, 2, 1, 3)
    return (blocks ^ 0x80).reshape(units, k)


def shuffled(rng: Rng, rows: int, **changes: Any) -> OpModel:
    k, units = 16 * int(rng.integers(1, 9)), 4 * int(rng.integers(1, 300))
    x = Arg(integers(rng, "UINT8", (rows, k)), 10 ** rng.uniform(-2, -1), changes.get("zero", 128))
    held = integers(rng, "UINT8", (units, k))
    w = Arg(shuffled_order(held), 10 ** rng.uniform(-2, -1), 128, const=True)
    bias = Arg(rng.integers(-9000, 9000, units).astype(np.int32), x.scale * w.scale, 0, const=True)
    out = Out("INT16", output_scale(x, w, k) / 128, shape=(rows, units))
    outs = [out, Out("UINT8", shape=(rows, k))]
    options = {"weights_format": "SHUFFLED4x16INT8", **changes.get("options", {})}
    return single_op("FULLY_CONNECTED", [x, w, bias], outs, **options)


def test_shuffled_weights(rng: Rng) -> None:
    seen = 0
    while seen < ENOUGH:
        model = shuffled(rng, int(rng.choice([1, 4])))  # LiteRT takes no other batches
        found = run(model)
        np.testing.assert_array_equal(found, litert(model))
        np.testing.assert_array_equal(run(model, threads=3), found)
        seen += found.size


def test_shuffled_weights_need_a_zero_point_of_128(rng: Rng) -> None:
    with pytest.raises(RilletError, match="zero point 128"):
        run(shuffled(rng, 1, zero=127))


UNHAPPY = [
    ({"y": Out("INT8", 0.1)}, "wanted INT16, INT16 and INT16 here"),
    ({"w_zero": 1}, "INT16 tensors must have zero point 0"),
    ({"y": Out("INT16", 1e-6)}, "a factor of 128 or more"),
    ({"bias": "float32"}, "a bias of INT32 or INT64"),
]


@pytest.mark.parametrize(("change", "words"), UNHAPPY, ids=[words for _, words in UNHAPPY])
def test_refused_in_words(change: dict[str, Any], words: str) -> None:
    x = Arg(np.zeros((2, 4), np.int16), 0.1)
    w = Arg(np.ones((3, 4), np.int16), 0.2, change.get("w_zero", 0), const=True)
    bias = Arg(np.zeros(3, change.get("bias", "int64")), const=True)
    with pytest.raises(RilletError, match=words):
        run(single_op("FULLY_CONNECTED", [x, w, bias], change.get("y", Out("INT16", 0.1))))
