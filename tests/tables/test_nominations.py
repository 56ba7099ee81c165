"""Two stored runs side by side, as terminal, Markdown and report say it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from bench.core.advice import AdviceKind
from bench.core.comparison import Nominated, Nomination, Side
from bench.report.formats.markdown import write_document
from bench.tables.document import Document, Dots, Notes, Rows, page_text
from bench.tables.nominations import headline, mean_ratio, nominations_document
from bench.tables.table import Page
from tests.records import ENVIRONMENT


def cell(name: str, ratio: float, **more: object) -> Nomination:
    half = 0.01
    shift = math.log(ratio)
    fields = {"base": 0.01, "head": 0.01 * ratio, "shift": shift, "low": shift - half, "high": shift + half} | more
    return Nomination(cell_id=f"{name}/train/b8/cpu/fp32", cell_key=name, **fields)  # type: ignore[arg-type]


OTHER = replace(ENVIRONMENT, torch="2.16.0", git_commit="f" * 40)
PAIR = Nominated(
    base=Side(id="first", started_at="2026-11-28T09:00:00+00:00", environment=ENVIRONMENT, busy_cores=(0.0, 0.1)),
    head=Side(id="second", started_at="2026-11-29T09:00:00+00:00", environment=OTHER, busy_cores=(0.5, 1.5)),
    nominations=(
        cell("calm", 0.99),
        cell("slow", 1.25, is_suspect=True, base_doubts=(AdviceKind.PHASE_GAP,)),
        cell("loud", 52.0, apart="head: a busy machine", head_doubts=(AdviceKind.BUSY_MACHINE,)),
        cell("gone", 1.0, head=None, shift=None, missing="head: no such cell"),
    ),
    commands=("bench ab a b slow -b 8",),
)


def rows(document: Document) -> dict[str, Rows]:
    return {block.caption: block for block in document if isinstance(block, Rows)}


def test_the_mean_and_the_count_are_of_the_cells_that_may_be_compared() -> None:
    assert mean_ratio(PAIR.nominations[:2]) == pytest.approx(math.sqrt(0.99 * 1.25))
    assert headline(PAIR) == (
        "Head takes 1.112 times as long as base (geometric mean of 2 cells, 0.990 to 1.250); 1 nominated; 1 cell apart"
    )
    loud = PAIR.nominations[2]
    alone = headline(replace(PAIR, nominations=PAIR.nominations[2:]))
    assert alone == "No cell may be compared (head: a busy machine)"
    two = (loud, replace(loud, apart="another environment: torch"))
    assert headline(replace(PAIR, nominations=two)) == "No cell may be compared; 2 cells apart"


def test_the_document_names_the_runs_then_differences_then_cells() -> None:
    found = rows(nominations_document(PAIR))
    captions = list(found)
    assert captions[:2] == ["Which run is which", "What differs between them"]
    assert captions[2].startswith("2 cells that may be compared")
    assert captions[3] == "1 cell apart, which nominate nothing. Head: a busy machine"
    different = dict(zip(*(column.cells for column in found[captions[1]].columns[:2]), strict=True))
    assert different.keys() == {"fingerprint", "torch", "cores busy with other work"}
    cells = {column.heading: column.cells for column in found[captions[2]].columns}
    assert cells["cell"] == ("slow/b8", "calm/b8")  # the slowest first
    assert cells["ratio"] == ("1.250", "0.990")
    assert cells["doubts base"] == ("G", "")
    assert cells["nominated"] == ("suspect", "")


def test_terminal_markdown_and_report_say_the_same_in_the_same_order() -> None:
    document = nominations_document(PAIR)
    pages = [page_text(document, Page(width=200)), write_document(document)]
    order = [
        "Head takes 1.112",
        "Which run is which",
        "torch",
        "slow",
        "calm",
        "a busy machine",
        "loud",
        "gone",
        "judge",
    ]
    for page in pages:
        places = [page.index(words) for words in order]
        assert places == sorted(places)
    kinds = [type(block).__name__ for block in document if not isinstance(block, Notes) or block.lines]
    assert " ".join(kinds) == "Text Rows Rows Rows Dots Rows Notes Doubts Text Text Verbatim"
    assert max(map(len, page_text(document, Page(width=80)).splitlines())) <= 80


def test_dots_lie_on_a_logarithmic_axis_with_one_in_the_middle_of_its_ends() -> None:
    (plot,) = (block for block in nominations_document(PAIR) if isinstance(block, Dots))
    assert plot.place(1.0) == pytest.approx(50)
    assert plot.place(1.25) - 50 == pytest.approx(50 - plot.place(0.8))
    assert (plot.place(plot.ticks[0] / 9), plot.place(plot.ticks[-1] * 9)) == (0, 100)  # held at the edge
    slow, calm, mean = plot.rows
    assert slow.low is not None and slow.low < slow.value
    assert (slow.style, calm.style, mean.name) == ("yellow", None, "geometric mean")
    assert mean.value == pytest.approx(math.sqrt(0.99 * 1.25))
