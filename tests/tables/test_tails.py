"""Quantiles and limits in words, and in the tables of files."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.cli.options import exit_code
from bench.core.cell import Mode
from bench.core.claim import CheckedLimit, LatencyVerdict, Limit
from bench.core.record import Outcome
from bench.report.files import write_tables
from bench.stats.tails import Tail
from bench.store.runs import RunFolder, RunInfo
from bench.tables import tails
from bench.tables.document import page_text
from bench.tables.table import Page
from bench.tables.tails import Tailed, tailed_cases, tailed_cells
from tests.records import make_record
from tests.scenario_cases import FAILED_GENERATION, make_generation
from tests.tables.test_scenarios import SAMPLED

LIMIT = Limit(probability=0.99, seconds=0.05)


def test_an_interval_a_bound_and_nothing_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Tail(probability=0.5, point=0.0123, low=0.0119, high=0.0131, n=2000, n_effective=1900)
    bound = replace(whole, high=None, n=200, needed=1000)
    answers = iter([whole, bound, replace(bound, point=None, low=None)])
    monkeypatch.setattr(tails, "tail_of", lambda *_: next(answers))
    *_, first, second, third = lines_of(tailed_cases([make_generation()]), 80)
    assert first.split()[1:] == ["p50", "12.3", "ms", "11.9", "ms..13.1", "ms", "80"]
    assert second.split() == ["p95", "-", "≥", "11.9", "ms", "80", "of", "1,000"]
    assert third.split() == ["p99", "-", "-", "80", "of", "1,000"]


def lines_of(tailed: Tailed, width: int) -> list[str]:
    return page_text(tailed.document((), has_tail=True), Page(width=width)).splitlines()


def test_the_tail_of_tokens_stands_below_the_table_where_it_was_asked_for() -> None:
    cases = tailed_cases([make_generation(), FAILED_GENERATION])
    text = "\n".join(lines_of(cases, 80))
    assert [name in text for name in ("p50", "p95", "p99", "≥")] == [True] * 4
    assert len(cases.rows) == 1, "a case that failed has no tail"
    assert cases.document((), has_tail=False) == []


@pytest.mark.parametrize("model", ["mlp", "torchvision:resnet18@num_classes=1000", "a.b.c:" + "long" * 30])
def test_all_quantiles_and_limits_fit_into_80_columns(model: str) -> None:
    record = make_record(model, mode=Mode.INFER, n=3000, step=0.123)
    cells = tailed_cells([record])
    lines = lines_of(cells, 80)
    assert all(name in line for name, line in zip(("p50", "p95", "p99"), lines[-3:], strict=True))
    assert max(map(len, lines)) <= 80
    for seconds in (0.05, 0.1231, 1.0):
        checked = cells.check(Limit(probability=0.99, seconds=seconds))
        limits = page_text(cells.document(checked, has_tail=False), Page(width=80)).splitlines()
        assert limits and max(map(len, limits)) <= 80


def test_a_limit_is_answered_per_case() -> None:
    cases = tailed_cases(SAMPLED)
    checked = cases.check(LIMIT)
    assert len(checked) == len(cases.rows)
    text = page_text(cases.document(checked, has_tail=False), Page(width=200))
    assert "p99 of the denoising steps <= 50.0 ms: needs" in text, "not of a whole image"
    many = replace(checked[0], verdict=LatencyVerdict.FAIL, n=12000, n_effective=1234.6, over=11000)
    tokens = tailed_cases([make_generation()])
    text = page_text(tokens.document((many,), has_tail=False), Page(width=200))
    assert "p99 of the further tokens <= 50.0 ms: FAIL (11,000 of 12,000 values over it, worth 1,235)" in text
    unsure = replace(many, verdict=LatencyVerdict.UNDECIDED, over=0, more=3527)
    text = page_text(tailed_cells([]).document((unsure,), has_tail=False), Page(width=200))
    assert "p99 <= 50.0 ms: needs 3,527 more, none of them over it (0 of 12,000 values" in text
    assert cases.check(None) == ()


def test_only_inferences_that_ended_well_have_a_tail() -> None:
    record = make_record()
    infer = replace(record, cell=replace(record.cell, mode=Mode.INFER))
    found = tailed_cells([record, infer, replace(infer, outcome=Outcome.FAILED)])
    assert found.names == [infer.cell.id]
    assert found.series(found.rows[0]) == infer.sample_seconds("step")


def test_the_tables_of_cases_hold_the_ends_of_their_intervals(tmp_path) -> None:
    folder = RunFolder.create(tmp_path, RunInfo(started_at="2026-11-29T09:00:00+00:00"))
    paths = write_tables(folder, {"generations": (make_generation(), FAILED_GENERATION)})
    assert [path.name for path in paths] == ["generations.csv", "generations.parquet"]
    head, ok, failed = paths[0].read_text().splitlines()
    names = head.split(",")
    row = dict(zip(names, ok.split(","), strict=True))
    assert (
        float(row["token_p50_low_seconds"]) <= float(row["token_p50_seconds"]) <= float(row["token_p50_high_seconds"])
    )
    assert row["token_p99_high_seconds"] == "", "too few tokens for an interval"
    # 4 texts, a token each in 1 ms and 1 µs per token of context (32 and 5 more); 4 prompts of 32 tokens in 20 ms.
    assert float(row["decode_tokens_per_second"]) == pytest.approx(4 / 1.0365e-3, rel=0.01)
    assert float(row["prefill_tokens_per_second"]) == pytest.approx(4 * 32 / 0.020)
    assert failed.count(",") == head.count(",")


def checked(verdict: LatencyVerdict) -> CheckedLimit:
    return CheckedLimit(name="cell", limit=LIMIT, verdict=verdict, n=1, n_effective=1.0, over=0)


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [("PASS", 0), ("PASS UNDECIDED", 3), ("UNDECIDED FAIL PASS", 1), ("", 0)],
)
def test_the_exit_code_is_that_of_the_worst_case(verdicts: str, code: int) -> None:
    found = [checked(LatencyVerdict(name)) for name in verdicts.split()]
    assert exit_code([Outcome.OK], found) == code
    assert exit_code([Outcome.FAILED], found) == 5
