"""Turn what a Slurm run has left so far into complete tables, and say how far it is.

A cell that was running when its task died through its own doing (killed, out of memory, a task's whole time) gets its
record now, and a resume leaves it alone. A cell that had no chance (node lost, preempted, cancelled, behind another in
the task) is a row of the tables only: it has no record, so a resume measures it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from bench.core.claim import CheckedClaim
from bench.core.errors import StoreError
from bench.core.record import Outcome, Record
from bench.runner.claims import check_models
from bench.runner.slurm.commands import Slurm
from bench.runner.slurm.status import Task, TaskEnding, look_at
from bench.runner.slurm.work import Item, Result, Work
from bench.store.runs import RunFolder

_FEW_CELLS = 3
"""Before so many a task's first cell, with all its imports, says too much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRow:
    """One task, for people and for JSON.

    Attributes:
        task: Its name in the run's folder.
        slurm_id: Id as Slurm names it; None if it is not known.
        state: Slurm's word.
        done: Cells with a record, of `cells`.
        running: Id of the cell it is at; None if it is queued or over.
        expected_end: When it ends if its other cells take as long as those before, ISO 8601; None before three cells.
    """

    task: str
    slurm_id: str | None
    state: str
    node: str | None
    done: int
    cells: int
    running: str | None
    expected_end: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How far a run is.

    Attributes:
        command: Command that submitted it, and can resume it.
        outcomes: Records by outcome, in pairs.
        missing: Cells without a record.
        waiting: Number of those that a queued or running task holds.
    """

    run: str
    command: str
    cells: int
    outcomes: tuple[tuple[str, int], ...]
    missing: int
    waiting: int
    tasks: tuple[TaskRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What is there now.

    Attributes:
        work: What the run measures.
        results: Results of every cell whose task is over; those without a file say why in their reason.
        unmeasured: How many of `results` are rows only, which a resume measures.
        waiting: Cells that a queued or running task holds; they have no row yet.
        problems: Record files that cannot be read.
    """

    work: Work
    results: tuple[Result, ...]
    claims: tuple[CheckedClaim, ...]
    unmeasured: int
    waiting: int
    problems: tuple[StoreError, ...]

    @property
    def records(self) -> tuple[Record, ...]:
        """Return those of the results that are records of cells."""
        return tuple(one for one in self.results if isinstance(one, Record))


def read_status(folder: RunFolder, *, slurm: Slurm | None = None) -> Status:
    """Return how far a run is; changes nothing.

    Raises:
        BenchError: The run was not submitted to Slurm, or the controller cannot be asked.
    """
    tasks = look_at(folder, slurm or Slurm())
    work = Work.of(folder)
    outcomes = Counter(result.outcome.value for result in work.read()[0])
    missing = {item.key for item in work.missing()}
    again = {item.key for item, task in _to_retry(work, tasks) if task.is_live}
    held = {key for task in tasks if task.is_live for key in task.keys}
    return Status(
        run=folder.run.id,
        command=work.command,
        cells=len(work.items),
        outcomes=tuple(outcomes.items()),
        missing=len(missing | again),
        waiting=len((missing | again) & held),
        tasks=tuple(_row(task, missing | again if task.superseded else missing, work.names()) for task in tasks),
    )


