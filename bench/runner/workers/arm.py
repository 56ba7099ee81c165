"""Inside one worker of an A/B session, which answers requests, one JSON line each; and the server that forks workers.

    python -P -m bench.runner.workers.arm REQUESTS ANSWERS PARENT '["search path", ...]'
    python -P -m bench.runner.workers.arm serve SOCKET PARENT

Requests name an operation: `hello`, `describe`, `count`, `build`, `visit`, `read`, `state`, `free`. The answer is an
object, or `{"error": {...}}`. Between requests the worker sleeps in `read`, so it never disturbs its neighbour.
It dies with its parent, also when the parent is killed; it leaves Ctrl-C to the parent.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import itertools
import json
import os
import signal
import socket
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core import __version__
from bench.core.cell import Cell
from bench.core.errors import BenchError
from bench.core.jsonio import from_json, to_json
from bench.device.backend import CPU, backend_of, is_accelerator, is_out_of_memory

if TYPE_CHECKING:
    from bench.core.workload import Workload

_PR_SET_PDEATHSIG = 1
_MESSAGE_BYTES = 1 << 20
_INSTALLED = f"{os.sep}site-packages{os.sep}"

WARMUP_STEPS = 4
"""On a CPU: a first quad is thrown away besides. An accelerator warms up until it settles."""


def main(arguments: list[str]) -> None:
    """Be a worker, or the server of workers."""
    if arguments[0] == "serve":
        _serve(int(arguments[1]), int(arguments[2]))
        return
    requests, answers, parent = int(arguments[0]), int(arguments[1]), int(arguments[2])
    if _depend_on(parent):
        _work(requests, answers, json.loads(arguments[3]))


def _depend_on(parent: int) -> bool:
    """Die with the parent, and leave Ctrl-C to it; False if it died before we could ask for that."""
    with contextlib.suppress(AttributeError):  # Linux only; elsewhere the closed pipe of requests ends it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # the parent held its signals back while it started us
    return os.getppid() == parent


def _serve(descriptor: int, parent: int) -> None:
    """Import what every worker needs, run nothing, and fork a worker whenever the parent asks for one."""
    if not _depend_on(parent):
        return
    cores = os.sched_getaffinity(0)  # OpenMP may bind this thread to fewer once torch is imported
    gc.disable()  # for as long as it imports: going through what stays costs a second
    _preload()
    gc.freeze()  # what was imported stays: no worker has to look through it again
    gc.enable()
    server, line = os.getpid(), socket.socket(fileno=descriptor)
    while True:
        message, descriptors, _, _ = socket.recv_fds(line, _MESSAGE_BYTES, 3)
        if not message:
            return
        request = json.loads(message)
        if request.pop("do") == "wait":
            line.send(json.dumps({"code": _reap(request["pid"])}).encode())
            continue
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            line.close()
            _be_forked(server, descriptors, cores, **request)
        with contextlib.suppress(OSError):  # the child does it too; whoever is first
            os.setpgid(pid, pid)
        for one in descriptors:
            os.close(one)
        line.send(json.dumps({"pid": pid}).encode())


_PRELOADED = (
    "torch._dynamo",  # the first optimizer imports it, which takes two seconds
    "torch.fx.experimental.symbolic_shapes",
    "bench.device.environment",
    "bench.device.step",
    "bench.measure.blocks",
    "bench.measure.clock",
    "bench.registry",
)


def _preload() -> None:
    """Import torch, the compiler that its first optimizer asks for, and our packages; run nothing, start no device."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in _PRELOADED:
            importlib.import_module(name)


