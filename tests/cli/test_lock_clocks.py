"""`--lock-clocks` from the command line on a fake GPU: locked while cells are measured, released whatever happens.

The process that holds the lock is the real one; only NVML's functions are fake in it, and write down what was locked.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.cli import run_command
from bench.core.advice import AdviceKind
from bench.core.cell import Cell
from bench.core.environment import LOCKED
from bench.core.errors import ExitCode, UsageError
from bench.core.record import Outcome
from bench.device import clocks
from bench.runner import peaks, plan, profiling, scenarios, session, training
from bench.runner.ab import ratios
from bench.runner.ab import run as ab_run
from bench.runner.ab.scout import Scouted
from bench.runner.ab.sides import Side
from bench.runner.executor import LocalExecutor
from bench.runner.plan import Plan
from bench.runner.records import Stamp
from bench.runner.workers.answers import Preflight
from tests.records import ENVIRONMENT
from tests.runner.watching import wait_for

UUID = "00000000-89ab-cdef-0123-456789abcdef"
ON_GPU = replace(ENVIRONMENT, gpu="NVIDIA Fake H100", gpu_uuid=UUID)
HOLDER = f"""
import sys
if "bench.device.clocks" in sys.orig_argv:
    sys.path.insert(0, {str(Path(__file__).parents[2])!r})
    from types import SimpleNamespace
    import pynvml
    from tests.fakes.gpu_nvml import NvmlOf

    class Locks(dict):
        def __setitem__(self, index, clock):
            with open({{log!r}}, "a") as lines:
                lines.write("locked\\n")

        def update(self, changes):
            with open({{log!r}}, "a") as lines:
                lines.write("released\\n")

    gpu = SimpleNamespace(uuid={UUID!r}, index=0)
    machine = SimpleNamespace(
        asked=[], lacks=(), is_without=(), nvml=None, nvml_open=0, mig=False, is_old=False, gpus=[gpu], locked=Locks(),
        refuses_locks={{refuses}},
    )
    for name, function in NvmlOf(machine).functions().items():
        setattr(pynvml, name, function)
"""


class Card:
    """The GPU as the processes that hold its lock have left it."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        self.folder = folder

    def install(self, *, refuses: bool = False) -> None:
        text = HOLDER.format(log=str(self.log), refuses=refuses)
        (self.folder / "sitecustomize.py").write_text(text, encoding="utf-8")

    def history(self) -> list[str]:
        return self.log.read_text().split() if self.log.exists() else []


