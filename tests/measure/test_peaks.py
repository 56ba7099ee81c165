from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
import torch

from bench.core.peaks import ProbeKind
from bench.core.precision import Arithmetic
from bench.device.cpu import CpuBackend, last_level_cache_bytes
from bench.measure import peaks
from bench.measure.peaks import probe_memory, probe_products
from bench.measure.window import Unwatched
from tests.fakes.clock import FakeClock

GPU_ONLY = [Arithmetic.TF32, Arithmetic.FP8]


class SteadyClock(FakeClock):
    """Every marked run took 0.5 s (times `scale`), the first of a block a quarter more."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale

    def mark(self) -> None:
        self.advance(self.scale * (0.5 if len(self._marks) > 1 else 0.625))
        super().mark()


def test_products_are_counted_as_two_n_cubed() -> None:
    probes, skipped = probe_products("cpu", 0.001, sizes=(64,), window=Unwatched(SteadyClock()))
    assert [probe.arithmetic for probe in probes] == [one for one in Arithmetic if one not in GPU_ONLY]
    for probe in probes:
        assert probe.work == 2 * 64**3
        assert probe.best_per_second == 2 * 64**3 / 0.5
        assert probe.median_per_second == 2 * 64**3 / 0.5
        assert probe.n >= 5
    assert [arithmetic for arithmetic, _ in skipped] == GPU_ONLY


@pytest.mark.parametrize(
    ("scale", "seconds", "sizes", "reason"),
    [
        # 0.5 s for 8 rows is 4 s for one product of 16: not tried at all.
        (1.0, 1e-9, [8], "products of 16 rows take too long; try --seconds 2s"),
        # It may take 4 s of 4.2 s. It is tried, takes 0.625 s, and seven of them would take 4.375 s.
        (2**-10, 1.4 * 2**-10, [8], "products of 16 rows take too long; try --seconds 1s"),
        # Seven take 4.375 s of 4.5 s.
        (2**-10, 1.5 * 2**-10, [8, 16], None),
    ],
)
def test_one_product_decides_whether_a_size_is_probed(
    scale: float, seconds: float, sizes: list[int], reason: str | None
) -> None:
    probes, skipped = probe_products("cpu", seconds, sizes=(8, 16), window=Unwatched(SteadyClock(scale)))
    assert [probe.size for probe in probes] == sizes * 4
    assert dict(skipped).get(Arithmetic.FP32) == dict(skipped).get(Arithmetic.BF16) == reason


def test_fp8_is_multiplied_with_scales_where_the_device_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CpuBackend, "lacks", lambda *_: None)
    multiply = mock.Mock(side_effect=lambda a, b, **_: a.float() @ b.float())  # the kernel, which not every CPU has
    monkeypatch.setattr(torch, "_scaled_mm", multiply)
    probes, _ = probe_products("cpu", 0.001, sizes=(64,), window=Unwatched(SteadyClock()))
    assert {"scale_a", "scale_b"} <= multiply.call_args.kwargs.keys()
    assert multiply.call_args.kwargs["use_fast_accum"] is True  # else Hopper's units are not at their rate
    found = [probe for probe in probes if probe.arithmetic is Arithmetic.FP8]
    assert [probe.work for probe in found] == [2 * 64**3]


def test_torch_without_a_kernel_for_fp8_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CpuBackend, "lacks", lambda *_: None)
    monkeypatch.setattr(torch, "_scaled_mm", mock.Mock(side_effect=RuntimeError("only on sm89\nstack")))
    _, skipped = probe_products("cpu", 0.001, sizes=(8,), window=Unwatched(SteadyClock()))
    assert dict(skipped)[Arithmetic.FP8] == "torch._scaled_mm cannot here: only on sm89"


def test_memory_probes_count_what_the_program_reads_and_writes() -> None:
    copy, triad = probe_memory("cpu", 0.001, array_bytes=4096, window=Unwatched(SteadyClock()))
    assert (copy.kind, copy.work, triad.kind, triad.work) == (ProbeKind.COPY, 2 * 4096, ProbeKind.TRIAD, 3 * 4096)
    assert triad.best_per_second == 3 * 4096 / 0.5


def test_a_first_product_that_loads_a_library_is_no_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """An accelerator idles meanwhile, and its clock stays low (A5)."""
    clock, first, runs = FakeClock(), iter([60.0]), []

    def run() -> None:
        clock.advance(next(first, 2**-6))
        runs.append(clock.now)

    monkeypatch.setattr(peaks, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    taken = list(peaks._time(run, 3.0, Unwatched(clock)))
    assert len(runs) - len(taken) == 1 + 64  # a third of the time
    assert set(taken) == {2**-6}


def test_global_switches_are_as_before() -> None:
    before = torch.backends.mkldnn.matmul.fp32_precision, torch.get_rng_state()
    probe_products("cpu", 0.001, sizes=(8,), window=Unwatched(SteadyClock()))
    assert torch.backends.mkldnn.matmul.fp32_precision == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


@pytest.mark.parametrize(("sizes", "largest"), [(("32K", "1024K", "33M"), 33 * 2**20), (("512",), 512), ((), 0)])
def test_the_largest_cache_is_found(sizes: tuple[str, ...], largest: int, tmp_path: Path) -> None:
    for index, size in enumerate(sizes):
        (tmp_path / f"index{index}").mkdir()
        (tmp_path / f"index{index}" / "size").write_text(f"{size}\n")
    assert last_level_cache_bytes(tmp_path) == largest


@pytest.mark.gpu
def test_tensor_cores_are_faster_than_fp32_on_a_gpu() -> None:
    probes, _ = probe_products("cuda:0", 0.2, sizes=(4096,))
    best = {probe.arithmetic: probe.best_per_second for probe in probes}
    assert best[Arithmetic.BF16] > 2 * best[Arithmetic.FP32]
