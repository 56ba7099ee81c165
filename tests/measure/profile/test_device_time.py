from __future__ import annotations

from bench.core.profile import IDLE, LOSS, IdleCause
from bench.core.record import Phase
from bench.measure.profile.attribution import Attribution
from bench.measure.profile.spans import Kernel, Wait
from bench.measure.profile.times import device_times, idle_gaps
from tests.measure.profile.spans_by_hand import recording, training_step

FIRST = training_step(backward_thread=2)
SECOND = training_step(at=1000, first_number=3, backward_thread=2)
LEAD_IN = (Kernel("gemm", 20, 500, operation=1, launched=15),)


def measure(*kernels: Kernel, waits: tuple[Wait, ...] = ()):
    found = recording(*FIRST, *SECOND, kernels=(*LEAD_IN, *kernels), waits=waits)
    return device_times(found, Attribution(found))


def test_kernels_belong_to_their_layer_and_rows_sum_to_the_step() -> None:
    (step,) = measure(
        Kernel("gemm", 1020, 1050, operation=1001, launched=1015),
        Kernel("relu", 1050, 1060, operation=1002, launched=1033),
        Kernel("mean", 1070, 1075, operation=1003, launched=1047),
        Kernel("gemm_backward", 1080, 1140, operation=1006, launched=1063),
    )
    assert step.nanoseconds == 1140 - 500 == sum(step.layers.values()) == sum(step.operators.values())
    assert step.layers[Phase.FORWARD, "a"] == 30
    assert step.layers[Phase.FORWARD, "b"] == 10
    assert step.layers[Phase.LOSS, LOSS] == 5
    assert step.layers[Phase.BACKWARD, "a"] == 60
    assert step.layers[Phase.FORWARD, IDLE] == 1020 - 500
    assert step.operators["aten::mm"] == 60


def test_an_instant_with_two_streams_counts_once() -> None:
    (step,) = measure(
        Kernel("one", 1020, 1060, operation=1001, launched=1015),
        Kernel("two", 1040, 1080, operation=1002, launched=1033),
    )
    assert step.layers[Phase.FORWARD, "a"] == 40
    assert step.layers[Phase.FORWARD, "b"] == 20
    assert sum(step.layers.values()) == step.nanoseconds


def test_gaps_are_named_by_what_the_host_did_meanwhile() -> None:
    steps = measure(
        Kernel("late", 1020, 1030, operation=1001, launched=1015),  # nobody had launched it: the host was slow
        Kernel("queued", 1036, 1050, operation=1002, launched=1029),  # launched before the last one ended
        Kernel("after wait", 1070, 1090, operation=1003, launched=1048),
        Kernel("after sync", 1110, 1120, operation=1006, launched=1099),
        waits=(Wait(1080, 1095),),
    )
    gaps = {gap.cause: gap for gap in idle_gaps(steps)}
    assert gaps[IdleCause.LAUNCH_BOUND].seconds == 520e-9
    assert gaps[IdleCause.QUEUED].seconds == (6 + 20) * 1e-9
    assert gaps[IdleCause.QUEUED].gaps == 2
    assert gaps[IdleCause.SYNCHRONISATION].seconds == 20e-9
    assert (gaps[IdleCause.SYNCHRONISATION].before, gaps[IdleCause.SYNCHRONISATION].layer) == ("aten::mm", "a")


def test_the_first_step_only_says_when_the_device_was_free() -> None:
    assert measure() == []
