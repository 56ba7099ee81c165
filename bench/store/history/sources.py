"""What can be ingested, as rows: record files of runs, and JSON files of pytest-benchmark.

A source is listed first, by the address of each measurement in it, so that what the history has already is neither
understood nor summarised again. One broken file is a problem with its name; the others go on.
"""

from __future__ import annotations

import functools
import math
import os
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.core.cell import Cell, CompileMode, short_hash
from bench.core.environment import Environment
from bench.core.errors import StoreError
from bench.core.estimate import Estimate
from bench.core.generation import Generation, Sampled
from bench.core.jsonio import to_json
from bench.core.record import Outcome, Record
from bench.core.units import counted
from bench.stats.cold import eager_key
from bench.stats.estimate import estimate_median, relative_dispersion
from bench.stats.generation import estimates_of, summarise_generation
from bench.store.atomic import store_error
from bench.store.codec import digest, from_data, parse_file
from bench.store.history.schema import MEASURED
from bench.store.pytest_benchmark import StoredBenchmark, StoredSession, read_session
from bench.store.runs import RunFolder, RunInfo, run_paths
from bench.tables.cell_values import cell_rows
from bench.tables.cells import CELLS

Row = Mapping[str, Any]
_COLUMNS = {column.name: column for column in CELLS if column.name in MEASURED}
_UNREADABLE = re.compile("[\x00\ud800-\udfff]")  # PostgreSQL takes neither
_LONGEST = 500
"""Characters of a reason; the record has all of it."""

_AT_ONCE = 200
"""Files of a run that are held in memory together."""

_DEFAULTS = {field.name: field.default for field in fields(Cell)}
_NOTHING = dict.fromkeys(MEASURED)
_CASES = {"generation": Generation, "sampling": Sampled}
"""What cases are, by the folder of a run that holds them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One measurement as rows of `bench.store.history.schema`; `record` lacks only its id."""

    run: Row
    cell: Row
    environment: Row | None
    record: Row


@dataclass(frozen=True, slots=True)
class Listed:
    """One measurement of a source: its address, and how to make its rows (raises StoreError)."""

    digest: str
    make: Callable[[], Entry]


def find_sources(given: Sequence[str], results: Path) -> tuple[tuple[Path, ...], tuple[StoreError, ...]]:
    """Find what was asked for, as of `ingest`: run folders and files, and a problem for each that is not there."""
    if not given:
        return run_paths(results), ()
    sources: list[Path] = []
    problems: list[StoreError] = []
    for name in given:
        path = Path(name)
        try:
            if path.is_file():
                sources.append(path.parent if path.name == "run.json" else path)
            elif path.is_dir() and not (path / "run.json").is_file():
                below = run_paths(path)
                if not below:
                    raise StoreError(f"{path} is no run, and holds none")
                sources += below
            else:
                sources.append(RunFolder.open(name, results).path)
        except StoreError as error:
            problems.append(error)
    return tuple(dict.fromkeys(sources)), tuple(problems)


def list_source(path: Path, part: int = 0, parts: int = 1) -> Iterator[tuple[tuple[Listed, ...], tuple[str, ...]]]:
    """List the measurements of a run folder or of a file, and what of it cannot be read, a few hundred at a time.

    Where several processes read it side by side, each lists its part.

    Raises:
        StoreError: Nothing of it can be read.
    """
    if path.is_dir():
        yield from _list_run(path, part, parts)
    elif _part_of(path.name, parts) == part:
        yield _list_session(path)


def _part_of(name: str, parts: int) -> int:
    """Return whose a file is; by its name, because files may be added while others list the folder."""
    return zlib.crc32(os.fsencode(name)) % parts


def _list_session(path: Path) -> tuple[tuple[Listed, ...], tuple[str, ...]]:
    session = read_session(path)
    run = _session_run(session, path)
    listed = [
        Listed(_address(session, b), functools.partial(_session_entry, session, b, run)) for b in session.benchmarks
    ]
    return tuple(listed), ()


def _list_run(path: Path, part: int, parts: int) -> Iterator[tuple[tuple[Listed, ...], tuple[str, ...]]]:
    folder = RunFolder.open(path)
    row = _run_row(folder)
    yield from _list_folder(folder.records_path, _record_entry, row, part, parts)
    for name, kind in _CASES.items():
        yield from _list_folder(folder.path / name, functools.partial(_case_entry, kind), row, part, parts)


