"""Text and images that were generated: what a token, an image and a step cost, from the commands' documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.report.html.contract import ReportData, Section
from bench.report.html.documents import shown
from bench.store.stored import StoredRun
from bench.tables.document import Document, Notes
from bench.tables.figures import first
from bench.tables.scenarios import generation_document, sampling_document

_MOST = 200


def _section(
    anchor: str, title: str, of: Callable[[StoredRun], Sequence[Any]], write: Callable[[Sequence[Any]], Document]
) -> Section:
    """Make a section of the cases of all runs."""

    def build(data: ReportData) -> Mapping[str, Any] | None:
        measured, note = first([one for run in data.runs for one in of(run)], _MOST, "combinations")
        if not measured:
            return None
        return {"blocks": shown([*write(measured), Notes(lines=[note] if note else [])])}

    return Section(anchor=anchor, title=title, build=build, template="sections/generation.html")


TEXT = _section("generation", "Generating text", lambda run: run.generations, generation_document)
IMAGES = _section("sampling", "Sampling images", lambda run: run.images, sampling_document)
