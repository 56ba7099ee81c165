"""GPUs of NVIDIA on a fake of torch and NVML: what is missing is a reason, and the right GPU is asked."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pynvml
import pytest
import torch

from bench.core.advice import AdviceKind, doubts_of_machine
from bench.core.cell import Cell, Mode
from bench.core.environment import MachineState
from bench.core.errors import UsageError
from bench.core.workload import Workload
from bench.device import cuda, prepare
from bench.device.backend import backend_of, check_device, is_out_of_memory, normalise_device, starts_when_counted
from bench.device.environment import load_of_others
from bench.measure.clock import clock_for
from bench.runner.counting import workspaces_of
from bench.runner.workers.machine import examine
from tests.fakes.gpu import MIB, FakeMachine, uuid_of

OLD_DRIVER = "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver.\nSee"


# The current device (A1).


def test_an_event_is_recorded_on_the_cells_own_gpu(machine: FakeMachine) -> None:
    clock = clock_for("cuda:1")
    clock.start()
    machine.advance(0.5, 0.001, device=1)
    clock.mark()
    assert clock.collect()[0] == pytest.approx([0.5], rel=0.01)


def test_an_event_stands_in_the_stream_that_is_current_on_the_cells_gpu(machine: FakeMachine) -> None:
    """A model may work on a stream of its own; work on another stream, or on another GPU, is not its."""
    clock, gpu = clock_for("cuda:1"), machine.gpus[1]
    machine.advance(3.0, 0.0, device=0)
    machine.advance(2.0, 0.0, device=1)
    with gpu.on_a_stream():
        clock.start()  # waits for every stream
        machine.advance(0.5, 0.001, device=1)
        clock.mark()
        with gpu.on_a_stream():
            machine.advance(9.0, 0.0, device=1)
        assert clock.collect()[0] == pytest.approx([0.5], rel=0.01)
    assert machine.host_now >= gpu.done_at


def test_starting_a_device_makes_it_the_current_one(machine: FakeMachine) -> None:
    assert normalise_device("cuda:1") == "cuda:1"
    assert torch.cuda.current_device() == 1  # kernels of one's own and pinned memory ask for it


def test_preparing_a_cell_makes_its_gpu_the_current_one(machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def build(*_: object) -> None:
        seen.append(torch.cuda.current_device())
        raise UsageError("enough")

    monkeypatch.setattr(prepare, "_build", build)
    monkeypatch.setattr(prepare, "cell_settings", lambda _: contextlib.nullcontext())
    with (
        pytest.raises(UsageError, match="enough"),
        prepare.prepare(
            Workload(build_model=torch.nn.Identity, make_batch=None), Cell(model="m", batch_size=1, device="cuda:1")
        ),  # type: ignore[arg-type]
    ):
        pass
    assert seen == [1]


def test_a_rank_makes_its_gpu_the_current_one_before_it_joins(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []

    def join(backend: str, device_id: torch.device) -> None:
        seen.append((backend, str(device_id), torch.cuda.current_device()))

    monkeypatch.setattr(torch.distributed, "init_process_group", join)
    backend_of("cuda:1").join_group()
    assert seen == [("nccl", "cuda:1", 1)]


# A driver that is too old (B5).


@pytest.mark.parametrize("device", ["cuda:0", "cuda"])
def test_a_driver_that_is_too_old_is_named_in_one_line(machine: FakeMachine, device: str) -> None:
    machine.problem = OLD_DRIVER
    with pytest.raises(UsageError) as caught:
        normalise_device(device)
    text = str(caught.value)
    assert "\n" not in text
    for word in ("cuda:0 cannot be used", "too old", "595.45", "CUDA up to 13.2", str(torch.version.cuda), "cpu"):
        assert word in text


def test_auto_takes_the_cpu_where_cuda_cannot_start_and_says_so(machine: FakeMachine) -> None:
    machine.problem = OLD_DRIVER
    said: list[str] = []
    assert normalise_device("auto", said.append) == "cpu"
    (line,) = said
    assert line.startswith("auto takes the next device: cuda:0 cannot be used")


def test_auto_takes_the_first_gpu_that_starts(machine: FakeMachine) -> None:
    assert normalise_device("auto") == "cuda:0"


def test_a_full_gpu_is_out_of_memory_and_no_wrong_usage(machine: FakeMachine) -> None:
    machine.problem = "CUDA error: out of memory"
    with pytest.raises(RuntimeError, match="out of memory"):
        normalise_device("cuda:0")


def test_the_machine_is_described_though_its_gpu_cannot_start(machine: FakeMachine) -> None:
    machine.problem = OLD_DRIVER
    found = examine()
    assert [one.gpu for one in found.environments] == [None]
    assert len(found.problems) == 2
    assert "too old" in found.problems[0]


@pytest.mark.parametrize("device", ["cuda:0", "cuda:1"])
def test_a_gpu_that_another_process_has_to_itself_is_refused_in_one_line(machine: FakeMachine, device: str) -> None:
    """Making the first GPU the current one asks the driver nothing, as it is that already."""
    for gpu in machine.gpus:
        gpu.is_exclusive, gpu.others = True, [(1, MIB)]
    with pytest.raises(UsageError) as caught:
        normalise_device(device)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(f"{device} cannot be used: CUDA error: CUDA-capable device(s) is/are busy or unavailable; ")
    assert "compute mode" in text
    assert "driver" not in text


def test_launches_that_wait_are_refused_with_the_way_out(machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every time would be wrong, and nothing would show it (B9)."""
    monkeypatch.setenv("CUDA_LAUNCH_BLOCKING", "0")
    assert normalise_device("cuda:0") == "cuda:0"
    monkeypatch.setenv("CUDA_LAUNCH_BLOCKING", "1")
    with pytest.raises(UsageError, match="CUDA_LAUNCH_BLOCKING, with which every launch waits: unset it"):
        normalise_device("cuda:0")


