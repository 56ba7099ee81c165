"""Fresh processes on fake GPUs: the state they tell is that of the working GPU, and what they measure has settled."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from unittest import mock

import pytest

from bench.core.advice import Advice, AdviceKind, doubts_of_machine
from bench.core.cell import Cell, CompileMode
from bench.core.environment import MachineState
from bench.core.record import Outcome, Phase, Sampling
from bench.core.training import PipelinePoint, TrainingPlan
from bench.device import environment
from bench.measure import peaks
from bench.measure.clock import Clock
from bench.measure.window import Window
from bench.runner import doctor
from bench.runner.endings import Ending
from bench.runner.workers import cells, training
from bench.runner.workers.machine import examine
from tests.fakes.gpu import MIB, FakeMachine, FakeScaler, Throttle, uuid_of
from tests.fakes.step import ScriptedStep
from tests.trainings import make_training

CELL = Cell(model="net", batch_size=2, device="cuda:0")
PLAN = TrainingPlan(model="net", batch_size=2, device="cuda:0")
SECONDS = {Phase.FORWARD: 0.004, Phase.LOSS: 0.001, Phase.BACKWARD: 0.004, Phase.OPTIMIZER: 0.001}
QUICK = Sampling(budget_seconds=0.0, min_steps=5, min_blocks=1, undecided_steps=5, floor_seconds=0.0)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeMachine]:
    """Two GPUs, and in place of any model a step on the first."""
    machine = FakeMachine(gpus=2)
    step = ScriptedStep(machine.advance, SECONDS, read=machine.item)
    monkeypatch.setattr(cells.registry, "resolve", lambda *_, **__: SimpleNamespace(tokens_per_example=None))
    monkeypatch.setattr(cells, "prepare", lambda *_, **__: contextlib.nullcontext(step))
    monkeypatch.setattr(environment, "_LOAD_MEMORY_SECONDS", 0.0)
    with machine.installed():
        yield machine


def work(machine: FakeMachine, clock: Clock) -> None:
    for _ in range(10):
        clock.start()
        machine.advance(0.05, 1e-3)
        clock.mark()
        clock.collect()


def work_in(window: Window, machine: FakeMachine) -> None:
    with window:
        work(machine, window.clock)


# Each function measures on its GPU, and gives the state of the machine meanwhile, and its doubts.

Told = tuple[MachineState | None, tuple[Advice, ...]]


def timed(machine: FakeMachine, _: pytest.MonkeyPatch) -> Told:
    found = cells.time_cell(CELL, QUICK, 0, uuid_of(machine))
    return found.state, found.advice


def probed(machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> Told:
    monkeypatch.setattr(cells, "probe_products", lambda *_, window, **__: (work_in(window, machine), ((), ()))[1])
    monkeypatch.setattr(cells, "probe_memory", lambda *_, **__: ())
    _, _, state = cells.probe_device("cuda:0", 1.0, uuid_of(machine))
    return state, doubts_of_machine(state, "cuda:0")


def trained(machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> Told:
    run = make_training().run
    monkeypatch.setattr(training, "train", lambda *_, window, **__: (work_in(window, machine), run)[1])
    found = training.run_training(PLAN, False, mock.Mock(), uuid_of(machine), mock.Mock())
    return found.state, found.advice


def fed(machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> Told:
    point = PipelinePoint(plan=PLAN)
    monkeypatch.setattr(training, "measure_pipeline", lambda *_, window: (work_in(window, machine), point)[1])
    return None, training.run_point(PLAN, 0.0, uuid_of(machine)).advice


WAYS = [timed, probed, trained, fed]
Way = Callable[[FakeMachine, pytest.MonkeyPatch], Told]


@pytest.mark.parametrize("measure", [timed, probed, trained])
def test_clock_and_power_are_those_of_the_working_gpu(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch, measure: Way
) -> None:
    """It idles when all is over, at another clock (B3)."""
    state, _ = measure(machine, monkeypatch)
    assert state is not None
    assert (state.gpu_clock_mhz, state.gpu_power_watts) == (1980, 650)
    assert not machine.gpu.is_busy(machine.host_now)


@pytest.mark.parametrize("measure", WAYS)
@pytest.mark.parametrize(
    ("reason", "lacks"), [("hardware", ()), ("thermal", ("nvmlDeviceGetCurrentClocksThrottleReasons",))]
)
def test_a_clock_that_was_lowered_meanwhile_is_a_doubt(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch, measure: Way, reason: str, lacks: tuple[str, ...]
) -> None:
    """By glances while it works, or by counters before and after (B3)."""
    machine.gpu.throttles, machine.lacks = [Throttle(reason)], lacks
    _, advice = measure(machine, monkeypatch)
    (doubt,) = [one for one in advice if one.kind is AdviceKind.THROTTLED_CLOCK]
    assert dict(doubt.facts)["reasons"] == reason


@pytest.mark.parametrize("reason", ["hardware", "thermal", "power"])
def test_a_clock_that_was_lowered_in_the_warm_up_only_is_none(machine: FakeMachine, reason: str) -> None:
    """The window is that of the samples, for glances and for the driver's counters."""
    machine.gpu.throttles = [Throttle(reason, end=0.5)]
    state, _ = timed(machine, mock.Mock())
    assert state is not None
    assert (state.gpu_clock_mhz, state.gpu_throttle_reasons) == (1980, ())


