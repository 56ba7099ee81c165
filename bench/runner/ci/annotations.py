"""What reviewers should see of the steps of CI: each finding with the file and line it is about.

A gate row and a comparison are about the file of their model; a claim about its own line in the claim file, where the
value stands that is wrong, else about its model's file. A file outside of the repository cannot be annotated. Written
as annotations of GitHub Actions: one line per finding, by workflow commands.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from bench.core.claim import CheckedClaim, ClaimVerdict
from bench.core.comparison import ComparisonVerdict
from bench.core.errors import ExitCode
from bench.core.gate import GateVerdict
from bench.registry import source_place
from bench.report.verdict import Compared, Gated, StepResult
from bench.tables.claims import documented_value, measured_value
from bench.tables.comparison import reason_text
from bench.tables.figures import plain
from bench.tables.gate import change_text

_MODEL = re.compile(r"(?P<model>.+?)/(?:train|infer)/b\d+/")


MOST = 10
"""Annotations of each level per step that GitHub shows."""

_LONGEST_MESSAGE = 1000


class Level(StrEnum):
    """Level of an annotation."""

    ERROR = "error"
    WARNING = "warning"
    NOTICE = "notice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """One finding.

    Attributes:
        file: Relative to the repository; None if the finding is about no file in it.
        line: Number of the line, from 1.
    """

    level: Level
    title: str
    message: str
    file: str | None = None
    line: int | None = None


def find_annotations(results: Sequence[StepResult], root: Path) -> tuple[Annotation, ...]:
    """Make an annotation of everything that a reviewer should see; a file outside of the repository has no place."""
    return tuple(annotation for result in results for annotation in _annotations(result, root))


def _annotations(result: StepResult, root: Path) -> Iterator[Annotation]:
    answer = result.answer
    if isinstance(answer, Gated):
        yield from _gate_annotations(answer, root)
    elif isinstance(answer, Compared):
        yield from _comparison_annotations(answer, root)
    elif answer is not None:
        yield from _claim_annotations(answer, result, root)
    else:
        level = Level.WARNING if result.exit_code is ExitCode.FINE else Level.ERROR
        yield Annotation(level=level, title=f"stepbench {result.name}", message=result.problem)


def _gate_annotations(gated: Gated, root: Path) -> Iterator[Annotation]:
    for row in gated.rows:
        if row.verdict is GateVerdict.SAME:
            continue
        file, line = _place(row.cell.model, root)
        counters, operations = (sorted(some, key=lambda c: not c.is_more) for some in (row.counters, row.operations))
        changes = [f"{c.name} {c.expected} -> {c.found} ({change_text(c)})" for c in counters]
        changes += [f"{c.name} {c.expected} -> {c.found}" for c in operations[:5]]
        detail = "; ".join([*([row.reason] if row.reason else []), *changes])
        yield Annotation(
            level=Level.NOTICE if row.is_passing else Level.ERROR,
            title=f"stepbench gate: {row.verdict.value}",
            message=f"{row.cell.id}: {detail}" if detail else row.cell.id,
            file=file,
            line=line,
        )


def _comparison_annotations(compared: Compared, root: Path) -> Iterator[Annotation]:
    levels = {
        ComparisonVerdict.SLOWER: Level.ERROR,
        ComparisonVerdict.INCOMPARABLE: Level.WARNING,
        ComparisonVerdict.INCONCLUSIVE: Level.WARNING,
    }
    for one in compared.comparisons:
        if one.verdict not in levels:
            continue
        match = _MODEL.match(one.cell_id)
        file, line = _place(match["model"], root) if match else (None, None)
        yield Annotation(
            level=levels[one.verdict],
            title=f"stepbench ab: {one.verdict.value}",
            message=f"{one.cell_id}: {reason_text(one)}",
            file=file,
            line=line,
        )


def _claim_annotations(claims: Sequence[CheckedClaim], result: StepResult, root: Path) -> Iterator[Annotation]:
    for one in claims:
        if one.verdict is not ClaimVerdict.MISMATCH:
            continue
        file, line = _claim_place(one.claim.id, result, root) or _place(one.claim.model, root)
        found = f"documented {documented_value(one)}, measured {measured_value(one)}"
        yield Annotation(
            level=Level.ERROR,
            title="stepbench check: mismatch",
            message=f"{one.claim.model} {one.claim.id}: {found}. {one.reason}".strip(),
            file=file,
            line=line,
        )


def _claim_place(identifier: str, result: StepResult, root: Path) -> tuple[str, int] | None:
    """Find the line of a claim in the claim files that the step was given: there stands the value that is wrong."""
    wanted = re.compile(rf"\s*id\s*=\s*[\"']{re.escape(identifier)}[\"']")
    for argument in shlex.split(result.command):
        path = Path(argument)
        if not argument.endswith(".toml") or not path.is_file():
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
            if wanted.match(line) and (inside := _inside(path, root)):
                return inside, number
    return None


def _place(model: str, root: Path) -> tuple[str, int] | tuple[None, None]:
    """Find file and line of a model, if the file is the repository's own."""
    place = source_place(model)
    inside = _inside(Path(place[0]), root) if place else None
    return (inside, place[1]) if place and inside else (None, None)


def _inside(path: Path, root: Path) -> str | None:
    path, root = path.resolve(), root.resolve()
    if not path.is_relative_to(root) or {"site-packages", "dist-packages"} & set(path.parts):
        return None
    return path.relative_to(root).as_posix()


def repository_root() -> Path:
    """Return the folder that paths of annotations are relative to: GitHub's workspace, or where we are."""
    return Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd())


def annotation_lines(annotations: Sequence[Annotation]) -> list[str]:
    """Write annotations as workflow commands; if a level has too many, its last line counts those left out."""
    lines = []
    for level in Level:
        found = [annotation for annotation in annotations if annotation.level is level]
        shown = found if len(found) <= MOST else found[: MOST - 1]
        lines += [_command(annotation) for annotation in shown]
        if len(found) > len(shown):
            left = f"{len(found) - len(shown)} more stand in the summary of the job"
            lines.append(_command(Annotation(level=level, title="stepbench", message=left)))
    return lines


def _command(annotation: Annotation) -> str:
    place = {"file": annotation.file, "line": annotation.line if annotation.file else None, "title": annotation.title}
    properties = ",".join(f"{name}={_property(str(value))}" for name, value in place.items() if value is not None)
    return f"::{annotation.level.value} {properties}::{_data(plain(annotation.message, _LONGEST_MESSAGE))}"


def _data(text: str) -> str:
    return plain(text).replace("%", "%25")  # `plain` leaves no line break, which would start another command


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
