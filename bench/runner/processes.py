"""Call a function in a fresh process, and learn how it ended, whatever the function does to its process.

    call("package.module:function", *arguments)  ->  Ending(outcome, value, reason, output_tail)

The process is forked from a server that has imported torch and run nothing (0.2 s instead of 5 s). The parent
blocks on the pipe and the process's sentinel; it never spins, because a spinning parent disturbs what the child times.
What the child prints goes to a file, whose tail is kept; its standard input is empty.

The process leads a session of its own. Whatever it forked dies with it: when it is done, when it is killed, and when
this process is gone, even by SIGKILL. Only a daemon that starts another session of its own escapes.

No call lasts for ever: without a limit of its own it ends after `DEFAULT_TIMEOUT_SECONDS`. When the server itself is
killed (by the OOM killer, say), the calls that it took along are made again, once, on a new server.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import fcntl
import gc
import importlib
import io
import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import os
import pickle
import re
import resource
import select
import signal
import sys
import tempfile
import threading
import time
import traceback
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from typing import IO, Any

from bench.core.environment import RankSetup
from bench.core.errors import BenchError, ModelError
from bench.core.record import Outcome
from bench.core.text import input_hint, plain
from bench.core.units import format_bytes
from bench.device.backend import is_missing_kernel, is_out_of_memory
from bench.device.cpu import oom_kills, path_of_descriptor

DEFAULT_TIMEOUT_SECONDS = 600.0
OUTPUT_TAIL_BYTES = 2000
ANSWERED_GRACE_SECONDS = 1.0
DYING_GRACE_SECONDS = 10.0
SERVER_GRACE_SECONDS = 2.0
_LONGEST_WAIT = 2e6  # seconds; the kernel counts milliseconds in 31 bits, and more than 24 days are no limit
_F_SETSIG = 10  # Linux; the fcntl module does not name it
_preloaded: list[str] = ["bench.runner.workers.preloaded"]
_LOST = 255  # what multiprocessing makes of a child whose server is gone
_start_lock = threading.Lock()  # `__main__` is hidden for all threads
_running: set[Any] = set()  # processes of all threads that have not ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a call in a fresh process ended.

    Attributes:
        value: What the function returned; None unless `outcome` is OK.
        reason: One line; None for OK.
        error: The BenchError the function raised, to be raised again if the user can fix it.
        output_tail: The last `OUTPUT_TAIL_BYTES` of what the process printed; None for OK.
        ranks: Ranks that it launched, if it did and their end is its own.
    """

    outcome: Outcome
    value: Any = None
    reason: str | None = None
    error: BenchError | None = None
    output_tail: str | None = None
    ranks: RankSetup | None = None

    def checked(self, what: str) -> Any:
        """Return the value.

        Raises:
            BenchError: There is none; what the function raised, else `what` with the reason behind it.
        """
        if self.outcome is not Outcome.OK:
            raise self.error or BenchError(f"{what}: {self.reason}")
        return self.value


def preload(module: str) -> None:
    """Have the server import one more module before its first fork; without effect once it runs."""
    if module not in _preloaded:
        _preloaded.append(module)


def preload_libraries(models: Iterable[str]) -> None:
    """Have the server import the libraries that models such as `torchvision:resnet50` are of: each costs seconds."""
    for library in ("torchvision", "timm"):
        if any(model.startswith(f"{library}:") for model in models):
            preload(library)


