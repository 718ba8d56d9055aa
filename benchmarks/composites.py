# SPDX-License-Identifier: Apache-2.0
"""What composites gain here and cost in LiteRT: python -m benchmarks.composites [--markdown]
[--rounds N] [--isa ISA]

Every network is run in its plain form and with composites, on both runtimes, which take turns. What
is printed is the median of the CPU time of one thread, which a busy machine disturbs least.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import runtime
from converter import ir, optimize, write_tflite
from converter.importers.builder import Builder
from converter.importers.forms import attention, recurrent
from converter.passes import DEFAULT_PASSES, recognize_recurrent
from converter.passes.composites import outline_composites

RNG = np.random.default_rng(0)


def _weights(b: Builder, *shape: int) -> ir.Value:
    return b.constant(RNG.standard_normal(shape) / np.sqrt(shape[-1]), "weights", np.float32)


def _dense(b: Builder, x: ir.Value, made: int) -> ir.Value:
    y = b.emit("BATCH_MATMUL", [x, _weights(b, made, b.dims(x)[-1] or 1)], adj_y=True)
    return b.emit("ADD", [y, _weights(b, made)])


def _norm(b: Builder, x: ir.Value) -> ir.Value:
    axes, width = b.constant([-1], "axes", np.int32), b.dims(x)[-1] or 1
    off = b.emit("SUB", [x, b.emit("MEAN", [x, axes], keep_dims=True)])
    variance = b.emit("MEAN", [b.emit("MUL", [off, off]), axes], keep_dims=True)
    spread = b.emit("ADD", [variance, b.constant(1e-5, "epsilon", np.float32)])
    y = b.emit("MUL", [off, b.emit("RSQRT", [spread])])
    return b.emit("ADD", [b.emit("MUL", [y, _weights(b, width)]), _weights(b, width)])


def _heads(b: Builder, x: ir.Value, heads: int) -> ir.Value:
    batch, tokens, width = b.dims(x)
    shape = b.constant([batch, tokens, heads, (width or 1) // heads], "shape", np.int32)
    perm = b.constant([0, 2, 1, 3], "perm", np.int32)
    return b.emit("TRANSPOSE", [b.emit("RESHAPE", [x, shape]), perm])


def _attention(b: Builder, x: ir.Value, heads: int) -> ir.Value:
    dims = b.dims(x)
    q, k, v = (_heads(b, _dense(b, x, dims[-1] or 1), heads) for _ in range(3))
    scale = 1 / np.sqrt((dims[-1] or 1) / heads)
    y = attention.attention(b, q, k, v, scale)
    y = b.emit("TRANSPOSE", [y, b.constant([0, 2, 1, 3], "perm", np.int32)])
    y = b.emit("RESHAPE", [y, b.constant(dims, "shape", np.int32)])
    return _dense(b, y, dims[-1] or 1)


def encoder(layers: int, width: int, heads: int, tokens: int) -> ir.Model:
    """Pre-norm transformer blocks with a hidden layer of four times the width."""
    b = Builder()
    x = b.input("x", "FLOAT32", [1, tokens, width])
    for _ in range(layers):
        x = b.emit("ADD", [x, _attention(b, _norm(b, x), heads)])
        y = b.emit("GELU", [_dense(b, _norm(b, x), 4 * width)], approximate=False)
        x = b.emit("ADD", [x, _dense(b, y, width)])
    model = b.model(["x"], [("y", _norm(b, x))])
    optimize(model)
    return model


def with_composites(model: ir.Model) -> ir.Model:
    """A copy in which norms and attention are composites."""
    copy = model.copy()
    assert outline_composites(copy)
    return copy


def gru(steps: int, features: int, size: int, whole: bool) -> ir.Model:
    """PyTorch's GRU of one layer: a composite, or in parts."""
    b = Builder()
    x, h = b.input("x", "FLOAT32", [steps, 1, features]), b.input("h", "FLOAT32", [1, size])
    shapes = [(3 * size, features), (3 * size, size), (3 * size,), (3 * size,)]
    w, r, bias, again = (_weights(b, *shape) for shape in shapes)
    if whole:
        every, last = recurrent.gru(b, x, w, r, bias, again, h)
    else:
        standard = (recurrent.sigmoid, recurrent.tanh)
        every, last = recurrent._gru(b, x, w, r, bias, again, h, False, True, standard, None)
    model = b.model(["x", "h"], [("every", every), ("last", last)])
    optimize(model, passes=[p for p in DEFAULT_PASSES if p is not recognize_recurrent])
    assert whole == any(node.kind == "rillet.gru" for node in model.main.nodes)
    return model


