from __future__ import annotations

from pathlib import Path

from bench.device.cpu import available_bytes, container_bytes, free_bytes

MEMINFO = "MemTotal:       24000000 kB\nMemFree:         1000000 kB\nMemAvailable:   20000000 kB\n"


def test_what_the_kernel_could_hand_out_is_read_not_what_is_unused(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text(MEMINFO)
    assert available_bytes(tmp_path / "meminfo") == 20_000_000 * 1024
    assert available_bytes(tmp_path / "nowhere") is None


def test_a_container_s_limit_leaves_what_is_not_used_and_file_pages_can_go(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    (tmp_path / "memory.stat").write_text("anon 300000\ninactive_file 50000\n")
    assert container_bytes(tmp_path) == 650_000


def test_no_limit_is_none(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("400000\n")
    (tmp_path / "memory.stat").write_text("")
    assert container_bytes(tmp_path) is None
    assert container_bytes(tmp_path / "nowhere") is None


def test_this_machine_has_some_memory_free() -> None:
    free = free_bytes("cpu")
    assert free is not None
    assert 0 < free <= (available_bytes(Path("/proc/meminfo")) or free) * 2
