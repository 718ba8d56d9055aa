# SPDX-License-Identifier: Apache-2.0
"""Operators x types x shapes and options x instruction sets x threads, against LiteRT."""

from __future__ import annotations

import pytest
from conformance import variants
from conformance.op_types import read_rows

OPS = [op for op in sorted({op for op, _ in read_rows("accepted.txt")}) if variants.cases_of(op)]
EXAMPLES = 16
# These say nothing of more than one.
NO_SHAPES = {
    "RANK",
    "CALL_ONCE",
    "HASHTABLE",
    "HASHTABLE_IMPORT",
    "HASHTABLE_FIND",
    "HASHTABLE_SIZE",
}
# LiteRT aborts on some variants of these, which a process of their own survives.
CRASHING: set[str] = set()


def few(op: str) -> list[str]:
    """One combination of types with floats and one of integers."""
    cases = variants.cases_of(op)
    integers = [types for types in cases if "FLOAT" not in types and "COMPLEX" not in types]
    return list(dict.fromkeys([cases[0], *integers[-1:]]))


@pytest.mark.conformance
@pytest.mark.parametrize("op", OPS)
def test_some_variants_agree(op: str) -> None:
    for types in few(op):
        assert variants.search(op, types, 4).apart == "", types


@pytest.mark.slow
@pytest.mark.conformance
@pytest.mark.parametrize("op", OPS)
def test_variants_agree(op: str, counted) -> None:
    seen = variants.ask(op, variants.cases_of(op), EXAMPLES)
    compared, differ = sum(one.compared for one in seen), sum(one.apart != "" for one in seen)
    counted("the same in other shapes and options", {"compared": compared, "differ": differ})
    assert [f"{one.types}: {one.apart}" for one in seen if one.apart] == []
    if op not in NO_SHAPES:
        assert [one.types for one in seen if len(one.shapes) < 2] == []
