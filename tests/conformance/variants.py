# SPDX-License-Identifier: Apache-2.0
"""The rows of ``op_rows`` with other shapes, options and values than those written there.

hypothesis draws them; what this runtime takes is run on every instruction set of the machine with
1, 2 and 4 threads, whose bits must be the same, and compared with LiteRT. A case is worked through
in a process of its own making (``python -m conformance.variants``), because LiteRT may crash.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any
from unittest import mock

import numpy as np
from conformance import op_rows, state_rows, variant_rules
from conformance.op_types import HERE, ROOT, builders, read_rows
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from single_op import ISAS, Arg, OpModel, Out, error, litert_all, run_all, shapes_of, single_op

import runtime
from converter import read_tflite, schema, write_tflite

RECURRENT = {
    *["RNN", "UNIDIRECTIONAL_SEQUENCE_RNN", "BIDIRECTIONAL_SEQUENCE_RNN", "LSTM"],
    *["UNIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_LSTM", "SVDF"],
}
BOUND = 1e-5
# Where activations are quantized inside, a last bit of one may be a step of 1/127 of the next.
HYBRID_BOUND = 2e-2
FUSED_BOUND = 1e-4  # between loops that fuse multiplication and addition and those that do not
HALF_BOUND = 5e-3  # LiteRT's float16 loops round in the middle, some of them
LARGEST = 20_000  # elements of a tensor
THREADS = (1, 2, 4)
_SIZES = st.sampled_from([1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 31, 33, 65])
_ENUMS = {
    "ActivationFunctionType": ["NONE", "RELU", "RELU6", "RELU_N1_TO_1"],
    "Padding": ["SAME", "VALID"],
    "MirrorPadMode": ["REFLECT", "SYMMETRIC"],
    "CombinerType": ["SUM", "MEAN", "SQRTN"],
}
# Options by the first part of their names that matches. Others stay as the row has them: they name
# types, subgraphs or counts that go with the inputs.
_OPTIONS: list[tuple[str, st.SearchStrategy[Any]]] = [
    ("stride", st.integers(1, 3)),
    ("dilation", st.integers(1, 3)),
    ("filter", st.integers(1, 4)),
    ("block_size", st.integers(1, 3)),
    ("axis", st.integers(-4, 3)),
    ("batch_dim", st.integers(0, 2)),
    ("seq_dim", st.integers(0, 2)),
    ("begin_mask", st.integers(0, 7)),
    ("end_mask", st.integers(0, 7)),
    ("ellipsis_mask", st.sampled_from([0, 0, 1, 2, 4])),
    ("new_axis_mask", st.sampled_from([0, 0, 1, 2])),
    ("shrink_axis_mask", st.integers(0, 7)),
    ("radius", st.integers(0, 4)),
    ("alpha", st.sampled_from([0.0, 0.1, 0.25, -0.3, 1.5])),
    ("beta", st.sampled_from([0.5, 1.0, 2.0])),
    ("num_bits", st.integers(2, 16)),
]


class Rejected(Exception):
    """A variant that is none: too large, or refused."""


@dataclass
class Seen:
    """What became of the variants of a case."""

    types: str
    compared: int = 0
    shapes: list[str] = field(default_factory=list)  # of the inputs, those compared
    options: list[str] = field(default_factory=list)
    apart: str = ""  # the smallest variant that does not agree, and how


@dataclass
class Variant:
    """Draws what a row does not fix. Dimensions written alike get one size."""

    data: st.DataObject
    op: str
    seed: int = 0
    sizes: dict[int, int] = field(default_factory=dict)
    shapes: str = ""  # of the inputs, in words
    chosen: str = ""  # the options
    is_wrong: bool = False  # LiteRT's numbers are

    def size(self, written: int) -> int:
        if written not in self.sizes:
            few = st.integers(1, 9)  # a last bit grows from step to step of a recurrence
            other = few if self.op in RECURRENT else st.just(1) if written == 1 else _SIZES
            self.sizes[written] = self.data.draw(st.one_of(st.just(written), other))
        return self.sizes[written]

    def values(self, type_: str, shape: Any, low: float = -4, high: float = 5) -> np.ndarray:
        """``op_rows.values`` of another shape and other numbers."""
        shape = tuple(self.size(dim) for dim in np.atleast_1d(np.asarray(shape, int)))
        if math.prod(shape) > LARGEST:
            raise Rejected
        with mock.patch("zlib.crc32", lambda text: hash((self.seed, len(text))) & 0xFFFFFFFF):
            held = _values(type_, shape, low, high)
        if self.op in RECURRENT and type_ in ("INT8q", "UINT8q"):
            held[held.view(np.int8) == -128] += 1  # of these LiteRT's sums overflow 16 bits
        return held

    def options(self, op: str, written: dict[str, Any]) -> dict[str, Any]:
        """Some options drawn anew, the others as written."""
        table = schema.options_of(op)
        drawn = dict(written)
        for option in schema.fields(table) if table else ():
            strategy = strategy_of(op, option)
            if strategy is not None and self.data.draw(st.booleans()):
                drawn[option.name] = self.data.draw(strategy)
        return drawn

    def single_op(self, op: str, args: Any, outs: Any, **options: Any) -> OpModel:
        """``single_op`` with drawn options, outputs in the shapes they get; Rejected where this
        runtime refuses the model."""
        for arg in args:
            if isinstance(arg, Arg) and np.ndim(arg.scale) and np.size(arg.scale) > 1:
                arg.scale = np.resize(arg.scale, arg.value.shape[arg.axis])
        for out in [outs] if isinstance(outs, Out) else outs:
            out.shape = None
        options = self.options(op, options)
        if op in variant_rules.FITTING:
            variant_rules.FITTING[op](self.data.draw, args, options)
        model = single_op(op, args, outs, **options)
        if not shapes_of(model.content):
            raise Rejected
        self.is_wrong = variant_rules.litert_is_wrong(op, args, options)
        self.shapes = f"{[told(arg) for arg in args if isinstance(arg, Arg)]}"
        self.chosen = f"{options}"
        return model


_values = op_rows.values


def told(arg: Arg) -> Any:
    """An input's shape, or its value where it has no dimensions."""
    return list(arg.value.shape) or arg.value.item()


