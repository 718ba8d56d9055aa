# SPDX-License-Identifier: Apache-2.0
"""Runs a source and what it was converted to side by side, and says how far they are apart."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from converter import ir
from converter.errors import ConversionError, InputsError
from converter.passes.quantized import keeps_numbers
from converter.reader import read_tflite
from converter.sources import Arrays, Source, run_tflite

TOLERANCE = 1e-4  # of the largest magnitude of an output
# Steps of 8-bit numbers that an output of few layers may be off: kernels round elsewhere.
QUANTIZED_STEPS = 2.0
_INTEGERS = ("INT16", "INT8", "UINT8")
_RANDOM = ("RANDOM_UNIFORM", "RANDOM_STANDARD_NORMAL", "MULTINOMIAL")
_LEAST = float(np.finfo(np.float32).tiny)  # engines may take smaller numbers for 0
_BEYOND = ("LIMIT", "NO_MEMORY")  # statuses of what is too large or too long
_OF_STEPS = ("FLOAT16", "FLOAT32", "FLOAT64", *_INTEGERS)


@dataclass(frozen=True)
class Difference:
    """One value on both sides: `error` is the largest difference, `scale` the largest magnitude
    that the source computed, both of finite elements. `remark` says what else is wrong. `allowed`
    is an error that is no departure: `steps` of the 8-bit numbers that the value comes from.
    `drawn` values come from random numbers, so that only shape and type can be compared; where no
    element is `finite`, there was nothing else to compare either.
    """

    name: str
    shape: tuple[int, ...]
    error: float
    scale: float
    remark: str = ""
    allowed: float = 0.0
    steps: float = 0.0
    drawn: bool = False
    finite: bool = True  # one element at least

    @property
    def relative(self) -> float:
        return self.error / self.scale if self.scale else self.error

    def agrees(self, tolerance: float = TOLERANCE) -> bool:
        if self.drawn:
            return not self.remark
        most = self.allowed + tolerance * self.scale if self.allowed else 0.0
        most = max(most, _LEAST)
        return not self.remark and (self.relative <= tolerance or self.error <= most)

    def __str__(self) -> str:
        shape = "x".join(map(str, self.shape)) or "scalar"
        if self.remark:
            return f"{self.name} ({shape}): {self.remark}"
        if self.drawn:
            return f"{self.name} ({shape}): drawn at random, of the source's shape and type"
        if not self.finite:
            return f"{self.name} ({shape}): NaN or infinite everywhere, on both sides"
        steps = f"; {self.steps:.2g} 8-bit steps ({self.allowed:.3g}) are allowed"
        return (
            f"{self.name} ({shape}): largest error {self.error:.3g}, "
            f"{self.relative:.2g} of the largest magnitude {self.scale:.3g}"
            f"{steps if self.allowed else ''}"
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
    if found.dtype != wanted.dtype and {found.dtype.kind, wanted.dtype.kind} - set("OSU"):
        return Difference(
            name, found.shape, 0, 0, f"is {found.dtype}, the source's is {wanted.dtype}"
        )
    if wanted.dtype.kind not in "fiubc":
        same = _texts(found) == _texts(wanted)
        remark = "" if same else "has other texts than the source's"
        return Difference(name, found.shape, 0, 0, remark)
    kind = np.complex128 if wanted.dtype.kind == "c" else np.float64
    left, right = found.astype(kind), wanted.astype(kind)
    finite = np.isfinite(right)
    if not np.array_equal(left[~finite], right[~finite], equal_nan=True):
        return Difference(name, found.shape, 0, 0, "is finite where the source's is not")
    if not np.isfinite(left[finite]).all():
        return Difference(name, found.shape, 0, 0, "is infinite or NaN where the source's is not")
    error = float(np.abs(left[finite] - right[finite]).max(initial=0))
    scale = float(np.abs(right[finite]).max(initial=0))
    return Difference(name, found.shape, error, scale, finite=bool(finite.any() or not right.size))


def _texts(array: np.ndarray) -> list[bytes]:
    """The texts of an array, of which some engines give str and others bytes."""
    return [t.encode() if isinstance(t, str) else bytes(t) for t in array.reshape(-1).tolist()]


def prove(
    source: Source,
    content: bytes,
    feeds: Mapping[str, np.ndarray],
    tolerance: float = TOLERANCE,
) -> Proof:
    """Run `source` and the .tflite `content` on `feeds` and compare every output.

    Raises ConversionError where one of them cannot run.
    """
    found, wanted = _run_both(source, content, feeds)
    model = read_tflite(content)
    steps = _steps_of_outputs(model) if source.rounds_to_8_bits else {}
    drawn = _drawn(model)
    ends = dict(zip(model.end_names()[1], model.main.outputs, strict=True))
    outputs = [
        replace(_within(compare(n, found[n], wanted[n]), steps.get(n)), drawn=ends.get(n) in drawn)
        for n in wanted
    ]
    return Proof(source.engine, outputs, tolerance, feeds=dict(feeds))


def _run_both(
    source: Source, content: bytes, feeds: Mapping[str, np.ndarray]
) -> tuple[Arrays, Arrays]:
    """Outputs of the file and of `source`, which does not run where integers are divided by zero:
    older versions of ONNX Runtime would end the process.
    """
    try:
        found = run_tflite(content, feeds)
    except InputsError:
        raise
    except ConversionError as error:
        if getattr(error.__cause__, "status", "") in _BEYOND:
            raise  # the source's engine may have no limit
        source.run(feeds)  # what it says of its own inputs goes before
        raise
    return found, source.run(feeds)


def _drawn(model: ir.Model) -> set[ir.Value | None]:
    """Values of the main graph that come from random numbers."""
    random = any(node.op in _RANDOM for graph in model.graphs for node in graph.nodes)
    calls = random and any(n.op in _RANDOM for graph in model.graphs[1:] for n in graph.nodes)
    found: set[ir.Value | None] = set()
    for node in model.main.nodes if random else ():
        draws = node.op in _RANDOM or (
            calls and any("subgraph_index" in key for key in node.options)
        )
        if draws or any(value in found for value in node.inputs if value is not None):
            found.update(node.outputs)
    return found


def _within(difference: Difference, steps: tuple[float, float] | None) -> Difference:
    """`difference` with what 8-bit numbers allow; see :func:`_steps`."""
    if steps is None or difference.remark:
        return difference
    count, size = steps
    return replace(difference, allowed=count * (size or difference.scale / 255), steps=count)


def _steps_of_outputs(model: ir.Model) -> dict[str, tuple[float, float]]:
    """See :func:`_steps`; by the names of the signature."""
    steps = _steps(model.main)
    ends = zip(model.end_names()[1], model.main.outputs, strict=True)
    return {name: steps[value] for name, value in ends if value in steps}


def _steps(graph: ir.Graph) -> dict[ir.Value, tuple[float, float]]:
    """How many steps the values computed from 8-bit numbers of a QUANTIZE may be off, and how large
    a step is: 0, for a 255th of the magnitude, where no DEQUANTIZE made the value.

    A value may be QUANTIZED_STEPS off, or the root of the number of roundings before it, each of
    which may fall to the other side.
    """
    roundings: dict[ir.Value, int] = {}  # bit i: node i rounds on the way here
    found: dict[ir.Value, tuple[float, float]] = {}
    for i, node in enumerate(graph.nodes):
        before = [roundings[v] for v in node.inputs if v is not None and v in roundings]
        if not before and node.op not in ("QUANTIZE", "ROUND"):
            continue
        kind = node.outputs[0].dtype
        rounds = node.op == "ROUND" or (kind in _INTEGERS and not keeps_numbers(node))
        here = functools.reduce(operator.or_, before, 1 << i if rounds else 0)
        x = node.inputs[0]
        size = 0.0
        if node.op == "DEQUANTIZE" and x is not None and x.quant is not None:
            size = float(x.quant.scale.max(initial=0))
        for value in node.outputs:
            roundings[value] = here
            if value.dtype in _INTEGERS:
                size = 1.0
            if value.dtype in _OF_STEPS:  # others are right or wrong: positions, conditions
                found[value] = max(QUANTIZED_STEPS, math.sqrt(here.bit_count())), size
    return found


def find_departure(proof: Proof, source: Source, model: ir.Model) -> Proof:
    """Set `proof.first_departure` to the first value, in the source's order, that `model` computes
    otherwise; where there is none but the proof failed, `proof.guilty_pass` to the rewrite that
    made the difference.

    `model` is the import before any pass, whose values have the source's names and layout.
    """
    from converter.writer import write_tflite

    content = write_tflite(model)
    computed = {value.name for value in model.main.values() if value.producer is not None}
    rounds = source.rounds_to_8_bits
    steps = {v.name: step for v, step in _steps(model.main).items()} if rounds else {}
    computed -= {value.name for value in _drawn(model) if value is not None}
    plain = {n: x for n, x in _intermediate(content, proof.feeds) if n in computed}
    for name, wanted in source.values(proof.feeds):
        if name not in plain:
            continue
        proof.compared_layers += 1
        difference = _within(compare(name, plain[name], wanted), steps.get(name))
        if not difference.agrees(proof.tolerance):
            proof.first_departure = difference
            return proof
    if not proof.passed:
        outputs = _steps_of_outputs(model) if rounds else {}
        proof.guilty_pass = _guilty_pass(model, run_tflite(content, proof.feeds), proof, outputs)
    return proof


def _guilty_pass(
    model: ir.Model, wanted: Arrays, proof: Proof, steps: Mapping[str, tuple[float, float]]
) -> str:
    """Name of the first pass after which an output departs; empty where none does."""
    from converter.passes import DEFAULT_PASSES, run_pass
    from converter.writer import write_tflite

    work = model.copy()
    fired = True
    while fired:
        fired = False
        for run in DEFAULT_PASSES:
            if not run_pass(work, run):
                continue
            fired = True
            found = run_tflite(write_tflite(work), proof.feeds)
            pairs = [_within(compare(n, found[n], x), steps.get(n)) for n, x in wanted.items()]
            if not all(pair.agrees(proof.tolerance) for pair in pairs):
                return run.__name__
    return ""


def _intermediate(
    content: bytes, feeds: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, np.ndarray]]:
    """Every computed tensor of the main graph by name, in the order of the file."""
    import runtime

    interpreter = runtime.Interpreter(model_content=content, experimental_preserve_all_tensors=True)
    interpreter(**feeds)
    for details in interpreter.get_tensor_details():
        try:
            yield details["name"], interpreter.get_tensor(details["index"])
        except (runtime.RilletError, ValueError):
            continue  # a constant of a type NumPy lacks, a handle
