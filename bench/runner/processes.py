"""Call a function in a fresh process, and learn how it ended, whatever the function does to its process.

    call("package.module:function", *arguments)  ->  Ending(outcome, value, reason, output_tail)

The process is forked from a server that has imported torch and run nothing (0.2 s instead of 5 s). The parent
blocks on the pipe and the process's sentinel; it never spins, because a spinning parent disturbs what the child times.
What the child prints goes to a file, whose tail is kept; its standard input is empty.

The process leads a session of its own. Whatever it forked dies with it: when it is done, when it is killed, and when
this process is gone, even by SIGKILL. Only a daemon that starts another session of its own escapes.

No call lasts for ever: without a limit of its own it ends `DEFAULT_TIMEOUT_SECONDS` beyond its budget, later where the
function expects more. What it tells (`bench.core.progress`) reaches who listens here. When the server itself is killed
(by the OOM killer, say), the calls that it took along are made again, once, on a new server.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import fcntl
import functools
import gc
import importlib
import io
import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import os
import pickle
import select
import signal
import sys
import tempfile
import threading
import time
import types
from collections.abc import Iterable, Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from typing import IO, Any

from bench.core.progress import listening, tell, waited_for
from bench.core.record import Outcome
from bench.device.cpu import oom_kills, path_of_descriptor
from bench.runner.endings import OUTPUT_TAIL_BYTES, Ending, failure, how_it_died, named

DEFAULT_TIMEOUT_SECONDS = 600.0
START_SECONDS = 300.0  # a server or a worker that has not imported torch by then is given up
ANSWERED_GRACE_SECONDS = 1.0
DYING_GRACE_SECONDS = 10.0
SERVER_GRACE_SECONDS = 2.0
_LONGEST_WAIT = 2e6  # seconds; the kernel counts milliseconds in 31 bits, and more than 24 days are no limit
_F_SETSIG = 10  # Linux; the fcntl module does not name it
_preloaded: list[str] = ["bench.runner.workers.preloaded"]
_LOST = 255  # what multiprocessing makes of a child whose server is gone
_start_lock = threading.Lock()  # `__main__` is hidden for all threads
_running: set[Any] = set()  # processes of all threads that have not ended


def limit_of(timeout_seconds: float | None, budget_seconds: float = 0.0) -> float:
    """Return the time limit of a process: as typed, or ten minutes beyond the time for which it samples."""
    return DEFAULT_TIMEOUT_SECONDS + budget_seconds if timeout_seconds is None else timeout_seconds


def preload(module: str) -> None:
    """Have the server import one more module before its first fork; without effect once it runs."""
    if module not in _preloaded:
        _preloaded.append(module)


def preload_libraries(models: Iterable[str]) -> None:
    """Have the server import the libraries that models such as `torchvision:resnet50` are of: each costs seconds."""
    for library in ("torchvision", "timm"):
        if any(model.startswith(f"{library}:") for model in models):
            preload(library)


def call(
    function: str,
    *arguments: Any,
    timeout_seconds: float | None = None,
    budget_seconds: float = 0.0,
    is_renewed: bool | None = None,
    method: str = "forkserver",
) -> Ending:
    """Run a function in a fresh process and wait for it; with method `inline` in this one, for debuggers.

    A function that starts processes of its own may return an `Ending`: it knows better how those ended.

    Args:
        function: `package.module:name`; a name, so that the parent need not import what the child needs.
        arguments: Passed on; they and the function's value are pickled.
        timeout_seconds: Kill the process after this long; None is ten minutes beyond the budget.
        budget_seconds: How long the function is to sample.
        is_renewed: Wait anew whenever the function says what it expects; by default where no timeout is given.
        method: `forkserver`, `spawn` where a library does not survive a fork, or `inline`: only catches exceptions.
    """
    if method == "inline":
        return _attempt(function, arguments)
    if method == "forkserver" and not has_server():
        method = "spawn"
    limit = limit_of(timeout_seconds, budget_seconds)
    renewal = limit if is_renewed or (is_renewed is None and timeout_seconds is None) else None
    for words in ("killed; a new one is started", "killed again"):
        try:
            return _call_once(function, arguments, limit, renewal, method)
        except _ServerDiedError:
            print(f"the server of fresh processes was {words}", file=sys.stderr)
        except _ServerHangsError:
            reason = f"the server of fresh processes took longer than {START_SECONDS:g} s to import torch"
            return Ending(outcome=Outcome.TIMED_OUT, reason=reason)
    return Ending(outcome=Outcome.KILLED, reason="the server of fresh processes was killed twice")


class _ServerDiedError(Exception):
    """The server that forks processes is gone, and with it what it had forked."""


class _ServerHangsError(Exception):
    """The server that forks processes was killed, because it did not begin to."""


def _call_once(function: str, arguments: tuple[Any, ...], limit: float, renewal: float | None, method: str) -> Ending:
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(_preloaded)
    receiver, sender = context.Pipe(duplex=False)
    kills = oom_kills()
    with receiver, _output_file() as output:
        with sender:
            process, server = _start(context, (sender, renewal is not None, function, arguments), output, method)
        try:
            with _exit_of(process, method) as end:
                message, ready, limit = _wait_for_answer(receiver, end, limit, renewal)
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


def _wait_for_answer(
    receiver: Connection, end: int, limit: float, renewal: float | None
) -> tuple[Ending | None, list[Any], float]:
    """Wait for an answer or the end of a process; return its answer, what was ready, and the limit with renewals."""
    began = time.monotonic()
    while True:
        left = began + limit - time.monotonic()
        ready = multiprocessing.connection.wait([receiver, end], None if left > _LONGEST_WAIT else max(0.0, left))
        said = _receive(receiver) if receiver in ready or receiver.poll() else None
        if not isinstance(said, tuple):
            return said, ready, limit
        if len(said) > 1:
            tell(*said)
        elif renewal is not None:
            limit = max(limit, round(time.monotonic() - began + renewal + said[0], 1))


def kill_running() -> None:
    """Kill the processes of all threads that wait in `call`; their calls end as KILLED. For an interrupted run."""
    for process in tuple(_running):
        with contextlib.suppress(ValueError):  # it was closed meanwhile
            process.kill()


def has_server() -> bool:
    """Whether fresh processes are forked from a server; macOS' libraries do not survive a fork."""
    return "forkserver" in multiprocessing.get_all_start_methods() and sys.platform != "darwin"


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
    with _start_lock, _hidden_main(), _server_in_time() as is_late:
        process = context.Process(target=_child, args=(path, *arguments))  # type: ignore[attr-defined]
        try:
            process.start()
        except (EOFError, ConnectionError) as error:
            if method != "forkserver":
                raise
            server = multiprocessing.forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
            if server is not None:
                _is_dead(server)  # waits for its end: multiprocessing would take a dying one for a living
            raise (_ServerHangsError if is_late.is_set() else _ServerDiedError) from error
        server = multiprocessing.forkserver._forkserver._forkserver_pid if method == "forkserver" else None  # type: ignore[attr-defined]
    _running.add(process)
    return process, server


