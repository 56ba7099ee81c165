"""Cells of several ranks beside the same cell of one, with figures that can be checked by hand."""

import dataclasses

import pytest

from bench.core.cell import Mode, Parallel, ScalingMode
from bench.core.environment import RankSetup
from bench.core.record import Outcome, Phase, Sample
from bench.stats.rank_scaling import main_rank_scalings, rank_scalings
from tests.records import make_record

ALONE = {Phase.FORWARD: 0.030, Phase.LOSS: 0.001, Phase.BACKWARD: 0.060, Phase.OPTIMIZER: 0.009, Phase.STEP: 0.100}
RANKS = {Phase.FORWARD: 0.032, Phase.LOSS: 0.001, Phase.BACKWARD: 0.080, Phase.OPTIMIZER: 0.012, Phase.STEP: 0.125}


def samples(phases, world_size=1, slower=1.0):
    """Constant seconds; of the last rank the forward pass is slower, and its backward pass shorter by as much."""
    found = []
    for rank in range(world_size):
        late = phases.get(Phase.FORWARD, 0) * (slower - 1) if rank == world_size - 1 else 0.0
        for phase, seconds in phases.items():
            shift = {Phase.FORWARD: late, Phase.BACKWARD: -late}.get(phase, 0.0)
            found.append(Sample(phase=phase, seconds=(seconds + shift,) * 20, rank=rank))
    return tuple(found)


def alone(**changes):
    axes = {"threads": 1, **changes}
    return dataclasses.replace(make_record(**axes), samples=samples(ALONE))


def ranks(phases=RANKS, slower=1.0, world_size=2, **changes):
    axes = {"threads": 1, "world_size": world_size, **changes}
    record = make_record(**axes)
    setup = RankSetup(backend="gloo", threads=axes["threads"] or 1, devices=("cpu",) * world_size)
    return dataclasses.replace(record, samples=samples(phases, world_size, slower), ranks=setup)


def test_ddp_communicates_in_backward_and_optimizer():
    scaling = main_rank_scalings([ranks(), alone(), ranks()])[0]
    assert scaling.reason is None
    assert scaling.efficiency == pytest.approx(0.100 / 0.125)
    assert scaling.communication_seconds == pytest.approx(0.020 + 0.003)
    assert scaling.communication_fraction == pytest.approx(0.023 / 0.125)
    assert scaling.communication_half_width == pytest.approx(0.0)
    assert scaling.examples_per_second == pytest.approx(2 * 8 / 0.125)


def test_fsdp2_communicates_in_forward_too():
    sharded = ranks(parallel=Parallel.FSDP2)
    assert main_rank_scalings([sharded, alone(), sharded])[0].communication_seconds == pytest.approx(0.025)


def test_a_rank_late_in_forward_is_named():
    uneven = ranks(slower=1.5)
    scaling = main_rank_scalings([uneven, alone(), uneven])[0]
    assert scaling.slowest_rank == 1
    assert scaling.rank_spread_fraction == pytest.approx(1 / 3)
    assert scaling.efficiency == pytest.approx(0.8)


def test_a_share_below_zero_is_shown_as_it_is():
    faster = {**RANKS, Phase.BACKWARD: 0.055, Phase.OPTIMIZER: 0.009, Phase.STEP: 0.100}
    assert main_rank_scalings([ranks(faster), alone(), ranks(faster)])[0].communication_seconds == pytest.approx(-0.005)


def test_phases_that_do_not_add_up_say_nothing_of_communication():
    gap = {**RANKS, Phase.STEP: 0.200}
    scaling = main_rank_scalings([ranks(gap), alone(), ranks(gap)])[0]
    assert scaling.reason == "the phases do not add up to the step"
    assert scaling.efficiency == pytest.approx(0.100 / 0.200)
    assert scaling.communication_seconds is None


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ([], "no world_size 1 cell in this run: add --world-size 1"),
        ([alone(batch_size=32)], "no world_size 1 cell"),
        ([alone(threads=None)], "had 2 threads, each rank 1: give both --threads 1"),
        ([make_record(step=None, outcome=Outcome.FAILED, threads=1)], "the world_size 1 cell is failed"),
    ],
)
def test_without_a_fair_cell_of_one_process_the_reason_stands_instead(others, words):
    scaling = main_rank_scalings([ranks(), *others, ranks()])[0]
    assert words in scaling.reason
    assert (scaling.efficiency, scaling.communication_fraction) == (None, None)
    assert scaling.examples_per_second is not None


def test_of_two_cells_of_one_process_that_with_the_ranks_threads_is_taken():
    shared = ranks(threads=None)
    assert main_rank_scalings([shared, alone(threads=None), alone(threads=1), shared])[0].reason is None


def test_copies_that_infer_have_no_share():
    phases = {Phase.STEP: 0.02, Phase.FORWARD: 0.019}
    mine = ranks(phases, mode=Mode.INFER)
    other = dataclasses.replace(alone(mode=Mode.INFER), samples=samples(phases))
    scaling = main_rank_scalings([mine, other, mine])[0]
    assert (scaling.communication_fraction, scaling.efficiency) == (None, pytest.approx(1.0))
    assert scaling.reason == "copies that only infer do not communicate"


def test_only_cells_of_several_ranks_are_compared():
    assert [one.cell.world_size for one in rank_scalings([alone(), ranks(), ranks(world_size=4)])] == [2, 4]


def test_strong_scaling_is_against_one_process_with_the_batch_of_all():
    whole = alone(batch_size=16)
    (scaling,) = rank_scalings([whole, ranks(batch_size=8)])
    assert scaling.scaling is ScalingMode.STRONG
    assert scaling.efficiency == pytest.approx(0.100 / (2 * 0.125))
    assert scaling.communication_fraction is None
    assert "world_size 1 cell with the batch of one process" in scaling.reason


def test_a_cell_beside_both_is_compared_with_both_and_several_nodes_with_one():
    mine = ranks(batch_size=8, nodes=2)
    found = rank_scalings([alone(batch_size=8), alone(batch_size=16), mine])
    assert [one.scaling for one in found] == [ScalingMode.WEAK, ScalingMode.STRONG]
    assert [one.cell for one in found] == [mine.cell, mine.cell]
