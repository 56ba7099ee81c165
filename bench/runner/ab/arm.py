"""The parent's side of one live worker: start it, ask, wait for the answer without spinning, end it for certain.

The worker is a fork of a server (`bench.runner.ab.servers`), or a freshly started interpreter.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.cell import Cell
from bench.core.environment import Environment, MachineState
from bench.core.errors import BenchError, NothingMeasuredError
from bench.core.jsonio import from_json, to_json
from bench.registry.catalog import FOLDER_VARIABLE
from bench.runner.ab.sides import Side
from bench.runner.ab.worktrees import uninterrupted
from bench.runner.processes import START_SECONDS

if TYPE_CHECKING:
    from bench.runner.ab.servers import ForkServer

ANSWER_SECONDS = 600.0
"""A worker that says nothing for so long is killed."""

PLACING_VARIABLES = frozenset({"OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY"})
"""Whoever set one of these has placed the threads already."""

_TAIL_BYTES = 2000


class ArmError(BenchError):
    """A worker could not do what was asked: the cell fails on this side.

    Attributes:
        side: `base` or `head`.
    """

    def __init__(self, side: str, reason: str) -> None:
        super().__init__(f"{side}: {reason}")
        self.side = side
        self.reason = reason


class ArmFullError(ArmError):
    """Its device has no memory left, of which the other side holds a part."""


class ArmDiedError(ArmError):
    """The worker is gone, or had to be killed."""


class TimeUpError(NothingMeasuredError):
    """The budget ended while a worker was waited for."""

    def __init__(self, side: str) -> None:
        super().__init__(f"the budget ended before {side} was ready, and nothing was measured; give --budget more time")


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A step that is warm.

    Attributes:
        step_seconds: Its fastest recent one, with what was added on purpose.
        sources: The side's files that are loaded, each with when it was last written.
    """

    step_seconds: float
    warmup_steps: int = 0
    build_seconds: float = 0.0
    added_seconds: float = 0.0
    sources: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One uninterrupted block of steps: raw seconds of each."""

    seconds: tuple[float, ...]
    clock: str = "host"


Reading = dict[str, Any]
"""Counters of the kernel at one moment: the fields of `bench.device.environment.Reading`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a side's worker says of its machine: full device names, environments, and why cells cannot run.

    Attributes:
        free: Free memory of each device.
    """

    devices: dict[str, str]
    environments: dict[str, Environment]
    unfit: dict[str, str | None]
    free: dict[str, int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What was counted of a cell on one side; counts are None where that failed, and `not_counted` says why."""

    source_file: str | None
    is_inside: bool
    counters: dict[str, int | None] | None
    not_counted: str | None
    predicted_bytes: int | None = None


