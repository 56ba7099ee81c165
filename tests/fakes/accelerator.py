"""A device with a timeline of its own, without a device: launches take the host time, work takes the device time."""

from __future__ import annotations

import contextlib
import random
from collections import deque
from collections.abc import Iterator
from types import SimpleNamespace
from unittest import mock

from bench.device.cuda import CudaBackend
from bench.measure import clock as clock_module

_KERNELS = 100
"""Pieces that work is launched in: while the host launches one, the device does those before."""


class FakeEvent:
    """A point on the device's timeline, in seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class FakeAccelerator(CudaBackend):
    """Two timelines, in seconds: the host launches, the device works through its queue as soon as it can.

    A queue holds so many launches; into a full one the host launches when the device has finished one.

        accelerator = FakeAccelerator(launch_seconds=0.001)
        with accelerator.installed():
            clock = clock_for("cuda:0")
            clock.start(); accelerator.advance(0.005); clock.mark()
            clock.collect()            # ([0.00501], [0.001]); with launches of 0.007 s: ([0.00705], [0.007])

    Attributes:
        launch_seconds: What each call of `advance` takes the host.
        host_now: The host's time.
        device_now: When the device will have done all that is queued.
        queue_depth: Launches that the queue holds.
        synchronizations: How often the host waited.
    """

    def __init__(self, launch_seconds: float = 0.0, queue_depth: int = 1000) -> None:
        super().__init__(0)
        self.launch_seconds = launch_seconds
        self.queue_depth = queue_depth
        self._ends: deque[float] = deque(maxlen=queue_depth)  # of the kernels in the queue
        self.host_now = random.randrange(2**39) / 2**20
        self.device_now = self.host_now
        self.synchronizations = 0

    def advance(self, seconds: float, launch_seconds: float | None = None) -> None:
        """Launch work that takes the device so long, kernel by kernel; the device idles while it waits for a launch."""
        launch_seconds = self.launch_seconds if launch_seconds is None else launch_seconds
        for _ in range(_KERNELS):
            if len(self._ends) == self.queue_depth:
                self.host_now = max(self.host_now, self._ends[0])
            self.host_now += launch_seconds / _KERNELS
            self.device_now = max(self.device_now, self.host_now) + seconds / _KERNELS
            self._ends.append(self.device_now)

    def synchronize(self) -> None:
        """Let the host wait for the device."""
        self.synchronizations += 1
        self.host_now = max(self.host_now, self.device_now)

    def mark(self) -> FakeEvent:
        """Queue an event; the device passes it when the work before it is done."""
        self.device_now = max(self.device_now, self.host_now)
        return FakeEvent(self.device_now)

    def seconds_between(self, start: FakeEvent, end: FakeEvent) -> float:
        """Subtract."""
        return end.seconds - start.seconds

    @contextlib.contextmanager
    def installed(self) -> Iterator[FakeAccelerator]:
        """Stand in for the real device behind `bench.measure.clock`, inside the block."""
        with mock.patch.multiple(
            clock_module,
            backend_of=lambda _device: self,
            time=SimpleNamespace(perf_counter_ns=lambda: round(self.host_now * 1e9)),
        ):
            yield self
