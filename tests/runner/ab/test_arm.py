"""Real workers, without torch: whatever ends them, they are gone, and the reason is said."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.core.cell import Cell
from bench.core.errors import BenchError
from bench.runner.ab.arm import PLACING_VARIABLES, ArmDiedError, ArmError, LiveArm, TimeUpError, worker_environment
from bench.runner.ab.servers import ForkServer, Servers, servers_for
from bench.runner.ab.sides import Side
from bench.runner.ab.stages import Settings

StartWorker = Callable[..., LiveArm]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    """One for all tests, whose threads are placed: it imports torch for seconds."""
    folder = tmp_path_factory.mktemp("server")
    with pytest.MonkeyPatch.context() as patch:
        for name in PLACING_VARIABLES:
            patch.delenv(name, raising=False)
        one = ForkServer(Side(name="head", given=".", folder=folder, root=folder), is_bound=True)
    with contextlib.closing(one):
        yield one


@pytest.fixture(params=["fresh", "forked"])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StartWorker]:
    arms: list[LiveArm] = []

    def make(side: Side | None = None, **options: float) -> LiveArm:
        side = side or Side(name="head", given=".", folder=tmp_path, root=tmp_path)
        server = request.getfixturevalue("server") if request.param == "forked" else None
        arms.append(LiveArm(side, server=server, **options))
        return arms[-1]

    yield make
    for arm in arms:
        arm.close()


def is_running(pid: int) -> bool:
    """Whether a process exists and is not a zombie that only waits to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_worker_answers_and_is_gone_after_close(start: StartWorker) -> None:
    arm = start()
    arm.free()
    assert is_running(arm.pid)
    arm.close()
    assert not is_running(arm.pid)
    arm.close()


@pytest.mark.parametrize(
    ("is_bound", "own", "places"),
    [
        (True, {}, "cores"),
        (False, {}, None),
        (True, {"GOMP_CPU_AFFINITY": "0"}, None),
        (True, {"OMP_PLACES": "{0}"}, "{0}"),
    ],
)
def test_a_timed_workers_threads_are_placed_unless_the_user_did(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_bound: bool, own: dict[str, str], places: str | None
) -> None:
    for name in PLACING_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    side = Side(name="head", given=".", folder=tmp_path, root=tmp_path)
    environment = worker_environment(side, is_bound=is_bound)
    assert environment.get("OMP_PLACES") == places
    assert ("OMP_PROC_BIND" in environment) == (is_bound and not own)


