"""What the process of a cell says of the model and the machine it ran on."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.core.advice import Advice, AdviceKind
from bench.core.cell import Cell, CompileMode, Mode
from bench.core.environment import MachineState
from bench.core.generation import Generation, Sampled
from bench.core.profile import Profile, ProfileOptions
from bench.core.record import Memory, Outcome, Phase, Sampling
from bench.core.training import TrainingPlan
from bench.device import environment
from bench.measure import window
from bench.measure.window import Window
from bench.runner import processes
from bench.runner.endings import Ending
from bench.runner.scenarios import time_and_count
from bench.runner.workers import cells, training
from bench.stats.stopping import with_tail
from bench.tables.advice import advice_sentences
from bench.tables.document import page_text
from bench.tables.scenarios import generation_document, sampling_document
from bench.tables.table import Page
from tests.fakes.gpu import FakeMachine, FakeScaler
from tests.records import ENVIRONMENT, make_record
from tests.report.profiles import GPU
from tests.scenario_cases import make_generation, make_sampled

QUICK = Sampling(budget_seconds=0.0, min_steps=5, min_blocks=1, undecided_steps=5, floor_seconds=0.0)


@pytest.fixture
def spoiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name a model whose file changes torch's settings as it is imported."""
    (tmp_path / "spoiler.py").write_text(
        "import torch\n\n\n"
        "class Net(torch.nn.Linear):\n"
        "    def __init__(self):\n"
        "        torch.set_num_threads(torch.get_num_threads() + 1)\n"
        "        torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark\n"
        "        super().__init__(4, 4)\n"
    )
    monkeypatch.chdir(tmp_path)
    return "spoiler.py:Net"


def test_a_model_that_changes_settings_is_doubted_with_what_really_held(spoiler: str) -> None:
    threads = torch.get_num_threads()
    cell = Cell(model=spoiler, mode=Mode.INFER, batch_size=2, input_shape=(4,))
    timed = cells.time_cell(cell, QUICK, 0, None)
    (doubt,) = [one for one in timed.advice if one.kind is AdviceKind.SETTINGS_CHANGED]
    assert dict(doubt.facts) == {"threads": f"{threads} -> {threads + 1}", "cudnn.benchmark": "False -> True"}
    assert torch.get_num_threads() == threads
    (step,) = [sample for sample in timed.samples if sample.phase is Phase.STEP]
    assert step.build_seconds is not None and step.build_seconds > 0
    assert all(s.build_seconds is None for s in timed.samples if s.phase is not Phase.STEP)
    ((mark, sentence),) = advice_sentences([make_record(advice=(doubt,))])
    assert (mark, f"threads {threads} -> {threads + 1}" in sentence) == ("s", True)