def strategy_of(op: str, option: schema.Field) -> st.SearchStrategy[Any] | None:
    """What may be drawn for an option, None for nothing else than what is written."""
    if option.name == "pot_scale_int16":  # other scales than the rows have: LiteRT aborts
        return None
    if option.name == "offset":  # LiteRT forgets the end mask then, or aborts
        return None
    if op == "CONCATENATION" and option.type == "ActivationFunctionType":
        return None  # refused
    if op in RECURRENT and option.type == "ActivationFunctionType":
        return st.sampled_from(["TANH", "RELU"])  # without any, LiteRT's LSTMs are wrong
    if option.type == "bool":
        return st.booleans()
    if option.kind == "enum":
        return st.sampled_from(_ENUMS[option.type]) if option.type in _ENUMS else None
    if option.kind != "scalar":
        return None
    return next((s for name, s in _OPTIONS if option.name.startswith(name)), None)


def same_bits(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(a.shape == b.shape and a.dtype == b.dtype and _bits(a) == _bits(b) for a, b in pairs)


def _bits(array: np.ndarray) -> Any:
    return array.tolist() if array.dtype.kind == "O" else array.tobytes()


def apart(model: OpModel, bound: float, alone: bool) -> str:
    """How the runtime's own runs, or unless `alone` it and LiteRT, differ; empty if they do not.

    Rejected where either refuses the model's values, or LiteRT the model.
    """
    try:
        found = run_all(model)
    except runtime.RilletError as refused:
        raise Rejected from refused
    for isa in ISAS:
        one = run_all(model, 1, isa)
        if not near(found, one, FUSED_BOUND):
            return f"{isa} is apart: {difference(one, found)}"
        for threads in THREADS[1:]:
            if not same_bits(one, run_all(model, threads, isa)):
                return f"{isa} with {threads} threads gives other bits"
    if alone:
        return ""
    try:
        wanted = litert_all(model)
    except (RuntimeError, ValueError) as refused:
        raise Rejected from refused
    if near(found, wanted, bound) or near_unclipped(found, wanted, bound, model):
        return ""
    return beside_reference(found, wanted, model)


def is_exact(arrays: list[np.ndarray]) -> bool:
    return all(array.dtype.kind not in "fc" for array in arrays)


def near(found: list[np.ndarray], wanted: list[np.ndarray], bound: float = BOUND) -> bool:
    """Integers and texts equal, floats within a bound of the largest magnitude."""
    return all(distance(a, b) <= bound for a, b in zip(found, wanted, strict=True))


def near_unclipped(
    found: list[np.ndarray], wanted: list[np.ndarray], bound: float, model: OpModel
) -> bool:
    """Whether floats that a fused activation clips are near beside what they were before: a sum of
    hundreds does not round finer because only -1 to 1 is left of it."""
    whole = read_tflite(model.content)
    options = whole.main.nodes[-1].options
    if is_exact(found) or options.get("fused_activation_function", "NONE") == "NONE":
        return False
    options["fused_activation_function"] = "NONE"
    sums = run_all(OpModel(write_tflite(whole), model.feeds))
    return all(
        a.shape == b.shape and np.abs(a - b).max(initial=0) <= bound * np.abs(c).max(initial=0)
        for a, b, c in zip(found, wanted, sums, strict=True)
    )


def distance(found: np.ndarray, wanted: np.ndarray) -> float:
    """0 for equal integers and texts, inf for others; of floats the error over the largest
    magnitude, of which what float16 does not resolve counts for nothing."""
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        return math.inf
    if found.dtype.kind == "c":
        return max(distance(found.real, wanted.real), distance(found.imag, wanted.imag))
    if found.dtype.kind != "f":
        return 0.0 if np.array_equal(found, wanted) else math.inf
    far = error(found, wanted)
    return 0.0 if found.dtype == np.float16 and far <= HALF_BOUND else far


def difference(found: list[np.ndarray], wanted: list[np.ndarray]) -> str:
    """The outputs that are not near, in words."""
    words = []
    for a, b in zip(found, wanted, strict=True):
        if a.shape != b.shape or a.dtype != b.dtype:
            words.append(f"{a.dtype} {list(a.shape)} for {b.dtype} {list(b.shape)}")
        elif distance(a, b) > BOUND:
            there = (a != b) & ~((a != a) & (b != b))
            pairs = f"{a[there][:3].tolist()} for {b[there][:3].tolist()}"
            words.append(f"{a.dtype} {list(a.shape)}: {there.sum()} differ, {pairs}")
    return "; ".join(words)


def beside_reference(found: list[np.ndarray], wanted: list[np.ndarray], model: OpModel) -> str:
    """What is wrong with outputs that are not near; nothing is with floats where LiteRT's own two
    paths are half as far apart."""
    words = difference(found, wanted)
    try:
        other = litert_all(model, reference=True)
    except (RuntimeError, ValueError):
        return words
    gap = max(distance(a, b) for a, b in zip(other, wanted, strict=True))
    if not is_exact(found) and near(found, wanted, 2 * gap):
        return ""
    return f"{words}; LiteRT's reference kernel {'agrees' if near(found, other) else 'does not'}"


def search(op: str, types: str, examples: int) -> Seen:
    """Runs variants of a case until one differs or there are enough."""
    build, seen = builders()[op, types], Seen(types)
    is_hybrid = op in RECURRENT and types.startswith("FLOAT32") and "INT8q" in types
    bound = HYBRID_BOUND if is_hybrid else BOUND
    shapes: dict[str, None] = {}
    options: dict[str, None] = {}

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def work(data: st.DataObject) -> None:
        variant = Variant(data, op, data.draw(st.integers(0, 999)))
        try:
            with (
                mock.patch.object(op_rows, "values", variant.values),
                mock.patch.object(state_rows, "values", variant.values),
                mock.patch.object(op_rows, "single_op", variant.single_op),
            ):
                model = build()
            variant.shapes = variant.shapes or f"{variant.sizes}"
            print(json.dumps({"trying": f"{variant.shapes} {variant.chosen}"}), flush=True)
            words = apart(model, bound, variant.is_wrong)
        except (Rejected, ValueError, IndexError, TypeError):
            return
        seen.compared += 1
        shapes[variant.shapes] = options[variant.chosen] = None
        seen.apart = f"{variant.shapes} {variant.chosen}: {words}" if words else ""
        assert not words

    with contextlib.suppress(AssertionError):
        work()
    seen.shapes, seen.options = list(shapes), list(options)
    return seen


def cases_of(op: str) -> list[str]:
    """Types of an operator that both run, and where LiteRT's numbers are right."""
    left_out = {**read_rows("refused.txt"), **read_rows("litert_wrong.txt")}
    accepted = read_rows("accepted.txt")
    return [types for o, types in accepted if o == op and (o, types) not in left_out]


def ask(op: str, types: Iterable[str], examples: int) -> list[Seen]:
    """`search` for every combination of types, in another process; a crash is told in `apart`."""
    left, found = list(types), []
    paths = os.pathsep.join(map(str, (ROOT, HERE.parent, HERE.parent / "runtime")))
    while left:
        done = subprocess.run(
            [sys.executable, "-m", "conformance.variants", op, str(examples), *left],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": paths},
            check=False,
        )
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        results = [Seen(**line) for line in lines if "types" in line]
        found += results
        left = left[len(results) :]
        if left:
            trying = [line["trying"] for line in lines if "trying" in line]
            words = f"exit status {done.returncode} in {trying[-1:]} {done.stderr[-300:]}"
            found.append(Seen(left.pop(0), apart=words))
    return found


if __name__ == "__main__":
    for chosen in sys.argv[3:]:
        print(json.dumps(asdict(search(sys.argv[1], chosen, int(sys.argv[2])))), flush=True)