@contextlib.contextmanager
def _server_in_time() -> Iterator[threading.Event]:
    """Kill a server that does not fork in time: what it imports does not end. The event tells that it was killed."""
    is_late = threading.Event()

    def give_up() -> None:
        is_late.set()
        server = multiprocessing.forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
        if server is not None:
            os.kill(server, signal.SIGKILL)

    timer = threading.Timer(START_SECONDS, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield is_late
    finally:
        timer.cancel()


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


def _child(output: str, sender: Connection, is_renewed: bool, function: str, arguments: tuple[Any, ...]) -> None:
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
    own, say = os.getpid(), functools.partial(_say, sender)
    try:
        with listening(say), waited_for(say) if is_renewed else contextlib.nullcontext():
            ending = _attempt(function, arguments)
    except BaseException as error:  # noqa: BLE001 - a model may raise KeyboardInterrupt too; that is no Ctrl-C
        ending = failure(error)
    if os.getpid() != own:  # the model forked, and its child came back here too
        os._exit(0)
    sender.send(ending)
    sender.close()


def _say(sender: Connection, *values: object) -> None:
    """Send what the function tells, or the seconds that it expects to take."""
    with contextlib.suppress(OSError):  # the model closed it
        sender.send(values)


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
        return failure(named(error))


def _receive(receiver: Connection) -> Ending | tuple[Any, ...] | None:
    """Read the child's answer, or what it says before; None if it died before or while it wrote."""
    try:
        said = receiver.recv()
    except (EOFError, OSError, pickle.UnpicklingError, ImportError, AttributeError):
        return None
    return said if isinstance(said, Ending | tuple) else None


def _tail(descriptor: int) -> str | None:
    size = os.lseek(descriptor, 0, os.SEEK_END)
    os.lseek(descriptor, max(0, size - OUTPUT_TAIL_BYTES), os.SEEK_SET)
    return os.read(descriptor, OUTPUT_TAIL_BYTES).decode(errors="replace").strip() or None
