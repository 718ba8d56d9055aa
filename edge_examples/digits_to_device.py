# SPDX-License-Identifier: Apache-2.0
"""From training to the device: the MNIST ConvNet, trained, converted, quantized and measured."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import converter
import host_engine as tf
import quantize
import runtime
from edge_examples import mnist_convnet
from edge_examples.datasets import Digits, load_mnist
from edge_examples.mnist_convnet import History
from edge_examples.report import Stages, progress, progress_bar, table, thousands

CALIBRATION_DIGITS = 200


@dataclass(frozen=True)
class Measured:
    """A model file on the runtime. Bytes; accuracy 0..1; ms per inference of one digit."""

    model: str
    file_bytes: int
    arena_bytes: int
    accuracy: float
    ms: float


@dataclass(frozen=True)
class Outcome:
    """What the digits' half of the demo found."""

    history: History
    train_seconds: float
    models: list[Measured]

    def to_dict(self) -> dict[str, Any]:
        return {
            "train_seconds": round(self.train_seconds, 2),
            "ms_per_step": round(1e3 * self.train_seconds / len(self.history.losses), 2),
            "final_loss": self.history.losses[-1],
            "test_accuracy_per_epoch": self.history.accuracies,
            "models": [vars(row) for row in self.models],
        }

    def table(self) -> str:
        header = ("MNIST ConvNet", "file bytes", "arena bytes", "accuracy", "ms/inference")
        return table(
            header,
            [
                (
                    row.model,
                    thousands(row.file_bytes),
                    thousands(row.arena_bytes),
                    f"{row.accuracy:.1%}",
                    f"{row.ms:.2f}",
                )
                for row in self.models
            ],
        )


def run(out: Path, stages: Stages, quick: bool = False) -> Outcome:
    """Trains, writes mnist_fp32.tflite and mnist_int8.tflite to `out`, and measures both.

    quick: six epochs on a quarter of the digits, for tests.
    """
    digits, test = load_mnist()
    epochs = mnist_convnet.EPOCHS
    if quick:
        digits, test, epochs = first(digits, 1000), first(test, 200), 6
    stages.begin(f"Train a ConvNet on {thousands(len(digits))} handwritten digits (host_engine)")
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(2016)
        network = mnist_convnet.build()
        start = time.perf_counter()
        history = train_with_bar(session, network, digits, test, epochs)
        seconds = time.perf_counter() - start
        stages.begin("Freeze, optimize and quantize it (converter, quantize)")
        model = converter.from_session(
            session,
            inputs=[network.images],
            outputs=[network.probabilities],
            input_shapes={network.images: [1, 28, 28, 1]},
        )
    converter.optimize(model)
    samples = progress([image[None] for image in digits.images[:CALIBRATION_DIGITS]], "calibrate")
    int8 = quantize.static_int8(model, samples)
    paths = {"fp32": out / "mnist_fp32.tflite", "int8": out / "mnist_int8.tflite"}
    converter.write_tflite(model, paths["fp32"])
    converter.write_tflite(int8, paths["int8"])
    stages.begin(f"Recognize {thousands(len(test))} test digits, one at a time (runtime)")
    return Outcome(history, seconds, [measure(name, path, test) for name, path in paths.items()])


def first(digits: Digits, count: int) -> Digits:
    """The first `count` digits."""
    return Digits(digits.images[:count], digits.labels[:count])


def train_with_bar(
    session: Any, network: Any, digits: Digits, test: Digits, epochs: int
) -> History:
    with progress_bar("train", epochs * (len(digits) // mnist_convnet.BATCH)) as bar:

        def on_step(loss: float) -> None:
            bar.update()
            bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)

        return mnist_convnet.train(session, network, digits, test, epochs, on_step)


def measure(name: str, path: Path, digits: Digits) -> Measured:
    """Runs every digit through a model file, one at a time on one thread."""
    interpreter = runtime.Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    images = digits.images
    if np.dtype(source["dtype"]).kind != "f":
        scale, zero_point = source["quantization"]
        images = np.clip(np.rint(images / scale) + zero_point, -128, 127).astype(np.int8)
    times, right = [], 0
    for image, label in zip(progress(images, name), digits.labels, strict=True):
        start = time.perf_counter()
        interpreter.set_tensor(source["index"], image[None])
        interpreter.invoke()
        scores = interpreter.get_tensor(target["index"])[0]
        times.append(time.perf_counter() - start)
        right += int(scores.argmax() == label)
    return Measured(
        path.name,
        path.stat().st_size,
        interpreter.memory()["arena"],
        right / len(digits),
        1e3 * float(np.median(times)),
    )
