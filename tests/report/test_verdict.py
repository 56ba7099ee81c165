from __future__ import annotations

import re
from dataclasses import replace

import pytest

from bench.core.comparison import ComparisonVerdict
from bench.core.errors import ExitCode
from bench.core.gate import GateVerdict
from bench.report.comment import LIMIT
from bench.report.verdict import StepResult, ci_comment, joint_exit_code, marker
from tests.goldens import check_golden
from tests.report.ci_results import FAILED, PASSED, SILENT, ab_result, comparison, gate_result
from tests.report.formats.runs import HOSTILE, gate_row


def test_a_change_that_fails_everywhere_looks_as_it_did() -> None:
    check_golden("ci-failed.md", ci_comment(FAILED))


def test_a_change_that_passes_looks_as_it_did() -> None:
    check_golden("ci-passed.md", ci_comment(PASSED))


def with_codes(*codes: ExitCode) -> list[StepResult]:
    return [StepResult(name="gate", command="bench gate", exit_code=code) for code in codes]


@pytest.mark.parametrize(
    ("codes", "joint"),
    [
        ((), ExitCode.FINE),
        ((ExitCode.FINE, ExitCode.FINE), ExitCode.FINE),
        ((ExitCode.UNFIT, ExitCode.REGRESSION, ExitCode.USAGE), ExitCode.REGRESSION),
        ((ExitCode.NOTHING, ExitCode.USAGE), ExitCode.USAGE),
        ((ExitCode.INCONCLUSIVE, ExitCode.NOTHING, ExitCode.UNFIT), ExitCode.NOTHING),
        ((ExitCode.FINE, ExitCode.INCONCLUSIVE), ExitCode.INCONCLUSIVE),
    ],
)
def test_what_is_known_to_be_worse_counts_most(codes: tuple[ExitCode, ...], joint: ExitCode) -> None:
    assert joint_exit_code(with_codes(*codes)) is joint


def test_the_first_line_is_hidden_and_the_same_every_time() -> None:
    first = [ci_comment(results).splitlines()[0] for results in (PASSED, FAILED, [SILENT])]
    assert first == ["<!-- stepbench-ci stepbench -->"] * 3
    assert marker("gpu --> <script>") == "<!-- stepbench-ci gpu  script -->"


def test_a_step_that_gave_no_answer_says_why() -> None:
    text = ci_comment([SILENT])
    assert "### stepbench: nothing to judge" in text
    assert "bench gate --update" in text


def test_what_failed_is_open_and_stands_before_what_did_not() -> None:
    text = ci_comment(FAILED)
    assert text.count("<details open>") == 3
    assert text.index("| net.py:net/train/b8") < text.index("ab: seconds per step")
    section = text[text.index("ab: seconds per step") :]
    assert section.index("SLOWER") < section.index("incomparable") < section.index("same")


@pytest.mark.parametrize("cells", [3, pytest.param(2_000, marks=pytest.mark.slow)])
def test_hostile_and_huge_results_fit_and_are_no_markup(cells: int) -> None:
    slow = [comparison(ComparisonVerdict.SLOWER, HOSTILE, batch_size=size + 1) for size in range(cells)]
    broken = replace(
        comparison(ComparisonVerdict.INCOMPARABLE, HOSTILE), facts=(("side", "head"), ("error", HOSTILE * 10_000))
    )
    rows = [gate_row(GateVerdict.UNCOUNTED, HOSTILE, reason=HOSTILE * 1000)] * min(cells, 300)
    silent = replace(SILENT, problem=HOSTILE * 10_000, command=HOSTILE * 1000)
    results = [
        ab_result(*slow, broken, code=ExitCode.REGRESSION),
        gate_result(*rows, code=ExitCode.REGRESSION),
        silent,
    ]
    text = ci_comment(results, title=HOSTILE)
    assert len(text.encode()) <= LIMIT
    assert set(re.findall(r"</?([a-zA-Z]+)", re.sub(r"(?m)^    .*$", "", text))) <= {"details", "summary"}
    assert text.splitlines()[0].count("-->") == 1
    assert f"{cells + 1:,} cells" in text