def test_the_environment_is_read_before_a_models_file_changes_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What decides a speed is what holds in the processes of cells as they begin (B9)."""
    (tmp_path / "early.py").write_text(
        "import torch\n\n"
        "torch.backends.cudnn.benchmark = True\n\n\n"
        "class Net(torch.nn.Linear):\n"
        "    def __init__(self):\n"
        "        super().__init__(4, 4)\n"
    )
    monkeypatch.chdir(tmp_path)
    before = torch.backends.cudnn.benchmark
    try:
        found = cells.preflight(("cpu",), (("early.py:Net", (4,)),))
        assert torch.backends.cudnn.benchmark is True
    finally:
        torch.backends.cudnn.benchmark = before
    assert dict(found.environments[0][1].flags)["cudnn.benchmark"] == "False"


@pytest.mark.parametrize(("mode", "steps"), [(CompileMode.NONE, 1), (CompileMode.REDUCE_OVERHEAD, 3)])
def test_launches_are_counted_of_a_steady_step_that_updates(
    monkeypatch: pytest.MonkeyPatch, mode: CompileMode, steps: int
) -> None:
    """Not of one whose update fp16 skips (A4), nor of one that compiles or records a graph (A6)."""
    ran: list[bool] = []
    scaler = FakeScaler(overflows=4)

    class Step:
        def __init__(self) -> None:
            self.scaler = scaler

        def __call__(self) -> None:
            ran.append(not scaler.skips())

    monkeypatch.setattr(cells.registry, "resolve", lambda *_, **__: None)
    monkeypatch.setattr(cells, "prepare", lambda *_, **__: contextlib.nullcontext(Step()))
    monkeypatch.setattr(cells, "count_kernel_launches", lambda *_: len(ran))
    cell = Cell(model="net", batch_size=2, device="cuda:0", compile=mode)
    assert cells.count_launches(cell) == 5
    assert ran == [False] * 4 + [True]
    scaler.overflows = 0
    del ran[:]
    assert cells.count_launches(cell) == steps + 1


def test_a_profiler_that_sees_nothing_costs_the_count_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """None with a reason: a step of a GPU launches kernels, so 0 would be a lie (A6)."""

    def count(*_: object) -> int:
        raise RuntimeError("the profiler saw no kernel of this step\nstack")

    memory = Memory(peak_allocated_bytes=9)
    monkeypatch.setattr(cells, "measure_peak", lambda *_: memory)
    monkeypatch.setattr(cells, "count_launches", count)
    seen = cells.observe(Cell(model="net", batch_size=2, device="cuda:0"), None)
    assert (seen.memory, seen.launches, seen.reason) == (memory, None, "the profiler saw no kernel of this step")


@pytest.mark.parametrize("is_container", [False, True])
def test_a_profile_on_a_shared_and_throttled_gpu_is_doubted(
    monkeypatch: pytest.MonkeyPatch, is_container: bool
) -> None:
    """Its seconds are stored as any others (B3, B6)."""
    machine = FakeMachine(lists_host_numbers=is_container)
    machine.gpu.others = [(1, 2**20)]
    machine.gpu.load, machine.gpu.has_context = 60, True
    monkeypatch.setattr(environment, "_LOAD_MEMORY_SECONDS", 0.0)

    def profile_cell(*_: object, window: Window, **__: object) -> Profile:
        with window:
            machine.gpu.throttled["thermal"] += 1e6
        return GPU

    monkeypatch.setattr(cells.registry, "resolve", lambda *_, **__: None)
    monkeypatch.setattr(cells.profile, "profile_cell", profile_cell)
    cell = Cell(model="net", batch_size=2, device="cuda:0")
    with machine.installed():
        found = cells.profile_cell(cell, ProfileOptions(), None, machine.gpu.uuid)
    assert isinstance(found, Profile)
    assert {AdviceKind.SHARED_GPU, AdviceKind.THROTTLED_CLOCK} <= {one.kind for one in found.advice}


def test_a_pipeline_on_a_busy_machine_is_doubted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "state_between", lambda *_: MachineState(other_busy_cores=1.5, load_1m=3.0))
    point = training.run_point(TrainingPlan(model="my_net@classes=10", batch_size=4, limit_examples=64), 0.0, None)
    doubt = Advice(kind=AdviceKind.BUSY_MACHINE, facts=(("other_busy_cores", 1.5), ("load_1m", 3.0)))
    assert doubt in point.advice


def test_text_and_images_on_a_busy_machine_are_doubted(monkeypatch: pytest.MonkeyPatch) -> None:
    one = make_generation()
    values = {"time_case": (one.times, MachineState(other_busy_cores=1.5)), "measure_case": one.counts}

    def call(function: str, *_: object, **__: object) -> Ending:
        return Ending(outcome=Outcome.OK, value=values[function.partition(":")[2]])

    monkeypatch.setattr(processes, "call", call)
    fields = time_and_count("worker", one.case, QUICK, ENVIRONMENT, method="inline")
    busy = replace(one, **fields)
    assert "B  Busy machine (other busy cores 1.50" in page_text(generation_document([one, busy]), Page())
    assert "Busy" not in page_text(generation_document([one]), Page())
    image = replace(make_sampled(5), advice=busy.advice)
    assert "B  Busy machine" in page_text(sampling_document([image]), Page())


def test_a_text_that_never_ends_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    call = processes.call
    monkeypatch.setattr(processes, "DEFAULT_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(processes, "call", lambda *_, **limits: call("time:sleep", 600, **limits))
    sampling = replace(QUICK, budget_seconds=0.1)
    fields = time_and_count("worker", make_generation().case, sampling, ENVIRONMENT, method="forkserver")
    assert fields == {"outcome": Outcome.TIMED_OUT, "reason": "took longer than 0.3 s"}


@pytest.mark.parametrize("case", [make_generation(), make_sampled(5)], ids=["text", "images"])
def test_a_tail_joins_what_several_processes_took(monkeypatch: pytest.MonkeyPatch, case: Generation | Sampled) -> None:
    assert case.times is not None
    asked = []

    def call(function: str, *_: object, **__: object) -> Ending:
        asked.append(function.partition(":")[2])
        is_last = asked.count("time_case") == 3
        times = replace(case.times, converged=not is_last)
        return Ending(outcome=Outcome.OK, value=(times, MachineState()) if asked[-1] == "time_case" else case.counts)

    monkeypatch.setattr(processes, "call", call)
    fields = time_and_count("worker", case.case, with_tail(QUICK, 3.0), ENVIRONMENT, method="inline")
    assert asked == ["time_case"] * 3 + ["measure_case"]
    series = "token_seconds" if isinstance(case, Generation) else "step_seconds"
    assert getattr(fields["times"], series) == getattr(case.times, series) * 3
    assert fields["times"].clock == "host"
    assert fields["times"].converged is False
