"""Precisions that a suite leaves out where a probe finds them far slower than fp32."""

from dataclasses import replace

import pytest

from bench.core.cell import Cell, Precision
from bench.core.record import Outcome, Sampling
from bench.core.workload import Workload
from bench.measure import peaks as probe
from bench.runner import peaks, processes
from bench.runner.endings import Ending
from bench.runner.executor import LocalExecutor
from bench.runner.peaks import slow_precisions
from bench.runner.session import plan_targets
from tests.records import ENVIRONMENT
from tests.runner.test_executor import OK

BF16, AMP = Precision.BF16, Precision.BF16_AMP
CELLS = [Cell(model="net", batch_size=8, precision=precision) for precision in (Precision.FP32, BF16, AMP)]


@pytest.fixture
def probed(monkeypatch):
    """What each probe will answer, and which were made."""
    ratios = {BF16: 8.0, AMP: 2.9}
    made = []

    def call(function, device, precision, *, method, timeout_seconds):
        made.append(precision)
        ratio = ratios[precision]
        return Ending(outcome=Outcome.TIMED_OUT) if ratio is None else Ending(outcome=Outcome.OK, value=ratio)

    monkeypatch.setattr(processes, "call", call)
    return ratios, made


def slow(folder, limit=3.0, environment=ENVIRONMENT):
    return slow_precisions(CELLS, {"cpu": environment}, folder, limit)


def test_only_what_is_slower_than_the_limit_is_left_out(probed, tmp_path):
    found = slow(tmp_path)
    assert list(found) == [("cpu", BF16)]
    assert "8.0 times as long as in fp32" in found["cpu", BF16]
    assert "-p bf16 measures it all the same" in found["cpu", BF16]


def test_a_precision_is_probed_once_per_machine(probed, tmp_path):
    _, made = probed
    first = slow(tmp_path)
    assert made == [BF16, AMP]
    assert slow(tmp_path) == first
    assert made == [BF16, AMP]
    slow(tmp_path, environment=replace(ENVIRONMENT, cpu="another"))
    assert made == [BF16, AMP, BF16, AMP]


def test_without_a_limit_nothing_is_probed(probed, tmp_path):
    assert slow(tmp_path, limit=0.0) == {}
    assert probed[1] == []


def test_a_probe_that_fails_leaves_nothing_out_and_is_made_again(probed, tmp_path):
    ratios, made = probed
    ratios[BF16] = None
    assert slow(tmp_path) == {}
    slow(tmp_path)
    assert made == [BF16, AMP, BF16]


def test_a_probe_that_never_ends_leaves_nothing_out(monkeypatch, tmp_path):
    call, limits = processes.call, []

    def never(function, *_, method, timeout_seconds):
        limits.append(timeout_seconds)
        return call("time:sleep", 600, method=method, timeout_seconds=timeout_seconds)

    monkeypatch.setattr(peaks, "PROBE_TIMEOUT_SECONDS", 0.3)
    monkeypatch.setattr(processes, "call", never)
    assert slow(tmp_path) == {}
    assert limits == [0.3, 0.3]


def test_a_broken_file_is_probed_anew(probed, tmp_path):
    first = slow(tmp_path)
    (path,) = (tmp_path / "peaks").iterdir()
    path.write_text("{")
    assert slow(tmp_path) == first


def test_what_is_left_out_is_a_skipped_row_for_which_nothing_runs(monkeypatch):
    calls = []

    def call(function, *arguments, **_):
        calls.append(arguments[0])
        return OK[function.partition(":")[2]]

    monkeypatch.setattr(processes, "call", call)
    executor = LocalExecutor(slow={("cpu", BF16): "too slow"}, environments={"cpu": ENVIRONMENT})
    executor.prepare(CELLS, lambda _: None)
    records = [executor.run(cell) for cell in CELLS]
    assert [(record.outcome, record.reason) for record in records[1:2]] == [(Outcome.SKIPPED, "too slow")]
    assert [record.outcome for record in (records[0], records[2])] == [Outcome.OK, Outcome.OK]
    assert CELLS[1] not in calls


def test_only_the_default_suite_asked_for_as_it_is_leaves_anything_out():
    assert plan_targets([], {}).sampling.skip_slower_than == 3.0
    assert plan_targets([], {"precision": (AMP,)}).sampling.skip_slower_than == 0.0
    assert plan_targets(["my_net"], {}).sampling == Sampling()


@pytest.mark.parametrize("precision", [AMP, BF16])
def test_the_ratio_is_that_of_the_fastest_steps(monkeypatch, precision):
    """The probe's own model, ten times as slow in one precision."""
    seconds = {Precision.FP32: iter([3.0, 0.5, 2.0]), precision: iter([9.0, 5.0, 7.0])}
    monkeypatch.setattr(probe, "_fastest_step", lambda _, one: next(seconds[one]))
    assert probe.measure_slowdown("cpu", precision) == 10.0


def test_the_probe_runs_a_training_step_in_that_precision(monkeypatch):
    seen = []

    class Spy(probe.nn.Module):
        def forward(self, x):
            seen.append(probe.torch.get_autocast_dtype("cpu") if probe.torch.is_autocast_enabled("cpu") else None)
            return x

    model = lambda: probe.nn.Sequential(probe.nn.Linear(probe._WIDTH, probe._WIDTH), Spy())  # noqa: E731
    monkeypatch.setattr(probe, "_PROBE", replace_model(probe._PROBE, model))
    assert probe.measure_slowdown("cpu", AMP) > 0
    assert set(seen) == {None, probe.torch.bfloat16}


def replace_model(workload: Workload, build):
    return replace(workload, build_model=build)
