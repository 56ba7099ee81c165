"""Probing a device in a real fresh process, keeping the result, and putting it beside cells."""

import json
from dataclasses import replace

import pytest

from bench.core.advice import AdviceKind
from bench.core.cell import Cell, Precision
from bench.core.environment import MachineState
from bench.core.errors import StoreError, UsageError
from bench.core.peaks import ProbeKind
from bench.core.record import EnergyWindow, Memory, Outcome
from bench.device.cpu import CpuBackend
from bench.runner import executor as executor_module
from bench.runner import peaks as peaks_module
from bench.runner.executor import LocalExecutor
from bench.runner.peaks import known_peaks, measure_peaks, peaks_path, read_peaks
from bench.runner.processes import Ending
from bench.runner.workers.answers import Observed, Preflight
from tests.core.test_peaks import PEAKS
from tests.records import ENVIRONMENT
from tests.runner.test_executor import OK


@pytest.fixture
def endings(monkeypatch):
    table = {**OK, "observe": Ending(outcome=Outcome.OK, value=Observed(memory=Memory()))}

    def call(function, *arguments, timeout_seconds=None, method="forkserver"):
        return table[function.partition(":")[2]]

    monkeypatch.setattr(executor_module.processes, "call", call)
    return table


@pytest.mark.slow
def test_a_device_is_probed_once_and_read_ever_after(tmp_path):
    peaks, path = measure_peaks("cpu", seconds=0.001, results=tmp_path, is_forced=True)
    assert path == next((tmp_path / "peaks").iterdir())
    assert {probe.kind for probe in peaks.probes} == set(ProbeKind)
    assert json.loads(path.read_text())["fingerprint"] == peaks.fingerprint
    assert peaks.over(Precision.FP32).ridge > 0


def test_a_busy_machine_keeps_nothing_unless_forced(tmp_path, monkeypatch):
    def call(function, *arguments, **_):
        if function.endswith(":preflight"):
            value = Preflight(devices=(("cpu", "cpu"),), environments=(("cpu", ENVIRONMENT),))
        else:
            value = PEAKS.probes, PEAKS.skipped, MachineState(other_busy_cores=busy)
        return Ending(outcome=Outcome.OK, value=value)

    monkeypatch.setattr(peaks_module.processes, "call", call)
    busy = 1.5
    peaks, path = measure_peaks("cpu", seconds=1, results=tmp_path)
    assert (path, peaks.over(Precision.FP32).is_doubtful) == (None, True)
    assert not list(tmp_path.iterdir())
    _, path = measure_peaks("cpu", seconds=1, results=tmp_path, is_forced=True)
    assert path == peaks_path(tmp_path, ENVIRONMENT, "cpu")
    assert read_peaks(tmp_path, ENVIRONMENT, "cpu").over(Precision.FP32).is_doubtful
    busy = 0.1
    measure_peaks("cpu", seconds=1, results=tmp_path)
    assert not read_peaks(tmp_path, ENVIRONMENT, "cpu").over(Precision.FP32).is_doubtful


@pytest.mark.parametrize(
    ("state", "is_kept"),
    [
        (MachineState(gpu_other_processes=1), False),
        (MachineState(gpu_throttle_reasons=("thermal",)), False),
        (MachineState(gpu_throttle_reasons=("hardware",)), False),
        (MachineState(gpu_throttle_reasons=("power",), gpu_other_processes=0), True),
        (MachineState(gpu_other_processes=None), True),
    ],
)
def test_peaks_of_a_shared_or_hot_gpu_are_not_kept_unless_forced(tmp_path, monkeypatch, capsys, state, is_kept):
    """Every later MFU would be against a roof that is too low (B6)."""
    asked = []

    def call(function, *arguments, **_):
        asked.append(arguments)
        environment = replace(ENVIRONMENT, gpu_uuid="some")
        preflight = Preflight(devices=(("auto", "cuda:0"),), environments=(("cuda:0", environment),), notes=("a note",))
        is_first = function.endswith(":preflight")
        return Ending(outcome=Outcome.OK, value=preflight if is_first else (PEAKS.probes, PEAKS.skipped, state))

    monkeypatch.setattr(peaks_module.processes, "call", call)
    assert (measure_peaks("auto", seconds=1, results=tmp_path)[1] is not None) is is_kept
    assert measure_peaks("auto", seconds=1, results=tmp_path, is_forced=True)[1] is not None
    assert asked[1] == ("cuda:0", 1, "some")
    assert capsys.readouterr().err == "a note\na note\n"


