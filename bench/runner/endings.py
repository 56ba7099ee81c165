"""How a call in a fresh process ended, and what an exception or an exit code means of it."""

from __future__ import annotations

import contextlib
import re
import resource
import signal
import traceback
from dataclasses import dataclass
from typing import Any

from bench.core.environment import RankSetup
from bench.core.errors import BenchError, ModelError
from bench.core.record import Outcome
from bench.core.text import input_hint, plain
from bench.core.units import format_bytes
from bench.device.backend import is_missing_kernel, is_out_of_memory

OUTPUT_TAIL_BYTES = 2000


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


_NO_MEMORY = re.compile("failed to map segment|annot allocate memory|can only be initialized once")
"""What an import of torch says for want of memory, and what it says when a server tried before."""


def named(error: BaseException) -> BaseException:
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


def _one_line(text: str) -> str:
    """Keep the first line of an error that carries words; exceptions of torch bring their whole stack along."""
    return plain(next((line for line in text.splitlines() if line.strip()), text))
