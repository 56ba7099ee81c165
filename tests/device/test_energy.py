from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest

from bench.device import nvml
from bench.device.cpu import CpuBackend, RaplMeter
from bench.device.cuda import CudaBackend
from bench.device.nvml import NvmlMeter, PowerMeter


def make_package(powercap: Path, index: int, microjoules: int, name: str | None = None) -> Path:
    path = powercap / f"intel-rapl:{index}"
    path.mkdir(parents=True)
    (path / "name").write_text(f"{name or f'package-{index}'}\n")
    (path / "energy_uj").write_text(f"{microjoules}\n")
    (path / "max_energy_range_uj").write_text("10000000\n")
    return path


def test_all_packages_are_summed_and_parts_are_not(tmp_path: Path) -> None:
    first, second = make_package(tmp_path, 0, 1_000_000), make_package(tmp_path, 1, 5_000_000)
    make_package(tmp_path, 2, 7, name="psys")
    (tmp_path / "intel-rapl:0:0").mkdir()
    meter = CpuBackend().find_meter(powercap=tmp_path)
    assert isinstance(meter, RaplMeter)
    before = meter.read()
    (first / "energy_uj").write_text("3000000")
    (second / "energy_uj").write_text("5500000")
    assert meter.between(before, meter.read()) == pytest.approx(2.5)


def test_a_counter_that_wrapped_around_is_continued(tmp_path: Path) -> None:
    package = make_package(tmp_path, 0, 9_000_000)
    meter = RaplMeter((package,))
    before = meter.read()
    (package / "energy_uj").write_text("500000")
    assert meter.between(before, meter.read()) == pytest.approx(1.5)


def test_a_machine_without_rapl_says_so(tmp_path: Path) -> None:
    assert "no RAPL counter" in str(CpuBackend().find_meter(powercap=tmp_path))


def test_a_counter_that_only_root_may_read_says_so(tmp_path: Path) -> None:
    package = make_package(tmp_path, 0, 1)
    (package / "energy_uj").unlink()
    (package / "energy_uj").mkdir()  # root may read any file, but nobody reads a folder
    assert "root only" in str(CpuBackend().find_meter(powercap=tmp_path))


def test_a_gpu_without_a_driver_says_so() -> None:
    with mock.patch.object(nvml, "unavailable_reason", autospec=True, return_value="NVML Shared Library Not Found"):
        assert CudaBackend(0).find_meter("uuid") == "no NVML: NVML Shared Library Not Found"


def test_a_gpu_that_does_not_count_says_so() -> None:
    with (
        mock.patch.object(nvml, "unavailable_reason", autospec=True, return_value=None),
        mock.patch.object(nvml, "read_energy_millijoules", autospec=True, return_value=None),
        mock.patch.object(nvml, "read_watts", autospec=True, return_value=None),
    ):
        assert "neither energy nor power" in str(CudaBackend(0).find_meter("uuid"))
        assert "no UUID" in str(CudaBackend(0).find_meter(None))


def test_millijoules_become_joules() -> None:
    with (
        mock.patch.object(nvml, "unavailable_reason", autospec=True, return_value=None),
        mock.patch.object(nvml, "read_energy_millijoules", autospec=True, side_effect=[7, 2_000, 5_500]),
    ):
        meter = CudaBackend(0).find_meter("uuid")
        assert isinstance(meter, NvmlMeter)
        assert meter.between(meter.read(), meter.read()) == pytest.approx(3.5)


def test_a_gpu_that_tells_its_power_only_is_sampled() -> None:
    with (
        mock.patch.object(nvml, "unavailable_reason", autospec=True, return_value=None),
        mock.patch.object(nvml, "read_energy_millijoules", autospec=True, return_value=None),
        mock.patch.object(nvml, "read_watts", autospec=True, side_effect=[100.0, 100.0, 200.0, None, 200.0]),
        mock.patch.object(nvml.time, "perf_counter", autospec=True, side_effect=[1.0, 2.0, 3.0, 4.0]),
    ):
        meter = CudaBackend(0).find_meter("uuid")
        assert isinstance(meter, PowerMeter)
        first, second, third, last = (meter.read() for _ in range(4))
    assert meter.between(first, second) == pytest.approx(150.0)  # from 100 to 200 W in a second
    assert meter.between(second, third) == 0.0  # no sample
    assert meter.between(second, last) == pytest.approx(400.0)  # two seconds at 200 W