def test_cells_under_a_doubtful_roof_are_doubted(endings):
    busy = replace(PEAKS, other_busy_cores=1.5)
    for peaks, kinds in ((PEAKS, []), (busy, [AdviceKind.LOW_PEAKS])):
        record = LocalExecutor(peaks={"cpu": peaks}).run(Cell(model="my_net", batch_size=8))
        assert [advice.kind for advice in record.advice] == kinds


def test_a_product_that_never_ends_is_one_line(tmp_path):
    with pytest.raises(UsageError, match=r"could not be probed: took longer than 0\.3 s"):
        measure_peaks("cpu", seconds=60, results=tmp_path, timeout_seconds=0.3)
    assert not list(tmp_path.iterdir())


def test_a_device_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(UsageError, match="no device kind 'tpu'"):
        measure_peaks("tpu", seconds=0.001, results=tmp_path)
    assert not list(tmp_path.iterdir())


def test_peaks_of_another_machine_are_not_used(tmp_path):
    assert known_peaks(tmp_path, {"cpu": ENVIRONMENT}) == {}


def test_a_file_that_is_no_peaks_file_is_named(tmp_path):
    path = peaks_path(tmp_path, ENVIRONMENT, "cpu")
    path.parent.mkdir()
    for text, words in (("[]", "is no peaks file"), ('{"schema": 99}', "newer stepbench"), ("{", "is no peaks file")):
        path.write_text(text)
        with pytest.raises(StoreError, match=words):
            read_peaks(tmp_path, ENVIRONMENT, "cpu")


def test_cells_get_the_roof_of_their_device_and_precision(endings):
    executor = LocalExecutor(peaks={"cpu": PEAKS})
    assert executor.run(Cell(model="my_net", batch_size=8)).peak == PEAKS.over(Precision.FP32)
    assert executor.run(Cell(model="my_net", batch_size=8, threads=PEAKS.threads)).peak is not None
    assert executor.run(Cell(model="my_net", batch_size=8, threads=PEAKS.threads + 1)).peak is None
    assert executor.run(Cell(model="my_net", batch_size=8, device="cuda:1")).peak is None


def test_energy_is_measured_only_when_asked(endings):
    record = LocalExecutor().run(Cell(model="my_net", batch_size=8))
    assert (record.counters.energy, record.counters.energy_joules) == (None, None)


def test_energy_stands_in_the_record(endings, monkeypatch):
    monkeypatch.setattr(CpuBackend, "find_meter", lambda *_: object())
    window = EnergyWindow(joules_per_step=2.5, average_watts=50.0, window_seconds=3.0, steps=60, method="fake")
    endings["meter_energy"] = Ending(outcome=Outcome.OK, value=window)
    record = LocalExecutor(is_metering=True).run(Cell(model="my_net", batch_size=8))
    assert (record.counters.energy, record.counters.energy_joules) == (window, 2.5)


def test_without_a_meter_the_record_says_why(endings, monkeypatch):
    monkeypatch.setattr(CpuBackend, "find_meter", lambda *_: "no RAPL counter")
    record = LocalExecutor(is_metering=True).run(Cell(model="my_net", batch_size=8))
    assert record.counters.energy == EnergyWindow(reason="no RAPL counter")
    assert record.counters.energy_joules is None


def test_a_meter_that_fails_costs_no_other_figure(endings, monkeypatch):
    monkeypatch.setattr(CpuBackend, "find_meter", lambda *_: object())
    endings["meter_energy"] = Ending(outcome=Outcome.KILLED, reason="killed by SIGSEGV")
    record = LocalExecutor(is_metering=True).run(Cell(model="my_net", batch_size=8))
    assert record.outcome is Outcome.OK
    assert record.counters.energy == EnergyWindow(reason="killed by SIGSEGV")


def test_the_path_names_machine_and_device(tmp_path):
    assert peaks_module.peaks_path(tmp_path, ENVIRONMENT, "cuda:1").name == f"{ENVIRONMENT.fingerprint}-cuda1.json"
