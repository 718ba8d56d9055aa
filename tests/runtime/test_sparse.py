# SPDX-License-Identifier: Apache-2.0
"""Sparse constants are dense once the file is read, whatever their order, blocks and indices."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from runtime_models import Builder
from single_op import OpModel, litert, run

from converter import ir, write_tflite
from runtime import RilletError

VECTORS = {"Int32Vector": np.int32, "Uint16Vector": np.uint16, "Uint8Vector": np.uint8}


def encode(
    dense: np.ndarray,
    order: list[int],
    compressed: set[int],
    blocks: dict[int, int],
    vector: str = "Int32Vector",
) -> tuple[np.ndarray, dict[str, Any]]:
    """Values and SparsityParameters of `dense`: levels go through the dimensions in `order`, those
    at the positions in `compressed` keep what holds a value, then through `blocks`."""
    rank = dense.ndim
    block_map = list(blocks)
    sizes = [dense.shape[d] // blocks.get(d, 1) for d in order] + list(blocks.values())
    values: list[Any] = []
    segments: dict[int, list[int]] = {level: [0] for level in compressed}
    indices: dict[int, list[int]] = {level: [] for level in compressed}

    def part(at: tuple[int, ...]) -> np.ndarray:
        """What lies below the positions `at` of the first levels."""
        window: list[Any] = [slice(None)] * rank
        for level, i in enumerate(at[:rank]):
            d, size = order[level], blocks.get(order[level], 1)
            window[d] = slice(i * size, (i + 1) * size)
        found = dense[tuple(window)]
        for level, i in enumerate(at[rank:]):
            d = block_map[level]
            found = np.take(found, [i], axis=d)
        return found

    def walk(at: tuple[int, ...]) -> None:
        level = len(at)
        if level == len(sizes):
            values.append(part(at).item())
            return
        for i in range(sizes[level]):
            if level not in compressed:
                walk((*at, i))
            elif part((*at, i)).any():
                indices[level].append(i)
                walk((*at, i))
        if level in compressed:
            segments[level].append(len(indices[level]))

    walk(())
    metadata: list[dict[str, Any]] = []
    for level, size in enumerate(sizes):
        if level in compressed:
            numbers = [np.array(v[level], VECTORS[vector]) for v in (segments, indices)]
            metadata.append(
                {
                    "format": "SPARSE_CSR",
                    "array_segments": (vector, {"values": numbers[0]}),
                    "array_indices": (vector, {"values": numbers[1]}),
                }
            )
        else:
            metadata.append({"format": "DENSE", "dense_size": size})
    parameters = {
        "traversal_order": np.int32(order + [rank + i for i in range(len(blocks))]),
        "block_map": np.int32(block_map) if blocks else None,
        "dim_metadata": metadata,
    }
    return np.array(values, dense.dtype), parameters


def model(dense: np.ndarray, values: np.ndarray, sparsity: dict[str, Any], op: str) -> OpModel:
    """A layer with sparse weights, or DENSIFY before an addition."""
    b = Builder()
    w = ir.Value("w", "FLOAT32", dense.shape, data=values)
    w.sparsity = sparsity
    x = np.linspace(-1, 1, 2 * dense.shape[-1]).astype(np.float32).reshape(2, -1)
    if op == "FULLY_CONNECTED":
        bias = b.constant(np.zeros(dense.shape[0], np.float32))
        y = b.op(op, [b.input(x.shape), w, bias], (2, dense.shape[0]))
        return OpModel(op, write_tflite(b.model(y)), [x])
    whole = b.op("DENSIFY", [w], dense.shape)
    y = b.op("ADD", [b.input(dense.shape), whole], dense.shape)
    return OpModel(op, write_tflite(b.model(y)), [np.ones(dense.shape, np.float32)])


def weights(shape: tuple[int, ...], seed: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) * (rng.random(shape) < 0.3)).astype(np.float32)


ORDERS = list(itertools.product(([0, 1], [1, 0]), (set(), {0}, {1}, {0, 1})))


@pytest.mark.parametrize("vector", VECTORS)
@pytest.mark.parametrize(("order", "compressed"), ORDERS, ids=str)
def test_matrices(order, compressed, vector):
    dense = weights((8, 12))
    for blocks in ({}, {1: 4}, {0: 2}, {0: 2, 1: 3}, {1: 2, 0: 4}):
        values, sparsity = encode(dense, order, compressed, blocks, vector)
        found = run(model(dense, values, sparsity, "DENSIFY"))
        np.testing.assert_array_equal(found, dense + 1)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
def test_four_dimensions(order):
    dense = weights((3, 2, 4, 6))
    values, sparsity = encode(dense, list(order), {1, 3}, {3: 2})
    found = run(model(dense, values, sparsity, "DENSIFY"))
    np.testing.assert_array_equal(found, dense + 1)


def test_a_layer_is_what_litert_computes():
    dense = weights((8, 16))
    values, sparsity = encode(dense, [0, 1], {1}, {1: 4})  # what LiteRT has a kernel for
    one = model(dense, values, sparsity, "FULLY_CONNECTED")
    np.testing.assert_allclose(run(one), litert(one), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(run(one), one.feeds[0] @ dense.T, rtol=1e-5, atol=1e-6)


def test_nothing_but_zeros():
    dense = np.zeros((4, 4), np.float32)
    values, sparsity = encode(dense, [0, 1], {1}, {})
    np.testing.assert_array_equal(run(model(dense, values, sparsity, "DENSIFY")), dense + 1)


def damage(sparsity: dict[str, Any], what: str) -> dict[str, Any]:
    levels = [dict(level) for level in sparsity["dim_metadata"]]
    changed = {**sparsity, "dim_metadata": levels}
    kind, numbers = levels[1]["array_indices"]
    if what == "an index too large":
        levels[1]["array_indices"] = (kind, {"values": numbers["values"] + 90})
    elif what == "an index below 0":
        levels[1]["array_indices"] = (kind, {"values": numbers["values"] - 9})
    elif what == "segments that go back":
        held = levels[1]["array_segments"][1]["values"]
        levels[1]["array_segments"] = (kind, {"values": held[::-1].copy()})
    elif what == "too few segments":
        held = levels[1]["array_segments"][1]["values"]
        levels[1]["array_segments"] = (kind, {"values": held[:3].copy()})
    elif what == "another size":
        levels[0]["dense_size"] = 7
    elif what == "one order twice":
        changed["traversal_order"] = np.int32([0, 0])
    elif what == "too few levels":
        changed["dim_metadata"] = levels[:1]
    elif what == "no indices":
        levels[1].pop("array_indices")
    return changed


@pytest.mark.parametrize(
    "what",
    [
        "an index too large",
        "an index below 0",
        "segments that go back",
        "too few segments",
        "another size",
        "one order twice",
        "too few levels",
        "no indices",
        "too few values",
    ],
)
def test_damage_is_refused(what):
    dense = weights((8, 12))
    values, sparsity = encode(dense, [0, 1], {1}, {})
    if what == "too few values":
        values = values[:-1]
    one = model(dense, values, damage(sparsity, what), "DENSIFY")
    with pytest.raises(RilletError, match=r"'w'.*sparsity") as caught:
        run(one)
    assert caught.value.status == "BAD_MODEL"
