from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.core.peaks import Arithmetic, ProbeKind
from bench.device.cpu import last_level_cache_bytes
from bench.measure.peaks import probe_memory, probe_products
from tests.fakes.clock import FakeClock


class SteadyClock(FakeClock):
    """Every marked run took 0.5 s, the first of a block a quarter more."""

    def mark(self) -> None:
        self.advance(0.5 if len(self._marks) > 1 else 0.625)
        super().mark()


def test_products_are_counted_as_two_n_cubed() -> None:
    probes, skipped = probe_products("cpu", 0.001, sizes=(64,), clock=SteadyClock())
    assert [probe.arithmetic for probe in probes] == [Arithmetic.FP32, Arithmetic.BF16]
    for probe in probes:
        assert probe.work == 2 * 64**3
        assert probe.best_per_second == 2 * 64**3 / 0.5
        assert probe.median_per_second == 2 * 64**3 / 0.5
        assert probe.n >= 5
    assert [arithmetic for arithmetic, _ in skipped] == [Arithmetic.TF32, Arithmetic.FP16]


def test_a_size_that_one_product_shows_to_be_too_slow_is_left_out_and_named() -> None:
    # 0.5 s for 8 rows is 4 s for 16, and seven of them take 28 s: 3 times 9.33 s.
    probes, skipped = probe_products("cpu", 1e-9, sizes=(8, 16, 32), clock=SteadyClock())
    assert [probe.size for probe in probes] == [8, 8]
    reasons = dict(skipped)
    assert reasons[Arithmetic.BF16] == reasons[Arithmetic.FP32]
    assert reasons[Arithmetic.FP32].startswith("products of 16 rows take too long; --seconds 9.33")


def test_memory_probes_count_what_the_program_reads_and_writes() -> None:
    copy, triad = probe_memory("cpu", 0.001, array_bytes=4096, clock=SteadyClock())
    assert (copy.kind, copy.work, triad.kind, triad.work) == (ProbeKind.COPY, 2 * 4096, ProbeKind.TRIAD, 3 * 4096)
    assert triad.best_per_second == 3 * 4096 / 0.5


def test_global_switches_are_as_before() -> None:
    before = torch.backends.mkldnn.matmul.fp32_precision, torch.get_rng_state()
    probe_products("cpu", 0.001, sizes=(8,), clock=SteadyClock())
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