def _list_folder(
    folder: Path, make_entry: Callable[[Any, Path, Row, str, str], Entry], row: Row, part: int, parts: int
) -> Iterator[tuple[tuple[Listed, ...], tuple[str, ...]]]:
    """List the measurements of one kind in a run; none where it has no folder of them."""
    resolved = folder.resolve()  # once, and not a look at every folder above for every file
    try:
        names = sorted(path.name for path in folder.iterdir() if path.name.endswith(".json"))
    except FileNotFoundError:
        return
    except OSError as error:
        raise store_error("list", folder, error) from error
    mine = [name for name in names if _part_of(name, parts) == part]
    for start in range(0, len(mine), _AT_ONCE):
        listed: list[Listed] = []
        problems: list[str] = []
        for name in mine[start : start + _AT_ONCE]:
            file = folder / name
            try:
                data = parse_file(file)
            except StoreError as error:
                problems.append(str(error))
            else:
                address = digest(data)
                make = functools.partial(make_entry, data, file, row, address, str(resolved / name))
                listed.append(Listed(address, make))
        yield tuple(listed), tuple(problems)


def _run_row(folder: RunFolder) -> Row:
    run: RunInfo = folder.run
    return {
        "id": clean(run.id or folder.path.name),
        "kind": "stepbench",
        "started_at": moment(run.started_at, str(folder.path / "run.json")),
        "path": clean(str(folder.path.resolve())),
        "written_by": clean(f"stepbench {run.stepbench}".strip()),
    }


def _record_entry(data: Any, file: Path, run: Row, address: str, path: str) -> Entry:
    record = from_data(Record, data, file)
    return entry_of(record, digest=address, run=run, path=path, eager=_eager(record, file))


def _eager(record: Record, file: Path) -> Record | None:
    """Read what the same run has of the same cell that is not compiled; None if there is none that can be read."""
    if record.cell.compile is CompileMode.NONE:
        return None
    other = file.with_name(f"{eager_key(record.cell)}.json")
    if not other.is_file():
        return None
    try:
        return from_data(Record, parse_file(other), other)
    except StoreError:  # a problem of that file, which is told where it is listed
        return None


def _case_entry(
    kind: type[Generation] | type[Sampled], data: Any, file: Path, run: Row, address: str, path: str
) -> Entry:
    """Make the rows of a case of `bench generate` or `bench images`: its step is a token, or a denoising step."""
    measured = from_data(kind, data, file)
    case, environment, counts = measured.case, measured.environment, measured.counts
    cell = {"key": case.key, "name": clean(case.id), "axes": None}  # no cell that `bench ab` could measure
    machine = None if environment is None else _environment_row(environment)
    step = next(iter(estimates_of(measured).values()))
    timed: dict[str, Any] = {}
    if step is not None and measured.times is not None:
        processes = len(measured.times.processes) or 1
        timed = _estimated(step) | {"step_median_seconds": step.point, "step_processes": processes}
    if step is not None and isinstance(measured, Generation):
        rate = summarise_generation(measured).decode_tokens_per_second
        timed |= {"tokens_per_second": rate, "token_seconds": 1 / rate if rate else None}
    return Entry(
        run=run,
        cell=cell,
        environment=machine,
        record={
            **_head(measured, address, run, case.key, machine, path),
            **_NOTHING,
            **timed,
            "parameters": counts.parameters if counts else None,
        },
    )


def _head(
    measured: Record | Generation | Sampled, address: str, run: Row, key: str, machine: Row | None, path: str
) -> Row:
    """Say when and of which code a measurement is, how it ended, and where its file lies."""
    environment = measured.environment
    return {
        "digest": address,
        "run_id": run["id"],
        "cell_key": key,
        "fingerprint": machine and machine["fingerprint"],
        "started_at": moment(measured.started_at, path),
        "git_commit": environment.git_commit if environment else None,
        "git_dirty": environment.git_dirty if environment else None,
        "code": measured.code,
        "outcome": measured.outcome.value,
        "reason": None if measured.reason is None else clean(measured.reason[:_LONGEST]),
        "path": clean(path),
    }


def _estimated(step: Estimate) -> dict[str, Any]:
    return {
        "step_low_seconds": step.low,
        "step_high_seconds": step.high,
        "step_n": step.n,
        "step_n_effective": step.n_effective,
    }


def entry_of(record: Record, *, digest: str, run: Row, path: str, eager: Record | None = None) -> Entry:
    """Make the rows of a record; compiling pays against the cell `eager`."""
    environment = record.environment
    row, *_ = cell_rows((record,) if eager is None else (record, eager))
    cell = _cell_row(record.cell)
    machine = None if environment is None else _environment_row(environment)
    return Entry(
        run=run,
        cell=cell,
        environment=machine,
        record={
            **_head(record, digest, run, cell["key"], machine, path),
            **{name: _stored(column.get(row)) for name, column in _COLUMNS.items()},
        },
    )


