"""Annotations of GitHub Actions, by workflow commands: one line per finding, on the file and line of its subject."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from bench.tables.figures import plain

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
