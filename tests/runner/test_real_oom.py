"""The kernel's out-of-memory killer, for real: in a control group of the test's own, with a limit.

The group is made below the one this process is in, so nothing outside it can be killed, and no limit is lifted. Where
groups cannot be made (no root, a read-only tree, cgroup 2 without delegation) the test is skipped with the reason.
"""

import contextlib
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.runner.watching import LIGHT, ROOT, wait_for

LIMIT_BYTES = 192 << 20


@pytest.fixture
def group():
    """A memory control group with a limit, as version 1 has it."""
    line = next((x for x in Path("/proc/self/cgroup").read_text().splitlines() if "memory" in x.split(":")[1]), None)
    if line is None:
        pytest.skip("no version 1 memory control group: version 2 lets only a delegated tree have new ones")
    path = Path("/sys/fs/cgroup/memory") / line.split(":", 2)[2].lstrip("/") / f"stepbench-{uuid.uuid4().hex[:8]}"
    try:
        path.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error.strerror}")
    try:
        (path / "memory.limit_in_bytes").write_text(str(LIMIT_BYTES))
        with contextlib.suppress(OSError):  # else swap would take what the limit refuses
            (path / "memory.memsw.limit_in_bytes").write_text(str(LIMIT_BYTES))
        yield path
    finally:
        wait_for(lambda: not (path / "cgroup.procs").read_text())
        path.rmdir()


def test_the_kernels_killer_is_told_from_any_other_sigkill(group):
    """Parent, server and worker are in the group; the worker is by far the largest, so the kernel takes that one."""
    code = (
        f"open({str(group / 'cgroup.procs')!r}, 'w').write('0'); {LIGHT}"
        "ending = processes.call('tests.runner.faults:fill_memory'); print(ending.outcome.value, ending.reason)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.stdout.startswith("out_of_memory the kernel killed the worker because memory ran out"), done
    assert "oom_kill 1" in (group / "memory.oom_control").read_text()
    assert os.getpid() not in map(int, (group / "cgroup.procs").read_text().split())
