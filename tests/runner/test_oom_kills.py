from pathlib import Path

import pytest

from bench.device.cpu import oom_kills


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def machine(tmp_path: Path) -> tuple[Path, Path]:
    """A machine whose kernel has killed 7 processes, and that has no control groups yet."""
    write(tmp_path / "proc" / "vmstat", "nr_free_pages 1\noom_kill 7\noom_kill_x 9\n")
    return tmp_path / "proc", tmp_path / "cgroup"


def test_without_control_groups_the_machine_counts(machine: tuple[Path, Path]) -> None:
    assert oom_kills(*machine) == 7


@pytest.mark.parametrize(
    ("membership", "file"),
    [
        ("0::/user/job", "user/job/memory.events"),
        ("0::/host/path/of/the/container", "memory.events"),
        ("5:cpu,cpuacct:/a\n4:memory:/job\n0::/", "memory/job/memory.oom_control"),
    ],
    ids=["version 2", "version 2 in a container", "version 1"],
)
def test_the_count_of_the_own_group_goes_first(machine: tuple[Path, Path], membership: str, file: str) -> None:
    proc, cgroup = machine
    write(proc / "self" / "cgroup", membership + "\n")
    write(cgroup / file, "oom 5\noom_kill 2\noom_group_kill 0\n")
    assert oom_kills(proc, cgroup) == 2


def test_a_kernel_that_does_not_count_reads_as_zero(tmp_path: Path) -> None:
    assert oom_kills(tmp_path, tmp_path) == 0


def test_this_machine_can_be_read() -> None:
    assert oom_kills() >= 0
