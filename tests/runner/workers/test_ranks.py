"""Cells of two gloo ranks: right gradients, phases of every rank, one record."""

import contextlib
import dataclasses
from types import SimpleNamespace

import pytest
import torch

from bench.core.advice import AdviceKind
from bench.core.cell import Cell, Mode, Parallel, Precision
from bench.core.environment import MachineState, RankSetup
from bench.core.errors import UsageError
from bench.core.record import Outcome, Phase, Sampling
from bench.device import environment
from bench.device.environment import read_machine
from bench.runner import processes
from bench.runner.executor import LocalExecutor
from bench.runner.plan import make_plan
from bench.runner.workers import ranks
from bench.runner.workers.answers import TimedCell
from bench.runner.workers.ranks import RankTiming
from bench.stats.rank_scaling import main_rank_scalings
from bench.stats.summary import summarise
from tests.fakes.gpu import FakeMachine, FakeScaler, Throttle
from tests.fakes.step import ScriptedStep
from tests.perfetto import slices
from tests.runner.rank_faults import mean_loss_workload

SHORT = Sampling(budget_seconds=0.05, max_steps=8, max_warmup_steps=4)


@pytest.mark.parametrize("parallel", Parallel)
def test_gradients_are_those_of_one_process_with_the_joint_batch(parallel):
    ending = processes.call("tests.runner.rank_faults:gradients", parallel.value)
    assert ending.outcome is Outcome.OK, ending
    first, second = ending.value
    assert first[0] != second[0]  # own data
    assert first[2] == second[2]  # the same weights
    model = mean_loss_workload().build_model()
    with torch.no_grad():
        for parameter, weight in zip(model.parameters(), first[2], strict=True):
            parameter.copy_(torch.tensor(weight))
    inputs = torch.tensor(first[0] + second[0])
    targets = torch.tensor(first[1] + second[1])
    torch.nn.functional.cross_entropy(model(inputs), targets).backward()
    for rank in (first, second):
        for parameter, found in zip(model.parameters(), rank[3], strict=True):
            torch.testing.assert_close(parameter.grad, torch.tensor(found), rtol=1e-5, atol=1e-7)


def test_fsdp2_keeps_a_part_of_every_weight_on_each_rank():
    ending = processes.call("tests.runner.rank_faults:gradients", "fsdp2")
    whole = [len(parameter) for parameter in mean_loss_workload().build_model().parameters()]
    shards = [rank[4] for rank in ending.value]
    assert [sum(sizes) for sizes in zip(*shards, strict=True)] == whole
    assert all(shard < size for shard, size in zip(shards[0], whole, strict=True))


@pytest.mark.parametrize("parallel", Parallel)
def test_an_update_that_one_rank_must_skip_is_skipped_by_all(parallel):
    """Of FSDP2 each rank sees its own part of the gradients only; torch's DTensor tells the others of an overflow."""
    ending = processes.call("tests.runner.rank_faults:scales", parallel.value, 16)
    assert ending.outcome is Outcome.OK, ending
    first, second = ending.value
    skipped = [not is_finite for is_finite, _, _ in first]
    assert 0 < sum(skipped) < 16
    if parallel is Parallel.FSDP2:
        assert all(is_finite for is_finite, _, _ in second)  # the overflow is in the other rank's part
    for rank in (first, second):
        assert [not has_changed for _, _, has_changed in rank] == skipped
        assert rank[-1][1] == 65536 / 2 ** sum(skipped)
    assert [scale for _, scale, _ in first] == [scale for _, scale, _ in second]


@pytest.mark.parametrize("parallel", Parallel)
def test_updates_that_ranks_skip_for_ever_are_a_doubt_with_their_number(parallel):
    model, precision = "tests.runner.user_models:nan_loss", Precision.FP16_AMP
    cell = Cell(model=model, batch_size=2, threads=1, world_size=2, parallel=parallel, precision=precision)
    ending = processes.call("bench.runner.workers.ranks:time_ranks", cell, SHORT, 0, None, None)
    assert ending.outcome is Outcome.OK, ending
    (doubt,) = [one for one in ending.value.advice if one.kind is AdviceKind.SKIPPED_UPDATES]
    of_a_rank = [one for one in ending.value.samples if one.rank == 0 and one.phase in (Phase.STEP, Phase.FORWARD)]
    lead_ins = sum(dict(of_a_rank[0].discarded).values())
    steps = sum(len(one.seconds) for one in of_a_rank)
    assert steps <= dict(doubt.facts)["skipped_updates"] <= steps + 2 * lead_ins


