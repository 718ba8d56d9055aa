# SPDX-License-Identifier: Apache-2.0
"""Where accuracy went: a float model and its quantized form compared, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from converter.ir import Model, Value
from quantize.affine import dequantize, quantize_activation
from quantize.errors import QuantizationError
from quantize.evaluation import Evaluator, Sample, bind_sample, samples_of


@dataclass(frozen=True)
class OutputError:
    """Errors of one model output over all samples, in the output's own unit.

    `agreement` is the share of positions whose largest element along the last axis is the same;
    nan where that axis has fewer than two elements.
    """

    name: str
    largest: float
    mean: float
    snr_db: float
    agreement: float


@dataclass(frozen=True)
class LayerError:
    """Noise that has gathered up to one tensor.

    `snr_db` is 10 log10(signal power / error power); `lost_db` how much lower it is than that of
    the noisiest input, which is what this layer itself adds (nan where that input is exact).
    """

    name: str
    op: str
    snr_db: float
    lost_db: float


@dataclass(frozen=True)
class Report:
    """Errors per output, and per layer with the noisiest first. ``print(report)`` for a table."""

    samples: int
    outputs: list[OutputError]
    layers: list[LayerError]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for JSON; what is not finite becomes None."""
        return _finite_only(asdict(self))

    def table(self, layers: int | None = 10) -> str:
        """Aligned text with the `layers` noisiest layers (None for all)."""
        lines = [f"{self.samples} samples"]
        rows = [["output", "largest error", "mean error", "SNR dB", "same argmax"]]
        rows += [
            [
                _short(e.name),
                f"{e.largest:.4g}",
                f"{e.mean:.4g}",
                f"{e.snr_db:.1f}",
                "" if math.isnan(e.agreement) else f"{e.agreement:.1%}",
            ]
            for e in self.outputs
        ]
        lines += _aligned(rows)
        shown = self.layers[:layers]
        rows = [["layer, noisiest first", "op", "SNR dB", "lost dB"]]
        rows += [
            [
                _short(e.name),
                e.op,
                f"{e.snr_db:.1f}",
                "" if math.isnan(e.lost_db) else f"{e.lost_db:.1f}",
            ]
            for e in shown
        ]
        lines += ["", *_aligned(rows)]
        if len(shown) < len(self.layers):
            lines.append(f"({len(self.layers) - len(shown)} more)")
        return "\n".join(lines)

    __str__ = table


class _Noise:
    """Running powers of a signal and of its error."""

    def __init__(self) -> None:
        self.signal = self.error = self.total = self.largest = 0.0
        self.count = self.same = self.positions = 0

    def add(self, wanted: np.ndarray, got: np.ndarray) -> None:
        wanted, got = wanted.astype(np.float64), got.astype(np.float64)
        off = np.abs(wanted - got)
        self.signal += float(np.sum(wanted * wanted))
        self.error += float(np.sum(off * off))
        self.total += float(off.sum())
        self.largest = max(self.largest, float(off.max(initial=0.0)))
        self.count += off.size
        if wanted.size and wanted.ndim and wanted.shape[-1] > 1:
            agree = wanted.argmax(axis=-1) == got.argmax(axis=-1)
            self.same, self.positions = self.same + int(agree.sum()), self.positions + agree.size

    @property
    def snr_db(self) -> float:
        if self.error == 0.0:
            return math.inf
        ratio = self.signal / self.error
        return 10 * math.log10(ratio) if 0.0 < ratio < math.inf else -math.inf


