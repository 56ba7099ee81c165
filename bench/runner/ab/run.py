"""One comparison from two revisions to a finished folder: what `bench ab`, `calibrate` and `selftest` share.

open both sides         worktrees, interpreters (`sides`)
scout                   one worker per side, no clock: devices, environments, models that resolve, exact counts
sessions                `ab`, each on disk the moment it ends
comparison.json         the comparisons, with all that is needed to doubt them
"""

from __future__ import annotations

import contextlib
import gzip
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.core import __version__
from bench.core.cell import Cell, Precision
from bench.core.comparison import Comparison
from bench.core.environment import Environment
from bench.core.errors import IncomparableError, NothingMeasuredError, UsageError
from bench.core.jsonio import to_json
from bench.device.clocks import locked_environments
from bench.runner.ab.judging import Fate, with_work
from bench.runner.ab.scout import Scouted, scout
from bench.runner.ab.servers import servers_for
from bench.runner.ab.session import AbSession
from bench.runner.ab.sides import Side, open_sides, remarks
from bench.runner.ab.stages import Comparing, Progress, Settings, refuse_hopeless
from bench.runner.records import open_run
from bench.runner.session import plan_targets
from bench.store.atomic import make_folder, write_bytes
from bench.store.codec import write_json
from bench.store.runs import RunFolder
from bench.store.stored import COMPARISON_FILE

SCHEMA = 2
"""Version of comparison.json. History: 1 (2026-11-23) first; 2 (2026-11-29) every session counts, two log-ratios."""

SOFTWARE_FIELDS = frozenset({"python", "torch", "torchvision", "cuda", "cudnn", "flags"})
"""What two interpreters on one machine may differ in, because that is what is compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to compare.

    Attributes:
        base: Revision or folder; the same for `head`.
        targets: Models, suite files of the head, names of built-in suites.
        axes: Values by axis that were asked for by hand.
        spreads: Environment and cells to the spread of a session per cell key, from calibrations.
        compares_with_itself: Both sides are meant to be the same; else that is remarked on.
        cells: What to compare where it is planned already; `targets` and `axes` then say nothing.
        judges_other_work: Give a verdict also where the parameters differ.
        needs_head: Refuse a head that has none of the cells, usually because of a misspelt name; else that is a result.
        get_ready: Called once the sides are there, before anything is counted or timed; may wait for a quiet machine.
    """

    base: str
    head: str
    targets: tuple[str, ...] = ()
    axes: Mapping[str, Any]
    base_python: str | None = None
    settings: Settings
    results: Path = Path("results")
    spreads: Callable[[Environment, Sequence[Cell]], dict[str, float]] = lambda _, __: {}
    compares_with_itself: bool = False
    cells: tuple[Cell, ...] = ()
    judges_other_work: bool = False
    needs_head: bool = True
    get_ready: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What a listener hears before the first session.

    Attributes:
        spreads: The spread of a session of a calibrated cell, by cell key.
        notes: What surprises people about the sides.
    """

    base: Side
    head: Side
    cells: tuple[Cell, ...]
    environment: Environment
    folder: Path
    settings: Settings
    spreads: dict[str, float]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A comparison that ended; `cells` and `environments` are those of the head, with full device names.

    `per` is what a ratio of two cells stands for, `step` or `example`; None of two revisions.
    """

    folder: Path
    base: Side
    head: Side
    comparisons: tuple[Comparison, ...]
    sessions: tuple[AbSession, ...]
    environment: Environment
    differing: tuple[str, ...]
    unfit: str | None
    is_cut_short: bool
    seed: int
    seconds: float
    notes: tuple[str, ...] = ()
    cells: tuple[Cell, ...] = ()
    environments: tuple[tuple[str, Environment], ...] = ()
    per: str | None = None


Listener = Callable[[Started | Progress], None]


def compare_sides(request: Request, listen: Listener = lambda _: None) -> Compared:
    """Compare two sides; workers and worktrees are gone when this returns or raises.

    Raises:
        BenchError: A side, a suite, a device or all models are not there; or the environments differ by more than
            `base_python` explains; or nothing could ever be called slower; or the budget ended too early.
    """
    started = time.monotonic()
    settings = request.settings
    with (
        open_sides(request.base, request.head, base_python=request.base_python) as (base, head),
        contextlib.ExitStack() as stack,
    ):
        cells = request.cells or plan_cells(request, head)
        notes = () if request.compares_with_itself else remarks(base, head)
        request.get_ready()
        servers = stack.enter_context(servers_for({"base": base, "head": head}, cells, settings, started))
        found = scout(base, head, cells, servers.start_untimed)
        servers.bind(found.cells, settings)
        if request.needs_head:
            _need_something(found, notes)
        environments = stack.enter_context(
            locked_environments(found.environments["head"], is_asked=settings.lock_clocks)
        )
        environment = next(iter(environments.values()))
        if settings.stops:
            refuse_hopeless(settings.plan(len(found.cells) - len(found.fates)))
        differing = _differing(found, is_other_python=request.base_python is not None)
        folder = _create_folder(request, base, head, found, environment)
        spreads = request.spreads(environment, found.cells)
        listen(
            Started(
                base=base,
                head=head,
                cells=found.cells,
                environment=environment,
                folder=folder.path,
                settings=settings,
                spreads=spreads,
                notes=notes,
            )
        )

        def on_progress(progress: Progress) -> None:
            write_session(folder.path / "sessions", progress.session)
            listen(progress)

        judged = Comparing(
            found.cells,
            settings,
            servers.start,
            fates=found.fates,
            environments=environments,
            spreads=spreads,
            listen=on_progress,
            started=started,
            renew=servers.renew,
        ).run()
        compared = Compared(
            folder=folder.path,
            base=base,
            head=head,
            comparisons=with_work(judged.comparisons, found.work, judges_other=request.judges_other_work),
            sessions=judged.sessions,
            environment=environment,
            differing=differing,
            unfit=judged.unfit,
            is_cut_short=judged.is_cut_short,
            seed=settings.seed,
            seconds=time.monotonic() - started,
            notes=notes,
            cells=found.cells,
            environments=tuple(environments.items()),
        )
        write_json(folder.path / COMPARISON_FILE, to_document(compared, settings))
        return compared


