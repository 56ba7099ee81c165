"""Every kind of device answers as a plugin's must, CUDA and MPS on fakes of torch; wrong ones are told apart."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
import torch
import torch._inductor  # the profiler imports it, which fails while a fake takes the place of torch.Event

from bench.core.cell import Precision
from bench.device.backend import Backend, backend_of
from bench.device.cuda import CudaBackend
from bench.device.readings import AllocatorBytes
from bench.testing.backend import BackendConformance
from tests.fakes.gpu import FakeGpu, FakeMachine, fake_mps


class TestCpu(BackendConformance):
    device = "cpu"


@pytest.mark.gpu
class TestCuda(BackendConformance):
    device = "cuda:0"


class OnAFake(BackendConformance):
    """The conformance of a backend whose calls of torch end in a fake device."""

    machine: FakeMachine

    def work(self, pieces: int) -> None:
        for _ in range(pieces):
            self.machine.advance(1e-3, 1e-6, backend_of(self.device).index)

    def hold(self, size: int) -> object:
        return self.machine.gpus[backend_of(self.device).index].hold(size)

    def draw(self) -> list[float]:
        return [self.machine.gpus[backend_of(self.device).index].generator.random() for _ in range(8)]

    def host_seconds(self) -> float:
        return self.machine.host_now


class TestCudaOnAFake(OnAFake):
    device = "cuda:0"

    @pytest.fixture(autouse=True)
    def _installed(self) -> Iterator[None]:
        self.machine = FakeMachine(gpus=2)
        with self.machine.installed():
            yield


class TestTheSecondGpuOnAFake(TestCudaOnAFake):
    device = "cuda:1"


class TestMpsOnAFake(OnAFake):
    """Not run on such hardware: it holds only for what torch documents of its functions."""

    device = "mps:0"

    @pytest.fixture(autouse=True)
    def _installed(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr("bench.device.mps._WAIT_ADDITIONS", 50)  # a fake addition costs the host 0.2 ms
        gpu = FakeGpu(0, queue_depth=1000)
        gpu.block = 1
        with fake_mps(gpu) as self.machine:
            yield


# Each is a right backend but for one thing, and the test that must find it.


class Milliseconds(CudaBackend):
    def seconds_between(self, start: Any, end: Any) -> float:
        return float(start.elapsed_time(end))


class Microseconds(CudaBackend):
    def seconds_between(self, start: Any, end: Any) -> float:
        return float(start.elapsed_time(end)) / 1e6


class Waits(CudaBackend):
    def mark(self, used: Any = None) -> Any:
        self.synchronize()
        return super().mark(used)


class SeesWaits(CudaBackend):
    def waits(self) -> Any:
        return contextlib.nullcontext(["a wait"])


class NotBusy(CudaBackend):
    def busy_wait(self) -> Any:
        return None


class NoBlocks(CudaBackend):
    block_bytes = 1


class KeepsPeaks(CudaBackend):
    def reset_peak(self) -> None:
        pass


class SaysZero(CudaBackend):
    def free_bytes(self) -> int:
        return 0


class ForgetsTheState(CudaBackend):
    def set_random_state(self, state: torch.Tensor) -> None:
        pass


class InventsAField(CudaBackend):
    def facts(self) -> dict[str, Any]:
        return {"gpu_colour": "green"}


class RefusesFp32(CudaBackend):
    def why_not(self, precision: Precision) -> str | None:
        return "no\nreason"


class CallsItselfShort(CudaBackend):
    @property
    def device(self) -> str:
        return "cuda"


class NoDevice(CudaBackend):
    @classmethod
    def count(cls) -> int:
        return 0


class OtherWords(CudaBackend):
    out_of_memory_words = ("no room left",)


class EveryEvent(CudaBackend):
    def is_kernel(self, event: Any) -> bool:
        return True


class NoMethod(CudaBackend):
    memory_method = None

    def allocator(self) -> AllocatorBytes:
        return AllocatorBytes(allocated=5)


class LosesEnergy(CudaBackend):
    def find_meter(self, uuid: str | None = None) -> Any:
        return mock.Mock(method="a counter", read=lambda: (1.0,), between=lambda *_: -1.0)


class NeedsTorch(CudaBackend):
    """Defined in a module that imports torch, so that making one imports it."""


WRONG: dict[type[Backend], tuple[Callable[[Any], None], str]] = {
    Milliseconds: (OnAFake.test_marks_measure_the_work_between_them, "a wrong unit"),
    Microseconds: (OnAFake.test_marks_measure_the_work_between_them, "a wrong unit"),
    Waits: (OnAFake.test_a_mark_does_not_wait, "waits for the device"),
    SeesWaits: (OnAFake.test_queued_work_is_no_wait_for_the_device, "noted as a wait"),
    NotBusy: (OnAFake.test_a_mark_does_not_wait, "needs something that keeps it busy"),
    NoBlocks: (OnAFake.test_the_allocator_sees_what_is_held, "were not counted as"),
    KeepsPeaks: (OnAFake.test_the_allocator_sees_what_is_held, "left the old peak"),
    SaysZero: (OnAFake.test_free_memory_is_bytes_or_unknown, "free_bytes"),
    ForgetsTheState: (OnAFake.test_the_random_state_can_be_put_back, "gives other numbers"),
    InventsAField: (OnAFake.test_facts_and_state_are_fields_of_what_is_stored, "has no gpu_colour"),
    RefusesFp32: (OnAFake.test_each_precision_is_possible_or_refused_in_one_line, "fp32 is refused"),
    CallsItselfShort: (OnAFake.test_its_name_leads_back_to_it, "a complete name"),
    NoDevice: (OnAFake.test_this_device_is_counted, "is there, and count"),
    OtherWords: (OnAFake.test_lack_of_memory_is_told_from_other_errors, "no room left"),
    EveryEvent: (OnAFake.test_the_profiler_is_told_what_to_record, ""),
    NoMethod: (OnAFake.test_the_allocator_sees_what_is_held, "memory_method is None"),
    LosesEnergy: (OnAFake.test_energy_only_grows_or_says_why_not, ""),
    NeedsTorch: (OnAFake.test_making_one_and_looking_for_its_meter_imports_no_torch, "torch was imported"),
}


@pytest.mark.parametrize("wrong", WRONG, ids=lambda cls: cls.__name__)
def test_a_backend_that_is_wrong_in_one_thing_fails(wrong: type[Backend]) -> None:
    test, words = WRONG[wrong]

    class Case(OnAFake):
        device = "cuda:0"
        machine = FakeMachine()

        def backend(self) -> Backend:
            return wrong()

    case = Case()
    with case.machine.installed(), pytest.raises(AssertionError) as caught:
        test(case)
    assert words in str(caught.value)
