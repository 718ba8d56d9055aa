# SPDX-License-Identifier: Apache-2.0
"""docs/numerics.md has a rule for every operator of the build."""

from __future__ import annotations

import re

from conformance.op_types import ROOT


def test_every_operator_has_its_rule() -> None:
    page = set(re.findall(r"\w+(?:\.\w+)?", (ROOT / "docs" / "numerics.md").read_text()))
    rows = (ROOT / "runtime" / "core" / "kernels.def").read_text()
    ops = re.findall(r'^RLT_(?:CUSTOM_|COMPOSITE_)?KERNEL\("?([\w.]+)"?,', rows, re.M)
    assert len(ops) > 170 and "rillet.gru" in ops
    assert [op for op in ops if op not in page] == []