class LiveArm:
    """A worker process of one side. Constructing it starts the process; `hello` waits until it has imported torch.

    A worker that is timed has its OpenMP threads bound to cores (`is_bound`), the same ones on both sides. With threads
    left to the scheduler unchanged code differed by up to 43 % for a whole session here. Bound, sessions spread by
    2.4 % instead of 6.5 % (mlp, batch 8); why, is known in part only (docs/LOG.md).

    An answer is waited for `answer_seconds` (None is `ANSWER_SECONDS`), and never beyond `deadline`.
    """

    def __init__(
        self,
        side: Side,
        *,
        is_bound: bool = False,
        is_cold: bool = False,
        answer_seconds: float | None = None,
        server: ForkServer | None = None,
        deadline: float | None = None,
    ) -> None:
        self.side = side
        self._deadline = math.inf if deadline is None else deadline
        self._server = server
        self._forked: int | None = None
        self._is_bound = is_bound
        self._is_cold = is_cold
        self._answer_seconds = answer_seconds or ANSWER_SECONDS
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        requests, self._requests = os.pipe()
        self._answers, answers = os.pipe()
        self._buffer = bytearray()
        self._process: subprocess.Popen[bytes] | None = None
        try:
            with uninterrupted():  # between the fork and the assignment, Ctrl-C would leave an orphan
                if server is None:
                    self._process = self._start(requests, answers)
                else:
                    self._forked = self._fork(server, requests, answers)
        except BaseException:
            self.close()
            raise
        finally:
            os.close(requests)
            os.close(answers)

    def _start(self, requests: int, answers: int) -> subprocess.Popen[bytes]:
        side = self.side
        arguments = (str(requests), str(answers), str(os.getpid()), json.dumps(side.search_path))
        return subprocess.Popen(
            [side.python, "-P", "-m", "bench.runner.workers.arm", *arguments],
            cwd=side.folder,
            env={**worker_environment(side, is_bound=self._is_bound), **_own_environment(side)},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            pass_fds=(requests, answers),
            process_group=0,  # Ctrl-C is for us; and whatever it starts can be ended with it
        )

    def _fork(self, server: ForkServer, requests: int, answers: int) -> int:
        side = self.side
        return server.fork(
            (requests, answers, self._output.fileno()),
            folder=str(side.folder),
            search_path=side.search_path,
            environment=_own_environment(side),
            unbind=[] if self._is_bound else list(_placing()),
            deadline=self._deadline,
        )

    @property
    def pid(self) -> int:
        """Of the worker."""
        pid = self._forked if self._process is None else self._process.pid
        assert pid is not None
        return pid

    def hello(self) -> str:
        """Wait until the worker has imported torch, and return torch's version."""
        self._send("hello")
        return str(self._receive(max(self._answer_seconds, START_SECONDS))["torch"])

    def describe(self, devices: list[str], cells: list[Cell]) -> Description:
        """Ask for device names, environments and what cannot be run."""
        answer = self._ask("describe", devices=devices, cells=[to_json(cell) for cell in cells])
        environments = {name: from_json(Environment, value) for name, value in answer["environments"].items()}
        return Description(
            devices=answer["devices"], environments=environments, unfit=answer["unfit"], free=answer["free"]
        )

    def count(self, cell: Cell) -> Counted:
        """Resolve a cell's model and count one step of it."""
        return Counted(**self._ask("count", cell=to_json(cell), **self._place()))

    def build(self, cell: Cell, slow: float = 0.0, every: int = 1) -> Built:
        """Build the step of a cell and warm it up."""
        self.start_build(cell, slow, every)
        return self.finish_build()

    def start_build(self, cell: Cell, slow: float = 0.0, every: int = 1) -> None:
        """Begin to build; `finish_build` waits for it."""
        cold = {"cold": True} if self._is_cold else {}  # a base's own interpreter may have an older stepbench
        self._send("build", cell=to_json(cell), slow=slow, every=every, **cold, **self._place())

    def finish_build(self) -> Built:
        """Wait until the step is built and warm."""
        answer = self._receive()
        return Built(**answer | {"sources": tuple((path, stamp) for path, stamp in answer["sources"])})

    def visit(self, steps: int) -> Visit:
        """Time a block of steps of what was built."""
        answer = self._ask("visit", steps=steps)
        return Visit(seconds=tuple(answer["seconds"]), clock=answer["clock"])

    def read(self, gpu_uuid: str | None = None) -> Reading:
        """Read the kernel's counters, and those of the device."""
        return self._ask("read", gpu_uuid=gpu_uuid)

    def state(self, before: Reading, after: Reading, gpu_uuid: str | None) -> MachineState:
        """Derive the machine's state between two readings."""
        return from_json(MachineState, self._ask("state", before=before, after=after, gpu_uuid=gpu_uuid))

    def free(self) -> None:
        """Drop what was built."""
        self._ask("free")

    def close(self) -> None:
        """End the worker and all it started; safe to call twice."""
        if self._output.closed:
            return
        if self._process is not None or self._forked is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)  # it holds nothing that needs a farewell
            self._wait()
        os.close(self._requests)
        os.close(self._answers)
        self._output.close()

    def _place(self) -> dict[str, Any]:
        side = self.side
        foreign = str(side.foreign) if side.foreign else None
        return {"root": str(side.root), "foreign": foreign, "own_models": side.models is not None}

    def _ask(self, operation: str, **arguments: Any) -> dict[str, Any]:
        self._send(operation, **arguments)
        return self._receive()

    def _send(self, operation: str, **arguments: Any) -> None:
        line = (json.dumps({"do": operation, **arguments}) + "\n").encode()
        try:
            while line:
                line = line[os.write(self._requests, line) :]
        except BrokenPipeError:
            raise self._died() from None

    def _receive(self, seconds: float | None = None) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._read_line(seconds or self._answer_seconds))
        if "error" in answer:
            is_full = answer["error"].get("kind") == "memory"
            text = str(answer["error"]["text"])
            if self.side.commit is not None:  # whose temporary folder says nothing to anybody
                text = text.replace(str(self.side.root), self.side.shown)
            raise (ArmFullError if is_full else ArmError)(self.side.name, text)
        return answer

    def _read_line(self, seconds: float) -> bytes:
        """Sleep until the worker has answered."""
        deadline = time.monotonic() + seconds
        while (end := self._buffer.find(b"\n")) < 0:
            until = min(deadline, self._deadline)
            ready, _, _ = select.select([self._answers], [], [], max(0.0, until - time.monotonic()))
            if not ready and until == self._deadline:
                raise TimeUpError(self.side.name)
            if not ready:
                raise ArmDiedError(self.side.name, f"the worker gave no answer within {seconds:g} s")
            new = os.read(self._answers, 1 << 16)
            if not new:
                raise self._died()
            self._buffer += new
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def _died(self) -> ArmDiedError:
        code = self._wait()
        if code is None:
            return ArmDiedError(self.side.name, "the worker closed its pipe")
        if code < 0:
            hint = "; the kernel kills so when memory runs out" if code == -signal.SIGKILL else ""
            return ArmDiedError(self.side.name, f"the worker was killed by {signal.Signals(-code).name}{hint}")
        tail = self._tail()
        return ArmDiedError(self.side.name, f"the worker ended with exit code {code}{f': {tail}' if tail else ''}")

    def _wait(self) -> int | None:
        """Return how the worker ended, below 0 by a signal; None if it has not within seconds, or nobody knows."""
        if self._process is not None:
            try:
                return self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                return None
        if self._forked is None or self._server is None:
            return None
        try:
            return self._server.wait(self._forked)
        except BenchError:  # the server is gone, and its workers died with it
            return None

    def _tail(self) -> str:
        """Return the last line of what the worker printed: of a traceback, the error."""
        size = os.lseek(self._output.fileno(), 0, os.SEEK_END)
        text = os.pread(self._output.fileno(), _TAIL_BYTES, max(0, size - _TAIL_BYTES)).decode(errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1] if lines else ""


