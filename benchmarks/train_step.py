# SPDX-License-Identifier: Apache-2.0
"""Time of one training step of the MNIST ConvNet, here and (where importable) in TensorFlow.

    python benchmarks/train_step.py [--tensorflow PYTHON] [--steps N]

The two run by turns in separate processes on the same random images, so that a busy machine slows
both; the processor time they use says more there than the time that passes. PYTHON is an
interpreter that can import TensorFlow; by default this one is tried.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 100
ROUNDS = 5


def build(tf: Any) -> dict[str, Any]:
    """The network of the "Deep MNIST for Experts" tutorial, trained by Adam."""
    images = tf.placeholder(tf.float32, [None, 784])
    labels = tf.placeholder(tf.float32, [None, 10])
    keep = tf.placeholder(tf.float32)

    def weight(*shape: int) -> Any:
        return tf.Variable(tf.truncated_normal(shape, stddev=0.1, seed=1))

    def bias(size: int) -> Any:
        return tf.Variable(tf.constant(0.1, shape=[size]))

    def layer(x: Any, inputs: int, outputs: int) -> Any:
        y = tf.nn.conv2d(x, weight(5, 5, inputs, outputs), [1, 1, 1, 1], "SAME") + bias(outputs)
        return tf.nn.max_pool(tf.nn.relu(y), [1, 2, 2, 1], [1, 2, 2, 1], "SAME")

    x = layer(layer(tf.reshape(images, [-1, 28, 28, 1]), 1, 32), 32, 64)
    flat = tf.reshape(x, [-1, 7 * 7 * 64])
    hidden = tf.nn.relu(tf.matmul(flat, weight(7 * 7 * 64, 1024)) + bias(1024))
    logits = tf.matmul(tf.nn.dropout(hidden, keep), weight(1024, 10)) + bias(10)
    loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels=labels, logits=logits))
    step = tf.train.AdamOptimizer(1e-4).minimize(loss)
    return {"images": images, "labels": labels, "keep": keep, "loss": loss, "step": step}


def serve(tf: Any) -> None:
    """Trains as many steps as each line of standard input says; answers with their times in ms."""
    net = build(tf)
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    rng = np.random.default_rng(0)
    feed = {
        net["images"]: rng.random((BATCH, 784), np.float32),
        net["labels"]: np.eye(10, dtype=np.float32)[rng.integers(0, 10, BATCH)],
        net["keep"]: 0.5,
    }
    for line in sys.stdin:
        times = []
        busy = time.process_time()
        for _ in range(int(line)):
            start = time.perf_counter()
            loss, _ = session.run([net["loss"], net["step"]], feed)
            times.append(1e3 * (time.perf_counter() - start))
        cpu = 1e3 * (time.process_time() - busy) / len(times)
        print(json.dumps({"ms": times, "cpu": [cpu], "loss": float(loss)}), flush=True)


def worker(python: str, engine: str) -> subprocess.Popen[str]:
    command = [python, __file__, "--serve", engine]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def ask(process: subprocess.Popen[str], steps: int) -> dict[str, Any] | None:
    """A worker's answer, or None if it ended (its engine cannot be imported)."""
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(f"{steps}\n")
        process.stdin.flush()
    except BrokenPipeError:
        return None
    line = process.stdout.readline()
    return json.loads(line) if line else None


def compare(python: str, steps: int) -> None:
    workers = {
        "host_engine": worker(sys.executable, "host_engine"),
        "tensorflow": worker(python, "tensorflow"),
    }
    times: dict[str, list[float]] = {}
    cpu: dict[str, list[float]] = {}
    for turn in range(ROUNDS + 1):
        for name, process in workers.items():
            answer = ask(process, 3 if turn == 0 else steps)
            if answer is not None and turn > 0:
                times.setdefault(name, []).extend(answer["ms"])
                cpu.setdefault(name, []).extend(answer["cpu"])
    for process in workers.values():
        process.kill()
        process.wait()
    for name in workers:
        if name not in times:
            print(f"{name:12s} not importable")
            continue
        values = sorted(times[name])
        low, middle = values[len(values) // 10], statistics.median(values)
        print(
            f"{name:12s} {middle:7.1f} ms per step of {BATCH} images (10% under {low:.1f}), "
            f"{statistics.median(cpu[name]):.1f} ms of processor time"
        )
    if len(times) == 2:
        elapsed, busy = (
            statistics.median(t["host_engine"]) / statistics.median(t["tensorflow"])
            for t in (times, cpu)
        )
        print(f"{'ratio':12s} {elapsed:7.2f} (processor time {busy:.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tensorflow", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--serve", choices=["host_engine", "tensorflow"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve is None:
        compare(args.tensorflow, args.steps)
        return
    if args.serve == "host_engine":
        sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
        import host_engine as engine
    else:
        import tensorflow.compat.v1 as engine

        engine.disable_v2_behavior()
    serve(engine)


if __name__ == "__main__":
    main()