def networks() -> dict[str, tuple[ir.Model, ir.Model]]:
    """Name -> plain and with composites."""
    encoders = {
        "ViT-tiny: 12 layers, width 192, 3 heads, 197 tokens": (12, 192, 3, 197),
        "DistilBERT: 6 layers, width 768, 12 heads, 128 tokens": (6, 768, 12, 128),
        "long text: 2 layers, width 256, 4 heads, 1024 tokens": (2, 256, 4, 1024),
    }
    found = {}
    for name, sizes in encoders.items():
        plain = encoder(*sizes)
        found[name] = (plain, with_composites(plain))
    for steps, features, size in ((20, 64, 128), (100, 64, 128), (50, 256, 256)):
        name = f"GRU: {steps} steps, {features} features, {size} units"
        found[name] = (gru(steps, features, size, False), gru(steps, features, size, True))
    return found


def _runner(interpreter: Any) -> Callable[[], float]:
    """A run of the interpreter on random inputs; gives the thread's milliseconds."""
    interpreter.allocate_tensors()
    rng = np.random.default_rng(1)
    for detail in interpreter.get_input_details():
        value = rng.standard_normal(detail["shape"]).astype(np.float32)
        interpreter.set_tensor(detail["index"], value)

    def run() -> float:
        start = time.thread_time_ns()
        interpreter.invoke()
        return (time.thread_time_ns() - start) / 1e6

    return run


def measure(contents: list[bytes], rounds: int, isa: str | None) -> list[float]:
    """Milliseconds of this runtime, plain and with composites, then of LiteRT."""
    from ai_edge_litert.interpreter import Interpreter as LiteRT

    runners = [
        _runner(runtime.Interpreter(model_content=c, num_threads=1, isa=isa)) for c in contents
    ]
    runners += [_runner(LiteRT(model_content=c, num_threads=1)) for c in contents]
    times: list[list[float]] = [[] for _ in runners]
    for turn in range(rounds + 2):
        for run, found in zip(runners, times, strict=True):
            spent = run()
            if turn >= 2:
                found.append(spent)
    return [statistics.median(found) for found in times]


def arena(content: bytes) -> str:
    """Memory for activations here."""
    interpreter = runtime.Interpreter(model_content=content, num_threads=1)
    return f"{interpreter.memory()['arena'] / 1e6:.2f} MB"


COLUMNS = ["here, plain", "composites", "LiteRT, plain", "composites", "arena, plain", "composites"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--isa")
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    if args.markdown:
        print(f"| network | {' | '.join(COLUMNS)} |\n|{'---|' * 7}")
    for name, models in networks().items():
        contents = [write_tflite(model) for model in models]
        cells = [f"{milliseconds:.2f}" for milliseconds in measure(contents, args.rounds, args.isa)]
        cells += [arena(content) for content in contents]
        if args.markdown:
            print(f"| {name} | {' | '.join(cells)} |", flush=True)
        else:
            said = [f"{column} {cell}" for column, cell in zip(COLUMNS, cells, strict=True)]
            print(f"{name}: {'; '.join(said)}", flush=True)


if __name__ == "__main__":
    main()
