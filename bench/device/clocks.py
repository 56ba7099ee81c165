"""Lock the clocks of GPUs for as long as somebody measures, and release them whatever happens.

    python -P -m bench.device.clocks UUID...     locks, answers with one line of JSON, releases when its input ends

A process of its own holds the lock: it outlives a parent that is killed, sees the pipe close, and then releases. Locked
is the clock that the GPU holds at its power limit, or else its default for applications. Needs the rights of an
administrator, or a GPU whose administrator gave them away; a lock that an administrator set before (`nvidia-smi -lgc`)
cannot be read, and is released with ours.

A driver that hangs holds nobody up: it has `driver.DRIVER_SECONDS` to lock, and as long to release.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from bench.core.advice import Advice, AdviceKind
from bench.core.environment import LOCKED, Environment
from bench.device import driver, nvml
from bench.device.backend import is_accelerator

START_SECONDS = 30.0
"""A fresh interpreter that imports no torch has started long before, on a busy machine too."""

_ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextlib.contextmanager
def locked_clocks(uuids: Sequence[str]) -> Iterator[dict[str, str]]:
    """Lock the clocks of these GPUs inside; give those that could not be locked, with the reason."""
    if not uuids:
        yield {}
        return
    command = [sys.executable, "-P", "-m", __name__, *uuids]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, text=True)
    with contextlib.ExitStack() as ending:
        ending.callback(_end, holder, uuids)
        assert holder.stdout is not None
        is_heard = select.select([holder.stdout], [], [], START_SECONDS + driver.DRIVER_SECONDS)[0]
        answer = holder.stdout.readline() if is_heard else ""
        if not answer:
            ending.close()  # at once: a lock that comes late would change the clock under what is measured
        yield json.loads(answer) if answer else dict.fromkeys(uuids, "the process that locks clocks gave no answer")


def _end(holder: subprocess.Popen[str], uuids: Sequence[str]) -> None:
    """Have the holder release its locks and end; release them here if it was killed, and say so if nobody can."""
    assert holder.stdin is not None and holder.stdout is not None
    holder.stdin.close()
    try:
        holder.wait(driver.DRIVER_SECONDS + 1)
    except subprocess.TimeoutExpired:
        holder.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # in the driver nothing ends it
            holder.wait(1)
    holder.stdout.close()
    if holder.returncode == 0:
        return
    if not driver.asked(_release, uuids).done():
        print(
            f"the driver did not release the clock of {', '.join(uuids)} within {driver.DRIVER_SECONDS:g} s; "
            "`nvidia-smi --reset-gpu-clocks` does",
            file=sys.stderr,
        )


@contextlib.contextmanager
def locked_environments(environments: Mapping[str, Environment], *, is_asked: bool) -> Iterator[dict[str, Environment]]:
    """Lock the clocks of the GPUs of these devices inside, where that is asked for.

    Gives their environments, which say so and are then compared with such only; a line on stderr names each refusal.
    """
    found = dict(environments)
    uuids = {device: uuid for device, one in found.items() if is_asked and (uuid := one.gpu_uuid) is not None}
    with locked_clocks(list(uuids.values())) as refused:
        for device, uuid in uuids.items():
            if uuid in refused:
                print(f"the clock of {device} was not locked: {refused[uuid]}", file=sys.stderr)
                continue
            settings = found[device].gpu_settings or ()
            found[device] = replace(found[device], gpu_settings=(*settings, (LOCKED, "sustained")))
        yield found


def doubts_of_lock(environment: Environment | None, device: str, *, is_asked: bool) -> tuple[Advice, ...]:
    """Doubt what was measured on a GPU whose clock should have been locked, and was not."""
    is_locked = LOCKED in dict((environment.gpu_settings if environment else None) or ())
    if not is_asked or is_locked or not is_accelerator(device):
        return ()
    return (Advice(kind=AdviceKind.CLOCK_NOT_LOCKED, facts=(("device", device),)),)


def hold(uuids: Sequence[str]) -> int:
    """Lock, answer, and release when the input ends or somebody ends this process."""

    def end(*_: object) -> None:
        raise SystemExit(0)

    for number in _ENDS:
        signal.signal(number, end)
    locked: list[str] = []
    try:
        refused = {}
        with _watched():
            for uuid in uuids:
                locked.append(uuid)  # before: a signal may come in between
                if (reason := nvml.lock_clock(uuid)) is not None:
                    locked.remove(uuid)
                    refused[uuid] = reason
        print(json.dumps(refused), flush=True)
        sys.stdin.read()
    finally:
        with _watched():
            _release(locked)
    return 0


@contextlib.contextmanager
def _watched() -> Iterator[None]:
    """End this process if the driver does not answer: whoever waits for it is told by that."""
    watch = threading.Timer(driver.DRIVER_SECONDS, os._exit, (1,))
    watch.daemon = True
    watch.start()
    try:
        yield
    finally:
        watch.cancel()


def _release(uuids: Sequence[str]) -> None:
    for uuid in uuids:
        nvml.release_clock(uuid)


if __name__ == "__main__":
    sys.exit(hold(sys.argv[1:]))
