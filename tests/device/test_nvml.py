"""NVIDIA's own counters on a fake NVML: units, the right GPU, None without them, throttling over a window."""

from __future__ import annotations

import pynvml
import pytest

from bench.core.environment import MachineState
from bench.device import nvml
from bench.device.backend import backend_of
from bench.device.environment import read_machine, state_between
from bench.measure.clock import clock_for
from tests.fakes.gpu import MIB, FakeMachine, Throttle, uuid_of


def test_a_gpu_is_read_through_its_uuid(machine: FakeMachine) -> None:
    machine.gpus[1].others = [(1, 700 * MIB)]
    held = machine.gpus[1].hold(10)
    assert nvml.read_state(uuid_of(machine, 1)) == nvml.GpuState(
        clock_mhz=345,
        temperature_celsius=41,
        throttle_reasons=(),
        other_processes=1,
        own_memory_bytes=502 * MIB,
        max_clock_mhz=1980,
        memory_clock_mhz=345,
        power_watts=70.0,
        power_limit_watts=700.0,
    )
    assert nvml.read_state(f"GPU-{uuid_of(machine, 1)}") is not None
    assert nvml.read_state("other") is None
    del held


def test_nvml_is_shut_down_as_often_as_it_was_started(machine: FakeMachine) -> None:
    nvml.read_state(uuid_of(machine))
    nvml.read_state("other")
    nvml.driver_version()
    nvml.unavailable_reason()
    assert machine.asked.count("nvmlInit") == machine.asked.count("nvmlShutdown") == 4
    assert machine.nvml_open == 0


def test_without_a_library_everything_is_none_with_a_reason(machine: FakeMachine) -> None:
    machine.nvml = pynvml.NVML_ERROR_LIBRARY_NOT_FOUND
    assert nvml.read_state(uuid_of(machine)) is None
    assert nvml.driver_version() is None
    assert nvml.read_throttling(uuid_of(machine)) == {}
    assert "Not Found" in (nvml.unavailable_reason() or "")
    assert "Not Found" in str(backend_of("cuda:0").used_bytes(uuid_of(machine)))
    assert "Not Found" in str(backend_of("cuda:0").find_meter(uuid_of(machine)))
    assert "nvmlShutdown" not in machine.asked


@pytest.mark.parametrize(
    ("function", "field", "value"),
    [
        ("nvmlDeviceGetClockInfo", "clock_mhz", None),
        ("nvmlDeviceGetTemperature", "temperature_celsius", None),
        ("nvmlDeviceGetCurrentClocksThrottleReasons", "throttle_reasons", None),
        ("nvmlDeviceGetComputeRunningProcesses", "other_processes", None),
        ("nvmlDeviceGetComputeRunningProcesses", "own_memory_bytes", None),
    ],
)
def test_what_a_gpu_does_not_support_is_none_and_the_rest_stands(
    machine: FakeMachine, function: str, field: str, value: object
) -> None:
    machine.lacks = (function,)
    state = nvml.read_state(uuid_of(machine))
    assert state is not None
    assert getattr(state, field) == value
    assert (state.clock_mhz is None) is (field == "clock_mhz")


@pytest.mark.parametrize(
    "function",
    [
        "nvmlDeviceGetComputeRunningProcesses",  # of Jetson, and of drivers before 510
        "nvmlDeviceGetCurrentClocksThrottleReasons",  # CUDA 13 calls it deprecated
        "nvmlDeviceGetCurrentClocksEventReasons",  # drivers before 535
        "nvmlDeviceGetTemperature",
        "nvmlDeviceGetFieldValues",
    ],
)
def test_a_function_that_the_library_does_not_have_leaves_the_rest(machine: FakeMachine, function: str) -> None:
    machine.gpu.throttles = [Throttle("hardware")]
    machine.advance(1.0)
    machine.is_without = (function,)
    state, glance = nvml.read_state(uuid_of(machine)), nvml.glance(uuid_of(machine))
    assert state is not None and glance is not None
    assert (state.clock_mhz, glance.clock_mhz, glance.power_watts) == (990, 990, 650)
    assert state.throttle_reasons == glance.throttle_reasons == ("hardware",)
    assert (state.other_processes is None) is (function == "nvmlDeviceGetComputeRunningProcesses")


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
def test_throttle_reasons_are_read_from_their_bits(bits: int, reasons: tuple[str, ...]) -> None:
    assert nvml._throttle_reasons(bits) == reasons


