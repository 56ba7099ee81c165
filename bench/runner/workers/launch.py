"""Run a function on several ranks through torch's elastic launcher, and learn how they ended, whatever they did.

    launch(function, argument, ..., world_size=2)  ->  one value per rank, or RanksEnded with the Ending of the cell

The process that calls this is the agent: it runs no torch operation, it forks the ranks, watches them and answers. When
one ends badly the launcher ends the others; who was first is told by what the ranks said of themselves, because a rank
that loses a peer raises too. Every rank leads a session of its own and dies with the agent
(`processes.die_when_closed`).
"""

from __future__ import annotations

import contextlib
import contextvars
import faulthandler
import logging
import multiprocessing
import multiprocessing.util
import os
import re
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous.api import RendezvousError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from torch.numa.binding import AffinityMode, NumaOptions

from bench.core.progress import expect, is_waited_for, waited_for
from bench.core.record import Outcome
from bench.device.backend import starts_when_counted
from bench.device.cpu import oom_kills
from bench.runner import processes
from bench.runner.endings import Ending, failure, how_it_died

POLL_SECONDS = 0.1
"""How often the launcher looks at its ranks; a look costs the agent some ten microseconds."""

CONSEQUENCE_GRACE_SECONDS = 2.0
"""A rank that lost its peer waits so long before it ends, so that the launcher sees the peer first."""

LOOK_BEFORE_SECONDS = 0.3
"""A rank's stack is written down so long before its time is up."""

_LOST_PEER = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "gloo/transport", "NCCL")
_FRAME = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+) in (?P<name>.*)$', re.MULTILINE)
_PIPE_BYTES = 65536


class RanksEnded(Exception):  # noqa: N818 - no error of ours: it carries how the cell ended
    """The ranks gave no values; `ending` says how the cell ended, naming the rank that was first.

    `hosts` are those of all ranks, by rank, of a cell of several nodes; else empty.
    """

    def __init__(self, ending: Ending, hosts: tuple[str, ...] = ()) -> None:
        super().__init__(ending.reason)
        self.ending = ending
        self.hosts = hosts


class _TooLongError(BaseException):
    """The time is up; no `except Exception` of the launcher may swallow it."""


@dataclass(frozen=True, slots=True)
class _Patience:
    """How long the ranks are waited for.

    Attributes:
        began: By `time.monotonic`, one clock for all processes.
        seconds: As asked for.
        more: Seconds beyond that, which a rank expects to take; shared by all ranks, None where nobody would wait.
        granted: Asked for such seconds of the ranks of all nodes when the time is up.
    """

    began: float
    seconds: float
    more: Any = None
    granted: Callable[[], float] = lambda: 0.0

    @property
    def more_seconds(self) -> float:
        """Seconds that were added."""
        return 0.0 if self.more is None else float(self.more.value)

    @property
    def left(self) -> float:
        """Seconds until the time is up."""
        return self.began + self.seconds + self.more_seconds - time.monotonic()

    def renew(self, seconds: float) -> None:
        """Wait anew, and for so much longer."""
        self._add(time.monotonic() - self.began + seconds)

    def is_up(self) -> bool:
        """Whether the time is up for the ranks of all nodes."""
        if self.left <= 0:
            self._add(self.granted())
        return self.left <= 0

    def _add(self, more: float) -> None:
        if self.more is not None:
            self.more.value = max(self.more_seconds, more)


