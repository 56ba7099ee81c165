"""The executor with the process boundary replaced: what each way of ending does to the record."""

import threading
from concurrent.futures import wait
from dataclasses import replace
from pathlib import Path

import pynvml
import pytest

from bench.core.advice import Advice, AdviceKind
from bench.core.cell import Cell, CompileMode, Mode
from bench.core.environment import LOCKED, MachineState, RankSetup
from bench.core.record import ColdStart, Counters, Memory, Outcome, Phase, PredictedPeak, Sample, Sampling
from bench.device import driver
from bench.runner import processes
from bench.runner.endings import Ending
from bench.runner.executor import LocalExecutor
from bench.runner.workers.answers import Counted, Observed, TimedCell
from tests.records import ENVIRONMENT

CELL = Cell(model="my_net", batch_size=8)
TIMED = TimedCell(
    samples=(Sample(phase=Phase.STEP, seconds=(0.1, 0.2)),), final_loss=1.5, state=MachineState(load_1m=1)
)
CAUSES = ("weights", "gradients", "optimizer_state", "inputs", "saved_activations", "temporary")
OK = {
    "count_cell": Ending(outcome=Outcome.OK, value=Counted(counters=Counters(parameters=7), advice=())),
    "time_cell": Ending(outcome=Outcome.OK, value=TIMED),
    "measure_peak": Ending(outcome=Outcome.OK, value=Memory(peak_resident_bytes=5)),
}


@pytest.fixture
def endings(monkeypatch):
    """What each function of the worker will answer; `endings.calls` lists what was asked, in order."""

    class Endings(dict):
        def __init__(self):
            super().__init__(OK)
            self.calls = []

    table = Endings()

    def call(function, *arguments, **_):
        name = function.partition(":")[2]
        table.calls.append((name, *arguments))
        answer = table[name]
        return Ending(outcome=Outcome.OK, value=answer(*arguments)) if callable(answer) else answer

    monkeypatch.setattr(processes, "call", call)
    return table


def run(**options):
    return LocalExecutor(**options).run(CELL)


def test_a_good_cell_has_samples_counters_and_memory(endings):
    record = run()
    assert record.outcome is Outcome.OK
    assert record.sample_seconds(Phase.STEP) == (0.1, 0.2)
    assert (record.counters.parameters, record.counters.memory.peak_resident_bytes) == (7, 5)
    assert (record.final_loss, record.state.load_1m) == (1.5, 1)


def test_counting_comes_first_then_time_then_memory(endings):
    run()
    assert [name for name, *_ in endings.calls] == ["count_cell", "time_cell", "measure_peak"]


def test_prepared_cells_are_not_counted_again(endings):
    executor = LocalExecutor()
    prepared = []
    executor.prepare((CELL,), prepared.append)
    executor.run(CELL)
    assert prepared == [CELL]
    assert [name for name, *_ in endings.calls].count("count_cell") == 1


@pytest.mark.parametrize(("mode", "bytes_given"), [("none", 1 << 50), ("default", None)])
def test_a_compiled_cell_is_tried_whatever_an_eager_one_would_need(endings, mode, bytes_given):
    """The prediction is of eager steps, and a compiled step needs less (C7)."""
    peak = PredictedPeak(total_bytes=1 << 50, **{f"{cause}_bytes": 0 for cause in CAUSES})
    counted = Counted(counters=Counters(parameters=7, predicted_peak=peak), advice=())
    endings["count_cell"] = Ending(outcome=Outcome.OK, value=counted)
    LocalExecutor().run(replace(CELL, compile=CompileMode(mode)))
    assert [call[-1] for call in endings.calls if call[0] == "time_cell"] == [bytes_given]


def test_every_process_times_once_and_is_numbered(endings):
    record = run(sampling=Sampling(processes=3))
    assert [call[3] for call in endings.calls if call[0] == "time_cell"] == [0, 1, 2]
    assert len(record.samples) == 3


