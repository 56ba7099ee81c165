"""A function on ranks of several nodes of a Slurm job: `srun` starts one agent per node, which launches its ranks.

    launch_on_nodes     writes call.pickle into a folder that all nodes see, runs srun, joins what the agents found
    python -m bench.runner.workers.nodes FOLDER
                        an agent: reads it, meets the others by torch's own rendezvous on the first node, runs the ranks
                        of its node (`run_ranks`), writes how they ended

An agent always ends well: what befell its ranks is in its file. A node without a file is one that died; another file,
written when the agent began, tells its name. What a rank expects to take, beyond the usual, is in a file of its own,
which the first node looks for now and then: nobody is given up because steps are long.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
import shutil
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from bench.core.progress import expect, is_waited_for, waited_for
from bench.core.record import Outcome
from bench.runner.endings import Ending
from bench.runner.slurm.script import NODES_FOLDER_VARIABLE
from bench.runner.workers.launch import NodeEnded, RanksEnded, hosts_of, run_ranks, values_of


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """What every agent reads."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    nodes: int
    ranks: int
    port: int
    run_id: str
    timeout_seconds: float | None
    is_waited_for: bool


def host_name() -> str:
    """Name this node as Slurm does, else as it names itself."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def launch_on_nodes(
    function: Callable[..., Any], *arguments: Any, nodes: int, ranks: int, timeout_seconds: float | None = None
) -> tuple[Any, ...]:
    """Run a function on so many ranks of each of so many nodes; as `launch`, in the first node's batch script.

    Raises:
        RanksEnded: A rank or a node ended badly, or the time is up.
    """
    folder = Path(os.environ[NODES_FOLDER_VARIABLE]) / uuid.uuid4().hex
    folder.mkdir(parents=True, mode=0o700)  # what lies there is unpickled: nobody else may write into it
    try:
        call = _Call(
            function=function,
            arguments=arguments,
            nodes=nodes,
            ranks=ranks,
            port=_free_port(),
            run_id=folder.name,
            timeout_seconds=timeout_seconds,
            is_waited_for=is_waited_for(),
        )
        (folder / "call.pickle").write_bytes(pickle.dumps(call))
        code = _srun(folder, nodes)
        ended = {node: _read(folder, node) for node in range(nodes)}
        hosts = {node: _read_host(folder, node) for node in range(nodes)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    found = [one for one in ended.values() if one is not None]
    dead = [node for node, one in ended.items() if one is None]
    if dead and all(one.is_consequence or not (one.reports or one.codes) for one in found):
        host = hosts[dead[0]]
        which = f"node {dead[0] + 1} of {nodes}{f' ({host})' if host else ''}" if found else "every node"
        reason = f"{which} ended without a word; srun's exit code is {code}"
        ending = Ending(outcome=Outcome.KILLED if found else Outcome.FAILED, reason=reason)
        raise RanksEnded(ending, hosts_of(found, nodes * ranks, host if len(dead) == 1 else ""))
    return values_of(found, nodes * ranks, timeout_seconds)


def _srun(folder: Path, nodes: int) -> int:
    """Start the agents and wait until all have ended."""
    cpus = os.environ.get("SLURM_CPUS_PER_TASK")
    command = [
        "srun",
        f"--nodes={nodes}",
        f"--ntasks={nodes}",
        "--ntasks-per-node=1",
        "--overlap",
        "--input=none",
        "--cpu-bind=none",
        "--kill-on-bad-exit=0",  # an agent that is left alone says what it saw
        "--wait=0",
        *([f"--cpus-per-task={cpus}"] if cpus else []),
        sys.executable,
        "-m",
        __spec__.name,
        str(folder),
    ]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            if is_waited_for():
                _listen(folder, _end_of(process))
            return process.wait()
        finally:
            process.terminate()


LOOK_SECONDS = 5.0
"""How often the first node looks for what ranks expect, while one of them may be timing beside it."""

_EXPECTED, _GRANTED = ".expected", "granted"


def _end_of(process: subprocess.Popen[bytes]) -> threading.Event:
    """Return what is set when a process has ended; `wait` with a timeout would wake this one 20 times a second."""
    end = threading.Event()

    def wait() -> None:
        process.wait()
        end.set()

    threading.Thread(target=wait, daemon=True).start()
    return end


def _listen(folder: Path, end: threading.Event) -> None:
    """Pass on what the ranks of all nodes expect to take, to who waits here and to every node, until the end."""
    began, granted = time.monotonic(), 0.0
    heard: dict[str, str] = {}
    while not end.wait(LOOK_SECONDS):
        for path in folder.glob(f"*{_EXPECTED}"):
            with contextlib.suppress(OSError):  # of a network file system, which a file was replaced on
                said = path.read_text(encoding="utf-8")
                if heard.get(path.name) != said:
                    heard[path.name] = said
                    seconds = float(said.split()[1])
                    expect(seconds)
                    granted = max(granted, time.monotonic() - began + seconds)
                    _write(folder / _GRANTED, f"{granted}".encode())


def _tell(folder: Path, seconds: float) -> None:
    """Write what a rank expects; its time makes the same expectation a new one."""
    with contextlib.suppress(OSError):  # nothing that is measured depends on it
        _write(folder / f"{os.environ['RANK']}{_EXPECTED}", f"{time.monotonic()} {seconds}".encode())


def _granted(folder: Path) -> float:
    """Return how much longer than asked the ranks of all nodes are waited for."""
    with contextlib.suppress(OSError):
        return float((folder / _GRANTED).read_text(encoding="utf-8"))
    return 0.0


def _write(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all."""
    partial = path.with_name(f"{path.name}.part")
    partial.write_bytes(data)
    partial.rename(path)


def _read(folder: Path, node: int) -> NodeEnded | None:
    path = folder / f"{node}.pickle"
    if not path.is_file():
        return None
    ended: NodeEnded = pickle.loads(path.read_bytes())
    return ended


def _read_host(folder: Path, node: int) -> str:
    path = folder / f"{node}.host"
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("", 0))
        port: int = one.getsockname()[1]
        return port


def _address_towards(host: str) -> str:
    """Return the address by which this node reaches another one; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect((host, 1))
        address: str = one.getsockname()[0]
        return address


def _interface_of(address: str) -> str | None:
    """Name the interface that has an address: gloo would take that of the host's name, which may be loopback."""
    return next((n for n, found in psutil.net_if_addrs().items() if any(a.address == address for a in found)), None)


def main(folder: Path) -> None:
    """Be the agent of one node."""
    call: _Call = pickle.loads((folder / "call.pickle").read_bytes())
    node, host = int(os.environ["SLURM_NODEID"]), os.environ["SLURM_LAUNCH_NODE_IPADDR"]
    (folder / f"{node}.host").write_text(host_name(), encoding="utf-8")
    address = _address_towards(host)
    if (interface := _interface_of(address)) is not None:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
    patience = waited_for(functools.partial(_tell, folder)) if call.is_waited_for else contextlib.nullcontext()
    with patience:
        ended = run_ranks(
            call.function,
            call.arguments,
            ranks=call.ranks,
            endpoint=f"{host}:{call.port}",
            address=address,
            nodes=call.nodes,
            is_host=node == 0,
            run_id=call.run_id,
            timeout_seconds=call.timeout_seconds,
            granted=functools.partial(_granted, folder),
        )
    where = None if ended.where is None else f"on {host_name()} {ended.where}"
    _write(folder / f"{node}.pickle", pickle.dumps(replace(ended, where=where, host=host_name())))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
