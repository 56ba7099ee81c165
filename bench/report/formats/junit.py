"""JUnit XML, as Jenkins, GitLab and GitHub's test reporters read it: cells, claims and gate rows as test cases.

    cell     ok passes; skipped is skipped; any other outcome is a failure
    claim    match and erratum pass; unmeasured and inconclusive are skipped; mismatch is a failure
    gate     same and less pass; any other verdict is a failure

No time is judged, so no slow cell fails. Figures, doubts and errata are in each suite's `system-out`. The order of
elements and the attributes satisfy both published schemas, Ant's and Surefire's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.etree import ElementTree

from bench.core.claim import CheckedClaim, ClaimVerdict
from bench.core.gate import GateRow, GateVerdict
from bench.core.record import Outcome, Record
from bench.core.text import plain
from bench.report.formats import Format
from bench.store.stored import Measured, StoredRun, doubts, ending

_UNJUDGED = (ClaimVerdict.UNMEASURED, ClaimVerdict.INCONCLUSIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One test case.

    Attributes:
        failure: Kind and message of the failure; None if it did not fail.
        skipped: Why it was skipped; None if it was not.
        detail: More lines about the failure.
        said: One line for `system-out`; empty for none.
    """

    name: str
    classname: str
    seconds: float = 0.0
    failure: tuple[str, str] | None = None
    skipped: str | None = None
    detail: str = ""
    said: str = ""


def to_junit(run: StoredRun) -> str:
    """Write a run, with its claims and gate rows if there are any."""
    measured = {one.record.cell.key: one for one in run.measured}
    suites = {
        "cells": [_cell_case(record, measured.get(record.cell.key)) for record in run.records],
        "claims": [_claim_case(checked) for checked in run.claims],
        "gate": [_gate_case(row) for row in run.gate],
    }
    root = ElementTree.Element("testsuites")
    for name, cases in suites.items():
        if cases or name == "cells":
            _add_suite(root, run, name, cases)
    ElementTree.indent(root, " ")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _cell_case(record: Record, one: Measured | None) -> _Case:
    cell = record.cell
    case = {"name": plain(cell.id), "classname": f"stepbench.cells.{plain(cell.model)}"}
    said = []
    if one is not None and one.summary.step is not None:
        step = one.summary.step
        ends = f" ({step.low!r} to {step.high!r})" if step.low is not None else ""
        said.append(f"step_median_seconds {step.point!r}{ends}, {step.n} steps")
        if (rate := one.summary.tokens_per_second) is not None:
            said.append(f"tokens_per_second {rate!r}, token_seconds {one.summary.seconds_per_token!r}")
    said += [f"doubt: {kind}" for kind in doubts(record)]
    failure = skipped = None
    if record.outcome is Outcome.SKIPPED:
        skipped = ending(record)
    elif record.outcome is not Outcome.OK:
        failure = (record.outcome.value, ending(record))
    return _Case(
        **case,
        seconds=record.duration_seconds,
        failure=failure,
        skipped=skipped,
        detail=record.output_tail or "",
        said=f"{plain(cell.id)}: {'; '.join(said)}" if said else "",
    )


def _claim_case(checked: CheckedClaim) -> _Case:
    claim = checked.claim
    name = plain(claim.id)
    found = f"documented {claim.value}, measured {checked.measured}; {plain(checked.reason)}".removesuffix("; ")
    return _Case(
        name=name,
        classname=f"stepbench.claims.{plain(claim.model)}",
        failure=("mismatch", found) if checked.verdict is ClaimVerdict.MISMATCH else None,
        skipped=f"{checked.verdict.value}: {plain(checked.reason)}" if checked.verdict in _UNJUDGED else None,
        detail=claim.source,
        said=f"{name}: erratum: {found}" if checked.verdict is ClaimVerdict.ERRATUM else "",
    )


def _gate_case(row: GateRow) -> _Case:
    changes = [f"{c.name}: {c.expected} on record, {c.found} found" for c in (*row.counters, *row.operations)]
    reason = f": {plain(row.reason)}" if row.reason else ""
    summary = f"{row.verdict.value}{reason}{': ' if changes else ''}{'; '.join(map(plain, changes[:3]))}"
    return _Case(
        name=plain(row.cell.id),
        classname=f"stepbench.gate.{plain(row.cell.model)}",
        failure=None if row.is_passing else (row.verdict.value, summary),
        detail="\n".join(changes),
        said=f"{plain(row.cell.id)}: {summary}" if row.verdict is GateVerdict.LESS else "",
    )


def _add_suite(root: ElementTree.Element, run: StoredRun, name: str, cases: Sequence[_Case]) -> None:
    environment = run.environment
    suite = ElementTree.SubElement(
        root,
        "testsuite",
        {
            "name": name,
            "package": "stepbench",
            "id": str(len(root)),
            "timestamp": datetime.fromisoformat(run.info.started_at).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
            "hostname": plain(environment.host) if environment and environment.host else "localhost",
            "tests": str(len(cases)),
            "failures": str(sum(case.failure is not None for case in cases)),
            "errors": "0",
            "skipped": str(sum(case.skipped is not None for case in cases)),
            "time": _seconds(sum(case.seconds for case in cases)),
        },
    )
    properties = ElementTree.SubElement(suite, "properties")
    facts = {"run": run.id}
    if environment is not None:
        facts |= {"fingerprint": environment.fingerprint, "cpu": environment.cpu, "torch": environment.torch}
        facts |= {"gpu": environment.gpu} if environment.gpu else {}
        facts |= {"commit": environment.git_commit} if environment.git_commit else {}
    for key, value in facts.items():
        ElementTree.SubElement(properties, "property", {"name": key, "value": plain(value)})
    for case in cases:
        _add_case(suite, case)
    said = [case.said for case in cases if case.said]
    ElementTree.SubElement(suite, "system-out").text = "\n".join(said)
    ElementTree.SubElement(suite, "system-err").text = ""


def _add_case(suite: ElementTree.Element, case: _Case) -> None:
    attributes = {"name": case.name, "classname": case.classname, "time": _seconds(case.seconds)}
    element = ElementTree.SubElement(suite, "testcase", attributes)
    if case.failure is not None:
        kind, message = case.failure
        failure = ElementTree.SubElement(element, "failure", {"type": kind, "message": message})
        # In a log of GitHub Actions, a line that begins with two colons would be a command.
        lines = [plain(line).replace("::", ": :") for line in case.detail.splitlines()]
        failure.text = "\n".join(lines) or message
    elif case.skipped is not None:
        ElementTree.SubElement(element, "skipped", {"message": case.skipped})


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}"


FORMAT = Format(write=lambda run, _: to_junit(run), holds_failures=True, holds_claims=True, holds_verdicts=True)
