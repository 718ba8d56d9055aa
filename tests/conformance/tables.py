# SPDX-License-Identifier: Apache-2.0
"""Writes accepted.txt, refused.txt and docs/operators.md from what both runtimes answer."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

from conformance.op_types import (
    HERE,
    ROOT,
    Answer,
    Case,
    ask,
    builders,
    litert_version,
    read_rows,
    unlisted_ops,
)

_ACCEPTED = """\
# What LiteRT runs: operator | types | highest version it has registered. Made by `make operators`.
"""
_REFUSED = """\
# What LiteRT runs and this runtime refuses: operator | types | why. `make operators` drops rows
# that run by now and keeps the reasons of the others; a test holds that nothing else is refused.
"""
_PAGE = """\
# Operators and types

Written by `make operators`, which runs an op-sized model of every operator and combination of types
below on LiteRT and on Rillet; {accepted} of {offered} combinations run on LiteRT, {run} of these on
Rillet.

A type with a *q* has a scale; without it, the tensor holds plain integers. Where an operator takes
several types they stand in the order of its inputs (weights and bias behind the activations), then
its outputs. `a, b x c, d` stands for every pair. "Versions" are the operator versions LiteRT has
registered and Rillet implements.

| operator | versions | types |
|---|---|---|
{rows}

Any of these may write a tensor that the file declares a variable, at every run; the recurrent ones
update theirs themselves.

## Operators with names

CUSTOM with a kernel here:
{customs}.
Others are given by the program (`rlt_custom_op`, `custom_ops`), also in place of these.

STABLEHLO_COMPOSITE with a kernel here, of version 1 and FLOAT32:
{composites}.
Other composites, and these in other types, versions or options, run as the operators that they are
made of, which is what LiteRT does with all.

## Refused

What LiteRT runs and Rillet does not, and why. The list may only get shorter
(`tests/conformance/refused.txt`, held by `tests/conformance/test_op_types.py`).

| operator | types | why |
|---|---|---|
{refused}

Operators of the schema that are not on this page have no kernel in LiteRT either.
"""
UNLISTED = "*"


def refusals(litert: Mapping[Case, Answer], mine: Mapping[Case, Answer]) -> dict[Case, str]:
    """What LiteRT accepts and we do not, with our words."""
    return {
        case: mine[case].refusal or ""
        for case, answer in litert.items()
        if answer.accepted and not mine[case].accepted
    }


def _products(types: Iterable[str]) -> str:
    """Combinations of types as few products of sets."""
    rows = [tuple(t.split()) for t in types]
    if all(len(row) == 1 for row in rows):
        return ", ".join(row[0] for row in rows)
    parts = []
    for length in sorted({len(row) for row in rows}):
        parts += _factored([row for row in rows if len(row) == length], length)
    return "; ".join(parts)


def _factored(rows: list[tuple[str, ...]], length: int) -> list[str]:
    if length == 1:
        return [", ".join(row[0] for row in rows)]
    by_head: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for head, *rest in rows:
        by_head[head].append(tuple(rest))
    by_rest: dict[tuple[tuple[str, ...], ...], list[str]] = defaultdict(list)
    for head, rest in by_head.items():
        by_rest[tuple(rest)].append(head)
    return [
        f"{', '.join(heads)} x {tail}"
        for rests, heads in by_rest.items()
        for tail in _factored(list(rests), length - 1)
    ]


def _page(
    litert: Mapping[Case, Answer], refused: Mapping[Case, str], versions: Mapping[str, int]
) -> str:
    types: dict[str, list[str]] = defaultdict(list)
    for (op, names), answer in litert.items():
        if answer.accepted and (op, names) not in refused:
            types[op].append(names)
    rows = [f"| {op} | 1 to {versions[op]} | {_products(types[op])} |" for op in sorted(types)]
    reasons: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (op, names), why in refused.items():
        reasons[op, why].append(names)
    lines = [
        f"| {op} | {names[0] if names == [UNLISTED] else _products(names)} | {why} |"
        for (op, why), names in sorted(reasons.items())
    ]
    accepted = sum(answer.accepted for answer in litert.values())
    listed = sum(names != UNLISTED for _, names in refused)
    return _PAGE.format(
        accepted=accepted,
        offered=len(litert),
        run=accepted - listed,
        rows="\n".join(rows),
        refused="\n".join(lines) or "| none | | |",
        customs=_names("CUSTOM"),
        composites=_names("COMPOSITE"),
    )


def _names(kind: str) -> str:
    """Operators of the build that go by a name, in code style."""
    rows = (ROOT / "runtime" / "core" / "kernels.def").read_text()
    found = re.findall(rf'^RLT_{kind}_KERNEL\("([^"]+)"', rows, re.M)
    return ", ".join(f"`{name}`" for name in found)


def _rows(found: Mapping[Case, object]) -> str:
    return "".join(f"{op} | {types} | {words}\n" for (op, types), words in sorted(found.items()))


def main() -> None:
    """Asks both and writes the three files."""
    litert, mine, built = ask("litert"), ask("rillet"), builders()
    first = {op: types for (op, types), answer in reversed(litert.items()) if answer.accepted}
    versions = {op: litert_version(op, built[op, types]) for op, types in first.items()}
    known = read_rows("refused.txt") if (HERE / "refused.txt").exists() else {}
    refused = {case: known.get(case, why) for case, why in refusals(litert, mine).items()}
    for op in unlisted_ops():
        refused[op, UNLISTED] = known.get((op, UNLISTED), "no kernel, and no model of it here")
    accepted = {case: versions[case[0]] for case, answer in litert.items() if answer.accepted}
    (HERE / "accepted.txt").write_text(_ACCEPTED + _rows(accepted))
    (HERE / "refused.txt").write_text(_REFUSED + _rows(refused))
    (ROOT / "docs" / "operators.md").write_text(_page(litert, refused, versions))
    print(f"{len(accepted)} accepted, {len(refused)} of them refused here")


if __name__ == "__main__":
    main()
