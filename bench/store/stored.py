"""A stored run as one value, whoever shows it: what `read_stored_run` finds in a folder.

A run's folder has `records/` (`bench run`), `comparison.json` (`bench ab`), or a folder of JSON files per kind of case
(`bench profile`, `train`, `generate`, `sample`). A file that cannot be read costs itself: it becomes a problem that
names it, and the others are there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.core.cell import Cell
from bench.core.claim import CheckedClaim
from bench.core.comparison import Comparison, Heading
from bench.core.environment import Environment
from bench.core.errors import StoreError
from bench.core.gate import GateRow
from bench.core.generation import Generation, Sampled
from bench.core.jsonio import from_json
from bench.core.profile import Profile
from bench.core.record import Outcome, Phase, Record
from bench.core.text import plain
from bench.core.training import Training
from bench.core.units import counted, format_duration
from bench.stats.summary import Summary, summarise
from bench.store.cases import read_generations, read_images, read_profiles, read_trainings
from bench.store.codec import parse_file
from bench.store.pytest_benchmark import StoredBenchmark, read_session
from bench.store.runs import RunFolder, RunInfo
from bench.tables.comparison import sessions_in_words

CLAIMS_FILE = "claims.json"
COMPARISON_FILE = "comparison.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredComparison:
    """What `bench ab` found."""

    comparisons: tuple[Comparison, ...]
    heading: Heading


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """A run, read.

    Attributes:
        info: Its `run.json`, with the name that its folder has now as `id`.
        folder: Path of the folder that holds it.
        records: Records in the order of the planned cells.
        claims: Documented values, checked.
        gate: Rows of `bench gate`, if an answer of it was read too.
        comparison: What `bench ab` found; such a run has no records.
        images: Cases of sampling images.
        benchmarks: Benchmarks of a file of pytest-benchmark.
        problems: What could not be read, one sentence per file.
    """

    info: RunInfo
    folder: Path
    records: tuple[Record, ...] = ()
    claims: tuple[CheckedClaim, ...] = ()
    gate: tuple[GateRow, ...] = ()
    comparison: StoredComparison | None = None
    profiles: tuple[Profile, ...] = ()
    trainings: tuple[Training, ...] = ()
    generations: tuple[Generation, ...] = ()
    images: tuple[Sampled, ...] = ()
    benchmarks: tuple[StoredBenchmark, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Name of its folder, or of the file it was read from."""
        return self.info.id

    @property
    def environment(self) -> Environment | None:
        """Environment of the process that started it, else that of its first record; each record has its own."""
        return self.info.environment or next((r.environment for r in self.records if r.environment), None)

    @property
    def missing(self) -> tuple[Cell, ...]:
        """Planned cells without a record; a comparison has no records and misses none."""
        recorded = {record.cell.key for record in self.records}
        return () if self.comparison else tuple(cell for cell in self.info.cells if cell.key not in recorded)

    @property
    def has_cases(self) -> bool:
        """Whether it holds something besides records."""
        return bool(self.profiles or self.trainings or self.generations or self.images)

    @property
    def measured(self) -> tuple[Measured, ...]:
        """The cells that have a step time; a cell that failed has none, whatever it timed before."""
        found = []
        for record in self.records:
            summary = summarise(record) if record.outcome is Outcome.OK else None
            if summary is not None and summary.step is not None and summary.step.point > 0:
                found.append(Measured(record=record, summary=summary))
        return tuple(found)

    @property
    def unmeasured(self) -> tuple[Record, ...]:
        """The other cells."""
        known = {one.record.cell.key for one in self.measured}
        return tuple(record for record in self.records if record.cell.key not in known)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One cell that ended OK, with its derived figures."""

    record: Record
    summary: Summary

    @property
    def seconds(self) -> float:
        """Median of the unsplit step."""
        assert self.summary.step is not None  # or it would not be among the measured
        return self.summary.step.point

    @property
    def steps(self) -> tuple[float, ...]:
        """Raw seconds of every step, all processes."""
        return self.record.sample_seconds(Phase.STEP)


def read_stored_run(folder: RunFolder) -> StoredRun:
    """Read all that a run's folder holds.

    Raises:
        StoreError: It is a comparison that cannot be read, so there is nothing else to show.
    """
    info, path = replace(folder.run, id=folder.path.name), folder.path
    if (path / COMPARISON_FILE).exists():
        return StoredRun(info=info, folder=path, comparison=_read_comparison(path / COMPARISON_FILE))
    records, of_records = folder.read_records()
    claims, of_claims = _read_claims(path / CLAIMS_FILE)
    profiles, of_profiles = read_profiles(folder)
    trainings, of_trainings = read_trainings(folder)
    generations, of_generations = read_generations(folder)
    images, of_images = read_images(folder)
    problems = (*of_records, *of_claims, *of_profiles, *of_trainings, *of_generations, *of_images)
    return StoredRun(
        info=info,
        folder=path,
        records=records,
        claims=claims,
        profiles=profiles,
        trainings=trainings,
        generations=generations,
        images=images,
        problems=tuple(map(str, problems)),
    )


def read_stored_session(path: Path) -> StoredRun:
    """Read a JSON file of pytest-benchmark as a run.

    Raises:
        StoreError: It cannot be read, or is something else.
    """
    session = read_session(path)
    info = RunInfo(id=session.name, started_at=session.written_at or "", environment=session.environment)
    return StoredRun(info=info, folder=path.parent, benchmarks=session.benchmarks)


def heading(document: Mapping[str, Any]) -> Heading:
    """Describe what was compared, and how, by a document as in `comparison.json`."""
    stages = [session["stage"] for session in document["sessions"]]
    notes = ["the budget ended before all sessions were run"] if document["is_cut_short"] else []
    if document["differing_fields"]:
        notes.append(f"the environments differ in {', '.join(document['differing_fields'])}")
    notes += document.get("notes", [])
    base, head = sides_in_words(document["base"], document["head"])
    return Heading(
        base=base,
        head=head,
        method=f"{sessions_in_words(stages)} of {counted(document['settings']['quads'], 'quad')}, "
        f"{format_duration(document['seconds'])}, seed {document['settings']['seed']}",
        notes=tuple(notes),
        unfit=document["unfit"],
        per=document.get("per"),
    )


def sides_in_words(base: Mapping[str, Any], head: Mapping[str, Any]) -> tuple[str, str]:
    """Name both sides of a comparison: `origin/main (1a2b3c4d5)`; the base's interpreter too if it is another one."""
    names = []
    for side in (base, head):
        given, commit = side["given"], side["commit"]
        names.append(str(given) if not commit else commit[:9] if commit == given else f"{given} ({commit[:9]})")
    other = f" with {base['python']}" if base["python"] != head["python"] else ""
    return f"{names[0]}{other}", names[1]


def _read_comparison(path: Path) -> StoredComparison:
    document = parse_file(path)
    try:
        comparisons = tuple(from_json(Comparison, item) for item in document["comparisons"])
        return StoredComparison(comparisons=comparisons, heading=heading(document))
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path} is no comparison that this version can read ({error})") from error


def _read_claims(path: Path) -> tuple[tuple[CheckedClaim, ...], tuple[StoreError, ...]]:
    """Read the claims of a run; a run that checked none has none."""
    if not path.exists():
        return (), ()
    try:
        return tuple(from_json(CheckedClaim, item) for item in parse_file(path)), ()
    except StoreError as error:
        return (), (error,)
    except (TypeError, ValueError) as error:
        return (), (StoreError(f"{path} holds no claims that this version can read ({error}); delete it"),)


def doubts(record: Record) -> tuple[str, ...]:
    """List the kinds of doubt about a record, each once."""
    return tuple(dict.fromkeys(advice.kind.value for advice in record.advice))


def ending(record: Record) -> str:
    """Describe in one line how a cell ended: `out_of_memory: tried to allocate ...`."""
    return f"{record.outcome.value}: {plain(record.reason)}" if record.reason else record.outcome.value
