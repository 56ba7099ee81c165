"""What every kind of device must answer, as a test case for the authors of a `Backend`.

    from bench.testing.backend import BackendConformance

    class TestMyDevice(BackendConformance):
        device = "mine:0"

pytest collects the class and runs its tests on that device, which must be there; the whole takes seconds. A fake device
overrides `work`, `hold`, `draw` and `host_seconds`.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
import unittest
from typing import Any

import torch

from bench.core.cell import Precision
from bench.core.environment import Environment, MachineState
from bench.core.jsonio import to_json
from bench.device.backend import KINDS, Backend, backend_of, is_out_of_memory, parse_device

_SIDE = 512
_BYTES = 3_000_001
"""Held by the test of the allocator; no multiple of any block."""


class BackendConformance:
    """Inherit and set `device`.

    Attributes:
        device: Full name of a device that is there: `cuda:0`.
    """

    device: str = ""

    def backend(self) -> Backend:
        """Make a new backend."""
        return backend_of(self.device)

    # What a fake device replaces.

    def work(self, pieces: int) -> None:
        """Queue so many equal pieces of work."""
        matrix = torch.zeros(_SIDE, _SIDE, device=self.device)
        for _ in range(pieces):
            matrix @ matrix

    def hold(self, size: int) -> object:
        """Allocate so many bytes; what is returned holds them."""
        return torch.empty(size, dtype=torch.uint8, device=self.device)

    def draw(self) -> list[float]:
        """Draw some random numbers on the device."""
        values: list[float] = torch.rand(8, device=self.device).cpu().tolist()
        return values

    def host_seconds(self) -> float:
        """Read the host's clock."""
        return time.perf_counter()

    # What a backend says of itself.

    def test_its_name_leads_back_to_it(self) -> None:
        """A device's name is complete, and `backend_of` finds the same class by it."""
        backend = self.backend()
        assert backend.device == self.device, f"it calls itself {backend.device!r}; `device` is a complete name"
        kind, index = parse_device(backend.device)
        assert (kind, index or 0) == (backend.kind, backend.index)
        assert type(backend_of(backend.device)) is type(backend)
        assert all((backend.label, backend.unit, backend.collective)), "label, unit and collective are words"
        assert backend.block_bytes >= 1

    def test_this_device_is_counted(self) -> None:
        """`count` finds this device, and says where ranks find no device of their own."""
        backend = self.backend()
        there = backend.count()
        assert there > backend.index, f"{self.device} is there, and count() is {there}"
        assert backend.why_not_ranks(1) is None
        reason = backend.why_not_ranks(there + 1)
        if backend.sibling(1).device != backend.device:
            assert reason is not None, f"{there + 1} ranks fit on {there} devices"
            assert self.device in reason, f"{reason!r} does not name {self.device}"

    def test_making_one_and_looking_for_its_meter_imports_no_torch(self) -> None:
        """The parent of all measuring processes lists devices and must stay light."""
        cls = type(self.backend())
        code = (
            "import sys, importlib\n"
            f"backend = getattr(importlib.import_module({cls.__module__!r}), {cls.__name__!r})()\n"
            "backend.device, backend.is_asynchronous, backend.find_meter()\n"
            "sys.exit('torch' in sys.modules)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, f"torch was imported, or it failed: {done.stderr[-500:]}"

    def test_each_precision_is_possible_or_refused_in_one_line(self) -> None:
        """Nothing is measured under the name of a precision that the device does not compute in."""
        backend = self.backend()
        reasons = {precision: backend.why_not(precision) for precision in Precision}
        assert reasons[Precision.FP32] is None, f"fp32 is refused: {reasons[Precision.FP32]}"
        for precision, reason in reasons.items():
            assert reason is None or _is_a_line(reason), f"{precision}: {reason!r} is no reason in one line"
        assert backend.has_tf32 is (reasons[Precision.TF32] is None)

    # Time.

    def test_marks_measure_the_work_between_them(self) -> None:
        """More work takes longer, and none takes longer than the host waited for it."""
        backend = self.backend()
        self.work(4)  # starts the device
        backend.synchronize()
        short, long = (self._timed(backend, pieces) for pieces in (4, 400))
        for seconds, waited in (short, long):
            assert isinstance(seconds, float)
            assert 0 < seconds <= waited, f"work took {seconds} s, of {waited} s on the host's clock: a wrong unit?"
        assert long[0] > 4 * short[0], f"a hundred times the work took {long[0]} s, not {short[0]} s"
        assert long[0] > long[1] / 20, f"work took {long[0]} s, and the host waited {long[1]} s for it: a wrong unit?"

    def test_a_mark_does_not_wait(self) -> None:
        """On a device that works beside the host, a mark behind queued work returns before the work is done."""
        backend = self.backend()
        wait = backend.busy_wait()
        if wait is None:
            assert not backend.is_asynchronous, "a device that works beside the host needs something that keeps it busy"
            return
        keep, units = wait
        keep(units)  # loads what it needs
        backend.synchronize()
        before = self.host_seconds()
        start = backend.mark()
        keep(20 * units)
        end = backend.mark()
        launched = self.host_seconds() - before
        backend.synchronize()
        assert launched < backend.seconds_between(start, end), "mark or busy_wait waits for the device"

    def test_queued_work_is_no_wait_for_the_device(self) -> None:
        """Only what makes the host wait is noted: else no step could be told to be launch-bound."""
        backend = self.backend()
        self.work(4)  # starts the device
        with backend.waits() as found:
            self.work(4)
        assert not list(found), f"queued work was noted as a wait: {found}"

    def test_busy_waits_take_time_in_proportion(self) -> None:
        """The units of `busy_wait` are a measure of time."""
        backend = self.backend()
        wait = backend.busy_wait()
        if wait is None:
            raise unittest.SkipTest("waiting on the host is the same")
        keep, units = wait
        keep(40 * units)  # the clock of an idle device is low, and rises with work
        backend.synchronize()
        seconds = []
        for factor in (2, 8):
            start = backend.mark()
            keep(factor * units)
            end = backend.mark()
            backend.synchronize()
            seconds.append(backend.seconds_between(start, end))
        assert 2 < seconds[1] / seconds[0] < 8, f"four times the units took {seconds[1] / seconds[0]:.2f} times as long"

    # Memory.

    def test_free_memory_is_bytes_or_unknown(self) -> None:
        """None where the system does not tell; never 0 for that."""
        free = self.backend().free_bytes()
        assert free is None or (type(free) is int and free > 0), f"free_bytes() is {free!r}"

    def test_the_allocator_sees_what_is_held(self) -> None:
        """Tensors are counted in whole blocks, peaks stay until they are reset."""
        backend = self.backend()
        if backend.memory_method is None:
            known = [value for value in dataclasses.astuple(backend.allocator()) if value is not None]
            assert not known, "the allocator is read, and memory_method is None"
            return
        assert "{steps}" in backend.memory_method, "memory_method says over how many {steps}"
        backend.release()
        backend.reset_peak()
        before = backend.allocator()
        held = self.hold(_BYTES)
        during = backend.allocator()
        del held
        after = backend.allocator()
        blocks = -(-_BYTES // backend.block_bytes) * backend.block_bytes
        assert before.allocated is not None, "a device with a memory_method knows what is allocated"
        assert during.allocated == before.allocated + blocks, f"{_BYTES} bytes were not counted as {blocks}"
        assert after.allocated == before.allocated, "freed bytes are still counted"
        if after.peak_allocated is not None:
            assert after.peak_allocated == during.allocated, "the peak is not the most that was held"
            assert after.peak_reserved is None or after.peak_reserved >= after.peak_allocated
            backend.reset_peak()
            assert backend.allocator().peak_allocated == before.allocated, "reset_peak left the old peak"
        backend.release()

    # The machine.

    def test_facts_and_state_are_fields_of_what_is_stored(self) -> None:
        """What a device tells has a place in `Environment` or `MachineState`, and a form on disk."""
        backend = self.backend()
        facts = backend.facts()
        for found, cls in ((facts, Environment), (backend.state(facts.get("gpu_uuid")), MachineState)):
            strange = set(found) - {field.name for field in dataclasses.fields(cls)}
            assert not strange, f"{cls.__name__} has no {', '.join(sorted(strange))}"
            for value in found.values():
                to_json(value)
        used = backend.used_bytes(facts.get("gpu_uuid"))
        assert used is None or _is_a_line(used) or (type(used) is int and used >= 0), f"used_bytes() is {used!r}"
        problem = backend.counters_problem()
        assert problem is None or _is_a_line(problem)

    def test_energy_only_grows_or_says_why_not(self) -> None:
        """A meter's readings can be subtracted; without a meter there is a reason in one line."""
        backend = self.backend()
        meter = backend.find_meter(backend.facts().get("gpu_uuid"))
        if isinstance(meter, str):
            assert _is_a_line(meter), f"{meter!r} is no reason in one line"
            return
        assert _is_a_line(meter.method)
        before = meter.read()
        self.work(400)
        backend.synchronize()
        assert meter.between(before, meter.read()) >= 0

    # torch.

    def test_the_random_state_can_be_put_back(self) -> None:
        """The same numbers come again; a device without a generator of its own leaves that to the CPU's."""
        backend = self.backend()
        own = backend.random_state()
        state = torch.get_rng_state() if own is None else own
        first, second = self.draw(), self.draw()
        assert first != second, "draws do not move the generator"
        backend.set_random_state(state)
        assert self.draw() == first, "the state that was put back gives other numbers"

    def test_lack_of_memory_is_told_from_other_errors(self) -> None:
        """A cell that does not fit ends as out of memory, not as failed."""
        backend = self.backend()
        assert backend.kind in KINDS
        for words in backend.out_of_memory_words:
            assert is_out_of_memory(RuntimeError(f"{words}: tried to allocate 1 GiB")), words
        assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))

    def test_the_profiler_is_told_what_to_record(self) -> None:
        """Activities are torch's, and an event of the host is no kernel of the device."""
        backend = self.backend()
        known = torch.profiler.ProfilerActivity
        assert all(isinstance(activity, known) for activity in backend.profiler_activities())
        with torch.profiler.profile(activities=[known.CPU]) as profile:
            torch.zeros(2).add(1)
        assert not any(backend.is_kernel(event) for event in profile.profiler.kineto_results.events())
        devices = backend.ddp_devices()
        assert devices is None or [str(device) for device in devices] == [self.device]

    def _timed(self, backend: Backend, pieces: int) -> tuple[float, float]:
        before = self.host_seconds()
        start: Any = backend.mark()
        self.work(pieces)
        end: Any = backend.mark()
        backend.synchronize()
        return backend.seconds_between(start, end), self.host_seconds() - before


def _is_a_line(text: object) -> bool:
    return isinstance(text, str) and bool(text.strip()) and "\n" not in text
