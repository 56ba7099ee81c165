"""One training from a plan to a finished folder, in a fresh process; it can be stopped in order, and resumed.

Measure input pipelines over their axes, each combination in a fresh process.
"""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.core.advice import Advice
from bench.core.environment import Environment
from bench.core.errors import BenchError, StoreError
from bench.core.jsonio import from_json, to_json
from bench.core.progress import tell
from bench.core.record import Outcome
from bench.core.training import PipelinePoint, Progress, Training, TrainingPlan, TrainingRun
from bench.device.clocks import doubts_of_lock, locked_environments
from bench.runner import processes
from bench.runner.plan import make_plan, preflight_limit
from bench.runner.records import Stamp, describe_resumption, open_run
from bench.store.cases import checkpoint_path, discard, read_trainings, remove_checkpoint, write_case
from bench.store.runs import RunFolder
from bench.store.stored import read_stored_run

WORKER = "bench.runner.workers.training"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A training that ended: where it lies, what came out, and whether there is a checkpoint to go on from."""

    folder: Path
    training: Training
    checkpoint: Path | None = None


class Stop:
    """Asks a running training to end in order, with a checkpoint after its step; safe in a signal handler."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._connection: Connection | None = None

    def request(self, signal: int) -> None:
        """Ask, and remember which signal was the reason."""
        self.signal = signal
        self._send()

    def connect(self, connection: Connection | None) -> None:
        """Set whom to notify; None disconnects."""
        self._connection = connection
        if self.signal is not None:
            self._send()

    def _send(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            if self._connection is not None:
                self._connection.send("stop")


def train(
    plan: TrainingPlan,
    *,
    results: Path = Path("results"),
    download: bool = False,
    observer: Callable[[Progress], None] = lambda _: None,
    stop: Stop | None = None,
    method: str = "forkserver",
    timeout_seconds: float | None = None,
    locks_clocks: bool = False,
) -> Trained:
    """Train in a new run folder; the observer is told how far it is from another thread, and `stop` ends it early.

    `timeout_seconds` is the longest wait for a step; None is ten minutes. With `locks_clocks` the clock of its GPU is
    locked meanwhile, where the driver permits.

    Raises:
        BenchError: The model, the device or the data cannot be used; no folder is left then.
    """
    limits: dict[str, Any] = {"method": method, "timeout_seconds": timeout_seconds}
    plan, environment = _prepared(plan, **limits)
    with _locked(plan.device, environment, locks_clocks) as (environment, doubts):
        folder = open_run(results, environment=environment, settings={"training": to_json(plan)})
        try:
            with folder.locked():
                return _train_into(folder, plan, environment, download, observer, stop or Stop(), limits, doubts)
        except BenchError:
            discard(folder)
            raise


@contextlib.contextmanager
def _locked(device: str, environment: Environment, is_asked: bool) -> Iterator[tuple[Environment, tuple[Advice, ...]]]:
    """Lock the clock of a GPU inside, if asked; give its environment, and the doubt that it could not be."""
    with locked_environments({device: environment}, is_asked=is_asked) as found:
        yield found[device], doubts_of_lock(found[device], device, is_asked=is_asked)


def check_training(plan: TrainingPlan, *, is_downloading: bool = False, **limits: Any) -> TrainingPlan:
    """Refuse what a training would refuse before its first step; return the plan with the full name of its device.

    `limits` are `method` and `timeout_seconds` of each process, as in `processes.call`.

    Raises:
        BenchError: The model, the device or the data cannot be used.
    """
    plan, _ = _prepared(plan, **limits)
    _ask_whether_usable(plan, is_downloading, **limits)
    return plan


def check_points(plans: Sequence[TrainingPlan], timeout_seconds: float | None = None) -> tuple[TrainingPlan, ...]:
    """Refuse what `measure_points` would refuse before its first point; return the plans with full names of devices.

    Raises:
        BenchError: The model, the device or the data cannot be used.
    """
    processes.preload("torchvision")
    limit = preflight_limit(timeout_seconds)
    device = make_plan([plan.cell for plan in plans], timeout_seconds=limit).cells[0].device
    full = tuple(replace(plan, device=device) for plan in plans)
    _ask_whether_usable(full[0], timeout_seconds=timeout_seconds)
    return full


def _ask_whether_usable(
    plan: TrainingPlan,
    is_downloading: bool = False,
    *,
    method: str = "forkserver",
    timeout_seconds: float | None = None,
) -> None:
    limit = preflight_limit(timeout_seconds)
    ending = processes.call(f"{WORKER}:check_plan", plan, is_downloading, method=method, timeout_seconds=limit)
    ending.checked(f"model {plan.model!r} cannot be trained")


def resume_training(
    run: str,
    *,
    results: Path = Path("results"),
    observer: Callable[[Progress], None] = lambda _: None,
    stop: Stop | None = None,
    method: str = "forkserver",
    timeout_seconds: float | None = None,
    locks_clocks: bool = False,
) -> Trained:
    """Resume a stored training from its checkpoint, or from the start without one; a complete one is only read.

    Raises:
        BenchError: There is no such run, it is not a training, or its checkpoint cannot be read.
    """
    folder = RunFolder.open(run, results)
    plan = planned_training(run, results)
    done = next((t for t in read_trainings(folder)[0] if t.outcome is Outcome.OK), None)
    if done is not None:
        return Trained(folder=folder.path, training=done)
    limits: dict[str, Any] = {"method": method, "timeout_seconds": timeout_seconds}
    plan, environment = _prepared(plan, **limits)
    with folder.locked(), _locked(plan.device, environment, locks_clocks) as (environment, doubts):
        folder.remove_temporaries()
        folder = folder.rewrite(replace(folder.run, resumptions=(*folder.run.resumptions, describe_resumption())))
        return _train_into(folder, plan, environment, False, observer, stop or Stop(), limits, doubts)


def planned_training(run: str, results: Path = Path("results")) -> TrainingPlan:
    """Read what a stored training was asked for.

    Raises:
        StoreError: There is no such run, or it is no training.
    """
    folder = RunFolder.open(run, results)
    settings = folder.run.settings
    if not isinstance(settings, dict) or "training" not in settings:
        raise StoreError(f"run {folder.run.id} is no training; resume it with `bench run --resume {folder.run.id}`")
    try:
        return from_json(TrainingPlan, settings["training"])
    except ValueError as error:
        raise StoreError(f"run {folder.run.id} holds a plan that cannot be read ({error}); train it again") from error


def _prepared(
    plan: TrainingPlan, *, method: str = "forkserver", timeout_seconds: float | None = None
) -> tuple[TrainingPlan, Environment]:
    """Check the plan before anything runs, complete its device, read the environment."""
    if importlib.util.find_spec("sklearn") is None:
        raise BenchError("the report of classes needs scikit-learn; install it, or stepbench with its extra 'train'")
    processes.preload("torchvision")
    known = make_plan([plan.cell], method=method, timeout_seconds=preflight_limit(timeout_seconds))
    return replace(plan, device=known.cells[0].device), known.environments[known.cells[0].device]


def _train_into(
    folder: RunFolder,
    plan: TrainingPlan,
    environment: Environment,
    download: bool,
    observer: Callable[[Progress], None],
    stop: Stop,
    limits: Mapping[str, Any],
    doubts: tuple[Advice, ...],
) -> Trained:
    stamp = Stamp(plan.cell)
    checkpoint = checkpoint_path(folder, plan)
    here, there = multiprocessing.Pipe()
    listener = threading.Thread(target=_listen, args=(here, observer), daemon=True)
    listener.start()
    stop.connect(here)
    try:
        arguments = (plan, download, checkpoint, environment.gpu_uuid, there)
        # A training lasts as many steps as its plan has: only the wait for the next one is bounded.
        ending = processes.call(f"{WORKER}:run_training", *arguments, is_renewed=True, **limits)
    finally:
        stop.connect(None)
        there.close()  # the last holder of that side, so the listener comes to the end
        listener.join(timeout=5)
        here.close()
    if ending.error is not None:
        raise ending.error
    run: TrainingRun | None = ending.value and replace(ending.value, advice=(*ending.value.advice, *doubts))
    outcome, reason = ending.outcome, ending.reason
    if outcome is Outcome.TIMED_OUT:
        reason = f"no step ended within {processes.limit_of(limits['timeout_seconds']):g} s"
    if run is not None and not run.is_complete:
        outcome = Outcome.KILLED
        reason = f"stopped in epoch {len(run.epochs) + 1} after step {run.steps_done:,}"
    training = Training(
        plan=plan,
        outcome=outcome,
        reason=reason,
        environment=environment,
        run=run,
        output_tail=ending.output_tail,
        **stamp.fields(),
    )
    write_case(folder, training)
    _write_derived(folder, training)
    if outcome is Outcome.OK:
        remove_checkpoint(folder, plan)
    return Trained(folder=folder.path, training=training, checkpoint=checkpoint if checkpoint.is_file() else None)


def _listen(connection: Connection, observer: Callable[[Progress], None]) -> None:
    """Pass on what the training tells until it is gone; a terminal that is gone must not make it wait."""
    while True:
        try:
            progress = connection.recv()
        except (EOFError, OSError):
            return
        with contextlib.suppress(OSError, ValueError):
            observer(progress)


def _write_derived(folder: RunFolder, training: Training) -> None:
    from bench.report.files import write_tables
    from bench.report.formats.markdown import write_document
    from bench.runner.reporting import write_page
    from bench.tables.catalog import TRAINING_COLUMNS
    from bench.tables.document import Heading
    from bench.tables.figures import plain
    from bench.tables.training import training_document

    write_tables(folder, dict.fromkeys(TRAINING_COLUMNS, (training,)))
    title = Heading(text=f"Training {plain(training.plan.model)}", level=1)
    folder.write_summary(write_document([title, *training_document(training)]))
    write_page(folder, read_stored_run(folder))


def measure_points(
    plans: Sequence[TrainingPlan],
    budget_seconds: float,
    *,
    observer: Callable[[PipelinePoint], None] = lambda _: None,
    timeout_seconds: float | None = None,
    locks_clocks: bool = False,
) -> tuple[PipelinePoint, ...]:
    """Measure one point per plan, one after the other; a failure is a row beside the others.

    All are on one device, whose clock is locked meanwhile with `locks_clocks`, where its driver permits. The budget is
    that of each of the three measurements of a point.

    Raises:
        BenchError: The model, the device or the data cannot be used.
    """
    processes.preload("torchvision")
    known = make_plan([plan.cell for plan in plans], timeout_seconds=preflight_limit(timeout_seconds))
    device = known.cells[0].device
    points = []
    with _locked(device, known.environments[device], locks_clocks) as (environment, doubts):
        for done, plan in enumerate(plans):
            tell("measuring", done, len(plans))
            full = replace(plan, device=device)
            ending = processes.call(
                f"{WORKER}:run_point",
                full,
                budget_seconds,
                environment.gpu_uuid,
                timeout_seconds=timeout_seconds,
                budget_seconds=3 * budget_seconds,
            )
            if ending.error is not None:
                raise ending.error
            point = ending.value or PipelinePoint(plan=full, outcome=ending.outcome, reason=ending.reason)
            point = replace(point, advice=(*point.advice, *doubts))
            points.append(point)
            observer(point)
    return tuple(points)
