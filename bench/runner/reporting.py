"""Stored runs to the HTML report: what is on disk becomes `ReportData`, and the page goes into a file.

A run folder has `records/` (`bench run`) or `comparison.json` (`bench ab`); `claims.json` holds the claims of a run.

Put the history of a run's cells into its report, where there is a history.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.core.claim import CheckedClaim
from bench.core.comparison import Comparison
from bench.core.errors import BenchError, IncomparableError, NothingMeasuredError, StoreError
from bench.core.generation import Generation
from bench.core.history import Trend
from bench.core.image_sampling import Sampled
from bench.core.jsonio import from_json, to_json
from bench.core.record import Record
from bench.core.units import format_seconds
from bench.core.version import __version__
from bench.report.html.contract import AbData, NominatedRuns, ReportData, RunData, make_data
from bench.report.html.page import render
from bench.report.html.sections import generation, sampling
from bench.report.html.sections.history import EXTRA
from bench.report.html.sections.profile import PROFILES
from bench.report.html.sections.training import TRAININGS
from bench.runner.compare import compare_stored, stored_run
from bench.store.atomic import write_bytes
from bench.store.cases import read_cases, read_profiles, read_trainings
from bench.store.history.accepted import read_accepted
from bench.store.history.database import open_history
from bench.store.history.git import descendants
from bench.store.history.queries import STEP, find_series, read_trend
from bench.store.runs import RunFolder
from bench.tables.comparison import Heading, sessions_in_words

CLAIMS_FILE = "claims.json"
COMPARISON_FILE = "comparison.json"
CASES: dict[str, type[Any]] = {generation.EXTRA: Generation, sampling.EXTRA: Sampled}
"""What longer workloads leave in folders of a run, by the folder's name."""


def read_report_data(runs: Sequence[str], results: Path) -> ReportData:
    """Read stored runs; with several, each is put beside the first.

    Args:
        runs: Folders, ids, beginnings of ids, or `latest`.
        results: Where ids are looked up.

    Raises:
        StoreError: A run is not there, or its `run.json` cannot be read. Records that cannot be read are named in
            the report.
    """
    return _with_nominations([read_run_data(RunFolder.open(run, results)) for run in runs])


def write_report(data: ReportData, path: Path) -> int:
    """Write the report of some runs into a file, whole or not at all, and return its size in bytes.

    Raises:
        StoreError: It cannot be written.
    """
    page = render(data, made_by=f"stepbench {__version__}").encode("utf-8", "backslashreplace")
    write_bytes(path, page)
    return len(page)


def write_run_report(folder: RunFolder, records: tuple[Record, ...], claims: tuple[CheckedClaim, ...]) -> None:
    """Write `claims.json` and `report.html` of a run that just ended; a page that cannot be made costs no run.

    Raises:
        StoreError: The run's folder cannot be written.
    """
    folder.write_text(CLAIMS_FILE, json.dumps(to_json(claims), indent=1, allow_nan=False) + "\n")
    _write_page(folder, _run_data(folder, records, claims))


def write_training_report(folder: RunFolder) -> None:
    """Write `report.html` of a training that just ended, likewise.

    Raises:
        StoreError: The run's folder cannot be written.
    """
    _write_page(folder, _run_data(folder, (), ()))


def _write_page(folder: RunFolder, run: RunData) -> None:
    try:
        write_report(make_data([run]), folder.path / "report.html")
    except StoreError:
        raise
    except Exception as error:  # noqa: BLE001 - everything is measured and stored by now; the page can be made again
        logging.getLogger(__name__).warning(
            "report.html was not written (%s: %s); 'bench report %s' tries again",
            type(error).__name__,
            error,
            folder.path.name,
        )


def read_run_data(folder: RunFolder) -> RunData:
    """Read one stored run, or what a comparison found; records that cannot be read are named in `problems`.

    Raises:
        StoreError: Its claims, or the comparison, cannot be read.
    """
    problems: list[str] = []
    if (folder.path / COMPARISON_FILE).is_file():
        return RunData(
            id=folder.path.name,
            started_at=folder.run.started_at,
            command=folder.run.command,
            environment=folder.run.environment,
            ab=_read_comparison(folder.path / COMPARISON_FILE),
        )
    records, unreadable = folder.read_records()
    problems += map(str, unreadable)
    return _run_data(folder, records, _read_claims(folder.path / CLAIMS_FILE), tuple(problems))


