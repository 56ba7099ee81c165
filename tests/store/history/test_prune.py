from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from bench.core.errors import NothingMeasuredError, UsageError
from bench.core.history import AcceptedChange
from bench.store.history.database import History
from bench.store.history.ingest import add_entries, ingest
from bench.store.history.prune import Limits, prune
from bench.store.history.queries import find_series
from bench.store.history.schema import records, runs
from bench.store.runs import RunFolder
from tests.store.history.entries import BEGIN, at, commit_of, entries, record_of, store_run

NOW = BEGIN + timedelta(days=10)
DAY = 86_400.0


def days_left(history: History) -> list[int]:
    with history.reading() as connection:
        found = connection.scalars(select(records.c.started_at).order_by(records.c.started_at))
        return [(moment - BEGIN).days for moment in found]


def test_the_default_changes_nothing_and_says_what_would_go(history: History) -> None:
    add_entries(history, entries(10))
    plan = prune(history, Limits(older_than_seconds=4.5 * DAY), now=NOW)
    assert (plan.is_done, plan.records, plan.of, plan.cells) == (False, 6, 10, 1)
    assert (plan.oldest, plan.newest) == ("2026-01-01T00:00:00+00:00", "2026-01-06T00:00:00+00:00")
    assert plan.runs == tuple(f"run-{day}" for day in range(6))
    assert days_left(history) == list(range(10))


def test_old_measurements_go_with_their_runs(history: History) -> None:
    add_entries(history, entries(10))
    done = prune(history, Limits(older_than_seconds=4.5 * DAY), does=True, now=NOW)
    assert (done.is_done, done.records) == (True, 6)
    assert days_left(history) == [6, 7, 8, 9]
    with history.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(runs)) == 4


def test_a_number_is_kept_of_every_series(history: History) -> None:
    add_entries(history, [*entries(5), *entries(3, "mlp"), *entries(1, "rnn")])
    assert prune(history, Limits(keep=2), does=True).records == 4
    with history.reading() as connection:
        kept = connection.execute(select(func.count()).select_from(records).group_by(records.c.cell_key)).scalars()
        assert sorted(kept) == [1, 2, 2]
    assert days_left(history) == [0, 1, 2, 3, 4]


def test_commits_that_nobody_reaches_go_and_those_without_one_stay(history: History) -> None:
    nameless = replace(at(9), git_commit=None, git_dirty=None)
    add_entries(history, [*entries(4), *entries(1, start=9, environment=nameless)])
    reachable = frozenset({commit_of(0), commit_of(2)})
    assert prune(history, Limits(reachable=reachable), does=True).records == 2
    assert days_left(history) == [0, 2, 9]
    assert prune(history, Limits(reachable=reachable), does=True).records == 0


def test_measurements_at_accepted_commits_stay(history: History) -> None:
    add_entries(history, [*entries(4), *entries(4, "mlp")])
    accepted = [AcceptedChange(cell="my_net", commit=commit_of(1)[:9], metric="*", reason="bigger")]
    done = prune(history, Limits(older_than_seconds=DAY), accepted=accepted, does=True, now=NOW)
    assert (done.records, done.kept_accepted) == (7, 1)
    assert days_left(history) == [1]


def test_limits_add_up_and_none_is_an_error(history: History) -> None:
    add_entries(history, entries(10))
    plan = prune(history, Limits(older_than_seconds=8.5 * DAY, keep=9), now=NOW)
    assert plan.records == 2
    with pytest.raises(UsageError, match="prune what"):
        prune(history, Limits())


def test_what_was_pruned_is_not_brought_back_unless_asked(history: History, tmp_path: Path) -> None:
    for day in range(4):
        store_run(tmp_path, record_of(day))
    ingest(history, results=tmp_path)
    prune(history, Limits(older_than_seconds=7.5 * DAY), does=True, now=NOW)
    assert days_left(history) == [3]
    again = ingest(history, results=tmp_path)
    assert (again.added, again.known, again.pruned) == (0, 1, 3)
    back = ingest(history, results=tmp_path, takes_back=True)
    assert (back.added, back.known, back.pruned) == (3, 1, 0)
    assert ingest(history, results=tmp_path).known == 4


def test_a_cell_of_which_nothing_is_left_says_so(history: History) -> None:
    add_entries(history, [*entries(2), *entries(1, "mlp", start=9)])
    prune(history, Limits(older_than_seconds=5 * DAY), does=True, now=NOW)
    with history.reading() as connection:
        assert [series.name for series in find_series(connection)] == ["mlp/train/b8/cpu/fp32"]
        with pytest.raises(NothingMeasuredError, match="was pruned"):
            find_series(connection, "my_net")


def test_raw_folders_go_only_when_asked_and_only_if_all_of_them_was_pruned(history: History, tmp_path: Path) -> None:
    paths = [store_run(tmp_path, record_of(day), record_of(day, "mlp")) for day in range(4)]
    ingest(history, results=tmp_path)
    prune(history, Limits(older_than_seconds=9.5 * DAY), does=True, now=NOW)
    assert all(path.is_dir() for path in paths)
    known = next((paths[1] / "records").iterdir())
    known.with_name("late.json").write_text(known.read_text().replace("testhost", "otherhost"))
    limits = Limits(older_than_seconds=7.5 * DAY)
    plan = prune(history, limits, folders_in=tmp_path, now=NOW)
    assert plan.folders == (str(paths[0]), str(paths[2]))
    assert all(path.is_dir() for path in paths)
    done = prune(history, limits, does=True, folders_in=tmp_path, now=NOW)
    assert done.folders == plan.folders
    assert [path.is_dir() for path in paths] == [False, True, False, True]


def test_a_folder_that_is_being_measured_stays(history: History, tmp_path: Path) -> None:
    path = store_run(tmp_path, record_of(0))
    ingest(history, results=tmp_path)
    with RunFolder.open(path).locked():
        done = prune(history, Limits(older_than_seconds=DAY), does=True, folders_in=tmp_path, now=NOW)
    assert "being measured by another process" in done.problems[0]
    assert path.is_dir()