@pytest.mark.parametrize(("mode", "caches"), [("none", [False]), ("default", [False, True])])
def test_cold_starts_are_asked_for_and_a_compiled_cell_finds_its_code_once(endings, mode, caches):
    def start(cell, sampling, folder, began, has_cache):
        return ColdStart(has_cache=has_cache, step_seconds=(1.0,))

    endings["start_cold"] = start
    assert run().cold_starts == ()
    record = LocalExecutor(is_cold=True).run(replace(CELL, compile=CompileMode(mode)))
    assert [one.has_cache for one in record.cold_starts] == caches
    assert all(one.total_seconds is not None for one in record.cold_starts)
    folders = {call[3] for call in endings.calls if call[0] == "start_cold"}
    assert len(folders) == 1 and not any(Path(folder).exists() for folder in folders)


def test_a_cell_of_several_processes_says_why_it_has_no_cold_start(endings):
    endings |= {"time_ranks": OK["time_cell"], "measure_rank_peaks": OK["measure_peak"]}
    record = LocalExecutor(is_cold=True).run(replace(CELL, world_size=2))
    assert record.outcome is Outcome.OK
    assert [one.reason for one in record.cold_starts] == ["a cell of several processes is not started cold"]
    assert "start_cold" not in [name for name, *_ in endings.calls]


def test_a_cell_whose_rank_died_keeps_where_its_ranks_were(endings):
    setup = RankSetup(backend="gloo", threads=1, devices=("cpu", "cpu"), hosts=("n1", "n2"))
    endings["time_ranks"] = Ending(outcome=Outcome.KILLED, reason="rank 1 of 2 on n2: killed", ranks=setup)
    record = LocalExecutor().run(replace(CELL, world_size=2, nodes=2))
    assert (record.outcome, record.reason, record.ranks) == (Outcome.KILLED, "rank 1 of 2 on n2: killed", setup)


def test_a_resumed_run_measures_what_its_records_have(endings):
    endings["start_cold"] = lambda *given: ColdStart(has_cache=given[-1], step_seconds=(1.0,))
    cold = LocalExecutor(is_cold=True).run(CELL)
    for records, is_cold in (((), False), ((run(),), False), ((run(), cold), True)):
        executor = LocalExecutor()
        executor.go_on_like(records)
        assert bool(executor.run(CELL).cold_starts) is is_cold


def test_a_cold_start_that_fails_costs_the_cell_nothing(endings):
    endings["start_cold"] = Ending(outcome=Outcome.FAILED, reason="no")
    record = LocalExecutor(is_cold=True).run(replace(CELL, compile=CompileMode.DEFAULT))
    assert (record.outcome, [one.reason for one in record.cold_starts]) == (Outcome.OK, ["no"])


@pytest.mark.slow
def test_a_real_cold_start_has_an_interpreter_of_its_own():
    (one,) = LocalExecutor(is_cold=True)._cold_starts(Cell(model="mlp@width=8", batch_size=2))
    assert one.reason is None
    assert one.import_seconds > 0.3  # torch
    assert len(one.step_seconds) >= 3
    parts = one.python_seconds + one.import_seconds + one.build_seconds + sum(one.step_seconds)
    assert 0 < parts < one.total_seconds


@pytest.mark.parametrize(
    "outcome", [Outcome.FAILED, Outcome.OUT_OF_MEMORY, Outcome.TIMED_OUT, Outcome.KILLED], ids=lambda o: o.value
)
def test_a_bad_ending_keeps_cell_reason_output_and_counts(endings, outcome):
    endings["time_cell"] = Ending(outcome=outcome, reason="why", output_tail="said before")
    record = run()
    assert (record.cell, record.outcome, record.reason, record.output_tail) == (CELL, outcome, "why", "said before")
    assert record.samples == ()
    assert record.counters.parameters == 7


def test_after_a_bad_ending_memory_is_not_measured(endings):
    endings["time_cell"] = Ending(outcome=Outcome.KILLED, reason="why")
    run()
    assert "measure_peak" not in [name for name, *_ in endings.calls]


def test_a_precision_the_device_cannot_do_is_skipped_with_the_reason(endings):
    endings["time_cell"] = Ending(outcome=Outcome.OK, value=TimedCell(skipped="tf32 needs CUDA"))
    record = run()
    assert (record.outcome, record.reason) == (Outcome.SKIPPED, "tf32 needs CUDA")