# Containers (B4).


def test_a_process_that_nvml_lists_by_another_number_knows_of_no_others(machine: FakeMachine) -> None:
    machine.lists_host_numbers = True
    held = machine.gpu.hold(10)
    state = backend_of("cuda:0").state(uuid_of(machine))
    assert state["gpu_other_processes"] is None
    assert "container" in str(backend_of("cuda:0").used_bytes(uuid_of(machine)))
    del held


def test_a_look_at_the_machine_in_a_container_takes_itself_for_no_stranger(machine: FakeMachine) -> None:
    """Making a GPU the current one gives it a context, which NVML lists before anything is allocated."""
    machine.lists_host_numbers = True
    assert [state.get("gpu_other_processes") for state in examine().states] == [None, None, None]
    machine.lists_host_numbers = False
    machine.gpus[1].others = [(1, MIB)]
    assert [state.get("gpu_other_processes") for state in examine().states] == [None, 0, 1]


def test_before_a_process_uses_the_gpu_all_that_are_listed_are_others(machine: FakeMachine) -> None:
    machine.gpu.others = [(1, MIB)]
    assert backend_of("cuda:0").state(uuid_of(machine))["gpu_other_processes"] == 1


# Instances of a MIG (C2).


def test_a_mig_instance_has_its_own_memory_and_the_gpus_clock() -> None:
    machine = FakeMachine(mig=True)
    with machine.installed():
        held = machine.gpu.hold(10)
        backend = backend_of("cuda:0")
        uuid = backend.facts()["gpu_uuid"]
        assert uuid == machine.gpu.instance  # as torch writes it: without `MIG-`
        assert backend.used_bytes(uuid) == 502 * MIB
        assert backend.state(uuid)["gpu_clock_mhz"] == 345
        assert dict(backend.facts()["gpu_settings"])["mig"] == "on"
        assert "MIG" in str(backend.find_meter(uuid))
        del held


