"""Run folders to reports: what is read back is what was stored; what cannot be read is named."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import pytest

from bench.core.errors import StoreError
from bench.core.jsonio import to_json
from bench.runner import reporting
from bench.runner.reporting import read_report_data, write_report
from bench.runner.session import write_derived
from bench.store.runs import RunFolder, RunInfo
from bench.store.stored import read_stored_run
from tests.records import ENVIRONMENT, STARTED_AT, make_claims, make_record, make_sweep
from tests.report.html.runs import compared_run


@pytest.fixture
def stored(tmp_path):
    """Store a run with a cell that was never finished; return its folder."""
    records = make_sweep()
    lost = make_record("lost").cell
    cells = (*(record.cell for record in records), lost)
    folder = RunFolder.create(tmp_path, RunInfo(started_at=STARTED_AT, environment=ENVIRONMENT, cells=cells))
    for record in records:
        folder.append(record)
    return folder


def test_a_stored_run_is_read_back_whole(stored):
    write_derived(stored, replace(read_stored_run(stored), claims=make_claims()))
    (run,) = read_report_data([str(stored.path)], stored.path.parent).runs
    assert run.records == make_sweep()
    assert run.claims == make_claims()
    assert run.environment == ENVIRONMENT
    assert [cell.id for cell in run.missing] == ["lost/train/b8/cpu/fp32"]
    assert run.problems == ()


def test_the_page_of_a_run_is_the_page_made_later(stored):
    write_derived(stored, replace(read_stored_run(stored), claims=make_claims()))
    page = stored.path / "report.html"
    made_later = stored.path / "again.html"
    size = write_report(read_report_data(["latest"], stored.path.parent), made_later)
    assert made_later.read_bytes() == page.read_bytes()
    assert size == len(page.read_bytes())


def test_a_record_that_cannot_be_read_is_named_and_the_others_are_shown(stored):
    broken = next(stored.records_path.iterdir())
    broken.write_text("{")
    (run,) = read_report_data([stored.run.id], stored.path.parent).runs
    assert len(run.records) == len(make_sweep()) - 1
    (problem,) = run.problems
    assert broken.name in problem


def test_a_page_that_cannot_be_made_costs_no_run(stored, monkeypatch, caplog):
    def fail(*_, **__):
        raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setattr(reporting, "render", fail)
    with caplog.at_level(logging.WARNING):
        write_derived(stored, replace(read_stored_run(stored), claims=make_claims()))
    assert "a mistake of ours" in caplog.text
    assert stored.run.id in caplog.text
    assert not (stored.path / "report.html").exists()
    assert (stored.path / "claims.json").exists()


def compared_folder(root):
    ab = compared_run().comparison
    folder = RunFolder.create(
        root, RunInfo(started_at=STARTED_AT, environment=ENVIRONMENT, cells=(make_record().cell,))
    )
    document = {
        "base": {"given": "origin/main", "commit": "1a2b3c4d5e6f", "python": "python"},
        "head": {"given": ".", "commit": None, "python": "python"},
        "differing_fields": [],
        "settings": {"quads": 8, "seed": 7},
        "seconds": 270.0,
        "unfit": None,
        "is_cut_short": True,
        "comparisons": to_json(ab.comparisons),
        "sessions": [{"stage": "screen"}] * 6 + [{"stage": "confirm"}] * 8,
    }
    (folder.path / "comparison.json").write_text(json.dumps(document))
    return folder, ab


def test_a_comparison_is_read_with_its_heading_and_misses_no_cell(tmp_path):
    folder, ab = compared_folder(tmp_path)
    (run,) = read_report_data([str(folder.path)], tmp_path).runs
    assert run.comparison.comparisons == ab.comparisons
    assert run.missing == ()
    heading = run.comparison.heading
    assert (heading.base, heading.head) == ("origin/main (1a2b3c4d5)", ".")
    assert heading.method == "6 sessions + 8 to confirm of 8 quads, 4 min 30 s, seed 7"
    assert heading.notes == ("the budget ended before all sessions were run",)


def test_a_comparison_of_another_kind_is_refused_in_one_line(tmp_path):
    folder, _ = compared_folder(tmp_path)
    (folder.path / "comparison.json").write_text('{"comparisons": [{}]}')
    with pytest.raises(StoreError, match=r"comparison\.json is no comparison"):
        read_report_data([str(folder.path)], tmp_path)


def test_two_runs_are_nominated_against_the_first(stored, tmp_path):
    other = RunFolder.create(tmp_path, RunInfo(started_at=STARTED_AT, environment=ENVIRONMENT))
    other.append(make_record("my_net", step=0.0123 * 1.8 * 1.5))
    compared, _ = compared_folder(tmp_path)
    data = read_report_data([str(f.path) for f in (stored, compared, other)], tmp_path)
    (pair,) = data.nominated
    assert (pair.base.id, pair.head.id) == (stored.path.name, other.path.name)
    suspects = [n.cell_id for n in pair.nominations if n.is_suspect]
    assert suspects == ["my_net/train/b8/cpu/fp32"]
    assert pair.commands


def test_runs_without_a_common_cell_nominate_nothing(stored, tmp_path):
    other = RunFolder.create(tmp_path, RunInfo(started_at=STARTED_AT, environment=ENVIRONMENT))
    other.append(make_record("unheard_of"))
    (pair,) = read_report_data([str(stored.path), str(other.path)], tmp_path).nominated
    assert (pair.nominations, pair.commands) == ((), ())