@pytest.mark.parametrize("reason", ["hardware", "thermal", "power"])
def test_a_clock_that_was_lowered_in_the_warm_ups_of_probes_is_none(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    """Each product has one, between those that are timed; without seconds it is one execution."""

    def product(*_: object) -> Callable[[], None]:
        coming = iter([[Throttle(reason)]])

        def run() -> None:
            machine.gpu.throttles = next(coming, [])
            machine.advance(0.05, 1e-3)

        return run

    monkeypatch.setattr(peaks, "_product", product)
    monkeypatch.setattr(peaks, "_why_not_scaled", lambda *_: "has none")
    monkeypatch.setattr(cells, "probe_memory", lambda *_, **__: ())
    probes, _, state = cells.probe_device("cuda:0", 0.0, uuid_of(machine))
    assert len(probes) > 2
    assert (state.gpu_clock_mhz, state.gpu_throttled) == (1980, ())


@pytest.mark.parametrize("measure", WAYS)
def test_another_process_on_the_gpu_is_a_doubt(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch, measure: Way
) -> None:
    machine.gpu.others = [(1, MIB)]
    _, advice = measure(machine, monkeypatch)
    assert AdviceKind.SHARED_GPU in {one.kind for one in advice}


@pytest.mark.parametrize("measure", WAYS)
def test_a_load_before_us_is_a_doubt_where_nobody_tells_processes_apart(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch, measure: Way
) -> None:
    """As in a container (B6)."""
    machine.gpu.load, machine.lists_host_numbers = 60, True
    _, advice = measure(machine, monkeypatch)
    (doubt,) = [one for one in advice if one.kind is AdviceKind.SHARED_GPU]
    assert dict(doubt.facts)["load_fraction"] == 0.6


# What has settled.


def scaled(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Prepare a step whose first updates are skipped; return whether each step updated, as they run."""
    ran: list[bool] = []
    scaler = FakeScaler(overflows=16)
    step = mock.Mock(side_effect=lambda: ran.append(not scaler.skips()), scaler=scaler)
    monkeypatch.setattr(cells, "prepare", lambda *_, **__: contextlib.nullcontext(step))
    return ran


def test_energy_is_metered_of_steps_that_update_the_weights(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not of fp16's first ones, which skip the optimizer (A4); NVML is started once (C1)."""
    ran, seen = scaled(monkeypatch), []

    def idle(_: object) -> float:
        seen.append(("idle", len(ran), machine.nvml_open))
        return 70.0

    def measure(*_: object, idle_watts: float) -> None:
        seen.append(("work", ran[-1], machine.nvml_open, idle_watts))

    monkeypatch.setattr(cells, "measure_idle", idle)
    monkeypatch.setattr(cells, "measure_energy", measure)
    cells.meter_energy(CELL, uuid_of(machine))
    assert seen == [("idle", 0, 1), ("work", True, 1, 70.0)]
    assert machine.nvml_open == 0


@pytest.mark.parametrize(("mode", "least"), [(CompileMode.NONE, 1), (CompileMode.REDUCE_OVERHEAD, 3)])
def test_a_trace_is_of_steady_steps_that_update_the_weights(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch, mode: CompileMode, least: int
) -> None:
    ran = scaled(monkeypatch)
    monkeypatch.setattr(cells, "write_trace", lambda *_: "3 steps")
    assert cells.trace_cell(replace(CELL, compile=mode), "t.json") == "3 steps"
    assert ran == [False] * 16 + [True]
    monkeypatch.setattr(cells, "settle_scale", lambda _: None)
    del ran[:]
    cells.trace_cell(replace(CELL, compile=mode), "t.json")
    assert len(ran) == least


# Before anything is measured.

OLD_DRIVER = "The NVIDIA driver on your system is too old (found version 11040)."


def test_a_run_is_told_why_auto_passes_over_a_gpu(machine: FakeMachine) -> None:
    """Else it would be measured on the CPU without a word (B5)."""
    machine.problem = OLD_DRIVER
    found = cells.preflight(("auto",), ())
    assert found.devices == (("auto", "cpu"),)
    (note,) = found.notes
    assert note.startswith("auto takes the next device: cuda:0 cannot be used")


@pytest.fixture
def diagnosed(machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """Look at the machine as `bench machine` does, in this process; return its doubts."""
    monkeypatch.setattr(doctor.processes, "call", lambda *_, **__: Ending(outcome=Outcome.OK, value=examine()))
    return lambda: "\n".join(doctor.diagnose(MachineState()).doubts)


def test_the_machine_is_described_though_its_gpus_cannot_start(
    machine: FakeMachine, diagnosed: Callable[[], str]
) -> None:
    machine.problem = OLD_DRIVER
    assert [line.partition(":")[2].partition(" ")[0] for line in diagnosed().splitlines()] == ["0", "1"]
    assert "too old" in diagnosed()


def test_strangers_on_any_of_the_gpus_are_a_doubt(machine: FakeMachine, diagnosed: Callable[[], str]) -> None:
    """Not on the last one only (C9), and never ourselves, also in a container (B4)."""
    assert diagnosed() == ""
    machine.gpu.others = [(1, MIB), (2, MIB)]
    assert diagnosed() == "2 other processes on cuda:0"
    machine.gpus[1].others = [(3, MIB)]
    assert diagnosed().splitlines()[1:] == ["1 other process on cuda:1"]
    machine.lists_host_numbers = True
    assert diagnosed() == ""