def report(model_float: Model, model_quantized: Model, samples: Iterable[Sample]) -> Report:
    """Run both models on float `samples` and compare every tensor they have in common (by name).

    Samples are what :func:`quantize.evaluation.bind_sample` accepts for the float model; where the
    quantized model's input is int8 they are quantized for it.
    Errors: QuantizationError for no samples or models whose inputs or outputs differ.
    """
    for kind in ("inputs", "outputs"):
        ours, theirs = getattr(model_float.main, kind), getattr(model_quantized.main, kind)
        if [v.shape for v in ours] != [v.shape for v in theirs]:
            raise QuantizationError(
                f"the models' {kind} differ: {ours} and {theirs}; compare a model with its own "
                "quantized form"
            )
    reference, candidate = Evaluator(model_float), Evaluator(model_quantized)
    outputs = list(zip(model_float.main.outputs, model_quantized.main.outputs, strict=True))
    pairs = _common_values(model_float, model_quantized)
    noise = {value: _Noise() for value in [*pairs, *model_float.main.outputs]}
    count = 0
    for sample in samples_of(samples, "report"):
        arrays = bind_sample(model_float, sample, f"sample {count}")
        reference.run(arrays)
        candidate.run(_for_quantized(arrays, model_quantized))
        for value, twin in [*pairs.items(), *((a, b) for a, b in outputs if a not in pairs)]:
            noise[value].add(reference.get(value), _as_real(candidate.get(twin), twin))
        count += 1
    if count == 0:
        raise QuantizationError("report: there are no samples to compare the models on")
    layers = [_layer_error(value, noise) for value in pairs if value.producer is not None]
    return Report(
        count,
        [_output_error(value, noise[value]) for value, _ in outputs],
        sorted(layers, key=lambda e: e.snr_db),
    )


def _common_values(model: Model, quantized: Model) -> dict[Value, Value]:
    """Float activations and their quantized twins, matched by names that are unique in both."""

    def by_name(graph_values: list[Value]) -> dict[str, Value | None]:
        found: dict[str, Value | None] = {}
        for value in graph_values:
            found[value.name] = None if value.name in found else value
        return found

    twins = by_name([v for v in quantized.main.values() if not v.is_constant])
    ours = by_name([v for v in model.main.values() if not v.is_constant])
    pairs = {}
    for name, value in ours.items():
        twin = twins.get(name)
        if value is None or twin is None or value.shape != twin.shape:
            continue
        if value.dtype == "FLOAT32" and (twin.dtype == "FLOAT32" or twin.is_quantized):
            pairs[value] = twin
    return pairs


def _for_quantized(arrays: list[np.ndarray], model: Model) -> list[np.ndarray]:
    return [
        quantize_activation(array, value.quant)
        if value.dtype == "INT8" and value.quant is not None and array.dtype == np.float32
        else array
        for array, value in zip(arrays, model.main.inputs, strict=True)
    ]


def _as_real(array: np.ndarray, value: Value) -> np.ndarray:
    if value.quant is None or not value.is_quantized:
        return array
    return dequantize(array, value.quant)


def _layer_error(value: Value, noise: dict[Value, _Noise]) -> LayerError:
    node = value.producer
    assert node is not None
    before = [noise[v].snr_db for v in node.inputs if v is not None and v in noise]
    own = noise[value].snr_db
    lost = min(before) - own if before else math.nan
    return LayerError(value.name, node.op, own, lost if math.isfinite(lost) else math.nan)


def _output_error(value: Value, noise: _Noise) -> OutputError:
    return OutputError(
        value.name,
        noise.largest,
        noise.total / max(noise.count, 1),
        noise.snr_db,
        noise.same / noise.positions if noise.positions else math.nan,
    )


def _short(name: str, width: int = 44) -> str:
    """Converters join the names of all ops they fused; the ends tell most."""
    half = (width - 3) // 2
    return name if len(name) <= width else f"{name[:half]}...{name[-half:]}"


def _aligned(rows: list[list[str]]) -> list[str]:
    """First column left, the others right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _finite_only(item: Any) -> Any:
    if isinstance(item, dict):
        return {key: _finite_only(value) for key, value in item.items()}
    if isinstance(item, list):
        return [_finite_only(value) for value in item]
    if isinstance(item, float) and not math.isfinite(item):
        return None
    return item