def collect(folder: RunFolder, *, slurm: Slurm | None = None) -> Collected:
    """Write the tables of what is there now; does not wait. May be repeated, also while tasks run.

    Raises:
        BenchError: The run was not submitted to Slurm, the controller cannot be asked, or the tables cannot be written.
    """
    # First the tasks, then the records: what an ended task wrote is there when it is looked for.
    tasks = look_at(folder, slurm or Slurm())
    held = {key for task in tasks if task.is_live for key in task.keys}
    work = Work.of(folder)
    missing = work.missing()
    last_task = {key: task for task in tasks for key in task.keys}
    rows: list[Result] = []
    for item in missing:
        task = last_task.get(item.key)
        if item.key in held:
            continue
        if task is None or task.ending is None:
            rows.append(work.row(item, Outcome.SKIPPED, "not run: it was never submitted", folder.run.started_at))
            continue
        row = _row_of_missing(work, item, task, task.ending)
        if row.outcome is not Outcome.SKIPPED and task.ending.is_final:
            work.append(row)
        else:
            rows.append(row)
    again = _to_retry(work, tasks)
    for item, task in again:
        if task.ending is not None and task.ending.is_final:
            row = _row_of_missing(work, item, task, task.ending)
            if row.outcome is not Outcome.SKIPPED:
                work.append(row)
    found, problems = work.read()
    # A file that cannot be read is no missing cell: its problem is told instead.
    order = {item.key: index for index, item in enumerate(work.items)}
    results = tuple(sorted((*found, *rows), key=lambda one: order.get(work.item_of(one).key, len(order))))
    waiting = len(held & {item.key for item in (*missing, *(item for item, task in again if task.is_live))})
    models = tuple(dict.fromkeys(cell.model for cell in folder.run.cells))
    claims = check_models(models) if models and not waiting else ()
    work.write_tables(results, claims)
    return Collected(
        work=work,
        results=results,
        claims=claims,
        unmeasured=len(rows),
        waiting=waiting,
        problems=problems,
    )


def _to_retry(work: Work, tasks: Sequence[Task]) -> list[tuple[Item, Task]]:
    """Return the items whose record is still the one that their last task was to replace, with that task."""
    last_task = {key: task for task in tasks for key in task.keys}
    items = {item.key: item for item in work.items}
    found = []
    for result in work.read()[0] if any(task.superseded for task in tasks) else ():
        key = work.item_of(result).key
        task = last_task.get(key)
        if task is not None and key in items and work.is_superseded(result, task.superseded):
            found.append((items[key], task))
    return found


def _row(task: Task, missing: set[str], names: Mapping[str, str]) -> TaskRow:
    index = task.chunk.partition(".")[2]
    running = task.note.running if task.note is not None and task.is_live else None
    return TaskRow(
        task=task.chunk,
        slurm_id=f"{task.job_id}_{index}" if task.job_id is not None else None,
        state=task.state,
        node=task.node,
        done=sum(key not in missing for key in task.keys),
        cells=len(task.keys),
        running=names.get(running, running) if running is not None else None,
        expected_end=_expected_end(task, sum(key in missing for key in task.keys)),
    )


def _expected_end(task: Task, left: int) -> str | None:
    """Expect a running task's end from the cells before the one it is at; `left` counts that one too."""
    note = task.note
    if not task.is_live or note is None or note.running_since is None or note.begun < _FEW_CELLS:
        return None
    since = datetime.fromisoformat(note.running_since)
    return (since + (since - datetime.fromisoformat(note.started_at)) / note.begun * left).isoformat()


def _row_of_missing(work: Work, item: Item, task: Task, ending: TaskEnding) -> Result:
    """Make the result of an item that its task, which is over, left without one."""
    note = task.note
    if note is None or note.running is None:  # no cell is to blame
        if ending.outcome is Outcome.FAILED:
            return work.row(item, Outcome.FAILED, ending.reason, task.submitted_at)
        return work.row(item, Outcome.SKIPPED, f"not run: {ending.reason}", task.submitted_at)
    if note.running != item.key:
        at = work.names().get(note.running, note.running)
        return work.row(item, Outcome.SKIPPED, f"not run: {ending.reason}, while it was at {at}", task.submitted_at)
    since = note.running_since or note.started_at
    ended = task.last_sign if task.last_sign is not None else time.time()
    return work.row(
        item,
        ending.outcome,
        ending.reason,
        since,
        environment=note.environment,
        code=note.code,
        output_tail=task.output or None,
        duration_seconds=max(0.0, ended - datetime.fromisoformat(since).timestamp()),
    )