def _stored(value: Any) -> Any:
    """Leave out a count that no column of a database holds: the FLOPs of a step of more than 9e18."""
    return None if isinstance(value, int) and not -(2**63) <= value < 2**63 else value


def _cell_row(cell: Cell) -> Row:
    values = ((name, getattr(cell, name), default) for name, default in _DEFAULTS.items())
    axes = {name: to_json(value) for name, value, default in values if value != default}
    return {"key": cell.key, "name": clean(cell.id), "axes": axes}


@functools.lru_cache(maxsize=64)  # one machine, thousands of records
def _environment_row(environment: Environment) -> Row:
    chip = environment.gpu or environment.cpu
    machine = f"{chip}, {counted(environment.threads, 'thread')}, torch {environment.torch}"
    return {
        "fingerprint": environment.fingerprint,
        "machine": clean(machine),
        "fields": environment.comparable_fields(),
    }


def _session_run(session: StoredSession, path: Path) -> Row:
    if session.written_at is None:
        raise StoreError(f"{path} does not say when it was measured (no datetime); it cannot be put in order")
    return {
        "id": f"pytest-benchmark-{short_hash([_address(session, b) for b in session.benchmarks])}",
        "kind": "pytest-benchmark",
        "started_at": moment(session.written_at, str(path)),
        "path": clean(str(path.resolve())),
        "written_by": clean(f"pytest-benchmark {session.version}".strip()),
    }


def _address(session: StoredSession, benchmark: StoredBenchmark) -> str:
    """Address a benchmark by the record it left, so that both are one; else by what was measured, where and when."""
    context = [session.written_at, session.fingerprint, session.commit]
    return benchmark.record_digest or digest({"context": context, "benchmark": benchmark.raw})


def _session_entry(session: StoredSession, benchmark: StoredBenchmark, run: Row) -> Entry:
    machine = dict(session.machine)
    environment: Row | None = None
    if session.environment is not None:
        environment = _environment_row(session.environment)
    elif session.fingerprint is not None:
        words = machine.get("cpu.brand_raw") or machine.get("cpu.brand") or machine.get("machine", "unknown machine")
        text = f"{words}, Python {machine.get('python_version', 'unknown')}"
        environment = {"fingerprint": session.fingerprint, "machine": clean(text), "fields": machine}
    name = clean(benchmark.name)
    foreign = {"key": short_hash({"pytest-benchmark": name}), "name": name, "axes": None}
    cell = foreign if benchmark.cell is None else _cell_row(benchmark.cell)
    is_ok = benchmark.median_seconds is not None
    return Entry(
        run=run,
        cell=cell,
        environment=environment,
        record={
            "digest": _address(session, benchmark),
            "run_id": run["id"],
            "cell_key": cell["key"],
            "fingerprint": session.fingerprint,
            "started_at": run["started_at"],
            "git_commit": session.commit,
            "git_dirty": session.is_dirty,
            "code": None,
            "outcome": (Outcome.OK if is_ok else Outcome.FAILED).value,
            "reason": None if is_ok else "no median above 0",
            "path": run["path"],
            **_NOTHING,
            **_session_values(benchmark),
        },
    )


def _session_values(benchmark: StoredBenchmark) -> dict[str, Any]:
    """Take the median as it stands; an interval only where every round was saved."""
    values: dict[str, Any] = {"step_median_seconds": benchmark.median_seconds, "step_processes": 1}
    if benchmark.seconds and all(0 <= second < math.inf for second in benchmark.seconds):
        found = estimate_median(benchmark.seconds)
        values |= _estimated(found) | {"step_relative_dispersion": relative_dispersion(benchmark.seconds)}
    extra = benchmark.raw.get("extra_info") or {}
    if benchmark.cell is not None:  # of the fixture `bench_cell`, whose names are ours
        whole = {name: extra.get(name) for name in ("parameters", "trainable_parameters")}
        flops = extra.get("flops")
        flops = flops if isinstance(flops, dict) else {}
        whole |= {f"flops_{name}": flops.get(name) for name in ("forward", "backward")}
        values |= {name: value for name, value in whole.items() if type(value) is int}
    return values


def clean(text: str) -> str:
    """Make a text that every database takes: no NUL, no half of a surrogate pair."""
    return _UNREADABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def moment(text: str, where: str) -> datetime:
    """Read ISO 8601; without a zone it is UTC.

    Raises:
        StoreError: It is no time; `where` names the file.
    """
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise StoreError(f"{where}: {text!r} is not a time; it cannot be put in order") from None