def worker_environment(side: Side, *, is_bound: bool) -> dict[str, str]:
    """Make the variables of an interpreter: the user's own, with paths that still mean the same from another folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    if is_bound:
        environment |= _placing()
    paths = [str(Path(path).absolute()) for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    if side.python != sys.executable:
        paths.insert(0, str(_harness()))
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    return environment


def _own_environment(side: Side) -> dict[str, str]:
    """Return the variables in which the sides of one interpreter may differ."""
    return {} if side.models is None else {FOLDER_VARIABLE: str(side.models)}


def _placing() -> dict[str, str]:
    """Return the variables with which threads are bound, unless the user has placed them."""
    return {} if PLACING_VARIABLES & os.environ.keys() else {"OMP_PROC_BIND": "close", "OMP_PLACES": "cores"}


def _harness() -> Path:
    """Return a folder that holds this stepbench and nothing else, for an interpreter that may lack it.

    The folder above the package may be a whole environment, whose torch must not be found by the other interpreter.
    """
    global _harness_folder
    if _harness_folder is None:
        _harness_folder = tempfile.TemporaryDirectory(prefix="stepbench-harness-")
        package = importlib.util.find_spec("bench")
        assert package is not None and package.submodule_search_locations is not None
        Path(_harness_folder.name, "bench").symlink_to(Path(next(iter(package.submodule_search_locations))).resolve())
    return Path(_harness_folder.name)


_harness_folder: tempfile.TemporaryDirectory[str] | None = None
