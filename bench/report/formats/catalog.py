"""Every format by the name that `bench export --to` takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.core.record import Record
from bench.report.formats.bencher import to_bencher
from bench.report.formats.github_action import to_bigger_is_better, to_smaller_is_better
from bench.report.formats.junit import to_junit
from bench.report.formats.openmetrics import to_openmetrics
from bench.report.formats.pytest_benchmark import to_pytest_benchmark
from bench.store.stored import StoredRun

ExtraInfo = Callable[[Record], dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One format.

    Attributes:
        write: Takes a run, and what pytest-benchmark's `extra_info` should say of a record.
        holds_failures: It has a word for a cell that failed.
        holds_verdicts: It has a word for claims and gate rows.
    """

    write: Callable[[StoredRun, ExtraInfo], str]
    holds_failures: bool = False
    holds_verdicts: bool = False


FORMATS: dict[str, Format] = {
    "pytest-benchmark": Format(write=to_pytest_benchmark),
    "github-action-benchmark": Format(write=lambda run, _: to_smaller_is_better(run)),
    "github-action-benchmark-bigger": Format(write=lambda run, _: to_bigger_is_better(run)),
    "bencher": Format(write=lambda run, _: to_bencher(run)),
    "openmetrics": Format(write=lambda run, _: to_openmetrics(run), holds_failures=True),
    "junit": Format(write=lambda run, _: to_junit(run), holds_failures=True, holds_verdicts=True),
}
