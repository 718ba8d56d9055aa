# SPDX-License-Identifier: Apache-2.0
"""Runs a source and what it was converted to side by side, and says how far they are apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from converter import ir
from converter.sources import Arrays, Source, run_tflite

TOLERANCE = 1e-4  # of the largest magnitude of an output


@dataclass(frozen=True)
class Difference:
    """One value on both sides: `error` is the largest difference, `scale` the largest magnitude
    that the source computed, both of finite elements. `remark` says what else is wrong.
    """

    name: str
    shape: tuple[int, ...]
    error: float
    scale: float
    remark: str = ""

    @property
    def relative(self) -> float:
        return self.error / self.scale if self.scale else self.error

    def agrees(self, tolerance: float = TOLERANCE) -> bool:
        return not self.remark and self.relative <= tolerance

    def __str__(self) -> str:
        shape = "x".join(map(str, self.shape)) or "scalar"
        if self.remark:
            return f"{self.name} ({shape}): {self.remark}"
        return (
            f"{self.name} ({shape}): largest error {self.error:.3g}, "
            f"{self.relative:.2g} of the largest magnitude {self.scale:.3g}"
        )


@dataclass
class Proof:
    """What the comparison found. `first_departure` and `guilty_pass` are set by
    :func:`find_departure`.
    """

    engine: str
    outputs: list[Difference]
    tolerance: float = TOLERANCE
    first_departure: Difference | None = None
    guilty_pass: str = ""
    compared_layers: int = 0
    feeds: Arrays = field(default_factory=dict, repr=False)

    @property
    def passed(self) -> bool:
        return all(output.agrees(self.tolerance) for output in self.outputs)

    def __str__(self) -> str:
        lines = [f"compared with {self.engine}:"]
        lines += [
            f"  {'ok ' if output.agrees(self.tolerance) else 'BAD'} {output}"
            for output in self.outputs
        ]
        if self.first_departure is not None:
            lines.append(f"  the first layer that departs: {self.first_departure}")
        elif self.guilty_pass:
            lines.append(f"  every layer agrees until the rewrite {self.guilty_pass}")
        elif self.compared_layers:
            lines.append(f"  no layer departs ({self.compared_layers} compared)")
        return "\n".join(lines)


def compare(name: str, found: np.ndarray, wanted: np.ndarray) -> Difference:
    """How far `found` is from `wanted`. Infinities and NaN must stand in the same places."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    if found.shape != wanted.shape:
        remark = f"is of shape {list(found.shape)}, the source's of {list(wanted.shape)}"
        return Difference(name, found.shape, 0, 0, remark)
    if found.dtype != wanted.dtype:
        return Difference(
            name, found.shape, 0, 0, f"is {found.dtype}, the source's is {wanted.dtype}"
        )
    if wanted.dtype.kind not in "fiubc":
        remark = "" if (found == wanted).all() else "has other texts than the source's"
        return Difference(name, found.shape, 0, 0, remark)
    kind = np.complex128 if wanted.dtype.kind == "c" else np.float64
    left, right = found.astype(kind), wanted.astype(kind)
    finite = np.isfinite(right)
    if not np.array_equal(left[~finite], right[~finite], equal_nan=True):
        return Difference(name, found.shape, 0, 0, "is finite where the source's is not")
    if not np.isfinite(left[finite]).all():
        return Difference(name, found.shape, 0, 0, "is infinite or NaN where the source's is not")
    error = float(np.abs(left[finite] - right[finite]).max(initial=0))
    return Difference(name, found.shape, error, float(np.abs(right[finite]).max(initial=0)))


def prove(
    source: Source,
    content: bytes,
    feeds: Mapping[str, np.ndarray],
    tolerance: float = TOLERANCE,
) -> Proof:
    """Run `source` and the .tflite `content` on `feeds` and compare every output.

    Raises ConversionError where one of them cannot run.
    """
    wanted = source.run(feeds)
    found = run_tflite(content, feeds)
    outputs = [compare(name, found[name], wanted[name]) for name in wanted]
    return Proof(source.engine, outputs, tolerance, feeds=dict(feeds))


def find_departure(proof: Proof, source: Source, model: ir.Model) -> Proof:
    """Set `proof.first_departure` to the first value, in the source's order, that `model` computes
    otherwise; where there is none but the proof failed, `proof.guilty_pass` to the rewrite that
    made the difference.

    `model` is the import before any pass, whose values have the source's names and layout.
    """
    from converter.writer import write_tflite

    content = write_tflite(model)
    computed = {value.name for value in model.main.values() if value.producer is not None}
    plain = {n: x for n, x in _intermediate(content, proof.feeds) if n in computed}
    for name, wanted in source.values(proof.feeds):
        if name not in plain:
            continue
        proof.compared_layers += 1
        difference = compare(name, plain[name], wanted)
        if not difference.agrees(proof.tolerance):
            proof.first_departure = difference
            return proof
    if not proof.passed:
        proof.guilty_pass = _guilty_pass(model, run_tflite(content, proof.feeds), proof)
    return proof


def _guilty_pass(model: ir.Model, wanted: Arrays, proof: Proof) -> str:
    """Name of the first pass after which an output departs; empty where none does."""
    from converter.passes import DEFAULT_PASSES
    from converter.writer import write_tflite

    work = model.copy()
    fired = True
    while fired:
        fired = False
        for run in DEFAULT_PASSES:
            if not sum(run(graph) for graph in work.graphs):
                continue
            fired = True
            found = run_tflite(write_tflite(work), proof.feeds)
            if not all(compare(n, found[n], x).agrees(proof.tolerance) for n, x in wanted.items()):
                return run.__name__
    return ""


def _intermediate(
    content: bytes, feeds: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, np.ndarray]]:
    """Every computed tensor of the main graph by name, in the order of the file."""
    import runtime

    interpreter = runtime.Interpreter(model_content=content, experimental_preserve_all_tensors=True)
    interpreter.get_signature_runner()(**feeds)
    for details in interpreter.get_tensor_details():
        try:
            yield details["name"], interpreter.get_tensor(details["index"])
        except (runtime.RilletError, ValueError):
            continue  # a constant of a type NumPy lacks, a handle
