# SPDX-License-Identifier: Apache-2.0
"""What the examples show: stage lines, progress bars, tables, the training curve, JSON."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from edge_examples.classify_photos import UsageError
from edge_examples.mnist_convnet import History


class Stages:
    """Numbers the steps of a run as they begin: `== 2/6  Convert`."""

    def __init__(self, total: int):
        self.total, self.number = total, 0

    def begin(self, title: str) -> None:
        self.number += 1
        print(f"\n== {self.number}/{self.total}  {title}", flush=True)


def progress(items: Iterable[Any], title: str, total: int | None = None) -> Any:
    """A progress bar over the items, on stderr, that stays when it is full."""
    return tqdm(items, desc=f"   {title:<28}", total=total, ncols=88, file=sys.stderr)


def progress_bar(title: str, total: int) -> Any:
    """The same bar for a loop that counts its own steps, with `update` and `set_postfix_str`."""
    return tqdm(desc=f"   {title:<28}", total=total, ncols=88, file=sys.stderr)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Text columns, the first aligned left and the others right unless they start with a space."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    lefts = [i == 0 or any(line[i].startswith(" ") for line in lines) for i in range(len(header))]

    def join(line: Sequence[str]) -> str:
        cells = (
            cell.ljust(width) if left else cell.rjust(width)
            for cell, width, left in zip(line, widths, lefts, strict=True)
        )
        return "   " + "  ".join(cells).rstrip()

    rule = "   " + "  ".join("-" * width for width in widths)
    return "\n".join([join(lines[0]), rule, *map(join, lines[1:])])


def thousands(count: int) -> str:
    """1234567 -> '1 234 567'."""
    return f"{count:,}".replace(",", " ")


def make_folder(folder: Path) -> Path:
    """Creates the folder that results go to; UsageError where that is impossible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot create the folder {folder}: {error.strerror}") from error
    return folder


def write_json(value: Any, path: Path) -> None:
    """Writes indented JSON, replacing the file only when it is whole."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def plot_training(history: History, device: dict[str, float], path: Path) -> None:
    """Writes a PNG of the loss per step and the test accuracy per epoch.

    device: accuracy 0..1 on the test digits by model name, drawn as level lines.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    loss_axes, accuracy_axes = figure.subplots(1, 2)
    epochs = [(i + 1) / history.steps_per_epoch for i in range(len(history.losses))]
    loss_axes.semilogy(epochs, history.losses, color="#aecbfa", linewidth=0.8, label="each batch")
    # The first losses are tens of times the last: a mean of logarithms forgets them sooner.
    mean = [math.exp(v) for v in smoothed([math.log(max(x, 1e-9)) for x in history.losses])]
    loss_axes.semilogy(epochs, mean, color="#1a73e8", linewidth=1.8, label="running mean")
    loss_axes.set(title="Training loss", xlabel="epoch", ylabel="cross entropy")
    loss_axes.legend(frameon=False)
    percents = [100 * a for a in history.accuracies]
    accuracy_axes.plot(
        range(1, len(percents) + 1), percents, "o-", color="#188038", label="host engine, per epoch"
    )
    styles = ("--", ":")
    for number, (name, accuracy) in enumerate(device.items()):
        accuracy_axes.axhline(
            100 * accuracy,
            linestyle=styles[number % len(styles)],
            color="#5f6368",
            label=f"{name} on the runtime: {accuracy:.1%}",
        )
    accuracy_axes.set(title="Test accuracy", xlabel="epoch", ylabel="% of test digits")
    accuracy_axes.legend(frameon=False, loc="lower right")
    for axes in (loss_axes, accuracy_axes):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    try:
        figure.savefig(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def smoothed(values: Sequence[float], keep: float = 0.95) -> list[float]:
    """Exponential running mean, without the bias of its start (Kingma and Ba, 2015)."""
    total, weight, result = 0.0, 0.0, []
    for value in values:
        total = keep * total + (1 - keep) * value
        weight = keep * weight + (1 - keep)
        result.append(total / weight)
    return result
