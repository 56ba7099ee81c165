from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from bench.device.cpu import CpuBackend, available_bytes, container_bytes, read_counters


def test_what_the_kernel_could_hand_out_is_read_not_what_is_unused(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = SimpleNamespace(available=20_000, free=1_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    assert available_bytes() == 20_000


def test_a_system_that_does_not_tell_gives_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise FileNotFoundError("/proc/meminfo")

    for name in ("virtual_memory", "cpu_times"):
        monkeypatch.setattr(psutil, name, refuse)
    assert available_bytes() is None
    reading = read_counters()
    assert (reading.busy_seconds, reading.total_seconds, reading.steal_seconds) == (None, None, None)
    assert reading.own_seconds > 0


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
    free = CpuBackend().free_bytes()
    assert free is not None
    assert 0 < free <= (available_bytes() or free) * 2