def _be_forked(
    server: int,
    descriptors: list[int],
    cores: set[int],
    folder: str,
    search_path: list[str],
    environment: dict[str, str],
    unbind: list[str],
) -> None:
    """Be a worker from here on; never return. `cores` were allowed before `unbind` bound this thread to fewer."""
    code = 1
    try:
        os.setpgid(0, 0)
        requests, answers, output = descriptors
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        os.environ.update(environment)
        for name in unbind:
            os.environ.pop(name, None)
        if unbind:
            os.sched_setaffinity(0, cores)
        os.chdir(folder)
        if _depend_on(server):
            _work(requests, answers, search_path)
        code = 0
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _reap(pid: int) -> int | None:
    """Return how a worker ended, below 0 by a signal; None if it has not within seconds."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            ended, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            return None
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    return None


def _work(requests: int, answers: int, search_path: list[str]) -> None:
    """Answer requests until the parent closes the pipe."""
    # Only now: stepbench is the running installation also where the side is a checkout of stepbench.
    sys.path[:0] = search_path
    with open(requests, encoding="utf-8") as inbox, open(answers, "w", encoding="utf-8") as outbox:
        worker = _Worker()
        for line in inbox:
            request = json.loads(line)
            answer = _answer(worker, request)
            outbox.write(json.dumps(answer) + "\n")
            outbox.flush()
            sys.stdout.flush()


def _answer(worker: _Worker, request: dict[str, Any]) -> dict[str, Any]:
    operation = request.pop("do")
    try:
        answer: dict[str, Any] = getattr(worker, operation)(**request)
        return answer
    except BenchError as error:
        return {"error": {"kind": type(error).__name__, "text": str(error)}}
    except (Exception, SystemExit) as error:  # noqa: BLE001 - any failure of the user's model becomes a row
        traceback.print_exc()
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        text = f"{type(error).__name__}: {lines[0] if lines else ''}".strip(": ")
        return {"error": {"kind": "memory" if is_out_of_memory(error) else "", "text": text}}


class _Worker:
    """What a worker can do; every public method is an operation, and returns what `json` takes."""

    def __init__(self) -> None:
        self._open = contextlib.ExitStack()
        self._step: Any = None
        self._clock: Any = None
        self._warm = 0  # glances at the device that were taken while it warmed up
        self._device = CPU

    def hello(self) -> dict[str, Any]:
        """Import torch and all that a step needs, which takes seconds, before anything is asked."""
        import torch

        _preload()
        return {"torch": torch.__version__, "stepbench": __version__, "pid": os.getpid()}

    def describe(self, devices: list[str], cells: list[dict[str, Any]]) -> dict[str, Any]:
        """Complete device names, read environment and free memory of each, and say which cells it cannot do."""
        from bench.device.backend import normalise_device, why_not
        from bench.device.environment import read_environment

        names = {device: normalise_device(device) for device in devices}
        wanted = [from_json(Cell, cell) for cell in cells]
        return {
            "devices": names,
            "environments": {name: to_json(read_environment(name)) for name in dict.fromkeys(names.values())},
            "unfit": {cell.key: why_not(names[cell.device], cell.precision) for cell in wanted},
            "free": {name: backend_of(name).free_bytes() for name in dict.fromkeys(names.values())},
        }

    def count(self, cell: dict[str, Any], root: str, foreign: str | None, own_models: bool) -> dict[str, Any]:
        """Resolve a model and count one step of it on tensors without storage."""
        from bench.counters.static import count

        wanted = from_json(Cell, cell)
        workload = self._resolve(wanted, foreign, root, own_models)
        source = workload.source_file
        answer: dict[str, Any] = {
            "source_file": source,
            "is_inside": source is not None and Path(source).resolve().is_relative_to(root),
            "counters": None,
            "not_counted": None,
            "predicted_bytes": None,
        }
        try:
            counted, _ = count(workload, wanted, opinions=False)
        except (BenchError, RuntimeError, ValueError, TypeError, NotImplementedError) as error:
            traceback.print_exc()
            answer["not_counted"] = str(error).partition("\n")[0]
        else:
            flops, peak = counted.flops, counted.predicted_peak
            answer["predicted_bytes"] = peak.total_bytes if peak else None
            answer["counters"] = {
                "parameters": counted.parameters,
                "trainable_parameters": counted.trainable_parameters,
                "flops": flops.total if flops else None,
                "dispatches": counted.dispatch_count,
                "bytes_touched": counted.bytes_touched,
            }
        return answer

    def build(
        self,
        cell: dict[str, Any],
        root: str,
        foreign: str | None,
        own_models: bool,
        slow: float = 0.0,
        every: int = 1,
        cold: bool = False,
    ) -> dict[str, Any]:
        """Build the step of a cell and warm it up.

        The side's code lies below `root`; no module of the folder `foreign` may be loaded, and with `own_models` the
        reference models come from STEPBENCH_MODELS. For `bench machine selftest` every step is made slower by the
        fraction `slow` of its own duration; or one step in `every` gets all of that, the others none. With `cold` the
        device's last cache is emptied before every step, outside its time.
        """
        from bench.device.prepare import prepare
        from bench.measure.blocks import time_steps, warm_up, without_garbage_collection
        from bench.measure.clock import ColdClock, clock_for

        self.free()
        wanted = from_json(Cell, cell)
        workload = self._resolve(wanted, foreign, root, own_models)
        started = time.perf_counter()
        try:
            self._step = self._open.enter_context(prepare(workload, wanted))
            self._refuse_foreign(foreign, root, own_models)
            clock = clock_for(wanted.device)
            self._clock = ColdClock(clock, wanted.device) if cold else clock
            self._open.enter_context(without_garbage_collection())
            self._device = wanted.device
            if is_accelerator(wanted.device):
                seconds = warm_up(self._step, self._clock, wanted.device)
            else:
                seconds = time_steps(self._step, self._clock, WARMUP_STEPS)[0]
            self._warm = len(self._clock.glances)
        except BaseException:
            self.free()
            raise
        settled = seconds[-5:]
        added = slow * min(settled)  # as planned; on the host every step waits for a share of its own duration
        if slow:
            plain = self._step
            slowed = slower(plain, slow * every, added * every, wanted.device)
            self._step = slowed if every == 1 else alternating(plain, slowed, every)
        return {
            "step_seconds": min(settled) + (added if every == 1 else 0.0),
            "warmup_steps": len(seconds),
            "build_seconds": time.perf_counter() - started,
            "added_seconds": added,
            "sources": _sources(root),
        }

    def visit(self, steps: int) -> dict[str, Any]:
        """Time one visit."""
        from bench.measure.blocks import time_visit

        return {"seconds": time_visit(self._step, self._clock, steps), "clock": self._clock.name}

    def read(self, gpu_uuid: str | None = None) -> dict[str, Any]:
        """Read the kernel's counters, and those of the device."""
        from dataclasses import asdict

        from bench.device.environment import read_machine

        return asdict(read_machine(self._device, gpu_uuid))

    def state(self, before: dict[str, Any], after: dict[str, Any], gpu_uuid: str | None) -> dict[str, Any]:
        """Derive the state of the machine between two readings, in which both workers are counted as our own."""
        from bench.device.cpu import Reading
        from bench.device.environment import state_between

        readings = Reading(**before), Reading(**after)
        glances = self._clock.glances[self._warm :] if self._clock else ()
        answer: dict[str, Any] = to_json(state_between(*readings, self._device, gpu_uuid, glances))
        return answer

    def free(self) -> dict[str, Any]:
        """Drop the step and its memory; global switches go back as they were."""
        self._step = self._clock = None
        self._open.close()
        self._open = contextlib.ExitStack()
        backend_of(self._device).release()
        return {}

    def _resolve(self, cell: Cell, foreign: str | None, root: str, own_models: bool) -> Workload:
        from bench import registry

        workload = registry.resolve(cell.model, input_shape=cell.input_shape)
        self._refuse_foreign(foreign, root, own_models)
        return workload

    def _refuse_foreign(self, foreign: str | None, root: str, own_models: bool) -> None:
        """Refuse to measure code that is not this side's: an editable install, or a path somebody set by hand."""
        for name, path in _loaded_files():
            if own_models and name.startswith("bench.models."):
                raise BenchError(f"models/ of this side has no {name.rpartition('.')[2]!r}")
            is_ours = name == "bench" or name.startswith("bench.") or name in ("__main__", "__mp_main__")
            if foreign is None or is_ours or not _is_below(path, foreign) or _is_below(path, root):
                continue
            if not _is_below(path, sys.prefix) and _INSTALLED not in path:
                raise BenchError(
                    f"module {name!r} came from {path}, not from this side's tree; "
                    "its folder must be the working directory or src/ of the tree"
                )


