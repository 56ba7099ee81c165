"""Call a function in a fresh process, and learn how it ended, whatever the function does to its process.

    call("package.module:function", *arguments)  ->  Ending(outcome, value, reason, output_tail)

The process is forked from a server that has imported torch and run nothing (FACTS: 0.2 s instead of 5 s). The parent
blocks on the pipe and the process's sentinel; it never spins, because a spinning parent disturbs what the child times.
What the child prints goes to a file, whose tail is kept.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import tempfile
import threading
import traceback
import types
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from typing import Any

from bench.core.errors import BenchError
from bench.core.record import Outcome

OUTPUT_TAIL_BYTES = 2000
_F_SETSIG = 10  # Linux; the fcntl module does not name it
_preloaded: list[str] = ["bench.runner.preloaded"]
_start_lock = threading.Lock()  # `__main__` is hidden for all threads


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a call in a fresh process ended.

    Attributes:
        value: What the function returned; None unless `outcome` is OK.
        reason: One line; None for OK.
        error: The BenchError the function raised, to be raised again where it is the user's to mend.
        output_tail: The last `OUTPUT_TAIL_BYTES` of what the process printed; None for OK.
    """

    outcome: Outcome
    value: Any = None
    reason: str | None = None
    error: BenchError | None = None
    output_tail: str | None = None


def preload(module: str) -> None:
    """Have the server import one more module before its first fork; without effect once it runs."""
    if module not in _preloaded:
        _preloaded.append(module)


def call(function: str, *arguments: Any, timeout_seconds: float | None = None, method: str = "forkserver") -> Ending:
    """Run a function in a fresh process and wait for it; with method `inline` in this one, for debuggers.

    Args:
        function: `package.module:name`; a name, so that the parent need not import what the child needs.
        arguments: Passed on; they and the function's value are pickled.
        timeout_seconds: Kill the process after this long.
        method: `forkserver`, `spawn` where a library does not survive a fork, or `inline`: only catches exceptions.
    """
    if method == "inline":
        return _attempt(function, arguments)
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(_preloaded)
    receiver, sender = context.Pipe(duplex=False)
    with tempfile.TemporaryFile() as output:
        process = _start(context, (sender, function, arguments), output.fileno())
        sender.close()
        ready = multiprocessing.connection.wait([receiver, process.sentinel], timeout_seconds)
        message = _receive(receiver) if receiver in ready or receiver.poll() else None
        if not ready or message is not None:
            # A process that has answered may still hang in its threads' exit; it has nothing more to say.
            process.join(5 if message is not None else 0)
            process.kill()
        process.join()
        receiver.close()
        tail = _tail(output.fileno())
        exit_code = process.exitcode
        process.close()
    if message is not None:
        ending: Ending = message
        if ending.outcome is Outcome.OK:
            return ending
        return Ending(outcome=ending.outcome, reason=ending.reason, error=ending.error, output_tail=tail)
    if not ready:
        reason = f"took longer than {timeout_seconds:g} s"
        return Ending(outcome=Outcome.TIMED_OUT, reason=reason, output_tail=tail)
    return Ending(outcome=_outcome_of_exit(exit_code), reason=_words_of_exit(exit_code), output_tail=tail)


def _start(context: BaseContext, arguments: tuple[Any, ...], output: int) -> Any:
    """Start the child with its output going to the file descriptor `output`."""
    path = f"/proc/{os.getpid()}/fd/{output}"  # reaches the unlinked file; nothing is left if we are killed
    with _start_lock, _hidden_main():
        process = context.Process(target=_child, args=(path, *arguments))  # type: ignore[attr-defined]
        process.start()
    return process


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
    """Run in the child: redirect output, die with the parent, call, answer."""
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    descriptor = os.open(output, os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    sender.send(_attempt(function, arguments))
    sender.close()


def _die_with_parent() -> None:
    """Have the kernel kill this process when the one that asked for it is gone, whatever this process is doing then.

    `PR_SET_PDEATHSIG` would watch the server that forked us, and the server lives as long as we do. So the pipe whose
    other end the parent holds sends SIGKILL when that end closes (fcntl(2), F_SETSIG); no thread, no polling.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    descriptor = int(parent.sentinel)
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(descriptor, _F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_ASYNC)
    if not parent.is_alive():  # it went before the signal was armed
        os.kill(os.getpid(), signal.SIGKILL)


def _attempt(function: str, arguments: tuple[Any, ...]) -> Ending:
    module, _, name = function.partition(":")
    try:
        return Ending(outcome=Outcome.OK, value=getattr(importlib.import_module(module), name)(*arguments))
    except BenchError as error:
        return Ending(outcome=Outcome.FAILED, reason=_one_line(str(error)), error=error)
    except KeyboardInterrupt:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - any failure of the user's model becomes a row
        traceback.print_exc()
        outcome = Outcome.OUT_OF_MEMORY if _is_out_of_memory(error) else Outcome.FAILED
        return Ending(outcome=outcome, reason=_one_line(f"{type(error).__name__}: {error}"))


def _receive(receiver: Connection) -> Ending | None:
    """Read the child's answer; None if it died before or while it wrote it."""
    try:
        ending: Ending = receiver.recv()
    except (EOFError, OSError):
        return None
    return ending


def _is_out_of_memory(error: BaseException) -> bool:
    """Tell an allocator's refusal; on the CPU torch has no class of its own for it."""
    text = str(error)
    is_allocator = "can't allocate memory" in text or "out of memory" in text.lower()
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and is_allocator)


def _outcome_of_exit(exit_code: int | None) -> Outcome:
    return Outcome.KILLED if exit_code is not None and exit_code < 0 else Outcome.FAILED


def _words_of_exit(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        hint = "; the kernel kills so when memory runs out" if name == "SIGKILL" else ""
        return f"the worker was killed by {name}{hint}"
    return f"the worker ended without an answer, exit code {exit_code}"


def _tail(descriptor: int) -> str | None:
    size = os.lseek(descriptor, 0, os.SEEK_END)
    os.lseek(descriptor, max(0, size - OUTPUT_TAIL_BYTES), os.SEEK_SET)
    return os.read(descriptor, OUTPUT_TAIL_BYTES).decode(errors="replace").strip() or None


def _one_line(text: str) -> str:
    """Keep the first line of an error that carries words; exceptions of torch bring their whole stack along."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else text