@dataclass(frozen=True, slots=True)
class _Lines:
    """What connects the agent with one rank.

    Attributes:
        life: Both ends of a pipe whose write end the agent holds as long as it lives.
        reports: Where the agent hears how the rank ended badly.
        report: Where the rank says it.
        stacks: Both ends of a pipe into which the rank's stack is written when its time is almost up.
    """

    life: tuple[int, int]
    reports: Connection
    report: Connection
    stacks: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Report:
    """How a rank ended badly, by its own account.

    Attributes:
        rank: Which one it is.
        at: `time.time`, by which nodes agree as far as their clocks do.
        is_consequence: It only lost a peer.
    """

    rank: int
    at: float
    is_consequence: bool
    ending: Ending


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEnded:
    """How the ranks of one node ended.

    Attributes:
        values: What they returned, by rank; empty if one ended badly.
        reports: Reports of the ranks that raised, by rank.
        codes: Exit codes of those that the launcher saw end, by rank; it ended the rest.
        is_oom: The kernel has killed for lack of memory meanwhile.
        where: Where each was when the time was up; None where it was not.
        ranks: Ranks that began here.
        host: Name of the node, of several.
        more_seconds: How much longer they were waited for than was asked, because they expected to take it.
    """

    values: Mapping[int, Any]
    reports: Mapping[int, _Report]
    codes: Mapping[int, int]
    is_oom: bool = False
    where: str | None = None
    ranks: tuple[int, ...] = ()
    host: str = ""
    more_seconds: float = 0.0

    @property
    def is_consequence(self) -> bool:
        """Whether its ranks ended badly only because they lost a peer."""
        return bool(self.reports) and all(
            rank in self.reports and self.reports[rank].is_consequence for rank in (*self.reports, *self.codes)
        )


def launch(
    function: Callable[..., Any], *arguments: Any, world_size: int, timeout_seconds: float | None = None
) -> tuple[Any, ...]:
    """Run `function(*arguments)` on every rank; the launcher's environment variables tell it which one it is.

    Args:
        function: Function at the top of a module, not a closure.
        arguments: The same for every rank; they reach it by a fork, its value is pickled.
        world_size: How many ranks.
        timeout_seconds: Timeout of all of them together.

    Returns:
        The values, by rank.

    Raises:
        RanksEnded: A rank ended badly, or the time is up.
    """
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # one machine; by the host's name gloo may find no address
    # The system gives a free port, so runs side by side cannot collide.
    ended = run_ranks(function, arguments, ranks=world_size, endpoint="localhost:0", timeout_seconds=timeout_seconds)
    return values_of((ended,), world_size, timeout_seconds)


def run_ranks(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    *,
    ranks: int,
    endpoint: str,
    address: str = "localhost",
    nodes: int = 1,
    is_host: bool = True,
    run_id: str | None = None,
    timeout_seconds: float | None = None,
    granted: Callable[[], float] = lambda: 0.0,
) -> NodeEnded:
    """Run a function on so many ranks of this node, and learn how they ended; arguments as for `launch`, and these.

    The nodes meet at `endpoint`, `host:port`, which is here if `is_host`; they have one `run_id`. `address` is this
    node's, as the others reach it. `granted` tells how much longer a rank of any node expects to take.
    """
    logging.disable(logging.CRITICAL)  # the launcher's own story of a failure would push the rank's out of the tail
    kills = oom_kills()
    lines = tuple(_Lines(os.pipe(), *multiprocessing.Pipe(duplex=False), os.pipe()) for _ in range(ranks))
    config = LaunchConfig(
        min_nodes=nodes,
        max_nodes=nodes,
        nproc_per_node=ranks,
        run_id=run_id or uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint=endpoint,
        rdzv_configs={"is_host": is_host} if nodes > 1 else {},
        local_addr=address,
        max_restarts=0,
        monitor_interval=POLL_SECONDS,
        start_method="fork",  # this process has run no operation and knows no CUDA, as the server that forked it
        logs_specs=DefaultLogsSpecs(log_dir=os.devnull),
        shutdown_timeout=1,
        numa_options=NumaOptions(affinity_mode=AffinityMode.NODE) if starts_when_counted() else None,
    )
    if starts_when_counted():
        config.numa_options = None  # without a value torch would have asked for the number of devices
    patience = None
    if timeout_seconds is not None:
        more = multiprocessing.RawValue("d", 0.0) if is_waited_for() else None
        patience = _Patience(time.monotonic(), timeout_seconds, more, granted)
    values: Mapping[int, Any] = {}
    codes: Mapping[int, int] = {}
    where: str | None = None
    try:
        with _time_limit(patience):
            values = elastic_launch(config, _rank)(lines, function, arguments, patience)
    except ChildFailedError as error:
        codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
    except RendezvousError:
        if nodes == 1:
            raise
        # The node where all meet has left; its ranks know why, ours may too.
    except _TooLongError:
        where = _where(lines)
    began, reports = _heard(lines)
    return NodeEnded(
        values=values,
        reports=reports,
        codes=codes,
        is_oom=oom_kills() > kills,
        where=where,
        ranks=began,
        more_seconds=patience.more_seconds if patience else 0.0,
    )