def test_memory_that_fails_costs_only_the_memory(endings):
    endings["measure_peak"] = Ending(outcome=Outcome.OUT_OF_MEMORY, reason="no memory")
    record = run()
    assert record.outcome is Outcome.OK
    assert record.samples
    assert record.counters.memory is None
    assert [(a.kind, dict(a.facts)) for a in record.advice] == [(AdviceKind.MEMORY_UNMEASURED, {"reason": "no memory"})]


def test_kernels_are_counted_on_an_accelerator_only(endings):
    endings["observe"] = Ending(outcome=Outcome.OK, value=Observed(memory=Memory(peak_allocated_bytes=9), launches=42))
    assert run().counters.kernel_launches is None
    on_gpu = LocalExecutor().run(Cell(model="my_net", batch_size=8, device="cuda:0"))
    assert on_gpu.counters.kernel_launches == 42
    assert on_gpu.counters.memory.peak_allocated_bytes == 9
    assert [name for name, *_ in endings.calls][-2:] == ["time_cell", "observe"]  # one process for both (C4)


@pytest.mark.parametrize(("launches", "is_said"), [(9_000, True), (11_000, False), (None, True)])
def test_of_a_step_that_fills_the_queue_nobody_says_that_it_is_launch_bound(endings, launches, is_said):
    """Its launching waits for room in the queue, however slowly the device works (B2)."""
    doubt = Advice(kind=AdviceKind.LAUNCH_BOUND, facts=(("host_seconds", 0.95), ("device_seconds", 1.0)))
    endings["time_cell"] = Ending(outcome=Outcome.OK, value=TimedCell(samples=(), advice=(doubt,)))
    endings["observe"] = Ending(outcome=Outcome.OK, value=Observed(memory=Memory(), launches=launches))
    record = LocalExecutor().run(Cell(model="my_net", batch_size=8, device="cuda:0"))
    assert (doubt in record.advice) is is_said


def test_launches_that_cannot_be_counted_cost_only_themselves(endings):
    endings["observe"] = Ending(outcome=Outcome.KILLED, reason="no profiler")
    record = LocalExecutor().run(Cell(model="my_net", batch_size=8, device="cuda:0"))
    assert (record.outcome, record.counters.kernel_launches) == (Outcome.OK, None)
    assert dict(record.advice[-1].facts)["reason"] == "no profiler"
    assert record.counters.memory.peak_resident_bytes == 5


def test_the_workspaces_of_matrix_products_belong_to_the_predicted_peak(endings):
    peak = PredictedPeak(
        total_bytes=60,
        weights_bytes=60,
        gradients_bytes=0,
        optimizer_state_bytes=0,
        inputs_bytes=0,
        saved_activations_bytes=0,
        temporary_bytes=0,
    )
    counters = Counters(predicted_peak=peak, dispatches=(("aten.addmm", 1),))
    endings["count_cell"] = Ending(outcome=Outcome.OK, value=Counted(counters=counters, advice=()))
    endings["observe"] = Ending(outcome=Outcome.OK, value=Observed(memory=Memory()))
    record = LocalExecutor().run(Cell(model="my_net", batch_size=8, device="cuda:0", mode=Mode.INFER))
    found = record.counters.predicted_peak
    assert (found.total_bytes, found.workspace_bytes) == (60 + 32 * 2**20, 32 * 2**20)
    assert run().counters.predicted_peak == peak
    tried = [call[-1] for call in endings.calls if call[0] == "time_cell"]
    assert tried == [found.total_bytes, 60]


def test_counting_that_dies_costs_only_the_counts(endings):
    endings["count_cell"] = Ending(outcome=Outcome.KILLED, reason="killed by SIGSEGV")
    record = run()
    assert record.outcome is Outcome.OK
    assert record.counters.parameters is None
    assert [advice.kind for advice in record.advice] == [AdviceKind.COUNT_FAILED]


ON_GPU = Cell(model="my_net", batch_size=8, device="cuda:0")


