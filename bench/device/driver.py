"""Questions to a driver that may hang, asked where no time limit ends the process: in the parent of all others.

    near = in_time(nvml.cpus_near, uuid, otherwise=frozenset())

Each is asked in a thread of its own, which is left behind if no answer comes. Processes that measure need none of
this: their parent ends them.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

T = TypeVar("T")

DRIVER_SECONDS = 30.0
"""A driver answers within milliseconds; where nothing keeps it loaded, it takes seconds to start."""

_late: list[Future[Any]] = []  # questions of this process that were given up


def no_answer() -> str:
    """Return why there is no answer."""
    return f"the driver gave no answer within {DRIVER_SECONDS:g} s"


def asked(question: Callable[..., T], *arguments: Any) -> Future[T]:
    """Ask and wait for the answer, so long at most: the future is done if there is one."""
    answer: Future[T] = Future()

    def ask() -> None:
        try:
            answer.set_result(question(*arguments))
        except BaseException as error:  # noqa: BLE001 - whoever asked gets it
            answer.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    wait([answer], DRIVER_SECONDS)
    return answer


def in_time(question: Callable[..., T], *arguments: Any, otherwise: T) -> T:
    """Return the answer, or `otherwise` if none came in time, with a line on stderr.

    While an earlier question is without an answer no other is asked: each would wait as long.
    """
    if not all(one.done() for one in _late):
        return otherwise
    answer = asked(question, *arguments)
    if answer.done():
        return answer.result()
    _late.append(answer)
    print(f"{no_answer()}; what it would have told is unknown", file=sys.stderr)
    return otherwise