def hosts_of(ended: Sequence[NodeEnded], world_size: int, dead_host: str = "") -> tuple[str, ...]:
    """Name the host of each rank; empty where the ranks are of one machine.

    Args:
        ended: Nodes that answered.
        world_size: Number of all ranks.
        dead_host: The node that did not answer, if there is just one: ranks that began nowhere else were its own.
    """
    known = {rank: one.host for one in ended for rank in one.ranks}
    hosts = tuple(known.get(rank, dead_host) for rank in range(world_size))
    return hosts if any(hosts) else ()


def values_of(ended: Sequence[NodeEnded], world_size: int, timeout_seconds: float | None) -> tuple[Any, ...]:
    """Join what the nodes found: the values of all ranks, by rank.

    Raises:
        RanksEnded: A rank ended badly, or the time is up.
    """
    reports = {rank: report for one in ended for rank, report in one.reports.items()}
    codes = {rank: code for one in ended for rank, code in one.codes.items()}
    where = [one.where for one in ended if one.where is not None]
    hosts = hosts_of(ended, world_size)
    if codes or (reports and not where):
        is_oom = any(one.is_oom for one in ended)
        raise RanksEnded(_judge(reports, codes, world_size, is_oom=is_oom, hosts=hosts), hosts)
    if where:
        limit = round((timeout_seconds or 0.0) + max(one.more_seconds for one in ended), 1)
        reason = f"took longer than {limit:g} s; {', '.join(where)}"
        raise RanksEnded(Ending(outcome=Outcome.TIMED_OUT, reason=reason), hosts)
    values = {rank: value for one in ended for rank, value in one.values.items()}
    return tuple(values[rank] for rank in range(world_size))


def _rank(
    lines: tuple[_Lines, ...], function: Callable[..., Any], arguments: tuple[Any, ...], patience: _Patience | None
) -> Any:
    """Be one rank: stand alone, run the function, and say so if it ends badly."""
    logging.disable(logging.NOTSET)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)  # the launcher's handlers, which a fork inherits, would wait for Python
    os.setsid()
    own = lines[int(os.environ["LOCAL_RANK"])]
    own.report.send(int(os.environ["RANK"]))
    for line in lines:
        os.close(line.life[1])
    processes.die_when_closed(own.life[0])
    outside = contextvars.copy_context()

    def look_later(seconds: float | None = None) -> None:
        """Write the stack down when the time is almost up; with `seconds` that is later than it was."""
        if seconds is not None:
            outside.run(expect, seconds)  # the process above waits, too
        if patience is not None:
            if seconds is not None:
                patience.renew(seconds)
            faulthandler.dump_traceback_later(max(0.01, patience.left - LOOK_BEFORE_SECONDS), file=own.stacks[1])

    look_later()
    pid = os.getpid()
    try:
        with waited_for(look_later) if is_waited_for() else contextlib.nullcontext():
            value = function(*arguments)
    except BaseException as error:  # noqa: BLE001 - whatever it is becomes the cell's ending
        if os.getpid() == pid:
            _say(own.report, error)
        os._exit(1)
    if os.getpid() != pid:  # the model forked, and its child came back here too
        os._exit(0)
    faulthandler.cancel_dump_traceback_later()
    # Threads that the model left must not hold the rank; the launcher has its value by then.
    multiprocessing.util.Finalize(None, os._exit, args=(0,), exitpriority=0)
    return value