@pytest.fixture(scope="module")
def records():
    alone = Cell(model="mlp@width=64", batch_size=4, threads=1)
    cells = [alone, *(dataclasses.replace(alone, world_size=2, parallel=parallel) for parallel in Parallel)]
    plan = make_plan(cells)
    executor = LocalExecutor(sampling=SHORT, environments=plan.environments)
    executor.prepare(plan.cells, lambda _: None)
    return [executor.run(cell) for cell in plan.cells]


def test_each_phase_is_timed_on_each_rank(records):
    for record in records[1:]:
        assert record.outcome is Outcome.OK, record
        assert {(s.phase, s.rank) for s in record.samples} == {(phase, rank) for phase in PHASES for rank in (0, 1)}
        for phase in PHASES:  # no rank took more steps
            assert len({len(sample.seconds) for sample in record.samples if sample.phase is phase}) == 1
        assert (record.ranks.backend, record.ranks.threads, record.ranks.devices) == ("gloo", 1, ("cpu", "cpu"))


PHASES = (Phase.STEP, Phase.FORWARD, Phase.LOSS, Phase.BACKWARD, Phase.OPTIMIZER)


def test_a_cells_step_is_the_slowest_ranks_its_examples_are_of_all(records):
    for record in records[1:]:
        by_rank = [s.seconds for s in record.samples if s.phase is Phase.STEP]
        assert sum(record.sample_seconds(Phase.STEP)) == pytest.approx(max(map(sum, by_rank)))
        summary = summarise(record)
        assert summary.examples_per_second == pytest.approx(2 * 4 / summary.step.point)


def test_a_cell_of_ranks_is_compared_with_the_cell_of_one(records):
    for record in records[1:]:
        scaling = main_rank_scalings([record, *records])[0]
        assert scaling.efficiency == pytest.approx(summarise(records[0]).step.point / summarise(record).step.point)
        # On a machine that is busy the phases of so small a step may not add up to it; then that is the reason.
        assert scaling.reason in (None, "the phases do not add up to the step")
        assert (scaling.communication_fraction is None) == (scaling.reason is not None)
        assert scaling.slowest_rank in (0, 1)


def test_counts_are_those_of_one_rank(records):
    alone, ddp, fsdp2 = (record.counters for record in records)
    assert ddp.flops == alone.flops == fsdp2.flops
    assert ddp.parameters == alone.parameters
    # DDP's buckets hold each gradient once more.
    assert ddp.predicted_peak.total_bytes == alone.predicted_peak.total_bytes + 4 * alone.parameters
    assert fsdp2.predicted_peak is None


def test_the_peak_is_that_of_the_rank_that_needs_most(records):
    for record in records[1:]:
        assert record.counters.memory.step_resident_bytes > 0
        assert "of 2, which needs most" in record.counters.memory.method


@pytest.mark.parametrize("parallel", Parallel)
def test_ranks_infer_too(parallel):
    cell = Cell(model="mlp@width=64", batch_size=4, mode=Mode.INFER, world_size=2, parallel=parallel)
    ending = processes.call("bench.runner.workers.ranks:time_ranks", cell, SHORT, 0, None, None)
    assert ending.outcome is Outcome.OK, ending
    assert {sample.phase for sample in ending.value.samples} == {Phase.STEP, Phase.FORWARD}


@pytest.mark.parametrize("parallel", Parallel)
def test_perfetto_opens_the_trace_of_every_rank(parallel, tmp_path):
    cell = Cell(model="mlp@width=64", batch_size=4, threads=1, world_size=2, parallel=parallel)
    ending = processes.call("bench.runner.workers.ranks:trace_ranks", cell, str(tmp_path / "t.json.gz"), None)
    assert ending.value == ("3 steps", "3 steps"), ending
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rank0-t.json.gz", "rank1-t.json.gz"]
    for path in tmp_path.iterdir():
        names = slices(path)
        assert names.count("bench.step") == 3
        assert any("DistributedDataParallel" in name for name in names) == (parallel is Parallel.DDP)


