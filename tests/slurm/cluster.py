"""A real Slurm on loopback, in a folder of its own: one controller, and two nodes that are both this machine.

On Debian: `apt-get install --no-install-recommends slurmctld slurmd slurm-client`. No munge, no accounting, no cgroups;
memory is watched by polling once a second.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "scontrol", "squeue", "scancel")
SEARCH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
START_SECONDS = 30

CONFIG = """
ClusterName=bench
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=sched_interval=1,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=CANCEL
KillWait=5
ReturnToService=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdParameters=config_overrides
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4 RealMemory=16000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=4 RealMemory=16000
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=9
"""


def missing_programs() -> list[str]:
    return [program for program in PROGRAMS if shutil.which(program, path=SEARCH) is None]


class Cluster:
    """A Slurm that runs; clients find it by SLURM_CONF."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "slurm.conf"
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        for name in ("state", "spool-n1", "spool-n2"):
            (self.folder / name).mkdir()
        host = socket.gethostname().partition(".")[0]
        values = {"folder": self.folder, "user": getpass.getuser(), "host": host, "ports": _free_ports(3)}
        self.config.write_text(CONFIG.format(**values))
        self._launch("slurmctld", "-D")
        self._launch("slurmd", "-D", "-N", "n1")
        self._launch("slurmd", "-D", "-N", "n2")
        wait_for(lambda: self.ask("sinfo", "-h", "-o", "%t %D") == "idle 2", "two idle nodes", START_SECONDS, self.logs)

    def forget_all_jobs(self) -> None:
        """Restart the controller without its memory, as if `MinJobAge` were long past."""
        self._stop("slurmctld -D")
        self._launch("slurmctld", "-D", "-c")
        wait_for(lambda: self.ask("sinfo", "-h", "-o", "%t %D") == "idle 2", "two idle nodes", START_SECONDS, self.logs)

    def stop(self) -> None:
        self.ask("scancel", "--user", getpass.getuser())
        with contextlib.suppress(TimeoutError):
            wait_for(lambda: not self.ask("squeue", "-h"), "an empty queue", 20)
        for command in tuple(self._daemons):
            self._stop(command)

    def ask(self, *command: str) -> str:
        """Run a command of Slurm and return what it printed."""
        environment = os.environ | {"SLURM_CONF": str(self.config)}
        return subprocess.run(command, capture_output=True, text=True, env=environment).stdout.strip()

    def logs(self) -> str:
        return "\n".join(f"{path.name}: {path.read_text()[-2000:]}" for path in self.folder.glob("*.log"))

    def _launch(self, program: str, *options: str) -> None:
        path = shutil.which(program, path=SEARCH)
        assert path is not None
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        command = [path, "-f", str(self.config), *options]
        self._daemons[" ".join((program, *options))] = subprocess.Popen(command, **quiet)

    def _stop(self, command: str) -> None:
        daemon = self._daemons.pop(command, None)
        if daemon is None:
            return
        daemon.send_signal(signal.SIGTERM)
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


@contextlib.contextmanager
def running_cluster(folder: Path) -> Iterator[Cluster]:
    """Start a Slurm, and stop it whatever happens."""
    cluster = Cluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def wait_for(is_true: Callable[[], object], what: str, seconds: float, explain: Callable[[], str] = lambda: "") -> None:
    """Ask again and again; nothing of Slurm tells by itself."""
    end = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > end:
            raise TimeoutError(f"no {what} after {seconds:g} s\n{explain()}")
        time.sleep(0.2)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
