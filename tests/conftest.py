# SPDX-License-Identifier: Apache-2.0
"""The rule that CI skips nothing it was not told about."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ALLOWED_SKIPS = Path(__file__).with_name("allowed_skips.txt")


def _allowed_reasons() -> list[str]:
    lines = ALLOWED_SKIPS.read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Under CI, a skip whose reason is not in allowed_skips.txt fails the run."""
    if not os.environ.get("CI"):
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    allowed = _allowed_reasons()
    for report in reporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not any(text in reason for text in allowed):
            reporter.write_line(f"skip not in allowed_skips.txt: {report.nodeid}: {reason}")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