def plan_cells(request: Request, head: Side) -> tuple[Cell, ...]:
    """Expand the targets into cells; suite files are the head's, so that base and head run the same benchmarks.

    Raises:
        UsageError: There is no target, a suite cannot be read, or it asks for several processes.
    """
    targets = list(request.targets)
    if not targets:
        if head.models is None:
            raise UsageError("name what to compare: 'package.module:callable', 'path/file.py:callable' or a suite file")
        return plan_targets([], {"batch_size": (8,), "precision": (Precision.FP32,), **request.axes}).cells
    for index, target in enumerate(targets):
        if target.endswith(".toml") and not Path(target).is_absolute():
            targets[index] = str(head.folder / target)
    cells = plan_targets(targets, request.axes).cells
    for cell in cells:
        if cell.world_size > 1:
            raise UsageError(
                f"{cell.id} is of {cell.world_size} processes, and one is compared; take world_size out of the suite"
            )
    return cells


def to_document(compared: Compared, settings: Settings) -> dict[str, Any]:
    """Make what stands in comparison.json."""
    return {
        "schema": SCHEMA,
        "run": compared.folder.name,
        "base": side_document(compared.base),
        "head": side_document(compared.head),
        "differing_fields": list(compared.differing),
        "fingerprint": compared.environment.fingerprint,
        "settings": to_json(settings),
        "seconds": compared.seconds,
        "unfit": compared.unfit,
        "is_cut_short": compared.is_cut_short,
        "notes": list(compared.notes),
        "per": compared.per,
        "comparisons": to_json(compared.comparisons),
        "sessions": [
            {"stage": one.stage, "index": one.index, "first": one.first, "seconds": one.seconds}
            for one in compared.sessions
        ],
        "stepbench": __version__,
    }


def side_document(side: Side) -> dict[str, Any]:
    """Describe what a side was, without paths that are gone by now."""
    return {"given": side.given, "commit": side.commit, "python": side.python}


def _need_something(found: Scouted, notes: Sequence[str]) -> None:
    """Refuse a comparison of which the head knows nothing, usually because of a misspelt name; the notes may say why.

    Raises:
        NothingMeasuredError: No cell can be had on the head.
    """
    fates = [found.fates.get(cell.key) for cell in found.cells]
    if fates and all(fate is not None and fate.side in ("head", "both") for fate in fates):
        first: Fate = next(fate for fate in fates if fate is not None)
        said = "".join(f"; {note}" for note in notes)
        raise NothingMeasuredError(f"nothing to compare, {first.side}: {first.reason}{said}")


def _differing(found: Scouted, *, is_other_python: bool) -> tuple[str, ...]:
    """Name the fields in which the sides' environments differ.

    Raises:
        IncomparableError: One of them is none that the comparison is about.
    """
    names: dict[str, None] = {}
    for device, head in found.environments["head"].items():
        ours, theirs = head.comparable_fields(), found.environments["base"][device].comparable_fields()
        names |= {name: None for name in ours if ours[name] != theirs[name]}
    refused = [name for name in names if not (is_other_python and name in SOFTWARE_FIELDS)]
    if refused:
        raise IncomparableError(f"base and head were started in environments that differ in {', '.join(refused)}")
    return tuple(names)


def _create_folder(request: Request, base: Side, head: Side, found: Scouted, environment: Environment) -> RunFolder:
    settings = {"kind": "ab", "base": side_document(base), "head": side_document(head), **to_json(request.settings)}
    folder = open_run(request.results, environment=environment, cells=found.cells, settings=settings)
    make_folder(folder.path / "sessions")
    return folder


def write_session(folder: Path, session: AbSession) -> None:
    """Write a session to disk with every raw step: in whole nanoseconds, which is what the clock counts."""
    document = to_json(replace(session, cells=tuple(replace(one, quads=()) for one in session.cells)))
    for written, one in zip(document["cells"], session.cells, strict=True):
        written["quads"] = [
            {
                "clock": quad.clock,
                "head_first": quad.head_first,
                "base_ns": [[round(second * 1e9) for second in visit] for visit in quad.base],
                "head_ns": [[round(second * 1e9) for second in visit] for visit in quad.head],
            }
            for quad in one.quads
        ]
    data = gzip.compress(json.dumps(document, separators=(",", ":")).encode(), compresslevel=6, mtime=0)
    write_bytes(folder / f"{session.stage}-{session.index:02}.json.gz", data)
