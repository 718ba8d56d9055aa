# SPDX-License-Identifier: Apache-2.0
"""Writes ``tests/fuzz/corpus``: op-sized models, the seeds of ``make fuzz``.

Run ``make fuzz-corpus`` after adding an operator. Of every operator that the runtime has there is
the smallest model of the conformance rows, and the smallest ones with quantized tensors, halves,
packed integers and strings, which other code reads; besides them the models with control flow and
state of the runtime's own tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import control_models
import numpy as np
import runtime_models
from composite_models import (
    attention_parts,
    composite,
    gru_parts,
    lstm_parts,
    norm_parts,
    rms_parts,
)
from conformance.op_types import builders, read_rows
from single_op import Arg, Out, const, single_op

from converter import read_tflite, write_tflite
from converter.ir import Value

CORPUS = Path(__file__).with_name("corpus")
LARGEST = 300_000  # bytes of the whole corpus


def smallest_per_op() -> Iterator[tuple[str, bytes]]:
    """(name, model) of the conformance rows that run here."""
    refused = read_rows("refused.txt")
    runs = [case for case in read_rows("accepted.txt") if case not in refused]
    models: dict[str, list[bytes]] = {}
    rows = builders()
    for case in runs:
        models.setdefault(case[0], []).append(rows[case]().content)
    for op, found in models.items():
        found.sort(key=len)
        yield op.lower(), found[0]
        for kind, is_kind in KINDS.items():
            first = next((c for c in found if is_kind(_inputs(c))), found[0])
            if first != found[0]:
                yield f"{op.lower()}_{kind}", first


def _inputs(content: bytes) -> list[Value]:
    values = [value for node in read_tflite(content).main.nodes for value in node.inputs]
    return [value for value in values if value is not None]


def _has(*dtypes: str) -> Callable[[list[Value]], bool]:
    return lambda values: any(value.dtype in dtypes for value in values)


KINDS: dict[str, Callable[[list[Value]], bool]] = {
    "quantized": lambda values: any(value.quant is not None for value in values),
    "half": _has("FLOAT16", "BFLOAT16"),
    "packed": _has("INT4", "UINT4", "INT2"),
    "string": _has("STRING"),
}


GRAPHS = ("branches", "loop", "growing_loop", "twice_called", "counter", "computed_shape")
GRAPHS += ("constant_arguments", "constant_state", "loop_of_states")


def _control() -> Iterator[tuple[str, bytes]]:
    for name in GRAPHS:
        yield f"graph_{name}", getattr(control_models, name)()
    names = "dense_stack dense_int8 branches conv_float conv_int8 started_lstm written_variable"
    for name in names.split():
        yield f"graph_{name}", getattr(runtime_models, name)()
    plan = write_tflite(read_tflite(runtime_models.branches()), offline_plan=True)
    yield "graph_offline_plan", plan


def _unlisted() -> Iterator[tuple[str, bytes]]:
    """Operators that have no conformance rows."""
    x, i = np.float32([[1, 2], [3, 4]]), np.int32([[1, 2], [3, 4]])
    for op in ("ADD", "MULTIPLY", "MAXIMUM", "MINIMUM"):
        yield f"stablehlo_{op.lower()}", single_op(f"STABLEHLO_{op}", [x, x]).content
    for op in ("AND", "SHIFT_LEFT"):
        yield f"stablehlo_{op.lower()}", single_op(f"STABLEHLO_{op}", [i, i]).content
    edges = {"edge_padding_low": [1, -1], "edge_padding_high": [0, 2], "interior_padding": [1, 0]}
    yield "stablehlo_pad", single_op("STABLEHLO_PAD", [x, np.float32(7)], **edges).content
    gather = {
        "offset_dims": [1],
        "collapsed_slice_dims": [0],
        "start_index_map": [0],
        "index_vector_dim": 1,
        "slice_sizes": [1, 2],
    }
    at = np.int32([[1], [0]])
    yield "stablehlo_gather", single_op("STABLEHLO_GATHER", [x, at], **gather).content
    bits = [Out("UINT64", shape=(2,)), Out("INT32", shape=(3,))]
    state = [Arg(np.uint64([1, 2]))]
    op = "STABLEHLO_RNG_BIT_GENERATOR"
    yield op.lower(), single_op(op, state, bits, algorithm="PHILOX").content
    table = [np.int32([0, 1, 5]), const([0, 1]), x]
    outs = [Out("FLOAT32"), Out("UINT8")]
    yield "hashtable_lookup", single_op("HASHTABLE_LOOKUP", table, outs).content


def _composites() -> Iterator[tuple[str, bytes]]:
    """Those with kernels of their own."""
    rng = np.random.default_rng(0)

    def floats(*shapes: tuple[int, ...]) -> list[np.ndarray]:
        return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]

    norm, epsilon = floats((2, 3), (3,), (3,)), {"epsilon": 0.1}
    scale = {"keys_are_rows": 1, "scale": 0.5}
    attention = floats((2, 2, 3), (2, 4, 3), (1, 4, 2), (4,))
    gru = floats((2, 1, 2), (3, 2), (3, 1), (3,), (3,), (1, 1))
    lstm = floats((2, 1, 2), (4, 2), (4, 1), (4,), (1, 1), (1, 1))
    found = [
        composite("rillet.layer_norm", norm_parts(0.1), norm, epsilon, [1, 2]),
        composite("rillet.rms_norm", rms_parts(0.1), norm[:2], epsilon),
        composite("rillet.attention", attention_parts(0.5), attention, scale),
        composite("rillet.gru", gru_parts(True), gru, {"reset_after": 1}, [1, 2, 3, 4]),
        composite("rillet.lstm", lstm_parts, lstm, {}, [1, 2, 3]),
    ]
    for model in found:
        yield model.op.replace(".", "_"), model.content


def corpus() -> dict[str, bytes]:
    """File name -> bytes."""
    found = {**dict(smallest_per_op()), **dict(_control()), **dict(_unlisted())}
    found.update(_composites())
    return {f"{name}.tflite": found[name] for name in sorted(found)}


def main() -> None:
    """Replaces the folder's files."""
    files = corpus()
    assert sum(map(len, files.values())) < LARGEST
    CORPUS.mkdir(exist_ok=True)
    for old in CORPUS.glob("*.tflite"):
        if old.name not in files:
            old.unlink()
    for name, content in files.items():
        (CORPUS / name).write_bytes(content)
    print(f"{len(files)} models, {sum(map(len, files.values())):,} bytes in {CORPUS}")


if __name__ == "__main__":
    main()