def call(function: str, *arguments: Any, timeout_seconds: float | None = None, method: str = "forkserver") -> Ending:
    """Run a function in a fresh process and wait for it; with method `inline` in this one, for debuggers.

    A function that starts processes of its own may return an `Ending`: it knows better how those ended.

    Args:
        function: `package.module:name`; a name, so that the parent need not import what the child needs.
        arguments: Passed on; they and the function's value are pickled.
        timeout_seconds: Kill the process after this long; None is `DEFAULT_TIMEOUT_SECONDS`, `math.inf` waits.
        method: `forkserver`, `spawn` where a library does not survive a fork, or `inline`: only catches exceptions.
    """
    if method == "inline":
        return _attempt(function, arguments)
    method = _start_method(method)
    limit = DEFAULT_TIMEOUT_SECONDS if timeout_seconds is None else timeout_seconds
    try:
        return _call_once(function, arguments, limit, method)
    except _ServerDiedError:
        print("the server of fresh processes was killed; a new one is started", file=sys.stderr)
    try:
        return _call_once(function, arguments, limit, method)
    except _ServerDiedError:
        return Ending(outcome=Outcome.KILLED, reason="the server of fresh processes was killed twice")


class _ServerDiedError(Exception):
    """The server that forks processes is gone, and with it what it had forked."""


def _call_once(function: str, arguments: tuple[Any, ...], limit: float, method: str) -> Ending:
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(_preloaded)
    receiver, sender = context.Pipe(duplex=False)
    kills = oom_kills()
    with receiver, _output_file() as output:
        with sender:
            process, server = _start(context, (sender, function, arguments), output, method)
        try:
            with _exit_of(process, method) as end:
                ready = multiprocessing.connection.wait([receiver, end], None if limit > _LONGEST_WAIT else limit)
            message = _receive(receiver) if receiver in ready or receiver.poll() else None
            if ready and end not in ready:
                # A process that has answered may still hang in its threads' exit; it has nothing more to say. One that
                # dies closes its pipe first, and a crash takes its time; one that only closed its pipe continues.
                process.join(ANSWERED_GRACE_SECONDS if message is not None else DYING_GRACE_SECONDS)
            is_ended = process.exitcode is not None
        finally:  # also after Ctrl-C
            exit_code = _end(process)
        tail = _tail(output.fileno())
    if message is not None:
        if message.outcome is Outcome.OK:
            return message
        return replace(message, output_tail=tail)
    if not ready:
        reason = f"took longer than {limit:g} s"
        return Ending(outcome=Outcome.TIMED_OUT, reason=reason, output_tail=tail)
    if server is not None and exit_code == _LOST and _is_dead(server):
        raise _ServerDiedError
    if not is_ended:
        return Ending(outcome=Outcome.FAILED, reason="the worker closed the pipe for its answer", output_tail=tail)
    outcome, reason = how_it_died(exit_code, is_oom=exit_code == -signal.SIGKILL and oom_kills() > kills)
    return Ending(outcome=outcome, reason=reason, output_tail=tail)


def kill_running() -> None:
    """Kill the processes of all threads that wait in `call`; their calls end as KILLED. For an interrupted run."""
    for process in tuple(_running):
        with contextlib.suppress(ValueError):  # it was closed meanwhile
            process.kill()


def has_server() -> bool:
    """Whether fresh processes are forked from a server; macOS' libraries do not survive a fork."""
    return "forkserver" in multiprocessing.get_all_start_methods() and sys.platform != "darwin"


def _start_method(method: str) -> str:
    return "spawn" if method == "forkserver" and not has_server() else method


def _output_file() -> IO[bytes]:
    """Open a file without a name, of which nothing is left if we are killed; with one if only names can be shared."""
    output = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    if path_of_descriptor(output.fileno()) is not None:
        return output
    output.close()
    return tempfile.NamedTemporaryFile()


def _start(context: BaseContext, arguments: tuple[Any, ...], output: IO[bytes], method: str) -> tuple[Any, int | None]:
    """Start the child with its output going to the file; also return the number of its server.

    Raises:
        _ServerDiedError: Before the child was there.
    """
    path = path_of_descriptor(output.fileno()) or output.name
    with _start_lock, _hidden_main():
        process = context.Process(target=_child, args=(path, *arguments))  # type: ignore[attr-defined]
        try:
            process.start()
        except (EOFError, ConnectionError) as error:
            if method != "forkserver":
                raise
            server = multiprocessing.forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
            if server is not None:
                _is_dead(server)  # waits for its end: multiprocessing would take a dying one for a living
            raise _ServerDiedError from error
        server = multiprocessing.forkserver._forkserver._forkserver_pid if method == "forkserver" else None  # type: ignore[attr-defined]
    _running.add(process)
    return process, server