def test_a_driver_that_hangs_holds_no_cell_up(endings, monkeypatch):
    """Whatever the parent asks it of a cell: nobody would end the parent."""
    is_over = threading.Event()

    def hang():
        is_over.wait()
        raise pynvml.NVMLError(pynvml.NVML_ERROR_UNKNOWN)

    monkeypatch.setattr(pynvml, "nvmlInit", hang)
    monkeypatch.setattr(driver, "DRIVER_SECONDS", 0.1)
    peak = PredictedPeak(total_bytes=60, **{f"{cause}_bytes": 0 for cause in CAUSES})
    endings["count_cell"] = Ending(value=Counted(counters=Counters(predicted_peak=peak), advice=()), outcome=Outcome.OK)
    endings["observe"] = Ending(outcome=Outcome.OK, value=Observed(memory=Memory()))
    environments = {"cuda:0": replace(ENVIRONMENT, gpu_uuid="some")}
    try:
        record = LocalExecutor(environments=environments, is_metering=True).run(ON_GPU)
    finally:
        is_over.set()
        wait(driver._late)
    assert (record.outcome, record.counters.predicted_peak.workspace_bytes) == (Outcome.OK, 32 * 2**20)
    assert record.counters.energy.reason == "the driver gave no answer within 0.1 s"


def test_where_memory_ran_out_the_allocators_history_is_written(endings, tmp_path):
    endings["time_cell"] = Ending(outcome=Outcome.OUT_OF_MEMORY, reason="CUDA out of memory")
    endings["snapshot_cell"] = Ending(outcome=Outcome.OK, value=True)
    executor = LocalExecutor()
    assert executor.run(ON_GPU).reason == "CUDA out of memory"
    executor.snapshots = tmp_path
    name = f"{ON_GPU.key}.pickle"
    assert executor.run(ON_GPU).reason == f"CUDA out of memory; the allocator's history is in snapshots/{name}"
    assert endings.calls[-1] == ("snapshot_cell", ON_GPU, str(tmp_path / name))
    assert executor.run(CELL).reason == "CUDA out of memory"


def test_a_history_is_written_on_request(endings, tmp_path):
    endings["observe"] = Ending(outcome=Outcome.OK, value=Observed(memory=Memory()))
    endings["snapshot_cell"] = Ending(outcome=Outcome.OK, value=True)
    executor = LocalExecutor(is_snapshotting=True)
    executor.snapshots = tmp_path
    assert executor.run(ON_GPU).outcome is Outcome.OK
    assert endings.calls[-1][0] == "snapshot_cell"


@pytest.mark.parametrize("world_size", [1, 2])
def test_a_trace_is_written_after_all_that_is_timed_and_costs_the_cell_nothing(endings, tmp_path, capsys, world_size):
    name = "trace_cell" if world_size == 1 else "trace_ranks"
    endings["time_ranks"], endings["measure_rank_peaks"] = endings["time_cell"], endings["measure_peak"]
    endings[name] = Ending(outcome=Outcome.KILLED, reason="the worker was killed by SIGKILL")
    executor, cell = LocalExecutor(), replace(CELL, world_size=world_size)
    executor.traces = tmp_path / "traces"
    record = executor.run(cell)
    assert (record.outcome, len(record.samples)) == (Outcome.OK, 1)
    assert endings.calls[-1][:3] == (name, cell, str(tmp_path / "traces" / f"{cell.key}.json.gz"))
    assert capsys.readouterr().err == f"bench: no trace of {cell.id}: the worker was killed by SIGKILL\n"


@pytest.mark.parametrize(("is_locked", "kinds"), [(True, []), (False, [AdviceKind.CLOCK_NOT_LOCKED])])
def test_a_clock_that_could_not_be_locked_is_a_doubt(endings, is_locked, kinds):
    endings["observe"] = Ending(outcome=Outcome.OK, value=Observed(memory=Memory()))
    settings = (("ecc", "on"), *([(LOCKED, "sustained")] if is_locked else []))
    environments = {"cuda:0": replace(ENVIRONMENT, gpu_settings=settings)}
    executor = LocalExecutor(sampling=Sampling(lock_clocks=True), environments=environments)
    assert [one.kind for one in executor.run(ON_GPU).advice] == kinds
    assert executor.run(CELL).advice == ()
