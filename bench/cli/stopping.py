"""Leave in order when told to stop: what is measured is kept, nothing that was started stays behind."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from types import FrameType

STOPPING = (signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into an orderly exit with 128 + signal; a second one ends the process at once."""

    def stop(number: int, _: FrameType | None) -> None:
        for each in STOPPING:
            signal.signal(each, signal.SIG_DFL)
        name = signal.Signals(number).name
        with contextlib.suppress(OSError, ValueError):  # the terminal is gone
            print(f"bench: stopped by {name}; what was measured before is on disk", file=sys.stderr)
        raise SystemExit(128 + number)

    before = {each: signal.getsignal(each) for each in STOPPING}
    for each, handler in before.items():
        if handler is not signal.SIG_IGN:  # nohup
            signal.signal(each, stop)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
