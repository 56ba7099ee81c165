"""NVML's answers, by autospec: what is missing is None, and the same GPU is found by its UUID."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import SimpleNamespace
from unittest import mock

import pynvml
import pytest

from bench.device import cuda

UUID = "01234567-89ab-cdef-0123-456789abcdef"
FUNCTIONS = (
    "nvmlInit",
    "nvmlShutdown",
    "nvmlSystemGetDriverVersion",
    "nvmlDeviceGetHandleByUUID",
    "nvmlDeviceGetComputeRunningProcesses",
    "nvmlDeviceGetClockInfo",
    "nvmlDeviceGetMaxClockInfo",
    "nvmlDeviceGetPowerUsage",
    "nvmlDeviceGetEnforcedPowerLimit",
    "nvmlDeviceGetTotalEnergyConsumption",
    "nvmlDeviceGetTemperature",
    "nvmlDeviceGetCurrentClocksThrottleReasons",
)


def error(code: int) -> pynvml.NVMLError:
    return pynvml.NVMLError(code)


def process(pid: int, memory: int) -> SimpleNamespace:
    return SimpleNamespace(pid=pid, usedGpuMemory=memory)


@pytest.fixture
def fake() -> Iterator[SimpleNamespace]:
    """A GPU with a driver; each function has the signature of the real one."""
    with mock.patch.multiple(pynvml, **{name: mock.create_autospec(getattr(pynvml, name)) for name in FUNCTIONS}):
        functions = SimpleNamespace(**{name: getattr(pynvml, name) for name in FUNCTIONS})
        functions.nvmlSystemGetDriverVersion.return_value = "550.54"
        functions.nvmlDeviceGetComputeRunningProcesses.return_value = [process(os.getpid(), 500), process(1, 700)]
        functions.nvmlDeviceGetClockInfo.return_value = 1980
        functions.nvmlDeviceGetMaxClockInfo.return_value = 2100
        functions.nvmlDeviceGetPowerUsage.return_value = 251_500
        functions.nvmlDeviceGetEnforcedPowerLimit.return_value = 700_000
        functions.nvmlDeviceGetTotalEnergyConsumption.return_value = 123_456
        functions.nvmlDeviceGetTemperature.return_value = 41
        functions.nvmlDeviceGetCurrentClocksThrottleReasons.return_value = 0
        functions.nvmlDeviceGetHandleByUUID.side_effect = find_by_full_uuid
        yield functions


def find_by_full_uuid(uuid: str) -> str:
    if uuid != f"GPU-{UUID}":
        raise error(pynvml.NVML_ERROR_NOT_FOUND)
    return "handle"


def test_a_gpu_is_read_through_its_uuid(fake: SimpleNamespace) -> None:
    assert cuda.read_state(UUID) == cuda.GpuState(
        clock_mhz=1980,
        temperature_celsius=41,
        throttle_reasons=(),
        other_processes=1,
        own_memory_bytes=500,
        max_clock_mhz=2100,
        memory_clock_mhz=1980,
        power_watts=251.5,
        power_limit_watts=700.0,
    )
    clocks = [call.args for call in fake.nvmlDeviceGetClockInfo.call_args_list]
    assert clocks == [("handle", pynvml.NVML_CLOCK_SM), ("handle", pynvml.NVML_CLOCK_MEM)]
    fake.nvmlDeviceGetTemperature.assert_called_once_with("handle", pynvml.NVML_TEMPERATURE_GPU)


def test_a_uuid_with_its_prefix_is_found_at_once(fake: SimpleNamespace) -> None:
    assert cuda.read_state(f"GPU-{UUID}") is not None
    fake.nvmlDeviceGetHandleByUUID.assert_called_once_with(f"GPU-{UUID}")


def test_an_unknown_uuid_is_none(fake: SimpleNamespace) -> None:
    assert cuda.read_state("other") is None


def test_nvml_is_shut_down_as_often_as_it_was_started(fake: SimpleNamespace) -> None:
    cuda.read_state(UUID)
    cuda.read_state("other")
    cuda.driver_version()
    cuda.unavailable_reason()
    assert fake.nvmlInit.call_count == fake.nvmlShutdown.call_count == 4


def test_without_a_library_everything_is_none_with_a_reason(fake: SimpleNamespace) -> None:
    fake.nvmlInit.side_effect = error(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)
    assert cuda.read_state(UUID) is None
    assert cuda.driver_version() is None
    assert "Not Found" in (cuda.unavailable_reason() or "")
    fake.nvmlShutdown.assert_not_called()


@pytest.mark.parametrize(
    ("function", "field", "value"),
    [
        ("nvmlDeviceGetClockInfo", "clock_mhz", None),
        ("nvmlDeviceGetTemperature", "temperature_celsius", None),
        ("nvmlDeviceGetCurrentClocksThrottleReasons", "throttle_reasons", ()),
        ("nvmlDeviceGetComputeRunningProcesses", "other_processes", None),
        ("nvmlDeviceGetComputeRunningProcesses", "own_memory_bytes", None),
    ],
)
def test_what_a_gpu_does_not_support_is_none_and_the_rest_stands(
    fake: SimpleNamespace, function: str, field: str, value: object
) -> None:
    getattr(fake, function).side_effect = error(pynvml.NVML_ERROR_NOT_SUPPORTED)
    state = cuda.read_state(UUID)
    assert state is not None
    assert getattr(state, field) == value
    assert (state.clock_mhz is None) is (field == "clock_mhz")


def test_memory_of_a_process_that_nvml_does_not_see_is_none(fake: SimpleNamespace) -> None:
    fake.nvmlDeviceGetComputeRunningProcesses.return_value = [process(1, 700), process(2, 800)]
    state = cuda.read_state(UUID)
    assert state is not None
    assert state.own_memory_bytes is None
    assert state.other_processes == 2


# Bits as NVML's header documents them, not by pynvml's names.
BITS = {
    0x0: (),
    0x1: (),  # idle is no throttling
    0x4: ("power",),  # software power cap
    0x8: ("hardware",),  # hardware slowdown
    0x20: ("thermal",),  # software thermal slowdown
    0x40: ("thermal",),  # hardware thermal slowdown
    0x80: ("power",),  # hardware power brake
    0x48: ("thermal", "hardware"),
}


@pytest.mark.parametrize(("bits", "reasons"), BITS.items())
def test_throttle_reasons_are_read_from_their_bits(fake: SimpleNamespace, bits: int, reasons: tuple[str, ...]) -> None:
    fake.nvmlDeviceGetCurrentClocksThrottleReasons.return_value = bits
    state = cuda.read_state(UUID)
    assert state is not None
    assert state.throttle_reasons == reasons


@pytest.mark.parametrize("version", ["550.54", b"550.54"])
def test_the_driver_version_is_text(fake: SimpleNamespace, version: str | bytes) -> None:
    fake.nvmlSystemGetDriverVersion.return_value = version
    assert cuda.driver_version() == "550.54"


def test_energy_is_read_where_the_gpu_counts(fake: SimpleNamespace) -> None:
    assert cuda.read_energy_millijoules(UUID) == 123_456
    fake.nvmlDeviceGetTotalEnergyConsumption.side_effect = error(pynvml.NVML_ERROR_NOT_SUPPORTED)
    assert cuda.read_energy_millijoules(UUID) is None
    assert cuda.read_energy_millijoules("other") is None
