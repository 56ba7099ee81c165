"""A real PostgreSQL in a folder of its own, on a Unix socket only. On Debian: `apt-get install postgresql`.

Its programs refuse to run as root, and pytest's temporary folders are closed to others: root starts it as another user,
in a folder directly below the system's temporary one.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("initdb", "postgres", "pg_isready")
START_SECONDS = 60


def search_path() -> str:
    """PATH, and where Debian keeps what it leaves out of PATH; the newest version first."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name), reverse=True)
    return os.pathsep.join([os.environ.get("PATH", ""), *map(str, folders)])


def missing_programs() -> list[str]:
    return [program for program in PROGRAMS if shutil.which(program, path=search_path()) is None]


@contextlib.contextmanager
def running_server() -> Iterator[str]:
    """Start a server; give the URL of its database, which needs no password."""
    folder = Path(tempfile.mkdtemp(prefix="stepbench-pg-"))
    user = _user()
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    server = None
    try:
        options = ["--username=bench", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"]
        done = subprocess.run(_command("initdb", f"--pgdata={folder}/data", *options), **_as(user, folder))
        assert done.returncode == 0, done.stdout
        settings = ["listen_addresses=", f"unix_socket_directories={folder}", "fsync=off", "synchronous_commit=off"]
        flags = [word for setting in settings for word in ("-c", setting)]
        with (folder / "log").open("wb") as log:
            started = {**_as(user, folder), "stdout": log}
            server = subprocess.Popen(_command("postgres", "-D", f"{folder}/data", *flags), **started)
        _wait(server, folder)
        yield f"postgresql://bench@/postgres?host={folder}"
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)  # "fast": it does not wait for clients
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(START_SECONDS)
            if server.poll() is None:
                server.kill()
                server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait(server: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while subprocess.run(_command("pg_isready", "-q", "-h", str(folder))).returncode != 0:
        assert server.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < deadline, (folder / "log").read_text()
        time.sleep(0.05)


def _command(program: str, *arguments: str) -> list[str]:
    found = shutil.which(program, path=search_path())
    assert found is not None
    return [found, *arguments]


def _user() -> pwd.struct_passwd | None:
    """Whom root lets run it; None where this is not root."""
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("postgres")
    return pwd.getpwnam("nobody")


def _as(user: pwd.struct_passwd | None, folder: Path) -> dict:
    options: dict = {"cwd": folder, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    if user is not None:
        options |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    return options
