from __future__ import annotations

from pathlib import Path

import pytest

from bench.core.errors import StoreError
from bench.report.html.contract import ReportData
from bench.runner.reporting import read_report_data, with_history
from bench.store.history.database import open_history
from bench.store.history.ingest import ingest
from tests.store.history.entries import commit_of, record_of, store_run


def report_of(results: Path) -> ReportData:
    return read_report_data(["latest"], results)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Three runs of a cell, the newest without one that the others had."""
    store_run(tmp_path, record_of(0), record_of(0, "mlp"))
    store_run(tmp_path, record_of(1))
    store_run(tmp_path, record_of(2))
    return tmp_path


def test_the_newest_run_gets_the_trends_of_its_own_cells(results: Path) -> None:
    with open_history(str(results / "history.sqlite"), makes=True) as history:
        ingest(history, results=results)
    (results / "accepted.csv").write_text(f"cell,commit,metric,reason\nmy_net,{commit_of(1)},*,bigger\n")
    (trend,) = with_history(report_of(results), None, results).trends
    assert (trend.cell_id, trend.count, len(trend.points)) == ("my_net/train/b8/cpu/fp32", 3, 3)
    assert [mark.index for mark in trend.accepted] == [1]


def test_without_a_history_the_report_is_as_it_was(results: Path) -> None:
    data = report_of(results)
    assert with_history(data, None, results) is data


def test_a_history_that_cannot_be_read_is_a_remark_unless_it_was_asked_for(results: Path) -> None:
    (results / "history.sqlite").write_text("no database, but long enough to look for a header in it" * 9)
    data = with_history(report_of(results), None, results)
    assert data.trends == ()
    assert "file is not a database" in data.runs[-1].problems[0]
    with pytest.raises(StoreError, match="file is not a database"):
        with_history(report_of(results), str(results / "history.sqlite"), results)
