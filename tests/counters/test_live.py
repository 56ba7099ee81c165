import contextlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.core.cell import CompileMode, Precision
from bench.counters import memory as module
from bench.counters.memory import measure_memory, predict, track_live_bytes
from bench.device.backend import backend_of
from bench.runner.counting import workspaces_of
from tests.counters.small import WORKLOADS, cell, image_workload, linear_workload
from tests.fakes.gpu import MIB, FakeMachine, FakeScaler
from tests.gpu import judging

_CHILD = """
import json, sys
from torch import nn
from bench.counters.memory import measure_resident
from bench.counters.memory import predict
from tests.counters.small import cell, image_workload
workload = image_workload(lambda: nn.Sequential(nn.Flatten(), *[nn.Linear(192, 192, bias=False) for _ in range(200)],
                                                nn.Linear(192, 5)))
one = cell(2048, optimizer="adam")
memory = measure_resident(workload, one)
print(json.dumps([memory.step_resident_bytes, memory.peak_resident_bytes, memory.method,
                  predict(workload, one).total_bytes]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.slow
def test_a_fresh_process_peaks_near_the_predicted_bytes():
    root = Path(__file__).parents[2]
    child = subprocess.run([sys.executable, "-c", _CHILD], cwd=root, capture_output=True, text=True, check=True)
    step, peak, method, predicted = json.loads(child.stdout.splitlines()[-1])
    assert predicted > 300 * 2**20
    assert step == pytest.approx(predicted, rel=0.05)
    assert peak > step
    assert "clear_refs" in method


def test_without_clear_refs_the_method_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "clear_peak", lambda: False)
    monkeypatch.setattr(module, "resident_bytes", lambda: None)
    monkeypatch.setattr(module, "_give_memory_back", lambda: False)  # this process goes on to run other tests
    memory = measure_memory(WORKLOADS["mse"], cell())
    assert memory.step_resident_bytes is None
    assert memory.peak_resident_bytes is not None
    assert memory.method == "peak resident set since the start, allocator as it was"


def test_a_cpu_measurement_leaves_the_accelerator_fields_empty(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_give_memory_back", lambda: False)
    memory = measure_memory(WORKLOADS["mse"], cell())
    assert (memory.peak_allocated_bytes, memory.peak_reserved_bytes, memory.device_used_bytes) == (None, None, None)


def test_a_function_that_the_c_library_does_not_have_is_none():
    assert module.call_c("no_such_function_in_libc") is None


def test_live_bytes_see_a_tensor_that_is_kept_too_long():
    kept: list[torch.Tensor] = []

    class Keeps(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = torch.nn.Linear(192, 5)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            kept.append(images * 2)
            return self.head(images.flatten(1))

    plain = track_live_bytes(
        image_workload(lambda: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 5))), cell(4)
    )
    leaking = track_live_bytes(image_workload(Keeps), cell(4))
    assert leaking.total_bytes == plain.total_bytes + 2 * (4 * 4 * 192)  # one for each of the two steps


def wide() -> torch.nn.Module:
    """Take 256 MiB of weights: cuBLAS' workspaces alone are no such peak, and every part of a step is seen."""
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2**18), torch.nn.Linear(2**18, 64, bias=False))


def wrong_on_cuda(device: str = "cuda:0") -> list[str]:
    one, workload = cell(64, optimizer="adam", device=device), image_workload(wide)
    uuid = backend_of(device).facts()["gpu_uuid"]
    predicted = predict(workload, one).with_workspace(workspaces_of(one, uuid))
    return judging.foreseen(predicted.total_bytes, measure_memory(workload, one).peak_allocated_bytes)


@pytest.mark.gpu
def test_prediction_is_near_the_allocators_peak_on_cuda():
    assert wrong_on_cuda() == []


@pytest.mark.parametrize(("share", "is_right"), [(1.0, True), (0.9, False), (0.1, False), (1.1, False)])
def test_a_peak_that_misses_the_prediction_on_either_side_is_found(
    monkeypatch: pytest.MonkeyPatch, share: float, is_right: bool
):
    """The question to a GPU above, asked of a fake one that allocates so much of what is predicted (B7)."""
    machine = FakeMachine()
    tensors = predict(image_workload(wide), cell(64, optimizer="adam", device="cuda:0")).total_bytes

    class Step(OnAGpu):
        def __call__(self) -> None:
            held = machine.gpu.hold(round(share * tensors)), machine.multiply(0.01)
            del held

    monkeypatch.setattr(module, "prepare", lambda *_, **__: contextlib.nullcontext(Step(machine)))
    with machine.installed():
        assert (wrong_on_cuda() == []) is is_right