def test_what_decides_a_gpus_speed_is_told_for_the_fingerprint(machine: FakeMachine) -> None:
    """A GPU of 400 W is not compared with one of 700 W (B9)."""
    assert dict(backend_of("cuda:0").facts()["gpu_settings"]) == {
        "application_clock_mhz": "1980",
        "application_memory_clock_mhz": "1980",
        "ecc": "on",
        "mig": "off",
        "persistence": "on",
        "power_limit_watts": "700",
    }


# Throttling over the window, not after it (B3).


def throttled_state(machine: FakeMachine, lacks: tuple[str, ...] = (), lost: tuple[str, ...] = ()) -> MachineState:
    """Work for a second; what is `lost` fails from the middle on."""
    machine.lacks = lacks
    clock, uuid = clock_for("cuda:0"), uuid_of(machine)
    before = read_machine("cuda:0", uuid)
    for index in range(20):
        machine.lacks = (*lacks, *lost) if index >= 10 else lacks
        clock.start()
        machine.advance(0.05, 0.001)
        clock.mark()
        clock.collect()
    after = read_machine("cuda:0", uuid)
    waited = machine.host_now - machine.born
    before, after = (
        type(before)(**{**{name: getattr(one, name) for name in one.__slots__}, "at_seconds": at})
        for one, at in ((before, 0.0), (after, waited))
    )
    return state_between(before, after, "cuda:0", uuid, clock.glances)


@pytest.mark.parametrize("reason", ["power", "thermal"])
@pytest.mark.parametrize("lacks", [(), ("nvmlDeviceGetFieldValues",)])
def test_throttling_is_the_share_of_the_window_though_the_gpu_idles_again(
    machine: FakeMachine, lacks: tuple[str, ...], reason: str
) -> None:
    machine.gpu.throttles = [Throttle(reason, factor=1.25, start=0.5)]
    state = throttled_state(machine, lacks)
    share = 0.625 / 1.125  # half a second of work takes a quarter longer
    assert dict(state.gpu_throttled)[reason] == pytest.approx(share, abs=0.05)
    assert state.gpu_throttle_reasons == (reason,)


def test_throttling_is_read_from_fields_that_have_one_number_in_all_drivers(machine: FakeMachine) -> None:
    """Of 251 to 273 a driver and the header of another disagree, and another field's value looks like a counter."""
    machine.gpu.throttled["thermal"] = 3.0
    found = nvml.read_throttling(uuid_of(machine))
    assert found == {"thermal": 3.0, "power": 0.0}


def test_a_moment_of_throttling_is_none_that_matters(machine: FakeMachine) -> None:
    machine.gpu.throttles = [Throttle("power", start=0.5, end=0.51)]
    state = throttled_state(machine)
    assert 0 < dict(state.gpu_throttled)["power"] < 0.05
    assert state.gpu_throttle_reasons == ()


def test_clock_and_power_are_those_of_the_working_gpu(machine: FakeMachine) -> None:
    state = throttled_state(machine)
    assert (state.gpu_clock_mhz, state.gpu_power_watts) == (1980, 650)
    assert backend_of("cuda:0").state(uuid_of(machine))["gpu_clock_mhz"] == 345  # what one sees afterwards


def test_throttling_without_any_counter_is_what_was_glimpsed(machine: FakeMachine) -> None:
    machine.gpu.throttles = [Throttle("hardware")]
    state = throttled_state(machine)
    assert state.gpu_throttle_reasons == ("hardware",)


@pytest.mark.parametrize("lost", ["nvmlDeviceGetHandleByUUID", "nvmlDeviceGetCurrentClocksThrottleReasons"])
def test_a_glance_that_failed_is_none_of_an_untouched_clock(machine: FakeMachine, lost: str) -> None:
    machine.gpu.throttles = [Throttle("hardware")]
    state = throttled_state(machine, lost=(lost,))
    assert dict(state.gpu_throttled)["hardware"] == 1.0


# Meters (C1).


def test_energy_is_counted_by_the_gpu_or_summed_from_power(machine: FakeMachine) -> None:
    uuid = uuid_of(machine)
    assert isinstance(backend_of("cuda:0").find_meter(uuid), nvml.NvmlMeter)
    machine.lacks = ("nvmlDeviceGetTotalEnergyConsumption",)
    assert isinstance(backend_of("cuda:0").find_meter(uuid), nvml.PowerMeter)
    assert nvml.read_energy_millijoules(uuid) is None
    assert nvml.read_energy_millijoules("other") is None


def test_a_meter_that_is_kept_open_does_not_start_nvml_at_each_reading(machine: FakeMachine) -> None:
    meter = nvml.NvmlMeter(uuid_of(machine))
    with meter.opened():
        assert machine.nvml_open == 1
        meter.read()
        assert machine.nvml_open == 1
    assert machine.nvml_open == 0
