"""Run cases of a longer workload one after the other, each in fresh processes, each on disk the moment it ends."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

import bench
from bench.core.environment import Environment
from bench.core.jsonio import to_json
from bench.core.record import Outcome, Sampling
from bench.runner import processes
from bench.store.records import RunFolder, RunInfo
from bench.store.scenarios import append_case

C = TypeVar("C")
M = TypeVar("M")

Watch = Callable[[int, int, str, str | None], None]
"""`(index, total, case id, words)`: words is None when the case starts, and says how it ended when it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished(Generic[M]):
    """A run that ended: where it lies and what it found."""

    folder: Path
    measured: tuple[M, ...]


def run_cases(
    cases: Sequence[C],
    measure: Callable[[C, Environment], dict[str, Any]],
    make: Callable[..., M],
    *,
    room: str,
    environments: Mapping[str, Environment],
    results: Path,
    watch: Watch,
) -> Finished[M]:
    """Measure cases and store each.

    Args:
        cases: With an `id`, and a `cell` whose device has an environment.
        measure: Gives the fields of what `make` makes, but those that are the same for every case.
        make: The type of a measured case.
        room: The folder's name in the run.
        environments: By device.
        results: Folder that holds the runs.
        watch: Told when a case starts and ends.

    Raises:
        StoreError: A result cannot be written.
    """
    info = RunInfo(
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        command=tuple(sys.argv),
        environment=next(iter(environments.values())),
        settings={room: [to_json(case) for case in cases]},
        stepbench=bench.__version__,
    )
    folder = RunFolder.create(results, info)
    measured = []
    with folder.locked():
        for index, case in enumerate(cases):
            name, device = case.id, case.cell.device  # type: ignore[attr-defined]
            watch(index, len(cases), name, None)
            started_at, started = datetime.now(UTC), time.perf_counter()
            fields = measure(case, environments[device])
            one = make(
                case=case,
                environment=environments[device],
                started_at=started_at.isoformat(timespec="seconds"),
                duration_seconds=time.perf_counter() - started,
                stepbench=bench.__version__,
                **fields,
            )
            append_case(folder, room, one)
            measured.append(one)
            watch(index, len(cases), name, _words(fields))
    return Finished(folder=folder.path, measured=tuple(measured))


def time_and_count(
    worker: str, case: Any, sampling: Sampling, environment: Environment, *, method: str
) -> dict[str, Any]:
    """Time a case in one fresh process and count it in another; give the fields of what was found.

    Args:
        worker: Module with `time_case(case, sampling, gpu_uuid)` and `measure_case(case)`.
        case: To be measured.
        sampling: How long to measure.
        environment: Of the case's device.
        method: How processes are started.
    """
    timed = processes.call(f"{worker}:time_case", case, sampling, environment.gpu_uuid, method=method)
    if timed.outcome is not Outcome.OK:
        return {"outcome": timed.outcome, "reason": timed.reason}
    counted = processes.call(f"{worker}:measure_case", case, method=method)
    times, state = timed.value
    return {
        "outcome": Outcome.OK,
        "reason": counted.value.reason if counted.outcome is Outcome.OK else f"not counted: {counted.reason}",
        "times": times,
        "state": state,
        "counts": counted.value,
    }


def _words(fields: Mapping[str, Any]) -> str:
    if fields["outcome"] is Outcome.OK:
        return "done"
    return f"{fields['outcome'].value}: {fields['reason']}"