def _run_data(
    folder: RunFolder,
    records: tuple[Record, ...],
    claims: tuple[CheckedClaim, ...],
    problems: tuple[str, ...] = (),
) -> RunData:
    run = folder.run
    trainings, unreadable = read_trainings(folder)
    problems += tuple(map(str, unreadable))
    extras: dict[str, Any] = {PROFILES: read_profiles(folder), TRAININGS: trainings}
    for room, cls in CASES.items():
        try:
            extras[room] = read_cases(folder, room, cls)
        except StoreError as error:
            problems = (*problems, str(error))
    recorded = {record.cell.key for record in records}
    environment = run.environment or next((r.environment for r in records if r.environment), None)
    return RunData(
        id=folder.path.name,
        started_at=run.started_at,
        command=run.command,
        environment=environment,
        records=records,
        claims=claims,
        missing=tuple(cell.id for cell in run.cells if cell.key not in recorded),
        problems=problems,
        extras=extras,
    )


def _read_claims(path: Path) -> tuple[CheckedClaim, ...]:
    """Read the claims of a run; a run that checked none has none."""
    if not path.is_file():
        return ()
    return tuple(from_json(CheckedClaim, item) for item in _read_json(path, list))


def _read_comparison(path: Path) -> AbData:
    document = _read_json(path, dict)
    try:
        comparisons = tuple(from_json(Comparison, item) for item in document["comparisons"])
        return AbData(comparisons=comparisons, heading=_heading(document))
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path} is no comparison that this version can read ({error})") from error


def _heading(document: dict[str, Any]) -> Heading:
    stages = [session["stage"] for session in document["sessions"]]
    notes = ["the budget ended before all sessions were run"] if document["is_cut_short"] else []
    if document["differing_fields"]:
        notes.append(f"the environments differ in {', '.join(document['differing_fields'])}")
    return Heading(
        base=_side(document["base"]),
        head=_side(document["head"]),
        method=f"{sessions_in_words(stages)} of {document['settings']['quads']} quads, "
        f"{format_seconds(document['seconds'])}, seed {document['settings']['seed']}",
        notes=tuple(notes),
        unfit=document["unfit"],
    )


def _side(side: dict[str, Any]) -> str:
    given, commit = side["given"], side["commit"]
    return f"{given} ({commit[:9]})" if commit and commit != given else str(given)


def _read_json(path: Path, kind: type) -> Any:
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise StoreError(f"{path} is no JSON ({error})") from error
    if not isinstance(document, kind):
        raise StoreError(f"{path} holds a {type(document).__name__}, not a {kind.__name__}")
    return document


def _with_nominations(runs: Sequence[RunData]) -> ReportData:
    plain = [run for run in runs if run.ab is None]
    return make_data(runs, [_nominate(plain[0], head) for head in plain[1:]])


def _nominate(base: RunData, head: RunData) -> NominatedRuns:
    try:
        found = compare_stored(stored_run(base.id, base.records), stored_run(head.id, head.records))
    except (IncomparableError, NothingMeasuredError) as error:
        return NominatedRuns(base=base.id, head=head.id, refused=str(error))
    return NominatedRuns(
        base=base.id,
        head=head.id,
        nominations=found.nominations,
        commands=found.commands,
        notes=found.notes,
    )


LAST = 60


def with_history(data: ReportData, given: str | None, results: Path) -> ReportData:
    """Give the newest run the trends of its cells on its machine.

    Args:
        data: Of the report.
        given: As of `--history`; None is `history.sqlite` in `results`, if there is one. That one is a gift: where it
            cannot be read, the report says so and goes without.
        results: Holds `accepted.csv`, too.

    Raises:
        BenchError: The history that was given cannot be read.
    """
    where = results / "history.sqlite"
    if not data.runs or (given is None and not where.is_file()):
        return data
    *others, run = data.runs
    try:
        extras = {**run.extras, EXTRA: _trends(run, given or str(where), results)}
        run = replace(run, extras=extras)
    except NothingMeasuredError:
        if given is not None:
            raise
    except BenchError as error:
        if given is not None:
            raise
        run = replace(run, problems=(*run.problems, str(error)))
    return replace(data, runs=(*others, run))


def _trends(run: RunData, given: str, results: Path) -> tuple[Trend, ...]:
    wanted = {(r.cell.key, r.environment.fingerprint) for r in run.records if r.environment is not None}
    accepted = read_accepted(results / "accepted.csv")
    folder = Path.cwd()
    with open_history(given) as history, history.reading() as connection:
        return tuple(
            read_trend(
                connection,
                series,
                STEP,
                LAST,
                accepted=accepted,
                descendants=lambda commit: descendants(folder, commit),
            )
            for series in find_series(connection)
            if (series.key, series.fingerprint) in wanted
        )
