from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import text

from bench.core.cell import Precision
from bench.core.errors import NothingMeasuredError, UsageError
from bench.core.history import AcceptedChange
from bench.store.history.database import History
from bench.store.history.ingest import add_entries
from bench.store.history.queries import STEP, find_series, read_rows, read_trend
from tests.records import ENVIRONMENT
from tests.store.history.entries import at, commit_of, entries, entry, record_of

ACCEPTED = (AcceptedChange(cell="my_net/*", commit=commit_of(4)[:9], metric="*", reason="bigger layer"),)


def nobody(commit: str) -> frozenset[str]:
    return frozenset()


def test_a_series_is_one_cell_on_one_machine(history: History) -> None:
    other = replace(ENVIRONMENT, cpu="Other CPU")
    add_entries(history, [*entries(3), *entries(2, "mlp"), *entries(4, environment=at(9, other), start=5)])
    with history.reading() as connection:
        found = find_series(connection)
    assert [(s.name.split("/")[0], s.count, s.machine.split(",")[0]) for s in found] == [
        ("mlp", 2, "Test CPU"),
        ("my_net", 3, "Test CPU"),
        ("my_net", 4, "Other CPU"),
    ]


@pytest.mark.parametrize("pattern", ["my_net", "my_net/train", "my_net/train/b8/cpu/fp32", "my*", "*/fp32"])
def test_a_cell_is_meant_by_name_beginning_or_glob(pattern: str, history: History) -> None:
    add_entries(history, [*entries(1), *entries(1, "mlp", precision=Precision.BF16_AMP)])
    with history.reading() as connection:
        (series,) = find_series(connection, pattern)
        assert series.name == "my_net/train/b8/cpu/fp32"
        assert find_series(connection, series.key) == (series,)


def test_a_cell_that_is_not_there_and_an_empty_history_say_so(history: History) -> None:
    with history.reading() as connection, pytest.raises(NothingMeasuredError, match="the history is empty"):
        find_series(connection)
    add_entries(history, entries(1))
    with (
        history.reading() as connection,
        pytest.raises(UsageError, match=r"no cell 'my_ne' among 1; .* my_net/train"),
    ):
        find_series(connection, "my_ne")


def test_a_trend_holds_the_newest_points_oldest_first(history: History) -> None:
    add_entries(history, [entry(day, record_of(day, step=0.01 * (day + 1))) for day in (3, 0, 4, 1, 2)])
    with history.reading() as connection:
        (series,) = find_series(connection)
        trend = read_trend(connection, series, STEP, 3, accepted=ACCEPTED, descendants=nobody)
    assert [p.value for p in trend.points] == pytest.approx([0.03, 0.04, 0.05])
    assert [p.commit for p in trend.points] == [commit_of(day) for day in (2, 3, 4)]
    assert (trend.count, trend.points[-1].started_at) == (5, "2026-01-05T00:00:00+00:00")
    assert trend.points[0].low is not None
    assert [(mark.index, mark.reason) for mark in trend.accepted] == [(2, "bigger layer")]


def test_measurements_without_a_machine_are_a_series_of_their_own(history: History) -> None:
    made = replace(record_of(0), environment=None)
    add_entries(history, [entry(0, made), *entries(1, start=1)])
    with history.reading() as connection:
        found = {series.fingerprint: series for series in find_series(connection)}
        assert found[None].machine == "unknown machine"
        assert len(read_rows(connection, found[None], (STEP,), 9)) == 1


def test_the_newest_points_of_a_series_come_from_its_index(history: History) -> None:
    # enough rows that a planner has a choice
    add_entries(history, [entry(day, record_of(day, f"net_{day % 40}", step=None)) for day in range(2000)])
    question = (
        "SELECT step_median_seconds FROM stepbench_records WHERE cell_key = 'x' AND fingerprint = 'y' "
        "ORDER BY started_at DESC, id DESC LIMIT 60"
    )
    with history.writing() as connection:
        connection.execute(text("ANALYZE"))
        explain = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
        plan = " ".join(str(row) for row in connection.execute(text(explain + question)))
        assert "stepbench_records_series" in plan
        assert "Seq Scan" not in plan
        assert "TEMP B-TREE" not in plan  # nothing is sorted
        by_commit = text(explain + "SELECT id FROM stepbench_records WHERE git_commit = 'x'")
        assert "stepbench_records_commit" in " ".join(str(row) for row in connection.execute(by_commit))
