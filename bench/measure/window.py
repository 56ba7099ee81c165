"""The machine while something is timed, without its warm-up: clock, power, throttling, other work.

    window = Window("cuda:0", uuid)     # before this process uses the device: its load now is that of others
    ...                                 # build, and warm up
    with window:
        ...                             # time with `window.clock`
    state = window.state()

What lowered the clock in the warm-up only says nothing of the samples. Where warm-ups and timing take turns the window
is entered each time, and what lies between is left out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from bench.core.environment import MachineState
from bench.device.cpu import Reading, read_counters
from bench.device.environment import load_of_others, read_machine, state_between
from bench.device.readings import Glance
from bench.measure.clock import Clock, clock_for


class Unwatched:
    """A clock that times, where nobody asks for the machine meanwhile: a window without readings.

    Attributes:
        clock: The clock.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def __enter__(self) -> None:
        """Read nothing."""

    def __exit__(self, *_: object) -> None:
        """Read nothing."""

    def of_host(self) -> contextlib.AbstractContextManager[None]:
        """Read nothing either."""
        return contextlib.nullcontext()


class Window(Unwatched):
    """Readings of the machine around what is timed, and the clock that times it.

    Attributes:
        clock: Its glances at the device outside the window do not count.
        before: Reading as the window began.
        after: Reading as it ended, as if there had been no pause.
    """

    before: Reading
    after: Reading

    def __init__(self, device: str, gpu_uuid: str | None) -> None:
        """Read the load of others; the driver knows the GPU by its UUID."""
        super().__init__(clock_for(device))
        self._device, self._uuid = device, gpu_uuid
        self._load = load_of_others(device, gpu_uuid)
        self._glances: list[Glance] = []
        self._begun: Reading | None = None
        self._warm = 0

    def __enter__(self) -> None:
        self._warm = len(self.clock.glances)
        begun = read_machine(self._device, self._uuid)
        if self._begun is None:
            self.before = self.after = begun
        self._begun = begun

    def __exit__(self, *_: object) -> None:
        assert self._begun is not None
        self.after = self.after.plus(self._begun, read_machine(self._device, self._uuid))
        self._glances += self.clock.glances[self._warm :]

    @contextlib.contextmanager
    def of_host(self) -> Iterator[None]:
        """Count other work on the host inside, too, though the device idles: that is no time of its clock."""

        def read() -> Reading:
            still = self.after
            return replace(read_counters(), throttled_seconds=still.throttled_seconds, at_seconds=still.at_seconds)

        begun = read()
        yield
        self.after = self.after.plus(begun, read())

    def state(self) -> MachineState:
        """Derive the state of the machine in the window, and who is on the device now."""
        return state_between(self.before, self.after, self._device, self._uuid, self._glances, self._load)
