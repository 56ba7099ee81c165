"""A bisection from two revisions to a finished folder, which can be resumed.

    run.json            what was asked
    answers.jsonl       one line per comparison or session that ended; when resumed, they are read instead of measured
    comparisons/        a run of `bench ab` per comparison: the ends, the confirmations, the rest
    bisection.json      the answer

The search depends on the answers alone, so it comes to where it was.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from bench.core import __version__
from bench.core.cell import Cell
from bench.core.comparison import Bisected, Ends, Narrowed, Settled, Shot, Shots
from bench.core.errors import StoreError
from bench.core.files import read_file
from bench.core.jsonio import from_json, parse_json, to_json
from bench.runner.ab.arm import TimeUpError
from bench.runner.ab.bisect import Bisecting, History, Measurer
from bench.runner.ab.commits import list_history
from bench.runner.ab.judging import columns_of, judge_all
from bench.runner.ab.run import Request, Started, compare_sides, plan_cells
from bench.runner.ab.servers import Servers, servers_for
from bench.runner.ab.sides import Side, open_sides
from bench.runner.ab.stages import Comparing, Progress, Settings
from bench.runner.records import describe_resumption, open_run
from bench.store.atomic import store_error, write_bytes
from bench.store.codec import write_json
from bench.store.runs import RunFolder

SCHEMA = 1
"""Version of bisection.json. History: 1 (2026-11-29) first."""

ANSWER_FILE = "bisection.json"
ANSWERS = "answers.jsonl"
SESSIONS_OF_A_SERVER = 6
"""After so many, workers come from a new server: the luck of its memory layout is drawn again."""

Listener = Callable[[Started | Progress | Narrowed | Settled], None]
T = TypeVar("T", Ends, Shots)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of a history; kept in `run.json`.

    Attributes:
        good: Revision, later the full name of the commit; the same for `bad`.
        targets: Models, suite files of `bad`.
        paths: Suspect only commits that touch these.
    """

    good: str
    bad: str
    targets: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    has_all_parents: bool = False
    expects_one: bool = False
    settings: Settings


def bisect_revisions(
    question: Question, axes: Mapping[str, Any], results: Path, listen: Listener = lambda _: None
) -> tuple[Path, Bisected]:
    """Find the commits between two revisions that made models slower.

    Raises:
        BenchError: A revision, a model or a suite is not there; there is no commit to suspect.
    """
    history = _history(question)
    good, bad = history.good.name, history.commits[-1].name
    with open_sides(good, bad) as (_, head):
        request = Request(base=good, head=bad, targets=question.targets, axes=axes, settings=question.settings)
        cells = plan_cells(request, head)
    question = replace(question, good=good, bad=bad)
    folder = open_run(results, cells=cells, settings={"kind": "bisect", **to_json(question)})
    return folder.path, _answer(folder, question, listen)


def resume_bisection(
    run: str,
    results: Path,
    budget_seconds: float | None,
    listen: Listener = lambda _: None,
    timeout_seconds: float | None = None,
) -> tuple[Path, Bisected]:
    """Go on with a bisection that was ended; the budget is that of what is left, the timeout of what comes.

    Raises:
        StoreError: There is no such run, or it is no bisection.
    """
    folder = RunFolder.open(run, results)
    question = read_question(folder)
    settings = replace(question.settings, budget_seconds=budget_seconds, timeout_seconds=timeout_seconds)
    question = replace(question, settings=settings)
    folder = folder.rewrite(replace(folder.run, resumptions=(*folder.run.resumptions, describe_resumption())))
    return folder.path, _answer(folder, question, listen)


def read_question(folder: RunFolder) -> Question:
    """Read what a bisection was asked.

    Raises:
        StoreError: It is no bisection.
    """
    asked = folder.run.settings
    if not isinstance(asked, dict) or asked.get("kind") != "bisect":
        raise StoreError(f"run {folder.run.id} is no bisection; `bench bisect --resume` takes one up")
    try:
        return from_json(Question, {name: value for name, value in asked.items() if name != "kind"})
    except ValueError as error:
        raise StoreError(f"{folder.path / 'run.json'}: {error}") from None


def _history(question: Question) -> History:
    return list_history(
        question.good,
        question.bad,
        paths=question.paths,
        targets=question.targets,
        has_all_parents=question.has_all_parents,
    )


def _answer(folder: RunFolder, question: Question, listen: Listener) -> Bisected:
    started = time.monotonic()
    with LiveMeasurer(question.settings, folder.path / "comparisons", listen) as measurer:
        bisected = Bisecting(
            history=_history(question),
            measurer=Journal(measurer, folder.path / ANSWERS),
            cells=folder.run.cells,
            fail_at=question.settings.threshold.fail_at,
            expects_one=question.expects_one,
            listen=listen,
        ).run()
    bisected = replace(bisected, seconds=time.monotonic() - started)
    write_json(folder.path / ANSWER_FILE, {"schema": SCHEMA, **to_json(bisected), "stepbench": __version__})
    return bisected


