"""Servers that fork workers: an interpreter per side's Python, which has imported torch and run nothing.

A worker that is forked from such a server is there in 20 to 80 ms, where a fresh interpreter takes 5 s to import torch.
The side's own code is imported after the fork. Workers of one server share its memory layout, and with it the luck of
that layout; both sides alike, and roles are by coin, so the test stays exact. `renew` draws the luck again: a
comparison does so at every look.

Where forking is not possible (macOS; a platform without `os.fork`), every worker is a fresh interpreter.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Self

from bench.core.cell import Cell
from bench.core.errors import BenchError
from bench.device.backend import AUTO, CPU
from bench.runner.ab.arm import LiveArm, TimeUpError, worker_environment
from bench.runner.ab.sides import Side
from bench.runner.ab.stages import Settings
from bench.runner.ab.worktrees import uninterrupted
from bench.runner.processes import START_SECONDS

_ANSWER_SECONDS = 60.0
_MESSAGE_BYTES = 1 << 20


class ForkServer:
    """One server process. Constructing it starts the process; the first `fork` waits until it has imported torch."""

    def __init__(self, side: Side, *, is_bound: bool) -> None:
        self.name = side.name
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(START_SECONDS)
        self._process: subprocess.Popen[bytes] | None = None
        try:
            with uninterrupted():
                self._process = subprocess.Popen(
                    [
                        side.python,
                        "-P",
                        "-m",
                        "bench.runner.workers.arm",
                        "serve",
                        str(theirs.fileno()),
                        str(os.getpid()),
                    ],
                    env=worker_environment(side, is_bound=is_bound),
                    stdin=subprocess.DEVNULL,
                    stdout=self._output,
                    stderr=self._output,
                    pass_fds=(theirs.fileno(),),
                    process_group=0,
                )
        except BaseException:
            self.close()
            raise
        finally:
            theirs.close()

    def fork(self, descriptors: tuple[int, ...], deadline: float = math.inf, **worker: Any) -> int:
        """Fork a worker that has these descriptors (requests, answers, output); return its pid.

        Raises:
            BenchError: The server is gone, or its interpreter lacks what a worker needs; or it has not imported torch
                by `deadline`, and is of no use any more.
        """
        return int(self._ask({"do": "fork", **worker}, descriptors, deadline)["pid"])

    def wait(self, pid: int) -> int | None:
        """Return how a worker ended, as `subprocess` counts: below 0 is a signal; None if it has not."""
        code: int | None = self._ask({"do": "wait", "pid": pid})["code"]
        return code

    def close(self) -> None:
        """End the server; its workers die with it. Safe to call twice."""
        if self._output.closed:
            return
        self._socket.close()
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._output.close()

    def _ask(
        self, message: Mapping[str, Any], descriptors: tuple[int, ...] = (), deadline: float = math.inf
    ) -> dict[str, Any]:
        try:
            patience = self._socket.gettimeout() or START_SECONDS
            self._socket.settimeout(min(patience, max(1e-3, deadline - time.monotonic())))
            socket.send_fds(self._socket, [json.dumps(message).encode()], list(descriptors))
            data = self._socket.recv(_MESSAGE_BYTES)
            self._socket.settimeout(_ANSWER_SECONDS)
        except OSError as error:
            self._socket.close()  # an answer that comes late would be taken for the next one
            if isinstance(error, TimeoutError) and time.monotonic() >= deadline:
                raise TimeUpError(self.name) from None
            data = b""
        if not data:
            raise BenchError(f"{self.name}: the server of the workers has ended{self._why()}")
        answer: dict[str, Any] = json.loads(data)
        return answer

    def _why(self) -> str:
        size = os.lseek(self._output.fileno(), 0, os.SEEK_END)
        text = os.pread(self._output.fileno(), 2000, max(0, size - 2000)).decode(errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return f": {lines[-1]}" if lines else ""


@dataclass
class Servers:
    """Starts workers of both sides: forked, one server per interpreter, or fresh. A context manager that ends them."""

    sides: Mapping[str, Side]
    _: KW_ONLY
    is_bound: bool
    forks: bool
    is_cold: bool = False
    deadline: float | None = None
    answer_seconds: float | None = None
    _servers: dict[str, ForkServer] = field(default_factory=dict)

    def start(self, name: str) -> LiveArm:
        """Start a worker of a side."""
        return self._start(name, is_bound=self.is_bound)

    def start_untimed(self, name: str) -> LiveArm:
        """Start a worker that only looks and counts; it has the user's own cores and variables."""
        return self._start(name, is_bound=False)

    def _start(self, name: str, *, is_bound: bool) -> LiveArm:
        side = self.sides[name]
        server = None
        if self.forks and sys.platform == "linux":  # macOS' own libraries do not survive a fork
            if not self._servers:  # all at once: importing torch takes seconds
                for one in self.sides.values():
                    if one.python not in self._servers:
                        self._servers[one.python] = ForkServer(one, is_bound=self.is_bound)
            server = self._servers[side.python]
        return LiveArm(
            side,
            is_bound=is_bound,
            is_cold=self.is_cold,
            server=server,
            deadline=self.deadline,
            answer_seconds=self.answer_seconds,
        )

    def renew(self) -> None:
        """End the servers; workers that are wanted after this come from new ones."""
        for server in self._servers.values():
            server.close()
        self._servers = {}

    def bind(self, cells: Sequence[Cell], settings: Settings) -> None:
        """Bind threads if all these cells run on a CPU, with other servers where that was not so before."""
        is_bound = _is_bound(cells, settings)
        if is_bound is not self.is_bound:
            self.renew()
            self.is_bound = is_bound

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.renew()


def servers_for(sides: Mapping[str, Side], cells: Sequence[Cell], settings: Settings, started: float) -> Servers:
    """Make the servers of a comparison that began then, by `time.monotonic`."""
    return Servers(
        sides,
        is_bound=_is_bound(cells, settings),
        forks=settings.forks,
        is_cold=settings.cold_cache,
        deadline=settings.deadline(started),
        answer_seconds=settings.timeout_seconds,
    )


def _is_bound(cells: Sequence[Cell], settings: Settings) -> bool:
    return settings.binds_threads and all(cell.device in (CPU, AUTO) for cell in cells)
