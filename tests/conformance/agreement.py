# SPDX-License-Identifier: Apache-2.0
"""How many output values are LiteRT's: of its default path and of its reference kernels.

``make agreement`` runs every public model beside the repository and the op-sized model of every
operator and combination of types on Rillet and on both, and writes docs/agreement.md.
"""

from __future__ import annotations

import json
import math
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter as LiteRT
from ai_edge_litert.interpreter import OpResolverType
from conformance.op_types import ROOT, Build, Case, ask_workers, read_rows, work
from single_op import litert_all, run_all
from test_zoo_models import MODELS, outputs
from zoo import zoo_folder

import runtime
from benchmarks.beside_litert import in_builtin_operators

WANTED = 2000  # values of a public model, over as many runs as that takes
MOST_RUNS = 100
RANDOM = {"RANDOM_STANDARD_NORMAL", "RANDOM_UNIFORM", "MULTINOMIAL"}


@dataclass
class Tally:
    """Values of one kind compared with one peer."""

    values: int = 0
    same: int = 0
    error: float = 0.0  # of floats, over the largest magnitude

    def add(self, found: np.ndarray, wanted: np.ndarray) -> None:
        self.values += wanted.size
        if found.shape != wanted.shape or found.dtype != wanted.dtype:
            self.error = math.inf
            return
        equal = found == wanted
        if wanted.dtype.kind in "fc":
            equal |= np.isnan(found) & np.isnan(wanted)
            there = np.isfinite(wanted) & np.isfinite(found)
            largest = float(np.abs(wanted[there]).max(initial=0.0)) or 1.0
            apart = np.abs(found[there] - wanted[there]).max(initial=0.0)
            self.error = max(self.error, float(apart) / largest)
        self.same += int(np.asarray(equal).sum())

    def join(self, other: Tally) -> None:
        self.values += other.values
        self.same += other.same
        self.error = max(self.error, other.error)

    def __str__(self) -> str:
        if not self.values:
            return "-"
        share = 100 * self.same / self.values
        return "all" if self.same == self.values else f"{min(share, 99.99):.2f}%"


PEERS = ("default", "reference")
Tallies = dict[str, dict[str, Tally]]  # "integer" or "float" -> peer


def empty() -> Tallies:
    return {kind: {peer: Tally() for peer in PEERS} for kind in ("integer", "float")}


def tally(tallies: Tallies, peer: str, found: Any, wanted: Any) -> None:
    for a, b in zip(found, wanted, strict=True):
        tallies["float" if b.dtype.kind in "fc" else "integer"][peer].add(a, b)


# ---- public models ----


def litert(content: bytes, peer: str) -> LiteRT:
    resolver = {"default": OpResolverType.AUTO, "reference": OpResolverType.BUILTIN_REF}[peer]
    return LiteRT(model_content=content, num_threads=1, experimental_op_resolver_type=resolver)


def of_model(path: Path) -> tuple[Tallies, float, int]:
    """Tallies, how far LiteRT's two paths are apart in floats, and the number of runs."""
    content, tallies, gap = in_builtin_operators(path), empty(), Tally()
    mine = runtime.Interpreter(path)
    peers = {peer: litert(content, peer) for peer in PEERS}
    values, runs = 0, 0
    while values < WANTED and runs < MOST_RUNS:
        found = outputs(mine, seed=2024 + runs)
        theirs = {peer: outputs(it, seed=2024 + runs) for peer, it in peers.items()}
        for peer, wanted in theirs.items():
            tally(tallies, peer, found, wanted)
        for a, b in zip(theirs["reference"], theirs["default"], strict=True):
            if b.dtype.kind == "f":
                gap.add(a, b)
        values += sum(array.size for array in found)
        runs += 1
    return tallies, gap.error, runs


def model_rows() -> Iterable[str]:
    for path in MODELS:
        tallies, gap, runs = of_model(path)
        kind = "integer" if tallies["integer"]["default"].values else "float"
        default, reference = (tallies[kind][peer] for peer in PEERS)
        errors = [f"{t.error:.1e}" for t in (default, reference)] + [f"{gap:.1e}"]
        cells = [path.stem, kind, f"{default.values:,}", str(runs), str(default), str(reference)]
        yield row([*cells, *(errors if kind == "float" else ["", "", ""])])


# ---- operators ----


def of_case(case: Case, build: Build) -> Any:
    """Tallies of an op-sized model as JSON; None where one of the runtimes refuses it."""
    left_out = {**read_rows("refused.txt"), **read_rows("litert_wrong.txt")}
    if case not in read_rows("accepted.txt") or case in left_out or case[0] in RANDOM:
        return None
    model, tallies = build(), empty()
    found = [array for array in run_all(model) if array.dtype.kind != "O"]
    for peer in PEERS:
        try:
            wanted = litert_all(model, reference=peer == "reference")
        except (RuntimeError, ValueError):
            continue
        tally(tallies, peer, found, [array for array in wanted if array.dtype.kind != "O"])
    return {kind: {p: asdict(t) for p, t in peers.items()} for kind, peers in tallies.items()}


