"""Real profiles of small models: structure and sums, no absolute times."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import DeviceType
from torch.autograd.profiler_util import EventList, FunctionEvent

from bench.core.advice import AdviceKind
from bench.core.cell import Mode
from bench.core.profile import GRADIENTS, LOSS, OPTIMIZER, UNATTRIBUTED, Profile, ProfileOptions
from bench.core.record import Phase
from bench.device.prepare import prepare
from bench.measure.profile.attribution import Attribution
from bench.measure.profile.collect import raw_events, recorded_steps
from bench.measure.profile.profile import profile_cell
from bench.measure.profile.spans import read_recording
from bench.measure.profile.times import host_times
from tests.counters.small import count_operations
from tests.device.test_own_step import gan
from tests.measure.profile.small import Branching, Checkpointed, ReadsValues, cell, workload

OPTIONS = ProfileOptions(steps=4)


@pytest.fixture(scope="module")
def branching() -> Profile:
    return profile_cell(workload(Branching), cell(), ProfileOptions(steps=4, is_with_memory=True))


def by_name(profile: Profile):
    return {layer.name: layer for layer in profile.layers}


def test_rows_sum_to_the_plain_step(branching) -> None:
    assert sum(layer.seconds for layer in branching.layers) == pytest.approx(branching.step_seconds)
    assert sum(row.seconds for row in branching.operators) == pytest.approx(branching.step_seconds)
    assert sum(cost.profiled_seconds for layer in branching.layers for cost in layer.costs) == pytest.approx(
        branching.profiled_step_seconds
    )


def test_flops_and_bytes_sum_to_the_counters_exactly(branching) -> None:
    assert sum(layer.flops or 0 for layer in branching.layers) == branching.flops.total
    assert branching.flops.backward == sum(
        cost.flops or 0 for layer in branching.layers for cost in layer.costs if cost.phase is Phase.BACKWARD
    )
    touched = sum(layer.bytes_touched or 0 for layer in branching.layers)
    assert touched == count_operations(workload(Branching), cell()).bytes_touched
    assert touched == sum(row.bytes_touched or 0 for row in branching.operators)


def test_every_layer_with_backward_flops_took_time_there(branching) -> None:
    layers = by_name(branching)
    for layer in layers.values():
        if any(cost.phase is Phase.BACKWARD and cost.flops for cost in layer.costs):
            assert sum(cost.profiled_seconds for cost in layer.costs if cost.phase is Phase.BACKWARD) > 0, layer.name
    assert layers["left.relu"].calls == 2 and layers["shared"].calls == 2
    lost = layers[UNATTRIBUTED].seconds_in(Phase.BACKWARD) if UNATTRIBUTED in layers else 0.0
    assert lost < 0.1 * branching.step_seconds  # autograd's own work between layers; some 50 us of 2 ms on a fast CPU
    assert {LOSS, OPTIMIZER, GRADIENTS} <= set(layers)
    assert [cost.phase for cost in layers[OPTIMIZER].costs] == [Phase.OPTIMIZER]


def test_the_memory_over_the_step_has_the_predicted_peak(branching) -> None:
    from bench.counters.memory import predict_steps

    steady = predict_steps(workload(Branching), cell())[1]
    assert branching.memory.peak.total_bytes == steady.total_bytes
    phases = [point.phase for point in branching.memory.points]
    assert phases == sorted(phases, key=list(Phase).index)
    assert set(phases) >= {Phase.FORWARD, Phase.BACKWARD}


def test_the_profile_crosses_a_process_and_a_file(branching) -> None:
    from bench.core.jsonio import from_json, to_json

    assert from_json(Profile, to_json(branching)) == branching


@pytest.mark.parametrize("build", [Branching, Checkpointed])
def test_backward_nodes_belong_to_the_module_that_returned_their_output(build) -> None:
    """A second way to the same answer: `grad_fn` of a module's output says which node it made last."""
    made: dict[int, str] = {}

    def note(name: str):
        def hook(_module, _inputs, output) -> None:
            if torch._C._current_graph_task_id() == -1:  # not what checkpointing runs again
                made[output.grad_fn._sequence_nr()] = name

        return hook

    with prepare(workload(build), cell()) as step:
        step()
        for name, module in step.model.named_modules():
            if not list(module.children()):
                module.register_forward_hook(note(name))
        profiler = recorded_steps(step, cell(), 1)
    attribution = Attribution(read_recording(raw_events(profiler)))
    nodes = [frame for frame in attribution.frames if frame.span.is_node and frame.span.sequence in made]
    wrong = [f.span.name for f in nodes if attribution.layer_of(f) != made[f.span.sequence]]
    assert not wrong
    if build is Branching:
        assert {attribution.layer_of(frame) for frame in nodes} == set(made.values())


def test_what_is_computed_again_in_backward_is_time_of_its_layers() -> None:
    with prepare(workload(Checkpointed), cell()) as step:
        step()
        profiler = recorded_steps(step, cell(), 1)
    (one,) = host_times(Attribution(read_recording(raw_events(profiler))))
    assert one.layer_events[Phase.BACKWARD, "body.first"] > one.layer_events[Phase.FORWARD, "body.first"]
    assert sum(one.layers.values()) == one.nanoseconds


