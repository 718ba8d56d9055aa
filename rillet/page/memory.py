# SPDX-License-Identifier: Apache-2.0
"""Bytes of the arena that are alive at each node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import runtime

ALIGNMENT = 64  # of blocks in the arena


def live_bytes(
    interpreter: runtime.Interpreter, variables: Sequence[int], threads: int
) -> dict[str, list[int]]:
    """Per node of the main graph: bytes of "tensors" that hold a value, and of "scratch".

    A tensor lives from the node that writes it to the last that reads it; inputs and the state in
    `variables` (tensor indices) always, outputs to the end. Memory that an output takes over from
    an input counts once. What a node's subgraphs need for themselves is not in it.
    """
    nodes, memory = interpreter.nodes(), interpreter.tensor_memory()
    end = len(nodes)
    always = {detail["index"] for detail in interpreter.get_input_details()} | set(variables)
    lives = dict.fromkeys(always, (-1, end))
    for step, node in enumerate(nodes):
        lives |= {t: (step, step) for t in node["outputs"] if t not in always}
        lives |= {t: (lives[t][0], step) for t in node["inputs"] if t in lives and t not in always}
    for detail in interpreter.get_output_details():
        if detail["index"] in lives:
            lives[detail["index"]] = (lives[detail["index"]][0], end)
    spans: list[list[tuple[int, int]]] = [[] for _ in nodes]
    for tensor, (first, last) in lives.items():
        start, size = memory[tensor]["offset"], memory[tensor]["bytes"]
        for step in range(max(first, 0), min(last + 1, end)) if start is not None else ():
            spans[step].append((start, start + size))
    return {
        "tensors": [_union(alive) for alive in spans],
        "scratch": [-(-node["scratch"] // ALIGNMENT) * ALIGNMENT * threads for node in nodes],
    }


def _union(spans: list[tuple[int, int]]) -> int:
    """Bytes that lie in any of the spans."""
    total = end = 0
    for start, stop in sorted(spans):
        total += max(stop - max(start, end), 0)
        end = max(end, stop)
    return total


def peak(live: dict[str, list[int]]) -> dict[str, Any] | None:
    """The node at which most is alive: its index, and the bytes of both kinds."""
    both = list(zip(live["tensors"], live["scratch"], strict=True))
    if not both:
        return None
    step = max(range(len(both)), key=lambda i: sum(both[i]))
    return {"node": step, "tensors": both[step][0], "scratch": both[step][1]}
