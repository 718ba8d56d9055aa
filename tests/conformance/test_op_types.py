# SPDX-License-Identifier: Apache-2.0
"""The list of operators and types that LiteRT runs and this runtime refuses can only shrink."""

from __future__ import annotations

import re
from unittest import mock

import numpy as np
import pytest
from conformance.op_types import HERE, ROOT, Case, ask, builders, litert_version, outputs, read_rows
from conformance.tables import UNLISTED
from single_op import error

import runtime
from converter.op_versions import op_version

ACCEPTED = read_rows("accepted.txt")
REFUSED = read_rows("refused.txt")
WRONG = read_rows("litert_wrong.txt")  # what both run and LiteRT gets wrong
BUILDERS = builders()
# Drawn from a generator of its own: only shapes and types can agree.
RANDOM = {"RANDOM_STANDARD_NORMAL", "RANDOM_UNIFORM", "MULTINOMIAL"}


def refusal(case: Case) -> str | None:
    """Our words on a case, None where it runs."""
    try:
        outputs("rillet", BUILDERS[case]())
    except runtime.RilletError as refused:
        assert refused.status == "UNSUPPORTED", f"{case}: {refused}"
        return str(refused)
    return None


def test_every_row_is_known() -> None:
    for op, types in {**ACCEPTED, **REFUSED}:
        assert types == UNLISTED or (op, types) in BUILDERS
    assert all(why for why in REFUSED.values())
    assert {case for case in REFUSED if case[1] != UNLISTED} <= set(ACCEPTED)
    assert set(WRONG) <= set(ACCEPTED) - set(REFUSED) and all(WRONG.values())


@pytest.mark.parametrize("op", sorted({op for op, _ in ACCEPTED}))
def test_nothing_else_is_refused(op: str) -> None:
    cases = [case for case in ACCEPTED if case[0] == op]
    refused = {case[1]: refusal(case) for case in cases if case not in REFUSED}
    assert {types: why for types, why in refused.items() if why} == {}


@pytest.mark.parametrize("op", sorted({op for op, _ in ACCEPTED} - {op for op, _ in REFUSED}))
def test_the_highest_version_opens(op: str) -> None:
    """What newer versions add are types, and those are refused one by one."""
    types, version = next((t, int(v)) for (o, t), v in ACCEPTED.items() if o == op)
    with mock.patch(
        "converter.writer.op_version", lambda n: version if n.op == op else op_version(n)
    ):
        model = BUILDERS[op, types]()
    assert outputs("rillet", model)


@pytest.mark.conformance
@pytest.mark.slow
def test_the_lists_are_what_running_tells(counted) -> None:
    """After a change `make operators` writes them anew; a row may leave refused.txt, none join."""
    litert, mine = ask("litert"), ask("rillet")
    accepted = {case for case, answer in litert.items() if answer.accepted}
    both = sum(mine[case].accepted for case in accepted)
    counted("operators x types", {"that LiteRT runs": len(accepted), "of them run here": both})
    assert accepted == set(ACCEPTED)
    crashed = {case: a.refusal for case, a in mine.items() if "crash" in (a.refusal or "")}
    assert crashed == {}
    found = {case for case in accepted if not mine[case].accepted}
    assert found == {case for case in REFUSED if case[1] != UNLISTED}


@pytest.mark.conformance
@pytest.mark.slow
@pytest.mark.parametrize("op", sorted({op for op, _ in ACCEPTED} - RANDOM))
def test_what_both_run_agrees(op: str, counted) -> None:
    apart, compared = {}, 0
    for case in ACCEPTED:
        if case[0] != op or case in REFUSED or case in WRONG:
            continue
        compared += 1
        model = BUILDERS[case]()
        for mine, wanted in zip(outputs("rillet", model), outputs("litert", model), strict=True):
            if not agrees(mine, wanted):
                apart[case[1]] = (mine, wanted)
    counted("their outputs", {"compared": compared, "differ": len(apart)})
    assert apart == {}


def agrees(mine: np.ndarray, wanted: np.ndarray) -> bool:
    """Integers equal; floats within what their type resolves."""
    if mine.dtype != wanted.dtype or mine.shape != wanted.shape:
        return False
    if wanted.dtype.kind == "f":
        return error(mine, wanted) <= {2: 2e-3}.get(wanted.dtype.itemsize, 1e-5)
    if wanted.dtype.kind == "c":
        return bool(np.allclose(mine, wanted, 1e-5, 1e-5, equal_nan=True))
    return bool(np.array_equal(mine, wanted))


@pytest.mark.conformance
@pytest.mark.slow
def test_the_page_tells_names_and_the_refused() -> None:
    page = (ROOT / "docs" / "operators.md").read_text()
    rows = (ROOT / "runtime" / "core" / "kernels.def").read_text()
    for name in re.findall(r'^RLT_\w+_KERNEL\("([^"]+)"', rows, re.M):
        assert f"`{name}`" in page, "run `make operators`"
    for (op, _), why in REFUSED.items():
        assert f"| {op} |" in page and why in page, f"{HERE.name}: run `make operators`"


@pytest.mark.conformance
@pytest.mark.slow
def test_litert_has_no_newer_version() -> None:
    """A newer LiteRT may register versions that this list does not know yet."""
    for op, types in dict(ACCEPTED.keys()).items():
        assert litert_version(op, BUILDERS[op, types]) == int(ACCEPTED[op, types]), op
