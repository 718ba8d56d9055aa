# SPDX-License-Identifier: Apache-2.0
"""What the comparisons counted, said at the end of a run."""

from __future__ import annotations

import collections
from collections.abc import Callable

import pytest

_COUNTED = "counted"


@pytest.fixture
def counted(record_property) -> Callable[[str, dict[str, int]], None]:
    """``counted(title, {words: n})`` adds to a line of the summary; also of a test that fails."""
    return lambda title, counts: record_property(_COUNTED, (title, counts))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for every title, with its counts added up."""
    lines: dict[str, collections.Counter[str]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == _COUNTED and report.when == "call":
                    lines.setdefault(value[0], collections.Counter()).update(value[1])
    if lines:
        terminalreporter.section("compared")
    for title, counts in lines.items():
        words = ", ".join(f"{n} {words}" for words, n in counts.items())
        terminalreporter.write_line(f"{title}: {words}")