def test_a_model_that_fails_on_its_ranks_is_a_failed_cell_that_names_one():
    cell = Cell(model="tests.runner.user_models:BreaksInForward", batch_size=2, input_shape=(4,), world_size=2)
    ending = processes.call("bench.runner.workers.ranks:time_ranks", cell, SHORT, 0, None, None)
    assert ending.outcome is Outcome.FAILED
    assert ending.reason in {f"rank {rank} of 2: ValueError: shapes do not fit: (3,) and (4,)" for rank in (0, 1)}
    assert (ending.ranks.backend, ending.ranks.devices, ending.ranks.hosts) == ("gloo", ("cpu", "cpu"), ())


def test_a_cell_that_cannot_fit_is_skipped_before_any_rank_starts():
    cell = Cell(model="mlp", batch_size=2, world_size=2)
    ending = processes.call("bench.runner.workers.ranks:time_ranks", cell, SHORT, 0, 1 << 60, None)
    assert "exceeds" in ending.value.skipped


def test_more_ranks_than_gpus_are_skipped_with_both_numbers(monkeypatch):
    cell = Cell(model="mlp", batch_size=2, world_size=2, device="cuda:0")
    ending = processes.call("tests.runner.rank_faults:on_one_gpu", cell)
    assert ending.value.skipped == "2 ranks need cuda:0 to cuda:1, this machine has 1 GPU"


@pytest.mark.parametrize(
    ("others", "needed", "words"),
    [(0.0, 1, None), (1.0, 1, "the device of another rank cannot"), (1.0, 1 << 60, "exceeds"), (0.0, None, None)],
)
def test_ranks_of_gpus_look_at_their_memory_themselves_and_agree(others, needed, words):
    """A launch of its own would start every GPU's libraries once more (C4)."""
    machine = FakeMachine(gpus=2)
    team = SimpleNamespace(agree=lambda own: [max(*own, others)])
    with machine.installed():
        problem = ranks._problem_of_any(Cell(model="mlp", batch_size=2, device="cuda:1"), needed, team)
    assert problem is None if words is None else words in problem.skipped


def test_what_a_ranks_own_gpu_lacks_is_told_and_they_are_launched_once(monkeypatch):
    launched = []
    answers = (TimedCell(skipped=ranks._ANOTHERS), TimedCell(skipped="12 GiB exceed 10 GiB"))
    monkeypatch.setattr(ranks, "_launch", lambda *given: launched.append(given[2:]) or answers)
    cell = Cell(model="mlp", batch_size=2, device="cuda:0", world_size=2)
    with FakeMachine(gpus=2).installed():
        found = ranks.time_ranks(cell, SHORT, 0, 12 << 30, None)
    assert found.skipped == "12 GiB exceed 10 GiB"
    assert [(given[0], given[-1]) for given in launched] == [(ranks._time_rank, 12 << 30)]


def test_the_gpus_of_all_ranks_are_looked_at(monkeypatch):
    """All wait for the lowest clock, and a stranger on any of the GPUs is a doubt (C9)."""
    of_gpus = [
        MachineState(load_1m=0, gpu_clock_mhz=1980.0, gpu_other_processes=2),
        MachineState(load_1m=0, gpu_clock_mhz=1200.0, gpu_other_processes=0),
    ]
    now = read_machine("cpu", None)
    timings = tuple(
        RankTiming(
            samples=(),
            advice=(),
            final_loss=None,
            tokens_per_example=None,
            host="one",
            before=now,
            after=now,
            state=state,
        )
        for state in of_gpus
    )
    monkeypatch.setattr(ranks, "_launch", lambda *_: timings)
    cell = Cell(model="mlp", batch_size=2, device="cuda:0", world_size=2)
    with FakeMachine(gpus=2).installed():
        found = ranks.time_ranks(cell, SHORT, 0, None, None)
    assert (found.state.gpu_clock_mhz, found.state.gpu_other_processes) == (1200.0, 0)
    assert AdviceKind.SHARED_GPU in {doubt.kind for doubt in found.advice}