class OnAGpu:
    """A step that holds 10 MiB, and 20 MiB more for good once its optimizer has updated the weights.

    While it compiles each step holds so many bytes.
    """

    def __init__(self, machine: FakeMachine, overflows: int | None = 0, compiling: tuple[int, ...] = ()) -> None:
        self.machine, self.compiling = machine, iter(compiling)
        self.scaler = None if overflows is None else FakeScaler(overflows)
        self.state: object = None
        self.networks: dict[str, torch.nn.Module] = {}
        self.batch = self.optimizers = ()
        self.is_training = True

    def split(self, _: object) -> None:
        self()

    def __call__(self) -> None:
        held = self.machine.gpu.hold(next(self.compiling, 10 * MIB))
        is_skipped = self.scaler is not None and self.scaler.skips()
        if not is_skipped and self.state is None:
            self.state = self.machine.gpu.hold(20 * MIB)
        del held


def peaks_of(
    monkeypatch: pytest.MonkeyPatch, compile_mode: CompileMode = CompileMode.NONE, *, is_container=False, **step
):
    machine = FakeMachine(lists_host_numbers=is_container)
    prepared = OnAGpu(machine, **step)
    monkeypatch.setattr(module, "prepare", lambda *_, **__: contextlib.nullcontext(prepared))
    one = replace(cell(device="cuda:0"), compile=compile_mode)
    with machine.installed():
        return measure_memory(WORKLOADS["mse"], one, gpu_uuid=machine.gpu.uuid)


def test_a_peak_has_the_optimizers_state_although_fp16_skips_updates(monkeypatch: pytest.MonkeyPatch):
    """The first updates are skipped while the scale falls, and their steps allocate no state (A4)."""
    assert peaks_of(monkeypatch, overflows=4).peak_allocated_bytes == 30 * MIB


def test_the_compilers_own_peak_stands_apart(monkeypatch: pytest.MonkeyPatch):
    """A compiler tries kernels on buffers of its own, and the second step records a graph (A7)."""
    compiling = (500 * MIB, 300 * MIB)
    memory = peaks_of(monkeypatch, CompileMode.MAX_AUTOTUNE, overflows=None, compiling=compiling)
    assert (memory.peak_allocated_bytes, memory.compiling_allocated_bytes) == (30 * MIB, 520 * MIB)
    assert peaks_of(monkeypatch).compiling_allocated_bytes is None


@pytest.mark.parametrize("is_container", [False, True])
def test_what_the_driver_counts_of_this_process_is_told_or_why_not(monkeypatch: pytest.MonkeyPatch, is_container):
    """In a container NVML may list no process by our number (B4); what was asked for stands beside blocks (B8)."""
    memory = peaks_of(monkeypatch, is_container=is_container)
    assert memory.device_used_bytes == (None if is_container else 530 * MIB)
    assert ("no driver's count: NVML does not list this process" in memory.method) is is_container
    assert memory.peak_requested_bytes == memory.peak_allocated_bytes == 30 * MIB


@pytest.mark.parametrize("overflows", [0, 4])
def test_a_verified_batch_has_the_optimizers_state_on_a_fake_gpu(monkeypatch: pytest.MonkeyPatch, overflows: int):
    """`fit --verify` in fp16-amp: the allocator's peak is that of steps which update the weights (A4)."""
    machine = FakeMachine()
    monkeypatch.setattr(module, "prepare", lambda *_, **__: contextlib.nullcontext(OnAGpu(machine, overflows)))
    with machine.installed():
        one = cell(device="cuda:0", precision=Precision.FP16_AMP)
        track_live_bytes(WORKLOADS["mse"], one)
        assert backend_of(one.device).allocator().peak_allocated == 30 * MIB


def test_a_verified_batch_in_fp16_has_what_was_predicted():
    """Real tensors on the CPU: a sum's gradients overflow at the first scales, and those updates are skipped (A4)."""
    workload = linear_workload(64, 64, optimizer=lambda parameters: torch.optim.Adam(parameters))
    one = cell(64, precision=Precision.FP16_AMP)
    found, predicted = track_live_bytes(workload, one), predict(workload, one)
    assert found.optimizer_state_bytes == predicted.optimizer_state_bytes > 2 * 4 * 64 * 64
    assert found.total_bytes == pytest.approx(predicted.total_bytes, abs=64)  # the scale, and whether it overflowed
