"""What the questions ask through `Backend`, asked of a fake GPU: it proves the questions, and nothing about a GPU."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench.core.advice import AdviceKind
from bench.core.cell import Cell, Mode
from bench.core.errors import BenchError
from bench.core.record import Phase, Sampling
from bench.device.backend import Backend, backend_of
from bench.device.environment import read_machine, state_between
from bench.device.readings import Glance
from bench.measure.clock import clock_for
from bench.measure.energy import measure_energy
from bench.measure.timing import Timing, time_step
from bench.measure.window import Unwatched
from bench.runner.counting import workspaces_of
from tests.conftest import questions_first
from tests.fakes.gpu import MIB, FakeMachine, Throttle
from tests.fakes.step import ScriptedStep
from tests.gpu import apart, asking, judging, test_questions

SECONDS = {Phase.FORWARD: 0.008, Phase.LOSS: 0.0001, Phase.BACKWARD: 0.026, Phase.OPTIMIZER: 0.004}
MIXED = {Phase.FORWARD: 0.015, Phase.LOSS: 0.0001, Phase.BACKWARD: 0.012, Phase.OPTIMIZER: 0.001}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeMachine]:
    machine = FakeMachine(gpus=2)
    monkeypatch.setattr(asking, "time", SimpleNamespace(perf_counter=lambda: machine.host_now))
    with machine.installed():
        yield machine


def step_on(machine: FakeMachine, launches: dict[Phase, float], device: int = 0) -> ScriptedStep:
    """A training step whose launches take the host so long, phase by phase."""
    by_seconds = {SECONDS[phase]: launches[phase] for phase in SECONDS}
    return ScriptedStep(lambda seconds: machine.advance(seconds, by_seconds[seconds], device), SECONDS)


def timed(step: ScriptedStep, device: str = "cuda:0") -> tuple[Timing, dict[str, float]]:
    """Time it as stepbench does."""
    timing = time_step(step, device, Sampling(), window=Unwatched(clock_for(device)))  # type: ignore[arg-type]
    return timing, {str(one.phase): statistics.median(one.seconds) for one in timing.samples}


def against_the_wall(machine: FakeMachine, device: str) -> list[str]:
    step = step_on(machine, MIXED)
    timing, medians = timed(step, device)
    plain = asking.wall(step, backend_of("cuda:0"))
    return judging.wall_clock(medians.pop("step"), plain, medians, timing.samples[0].clock, is_long=True)


def test_a_step_is_what_the_wall_clock_says(machine: FakeMachine) -> None:
    assert against_the_wall(machine, "cuda:0") == []


def test_a_step_timed_on_the_wrong_gpu_is_found(machine: FakeMachine) -> None:
    machine.queue_depth = 10**9  # else the host waits for room in the queue, and looks as slow as the right GPU
    assert against_the_wall(machine, "cuda:1")


@pytest.mark.parametrize("share", [0.3, 1.5])
def test_launch_bound_is_judged_from_an_empty_queue(machine: FakeMachine, share: float) -> None:
    step = step_on(machine, {phase: share * seconds for phase, seconds in SECONDS.items()})
    timing, _ = timed(step)
    backend = backend_of("cuda:0")
    total, least = asking.wall(step, backend, 0.8), asking.launching(step, backend)
    is_said = AdviceKind.LAUNCH_BOUND in {one.kind for one in timing.advice}
    assert judging.launch_bound(least, total, is_said) == []
    assert judging.launch_bound(least, total, not is_said)


def test_nvml_lists_this_process_or_that_is_found(machine: FakeMachine) -> None:
    held, backend, uuid = machine.gpu.hold(10 * MIB), backend_of("cuda:0"), machine.gpu.uuid
    for is_container in (False, True):
        machine.lists_host_numbers = is_container
        is_listed = asking.is_listed(uuid)
        assert is_listed is not is_container
        used, allocated = backend.used_bytes(uuid), backend.allocator().allocated or 0
        assert judging.environment(used, allocated, is_listed) == []
        assert judging.environment(used, allocated, not is_listed)
    del held


@pytest.mark.parametrize("keeps", [False, True])
def test_memory_is_judged_by_the_allocator_and_nvml(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch, keeps: bool
) -> None:
    backend: Backend = backend_of("cuda:0")
    kept: list[Any] = []
    machine.keeps_workspaces = keeps
    monkeypatch.setenv("TORCH_CUBLAS_WORKSPACE_CACHE", str(int(keeps)))

    def step() -> None:
        activation = machine.gpu.hold(200 * MIB)  # gone after the step
        kept.clear()  # as one that is kept is used again
        kept.extend(machine.multiply(0.01))
        del activation

    truth: dict[str, Any] = asking.peak(step, backend)
    assert truth["requested"] == truth["peak"]
    assert truth["held"] == (machine.gpu.workspace if keeps else 0)
    allocator = backend.allocator()
    memory = {
        "peak_allocated_bytes": allocator.peak_allocated,
        "peak_reserved_bytes": allocator.peak_reserved,
        "device_used_bytes": backend.used_bytes(machine.gpu.uuid),
        "method": "peaks",
    }
    predicted = 200 * MIB + workspaces_of(Cell(model="m", batch_size=1, device="cuda:0", mode=Mode.INFER), None)
    assert judging.memory(memory, truth, predicted) == []
    assert judging.memory(memory, truth, predicted + machine.gpu.workspace)  # a workspace counted twice
    assert judging.memory(memory, truth, predicted - machine.gpu.workspace)


def test_energy_is_power_times_time(machine: FakeMachine) -> None:
    step, backend = step_on(machine, MIXED), backend_of("cuda:0")
    meter = backend.find_meter(machine.gpu.uuid)
    assert not isinstance(meter, str)
    with meter.opened():
        window = measure_energy(step, "cuda:0", meter, now=lambda: machine.host_now)  # type: ignore[arg-type]
    watts, joules = asking.power(step, backend, machine.gpu.uuid)
    assert judging.energy(window.joules_per_step, window.average_watts, joules, watts) == []


def clocks(machine: FakeMachine) -> tuple[list[Glance], dict[str, Any]]:
    """What is seen of a working GPU, and what a record says of it afterwards."""
    uuid, clock = machine.gpu.uuid, clock_for("cuda:0")
    seen: list[Glance] = []
    before = replace(read_machine("cuda:0", uuid), at_seconds=machine.host_now)
    asking.look(uuid, seen)
    assert seen == []  # it idles
    for _ in range(20):
        clock.start()
        machine.advance(0.05, 0.001)
        clock.mark()
        asking.look(uuid, seen)
        clock.collect()
    after = replace(read_machine("cuda:0", uuid), at_seconds=machine.host_now)
    state = state_between(before, after, "cuda:0", uuid, clock.glances)
    return seen, {"gpu_clock_mhz": state.gpu_clock_mhz, "gpu_throttle_reasons": state.gpu_throttle_reasons}


@pytest.mark.parametrize("reason", [None, "power", "thermal"])
def test_the_record_tells_the_clock_of_the_working_gpu(machine: FakeMachine, reason: str | None) -> None:
    if reason is not None:
        machine.gpu.throttles = [Throttle(reason, factor=1.25, start=0.3)]
    seen, state = clocks(machine)
    assert judging.clocks(seen, state) == []
    late = backend_of("cuda:0").state(machine.gpu.uuid)  # what one reads when it idles again
    assert judging.clocks(seen, late)


def test_a_second_gpu_is_timed_on_its_own(machine: FakeMachine) -> None:
    first, second = (timed(step_on(machine, MIXED, at), f"cuda:{at}")[1]["step"] for at in (0, 1))
    assert judging.same_speed(first, second) == []


def test_the_gpu_is_watched_beside_what_uses_it(machine: FakeMachine) -> None:
    machine.advance(1e9, 0.0)
    with asking.watched(machine.gpu.uuid) as seen:
        for _ in range(500):
            if len(seen) > 2:
                break
            asking.threading.Event().wait(0.01)
    assert seen[0].clock_mhz == 1980
    assert machine.nvml_open == 0


# In processes of their own: a context that stays makes every later cell a shared one's.


def test_what_is_asked_apart_is_asked_of_the_cells_step(machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    step = step_on(machine, MIXED)
    monkeypatch.setattr(apart, "step_of", lambda *_: contextlib.nullcontext(step))
    whole = sum(SECONDS.values())
    least, total = apart.launching("net", 2, "fp32")
    assert (least, total) == pytest.approx((sum(MIXED.values()), whole), rel=0.02)
    assert apart.wall("net", 2, "fp32") == pytest.approx(whole, rel=0.02)
    watts, joules = apart.power("net", 2, "fp32", machine.gpu.uuid)
    assert (watts, joules) == pytest.approx((650, 650 * whole), rel=0.05)


def test_what_is_asked_apart_is_answered_by_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "asking", SimpleNamespace(COMMAND_SECONDS=60.0))
    with pytest.raises(BenchError, match=r"cuda|CUDA|NVIDIA"):
        apart.asked("wall", "mlp", 2, "fp32")
    assert not torch.cuda.is_initialized()


@pytest.mark.parametrize(("left", "seconds", "is_unasked"), [(30.0, 200.0, True), (500.0, 200.0, False)])
def test_what_the_deadline_of_all_questions_cuts_off_has_not_been_asked(
    monkeypatch: pytest.MonkeyPatch, left: float, seconds: float, is_unasked: bool
) -> None:
    """What takes longer than it may by itself is a finding."""
    limits: list[float] = []

    def run(command: list[str], *, timeout: float, **_: Any) -> None:
        limits.append(timeout)
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(test_questions.subprocess, "run", run)
    monkeypatch.setattr(test_questions, "left", lambda: left)
    monkeypatch.setattr(test_questions, "write_answer", lambda *_: None)
    with pytest.raises(pytest.skip.Exception if is_unasked else subprocess.TimeoutExpired):
        test_questions.bench("run", "mlp", seconds=seconds)
    assert limits == [min(left, seconds)]


def test_questions_come_before_tests_that_keep_a_context() -> None:
    items = [SimpleNamespace(nodeid=one) for one in ("tests/device/a", "tests/gpu/b", "tests/measure/c", "tests/gpu/d")]
    assert [one.nodeid[-1] for one in questions_first(items)] == ["b", "d", "a", "c"]
