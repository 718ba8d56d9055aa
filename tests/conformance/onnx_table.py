# SPDX-License-Identifier: Apache-2.0
"""What ONNX's backend suite says of the importer: docs/conversion.md and onnx_unsupported.txt.

    PYTHONPATH=.:tests python -m conformance.onnx_table

runs every case and writes both; ``make conformance`` does so too, and fails where a case that
converted before no longer does.
"""

from __future__ import annotations

import collections
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from conformance import onnx_backend
from conformance.onnx_backend import Outcome

HERE = Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs" / "conversion.md"
LIST = HERE / "onnx_unsupported.txt"
_BEGIN, _END = "<!-- counts: begin -->", "<!-- counts: end -->"
_HEAD = """# Cases of ONNX's backend suite that have no form here: kind, case, reason.
# Written by `python -m conformance.onnx_table`. This list can only shrink.
"""


def all_outcomes(step: int = 1) -> dict[str, list[Outcome]]:
    """By kind: every `step`-th node case, all others."""
    found = {}
    for kind in onnx_backend.KINDS:
        cases = onnx_backend.cases(kind)
        found[kind] = [onnx_backend.outcome(c) for c in cases[:: step if kind == "node" else 1]]
    return found


def short(reason: str) -> str:
    """A reason without names of cases, nodes, types and places, to count by."""
    text = onnx_backend.family(reason)
    if text.startswith("onnx cannot read"):
        return "the case itself needs sequences as inputs"
    text = re.sub(r"^(input '...'|output '...'|Cast|CastLike) has elements of (\w+),.*",
                  r"elements of \2, which devices lack", text)  # fmt: skip
    text = re.sub(r"^input '...' is of kind (\w+),.*", r"an input that is of kind \1", text)
    return text


def expected() -> dict[tuple[str, str], str]:
    """(kind, case): reason, as the list has them."""
    rows = {}
    for line in LIST.read_text().splitlines():
        if line and not line.startswith("#"):
            kind, case, reason = line.split(" ", 2)
            rows[kind, case] = reason
    return rows


def write_list(outcomes: dict[str, list[Outcome]]) -> None:
    lines = [
        f"{kind} {o.case} {short(o.reason)}"
        for kind, found in outcomes.items()
        for o in found
        if o.status == "unsupported"
    ]
    LIST.write_text(_HEAD + "\n".join(lines) + "\n")


def write_page(outcomes: dict[str, list[Outcome]]) -> None:
    """Put the counts between their marks in the page."""
    before, rest = PAGE.read_text().split(_BEGIN)
    _, after = rest.split(_END)
    PAGE.write_text(f"{before}{_BEGIN}\n{_tables(outcomes)}\n{_END}{after}")


def _tables(outcomes: dict[str, list[Outcome]]) -> str:
    import onnx

    lines = [
        f"ONNX {onnx.__version__}, opsets up to {onnx.defs.onnx_opset_version()}:",
        "",
        "| cases | all | pass | pass with inputs fixed | refused with a reason | failed |",
        "|---|---|---|---|---|---|",
    ]
    for kind, found in outcomes.items():
        lines.append(f"| {_KINDS[kind]} | {_counts(found)} |")
    lines.append(f"| together | {_counts([o for found in outcomes.values() for o in found])} |")
    reasons: collections.Counter[str] = collections.Counter(
        short(o.reason) for found in outcomes.values() for o in found if o.status == "unsupported"
    )
    lines += ["", "The refused ones by reason:", "", "| cases | reason |", "|---|---|"]
    lines += [f"| {n} | {_cell(reason)} |" for reason, n in reasons.most_common()]
    return "\n".join(lines)


_KINDS = {"node": "node", "simple": "simple models", "real": "light models of networks"}


def _counts(found: Sequence[Outcome]) -> str:
    counts = collections.Counter(o.status for o in found)
    columns = [counts[s] for s in ("passed", "fixed", "unsupported", "failed")]
    return " | ".join(map(str, [len(found), *columns]))


def _cell(reason: str) -> str:
    return reason.replace("|", "\\|")


def main() -> int:
    """Run everything; exit code 1 where a case failed."""
    outcomes = all_outcomes()
    write_list(outcomes)
    write_page(outcomes)
    every = [o for found in outcomes.values() for o in found]
    print(_counts(every))
    return 1 if any(o.status == "failed" for o in every) else 0


if __name__ == "__main__":
    sys.exit(main())