def by_operator() -> dict[str, tuple[int, Tallies]]:
    """Operator -> combinations of types and their tallies, added up."""
    found: dict[str, tuple[int, Tallies]] = defaultdict(lambda: (0, empty()))
    for (op, types), answer in ask_workers("conformance.agreement").items():
        if isinstance(answer, str):
            raise RuntimeError(f"{op} {types}: {answer}")
        if answer is None:
            continue
        count, tallies = found[op]
        for kind, peers in answer.items():
            for peer, numbers in peers.items():
                tallies[kind][peer].join(Tally(**numbers))
        found[op] = (count + 1, tallies)
    return found


def exceptions(found: dict[str, tuple[int, Tallies]]) -> str:
    """Operators whose integers are not all the default path's, in words."""
    tallies = {op: tallies["integer"]["default"] for op, (_, tallies) in sorted(found.items())}
    apart = [
        f"{op} {t.values - t.same} of {t.values}" for op, t in tallies.items() if t.values > t.same
    ]
    if apart:
        return f"Integers that differ from the default path's: {', '.join(apart)}."
    return "All integers have the bits of the default path."


def operator_rows(found: dict[str, tuple[int, Tallies]]) -> Iterable[str]:
    for op, (count, tallies) in sorted(found.items()):
        integers, floats = tallies["integer"], tallies["float"]
        cells = [op, str(count), f"{integers['default'].values:,}"]
        cells += [str(integers[peer]) for peer in PEERS]
        cells += [f"{floats['default'].values:,}", *(str(floats[peer]) for peer in PEERS)]
        cells += [f"{floats['default'].error:.1e}" if floats["default"].values else ""]
        yield row(cells)


# ---- the page ----


def row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


_PAGE = """\
# How far results are LiteRT's

Written by `make agreement` on x86-64 ({isa}), beside ai-edge-litert {version}: how many output
values are the same bits as those of LiteRT's default path (XNNPACK and its optimized kernels) and
of its reference kernels (`BUILTIN_REF`). An error is the largest difference over the largest
magnitude. On other processors integers are the same, and floats as [targets.md](targets.md) says;
the formulas are in [numerics.md](numerics.md).

## Public models

Random inputs: normal floats, integers over the whole type. "Own gap" is how far LiteRT's two paths
are apart. Convolution2DTransposeBias, for which LiteRT has no kernel, is rewritten there as
TRANSPOSE_CONV with a bias.

{models_head}
{models}

Integers have the bits of the default path where the table says "all". LiteRT's reference kernels
round in fixed point where XNNPACK multiplies floats, so about one value of 300 is another after
each layer. Floats are summed in another order than XNNPACK's, and the deeper the network the more
a last bit grows; the bound is 1e-5 or twice LiteRT's own gap
(`tests/runtime/test_zoo_models.py`). kws_ref_model_float32 has int8 weights: activations become
int8 on the way, where a last bit can be a step, and LiteRT's reference kernels take another range
for them.

## Operators

The op-sized models of `tests/conformance`, one per combination of types that both run, texts and
random numbers aside. A dash means that nothing was compared: the reference kernels refuse some
types.

{operators_head}
{operators}

{exceptions}

Combinations whose numbers LiteRT gets wrong are left out:

| operator | types | why |
|---|---|---|
{wrong}
"""
_MODELS = ["model", "outputs", "values", "runs", "as default", "as reference"]
_MODELS += ["error, default", "error, reference", "own gap"]
_OPERATORS = ["operator", "types", "integers", "as default", "as reference"]
_OPERATORS += ["floats", "as default", "as reference", "error, default"]


def head(columns: Sequence[str]) -> str:
    return f"{row(columns)}\n|{'---|' * len(columns)}"


def page() -> str:
    from importlib.metadata import version

    operators = by_operator()
    wrong = [row([op, types, why]) for (op, types), why in read_rows("litert_wrong.txt").items()]
    return _PAGE.format(
        isa=runtime.best_isa(),
        version=version("ai-edge-litert"),
        models="\n".join(model_rows()),
        operators="\n".join(operator_rows(operators)),
        exceptions=exceptions(operators),
        models_head=head(_MODELS),
        operators_head=head(_OPERATORS),
        wrong="\n".join(wrong),
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(int(sys.argv[2]), of_case)
    elif zoo_folder() is None:
        sys.exit("the public models are not here: set RILLET_ZOO to the folder that holds models/")
    else:
        (ROOT / "docs" / "agreement.md").write_text(page())
        print(json.dumps({"written": "docs/agreement.md"}))