@pytest.fixture
def on_rank_one(monkeypatch):
    """Be the second rank of two, on the second of two fake GPUs, with a step that computes nothing."""
    machine = FakeMachine(gpus=2)
    seconds = {Phase.FORWARD: 0.004, Phase.LOSS: 0.001, Phase.BACKWARD: 0.004, Phase.OPTIMIZER: 0.001}
    step = ScriptedStep(lambda taken: machine.advance(taken, device=1), seconds, read=lambda: machine.item(1))
    team = SimpleNamespace(rank=1, wait=lambda: None, agree=lambda own: own)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(ranks, "joined", lambda _: contextlib.nullcontext(team))
    monkeypatch.setattr(ranks, "prepare", lambda *_, **__: contextlib.nullcontext(step))
    monkeypatch.setattr(ranks.registry, "resolve", lambda *_, **__: SimpleNamespace(tokens_per_example=None))
    with machine.installed():
        machine.step = step
        yield machine, RankSetup(backend="nccl", threads=1, devices=("cuda:0", "cuda:1"))


def test_a_rank_tells_the_clock_of_its_own_working_gpu(on_rank_one):
    """Read when all is done it would be that of an idle one (B3)."""
    _, setup = on_rank_one
    found = ranks._time_rank(Cell(model="mlp", batch_size=2, device="cuda:0", world_size=2), setup, SHORT, 0, None)
    assert (found.state.gpu_clock_mhz, found.state.gpu_power_watts) == (1980, 650)
    assert {sample.rank for sample in found.samples} == {1}


def test_a_rank_tells_the_load_of_its_own_gpu_before_it_works_there(on_rank_one, monkeypatch):
    """As a cell of one process does (B6); where processes cannot be told apart, nothing else tells of others."""
    machine, setup = on_rank_one
    machine.gpus[1].load, machine.lists_host_numbers = 60, True
    monkeypatch.setattr(environment, "_LOAD_MEMORY_SECONDS", 0.0)
    found = ranks._time_rank(Cell(model="mlp", batch_size=2, device="cuda:0", world_size=2), setup, SHORT, 0, None)
    assert found.state.gpu_load_before == 0.6
    monkeypatch.setattr(ranks, "_launch", lambda *_: (found,))
    timed = ranks.time_ranks(Cell(model="mlp", batch_size=2, device="cuda:0", world_size=2), SHORT, 0, None, None)
    assert AdviceKind.SHARED_GPU in {doubt.kind for doubt in timed.advice}


@pytest.mark.parametrize("reason", ["hardware", "thermal"])
def test_what_lowered_a_ranks_clock_in_the_warm_up_only_says_nothing(on_rank_one, reason):
    machine, setup = on_rank_one
    machine.gpus[1].throttles = [Throttle(reason, end=0.5)]
    found = ranks._time_rank(Cell(model="mlp", batch_size=2, device="cuda:0", world_size=2), setup, SHORT, 0, None)
    assert found.state.gpu_throttle_reasons == ()


def test_a_rank_looks_at_the_memory_of_its_own_gpu(on_rank_one):
    """In the launch that measures, not in one of its own (C4)."""
    _, setup = on_rank_one
    cell = Cell(model="mlp", batch_size=2, device="cuda:0", world_size=2)
    assert "exceeds" in ranks._time_rank(cell, setup, SHORT, 0, 1 << 60).skipped


def test_a_ranks_trace_is_of_steps_that_update_the_weights(on_rank_one, monkeypatch):
    """In fp16-amp the first updates are skipped (A4)."""
    machine, setup = on_rank_one
    step = machine.step
    step.scaler = FakeScaler(overflows=16)
    step._advance = lambda _: step.scaler.skips()
    monkeypatch.setattr(ranks, "write_trace", lambda *_, **__: step.scaler.overflows)
    cell = Cell(model="mlp", batch_size=2, device="cuda:0", world_size=2)
    assert ranks._trace_rank(cell, setup, "t.json") == 0


def test_the_inline_executor_refuses_ranks():
    with pytest.raises(UsageError, match="w2 needs 2 processes, and the executor inline has one"):
        make_plan([Cell(model="mlp", batch_size=2, world_size=2)], method="inline")