class LiveMeasurer:
    """Compares commits on this machine. A context manager: workers and worktrees are gone when it is left."""

    def __init__(self, settings: Settings, results: Path, listen: Listener) -> None:
        self._settings = settings
        self._results = results
        self._listen = listen
        self._started = time.monotonic()
        self._sessions = 0
        self._sides: dict[str, Side] = {}
        self._pair: tuple[str, str] | None = None
        self._folders = contextlib.ExitStack()
        self._servers: Servers | None = None

    def __enter__(self) -> LiveMeasurer:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def is_over(self) -> bool:
        """Whether the budget is used up."""
        left = self._left()
        return left is not None and left <= 0

    def compare(self, base: str, head: str, cells: tuple[Cell, ...]) -> Ends:
        """Compare two commits by `bench ab`."""
        self._end()
        request = Request(
            base=base,
            head=head,
            axes={},
            cells=cells,
            settings=self._next_settings(),
            results=self._results,
            judges_other_work=True,
            needs_head=False,
        )
        try:
            compared = compare_sides(request, self._listen)
        except TimeUpError:
            plan = request.settings.plan(len(cells))
            nothing = judge_all(cells, (), plan, fates={}, spreads={}, is_cut_short=True)
            return Ends(comparisons=nothing, cells=cells, is_cut_short=True)
        found = {one.name: getattr(compared, one.name) for one in fields(Ends)}
        return Ends(**found | {"sessions": len(compared.sessions)})

    def session(self, base: str, head: str, ends: Ends, cells: tuple[Cell, ...]) -> Shots:
        """Run one session; what the machine spoils is tried once more."""
        started = time.monotonic()
        if self._servers is None:
            self._servers = servers_for(self._sides, cells, self._settings, self._started)
        elif self._sessions % SESSIONS_OF_A_SERVER == 0:
            self._servers.renew()
        if self._pair != (base, head):
            self._folders.close()
            self._pair = None
            sides = self._folders.enter_context(open_sides(base, head))
            self._sides |= {side.name: side for side in sides}
            self._pair = (base, head)
        settings = replace(self._next_settings(), sessions=1, stops=False)
        judged = Comparing(cells, settings, self._servers.start, environments=dict(ends.environments)).run()
        shots = []
        for cell, comparison in zip(cells, judged.comparisons, strict=True):
            facts = dict(comparison.facts)
            shifts, means = columns_of(judged.sessions, cell)
            failed = "error" in facts
            shots.append(
                Shot(
                    cell_key=cell.key,
                    shift=shifts[0] if shifts else None,
                    mean_shift=means[0] if means else None,
                    side=str(facts.get("side")) if failed else None,
                    reason=str(facts["error"]) if failed else ", ".join(reason for reason, _ in comparison.voided),
                )
            )
        return Shots(shots=tuple(shots), seconds=time.monotonic() - started)

    def _next_settings(self) -> Settings:
        """Return the settings of the next measurement: coins of its own, and what is left of the budget."""
        left = self._left()
        settings = replace(
            self._settings,
            seed=self._settings.seed + self._sessions,
            budget_seconds=None if left is None else max(left, 1e-3),
        )
        self._sessions += 1
        return settings

    def _left(self) -> float | None:
        deadline = self._settings.deadline(self._started)
        return None if deadline is None else deadline - time.monotonic()

    def _end(self) -> None:
        if self._servers is not None:
            self._servers.renew()
            self._servers = None
        self._folders.close()
        self._pair = None


class Journal:
    """A measurer that writes every answer down, and gives those that it finds written before it measures."""

    def __init__(self, measurer: Measurer, path: Path) -> None:
        self._measurer = measurer
        self._path = path
        self._known = _read(path)

    def compare(self, base: str, head: str, cells: tuple[Cell, ...]) -> Ends:
        """Compare two commits."""
        asked = ["compare", base, head, *(cell.key for cell in cells)]
        return self._ask(Ends, asked, lambda: self._measurer.compare(base, head, cells))

    def session(self, base: str, head: str, ends: Ends, cells: tuple[Cell, ...]) -> Shots:
        """Run one session."""
        asked = ["session", base, head, *(cell.key for cell in cells)]
        return self._ask(Shots, asked, lambda: self._measurer.session(base, head, ends, cells))

    def is_over(self) -> bool:
        """Whether the time is up; what is written takes none."""
        return not self._known and self._measurer.is_over()

    def _ask(self, kind: type[T], asked: list[str], measure: Callable[[], T]) -> T:
        if self._known:
            try:
                line = self._known.pop(0)
                was_asked, answer = line["asked"], from_json(kind, line["answer"])
            except (KeyError, TypeError, ValueError) as error:
                raise StoreError(f"{self._path} is no journal of a bisection ({error}); start again") from None
            if was_asked != asked:
                raise StoreError(f"{self._path} answers other questions than this history asks; start again")
            return answer
        answer = measure()
        is_whole = not answer.is_cut_short if isinstance(answer, Ends) else _is_whole(answer)
        if is_whole:
            written = json.dumps({"asked": asked, "answer": to_json(answer)}, allow_nan=False)
            try:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(written + "\n")
            except OSError as error:
                raise store_error("write", self._path, error) from error
        return answer


def _is_whole(taken: Shots) -> bool:
    """Whether every cell has a value or a reason; one that the budget ended has neither."""
    return all(shot.shift is not None or shot.reason for shot in taken.shots)


def _read(path: Path) -> list[dict[str, Any]]:
    """Read what is written; a last line that was being written when the run was killed is cut off."""
    if not path.is_file():
        return []
    try:
        whole, newline, rest = read_file(path).rpartition(b"\n")
        if rest:
            write_bytes(path, whole + newline)
        return [parse_json(line) for line in whole.splitlines()]
    except OSError as error:
        raise store_error("read", path, error) from error
    except ValueError as error:
        raise StoreError(f"{path}: {error}; start the bisection again") from None
