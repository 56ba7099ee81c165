"""One task of a Slurm array: `python -m bench.runner.slurm.task RUN_FOLDER CHUNK` measures the cells of its chunk.

for each cell without a record:   note "I am at this cell" -> LocalExecutor, processes of its own -> record on disk

The environment is read on the node it runs on. It stops when too little of the time limit is left for another cell,
or it is past the time after which none was to start.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from bench.core.errors import BenchError, ExitCode
from bench.core.text import plain
from bench.core.units import now
from bench.device.clocks import locked_environments
from bench.registry.code import code_hash
from bench.runner.executor import LocalExecutor
from bench.runner.peaks import known_peaks
from bench.runner.plan import Plan, make_plan, preflight_limit
from bench.runner.scenarios import cases_with_parts, measure_case
from bench.runner.slurm.files import (
    FINISHED,
    OUT_OF_TIME,
    TOO_LATE,
    SlurmFiles,
    Submission,
    TaskNote,
    parse_chunk,
    unrecorded,
)
from bench.runner.slurm.script import NODES_FOLDER_VARIABLE, estimated_seconds
from bench.runner.slurm.work import Item, Result, Work, cell_of
from bench.store.runs import RunFolder


class Task:
    """The measuring of one chunk, and its note on disk."""

    def __init__(self, folder: RunFolder, chunk: str) -> None:
        self._folder = folder
        self._work = Work.of(folder)
        self._chunk = chunk
        self._files = SlurmFiles.of(folder)
        number, index = parse_chunk(chunk)
        self._submission: Submission = self._files.submission(number)
        self._keys = self._submission.chunks[index]
        self._started = time.monotonic()
        job_id = os.environ.get("SLURM_ARRAY_JOB_ID", "")
        host = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
        self._note = TaskNote(host=host, job_id=int(job_id) if job_id.isdigit() else None, started_at=now())

    def run(self) -> None:
        """Measure every cell of the chunk that has no record yet.

        Raises:
            BenchError: The node cannot measure the chunk at all, or a record cannot be written.
        """
        self._say()
        if self._submission.job.nodes > 1:
            os.environ[NODES_FOLDER_VARIABLE] = str(self._files.path / f"{self._chunk}.nodes")
        signal.signal(signal.SIGTERM, self._leave)
        items = unrecorded(self._work, self._keys, dict(self._submission.superseded))
        place = {key: index for index, key in enumerate(self._keys)}
        items = tuple(sorted(items, key=lambda item: place[item.key]))  # as submitted: short cells may come first
        if items:
            try:
                limit = preflight_limit(self._submission.timeout_seconds)
                cells = [cell_of(item) for item in items]
                plan = make_plan(cells, nodes=self._submission.job.nodes, timeout_seconds=limit)
            except BenchError as error:
                self._say(problem=str(error))
                raise
            is_asked = self._submission.sampling.lock_clocks
            with locked_environments(plan.environments, is_asked=is_asked) as environments:
                if not self._measure(items, replace(plan, environments=environments)):
                    return
        self._end(FINISHED)

    def _measure(self, items: Sequence[Item], plan: Plan) -> bool:
        """Measure one item after the other; False if the time ended before the last."""
        measure = self._measurer(plan)
        for begun, item in enumerate(items):
            if self._is_too_late():
                self._end(TOO_LATE)
                return False
            if begun and self._seconds_left() < estimated_seconds(item, self._submission.sampling):
                self._end(OUT_OF_TIME)
                return False
            environment = plan.environments.get(cell_of(item).device)
            code = code_hash(cell_of(item).model)
            self._say(running=item.key, running_since=now(), begun=begun, code=code, environment=environment)
            result = measure(item)
            self._work.append(result)
            reason = f": {result.reason}" if result.reason else ""
            print(plain(f"{item.id} {result.outcome.value}{reason}"), flush=True)
        return True

    def _measurer(self, plan: Plan) -> Callable[[Item], Result]:
        """Return what measures one item: the executor of cells, or the kind of the run's cases."""
        submission, kind = self._submission, self._work.kind
        if kind is not None:
            with_parts = cases_with_parts(self._work.items) if self._folder.run.settings["parts"] else ()

            def measure(item: Any) -> Result:
                found: Result = measure_case(
                    kind,
                    item,
                    submission.sampling,
                    plan.environments[item.cell.device],
                    has_parts=item in with_parts,
                    timeout_seconds=submission.timeout_seconds,
                )
                return found

            return measure
        executor = LocalExecutor(
            sampling=submission.sampling,
            environments=plan.environments,
            timeout_seconds=submission.timeout_seconds,
            is_predicting=submission.is_predicting,
            is_metering=submission.is_metering,
            is_cold=submission.is_cold,
            peaks=known_peaks(self._folder.path.parent, plan.environments),
        )
        return lambda item: executor.run(cell_of(item))

    def _seconds_left(self) -> float:
        return self._submission.job.limit_seconds - (time.monotonic() - self._started)

    def _is_too_late(self) -> bool:
        until = self._submission.until
        return until is not None and datetime.now(UTC) >= datetime.fromisoformat(until)

    def _say(self, **changes: Any) -> None:
        self._note = replace(self._note, **changes)
        self._files.write_note(self._chunk, self._note)

    def _end(self, how: str) -> None:
        at_a_cell: dict[str, Any] = {} if how == signal.SIGTERM.name else {"running": None, "running_since": None}
        self._say(ended=how, ended_after_seconds=time.monotonic() - self._started, **at_a_cell)

    def _leave(self, number: int, _: FrameType | None) -> None:
        """Go when Slurm says so, before its SIGKILL: the note keeps the cell it was at."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._end(signal.SIGTERM.name)
        raise SystemExit(128 + number)


def main(arguments: Sequence[str]) -> int:
    """Run one task; errors are one line on stderr."""
    if len(arguments) != 2:
        print("usage: python -m bench.runner.slurm.task RUN_FOLDER CHUNK", file=sys.stderr)
        return int(ExitCode.USAGE)
    try:
        Task(RunFolder.open(Path(arguments[0])), arguments[1]).run()
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return int(error.exit_code)
    return int(ExitCode.FINE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
