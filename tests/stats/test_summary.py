from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.core.cell import Mode
from bench.core.record import Counters, FlopCount, Phase, Sample
from bench.stats.summary import SPLIT_PHASES, Summary, estimate_phase, flops_total, summarise
from tests.records import make_counters, make_record


def test_a_record_without_samples_and_counters_says_nothing() -> None:
    assert summarise(make_record(step=None)) == Summary()


def test_figures_follow_from_the_samples_by_their_definitions() -> None:
    record = make_record(step=0.02, batch_size=4, tokens_per_example=10)
    summary = summarise(record)
    step = float(np.median(record.sample_seconds(Phase.STEP)))
    parts = [float(np.median(record.sample_seconds(phase))) for phase in SPLIT_PHASES]
    assert summary.step is not None and summary.step.point == pytest.approx(step)
    assert summary.phase_sum_seconds == pytest.approx(sum(parts))
    assert summary.residual_fraction == pytest.approx((step - sum(parts)) / step)
    assert summary.examples_per_second == pytest.approx(4 / step)
    assert summary.tokens_per_second == pytest.approx(40 / step)
    assert summary.seconds_per_token == pytest.approx(step / 40)
    assert summary.flops_per_second == pytest.approx(5.8e9 / step)
    assert [phase for phase, _ in summary.phases] == list(SPLIT_PHASES)
    assert summary.phase(Phase.STEP) is None


def test_throughput_does_not_depend_on_the_number_of_steps() -> None:
    few, many = (summarise(make_record(step=0.02, n=n)).examples_per_second for n in (10, 500))
    assert few == pytest.approx(many)


def test_three_processes_give_an_interval_with_their_spread() -> None:
    one, three = (summarise(make_record(processes=processes, noise=0.001)).step for processes in (1, 3))
    assert one and three and one.relative_half_width is not None and three.relative_half_width is not None
    assert three.relative_half_width > 10 * one.relative_half_width  # the processes differ by 2 %, the steps by 0.1 %
    assert three.n_effective == 3 and three.n == 120


def test_an_inference_cell_has_only_its_forward_phase() -> None:
    summary = summarise(make_record(mode=Mode.INFER, counters=Counters(flops=FlopCount(forward=7))))
    assert [phase for phase, _ in summary.phases] == [Phase.FORWARD]
    assert summary.flops_total == 7


def test_a_training_step_with_unknown_backward_has_no_total() -> None:
    assert flops_total(make_record(counters=Counters(flops=FlopCount(forward=7)))) is None
    assert flops_total(make_record(counters=Counters(flops=FlopCount(forward=7, backward=14)))) == 21
    assert flops_total(make_record(counters=Counters())) is None
    assert flops_total(make_record(counters=make_counters(forward=None))) is None


def test_a_phase_without_steps_is_not_measured() -> None:
    record = replace(make_record(), samples=(Sample(phase=Phase.STEP, seconds=()),))
    assert estimate_phase(record, Phase.STEP) is None
    assert summarise(record).step is None


@pytest.mark.parametrize(("scale", "are_shown"), [(1.0, True), (1.15, True), (0.85, True), (1.3, False), (0.7, False)])
def test_phases_that_do_not_add_up_are_nonsense(scale: float, are_shown: bool) -> None:
    record = make_record(step=0.02, noise=0.0)
    total = sum(sample.seconds[0] for sample in record.samples if sample.phase is not Phase.STEP)
    samples = [
        s if s.phase is Phase.STEP else replace(s, seconds=(s.seconds[0] * 0.02 * scale / total,))
        for s in record.samples
    ]
    summary = summarise(replace(record, samples=tuple(samples)))
    assert bool(summary.phases) is are_shown
    assert summary.residual_fraction == pytest.approx(1 - scale, abs=0.01)  # the gap itself is shown