# Others on the GPU (B6).


def kinds(state: MachineState) -> set[AdviceKind]:
    return {advice.kind for advice in doubts_of_machine(state, "cuda:0")}


@pytest.mark.parametrize(
    ("state", "is_shared"),
    [
        (MachineState(gpu_other_processes=1), True),
        (MachineState(gpu_other_processes=0), False),
        (MachineState(gpu_other_processes=None, gpu_load_before=0.6), True),
        (MachineState(gpu_other_processes=None, gpu_load_before=0.02), False),
        (MachineState(), False),
    ],
)
def test_a_cell_on_a_shared_gpu_is_doubted(state: MachineState, is_shared: bool) -> None:
    assert (AdviceKind.SHARED_GPU in kinds(state)) is is_shared


def test_the_load_of_the_cell_before_is_waited_out(machine: FakeMachine) -> None:
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        machine.gpu.load = max(0, machine.gpu.load - 30)

    machine.gpu.load = 100
    assert load_of_others("cuda:0", uuid_of(machine), now=lambda: sum(waited), sleep=sleep) == pytest.approx(0.1)
    machine.gpu.load = 100
    waited.clear()
    assert load_of_others("cuda:0", uuid_of(machine), now=lambda: sum(waited), sleep=waited.append) == 1.0
    assert sum(waited) < 1.5


# Events (C8) and the words of a full GPU (C6).


def test_events_are_used_again(machine: FakeMachine) -> None:
    clock = clock_for("cuda:0")
    for _ in range(5):
        clock.start()
        for _ in range(10):
            machine.advance(0.01)
            clock.mark()
        assert clock.collect()[0] == pytest.approx([0.01] * 10, rel=0.01)
    assert machine.events_made == 11


@pytest.mark.parametrize(
    "words", ["CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`", "cudaErrorMemoryAllocation"]
)
def test_a_full_gpu_is_known_by_what_its_libraries_say(words: str) -> None:
    assert is_out_of_memory(RuntimeError(f"CUDA error: {words}"))


def test_the_allocator_is_seen_by_the_backend_and_by_all_processes(machine: FakeMachine) -> None:
    backend = backend_of("cuda:1")
    machine.gpus[1].others = [(1, 100 * MIB)]
    held = backend.allocator(), machine.gpus[1].hold(3 * MIB)
    assert backend.allocator().allocated == 3 * MIB
    assert backend.whole_bytes() == (100 + 500 + 4) * MIB
    with pytest.raises(torch.OutOfMemoryError):
        machine.gpus[1].hold(80 * 2**30)
    del held
    assert backend_of("cuda:0").allocator().allocated == 0


def test_what_was_asked_for_stands_beside_the_rounded_peak(machine: FakeMachine) -> None:
    held = [machine.gpu.hold(100) for _ in range(3)]
    read = backend_of("cuda:0").allocator()
    assert (read.peak_requested, read.peak_allocated) == (300, 3 * 512)
    del held


# Workspaces of cuBLAS, which torch's allocator holds (B8).


@pytest.mark.parametrize(
    ("capability", "config", "size"),
    [
        ((9, 0), "", 32 * MIB),
        ((10, 0), "", 32 * MIB),
        ((8, 0), "", 8 * MIB + 128 * 1024),
        ((8, 0), ":4096:2:16:8", 8 * MIB + 128 * 1024),
        ((9, 0), ":16:8", 128 * 1024),
    ],
)
def test_a_workspace_is_as_large_as_torch_makes_it(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], config: str, size: int
) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", config)
    machine.gpus[1].capability = capability
    assert backend_of("cuda:1").workspace_bytes(uuid_of(machine, 1), 1) == size
    machine.nvml = pynvml.NVML_ERROR_LIBRARY_NOT_FOUND
    assert backend_of("cuda:1").workspace_bytes(uuid_of(machine, 1), 1) == (size if config else 32 * MIB)