@pytest.fixture
def card(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Card:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path_factory.mktemp("card")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    card = Card(folder)
    card.install()
    return card


@pytest.fixture
def happens(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """What happens while a cell is measured; all around the measuring is the product's own."""
    events: list[Callable[[], object]] = []

    def meanwhile(*_: Any, **__: Any) -> None:
        for event in events:
            event()

    def run_cell(self: LocalExecutor, cell: Cell) -> Any:
        meanwhile()
        environment = self.environments[cell.device]
        advice = clocks.doubts_of_lock(environment, cell.device, is_asked=self.sampling.lock_clocks)
        return Stamp(cell).record(Outcome.OK, environment=environment, advice=advice)

    def compare(*_: Any, **__: Any) -> None:
        meanwhile()
        raise UsageError("enough")  # what follows is the table

    @contextlib.contextmanager
    def sides(*_: Any, **__: Any) -> Iterator[tuple[Side, Side]]:
        here = Path.cwd()
        yield tuple(Side(name=name, given=".", folder=here, root=here) for name in ("base", "head"))  # type: ignore[misc]

    def scout(base: Side, head: Side, cells: tuple[Cell, ...], *_: Any) -> Scouted:
        found = {"cuda:0": ON_GPU}
        return Scouted(cells=cells, environments={"base": found, "head": found}, fates={}, work={})

    def make_plan(cells: Sequence[Cell], **_: Any) -> Plan:
        return Plan(cells=tuple(cells), environments={"cuda:0": ON_GPU}, devices={"cuda:0": "cuda:0"})

    def probe(function: str, *_: Any, **__: Any) -> Any:
        if function == "preflight":
            return Preflight(devices=(("cuda:0", "cuda:0"),), environments=(("cuda:0", ON_GPU),))
        return compare()

    monkeypatch.setattr(plan, "check_device", lambda _: None)
    monkeypatch.setattr(session, "make_plan", make_plan)
    monkeypatch.setattr(session, "check_models", lambda *_, **__: ())
    monkeypatch.setattr(LocalExecutor, "prepare", lambda *_, **__: None)
    monkeypatch.setattr(LocalExecutor, "run", run_cell)
    monkeypatch.setattr(ratios, "_look", lambda *_: ({"cuda:0": ON_GPU}, {}))
    monkeypatch.setattr(ratios, "measure_pairs", compare)
    monkeypatch.setattr(ab_run, "open_sides", sides)
    monkeypatch.setattr(ab_run, "scout", scout)
    monkeypatch.setattr(ab_run, "Comparing", compare)
    for module in (scenarios, profiling, training):
        monkeypatch.setattr(module, "make_plan", make_plan)
    monkeypatch.setattr(scenarios, "plan_cases", lambda _, asked, **__: (asked.cases, make_plan(())))
    monkeypatch.setattr(scenarios, "measure_case", compare)
    monkeypatch.setattr(profiling, "_profile", compare)
    monkeypatch.setattr(training, "_train_into", compare)
    monkeypatch.setattr(training, "processes", SimpleNamespace(call=compare, preload=lambda _: None))
    monkeypatch.setattr(peaks, "_call", probe)
    return events


RUN = ("run", "mlp", "-b", "8", "-q", "--format", "json")
AB = ("ab", ".", ".", "mlp", "-q")
AB_CELLS = ("ab", "-q", "--model-a", "mlp", "--set-b", "batch-size=2")


def command(arguments: tuple[str, ...]) -> int:
    return run_command([*arguments, "-d", "cuda:0", "--lock-clocks"])


OTHERS = {
    "generate": ("generate", "decoder_lm", "-q"),
    "images": ("images", "diffusion", "-q"),
    "profile": ("profile", "mlp", "-q"),
    "train": ("train", "mlp", "-q"),
    "pipeline": ("pipeline", "mlp", "-q", "--workers", "0"),
    "peaks": ("machine", "peaks"),
    "noise": ("machine", "noise", "mlp", "-q"),
    "selftest": ("machine", "selftest", "mlp", "-q"),
}
WAYS = pytest.mark.parametrize(
    "arguments", [RUN, AB, AB_CELLS, *OTHERS.values()], ids=["run", "ab", "ab of two cells", *OTHERS]
)


@WAYS
def test_the_clock_is_locked_while_cells_are_measured(
    card: Card, happens: list[Callable[[], object]], arguments: tuple[str, ...]
) -> None:
    seen: list[list[str]] = []
    happens.append(lambda: seen.append(card.history()))
    assert command(arguments) == (ExitCode.FINE if arguments == RUN else ExitCode.USAGE)
    assert (seen, card.history()) == ([["locked"]], ["locked", "released"])
    if arguments == RUN:
        (path,) = Path("results").glob("*/records/*.json")
        assert json.loads(path.read_text())["environment"]["gpu_settings"] == [[LOCKED, "sustained"]]


def fail() -> None:
    raise ZeroDivisionError("in the midst of it")


@WAYS
@pytest.mark.parametrize(
    ("event", "code"),
    [(lambda: signal.raise_signal(signal.SIGINT), 130), (fail, ExitCode.INTERNAL)],
    ids=["Ctrl-C", "a defect"],
)
def test_it_is_released_whatever_happens(
    card: Card,
    happens: list[Callable[[], object]],
    arguments: tuple[str, ...],
    event: Callable[[], object],
    code: int,
) -> None:
    happens.append(event)
    if arguments[0] == "train" and code == 130:
        code = ExitCode.USAGE  # it ends in order, after its step
    assert command(arguments) == code
    assert card.history() == ["locked", "released"]


@WAYS
def test_a_refusal_is_said_and_nothing_is_released(
    card: Card, happens: list[Callable[[], object]], arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    card.install(refuses=True)
    command(arguments)
    assert "the clock of cuda:0 was not locked: locking needs the rights of an administrator" in capsys.readouterr().err
    assert card.history() == []
    if arguments == RUN:
        (path,) = Path("results").glob("*/records/*.json")
        assert [one["kind"] for one in json.loads(path.read_text())["advice"]] == ["clock-not-locked"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_is_released_when_the_command_is_killed(card: Card, number: int) -> None:
    text = (
        f"import time; from {clocks.__name__} import locked_clocks\n"
        f"with locked_clocks([{UUID!r}]): print('in', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, start_new_session=True) as owner:
        try:
            assert owner.stdout is not None
            assert owner.stdout.readline() == b"in\n"
            assert card.history() == ["locked"]
        finally:  # or what fails here would wait for it
            os.killpg(owner.pid, number)
        wait_for(lambda: card.history() == ["locked", "released"])


ON_CPU = {name: typed for name, typed in OTHERS.items() if name not in ("noise", "selftest")}


@pytest.mark.parametrize("arguments", [RUN, *ON_CPU.values()], ids=["run", *ON_CPU])
def test_it_is_refused_where_everything_runs_on_the_cpu(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command([*arguments, "-d", "cpu", "--lock-clocks"]) == ExitCode.USAGE
    assert "--lock-clocks is of GPUs" in capsys.readouterr().err


@pytest.mark.parametrize("is_locked", [True, False])
def test_a_case_whose_clock_is_not_locked_is_doubted(is_locked: bool) -> None:
    settings = ((LOCKED, "sustained"),) if is_locked else ()
    environment = replace(ON_GPU, gpu_settings=settings)
    found = clocks.doubts_of_lock(environment, "cuda:0", is_asked=True)
    assert [one.kind for one in found] == ([] if is_locked else [AdviceKind.CLOCK_NOT_LOCKED])
    assert clocks.doubts_of_lock(environment, "cuda:0", is_asked=False) == ()
    assert clocks.doubts_of_lock(environment, "cpu", is_asked=True) == ()
