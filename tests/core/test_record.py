"""A record as Python and notebooks show it: one line and one small table, not pages of raw seconds."""

from __future__ import annotations

from dataclasses import replace

from bench.core.cell import Cell
from bench.core.record import Outcome, Record
from tests.records import BUSY, NOISY, STARTED_AT, make_samples


def failed(reason: str) -> Record:
    cell = Cell(model="<script>", batch_size=8)
    return Record(
        cell=cell,
        outcome=Outcome.FAILED,
        reason=reason,
        started_at=STARTED_AT,
        duration_seconds=1.0,
        stepbench="0",
    )


def test_a_record_is_one_line_with_its_step_and_its_doubts() -> None:
    measured = replace(
        failed("x"),
        cell=Cell(model="my_net", batch_size=8),
        outcome=Outcome.OK,
        reason=None,
        samples=make_samples(0.002),
        advice=(BUSY, NOISY, BUSY),
    )
    text = repr(measured)
    assert text.startswith("<Record my_net/train/b8/cpu/fp32: ok, ")
    assert "ms per step, median of 40, doubts: busy-machine, noisy-samples>" in text
    assert len(text) < 150
    assert "<td>busy-machine, noisy-samples</td>" in measured._repr_html_()


def test_a_record_of_a_failure_says_why_and_its_html_is_escaped() -> None:
    record = failed("ValueError: 1 < 2")
    assert repr(record) == "<Record <script>/train/b8/cpu/fp32: failed: ValueError: 1 < 2>"
    html = record._repr_html_()
    assert "<script>" not in html
    assert "<td>failed: ValueError: 1 &lt; 2</td>" in html
    assert "per step" not in html