@pytest.mark.parametrize(
    ("version", "asked", "kept"),
    [
        ("2.11.0", "", True),
        ("2.14.1+cu130", "", True),
        ("2.15.0+cu132", "", False),
        ("3.0.0", "", False),
        ("2.15.0", "1", True),
        ("2.14.1", "0", False),
    ],
)
def test_a_workspace_is_there_once_for_each_thread_only_where_torch_keeps_it(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch, version: str, asked: str, kept: bool
) -> None:
    """Since torch 2.15 a product frees its workspace, so that autograd's thread has no other one beside it."""
    monkeypatch.setattr(cuda.importlib.metadata, "version", lambda _: version)
    monkeypatch.setenv("TORCH_CUBLAS_WORKSPACE_CACHE", asked)
    one, uuid = machine.gpu.workspace, uuid_of(machine)
    train = Cell(model="mlp", batch_size=1, device="cuda:0")
    assert workspaces_of(train, uuid) == (2 * one if kept else one)
    assert workspaces_of(replace(train, mode=Mode.INFER), uuid, ["aten.addmm"]) == one
    assert workspaces_of(train, uuid, ["aten.convolution"]) == workspaces_of(replace(train, device="cpu"), None) == 0


# What is asked for: histories of the allocator, cold caches, CPUs near by.


def test_the_allocators_history_is_written_although_memory_runs_out(machine: FakeMachine) -> None:
    with pytest.raises(torch.OutOfMemoryError), backend_of("cuda:0").history("file.pickle"):
        machine.gpu.hold(80 * 2**30)
    assert machine.asked[-3:] == ["history on", "dump file.pickle", "history off"]
    assert backend_of("cpu").history("file.pickle") is None


def test_the_cpus_near_a_gpu_are_those_of_its_numa_node(machine: FakeMachine) -> None:
    assert backend_of("cuda:1").cpus_near(uuid_of(machine, 1)) == {4, 5, 6, 7}
    assert backend_of("cuda:1").cpus_near(None) == backend_of("cpu").cpus_near(None) == frozenset()
    assert backend_of("cuda:1").cache_bytes() == 50 * MIB
    machine.lacks = ("nvmlDeviceGetCpuAffinity",)
    assert backend_of("cuda:1").cpus_near(uuid_of(machine, 1)) == frozenset()


# Without torch.


def test_a_gpu_is_missing_where_no_driver_is_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cuda, "_DEVICE_FILES", ())
    monkeypatch.setattr(cuda, "_ROCM_FILE", str(tmp_path / "kfd"))
    with pytest.raises(UsageError, match="'cuda:9' was asked for, but torch sees no CUDA device here"):
        check_device("cuda:9")
    (tmp_path / "kfd").touch()
    check_device("cuda:9")
    check_device("auto")


# Counting where NVML does not tell (B10).


def test_gpus_that_nvml_does_not_tell_of_are_counted_by_a_child(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "device").touch()
    monkeypatch.setattr(cuda, "_DEVICE_FILES", (str(tmp_path / "device"),))
    asked: list[int] = []
    machine.nvml = pynvml.NVML_ERROR_DRIVER_NOT_LOADED
    cuda._count_apart.cache_clear()
    with mock.patch.object(torch.cuda, "device_count", lambda: asked.append(1) or 2):
        assert backend_of("cuda:0").count() == 2
        assert backend_of("cuda:0").why_not_ranks(3) is not None
        assert not asked  # in this process
        machine.nvml = None
        assert backend_of("cuda:0").count() == 2
        assert asked


def test_an_instance_of_a_mig_by_its_uuid_is_counted_by_a_child(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "device").touch()
    monkeypatch.setattr(cuda, "_DEVICE_FILES", (str(tmp_path / "device"),))
    assert not starts_when_counted()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-0")
    assert starts_when_counted()
