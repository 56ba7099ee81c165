"""`--order short`, `--until` and `--max-cells` on Slurm: what is submitted, in which order, and when a task stops."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from bench.cli.slurm import _status_text
from bench.core.cell import Cell
from bench.core.record import Counters, FlopCount, Outcome
from bench.runner.session import Limits, Session
from bench.runner.slurm import run as slurm_run
from bench.runner.slurm.collect import collect, read_status
from bench.runner.slurm.commands import Slurm
from bench.runner.slurm.files import TOO_LATE, SlurmFiles, TaskNote
from bench.runner.slurm.script import JobOptions
from bench.runner.workers.answers import Counted
from bench.store.runs import RunFolder
from tests.records import STARTED_AT
from tests.runner.slurm.test_commands import (
    CELLS,
    FakeSlurm,
    no_processes,  # noqa: F401 - a fixture
    node,  # noqa: F401 - a fixture
    put_record,
    run_task,
    shown,
    slurm_that_shows,
)

LONG_FIRST = (*reversed(CELLS[:2]), Cell(model="null:nothing", batch_size=1))


def submit(results, limits, cells=CELLS):
    session = Session(sweeps=(), planned=cells)
    slurm = Slurm(FakeSlurm())
    options = JobOptions(time_seconds=600)
    submitted = slurm_run.submit(session, options, results=results, cells_per_task=3, limits=limits, slurm=slurm)
    return RunFolder.open(submitted.folder)


def test_only_so_many_cells_are_submitted_and_a_resume_takes_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr("bench.runner.slurm.files.code_hash", lambda _: "c")
    folder = submit(tmp_path, Limits(max_cells=1))
    assert folder.run.cells == CELLS
    assert SlurmFiles.of(folder).submission(0).chunks == ((CELLS[0].key,),)
    put_record(folder, CELLS[0], code="c")
    slurm = slurm_that_shows(folder, "COMPLETED")
    found = collect(folder, slurm=slurm)
    assert [result.outcome for result in found.results] == [Outcome.OK, *[Outcome.SKIPPED] * 3]
    assert {result.reason for result in found.results[1:]} == {"not run: it was never submitted"}
    slurm_run.submit_missing(folder, limits=Limits(max_cells=2), slurm=slurm)
    assert SlurmFiles.of(folder).submission(1).chunks == ((CELLS[1].key, CELLS[2].key),)


def test_short_cells_are_submitted_and_measured_first(tmp_path, monkeypatch, node):  # noqa: F811
    flops = {cell: float(cell.batch_size) for cell in CELLS[:2]}

    def count(cells, **asked):
        assert asked == {"opinions": False, "steps": False, "timeout_seconds": None}
        return [(cell, _counted(flops.get(cell))) for cell in cells]

    monkeypatch.setattr(slurm_run, "count_all", count)
    folder = submit(tmp_path, Limits(is_short_first=True), (LONG_FIRST[2], *LONG_FIRST[:2]))
    assert SlurmFiles.of(folder).submission(0).chunks == ((CELLS[0].key, CELLS[1].key, LONG_FIRST[2].key),)
    assert run_task(folder) == 0
    assert node.ran == [CELLS[0], CELLS[1], LONG_FIRST[2]]


def test_a_task_starts_no_cell_after_the_time_and_a_resume_takes_them(tmp_path, monkeypatch, node):  # noqa: F811
    monkeypatch.setattr("bench.runner.slurm.files.code_hash", lambda _: "c")
    folder = submit(tmp_path, Limits(until=datetime.now(UTC) + timedelta(hours=1)))
    files = SlurmFiles.of(folder)
    until = datetime.fromisoformat(files.submission(0).until)
    assert until > datetime.now(UTC)
    clock = iter([until - timedelta(seconds=1), until])
    monkeypatch.setattr("bench.runner.slurm.task.datetime", _Clock(clock))
    assert run_task(folder) == 0
    assert node.ran == [CELLS[0]]
    assert files.note("0.0").ended == TOO_LATE
    slurm = slurm_that_shows(folder, "COMPLETED", "COMPLETED")
    found = collect(folder, slurm=slurm)
    assert found.results[1].reason == "not run: Slurm task 7_0 on n1 stopped: it was past the time that --until named"
    put_record(folder, CELLS[0], code="c")
    assert slurm_run.submit_missing(folder, slurm=slurm).cells == 3
    assert files.submission(1).until is None


def test_status_expects_an_end_after_a_few_cells(tmp_path):
    folder = submit(tmp_path, Limits())
    files = SlurmFiles.of(folder)
    at = {"host": "n1", "job_id": 7, "started_at": "2026-11-29T12:00:00+00:00", "running": CELLS[2].key}
    slurm = slurm_that_shows(folder, "RUNNING", "PENDING")

    def rows(begun):
        files.write_note("0.0", TaskNote(**at, running_since="2026-11-29T12:01:00+00:00", begun=begun))
        return read_status(folder, slurm=slurm)

    assert [row.expected_end for row in rows(2).tasks] == [None, None]
    status = rows(3)  # three cells took a minute, and three of the task have no record
    assert [row.expected_end for row in status.tasks] == ["2026-11-29T12:02:00+00:00", None]
    assert "\nexpected end of the running tasks: about " in _status_text(status)


def test_a_retried_cell_that_kills_its_task_again_has_the_record_of_that_death(tmp_path, monkeypatch):
    monkeypatch.setattr("bench.runner.slurm.files.code_hash", lambda _: "c")
    folder = submit(tmp_path, Limits(max_cells=2))
    for cell in CELLS[:2]:
        put_record(folder, cell, code="c", outcome=Outcome.KILLED, reason="the first time", started_at=STARTED_AT)
    slurm_run.submit_missing(
        folder, limits=Limits(max_cells=2), retried=(Outcome.KILLED,), slurm=slurm_that_shows(folder, "COMPLETED")
    )
    files = SlurmFiles.of(folder)
    now = files.submission(1).submitted_at
    at = {"host": "n1", "job_id": 7, "started_at": now, "running": CELLS[0].key, "running_since": now}
    files.write_note("1.0", TaskNote(**at))
    running = read_status(folder, slurm=Slurm(FakeSlurm(scontrol=shown(f"bench-{folder.run.id}-1", "RUNNING"))))
    assert (running.waiting, running.missing) == (2, 4)  # they are measured again, though they have records
    (files.path / "1.0.exit").write_text("137\n")
    shown_states = Slurm(FakeSlurm(scontrol=shown(f"bench-{folder.run.id}-1", "FAILED")))
    found = collect(folder, slurm=shown_states)
    assert [result.outcome for result in found.results[:2]] == [Outcome.KILLED, Outcome.KILLED]
    assert "was killed by SIGKILL" in found.results[0].reason
    assert found.results[1].reason == "the first time"  # it was not begun again


class _Clock:
    def __init__(self, moments):
        self.moments = moments
        self.fromisoformat = datetime.fromisoformat

    def now(self, _zone):
        return next(self.moments)


def _counted(flops):
    total = None if flops is None else FlopCount(forward=int(flops))
    return Counted(counters=Counters(flops=total), advice=())
