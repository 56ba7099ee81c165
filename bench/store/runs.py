"""A run on disk: `results/<run-id>/` with `run.json`, one atomic file per cell, tables and reports.

results/20261123-175309-ab12cd/
├── run.json                 RunInfo: environment, sweep, cells, settings, command line
├── records/<cell-key>.json  one Record each, on disk the moment its cell ends, never edited
├── training/<key>.json      of `bench train`: one Training, and its checkpoint until it is done
├── tables/                  derived: *.csv, *.parquet, summary.md
├── claims.json              documented values, checked
└── report.html              derived
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.core.cell import Cell
from bench.core.environment import Environment
from bench.core.errors import StoreError
from bench.core.record import SCHEMA, Record
from bench.store.atomic import check_folder, make_folder, store_error, write_bytes
from bench.store.codec import from_file, to_bytes

_ELSEWHERE = "choose another folder with --results"


def check_results(root: Path) -> None:
    """Refuse a folder that can hold no runs, without making it.

    Raises:
        StoreError: A file is in the way, or it is not permitted.
    """
    check_folder(root, _ELSEWHERE)


_RUN_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumption:
    """One `bench run --resume` of a run: when, by what command line and version."""

    started_at: str
    command: tuple[str, ...] = ()
    stepbench: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """What a run was asked to do, and where; `run.json`.

    Attributes:
        started_at: ISO 8601 with zone.
        command: The command line, as typed; of the first start, if the run was resumed.
        environment: Environment of the process that started or last resumed the run; each record has its own.
        cells: What was planned, in the order of the tables. A cell without a record was never finished.
        sweep: The sweep as plain JSON, as `suite/` writes it.
        settings: Further options of the run as plain JSON.
        stepbench: Version that wrote it.
        resumptions: How the run was resumed, oldest first.
        id: Name of the folder; `RunFolder.create` sets it.
    """

    started_at: str
    command: tuple[str, ...] = ()
    environment: Environment | None = None
    cells: tuple[Cell, ...] = ()
    sweep: Any = None
    settings: Any = None
    stepbench: str = ""
    resumptions: tuple[Resumption, ...] = ()
    id: str = ""
    schema: int = SCHEMA

    @property
    def typed(self) -> str:
        """The command line without the folder of its program; `bench run` if it is unknown."""
        program, *rest = self.command or ("bench run",)
        path = Path(program)
        return " ".join([path.parent.name if path.stem == "__main__" else path.name, *rest])  # python -m pytest


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run's folder; make it with `create` or `open`, never directly."""

    path: Path
    run: RunInfo

    @classmethod
    def create(cls, root: Path, run: RunInfo) -> RunFolder:
        """Make a new folder under `root` and write its `run.json`.

        The id is the start in UTC and six random hex digits: it sorts by time, and two runs at once get two folders.

        Raises:
            StoreError: The folder cannot be made or written.
        """
        make_folder(root, _ELSEWHERE)
        while True:
            run_id = f"{_utc(run.started_at):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
            path = root / run_id
            try:
                path.mkdir()  # exclusive: of two runs with one id, one fails here and draws again
                break
            except FileExistsError:
                continue
            except OSError as error:
                raise store_error("make the folder", path, error, _ELSEWHERE) from error
        folder = cls(path, replace(run, id=run_id))
        try:
            make_folder(folder.records_path)
            write_bytes(path / "run.json", to_bytes(folder.run, "run.json"))
        except StoreError:
            _remove_empty(folder.records_path, path)
            raise
        return folder

    @classmethod
    def open(cls, path_or_id: str | Path, root: Path = Path("results"), *, prefers_records: bool = False) -> RunFolder:
        """Open a run by its folder, its id, a unique beginning of its id in `root`, or `latest` (which see).

        Raises:
            StoreError: There is no such run, or its `run.json` cannot be read; a newer stepbench wrote it.
        """
        if str(path_or_id) == "latest":
            return cls.open(latest(root, prefers_records=prefers_records))
        for path in (Path(path_or_id), root / path_or_id):
            if (path / "run.json").is_file():
                return cls(path, from_file(RunInfo, path / "run.json"))
        known = run_paths(root)
        matches = [path for path in known if path.name.startswith(str(path_or_id))]
        if len(matches) == 1:
            return cls.open(matches[0])
        found = ", ".join(path.name for path in (matches or known)[-3:]) or "none"
        what = f"{len(matches)} runs begin with" if matches else "no run"
        raise StoreError(f"{what} {str(path_or_id)!r} in {root}; found: {found}")

    @property
    def records_path(self) -> Path:
        """Where the record files are."""
        return self.path / "records"

    @property
    def tables_path(self) -> Path:
        """Where the derived tables go."""
        return self.path / "tables"

    def rewrite(self, run: RunInfo) -> RunFolder:
        """Replace `run.json`, for a run that is resumed.

        Raises:
            StoreError: It cannot be written; the old one is untouched.
        """
        folder = RunFolder(self.path, replace(run, id=self.run.id))
        write_bytes(self.path / "run.json", to_bytes(folder.run, "run.json"))
        return folder

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from measuring into this run; the lock ends with the process, and leaves no file.

        Raises:
            StoreError: Another process holds it.
        """
        handle = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StoreError(f"{self.path} is being measured by another process; wait for it, or stop it") from None
            except OSError:
                pass  # a network file system without locks
            yield
        finally:
            os.close(handle)

    def remove_temporaries(self) -> None:
        """Remove what writers that were killed left behind; only while `locked`, and never behind a link."""
        below = [path for path in self.path.iterdir() if path.is_dir() and not path.is_symlink()]
        for path in itertools.chain.from_iterable(folder.glob(".*.tmp") for folder in (self.path, *below)):
            with contextlib.suppress(OSError):
                path.unlink()

    def append(self, record: Record) -> Path:
        """Write one record to disk, whole and durable; one of the same cell is replaced by this newer one.

        Raises:
            StoreError: It cannot be written; earlier records are untouched.
        """
        make_folder(self.records_path)
        path = self.records_path / f"{record.cell.key}.json"
        write_bytes(path, to_bytes(record, record.cell.id))
        return path

    def records(self) -> tuple[Record, ...]:
        """Read all records, in the order of the planned cells, then by name.

        Raises:
            StoreError: A file is truncated or foreign; `read_records` returns the others and the problem.
        """
        records, problems = self.read_records()
        if problems:
            raise problems[0]
        return records

    def read_records(self) -> tuple[tuple[Record, ...], tuple[StoreError, ...]]:
        """Read what can be read: the records, and one problem per file that is truncated, foreign or too new."""
        newest: dict[str, Record] = {}
        problems = []
        for path in sorted(self.records_path.glob("*.json")):
            try:
                record = from_file(Record, path)
            except StoreError as error:
                problems.append(error)
                continue
            other = newest.get(record.cell.key)  # under another file name, for example a copy
            if other is None or _utc(other.started_at) <= _utc(record.started_at):
                newest[record.cell.key] = record
        planned = {cell.key: index for index, cell in enumerate(self.run.cells)}
        last = len(planned)
        records = sorted(newest.values(), key=lambda r: (planned.get(r.cell.key, last), r.cell.id))
        return tuple(records), tuple(problems)

    def write_summary(self, text: str) -> None:
        """Write `tables/summary.md`.

        Raises:
            StoreError: It cannot be written.
        """
        write_bytes(self.tables_path / "summary.md", f"{text}\n".encode("utf-8", "backslashreplace"))


def run_paths(root: Path) -> tuple[Path, ...]:
    """List the folders of all runs under `root`, oldest first; an absent root has none."""
    try:
        paths = [path for path in root.iterdir() if _RUN_ID.fullmatch(path.name) and (path / "run.json").is_file()]
        # Within one second the random digits say nothing: run.json's own time does.
        return tuple(sorted(paths, key=lambda p: (p.name[:15], (p / "run.json").stat().st_mtime_ns, p.name)))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise store_error("list the runs in", root, error) from error


def latest(root: Path, *, prefers_records: bool = False) -> Path:
    """Find the folder of the newest run under `root`.

    Args:
        root: Where runs are looked for.
        prefers_records: For commands that need cells: pass over newer runs without records, as those of `bench train`,
            `generate`, `images` and `ab` are; the newest of all where none has any.

    Raises:
        StoreError: There is none.
    """
    paths = run_paths(root)
    if not paths:
        raise StoreError(f"no runs in {root}; measure one with `bench run`, or name another folder with --results")
    if prefers_records:
        return next((path for path in reversed(paths) if any((path / "records").glob("*.json"))), paths[-1])
    return paths[-1]


def _utc(started_at: str) -> datetime:
    try:
        moment = datetime.fromisoformat(started_at)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise StoreError(f"{started_at!r} is not a time; write it as 2026-11-23T17:53:09+00:00") from None


def _remove_empty(*folders: Path) -> None:
    """Remove folders that hold nothing; one that does stays."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return