@atexit.register
def _kill_server() -> None:
    """Kill the server, which would tear torch down for two seconds after us, with our stdout open to its readers."""
    server = multiprocessing.forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    if server is not None and not multiprocessing.active_children() and not _is_dead(server, grace_seconds=0.0):
        os.kill(server, signal.SIGKILL)


def _is_dead(server: int, grace_seconds: float = SERVER_GRACE_SECONDS) -> bool:
    """Return whether the server is gone; its pipes close a moment before it can be waited for."""
    until = time.monotonic() + grace_seconds
    while True:
        try:
            if os.waitid(os.P_PID, server, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return True
        except ChildProcessError:  # another thread has waited for it already
            return True
        if time.monotonic() > until:
            return False
        time.sleep(0.01)


@contextlib.contextmanager
def _exit_of(process: Any, method: str) -> Iterator[int]:
    """Return a descriptor that is readable once the process is gone.

    The server tells of its children's ends, but the sentinel of a spawned process is a pipe that whatever the process
    forked keeps open.
    """
    if method == "forkserver" or not hasattr(os, "pidfd_open"):
        yield process.sentinel
        return
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:  # gone and reaped already
        yield process.sentinel
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _end(process: Any) -> int | None:
    """Kill the process with all it forked, and return its exit code."""
    _running.discard(process)
    if process.exitcode is None:  # it is there still, so its number is its own
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it leads no group yet
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
    process.join()
    exit_code: int | None = process.exitcode
    process.close()  # closes the pipe that `die_when_closed` watches: what it forked dies now
    return exit_code


@contextlib.contextmanager
def _hidden_main() -> Iterator[None]:
    """Hide `__main__` while a child is described, or the child would run the user's script again to import it."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _child(output: str, sender: Connection, function: str, arguments: tuple[Any, ...]) -> None:
    """Run in the child: redirect input and output, die with the parent, call, answer."""
    os.setsid()  # so that Ctrl-C reaches the parent alone, which decides; and to be killed as one group
    parent = multiprocessing.parent_process()
    if parent is not None:
        die_when_closed(int(parent.sentinel))
    _redirect(os.open(os.devnull, os.O_RDONLY), 0)  # a model that asks a question must not wait for an answer
    _redirect(os.open(output, os.O_WRONLY | os.O_APPEND), 1, 2)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)  # the last words of a process that is killed
    faulthandler.enable(file=2)  # where it was when it crashed
    gc.freeze()  # what the server imported is no garbage: going through it costs 0.2 s and a copy of its pages
    gc.enable()  # the server imported with it off
    own = os.getpid()
    try:
        ending = _attempt(function, arguments)
    except BaseException as error:  # noqa: BLE001 - a model may raise KeyboardInterrupt too; that is no Ctrl-C
        ending = failure(error)
    if os.getpid() != own:  # the model forked, and its child came back here too
        os._exit(0)
    sender.send(ending)
    sender.close()


def _redirect(source: int, *targets: int) -> None:
    for target in targets:
        os.dup2(source, target)
    if source not in targets:
        os.close(source)


def die_when_closed(descriptor: int) -> None:
    """Have the kernel kill this process's group when nobody holds the other end of a pipe open any more.

    So a process dies with its parent, which holds that end. `PR_SET_PDEATHSIG` would watch the server that forked us,
    and that one lives as long as we do. The pipe sends SIGKILL when it is closed (fcntl(2), F_SETSIG); no thread, no
    polling. To the whole group, and also when we have ended: what we forked holds the pipe too.
    """
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, -os.getpgrp())
    try:
        fcntl.fcntl(descriptor, _F_SETSIG, signal.SIGKILL)
    except OSError:  # only Linux knows it; elsewhere a thread sleeps until the pipe is closed
        threading.Thread(target=_kill_when_closed, args=(descriptor,), daemon=True).start()
        return
    fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_ASYNC)
    watch = select.poll()
    watch.register(descriptor, select.POLLIN)
    if any(event & select.POLLHUP for _, event in watch.poll(0)):  # it was closed before the signal was armed
        os.kill(os.getpid(), signal.SIGKILL)


def _kill_when_closed(descriptor: int) -> None:
    select.select([descriptor], [], [])
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _attempt(function: str, arguments: tuple[Any, ...]) -> Ending:
    module, _, name = function.partition(":")
    try:
        value = getattr(importlib.import_module(module), name)(*arguments)
        return value if isinstance(value, Ending) else Ending(outcome=Outcome.OK, value=value)
    except KeyboardInterrupt:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - any failure of the user's model becomes a row
        return failure(_named(error))


_NO_MEMORY = re.compile("failed to map segment|annot allocate memory|can only be initialized once")
"""What an import of torch says for want of memory, and what it says when a server tried before."""


def _named(error: BaseException) -> BaseException:
    """Name the limit of memory where an import fails for it: torch does not."""
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if not isinstance(error, ImportError) or most == resource.RLIM_INFINITY or not _NO_MEMORY.search(str(error)):
        return error
    return BenchError(
        f"torch could not be imported: a process may have only {format_bytes(most)} of memory here (ulimit -v); "
        "raise that limit"
    )


def failure(error: BaseException) -> Ending:
    """Turn an exception into an ending, and print its traceback unless the user can fix it.

    What torch has no kernel for on this machine is SKIPPED: nothing failed, it cannot be measured here.
    """
    if isinstance(error, BenchError):
        # A class of the user's own could not be read by the parent, which does not know their module.
        own = error if type(error).__module__.startswith("bench.") else ModelError(str(error))
        return Ending(outcome=Outcome.FAILED, reason=_one_line(str(error)), error=own)
    if is_missing_kernel(error):
        return Ending(outcome=Outcome.SKIPPED, reason=_one_line(f"torch has no kernel for this here: {error}"))
    with contextlib.suppress(ValueError, OSError):  # the model closed stderr
        traceback.print_exception(error)
    outcome = Outcome.OUT_OF_MEMORY if is_out_of_memory(error) else Outcome.FAILED
    text = str(error)
    return Ending(
        outcome=outcome,
        reason=input_hint(error) + _one_line(f"{type(error).__name__}: {text}" if text else type(error).__name__),
    )


def _receive(receiver: Connection) -> Ending | None:
    """Read the child's answer; None if it died before or while it wrote it."""
    try:
        ending = receiver.recv()
    except (EOFError, OSError, pickle.UnpicklingError, ImportError, AttributeError):
        return None
    return ending if isinstance(ending, Ending) else None


def how_it_died(exit_code: int | None, *, is_oom: bool) -> tuple[Outcome, str]:
    """Describe what an exit code means of a process that left no answer."""
    if exit_code is None or exit_code >= 0:
        return Outcome.FAILED, f"the worker ended without an answer, exit code {exit_code}"
    if is_oom:
        return Outcome.OUT_OF_MEMORY, "the kernel killed the worker because memory ran out (SIGKILL by its OOM killer)"
    return Outcome.KILLED, f"the worker was killed by {signal_name(-exit_code)}"


def signal_name(number: int) -> str:
    """Name a signal; a real-time one has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _tail(descriptor: int) -> str | None:
    size = os.lseek(descriptor, 0, os.SEEK_END)
    os.lseek(descriptor, max(0, size - OUTPUT_TAIL_BYTES), os.SEEK_SET)
    return os.read(descriptor, OUTPUT_TAIL_BYTES).decode(errors="replace").strip() or None


def _one_line(text: str) -> str:
    """Keep the first line of an error that carries words; exceptions of torch bring their whole stack along."""
    return plain(next((line for line in text.splitlines() if line.strip()), text))