def test_a_worker_has_the_variables_that_place_its_threads(start: StartWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PLACING_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    arm = start(is_bound=True)
    arm.free()
    assert b"OMP_PLACES=cores" in Path(f"/proc/{arm.pid}/environ").read_bytes().split(b"\0")


def test_a_forked_worker_that_only_looks_finds_what_a_fresh_one_finds(
    server: ForkServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in PLACING_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    side = Side(name="head", given=".", folder=tmp_path, root=tmp_path)
    found = []
    for arm in (LiveArm(side), LiveArm(side, server=server)):
        with contextlib.closing(arm):
            found.append(arm.describe(["cpu"], []).environments)
    assert found[0] == found[1], "the server's threads are bound, which neither cores nor variables may show"


def test_servers_bind_threads_where_all_cells_run_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[bool] = []
    monkeypatch.setattr(Servers, "renew", lambda servers: ended.append(servers.is_bound))
    auto, on_cpu, on_gpu = (Cell(model="net", batch_size=1, device=device) for device in ("auto", "cpu", "cuda:0"))
    servers = servers_for({}, (auto, on_cpu), Settings(), 0.0)
    assert servers.is_bound
    servers.bind((on_cpu,), Settings())
    assert not ended
    servers.bind((on_cpu, on_gpu), Settings())
    assert ended == [True]
    assert not servers.is_bound
    assert not servers_for({}, (on_gpu,), Settings(), 0.0).is_bound
    assert not servers_for({}, (on_cpu,), Settings(binds_threads=False), 0.0).is_bound


def test_a_killed_worker_is_an_error_that_names_the_signal(start: StartWorker) -> None:
    arm = start()
    arm.free()
    os.kill(arm.pid, signal.SIGKILL)
    with pytest.raises(ArmDiedError, match=r"head: the worker was killed by SIGKILL; the kernel kills so"):
        arm.free()


def test_a_worker_that_hangs_is_given_up(start: StartWorker) -> None:
    arm = start(answer_seconds=0.2)
    os.kill(arm.pid, signal.SIGSTOP)
    with pytest.raises(ArmDiedError, match=r"no answer within 0.2 s"):
        arm.free()
    arm.close()
    assert not is_running(arm.pid)


@pytest.mark.parametrize("start", ["fresh"], indirect=True)  # a server that was not waited for serves no other test
def test_a_worker_is_waited_for_no_longer_than_the_budget(start: StartWorker) -> None:
    with pytest.raises(TimeUpError, match=r"the budget ended before head was ready.*; give --budget more time"):
        start(deadline=time.monotonic()).hello()


def test_a_server_that_imports_is_waited_for_no_longer_than_the_budget(tmp_path: Path) -> None:
    hanging = tmp_path / "python"
    hanging.write_text("#!/bin/sh\nexec sleep 1000\n")
    hanging.chmod(0o755)
    side = Side(name="base", given=".", folder=tmp_path, root=tmp_path, python=str(hanging))
    servers = Servers({"base": side}, is_bound=False, forks=True, deadline=time.monotonic())
    with servers:
        with pytest.raises(TimeUpError, match="the budget ended before base was ready"):
            servers.start("base")
        with pytest.raises(BenchError, match="the server of the workers has ended"):
            servers.start("base")


def test_an_interpreter_without_our_needs_says_what_it_lacks(tmp_path: Path) -> None:
    lying = tmp_path / "python"
    lying.write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'torch'\" >&2\nexit 1\n")
    lying.chmod(0o755)
    side = Side(name="base", given=".", folder=tmp_path, root=tmp_path, python=str(lying))
    lacks = "ModuleNotFoundError.*torch"
    with contextlib.closing(LiveArm(side)) as arm, pytest.raises(ArmDiedError, match=f"base: .* code 1: {lacks}"):
        arm.hello()
    server = ForkServer(side, is_bound=False)
    with contextlib.closing(server), pytest.raises(BenchError, match=f"base: the server .* has ended: {lacks}"):
        LiveArm(side, server=server)


def test_an_interpreter_without_stepbench_is_given_ours_alone(tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    side = Side(name="base", given=".", folder=tmp_path, root=tmp_path, python=str(tmp_path / "env" / "bin" / "python"))
    with contextlib.closing(LiveArm(side)) as arm:
        arm.free()
        with pytest.raises(ArmError, match="ModuleNotFoundError: No module named 'torch'"):
            arm.hello()


@pytest.mark.slow
def test_forked_workers_have_the_environment_of_their_side(tmp_path: Path) -> None:
    sides = {}
    for name in ("base", "head"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "net.py").write_text(
            "import os, sys, torch\n"
            "DYNAMO = 'torch._dynamo'\n"
            "here = os.path.dirname(os.path.abspath(__file__))\n"
            "raise ImportError(f'{os.getcwd() == here} {os.environ.get(\"STEPBENCH_MODELS\")} {os.getppid()} '\n"
            "                  f'{torch.cuda.is_initialized()} {os.getpgid(0) == os.getpid()} '\n"
            "                  f'{DYNAMO in sys.modules}')\n"
        )
        folder = tmp_path / name
        sides[name] = Side(name=name, given=".", folder=folder, root=folder, models=folder)
    said = {}
    with Servers(sides, is_bound=False, forks=True) as servers:
        for name in sides:
            with contextlib.closing(servers.start(name)) as arm, pytest.raises(ArmError) as error:
                arm.build(Cell(model="net.py:Net", batch_size=1))
            said[name] = str(error.value).partition("ImportError: ")[2].split()
        server = said["base"][2]
        servers.renew()
        with contextlib.closing(servers.start("base")) as arm, pytest.raises(ArmError) as error:
            arm.build(Cell(model="net.py:Net", batch_size=1))
        assert str(error.value).partition("ImportError: ")[2].split()[2] != server
    for name, side in sides.items():
        assert said[name] == ["True", str(side.models), server, "False", "True", "True"]
    assert not is_running(int(server))


def test_ctrl_c_while_a_worker_is_started_leaves_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started = []
    start = LiveArm._start

    def interrupted(arm: LiveArm, requests: int, answers: int) -> subprocess.Popen[bytes]:
        started.append(start(arm, requests, answers))
        signal.raise_signal(signal.SIGINT)  # to this thread, so it is here that it arrives
        return started[-1]

    monkeypatch.setattr(LiveArm, "_start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        LiveArm(Side(name="base", given=".", folder=tmp_path, root=tmp_path))
    assert started[0].returncode == -signal.SIGKILL


def test_ctrl_c_is_left_to_the_parent(start: StartWorker) -> None:
    arm = start()
    arm.free()
    os.kill(arm.pid, signal.SIGINT)
    arm.free()


@pytest.mark.slow
def test_what_a_worker_started_ends_with_it(start: StartWorker, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n"
        "raise ImportError('enough')\n"
    )
    arm = start()
    with pytest.raises(ArmError, match=r"importing net.py \(line 4\) raised ImportError: enough"):
        arm.build(Cell(model="net.py:Net", batch_size=1))
    child = int((tmp_path / "pid").read_text())
    assert is_running(child)
    arm.close()
    assert _ends(child)


@pytest.mark.parametrize("is_forked", [False, True])
def test_no_worker_outlives_a_parent_that_is_killed(tmp_path: Path, is_forked: bool) -> None:
    script = (
        "import sys, time; from pathlib import Path\n"
        "from bench.runner.ab.arm import LiveArm; from bench.runner.ab.sides import Side\n"
        "from bench.runner.ab.servers import ForkServer\n"
        "here = Path(sys.argv[1]); side = Side(name='base', given='.', folder=here, root=here)\n"
        f"arm = LiveArm(side, server=ForkServer(side, is_bound=False) if {is_forked} else None); arm.free()\n"
        "print(arm.pid, flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert is_running(worker)
        parent.kill()
    assert _ends(worker)


@pytest.mark.parametrize("start", ["forked"], indirect=True)  # both kinds look in the same way
def test_modules_of_the_users_own_checkout_are_refused(start: StartWorker, tmp_path: Path) -> None:
    checkout, tree = tmp_path / "checkout", tmp_path / "tree"
    checkout.mkdir()
    tree.mkdir()
    (checkout / "mine.py").write_text("")
    (tree / "net.py").write_text(
        f"import sys\nsys.path.append({str(checkout)!r})\nimport mine\nfrom torch.nn import Identity as Net\n"
    )
    arm = start(side=Side(name="base", given="HEAD", folder=tree, root=tree, foreign=checkout))
    with pytest.raises(ArmError, match=r"module 'mine' came from .*checkout/mine.py, not from this side's tree"):
        arm.build(Cell(model="net.py:Net", batch_size=1, input_shape=(1,)))


@pytest.mark.parametrize("start", ["forked"], indirect=True)  # both kinds raise in the same way
def test_an_error_names_the_revision_and_not_its_temporary_checkout(start: StartWorker, tmp_path: Path) -> None:
    cell = Cell(model="net.py:Net", batch_size=1, input_shape=(1,))
    for given, words in (("v1.0", "no file 'net.py' in v1.0"), ("ab" * 20, "no file 'net.py' in ababababa")):
        arm = start(side=Side(name="base", given=given, commit="ab" * 20, folder=tmp_path, root=tmp_path))
        with pytest.raises(ArmError, match=f"{words}$"):
            arm.build(cell)
    arm = start(side=Side(name="base", given="here", folder=tmp_path, root=tmp_path))
    with pytest.raises(ArmError, match=f"no file 'net.py' in {tmp_path}"):
        arm.build(cell)


def _ends(pid: int) -> bool:
    """Wait until a process that is not our child has ended; its end makes the descriptor readable."""
    import select

    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], 10)[0])
    finally:
        os.close(descriptor)
