"""Lock the clocks of GPUs for as long as somebody measures, and release them whatever happens.

    python -P -m bench.device.clocks UUID...     locks, answers with one line of JSON, releases when its input ends

A process of its own holds the lock: it outlives a parent that is killed, sees the pipe close, and then releases. Locked
is the clock that the GPU holds at its power limit, or else its default for applications. Needs the rights of an
administrator, or a GPU whose administrator gave them away; a lock that an administrator set before (`nvidia-smi -lgc`)
cannot be read, and is released with ours.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from bench.core.environment import LOCKED, Environment
from bench.device import nvml

_ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextlib.contextmanager
def locked_clocks(uuids: Sequence[str]) -> Iterator[dict[str, str]]:
    """Lock the clocks of these GPUs inside; give those that could not be locked, with the reason."""
    if not uuids:
        yield {}
        return
    command = [sys.executable, "-P", "-m", __name__, *uuids]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, text=True
    ) as holder:
        assert holder.stdin is not None and holder.stdout is not None
        try:
            answer = holder.stdout.readline()
            yield json.loads(answer) if answer else dict.fromkeys(uuids, "the process that locks clocks ended")
        finally:
            holder.stdin.close()
            if holder.wait() != 0:  # it was killed, so nobody has released them
                _release(uuids)


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


def hold(uuids: Sequence[str]) -> int:
    """Lock, answer, and release when the input ends or somebody ends this process."""

    def end(*_: object) -> None:
        raise SystemExit(0)

    for number in _ENDS:
        signal.signal(number, end)
    locked: list[str] = []
    try:
        refused = {}
        for uuid in uuids:
            locked.append(uuid)  # before: a signal may come in between
            if (reason := nvml.lock_clock(uuid)) is not None:
                locked.remove(uuid)
                refused[uuid] = reason
        print(json.dumps(refused), flush=True)
        sys.stdin.read()
    finally:
        _release(locked)
    return 0


def _release(uuids: Sequence[str]) -> None:
    for uuid in uuids:
        nvml.release_clock(uuid)


if __name__ == "__main__":
    sys.exit(hold(sys.argv[1:]))