def _loaded_files() -> Iterator[tuple[str, str]]:
    for name, module in tuple(sys.modules.items()):
        file = vars(module).get("__file__") if hasattr(module, "__dict__") else None
        if isinstance(file, str):
            yield name, file


def _is_below(path: str, folder: str) -> bool:
    """As `Path.is_relative_to`, which for 2,000 modules costs 20 ms."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _sources(root: str) -> list[tuple[str, str]]:
    """List the side's files that are loaded, each with size and time of its last change: an edit shows."""
    found = {}
    for _, file in _loaded_files():
        if _is_below(file, root) and _INSTALLED not in file and (path := Path(file)).is_file():
            status = path.stat()
            found[str(path.relative_to(root))] = f"{status.st_size}-{status.st_mtime_ns}"
    return sorted(found.items())


def slower(step: Callable[[], Any], share: float, seconds: float, device: str) -> Callable[[], Any]:
    """Wrap a step so that each takes longer, by a busy-wait.

    Args:
        step: What to slow down.
        share: Share of its own duration that every step waits on the host: just that slowdown, however fast the machine
            happens to be at the moment.
        seconds: Wait of every step on a device, which cannot be asked how long a step took.
        device: Where it runs.
    """
    waits = backend_of(device).busy_wait()
    if waits is not None:
        return _slower_on_device(step, seconds, device, *waits)

    def slowed() -> Any:
        start = time.perf_counter_ns()
        result = step()
        now = time.perf_counter_ns()
        end = now + (now - start) * share
        while time.perf_counter_ns() < end:
            pass
        return result

    return slowed


def alternating(plain: Callable[[], Any], slowed: Callable[[], Any], every: int) -> Callable[[], Any]:
    """Make one step in `every` the slowed one."""
    turns = itertools.cycle([plain] * (every - 1) + [slowed])

    def step() -> Any:
        return next(turns)()

    return step


def _slower_on_device(
    step: Callable[[], Any], seconds: float, device: str, wait: Callable[[int], None], probe: int
) -> Callable[[], Any]:
    """Let the stream and the host wait, so long each.

    Where the device is behind, a host that waits alone hides behind the queue; where the device waits for launches, a
    kernel that waits alone hides in its idle time.
    """
    from bench.measure.clock import clock_for

    wait(probe)
    clock = clock_for(device)
    clock.start()
    wait(probe)
    clock.mark()
    units = round(probe * seconds / clock.collect()[0][0])

    def slowed() -> Any:
        result = step()
        wait(units)
        end = time.perf_counter_ns() + seconds * 1e9
        while time.perf_counter_ns() < end:
            pass
        return result

    return slowed


if __name__ == "__main__":
    main(sys.argv[1:])
