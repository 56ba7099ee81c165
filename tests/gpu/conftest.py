"""The last of the twenty questions, asked when all others are over: did every test of a GPU run?"""

from __future__ import annotations

import pytest

from tests.gpu.asking import write_answer
from tests.gpu.judging import every_test


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the answer, and fail where a test was skipped that has not said why it cannot be asked."""
    names = {item.nodeid for item in session.items if item.get_closest_marker("gpu")}
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if not names or terminal is None:
        return
    import torch

    if not torch.cuda.is_available():
        return
    found = {outcome: [r for r in terminal.stats.get(outcome, ()) if r.nodeid in names] for outcome in OUTCOMES}
    skipped = [str(report.longrepr[2]).removeprefix("Skipped: ") for report in found["skipped"]]
    passed, failed = len(found["passed"]), len(found["failed"]) + len(found["error"])
    wrong = every_test(passed, failed, skipped)
    write_answer("every test", wrong, {"passed": passed, "failed": failed, "skipped": skipped})
    if wrong and not session.exitstatus:
        terminal.write_line(f"tests of the GPU: {'; '.join(wrong)}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


OUTCOMES = ("passed", "failed", "error", "skipped")
