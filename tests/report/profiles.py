"""Hand-made profiles for the tests of reports: round figures, no clock, no torch."""

from __future__ import annotations

from bench.core.advice import Advice, AdviceKind
from bench.core.cell import Cell
from bench.core.profile import (
    Compilation,
    GraphBreak,
    IdleCause,
    IdleGap,
    MemoryPoint,
    MemoryProfile,
    OperatorCost,
    PhaseCost,
    PhasePeak,
    Profile,
    ProfiledLayer,
    StartUp,
    SyncPoint,
    Trial,
)
from bench.core.record import FlopCount, Phase

MIB = 2**20


def cost(phase: Phase, seconds: float, flops: int | None = None, touched: int | None = None) -> PhaseCost:
    return PhaseCost(
        phase=phase, seconds=seconds, profiled_seconds=seconds * 1.05, events=9, flops=flops, bytes_touched=touched
    )


def module(name: str, kind: str, forward: float, backward: float, flops: int | None = None) -> ProfiledLayer:
    return ProfiledLayer(
        name=name,
        type=kind,
        calls=1,
        parameters=100,
        activation_bytes=MIB,
        output_shape=(8, 32),
        costs=(
            cost(Phase.FORWARD, forward, flops, 2 * MIB),
            cost(Phase.BACKWARD, backward, 2 * flops if flops else None, 4 * MIB),
        ),
    )


def rest(name: str, phase: Phase, seconds: float) -> ProfiledLayer:
    return ProfiledLayer(name=name, costs=(cost(phase, seconds),))


BLOCKS = tuple(
    layer
    for index in range(12)
    for layer in (
        ProfiledLayer(name=f"blocks.{index}", type="Block", calls=1),
        module(f"blocks.{index}.attention", "Attention", 0.001, 0.002, 10**9),
        module(f"blocks.{index}.mlp", "MLP", 0.002, 0.003, 2 * 10**9),
        module(f"blocks.{index}.norm", "LayerNorm", 0.00001, 0.00001),
    )
)
LAYERS = (
    module("", "Net", 0.0005, 0.0005),
    module("stem", "Conv2d", 0.004, 0.006, 5 * 10**9),
    ProfiledLayer(name="blocks", type="Sequential", calls=1),
    *BLOCKS,
    module("head", "Linear", 0.001, 0.001, 10**8),
    rest("(autograd)", Phase.BACKWARD, 0.002),
    rest("(loss)", Phase.LOSS, 0.001),
    rest("(optimizer)", Phase.OPTIMIZER, 0.01),
)
STEP = sum(layer.seconds for layer in LAYERS)
PROFILE = Profile(
    cell=Cell(model="net", batch_size=8),
    step_seconds=STEP,
    steps_seconds=(STEP * 0.99, STEP, STEP * 1.01),
    profiled_step_seconds=STEP * 1.05,
    profiled_steps=10,
    layers=LAYERS,
    operators=(
        OperatorCost(name="aten::mm", calls=40, seconds=STEP / 2, profiled_seconds=STEP / 2, bytes_touched=90 * MIB),
        *(OperatorCost(name=f"aten::op{n}", calls=2, seconds=STEP / 32, profiled_seconds=STEP / 32) for n in range(16)),
    ),
    flops=FlopCount(forward=41_100_000_000, backward=82_200_000_000),
    start_up=StartUp(build_seconds=0.5, first_step_seconds=1.2, second_step_seconds=0.2),
)
GPU = Profile(
    cell=Cell(model="net", batch_size=8, device="cuda:0"),
    clock="device",
    step_seconds=0.010,
    steps_seconds=(0.010,),
    profiled_step_seconds=0.011,
    profiled_steps=10,
    host_step_seconds=0.0095,
    layers=(module("stem", "Conv2d", 0.003, 0.005, 10**9), rest("(idle)", Phase.FORWARD, 0.002)),
    operators=(
        OperatorCost(name="aten::conv2d", calls=3, seconds=0.008, profiled_seconds=0.008, host_seconds=0.004),
        OperatorCost(name="(idle)", calls=0, seconds=0.002, profiled_seconds=0.003, host_seconds=0.0),
    ),
    idle=(
        IdleGap(
            cause=IdleCause.LAUNCH_BOUND,
            gaps=20,
            seconds=0.0018,
            longest_seconds=0.0002,
            before="aten::conv2d",
            layer="stem",
        ),
    ),
    syncs=(
        SyncPoint(
            operation="aten._local_scalar_dense",
            phase=Phase.FORWARD,
            layer="",
            calls=2,
            file="net.py",
            line=13,
            code="if x.mean().item() > 0:",
        ),
    ),
    memory=MemoryProfile(
        points=tuple(
            MemoryPoint(
                phase=phase,
                weights_bytes=4 * MIB,
                gradients_bytes=0,
                optimizer_state_bytes=4 * MIB,
                inputs_bytes=MIB,
                saved_activations_bytes=saved * MIB,
                temporary_bytes=0,
            )
            for phase, saved in ((Phase.FORWARD, 0), (Phase.FORWARD, 8), (Phase.BACKWARD, 16), (Phase.OPTIMIZER, 1))
        ),
        measured=(PhasePeak(phase=Phase.FORWARD, peak_allocated_bytes=20 * MIB, end_allocated_bytes=18 * MIB),),
        method="tensors alive, on fake CPU tensors",
    ),
    start_up=StartUp(build_seconds=0.5, first_step_seconds=12.0, second_step_seconds=0.02),
    compilation=Compilation(
        graphs=2,
        breaks=(GraphBreak(reason="Graph break: print", file="net.py", line=20),),
        batches_tried=(9, 10),
        batch_recompilations=2,
    ),
    advice=(Advice(kind=AdviceKind.LAUNCH_BOUND, facts=(("host_seconds", 0.0095), ("device_seconds", 0.010))),),
    trials=(
        Trial(
            kind=AdviceKind.LAUNCH_BOUND,
            option="--compile reduce-overhead",
            cell=Cell(model="net", batch_size=8, device="cuda:0"),
            base_seconds=0.00125,
            tried_seconds=0.001,
            ratio=0.8,
            low=0.78,
            high=0.83,
            pairs=16,
        ),
        Trial(
            kind=AdviceKind.TF32_OFF,
            option="--precision tf32",
            cell=Cell(model="net", batch_size=8),
            reason="no\x1b[2J",
        ),
    ),
    notes=("bytes not measured: ValueError: boom",),
    trace="/somewhere/t.json",
    trace_note="3 steps",
)
