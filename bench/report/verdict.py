"""The verdict of CI on a change: gate, check and ab joined into one comment, verdict first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.core.claim import CheckedClaim, ClaimVerdict
from bench.core.comparison import Comparison, ComparisonVerdict, Heading
from bench.core.errors import ExitCode
from bench.core.gate import GateRow
from bench.report.comment import LIMIT, Section, brief, claims_section, fold
from bench.report.formats.markdown import escape, table, write_document
from bench.tables.claims import claims_summary
from bench.tables.comparison import comparison_document, headline
from bench.tables.figures import plain
from bench.tables.gate import gate_document, gate_summary
from bench.tables.table import Column

WORDS = {
    ExitCode.FINE: "pass",
    ExitCode.REGRESSION: "FAIL",
    ExitCode.USAGE: "wrong usage",
    ExitCode.INCONCLUSIVE: "inconclusive",
    ExitCode.UNFIT: "no verdict",
    ExitCode.NOTHING: "nothing to judge",
    ExitCode.INTERNAL: "no verdict",
}
_LOUDEST = (
    ExitCode.REGRESSION,
    ExitCode.USAGE,
    ExitCode.INTERNAL,
    ExitCode.NOTHING,
    ExitCode.UNFIT,
    ExitCode.INCONCLUSIVE,
)
_ORDER = (
    ComparisonVerdict.SLOWER,
    ComparisonVerdict.INCOMPARABLE,
    ComparisonVerdict.INCONCLUSIVE,
    ComparisonVerdict.FASTER,
    ComparisonVerdict.SAME,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gated:
    """The answer of `bench gate`; `lines` are the rows to commit, or None, as many as rows."""

    suite: str
    torch: str
    rows: tuple[GateRow, ...]
    lines: tuple[str | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The answer of `bench ab`."""

    comparisons: tuple[Comparison, ...]
    heading: Heading


Answer = Gated | tuple[CheckedClaim, ...] | Compared


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """One step of CI: its command, how it ended, and its answer.

    Attributes:
        exit_code: A step that did not end, or that a signal ended, counts as UNFIT.
        problem: Why there is no answer, in one line; empty if there is one.
        answer: The parsed answer; None if there is none.
    """

    name: str
    command: str
    exit_code: ExitCode
    problem: str = ""
    answer: Answer | None = None


def joint_exit_code(results: Sequence[StepResult]) -> ExitCode:
    """Join all steps into one exit code: what is known to be wrong counts most, then what could not be judged."""
    codes = {result.exit_code for result in results}
    return next((code for code in _LOUDEST if code in codes), ExitCode.FINE)


def ci_comment(results: Sequence[StepResult], *, title: str = "stepbench", limit: int = LIMIT) -> str:
    """Write the comment on a change; its first line is hidden and identifies it, so that the next one replaces it."""
    verdict = WORDS[joint_exit_code(results)]
    steps = table(
        [
            Column(name="step", cells=tuple(plain(result.name) for result in results), right=False),
            Column(name="verdict", cells=tuple(WORDS[result.exit_code] for result in results), right=False),
            Column(name="says", cells=tuple(_says(result) for result in results), right=False),
        ]
    )
    head = f"{marker(title)}\n### {escape(brief(title))}: {verdict}\n\n{steps}"
    return fold(head, [section for result in results for section in _sections(result)], limit)


def marker(title: str) -> str:
    """Return the hidden line that identifies our comment."""
    kept = "".join(c for c in title if c.isalnum() or c in " ._")
    return f"<!-- stepbench-ci {kept} -->"


def _says(result: StepResult) -> str:
    answer = result.answer
    if isinstance(answer, Gated):
        text = gate_summary(answer.suite, answer.torch, answer.rows)
    elif isinstance(answer, Compared):
        text = headline(answer.comparisons, answer.heading)
    elif answer is not None:
        text = claims_summary(answer)
    else:
        text = result.problem or "gave no answer"
    return brief(text)


def _sections(result: StepResult) -> list[Section]:
    """Make the folded parts of one step; those of a step that failed are open."""
    is_open = result.exit_code is not ExitCode.FINE
    answer = result.answer
    found: list[Section] = []
    if isinstance(answer, Gated):
        found += _gate_sections(result.name, answer, is_open)
    elif isinstance(answer, Compared):
        found.append(_comparison_section(result.name, answer, is_open))
    elif answer:
        is_wrong = any(claim.verdict is ClaimVerdict.MISMATCH for claim in answer)
        found.append(claims_section(answer, is_open=is_wrong))
    code = f"    {brief(result.command)}"  # indented, because text from outside may contain a fence
    return [*found, Section(title=f"{result.name}: how to repeat it", rows=0, write=lambda _: code)]


def _gate_sections(name: str, gated: Gated, is_open: bool) -> list[Section]:
    pairs = [
        (replace(row, reason=brief(row.reason) if row.reason else None), line)
        for row, line in zip(gated.rows, gated.lines, strict=True)
        if row.verdict.value != "same"
    ]
    pairs.sort(key=lambda pair: pair[0].is_passing)
    if not pairs:
        return []

    def write(rows: int) -> str:
        return write_document(gate_document([row for row, _ in pairs[:rows]], [line for _, line in pairs[:rows]]))

    return [Section(title=f"{name}: counters that changed", rows=len(pairs), write=write, is_open=is_open)]


def _comparison_section(name: str, compared: Compared, is_open: bool) -> Section:
    shortened = [
        replace(c, facts=tuple((n, brief(v) if isinstance(v, str) else v) for n, v in c.facts))
        for c in compared.comparisons
    ]
    ordered = sorted(shortened, key=lambda c: _ORDER.index(c.verdict))

    def write(rows: int) -> str:
        return write_document(comparison_document(ordered[:rows], compared.heading)[1:])

    return Section(title=f"{name}: seconds per step", rows=len(ordered), write=write, is_open=is_open)