def test_operations_agree_with_torchs_own_table() -> None:
    """Self time of each operation, against `key_averages` of the same profile; it rounds to a thousandth of a µs."""
    with prepare(workload(Branching), cell()) as step:
        step()
        profiler = recorded_steps(step, cell(), 1)
    (one,) = host_times(Attribution(read_recording(raw_events(profiler))))
    theirs = {row.key: row for row in profiler.key_averages()}
    compared = 0
    for name, nanoseconds in one.operators.items():
        if name.startswith("aten::"):
            assert theirs[name].count == one.operator_calls[name]
            assert theirs[name].self_cpu_time_total == pytest.approx(nanoseconds / 1e3, abs=0.01 * theirs[name].count)
            compared += 1
    assert compared > 10


def test_inference_has_one_phase_and_no_gradients() -> None:
    profile = profile_cell(workload(Branching), cell(mode=Mode.INFER), OPTIONS)
    assert {cost.phase for layer in profile.layers for cost in layer.costs} == {Phase.FORWARD}
    assert sum(layer.seconds for layer in profile.layers) == pytest.approx(profile.step_seconds)
    assert profile.flops.backward is None


def test_lines_that_read_a_value_are_named_in_forward_and_in_backward() -> None:
    profile = profile_cell(workload(ReadsValues), cell(), OPTIONS)
    found = {(sync.phase, sync.code) for sync in profile.syncs}
    assert {phase for phase, _ in found} == {Phase.FORWARD, Phase.BACKWARD}
    assert any("this line synchronises" in code for _, code in found)
    assert any("and this one" in code for _, code in found)
    assert all(
        sync.file.endswith("small.py") and sync.layer == "" for sync in profile.syncs if "this line" in sync.code
    )
    kinds = {advice.kind for advice in profile.advice}
    assert {AdviceKind.HIDDEN_SYNC, AdviceKind.UNUSED_PARAMETERS} <= kinds
    assert dict(next(a for a in profile.advice if a.kind is AdviceKind.UNUSED_PARAMETERS).facts) == {
        "tensors": 2,
        "parameters": 20,
        "first": "unused.weight",
    }


def test_a_model_without_these_faults_gets_no_such_advice(branching) -> None:
    kinds = {advice.kind for advice in branching.advice}
    assert not kinds & {AdviceKind.HIDDEN_SYNC, AdviceKind.UNUSED_PARAMETERS, AdviceKind.RECOMPILATION}
    assert not branching.syncs


def test_a_read_of_the_optimizers_own_counter_is_no_synchronisation() -> None:
    """Adam keeps its step on the CPU everywhere, and reads it."""
    profile = profile_cell(workload(Branching), cell(optimizer="adam"), OPTIONS)
    assert not profile.syncs


def kernel_microseconds(averages: EventList) -> float:
    """Add up torch's own table of kernels: rows of operations, and annotations, name each of them once more (B7)."""
    # `==`: torch makes a new object of each event's type
    on_device = [row for row in averages if row.device_type == DeviceType.CUDA and not row.is_user_annotation]
    return sum(row.self_device_time_total for row in on_device)


def test_a_kernel_counts_once_in_torchs_own_table() -> None:
    """As torch lists a kernel of 100 µs: by itself, and under its operation; and on the device under a mark."""
    operation = FunctionEvent(1, "aten::mm", 1, 0, 10, use_device="cuda", stack=[])
    operation.append_kernel("gemm", 0, 100)
    device = {"use_device": "cuda", "device_type": DeviceType(DeviceType.CUDA.value), "stack": []}
    kernel = FunctionEvent(2, "gemm", 7, 5, 105, **device)
    mark = FunctionEvent(3, "bench.step", 7, 5, 105, is_user_annotation=True, **device)
    events = EventList([operation, kernel, mark], use_device="cuda")
    events._build_tree()
    averages = events.key_averages()
    assert sum(row.self_device_time_total for row in averages) == 300
    assert kernel_microseconds(averages) == 100


@pytest.mark.gpu
def test_device_rows_agree_with_the_devices_own_events() -> None:
    """The step on the device against kernels of torch's own table, and against timed events."""
    profile = profile_cell(workload(Branching), cell(batch_size=512, device="cuda:0"), OPTIONS)
    assert profile.clock == "device"
    assert sum(layer.seconds for layer in profile.layers) == pytest.approx(profile.step_seconds, rel=0.02)
    with prepare(workload(Branching), cell(batch_size=512, device="cuda:0")) as step:
        step()
        profiler = recorded_steps(step, cell(device="cuda:0"), 3)
    recording = read_recording(raw_events(profiler))
    mine = sum(kernel.end - kernel.start for kernel in recording.kernels) / 1e3
    assert mine == pytest.approx(kernel_microseconds(profiler.key_averages()), rel=0.02)


def test_a_step_of_ones_own_is_attributed_to_both_networks_and_both_updates() -> None:
    profile = profile_cell(gan(), cell(), OPTIONS)
    rows = by_name(profile)
    assert {"model", "critic", LOSS, OPTIMIZER} <= set(rows)
    for name in ("model", "critic"):
        assert rows[name].seconds > 0 and rows[name].flops and rows[name].bytes_touched
    assert {cost.phase for cost in rows[OPTIMIZER].costs if cost.seconds} == {"critic", "generator"}
    assert rows[OPTIMIZER].bytes_touched
    assert UNATTRIBUTED not in rows or not rows[UNATTRIBUTED].bytes_touched
    assert profile.syncs == ()  # what torch's Adam reads of its own counters, on the CPU
