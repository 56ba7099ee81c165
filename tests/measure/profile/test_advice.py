"""Each advice on figures that have the fault and on figures that have not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.core.advice import AdviceKind
from bench.core.cell import Cell, MemoryFormat, Precision
from bench.core.profile import Compilation, PhaseCost, Profile, ProfiledLayer, SyncPoint, Trial
from bench.core.record import FlopCount, Phase
from bench.measure.profile.advice import Findings, find_advice, options_for

CELL = Cell(model="net", batch_size=8)


def layer(name: str, seconds: float, type_: str = "Linear", flops: int = 100, touched: int = 10) -> ProfiledLayer:
    cost = PhaseCost(phase=Phase.FORWARD, seconds=seconds, profiled_seconds=seconds, flops=flops, bytes_touched=touched)
    return ProfiledLayer(name=name, type=type_, costs=(cost,))


HEALTHY = Profile(
    cell=CELL,
    step_seconds=1.0,
    profiled_step_seconds=1.04,
    profiled_steps=4,
    layers=(layer("a", 0.7), layer("b", 0.2, touched=1), layer("(optimizer)", 0.1, "")),
    flops=FlopCount(forward=200),
    flops_per_byte=5.0,
)
NOTHING = Findings(fixed_seconds=0.1, fused_optimizer="sgd-fused")


def kinds(profile: Profile, findings: Findings = NOTHING) -> set[AdviceKind]:
    return {advice.kind for advice in find_advice(profile, findings)}


def test_a_healthy_profile_gets_no_advice() -> None:
    assert find_advice(HEALTHY, NOTHING) == ()
    assert options_for(HEALTHY, NOTHING) == ()


FAULTS = {
    AdviceKind.LAUNCH_BOUND: ({"clock": "device", "host_step_seconds": 0.95}, {}),
    AdviceKind.BATCH_TOO_SMALL: ({}, {"fixed_seconds": 0.6}),
    AdviceKind.OPTIMIZER_DOMINATED: ({"layers": (layer("a", 0.7), layer("(optimizer)", 0.3, ""))}, {}),
    AdviceKind.MEMORY_BOUND_LAYER: ({"layers": (layer("a", 0.8), layer("b", 0.2, touched=50))}, {}),
    AdviceKind.HIDDEN_SYNC: (
        {"syncs": (SyncPoint(operation="x", phase=Phase.FORWARD, layer="a", calls=2, file="n.py", line=3),)},
        {},
    ),
    AdviceKind.UNUSED_PARAMETERS: ({}, {"unused_parameters": ("c.weight",), "unused_elements": 12}),
    AdviceKind.RECOMPILATION: ({"compilation": Compilation(graphs=1, recompilations=3)}, {}),
    AdviceKind.TF32_OFF: ({}, {"can_tf32": True}),
    AdviceKind.CHANNELS_LAST: ({"layers": (layer("a", 0.8, "Conv2d"),)}, {}),
    AdviceKind.PROFILER_OVERHEAD: ({"profiled_step_seconds": 1.5}, {}),
    AdviceKind.BF16_SLOWER: (
        {
            "cell": replace(CELL, precision=Precision.BF16_AMP),
            "trials": (Trial(kind=AdviceKind.BF16_SLOWER, option="-p fp32", cell=CELL, ratio=0.5, low=0.4, high=0.6),),
        },
        {},
    ),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_is_named_alone(kind: AdviceKind) -> None:
    profile, findings = FAULTS[kind]
    assert kinds(replace(HEALTHY, **profile), replace(NOTHING, **findings)) == {kind}


def test_one_recompilation_for_other_batches_is_expected() -> None:
    def compiled(graphs: int) -> Profile:
        return replace(HEALTHY, compilation=Compilation(graphs=1, batches_tried=(9, 10), batch_recompilations=graphs))

    assert kinds(compiled(1)) == set()
    assert kinds(compiled(2)) == {AdviceKind.RECOMPILATION}


def test_channels_last_is_not_advised_if_set_or_tried_in_vain() -> None:
    convolutions = replace(HEALTHY, layers=(layer("a", 0.8, "Conv2d"),))
    assert kinds(replace(convolutions, cell=replace(CELL, memory_format=MemoryFormat.CHANNELS_LAST))) == set()
    trial = Trial(kind=AdviceKind.CHANNELS_LAST, option="", cell=CELL, ratio=0.98, low=0.95, high=1.02)
    assert kinds(replace(convolutions, trials=(trial,))) == set()
    (advice,) = find_advice(replace(convolutions, trials=(replace(trial, ratio=0.7, high=0.8),)), NOTHING)
    assert dict(advice.facts)["time_ratio"] == 0.7


def test_options_are_the_cells_that_the_advice_names() -> None:
    slow = replace(HEALTHY, layers=(layer("a", 0.6, "Conv2d"), layer("(optimizer)", 0.4, "")))
    options = {o.kind: o for o in options_for(slow, replace(NOTHING, fixed_seconds=0.9))}
    assert options[AdviceKind.BATCH_TOO_SMALL].cell == replace(CELL, batch_size=32)
    assert options[AdviceKind.OPTIMIZER_DOMINATED].cell == replace(CELL, optimizer="sgd-fused")
    assert options[AdviceKind.CHANNELS_LAST].text == "--memory-format channels_last"
    bf16 = replace(HEALTHY, cell=replace(CELL, precision=Precision.BF16))
    (only,) = options_for(bf16, NOTHING)
    assert (only.kind, only.cell) == (AdviceKind.BF16_SLOWER, CELL)
