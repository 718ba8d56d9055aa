# SPDX-License-Identifier: Apache-2.0
"""ONNX's backend suite: no case fails, and the list of refused ones can only shrink.

Every fifth node case and all others run by default; all of them with ``make conformance``, which
writes the counts into docs/conversion.md.
"""

from __future__ import annotations

import collections
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conformance import onnx_table
from conformance.onnx_backend import Outcome

_PASS = ("passed", "fixed")
_FEWEST_NODE_CASES = 1000  # that pass
_WORDS = {
    "passed": "pass",
    "fixed": "pass with inputs fixed",
    "unsupported": "refused",
    "failed": "failed",
}


def checked(outcomes: dict[str, list[Outcome]]) -> None:
    known = onnx_table.expected()
    failed = [o for found in outcomes.values() for o in found if o.status == "failed"]
    assert not failed, "\n".join(f"{o.case}: {o.reason}" for o in failed)
    fresh = {
        (kind, o.case): o.reason
        for kind, found in outcomes.items()
        for o in found
        if o.status == "unsupported" and (kind, o.case) not in known
    }
    assert not fresh, f"converted before, and no longer: {fresh}"


def test_a_fifth_of_the_suite():
    checked(onnx_table.all_outcomes(step=5))


@pytest.mark.slow
@pytest.mark.conformance
def test_the_whole_suite(counted):
    outcomes = onnx_table.all_outcomes()
    statuses = collections.Counter(o.status for found in outcomes.values() for o in found)
    counted("ONNX's backend suite", {words: statuses[s] for s, words in _WORDS.items()})
    checked(outcomes)
    assert sum(o.status in _PASS for o in outcomes["node"]) >= _FEWEST_NODE_CASES
    refused = {(k, o.case) for k, found in outcomes.items() for o in found
               if o.status == "unsupported"}  # fmt: skip
    converts_now = sorted(onnx_table.expected().keys() - refused)
    onnx_table.write_page(outcomes)
    assert not converts_now, f"these convert now: take them off the list: {converts_now}"


# Tensors without elements, which LiteRT reduces to the least finite number, or cannot be fed.
LITERT_WRONG = {
    "test_constantofshape_int_shape_zero",
    "test_reduce_max_empty_set",
    "test_reduce_min_empty_set",
    "test_reduce_sum_empty_set_non_reduced_axis_zero",
    "test_split_zero_size_splits_opset13",
    "test_split_zero_size_splits_opset18",
}


@pytest.mark.slow
@pytest.mark.conformance
@pytest.mark.parametrize("kind", ["node", "simple"])
def test_what_converts_runs_on_litert(kind, counted):
    """In a process of its own: where LiteRT crashes, the case that ran is the last one named."""
    script = Path(onnx_table.__file__).with_name("onnx_backend.py")
    command = [sys.executable, "-u", str(script), "--kind", kind, "--engine", "litert", "--name"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=script.parents[2])
    lines = done.stdout.splitlines()
    counts = {status: int(n) for n, status in re.findall(r"(\d+) (\w+)", "".join(lines[-1:]))}
    failed = [line for line in lines if line.startswith("failed")]
    fresh = [line for line in failed if line.split()[1].rstrip(":") not in LITERT_WRONG]
    told = {words: counts.get(s, 0) for s, words in _WORDS.items() if s != "failed"}
    told |= {"that LiteRT is known to get wrong": len(failed) - len(fresh), "failed": len(fresh)}
    counted("the same on LiteRT", told)
    assert not fresh, "\n".join(fresh)
    assert done.returncode in (0, 1), f"LiteRT died in {lines[-1:]}: {done.stderr[-500:]}"


def test_refusals_say_why_and_what_to_do():
    for (kind, case), reason in onnx_table.expected().items():
        assert len(reason.split()) >= 4, f"{kind} {case}: {reason!r}"