def _say(report: Connection, error: BaseException) -> None:
    at = time.time()
    is_consequence = isinstance(error, RuntimeError) and any(word in str(error) for word in _LOST_PEER)
    ending = failure(error)
    with contextlib.suppress(OSError):
        report.send(_Report(int(os.environ["RANK"]), at, is_consequence, replace(ending, error=None)))
    with contextlib.suppress(ValueError, OSError):  # the model closed them
        sys.stdout.flush()
        sys.stderr.flush()
    if is_consequence:
        time.sleep(CONSEQUENCE_GRACE_SECONDS)


@contextlib.contextmanager
def _time_limit(patience: _Patience | None) -> Iterator[None]:
    """Raise `_TooLongError` when the time is up; the launcher then ends the ranks."""
    if patience is None:
        yield
        return

    def ring(_: int, __: FrameType | None) -> None:
        if patience.is_up():
            raise _TooLongError
        signal.setitimer(signal.ITIMER_REAL, max(patience.left, 0.001))

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, patience.seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _heard(lines: tuple[_Lines, ...]) -> tuple[tuple[int, ...], dict[int, _Report]]:
    """Gather which ranks began here, and what they said of their ends."""
    said: list[int | _Report] = []
    for line in lines:
        with contextlib.suppress(EOFError, OSError):
            while line.reports.poll():
                said.append(line.reports.recv())
    reports = {one.rank: one for one in said if isinstance(one, _Report)}
    return tuple(one for one in said if isinstance(one, int)), reports


def _judge(
    reports: Mapping[int, _Report],
    codes: Mapping[int, int],
    world_size: int,
    *,
    is_oom: bool,
    hosts: Sequence[str] = (),
) -> Ending:
    """Describe how the cell ended: by a rank that died without a word, else by the first that said why.

    By rank are the reports of those that raised, exit codes of those the launcher saw end (see `NodeEnded`), and the
    hosts, of several nodes.
    """

    def named(rank: int, reason: str | None) -> str:
        host = f" on {hosts[rank]}" if hosts and hosts[rank] else ""
        return f"rank {rank} of {world_size}{host}: {reason}"

    silent = {rank: code for rank, code in codes.items() if rank not in reports}
    for rank, code in silent.items():
        outcome, reason = how_it_died(code, is_oom=is_oom and code == -signal.SIGKILL)
        return Ending(outcome=outcome, reason=named(rank, reason))
    first = min(reports, key=lambda rank: (reports[rank].is_consequence, reports[rank].at))
    ending = reports[first].ending
    return replace(ending, reason=named(first, ending.reason))


def _where(lines: tuple[_Lines, ...]) -> str:
    """Return where each rank was when its time was almost up; one that did not only wait for others stands first."""
    waiting: list[str] = []
    busy: list[str] = []
    for rank, line in enumerate(lines):
        os.set_blocking(line.stacks[0], False)
        try:
            text = os.read(line.stacks[0], _PIPE_BYTES).decode(errors="replace")
        except BlockingIOError:
            text = ""
        frames = _FRAME.findall(text.rpartition("most recent call first):")[2])  # the main thread stands last
        if not frames:
            busy.append(f"rank {rank} of {len(lines)} had ended or not begun")
            continue
        path, number, name = next((frame for frame in frames if "/torch/" not in frame[0]), frames[0])
        is_waiting = "/torch/distributed/" in frames[0][0] or "/torch/autograd/" in frames[0][0]
        place = f"rank {rank} of {len(lines)} was in {name} ({Path(path).name}:{number})"
        (waiting if is_waiting else busy).append(place)
    return ", ".join([*busy, *waiting])
