import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bench.core.cell import Cell
from bench.core.record import Outcome
from bench.runner.events import CellFinished, CellPrepared, CellStarted, RunFinished, RunStarted
from bench.runner.records import Stamp
from bench.runner.session import Limits, run_cells
from bench.store.runs import RunFolder, RunInfo
from bench.store.stored import read_stored_run
from tests.records import STARTED_AT

CELLS = tuple(Cell(model="mock", batch_size=size) for size in (1, 2, 3))


class Scripted:
    """An executor whose cells end as the dictionary says; a KeyboardInterrupt among them is raised."""

    def __init__(self, **endings):
        self.endings = endings

    def prepare(self, cells, on_prepared):
        for cell in cells:
            on_prepared(cell)

    def work_of(self, cell):
        return -cell.batch_size

    def run(self, cell):
        ending = self.endings.get(f"b{cell.batch_size}", Outcome.OK)
        if ending is KeyboardInterrupt:
            raise KeyboardInterrupt
        return Stamp(cell).record(ending, reason=None if ending is Outcome.OK else "scripted")


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path, RunInfo(started_at=STARTED_AT, cells=CELLS))


def test_every_cell_gets_a_record_in_order(folder):
    records = run_cells(CELLS, Scripted(b2=Outcome.KILLED), folder)
    assert [record.cell for record in records] == list(CELLS)
    assert [record.outcome for record in records] == [Outcome.OK, Outcome.KILLED, Outcome.OK]
    assert folder.records() == records


def test_observers_hear_everything_in_order(folder):
    heard = []
    run_cells(CELLS[:2], Scripted(), folder, [heard.append])
    assert [type(event) for event in heard] == [
        RunStarted, CellPrepared, CellPrepared, CellStarted, CellFinished, CellStarted, CellFinished, RunFinished
    ]  # fmt: skip
    assert heard[-1].is_complete


def test_a_record_is_on_disk_before_the_next_cell_starts(folder):
    on_disk = []

    def observer(event):
        if isinstance(event, CellStarted):
            on_disk.append(len(folder.records()))

    run_cells(CELLS, Scripted(), folder, [observer])
    assert on_disk == [0, 1, 2]


def test_an_interrupt_keeps_what_was_measured_and_tells_the_observers(folder):
    heard = []
    with pytest.raises(KeyboardInterrupt):
        run_cells(CELLS, Scripted(b2=KeyboardInterrupt), folder, [heard.append])
    assert isinstance(heard[-1], RunFinished)
    assert not heard[-1].is_complete
    assert [record.cell for record in folder.records()] == [CELLS[0]]
    assert read_stored_run(folder).missing == CELLS[1:]


def _sizes(limits, folder, heard=()):
    return [record.cell.batch_size for record in run_cells(CELLS, Scripted(), folder, heard, limits)]


def test_short_cells_come_first_on_request(folder):
    assert _sizes(Limits(is_short_first=True), folder) == [3, 2, 1]


@pytest.mark.parametrize(("is_short_first", "expected"), [(False, [1, 2]), (True, [3, 2])])
def test_at_most_so_many_cells_are_measured(folder, is_short_first, expected):
    heard = []
    assert _sizes(Limits(max_cells=2, is_short_first=is_short_first), folder, [heard.append]) == expected
    assert (heard[0].most, heard[-1].is_complete) == (2, False)


def test_no_cell_starts_after_the_time_that_was_set(folder):
    ends = []

    def observer(event):
        if isinstance(event, CellFinished):
            ends.append(event.index)

    past = Limits(until=datetime.now(UTC) - timedelta(seconds=1))
    assert _sizes(past, folder, [observer]) == [] == ends
    assert _sizes(Limits(until=datetime.now(UTC) + timedelta(hours=1)), folder, [observer]) == [1, 2, 3]


# One worker per GPU.

CPU, ON_0, ON_1 = CELLS[0], replace(CELLS[1], device="cuda:0"), replace(CELLS[1], device="cuda:1")
SECOND = replace(CELLS[2], device="cuda:0")


def lane_of(cell):
    return None if cell.device == "cpu" else cell.device


class Meeting(Scripted):
    """Cells of batch 2 wait for each other: one after the other they would wait in vain."""

    def __init__(self, **endings):
        super().__init__(**endings)
        self.barrier = threading.Barrier(2)
        self.running, self.most = [], 0

    def run(self, cell):
        self.running.append(cell)
        assert len({one.device for one in self.running}) == len(self.running)  # never two on one
        if cell.batch_size == 2:
            self.barrier.wait(timeout=20)
        self.running.remove(cell)
        return super().run(cell)


def test_cells_of_two_gpus_run_side_by_side_and_those_of_the_cpu_alone(folder):
    cells = (ON_0, CPU, ON_1, SECOND)
    records = run_cells(cells, Meeting(), folder, lane=lane_of)
    assert records[0].cell == CPU
    assert {record.cell for record in records} == set(cells)
    assert set(folder.records()) == set(records)


def test_a_lane_that_is_interrupted_ends_all_and_leaves_no_record_of_it(folder):
    class Interrupted(Meeting):
        def run(self, cell):
            record = super().run(cell)
            if cell.device == "cuda:1":
                raise KeyboardInterrupt
            self.over.wait(timeout=20)
            return record

    executor, heard = Interrupted(), []
    executor.over = threading.Event()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.runner.processes.kill_running", executor.over.set)
        with pytest.raises(KeyboardInterrupt):
            run_cells((ON_0, ON_1, SECOND), executor, folder, [heard.append], lane=lane_of)
    assert folder.records() == ()
    assert not heard[-1].is_complete
